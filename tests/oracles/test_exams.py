"""Every exam of every lab, proven as `autograder verify` proves it: in real kernels, here on one draw.

`make proofs` runs it, beside the proof of 4 variants of one secret; `make verify` proves all variants of all three.
"""

import pytest

from autograder.authoring.prove_exams import SECRETS, prove, table
from autograder.labs.lab import all_labs
from autograder.labs.variants import VARIANTS, Variant

EXAMS = [(lab.assignment, exercise.id) for lab in all_labs() for exercise in lab.exercises if not exercise.trained]


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", range(len(EXAMS)), ids=["/".join(exam) for exam in EXAMS])
def test_wrong_ideas_are_caught_and_named_and_right_answers_accepted(place):
    assignment, exercise = EXAMS[place]
    # Another secret and variant for each exam, so that many are met.
    proof = prove(assignment, exercise, [Variant(SECRETS[place % len(SECRETS)], exercise, 5 * place % VARIANTS)])
    print(table([proof]))
    assert proof.problems == []
    assert proof.caught == proof.named == proof.misconceptions > 0
    assert proof.accepted == proof.alternatives >= 6
    assert proof.nulls_refused == proof.nulls and proof.pairs_hold == proof.pairs
