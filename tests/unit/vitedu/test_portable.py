"""Windows, macOS and Apple's GPU, as far as Linux can tell: what a notebook imports needs nothing of Unix's own."""

from __future__ import annotations

import ast
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from support.places import ROOT
from vitedu import check, data
from vitedu.labs.lab6 import recording as facts
from vitedu.plots import curves
from vitedu.plots.figure import Picture
from vitedu.probe import recording, serialization
from vitedu.terminal import printable

FILES = sorted((ROOT / "vitedu").rglob("*.py"))
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]

# As on Windows, for our own code: libraries ask which system it is, and take what is there.
ELSEWHERE = """
import builtins, importlib, os, signal, sys, types

MODULES = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NAMES = {
    "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "chown", "fork", "forkpty", "getegid",
    "geteuid", "getgid", "getpgid", "getuid", "killpg", "mkfifo", "nice", "pthread_kill", "sched_getaffinity",
    "sched_setaffinity", "setitimer", "setsid", "statvfs", "sysconf", "uname", "wait4",
}
real = builtins.__import__


def without_unix(name, globals=None, *rest, **more):
    if name.partition(".")[0] in MODULES and str((globals or {}).get("__name__")).startswith("vitedu"):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return real(name, globals, *rest, **more)


class WithoutUnix(types.ModuleType):
    def __getattribute__(self, name):
        if name in NAMES and str(sys._getframe(1).f_globals.get("__name__")).startswith("vitedu"):
            raise AttributeError(f"the module has no attribute {name!r}")
        return super().__getattribute__(name)


builtins.__import__ = without_unix
os.__class__ = signal.__class__ = WithoutUnix
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
USED = """
import vitedu


def attention_weights(q, k):
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)


report = vitedu.check("lab1/attention_weights", attention_weights)
wrong = vitedu.check("lab1/attention_weights", lambda *given: attention_weights(*given).flip(-1))
assert report.passed and not wrong.passed and "<img" in wrong._repr_html_(), report
assert vitedu.data.load("digits").gallery().png
print(vitedu.devices.describe(vitedu.devices.best_device()))
print("done")
"""


def test_everything_is_imported_and_used_without_unix():
    run = [sys.executable, "-c", ELSEWHERE + USED, *MODULES]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr[-2000:]


def test_what_needs_unix_would_be_seen():
    """The test above can fail."""
    tried = """
for line in ("import fcntl", "from resource import getrlimit", "import os; os.fork()", "from signal import SIGKILL"):
    try:
        exec(line, {"__name__": "vitedu.somewhere"})
    except (ImportError, AttributeError) as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE + tried], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.count("\n") == 4, done.stderr


# --- files and texts


def encodings_left_open(source: str) -> list[int]:
    """Lines that open a text file and leave its encoding to the system."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name == "open" and getattr(getattr(node.func, "value", None), "id", "") == "Image":
            continue
        mode = [a.value for a in node.args if isinstance(a, ast.Constant)] + [k.value for k in node.keywords]
        binary = name in ("open", "fdopen") and any("b" in str(getattr(m, "value", m)) for m in mode[:2])
        if name in ("open", "fdopen", "read_text", "write_text", "TextIOWrapper") and not binary:
            given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if given.get("encoding") != "utf-8":
                found.append(node.lineno)
    return found


def test_every_text_file_is_opened_as_utf_8():
    places = [f"{path.relative_to(ROOT)}:{n}" for path in FILES for n in encodings_left_open(path.read_text("utf-8"))]
    assert not places
    planted = "Path(x).read_text()\nopen(x, 'w')\nopen(x, 'rb')\np.write_text(t, encoding='utf-8')"
    assert encodings_left_open(planted) == [1, 2]


def test_no_path_is_a_unix_systems():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                rooted = node.value.startswith(("/tmp", "/var", "/home", "/usr", "/dev", "/proc"))
                assert not rooted or node.value == "/proc/cpuinfo", f"{path}:{node.lineno}: {node.value}"


ROWS = tuple((mark, "Größe → 3 ≤ 4 ✓", "— got “π ≈ 3”, 图\nand more") for mark in (True, False, None))


def test_a_report_is_printed_where_its_characters_do_not_exist():
    """A student's error message may hold any character, and Windows' terminals print few of them."""
    code = f"""
