"""The capstone on public images: the same budget, the same look at new images, and what it would have been worth."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from . import display
from .capstone import BUDGET, CLASSES, TEST, TIERS, TRAIN, Capstone, public_images, train
from .checks import CheckFailed
from .forms import FORMS
from .learn import as_floats, exam_settings, logits_of, points_of, tier
from .pictures import Picture
from .probe import is_todo, place
from .report import exercise_of

SEED = 7
SHOWN = 12  # test images in the picture


@dataclass(frozen=True, repr=False, eq=False)
class CapstoneRehearsal:
    """What a rehearsal found; a notebook cell that ends in it shows it.

    Attributes:
        passed: the first tier or better; None when nothing was trained.
        accuracy: on the public test images; None when nothing was trained.
        seconds: processor time that the training took.
        samples: (images, labels, predictions), the wrong ones first.
    """

    card: display.Card
    passed: bool | None = None
    accuracy: float | None = None
    seconds: float | None = None
    samples: tuple[Tensor, Tensor, Tensor] | None = None

    def _repr_html_(self) -> str:
        return display.html(self.card, self.picture)

    def __repr__(self) -> str:
        return display.text(self.card)

    @cached_property
    def picture(self) -> tuple[bytes, str] | None:
        """Some test images with what the model takes them for: a PNG and a text that stands for it."""
        if self.samples is None:
            return None
        try:
            from . import curves
        except ImportError:  # without matplotlib the words must do
            return None
        images, labels, predictions = self.samples
        shown = curves.samples(as_floats(images), labels.tolist(), FORMS, predictions.tolist())
        return shown.png, shown.alt


def rehearse(capstone: Capstone, seconds: float = BUDGET) -> CapstoneRehearsal:
    """Train by your capstone on public images, and see which tier it would reach.

    Args:
        capstone: the function itself.
        seconds: of processor time; the exam gives BUDGET.

    Returns:
        A report that shows itself as the cell's result.

    Raises:
        CheckFailed: a TODO is reached, under nbgrader's Validate only; nothing is trained for long there.
    """
    validating = os.environ.get("NBGRADER_EXECUTION") == "validate"
    if not callable(capstone) or isinstance(capstone, nn.Module):
        raise ValueError("Expected the function itself; write rehearse(capstone).")
    try:
        (images, labels), test = public_images()
        if validating:  # a glance is enough to see that it is written and gives a model
            model, _ = train(capstone, images[:100], labels[:100], SEED, seconds=0.2)
            with exam_settings(SEED):
                logits_of(model, test[0][:4])
            return CapstoneRehearsal(display.Card("capstone", "ready to be trained", display.RIGHT))
        model, spent = train(capstone, images, labels, SEED, seconds)
    except NotImplementedError as error:
        if not is_todo(error):
            raise
        name = exercise_of(place(error)[0])
        sentence = f"{name} is still a TODO." if name == "capstone" else f"It needs {name}, which is still a TODO."
        if validating:
            raise CheckFailed(f"capstone: not answered yet. {sentence}") from None
        return CapstoneRehearsal(display.Card("capstone", "not answered yet", display.OPEN, [(sentence, "")]))
    return _report(model, spent, seconds, test)


def _report(model: nn.Module, spent: float, seconds: float, test: tuple[Tensor, Tensor]) -> CapstoneRehearsal:
    images, labels = test
    with exam_settings(SEED):
        predictions = logits_of(model, images).argmax(1)
    hits = predictions == labels
    accuracy = int(hits.sum()) / TEST
    first = torch.argsort(hits.long(), stable=True)[:SHOWN]
    samples = images[first], labels[first], predictions[first]
    return CapstoneRehearsal(_card(accuracy, spent, seconds), accuracy >= min(TIERS.values()), accuracy, spent, samples)


def _card(accuracy: float, spent: float, seconds: float) -> display.Card:
    reached, first = tier(accuracy, TIERS), next(iter(TIERS))
    rows = [
        (accuracy >= least, f"{name}: {points} of {len(TIERS)} points", f"asks for {least:.1%} of the test images")
        for points, (name, least) in enumerate(TIERS.items(), start=1)
    ]
    said = []
    if not reached:
        question = "Ask yourself: does this model do better than guessing on the images that it was trained on?"
        said.append((f"Guessing would give {1 / CLASSES:.1%}.", question))
    if spent > 1.1 * seconds:
        said.append((
            f"It took {spent:.1f} s of processor time and had {seconds:g}: in the exam it may be cut off.",
            "Ask yourself: which part of it does not look at the clock?",
        ))  # fmt: skip
    remarks = [f"{spent:.1f} s of processor time; {TRAIN:,} training and {TEST} test images, all public."]
    if seconds != BUDGET:
        remarks.append(f"The exam gives {BUDGET:g} s, you gave {seconds:g} s.")
    points = points_of(accuracy, TIERS)
    state = f"{accuracy:.1%}: {reached}" if points else f"{accuracy:.1%}: below {first}"
    return display.Card("capstone", state, display.RIGHT if points else display.WRONG, said, rows, remarks)


def public_samples() -> Picture:
    """Two public training images of each class."""
    from . import curves

    (images, labels), _ = public_images()
    some = torch.tensor([i for k in range(CLASSES) for i in (labels == k).nonzero().flatten()[:2].tolist()])
    return curves.samples(as_floats(images[some]), labels[some].tolist(), FORMS)
