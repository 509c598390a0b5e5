"""What a check found: which cases are right, which idea is behind the wrong ones, and a picture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vitedu.checks import feedback_card, fingerprint_file
from vitedu.checks.mismatch import note
from vitedu.checks.public_case import hint
from vitedu.checks.sketch import sketch
from vitedu.probe.case import Answer, Case
from vitedu.probe.comparison import TOLERANCE, ComparableAnswer, Expected, close, comparable, is_correct
from vitedu.probe.explanation import Answered, Match, explain, named, scope
from vitedu.probe.student_errors import exercise_of
from vitedu.terminal import printable

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
        return printable(feedback_card.text(self.card))


Replies = Sequence[tuple[Answer, torch.dtype]]  # for each case the answer, and the dtype in which it was asked


@dataclass(frozen=True)
class Alone:
    """The answers to the cases with stand-ins for all earlier exercises, and which of these are not right yet."""

    replies: Replies
    first: tuple[str, ...]


def report(
    exam_id: str,
    fingerprint: fingerprint_file.Fingerprint,
    objects: Mapping[str, Any],
    answers: Replies,
    confirm: Callable[[], Replies],
    alone: Callable[[], Alone | None],
) -> CheckReport:
    """Judge the answers to the public cases.

    Args:
        objects: the student's functions and classes by name.
        confirm: asks the cases of the second draw.
        alone: asks the cases with stand-ins, if an earlier exercise is not right.
    """
    exercise = exam_id.partition("/")[2]
    cases = fingerprint.cases
    tolerances = [TOLERANCE[dtype] for _, dtype in answers]
    found = [comparable(answer, case, t) for (answer, _), case, t in zip(answers, cases, tolerances, strict=True)]
    expected, rights, remark = _best(fingerprint, found, tolerances)
    marks = [True if ok else None if f.status == "undone" else False for ok, f in zip(rights, found, strict=True)]
    rows = [
        (mark, case.name, "" if mark else note(answer, f, e, case, t, _arguments(objects[case.target])))
        for mark, case, (answer, _), f, e, t in zip(marks, cases, answers, found, expected, tolerances, strict=True)
    ]
    single = any(t == torch.float32 and (c.inputs() or c.weights) for (_, t), c in zip(answers, cases, strict=True))
    remarks = [FLOAT32] if single else []
    if all(rights):
        remarks += [remark] if remark else []
        return CheckReport(exam_id, True, feedback_card.Card(exercise, "right", feedback_card.RIGHT, (), rows, remarks))
    depends = False in marks or any(_is_elsewhere(answer, objects) for answer, _ in answers)
    if stood := alone() if depends else None:
        judged = _judged_alone(fingerprint, stood.replies)
        fix = f"Fix {stood.first[0]} first."  # later ones may be right but for this one
        if all(answered.right for answered in judged):
            state = "right as far as this exercise goes"
            card = feedback_card.Card(exercise, state, feedback_card.RIGHT, [(fix, "")], (), remarks)
            return CheckReport(exam_id, True, card)
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
    if stood:
        given = {id: m.with_stand_ins for id, m in fingerprint.misconceptions.items()}
        messages = [*_sentences(fingerprint, explain(judged, given), judged, certain=False), (fix, "")]
    else:
        answered = [
            Answered(case, sketch(f), ok, t) for case, f, ok, t in zip(cases, found, rights, tolerances, strict=True)
        ]
        answered += _second(fingerprint, confirm())
        given = {id: m.versions for id, m in fingerprint.misconceptions.items()}
        messages = _sentences(fingerprint, explain(answered, given), answered)
    remarks.append(hint(exam_id, marks.index(False) + 1))
    card = feedback_card.Card(exercise, state, feedback_card.WRONG, messages, rows, remarks)
    return CheckReport(exam_id, False, card, _pictured(found, expected, marks, tolerances))


def is_right(fingerprint: fingerprint_file.Fingerprint, answers: Replies) -> bool:
    """Whether all public cases are right."""
    tolerances = [TOLERANCE[dtype] for _, dtype in answers]
    triples = zip(answers, fingerprint.cases, tolerances, strict=True)
    return all(_best(fingerprint, [comparable(answer, case, t) for (answer, _), case, t in triples], tolerances)[1])


def _second(fingerprint: fingerprint_file.Fingerprint, replies: Replies) -> list[Answered]:
    """The answers to the second draw."""
    return _sketched(fingerprint.confirming, replies, fingerprint.confirmed, draw=1)


def _judged_alone(fingerprint: fingerprint_file.Fingerprint, replies: Replies) -> list[Answered]:
    return _sketched(fingerprint.cases, replies, fingerprint.with_stand_ins, draw=0)


def _sketched(
    cases: Sequence[Case], replies: Replies, accepted: Sequence[Sequence[Expected]], draw: int
) -> list[Answered]:
    """Answers held against sketches of right ones: those that most cases equal."""
    tolerances = [TOLERANCE[dtype] for _, dtype in replies]
    found = [
        sketch(comparable(answer, case, t)) for (answer, _), case, t in zip(replies, cases, tolerances, strict=True)
    ]
    readings = [
        [is_correct(f, e.answer, case, t) for f, e, case, t in zip(found, expected, cases, tolerances, strict=True)]
        for expected in accepted
    ]
    rights = max(readings, key=sum, default=[])
    return [Answered(case, f, ok, t, draw) for case, f, ok, t in zip(cases, found, rights, tolerances, strict=True)]


def _best(
    fingerprint: fingerprint_file.Fingerprint, found: Sequence[ComparableAnswer], tolerances: Sequence[float]
) -> tuple[list[ComparableAnswer], list[bool], str]:
    """The accepted answers, of all conventions, that most cases equal; which cases these are; and what is remarked."""
    readings = []
    accepted, remarks = (fingerprint.expected, *fingerprint.others), ("", *fingerprint.remarks)
    for expected, remark in zip(accepted, remarks, strict=True):
        cases = zip(found, expected, fingerprint.cases, tolerances, strict=True)
        readings.append((expected, [is_correct(f, e, case, t) for f, e, case, t in cases], remark))
    return max(readings, key=lambda reading: sum(reading[1]))


def _is_elsewhere(answer: Answer, objects: Mapping[str, Any]) -> bool:
    """Whether an answer ended at another exercise's TODO."""
    return answer.status == "undone" and exercise_of(answer.error["where"]) not in objects


def _todo(where: str, objects: Mapping[str, Any]) -> str:
    name = exercise_of(where)
    if name in objects:
        return f"{where} is still a TODO."
    return f"It needs {name}, which is still a TODO."


def _sentences(
    fingerprint: fingerprint_file.Fingerprint,
    matches: Sequence[Match],
    answers: Sequence[Answered],
    certain: bool = True,
) -> list[tuple[str, str]]:
    """The idea behind the whole answer, or up to two that are behind most of it, each with its question."""
    wrong = [i for i, answered in enumerate(answers) if not answered.right and answered.draw == 0]
    messages = []
    for match in named(matches, answers):
        m = fingerprint.misconceptions[match.id]
        explained = sum(i in match.places for i in wrong)
        said = f"{scope(match.whole, certain, explained, len(wrong))} what comes out when {m.idea.rstrip('.')}."
        messages.append((said, f"Ask yourself: {m.question}"))
    return messages


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
