"""The accuracy exam's recipe, its two requests inside a kernel, and the rehearsal in the notebook."""

from __future__ import annotations

import base64
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitedu.checks.validate import CheckFailed
from vitedu.data import drawing, shapes
from vitedu.probe import serialization
from vitedu.probe.case import Answer
from vitedu.training_exams import accuracy_rehearsal, kernel_entry
from vitedu.training_exams import recipe as module
from vitedu.training_exams.kernel_entry import answer_learn, request_logits, request_training
from vitedu.training_exams.recipe import (
    CLASSES,
    TIERS,
    Batches,
    Recipe,
    as_bytes,
    as_floats,
    exam_settings,
    learn,
    logits_of,
    points_of,
    tier,
)

SHORT = Recipe(epochs=3, batch_size=16)
IMAGES, LABELS = shapes.pairs(40, 1)
IMAGES = as_bytes(IMAGES)


def small_model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, CLASSES), nn.Dropout(0.5))


def one_epoch(model, loader, optimizer, device, scheduler=None):
    model.train()
    total, right, count = 0.0, 0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        logits = model(images.to(device))
        loss = F.cross_entropy(logits, labels.to(device))
        loss.backward()
        optimizer.step()
        scheduler.step()
        total, right = total + loss.item() * len(labels), right + (logits.argmax(1) == labels).sum().item()
        count += len(labels)
    return {"loss": total / count, "accuracy": right / count}


# --- the recipe ---


def test_batches_come_in_the_same_order_each_time_and_hold_every_image_once():
    batches = Batches(IMAGES, torch.arange(40), 16, seed=3)
    first, second = ([labels.tolist() for _, labels in batches] for _ in range(2))
    assert first == second and [len(some) for some in first] == [16, 16, 8]
    flat = [label for some in first for label in some]
    assert sorted(flat) == list(range(40)) != flat
    assert first != [labels.tolist() for _, labels in Batches(IMAGES, torch.arange(40), 16, seed=4)]
    images, labels = next(iter(batches))
    assert images.dtype == torch.float32 and torch.equal(images, as_floats(IMAGES)[labels])
    assert not hasattr(batches, "__len__") and not hasattr(batches, "dataset")


def test_images_survive_the_way_through_bytes():
    images, _ = shapes.pairs(5, 2)
    assert as_bytes(images).dtype == torch.uint8
    assert (as_floats(as_bytes(images)) - images).abs().max() <= 0.5 / 255 / drawing.STD + 1e-6


def test_the_learning_rate_rises_then_falls_to_nothing():
    factors = [Recipe(warmup=0.1).factor(step, 100) for step in range(101)]
    peak = factors.index(max(factors))
    assert factors[0] == pytest.approx(0.1) and 8 <= peak <= 10 and max(factors) > 0.97
    assert factors[:peak] == sorted(factors[:peak]) and factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[100] == 0.0
    assert all(Recipe().factor(step, 1) >= 0 for step in range(3)), "nor does a step too many hurt"


def test_learn_gives_the_model_its_epochs_and_the_same_result_again():
    seen = []

    def spied(model, loader, optimizer, device, scheduler=None):
        seen.append((type(optimizer), str(device), [len(labels) for _, labels in loader], torch.get_num_threads()))
        return one_epoch(model, loader, optimizer, device, scheduler)

    shown = []
    model, history = learn(small_model, spied, IMAGES, LABELS, 5, lambda *a: shown.append(a[0]), SHORT)
    assert seen == [(torch.optim.AdamW, "cpu", [16, 16, 8], 1)] * 3 and shown == [0, 1, 2]
    assert len(history["loss"]) == len(history["accuracy"]) == 3 and history["loss"][2] < history["loss"][0]
    again, _ = learn(small_model, one_epoch, IMAGES, LABELS, 5, recipe=SHORT)
    other, _ = learn(small_model, one_epoch, IMAGES, LABELS, 6, recipe=SHORT)
    assert torch.equal(model[1].weight, again[1].weight) and not torch.equal(model[1].weight, other[1].weight)


def test_a_model_with_lazy_layers_learns():
    lazy = lambda: nn.Sequential(nn.LazyConv2d(4, 3, stride=4), nn.Flatten(), nn.LazyLinear(CLASSES))  # noqa: E731
    model, history = learn(lazy, one_epoch, IMAGES, LABELS, 0, recipe=SHORT)
    assert len(history["loss"]) == SHORT.epochs and logits_of(model, IMAGES).shape == (len(IMAGES), CLASSES)


