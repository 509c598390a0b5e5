"""The two wheels: what is in them, and a course with them alone, from a student's check to the class's scores."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.labs.lab import ROOT, all_labs, find_lab
from vitedu.torch_version import MINIMUM

LAB = find_lab("lab1_attention")
MODEL = model_codes(LAB)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SPOT = "attention_weights"
WRONG = MODEL[SPOT].replace("dim=-1", "dim=-2")

# Lines of exams or solutions that anybody writes.
ANYBODYS = {
    "started = time.perf_counter()",
    'with torch.device("meta"):',
    "training = model.training",
    "with torch.random.fork_rng(devices=[]), torch.enable_grad():",
}

# Every way from what is installed to an answer: files, what pip wrote down, imports. It prints what it found.
SEARCH = """
import importlib.metadata, json, pathlib, sys
found = [str(p) for place in sys.path for p in pathlib.Path(place).glob("**/lab1_attention/attention.*")]
found += [str(p) for place in sys.path for p in pathlib.Path(place).glob("autograder/exams/lab1/*")]
for distribution in importlib.metadata.distributions():
    if distribution.name.startswith("vitedu"):
        found += [str(p) for p in distribution.files or [] if "autograder" in p.parts]
        found += [text for name in ("direct_url.json",) if (text := distribution.read_text(name))]
        found += [str(entry) for entry in distribution.entry_points if "autograder" in entry.value]
for name in ("autograder", "autograder.labs.lab", "autograder._course"):
    try:
        found.append(str(__import__(name)))
    except ModuleNotFoundError:
        pass
