"""The top-level statements of a cell, read without running anything: what was added to a cell, and what is still TODO.

Cells hold magics and mistakes, and whoever wrote them may be hostile. So magics are covered before the parser
sees them, long texts are not parsed at all, and what cannot be parsed is None.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Collection
from dataclasses import dataclass

MAX_PARSED = 50_000  # characters of one cell; beyond them nothing is looked for in it
_MAGIC = re.compile(r"^([ \t]*)(?:[%!].*|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
_ASSIGNED = re.compile(r"^([ \t]*[\w. \t,]{1,200}=)[ \t]*[%!].*$", re.MULTILINE)  # names = !ls
# Cell magics whose cell is still this notebook's Python; behind all others stands something else, such as a file.
_PYTHON_MAGIC = re.compile(r"%%(?:time|capture|prun)\b")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Statement:
    """One top-level statement: its node, its text with the comments above it, and the lines (from 0) that it takes."""

    node: ast.stmt
    text: str
    start: int
    end: int

    @property
    def names(self) -> set[str]:
        """What a definition or a plain assignment binds; nothing for other statements."""
        if isinstance(self.node, _DEFINITIONS):
            return {self.node.name}
        if isinstance(self.node, ast.Assign | ast.AnnAssign):
            targets = self.node.targets if isinstance(self.node, ast.Assign) else [self.node.target]
            return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        return set()


def statements(source: str) -> list[Statement] | None:
    """The statements of a cell, without its magics; None where it is no Python or too long to look at."""
    if len(source) > MAX_PARSED or not is_kept(source):
        return None
    covered = _ASSIGNED.sub(r"\1 None", _MAGIC.sub(r"\1pass", source))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(covered).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    lines, found, last = source.split("\n"), [], 0
    for node in body:
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        end = node.end_lineno or node.lineno
        # Two statements on one line cannot be told apart by lines.
        text = "\n".join(lines[last:end]) if start >= last else _unparsed(node)
        if not text.strip().startswith("%%"):
            found.append(Statement(node, text.strip("\n"), start, end))
        last = max(last, end)
    return found


def is_kept(source: str) -> bool:
    """Whether a cell's definitions are the notebook's: not under %%timeit, %%bash, %%writefile, ..."""
    return not source.startswith("%%") or bool(_PYTHON_MAGIC.match(source))


def _unparsed(node: ast.stmt) -> str:
    try:
        return ast.unparse(node)
    except RecursionError:
        return ""


def added(source: str, released: str, runs: bool = True) -> tuple[str, str]:
    """What somebody added to a released cell: the text before its last released statement, and behind it.

    A definition that only takes the place of a released one is none: the released one stands.

    Args:
        runs: whether the released cell is run; where it is not, a bare call that was changed is not, either.
    """
    theirs, ours = statements(source), statements(released)
    if theirs is None or ours is None:
        return "", _rest(source, released)
    known = {_dump(statement.node) for statement in ours}
    names = set().union(*(statement.names for statement in ours))
    before: list[str] = []
    behind: list[str] = []
    for statement in theirs:
        if _dump(statement.node) in known:
            before, behind = [*before, *behind], []
        elif not _is_nothing(statement, names, runs):
            behind.append(_without_lines(statement.text, released))
    return "\n".join(before), "\n".join(behind)


def _dump(node: ast.stmt) -> str:
    """A statement without blanks and comments; "" for one that is nested too deeply."""
    try:
        return ast.dump(node)
    except RecursionError:
        return ""


def _is_nothing(statement: Statement, released: set[str], runs: bool) -> bool:
    node = statement.node
    empty = isinstance(node, ast.Pass) and not statement.text.lstrip().startswith(("%", "!"))
    bare = isinstance(node, ast.Expr) and (not runs or isinstance(node.value, ast.Constant))
    return empty or bare or bool(statement.names and statement.names <= released)


def _without_lines(text: str, released: str) -> str:
    """The text without the released comments above it."""
    known, lines = set(released.split("\n")), text.split("\n")
    while lines and (not lines[0].strip() or (lines[0].startswith("#") and lines[0] in known)):
        lines.pop(0)
    return "\n".join(lines)


def _rest(source: str, released: str) -> str:
    """What is more in a text than in another, by its lines."""
    before, found, behind = source.partition(released.strip())
    if found and released.strip():
        return f"{before.strip()}\n{behind.strip()}".strip()
    known = {line.strip() for line in released.split("\n")}
    return "\n".join(line for line in source.split("\n") if line.strip() not in known)


def without_todo(source: str, names: Collection[str]) -> str:
    """A cell's text without the definitions of these names that only say TODO; "" where nothing else is left."""
    if (found := _with_todo(source, names)) is None:
        return source if _holds_code(source) else ""
    kept = [s for s in found if not _is_todo(s, names) and not (isinstance(s.node, ast.Expr) and _is_text(s.node))]
    return "\n".join(statement.text for statement in kept)


def guarded(source: str, names: Collection[str]) -> str:
    """The text to run for a cell so that its TODO definitions of these names undo no earlier one.

    The name is looked up as plainly as can be: nothing that a student may have bound to another name is called.
    """
    lines = source.split("\n")
    for statement in reversed(_with_todo(source, names) or []):
        if _is_todo(statement, names):
            text = textwrap.indent("\n".join(lines[statement.start : statement.end]), "    ")
            (name,) = statement.names
            lines[statement.start : statement.end] = ["try:", f"    {name}", "except NameError:", text]
    return "\n".join(lines)


def _with_todo(source: str, names: Collection[str]) -> list[Statement] | None:
    """The statements of a cell in which one of these names is still TODO; None for all other cells."""
    found = statements(source) if "NotImplementedError" in source else None
    return found if found and any(_is_todo(statement, names) for statement in found) else None


def _holds_code(source: str) -> bool:
    """Whether there is anything but blank lines and comments."""
    return any(line.strip() and not line.strip().startswith("#") for line in source.split("\n"))


def _is_todo(statement: Statement, names: Collection[str]) -> bool:
    node = statement.node
    return isinstance(node, _DEFINITIONS) and node.name in names and _only_todo(node)


def _only_todo(node: Definition) -> bool:
    """Whether a function, or each method of a class, has nothing but what the release has before its TODO."""
    body = [inner for inner in node.body if not (isinstance(inner, ast.Expr) and (_is_text(inner) or _is_super(inner)))]
    if isinstance(node, ast.ClassDef):
        return bool(body) and all(isinstance(inner, _DEFINITIONS) and _only_todo(inner) for inner in body)
    if node.decorator_list or len(body) != 1 or not isinstance(body[0], ast.Raise):
        return False
    raised = body[0].exc.func if isinstance(body[0].exc, ast.Call) else body[0].exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"


def _is_super(node: ast.Expr) -> bool:
    """Whether it is `super().__init__()`."""
    return _unparsed(node) == "super().__init__()"


def _is_text(node: ast.Expr) -> bool:
    return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str | type(...))
