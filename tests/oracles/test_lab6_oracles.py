"""Lab 6's model answers against timm, torchvision, scikit-learn and steps by hand; mistakes that must be seen."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import models, transforms
from torchvision.transforms import v2

from autograder.labs.exam import changed
from autograder.labs.lab import find_lab, solution_cells
from vitedu.data.image_dataset import Pictures, as_pictures
from vitedu.data.relative_position import RELATIVE, STATISTICS, relative
from vitedu.labs.lab6 import transfer
from vitedu.labs.lab6.stub_models import stub

timm = pytest.importorskip("timm")

LAB = find_lab("lab6")
CODE = solution_cells("lab6_transfer")
SETUP = next(cell.source for cell in LAB.cells if cell.grade_id == "counts")
Space = dict[str, Any]


def run_cells(**replaced: str) -> Space:
    """The names that the solution cells define, some of them replaced."""
    space: Space = {
        "copy": copy, "time": time, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor, "v2": v2, "np": np,
        "DataLoader": DataLoader, "Dataset": Dataset, "Subset": Subset, "transforms": transforms,
    }  # fmt: skip
    for name, code in CODE.items():
        exec(compile(replaced.get(name, code), f"<{name}>", "exec"), space)
    return space


MODEL = run_cells()
FUNCTIONS = {name: MODEL[name] for name in transfer.FUNCTIONS}


def close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


# --- the published numbers ------------------------------------------------------------------------

PUBLISHED = {  # (model, a hidden layer in its heads?, what learns): trainable parameters
    ("DenseNet-201", False, ("features.denseblock4.denselayer16", "classifier")): 235_210,
    ("DenseNet-201", False, ("features.denseblock4", "features.norm5")): 6_982_400,
    ("DeiT-B distilled", False, ("blocks.11", "head", "head_dist")): 7_103_252,
    ("DeiT-B distilled", True, ("blocks.11", "norm", "head", "head_dist")): 7_488_276,
    ("CaiT-S24", False, ("blocks.23",)): 1_775_376,
    ("CaiT-S24", True, ("blocks_token_only.1", "norm", "head")): 1_877_130,
}


@pytest.fixture(scope="module")
def counting() -> Space:
    """The notebook's cell that makes the real models."""
    space: Space = {"nn": nn, "torch": torch, "transfer": transfer}
    exec(SETUP, space)
    return space


@pytest.mark.parametrize("asked", PUBLISHED, ids=lambda asked: f"{asked[0]}: {'+'.join(asked[2])}")
def test_a_published_number_comes_out_of_the_real_architecture(asked, counting):
    name, hidden, modules = asked
    model = counting["real_model"](name, hidden)
    MODEL["freeze_all_but"](model, list(modules))
    assert MODEL["trainable_parameters"](model) == PUBLISHED[asked]


def test_the_notebook_counts_what_was_published(counting):
    assert counting["COUNTS"].keys() == PUBLISHED.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", transfer.REPORT)
def test_a_skeleton_is_the_real_model_without_numbers(name):
    real, skeleton = transfer.report_model(name), transfer.report_skeleton(name)
    shapes = [{key: tuple(t.shape) for key, t in model.state_dict().items()} for model in (real, skeleton)]
    assert shapes[0] == shapes[1]
    MODEL["replace_head"](real, 10)
    MODEL["freeze_all_but"](real, list(transfer.REPORT[name][1]))
    report = {asked[0]: count for asked, count in PUBLISHED.items() if asked[2] == transfer.REPORT[name][1]}
    assert MODEL["trainable_parameters"](real) == report[name]


def test_the_last_dense_layer_would_have_given_another_number():
    model = transfer.report_skeleton("DenseNet-201")
    MODEL["replace_head"](model, 10)
    MODEL["freeze_all_but"](model, ["features.denseblock4.denselayer32", "classifier"])
    assert MODEL["trainable_parameters"](model) == 301_770


def paper_oracle(space: Space) -> None:
    """The closed formulas against torchvision's dense block and timm's class-attention block."""
    for layers, c, growth in ((3, 5, 2), (1, 7, 4)):
        block = models.densenet._DenseBlock(layers, c, 3, growth, 0.0)
        norm = nn.BatchNorm2d(c + layers * growth)
        counted = sum(p.numel() for part in (block, norm) for p in part.parameters())
        assert space["dense_block_count"](layers, c, growth, 3 * growth) == counted
    block = timm.models.cait.LayerScaleBlockClassAttn(12, 3, mlp_ratio=2.0, qkv_bias=True)
    parts = [block, nn.LayerNorm(12), nn.Linear(12, 5), nn.Linear(5, 7)]
    counted = sum(p.numel() for part in parts for p in part.parameters())
    assert space["vit_block_count"](12, 24, 5, 7, 1, True) == counted
    assert space["dense_block_count"](32, 896, 32, 128) == 6_982_400
    assert space["vit_block_count"](768, 3072, 256, 10, 2) == 7_488_276
    assert space["vit_block_count"](384, 1536, 256, 10, 1, True) == 1_877_130


