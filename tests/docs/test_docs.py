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

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
TOP = {path.name for path in ROOT.iterdir() if path.name not in (".venv", ".run")}
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
            if path.split("/")[0] in TOP and re.fullmatch(r"[a-z0-9_./-]+", path):
                assert (ROOT / path).exists(), f"{document.name} names {word}"


def test_the_readme_starts_with_the_two_commands():
    first = blocks(DOCUMENTS[0], "bash")[0]
    assert [line.split("#")[0].strip() for line in first.strip().split("\n")] == ["make demo", "make test"]


def put(path: Path, before: str, text: str) -> None:
    """Put a text before a line that stands once in a file, as its beginning tells."""
    content = path.read_text()
    assert len(re.findall(f"^{re.escape(before)}", content, flags=re.MULTILINE)) == 1, f"{before} in {path.name}"
    path.write_text(re.sub(f"^(?={re.escape(before)})", lambda _: text, content, flags=re.MULTILINE))


@pytest.mark.slow
def test_contributing_adds_an_exercise(tmp_path):
    """Its blocks are put where it says, in a copy; then the new exam holds and the tests know it."""
    for name in ("autograder", "solutions", "vitedu", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    document = ROOT / "CONTRIBUTING.md"
    cells, exam, oracle, planted = blocks(document, "python")
    oracles = tmp_path / "tests/oracles/test_lab1_oracles.py"
    exercise = '# %% [markdown] grade_id="exercise-scaled_dot_product_attention"'
    put(tmp_path / "solutions/lab1_attention/attention.py", exercise, f"{cells}\n")
    (tmp_path / "autograder/exams/lab1/causal_mask.py").write_text(exam)
    helper, test = oracle.split("\n\n\n")
    put(oracles, "# --- the model answers ---", f"{helper}\n\n\n")
    put(oracles, "# --- properties ---", f"{test}\n\n")
    put(oracles, '    ("attention_weights", weights_oracle, ("dim=-1"', planted)
    (row,) = (block for block in blocks(document, "text") if block.startswith("13,"))
    catalogue = tmp_path / "autograder/exams/catalogue.csv"
    catalogue.write_text(re.sub(r"^13,.*\n", lambda _: row, catalogue.read_text(), flags=re.MULTILINE))

    verify = next(words[1:] for words in commands(document) if words[:2] == [".venv/bin/autograder", "verify"])
    prove = ["-m", "autograder.cli", *verify]
    tests = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/unit/autograder/exams/test_catalogue.py",
        str(oracles),
    ]
    said = [
        subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True,
        )
        for command in (prove, tests)
    ]  # fmt: skip
    table, tested = (done.stdout for done in said)
    assert [done.returncode for done in said] == [0, 0], table + tested + said[0].stderr
    (shown,) = (block for block in blocks(document, "text") if block.startswith("exam "))
    assert shown in table, table
