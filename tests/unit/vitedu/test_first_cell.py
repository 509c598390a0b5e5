"""Which package does for which notebook, and what the first cell prints."""

import subprocess
import sys

import pytest

import vitedu
from support.places import ROOT
from vitedu import first_cell


@pytest.mark.parametrize(
    ("needs", "installed", "expected"),
    [
        ("0.1.0", "0.1.0", True),
        ("0.1.0", "0.1.7", True),
        ("0.1.2", "0.1.10", True),
        ("0.1.10", "0.1.2", False),
        ("0.1.0", "0.2.0", False),
        ("0.2.0", "0.1.9", False),
        ("1.2.0", "1.2.0", True),
        ("1.2.3", "1.10.0", True),
        ("1.2.3", "1.2.2", False),
        ("1.2.3", "2.2.3", False),
        ("0.9.0", "1.0.0", False),
        ("0.1", "0.1.1", True),
        ("0.1.1rc1", "0.1.1", True),
    ],
)
def test_a_package_fits_when_its_names_have_not_moved_and_it_is_not_older(needs, installed, expected):
    assert first_cell.fits(needs, installed) is expected


@pytest.mark.parametrize("needs", ["", vitedu.__version__])
def test_what_fits_is_told_in_two_lines(needs, capsys, monkeypatch):
    monkeypatch.setenv("VITEDU_DEVICE", "cpu")
    first_cell.ready(needs)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"vitedu {vitedu.__version__}, torch ") and second.startswith("device: cpu (")


@pytest.mark.parametrize(
    ("installed", "todo"),
    [
        ("0.3.0", "ask your instructor for vitedu-0.3.1-py3-none-any.whl, run `%pip install` with that file's name, "
         "and restart the kernel."),
        ("0.4.0", "ask your instructor for a newer notebook."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_sentence(monkeypatch, installed, todo):
    monkeypatch.setattr(vitedu, "__version__", installed)
    with pytest.raises(ImportError) as caught:
        first_cell.ready("0.3.1")
    assert str(caught.value) == f"This notebook needs vitedu 0.3.1 and found vitedu {installed}: {todo}"


def test_a_notebook_shows_the_sentence_alone():
    code = """
from IPython.core.interactiveshell import InteractiveShell
InteractiveShell().run_cell("from vitedu.first_cell import ready; ready('99.0.0')")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("This notebook needs vitedu 99.0.0 and found") and "File" not in done.stdout
