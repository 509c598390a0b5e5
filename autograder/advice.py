"""What to do about an error that comes from elsewhere than the answer, in a sentence for the student."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nbformat import NotebookNode

from .bindings import defined

_NAME = re.compile(r"NameError: name '(\w{1,60})' is not defined")
_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]{1,60})'")
_UNKNOWN = re.compile(r"ImportError: cannot import name '\w{1,60}' from '([\w.]{1,60})' \(unknown location\)")
_FILE = re.compile(r"FileNotFoundError: .{0,60}?No such file or directory: '([^']{1,60})")


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
    places = [i for i in own if name in cells[i].source and name in defined(cells[i].source)]
    if any(cells[i].cell_type == "code" and i < exam for i in places):
        return ""  # its cell failed, and shows why
    if any(cells[i].cell_type == "code" for i in places):
        return f"{name} is defined below the check of this exercise: move its cell above the answer."
    return f"{name} stands in a text cell, which is not run: make it a code cell." if places else ""
