"""The notebook's instant checks: is this answer right, and if not, which idea is behind it?

Nothing here knows a solution: public questions are put to the student's object, and what comes
back is compared with stored results (see fingerprint_file.py).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from vitedu.checks import fingerprint_file, rerun
from vitedu.checks.feedback_card import in_short
from vitedu.checks.report import Alone, CheckReport, is_right, report
from vitedu.checks.validate import CheckFailed
from vitedu.probe.ask import ask, asks_for_float32
from vitedu.probe.case import Answer, Case
from vitedu.probe.student_errors import exercise_of, is_todo, place


def check(exam_id: str, *targets: Any) -> CheckReport:
    """Look at an answer with the public questions of its exercise.

    Args:
        exam_id: such as "lab1/attention_weights".
        targets: the functions or classes of the exercise themselves, in the order the notebook names them.

    Returns:
        A report that shows itself as the cell's result.

    Raises:
        ValueError: an unknown exercise, or not the things that it asks for.
        CheckFailed: not passed, under nbgrader's Validate only, so that it cannot say "Success".
    """
    lab, _, exercise = exam_id.partition("/")
    known = fingerprint_file.load(lab)
    if exercise not in known:
        raise ValueError(f"{lab} has no check {exercise!r}; its checks are {', '.join(f'{lab}/{id}' for id in known)}.")
    fingerprint = known[exercise]
    objects = _objects(exam_id, fingerprint.targets, targets)
    with _left_as_found():
        made = report(
            exam_id, fingerprint, objects, _ask_all(objects, fingerprint.cases),
            confirm=lambda: _ask_all(objects, fingerprint.confirming),
            alone=lambda: _alone(lab, exercise, known, objects),
        )  # fmt: skip
    if os.environ.get("NBGRADER_EXECUTION") == "validate" and not made.passed:
        wrong = [in_short(note) for ok, _, note in made.card.rows if not ok]
        sentence = made.card.messages[0][0] if made.card.messages else wrong[0]
        raise CheckFailed(" ".join(f"{exercise}: {made.card.state}. {sentence}".split()))
    return made


def when_ready(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Call `fn` if all that it needs is written; if a TODO is reached, say which in one line.

    Returns:
        A function that returns what `fn` returns, or None at a TODO. Other exceptions pass with
        their full traceback.
    """

    @functools.wraps(fn, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except NotImplementedError as error:
            if not is_todo(error):
                raise
            print(f"This appears when {exercise_of(place(error)[0])} is written.")
            return None

    return call


def examine(exam_id: str) -> None:
    """Mark the place of a hidden exam; the grading itself happens outside the notebook.

    Raises:
        RuntimeError: under nbgrader's own autograder, which would give points for nothing.
    """
    if os.environ.get("NBGRADER_EXECUTION") == "autograde":
        raise RuntimeError(
            f"{exam_id} is graded by vitedu's autograder, whose configuration is not loaded: "
            "load autograder/nbgrader_config.py (see docs/instructors/day-one.md) and grade again."
        )


def _objects(exam_id: str, names: Sequence[str], targets: Sequence[Any]) -> dict[str, Any]:
    """The student's objects by the name under which the cases ask for them."""
    wanted = f'check("{exam_id}", {", ".join(names)})'
    if len(targets) != len(names):
        raise ValueError(f"This check looks at {len(names)} things, found {len(targets)}; write {wanted}.")
    for name, target in zip(names, targets, strict=True):
        if not callable(target) or isinstance(target, nn.Module):
            raise ValueError(f"For {name} expected the function or class itself, found {_a(target)}; write {wanted}.")
    return dict(zip(names, targets, strict=True))


def _a(target: Any) -> str:
    return "None" if target is None else f"an object of type {type(target).__name__}"


@contextmanager
def _left_as_found() -> Iterator[None]:
    """Put the settings back that a student's code may change while it is asked; `ask` keeps the random state."""
    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)


def _alone(
    lab: str, exercise: str, known: Mapping[str, fingerprint_file.Fingerprint], objects: Mapping[str, Any]
) -> Alone | None:
    """Ask an exercise with stand-ins for all earlier ones; None where these are right, or this is no notebook."""
    if (names := rerun.notebook_names()) is None or not known[exercise].with_stand_ins:
        return None
    earlier = list(known)[: list(known).index(exercise)]
    first = [id for id in earlier if rerun.stand_ins(lab, [id]) and not _is_right(known[id], names)]
    if not first:
        return None
    again = rerun.defined_again(rerun.stand_ins(lab, earlier))
    places = {
        name: next((n for n, value in names.items() if value is target), name) for name, target in objects.items()
    }
    stood = {name: again.get(place, objects[name]) for name, place in places.items()}
    return Alone(_ask_all(stood, known[exercise].cases), tuple(first))


def _is_right(fingerprint: fingerprint_file.Fingerprint, names: Mapping[str, Any]) -> bool:
    if not all(callable(names.get(name)) for name in fingerprint.targets):
        return False
    return is_right(fingerprint, _ask_all(names, fingerprint.cases))


def _ask_all(objects: Mapping[str, Any], cases: Sequence[Case]) -> list[tuple[Answer, torch.dtype]]:
    return [_ask(objects, case) for case in cases]


def _ask(objects: Mapping[str, Any], case: Case) -> tuple[Answer, torch.dtype]:
    """An answer, and the dtype of the question: float32 when there is trouble with dtypes alone."""
    answer = ask(objects[case.target], case, namespace=objects)
    if asks_for_float32(answer):
        return _here(ask(objects[case.target], case, torch.float32, namespace=objects)), torch.float32
    return _here(answer), torch.float64


def _here(answer: Answer) -> Answer:
    """The answer on the CPU, where it is compared, in float64 that not every GPU has."""
    return replace(answer, tensors={name: tensor.cpu() for name, tensor in answer.tensors.items()})