# --- transforms and loaders -----------------------------------------------------------------------


def transform_oracle(space: Space) -> None:
    """torchvision's first transforms, on a photo-like image; colours by hand."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    image = Image.fromarray(pixels)
    by_torchvision = transforms.Compose(
        [transforms.Resize((24, 24)), transforms.ToTensor(), transforms.Normalize(mean, std)]
    )
    apply = space["make_transforms"](24, mean, std, False)
    close(apply(image), by_torchvision(image))
    close(apply(Image.new("RGB", (9, 9), (255, 255, 255)))[:, 3, 4], [0.5 / 0.2, 0.6 / 0.25, 0.7 / 0.3])
    close(apply(Image.new("RGB", (9, 9), (255, 0, 0)))[:, 3, 4], [0.5 / 0.2, -0.4 / 0.25, -0.3 / 0.3])
    train = space["make_transforms"](24, mean, std, True)
    seen = [train(image) for _ in range(4)]
    assert all(not torch.equal(a, b) for a, b in pairwise(seen))


def loaders_oracle(space: Space) -> None:
    """Every picture once, with its label, through the transform of its part."""
    count = 23
    colours = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    pictures = Pictures(colours, torch.arange(count) % 5)

    def marked(mark: int) -> Callable[[Image.Image], Tensor]:
        return lambda image: torch.tensor([image.getpixel((0, 0))[0], mark])

    train, val = space["make_loaders"](pictures, marked(1), marked(2), 4, 6 / 23, 3)
    seen = [torch.cat([torch.cat([x, y[:, None]], dim=1) for x, y in loader]) for loader in (train, val)]
    assert [len(part) for part in seen] == [17, 6]
    assert sorted(torch.cat(seen)[:, 0].tolist()) == list(range(count))
    for part, mark in zip(seen, (1, 2), strict=True):
        assert set(part[:, 1].tolist()) == {mark}
        assert torch.equal(part[:, 2], part[:, 0] % 5)
    assert pictures.transform is None
    other = torch.cat([x for x, _ in space["make_loaders"](pictures, marked(1), marked(2), 4, 6 / 23, 4)[1]])
    assert set(other[:, 0].tolist()) != set(seen[1][:, 0].tolist())


# --- freezing -------------------------------------------------------------------------------------


def freezing_oracle(space: Space) -> None:
    """torch's own idea of a prefix: a parameter learns exactly when a named module holds it."""
    model = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, depth=12, embed_dim=24, num_heads=2,
                              proj_drop_rate=0.3, pos_drop_rate=0.3)  # fmt: skip
    space["freeze_all_but"](model, ["blocks.1", "head"])
    held = {id(p) for part in (model.blocks[1], model.head) for p in part.parameters()}
    assert {id(p) for p in model.parameters() if p.requires_grad} == held
    model.train()
    out = model(torch.randn(2, 3, 32, 32))
    acting = {name for name, m in model.named_modules() if isinstance(m, nn.Dropout) and m.training and m.p > 0}
    assert acting and all(name.startswith("blocks.1.") for name in acting)
    out.sum().backward()
    assert {id(p) for p in model.parameters() if p.grad is not None} <= held


def statistics_oracle(space: Space) -> None:
    """After steps of AdamW with weight decay a frozen DenseNet is the same, and the layer that learns is not."""
    model = models.DenseNet(4, (2, 2), num_init_features=4, bn_size=2, num_classes=3)
    space["freeze_all_but"](model, ["features.denseblock2.denselayer2"])
    before = copy.deepcopy(model.state_dict())
    descent = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        model.train()
        model(torch.randn(4, 3, 32, 32)).square().sum().backward()
        descent.step()
        descent.zero_grad()
    moved = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert moved and all(name.startswith("features.denseblock2.denselayer2.") for name in moved)
    assert any("running_mean" in name for name in moved)


def names_oracle(space: Space) -> None:
    with pytest.raises(ValueError, match=r"blocks\.77"):
        space["freeze_all_but"](stub("deit", 4, 3), ["blocks.1", "blocks.77"])


# --- heads ----------------------------------------------------------------------------------------


