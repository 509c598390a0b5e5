"""The first code cell for real: an environment without vitedu, real pip, and a notebook that a kernel runs there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from nbformat import NotebookNode

import vitedu
from autograder.cli import main
from autograder.labs.lab import INSTALL, ROOT, Lab, all_labs, find_lab
from support.course_fixture import Course

LAB = find_lab("lab1")
# Runs a notebook in a kernel of the environment that this program is started in.
RUN = """
import sys, nbformat
from nbclient import NotebookClient
nb, here = nbformat.read(sys.argv[1], as_version=4), {"metadata": {"path": "."}}
NotebookClient(nb, timeout=300, kernel_name="python3", allow_errors=True, resources=here).execute()
nbformat.write(nb, "run.ipynb")
"""


@dataclass
class Elsewhere:
    """A student's machine: an environment with our packages' versions and without vitedu, and a folder to work in."""

    root: Path
    site: Path

    def python(self, *arguments: str | Path, cwd: Path) -> str:
        """What Python prints in this environment."""
        bare = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "JUPYTER", "PIP_"))}
        environment = bare | {"HOME": str(self.root), "VITEDU_DEVICE": "cpu", "OMP_NUM_THREADS": "1"}
        command = [str(self.root / "bin" / "python"), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def run(self, notebook: Path, cells: list[str] | None = None) -> dict[str, NotebookNode]:
        """Run a notebook, or some cells of it, in its folder: grade_id -> code cell with outputs."""
        nb = nbformat.read(notebook, as_version=4)
        if cells is not None:
            nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id in cells]
        nbformat.write(nb, notebook.parent / "some.ipynb")
        self.python("-c", RUN, "some.ipynb", cwd=notebook.parent)
        run = nbformat.read(notebook.parent / "run.ipynb", as_version=4)
        return {cell.metadata.nbgrader.grade_id: cell for cell in run.cells if cell.cell_type == "code"}

    def lose(self, name: str) -> Path:
        """Take away a package, by the beginning of its files' names; the folder of those that are left."""
        before, left = Path((self.site / "all.pth").read_text().strip()), self.root / "packages"
        left.mkdir()
        for path in before.iterdir():
            if not path.name.startswith(name):
                (left / path.name).symlink_to(path.resolve())
        (self.site / "all.pth").write_text(f"{left}\n")
        return left

    def find_in(self, folder: Path, **versions: str) -> None:
        """Let pip look for packages in a folder, with these empty ones on top, and nowhere else."""
        folder.mkdir(exist_ok=True)
        for name, version in versions.items():
            about = f"{name}-{version}.dist-info"
            with ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
                archive.writestr(f"{name}/__init__.py", "")
                archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
                archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                archive.writestr(f"{about}/RECORD", "")
        (self.root / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {folder}\n")

    @property
    def brought(self) -> set[str]:
        """What pip has put into the environment."""
        return {path.name for path in self.site.iterdir()} - {"all.pth", "__pycache__"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """This environment's packages without ours, as links."""
    folder = tmp_path_factory.mktemp("packages")
    (here,) = {path for path in map(Path, sys.path) if path.name == "site-packages" and (path / "torch").is_dir()}
    for path in here.iterdir():
        if path.suffix != ".pth" and not path.name.lower().startswith(("vitedu", "_vitedu")):
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def elsewhere(packages, tmp_path) -> Elsewhere:
    root = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    site = next(root.glob("lib/python*/site-packages"))
    (site / "all.pth").write_text(f"{packages}\n")
    return Elsewhere(root, site)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The students' wheel, made as `make wheels` makes it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT / "packaging" / "vitedu", check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def notebook(folder: Path, lab: Lab = LAB, **given: object) -> Path:
    """A released notebook in a folder of its own; `given` to `prepare` on top."""
    source = ROOT / "notebooks" / lab.assignment / f"{lab.notebook}.ipynb"
    nb = nbformat.read(source, as_version=4)
    cell = next(cell for cell in nb.cells if cell.metadata.nbgrader.grade_id == INSTALL)
    more = "".join(f", {name}={value!r}" for name, value in given.items())
    assert cell.source.endswith(f"needs={vitedu.__version__!r})\ndel prepare".replace("'", '"'))
    cell.source = cell.source.replace(")\ndel prepare", f"{more})\ndel prepare")
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, folder / source.name)
    return folder / source.name


def printed(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def sentence(cell: NotebookNode) -> str:
    """What a cell shows of its one error: a sentence, and no traceback."""
    (error,) = [output for output in cell.outputs if output.output_type == "error"]
    assert error.traceback == [error.evalue], error.traceback
    return error.evalue


def installed(place: Elsewhere, run: dict[str, NotebookNode]) -> None:
    """The cell has brought vitedu and nothing else, and the lab's imports work."""
    first, *rest = printed(run[INSTALL]).splitlines()
    assert first.startswith("Installing vitedu") and len(rest) == 2, printed(run[INSTALL])
    assert rest[0].startswith(f"vitedu {vitedu.__version__}, torch ") and rest[1].startswith("device: cpu")
    assert place.brought == {"vitedu", f"vitedu-{vitedu.__version__}.dist-info"}
    assert run["imports"].outputs == []
    assert "/environment/" in place.python("-c", "import vitedu; print(vitedu.__file__)", cwd=place.root)


# --- ways that work


@pytest.mark.slow
def test_what_is_handed_out_runs_from_top_to_bottom(elsewhere, released_course, wheel, tmp_path):
    course = Course(released_course.root)
    to = tmp_path / "handout.zip"
    assert main(["handout", "lab1", "--course", str(course.root), "--to", str(to), "--wheel", str(wheel)]) == 0
    with ZipFile(to) as archive:
        archive.extractall(tmp_path / "a folder für Größen")
    (given,) = (tmp_path / "a folder für Größen").rglob("*.ipynb")
    for older in ("0.0.9", "0.0.10"):  # of several wheels the newest is taken
        (given.parent / f"vitedu-{older}-py3-none-any.whl").write_bytes(b"no wheel")
    run = elsewhere.run(given)
    installed(elsewhere, run)
    assert not [cell for cell in run.values() if any(output.output_type == "error" for output in cell.outputs)]
    assert "not answered yet" in str(run["exam-attention_weights"].outputs)


@pytest.fixture
def server(wheel) -> Iterator[str]:
    """The address of the wheel on a server."""
    handler = partial(SimpleHTTPRequestHandler, directory=wheel.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}/{wheel.name}"
        serving.shutdown()


@pytest.mark.long
@pytest.mark.parametrize("lab", [find_lab("lab5"), LAB], ids=lambda lab: lab.key)
def test_from_a_wheels_address(elsewhere, server, tmp_path, lab):
    extra = "[libraries]" if lab.key == "lab5" else ""
    given = notebook(tmp_path / "work", lab, install_from=f"vitedu{extra} @ {server}")
    installed(elsewhere, elsewhere.run(given, [INSTALL, "imports"]))


@pytest.mark.long
def test_from_a_folder(elsewhere, wheel, tmp_path):
    given = notebook(tmp_path / "work", install_from=f"{wheel.parent}/vitedu-*.whl")
    installed(elsewhere, elsewhere.run(given, [INSTALL, "imports"]))


@pytest.mark.long
def test_from_an_index(elsewhere, wheel, tmp_path):
    elsewhere.find_in(wheel.parent)
    given = notebook(tmp_path / "work", install_from=f"vitedu=={vitedu.__version__}")
    installed(elsewhere, elsewhere.run(given, [INSTALL, "imports"]))


@pytest.mark.long
def test_a_library_that_a_lab_needs_is_installed(elsewhere, wheel, tmp_path):
    """timm is missing; pip finds it in a folder, as it would at an index."""
    elsewhere.lose("timm")
    elsewhere.find_in(tmp_path / "index", timm="1.0.99")
    given = notebook(tmp_path / "work", find_lab("lab6"))
    shutil.copy(wheel, given.parent)
    run = elsewhere.run(given, [INSTALL])
    assert "timm" in elsewhere.brought and "vitedu 0" in printed(run[INSTALL]), run[INSTALL].outputs


# --- ways that do not


@pytest.mark.slow
def test_with_neither_one_sentence_says_what_to_ask_for(elsewhere, tmp_path):
    given = notebook(tmp_path / "work")
    (given.parent / "vitedu").mkdir()  # a folder of that name is no package
    said = sentence(elsewhere.run(given, [INSTALL])[INSTALL])
    assert said.startswith("This notebook needs vitedu and does not find it: ask your instructor for the file vitedu-")
    assert elsewhere.brought == set()


@pytest.mark.slow
def test_what_pip_cannot_install_is_told_in_its_words(elsewhere, tmp_path):
    given = notebook(tmp_path / "work", install_from=f"{tmp_path}/nothing/vitedu-*.whl")
    said = sentence(elsewhere.run(given, [INSTALL])[INSTALL])
    assert said.startswith("pip could not install vitedu-*.whl; show your instructor what it says: ")
    assert "ERROR" in said and "\n" not in said and "\x1b" not in said


@pytest.mark.slow
def test_torch_is_never_replaced(elsewhere, wheel, tmp_path):
    """A torch that is too old gets a sentence; with one that only pip finds too old, pip is held to it."""
    elsewhere.find_in(tmp_path / "index", torch="2.9.0", torchvision="0.24.0")  # pip would take these
    own = elsewhere.lose("torch-")
    given = notebook(tmp_path / "work")
    shutil.copy(wheel, given.parent)
    for version, said in (("2.5.1", "vitedu needs torch 2.6 or newer and found torch 2.5.1: run `%pip"),
                          ("2.6.0a0+cu1", "pip could not install vitedu")):  # fmt: skip
        about = own / f"torch-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        assert sentence(elsewhere.run(given, [INSTALL])[INSTALL]).startswith(said)
        assert elsewhere.brought == set()
        shutil.rmtree(about)


# --- what the cell is


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)
def test_every_lab_begins_with_the_same_cell(lab):
    cells = [cell for cell in lab.cells if cell.kind == "code"]
    shared = (ROOT / "solutions" / "install.py").read_text(encoding="utf-8").strip()
    libraries = {"lab5": '"timm", "transformers"', "lab6": '"timm"'}.get(lab.key, "")
    assert (cells[0].grade_id, cells[0].role, cells[1].grade_id) == (INSTALL, "display", "imports")
    assert cells[0].source == f"{shared}\n\n\nprepare({libraries})\ndel prepare"
    made = nbformat.read(ROOT / "notebooks" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)
    assert made.metadata.vitedu.needs == vitedu.__version__
    assert (made.metadata.get("accelerator") == "GPU") == (lab.key in ("lab4", "lab6", "lab7"))
    assert (made.metadata.get("colab", {}).get("gpuType") == "T4") == (lab.key in ("lab4", "lab6", "lab7"))


def test_the_cell_knows_which_torch_is_too_old():
    from vitedu.torch_version import MINIMUM

    source = (ROOT / "solutions" / "install.py").read_text(encoding="utf-8")
    assert f"< {json.dumps(list(MINIMUM))}" in source and f"torch {'.'.join(map(str, MINIMUM))} or newer" in source
