"""The text of a lab's solutions/labN_name/name.py, with what stands elsewhere written out.

A later lab hands parts of earlier ones back as code that is given. They stand in one place, in the earlier lab, and a
cell without text of its own names that lab and its cells: `carried="lab3: earlier-parts FeedForward"`. What all labs
have stands beside their folders: a cell with `shared="install"` begins with the text of solutions/install.py, and goes
on with its own. Standard library only: what starts before all else reads the text, too.
"""

from __future__ import annotations

import re
from pathlib import Path

from autograder.errors import UserError

MARKS = ("### BEGIN SOLUTION", "### END SOLUTION")
CELL = re.compile(r"^(?=# %%)", re.MULTILINE)  # where a cell begins
GRADE_ID = re.compile(r' grade_id="([^"]*)"')
CARRIED = re.compile(r' carried="(lab\d+): ([^"]*)"')
SHARED = re.compile(r' shared="([\w-]+)"')


def lab_text(path: Path) -> str:
    """A lab's text as notebooks are built from it.

    Raises:
        UserError: a cell that is carried is not there, or does not come from an earlier lab; or a shared text is not.
    """
    return "".join(_written_out(path, cell) for cell in CELL.split(path.read_text(encoding="utf-8")))


def without_marks(source: str) -> str:
    """A solution cell without its BEGIN SOLUTION and END SOLUTION lines."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in MARKS)


def _written_out(path: Path, cell: str) -> str:
    header, _, body = cell.partition("\n")
    if shared := SHARED.search(header):
        place = path.parents[1] / f"{shared[1]}.py"
        if not place.is_file():
            raise UserError(f"{path.name}: the cell {header!r} begins with the text of {place}, which is no file.")
        return f"{SHARED.sub('', header)}\n{place.read_text(encoding='utf-8').strip()}\n\n\n{body}"
    if " carried=" not in header:
        return cell
    if body.strip():
        raise UserError(
            f"{path.name}: the cell {header!r} is filled with what it carries and holds no text of its own."
        )
    carried = CARRIED.search(header)
    given, names = (_code_cells(path, carried[1]), carried[2].split()) if carried else ({}, [])
    if not names or not given.keys() >= set(names):
        example = 'carried="lab3: FeedForward"'
        raise UserError(f"{path.name}: the cell {header!r} must name an earlier lab and code cells of it: {example}.")
    parts = "\n\n\n".join(given[name] for name in names)
    return f"{CARRIED.sub('', header)}\n{parts}\n{body}"


def _code_cells(path: Path, key: str) -> dict[str, str]:
    """The code of an earlier lab, such as "lab3", by grade_id; none where there is no such lab."""
    found = {}
    for source in path.parents[1].glob(f"{key}_*/*.py"):
        if source.parent.name == f"{key}_{source.stem}" and _number(source) < _number(path):
            for cell in CELL.split(lab_text(source)):
                header, _, body = cell.partition("\n")
                if (grade_id := GRADE_ID.search(header)) and "[markdown]" not in header:
                    found[grade_id[1]] = without_marks(body.rstrip())
    return found


def _number(path: Path) -> int:
    """The number of a lab, by its folder's name."""
    return int(re.sub(r"\D", "", path.parent.name.split("_")[0]) or 0)
