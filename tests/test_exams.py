"""Every exam of every lab, proven as `autograder verify` proves it: in real kernels, on all draws."""

import pytest

from autograder.lab import all_labs
from autograder.verify import prove, table

EXAMS = [(lab.assignment, exercise.id) for lab in all_labs() for exercise in lab.exercises if not exercise.trained]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("assignment, exercise", EXAMS)
def test_wrong_ideas_are_caught_and_named_and_right_answers_accepted(assignment, exercise):
    proof = prove(assignment, exercise)
    print(table([proof]))
    assert proof.problems == []
    assert proof.caught == proof.named == proof.misconceptions > 0
    assert proof.accepted == proof.alternatives >= 6
    assert proof.nulls_refused == proof.nulls and proof.carried_free == proof.carried
