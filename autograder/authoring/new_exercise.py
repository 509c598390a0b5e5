"""`autograder new-exercise`: the skeleton of all files of an exercise, and what of it is still to be filled in.

The skeleton is a small exercise that holds, so that every command goes on working. Each line that its author has to
see to says `FILL IN:`; a proof names these lines, and nothing else while there are some.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder.authoring.build import bound_names
from autograder.errors import UserError
from autograder.judging.reference_answers import Reference
from autograder.labs.exam import Exercise
from autograder.labs.lab import ROOT, Lab, find_lab, solution_cells
from autograder.labs.source_text import CELL
from autograder.labs.variants import Variant
from autograder.storage.atomic_files import write_atomically
from vitedu.probe.case import FunctionCase, ModuleCase

FILL_IN = "FILL IN: "
END = "playground-prose"  # the cell before which a new exercise stands, unless its author says another
LONGEST = 40  # characters of a name: it is the head of a column in reports
# Where skeletons import from.
MODULES = {
    each.__name__: each.__module__
    for each in (Exercise, FunctionCase, ModuleCase, Reference, Variant, find_lab, solution_cells)
}


def exam_path(lab: Lab, name: str) -> Path:
    """Where an exercise's exam stands; the module of `AttentionHead` is attention_head."""
    module = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z0-9])(?=[A-Z]{2})", "_", name).lower()
    return ROOT / "autograder" / "exams" / lab.key / f"{module}.py"


def oracle_path(lab: Lab, name: str) -> Path:
    """Where the test of its solution cell stands."""
    return ROOT / "tests" / "oracles" / f"test_{lab.key}_{exam_path(lab, name).stem}.py"


def new_exercise(lab: Lab, name: str, before: str = "") -> list[Path]:
    """Write the skeleton of an exercise: a function, or a module where the name begins with a capital.

    Args:
        before: the grade_id of the cell before which its cells are put; "": the lab's playground.

    Returns:
        The files that were written.

    Raises:
        UserError: it cannot have that name or place; nothing was written.
    """
    exam, oracle = exam_path(lab, name), oracle_path(lab, name)
    _refuse(lab, name, [exam, oracle])
    values = {"lab": lab, "name": name, "is_class": name[0].isupper(), "modules": MODULES}
    loader = FileSystemLoader(Path(__file__).with_name("skeletons"))
    skeletons = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    cells = skeletons.get_template("cells.py.j2").render(values)
    source = _with_cells(lab, name, cells, before or END)
    write_atomically(exam, skeletons.get_template("exam.py.j2").render(values))
    write_atomically(oracle, skeletons.get_template("oracle.py.j2").render(values))
    write_atomically(lab.source, source)
    return [lab.source, exam, oracle]


def _refuse(lab: Lab, name: str, paths: list[Path]) -> None:
    """Raise a UserError where an exercise cannot have this name."""
    if not re.fullmatch(rf"[A-Za-z][A-Za-z0-9_]{{1,{LONGEST - 1}}}", name) or keyword.iskeyword(name):
        raise UserError(
            f"An exercise cannot be called {name!r}: it is the name of a Python function or class, of 2 to {LONGEST} "
            "letters, digits and underscores, such as attention_entropy or AttentionHead."
        )
    if not oracle_path(lab, name).parent.is_dir():
        raise UserError(f"A new exercise is written into a copy of the repository, and {ROOT} is none: clone it first.")
    for path in paths:
        if path.exists():
            raise UserError(f"{path.relative_to(ROOT)} is there already; choose another name, or remove that file.")
    for cell in lab.cells:
        if cell.grade_id in _grade_ids(name) or (cell.kind == "code" and name in bound_names(cell.source)):
            raise UserError(
                f"The name {name} is taken in {lab.assignment}, by its cell {cell.grade_id}; choose another name."
            )


def _grade_ids(name: str) -> tuple[str, ...]:
    return (f"exercise-{name}", f"hints-{name}", name, f"exam-{name}")


def _with_cells(lab: Lab, name: str, cells: str, before: str) -> str:
    """The lab's text with an exercise's cells in their place, and a row in the table of its title."""
    parts = CELL.split(lab.source.read_text(encoding="utf-8"))
    at = [i for i, part in enumerate(parts) if f' grade_id="{before}"' in part.partition("\n")[0]]
    if not at:
        raise UserError(f"{lab.source.name} has no cell {before!r}; name with --before one that it has.")
    parts[at[0] - 1] = parts[at[0] - 1].rstrip("\n") + "\n\n"
    parts.insert(at[0], cells)
    row = f"{_row(name)}{FILL_IN}move to its place, with true numbers"
    for i, part in enumerate(parts):
        if ' grade_id="title"' in part.partition("\n")[0]:
            above, edge, below = part.rpartition("\n# | ")
            parts[i] = above + edge + below.replace("\n", f"\n{row} | 2 | 3 | 10 | 1 |\n", 1) if edge else part
    return "".join(parts)


def _row(name: str) -> str:
    """How the row of a new exercise begins in the table of its lab's title."""
    return f"# | | `{name}`: "


def left_to_write(lab: Lab, name: str) -> list[str]:
    """A sentence for each line of an exercise's skeleton that its author has not seen to yet."""
    return [
        f"{path.relative_to(ROOT)}, line {number}: {line.partition(FILL_IN)[2].partition(' | ')[0].strip()}"
        for path, number, line in _lines(lab, name)
        if FILL_IN in line
    ]


def _lines(lab: Lab, name: str) -> Iterator[tuple[Path, int, str]]:
    """The lines of an exercise's own files and cells, and what the title says of it, with file and number."""
    own = False
    for number, line in enumerate(lab.source.read_text(encoding="utf-8").splitlines(), 1):
        if CELL.match(line):
            own = any(f' grade_id="{grade_id}"' in line for grade_id in _grade_ids(name))
        if own or line.startswith(_row(name)):
            yield lab.source, number, line
    for path in (exam_path(lab, name), oracle_path(lab, name)):
        if path.exists():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                yield path, number, line
