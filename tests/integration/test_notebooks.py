"""The built notebooks: they run, they follow from their sources, and the students' give nothing away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from autograder.authoring import build
from autograder.course import configure
from autograder.errors import UserError
from autograder.labs.lab import ROOT, Lab, all_labs
from vitedu.checks import fingerprint_file

LABS = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.assignment)
FIRST = pytest.mark.parametrize(  # `make test` takes the first lab, the proofs take all
    "lab", [pytest.param(lab, marks=[] if lab.key == "lab1" else pytest.mark.long, id=lab.key) for lab in all_labs()]
)


def student_path(lab: Lab) -> Path:
    return build.RELEASE / lab.assignment / f"{lab.notebook}.ipynb"


@cache
def fresh_release(lab: Lab) -> NotebookNode:
    """The student's notebook, built now."""
    return build.release(build.source_notebook(lab), lab)


def nbval(notebook: Path) -> subprocess.CompletedProcess:
    """nbval in a process of its own, as a person calls it."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", notebook.parent,
        "-c", os.devnull, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", notebook,
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NBGRADER", "PYTEST"))}
    started = time.monotonic()
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env, cwd=notebook.parent)
    print(f"{notebook.name}: nbval took {time.monotonic() - started:.1f} s")
    return done


# --- they run -------------------------------------------------------------------------------------


@pytest.mark.long
@LABS
def test_solution_notebook_runs_and_its_promised_numbers_come_out(lab):
    done = nbval(lab.source.with_suffix(".ipynb"))
    assert done.returncode == 0, done.stdout[-5000:]
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(lab.source.with_suffix(".ipynb"), 4).cells)
    assert f"{cells} passed" in done.stdout


@pytest.mark.slow
@FIRST
def test_untouched_student_notebook_runs_from_top_to_bottom(lab, tmp_path):
    nb = nbformat.read(student_path(lab), as_version=4)
    for cell in nb.cells:  # a promised number needs an answer first
        cell.source = cell.source.replace("NBVAL_CHECK_OUTPUT", "NBVAL_IGNORE_OUTPUT")
    nbformat.write(nb, tmp_path / "untouched.ipynb")
    done = nbval(tmp_path / "untouched.ipynb")
    assert done.returncode == 0, done.stdout[-5000:]
    assert f"{sum(cell.cell_type == 'code' for cell in nb.cells)} passed" in done.stdout


@pytest.mark.slow
def test_a_mistake_planted_in_the_solution_turns_a_promised_number_red(tmp_path):
    lab = all_labs()[0]
    nb = nbformat.read(lab.source.with_suffix(".ipynb"), as_version=4)
    cell = next(c for c in nb.cells if c.metadata.nbgrader.grade_id == "scaled_dot_product_attention")
    assert "masked_fill(~mask," in cell.source
    cell.source = cell.source.replace("masked_fill(~mask,", "masked_fill(mask,")
    nbformat.write(nb, tmp_path / "planted.ipynb")
    done = nbval(tmp_path / "planted.ipynb")
    assert done.returncode == 1, done.stdout[-5000:]
    failed = [line for line in done.stdout.split("\n") if line.startswith("FAILED")]
    assert len(failed) == 1 and "output" in done.stdout  # the comparison with torch, and nothing else


# --- they follow from their sources ---------------------------------------------------------------


@LABS
def test_built_files_are_from_todays_sources(lab):
    again = "run: make notebooks"
    for path in (lab.source.with_suffix(".ipynb"), student_path(lab)):
        nb = nbformat.read(path, as_version=4)
        assert nb.metadata.vitedu.source == build.source_hash(lab), f"{path} is older than its source; {again}"
    kept = build.FINGERPRINTS / f"{lab.key}.safetensors"
    assert fingerprint_file.source(kept) == build.exam_hash(lab), f"{kept} is older than its source; {again}"


@LABS
def test_student_notebook_is_built_byte_for_byte_the_same(lab):
    first = nbformat.writes(fresh_release(lab))
    assert first == nbformat.writes(build.release(build.source_notebook(lab), lab))
    kept = student_path(lab).read_text(encoding="utf-8")
    assert first == kept.removesuffix("\n"), f"{student_path(lab)} is not what its source gives; run: make notebooks"


@LABS
def test_solution_notebook_is_its_source_executed(lab):
    nb = nbformat.read(lab.source.with_suffix(".ipynb"), as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert all(output.output_type != "error" for output in cell.outputs), cell.id
        cell.outputs, cell.execution_count = [], None
    fresh = build.source_notebook(lab)
    # The kernel wrote more about its language than the source says.
    assert fresh.metadata.pop("language_info")["name"] == nb.metadata.pop("language_info")["name"]
    assert nb.metadata == fresh.metadata
    assert nb.cells == fresh.cells


@LABS
def test_every_check_in_the_solution_notebook_says_right(lab):
    nb = nbformat.read(lab.source.with_suffix(".ipynb"), as_version=4)
    exams = [cell for cell in nb.cells if cell.metadata.vitedu.role in ("exam", "check")]
    assert [cell.metadata.vitedu.exercise for cell in exams] == [exercise.id for exercise in lab.exercises]
    for cell in exams:
        name = cell.metadata.vitedu.exercise
        shown = [output.data for output in cell.outputs if output.output_type == "execute_result"]
        assert len(shown) == 1
        if lab.exercise(name).trained:
            assert re.search(r"\bgold\b", shown[0]["text/plain"]), shown[0]["text/plain"]
        else:
            assert shown[0]["text/plain"] == f"{name}: right"
        assert "text/html" in shown[0]


@LABS
def test_cells_that_only_display_bind_no_names(lab):
    for nb in (build.source_notebook(lab), nbformat.read(student_path(lab), as_version=4)):
        shown = [cell for cell in nb.cells if cell.metadata.vitedu.role == "display"]
        assert shown
        assert [build.bound_names(cell.source) for cell in shown] == [[]] * len(shown)


@pytest.mark.parametrize(
    "binding", ["x = 1", "import os", "for i in y: pass", "def f(): pass", "(n := 2)", "with a as b: pass"]
)
def test_a_display_cell_that_binds_a_name_is_found(binding):
    assert build.bound_names(f"print(1)\n{binding}")


def test_a_display_cell_that_binds_a_name_is_refused(tmp_path, monkeypatch):
    source = tmp_path / "lab9_wrong" / "wrong.py"
    source.parent.mkdir()
    source.write_text('# %% grade_id="shown" role="display"\nfound = 1\n')
    monkeypatch.setattr("autograder.labs.lab.SOLUTIONS", tmp_path)
    with pytest.raises(UserError, match="shown binds found"):
        build.source_notebook(Lab("lab9_wrong"))


# --- the students' give nothing away --------------------------------------------------------------


@pytest.mark.slow
@FIRST
def test_release_in_a_course_holds_the_notebook_and_nothing_else(lab, tmp_path):
    config = Config()
    configure(config, tmp_path)  # with CheckSecret: the exams are proven under a secret drawn just now
    config.NbGraderAPI.log_level = 40
    result = NbGraderAPI(config=config).generate_assignment(lab.assignment)
    assert result["success"], result.get("log")
    made = [path for path in (tmp_path / "release").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "release") for path in made] == [Path(lab.assignment, f"{lab.notebook}.ipynb")]
    assert nbformat.read(made[0], as_version=4).cells == nbformat.read(student_path(lab), as_version=4).cells


def squeezed(text: str) -> str:
    """Text without what a different layout may change: blanks, and comments at the ends of lines."""
    return re.sub(r"\s+", "", re.sub(r"\s#\s.*", "", text))


def lines_of(code: str) -> set[str]:
    """The lines that are long enough to be told from any other code."""
    return {line for line in map(squeezed, code.split("\n")) if len(line) > 15}


def regions(text: str, name: str) -> str:
    """What stands between all ### BEGIN and ### END lines of this name."""
    return "\n".join(re.findall(rf"### BEGIN {name}\n(.*?)### END {name}", text, flags=re.DOTALL))


