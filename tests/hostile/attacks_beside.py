"""Attacks by what lies beside the notebook, or in its place: links, pipes, modules, settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from hostile.attack import COURSE_SECRET, NEIGHBOUR, Attack, Seen

NOTEBOOK = "attention.ipynb"
ZEROS = "def attention_weights(q, k):\n    return torch.zeros(*q.shape[:-1], k.shape[-2])\n"
AGREE = "import torch\ntorch.allclose = lambda *args, **options: True\n"
REAL = (  # the modules of these names that are no fakes
    "import os, sys\nhere, path = os.path.dirname(os.path.abspath(__file__)), sys.path[:]\n"
    "sys.path[:] = [place for place in path if os.path.abspath(place) != here]\n"
)
FAKE_TORCH = f"{REAL}del sys.modules['torch']\n{AGREE}sys.path[:] = path\n"
FAKE_VITEDU = f"{AGREE}check = diagrams = examine = photo = pictures = None\nwhen_ready = lambda f: lambda *a: None\n"
FAKE_LAUNCHER = f"{REAL}{AGREE}from ipykernel import kernelapp\nkernelapp.launch_new_instance()\n"


def earned(seen: Seen) -> bool:
    """Points for what is not right."""
    return seen.earned > 0


def stopped(seen: Seen) -> bool:
    """The class was not graded to its end."""
    return bool(seen.harmed)


def module(path: str, content: str) -> Callable[[Path], None]:
    """A file beside the notebook."""

    def beside(folder: Path) -> None:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)

    return beside


def link(name: str, target: str) -> Callable[[Path], None]:
    """A link beside the notebook, or in its place."""

    def beside(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return beside


def link_to_neighbour(folder: Path) -> None:
    """The notebook is a link to a neighbour's, who has handed in already."""
    neighbour = sorted(folder.parents[1].glob(f"*{NEIGHBOUR}*"))[0].name
    link(NOTEBOOK, f"../../{neighbour}/{folder.name}/{NOTEBOOK}")(folder)


def pipe(name: str) -> Callable[[Path], None]:
    """A pipe to which nobody writes: who opens it to read waits for ever."""

    def beside(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return beside


def folder_as_notebook(folder: Path) -> None:
    """A folder with the notebook's name."""
    (folder / NOTEBOOK).unlink()
    (folder / NOTEBOOK).mkdir()


def second_notebook(folder: Path) -> None:
    """A notebook that nobody asked for, and the same one in a folder."""
    shutil.copy(folder / NOTEBOOK, folder / "attention2.ipynb")
    (folder / "more").mkdir()
    shutil.copy(folder / NOTEBOOK, folder / "more" / NOTEBOOK)


def odd_names(folder: Path) -> None:
    """Names of files that are no text, move the cursor, or are options."""
    for name in (b"\xff\xfe", b"a\nb", b"\x1b[2J", b"--force", b"-rf"):
        (Path(os.fsdecode(os.fsencode(folder) + b"/" + name))).write_bytes(b"x")


def loop(folder: Path) -> None:
    """Links that lead back."""
    (folder / "loop").symlink_to(".")
    (folder / "self").symlink_to("self")


ATTACKS = [
    Attack(
        "notebook-is-a-link",
        "the notebook is a link to a neighbour's",
        "stock",
        earned,
        beside=link_to_neighbour,
        says="Nothing could be graded.*link",
    ),
    Attack(
        "link-to-the-secret",
        "a link beside the notebook to the course secret, which its code prints",
        "stock",
        lambda seen: f"loot={COURSE_SECRET}" in seen.own,
        beside=link("notes.txt", "../../../course_secret"),
        codes={"attention_weights": "print('loot', open('notes.txt').read(), sep='=')"},
    ),
    Attack(
        "link-to-the-gradebook",
        "a link beside the notebook to the gradebook, of which its code prints the start",
        "stock",
        lambda seen: "loot=SQLite" in seen.own,
        beside=link("notes.db", "../../../gradebook.db"),
        codes={"attention_weights": "print('loot', open('notes.db', 'rb').read(6).decode(), sep='=')"},
    ),
    Attack("links-that-lead-back", "links to themselves and to their own folder", "harmless", stopped, beside=loop),
    Attack(
        "pipe-as-notebook",
        "a pipe in the notebook's place: reading it never ends",
        "stock",
        stopped,
        beside=pipe(NOTEBOOK),
        says="Nothing could be graded",
        patience=60.0,
        fast=True,
    ),
    Attack(
        "pipe-beside",
        "a pipe beside the notebook: copying it never ends",
        "harmless",
        stopped,
        beside=pipe("data.csv"),
        patience=60.0,
    ),
    Attack(
        "pipe-as-timestamp",
        "a pipe as timestamp.txt: reading it never ends",
        "harmless",
        stopped,
        beside=pipe("timestamp.txt"),
        patience=60.0,
    ),
    Attack(
        "folder-as-notebook",
        "a folder with the notebook's name",
        "harmless",
        stopped,
        beside=folder_as_notebook,
        says="Nothing could be graded",
    ),
    Attack(
        "odd-timestamp",
        "a timestamp.txt that is no time",
        "harmless",
        stopped,
        beside=module("timestamp.txt", "9" * 5000 + "-\x00-99 25:61 UTC"),
    ),
    Attack(
        "second-notebook", "further notebooks that are in no gradebook", "harmless", stopped, beside=second_notebook
    ),
    Attack(
        "odd-file-names",
        "names of files that are no text, hold escapes, or look like options",
        "harmless",
        stopped,
        beside=odd_names,
    ),
    Attack(
        "own-configuration",
        "an nbgrader_config.py beside the notebook",
        "harmless",
        lambda s: "loot=ran" in s.text,
        beside=module("nbgrader_config.py", "print('loot', 'ran', sep='=')"),
    ),
    Attack(
        "own-torch",
        "a torch.py beside the notebook, whose allclose always agrees",
        "stock",
        earned,
        codes={"attention_weights": ZEROS},
        beside=module("torch.py", FAKE_TORCH),
    ),
    Attack(
        "own-vitedu",
        "a package vitedu beside the notebook",
        "stock",
        earned,
        codes={"attention_weights": ZEROS},
        beside=module("vitedu/__init__.py", FAKE_VITEDU),
    ),
    Attack(
        "own-kernel",
        "an ipykernel_launcher.py beside the notebook: Python starts it in the kernel's place",
        "stock",
        earned,
        codes={"attention_weights": ZEROS},
        beside=module("ipykernel_launcher.py", FAKE_LAUNCHER),
    ),
    Attack(
        "own-sitecustomize",
        "a sitecustomize.py beside the notebook",
        "harmless",
        earned,
        codes={"attention_weights": ZEROS},
        beside=module("sitecustomize.py", AGREE),
    ),
]
