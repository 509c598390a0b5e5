"""What a kernel finds of our packages, and which modules its fork server imports before a submission comes."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from autograder.sandbox.bubblewrap import GuestPackages, package_folder
from autograder.sandbox.forked_kernel import ForkServer

LIBRARY = package_folder("vitedu")
PACKAGES = GuestPackages(visible=("vitedu",), masked=("autograder",))  # for every sandbox of ours
SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"
# What probes use; and what pictures load when they are first used.
PROBES = ("vitedu.probe.kernel_entry", "vitedu.training_exams.kernel_entry", "vitedu.checks.check")
PICTURES = ("PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.JpegImagePlugin", "PIL.PngImagePlugin",
            "PIL.PpmImagePlugin", "matplotlib.figure", "matplotlib.backends.backend_agg")  # fmt: skip


def modules_of(source: Path) -> list[str]:
    """The modules that a lab's text imports, and those that vitedu's functions for it import when they are called."""
    lab = source.parent.name.partition("_")[0]
    probes = (*PROBES, f"vitedu.labs.{lab}.scenarios")
    found, ahead = dict.fromkeys((*probes, *PICTURES)), [source, *map(_file_of, probes)]
    read = set[Path]()
    while ahead:
        path = ahead.pop()
        if path in read or not path.is_file():
            continue
        read.add(path)
        for name in map(_defining, _imported(path)):
            found[name] = None
            if name.startswith("vitedu.") and (file := _file_of(name)).name != "__init__.py":
                ahead.append(file)
    # Optimizers load this when they are first used; it takes longer than everything else.
    return [*found, *(["torch._dynamo"] if any("optim" in cell for cell in _run(source)) else [])]


def _file_of(module: str) -> Path:
    """The file of one of vitedu's modules; a package's is its `__init__.py`."""
    place = LIBRARY.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _defining(name: str) -> str:
    """A name that one of vitedu's packages passes on, such as vitedu.data.load, becomes the module that defines it.

    What else such a package imports is loaded with it; what that imports when it is called may never be needed.
    """
    package, _, last = name.rpartition(".")
    passes_on = _file_of(package) if package.startswith("vitedu.") else LIBRARY / "none"
    if passes_on.name == "__init__.py" and not (passes_on.parent / f"{last}.py").exists():
        for node in ast.walk(ast.parse(passes_on.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and last in [alias.name for alias in node.names]:
                return node.module
    return name


def _run(source: Path) -> list[str]:
    """The cells that are run for grading."""
    cells = source.read_text(encoding="utf-8").split("\n# %%")
    return [c for c in cells if not re.search(r'\[markdown\]|role="display"', c.partition("\n")[0])]


def _imported(path: Path) -> Iterator[str]:
    """Names in the import statements of a file; some may be of functions, not of modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


@contextlib.contextmanager
def early(name: str, wanted: bool) -> Iterator[ForkServer | None]:
    """A fork server for a lab by its name, before anything is checked; None where it cannot be, which others tell."""
    sources = [p for p in SOLUTIONS.glob("lab*_*/*.py") if name in (p.parent.name, p.parent.name.split("_")[0])]
    if not (wanted and sources and shutil.which("bwrap")):
        yield None
        return
    with ForkServer(modules_of(sources[0]), PACKAGES) as template:
        yield template
