"""Lab 4's model answers against scikit-learn, torch's encoder and sums done by hand, and mistakes that must be seen."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import Tensor, nn

from autograder.exams.lab4.build_model import with_classes
from autograder.exams.lab4.fit import fit_cases
from autograder.exams.lab4.training_problems import solved
from autograder.judging.reference_answers import Reference
from autograder.labs.exam import changed
from autograder.labs.lab import find_lab, solution_cells
from autograder.labs.variants import Variant
from vitedu.probe.ask import ask
from vitedu.probe.comparison import comparable, is_correct

LAB = find_lab("lab4")
CODE = solution_cells("lab4_training")
PARTS = next(cell.source for cell in LAB.cells if cell.grade_id == "earlier-parts")
NAMES = ("build_model", "metrics", "train_one_epoch", "evaluate", "fit", "checkpoints")
Space = dict[str, Any]


def run_cells(**replaced: str) -> Space:
    """The names that the locked cell and the solution cells define, some of the cells replaced."""
    space: Space = {"copy": copy, "math": math, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    exec(compile(PARTS, "<earlier-parts>", "exec"), space)
    for name in NAMES:
        exec(compile(replaced.get(name, CODE[name]), f"<{name}>", "exec"), space)
    return space


MODEL = run_cells()
pytestmark = pytest.mark.usefixtures("float64")


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


class Loader:
    """Batches that can be gone through again and again, without a length."""

    def __init__(self, x: Tensor, y: Tensor, sizes: tuple[int, ...]) -> None:
        self.x, self.y, self.sizes = x, y, sizes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x.split(list(self.sizes)), self.y.split(list(self.sizes)), strict=True)


def loader(features: int, classes: int, sizes: tuple[int, ...]) -> Loader:
    return Loader(torch.randn(sum(sizes), features), torch.randint(classes, (sum(sizes),)), sizes)


# --- the oracles: each takes the names of a notebook ----------------------------------------------


def model_oracle(space: Space) -> None:
    """torch's own encoder layers, pre-norm, with the same weights."""
    model = space["build_model"](12, 4, 2, 5, dim=6, depth=3, num_heads=2, mlp_dim=10, dropout=0.4).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    images = torch.randn(4, 2, 12, 12)
    layer = nn.TransformerEncoderLayer(6, 2, 10, 0.0, "gelu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(layer, 3, model.norm, enable_nested_tensor=False)
    for theirs, mine in zip(encoder.layers, model.blocks, strict=True):
        attention = mine.attention
        into = (attention.to_q, attention.to_k, attention.to_v)
        weights = {
            f"self_attn.in_proj_{kind}": torch.cat([getattr(to, kind) for to in into]) for kind in ("weight", "bias")
        }
        names = {"self_attn.out_proj": attention.to_out, "linear1": mine.mlp.fc1, "linear2": mine.mlp.fc2,
                 "norm1": mine.norm1, "norm2": mine.norm2}  # fmt: skip
        for name, part in names.items():
            weights |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
        theirs.load_state_dict(weights)
    patches = F.unfold(images, 4, stride=4).mT @ model.embedding.patches.proj.weight.flatten(1).T
    tokens = torch.cat([model.embedding.cls_token.expand(4, -1, -1), patches + model.embedding.patches.proj.bias], 1)
    expected = F.linear(encoder.eval()(tokens + model.embedding.position)[:, 0], model.head.weight, model.head.bias)
    close(model(images).detach(), expected.detach())
    assert not torch.equal(model.train()(images), model(images)), "dropout 0.4 drops something in training mode"


def accuracy_oracle(space: Space) -> None:
    for batch, classes in ((7, 4), (5, 5), (1, 3), (30, 2)):
        logits, labels = torch.randn(batch, classes), torch.randint(classes, (batch,))
        close(space["accuracy"](logits, labels), accuracy_score(labels, logits.argmax(1)))


def counts_oracle(space: Space) -> None:
    for count, present, classes in ((40, 4, 4), (40, 3, 5), (3, 2, 6)):
        predictions, labels = torch.randint(present, (2, count))
        expected = confusion_matrix(labels, predictions, labels=range(classes))
        close(space["confusion_matrix"](predictions, labels, classes), expected)


class Squared(nn.Module):
    """A model of one weight whose cross-entropy with label 0 is its square."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """Any images -> logits (B, 2)."""
        z = (self.w**2).expm1().log().expand(len(images))
        return torch.stack([torch.zeros_like(z), z], dim=1)


def descended(space: Space, optimizer: Callable[[Any], torch.optim.Optimizer], batches: int) -> float:
    """The weight of `Squared` after one epoch from 1 on."""
    model = Squared()
    x, y = torch.zeros(2 * batches, 1), torch.zeros(2 * batches, dtype=torch.int64)
    space["train_one_epoch"](model, Loader(x, y, (2,) * batches), optimizer(model.parameters()), "cpu")
    return model.w.item()


def descent_oracle(space: Space) -> None:
    """The loss w^2 at a learning rate of 0.1, by hand: each step takes a fifth of w."""
    for batches, w in ((1, 0.8), (2, 0.64), (3, 0.512)):
        close(descended(space, lambda p: torch.optim.SGD(p, lr=0.1), batches), w)


def momentum_oracle(space: Space) -> None:
    """The loss w^2 with momentum 0.9, by hand: 1, then 1 - 0.2, then 0.8 - 0.1 * (0.9 * 2 + 1.6), and so on."""
    for batches, w in ((1, 0.8), (2, 0.46), (3, 0.062)):
        close(descended(space, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), batches), w)


def adam_oracle(space: Space) -> None:
    """The loss w^2 with Adam, by the formulas of Kingma and Ba (2015), algorithm 1."""
    w, m, v = 1.0, 0.0, 0.0
    for t in range(1, 5):
        gradient = 2 * w
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        close(descended(space, lambda p: torch.optim.Adam(p, lr=0.1), t), w)


def schedule_oracle(space: Space) -> None:
    """A scheduler that halves the rate after each batch, by hand: 1 -> 0.8 -> 0.72 -> 0.684."""
    model = Squared()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    batches = Loader(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), (1, 1, 1))
    space["train_one_epoch"](model, batches, optimizer, "cpu", scheduler)
    close([model.w.item(), optimizer.param_groups[0]["lr"]], [0.684, 0.0125])


class Regression:
    """Softmax regression by numpy alone: the gradient of the cross-entropy is x (p - y)."""

    def __init__(self, layer: nn.Linear, lr: float) -> None:
        self.w, self.b, self.lr = layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy(), lr

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Features (B, D) -> (B, C)."""
        e = np.exp(x @ self.w.T + self.b)
        return e / e.sum(axis=1, keepdims=True)

    def epoch(self, data: Loader, learn: bool) -> dict[str, float]:
        """Loss and accuracy over all samples, from before each step where there are steps."""
        p, y = [], data.y.numpy()
        for x, labels in data:
            p.append(self.probabilities(x.numpy()))
            if learn:
                error = (p[-1] - np.eye(p[-1].shape[1])[labels.numpy()]) / len(labels)
                self.w -= self.lr * error.T @ x.numpy()
                self.b -= self.lr * error.sum(axis=0)
        p = np.concatenate(p)
        return {"loss": log_loss(y, p, labels=range(p.shape[1])), "accuracy": accuracy_score(y, p.argmax(axis=1))}


def epoch_oracle(space: Space) -> None:
    """Two epochs over batches of 4, 4, and 1, and a test, in numpy."""
    data, layer = loader(6, 3, (4, 4, 1)), nn.Linear(6, 3)
    by_hand, optimizer = Regression(layer, 0.7), torch.optim.SGD(layer.parameters(), lr=0.7)
    for _ in range(2):
        found, expected = space["train_one_epoch"](layer, data, optimizer, "cpu"), by_hand.epoch(data, learn=True)
        close([found["loss"], found["accuracy"]], [expected["loss"], expected["accuracy"]])
        close(layer.weight.detach(), by_hand.w)
        close(layer.bias.detach(), by_hand.b)


PROBE = (0.3, 0.3, 0.1, 2.7658, 5.0132)  # losses of five samples; below log(2) the sample is right


def probed(space: Space) -> dict[str, float]:
    """evaluate on five samples in batches of 2, 2, and 1, three of them right, with a loss of 1.6958."""
    z = torch.tensor(PROBE).expm1().log()
    images, y = torch.stack([torch.zeros(5), z], dim=1), torch.zeros(5, dtype=torch.int64)
    return space["evaluate"](nn.Sequential(nn.Identity()), list(Loader(images, y, (2, 2, 1))), "cpu")


def probe_oracle(space: Space) -> None:
    found = probed(space)
    close([found["loss"], found["accuracy"]], [1.6958, 0.6], 1e-6)


def test_oracle(space: Space) -> None:
    """scikit-learn's log_loss and accuracy of a model with BatchNorm and dropout that is left as it was."""
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    model[1].running_mean.normal_()
    data = loader(6, 3, (4, 4, 2))
    for mode in (True, False):
        model.train(mode)
        before = copy.deepcopy(model.state_dict())
        found = space["evaluate"](model, data, "cpu")
        assert model.training == mode == model[2].training
        assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
        assert all(p.grad is None for p in model.parameters())
        p = model.eval()(data.x).softmax(1).detach()
        expected = [log_loss(data.y, p, labels=range(3)), accuracy_score(data.y, p.argmax(1))]
        close([found["loss"], found["accuracy"]], expected)


test_oracle.__test__ = False  # an oracle of the testing stage, not a test


def fit_oracle(space: Space) -> None:
    """Eight epochs in numpy; the first of the best epochs by validation accuracy is neither the first nor the last."""
    torch.manual_seed(BEST_IN_THE_MIDDLE)
    train, val, layer = loader(5, 3, (4, 4, 2)), loader(5, 3, (4, 3)), nn.Linear(5, 3)
    by_hand, optimizer = Regression(layer, 3.0), torch.optim.SGD(layer.parameters(), lr=3.0)
    epochs, weights, seen = [], [], []
    for _ in range(8):
        epochs.append((by_hand.epoch(train, learn=True), by_hand.epoch(val, learn=False)))
        weights.append(by_hand.w.copy())
    expected = {f"{name}_{what}": [e[i][what] for e in epochs] for i, name in enumerate(("train", "val"))
                for what in ("loss", "accuracy")}  # fmt: skip
    best = int(np.argmax(expected["val_accuracy"]))
    top = np.flatnonzero(np.isclose(expected["val_accuracy"], max(expected["val_accuracy"])))
    assert 0 < best < top[-1] < 7 and best not in (np.argmin(expected["val_loss"]), np.argmin(expected["train_loss"]))

    def on_epoch(epoch: int, history: dict[str, list[float]]) -> None:
        assert {len(values) for values in history.values()} == {epoch + 1}
        seen.append(epoch)
        close(layer.weight.detach(), weights[epoch], 1e-7)

    found = space["fit"](layer, train, val, optimizer, 8, "cpu", on_epoch=on_epoch)
    assert seen == list(range(8)) and found.keys() == expected.keys()
    for name in expected:
        close(found[name], expected[name], 1e-7)
    close(layer.weight.detach(), weights[best], 1e-7)


BEST_IN_THE_MIDDLE = 4  # a seed with such a history; the oracle says when it has none


def resume_oracle(space: Space, folder: Any) -> None:
    """Two epochs, a file, two more epochs in a fresh model: the same as four epochs without a break."""

    def fresh(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Linear(5, 3))
        return model, torch.optim.AdamW(model.parameters(), lr=0.1)

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> list[float]:
        return [space["train_one_epoch"](model, data, optimizer, "cpu")["loss"] for _ in range(epochs)]

    data, path = loader(6, 3, (4, 4, 2)), folder / "model.pt"
    whole, first, second = fresh(1), fresh(1), fresh(2)
    expected = train(*whole, 4)
    history = {"train_loss": train(*first, 2), "train_accuracy": [0.25, 0.5], "val_loss": [], "val_accuracy": []}
    space["save_checkpoint"](path, *first, 1, history)
    train(*first, 1)  # what goes on in this model does not reach the file
    torch.load(path, weights_only=True)
    assert space["load_checkpoint"](path, *second) == (1, history | {"train_loss": expected[:2]})
    assert history["train_loss"] + train(*second, 2) == expected
    for key, value in whole[0].state_dict().items():
        assert torch.equal(second[0].state_dict()[key], value), key
    tested, _ = fresh(3)
    space["load_checkpoint"](path, tested)
    assert torch.equal(tested[0].weight, torch.load(path, weights_only=True)["model"]["0.weight"])
    raised = False
    try:
        space["load_checkpoint"](path, nn.Sequential(tested))
    except RuntimeError:
        raised = True
    assert raised, "keys that do not match must be refused"


# --- the model answers ----------------------------------------------------------------------------

ORACLES = {
    "build_model": model_oracle, "accuracy": accuracy_oracle, "confusion matrix": counts_oracle,
    "gradient descent": descent_oracle, "momentum": momentum_oracle, "Adam": adam_oracle, "schedule": schedule_oracle,
    "epochs": epoch_oracle, "probe": probe_oracle, "test": test_oracle, "fit": fit_oracle,
}  # fmt: skip


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
def test_the_model_answer(oracle):
    oracle(MODEL)


def test_two_and_two_epochs_are_four(tmp_path):
    resume_oracle(MODEL, tmp_path)


# --- the catalogue's numbers ----------------------------------------------------------------------

COUNTED = {  # what wrong accounts make of the probe: loss and accuracy
    "mean-of-batch-means": (2.2487, 0.5), "loss-is-a-mean-of-batch-means": (2.2487, 0.6),
    "last-batch-only": (5.0132, 0.0), "return-inside-the-loop": (0.3, 1.0),
    "smaller-batches-left-out": (0.8665, 0.75), "divides-by-the-loader-s-length": (2.8263, 1.0),
    "divides-by-full-batches": (1.4132, 0.5), "batch-means-over-samples": (1.3492, 0.6),
    "sum-thrown-away": (0.0, 0.6), "integer-division": (1.6958, 0.0), "percent": (1.6958, 60.0),
    "error-rate": (1.6958, 0.4),
}  # fmt: skip


@pytest.mark.parametrize("id", COUNTED)
def test_a_wrong_account_of_five_samples(id):
    wrong = run_cells(evaluate=LAB.exercise("evaluate").misconception(id).code)
    found = probed(wrong)
    close([found["loss"], found["accuracy"]], COUNTED[id], 1e-4)
    with pytest.raises(AssertionError):
        probe_oracle(wrong)


STEPPED = {"no-zero-grad": 0.44, "no-gradient-at-the-step": 1.0, "no-step": 1.0, "step-once-an-epoch": 0.6}


@pytest.mark.parametrize("id", STEPPED)
def test_a_wrong_way_down(id):
    """Two steps on w^2 from 1 at a rate of 0.1, which should end at 0.64."""
    wrong = run_cells(train_one_epoch=LAB.exercise("train_one_epoch").misconception(id).code)
    close(descended(wrong, lambda p: torch.optim.SGD(p, lr=0.1), 2), STEPPED[id])


# --- planted mistakes: the oracles must see each one ----------------------------------------------

FORGETS = "optimizer.state.clear()\n        optimizer.zero_grad()"
PLANTED = [
    ("build_model", "build_model", ("dropout=dropout", "dropout=0.0")),
    ("build_model", "build_model", ("mlp_dim, dropout", 'mlp_dim, pool="mean", dropout')),
    ("metrics", "accuracy", ("argmax(dim=1)", "argmin(dim=1)")),
    ("metrics", "accuracy", (".item() / len(labels)", ".item()")),
    ("metrics", "confusion matrix", ("labels * num_classes + predictions", "predictions * num_classes + labels")),
    ("metrics", "confusion matrix", ("torch.bincount(pairs", "torch.bincount(pairs.unique()")),
    ("train_one_epoch", "gradient descent", ("        optimizer.zero_grad()\n", "")),
    ("train_one_epoch", "gradient descent", ("        optimizer.step()\n", "")),
    ("train_one_epoch", "momentum", ("optimizer.zero_grad()", FORGETS)),
    ("train_one_epoch", "Adam", ("optimizer.zero_grad()", FORGETS)),
    ("train_one_epoch", "schedule", ("        if scheduler is not None:\n", "        if scheduler is None:\n")),
    ("train_one_epoch", "epochs", (" * len(labels)", "")),
    ("train_one_epoch", "epochs", ("cross_entropy(logits, labels)", 'cross_entropy(logits, labels, reduction="sum")')),
    ("train_one_epoch", "epochs", ("logits = model(images)", "logits = model(images).softmax(dim=1)")),
    ("evaluate", "probe", (', reduction="sum"', "")),
    ("evaluate", "probe", ("count += len(labels)", "count += 1")),
    ("evaluate", "test", ("    model.eval()\n", "")),
    ("evaluate", "test", ("model.train(was_training)", "model.train()")),
    ("fit", "fit", ("copy.deepcopy(model.state_dict())", "model.state_dict()")),
    ("fit", "fit", ("> best_accuracy", ">= best_accuracy")),
    ("fit", "fit", ('if val["accuracy"] >', 'if train["accuracy"] >')),
    ("fit", "fit", ("on_epoch(epoch, history)\n", "on_epoch(epoch + 1, history)\n")),
    ("fit", "fit", ("evaluate(model, val_loader", "evaluate(model, train_loader")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "oracle", "edit"), PLANTED, ids=[f"{name}: {edit[0]}" for name, _, edit in PLANTED])
def test_a_planted_mistake_is_seen(name, oracle, edit):
    wrong = run_cells(**{name: changed(CODE[name], edit)})
    with pytest.raises(AssertionError):
        ORACLES[oracle](wrong)


FORGOTTEN = [
    (', "optimizer": optimizer.state_dict()', ""),
    ('saved["model"])', 'saved["model"], strict=False)'),
    ('    model.load_state_dict(saved["model"])\n', ""),
    ('"epoch": epoch', '"epoch": 0'),
    ('"history": history', '"history": {}'),
    ('"model": model.state_dict()', '"model": dict(model.named_parameters())'),
]


@pytest.mark.parametrize("edit", FORGOTTEN, ids=[old for old, _ in FORGOTTEN])
def test_a_planted_mistake_in_a_checkpoint_is_seen(edit, tmp_path):
    with pytest.raises((AssertionError, KeyError, RuntimeError)):
        resume_oracle(run_cells(checkpoints=changed(CODE["checkpoints"], edit)), tmp_path)


# --- what is free ---------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-6, 1e-12])
def test_the_eps_of_a_layer_norm_does_not_show_in_build_model(eps):
    """LayerNorms may differ in eps, so the exam's tokens are too large for it to show."""
    exercise, reference = LAB.exercise("build_model"), Reference(LAB)
    classes = with_classes().replace("nn.LayerNorm(dim)", f"nn.LayerNorm(dim, eps={eps})")
    build = reference.namespace([("build_model", classes)])["build_model"]
    for variant in range(4):
        draw = Variant(b"oracles", "build_model", variant)
        expected = reference.answers(exercise, draw)
        for case, wanted in zip(reference.cases(exercise, draw), expected, strict=True):
            assert is_correct(comparable(ask(build, case), case, 1e-6), wanted.answer, case, 1e-6), case.name


# --- the drawn problems ---------------------------------------------------------------------------


@pytest.mark.parametrize("variant", range(3))
def test_a_drawn_history_shows_which_epoch_is_kept(variant):
    """The best epoch is not the first, the last, nor the best by loss; and the model ends with its weights."""
    middle, watched, hopeless, *_ = fit_cases(Variant(b"oracles", "fit", variant))
    history, _ = solved(middle)
    best = int(history["val_accuracy"].argmax())
    assert 0 < best < len(history["val_accuracy"]) - 1
    assert (history["val_accuracy"] == history["val_accuracy"].max()).sum() > 1
    assert best not in (int(history["val_loss"].argmin()), int(history["train_loss"].argmin()))
    seen, _ = solved(watched)
    best = int(seen["val_accuracy"].argmax())
    assert 0 < best < len(seen["val_accuracy"]) - 1
    assert torch.equal(seen["state.head.weight"], seen["calls.state.head.weight"][best])
    assert solved(hopeless)[0]["val_accuracy"].tolist() == [0.0, 0.0]


def test_a_problem_is_drawn_the_same_way_again():
    first, again = (fit_cases(Variant(b"oracles", "fit", 1)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        found = {name: value for name, value in a.parameters.items() if isinstance(value, Tensor)}
        assert found and all(torch.equal(value, b.parameters[name]) for name, value in found.items())