def heads_oracle(space: Space) -> None:
    """timm's reset_classifier: the same shapes, and everything else as it was."""
    options = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
    mine, theirs = (timm.create_model("deit_tiny_distilled_patch16_224", **options) for _ in range(2))
    before = copy.deepcopy(mine.state_dict())
    assert space["replace_head"](mine, 7) is mine
    theirs.reset_classifier(7)
    assert {n: t.shape for n, t in mine.state_dict().items()} == {n: t.shape for n, t in theirs.state_dict().items()}
    for name, t in mine.state_dict().items():
        assert name.startswith("head") or torch.equal(t, before[name])
    mine.set_distilled_training(True)
    outputs = mine.train()(torch.randn(5, 3, 32, 32))
    assert [z.shape for z in outputs] == [(5, 7), (5, 7)]
    labels = torch.arange(5)
    first, second = (z.detach() for z in outputs)
    expected = (log_loss(labels, first.double().softmax(1).numpy(), labels=range(7))
                + log_loss(labels, second.double().softmax(1).numpy(), labels=range(7))) / 2  # fmt: skip
    close(space["two_head_loss"](outputs, labels).item(), expected, 1e-5)
    with torch.no_grad():
        for p in mine.parameters():  # else every image looks alike to both heads
            p.normal_(std=0.5)
    images = torch.randn(40, 3, 32, 32)
    tested = mine.eval()(images).argmax(1)
    with torch.no_grad():
        pair = _both(mine, images)
    assert not torch.equal(tested, pair[0].argmax(1)) and not torch.equal(tested, pair[1].argmax(1))
    wanted = tested.where(torch.rand(40) < 0.7, torch.randint(7, (40,)))
    close(space["head_accuracy"](pair, wanted), accuracy_score(wanted, tested))
    close(space["head_accuracy"](pair, wanted, "second"), accuracy_score(wanted, pair[1].argmax(1)))