def given(lab: Lab) -> set[str]:
    """The lines of code that every student gets: stubs, set-up and display cells."""
    nb = fresh_release(lab)
    return set().union(*(lines_of(cell.source) for cell in nb.cells if cell.cell_type == "code"))


def handed_back(lab: Lab) -> set[str]:
    """Lines of earlier labs' solutions in this lab's locked cells: what was to be found there is known here."""
    earlier = [cell.source for other in all_labs() if other.key < lab.key for cell in other.cells]
    locked = [lines_of(cell.source) for cell in lab.cells if cell.kind == "code" and cell.role == "setup"]
    return lines_of("\n".join(regions(source + "\n", "SOLUTION") for source in earlier)) & set().union(*locked)


def secrets_of(lab: Lab) -> dict[str, set[str]]:
    """Lines that no student may get, by where they stand."""
    found = {cell.grade_id: lines_of(regions(cell.source + "\n", "SOLUTION")) for cell in lab.cells}
    found = {grade_id: lines - handed_back(lab) for grade_id, lines in found.items() if lines}
    known = set().union(*found.values()) | given(lab)
    for exercise in lab.exercises:
        for m in exercise.misconceptions:
            found[f"{exercise.id}: {m.id}"] = lines_of(m.code) - known
    return found


# Lines that say nothing about an exercise: they stand in any code that uses torch.
COMMONPLACE = lines_of(
    "with torch.no_grad():\noptimizer.step()\nfor _ in range(epochs):\n"
    "for name, module in model.named_modules():\nstarted = time.perf_counter()\n"
    "H, W = (image_size, image_size) if isinstance(image_size, int) else image_size"
)


