"""The layers of the code, held by import contracts, and how large its folders and modules may be."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT

PACKAGES = [path.parent for path in sorted((ROOT / "autograder").rglob("__init__.py"))]
MODULES = [path for name in ("autograder", "vitedu") for path in sorted((ROOT / name).rglob("*.py"))]
FACE = [path.parent for path in sorted((ROOT / "vitedu").rglob("__init__.py"))]  # these import what notebooks use
LINES, EXAM_LINES, ROOM = 400, 800, 14


def contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(program), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("vitedu/data/errors.py", "import autograder.errors", "the student package never imports the grader"),
        (
            "autograder/sandbox/guest/namespaces.py",
            "import vitedu.probe.serialization",
            "the sandbox knows neither exams",
        ),
        ("vitedu/probe/recording.py", "import vitedu.labs.lab4.scenarios", "the layers of vitedu"),
        ("autograder/execution/notebook_cells.py", "import autograder.execution.traps", "no circle in any folder"),
        ("autograder/judging/judge.py", "import autograder.grading.grade_class", "the layers of autograder"),
        ("autograder/execution/limits.py", "import autograder.exams.lab7.capstone_exam", "what runs and judges exams"),
    ],
)
def test_an_import_upwards_turns_the_check_red(tmp_path, module, line, contract):
    for name in ("autograder", "vitedu"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = contracts(tmp_path)
    broken = [text for text in done.stdout.splitlines() if text.endswith("BROKEN")]
    # An import upwards closes a circle, too, where what is above imports this.
    others = [text for text in broken if not text.startswith(("no circle", contract))]
    assert done.returncode == 1 and not others, done.stdout
    assert any(text.startswith(contract) for text in broken), done.stdout


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_says_what_it_is_for_and_holds_a_dozen_modules(package):
    body = ast.parse((package / "__init__.py").read_text()).body
    assert [type(node) for node in body] == [ast.Expr] and isinstance(body[0].value.value, str)
    assert len(list(package.glob("*.py"))) - 1 <= ROOM


@pytest.mark.parametrize("package", FACE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_of_the_student_package_says_what_it_is_for_and_only_imports(package):
    first, *rest = ast.parse((package / "__init__.py").read_text()).body
    assert isinstance(first, ast.Expr) and isinstance(first.value.value, str)
    assert {type(node) for node in rest} <= {ast.ImportFrom, ast.Assign}
    assert len(list(package.glob("*.py"))) - 1 <= ROOM


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_can_be_read_in_one_go(module):
    most = EXAM_LINES if "exams" in module.parts else LINES
    assert len(module.read_text().splitlines()) <= most
