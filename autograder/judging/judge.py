"""The judge: compares a student's answers with the model answer's, and names what went wrong.

It sees answers only. It runs nothing of the student's, and nothing that it knows goes into the
student's process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from autograder.judging.reference_answers import AppliedMisconceptions, Reference
from autograder.judging.verdict import ERROR, FOR_REVIEW, GRADED, NOT_ANSWERED, CaseVerdict, Diagnosis, Verdict
from autograder.labs.exam import Exercise
from autograder.labs.variants import Variant
from autograder.sanitize import untrusted
from vitedu.checks import mismatch
from vitedu.checks.report import FLOAT32
from vitedu.probe.case import Answer, Case, ModuleCase
from vitedu.probe.comparison import (
    LOOSE,
    TOLERANCE,
    ComparableAnswer,
    Expected,
    comparable,
    explain,
    is_correct,
    is_same_answer,
)


@dataclass(frozen=True)
class CaseAnswer:
    """An answer as it came, and the dtype in which the case was asked; None: none came, for this `reason` if known."""

    answer: Answer | None
    dtype: torch.dtype = torch.float64
    reason: str = ""


NO_ANSWER = Answer("silent")
# Where an earlier mistake leaves nothing but errors or NaN to expect, `raise` would be full marks for anybody
# who gave that earlier exercise away. Right code is not robbed either: somebody reads it.
UNSEEN = "with the earlier mistake in place this cannot be seen to be right, so a person looks at it"
SCALAR = "Here plain numbers are asked for (.item() makes one of a tensor). It costs no points."


@dataclass(frozen=True)
class _Interpretation:
    """The replies read with certain ideas in earlier exercises, and under a convention in this one.

    Attributes:
        unseen: nothing is wrong, but where these ideas leave only errors or NaN to expect, such a
            reply shows nothing.
    """

    applied: AppliedMisconceptions
    convention: str
    rights: list[bool]
    whole: list[str]
    per_case: list[list[str]]
    unseen: bool = False


def judge(
    reference: Reference,
    exercise: Exercise,
    variant: Variant,
    replies: Sequence[CaseAnswer],
    earlier: Mapping[str, str],
    verdict: Verdict,
) -> Verdict:
    """Decide on one exercise.

    Args:
        replies: one for each case of `variant`.
        earlier: exercise id -> idea, as judged in this student's earlier exercises. Only such a
            mistake can be carried over; it is never inferred from this exercise.
        verdict: what is known so far; its status stays when it already names a failure.

    Returns:
        The verdict with cases, points, status, diagnoses, and remarks.
    """
    cases = reference.cases(exercise, variant)
    found = [_comparable(reply, case) for reply, case in zip(replies, cases, strict=True)]
    best = _best_reading(reference, exercise, variant, cases, replies, found, earlier)
    model = reference.model(exercise, variant, best.applied, best.convention)

    verdict.cases = [
        CaseVerdict(case.name, ok, case.scoring.share, "" if ok else _note(reply, f, e, case, cases), matches)
        for case, reply, f, e, ok, matches in zip(cases, replies, found, model, best.rights, best.per_case, strict=True)
    ]
    shares = sum(case.scoring.share for case in cases)
    earned = sum(case.scoring.share for case, ok in zip(cases, best.rights, strict=True) if ok)
    verdict.points = round(verdict.max_points * earned / shares, 2)
    if verdict.status == GRADED and best.unseen:
        verdict.points, verdict.status, verdict.reason = 0.0, FOR_REVIEW, UNSEEN
    if verdict.status == GRADED and earned == 0:
        states = {r.answer.status if r.answer else "error" if r.reason else "silent" for r in replies}
        verdict.status = NOT_ANSWERED if states <= {"undone", "missing"} else ERROR if states == {"error"} else GRADED
    if verdict.status == ERROR and not verdict.reason:
        verdict.reason = next(case.note for case in verdict.cases if not case.right)
    verdict.diagnoses = _diagnoses(reference, exercise, best)
    verdict.idea = "".join(best.whole[:1]) + (f"~{best.convention}" if best.convention else "")
    if any(reply.dtype == torch.float32 and (c.inputs() or c.weights) for reply, c in zip(replies, cases, strict=True)):
        verdict.remarks.append(FLOAT32)
    numbers = {"int": "Tensor", "float": "Tensor", "dict": "dict of tensors"}
    if any(ok and numbers.get(e.answer.kind) == f.kind for ok, e, f in zip(best.rights, model, found, strict=True)):
        verdict.remarks.append(SCALAR)
    return verdict


def _note(reply: CaseAnswer, found: ComparableAnswer, expected: Expected, case: Case, cases: Sequence[Case]) -> str:
    """What was found instead, without a single expected value; `cases` are all that the exercise has."""
    if reply.answer is None:
        return f"no answer came back: {untrusted.text(reply.reason, 300)}" if reply.reason else "no answer came back"
    tolerance = TOLERANCE[reply.dtype]
    if is_correct(found, expected.answer, case, tolerance):
        return f"right, but it shows too little to count alone: it needs {_partners(case, cases)}"
    message = mismatch.note(reply.answer, found, expected.answer, case, tolerance, values=False)
    return untrusted.text(message, 1500)  # it quotes the student's process


def _partners(case: Case, cases: Sequence[Case]) -> str:
    """The cases one of which must be right for a paired one to count, see `_paired`."""
    alone = [c.name for c in cases if c.target == case.target and not _is_paired(c)]
    named = ", ".join(f'"{name}"' for name in alone[:4])
    return f"a right answer to {'one of ' if len(alone) > 1 else ''}{named}" if alone else "another right case"


def _is_paired(case: Case) -> bool:
    scoring, makes_only = case.scoring, isinstance(case, ModuleCase) and case.construct_only
    return scoring.raises is not None or scoring.paired or scoring.random or makes_only


def _comparable(reply: CaseAnswer, case: Case) -> ComparableAnswer:
    return comparable(reply.answer or NO_ANSWER, case, TOLERANCE[reply.dtype])


def _best_reading(
    reference: Reference,
    exercise: Exercise,
    variant: Variant,
    cases: Sequence[Case],
    replies: Sequence[CaseAnswer],
    found: Sequence[ComparableAnswer],
    earlier: Mapping[str, str],
) -> _Interpretation:
    """Read the answers as they are, then with each set of the student's earlier ideas in place."""
    tolerances = [TOLERANCE[reply.dtype] for reply in replies]

    def rights(applied: AppliedMisconceptions, convention: str) -> list[bool]:
        model = reference.model(exercise, variant, applied, convention)
        return [
            is_correct(f, e.answer, case, t) or bool(applied and is_same_answer(f, e.answer, t, nan=True))
            for f, e, case, t in zip(found, model, cases, tolerances, strict=True)
        ]

    def counting(marks: list[bool], applied: AppliedMisconceptions, convention: str) -> list[bool]:
        return _paired(marks, cases, reference.model(exercise, variant, applied, convention))

    def unseen(marks: list[bool], applied: AppliedMisconceptions, convention: str) -> bool:
        """Whether each reply is right, or shows no numbers where these ideas leave none to expect."""
        model = reference.model(exercise, variant, applied, convention)
        numberless = [f.status in ("ok", "error") and not _numbers(f) and not _numbers(e.answer)
                      for f, e in zip(found, model, strict=True)]  # fmt: skip
        return bool(applied) and all(ok or shows_none for ok, shows_none in zip(marks, numberless, strict=True))

    waiting: _Interpretation | None = None
    read: dict[AppliedMisconceptions, tuple[str, list[bool]]] = {}  # by applied ideas: the convention that fits best
    for applied in _applicable(reference, earlier):
        for convention in ("", *(c.id for c in exercise.conventions)):
            marks = rights(applied, convention)
            if applied not in read or sum(marks) > sum(read[applied][1]):
                read[applied] = convention, marks
            counted = counting(marks, applied, convention)
            if all(counted):
                return _Interpretation(applied, convention, counted, [], [[] for _ in cases])
            if waiting is None and unseen(marks, applied, convention):
                waiting = _Interpretation(applied, convention, counted, [], [[] for _ in cases], unseen=True)
    if waiting is not None:
        return waiting

    readings = []
    for applied, (convention, marks) in read.items():
        if any(earlier.get(id) != idea for id, idea in applied):
            continue  # a convention that nobody has seen there: good for being right, not for being named
        whole: list[str] = []
        per_case: list[list[str]] = [[] for _ in cases]
        if not all(marks) and any(f.status not in ("undone", "missing", "silent") for f in found):
            whole, per_case = _explained(reference, exercise, variant, applied, found, marks, tolerances)
        # Paired for the points, not for the name: an error alone explains nothing.
        readings.append(_Interpretation(applied, convention, counting(marks, applied, convention), whole, per_case))
    return max(readings, key=_rank)


