"""Where in code something else may stand: each node of a syntax tree, what it hangs on, and what surrounds it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = Function | ast.ClassDef
SKIPPED = ("annotation", "returns", "type_params", "format_spec", "ctx", "op", "ops")  # no code that computes anything


@dataclass(frozen=True)
class Place:
    """A node, and the list or field that holds it.

    Attributes:
        ancestors: from the module down to the parent.
        field, index: where in the parent; the index is None where the field holds the node itself.
    """

    node: ast.AST
    ancestors: tuple[ast.AST, ...]
    field: str
    index: int | None = None

    @property
    def parent(self) -> ast.AST:
        """The node that it hangs on."""
        return self.ancestors[-1]

    @property
    def scopes(self) -> list[Scope]:
        """The classes and functions around it, from the outermost on."""
        return [node for node in self.ancestors if isinstance(node, Scope)]

    @property
    def function(self) -> Function | None:
        """The outermost function around it, which may be a method."""
        return next((node for node in self.ancestors if isinstance(node, Function)), None)

    @property
    def name(self) -> str:
        """The dotted name of what surrounds it, such as "AttentionHead.forward"."""
        return ".".join(scope.name for scope in self.scopes)

    @contextmanager
    def holding(self, new: ast.AST | Sequence[ast.stmt]) -> Iterator[None]:
        """Inside, something else stands in its place: a node, or statements in place of a statement."""
        if self.index is None:
            setattr(self.parent, self.field, new)
            try:
                yield
            finally:
                setattr(self.parent, self.field, self.node)
            return
        siblings = getattr(self.parent, self.field)
        kept = list(siblings)
        siblings[self.index : self.index + 1] = [new] if isinstance(new, ast.AST) else list(new)
        if not siblings and self.field == "body":
            siblings.append(ast.Pass())
        try:
            yield
        finally:
            siblings[:] = kept


def places(tree: ast.Module) -> Iterator[Place]:
    """Every node that computes something, outer ones first; texts of errors, docstrings and annotations are none."""
    yield from _below(tree, ())


def _below(node: ast.AST, ancestors: tuple[ast.AST, ...]) -> Iterator[Place]:
    ancestors = (*ancestors, node)
    for field, value in ast.iter_fields(node):
        if field in SKIPPED:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_text(child, ancestors):
                yield Place(child, ancestors, field, index)
                yield from _below(child, ancestors)


def is_docstring(node: ast.AST) -> bool:
    """Whether it is a text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_text(node: ast.AST, ancestors: Sequence[ast.AST]) -> bool:
    """Whether it is a docstring, or the text of an error."""
    in_error = any(isinstance(each, ast.Raise) for each in ancestors)
    return is_docstring(node) or (in_error and isinstance(node, ast.Constant) and isinstance(node.value, str))
