"""The judge: compares a student's answers with the model answer's, and names what went wrong.

It sees answers only. It runs nothing of the student's, and nothing that it knows goes into the
student's process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product

import torch

from autograder.judging.naming import Named, name_ideas
from autograder.judging.reference_answers import AppliedIdeas, Reference
from autograder.judging.verdict import ERROR, GRADED, NOT_ANSWERED, CaseVerdict, Verdict
from autograder.labs.exam import ALTERNATIVE, STAND_IN, Exercise
from autograder.labs.variants import Variant
from autograder.sanitize import untrusted
from vitedu.checks import mismatch
from vitedu.checks.report import FLOAT32
from vitedu.probe.case import Answer, Case, ModuleCase
from vitedu.probe.comparison import TOLERANCE, ComparableAnswer, Expected, comparable, is_correct
from vitedu.probe.explanation import Answered


@dataclass(frozen=True)
class CaseAnswer:
    """An answer as it came, and the dtype in which the case was asked; None: none came, for this `reason` if known."""

    answer: Answer | None
    dtype: torch.dtype = torch.float64
    reason: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What stood in the earlier cells when an exercise was asked.

    Attributes:
        conventions: exercise id -> the convention under which it was found right.
        stand_ins: the exercises that were not right, in whose place a stand-in was run.
    """

    conventions: Mapping[str, str] = field(default_factory=dict)
    stand_ins: tuple[str, ...] = ()


NO_ANSWER = Answer("silent")
ALONE = Circumstances()
LITTLE = "right, but it shows too little to count alone"
SCALAR = "Here plain numbers are asked for (.item() makes one of a tensor). It costs no points."


class _Asked:
    """What was asked, and what came back, one each a case."""

    def __init__(self, cases: Sequence[Case], replies: Sequence[CaseAnswer]) -> None:
        self.cases, self.replies = cases, replies
        self.found = [_comparable(reply, case) for reply, case in zip(replies, cases, strict=True)]

    def marks(self, expected: Sequence[Expected]) -> list[bool]:
        """Which cases equal what is expected."""
        return [
            is_correct(f, e.answer, case, TOLERANCE[reply.dtype])
            for f, e, case, reply in zip(self.found, expected, self.cases, self.replies, strict=True)
        ]

    def worth(self, rights: Sequence[bool]) -> float:
        """The shares of the cases that are right, together."""
        return sum(case.scoring.share for case, ok in zip(self.cases, rights, strict=True) if ok)

    def answered(self, marks: Sequence[bool], draw: int = 0) -> list[Answered]:
        """The answers as ideas are held against them."""
        return [
            Answered(case, f, ok, TOLERANCE[reply.dtype], draw)
            for case, reply, f, ok in zip(self.cases, self.replies, self.found, marks, strict=True)
        ]


@dataclass(frozen=True)
class _Interpretation:
    """The answers held against one way of being right.

    Attributes:
        applied: what stands in earlier cells.
        idea: what stands in this one: a convention, or an alternative that calls other earlier answers.
        marks: which cases equal that.
        earned: the same, without what counts only beside another case.
        worth: the shares that are earned, and how many cases are equal.
    """

    applied: AppliedIdeas
    idea: str
    marks: list[bool]
    earned: list[bool]
    worth: tuple[float, int]


