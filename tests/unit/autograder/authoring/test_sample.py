"""The demo's class: everybody the demo promises, and the same notebooks at every run."""

import nbformat
import pytest

from autograder.authoring.build import RELEASE
from autograder.authoring.sample_class import hand_in, sample_class
from autograder.labs.lab import all_labs


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)
def test_the_class_hands_in_the_same_at_every_run(lab):
    release = nbformat.read(RELEASE / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)
    first, second = ([nbformat.writes(hand_in(release, student)) for student in sample_class(lab)] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) >= 10
