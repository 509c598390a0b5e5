"""Run by otter-grader's own Python: a pool of processes that grades a folder of notebooks, without containers.

    python otter_pool.py FOLDER WORKERS        (FOLDER holds ag.zip and submissions/STUDENT.ipynb)

Writes FOLDER/scores.json: student -> question -> points, or null where the notebook could not be graded.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from otter.api import grade_submission


def grade(submission: str, tests: str) -> dict[str, float] | None:
    """The points of one notebook by question."""
    try:
        results = grade_submission(submission, tests, quiet=True)
    except Exception as error:  # a notebook that ends its kernel, for one
        print(f"{submission}: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    return {name: file.score for name, file in results.results.items()}


def main(folder: Path, workers: int) -> None:
    """Grade all that is there and write the scores."""
    paths = sorted((folder / "submissions").glob("*.ipynb"))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        found = pool.map(grade, map(str, paths), [str(folder / "ag.zip")] * len(paths))
        scores = {path.stem: points for path, points in zip(paths, found, strict=True)}
    (folder / "scores.json").write_text(json.dumps(scores))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