def _explained(
    reference: Reference,
    exercise: Exercise,
    variant: Variant,
    applied: AppliedMisconceptions,
    found: Sequence[ComparableAnswer],
    marks: Sequence[bool],
    tolerances: Sequence[float],
) -> tuple[list[str], list[list[str]]]:
    """The ideas behind wrong answers, as `explain` has them; where none fits exactly, loosely.

    Most wrong answers are one idea through and through: then one wrong case leaves few that are asked for the others.
    """

    def given(ids: list[str]) -> dict[str, list[Expected]]:
        return {id: reference.misconception(exercise, variant, id, applied) for id in ids}

    def gives(id: str) -> bool:
        e = reference.misconception_of_case(exercise, variant, id, place, applied)
        return is_same_answer(found[place], e.answer, tolerances[place], nan=True, nondeterministic=e.nondeterministic)

    ids, place = [m.id for m in exercise.misconceptions], marks.index(False)
    whole, per_case = explain(found, marks, given([id for id in ids if gives(id)]), tolerances)
    if whole:
        return whole, per_case
    every = given(ids)
    _, per_case = explain(found, marks, every, tolerances)
    loosely, cases_loosely = explain(found, marks, every, [LOOSE] * len(found))
    return loosely, [a or b for a, b in zip(per_case, cases_loosely, strict=True)]


