"""Do the exams tell right from wrong under this secret? Asked of our own code, in this process."""

from __future__ import annotations

import warnings
from typing import Any

from autograder.judging.reference_answers import Reference
from autograder.labs.variants import VARIANTS, Variant
from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, Expected, comparable, is_correct


def escapes(reference: Reference, secret: bytes) -> list[str]:
    """Each misconception and variant that would get full marks under this secret, in words.

    A judge-level check of seconds, for every release; `autograder verify` asks the same of
    students' kernels, and more.
    """
    found = []
    for exercise in reference.lab.exercises:
        for number in range(0 if exercise.trained else VARIANTS):
            variant = Variant(secret, exercise.id, number)
            cases = reference.cases(exercise, variant)
            for m in exercise.misconceptions:
                namespace = reference.namespace([(exercise.id, m.code)])
                # Case by case: the first wrong one is enough, and most mistakes show at once.
                if all(
                    _right(namespace, c, e) for c, e in zip(cases, reference.answers(exercise, variant), strict=True)
                ):
                    found.append(f"the misconception {m.id} of {exercise.id} on variant {number}")
    return found


def _right(namespace: dict[str, Any], case: Case, expected: Expected) -> bool:
    tolerance = max(TOLERANCE.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = comparable(ask(namespace[case.target], case, namespace=namespace), case, tolerance)
    return is_correct(answer, expected.answer, case, tolerance)
