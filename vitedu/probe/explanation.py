"""Which wrong ideas are behind a list of answers? An idea is named only when nothing speaks against it.

It explains a case in which it gives what was answered, and something else than the model answer does. One case that
was answered right, and that the idea gets wrong, refutes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitedu.probe.case import Case
from vitedu.probe.comparison import APART, ComparableAnswer, Expected, is_correct, is_same_answer

MOST = 2  # ideas that are named together, where none explains everything


@dataclass(frozen=True)
class Answered:
    """The answer to one case.

    Attributes:
        draw: 0 for the student's own variant, 1 for the one that confirms an idea.
    """

    case: Case
    found: ComparableAnswer
    right: bool
    tolerance: float
    draw: int = 0


@dataclass(frozen=True)
class Version:
    """What an idea gives, and the model answer, one each a case, both under the same convention."""

    given: Sequence[Expected]
    model: Sequence[Expected]


@dataclass(frozen=True)
class Match:
    """An idea that explains wrong answers, and that no right one refutes.

    Attributes:
        places: of the wrong answers that it explains.
        whole: it explains all of them.
        by_chance: what it gives changes from run to run, so that in some case only its form could be compared.
    """

    id: str
    places: tuple[int, ...]
    whole: bool
    by_chance: bool = False


def in_cases(explained: int, wrong: int) -> str:
    """In how many cases an idea was found, as the beginning of a sentence."""
    return f"In {explained} of {wrong} wrong cases"


def scope(whole: bool, certain: bool, explained: int, wrong: int) -> str:
    """What an idea explains, as the beginning of a sentence."""
    equals = "equals" if certain else "probably equals"
    return f"This {equals}" if whole else f"{in_cases(explained, wrong)} this {equals}"


def explains(answered: Answered, given: Expected, model: Expected) -> bool:
    """Whether an idea gives this answer, and differs from the model answer by more than chance and rounding would."""
    random = given.nondeterministic
    if not is_same_answer(answered.found, given.answer, answered.tolerance, nan=True, nondeterministic=random):
        return False
    either = random or model.nondeterministic or answered.case.scoring.random
    return not is_same_answer(given.answer, model.answer, APART * answered.tolerance, nan=True, nondeterministic=either)


def refutes(answered: Answered, given: Expected, model: Expected) -> bool:
    """Whether a right answer shows that the idea is not behind it."""
    if is_correct(given.answer, model.answer, answered.case, answered.tolerance):
        return False
    return not is_same_answer(
        answered.found, given.answer, answered.tolerance, nan=True, nondeterministic=given.nondeterministic
    )


def match(id: str, answers: Sequence[Answered], versions: Sequence[Version]) -> Match | None:
    """How far an idea explains the answers, under the convention that fits best; None: not at all."""
    wrong = [i for i, answered in enumerate(answers) if not answered.right]
    best: tuple[int, ...] = ()
    by_chance = False
    for version in versions:
        places = tuple(i for i in wrong if explains(answers[i], version.given[i], version.model[i]))
        if len(places) <= len(best):
            continue
        draws = {answers[i].draw for i in places}
        if draws != {answers[i].draw for i in wrong}:  # not confirmed
            continue
        if not any(refutes(a, version.given[i], version.model[i]) for i, a in enumerate(answers) if a.right):
            best = places
            by_chance = any(version.given[i].nondeterministic for i in places)
    return Match(id, best, len(best) == len(wrong), by_chance) if best else None


def explain(answers: Sequence[Answered], ideas: Mapping[str, Sequence[Version]]) -> list[Match]:
    """All ideas that explain wrong answers; those that explain every one alone, where there are any.

    They keep their order, but that those come first of which all is compared.
    """
    found = [found for id, versions in ideas.items() if (found := match(id, answers, versions))]
    found.sort(key=lambda each: each.by_chance)
    return [each for each in found if each.whole] or found


def named(matches: Sequence[Match], answers: Sequence[Answered]) -> list[Match]:
    """The ideas to name: one that explains everything, or the one or two that explain most."""
    if matches and matches[0].whole:
        return [matches[0]]
    chosen: list[Match] = []
    open_places = {i for i, answered in enumerate(answers) if not answered.right and answered.draw == 0}
    while len(chosen) < MOST and matches:
        best = max(matches, key=lambda each: len(open_places.intersection(each.places)))
        if not open_places.intersection(best.places):
            break
        chosen.append(best)
        open_places.difference_update(best.places)
    return chosen
