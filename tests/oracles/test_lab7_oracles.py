"""Lab 7's model answer against layers that we did not write, and mistakes that the oracles must see."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn

from autograder.judging.reference_answers import Reference
from autograder.labs.exam import changed
from autograder.labs.lab import find_lab, solution_cells

CODE = solution_cells("lab7_vit_or_cnn")["SmallCNN"]
LAB = Reference(find_lab("lab7"))
SPACE = LAB.namespace([])
MODEL = SPACE["SmallCNN"]
Maker = Callable[..., nn.Module]
pytestmark = pytest.mark.usefixtures("float64")


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def random(module: nn.Module) -> nn.Module:
    """The module with random numbers in all its parameters and running statistics."""
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if t.is_floating_point():
                t.copy_(torch.rand_like(t) + 0.5 if name.endswith("running_var") else torch.randn_like(t) * 0.5)
    return module


# --- the oracles: each takes the class under test -------------------------------------------------


def numpy_oracle(cls: Maker, size: tuple[int, int] = (12, 17)) -> None:
    """Everything in numpy, with windows over one image at a time."""
    model = random(cls(2, 5, 3)).eval()
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    images = torch.randn(2, 2, *size)
    rows = []
    for x in images.numpy():
        for i in (1, 2, 3):
            kernels, bias = state[f"conv{i}.weight"], state[f"conv{i}.bias"]
            windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
            x = np.einsum("chwij,ocij->ohw", windows, kernels) + bias[:, None, None]
            scale = state[f"norm{i}.weight"] / np.sqrt(state[f"norm{i}.running_var"] + 1e-5)
            x = (x - state[f"norm{i}.running_mean"][:, None, None]) * scale[:, None, None]
            x = np.maximum(x + state[f"norm{i}.bias"][:, None, None], 0)
            if i < 3:
                x = sliding_window_view(x, (2, 2), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
        rows.append(state["head.weight"] @ x.mean(axis=(1, 2)) + state["head.bias"])
    close(model(images), torch.from_numpy(np.stack(rows)))


def timm_oracle(cls: Maker, training: bool = True, size: int = 12) -> None:
    """timm's ConvNormAct, adaptive pool and classifier with the same weights, in both modes, with gradients."""
    from timm.layers import ConvNormAct, SelectAdaptivePool2d

    model, state, inside, blocks = random(cls(3, 4, 5)).train(training), {}, 3, []
    for i, outside in enumerate((5, 10, 20), start=1):
        blocks.append(ConvNormAct(inside, outside, 3, bias=True))
        blocks.append(nn.MaxPool2d(2) if i < 3 else SelectAdaptivePool2d(pool_type="avg", flatten=True))
        for key, value in model.state_dict().items():
            part, _, rest = key.partition(".")
            if part == f"conv{i}":
                state[f"{2 * i - 2}.conv.{rest}"] = value
            if part == f"norm{i}":
                state[f"{2 * i - 2}.bn.{rest}"] = value
        inside = outside
    state |= {f"6.{key}": value for key, value in model.head.state_dict().items()}
    library = nn.Sequential(*blocks, nn.Linear(20, 4))
    library.load_state_dict(state)
    library.train(training)
    images = torch.randn(4, 3, size, size, requires_grad=True)
    found, expected = model(images), library(images)
    close(found, expected)
    close(*(torch.autograd.grad(out.square().sum(), images)[0] for out in (found, expected)))
    close(model.norm2.running_mean, library[2].bn.running_mean)  # training has moved both by as much


def any_size_oracle(cls: Maker) -> None:
    """A shift by whole squares of both pools, far from the edges, changes no logit; any size is taken."""
    model = random(cls(1, 3, 2)).eval()
    images = torch.zeros(1, 1, 64, 64)
    images[..., 24:32, 24:32] = torch.randn(8, 8)
    close(model(images.roll((4, 8), dims=(2, 3))), model(images))
    assert model(torch.randn(2, 1, 20, 9)).shape == (2, 3)


