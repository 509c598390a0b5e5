"""Build everything that follows from an author's files: `autograder build`.

solutions/labN_name/name.ipynb   the solution notebook, executed
notebooks/labN_name/name.ipynb   the student's notebook, made from it by nbgrader
vitedu/checks/fingerprints/labN.safetensors   answers to the public questions, for the instant checks
README.md   the table of exercises and points
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from autograder.authoring.exercise_table import README, with_table
from autograder.authoring.fingerprints import fingerprints
from autograder.course import configure
from autograder.errors import UserError
from autograder.judging.reference_answers import Reference
from autograder.labs.course_files import require_clone
from autograder.labs.lab import ROOT, Cell, Lab, all_labs, find_lab
from autograder.nbgrader_integration.instructor_config import read_config
from autograder.nbgrader_integration.release import marks, release_settings
from autograder.storage.atomic_files import write_atomically
from vitedu.checks import fingerprint_file

RELEASE = ROOT / "notebooks"
FINGERPRINTS = ROOT / "vitedu" / "checks" / "fingerprints"


def source_hash(lab: Lab) -> str:
    """Hash of the author's text, kept inside the notebooks that are built from it."""
    return hashlib.sha256(lab.text.encode()).hexdigest()


def exam_hash(lab: Lab) -> str:
    """Hash of what the fingerprints are built from: the text, the exams and the stand-ins."""
    exams = sorted((ROOT / "autograder" / "exams").joinpath(lab.key).rglob("*.py"))
    exams += (ROOT / "vitedu" / "stand_ins").glob(f"{lab.key}.py")
    return hashlib.sha256(lab.text.encode() + b"".join(path.read_bytes() for path in exams)).hexdigest()


def source_notebook(lab: Lab) -> NotebookNode:
    """The author's text as a notebook with nbgrader's metadata, not yet executed.

    Raises:
        UserError: a cell that only displays binds a name, an exam cell has no points, ...
    """
    nb = new_notebook(cells=[_notebook_cell(lab, cell) for cell in lab.cells])
    nb.metadata = NotebookNode({
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "vitedu": {"source": source_hash(lab)},
    })  # fmt: skip
    if lab.metadata.get("accelerator") == "GPU":
        nb.metadata |= {"accelerator": "GPU", "colab": {"gpuType": "T4", "provenance": []}}  # as Colab writes it
    return nb


def _notebook_cell(lab: Lab, cell: Cell) -> NotebookNode:
    source = cell.source
    if cell.role == "exam":
        if not cell.exercise or not cell.points:
            raise UserError(
                f"{lab.source.name}: the exam cell {cell.grade_id} needs exercise= and points= in its header."
            )
        # Above the check, whose report is the cell's last expression and so its output.
        source = f'### BEGIN HIDDEN TESTS\nexamine("{lab.key}/{cell.exercise}")\n### END HIDDEN TESTS\n{source}'
    if cell.role == "check" and (cell.points or not cell.exercise):
        raise UserError(
            f"{lab.source.name}: the check cell {cell.grade_id} needs exercise= and no points in its header."
        )
    if cell.role == "display" and (names := bound_names(source)):
        raise UserError(
            f"{lab.source.name}: the display cell {cell.grade_id} binds {', '.join(names)}; make its role setup."
        )
    made = new_markdown_cell(source) if cell.kind == "markdown" else new_code_cell(source)
    made.id = re.sub(r"[^A-Za-z0-9_-]", "-", cell.grade_id)[:64]  # jupytext's ids are new at every conversion
    made.metadata = NotebookNode({
        "nbgrader": NotebookNode({
            "grade": cell.role in ("exam", "written"),
            "grade_id": cell.grade_id,
            "locked": cell.role not in ("solution", "written", "playground"),
            "schema_version": 3,
            # A playground is nobody's solution: nbgrader would put a stub in its place.
            "solution": cell.role in ("solution", "written"),
            "task": False,
        }),
        "vitedu": NotebookNode({"role": cell.role}),
    })  # fmt: skip
    if cell.points:
        made.metadata.nbgrader["points"] = cell.points
    if cell.exercise:
        made.metadata.vitedu["exercise"] = cell.exercise
    if cell.role == "display":
        made.metadata["tags"] = ["display"]
    return made


