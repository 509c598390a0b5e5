"""Many trainings, each of which takes seconds, in processes beside each other; what is done is kept."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from tqdm import tqdm

Task = tuple[str, int]  # what is trained, and a seed


def trained(
    tasks: list[Task], train: Callable[[str, int], dict[str, Any]], of: str, state: str, workers: int, path: Path
) -> list[dict[str, Any]]:
    """The results of all tasks, those in `path` as they are; the file is written after each.

    Args:
        train: does one; its result has a task's two parts under the names `of` and "seed".
        state: a digest of what decides the results: those of another state are forgotten.
    """
    results = []
    if path.is_file():
        kept = json.loads(path.read_text())
        results = kept["results"] if kept["state"] == state else []
    done = {(r[of], r["seed"]) for r in results}
    waiting = [task for task in tasks if task not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(train, *task) for task in waiting]
        bar = tqdm(as_completed(futures), total=len(tasks), initial=len(tasks) - len(waiting), unit="training")
        for future in bar:
            found = future.result()
            results.append(found)
            bar.set_postfix_str(found[of])
            unfinished = path.with_suffix(".part")
            unfinished.write_text(json.dumps({"state": state, "results": results}))
            unfinished.replace(path)
    wanted = set(tasks)
    return [r for r in results if (r[of], r["seed"]) in wanted]
