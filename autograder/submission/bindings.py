"""Which names a cell's text binds, and which it uses, as far as a text tells.

It decides about places and notes only: what is examined is what the kernel has bound when the cells have run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from autograder.submission.statements import MAX_PARSED, statements

# Top-level definitions and assignments, also in cells with mistakes. The bounds keep it quick on a megabyte
# without a line end.
_NAMES = re.compile(
    r"^(?:async[ \t]+def|def|class)[ \t]+(\w{1,80})\b|^(\w{1,80})[ \t]{0,9}(?::[^=\n]{0,200})?=(?!=)", re.MULTILINE
)
_IMPORT = re.compile(r"\bfrom[ \t]+(?!torch\b)[\w.]{1,80}[ \t]+import[ \t]*(\([^)]{0,2000}\)|[^\n]{0,2000})")
_WORD = re.compile(r"[^\W\d]\w*")
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def defined(source: str) -> set[str]:
    """The names that a code cell defines at the start of a line."""
    return {a or b for a, b in _NAMES.findall(source)}


def words(source: str) -> set[str]:
    """The words of a text that may be names."""
    return set(_WORD.findall(source[:MAX_PARSED]))


def bound(source: str, names: Collection[str]) -> set[str]:
    """Which of these names a cell binds in any way: in an `if` or `with`, by an import, in a text for `exec`.

    An import from torch is none: it stands in many notebooks to compare with, while the exercise of that name is
    still TODO.
    """
    if not any(name in source for name in names):
        return set()
    found = statements(source)
    if found is None:
        return _by_pattern(source, names)
    return {name for statement in found for name in _binds(statement.node, names) if name in names}


@lru_cache(maxsize=64)
def _pattern(names: frozenset[str]) -> re.Pattern[str]:
    name = f"({'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})"
    tail = r"(?=[ \t]{0,9}(?::(?!=)[^=\n]{0,80}|,[^=()\n]{0,80})?:?=(?!=))"
    return re.compile(rf"\b(?:def|class|as|for)[ \t]+{name}\b|[\"']{name}[\"']|\b{name}\b{tail}")


def _by_pattern(source: str, names: Collection[str]) -> set[str]:
    """The same where there is no Python to parse: a mistake, the text of a file, or one for `exec`."""
    source = source[:MAX_PARSED]
    found = {name for match in _pattern(frozenset(names)).finditer(source) for name in match.groups() if name}
    return found | {word for match in _IMPORT.finditer(source) for word in words(match[1]) if word in names}


def _binds(statement: ast.stmt, names: Collection[str]) -> Iterator[str]:
    """The names that one top-level statement binds in the notebook's namespace, some others among them."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            yield from (name for inner in ast.walk(node) if isinstance(inner, ast.Global) for name in inner.names)
            continue  # what is bound inside is not bound here
        if isinstance(node, _SCOPES):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not _of_torch(node)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            yield node.name or ""
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            yield from (c.value for c in [node.slice] if isinstance(c, ast.Constant) and isinstance(c.value, str))
        elif isinstance(node, ast.Call):
            yield from _by_call(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in names:
            yield from _by_pattern(node.value, names)  # exec("def name(): ...")


def _by_call(node: ast.Call) -> Iterator[str]:
    """The names that globals().update(name=...) or setattr(here, "name", ...) binds."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called in ("setattr", "__setitem__", "setdefault"):
        yield from (a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str))
    elif called == "update":
        yield from (keyword.arg or "" for keyword in node.keywords)


def altered(source: str) -> set[str]:
    """The names whose object a cell changes: `Name.x = ...`, `setattr(Name, ...)`, `@add_to(Name)`, `self: Name`."""
    found: list[ast.AST] = []
    for statement in statements(source) or []:
        for node in ast.walk(statement.node):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found.append(node.value)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setattr":
                found += node.args[:1]
            elif isinstance(node, ast.FunctionDef):
                hints = [arg.annotation for arg in node.args.args if arg.annotation is not None]
                found += [inner for each in (*node.decorator_list, *hints) for inner in ast.walk(each)]
    return {node.id for node in found if isinstance(node, ast.Name)}


def _of_torch(node: ast.ImportFrom) -> bool:
    return (node.module or "").split(".")[0] == "torch"


def imported(source: str) -> set[str]:
    """The names that a cell's imports bind."""
    nodes = (statement.node for statement in statements(source) or [])
    return {
        alias.asname or alias.name.split(".")[0]
        for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
    }  # fmt: skip


def used(source: str) -> set[str]:
    """The names that a cell reads and does not bind itself; all its words where it is no Python."""
    if (found := statements(source)) is None:
        return words(source)
    nodes = [node for statement in found for node in ast.walk(statement.node)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    stored = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    stored |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in names} - stored
