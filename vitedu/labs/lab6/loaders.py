"""Scenario of make_loaders: what a training loader and a validation loader give in an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitedu.data.image_dataset import Pictures
from vitedu.labs.lab6.recording import flags
from vitedu.probe.recording import Numbers
from vitedu.probe.scenarios import Call

# --- loaders --------------------------------------------------------------------------------------


def loaders_call(given: dict, dtype: torch.dtype) -> Call:
    """The call of make_loaders, on pictures whose colour is their number, with transforms that leave their mark."""
    numbers = torch.arange(given["count"])
    colours = torch.stack([numbers, 255 - numbers, numbers * 7 % 256], dim=1).to(torch.uint8)
    pictures = Pictures(colours[:, :, None, None].expand(-1, -1, 2, 2).contiguous(), _label(numbers))

    def marks(mark: int) -> Callable[[Any], Tensor]:
        def apply(image: Any) -> Tensor:
            if isinstance(image, Tensor):  # it went through the other one already
                return image + torch.tensor([0, 10 * mark])
            return torch.tensor([image.getpixel((0, 0))[0], mark])

        return apply

    sizes = {name: given[name] for name in ("batch_size", "val_fraction", "seed")}
    return Call(
        {"dataset": pictures, "train_transform": marks(1), "val_transform": marks(2), **sizes},
        then="both loaders are gone through twice; the call is made again with the same seed and with another one",
    )


def loaders(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """make_loaders, on pictures whose colour is their number, and with transforms that leave their mark.

    parameters: count, batch_size, val_fraction, seed, other_seed.
    """
    count, seed = given["count"], given["seed"]
    call = loaders_call(given, dtype)
    pictures = call.positional["dataset"]
    numbers, colours = torch.arange(count), pictures.images[:, :, 0, 0].clone()

    def made(seed: int) -> tuple[Any, Any]:
        pair = replace(call, positional={**call.positional, "seed": seed}).of(target)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"expected (train, val), got {type(pair).__name__}")
        train, val = pair
        return train, val

    train, val = made(seed)
    first, second = (_epoch(train) for _ in range(2))
    tested, tested_again = (_epoch(val) for _ in range(2))
    again, other = _epoch(made(seed)[1]), _epoch(made(given["other_seed"])[1])
    transforms = (lambda image: torch.tensor([0, 3]), lambda image: torch.tensor([0, 4]))  # others than at first
    later = target(pictures, *transforms, given["batch_size"], given["val_fraction"], seed)
    parts = [set(epoch["number"].tolist()) for epoch in (first, tested)]
    every = [epoch["number"].tolist() for epoch in (first, second, tested)]
    ordered = sorted(tested["number"].tolist())
    return "tuple", {
        "train_batches": first["sizes"],
        "val_batches": tested["sizes"],
        "marks": torch.stack([first["mark"].amin(), first["mark"].amax(),
                                  tested["mark"].amin(), tested["mark"].amax()]),
        "other_marks": torch.stack([_epoch(loader)["mark"].amax() for loader in later]),
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
