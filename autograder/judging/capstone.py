"""The judge of the capstone: points for the accuracy on fresh images within the budget.

There is no earlier mistake to carry over: the exam calls one function of the student's, which may use whatever it
likes. And there is no model to build again from the weights, because any model will do.
"""

from __future__ import annotations

from collections.abc import Sequence

from autograder.exams.lab7.capstone_exam import ID as EXERCISE
from autograder.judging.accuracy import Outcome, accuracy_of, without_logits
from autograder.judging.training_attempt import Attempt
from autograder.judging.verdict import GRADED
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw
from vitedu.training_exams.capstone import TEST, TIERS
from vitedu.training_exams.recipe import points_of, tier


def judge(draw: AccuracyDraw, attempts: Sequence[Attempt]) -> Outcome:
    """Points for the best of the trainings; one, or more after a near miss."""
    found = [accuracy for a in attempts[:ATTEMPTS] if (accuracy := accuracy_of(draw, a)) is not None]
    if not found:
        return without_logits(attempts, EXERCISE)
    best = max(found)
    right, reached = round(best * TEST), tier(best, TIERS)
    told = f"{right} of {TEST} hidden images right ({best:.1%}): {reached or f'below {next(iter(TIERS))}'}."
    outcome = Outcome(float(points_of(best, TIERS)), GRADED, best, [told])
    if len(found) > 1:
        outcome.notes.append(f"The best of {len(found)} trainings counts: the first was a near miss.")
    return outcome
