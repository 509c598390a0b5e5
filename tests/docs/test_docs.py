"""The documents name only links, pictures, targets, commands and files that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.apps import NbGraderApp

from autograder.cli import _parser
from autograder.labs.lab import ROOT

DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("**/*.md"))
TOP = {path.name for path in ROOT.iterdir() if path.name not in (".venv", ".run")}
EXAMPLE = "causal_mask"  # the exercise that CONTRIBUTING.md adds: its files are not there
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def blocks(document: Path, *languages: str) -> list[str]:
    """The fenced blocks in some languages."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [content for language, content in found if language in languages]


def prose(document: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[list[str]]:
    """Every command line in a bash block or in code quotes, as words; comments are left out."""
    found = []
    for line in [*blocks(document, "bash"), *re.findall(r"`([^`]+)`", prose(document))]:
        waiting = ""
        for part in line.replace("\\\n", " ").split("\n"):
            try:  # a quotation may go over several lines
                found.append(shlex.split(waiting + part, comments=True))
                waiting = ""
            except ValueError:
                waiting += f"{part}\n"
    return [words for words in found if words]


def calls(document: Path, program: str) -> list[list[str]]:
    """What stands behind a program's name, where something does."""
    return [words[1:] for words in commands(document) if Path(words[0]).name == program and words[1:]]


def targets(document: Path) -> list[str]:
    """Every place that a link or picture of the document leads to, web addresses left out."""
    found = re.findall(r"\]\(([^)\s]+)[^)]*\)|<img[^>]*src=\"([^\"]+)\"", prose(document))
    places = [first or second for first, second in found]
    return [place for place in places if not re.match(r"[a-z]+:", place)]


@each_document
def test_links_and_pictures_exist(document):
    for place in targets(document):
        name, _, anchor = place.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), f"{document.name} links to {place}"
        if anchor:
            heads = re.findall(r"^#+ (.*)", path.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{document.name} links to {place}"


@each_document
def test_pictures_are_small_and_described(document):
    for words, place in re.findall(r"!\[(.*?)\]\(([^)]+)\)", prose(document)):
        data = (document.parent / place).read_bytes()
        assert len(words) > 20, f"{place} needs an alternative text"
        assert len(data) < 250_000, f"{place} has {len(data)} bytes"
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">I", data[16:20])[0] <= 2000, f"{place} is too wide"


@each_document
def test_make_targets_exist(document):
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for words in calls(document, "make"):
        for word in words:
            assert "=" in word or word in known, f"{document.name}: make {' '.join(words)}"


@each_document
def test_autograder_commands_parse(document):
    """With their options; in prose a verb may stand alone."""
    verbs = next(action.choices for action in _parser()._actions if action.choices)
    for words in calls(document, "autograder"):
        assert words[0] in verbs, f"{document.name}: autograder {' '.join(words)}"
        if len(words) > 1:
            _parser().parse_args(words)


@each_document
def test_nbgrader_commands_exist(document):
    known = NbGraderApp().subcommands
    for words in calls(document, "nbgrader"):
        assert words[0] in known, f"{document.name}: nbgrader {' '.join(words)}"


@each_document
def test_files_in_commands_and_code_quotes_exist(document):
    """Every path that starts in the repository; names with capitals (labN, STUDENT) stand for others."""
    for words in commands(document):
        for word in words:
            path = word.split("::")[0].rstrip("/,;")
            if EXAMPLE not in path and path.split("/")[0] in TOP and re.fullmatch(r"[a-z0-9_./-]+", path):
                assert (ROOT / path).exists(), f"{document.name} names {word}"


def test_the_readme_starts_with_the_two_commands():
    first = blocks(DOCUMENTS[0], "bash")[0]
    assert [line.split("#")[0].strip() for line in first.strip().split("\n")] == ["make demo", "make test"]


def replaced(path: Path, pattern: str, text: str) -> None:
    """Put a text in the place of what matches once in a file; the pattern's dot matches ends of lines, too."""
    content = path.read_text()
    assert len(re.findall(pattern, content, flags=re.MULTILINE | re.DOTALL)) == 1, f"{pattern} in {path.name}"
    path.write_text(re.sub(pattern, lambda _: text, content, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_contributing_adds_an_exercise(tmp_path):
    """Its commands are run and its blocks put where it says, in a copy; then exam, build and tests are as it says."""
    for name in ("autograder", "solutions", "vitedu", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    document, key = ROOT / "CONTRIBUTING.md", "lab1/causal_mask"

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (new,) = (words for words in calls(document, "autograder") if words[0] == "new-exercise" and len(words) > 1)
    assert new[1:] == key.split("/")
    run("autograder.cli", *new)
    cells, exam, oracle = blocks(document, "python")
    source = tmp_path / "solutions/lab1_attention/attention.py"
    replaced(source, r'^# %% \[markdown\] grade_id="exercise-causal_mask".*?^check\("lab1/causal_mask", \w+\)\n', cells)
    (title,) = (block for block in blocks(document, "text") if block.startswith("# | 6 |"))
    replaced(source, r"^# \| \| `causal_mask`: [^\n]*\n", "")
    questions = "# | | two questions to answer in words"
    replaced(source, f"^{re.escape(questions)}", title + questions)
    (before, after) = re.search(r"the (\d+) becomes (\d+)", " ".join(prose(document).split())).groups()
    replaced(source, rf"add up to {before}\.", f"add up to {after}.")
    (tmp_path / "autograder/exams/lab1/causal_mask.py").write_text(exam)
    (tests,) = (words for words in calls(document, "pytest") if EXAMPLE in " ".join(words))
    test = next(tmp_path / word for word in tests if EXAMPLE in word)
    assert test.exists()
    test.write_text(oracle)
    (row,) = (block for block in blocks(document, "text") if block.startswith("13,"))
    replaced(tmp_path / "autograder/exams/catalogue.csv", r"^13,[^\n]*\n", row)

    (verify,) = (words for words in calls(document, "autograder") if words[0] == "verify" and "--variants" in words)
    (shown,) = (block for block in blocks(document, "text") if block.startswith("exam "))
    assert verify[1] == key and shown in run("autograder.cli", *verify)
    assert "student notebook" in run("autograder.cli", "build", "lab1")
    assert "`causal_mask` | 16 |" in (tmp_path / "README.md").read_text()
    run("pytest", "-q", "-p", "no:cacheprovider", *tests)
