"""The judge of the capstone: points for accuracy on fresh images within the budget. Lab 7's exam module points to it.

There is no earlier mistake to carry over: the exam calls one function of the student's, which may use whatever it
likes. And there is no model to build again from the weights, because any model will do.
"""

from __future__ import annotations

from collections.abc import Sequence

from autograder.judging.accuracy import accuracy_of, without_logits
from autograder.judging.trained_exercise import Attempt, Outcome
from autograder.judging.verdict import GRADED
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw
from vitedu.training_exams.capstone import TEST, TIERS
from vitedu.training_exams.recipe import points_of, tier


def judge(draw: AccuracyDraw, attempts: Sequence[Attempt]) -> Outcome:
    """Points for the best of the trainings; one, or more after a near miss."""
    found = [accuracy for a in attempts[:ATTEMPTS] if (accuracy := accuracy_of(draw, a)) is not None]
    if not found:
        return without_logits(attempts, "capstone")
    best = max(found)
    right, reached = round(best * TEST), tier(best, TIERS)
    message = f"{right} of {TEST} hidden images right ({best:.1%}): {reached or f'below {next(iter(TIERS))}'}."
    outcome = Outcome(float(points_of(best, TIERS)), GRADED, best, [message])
    if len(found) > 1:
        outcome.notes.append(f"The best of {len(found)} trainings counts: the first was a near miss.")
    return outcome
