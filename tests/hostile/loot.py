"""What the attacks on files, processes and limits share: where they strike, what they know, and how a gain shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from autograder.authoring.sample_class import model_codes
from autograder.labs.lab import find_lab
from hostile.attack import COURSE, Seen

LAB = find_lab("lab1_attention")
MODEL = model_codes(LAB)
EXERCISES = [exercise.id for exercise in LAB.exercises]

# Most attacks stand in one answer cell, between two exercises that are honestly right and do not call it.
FIRST, SPOT, LAST = "attention_weights", "scaled_dot_product_attention", "multi_head_attention_einsum"

PATH = "THE-COURSE-FOLDER"  # where it stands in a cell, the path is written when the notebook is handed in
KNOWN = f'{COURSE}\nimport pathlib\ncourse = course or pathlib.Path("{PATH}")\n'


def told(folder: Path) -> None:
    """Tell a submission, which lies in `folder`, the path of its course."""
    for path in folder.glob("*.ipynb"):
        path.write_text(path.read_text().replace(PATH, str(folder.parents[2])))


def loot(word: str) -> Callable[[Seen], bool]:
    """Whether an attack printed `print("loot", word, sep="=")`, which its own text does not contain: it got through."""
    return lambda seen: f"loot={word}" in seen.own


def with_honest(attack: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Answer cells with an attack between two right answers, and which exercises those are."""
    return {FIRST: MODEL[FIRST], SPOT: attack, LAST: MODEL[LAST]}, (FIRST, LAST)


def two_kernels(leaves: str, finds: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """One cell leaves something and ends its kernel, the next looks for it."""
    return {FIRST: leaves, SPOT: finds, LAST: MODEL[LAST]}, (LAST,)