def judge(
    reference: Reference,
    exercise: Exercise,
    variant: Variant,
    replies: Sequence[CaseAnswer],
    verdict: Verdict,
    around: Circumstances = ALONE,
    common: tuple[Variant, Sequence[CaseAnswer]] | None = None,
) -> Verdict:
    """Decide on one exercise.

    Args:
        replies: one for each case of `variant`.
        verdict: what is known so far; its status stays when it already names a failure.
        common: the variant common to the class and the replies to it: an idea is named only where they agree with it.

    Returns:
        The verdict with cases, points, status, diagnoses, and remarks.
    """
    cases = reference.cases(exercise, variant)
    asked = _Asked(cases, replies)
    found = asked.found
    interpretations = _interpretations(reference, exercise, variant, asked, around)
    best = max(interpretations, key=lambda interpretation: interpretation.worth)  # of equals the first
    model = _expected(reference, exercise, variant, best)

    named = Named([], [[] for _ in cases])
    if not all(best.marks) and any(f.status not in ("undone", "missing", "silent") for f in found):
        for interpretation in _to_name_under(interpretations):
            answers = asked.answered(interpretation.marks)
            second = _second(reference, exercise, common, interpretation)
            tried = name_ideas(
                reference, exercise, interpretation.applied, interpretation.idea, variant, answers, second
            )
            if tried.is_clear or _wholes(tried) > _wholes(named) or not named.diagnoses:
                named = tried
            if named.is_clear:
                break
    verdict.cases = [
        CaseVerdict(case.name, ok, case.scoring.share, "" if ok else _note(reply, f, e, case, cases), ids)
        for case, reply, f, e, ok, ids in zip(cases, replies, found, model, best.earned, named.per_case, strict=True)
    ]
    earned = best.worth[0]
    verdict.points = round(verdict.max_points * earned / asked.worth([True] * len(cases)), 2)
    if verdict.status == GRADED and earned == 0:
        states = {r.answer.status if r.answer else "error" if r.reason else "silent" for r in replies}
        verdict.status = NOT_ANSWERED if states <= {"undone", "missing"} else ERROR if states == {"error"} else GRADED
    if verdict.status == ERROR and not verdict.reason:
        verdict.reason = next(case.note for case in verdict.cases if not case.right)
    verdict.diagnoses = named.diagnoses
    convention = best.idea.partition("~")[2]
    verdict.idea = "".join(d.misconception for d in named.diagnoses if d.whole) + (
        f"~{convention}" if convention else ""
    )
    verdict.stand_ins = sorted(id for id, idea in best.applied if idea == STAND_IN)
    if any(reply.dtype == torch.float32 and (c.inputs() or c.weights) for reply, c in zip(replies, cases, strict=True)):
        verdict.remarks.append(FLOAT32)
    numbers = {"int": "Tensor", "float": "Tensor", "dict": "dict of tensors"}
    if any(ok and numbers.get(e.answer.kind) == f.kind for ok, e, f in zip(best.earned, model, found, strict=True)):
        verdict.remarks.append(SCALAR)
    if all(best.earned):
        verdict.remarks += [c.remark for c in exercise.conventions if c.id == convention and c.remark]
    return verdict


def _note(reply: CaseAnswer, found: ComparableAnswer, expected: Expected, case: Case, cases: Sequence[Case]) -> str:
    """What was found instead, without a single expected value; `cases` are all that the exercise has."""
    if reply.answer is None:
        return f"no answer came back: {untrusted.text(reply.reason, 300)}" if reply.reason else "no answer came back"
    tolerance = TOLERANCE[reply.dtype]
    if is_correct(found, expected.answer, case, tolerance):
        return f"{LITTLE}: it needs {_partners(case, cases)}"
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


def _wholes(named: Named) -> int:
    return sum(diagnosis.whole for diagnosis in named.diagnoses)


def _second(
    reference: Reference,
    exercise: Exercise,
    common: tuple[Variant, Sequence[CaseAnswer]] | None,
    interpretation: _Interpretation,
) -> tuple[Variant, list[Answered]] | None:
    """The answers to the common variant, read in the same way; None where it was not asked, or nothing came."""
    if common is None or all(reply.answer is None for reply in common[1]):
        return None
    variant, replies = common
    asked = _Asked(reference.cases(exercise, variant), replies)
    return variant, asked.answered(asked.marks(_expected(reference, exercise, variant, interpretation)), draw=1)


