"""What a check found: which cases are right, which idea is behind the wrong ones, and a picture."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitedu.checks import feedback_card, fingerprint_file
from vitedu.checks.mismatch import note
from vitedu.checks.public_case import hint
from vitedu.probe.case import Answer
from vitedu.probe.comparison import LOOSE, TOLERANCE, ComparableAnswer, close, comparable, explain, is_correct
from vitedu.probe.student_errors import exercise_of

FLOAT32 = "This works in float32 only: keep the dtype of the inputs (here float64). It costs no points."


@dataclass(frozen=True, repr=False, eq=False)
class CheckReport:
    """What a check found; a notebook cell that ends in it shows it.

    Attributes:
        exam_id: such as "lab1/attention_weights".
        passed: every case is right.
        card: the same in words.
        difference: the first wrong values and the right ones (expected, got), where a picture helps.
    """

    exam_id: str
    passed: bool
    card: feedback_card.Card
    difference: tuple[Tensor, Tensor] | None = None

    def _repr_html_(self) -> str:
        picture = None
        if self.difference is not None:
            try:
                picture = feedback_card.heatmaps(*self.difference)
            except ImportError:  # without matplotlib the words must do
                pass
        return feedback_card.html(self.card, picture)

    def __repr__(self) -> str:
        return feedback_card.text(self.card)


def report(
    exam_id: str,
    fingerprint: fingerprint_file.Fingerprint,
    objects: Mapping[str, Any],
    answers: Sequence[tuple[Answer, torch.dtype]],
) -> CheckReport:
    """Judge the answers to the public cases.

    Args:
        objects: the student's functions and classes by name.
        answers: for each case the answer, and the dtype in which it was asked.
    """
    exercise = exam_id.partition("/")[2]
    cases = fingerprint.cases
    tolerances = [TOLERANCE[dtype] for _, dtype in answers]
    found = [comparable(answer, case, t) for (answer, _), case, t in zip(answers, cases, tolerances, strict=True)]
    expected, rights = _best(fingerprint, found, tolerances)
    marks = [True if ok else None if f.status == "undone" else False for ok, f in zip(rights, found, strict=True)]
    rows = [
        (mark, case.name, "" if mark else note(answer, f, e, case, t, _arguments(objects[case.target])))
        for mark, case, (answer, _), f, e, t in zip(marks, cases, answers, found, expected, tolerances, strict=True)
    ]
    single = any(t == torch.float32 and (c.inputs() or c.weights) for (_, t), c in zip(answers, cases, strict=True))
    remarks = [FLOAT32] if single else []
    if all(rights):
        return CheckReport(exam_id, True, feedback_card.Card(exercise, "right", feedback_card.RIGHT, (), rows, remarks))
    if False not in marks:
        started = any(rights)
        messages = [(_todo(answer.error["where"], objects), "") for answer, _ in answers if answer.status == "undone"][
            :1
        ]
        state = "not finished yet" if started else "not answered yet"
        return CheckReport(
            exam_id, False, feedback_card.Card(exercise, state, feedback_card.OPEN, messages, rows if started else ())
        )
    state = f"not right yet: {marks.count(False)} of {len(marks)} cases differ"
    messages = _diagnosis(fingerprint, found, rights, tolerances)
    remarks.append(hint(exam_id, marks.index(False) + 1))
    card = feedback_card.Card(exercise, state, feedback_card.WRONG, messages, rows, remarks)
    return CheckReport(exam_id, False, card, _pictured(found, expected, marks, tolerances))


def _best(
    fingerprint: fingerprint_file.Fingerprint, found: Sequence[ComparableAnswer], tolerances: Sequence[float]
) -> tuple[list[ComparableAnswer], list[bool]]:
    """The accepted answers, of all conventions, that most cases equal, and which cases these are."""
    readings = []
    for expected in (fingerprint.expected, *fingerprint.others):
        cases = zip(found, expected, fingerprint.cases, tolerances, strict=True)
        readings.append((expected, [is_correct(f, e, case, t) for f, e, case, t in cases]))
    return max(readings, key=lambda reading: sum(reading[1]))


def _todo(where: str, objects: Mapping[str, Any]) -> str:
    name = exercise_of(where)
    if name in objects:
        return f"{where} is still a TODO."
    return f"It needs {name}, which is still a TODO."


def _diagnosis(
    fingerprint: fingerprint_file.Fingerprint,
    found: Sequence[ComparableAnswer],
    rights: Sequence[bool],
    tolerances: Sequence[float],
) -> list[tuple[str, str]]:
    """The idea behind the whole answer, or the ideas behind single cases, each with its question."""
    named = fingerprint.misconceptions
    ideas = {id: m.expected for id, m in named.items()}
    whole, per_case = explain(found, rights, ideas, tolerances)
    if not whole:  # under another convention a wrong idea gives slightly other numbers
        whole, loosely = explain(found, rights, ideas, [LOOSE] * len(tolerances))
        per_case = [a or b for a, b in zip(per_case, loosely, strict=True)]
    if whole:
        return [_sentences("This equals what comes out when", named[whole[0]])]
    first: dict[str, str] = {}  # the first case in which each idea shows
    for ids, case in zip(per_case, fingerprint.cases, strict=True):
        if ids:
            first.setdefault(ids[0], case.name)
    return [_sentences(f'In "{name}" this equals what comes out when', named[id]) for id, name in first.items()]


def _sentences(start: str, named: fingerprint_file.StoredMisconception) -> tuple[str, str]:
    idea = f"{start} {named.idea.rstrip('.')}."
    if named.earlier:
        idea += f" That happens in {named.earlier}: mend it there first."
    return idea, f"Ask yourself: {named.question}"


def _pictured(
    found: Sequence[ComparableAnswer],
    expected: Sequence[ComparableAnswer],
    marks: Sequence[bool | None],
    tolerances: Sequence[float],
) -> tuple[Tensor, Tensor] | None:
    """Expected and found values of the first wrong case, where they are matrices of equal shape."""
    for f, e, mark, t in zip(found, expected, marks, tolerances, strict=True):
        if mark is False:
            got, wanted = f.values.get("out"), e.values.get("out")
            if got is None or wanted is None or got.shape != wanted.shape or got.ndim < 2 or got.numel() < 2:
                return None
            meant = f.repeatable and not any(f.keys) and bool(torch.isfinite(got).all())
            return (wanted, got) if meant and not close(got, wanted, t) else None
    return None


def _arguments(target: Any) -> list[str]:
    """Names of the positional arguments of a function, or of a class's forward."""
    try:
        is_class = inspect.isclass(target)
        names = list(inspect.signature(target.forward if is_class else target).parameters)
        return names[1:] if is_class else names
    except (AttributeError, TypeError, ValueError):
        return []
