"""Pictures of trainings: small PNGs whose texts say what was given, and nothing is computed that students compute."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from vitedu import devices, progress
from vitedu.plots import curves
from vitedu.plots.figure import Picture

SHORT = {
    "train_loss": [2.0, 1.0, 0.5],
    "train_accuracy": [0.2, 0.6, 0.9],
    "val_loss": [1.9, 1.2, 1.4],
    "val_accuracy": [0.3, 0.7, 0.7],
}
LONG = {name: values * 8 for name, values in SHORT.items()}
NAMES = ["cat", "dog", "emu"]


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


def has(picture: Picture, colour: str) -> bool:
    """Whether a colour such as "#0072b2" stands in the picture, nearly."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(pixels(picture) - wanted).max(axis=-1) < 12).any())


def draw(name: str) -> Picture:
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[5, 2, 0], [0, 7, 0], [0, 0, 0]])
    drawings = {
        "one run": lambda: curves.by_epoch({"alone": SHORT}),
        "two runs": lambda: curves.by_epoch({"short": SHORT, "long": LONG}),
        "training only": lambda: curves.by_epoch({"a batch": {k: v for k, v in SHORT.items() if "t" == k[0]}}, "step"),
        "iterations": lambda: curves.by_iteration({"a": [4.0, 2.0, 1.0, 1.0, 0.5], "b": [3.0, 1.0]}, steps=2),
        "lines": lambda: curves.lines({"0.1": [2.0, 1.0], "10": [2.0, 99.0]}, "iteration", "loss", top=5),
        "confusions": lambda: curves.confusions({"mine": matrix, "yours": matrix.T.double().numpy()}, NAMES),
        "samples": lambda: curves.samples(images, [0, 1, 2, 0, 1], NAMES, [0, 1, 2, 1, 1], columns=3),
    }
    return drawings[name]()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("one run", ("alone: training loss 2.00 to 0.50", "validation loss 1.90 to 1.40", "0.700 in epoch 2")),
        ("two runs", ("short: ", "long: ", "best validation accuracy 0.700 in epoch 2")),
        ("training only", ("by step", "training loss 2.00 to 0.50 and accuracy 0.20 to 0.90")),
        ("iterations", ("a: 5 iterations, mean 3.00 at first, 0.50 at last", "b: 2 iterations, mean 2.00 at first")),
        ("lines", ("loss by iteration", "0.1 goes from 2 to 1", "10 goes from 2 to 99")),
        ("confusions", ("mine: 12 of 14 are right, cat taken for dog twice;", "yours: 12 of 14", "dog taken for cat")),
        ("samples", ("5 images: cat, dog, emu, cat taken for dog, dog.",)),
    ],
)
def test_a_picture_is_a_small_png_with_a_text(name, facts):
    picture = draw(name)
    assert pixels(picture).std() > 5  # something is drawn
    assert len(picture.png) < 60_000
    assert all(fact in picture.alt for fact in facts), picture.alt


def test_the_validation_is_drawn_only_where_there_is_one():
    training, validation = curves.COLOURS[:2]
    assert has(draw("one run"), training) and has(draw("one run"), validation)
    assert has(draw("training only"), training) and not has(draw("training only"), validation)


def test_runs_stand_side_by_side_and_a_single_one_lies():
    one, two = (pixels(draw(name)).shape for name in ("one run", "two runs"))
    assert one[1] > 2 * one[0]  # loss beside accuracy
    assert two[0] > 1.5 * one[0]  # loss above accuracy


def test_the_first_of_equally_good_epochs_is_the_best():
    later = SHORT | {"val_accuracy": [0.3, 0.6, 0.7]}
    assert "0.700 in epoch 3" in curves.by_epoch({"": later}).alt


def test_a_confusion_matrix_is_read_as_scikit_learn_writes_it():
    labels, predictions = [0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 2, 0]
    alt = curves.confusions({"": confusion_matrix(labels, predictions)}, NAMES).alt
    assert "3 of 6 are right, cat taken for dog twice, emu taken for cat once" in alt


def test_a_matrix_that_does_not_fit_the_names_is_refused():
    with pytest.raises(ValueError, match=r"expected a matrix \(3, 3\).*got \(2, 2\)"):
        curves.confusions({"": torch.eye(2)}, NAMES)


def test_only_wrong_predictions_are_marked():
    images, labels = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), [0, 1]
    wrong = curves.COLOURS[1]
    assert not has(curves.samples(images, labels, NAMES), wrong)
    assert not has(curves.samples(images, labels, NAMES, labels), wrong)
    assert has(curves.samples(images, labels, NAMES, [0, 2]), wrong)


def test_whole_numbers_and_constant_images_can_be_shown():
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    images[1, 0] = 255
    shown = pixels(curves.samples(images, torch.tensor([0, 1]), NAMES))
    red = (shown[..., 0] > 240) & (shown[..., 1:].max(axis=-1) < 15)
    black = shown.max(axis=-1) < 15
    assert red.mean() > 0.1 and black.mean() > 0.1


def test_curves_compute_nothing_that_students_write():
    solving = {"argmax", "bincount", "cross_entropy", "backward", "eval", "no_grad", "zero_grad", "state_dict"}
    for module in (curves, progress, devices):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        assert not solving & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
