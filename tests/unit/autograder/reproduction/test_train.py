"""`autograder train`: a configuration is trained, told in a table, and kept in files; a mistake is one sentence."""

import dataclasses
import io
import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from tqdm.auto import tqdm

from autograder.errors import UserError
from autograder.reproduction import train as training
from autograder.reproduction.configs import CONFIGS, Training
from vitedu.data.datasets import fit_to, load
from vitedu.data.errors import DataError

LEARNED = Training(epochs=(2,), batch_size=32)


@pytest.fixture
def small(monkeypatch) -> None:
    """`digits`, trained on few images."""
    monkeypatch.setattr(training, "load", lambda name, **kw: load(name, train=200, test=50, **kw))


def test_a_run_prints_a_table_and_keeps_history_and_curves(tmp_path, small, capfd, monkeypatch):
    monkeypatch.setattr("vitedu.progress.DELAY", 0)  # a fast machine is done before a bar comes, or is drawn again
    monkeypatch.setattr("vitedu.progress.tqdm", partial(tqdm, mininterval=0))
    assert training.train("digits", 2, None, tmp_path / "new" / "folder", "cpu") == 0
    out, bar = capfd.readouterr()
    assert "200 training and 50 test images, 10 of 10 classes" in out and "digits on cpu" in out
    row = next(line for line in out.splitlines() if line.endswith("69,194"))
    record = json.loads((tmp_path / "new" / "folder" / "digits.json").read_text())
    (run,) = record["runs"]
    assert row.split()[0] == "2" and f"{run['test']:.1%}" in row
    assert {name: len(values) for name, values in run["history"].items()} == {
        "train_loss": 2, "train_accuracy": 2, "val_loss": 2, "val_accuracy": 2,
    }  # fmt: skip
    assert run["validation"] == max(run["history"]["val_accuracy"])
    assert record["config"]["name"] == "digits" and record["parameters"] == 69_194
    image = Image.open(io.BytesIO((tmp_path / "new" / "folder" / "digits.png").read_bytes()))
    assert np.asarray(image.convert("L")).std() > 5
    assert "2 epochs" in bar and "val accuracy" in bar  # the progress bar


def test_a_run_can_be_repeated(tmp_path, small, capsys):
    histories = []
    for folder in ("one", "two"):
        training.train("digits", 1, None, tmp_path / folder, "cpu")
        histories.append(json.loads((tmp_path / folder / "digits.json").read_text())["runs"][0]["history"])
    assert histories[0] == histories[1]


def test_several_trainings_start_anew_and_stand_side_by_side(tmp_path, small, capsys, monkeypatch):
    twice = dataclasses.replace(LEARNED, epochs=(1, 2), schedule="constant")
    short = dataclasses.replace(CONFIGS["digits"](), training=twice)
    monkeypatch.setitem(training.CONFIGS, "digits", lambda: short)
    training.train("digits", None, None, tmp_path, "cpu")
    one, two = json.loads((tmp_path / "digits.json").read_text())["runs"]
    assert [one["epochs"], two["epochs"]] == [1, 2]
    assert one["history"]["train_loss"] == two["history"]["train_loss"][:1]  # the same weights and order at first


def test_embedded_data_stand_in_and_it_says_so(tmp_path, small, capsys, monkeypatch):
    monkeypatch.setenv("VITEDU_DATA", str(tmp_path / "nothing"))
    config = CONFIGS["lab-sheet"]()
    data, said = training._data(config, None)
    assert said.startswith("The original images are not here (`--data fashion-mnist` takes them); digits stands in")
    assert data.shape == (1, 28, 28) and data.classes == tuple("012345")
    assert data.train.tensors[1].max() == 5
    _, said = training._data(CONFIGS["homework-vit"](), None)
    assert "`--data folder:PATH` takes such a folder" in said and "5 of 6 classes" in said


def test_data_of_other_sizes_are_fitted():
    color = load("pairs", train=60, test=30)
    gray = fit_to(color, (1, 28, 28), 4)
    assert gray.shape == (1, 28, 28) and len(gray.mean) == len(gray.std) == 1 and len(gray.classes) == 4
    kept = color.train.tensors[1] < 4
    assert torch.equal(gray.train.tensors[1], color.train.tensors[1][kept])
    assert gray.train.tensors[0].mean().item() == pytest.approx(color.train.tensors[0][kept].mean().item(), abs=0.02)
    digits = load("digits", train=20, test=10)
    repeated = fit_to(digits, (3, 8, 8), 10)
    assert torch.equal(repeated.train.tensors[0][:, 1], digits.train.tensors[0][:, 0]) and len(repeated.mean) == 3
    with pytest.raises(DataError, match="first 0 classes"):
        fit_to(digits, (1, 8, 8), 0)


def test_images_are_held_out_for_the_choice_of_the_best_epoch():
    data = load("digits", train=100, test=30)
    train, validation, test = training.loaders(data, 16, torch.device("cpu"))
    rows = [{image.numpy().tobytes() for images, _ in loader for image in images} for loader in (train, validation)]
    assert len(train.dataset) == 90 and len(validation.dataset) == 10 and not rows[0] & rows[1]
    assert test.dataset is data.test


def test_optimizer_and_schedule_are_the_configurations():
    model = nn.Linear(2, 2)
    chosen = Training(epochs=(1,), optimizer="Adam", lr=0.02, betas=(0.8, 0.95), weight_decay=0.1, warmup=0.1)
    optimizer, scheduler = training.optimizer_of(model, chosen, 100)
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.95) and optimizer.param_groups[0]["weight_decay"] == 0.1
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.002, rel=0.01) and max(rates) == rates[9] > 0.019
    assert rates[55] == pytest.approx(0.02 * 0.5 * (1 + np.cos(np.pi * 0.55))) and rates[-1] < 1e-5
    optimizer, _ = training.optimizer_of(model, dataclasses.replace(chosen, schedule="constant"), 100)
    assert optimizer.param_groups[0]["lr"] == 0.02


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet", None, None, "cpu"), "homework-vit, homework-einsum, lab-report-28"),
        (("digits", 0, None, "cpu"), "epochs from 1 on, found 0"),
        (("digits", 1, "imagenet", "cpu"), "Expected one of digits"),
        (("digits", 1, "folder:/nowhere/at/all", "cpu"), "/nowhere/at/all"),
        (("digits", 1, None, "toaster"), "toaster"),
        (("digits", 1, None, "meta:x"), "meta:x"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, words):
    name, epochs, data, device = arguments
    with pytest.raises(UserError) as caught:
        training.train(name, epochs, data, tmp_path, device)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_training_leaves_torch_its_threads(tmp_path, small, capsys):
    before = torch.get_num_threads()
    training.train("digits", 1, None, tmp_path, "cpu")
    assert torch.get_num_threads() == before
