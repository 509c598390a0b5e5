"""An exercise that is examined by training a model in the student's kernel: what its exam brings along.

Such an exam lies with its lab, as all exams do. Whoever runs it or judges it asks the exercise, and knows no lab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import Diagnosis
from autograder.labs.exam import Alternative, Exercise, Misconception
from autograder.labs.training_draw import AccuracyDraw
from autograder.labs.variants import Variant
from vitedu.probe.case import Answer, Case

Earlier = Mapping[str, str]  # exercise -> the idea that was found in it
Earned = Mapping[str, float | None]  # exercise -> points there


@dataclass(frozen=True)
class Attempt:
    """One training in the student's kernel: its seed, and what came out of it.

    Attributes:
        trained, tested: the answers to the two requests; None where none came.
    """

    seed: int
    trained: Answer | None
    tested: Answer | None


@dataclass
class Outcome:
    """What the judge of such an exam decided.

    Attributes:
        points: out of the number of tiers; 0 while it waits for review.
        accuracy: of the attempt that counts; None when no logits came.
        notes: sentences for the student.
        would_be: points if a reviewer finds the model right.
    """

    points: float
    status: str
    accuracy: float | None = None
    notes: list[str] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    would_be: float = 0.0


def _limit(limit: float, used: float) -> float:
    return limit


def _no_cases(variant: Variant) -> Sequence[Case]:
    return ()


@dataclass(frozen=True, kw_only=True)
class TrainedExercise(Exercise):
    """An exercise of which a model is trained. It has no cases, and no misconceptions of its own.

    Attributes:
        draw: (secret, variant, hash of the submission) -> its images, labels and seeds.
        version: a digest of all that decides what a training gives.
        entry: the function of vitedu that answers inside the kernel, by its place there.
        next_seed: (draw, attempts so far) -> the seed of the next training; None: no further one.
        judge: decides on the attempts.
        tiers: how many there are; each is worth the same.
        cpu_seconds: (CPU seconds that the grader's limits allow, those that the kernel has used since it was ready) ->
            those that each training may take; asked before the first one.
        test_cpu_seconds: to look at the test images.
        behind: exercises whose stand-ins can take their place while it trains.
    """

    cases: Callable[[Variant], Sequence[Case]] = _no_cases
    misconceptions: tuple[Misconception, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    trained: ClassVar[bool] = True
    draw: Callable[[bytes, int | str, str], AccuracyDraw]
    version: Callable[[], str]
    entry: str
    next_seed: Callable[[AccuracyDraw, Sequence[Attempt]], int | None]
    judge: Callable[[Reference, AccuracyDraw, Sequence[Attempt], Earlier, Earned], Outcome]
    tiers: int
    cpu_seconds: Callable[[float, float], float] = _limit
    test_cpu_seconds: float = math.inf
    behind: tuple[str, ...] = ()
