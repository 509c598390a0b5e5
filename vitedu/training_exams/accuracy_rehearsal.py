"""The accuracy exam on public images: the same recipe, so that nobody hands in a model that never trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vitedu.checks import feedback_card
from vitedu.checks.validate import CheckFailed
from vitedu.data import shapes
from vitedu.data.exam_images import exam_images
from vitedu.probe.student_errors import exercise_of, is_todo, place
from vitedu.training_exams.recipe import (
    CPU_SECONDS,
    RECIPE,
    TEST,
    TIERS,
    TRAIN,
    Batches,
    History,
    as_bytes,
    as_floats,
    exam_settings,
    learn,
    logits_of,
    tier,
)

SEED = 1
SHOWN = 12  # test images in the picture
Samples = tuple[Tensor, Tensor, Tensor]  # images, labels, predictions


@dataclass(frozen=True, repr=False, eq=False)
class Rehearsed:
    """What a rehearsal found; a notebook cell that ends in it shows it.

    Attributes:
        passed: the first tier or better; None when nothing was trained.
        accuracy: on the public test images; None when nothing was trained.
        samples: (images, labels, predictions), the wrong ones first.
        names: of the classes, short enough to stand above an image.
    """

    card: feedback_card.Card
    passed: bool | None = None
    accuracy: float | None = None
    samples: Samples | None = None
    names: ClassVar[Sequence[str]]

    def _repr_html_(self) -> str:
        return feedback_card.html(self.card, self.picture)

    def __repr__(self) -> str:
        return feedback_card.text(self.card)

    @cached_property
    def picture(self) -> tuple[bytes, str] | None:
        """Some test images with what the model takes them for: a PNG and a text that stands for it."""
        if self.samples is None:
            return None
        try:
            from vitedu.plots import curves
        except ImportError:  # without matplotlib the words must do
            return None
        images, labels, predictions = self.samples
        shown = curves.samples(as_floats(images), labels.tolist(), self.names, predictions.tolist())
        return shown.png, shown.alt


@dataclass(frozen=True, repr=False, eq=False)
class Rehearsal(Rehearsed):
    """What a rehearsal of the accuracy exam found."""

    history: History | None = None
    names = tuple(name.replace(" over ", "/") for name in shapes.PAIRS)


def seen(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> tuple[float, Samples]:
    """A model's accuracy on test images, and some of these, the wrong ones first."""
    with exam_settings(seed):
        predictions = logits_of(model, images).argmax(1)
    hits = predictions == labels
    first = torch.argsort(hits.long(), stable=True)[:SHOWN]
    return int(hits.sum()) / len(labels), (images[first], labels[first], predictions[first])


def not_answered(thing: str, error: NotImplementedError, validating: bool) -> feedback_card.Card:
    """What to say when a rehearsal of `thing` reaches a TODO.

    Raises:
        CheckFailed: under nbgrader's Validate.
        NotImplementedError: it was none of our TODOs.
    """
    if not is_todo(error):
        raise error
    name = exercise_of(place(error)[0])
    sentence = f"{name} is still a TODO." if name == thing else f"It needs {name}, which is still a TODO."
    if validating:
        raise CheckFailed(f"{thing}: not answered yet. {sentence}") from None
    return feedback_card.Card(thing, "not answered yet", feedback_card.OPEN, [(sentence, "")])


def rehearse(exam_model: Callable[[], nn.Module], train_one_epoch: Callable[..., Any]) -> Rehearsal:
    """Train your model by the exam's recipe on public images, and see which tier it would reach.

    Args:
        exam_model: the function itself; it makes the model that you enter.
        train_one_epoch: your training epoch.

    Returns:
        A report that shows itself as the cell's result.

    Raises:
        CheckFailed: a TODO is reached, under nbgrader's Validate only; nothing is trained there.
    """
    validating = os.environ.get("NBGRADER_EXECUTION") == "validate"
    for name, thing in (("exam_model", exam_model), ("train_one_epoch", train_one_epoch)):
        if not callable(thing) or isinstance(thing, nn.Module):
            raise ValueError(f"For {name} expected the function itself; write rehearse(exam_model, train_one_epoch).")
    try:
        train, test = public_images()
        moved = _try_out(exam_model, train_one_epoch, train)
    except NotImplementedError as error:
        return Rehearsal(not_answered("exam_model", error, validating))
    if not moved:
        sentence = "After two batches of train_one_epoch every weight is what it was before: nothing would be learned."
        if validating:
            raise CheckFailed(f"exam_model: not right yet. {sentence}")
        question = "Ask yourself: which line of train_one_epoch changes a weight, and what must come before it?"
        return Rehearsal(
            feedback_card.Card("exam_model", "not right yet", feedback_card.WRONG, [(sentence, question)]), False
        )
    if validating:
        return Rehearsal(feedback_card.Card("exam_model", "ready to be trained", feedback_card.RIGHT))
    return _train(exam_model, train_one_epoch, train, test)


def public_images() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) to train on and to test with, the same for everybody."""
    images, labels = exam_images(TRAIN + TEST, SEED)
    images = as_bytes(images)
    return (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])


def _try_out(
    exam_model: Callable[[], nn.Module], train_one_epoch: Callable[..., Any], train: tuple[Tensor, Tensor]
) -> bool:
    """Two tiny batches, before anything takes long: whether a weight has moved."""
    images, labels = train[0][:8], train[1][:8]
    with exam_settings(SEED):
        model = exam_model()
        if not isinstance(model, nn.Module):
            raise TypeError(f"expected an nn.Module from exam_model(), got {type(model).__name__}")
        logits_of(model, images)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RECIPE.lr)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
        before = [p.detach().clone() for p in model.parameters()]
        train_one_epoch(model, Batches(images, labels, 4, SEED), optimizer, torch.device("cpu"), scheduler)
        return any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def _train(
    exam_model: Callable[[], nn.Module],
    train_one_epoch: Callable[..., Any],
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
) -> Rehearsal:
    from vitedu.progress import watch

    started = time.process_time()
    model, history = learn(exam_model, train_one_epoch, *train, SEED, watch(RECIPE.epochs, "rehearsal"), RECIPE)
    seconds = time.process_time() - started
    accuracy, samples = seen(model, *test, SEED)
    return Rehearsal(_card(accuracy, history, seconds), bool(tier(accuracy)), accuracy, samples, history)


def _card(accuracy: float, history: History, seconds: float) -> feedback_card.Card:
    reached = tier(accuracy)
    rows = [
        (accuracy >= least, f"{name}: {points} of {len(TIERS)} points", f"asks for {least:.1%} of the test images")
        for points, (name, least) in enumerate(TIERS.items(), start=1)
    ]
    said = []
    if not reached:
        said = [(
            f"The last epoch's training loss is {history['loss'][-1]:.3f}, its training accuracy "
            f"{history['accuracy'][-1]:.1%}.",
            "Ask yourself: are all checks above right? Can this model learn a single batch by heart?",
        )]  # fmt: skip
    remarks = [
        f"{seconds:.0f} s of one core; the exam allows {CPU_SECONDS}. {RECIPE.label}.",
        "These images are public. The exam trains your model anew in the same way, on images of your own draw.",
    ]
    if seconds > CPU_SECONDS / 2:
        said.append(("This model takes long: on a slower machine the exam may stop it. Choose smaller sizes.", ""))
    state = f"{accuracy:.1%}: {reached}" if reached else f"{accuracy:.1%}: below bronze"
    return feedback_card.Card(
        "exam_model", state, feedback_card.RIGHT if reached else feedback_card.WRONG, said, rows, remarks
    )