def bound_names(source: str) -> list[str]:
    """Names that a cell binds at its top level and does not delete there."""
    names, deleted = [], set()
    scopes = (
        ast.FunctionDef,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.Lambda,
        ast.ListComp,
        ast.SetComp,
        ast.DictComp,
        ast.GeneratorExp,
    )
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del):
            deleted.add(node.id)
        elif isinstance(node, ast.alias):
            names.append(node.asname or node.name)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.append(node.name)
        if not isinstance(node, scopes):
            waiting += ast.iter_child_nodes(node)
    return sorted(set(names) - deleted)


def execute(nb: NotebookNode, folder: Path) -> None:
    """Run a notebook as a reader would, and keep its outputs.

    Raises:
        UserError: a cell raised.
    """
    try:
        NotebookClient(
            nb, timeout=300, kernel_name="python3", record_timing=False, resources={"metadata": {"path": str(folder)}}
        ).execute(env=os.environ | {"TQDM_DISABLE": "1"})  # a bar that was kept would stand at its start for ever
    except CellExecutionError as error:
        raise UserError(f"A cell of the notebook raised:\n{error}") from None


def settings() -> Config:
    """`c.Release` of the nbgrader_config.py at the top of the clone, if there is one: for a published repository.

    Raises:
        UserError: it cannot be read, or sets what cannot be meant.
    """
    return Config({"Release": read_config(ROOT).Release})


def release(source: NotebookNode, lab: Lab) -> NotebookNode:
    """The student's notebook, made by nbgrader in a course folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        given = root / "source" / lab.assignment
        given.mkdir(parents=True)
        nbformat.write(source, given / f"{lab.notebook}.ipynb")
        config = settings()
        configure(config, root)
        config.CourseDirectory.source_directory = str(root / "source")
        # What a release must prove about a secret, by the first of them, is proven where there is one: in the course.
        config.GenerateAssignment.preprocessors = config.GenerateAssignment.preprocessors[1:]
        config.NbGraderAPI.log_level = config.Application.log_level = 40
        result = NbGraderAPI(config=config).generate_assignment(lab.assignment)
        if not result["success"]:
            raise UserError(
                f"nbgrader could not make the release of {lab.assignment}:\n{result['error'] or result['log']}"
            )
        return nbformat.read(root / "release" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)


def build(lab: Lab, anew: bool = False) -> list[str]:
    """Build what is older than its source; each file is replaced only when it is whole.

    Args:
        anew: build all of it, also what is up to date: after a change of what the notebook imports.

    Returns:
        What was built.

    Raises:
        UserError: this is no clone of the repository.
    """
    require_clone("Building notebooks")
    path, solution = FINGERPRINTS / f"{lab.key}.safetensors", lab.source.with_suffix(".ipynb")
    place = RELEASE / lab.assignment / f"{lab.notebook}.ipynb"
    no_fingerprints = anew or not path.exists() or fingerprint_file.source(path) != exam_hash(lab)
    wanted = {"source": source_hash(lab)}
    no_solution = anew or _marks_of(solution) != wanted
    no_release = anew or _marks_of(place) != wanted | marks(*release_settings(settings()))
    made: list[str] = []
    if not (no_fingerprints or no_solution or no_release):
        return made
    nb = source_notebook(lab)
    student = release(nb, lab)  # first of all: it may refuse
    if no_fingerprints:
        # Before the notebook runs: its checks read them.
        fingerprint_file.save(path, fingerprints(Reference(lab)), source=exam_hash(lab))
        made.append("fingerprints")
    if no_solution:
        execute(nb, lab.source.parent)
        _write(nb, solution)
        made.append("solution notebook, executed")
    if no_release:
        shutil.rmtree(RELEASE / lab.assignment, ignore_errors=True)
        _write(student, place)
        made.append("student notebook")
    return made


def _marks_of(path: Path) -> dict[str, str]:
    """What a built notebook says it was built from; nothing where there is none."""
    return dict(nbformat.read(path, as_version=4).metadata.get("vitedu", {})) if path.exists() else {}


def _write(nb: NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    nbformat.write(nb, temporary)
    temporary.replace(path)


def build_all(names: Sequence[str], anew: bool = False) -> None:
    """Build the named labs, or all, and say what was built."""
    for lab in [find_lab(name) for name in names] or all_labs():
        started = time.monotonic()
        print(f"{lab.assignment}: building ...", flush=True)
        made = ", ".join(build(lab, anew)) or "all is up to date"
        print(f"{lab.assignment}: {made} ({time.monotonic() - started:.0f} s)", flush=True)
    if README.exists():  # a clone, not an installed package
        write_atomically(README, with_table(README.read_text(encoding="utf-8"), all_labs()))
