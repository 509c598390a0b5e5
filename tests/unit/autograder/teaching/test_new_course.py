"""A new course folder: its settings load, its manual can be typed, and nothing that was there is lost."""

import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.apps import NbGraderApp
from traitlets.config import Configurable

import autograder.nbgrader_integration
import autograder.reporting
from autograder import cli
from autograder.cli import main
from autograder.labs.lab import all_labs
from autograder.nbgrader_integration.instructor_config import read_config
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import Course
from autograder.storage.course_secret import SECRET
from autograder.storage.refused import write_refused
from autograder.teaching import new_course as module
from autograder.teaching.new_course import FILES, SETTINGS, new_course


@pytest.fixture
def course(tmp_path) -> Path:
    new_course(tmp_path / "course")
    return tmp_path / "course"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, folder: Path) -> str:
    """The one sentence with which the command refuses a folder."""
    assert main(["new-course", str(folder)]) == 2
    said = capsys.readouterr()
    (sentence,) = said.err.strip().split("\n")
    assert said.out == "" and sentence.startswith("autograder: Expected a") and "found" in sentence
    return sentence


def test_the_command_says_what_it_wrote(tmp_path, capsys):
    folder = tmp_path / "our course"
    folder.mkdir()
    assert main(["new-course", str(folder)]) == 0
    assert files_in(folder).keys() == FILES.keys()
    said = capsys.readouterr().out
    assert all(f"wrote {folder / name}\n" in said for name in FILES) and f"cd '{folder}'" in said


# --- what is there already


def test_a_folder_that_is_not_empty_stays_as_it_is(course, capsys):
    (course / "nbgrader_config.py").write_text("mine")
    before = files_in(course)
    assert ".github, .gitignore, README.md, ... in it; empty" in refused(capsys, course)
    assert files_in(course) == before


def test_a_file_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert "no folder; name another" in refused(capsys, tmp_path / "file")
    assert "Not a directory" in refused(capsys, tmp_path / "file" / "below")
    assert files_in(tmp_path) == {"file": b"mine"}


def test_a_link_that_leads_nowhere_is_no_new_folder(tmp_path, capsys):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert "no folder" in refused(capsys, tmp_path / "link")
    assert not (tmp_path / "nothing").exists()


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that nobody may write to, and this process without root's rights."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        Path(folder).chmod(0o555)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@pytest.mark.parametrize("name", ["", "below", "two/below"])
def test_a_folder_that_cannot_be_written(read_only, capsys, name):
    said = refused(capsys, read_only / name)
    assert f"written at {read_only / name}" in said and "Permission denied" in said
    assert list(read_only.iterdir()) == []


@pytest.mark.parametrize("begun", [True, False])
def test_a_disk_that_is_full_leaves_nothing(tmp_path, capsys, monkeypatch, begun):
    folder, left = tmp_path / "a" / "course", [3]
    if begun:
        folder.mkdir(parents=True)
    write = module.write_atomically

    def fills(path, text):
        left[0] -= 1
        if not left[0]:
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(module, "write_atomically", fills)
    assert "No space left on device" in refused(capsys, folder)
    assert list(tmp_path.rglob("*")) == ([tmp_path / "a", folder] if begun else [])


# --- the settings


def uncommented(course: Path) -> str:
    """The settings file with every setting in force."""
    path = course / "nbgrader_config.py"
    text, count = re.subn(r"^# (?=c\.\w+\.\w+ = )", "", path.read_text(), flags=re.MULTILINE)
    assert count == sum(map(len, module.settings().values()))
    path.write_text(text)
    return text


def test_every_setting_loads_and_is_the_default(course):
    uncommented(course)
    config = read_config(course)  # refuses what autograder does not know
    for of, names in (each for chosen in SETTINGS.values() for each in chosen):
        traits = of.class_own_traits(config=True)
        assert set(names) <= traits.keys()
        for name in names or traits:
            given = config[of.__name__][name]
            assert repr(given) == traits[name].default_value_repr(), name
            if of.__name__ != "AssignLatePenalties":  # a class by its name
                assert given == traits[name].default()


def test_a_changed_setting_holds(course):
    (course / "nbgrader_config.py").write_text(uncommented(course).replace("cell_seconds = 60.0", "cell_seconds = 5"))
    assert read_config(course).Examine.cell_seconds == 5


