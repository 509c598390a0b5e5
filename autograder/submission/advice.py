"""What to do about an error that comes from elsewhere than the answer, in a sentence for the student."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from nbformat import NotebookNode

from autograder.sanitize.untrusted import terminal
from autograder.submission.bindings import defined, imported
from autograder.submission.statements import is_kept, without_todo

_NAME = re.compile(r"NameError: name '(\w{1,60})' is not defined")
# A probe sends the kind of an error as one of a few names.
_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError|Exception): No module named '([\w.]{1,60})'")
_UNKNOWN = re.compile(
    r"(?:ImportError|Exception): cannot import name '\w{1,60}' from '([\w.]{1,60})' \(unknown location\)"
)
_FILE = re.compile(r"(?:FileNotFoundError|OSError|Exception): .{0,60}?No such file or directory: '([^']{1,60})")


def advice(error: str) -> str:
    """A sentence about an error's text, such as "ModuleNotFoundError: No module named 'helpers'"; "" for all others."""
    if found := _MODULE.search(error) or _UNKNOWN.search(error):
        name = found[1].split(".")[0]
        return (
            f"The module {name} is not in the course's environment, and files beside the notebook are not read: "
            f"move its code into a cell of the notebook and hand it in again."
        )
    if found := _FILE.search(error):
        return (
            f"The file {found[1]} is not here: files beside the notebook are not read. "
            "Make the data in a cell of the notebook and hand it in again."
        )
    return ""


def unknown_name(error: str, cells: Sequence[NotebookNode], exam: int) -> str:
    """Where a name is that an error does not find; "" where nobody defines it.

    Args:
        cells: of the rebuilt notebook; exam: the place of the one that met the error.
    """
    if (found := _NAME.search(error)) is None:
        return ""
    name = found[1]
    own = [i for i, cell in enumerate(cells) if cell.metadata.vitedu.role in ("own", "solution", "playground")]
    mentions = [i for i in own if name in cells[i].source]
    places = [i for i in mentions if name in defined(cells[i].source) | imported(cells[i].source)]
    if any(cells[i].cell_type == "code" and i < exam for i in places):
        return ""  # its cell failed, and shows why
    if any(cells[i].cell_type == "code" for i in places):
        return f"{name} is defined below the check of this exercise: move its cell above the answer."
    return f"{name} stands in a text cell, which is not run: make it a code cell." if places else ""


def undefined(names: Collection[str], cells: Sequence[NotebookNode], exercise: str) -> str:
    """Why there is no answer, though something was written; "" where nothing was.

    Args:
        names: what the exercise asks for.
        cells: of the rebuilt notebook.
    """
    for cell in cells:
        mine = cell.metadata.get("nbgrader", {}).get("grade_id") == exercise
        here = defined(cell.source)
        if cell.cell_type != "code" and cell.metadata.vitedu.role == "own" and here & set(names):
            return f"{min(here & set(names))} stands in a text cell, which is not run: make it a code cell."
        if cell.cell_type == "code" and not is_kept(cell.source) and here & set(names):
            magic = terminal(cell.source.split()[0], 20)
            return f"Under {magic} a cell defines nothing: take that line away above {min(here & set(names))}."
        if mine and without_todo(cell.source, names).strip() and here and not here & set(names):
            return f"The cell {exercise} defines {terminal(min(here), 60)}, but not {min(names)}: give it that name."
    return ""
