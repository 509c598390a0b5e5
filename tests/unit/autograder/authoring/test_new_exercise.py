"""`autograder new-exercise`: its skeleton says what to fill in, and holds as soon as nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.authoring import new_exercise
from autograder.authoring.new_exercise import FILL_IN, exam_path, left_to_write
from autograder.cli import main
from autograder.labs.lab import ROOT, all_labs, find_lab
from autograder.labs.source_text import CELL

NEW = {"lab1": "attention_entropy", "lab5": "TokenMirror"}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the repository with a function more in one lab, and a module more in another."""
    root = tmp_path_factory.mktemp("new") / "copy"
    for name in ("autograder", "solutions", "vitedu", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    run(root, "-m", "autograder.cli", "new-exercise", "lab1", NEW["lab1"], "--before", "exercise-AttentionHead")
    run(root, "-m", "autograder.cli", "new-exercise", "lab5", NEW["lab5"])
    return root


def run(root: Path, *command: str | Path, status: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, *command], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_its_cells_stand_where_they_were_asked_for(copy):
    ids = [[cell.grade_id for cell in find_lab(key).cells] for key in NEW]
    texts = [(copy / find_lab(key).source.relative_to(ROOT)).read_text() for key in NEW]
    for name, before, text, following in zip(
        NEW.values(), ids, texts, ("exercise-AttentionHead", "playground-prose"), strict=True
    ):
        at, added = before.index(following), [f"exercise-{name}", f"hints-{name}", name, f"exam-{name}"]
        heads = [part.partition("\n")[0] for part in CELL.split(text)[1:]]
        assert [head.split('grade_id="')[1].split('"')[0] for head in heads] == before[:at] + added + before[at:]


@pytest.mark.long
def test_the_proof_says_what_to_fill_in_and_holds_once_that_is_done(copy):
    exams = [f"{key}/{name}" for key, name in NEW.items()]
    verify = ("-m", "autograder.cli", "verify", *exams, "--secrets", "1", "--variants", "2")
    said = run(copy, *verify, status=1)
    files = [path for path in copy.rglob("*.py") if FILL_IN in path.read_text() and path.name != "new_exercise.py"]
    left = sum(path.read_text().count(FILL_IN) for path in files)
    assert len(files) == 6 and f"{left} problems." in said and FILL_IN not in said
    for path in files:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if FILL_IN in line:
                sentence = line.partition(FILL_IN)[2].partition(" | ")[0]
                assert f"{path.relative_to(copy)}, line {number}: {sentence}" in said

    run(copy, "-m", "ruff", "check", *files)
    run(copy, "-m", "ruff", "format", "--check", "--force-exclude", *files)
    for path in files:
        path.write_text(path.read_text().replace(FILL_IN, ""))
    rows = [line.split() for line in run(copy, *verify, status=1).splitlines() if line.startswith("lab")]
    table = {row[0]: row[1:] for row in rows if "draws" not in row and row[-1] == "2"}
    # misconceptions, caught, named, alternatives, accepted, nulls
    assert {exam: row[:8] for exam, row in table.items()} == dict.fromkeys(exams, "1 1 1 1 1 8 of 8".split())
    problems = [" ".join(row) for row in rows if row[0].endswith(":") and "at least 6" in " ".join(row)]
    assert problems == [f"{exam}: has 1 alternatives; at least 6 are asked for" for exam in exams]
    oracles = [path for path in files if path.name.startswith("test_")]
    assert "4 passed" in run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *oracles)


@pytest.mark.parametrize(
    ("lab", "name", "options", "told"),
    [
        ("lab99", "entropy", (), "There is no lab 'lab99'"),
        ("lab1", "two words", (), "cannot be called 'two words'"),
        ("lab1", "class", (), "cannot be called 'class'"),
        ("lab1", "_hidden", (), "cannot be called '_hidden'"),
        ("lab1", "e" * 41, (), "cannot be called"),
        ("lab1", "AttentionHead", (), "attention_head.py is there already"),
        ("lab1", "shared", (), "shared.py is there already"),
        ("lab1", "torch", (), "taken in lab1_attention, by its cell imports"),
        ("lab4", "VisionTransformer", (), "taken in lab4_training, by its cell earlier-parts"),
        ("lab1", "entropy", ("--before", "nowhere"), "has no cell 'nowhere'"),
    ],
)
def test_a_bad_name_or_place_is_refused_in_one_sentence(capsys, lab, name, options, told):
    before = {path: path.read_bytes() for path in ROOT.glob("solutions/*/*.py")}
    assert main(["new-exercise", lab, name, *options]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("autograder: ") and said.err.count("\n") == 1 and told in said.err
    assert before == {path: path.read_bytes() for path in before}
    assert not (ROOT / "autograder/exams/lab1/entropy.py").exists()


def test_an_installed_package_is_no_place_for_one(monkeypatch, tmp_path):
    monkeypatch.setattr(new_exercise, "ROOT", tmp_path)
    with pytest.raises(new_exercise.UserError, match="clone it first"):
        new_exercise.new_exercise(find_lab("lab1"), "entropy")


@pytest.mark.parametrize(
    ("key", "name"), [("lab1", "AttentionHead"), ("lab2", "patchify"), ("lab5", "EncoderViT"), ("lab7", "SmallCNN")]
)
def test_modules_are_named_as_those_that_are_there(key, name):
    assert exam_path(find_lab(key), name).exists()


def test_nothing_is_left_to_write_in_todays_labs():
    for lab in all_labs():
        for exercise in lab.exercises:
            assert not left_to_write(lab, exercise.id)
        assert FILL_IN not in lab.text
