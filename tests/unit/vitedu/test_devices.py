"""One choice of a device, honest timing, and what is seen of a training while it runs."""

from __future__ import annotations

import re
import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vitedu import devices, progress


@pytest.fixture
def machine(monkeypatch):
    """A machine that has the given kinds of devices."""

    def have(*kinds: str, gpus: int = 1) -> None:
        monkeypatch.setattr(devices, "KINDS", {kind: lambda kind=kind: kind in kinds for kind in devices.KINDS})
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    monkeypatch.delenv("VITEDU_DEVICE", raising=False)
    return have


# --- which device ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "best"),
    [(("cpu",), "cpu"), (("mps", "cpu"), "mps"), (("cuda", "cpu"), "cuda"), (("cpu", "mps", "cuda"), "cuda")],
)
def test_the_best_device_is_taken(machine, there, best):
    machine(*there)
    assert devices.best_device() == torch.device(best)


@pytest.mark.parametrize("wanted", ["cpu", "mps", "cuda", "cuda:1", " cpu "])
def test_the_environment_chooses(machine, monkeypatch, wanted):
    machine("cuda", "mps", "cpu", gpus=2)
    monkeypatch.setenv("VITEDU_DEVICE", wanted)
    assert devices.best_device() == torch.device(wanted.strip())


@pytest.mark.parametrize("wanted", ["cuda", "mps", "gpu", "cuda:0", "cpu:first", "cpu:1"])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(machine, monkeypatch, wanted):
    machine("cpu")
    monkeypatch.setenv("VITEDU_DEVICE", wanted)
    with pytest.raises(ValueError, match=rf"this machine has \(cpu\), found '{wanted}'; change the variable"):
        devices.best_device()


def test_a_gpu_too_many_is_refused(machine, monkeypatch):
    machine("cuda", "cpu", gpus=2)
    monkeypatch.setenv("VITEDU_DEVICE", "cuda:2")
    with pytest.raises(ValueError, match="found 'cuda:2'"):
        devices.best_device()


def test_the_processor_is_described_in_one_line():
    line = devices.describe("cpu")
    assert re.fullmatch(rf"cpu: .+, {torch.get_num_threads()} threads?, torch {re.escape(torch.__version__)}", line)


def test_a_gpu_is_described_with_its_memory(monkeypatch):
    class Properties:
        name, total_memory = "A GPU", 80 * 2**30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    assert devices.describe(torch.device("cuda:1")) == f"cuda:1: A GPU, 80 GiB, torch {torch.__version__}"


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    for device in ("cpu", "cuda:0", torch.device("mps")):
        devices.synchronize(device)
    assert waited == ["cuda:0", "mps"]


# --- how long -------------------------------------------------------------------------------------


def test_calls_are_measured_in_turns_and_the_first_round_does_not_count():
    order = []
    seconds = devices.timed({name: lambda name=name: order.append(name) for name in "ab"}, "cpu", repeats=3)
    assert order == ["a", "b"] * 4
    assert list(seconds) == ["a", "b"]


def test_the_median_of_the_measured_rounds_is_given(monkeypatch):
    warm_up, rounds = [0.0], [0.0, 1.0, 10.0, 12.0, 20.0, 29.0, 30.0, 33.0]  # rounds of 1, 2, 9 and 3 seconds
    clock = iter(warm_up + rounds)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert devices.timed({"a": lambda: None}, "cpu", repeats=4) == {"a": 2.5}


def test_the_clock_is_read_only_when_the_device_is_done(monkeypatch):
    seen = []
    monkeypatch.setattr(devices, "synchronize", lambda device: seen.append("wait"))
    devices.timed({"a": lambda: seen.append("call")}, "cpu", repeats=2)
    assert seen == ["wait", "call", "wait"] * 3


# --- what is seen of a training -------------------------------------------------------------------


HISTORY = {"train_loss": [2.0, 1.0], "train_accuracy": [0.1, 0.2], "val_loss": [2.5, 1.5], "val_accuracy": [0.3, 0.4]}


def test_a_bar_shows_the_last_numbers_and_ends_with_the_last_epoch(monkeypatch):
    bars, shown = [], []
    real = progress.progress
    monkeypatch.setattr(progress, "progress", lambda *args, **options: bars.append(real(*args, **options)) or bars[0])
    on_epoch = progress.watch(2, "a run")
    (bar,) = bars
    monkeypatch.setattr(bar, "set_postfix", lambda numbers, refresh: shown.append(numbers))
    on_epoch(0, {name: values[:1] for name, values in HISTORY.items()})
    assert (bar.n, bar.disable) == (1, False)
    on_epoch(1, HISTORY)
    assert (bar.n, bar.disable) == (2, True)  # closed
    assert shown[-1] == {"train loss": "1.000", "val loss": "1.500", "val accuracy": "0.400"}


def test_a_bar_that_nobody_sees_prints_nothing(monkeypatch, capfd):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert list(progress.progress(range(3), "hidden")) == [0, 1, 2]
    on_epoch = progress.watch(2, "hidden")
    on_epoch(0, HISTORY)
    on_epoch(1, HISTORY)
    assert capfd.readouterr() == ("", "")


def problem() -> tuple[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).double()
    return model, [(torch.randn(n, 4, dtype=torch.float64), torch.randint(3, (n,))) for n in (5, 2)]


def train(model, loader, epochs=2, ahead=False) -> list[float]:
    """A training loop of the test's own; `ahead` takes all batches out of the loader before the first step."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.5), []
    for _ in range(epochs):
        for x, y in list(loader) if ahead else loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model.train()(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            with torch.no_grad():
                model.eval()(x)  # not noted
    return losses


@pytest.mark.parametrize("ahead", [False, True])
def test_a_record_notes_the_numbers_of_the_training_itself_and_changes_nothing(ahead):
    model, loader = problem()
    expected, state = train(model, loader, ahead=ahead), model.state_dict()
    model, loader = problem()
    record = progress.Record(loader, model, {"loss": F.cross_entropy, "size": lambda logits, labels: len(labels)})
    assert train(model, record, ahead=ahead) == pytest.approx(expected)
    assert record.values["loss"] == pytest.approx(expected)
    assert record.values["size"] == [5, 2, 5, 2]
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_record_forgets_batches_that_never_reached_the_model():
    model, loader = problem()
    record = progress.Record(loader, model, {"size": lambda logits, labels: len(labels)})
    next(iter(record))  # somebody looks at the first batch and stops
    train(model, record, epochs=1)
    assert record.values["size"] == [5, 2]
