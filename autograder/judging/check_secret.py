"""Do the exams tell right from wrong under this secret? Asked of our own code, in this process."""

from __future__ import annotations

import warnings
from typing import Any

from autograder.judging.reference_answers import Reference
from autograder.labs.variants import VARIANTS, Draw
from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, Expected, facts, right


def escapes(reference: Reference, secret: bytes) -> list[str]:
    """Each misconception and variant that would get full marks under this secret, in words.

    A judge-level check of seconds, for every release; `autograder verify` asks the same of
    students' kernels, and more.
    """
    found = []
    for exercise in reference.lab.exercises:
        for variant in range(0 if exercise.trained else VARIANTS):
            draw = Draw(secret, exercise.id, variant)
            cases = reference.cases(exercise, draw)
            for m in exercise.misconceptions:
                space = reference.namespace([(exercise.id, m.code)])
                # Case by case: the first wrong one is enough, and most mistakes show at once.
                if all(_right(space, c, e) for c, e in zip(cases, reference.model(exercise, draw), strict=True)):
                    found.append(f"the misconception {m.id} of {exercise.id} on variant {variant}")
    return found


def _right(space: dict[str, Any], case: Case, expected: Expected) -> bool:
    tolerance = max(TOLERANCE.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return right(facts(ask(space[case.thing], case, space=space), case, tolerance), expected.facts, case, tolerance)
