"""Is this answer that answer? Shapes and kinds come before values, and nothing broadcasts."""

import dataclasses

import pytest
import torch

from vitedu.probe.ask import ask
from vitedu.probe.case import Answer, Case
from vitedu.probe.comparison import ComparableAnswer, Expected, close, explain, facts, right, same

T = 1e-6
X = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
CASE = Case("", "f", args=(X,), gradients=True)
NAN, INF = float("nan"), float("inf")


def given(f, case=CASE):
    return facts(ask(f, case), case, T)


def double(x):
    return 2 * x


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (X, X.clone(), True),
        (X, X * (1 + 1e-8), True),
        (X, X + 1e-4, False),
        (X, X.float(), True),
        (X, X.T, False),
        (X, X[None], False),
        (torch.ones(3), torch.ones(1), False),
        (torch.ones(3), torch.tensor(1.0), False),
        (torch.ones(2, 3), torch.ones(3), False),
        (torch.ones(3), torch.ones(3, dtype=torch.int64), False),
        (torch.ones(3, dtype=torch.int32), torch.ones(3, dtype=torch.int64), True),
        (torch.ones(0, 3), torch.ones(0, 3), False),
        (torch.tensor([NAN]), torch.tensor([NAN]), False),
        (torch.tensor([INF]), torch.tensor([INF]), True),
        (torch.tensor([INF]), torch.tensor([-INF]), False),
        (X, None, False),
    ],
)
def test_close(a, b, equal):
    assert close(a, b, T) is equal


def test_nan_equals_nan_only_where_a_wrong_answer_is_recognised():
    assert close(torch.tensor([NAN, 1.0]), torch.tensor([NAN, 1.0]), T, nan=True)
    assert not close(torch.tensor([NAN, 1.0]), torch.tensor([1.0, NAN]), T, nan=True)


def test_the_model_answer_is_right():
    assert right(given(double), given(double), CASE, T)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: 2 * x + 1e-3,
        lambda x: (2 * x).detach(),
        lambda x: 2 * x.detach() + 0 * x,
        lambda x: (2 * x,),
        lambda x: (2 * x)[None],
        lambda x: (2 * x)[:, :1],
        lambda x: (2 * x)[:0],
        lambda x: x.mul_(2),
        lambda x: 2 * x * torch.where(x == 1, NAN, 1.0),
        lambda x: 2 * x + 1e-2 * torch.rand_like(x),
        lambda x: None,
        lambda x: (2 * x).tolist(),
        lambda x: (2 * x).long(),
        lambda x: torch.zeros_like(x),
        lambda x: x,
        lambda x: 1 / 0,
    ],
)
def test_anything_else_is_not(wrong):
    assert not right(given(wrong), given(double), CASE, T)


def test_values_that_are_not_finite_are_never_right():
    def f(x):
        return x / 0

    assert same(given(f), given(f), T, nan=True)
    assert not right(given(f), given(f), CASE, T)


@pytest.mark.parametrize(
    ("error", "ok"),
    [
        (ValueError("10 and 3"), True),
        (ValueError("3, 10, and 7"), True),
        (ValueError("10"), False),
        (TypeError("10 and 3"), False),
        (NotImplementedError("TODO"), False),
        (None, False),
    ],
)
def test_an_expected_error_is_a_value_error_that_names_the_numbers(error, ok):
    case = Case("", "f", args=(X,), raises=(10, 3))

    def f(x):
        if error is not None:
            raise error

    found = given(f, case)
    assert right(found, found, case, T) is ok


def test_facts_of_changes_and_repetition():
    def f(x):
        x += 1
        return torch.rand_like(x)

    found = given(f)
    assert (found.changed, found.repeatable) == (("0",), False)
    assert (given(double).changed, given(double).repeatable) == ((), True)


def test_an_empty_result_is_repeatable_and_an_input_with_nan_unchanged():
    case = Case("", "f", args=(X * NAN, X[:0]))
    found = given(lambda x, empty: empty + 1, case)
    assert (found.changed, found.repeatable) == ((), True)


def test_a_change_of_shape_in_place_is_a_change():
    assert given(lambda x: x.detach().clone() if x.squeeze_().t_() is None else 2 * x).changed == ("0",)


def test_numbers_in_messages_do_not_matter_but_integers_are_kept():
    def f(x):
        raise RuntimeError("size 12 at 0x7f")

    found = given(f)
    assert (found.error, found.message) == ("RuntimeError", "size # at #x#f")
    assert 12 in found.integers


def test_answers_by_chance_are_compared_by_shape():
    a, b = given(torch.rand_like), facts(ask(torch.rand_like, CASE, seed=1), CASE, T)
    assert not same(a, b, T) and same(a, b, T, by_chance=True)
    assert not same(given(lambda x: torch.rand_like(x)[:1]), b, T, by_chance=True)
    assert not same(given(double), b, T, by_chance=True)  # repeatable, so it is no answer by chance


@pytest.mark.parametrize("field", ["status", "error", "message", "changed", "repeatable", "keys"])
def test_every_fact_counts(field):
    a = given(double)
    other = {"repeatable": False, "changed": ("0",), "keys": (("a",), (), ())}.get(field, "other")
    assert not same(a, dataclasses.replace(a, **{field: other}), T)


CASES = [CASE, Case("", "f", args=(X + 1,)), Case("", "f", args=(torch.zeros(2, 3, dtype=torch.float64),))]
IDEAS = {
    "triple": lambda x: 3 * x,
    "square": lambda x: x * x,
    "plus-one": lambda x: 2 * x + 1,
    "thrice": lambda x: x + x + x,
}
MISCONCEPTIONS = {id: [Expected(given(f, case)) for case in CASES] for id, f in IDEAS.items()}


def explained(f):
    found = [given(f, case) for case in CASES]
    rights = [right(a, given(double, case), case, T) for a, case in zip(found, CASES, strict=True)]
    return explain(found, rights, MISCONCEPTIONS, [T] * len(CASES))


def test_a_right_answer_is_not_explained():
    assert explained(double) == ([], [[], [], []])


def test_a_wrong_idea_is_recognised_in_every_case_the_right_ones_too():
    assert explained(lambda x: 3 * x) == (["triple", "thrice"], [["triple", "thrice"], ["triple", "thrice"], []])


def test_a_wrong_idea_in_some_cases_is_named_there():
    whole, per_case = explained(lambda x: x * x if x.sum() == 21 else 2 * x + 1)
    assert (whole, per_case) == ([], [["square"], ["plus-one"], ["plus-one"]])


def test_right_cases_do_not_speak_against_an_idea():
    whole, per_case = explained(lambda x: 2 * x + 1 if x.sum() == 21 else 2 * x)
    assert (whole, per_case) == (["plus-one"], [["plus-one"], [], []])


def test_an_unknown_mistake_stays_unnamed():
    assert explained(lambda x: x - 7) == ([], [[], [], []])


def test_no_answer_is_no_idea():
    silent = facts(Answer("undone"), CASE, T)
    assert isinstance(silent, ComparableAnswer)
    assert explain([silent], [False], {"triple": MISCONCEPTIONS["triple"][:1]}, [T]) == ([], [[]])
