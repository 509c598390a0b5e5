"""What the course's nbgrader_config.py sets holds for `autograder grade`; a mistake in it is one sentence."""

from pathlib import Path

import pytest

from autograder.cli import main
from autograder.course import course_api
from autograder.execution.code_version import code_hash
from autograder.labs.lab import ROOT
from autograder.nbgrader_integration.preprocessors import Examine, Record
from autograder.sandbox import bubblewrap
from support.course_fixture import LAB, Course

COPIED = (ROOT / "autograder" / "nbgrader_config.py").read_text()


def settings(folder: Path, text: str, head: str = COPIED) -> Path:
    (folder / "nbgrader_config.py").write_text(f"{head}\nc = get_config()\n{text}\n")
    return folder


def hash_of(folder: Path, **options: bool) -> str:
    examine = Examine(config=course_api(folder, **options).config)
    return code_hash(LAB, b"release", b"secret", examine.limits, examine.sandbox)


@pytest.mark.parametrize("head", ["", COPIED])
def test_settings_hold_and_ours_stay(tmp_path, head):
    text = "c.Examine.cell_seconds = 5\nc.CourseDirectory.root = '/nowhere'\nc.Autograde.autograde_preprocessors = []"
    api = course_api(settings(tmp_path, text, head))
    examine = Examine(config=api.config)
    assert (examine.cell_seconds, examine.probe_seconds) == (5.0, Examine.probe_seconds.default_value)
    assert api.coursedir.root == str(tmp_path)
    assert api.config.Autograde.autograde_preprocessors[:2] == [Examine, Record], "no setting takes the walls away"


def test_the_sandbox_is_the_commands_choice(tmp_path):
    settings(tmp_path, "c.Examine.sandbox = False")
    assert Examine(config=course_api(tmp_path).config).sandbox is True
    assert Examine(config=course_api(tmp_path, sandbox=False).config).sandbox is False


def test_another_limit_or_another_sandbox_grades_again(tmp_path):
    found = {hash_of(tmp_path), hash_of(tmp_path, sandbox=False)}
    for name in sorted(Examine.class_own_traits(config=True).keys() - {"sandbox"}):
        found.add(hash_of(settings(tmp_path, f"c.Examine.{name} = {getattr(Examine, name).default_value} + 1")))
    assert len(found) == len(Examine.class_own_traits(config=True)) + 1
    assert hash_of(settings(tmp_path, f"c.Examine.cell_seconds = {Examine.cell_seconds.default_value}")) in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("c.Examine.cell_seconds = (", "cannot be read (SyntaxError"),
        ("import nothing_of_that_name", "cannot be read (ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("exit()", "cannot be read (SystemExit"),
        (
            "c.Examine.cell_secnds = 5",
            "sets c.Examine.cell_secnds, which does not exist; mend the name (there are again_seconds, cell_",
        ),
        ("c.Examine.cell_seconds = 'five'", "'cell_seconds' trait of an Examine instance expected a float, not"),
        ("c.CourseDirectory.submitted_directory = 'in'", "a vitedu course uses nbgrader's own folders; remove"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, capsys, text, told):
    course = Course(tmp_path / "course")
    for path in (course.root / "release" / LAB.assignment / f"{LAB.notebook}.ipynb", course.submission("ada")):
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    settings(course.root, text)
    assert main(["grade", LAB.assignment, "--course", str(course.root), "--no-sandbox"]) == 2
    (said,) = capsys.readouterr().err.strip().split("\n")
    assert said.startswith(f"autograder: {course.root}/nbgrader_config.py") and told in said, said


def test_without_a_sandbox_nothing_is_begun(tmp_path, capsys, monkeypatch):
    course = Course(tmp_path / "course")
    course.submission("ada").parent.mkdir(parents=True)
    before = sorted(course.root.rglob("*"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no bubblewrap there
    bubblewrap.unavailable.cache_clear()
    try:
        assert main(["grade", LAB.assignment, "--course", str(course.root)]) == 2
    finally:
        bubblewrap.unavailable.cache_clear()
    (said,) = capsys.readouterr().err.strip().split("\n")
    assert "bubblewrap" in said and "--no-sandbox" in said
    assert sorted(course.root.rglob("*")) == before
