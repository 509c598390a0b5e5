"""The stand-ins of Labs 1 to 3: they keep the contract, compute something else, and later exams judge by them as well.

In the second half a stand-in takes an earlier exercise's place in the lab's own code. Right code of a later exercise
must then agree with the plain model answer, with the model answer under the stand-in, or with an alternative that calls
it; wrong code must agree with none of them.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import pytest
import torch

from autograder.judging.reference_answers import Reference, one_thread
from autograder.labs.lab import find_lab
from autograder.labs.variants import Variant
from vitedu.probe.ask import ask, asks_for_float32
from vitedu.probe.case import Case, ModuleCase
from vitedu.probe.comparison import TOLERANCE, ComparableAnswer, comparable, is_correct, is_same_answer

LABS = {key: Reference(find_lab(key)) for key in ("lab1", "lab2", "lab3")}
STAND_INS: dict[str, dict[str, tuple[str, ...]]] = {
    key: importlib.import_module(f"vitedu.stand_ins.{key}").STAND_INS for key in LABS
}
EXERCISES = [(lab, exercise) for lab, found in STAND_INS.items() for exercise in found]
NAMES = [(lab, exercise, name) for lab, exercise in EXERCISES for name in STAND_INS[lab][exercise]]
Codes = tuple[tuple[str, str], ...]  # (grade_id, code) of replaced cells


def bound(lab: str, exercises: Sequence[str]) -> Codes:
    """The cells that take the place of these exercises' answers."""
    found = STAND_INS[lab]
    return tuple((id, f"from vitedu.stand_ins.{lab} import {', '.join(found[id])}") for id in exercises)


class Given:
    """What the lab's own code gives for an exercise's cases with some cells replaced.

    Its items are the answer and the dtype in which the case was asked. Each is asked when it is looked at: most wrong
    codes differ in the first case.
    """

    def __init__(self, lab: str, id: str, variant: int, codes: Codes) -> None:
        self.reference, self.codes = LABS[lab], codes
        self.cases, self.found = cases_of(lab, id, variant), []

    def __iter__(self) -> Iterator[tuple[ComparableAnswer, torch.dtype]]:
        for place, case in enumerate(self.cases):
            if place == len(self.found):
                self.found.append(self.asked(case))
            yield self.found[place]

    def asked(self, case: Case) -> tuple[ComparableAnswer, torch.dtype]:
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names, dtype = self.reference.namespace(self.codes), torch.float64
            target = None if any(name not in names for name in case.names) else names[case.target]
            answer = ask(target, case, namespace=names)
            if asks_for_float32(answer):
                dtype = torch.float32
                answer = ask(target, case, dtype, namespace=names)
        return comparable(answer, case, TOLERANCE[dtype]), dtype


given = cache(Given)


def cases_of(lab: str, id: str, variant: int) -> list[Case]:
    return LABS[lab].cases(LABS[lab].lab.exercise(id), Variant(b"stand-ins", id, variant))


def is_right(found: Given, reading: Given) -> bool:
    """Whether the judge would give all points where this reading is expected."""
    return all(
        is_correct(f, e, case, TOLERANCE[dtype])
        for (f, dtype), (e, _), case in zip(found, reading, found.cases, strict=True)
    )


def alike(some: Given, others: Given) -> bool:
    """Whether two lists of answers are the same."""
    return all(
        is_same_answer(a, b, TOLERANCE[dtype], nan=True, nondeterministic=case.scoring.random)
        for (a, dtype), (b, _), case in zip(some, others, some.cases, strict=True)
    )


# --- the contract


def signatures(target: Any) -> Iterator[inspect.Signature]:
    for each in (target.__init__, target.forward) if inspect.isclass(target) else (target,):
        yield inspect.signature(each, eval_str=True)


@pytest.mark.parametrize(("lab", "exercise", "name"), NAMES)
def test_it_is_called_as_the_solution_is_and_says_what_it_does(lab, exercise, name):
    mine, theirs = (LABS[lab].namespace(codes)[name] for codes in (bound(lab, [exercise]), ()))
    assert mine.__module__ == f"vitedu.stand_ins.{lab}" and list(signatures(mine)) == list(signatures(theirs))
    assert mine.__doc__ != theirs.__doc__ and mine.__doc__.split("\n")[0].endswith(".")


@pytest.mark.parametrize(("lab", "id"), EXERCISES)
def test_its_answers_have_the_solutions_form_and_other_numbers(lab, id, variant=0):
    plain, mine = given(lab, id, variant, ()), given(lab, id, variant, bound(lab, [id]))
    for case, (a, _), (b, _) in zip(plain.cases, plain, mine, strict=True):
        if case.scoring.raises:
            assert is_correct(b, a, case, TOLERANCE[torch.float64])
            continue
        assert (a.status, a.kind, a.keys, a.changed, a.repeatable) == (
            b.status,
            b.kind,
            b.keys,
            b.changed,
            b.repeatable,
        )
        assert {n: (t.shape, t.dtype) for n, t in a.values.items()} == {
            n: (t.shape, t.dtype) for n, t in b.values.items()
        }
        assert all(torch.isfinite(t).all() for t in b.values.values())
        assert case.scoring.random or case.scoring.paired or not is_same_answer(a, b, 1e-2), case.name
    for m in LABS[lab].lab.exercise(id).misconceptions:
        assert not alike(mine, given(lab, id, variant, ((id, m.code),))), m.id