def test_learn_leaves_the_settings_of_the_notebook_as_they_are():
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            model, _ = learn(small_model, one_epoch, IMAGES, LABELS, 5, recipe=SHORT)
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64 and torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), state) and model[1].weight.dtype == torch.float32
        with pytest.raises(ZeroDivisionError), exam_settings(0):
            1 / 0  # noqa: B018
        assert torch.get_default_dtype() == torch.float64 and torch.equal(torch.get_rng_state(), state)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("found", [None, {}, {"loss": "low"}, 5, {"loss": None, "accuracy": []}])
def test_what_train_one_epoch_returns_does_not_matter_here(found):
    _, history = learn(small_model, lambda *_: found, IMAGES, LABELS, 0, recipe=SHORT)
    assert all(math.isnan(value) for values in history.values() for value in values)


def test_logits_are_those_of_eval_mode_in_float32():
    model = small_model()
    logits = logits_of(model, IMAGES, batch_size=7)
    assert logits.shape == (40, CLASSES) and logits.dtype == torch.float32 and not logits.requires_grad
    assert torch.equal(logits, logits_of(model, IMAGES, batch_size=7)), "dropout is off"
    with pytest.raises(ValueError, match=r"expected logits \(40, 6\), got \(40, 3072\)"):
        logits_of(nn.Flatten(), IMAGES)
    with pytest.raises(TypeError, match=r"nn\.Module"):
        learn(lambda: None, one_epoch, IMAGES, LABELS, 0)


def test_a_tier_begins_exactly_at_its_threshold():
    assert list(TIERS) == ["bronze", "silver", "gold"] and sorted(TIERS.values()) == list(TIERS.values())
    for points, (name, least) in enumerate(TIERS.items(), start=1):
        right = round(least * 600)
        assert (tier(right / 600), points_of(right / 600)) == (name, points)
        assert points_of((right - 1) / 600) == points - 1
    assert tier(0.0) == "" and tier(1.0) == "gold"


# --- inside the kernel ---


@pytest.fixture
def ask(monkeypatch):
    """Put a request as the kernel gets it; the one answer that comes back, and its header."""
    sent = []
    monkeypatch.setattr("IPython.display.publish_display_data", sent.append)
    monkeypatch.setattr(module, "RECIPE", SHORT)
    monkeypatch.setattr(module.learn, "__defaults__", (None, SHORT))
    kernel_entry._trained.clear()

    def put(request: bytes, namespace: dict) -> Answer:
        sent.clear()
        answer_learn(base64.b64encode(request).decode(), namespace)
        (message,) = sent
        header, tensors = serialization.unpack(base64.b64decode(message[serialization.MIME]))
        assert header["nonce"] == "n1" and header["case"] == 0
        return Answer.read(header, tensors)

    return put


def test_the_two_requests(ask):
    space = {"exam_model": small_model, "train_one_epoch": one_epoch}
    trained = ask(request_training(IMAGES, LABELS, 5, "n1"), space)
    assert trained.status == "ok" and trained.tensors["history.loss"].shape == (3,)
    tested = ask(request_logits(IMAGES[:10], "n1"), {})
    model, _ = learn(small_model, one_epoch, IMAGES, LABELS, 5)
    assert tested.status == "ok" and torch.equal(tested.tensors["logits"], logits_of(model, IMAGES[:10]))
    assert torch.equal(tested.tensors["state.1.weight"], model[1].weight)
    assert set(tested.tensors) == {"logits", "state.1.weight", "state.1.bias"}


def test_nothing_of_the_hidden_labels_is_in_a_request():
    header, tensors = serialization.unpack(request_logits(IMAGES, "n1"))
    assert set(tensors) == {"images"} and set(header) == {"step", "nonce"}
    header, tensors = serialization.unpack(request_training(IMAGES, LABELS, 5, "n1"))
    assert set(tensors) == {"images", "labels"} and set(header) == {"step", "nonce", "seed"}


def todo(*_):
    raise NotImplementedError("TODO")


class Many(nn.Module):
    def __init__(self, tensors: int, size: int) -> None:
        super().__init__()
        self.all = nn.ParameterList([torch.zeros(size) for _ in range(tensors)])

    def forward(self, x):
        return torch.zeros(len(x), CLASSES)


