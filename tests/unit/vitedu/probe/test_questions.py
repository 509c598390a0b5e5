"""Further forms of a question: images in any layout, parameters with or without a leading 1, modes, chance, numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, facts, right

IMAGES = torch.randn(2, 3, 4, 5).double()
TOLERANT = TOLERANCE[torch.float64]


def is_right(model, thing, case: Case, **space) -> bool:
    """Whether one object's answer equals another's."""
    expected, found = (facts(ask(t, case, space=space), case, TOLERANT) for t in (model, thing))
    return right(found, expected, case, TOLERANT)


@pytest.mark.parametrize("layout", ["channels_last", "cropped"])
def test_images_come_in_any_layout_with_the_same_values_and_gradients(layout):
    seen = []

    def f(images, flat):
        seen.append((images.is_contiguous(), flat.is_contiguous()))
        return images.square().sum((2, 3)) + flat.sum()

    plain = Case("", "f", args=(IMAGES, torch.ones(2).double()), gradients=True)
    expected, found = ask(f, plain), ask(f, replace(plain, layout=layout))
    assert seen[-2:] == [(False, True)] * 2
    for name, value in expected.tensors.items():
        torch.testing.assert_close(found.tensors[name], value)


class Shift(nn.Module):
    """Adds a parameter of a given shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(*shape))

    def forward(self, x):
        return x + self.position


def test_a_loose_parameter_may_lack_leading_ones_and_nothing_else():
    weights = {"position": torch.randn(1, 3, 5).double()}
    x = torch.randn(2, 3, 5).double()
    case = Case("", "M", args=(x,), init=(1, 3, 5), weights=weights, loose=("position",), gradients=True)
    assert is_right(Shift, lambda *_: Shift(1, 3, 5), case)
    assert is_right(Shift, lambda *_: Shift(3, 5), case)
    assert not is_right(Shift, lambda *_: Shift(2, 3, 5), case)
    assert not is_right(Shift, lambda *_: Shift(3, 1), case)
    assert not is_right(Shift, lambda *_: Shift(3, 5), replace(case, loose=()))


@pytest.mark.parametrize("train", [False, True])
def test_a_module_is_asked_in_the_mode_of_the_question(train):
    class Mode(nn.Module):
        def forward(self, x):
            return x * float(self.training)

    found = ask(Mode, Case("", "Mode", args=(torch.ones(2).double(),), init=(), train=train))
    assert found.tensors["out"].tolist() == [float(train)] * 2


def test_where_chance_is_asked_for_two_calls_must_differ():
    case = Case("", "D", args=(torch.ones(40).double(),), init=(0.5,), train=True, random=True)
    assert is_right(nn.Dropout, nn.Dropout, case)
    assert is_right(nn.Dropout, lambda p: nn.Dropout(0.2), case)  # where it stands and how large it is stays open
    assert not is_right(nn.Dropout, lambda p: nn.Identity(), case)
    assert not is_right(nn.Dropout, lambda p: nn.Sequential(nn.Dropout(p), nn.Unflatten(0, (5, 8))), case)


def count(model, trainable_only=False):
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


NUMBERS = Case(
    "", "count", model=(("a", "Linear", (2, 3)), ("n", "BatchNorm1d", (3,))), frozen=("a.w",), any_dtype=True,
    weights={"a.weight": torch.ones(3, 2)},
)  # fmt: skip


FORMS = [int, float, torch.tensor, np.int64, np.array, lambda n: torch.tensor(1.0 * n)]


@pytest.mark.parametrize("form", FORMS)
def test_a_number_is_a_number_in_any_form(form):
    assert ask(count, NUMBERS).tensors["out"].item() == 15
    assert ask(count, replace(NUMBERS, kwargs={"trainable_only": True})).tensors["out"].item() == 9
    assert is_right(count, lambda model: form(count(model)), NUMBERS)
    assert not is_right(count, lambda model: form(count(model) + 1), NUMBERS)


def test_an_array_is_no_tensor_where_a_tensor_is_asked_for():
    case = Case("", "f", args=(IMAGES,))
    assert not is_right(torch.relu, lambda x: torch.relu(x).numpy(), case)
    assert is_right(torch.relu, lambda x: torch.relu(x).numpy(), replace(case, any_dtype=True))


def test_a_single_layer_is_the_argument_itself():
    weights = {"conv.weight": torch.randn(4, 3, 2, 2).double(), "conv.bias": torch.zeros(4).double()}
    case = Case("", "f", model=(("conv", "Conv2d", (3, 4, 2, 2)),), weights=weights)
    found = ask(lambda conv: (conv.weight.flatten(1), conv.bias), case)
    assert torch.equal(found.tensors["out.0"], weights["conv.weight"].flatten(1)) and "out.1" in found.tensors


def test_a_function_of_a_module_that_the_notebook_builds():
    case = Case(
        "", "use", maker="M", init=(4, 3), args=(torch.ones(2, 4).double(),),
        weights={"weight": torch.ones(3, 4).double(), "bias": torch.zeros(3).double()},
    )  # fmt: skip
    assert case.names == ("use", "M")
    found = ask(lambda model, x: model(x) + 1, case, space={"M": nn.Linear})
    assert (found.tensors["out"] == 5).all()
    assert ask(lambda model, x: x, case, space={"M": lambda *_: nn.Linear(4, 2)}).misshapen
