"""Is this answer that answer? Shapes and kinds come before values, and nothing broadcasts."""

import dataclasses

import pytest
import torch

from vitedu.probe.ask import ask
from vitedu.probe.case import FunctionCase, Scoring
from vitedu.probe.comparison import close, comparable, is_correct, is_same_answer

T = 1e-6
X = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
CASE = FunctionCase("", "f", args=(X,), gradients=True)
NAN, INF = float("nan"), float("inf")


def given(f, case=CASE):
    return comparable(ask(f, case), case, T)


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
        (torch.tensor(86_567_656), torch.tensor(86_567_657), False),
        (torch.tensor(86_567_656).double(), torch.tensor(86_567_657).double(), False),
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
    assert is_correct(given(double), given(double), CASE, T)


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
    assert not is_correct(given(wrong), given(double), CASE, T)


def test_values_that_are_not_finite_are_never_right():
    def f(x):
        return x / 0

    assert is_same_answer(given(f), given(f), T, nan=True)
    assert not is_correct(given(f), given(f), CASE, T)


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
    case = FunctionCase("", "f", args=(X,), scoring=Scoring(raises=(10, 3)))

    def f(x):
        if error is not None:
            raise error

    found = given(f, case)
    assert is_correct(found, found, case, T) is ok


def test_facts_of_changes_and_repetition():
    def f(x):
        x += 1
        return torch.rand_like(x)

    found = given(f)
    assert (found.changed, found.repeatable) == (("0",), False)
    assert (given(double).changed, given(double).repeatable) == ((), True)


def test_an_empty_result_is_repeatable_and_an_input_with_nan_unchanged():
    case = FunctionCase("", "f", args=(X * NAN, X[:0]))
    found = given(lambda x, empty: empty + 1, case)
    assert (found.changed, found.repeatable) == ((), True)


def test_a_change_of_shape_in_place_is_a_change():
    assert given(lambda x: x.detach().clone() if x.squeeze_().t_() is None else 2 * x).changed == ("0",)


def test_numbers_in_messages_are_kept_but_addresses_do_not_matter():
    def f(x):
        raise RuntimeError("size 12 at 0x7f")

    found = given(f)
    assert (found.error, found.message) == ("RuntimeError", "size 12 at 0x")
    assert 12 in found.integers


def test_answers_by_chance_are_compared_by_shape():
    a, b = given(torch.rand_like), comparable(ask(torch.rand_like, CASE, seed=1), CASE, T)
    assert not is_same_answer(a, b, T) and is_same_answer(a, b, T, nondeterministic=True)
    assert not is_same_answer(given(lambda x: torch.rand_like(x)[:1]), b, T, nondeterministic=True)
    assert not is_same_answer(given(double), b, T, nondeterministic=True)  # repeatable, so it is no answer by chance


@pytest.mark.parametrize("field", ["status", "error", "where", "message", "changed", "repeatable", "keys"])
def test_every_fact_counts(field):
    a = given(double)
    other = {"repeatable": False, "changed": ("0",), "keys": (("a",), (), ())}.get(field, "other")
    assert not is_same_answer(a, dataclasses.replace(a, **{field: other}), T)
