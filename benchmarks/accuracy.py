"""What the accuracy exam sees: the model answer and every broken variant, trained on fresh draws.

    make bench-accuracy
    python benchmarks/accuracy.py [--seeds 20] [--others 20] [--first 0] [--workers 2] [--out FILE]

Each seed is a draw of its own: colours, classes, images, and the seed of the training. Results are
kept as they come, so that the same command goes on where a stopped one ended.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import time
import warnings
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, in the workers too

from trainings import trained

from autograder.exams.lab4 import accuracy_exam
from autograder.exams.lab4.broken_variants import BROKEN_TRAININGS, VISIBLE, BrokenTraining, codes, find
from autograder.judging.accuracy import needs_rerun
from autograder.labs import training_draw
from autograder.labs.lab import all_labs, find_lab, without_marks
from autograder.reporting.terminal_table import format_table
from vitedu.training_exams.recipe import RECIPE, TARGETS, TEST, TIERS, learn, logits_of, tier

MODEL = "model answer"
OFTEN = {MODEL, *VISIBLE}
SECRET = b"bench-accuracy"  # any will do: nobody is graded with it
USED = ("earlier-parts", "build_model", "train_one_epoch", "exam_model")


@cache
def _space(variant: str) -> dict[str, Any]:
    """The names of Lab 4's cells that the exam uses, some of them changed; the rest of the notebook is not run."""
    lab, namespace = find_lab("lab4"), {"__name__": "lab4_solution"}
    replaced = {} if variant == MODEL else dict(codes(find(variant), lab))
    for cell in lab.cells:
        if cell.kind == "code" and cell.grade_id in ("imports", *USED):
            source = replaced.get(cell.grade_id, without_marks(cell.source))
            exec(compile(source, f"<{variant}: {cell.grade_id}>", "exec"), namespace)
    return namespace


@cache
def _draw(seed: int) -> training_draw.AccuracyDraw:
    return accuracy_exam.draw(SECRET, seed, f"submission {seed}")


def train(variant: str, seed: int) -> dict[str, Any]:
    """Accuracy and seconds of one training; the model answer's near misses train twice more, as in the exam."""
    draw, namespace = _draw(seed), _space(variant)
    targets = [namespace[name] for name in TARGETS]
    accuracies: list[float] = []
    cpu, wall = time.process_time(), time.perf_counter()
    for number in draw.seeds if variant == MODEL else draw.seeds[:1]:
        if accuracies and not needs_rerun(accuracies[0]):
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # wrong ideas make torch warn; that is their business
            model, _ = learn(*targets, draw.train_images, draw.train_labels, number)
        hits = logits_of(model, draw.test_images).argmax(1) == draw.test_labels
        accuracies.append(int(hits.sum()) / TEST)
    count = len(accuracies)
    cpu, wall = (time.process_time() - cpu) / count, (time.perf_counter() - wall) / count
    return {"variant": variant, "seed": seed, "accuracies": accuracies, "cpu": round(cpu, 2), "wall": round(wall, 2)}


