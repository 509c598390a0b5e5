"""Notes on Lab 5's and Lab 6's scenarios: a wrong answer to each, and the sentence about it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from support.notes import said
from vitedu.labs.lab6.stub_models import image_shape
from vitedu.probe.case import ScenarioCase

VALUES = torch.randn(97, generator=torch.Generator().manual_seed(0)).double()

# --- Lab 5 ----------------------------------------------------------------------------------------


def test_moved_weights():
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4).double() / 50
    asked = ScenarioCase(
        "", "f", scenario="lab5.port_weights", weights={"bias": torch.tensor([0.5, -1.0]).double()},
        parameters={"images": images, "library": "torchvision"},
    )  # fmt: skip

    def made(state, config, more=0.0):
        from torchvision.models import VisionTransformer

        model = VisionTransformer(4, 2, 1, 1, 4, 4, num_classes=2).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            model.heads.head.bias.copy_(state["bias"] + more)
        return model

    def emptied(state, config):
        model = made(state, config)
        state.clear()
        return model

    def off(state, config):
        return made(state, config, more=0.25)

    what = "output of the model that comes back"
    assert said(asked, made, off, True) == f"{what}: at [0, 0] expected 0.5, got 0.75 (4 of 4 values differ)"
    assert said(asked, made, off, False) == f"the {what} differs (4 of 4 values, the first at [0, 0])"
    for values in (True, False):
        assert said(asked, made, emptied, values) == "the state_dict that was given is another one afterwards"


# --- Lab 6 ----------------------------------------------------------------------------------------


def transfer(scenario: str, **parameters: Any) -> ScenarioCase:
    return ScenarioCase("", "f", scenario=f"lab6.{scenario}", parameters=parameters)


def transforms(size, mean, std, train, *, first=None):
    middle = v2.RandomResizedCrop(size, scale=(0.8, 1.0)) if train else v2.Resize((size, size))
    steps = [first or middle, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    return v2.Compose(steps)


def with_first(first: Callable[[int], nn.Module], mean: tuple[float, ...] | None = None) -> Callable[..., Any]:
    return lambda size, given, std, train: transforms(size, mean or given, std, train, first=first(size))


TRANSFORMS = [
    (False, with_first(lambda size: v2.Resize((size, size)), (0.0, 0.0, 0.0)),
     "image of one colour, (255, 255, 255): at [0, 0, 0] expected 2, got 4 (300 of 300 values differ)",
     "the image of one colour, (255, 255, 255) differs (300 of 300 values, the first at [0, 0, 0])"),
    (False, with_first(lambda size: v2.Resize((size + 1, size))),
     "image of one colour, (255, 255, 255): shape: expected (3, 10, 10), got (3, 11, 10)",
     "image of one colour, (255, 255, 255): shape: expected (3, 10, 10), got (3, 11, 10)"),
    (False, with_first(lambda size: v2.RandomResizedCrop(size, scale=(0.99, 1.0))), "no image comes out twice", None),
    (True, with_first(lambda size: v2.Resize((size, size))), "an image comes out the same each time", None),
    (False, with_first(lambda size: v2.Compose([v2.Resize((14, 14)), v2.CenterCrop(size)])),
     "a part of the image is cut off\nand 1 more differs\nmore than 30 percent of the image are cut off", None),
    (False, with_first(lambda size: v2.Compose([v2.Resize((size, size)), v2.RandomVerticalFlip(1.0)])),
     "some images are turned upside down", None),
]  # fmt: skip


@pytest.mark.parametrize(("train", "wrong", "public", "hidden"), TRANSFORMS)
def test_transforms(train, wrong, public, hidden):
    colours = torch.tensor([[255, 255, 255]])
    asked = transfer(
        "transform", size=10, mean=(0.5,) * 3, std=(0.25,) * 3, train=train, colours=colours, sides=(40, 40)
    )
    assert said(asked, transforms, wrong, True).startswith(public)
    assert said(asked, transforms, wrong, False).startswith(hidden or public)


class Part(torch.utils.data.Dataset):
    def __init__(self, pictures, indices, transform, labels=0):
        self.pictures, self.indices, self.transform, self.shift = pictures, indices, transform, labels

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, place):
        image, _ = self.pictures[self.indices[place]]
        _, label = self.pictures[self.indices[(place + self.shift) % len(self.indices)]]
        return self.transform(image), label


def loaders(pictures, train_transform, val_transform, batch_size, val_fraction, seed, **wrong):
    generator = torch.Generator().manual_seed(wrong.get("always", seed))
    order = torch.randperm(len(pictures), generator=generator).tolist()
    if wrong.get("sorted"):
        order.sort()
    held = round(val_fraction * len(pictures))
    train = Part(pictures, order if wrong.get("all") else order[held:], train_transform, wrong.get("labels", 0))
    val = Part(pictures, order[:held], train_transform if wrong.get("same") else val_transform)
    drop = wrong.get("drop", False)
    shuffled = [wrong.get("train_shuffled", True), wrong.get("val_shuffled", False)]
    return tuple(
        DataLoader(part, batch_size, shuffle=mixed, drop_last=drop and part is train)
        for part, mixed in zip((train, val), shuffled, strict=True)
    )


LOADERS = [
    ({"same": True},
     "validation images go through the transform for training images\nand 1 more differs\n"
     "mark that the transform of a second call leaves on validation images: expected 4, got 3",
     "validation images go through the transform for training images\nand 1 more differs\n"
     "the mark that the transform of a second call leaves on validation images differs"),
    ({"labels": 1}, "training images come with labels of other images", None),
    ({"always": 3}, "another seed gives the same split", None),
    ({"sorted": True}, "another seed gives the same split\nand 1 more differs\n"
                       "the validation images stand side by side in the dataset: nothing was shuffled", None),
    ({"train_shuffled": False}, "the training images come in the same order in each epoch", None),
    ({"val_shuffled": True}, "the validation images come in another order in each epoch", None),
    ({"all": True},
     "some images are in both parts\nand 1 more differs\nnumber of training batches: expected 4, got 5",
     "some images are in both parts\nand 1 more differs\nthe number of training batches differs"),
    ({"drop": True},
     "number of training batches: expected 4, got 3\nand 1 more differs\nsome images are in neither part",
     "the number of training batches differs\nand 1 more differs\nsome images are in neither part"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "public", "hidden"), LOADERS)
def test_loaders(wrong, public, hidden):
    asked = transfer("loaders", count=24, batch_size=5, val_fraction=0.25, seed=5, other_seed=6)
    for values, sentence in ((True, public), (False, hidden or public)):
        assert said(asked, loaders, lambda *given: loaders(*given, **wrong), values) == sentence


STUB = {"kind": "deit", "width": 4, "classes": 3, "values": VALUES}


def freeze(model, names):
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and not any(name.startswith(f"{n}.") for n in names):
            module.train = lambda mode=True, module=module: nn.Module.train(module, False)


def heads_too(model, names):
    freeze(model, [*names, "head"])


def dropouts_act(model, names):
    model.requires_grad_(False)
    for name in names:
        model.get_submodule(name).requires_grad_(True)


def reset(model, names):
    freeze(model, names)
    model.norm.weight.data += 1.0


FREEZING = [
    (heads_too,
     "head.weight is trainable and should be frozen\nand 3 more differ\nhead.bias is trainable and should be frozen\n"
     "head.weight gets a gradient and should not\nhead.bias gets a gradient and should not"),
    (dropouts_act, "the dropout pos_drop acts after model.train() and should not\nand 10 more differ"),
    (reset, "norm.weight has other values than before"),
    (lambda model, names: freeze(model, []), "blocks.1.norm1.weight is frozen and should be trainable\nand "),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "sentence"), FREEZING)
def test_freezing(wrong, sentence):
    asked = transfer("freeze", **STUB, drop=0.5, names=("blocks.1",), x=torch.randn(3, *image_shape("deit")))
    for values in (True, False):
        assert said(asked, freeze, wrong, values).startswith(sentence)


def test_at_most_twelve_further_differences_are_listed():
    asked = transfer("freeze", **STUB, drop=0.5, names=("blocks.1",), x=torch.randn(3, *image_shape("deit")))
    lines = said(asked, freeze, lambda model, names: freeze(model, []), True).split("\n")
    count = int(lines[1].split()[1])
    assert len(lines) == 15 and lines[-1] == f"... and {count - 12} others" and count == 20


def replaced(model, classes, names=("head", "head_dist"), bias=True, frozen=False):
    for name in names:
        old = model.get_submodule(name)
        new = nn.Linear(old.in_features, classes, bias=bias, device=old.weight.device, dtype=old.weight.dtype)
        setattr(model, name, new.requires_grad_(not frozen))
    return model


HEADS = [
    (lambda model, classes: replaced(model, classes, names=("head",)),
     "number of outputs of head_dist.weight: expected 5, got 3\nand 6 more differ\n",
     "the number of outputs of head_dist.weight differs\nand 6 more differ\n"),
    (lambda model, classes: replaced(model, classes, frozen=True),
     "head.weight is frozen and should be trainable\nand 3 more differ\nhead.bias is frozen and should be trainable\n",
     None),
    (lambda model, classes: replaced(model, classes, bias=False),
     "number of entries of the state_dict: expected 131, got 129\nand ",
     "the number of entries of the state_dict differs\nand "),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "public", "hidden"), HEADS)
def test_new_heads(wrong, public, hidden):
    asked = transfer("replace_head", **STUB, new_classes=5, x=torch.randn(2, *image_shape("deit")))
    assert said(asked, replaced, wrong, True).startswith(public)
    assert said(asked, replaced, wrong, False).startswith(hidden or public)


def both(outputs, labels):
    return (F.cross_entropy(outputs[0], labels) + F.cross_entropy(outputs[1], labels)) / 2


def counted(outputs, labels, heads="both"):
    logits = {"first": outputs[0], "second": outputs[1], "both": outputs[0] + outputs[1]}[heads]
    return (logits.argmax(1) == labels).double().mean().item()


def test_head_losses_and_accuracies():
    first, second = torch.tensor([[0.0, 0.0], [0.0, 2.0]]).double(), torch.tensor([[1.0, 0.0], [1.0, 0.0]]).double()
    asked = transfer("head_loss", first=first, second=second, labels=torch.tensor([0, 1]), heads=("", "second"))

    def told(loss, accuracy, values):
        return said(asked, both, loss, values, {"head_accuracy": counted}, {"head_accuracy": accuracy})

    # The losses are (log 2 + log(1 + e^-2)) / 2 and (log(1 + 1/e) + log(1 + e)) / 2: their mean is 0.6116.
    lines = told(lambda outputs, labels: 2 * both(outputs, labels), counted, True).split("\n")
    assert lines[:2] == ["loss: expected 0.6116, got 1.223", "and 2 more differ"]
    assert lines[2].startswith("gradient of the logits of head 1: at [0, 0] expected -0.125, got -0.25")
    assert told(both, lambda *given: 1.0, True) == (
        'result of head_accuracy(outputs, labels, "second"): expected 0.5, got 1'
    )
    assert told(both, lambda *given: 0.5, False) == "the result of head_accuracy(outputs, labels) differs"
    assert told(lambda outputs, labels: both(outputs, labels).detach(), counted, False).startswith(
        "no gradient flows back from the loss"
    )


TUNING = {
    **STUB, "drop": 0.0, "names": ("head", "head_dist"), "epochs": 2, "lr": 0.01,
    "x": torch.randn(5, *image_shape("deit")), "y": torch.tensor([0, 1, 2, 0, 1]), "batches": (3, 2), "seconds": 2.0,
    "val_x": torch.randn(3, *image_shape("deit")), "val_y": torch.tensor([0, 1, 2]), "val_batches": (3,),
    "val_seconds": 0.5,
}  # fmt: skip


def tuned(model, train_loader, val_loader, module_names, epochs, lr, device, **wrong):
    model.requires_grad_(False)
    for name in module_names:
        model.get_submodule(name).requires_grad_(True)
    every = [p for p in model.parameters() if wrong.get("all") or p.requires_grad]
    if wrong.get("all"):
        for p in every:
            p.grad = None
    optimizer = torch.optim.AdamW(every, lr=lr * wrong.get("rate", 1), weight_decay=0.0)
    history = {name: [] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")}
    history |= {"train_seconds": [], "val_seconds": []}
    for _ in range(epochs):
        for part, loader in (("train", train_loader), ("val", val_loader)):
            model.train(part == "train")
            started, losses, hits, count = time.perf_counter(), 0.0, 0, 0
            with torch.set_grad_enabled(part == "train" or bool(wrong.get("graph"))):
                for x, y in loader:
                    outputs = model(x)
                    outputs = outputs if isinstance(outputs, tuple) else (outputs, outputs)
                    loss = both(outputs, y)
                    if part == "train":
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                    hits += (sum(outputs).argmax(1) == y).sum().item()
                    losses, count = losses + loss.item() * len(y), count + len(y)
            history[f"{part}_loss"].append(losses / count)
            history[f"{part}_accuracy"].append(hits / count)
            history[f"{part}_seconds"].append(wrong.get("seconds", time.perf_counter() - started))
    return history


FINE_TUNING = [
    ({"seconds": 1.0},
     "train_seconds of epoch 1: expected 4, got 1\nand 3 more differ\nval_seconds of epoch 1: expected 0.5, got 1\n"
     "train_seconds of epoch 2: expected 4, got 1\nval_seconds of epoch 2: expected 0.5, got 1",
     "the train_seconds of epoch 1 differs\nand 3 more differ\nthe val_seconds of epoch 1 differs\n"
     "the train_seconds of epoch 2 differs\nthe val_seconds of epoch 2 differs"),
    ({"all": True}, "the optimizer holds frozen parameters", None),
    ({"graph": True}, "validation batches go through the model with gradients recorded", None),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "public", "hidden"), FINE_TUNING)
def test_fine_tuning(wrong, public, hidden):
    asked = transfer("fine_tune", **TUNING)
    for values, sentence in ((True, public), (False, hidden or public)):
        assert said(asked, tuned, lambda *given: tuned(*given, **wrong), values) == sentence


def test_fine_tuning_names_the_weights_by_step():
    asked = transfer("fine_tune", **TUNING)
    lines = said(asked, tuned, lambda *given: tuned(*given, rate=2), False).split("\n")
    assert lines[0].startswith("the train_loss of epoch 1 differs")
    weights = [line for line in lines if "after step" in line]
    assert weights[0] == "head.weight after step 4 differs" and weights[-1] == "head_dist.bias after step 4 differs"
