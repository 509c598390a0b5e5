"""Mutations of the statements of any Python code: left out, repeated, in another order; conditions and loops.

As in `code_operators.py`, each operator is a function of a place and yields what may stand there instead.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from autograder.authoring.mutation.code_operators import New, Operator, called, constant, filled, is_library, remade
from autograder.authoring.mutation.places import Place, is_docstring

FIXED = (ast.Return, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
TESTED = (ast.If, ast.IfExp, ast.While, ast.Assert)


def remove_statement(place: Place) -> Iterator[New]:
    """A statement less; of a compound one also its body alone."""
    node = place.node
    if place.field not in ("body", "orelse", "finalbody"):
        return
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.Raise, ast.Delete)):
        yield []
    elif isinstance(node, (ast.If, ast.For, ast.While, ast.With, ast.Try)):
        yield []
        if isinstance(node, (ast.With, ast.Try)):
            yield node.body
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield ast.Pass()


def dedent_statement(place: Place) -> Iterator[New]:
    """The last statement of a loop or condition moved behind it: done once instead of each time, or always."""
    node = place.node
    if isinstance(node, (ast.For, ast.While, ast.If, ast.With)) and len(node.body) > 1:
        yield [remade(node, body=node.body[:-1]), node.body[-1]]  # type: ignore[list-item]


def swap_statements(place: Place) -> Iterator[New]:
    """Two neighbouring statements of a body in the other order, where that may matter."""
    body = getattr(place.node, "body", None)
    if isinstance(body, list):
        for i, (first, second) in enumerate(itertools.pairwise(body)):
            fixed = isinstance(first, FIXED) or isinstance(second, FIXED) or is_docstring(first)
            if not fixed and not _independent(first, second):
                yield remade(place.node, body=[*body[:i], second, first, *body[i + 2 :]])


def _independent(first: ast.stmt, second: ast.stmt) -> bool:
    """Whether both only give names to what libraries compute, and neither reads a name that the other gives."""
    if "super()" in ast.unparse(first):
        return True  # what a module does before that is a matter of taste, or an error at once
    bound: list[set[str]] = []
    for statement in (first, second):
        if not isinstance(statement, ast.Assign) or not all(_of_library(call) for call in ast.walk(statement.value)):
            return False
        bound.append({ast.unparse(target) for target in statement.targets})
    read = [{ast.unparse(node) for node in ast.walk(each.value)} for each in (first, second)]  # type: ignore[attr-defined]
    return not (bound[0] & (read[1] | bound[1]) or bound[1] & read[0])


def _of_library(node: ast.AST) -> bool:
    """Whether it is no call, or one into a library or of a class: `torch.cat(...)`, `nn.Linear(...)`, `Head(...)`."""
    if not isinstance(node, ast.Call) or called(node)[:1].isupper() or called(node) == "isinstance":
        return True
    return isinstance(node.func, ast.Attribute) and is_library(node.func.value)


def repeat_statement(place: Place) -> Iterator[New]:
    """A statement that is executed twice."""
    statement = isinstance(place.node, (ast.Expr, ast.AugAssign)) and place.index is not None
    if statement and "super()" not in ast.unparse(place.node):
        yield [place.node, place.node]  # type: ignore[list-item]


def plain_assignment(place: Place) -> Iterator[New]:
    """a += b -> a = b"""
    node = place.node
    if isinstance(node, ast.AugAssign):
        yield ast.Assign([node.target], node.value, lineno=node.lineno)


def negate_condition(place: Place) -> Iterator[New]:
    """if a -> if not a, if True, if False; of a conditional expression only one branch."""
    node = place.node
    is_test = place.field == "test" and isinstance(place.parent, TESTED)
    if is_test or (place.field == "ifs" and isinstance(place.parent, ast.comprehension)):
        assert isinstance(node, ast.expr)
        yield (
            node.operand
            if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
            else ast.UnaryOp(ast.Not(), node)
        )
        yield constant(True)
        if not isinstance(place.parent, ast.While):
            yield constant(False)


def loop(place: Place) -> Iterator[New]:
    """A loop over all but the first, all but the last, only the first, or in the other order."""
    node = place.node
    if place.field == "iter" and isinstance(place.parent, (ast.For, ast.comprehension)):
        assert isinstance(node, ast.expr)
        for part in ("1:", ":-1", ":1", "::-1"):
            yield filled(f"list(_)[{part}]", node)


OPERATORS: dict[str, Operator] = {
    "negate-condition": negate_condition,
    "remove-statement": remove_statement,
    "dedent-statement": dedent_statement,
    "swap-statements": swap_statements,
    "repeat-statement": repeat_statement,
    "plain-assignment": plain_assignment,
    "loop": loop,
}