def _both(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The two logits of a timm model in evaluation mode, layer by layer."""
    tokens = model.forward_features(images)
    return model.head(tokens[:, 0]), model.head_dist(tokens[:, 1])


# --- fine-tuning ----------------------------------------------------------------------------------


def tuning_oracle(space: Space) -> None:
    """A head alone on fixed features is softmax regression: AdamW's steps by numpy, after its paper's algorithm 2."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("body", nn.Linear(5, 4))
    model.add_module("act", nn.Tanh())
    model.add_module("head", nn.Linear(4, 3))
    model.double()
    x, y = torch.randn(9, 5).double(), torch.randint(3, (9,))
    new_x, new_y = torch.randn(5, 5).double(), torch.randint(3, (5,))
    loaders = [list(zip(a.split(4), b.split(4), strict=True)) for a, b in ((x, y), (new_x, new_y))]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    body = copy.deepcopy(model.body.state_dict())

    def features(images: Tensor) -> np.ndarray:
        return torch.cat([model.act(model.body(images)), torch.ones(len(images), 1)], dim=1).detach().numpy()

    def softmax(z: np.ndarray) -> np.ndarray:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    w = torch.cat([model.head.weight, model.head.bias[:, None]], dim=1).detach().numpy().copy()
    m, v, t, lr = np.zeros_like(w), np.zeros_like(w), 0, 0.05
    expected = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    for _ in range(3):
        seen = []
        for images, labels in loaders[0]:
            f, p = features(images), softmax(features(images) @ w.T)
            seen.append(p)
            g = (p - np.eye(3)[labels]).T @ f / len(labels)
            t += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            w = w * (1 - lr * 0.01) - lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        for part, p, labels in (("train", np.concatenate(seen), y), ("val", softmax(features(new_x) @ w.T), new_y)):
            expected[f"{part}_loss"].append(log_loss(labels, p, labels=range(3)))
            expected[f"{part}_accuracy"].append(accuracy_score(labels, p.argmax(1)))
    found = space["fine_tune"](model, *loaders, ["head"], 3, lr, "cpu")
    for name, values in expected.items():
        close(found[name], values, 1e-7)
    close(model.head.weight.detach(), w[:, :4], 1e-7)
    assert all(torch.equal(body[name], t) for name, t in model.body.state_dict().items())
    assert all(len(found[name]) == 3 and min(found[name]) > 0 for name in ("train_seconds", "val_seconds"))


ORACLES = {
    "transforms": transform_oracle, "loaders": loaders_oracle, "freezing": freezing_oracle,
    "statistics": statistics_oracle, "names": names_oracle, "paper": paper_oracle, "heads": heads_oracle,
    "tuning": tuning_oracle,
}  # fmt: skip


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
def test_the_model_answer(oracle):
    torch.manual_seed(0)
    oracle(MODEL)


PLANTED = [  # cell, oracle, edit
    ("loading", transform_oracle, ("scale=True", "scale=False")),
    ("loading", transform_oracle, ("v2.Normalize(mean, std)", "v2.Normalize(std, mean)")),
    ("loading", loaders_oracle, ("copy.copy(dataset)", "dataset")),
    ("loading", loaders_oracle, ("manual_seed(seed)", "manual_seed(0)")),
    ("freeze_all_but", freezing_oracle, ("model.requires_grad_(False)", "model.requires_grad = False")),
    ("freeze_all_but", freezing_oracle, ("nn.modules.dropout._DropoutNd)", ")")),
    ("freeze_all_but", statistics_oracle, ("(nn.modules.batchnorm._BatchNorm, ", "(")),
    ("freeze_all_but", names_oracle, ("if name not in modules", "if False")),
    ("paper_counts", paper_oracle, ("2 * dim + heads", "dim + heads")),
    ("heads", heads_oracle, ('"head_dist", ', "")),
    ("heads", heads_oracle, (" / len(outputs)", "")),
    ("heads", heads_oracle, ('"both": (first + second) / 2', '"both": first')),
    ("fine_tune", tuning_oracle, ("lr=lr", "lr=lr, weight_decay=0.0")),
    ("fine_tune", tuning_oracle, ("if p.requires_grad], lr=lr", "], lr=0.01")),
    ("fine_tune", tuning_oracle, ("hits / n", "hits / len(loader)")),
]


@pytest.mark.parametrize(("cell", "oracle", "edit"), PLANTED, ids=[f"{p[0]}: {p[2][1][:40]}" for p in PLANTED])
def test_a_planted_mistake_is_seen(cell, oracle, edit):
    space = run_cells(**{cell: changed(CODE[cell], edit)})
    torch.manual_seed(0)
    with pytest.raises((AssertionError, KeyError, RuntimeError, ValueError, pytest.fail.Exception)):
        oracle(space)


# --- the study ------------------------------------------------------------------------------------


def test_the_whole_study_of_the_report_at_a_reduced_size():
    """The code of the full path, with random weights, 20 pictures, and the real libraries' architectures."""
    pictures = as_pictures(*relative(20, 0), RELATIVE)
    rows = transfer.full_study(
        FUNCTIONS, "cpu", pictures, transfer.report_candidates(pretrained=False, smaller=True), epochs=2, batch_size=6
    )
    assert [row.name for row in rows] == list(transfer.REPORT)
    for row in rows:
        assert row.trainable > 0
        assert all(len(values) == 2 and np.isfinite(values).all() for values in row.history.values())
    lines = transfer.table(rows).split("\n")
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert all(f"{row.trainable:,}" in line for row, line in zip(rows, lines[1:], strict=True))


def test_the_full_study_says_why_it_does_not_run(monkeypatch):
    monkeypatch.delenv("VITEDU_FULL", raising=False)
    assert "VITEDU_FULL" in transfer.why_not_full(torch.device("cuda"))
    monkeypatch.setenv("VITEDU_FULL", "1")
    assert "GPU" in transfer.why_not_full(torch.device("cpu"))
    assert transfer.why_not_full(torch.device("cuda")) == ""


# --- the data -------------------------------------------------------------------------------------


def test_relative_images_are_what_their_labels_say():
    """The middle of what is red, seen from the middle of what is blue."""
    images, labels = relative(400, 1)
    pixels = images * STATISTICS["std"][0] + STATISTICS["mean"][0]
    red = (pixels[:, 0] - pixels[:, 1:].amax(dim=1) - 0.2).clamp(min=0)
    blue = (pixels[:, 2] - pixels[:, :2].amax(dim=1) - 0.15).clamp(min=0)
    axis = torch.arange(32.0)
    places = [
        torch.stack([(mass.sum(2) * axis).sum(1), (mass.sum(1) * axis).sum(1)], dim=1) / mass.sum((1, 2))[:, None]
        for mass in (red, blue)
    ]
    down, right = (places[0] - places[1]).T
    said = torch.where(down.abs() > right.abs(), (down > 0).long(), 2 + (right > 0).long())
    assert (said == labels).double().mean() > 0.97
    assert torch.bincount(labels, minlength=4).min() > 70
    assert torch.equal(images, relative(400, 1)[0])


def test_pictures_are_what_a_file_would_give():
    images, labels = relative(5, 2)
    pictures = as_pictures(images, labels, RELATIVE)
    image, label = pictures[3]
    assert (len(pictures), image.size, image.mode, label) == (5, (32, 32), "RGB", int(labels[3]))
    back = (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - 0.5) / 0.25
    close(back, images[3], 0.01)
