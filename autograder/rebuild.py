"""Put a submission back into the shape of the release, keeping only what the student may change.

Prose, imports, checks and exams come from the release; answers and playgrounds from the
submission, matched by grade_id; points from the gradebook. Cells without a known id are the
student's own (unless recognise.py tells what they are): they are kept, in order, behind the nearest
known cell that precedes them. A released stub never has the last word over an answer.
"""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from .recognise import SubmittedCell, defined, normal, recognise

MAX_FILE = 64 * 2**20
MAX_SOURCE = 2**20
MAX_CELLS = 2000
MAX_BLANK = 200  # blank lines in a row
STUDENT_ROLES = ("solution", "written", "playground")


class Unreadable(Exception):
    """The file is no notebook that can be read; the text says why."""


def take_in(path: Path) -> bytes:
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
        Unreadable: not a regular file, too large, not JSON, without cells, or with too many.
    """
    return parse_submission(take_in(path), path.name)


def parse_submission(content: bytes, name: str = "it") -> list[SubmittedCell]:
    """The same from the file's content."""
    try:
        data = json.loads(content.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name} is not JSON ({type(error).__name__}): the file is damaged or no notebook") from None
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
    return [cell for cell in map(_submitted_cell, cells) if cell is not None]


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
    return SubmittedCell(kind, _plain(source), grade_id if isinstance(grade_id, str) else None)


def _plain(source: str) -> str:
    """Line ends as \\n; what a notebook or a database cannot store is replaced; a sane length."""
    source = source[:MAX_SOURCE].replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
    lines, blank = [], 0
    for line in source.split("\n"):  # to colour thousands of blank ones in a row would take hours
        blank = 0 if line.strip() else blank + 1
        if blank <= MAX_BLANK:
            lines.append(line)
    return "\n".join(lines).encode("utf-8", errors="replace").decode("utf-8")


def rebuild(
    submitted: Sequence[SubmittedCell], release: NotebookNode, points: dict[str, float]
) -> tuple[NotebookNode, list[str]]:
    """The notebook to examine, and one sentence for each thing that was mended.

    Args:
        submitted: the cells as handed in.
        release: the student notebook as nbgrader made it; gives order, prose, stubs and roles.
        points: from the gradebook, for each graded cell.
    """
    known = {cell.metadata.nbgrader.grade_id: cell for cell in release.cells}
    submitted, mended = recognise(submitted, release)
    copies: dict[str, list[SubmittedCell]] = {}
    own: dict[str | None, list[SubmittedCell]] = {}
    anchor = None
    for cell in submitted:
        if cell.grade_id in known:
            anchor = cell.grade_id
            copies.setdefault(anchor, []).append(cell)
        elif cell.source.strip():
            own.setdefault(anchor, []).append(cell)

    rebuilt, waiting = [], [_own_cell(cell, f"own-top-{i}") for i, cell in enumerate(own.get(None, []))]
    for grade_id, original in known.items():
        # Own cells come before the next known cell, but behind the stub of an answer that lost
        # its id: the stub must not have the last word over the answer.
        if grade_id in copies or original.metadata.vitedu.role not in STUDENT_ROLES:
            rebuilt += waiting
            waiting = []
        cell = _known_cell(original, copies.get(grade_id, []), mended)
        if "points" in cell.metadata.nbgrader:
            cell.metadata.nbgrader["points"] = points[grade_id]
        rebuilt.append(cell)
        waiting += [_own_cell(mine, f"own-{grade_id}-{i}") for i, mine in enumerate(own.get(grade_id, []))]
    notebook = copy.deepcopy(release)
    notebook.cells = _stubs_first(rebuilt + waiting, known, mended)
    return notebook, mended


def _stubs_first(cells: list[NotebookNode], known: dict[str, NotebookNode], mended: list[str]) -> list[NotebookNode]:
    """Put a stub that was left as released before the student's own cells that define the same name.

    People insert a cell above the stub and answer there; run from top to bottom, the stub would undo it.
    """
    own = {id(cell): defined(cell.source) for cell in cells if _is_own(cell)}
    for grade_id, original in known.items():
        if original.metadata.vitedu.role != "solution":
            continue
        ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in cells]
        at, names = ids.index(grade_id), defined(original.source)
        if not is_unchanged(cells[at].source, original.source):
            continue
        first = next((i for i, cell in enumerate(cells) if own.get(id(cell), set()) & names), None)
        exam = next((i for i, cell in enumerate(cells) if cell.metadata.vitedu.get("exercise") == grade_id), len(cells))
        if first is not None and first < at:
            cells.insert(first, cells.pop(at))
            mended.append(f"The answer to {grade_id} stood above its TODO cell; it counts.")
        elif first is not None and first > exam:
            mended.append(f"A cell of the student's own defines {grade_id}, but below its check: too late to count.")
    return cells


def _is_own(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and cell.metadata.vitedu.role == "own"


def _known_cell(original: NotebookNode, copies: list[SubmittedCell], mended: list[str]) -> NotebookNode:
    cell = copy.deepcopy(original)
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    grade_id, role = cell.metadata.nbgrader.grade_id, cell.metadata.vitedu.role
    if not copies:
        mended.append(f"The cell {grade_id} was missing; it was put back as released.")
        return cell
    if role not in STUDENT_ROLES:
        if len(copies) > 1:
            mended.append(
                f"The locked cell {grade_id} was there {len(copies)} times; it was put back once, as released."
            )
        elif not is_unchanged(copies[0].source, original.source):
            mended.append(f"The locked cell {grade_id} had been changed; it was put back as released.")
        return cell
    changed = [mine for mine in copies if not is_unchanged(mine.source, original.source)]
    chosen = (changed or copies)[0]
    if len(copies) > 1:
        mended.append(f"The cell {grade_id} was there {len(copies)} times; the first changed one counts.")
    if chosen.kind != cell.cell_type:
        mended.append(
            f"The cell {grade_id} had become a {chosen.kind} cell; it was made a {cell.cell_type} cell again."
        )
    cell.source = chosen.source
    return cell


def is_unchanged(source: str, released: str) -> bool:
    """Whether an answer is still the released stub."""
    return normal(source) == normal(released)


def _own_cell(cell: SubmittedCell, id: str) -> NotebookNode:
    make = {"code": new_code_cell, "raw": new_raw_cell, "markdown": new_markdown_cell}[cell.kind]
    made = make(cell.source, metadata={"vitedu": {"role": "own"}})
    made.id = id[:64]
    return made