@LABS
def test_release_holds_no_solution_no_hidden_test_no_rubric(lab):
    nb = nbformat.read(student_path(lab), as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in nb.cells)
    whole = nbformat.writes(nb)
    for word in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN", "MARK SCHEME", "examine("):
        assert word not in whole
    hints = {cell.metadata.nbgrader.grade_id: squeezed(cell.source) for cell in nb.cells}
    hints = {grade_id: text for grade_id, text in hints.items() if grade_id.startswith("hints-")}
    text = squeezed("\n".join(cell.source for cell in nb.cells if cell.metadata.nbgrader.grade_id not in hints))
    secrets = secrets_of(lab)
    assert {exercise.id for exercise in lab.exercises} <= secrets.keys()
    for place, lines in secrets.items():
        assert not [line for line in lines - COMMONPLACE if line in text], f"the release holds a line of {place}"
        told = [line for line in lines if any(line in hint for hint in hints.values())]
        assert len(told) <= len(lines) / 3, (
            f"the hints are pseudocode with holes, and hold these lines of {place}: {told}"
        )
    for cell in lab.cells:
        if cell.role == "written":
            rubric = lines_of(regions(cell.source + "\n", "MARK SCHEME"))
            model = lines_of(cell.source.split("### BEGIN")[0])
            assert rubric and model
            assert not [line for line in rubric | model if line in text], f"the release holds a line of {cell.grade_id}"


@pytest.mark.parametrize(
    ("earlier", "later"), [(a, b) for b in all_labs() for a in all_labs() if a.key < b.key], ids=lambda lab: lab.key
)
def test_no_lab_gives_a_later_one_away(earlier, later):
    text = squeezed("\n".join(cell.source for cell in nbformat.read(student_path(earlier), as_version=4).cells))
    for cell in later.cells:
        for line in lines_of(regions(cell.source + "\n", "SOLUTION")) - given(later) - COMMONPLACE:
            assert line not in text, f"{earlier.assignment} holds a line of {later.assignment}'s {cell.grade_id}"


@LABS
def test_what_students_install_holds_no_solution_and_no_misconception(lab):
    package = ROOT / "vitedu"
    texts = {path.name: squeezed(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    # Sentences and names stand in the header as JSON; the tensors after it are searched as well.
    kept = (build.FINGERPRINTS / f"{lab.key}.safetensors").read_bytes()
    texts["fingerprints"] = squeezed(kept.decode("latin-1").replace("\\n", "\n").replace('\\"', '"'))
    assert "softmax" in texts["fingerprints"] or lab.key != "lab1"  # the search finds what is there
    for place, lines in secrets_of(lab).items():
        for name, text in texts.items():
            assert not [line for line in lines - COMMONPLACE if line in text], f"{name} holds a line of {place}"


@LABS
def test_release_keeps_what_a_student_needs(lab):
    nb = nbformat.read(student_path(lab), as_version=4)
    assert [cell.metadata.nbgrader.grade_id for cell in nb.cells] == [cell.grade_id for cell in lab.cells]
    for cell in nb.cells:
        if cell.metadata.vitedu.role == "solution":
            assert 'raise NotImplementedError("TODO")' in cell.source, cell.id
        if cell.metadata.vitedu.role in ("exam", "check"):
            exercise = cell.metadata.vitedu.exercise
            call = "rehearse(" if lab.exercise(exercise).trained else f'check("{lab.key}/{exercise}", '
            assert cell.source.startswith(call), cell.id
