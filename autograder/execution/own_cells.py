"""The cells of a notebook: which are the student's own, what they may have left running, and what a replay needs."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Sequence

from nbformat import NotebookNode

from autograder.sanitize.untrusted import terminal
from autograder.submission.statements import statements
from vitedu.checks.rerun import only_binds

OWN = ("own", "playground")  # roles of cells that earn nothing, and so must cost nothing
SLOW = 2.0  # seconds; what took longer is not run again when nothing needs it
LONGEST = 20.0  # seconds to wait for what a cell may have left behind
# What may end a kernel later, by something that cannot be counted, or that is gone again when somebody counts.
LATER = re.compile(
    r"\b(alarm|setitimer|call_later|call_at|call_soon|dump_traceback_later|create_task|ensure_future|add_callback|"
    r"Thread|Timer|start_new_thread|Popen|Process|fork)\b"
)


def is_own(cell: NotebookNode) -> bool:
    """Whether a cell is one that the student has added, or one to play in."""
    return cell.metadata.vitedu.role in OWN


def name_of(cells: Sequence[NotebookNode], place: int) -> str:
    """A cell in words: "the student's own cell 7 (train())", "the cell attention_weights"."""
    cell = cells[place]
    if not is_own(cell):
        return f"the cell {cell.metadata.nbgrader.grade_id}"
    lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
    return f"the student's own cell {place + 1} ({terminal(lines[0] if lines else '', 50)})"


def needed(cells: Sequence[NotebookNode], place: int) -> bool:
    """Whether a later cell mentions a name that this one binds; True where that cannot be told."""
    try:
        bound = _bound(ast.parse(cells[place].source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # magics, for example
        return True
    later = "\n".join(cell.source for cell in cells[place + 1 :] if cell.cell_type == "code")
    return "*" in bound or not bound.isdisjoint(re.findall(r"\w+", later))


def definitions(source: str) -> str:
    """What a cell defines, without what it does: imports, functions, classes, and names for plain values.

    What would take the place of something that others use, of a builtin or in a module, is not among it.
    """
    nodes = [statement.node for statement in statements(source) or []]
    return ast.unparse(ast.Module([node for node in nodes if only_binds(node)], []))


def acts(source: str) -> bool:
    """Whether a cell does more than define something; True where that cannot be told."""
    if (found := statements(source)) is None:
        return bool(source.strip())
    return not all(only_binds(statement.node) or _says(statement.node) for statement in found)


def _says(node: ast.stmt) -> bool:
    """Whether it is a text that stands alone, such as a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound(tree: ast.AST) -> set[str]:
    """Names that code may bind, at whatever depth."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return found


class Trail:
    """What the cells of one kernel may have left running in it: more threads or processes than before, or a timer.

    Such a cell may end the kernel while another one runs, or a probe, which is then not to blame.
    """

    def __init__(self, tasks: int) -> None:
        self._tasks = tasks
        self._left: dict[int, float] = {}  # cell -> when it had run

    def ran(self, place: int, source: str, tasks: int) -> None:
        """A cell has run, and now there are so many threads and processes."""
        if tasks > self._tasks or LATER.search(source):
            self._left[place] = time.monotonic()
        self._tasks = tasks

    def waits(self) -> dict[int, float]:
        """For each cell that has left something: how long ago it ended, and a second, as a time to wait for it."""
        now = time.monotonic()
        return {place: min(now - ended + 1, LONGEST) for place, ended in self._left.items()}