@pytest.mark.parametrize(
    ("space", "status"),
    [
        ({}, "missing"),
        ({"exam_model": small_model}, "missing"),
        ({"exam_model": todo, "train_one_epoch": one_epoch}, "undone"),
        ({"exam_model": small_model, "train_one_epoch": todo}, "undone"),
        ({"exam_model": small_model, "train_one_epoch": lambda *_: 1 / 0}, "error"),
        ({"exam_model": dict, "train_one_epoch": one_epoch}, "error"),
        ({"exam_model": 5, "train_one_epoch": one_epoch}, "error"),
    ],
)
def test_what_does_not_train_says_why_and_leaves_no_model(ask, space, status):
    assert ask(request_training(IMAGES, LABELS, 5, "n1"), space).status == status
    assert ask(request_logits(IMAGES, "n1"), space).status in ("missing", "ok" if "train_one_epoch" in space else "")


def test_no_model_is_left_from_an_earlier_training(ask):
    ask(request_training(IMAGES, LABELS, 5, "n1"), {"exam_model": small_model, "train_one_epoch": one_epoch})
    ask(request_training(IMAGES, LABELS, 5, "n1"), {"exam_model": todo, "train_one_epoch": one_epoch})
    assert ask(request_logits(IMAGES, "n1"), {}).status == "missing"


@pytest.mark.parametrize(
    ("model", "message"),
    [(lambda: Many(300, 2), "301 tensors"), (lambda: Many(1, 5_000_000), "bytes"), (nn.Flatten, "expected logits")],
)
def test_a_model_that_cannot_travel_is_told_so(ask, model, message):
    def train(*_):
        return None

    def make():
        made = model()
        made.extra = nn.Parameter(torch.zeros(1))  # an optimizer wants something to hold
        return made

    assert ask(request_training(IMAGES, LABELS, 5, "n1"), {"exam_model": make, "train_one_epoch": train}).status == "ok"
    answer = ask(request_logits(IMAGES, "n1"), {})
    assert answer.status == "error" and message in answer.error["message"]


# --- the rehearsal ---


@pytest.fixture
def quick(monkeypatch):
    """A rehearsal of a second."""
    monkeypatch.setattr(accuracy_rehearsal, "RECIPE", SHORT)
    monkeypatch.setattr(accuracy_rehearsal, "TRAIN", 64)
    monkeypatch.setattr(accuracy_rehearsal, "TEST", 32)


def test_a_rehearsal_shows_accuracy_tiers_and_pictures(quick):
    found = accuracy_rehearsal.rehearse(small_model, one_epoch)
    assert 0 <= found.accuracy <= 1 and found.passed == bool(tier(found.accuracy))
    assert len(found.history["loss"]) == SHORT.epochs
    html, text = found._repr_html_(), repr(found)
    assert f"{found.accuracy:.1%}" in text and SHORT.label in " ".join(text.split())
    assert all(name in html for name in TIERS) and "data:image/png" in html
    images, labels, predictions = found.samples
    wrong = (labels != predictions).tolist()
    assert len(images) == 12 and wrong == sorted(wrong, reverse=True), "the wrong ones first"


@pytest.mark.parametrize(
    ("make", "train", "sentence"),
    [(todo, one_epoch, "todo is still a TODO"), (small_model, todo, "needs todo, which is still a TODO")],
)
def test_a_todo_is_not_answered_yet_and_fails_validation(quick, monkeypatch, make, train, sentence):
    found = accuracy_rehearsal.rehearse(make, train)
    assert found.accuracy is None and found.passed is None and "not answered yet" in repr(found)
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(CheckFailed, match="exam_model: not answered yet"):
        accuracy_rehearsal.rehearse(make, train)


def test_validation_trains_nothing_long(quick, monkeypatch):
    calls = []

    def counted(*args):
        calls.append(1)
        return one_epoch(*args)

    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    assert "ready" in repr(accuracy_rehearsal.rehearse(small_model, counted)) and len(calls) == 1


def test_a_loop_that_moves_nothing_is_told_before_it_takes_long(quick, monkeypatch):
    found = accuracy_rehearsal.rehearse(small_model, lambda *_: {"loss": 1.0, "accuracy": 0.5})
    assert found.passed is False and "nothing would be learned" in repr(found)
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(CheckFailed, match="nothing would be learned"):
        accuracy_rehearsal.rehearse(small_model, lambda *_: None)


def test_real_bugs_keep_their_traceback(quick):
    with pytest.raises(ValueError, match="expected logits"):
        accuracy_rehearsal.rehearse(nn.Flatten, one_epoch)
    with pytest.raises(ValueError, match="the function itself"):
        accuracy_rehearsal.rehearse(small_model(), one_epoch)
    with pytest.raises(TypeError, match=r"nn\.Module"):
        accuracy_rehearsal.rehearse(dict, one_epoch)
