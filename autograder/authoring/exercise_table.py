"""The table of labs, exercises and points in the README, written from the labs themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from autograder.errors import UserError
from autograder.labs.lab import ROOT, Lab

README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- exercises: [^\n]*-->\n).*?(<!-- end of exercises -->\n)", re.DOTALL)


def with_table(text: str, labs: Sequence[Lab]) -> str:
    """A document with the table between its two marks made anew.

    Raises:
        UserError: it has no such marks.
    """
    if not BLOCK.search(text):
        raise UserError(f"{README.name} has lost the lines <!-- exercises: ... --> and <!-- end of exercises -->.")
    return BLOCK.sub(lambda marks: f"{marks[1]}{table(labs)}{marks[2]}", text)


def table(labs: Sequence[Lab]) -> str:
    """A row for each lab, then the sum of all points."""
    rows = ["| lab | what students write | points |", "|---|---|:---:|"]
    for lab in labs:
        rows.append(f"| {title(lab)} | {', '.join(f'`{name}`' for name in written(lab))} | {total(lab):g} |")
    rows.append(f"| all | | {sum(map(total, labs)):g} |")
    return "\n".join(rows) + "\n"


def title(lab: Lab) -> str:
    """Number and name of a lab, from the heading of its notebook: "1 Attention"."""
    heading = lab.cells[0].source.partition("\n")[0]
    return heading.removeprefix("# Lab ").replace(" - ", " ", 1)


def written(lab: Lab) -> list[str]:
    """The functions and classes of a lab's solution cells."""
    cells = [ast.parse(cell.source) for cell in lab.cells if cell.role == "solution"]
    return [node.name for cell in cells for node in cell.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def total(lab: Lab) -> float:
    """All points of a lab, those of answers in words included."""
    return sum(cell.points for cell in lab.cells)
