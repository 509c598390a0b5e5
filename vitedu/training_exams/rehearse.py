"""One name for the rehearsals of both training exams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vitedu.training_exams import accuracy_rehearsal, capstone_rehearsal
from vitedu.training_exams.accuracy_rehearsal import Rehearsed
from vitedu.training_exams.capstone import BUDGET


def rehearse(*answers: Callable[..., Any], seconds: float = BUDGET) -> Rehearsed:
    """Try a training exam on public images, and see which tier you would reach.

    rehearse(exam_model, train_one_epoch) is Lab 4's accuracy exam, rehearse(capstone) Lab 7's capstone.

    Args:
        answers: the functions themselves, in this order.
        seconds: of processor time that the capstone gets; the exam gives BUDGET.

    Returns:
        A report that shows itself as the cell's result.

    Raises:
        CheckFailed: a TODO is reached, under nbgrader's Validate only; nothing is trained for long there.
        TypeError: these are the functions of neither exam.
    """
    if len(answers) == 2:
        return accuracy_rehearsal.rehearse(*answers)
    if len(answers) == 1:
        return capstone_rehearsal.rehearse(*answers, seconds=seconds)
    raise TypeError(
        f"expected rehearse(exam_model, train_one_epoch) or rehearse(capstone), got {len(answers)} functions"
    )
