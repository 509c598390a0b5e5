"""The demo's class: everybody the demo promises, and the same notebooks at every run."""

import nbformat

from autograder.build import RELEASE
from autograder.lab import find_lab
from autograder.sample import hand_in, sample_class

LAB = find_lab("lab1")


def test_the_class_hands_in_the_same_at_every_run():
    release = nbformat.read(RELEASE / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    first, second = ([nbformat.writes(hand_in(release, student)) for student in sample_class(LAB)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) >= 10
