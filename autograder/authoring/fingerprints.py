"""What the checks in the notebooks know: answers to public questions, of right code and of every wrong idea."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from autograder.judging.judge import some_of
from autograder.judging.reference_answers import AppliedIdeas, Reference, differ
from autograder.labs.exam import STAND_IN, Exercise
from autograder.labs.variants import Variant
from vitedu.checks.fingerprint_file import Fingerprint, StoredMisconception
from vitedu.checks.sketch import sketch
from vitedu.probe.comparison import Expected
from vitedu.probe.explanation import Version

PUBLIC = b"public"  # the secret of what is no secret
DRAWS = ("public", "confirming")


def fingerprints(reference: Reference) -> dict[str, Fingerprint]:
    """The fingerprints of a lab's exercises that are asked cases, by id."""
    exercises = [exercise for exercise in reference.lab.exercises if not exercise.trained]
    return {e.id: _fingerprint(reference, e, exercises[: exercises.index(e)]) for e in exercises}


def _fingerprint(reference: Reference, exercise: Exercise, before: Sequence[Exercise]) -> Fingerprint:
    first, second = (Variant(PUBLIC, exercise.id, name) for name in DRAWS)
    stand_ins = tuple((e.id, STAND_IN) for e in before if reference.lab.stand_in_names(e.id) and not e.stand_in)
    accepted = _accepted(exercise, before)
    answers, readings = _different(reference, exercise, first, accepted)
    ways = reference.ways(exercise, first, with_stand_ins=True) if stand_ins else []
    alone = [(*stand_ins, (exercise.id, way)) if way else stand_ins for way in ways]
    called = reference.called(exercise, first)
    some = some_of([id for id, _ in stand_ins if id in called])
    alone += [tuple((id, STAND_IN) for id in ids) for ids in some]
    right_alone, _ = _different(reference, exercise, first, alone)
    if right_alone and not differ(right_alone[0], answers[0]) and len(right_alone) == 1:
        stand_ins, right_alone = (), []  # it calls none of them
    return Fingerprint(
        reference.cases(exercise, first),
        [e.answer for e in answers[0]],
        {
            m.id: StoredMisconception(
                m.idea, m.question,
                _versions(reference, exercise, m.id, [first, second], ()),
                _versions(reference, exercise, m.id, [first], stand_ins) if stand_ins else [],
            )
            for m in exercise.misconceptions
        },
        [[e.answer for e in other] for other in answers[1:]],
        reference.cases(exercise, second),
        [_sketches(each) for each in _different(reference, exercise, second, accepted)[0]],
        [_sketches(each) for each in right_alone],
        [_remark(exercise, applied) for applied in readings[1:]],
    )  # fmt: skip


def _accepted(exercise: Exercise, before: Sequence[Exercise]) -> list[AppliedIdeas]:
    """Every set of conventions, here and in earlier exercises; the plain one first."""
    choices = [[(e.id, c) if c else None for c in e.under()] for e in (*before, exercise)]
    return [tuple(entry for entry in chosen if entry is not None) for chosen in product(*choices)]


def _remark(exercise: Exercise, applied: AppliedIdeas) -> str:
    """What a student is told whose answer is right under these conventions."""
    own = dict(applied).get(exercise.id, "")
    return next((c.remark for c in exercise.conventions if own == f"~{c.id}"), "")


def _different(
    reference: Reference, exercise: Exercise, variant: Variant, applied: Sequence[AppliedIdeas]
) -> tuple[list[list[Expected]], list[AppliedIdeas]]:
    """What comes out under each, only once where it is the same; and for each of these the first that gives it."""
    found: list[list[Expected]] = []
    under: list[AppliedIdeas] = []
    for each in applied:
        answer = reference.answers(exercise, variant, applied=each)
        if all(differ(answer, known) for known in found):
            found.append(answer)
            under.append(each)
    return found, under


def _versions(
    reference: Reference, exercise: Exercise, id: str, variants: Sequence[Variant], applied: AppliedIdeas
) -> list[Version]:
    """Sketches of an idea and of the model answer, under each convention that changes the idea's code."""

    def over(idea: str) -> list[Expected]:
        return _sketches([e for v in variants for e in reference.answers(exercise, v, idea, applied)])

    return [Version(over(f"{id}{convention}"), over(convention)) for convention in exercise.under(id)]


def _sketches(answers: Sequence[Expected]) -> list[Expected]:
    return [Expected(sketch(each.answer), each.nondeterministic) for each in answers]
