"""Does a notebook that is to be given to students hold an answer of its lab, or a hidden test?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.labs.lab import STUB, Lab
from autograder.labs.source_text import MARKS

SHORT = 10  # characters: a shorter line, such as `else:`, gives nothing away
HIDDEN = re.compile(r"### (?:BEGIN|END) (?:HIDDEN TESTS|SOLUTION|MARK SCHEME)|\bexamine\(\s*[\"']lab|\bautograder\.")
TODO = STUB.splitlines()[-1]


def answer_in(content: bytes, lab: Lab) -> str:
    """What of a notebook students must not see, in words; "" where it is as it was released.

    Args:
        content: of the file.
    """
    try:
        nb = nbformat.reads(content.decode("utf-8"), as_version=4)
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in nb.cells if "nbgrader" in cell.metadata}
    except Exception:  # nbformat raises whatever its parts raise
        return "a file that is no notebook"
    answered = [
        cell.grade_id
        for cell in lab.cells
        if cell.role == "solution" and TODO not in cells.get(cell.grade_id, NotebookNode(source=TODO)).get("source", "")
    ]
    missing = [cell.grade_id for cell in lab.cells if cell.role == "solution" and cell.grade_id not in cells]
    if missing:
        return f"one without the lab's cell {missing[0]}"
    if answered:
        return f"one whose cell {answered[0]} is answered"
    lines = {line.strip() for text in _texts(nb) for line in text.splitlines()}
    if hidden := next((line for line in sorted(lines) if HIDDEN.search(line)), ""):
        return f"one with a hidden test or a solution mark ({hidden[:60]!r})"
    if told := sorted(lines & _answers(lab)):
        return f"one with a line of a solution ({told[0][:60]!r})"
    return ""


def _texts(value: Any) -> Iterator[str]:
    """All texts in a notebook: sources, outputs, attachments, metadata."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _answers(lab: Lab) -> set[str]:
    """The lines of a lab's solutions and mark schemes, without those that students are given anyway."""
    secret, given = set[str](), set(STUB.splitlines())
    begin, end = MARKS
    for cell in lab.cells:
        inside = cell.role == "written"
        for line in map(str.strip, cell.source.splitlines()):
            inside = (inside or line == begin) and line != end
            (secret if inside else given).add(line)
    return {line for line in secret - given if len(line) >= SHORT}