@pytest.mark.parametrize(("lab", "exercise", "name"), [one for one in NAMES if one[2][0].isupper()])
def test_a_module_has_the_solutions_state(lab, exercise, name):
    mine, theirs = (LABS[lab].namespace(codes)[name] for codes in (bound(lab, [exercise]), ()))
    cases = [c for c in cases_of(lab, exercise, 0) if isinstance(c, ModuleCase)]
    built = [case for case in cases if case.target == name and not case.construct_only]
    assert built
    for case in built:
        one, other = (cls(*case.init, **case.init_kwargs) for cls in (mine, theirs))
        assert {k: (t.shape, t.dtype) for k, t in one.state_dict().items()} == {
            k: (t.shape, t.dtype) for k, t in other.state_dict().items()
        }
        assert {k for k, p in one.named_parameters() if p.requires_grad} == one.state_dict().keys()


# --- later exercises under stand-ins


def later_pairs() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(lab, exercises with a stand-in, later exercise): each earlier one alone, and all of them."""
    for lab, found in STAND_INS.items():
        order = [e.id for e in LABS[lab].lab.exercises if not e.trained]
        for place, later in enumerate(order):
            earlier = [id for id in order[:place] if id in found]
            yield from ((lab, (id,), later) for id in earlier)
            # In Lab 3 each class is made of the one before, so that the last stand-in leaves the others nothing to do.
            if len(earlier) > 1 and lab != "lab3":
                yield lab, tuple(earlier), later


class Readings:
    """What counts as right in a later exercise while some earlier ones have stand-ins, and whether a code is."""

    def __init__(self, lab: str, earlier: tuple[str, ...], id: str, variant: int) -> None:
        self.id, self.exercise = id, LABS[lab].lab.exercise(id)
        self.asked: Callable[[Codes], Given] = lambda codes: given(lab, id, variant, codes)
        self.put, self.out = bound(lab, earlier), tuple((each, "") for each in earlier)
        self.model = LABS[lab].code(id)
        self.alternatives = {a.name: a.code for a in self.exercise.alternatives}
        accepted = [self.model, *(c.applied(self.model) for c in self.exercise.conventions)]
        self.right = {
            f"{how}, convention {i}": self.asked((*codes, (id, code)))
            for how, codes in (("plain", ()), ("under the stand-ins", self.put))
            for i, code in enumerate(accepted)
        }
        self.right |= {name: self.under(code) for name, code in self.alternatives.items() if self.calls(code)}

    def under(self, code: str) -> Given:
        """The answers of a code while the stand-ins are in place."""
        return self.asked((*self.put, (self.id, code)))

    def calls(self, code: str) -> bool:
        """Whether a code needs the earlier exercises: without them its answers are others."""
        return not alike(self.asked(((self.id, code),)), self.asked((*self.out, (self.id, code))))

    def of(self, code: str, but: str = "") -> list[str]:
        """The readings by which a code is right, other than itself."""
        return [name for name, reading in self.right.items() if name != but and is_right(self.under(code), reading)]


# Each calls the earlier exercise where the solution does not, or the other way round: it agrees with itself alone.
BY_ITSELF = {
    "the first exercise without a mask, where and -1e9 with one",
    "the weights as wide matrices, one linear for all heads",
    "the pixels' places found by patchify itself",
    "pixel_unshuffle, the convolution as a product",
    "rows of position looked up by number, a product as convolution",
    "the first exercise's weights, the values mixed in a product of its own",
    "the first exercise's weights, heads in front of the batch",
    "the first exercise's weights between einsum lines",
    "both through patchify",
    "the kernels cut by patchify, as images of one patch",
    "patchify and the weights of conv_as_linear",
    "the block's two sums written out with its parts",
}


@pytest.mark.parametrize(("lab", "earlier", "later"), list(later_pairs()))
def test_a_later_exercise_is_judged_under_stand_ins_as_well_as_without(lab, earlier, later, variant=0):
    readings = Readings(lab, earlier, later, variant)
    if readings.calls(readings.model):
        assert not alike(readings.asked(()), readings.asked(readings.put)), "the stand-in shows nowhere"
    for name, code in readings.alternatives.items():
        itself = name in BY_ITSELF and is_right(readings.under(code), readings.under(code))
        assert readings.of(code, but=name) or itself, name
    for m in readings.exercise.misconceptions:
        assert not readings.of(m.code), m.id
