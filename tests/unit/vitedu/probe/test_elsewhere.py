"""Tensors and files from a device that is not here behave as those from a real one would."""

import pytest
import torch
from torch import nn

from vitedu.probe.fake_device import ABSENT, MIXED, FakeDeviceTensor, written_elsewhere

HERE = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    "bring",
    [
        lambda t: t.to("cpu"),
        lambda t: t.to(torch.device("cpu"), non_blocking=True),
        lambda t: t.to(device="cpu"),
        lambda t: t.to(HERE),
        lambda t: t.cpu(),
        lambda t: torch.as_tensor(t, device="cpu"),
        lambda t: t.pin_memory().to("cpu"),
        lambda t: t.float().reshape(3, 2).to("cpu").reshape(2, 3),
        lambda t: torch.empty(2, 3).copy_(t),
        lambda t: torch.stack([row.to("cpu") for row in t]),
    ],
)
def test_every_usual_way_to_move_brings_it_here(bring):
    moved = bring(FakeDeviceTensor(HERE))
    assert type(moved) is torch.Tensor and torch.equal(moved, HERE)


def test_it_can_be_looked_at_and_computed_with_where_it_lies():
    t = FakeDeviceTensor(HERE)
    assert (t.shape, len(t), t.size(1), t.dtype, t.device.type) == ((2, 3), 2, 3, torch.float32, "meta")
    assert type(t + t) is FakeDeviceTensor and (t * 2).sum().item() == 30


@pytest.mark.parametrize(
    "use", [lambda t: t + HERE, lambda t: nn.Linear(3, 2)(t), lambda t: nn.functional.cross_entropy(HERE, t.argmax(1))]
)
def test_it_does_not_mix_with_what_is_here(use):
    with pytest.raises(RuntimeError, match=MIXED):
        use(FakeDeviceTensor(HERE))


@pytest.mark.parametrize("use", [lambda t: t.cuda(), lambda t: t.to("cuda"), lambda t: t.to(device="cuda:0")])
def test_a_device_written_into_the_code_fails_in_the_same_way_on_every_machine(use):
    with pytest.raises(RuntimeError, match=ABSENT):
        use(FakeDeviceTensor(HERE))


def test_a_file_from_elsewhere_needs_a_map_location(tmp_path):
    with written_elsewhere(True):
        torch.save({"w": HERE}, tmp_path / "there.pt")
    with written_elsewhere(False):
        torch.save({"w": HERE}, tmp_path / "here.pt")
    with pytest.raises(RuntimeError, match="not here"):
        torch.load(tmp_path / "there.pt")
    for name in ("there.pt", "here.pt"):
        assert torch.equal(torch.load(tmp_path / name, map_location="cpu")["w"], HERE)
    assert torch.equal(torch.load(tmp_path / "here.pt")["w"], HERE)