def test_every_setting_of_ours_is_there():
    ours = set()
    for package in (autograder.nbgrader_integration, autograder.reporting):
        for each in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            found = vars(importlib.import_module(each.name)).values()
            classes = [value for value in found if isinstance(value, type) and issubclass(value, Configurable)]
            ours |= {
                f"c.{of.__name__}.{name}"
                for of in classes
                if of.__module__.startswith("autograder.")
                for name in of.class_own_traits(config=True)
            }
    written = {line.split(" = ")[0] for lines in module.settings().values() for _, line in lines}
    assert ours and ours <= written


# --- the manual


def test_the_manual_names_commands_that_exist(course):
    text = (course / "README.md").read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines]
    for program, *words in commands:
        if program == "autograder":
            cli._parser().parse_args(words)
        elif program == "nbgrader":
            assert words[0] in NbGraderApp().subcommands
        else:
            assert [program, *words] == ["jupyter", "lab"]
    steps = ["generate_assignment", "handout", "collect", "grade", "report", "generate_feedback"]
    named = [words[1] for words in commands]
    assert sorted(steps, key=named.index) == steps
    assert all(f"`{lab.assignment}`" in text for lab in all_labs())


# --- what git keeps, and its CI


def git(course: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=course, check=True, capture_output=True, text=True).stdout


def test_git_keeps_nothing_of_students_and_no_secret(course):
    there, lab = Course(course), all_labs()[0]
    places = [there.autograded(lab, "ada"), there.feedback(lab, "ada"), there.record_path(lab, "ada")]
    places += [there.trainings_dir(lab) / "a", there.references / "a", there.scores, there.report(lab), there.overview]
    places += [course / SECRET, course / "gradebook.db", course / "gradebook.db-wal", course / "submitted/ada/a.ipynb"]
    write_refused(course, lab.assignment, {"ada": "why"})
    for place in places:
        write_atomically(place, "private")
    git(course, "init", "-q")
    git(course, "add", "-A")
    assert set(git(course, "ls-files").split()) == FILES.keys()


def run_ci(course: Path) -> subprocess.CompletedProcess[str]:
    """The step of the workflow that runs the notebooks."""
    workflow = yaml.safe_load((course / ".github/workflows/notebooks.yml").read_text())
    step = workflow["jobs"]["nbval"]["steps"][-1]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PATH": path}
    command = ["bash", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=course, env=env, capture_output=True, text=True)


def test_ci_runs_every_notebook_that_git_keeps(course):
    promised = new_code_cell("# NBVAL_CHECK_OUTPUT\nprint(1 + 1)")
    raises = new_notebook(cells=[new_code_cell("1 / 0")])
    places = {"release/lab1/a b.ipynb": new_notebook(cells=[promised]), "submitted/ada/lab1/attention.ipynb": raises}
    for place, nb in places.items():
        (course / place).parent.mkdir(parents=True)
        nbformat.write(nb, course / place)
    git(course, "init", "-q")
    git(course, "add", "-A")
    done = run_ci(course)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    assert "NBVAL_CHECK_OUTPUT" in (course / "release/lab1/a b.ipynb").read_text(), "it runs copies"
    promised.outputs = [new_output("stream", text="3\n")]
    nbformat.write(new_notebook(cells=[promised]), course / "ours.ipynb")  # one of the teaching team's own
    git(course, "add", "-A")
    done = run_ci(course)
    assert done.returncode == 1 and "1 failed, 1 passed" in done.stdout, done.stdout + done.stderr


def test_ci_installs_one_wheel(course):
    workflow = yaml.safe_load((course / ".github/workflows/notebooks.yml").read_text())
    assert {"push", "pull_request"} <= set(workflow[True])  # YAML 1.1 reads the key `on` as true
    step = workflow["jobs"]["nbval"]["steps"][-2]["run"].replace("python -m pip", "echo")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "-ec", step], cwd=course, capture_output=True, text=True)

    (course / "dist").mkdir()
    assert run().returncode == 1 and "::error::Expected one file dist/vitedu-*.whl, found 0" in run().stdout
    (course / "dist" / "vitedu-1.0-py3-none-any.whl").write_text("")
    assert run().stdout == "install dist/vitedu-1.0-py3-none-any.whl[libraries] pytest nbval\n"
    (course / "dist" / "vitedu-1.1-py3-none-any.whl").write_text("")
    assert run().returncode == 1 and "found 2" in run().stdout