def _applicable(reference: Reference, earlier: Mapping[str, str]) -> list[AppliedMisconceptions]:
    """Every set of the earlier ideas, the small ones first; a mistake under each convention of its exercise."""
    choices = []
    for id, idea in earlier.items():
        conventions = () if "~" in idea else reference.lab.exercise(id).conventions
        choices.append([None, (id, idea), *((id, f"{idea}~{c.id}") for c in conventions)])
    sets = [tuple(entry for entry in chosen if entry is not None) for chosen in product(*choices)]
    return sorted(sets, key=lambda applied: (len(applied), [earlier[id] != idea for id, idea in applied]))


def _rank(reading: _Interpretation) -> tuple[bool, int, int]:
    return bool(reading.whole), sum(reading.rights), -len(reading.applied)


def _paired(rights: list[bool], cases: Sequence[Case], model: Sequence[Expected]) -> list[bool]:
    """An expected error or NaN, and an answer by chance, count only when the same object also gave right numbers."""
    alone = [
        case.scoring.raises is None and not case.scoring.paired and not case.scoring.random and _numbers(e.answer)
        for case, e in zip(cases, model, strict=True)
    ]
    useful = {case.target for case, ok, counts in zip(cases, rights, alone, strict=True) if ok and counts}
    return [ok and (counts or c.target in useful) for c, ok, counts in zip(cases, rights, alone, strict=True)]


def _numbers(answer: ComparableAnswer) -> bool:
    """Whether an answer holds numbers, and only finite ones."""
    return (
        answer.status == "ok" and bool(answer.values) and all(bool(t.isfinite().all()) for t in answer.values.values())
    )


def _diagnoses(reference: Reference, exercise: Exercise, reading: _Interpretation) -> list[Diagnosis]:
    named = []
    for earlier, idea in reading.applied:
        id = idea.partition("~")[0]
        if not id:
            continue
        m = reference.lab.exercise(earlier).misconception(id)
        named.append(Diagnosis(m.id, earlier, m.idea, m.question, carried=True))
    own = reading.whole[:1] or list(dict.fromkeys(ids[0] for ids in reading.per_case if ids))
    for id in own:
        m = exercise.misconception(id)
        named.append(Diagnosis(m.id, exercise.id, m.idea, m.question, whole=bool(reading.whole)))
    return named


def signature(replies: Sequence[CaseAnswer], cases: Sequence[Case]) -> str:
    """A digest of the answers to the variant common to the class: equal mistakes give equal digests."""
    digest = hashlib.sha256()
    for reply, case in zip(replies, cases, strict=True):
        f = _comparable(reply, case)
        digest.update(repr((f.status, f.error, f.message, f.keys, f.repeatable, f.changed)).encode())
        for name, value in sorted(f.values.items()):
            rounded = (value.double().nan_to_num() * 1e4).round().to(torch.int64)
            digest.update(repr((name, tuple(value.shape), rounded.flatten()[:4096].tolist())).encode())
    return digest.hexdigest()[:16]
