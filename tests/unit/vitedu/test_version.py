"""What is installed: torch that is too old is named in one sentence, and `vitedu --version` prints the rest."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision

import vitedu
from support.places import ROOT
from vitedu import __main__ as command
from vitedu import torch_version


def with_torch(folder: Path, version: str | None, code: str = "import vitedu") -> subprocess.CompletedProcess[str]:
    """Run code where `import torch` finds a torch that is nothing but its version, or none."""
    (folder / "torch").mkdir()
    body = "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')"
    (folder / "torch" / "__init__.py").write_text(body if version is None else f"__version__ = {version!r}\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize(
    ("version", "found"), [("2.5.1+cu121", "torch 2.5.1+cu121"), ("1.13.0", "torch 1.13.0"), (None, "no torch")]
)
def test_an_old_torch_is_named_in_one_sentence(tmp_path, version, found):
    done = with_torch(tmp_path, version)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and lines[-1] == (
        f"vitedu.torch_version.TorchVersionError: vitedu needs torch 2.6 or newer and found {found}: "
        "run `pip install --upgrade torch torchvision`, then restart the kernel."
    )
    files = {Path(name).name for name in re.findall(r'File "([^"<]+)"', done.stderr)}
    assert files == {"__init__.py", "torch_version.py"} and "another exception" not in done.stderr


def test_a_notebook_shows_the_sentence_alone(tmp_path):
    code = "from IPython.core.interactiveshell import InteractiveShell as S\nS().run_cell('import vitedu')"
    shown = with_torch(tmp_path, "2.5.1", code).stdout
    assert "vitedu needs torch 2.6 or newer and found torch 2.5.1" in shown and "File" not in shown


@pytest.mark.parametrize("version", ["2.6.0", "2.14.1+cu130", "3.0.0a0+git1234", "2.10.0.dev20260101", "unknown"])
def test_a_newer_torch_is_taken(monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", version)
    torch_version.require()


def test_another_module_that_torch_misses_is_not_called_a_missing_torch(tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import not_here_at_all")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    run = [sys.executable, "-c", "import vitedu"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.strip().endswith("No module named 'not_here_at_all'")


# --- vitedu --version


def test_the_command_prints_versions_and_device(monkeypatch):
    monkeypatch.setenv("VITEDU_DEVICE", "cpu")
    run = [sys.executable, "-m", "vitedu", "--version"]
    first, second = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    for part in (
        f"vitedu {vitedu.__version__}", f"torch {torch.__version__}", f"torchvision {torchvision.__version__}",
        f"Python {platform.python_version()}",
    ):  # fmt: skip
        assert f"{part}," in f"{first}, " or f"{part} on " in first, (part, first)
    assert second.startswith("device: cpu (") and "thread" in second


def test_a_device_that_is_not_there_is_said_and_stops_nothing(monkeypatch, capsys):
    monkeypatch.setenv("VITEDU_DEVICE", "toaster")
    command.program(["--version"])
    assert "found 'toaster'; change the variable" in capsys.readouterr().out


def test_a_torchvision_that_does_not_fit_stops_nothing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    command.program(["--version"])
    assert ", torchvision cannot be imported (" in capsys.readouterr().out


def test_without_an_option_the_command_says_what_it_knows(capsys):
    command.program([])
    assert "--version" in capsys.readouterr().out
