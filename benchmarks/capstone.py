"""What the capstone's budget buys: the model answer and some simpler entries, trained on fresh draws.

    python benchmarks/capstone.py [--seeds 6] [--first 0] [--workers 1] [--out FILE]
    python benchmarks/capstone.py --first 100      # seeds that did not choose the thresholds

Each seed is a draw of its own: colours, classes, images, and the seed of the training. Results are kept as they
come, so that the same command goes on where a stopped one ended.

The rule for the thresholds, in whole images, which was written down before anything was measured:

    iron     three points above the best run of the entries that show no thought (`BELOW`)
    gold     one point below the worst run of the model answer with half of the budget: a machine half as fast
    bronze, silver    in equal steps between the two
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, in the workers too

from torch import nn
from trainings import trained

from autograder.exams.lab7 import capstone_exam
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab, without_marks
from autograder.labs.training_draw import AccuracyDraw
from vitedu.training_exams.capstone import BUDGET, TEST, TIERS, Capstone, train
from vitedu.training_exams.recipe import logits_of, tier

MODEL, HALF = "model answer", "model answer, half the budget"
BELOW = ("linear layer", "MLP")  # no thought of images: iron stands above them
SECRET = b"bench-capstone"  # any will do: nobody is graded with it


@cache
def _space() -> dict[str, Any]:
    return Reference(find_lab("lab7")).namespace([])


def entries() -> dict[str, tuple[Capstone, float]]:
    """Name -> a capstone, and the seconds that it gets."""
    space = _space()
    within = space["train_within"]

    def plain(make: Any, **options: Any) -> Capstone:
        def capstone(images: Any, labels: Any, clock: Any) -> nn.Module:
            model = make()
            within(model, images, labels, clock, **options)
            return model

        return capstone

    def mlp() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(3072, 128), nn.ReLU(), nn.Linear(128, 6))

    return {
        MODEL: (space["capstone"], BUDGET),
        HALF: (space["capstone"], BUDGET / 2),
        "the duel's CNN": (plain(lambda: space["contestants"]()["CNN"]), BUDGET),
        "the duel's ViT": (plain(lambda: space["contestants"]()["ViT"]), BUDGET),
        "linear layer": (plain(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3072, 6))), BUDGET),
        "MLP": (plain(mlp), BUDGET),
    }


@cache
def _draw(seed: int) -> AccuracyDraw:
    return capstone_exam.draw(SECRET, seed, f"submission {seed}")


def run_one(entry: str, seed: int) -> dict[str, Any]:
    """Accuracy and processor seconds of one training."""
    draw, (capstone, seconds) = _draw(seed), entries()[entry]
    os.environ["TQDM_DISABLE"] = "1"  # the entries' own bars; this is a worker
    model, spent = train(capstone, draw.train_images, draw.train_labels, draw.seeds[0], seconds)
    hits = logits_of(model, draw.test_images).argmax(1) == draw.test_labels
    return {"entry": entry, "seed": seed, "accuracy": int(hits.sum()) / TEST, "cpu": round(spent, 2)}


def state_of_things() -> str:
    """A digest of what decides the numbers: the exam's version, the lab's code cells, and this file."""
    parts = [capstone_exam.version(), Path(__file__).read_text()]
    for cell in find_lab("lab7").cells:
        if cell.kind == "code" and cell.role in ("setup", "solution"):
            parts.append(without_marks(cell.source))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def by_rule(results: list[dict[str, Any]]) -> dict[str, float]:
    """The thresholds that the rule gives for these results, in whole images; {} while an entry lacks."""
    below = [r["accuracy"] for r in results if r["entry"] in BELOW]
    half = [r["accuracy"] for r in results if r["entry"] == HALF]
    if not below or not half:
        return {}
    first, last = math.ceil((max(below) + 0.03) * TEST - 1e-9), math.floor((min(half) - 0.01) * TEST + 1e-9)
    steps = len(TIERS) - 1
    return {name: (first + (last - first) * i // steps) / TEST for i, name in enumerate(TIERS)}


def table(results: list[dict[str, Any]]) -> str:
    """The results of each entry, the thresholds that stand, and those that the rule gives here."""
    lines = [f"{'entry':<32}{'seeds':>6}{'min':>7}{'median':>8}{'max':>7}{'seconds':>9}  worst and best tier"]
    for entry in dict.fromkeys(r["entry"] for r in results):
        found = [r for r in results if r["entry"] == entry]
        values, seconds = [r["accuracy"] for r in found], median(r["cpu"] for r in found)
        tiers = f"{tier(min(values), TIERS) or '-'}, {tier(max(values), TIERS) or '-'}"
        numbers = f"{min(values):7.3f}{median(values):8.3f}{max(values):7.3f}{seconds:9.1f}"
        lines.append(f"{entry:<32}{len(found):6}{numbers}  {tiers}")
    for title, tiers in (("thresholds", TIERS), ("by the rule from these seeds", by_rule(results))):
        said = ", ".join(f"{name} {round(least * TEST)}/{TEST}" for name, least in tiers.items())
        lines.append(f"{title}: {said or 'not enough entries'}")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=6, help="draws for each entry")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--workers", type=int, default=1, help="processes; each takes one core")
    parser.add_argument("--only", nargs="*", help="these entries only")
    parser.add_argument("--out", type=Path, default=Path(".run/bench/capstone.json"))
    given = parser.parse_args()
    names = given.only or list(entries())
    tasks = [(name, given.first + i) for i in range(given.seeds) for name in names]
    print(table(trained(tasks, run_one, "entry", state_of_things(), given.workers, given.out)))


if __name__ == "__main__":
    main()