@pytest.mark.parametrize("size", [(8, 12), (9, 14), (4, 4)])
def test_small_cnn_is_numpys(size):
    numpy_oracle(MODEL, size=size)


@pytest.mark.parametrize("training", [True, False])
def test_small_cnn_is_timms(training):
    timm_oracle(MODEL, training)


def test_a_shift_by_whole_squares_changes_nothing_and_any_size_is_taken():
    any_size_oracle(MODEL)


def test_its_parameters_are_those_of_the_formula():
    for channels, classes, width in ((3, 6, 8), (1, 10, 16), (2, 3, 5)):
        count = sum(p.numel() for p in MODEL(channels, classes, width).parameters())
        convolutions = 9 * (channels * width + 2 * width**2 + 8 * width**2) + 7 * width
        assert count == convolutions + 2 * 7 * width + (4 * width + 1) * classes


# --- what the notebook builds around it ---


def test_shifted_images_are_the_images_a_pixel_further():
    images = torch.arange(2 * 5 * 6.0).reshape(1, 2, 5, 6).expand(40, 2, 5, 6)
    found = SPACE["shifted"](images)
    assert found.shape == images.shape
    inner = {tuple(image[:, 1:-1, 1:-1].flatten().tolist()) for image in found}
    base = images[0]
    wanted = {
        tuple(base[:, 1 + i : 4 + i, 1 + j : 5 + j].flatten().tolist()) for i in (-1, 0, 1) for j in (-1, 0, 1)
    }  # fmt: skip
    assert inner <= wanted and len(inner) > 4


def test_a_confusion_matrix_has_a_row_for_each_true_class():
    from sklearn.metrics import confusion_matrix

    labels, predictions = torch.randint(4, (50,)), torch.randint(4, (50,))
    expected = confusion_matrix(labels, predictions, labels=range(4))
    assert SPACE["confusion"](predictions, labels, 4).tolist() == expected.tolist()


def test_a_training_ends_with_its_budget_and_with_a_learning_rate_of_nothing(monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    rates, step = [], torch.optim.AdamW.step

    def noted(self, *rest):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)

    class Steps:  # a clock on which each look costs a hundredth
        looks = 0

        @property
        def share(self) -> float:
            self.looks += 1
            return min(1.0, self.looks / 100)

    images, labels = torch.randn(20, 1, 3, 4).double(), torch.randint(2, (20,))
    before = model[1].weight.detach().clone()
    model.double()
    epochs = SPACE["train_within"](model, images, labels, Steps(), lr=0.1, batch_size=5)
    assert 0 < epochs < 100 and not torch.equal(before, model[1].weight)
    assert max(rates) > 0.09 and rates[0] < 0.03 and rates[-1] < 0.001


# --- mistakes planted in the model answer ---

PLANTED = [
    ("self.norm3(self.conv3(x))", "self.conv3(x)", timm_oracle),
    ("4 * width, kernel_size=3, padding=1", "4 * width, kernel_size=3", numpy_oracle),
    ("F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)", "F.relu(self.norm1(self.conv1(x)))", numpy_oracle),
    ("F.max_pool2d(F.relu(self.norm2", "F.avg_pool2d(F.relu(self.norm2", timm_oracle),
    ("F.relu(self.norm3(self.conv3(x)))", "self.norm3(self.conv3(x))", numpy_oracle),
    ("x.mean(dim=(2, 3))", "x.amax(dim=(2, 3))", numpy_oracle),
    ("x.mean(dim=(2, 3))", "x[:, :, 7, 7]", any_size_oracle),
    ("nn.BatchNorm2d(2 * width)", "nn.BatchNorm2d(2 * width, momentum=0.5)", timm_oracle),
    ("nn.BatchNorm2d(2 * width)", "nn.BatchNorm2d(2 * width, eps=1e-2)", timm_oracle),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "oracle"), PLANTED, ids=range(len(PLANTED)))
def test_a_planted_mistake_is_seen(old, new, oracle):
    wrong = LAB.namespace([("SmallCNN", changed(CODE, (old, new)))])["SmallCNN"]
    with pytest.raises(AssertionError):
        oracle(wrong)