def state_of_things() -> str:
    """A digest of what decides the numbers: the exam's version and the code of the cells, without their docstrings."""
    parts = [accuracy_exam.version(), *(repr((v.id, sorted(v.edits.items()))) for v in BROKEN_TRAININGS)]
    for cell in find_lab("lab4").cells:
        if cell.grade_id in USED and cell.kind == "code":
            tree = ast.parse(without_marks(cell.source))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                    node.body = body[1:]
            parts.append(ast.dump(tree))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def table(results: list[dict[str, Any]]) -> str:
    """The results of each variant, the thresholds, and which exam catches what."""
    tiers = ", ".join(f"{name} {least:.3f}" for name, least in TIERS.items())
    lines = [f"thresholds: {tiers}", f"recipe: {RECIPE.label}", ""]
    rows = []
    bronze = TIERS["bronze"]
    ids = [MODEL, *VISIBLE, *(v.id for v in BROKEN_TRAININGS if v.id not in VISIBLE)]
    for id in ids:
        first = [r["accuracies"][0] for r in results if r["variant"] == id]
        if not first:
            continue
        caught = "" if id == MODEL else ", ".join(_caught(find(id), max(first) < bronze)) or "nothing yet"
        mark = " *" if id in VISIBLE else ""
        numbers = [f"{value:.3f}" for value in (min(first), median(first), max(first))]
        rows.append([f"{id}{mark}", len(first), *numbers, tier(max(first)) or "-", caught])
    heads = ["variant", "seeds", "min", "median", "max", "best tier", "caught by"]
    lines.append(format_table(heads, rows, ["left", *["right"] * 4, "left", "left"], rule=False))
    return "\n".join([*lines, "(* on the list of variants that the accuracy must catch)", "", *conclusions(results)])


def _caught(variant: BrokenTraining, below: bool) -> list[str]:
    """The exams that catch a variant: this one when every run stays below bronze, and the banks that hold it."""
    banks = {
        f"{lab.key}/{exercise.id} {m.id}"
        for lab in all_labs()
        for exercise in lab.exercises
        for m in exercise.misconceptions
    }
    return [*(["accuracy"] if below else []), *(entry for entry in variant.held if entry in banks)]


def conclusions(results: list[dict[str, Any]]) -> list[str]:
    """What the thresholds promise, and whether these runs keep it."""
    ours = [r for r in results if r["variant"] == MODEL]
    if not ours:
        return []
    bronze, gold = TIERS["bronze"], max(TIERS.values())
    worst, best = min(r["accuracies"][0] for r in ours), [max(r["accuracies"]) for r in ours]
    golds, reruns = sum(accuracy >= gold for accuracy in best), sum(len(r["accuracies"]) > 1 for r in ours)
    seconds = [r["cpu"] for r in ours], [r["wall"] for r in ours]
    said = [
        f"worst run of the model answer: {worst - bronze:+.3f} above bronze (promised +0.010)",
        f"model answer: gold on {golds} of {len(ours)} seeds, {reruns} of them after a near miss",
        f"model answer: CPU seconds {median(seconds[0]):.1f} (largest {max(seconds[0]):.1f}), wall time "
        f"{median(seconds[1]):.1f} (largest {max(seconds[1]):.1f})",
    ]
    visible = [(r["accuracies"][0], r["variant"]) for r in results if r["variant"] in VISIBLE]
    if visible:
        highest, name = max(visible)
        said.insert(1, f"best run of a visible variant, {name}: {bronze - highest:+.3f} below bronze (promised +0.030)")
    return said


def _turn(id: str, i: int) -> float:
    """When a training has its turn, so that a run that is stopped early still says something about everything."""
    return i / 2 if id == MODEL else i if id in VISIBLE else 4 * i + 2


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="draws for the model answer and the visible variants")
    parser.add_argument("--others", type=int, help="draws for the other variants (default: as many)")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--workers", type=int, default=2, help="processes; each takes one core")
    parser.add_argument("--only", nargs="*", help="these variants only, and the model answer")
    parser.add_argument("--out", type=Path, default=Path(".run/bench/accuracy.json"))
    given = parser.parse_args()
    others = given.seeds if given.others is None else given.others
    ids = [MODEL, *VISIBLE, *(v.id for v in BROKEN_TRAININGS if v.id not in VISIBLE)]
    if given.only is not None:
        ids = [id for id in ids if id == MODEL or id in given.only]
    tasks = [(id, given.first + i) for id in ids for i in range(given.seeds if id in OFTEN else others)]
    tasks.sort(key=lambda task: _turn(task[0], task[1] - given.first))
    print(table(trained(tasks, train, "variant", state_of_things(), given.workers, given.out)))


if __name__ == "__main__":
    main()
