"""The cells of the notebooks on a GPU like Apple's, see support/apples_gpu.py, with fewer images and steps."""

from __future__ import annotations

import ast
import itertools
from typing import Any

import matplotlib
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from autograder.labs.lab import EXAMS, Lab, all_labs
from autograder.labs.source_text import without_marks
from support.apples_gpu import GARBAGE, gpu
from vitedu import data, devices, progress

STEPS = 2  # of a loop through data
MOVING = [lab for lab in all_labs() if any("best_device" in cell.source for cell in lab.cells)]
BATCH = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 1, 0])


def test_it_refuses_what_apples_gpu_refuses():
    with gpu():
        there = BATCH[0].to("mps")
        assert there.device.type == "mps" and devices.best_device().type == "mps"
        for wrong in (
            lambda: there.double(),
            lambda: there.to(torch.float64),
            lambda: BATCH[0].double().to("mps"),
            lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
            lambda: torch.tensor(0.5, device="mps") + there.mean().double(),
        ):
            with pytest.raises(TypeError, match="doesn't support float64"):
                wrong()
        with pytest.raises(RuntimeError, match="on the same device"):
            there + BATCH[0]
        assert torch.empty(3, device="meta").device.type == "meta"


def test_a_copy_holds_garbage_until_somebody_waits():
    with gpu() as pending:
        there = BATCH[0].to("mps")
        back = there.to("cpu", non_blocking=True)
        assert bool((back == GARBAGE).all()) and len(pending) == 1
        devices.synchronize("mps")
        assert torch.equal(back, BATCH[0]) and not pending
        assert torch.equal(there.cpu(), BATCH[0])


def test_what_is_trained_there_is_what_is_trained_here():
    def trained(device: str) -> list[float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2)).to(device)
        descent = torch.optim.AdamW(model.parameters(), lr=0.1)
        images, labels = (t.to(device) for t in BATCH)
        losses = []
        for _ in range(5):
            descent.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            descent.step()
            losses.append(loss.item())
        return losses

    with gpu():
        there = trained("mps")
    assert there == pytest.approx(trained("cpu")) and there[-1] < there[0]


@pytest.fixture
def short(monkeypatch):
    """Trainings of a few steps."""
    load, bar, batches = data.load, progress.progress, DataLoader.__iter__

    def few(name: str, **more: Any) -> data.Dataset:
        return load(name, **({} if name == "digits" else {"train": 100, "test": 100}) | more)

    def some(steps: Any, *rest: Any, **more: Any) -> Any:
        return bar(steps and list(itertools.islice(steps, STEPS)), *rest, **more)

    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.delenv("VITEDU_DEVICE", raising=False)
    monkeypatch.setattr(data, "load", few)
    monkeypatch.setattr(progress, "progress", some)
    monkeypatch.setattr(DataLoader, "__iter__", lambda loader: itertools.islice(batches(loader), STEPS))


def shown(value: Any) -> None:
    """What a notebook does with the value of a cell's last line."""
    for name in ("_repr_html_", "_repr_png_", "_repr_mimebundle_"):
        if method := getattr(value, name, None):
            method()
    repr(value)


def run_cells(lab: Lab) -> None:
    """All code cells but the checks, which ask on the CPU: tests/unit/vitedu/test_portable.py has these."""
    namespace: dict[str, Any] = {"__name__": "__main__", "display": shown}
    for cell in lab.cells:
        if cell.kind != "code" or cell.role in EXAMS:
            continue
        tree, place = ast.parse(without_marks(cell.source)), f"<{lab.key}, {cell.grade_id}>"
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, place, "exec"), namespace)
        if last is not None:
            shown(eval(compile(ast.Expression(last.value), place, "eval"), namespace))
    assert namespace["device"].type == "mps"


@pytest.mark.long
@pytest.mark.parametrize("lab", MOVING, ids=lambda lab: lab.key)
def test_every_cell_runs_there(lab, short, monkeypatch, tmp_path):
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    with gpu() as pending:
        run_cells(lab)
        assert not pending


def test_the_other_labs_name_no_device():
    assert [lab.key for lab in MOVING] == ["lab4", "lab5", "lab6"]
    for lab in all_labs():
        moved = [c.grade_id for c in lab.cells if c.kind == "code" and ("cuda" in c.source or ".to(device" in c.source)]
        assert not moved or lab in MOVING or lab.key == "lab3", (lab.key, moved)
