"""A notebook file read without trust: bounded, checked cell by cell, or refused with a reason."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autograder.sanitize.pictures import Attachments, Budget, attached, embedded_as_attachments

MAX_FILE = 64 * 2**20
MAX_SOURCE = 2**20
MAX_CELLS = 2000
MAX_VALUES = 5_000_000  # of JSON, each of which takes many times its length in memory
MAX_CODE = 2 * 2**20  # characters of all code cells together: they are looked at one by one
MAX_BLANK = 200  # blank lines in a row
MAX_REFUSED = 5  # pictures that are reported one by one


class Unreadable(Exception):
    """The file is no notebook that can be read; the text says why."""


def read_content(path: Path) -> bytes:
    """The bytes of a handed-in file.

    Raises:
        Unreadable: not a regular file, or too large.
    """
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable(f"{path.name} is not a regular file but a link or a folder")
    if info.st_size > MAX_FILE:
        raise Unreadable(f"{path.name} has {info.st_size} bytes; a notebook may have {MAX_FILE}")
    return path.read_bytes()


def read_submission(path: Path) -> list[SubmittedCell]:
    """The cells of a handed-in notebook of any format version, read without trusting its shape.

    Raises:
        Unreadable: not a regular file, too large, not JSON, without cells, or with too many or too much code.
    """
    return parse_submission(read_content(path), path.name)


def parse_submission(content: bytes, name: str = "the file") -> list[SubmittedCell]:
    """The same from the file's content."""
    if len(content) > MAX_VALUES and sum(map(content.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Unreadable(f"{name} holds more than {MAX_VALUES} values, so it is no notebook of this course")
    try:
        # Windows' shell writes UTF-16, its editors a byte order mark.
        data = json.loads(content.decode(json.detect_encoding(content), errors="replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} is not JSON ({type(error).__name__}), so it is damaged or no notebook") from None
    cells = data.get("cells") if isinstance(data, dict) else None
    if cells is None and isinstance(data, dict):  # notebook format 3 kept its cells in worksheets
        sheets = data.get("worksheets")
        sheets = sheets if isinstance(sheets, list) else []
        sheets = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        cells = [cell for of_sheet in sheets if isinstance(of_sheet, list) for cell in of_sheet] or None
    if not isinstance(cells, list):
        raise Unreadable(f"{name} is JSON but has no list of cells, so it is no notebook")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"{name} has {len(cells)} cells; a notebook may have {MAX_CELLS}")
    found = [cell for cell in map(_submitted_cell, cells) if cell is not None]
    if (code := sum(len(cell.source) for cell in found if cell.kind == "code")) > MAX_CODE:
        raise Unreadable(f"{name} has {code} characters of code; a notebook may have {MAX_CODE}")
    budget = Budget()
    return [_within(cell, budget) if cell.attachments else cell for cell in found]


def _within(cell: SubmittedCell, budget: Budget) -> SubmittedCell:
    """A cell with those of its pictures for which the notebook has room."""
    kept, refused = budget.take(cell.attachments)
    return replace(cell, attachments=kept, refused=(*cell.refused, *refused))


def _submitted_cell(cell: Any) -> SubmittedCell | None:
    if not isinstance(cell, dict):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str):
        return None
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    kind = cell.get("cell_type")
    kind = kind if kind in ("code", "raw") else "markdown"
    grade_id = grade_id if isinstance(grade_id, str) else None
    if kind != "markdown":
        return SubmittedCell(kind, _plain(source), grade_id)
    attachments, refused = attached(cell.get("attachments"))
    source, attachments, more = embedded_as_attachments(source, attachments)  # before the text is cut
    return SubmittedCell(kind, _plain(source), grade_id, attachments, (*refused, *more))


def _plain(source: str) -> str:
    """Line ends as \\n; what a notebook or a database cannot store is replaced; a sane length."""
    source = source[:MAX_SOURCE].replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    lines, blank = [], 0
    for line in source.split("\n"):  # to colour thousands of blank ones in a row would take hours
        blank = 0 if line.strip() else blank + 1
        if blank <= MAX_BLANK:
            lines.append(line)
    return "\n".join(lines).encode("utf-8", errors="replace").decode("utf-8")


@dataclass(frozen=True)
class SubmittedCell:
    """A cell as it was handed in: its kind, its text, the id it claims to have, and its pictures.

    Attributes:
        attachments: the pictures in a text cell, checked; refused: a sentence for each that is not shown.
    """

    kind: str
    source: str
    grade_id: str | None
    attachments: Attachments = field(default_factory=dict, hash=False)
    refused: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is neither text nor a picture."""
        return not self.source.strip() and not self.attachments