from vitedu.checks import feedback_card
from vitedu.checks.report import CheckReport
for tone in ("right", "wrong", "open"):
    card = feedback_card.Card("α", "right → good", tone, [("It says “π”.", "Why ✗?")], {ROWS!r}, ["≥"])
    print(CheckReport("lab1/α", True, card))
"""
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr.decode()[-1000:]
    shown = done.stdout.decode("cp1252")
    assert shown.count("right ? good") == 3 and shown.count("Größe") >= 6 and "Why ??" in shown


@pytest.mark.parametrize(("encoding", "seen"), [("cp1252", "“?” ? ö"), ("ascii", "??? ? ?"), ("utf-8", "“π” → ö")])
def test_each_terminal_gets_the_characters_that_it_has(monkeypatch, encoding, seen):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert printable("“π” → ö") == seen
    print(printable("“π” → ö"))


def test_pictures_are_described_in_any_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    assert repr(Picture(b"", "a map of “Größe” → π")) == "Picture: a map of “Größe” ? ?"
    monkeypatch.setattr(sys, "stdout", object())
    assert repr(Picture(b"", "→")) == "Picture: →"


# --- loaders whose workers are new processes, as on Windows and macOS


def test_datasets_reach_the_workers_of_a_loader():
    from torchvision.transforms import CenterCrop, Compose, ToTensor

    images, labels = data.pairs(4, np.random.default_rng(0))
    pictures = data.as_pictures(images, labels)
    pictures.transform = Compose([CenterCrop(8), ToTensor()])
    loaded = data.load("digits")
    for one in (loaded, loaded.train, loaded.test, data.load("oddone", train=6, test=3).train, pictures):
        back = pickle.loads(pickle.dumps(one))
        assert type(back) is type(one)
    image, label = pickle.loads(pickle.dumps(pictures))[1]
    assert torch.equal(image, pictures[1][0]) and label == pictures[1][1]


# --- Apple's GPU has no float64


class OnApple(Tensor):
    """A tensor as on Apple's GPU: no float64 there, no numpy, and the CPU's tensors are elsewhere."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is Tensor.cpu:
            return args[0].as_subclass(Tensor)
        asked = [*args[1:], *kwargs.values()]
        if func is Tensor.double or torch.float64 in asked:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        if func is Tensor.numpy:
            raise TypeError("can't convert mps:0 device type tensor to numpy.")
        return super().__torch_function__(func, types, args, kwargs)


def on_apple(*values: float) -> Tensor:
    return torch.tensor(values).as_subclass(OnApple)


def test_the_pretence_refuses_float64():
    with pytest.raises(TypeError, match="float64"):
        on_apple(1.0).double()
    with pytest.raises(TypeError, match="float64"):
        on_apple(1.0).to(torch.float64)
    assert on_apple(1.0).cpu().double().dtype == torch.float64


def test_numbers_from_apples_gpu_are_read():
    scalar = on_apple(2.0)[0]
    kind, found = recording.numbers({"loss": scalar, "all": [scalar, scalar]}, ("loss", "all"))
    assert kind == "dict of tensors" and found["loss"] == 2 and found["all"].tolist() == [2, 2]
    assert recording.number_of(scalar) == 2
    assert serialization.as_tensor([scalar, scalar]).tolist() == [2, 2]
    assert facts.joined([on_apple(1.0, 2.0)]).tolist() == [0, 1, 2]


def test_an_answer_on_apples_gpu_is_checked():
    def attention_weights(q: Tensor, k: Tensor) -> Tensor:
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1).float().as_subclass(OnApple)

    assert check("lab1/attention_weights", attention_weights).passed


def test_a_confusion_matrix_on_apples_gpu_is_drawn():
    matrix = torch.tensor([[3, 1], [0, 4]]).as_subclass(OnApple)
    assert curves.confusions({"here": matrix}, ["a", "b"]) is not None
