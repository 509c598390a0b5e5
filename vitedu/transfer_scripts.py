"""Scripted problems of transfer learning: transforms, loaders, freezing, heads, and fine-tuning.

As in scripted.py a function is run on a problem that is known to the last digit, and what it leaves behind is written
down as tensors. The models are the stand-ins of transfer_models.py, filled with numbers that come with the question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vitedu.as_tensor import as_tensor
from vitedu.cases import Case
from vitedu.elsewhere import FakeDeviceTensor
from vitedu.transfer_data import Pictures
from vitedu.transfer_models import fill, stand_in

Numbers = dict[str, Tensor]
READS = 40  # of one image, to see what is random in a transform
WHOLE, KEPT = 0.93, 0.70  # a side that is whole, and a share of the area that is large enough, read off a ramp
HISTORY = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "train_seconds", "val_seconds")


def run(thing: Callable[..., Any], case: Case, dtype: torch.dtype, space: Mapping[str, Any]) -> tuple[str, Numbers]:
    """Run a function on the problem of a case; see scripted.run."""
    return SCRIPTS[case.script](thing, dict(case.kwargs), dtype, space)


def flags(*facts: Any) -> Tensor:
    """Facts as zeros and ones."""
    return torch.tensor([int(bool(fact)) for fact in facts])


# --- transforms -----------------------------------------------------------------------------------


def transform(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """make_transforms, on images of one colour and on a ramp that shows what was cut out of it.

    kwargs: size, mean, std, train; colours (n, 3) from 0 to 255; sides (width, height) of the images.
    """
    mean, std, (width, height) = tuple(given["mean"]), tuple(given["std"]), given["sides"]
    apply = thing(given["size"], mean, std, given["train"])
    found = []
    for colour in given["colours"].to(torch.uint8).tolist():
        found.append(_image_tensor(apply(Image.new("RGB", (width, height), tuple(colour)))))
    ramp = _ramp(width, height)
    reads = [_image_tensor(apply(ramp)) for _ in range(READS if given["train"] else 3)]
    seen = torch.stack([_seen(read, mean, std, width, height) for read in reads])  # (reads, 5)
    right, down, wide, high, turned = seen.unbind(dim=1)
    return "Tensor", {
        "colours": torch.stack(found),
        "varies": flags(any(not torch.allclose(read, reads[0], atol=0.01) for read in reads)),
        "mirrored": flags((right < 0).any(), (down < 0).any(), (turned > 0.5).any()),
        "kept": flags(given["train"] or (torch.minimum(wide, high) > WHOLE).all(), (wide * high > KEPT).all()),
    }


def _image_tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim != 3:
        got = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"expected a tensor with three dimensions from the transform, got {got}")
    return value.detach().double()


def _ramp(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    x, y = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.zeros((height, width, 3))
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = x[None, :], y[:, None], 128
    return Image.fromarray(pixels.round().astype(np.uint8))


def _seen(read: Tensor, mean: tuple, std: tuple, width: int, height: int) -> Tensor:
    """What a transformed ramp shows: growth to the right and downwards, the shares of width and height, transposed."""
    if read.shape[0] != 3 or min(read.shape) < 2:
        return torch.zeros(5, dtype=torch.float64)
    pixels = read * torch.tensor(std)[:, None, None].double() + torch.tensor(mean)[:, None, None].double()
    red, green = pixels[0], pixels[1]
    rows, columns = read.shape[1:]
    right, down = (red[:, -1] - red[:, 0]).mean(), (green[-1] - green[0]).mean()
    # The outermost pixels' middles are half a pixel inside.
    wide = right.abs() * columns / (columns - 1) * (width - 1) / width
    high = down.abs() * rows / (rows - 1) * (height - 1) / height
    turned = (red[-1] - red[0]).mean().abs() > right.abs()
    return torch.stack([right, down, wide, high, turned.double()])


# --- loaders --------------------------------------------------------------------------------------


def loaders(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """make_loaders, on pictures whose colour is their number, and with transforms that leave their mark.

    kwargs: count, batch_size, val_fraction, seed, other_seed.
    """
    count, seed = given["count"], given["seed"]
    numbers = torch.arange(count)
    colours = torch.stack([numbers, 255 - numbers, numbers * 7 % 256], dim=1).to(torch.uint8)
    pictures = Pictures(colours[:, :, None, None].expand(-1, -1, 2, 2).contiguous(), _label(numbers))

    def marks(mark: int) -> Callable[[Any], Tensor]:
        def apply(image: Any) -> Tensor:
            if isinstance(image, Tensor):  # it went through the other one already
                return image + torch.tensor([0, 10 * mark])
            return torch.tensor([image.getpixel((0, 0))[0], mark])

        return apply

    def made(seed: int) -> tuple[Any, Any]:
        pair = thing(pictures, marks(1), marks(2), given["batch_size"], given["val_fraction"], seed)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"expected (train, val), got {type(pair).__name__}")
        return pair

    train, val = made(seed)
    first, second = (_epoch(train) for _ in range(2))
    tested, tested_again = (_epoch(val) for _ in range(2))
    again, other = _epoch(made(seed)[1]), _epoch(made(given["other_seed"])[1])
    parts = [set(epoch["number"].tolist()) for epoch in (first, tested)]
    every = [epoch["number"].tolist() for epoch in (first, second, tested)]
    ordered = sorted(tested["number"].tolist())
    return "tuple", {
        "train_batches": first["sizes"],
        "val_batches": tested["sizes"],
        "marks": torch.stack([first["mark"].amin(), first["mark"].amax(),
                                  tested["mark"].amin(), tested["mark"].amax()]),
        "labels_fit": flags(*(torch.equal(e["label"], _label(e["number"])) for e in (first, tested))),
        "parts": flags(not parts[0] & parts[1], len(parts[0] | parts[1]) == count,
                           all(len(set(numbers)) == len(numbers) for numbers in every)),
        "split": flags(ordered == sorted(again["number"].tolist()), ordered != sorted(other["number"].tolist()),
                           ordered != list(range(ordered[0], ordered[0] + len(ordered)))),
        "order": flags(every[0] != every[1], torch.equal(tested["number"], tested_again["number"])),
        "untouched": flags(pictures.transform is None and torch.equal(pictures.images[:, 0, 0, 0], colours[:, 0])
                               and torch.equal(torch.tensor(pictures.labels), _label(numbers))),
    }  # fmt: skip


def _label(numbers: Tensor) -> Tensor:
    return (3 * numbers + 1) % 11


def _epoch(loader: Any) -> Numbers:
    """Everything that a loader yields once."""
    batches = [(images.long(), torch.as_tensor(labels)) for images, labels in loader]
    images = torch.cat([images for images, _ in batches])
    return {
        "number": images[:, 0], "mark": images[:, 1], "label": torch.cat([labels for _, labels in batches]),
        "sizes": torch.tensor([len(labels) for _, labels in batches]),
    }  # fmt: skip


# --- models ---------------------------------------------------------------------------------------


def _model(given: dict, dtype: torch.dtype) -> nn.Module:
    """kwargs: kind, width, classes, drop (see stand_in), and values to fill it with."""
    model = stand_in(given["kind"], given["width"], given["classes"], given.get("drop", 0.0)).to(dtype)
    return fill(model, given["values"])


def _state(model: nn.Module) -> Numbers:
    return {name: t.detach().clone() for name, t in model.state_dict().items()}


def _moved(before: Numbers, model: nn.Module) -> Tensor:
    """For each entry of the old state_dict whether it is another one now, bit by bit."""
    after = model.state_dict()
    return flags(*(name not in after or not torch.equal(t, after[name]) for name, t in before.items()))


def freeze(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """freeze_all_but, then train() and a forward pass: what learns, which dropouts act, which statistics move.

    kwargs: those of _model; names; x, images.
    """
    model = _model(given, dtype)
    before, names = _state(model), [name for name, _ in model.named_parameters()]
    acted = {name: False for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    thing(model, list(given["names"]))
    named = dict(model.named_parameters())
    found = {
        "trainable": flags(*(name in named and named[name].requires_grad for name in names)),
        "state": _moved(before, model),
    }
    model.train()

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            acted[name] = acted[name] or not torch.equal(inputs[0], out)

        return hook

    for name, module in model.named_modules():
        if name in acted:
            module.register_forward_hook(note(name))
    out = model(given["x"].to(dtype))
    found["buffers"] = _moved(before, model)
    found["dropouts"] = flags(*acted.values()) if acted else flags(0)
    learns = [p for p in model.parameters() if p.requires_grad]
    loss = sum((part**2).sum() for part in (out if isinstance(out, tuple) else (out,)))
    if learns and loss.requires_grad:
        loss.backward()
    found["gradients"] = flags(*(name in named and named[name].grad is not None for name in names))
    return "NoneType", found


HEADS = ("head", "head_dist", "classifier", "fc")


def replace_head(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """replace_head on a model whose parameters are frozen; with `meta` on a device without numbers, in float16.

    kwargs: those of _model; new_classes; x, images; meta.
    """
    model = _model(given, torch.float32).requires_grad_(False)
    if given.get("meta"):
        model = model.to("meta", torch.float16)
    before = _state(model)
    result = thing(model, given["new_classes"])
    model = result if isinstance(result, nn.Module) else model
    after = model.state_dict()
    own = [name for name in before if name.split(".")[0] in HEADS]
    here = [after[name] for name in own if name in after]
    found = {
        "shapes": torch.tensor([[*t.shape, 0][:2] for t in here] or [[0, 0]]),
        "names": torch.tensor([len(after), len(set(after) - set(before)), len(set(before) - set(after))]),
        "learns": flags(*(p.requires_grad for p in model.parameters())),
        "place": flags(*(t.device == before[own[0]].device and t.dtype == before[own[0]].dtype for t in here)),
    }
    if not given.get("meta"):
        rest = {name: t for name, t in before.items() if name not in own}
        found["rest"] = _moved(rest, model)
        rows = min(given["classes"], given["new_classes"])
        found["fresh"] = flags(*(not torch.allclose(after[n][:rows], before[n][:rows]) for n in own if n in after))
        out = model.train()(given["x"].float())
        out = out if isinstance(out, tuple) else (out,)
        found["logits"] = torch.tensor([list(logits.shape) for logits in out])
        sums = [bool(((logits.sum(1) - 1).abs() < 1e-3).all()) for logits in out]
        found["probabilities"] = flags(*sums)
    return "Module", found


def head_loss(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """two_head_loss with its gradients, and head_accuracy, for the outputs of one head or of two.

    kwargs: first and perhaps second, logits (B, C); labels; heads, the ways to count.
    """
    outputs = [given[name].to(dtype).clone().requires_grad_() for name in ("first", "second") if name in given]
    labels = given["labels"]
    loss = thing(tuple(outputs) if len(outputs) > 1 else outputs[0], labels)
    if not isinstance(loss, Tensor):
        raise TypeError(f"expected the loss as a tensor, from which gradients flow back, got {type(loss).__name__}")
    found = {"loss": loss.detach().reshape(loss.shape).double()}
    found["graph"] = flags(loss.requires_grad, True, False)
    gradients = torch.autograd.grad(loss.sum(), outputs, allow_unused=True) if loss.requires_grad else [None] * 2
    for i, (logits, gradient) in enumerate(zip(outputs, gradients, strict=False)):
        found[f"gradient{i}"] = torch.zeros_like(logits) if gradient is None else gradient
    plain = [logits.detach() for logits in outputs]
    asked = tuple(plain) if len(plain) > 1 else plain[0]
    count, kind = space["head_accuracy"], "Tensor"
    for heads in given["heads"]:
        value = count(asked, labels, heads) if heads else count(asked, labels)
        number = as_tensor(value)
        if number is None:
            raise TypeError(f"expected a number from head_accuracy, got {type(value).__name__}")
        found[f"accuracy_{heads or 'usual'}"] = number.detach().double()
    return kind, found


# --- fine-tuning ----------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until somebody turns it; it takes the place of those in the module `time`.

    Only the thread that asks sees it: a kernel's other threads go on with the real time.
    """

    NAMES = ("perf_counter", "time", "monotonic", "process_time", "thread_time")

    def __init__(self) -> None:
        self.now, self.asked, self._thread = 1000.0, False, threading.get_ident()

    @contextmanager
    def instead(self) -> Iterator[None]:
        """Let `time.perf_counter()` and its like tell this clock's time."""
        kept = {name: getattr(time, name) for name in (*self.NAMES, *(f"{name}_ns" for name in self.NAMES))}
        try:
            for name, real in kept.items():
                setattr(time, name, self._hand(real, 1e9 if name.endswith("_ns") else 0))
            yield
        finally:
            for name, real in kept.items():
                setattr(time, name, real)

    def _hand(self, real: Callable[[], float], nanoseconds: float) -> Callable[[], float]:
        def tell() -> float:
            if threading.get_ident() != self._thread:
                return real()
            self.asked = True
            return round(self.now * nanoseconds) if nanoseconds else self.now

        return tell