print("found", json.dumps(found))
"""


pytestmark = pytest.mark.xdist_group("wheels")  # one installation from nothing


@dataclass
class Installation:
    """A Python environment, and a folder outside the repository from which it is used."""

    root: Path
    folder: Path

    @property
    def packages(self) -> Path:
        return next(self.root.glob("lib/python*/site-packages"))

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment; it knows nothing of ours."""
        given = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        environment = given | {name: text for name, text in os.environ.items() if name.startswith("PIP_")}
        program, *arguments = command
        return subprocess.run(
            [str(self.root / "bin" / program), *map(str, arguments)],
            cwd=cwd or self.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip

    def does(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a program prints that must succeed."""
        done = self.run(*command, cwd=cwd)
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Both wheels by name, made as `make wheels` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    for name in ("vitedu", "vitedu-autograder"):
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
        subprocess.run(command, cwd=ROOT / "packaging" / name, check=True, capture_output=True)
    return {path.name.partition("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


def empty_installation(root: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", root], check=True)


def our_packages_only_are_missing(root: Path) -> None:
    """This environment without vitedu and autograder, as links: torch alone would be gigabytes."""
    subprocess.run(["cp", "-al", sys.prefix, root], check=True)
    site = next(root.glob("lib/python*/site-packages"))
    shutil.rmtree(next(site.glob("vitedu-*.dist-info")))
    (site / "_vitedu.pth").unlink()
    for command in ("autograder", "vitedu"):
        (root / "bin" / command).unlink()


FROM_NOTHING = pytest.param("from nothing", marks=[pytest.mark.long, pytest.mark.timeout(1200)])
either_way = pytest.mark.parametrize("installed", ["linked", FROM_NOTHING], indirect=True)
from_nothing = pytest.mark.parametrize("installed", [FROM_NOTHING], indirect=True)


@pytest.fixture(scope="module")
def installed(request, wheels, tmp_path_factory) -> Iterator[Installation]:
    """An instructor's environment: the wheels, over the packages that are here or over those that pip brings."""
    root = Path(sys.prefix).parent / f".vitedu-test-wheels-{os.getpid()}"  # beside .venv, so that files can be linked
    here = Installation(root, tmp_path_factory.mktemp("outside"))
    # A folder named like a package wins over some ways of installing one.
    for name in ("vitedu", "autograder"):
        (here.folder / name).mkdir()
    linked = request.param == "linked"
    (our_packages_only_are_missing if linked else empty_installation)(root)
    how = ["--no-deps", "--no-index"] if linked else ["-c", ROOT / "constraints.txt"]
    try:
        here.does("python", "-m", "pip", "install", "-q", *how, *wheels.values())
        yield here
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def course(installed) -> Path:
    """A course, released and graded by the installed packages: one right submission, one that searches."""
    folder = installed.folder / "course"
    folder.mkdir()
    shutil.copy(installed.packages / "autograder" / "nbgrader_config.py", folder)
    installed.does("python", "-m", "nbgrader", "generate_assignment", LAB.assignment, cwd=folder)
    released = nbformat.read(folder / "release" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    for name, codes in (("right", MODEL), ("searches", {SPOT: SEARCH})):
        path = folder / "submitted" / name / LAB.assignment / f"{LAB.notebook}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(hand_in(released, Student(name, "", codes)), path)
    installed.does("autograder", "grade", LAB.assignment, "--workers", "1", cwd=folder)
    return folder


# --- what is in them


def lines_of(text: str) -> list[str]:
    """Its lines with single blanks, without empty ones and imports."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("import ", "from "))]


def in_a_row(lines: list[str]) -> set[tuple[str, ...]]:
    """Three lines each, which say more than `try:`."""
    return {three for three in zip(lines, lines[1:], lines[2:], strict=False) if sum(map(len, three)) > 40}


def answers() -> set[str]:
    """Lines that nobody but an instructor may read and that say something: of solutions, mark schemes and exams."""
    found = set()
    for lab in all_labs():
        for cell in lab.cells:
            secret = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", cell.source, re.DOTALL)
            assert secret or cell.role != "solution"
            found |= {line for text in [*secret, cell.source * (cell.role == "written")] for line in lines_of(text)}
    for path in (ROOT / "autograder" / "exams").rglob("*.py"):
        found |= set(lines_of(path.read_text()))
    return {line for line in found if len(line) > 24} - ANYBODYS


def test_the_students_wheel_holds_no_line_of_an_answer_or_of_the_grader(wheels):
    secret = answers()
    own = set().union(*(in_a_row(lines_of(path.read_text())) for path in (ROOT / "autograder").rglob("*.py")))
    assert len(secret) > 3000 and len(own) > 10000
    with ZipFile(wheels["vitedu"]) as wheel:
        for name in wheel.namelist():
            content = wheel.read(name)
            if name.endswith(".safetensors"):
                # Lines that are a text alone are ids, ideas and questions, which checks tell on purpose.
                code = {line for line in secret if not line.startswith('"')}
                forms = {line: (line.encode(), json.dumps(line)[1:-1].encode()) for line in code}
                told = {line for line, written in forms.items() if any(form in content for form in written)}
            else:
                lines = lines_of(content.decode())
                told = secret & set(lines) | own & in_a_row(lines)
            assert not told, f"{name}: {told}"
            assert name.startswith(("vitedu/", "vitedu-")), name


def test_each_wheel_holds_all_of_its_package_and_the_licence(wheels):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    kept = {path for path in tracked if (ROOT / path).is_file()}
    for name, package in (("vitedu", "vitedu"), ("vitedu-autograder", "autograder")):
        with ZipFile(wheels[name]) as wheel:
            inside = set(wheel.namelist())
            (licence,) = (path for path in inside if path.endswith("licenses/LICENSE"))
            assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
        assert {path for path in kept if path.startswith(f"{package}/")} <= inside
        if package == "autograder":
            assert {f"autograder/_course/{path}" for path in kept if path.startswith("solutions/")} <= inside
        assert not any("__pycache__" in path or ".ipynb_checkpoints" in path for path in inside)


def said(wheel: Path) -> metadata.PathDistribution:
    """What a wheel says about itself."""
    with ZipFile(wheel) as opened:
        text = {Path(path).name: opened.read(path).decode() for path in opened.namelist() if ".dist-info/" in path}
    folder = wheel.parent / f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    folder.mkdir(exist_ok=True)
    for file in ("METADATA", "entry_points.txt"):
        (folder / file).write_text(text.get(file, ""))
    return metadata.PathDistribution(folder)


def test_requirements_version_and_commands_are_those_of_the_repository(wheels):
    def requirements(distribution: metadata.PathDistribution, extra: str) -> set[str]:
        asked = [Requirement(text) for text in distribution.requires or []]
        chosen = [r for r in asked if ("extra" in str(r.marker)) == bool(extra)]
        chosen = [r for r in chosen if not extra or r.marker.evaluate({"extra": extra})]
        return {f"{r.name}{sorted(r.extras)}{r.specifier}" for r in chosen}

    def written(texts: list[str]) -> set[str]:
        return {f"{r.name}{sorted(r.extras)}{r.specifier}" for r in map(Requirement, texts)}

    students, instructors = said(wheels["vitedu"]), said(wheels["vitedu-autograder"])
    here = metadata.distribution("vitedu")
    extras = PROJECT["optional-dependencies"]
    assert students.version == instructors.version == here.version
    assert requirements(students, "") == written(PROJECT["dependencies"])
    assert requirements(instructors, "") == written([f"vitedu=={here.version}", *extras["instructor"]])
    assert requirements(students, "libraries") == requirements(instructors, "libraries") == written(extras["libraries"])
    assert requirements(instructors, "cluster") == written(extras["cluster"])
    assert requirements(students, "lab") == written(extras["lab"])
    names = [{(e.group, e.name, e.value) for e in one.entry_points} for one in (students, instructors, here)]
    assert names[0] | names[1] == names[2]
    assert [{name for _, name, _ in one} for one in names[:2]] == [{"vitedu"}, {"autograder", "vitedu-sandbox"}]


def students_imports() -> dict[str, set[str]]:
    """Top-level names that `vitedu` and the students' notebooks import, with the places."""
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "vitedu").rglob("*.py")}
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        sources[path] = "\n".join(line for cell in cells for line in cell.splitlines() if line.lstrip()[:1] not in "%!")
    found: dict[str, set[str]] = {}
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def test_what_students_import_is_asked_for_and_nothing_else(wheels):
    asked = [Requirement(text) for text in said(wheels["vitedu"]).requires or []]
    always = {canonicalize_name(r.name) for r in asked if "extra" not in str(r.marker)}
    libraries = {canonicalize_name(r.name) for r in asked if r.marker and r.marker.evaluate({"extra": "libraries"})}
    providers, used = metadata.packages_distributions(), set()
    found = students_imports()
    assert len(found) > 20 and any(place.startswith("notebooks") for place in found["torch"])
    for module in found.keys() - sys.stdlib_module_names - {"vitedu"}:
        packages = {canonicalize_name(name) for name in providers[module]}
        assert packages & (always | libraries), f"{module}, imported in {found[module]}, comes with no requirement"
        used |= packages
    # einops: the notebooks name it as a way to answer. ipywidgets: tqdm.auto draws its bars with it, unasked.
    assert always | libraries == used & (always | libraries) | {"einops", "ipywidgets"}


def test_the_students_wheel_keeps_what_is_installed(wheels):
    """Colab has its own torch and IPython, and its kernel dies where ipykernel or pyzmq are replaced under it."""
    asked = [Requirement(text) for text in said(wheels["vitedu"]).requires or []]
    always = {canonicalize_name(r.name): r.specifier for r in asked if "extra" not in str(r.marker)}
    assert not always.keys() & {"ipykernel", "pyzmq", "jupyterlab", "notebook", "traitlets", "tornado"}
    assert {r.name for r in asked if r.marker and r.marker.evaluate({"extra": "lab"})} == {"jupyterlab"}
    for requirement in asked:
        assert [each.operator for each in requirement.specifier] == [">="], f"{requirement} is no lower bound alone"
    assert MINIMUM == Version(str(always["torch"]).removeprefix(">=")).release


# --- a course with them


@either_way
@pytest.mark.slow
def test_a_student_checks_an_answer(installed):
    code = f"""
import math, torch, vitedu
from torch import Tensor, nn
print(vitedu.__file__)
for answer in {[MODEL[SPOT], WRONG]!r}:
    exec(answer)
    print(vitedu.check("lab1/{SPOT}", {SPOT}).passed)
"""
    place, *passed = installed.does("python", "-c", code).split()
    assert Path(place).is_relative_to(installed.packages) and passed == ["True", "False"]
    assert installed.does("vitedu", "--version") == installed.does("python", "-m", "vitedu", "--version")


@from_nothing
@pytest.mark.usefixtures("walls")
def test_an_instructor_releases_and_grades(installed, course):
    assert not any((course / "release").rglob("*.py"))
    verdicts = json.loads((course / "verdicts" / "right" / LAB.assignment / f"{LAB.notebook}.json").read_text())
    points = {verdict["exercise"]: verdict["points"] for verdict in verdicts["exercises"]}
    assert points == {exercise.id: LAB.points(exercise.id) for exercise in LAB.exercises}
    assert (course / "feedback" / "right" / LAB.assignment / f"{LAB.notebook}.html").exists()


@from_nothing
@pytest.mark.usefixtures("walls")
def test_behind_the_walls_nothing_tells_of_the_grader(installed, course):
    def found(text: str) -> list[str]:
        return json.loads(re.search("^found (.*)$", text, re.MULTILINE)[1])

    assert len(found(installed.does("python", "-c", SEARCH))) > 20, "without walls it finds everything"
    graded = nbformat.read(course / "autograded" / "searches" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    cell = next(cell for cell in graded.cells if cell.metadata.nbgrader.grade_id == SPOT)
    assert found("".join(output.get("text", "") for output in cell.outputs)) == []
    code = "from autograder.execution.student_kernel import *\nwith StudentKernel(Limits()) as kernel:\n"
    code += f"    run = kernel.run({SEARCH!r}, 60)\n    print(run.error, *(o.get('text') for o in run.outputs))"
    assert found(installed.does("python", "-c", code).strip()) == []  # a kernel that is not forked


@either_way
@pytest.mark.slow
def test_what_needs_a_clone_says_so(installed):
    code = "from autograder.authoring.build import build, find_lab; build(find_lab('lab1'))"
    done = installed.run("python", "-c", code)
    assert "UserError: Building notebooks works in a clone of the repository, and this" in done.stderr


# --- the repository itself


def test_importing_works_from_the_folder_that_holds_a_clone(tmp_path):
    """A folder without __init__.py is half a package to Python: it must lose to the whole one that is installed."""
    for name in ("vitedu", "autograder"):
        (tmp_path / name / name).mkdir(parents=True)
    code = "import autograder.cli, vitedu\nprint(autograder.__file__, vitedu.__file__, vitedu.check.__module__)"
    bare = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    places = [str(ROOT / name / "__init__.py") for name in ("autograder", "vitedu")]
    assert done.stdout.split() == [*places, "vitedu.checks.check"]
