"""Which wrong ideas are named in a verdict, held against what each gives in the same circumstances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autograder.judging.reference_answers import AppliedIdeas, Reference
from autograder.judging.verdict import Diagnosis
from autograder.labs.exam import Exercise
from autograder.labs.variants import Variant
from vitedu.probe.comparison import Expected
from vitedu.probe.explanation import Answered, Match, Version, explain, explains, named


@dataclass(frozen=True)
class Named:
    """The diagnoses, and for each case of the student's variant the ids that explain it.

    Attributes:
        is_clear: one idea explains everything, and nothing in it is left to chance.
    """

    diagnoses: list[Diagnosis]
    per_case: list[list[str]]
    is_clear: bool = False


def name_ideas(
    reference: Reference,
    exercise: Exercise,
    applied: AppliedIdeas,
    convention: str,
    variant: Variant,
    answers: Sequence[Answered],
    second: tuple[Variant, list[Answered]] | None,
) -> Named:
    """Name the ideas behind wrong answers.

    Args:
        applied: what stands in earlier cells.
        convention: under which most of the answers are right.
        answers: to the cases of `variant`.
        second: the variant that confirms, and the answers to it; without it, a name is said as probable.
    """
    variants = [variant, *([second[0]] if second else [])]
    every = [*answers, *(second[1] if second else [])]
    matches = _matches(reference, exercise, applied, convention, variants, every)
    per_case = [[m.id for m in matches if i in m.places] for i in range(len(answers))]
    wrong = sum(not answered.right for answered in answers)
    diagnoses = []
    for match in named(matches, every):
        m = exercise.misconception(match.id)
        explained = sum(place < len(answers) for place in match.places)
        diagnoses.append(
            Diagnosis(m.id, exercise.id, m.idea, m.question, match.whole, second is not None, explained, wrong)
        )
    is_clear = bool(matches) and matches[0].whole and not matches[0].by_chance
    return Named(diagnoses, per_case, is_clear)


def _matches(
    reference: Reference,
    exercise: Exercise,
    applied: AppliedIdeas,
    convention: str,
    variants: Sequence[Variant],
    answers: Sequence[Answered],
) -> list[Match]:
    """The ideas that fit. Most wrong answers are one idea through and through: then one case leaves few to ask for."""
    place = next(i for i, answered in enumerate(answers) if not answered.right)
    alone = slice(place, place + 1)
    for each in sorted(exercise.under(), key=lambda c: c != convention):
        model = reference.answers(exercise, variants[0], each, applied, alone)[0]
        given = {
            m.id: reference.answers(exercise, variants[0], f"{m.id}{each}", applied, alone)
            for m in exercise.misconceptions
            if each in exercise.under(m.id)
        }
        likely = [id for id, expected in given.items() if explains(answers[place], expected[0], model)]
        matches = explain(answers, _versions(reference, exercise, applied, each, variants, likely))
        if any(match.whole for match in matches):
            return matches
    every = [m.id for m in exercise.misconceptions]
    return explain(answers, _versions(reference, exercise, applied, convention, variants, every))


def _versions(
    reference: Reference,
    exercise: Exercise,
    applied: AppliedIdeas,
    convention: str,
    variants: Sequence[Variant],
    ids: Sequence[str],
) -> dict[str, list[Version]]:
    model = list(_over(reference, exercise, applied, variants, convention))
    return {
        id: [Version(list(_over(reference, exercise, applied, variants, f"{id}{convention}")), model)] for id in ids
    }


def _over(
    reference: Reference, exercise: Exercise, applied: AppliedIdeas, variants: Sequence[Variant], idea: str
) -> Iterator[Expected]:
    for variant in variants:
        yield from reference.answers(exercise, variant, idea, applied)