class Timed:
    """Batches that take their time: each turns the clock on before it comes. Neither length nor dataset."""

    def __init__(self, given: dict, prefix: str, dtype: torch.dtype, clock: Clock) -> None:
        x, y, sizes = (given[prefix + name] for name in ("x", "y", "batches"))
        self._x, self._y = x.to(dtype).split(list(sizes)), y.split(list(sizes))
        self._elsewhere, self._clock, self._step = bool(given.get("elsewhere")), clock, given[prefix + "seconds"]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in zip(self._x, self._y, strict=True):
            self._clock.now += self._step
            x, y = x.clone(), y.clone()
            yield (FakeDeviceTensor(x), FakeDeviceTensor(y)) if self._elsewhere else (x, y)


def fine_tune(thing: Callable[..., Any], given: dict, dtype: torch.dtype, space: Mapping[str, Any]) -> Any:
    """fine_tune on a model with gradients left from before, with everything that it left behind.

    kwargs: those of _model; names, epochs, lr; x (n, C, H, W), y (n,), batches (sizes), seconds (of a batch), and the
    same with "val_" before the name; elsewhere.
    """
    model, clock = _model(given, dtype), Clock()
    names = [name for name, _ in model.named_parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before, passes, stepped = _state(model), [], []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes.append((module.training, torch.is_grad_enabled()))

    model.register_forward_pre_hook(look)
    step_hook = register_optimizer_step_pre_hook(
        lambda optimizer, *_: stepped.append({id(p) for group in optimizer.param_groups for p in group["params"]})
    )
    train, val = Timed(given, "", dtype, clock), Timed(given, "val_", dtype, clock)
    started = time.perf_counter()
    try:
        with clock.instead():
            result = thing(model, train, val, list(given["names"]), given["epochs"], given["lr"], torch.device("cpu"))
    finally:
        step_hook.remove()
    elapsed = time.perf_counter() - started
    kind, found = _history(result)
    if not clock.asked:  # another clock than those of the module `time`: real seconds
        expected = {"train": len(given["batches"]) * given["seconds"],
                    "val": len(given["val_batches"]) * given["val_seconds"]}  # fmt: skip
        for part, seconds in expected.items():
            told = found[f"{part}_seconds"]
            if told.shape == (given["epochs"],) and (told > 0).all() and told.sum() <= elapsed:
                found[f"{part}_seconds"] = torch.full_like(told, seconds)
    parameters = dict(model.named_parameters())
    frozen = {id(p) for p in parameters.values() if not p.requires_grad}
    state = _state(model)
    found |= {
        "moved": _moved(before, model),
        "state": _joined([t for name, t in state.items() if name not in before or not torch.equal(t, before[name])]),
        "trainable": flags(*(name in parameters and parameters[name].requires_grad for name in names)),
        "optimizer_holds_frozen": flags(any(held & frozen for held in stepped)),
        "val_passes": flags(any(not training and gradients for training, gradients in passes)),
    }  # fmt: skip
    return kind, found


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.float64), *(t.double().flatten() for t in tensors)])


def _history(result: Any) -> tuple[str, Numbers]:
    """The six lists of a history, as in scripted.numbers."""
    from vitedu.scripted import numbers  # it names this module's scripts

    return numbers(result, HISTORY)


SCRIPTS = {
    "transform": transform, "loaders": loaders, "freeze": freeze, "replace_head": replace_head,
    "head_loss": head_loss, "fine_tune": fine_tune,
}  # fmt: skip
