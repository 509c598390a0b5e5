"""The capstone on public images: the same budget, the same look at new images, and what it would have been worth."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import nn

from vitedu.checks import feedback_card
from vitedu.data.glyphs import FORMS
from vitedu.plots.figure import Picture
from vitedu.training_exams.accuracy_rehearsal import Rehearsed, not_answered, seen
from vitedu.training_exams.capstone import BUDGET, CLASSES, TEST, TIERS, TRAIN, Capstone, public_images, train
from vitedu.training_exams.recipe import as_floats, exam_settings, logits_of, points_of, tier

SEED = 7


@dataclass(frozen=True, repr=False, eq=False)
class CapstoneRehearsal(Rehearsed):
    """What a rehearsal of the capstone found.

    Attributes:
        seconds: processor time that the training took.
    """

    seconds: float | None = None
    names = FORMS


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
            return CapstoneRehearsal(feedback_card.Card("capstone", "ready to be trained", feedback_card.RIGHT))
        model, spent = train(capstone, images, labels, SEED, seconds)
    except NotImplementedError as error:
        return CapstoneRehearsal(not_answered("capstone", error, validating))
    accuracy, samples = seen(model, *test, SEED)
    return CapstoneRehearsal(_card(accuracy, spent, seconds), accuracy >= min(TIERS.values()), accuracy, samples, spent)


def _card(accuracy: float, spent: float, seconds: float) -> feedback_card.Card:
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
    return feedback_card.Card(
        "capstone", state, feedback_card.RIGHT if points else feedback_card.WRONG, said, rows, remarks
    )


def public_samples() -> Picture:
    """Two public training images of each class."""
    from vitedu.plots import curves

    (images, labels), _ = public_images()
    some = torch.tensor([i for k in range(CLASSES) for i in (labels == k).nonzero().flatten()[:2].tolist()])
    return curves.samples(as_floats(images[some]), labels[some].tolist(), FORMS)