def _interpretations(
    reference: Reference,
    exercise: Exercise,
    variant: Variant,
    asked: _Asked,
    around: Circumstances,
) -> list[_Interpretation]:
    """Hold the answers against every way of being right, up to one that all of them equal.

    One way for all cases: to choose another for each would find wrong code right that follows none.
    """
    interpretations: list[_Interpretation] = []
    for applied in _applicable(around, reference.called(exercise, variant) if around.stand_ins else []):
        every = bool(around.stand_ins) and _stood(applied) == len(around.stand_ins)
        for idea in reference.ways(exercise, variant, with_stand_ins=every):
            expected = reference.answers(exercise, variant, idea, applied)
            marks = asked.marks(expected)
            earned = _paired(marks, asked.cases, expected)
            interpretations.append(_Interpretation(applied, idea, marks, earned, (asked.worth(earned), sum(marks))))
            if all(earned):
                return interpretations
    return interpretations


def _to_name_under(interpretations: Sequence[_Interpretation]) -> list[_Interpretation]:
    """For all that may stand in earlier cells the solution's best interpretation: ideas are looked for under it.

    Of the interpretations by which an answer calls some stand-ins only the best one of all is among them.
    """
    most = max(_stood(interpretation.applied) for interpretation in interpretations)
    foremost = max(interpretations, key=lambda interpretation: interpretation.worth)
    best: dict[AppliedIdeas, _Interpretation] = {}
    for interpretation in interpretations:
        if _stood(interpretation.applied) not in (0, most) and interpretation is not foremost:
            continue
        known = best.get(interpretation.applied)
        if not interpretation.idea.startswith(ALTERNATIVE) and not all(interpretation.marks):
            if known is None or interpretation.worth > known.worth:
                best[interpretation.applied] = interpretation
    return sorted(best.values(), key=lambda interpretation: interpretation.worth, reverse=True)


def _stood(applied: AppliedIdeas) -> int:
    """How many stand-ins there are among what stands in earlier cells."""
    return sum(idea == STAND_IN for _, idea in applied)


def _applicable(around: Circumstances, called: Sequence[str]) -> list[AppliedIdeas]:
    """What may stand in earlier cells: what the student's answers call, and what they do not.

    Stand-ins: none, all, and then some, of those for what the solution has `called`.
    """
    choices = [(None, (id, f"~{c}")) for id, c in around.conventions.items() if id not in around.stand_ins]
    sets = [tuple(entry for entry in chosen if entry is not None) for chosen in product(*choices)]
    sets.sort(key=len)
    stood = [(), around.stand_ins, *some_of([id for id in around.stand_ins if id in called])]
    return [(*chosen, *((id, STAND_IN) for id in ids)) for ids in dict.fromkeys(stood) for chosen in sets]


def some_of(stand_ins: Sequence[str]) -> list[tuple[str, ...]]:
    """Some of them, not all: right code may call one answer, and do the work of another itself."""
    return [each for count in range(len(stand_ins) - 1, 0, -1) for each in combinations(stand_ins, count)]


def _expected(
    reference: Reference, exercise: Exercise, variant: Variant, interpretation: _Interpretation
) -> list[Expected]:
    return reference.answers(exercise, variant, interpretation.idea, interpretation.applied)


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


def signature(replies: Sequence[CaseAnswer], cases: Sequence[Case]) -> str:
    """A digest of the answers to the variant common to the class: equal mistakes give equal digests."""
    digest = hashlib.sha256()
    for reply, case in zip(replies, cases, strict=True):
        f = _comparable(reply, case)
        digest.update(repr((f.status, f.error, f.where, f.message, f.keys, f.repeatable, f.changed)).encode())
        for name, value in sorted(f.values.items()):
            rounded = (value.double().nan_to_num() * 1e4).round().to(torch.int64)
            digest.update(repr((name, tuple(value.shape), rounded.flatten()[:4096].tolist())).encode())
    return digest.hexdigest()[:16]
