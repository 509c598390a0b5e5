"""Lab 6's scenarios see what they are for: pieces of a ramp, statistics, and seconds."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from vitedu.labs.lab6 import fine_tuning
from vitedu.labs.lab6.stub_models import fill, image_shape, stub
from vitedu.probe.ask import ask
from vitedu.probe.case import Case

VALUES = torch.randn(97, generator=torch.Generator().manual_seed(0)).double()


def asked(script: str, function, **kwargs):
    """The numbers that a scenario records about a function."""
    found = ask(function, Case("", "f", script=f"lab6.{script}", kwargs=kwargs))
    assert found.status == "ok", found.error
    return {name.removeprefix("out."): t.tolist() for name, t in found.tensors.items()}


def seen(first, train: bool):
    """What the ramp shows about a transform that begins with `first`."""
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    apply = v2.Compose([first, v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    given = {"size": 20, "mean": mean, "std": std, "train": train, "sides": (50, 40),
             "colours": torch.tensor([[255, 255, 255]])}  # fmt: skip
    return asked("transform", lambda *_: apply, **given)


def test_a_ramp_shows_what_was_cut_out_and_what_was_mirrored():
    whole = seen(v2.Resize((20, 20)), train=False)
    assert (whole["varies"], whole["mirrored"], whole["kept"]) == ([0], [0, 0, 0], [1, 1])
    middle = seen(v2.Compose([v2.Resize((24, 24)), v2.CenterCrop(20)]), train=False)
    assert middle["kept"] == [0, 0]
    piece = seen(v2.RandomResizedCrop(20, scale=(0.8, 1)), train=True)
    assert (piece["varies"], piece["mirrored"], piece["kept"][1]) == ([1], [0, 0, 0], 1)
    assert seen(v2.RandomResizedCrop(20), train=True)["kept"][1] == 0
    turned = seen(v2.Compose([v2.Resize((20, 20)), v2.RandomHorizontalFlip()]), train=True)
    assert turned["mirrored"] == [1, 0, 0]
    assert seen(v2.Compose([v2.Resize((20, 20)), v2.RandomVerticalFlip()]), train=True)["mirrored"] == [0, 1, 0]


@pytest.mark.parametrize("kind", ["deit", "cait", "densenet"])
def test_a_stand_in_runs_and_every_number_matters(kind):
    model = fill(stub(kind, 4, 3, 0.5).double(), VALUES)
    again = fill(stub(kind, 4, 3, 0.5).double(), VALUES)
    x = torch.randn(4, *image_shape(kind)).double()
    assert torch.equal(model.eval()(x), again.eval()(x))
    out = model.train()(x)
    out = out if isinstance(out, tuple) else (out,)
    sum(z.square().sum() for z in out).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert [tuple(z.shape) for z in out] == [(4, 3)] * (2 if kind == "deit" else 1)


def test_frozen_statistics_and_dropouts_show():
    given = {"kind": "densenet", "width": 4, "classes": 3, "values": VALUES, "names": ("classifier",),
             "x": torch.randn(3, 3, 32, 32)}  # fmt: skip
    loose = asked("freeze", lambda model, names: model.requires_grad_(False), **given)
    assert sum(loose["trainable"]) == 0 and sum(loose["buffers"]) > 0

    def held(model, names):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(lambda module, _: module.train(False) and None)

    assert sum(asked("freeze", held, **given)["buffers"]) == 0


def test_the_clock_is_turned_by_hand_and_other_threads_do_not_see_it():
    clock, elsewhere = fine_tuning.Clock(), []
    before = time.perf_counter
    with clock.instead():
        started = time.perf_counter()
        assert not elsewhere and clock.asked
        clock.now += 2.5
        assert time.perf_counter() - started == 2.5 and time.time_ns() == clock.now * 1e9
        thread = threading.Thread(target=lambda: elsewhere.append(time.time()))
        thread.start()
        thread.join()
    assert time.perf_counter is before and elsewhere[0] > 1e9
