"""Mutations of the expressions of any Python code: operators, constants, arguments, names.

Each operator is a function of a place; it yields what may stand there instead.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Sequence

from autograder.authoring.mutation.places import Function, Place

New = ast.AST | Sequence[ast.stmt]
Operator = Callable[[Place], Iterator[New]]

ARITHMETIC: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add,), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult), ast.Mod: (ast.FloorDiv,), ast.Pow: (ast.Mult,), ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitAnd,),
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq, ast.LtE, ast.GtE), ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
SYMMETRIC = ("transpose", "swapaxes", "maximum", "minimum", "equal", "allclose")  # calls with two arguments alike
COMMUTATIVE = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr, ast.BitXor)


def remade(node: ast.AST, **changed: object) -> ast.AST:
    """A node like this one, with some fields changed; the original stays as it is."""
    new = copy.copy(node)
    for field, value in changed.items():
        setattr(new, field, value)
    return new


def constant(value: str | float) -> ast.expr:
    """A constant as code writes it: a negative number is a minus and a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def called(node: ast.AST) -> str:
    """The last name of what a call calls: `F.relu(x)` and `x.relu()` call "relu"; "" for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def in_error(place: Place) -> bool:
    """Whether it stands in a `raise`."""
    return isinstance(place.node, ast.Raise) or any(isinstance(node, ast.Raise) for node in place.ancestors)


def arithmetic(place: Place) -> Iterator[New]:
    """a + b -> a - b, ..."""
    node = place.node
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        for op in ARITHMETIC.get(type(node.op), ()):
            yield remade(node, op=op())


def drop_operand(place: Place) -> Iterator[New]:
    """a / b -> a, and b; -a -> a."""
    node = place.node
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand


def swap_operands(place: Place) -> Iterator[New]:
    """a / b -> b / a"""
    node = place.node
    if isinstance(node, ast.BinOp) and not isinstance(node.op, COMMUTATIVE):
        yield remade(node, left=node.right, right=node.left)


def change_constant(place: Place) -> Iterator[New]:
    """A number that lies beside, another truth, another text."""
    node = place.node
    if not isinstance(node, ast.Constant) or isinstance(place.parent, (ast.Expr, ast.FormattedValue)):
        return
    value = node.value
    if isinstance(value, bool):
        yield constant(not value)
    elif isinstance(value, int):
        yield from (constant(value + 1), constant(value - 1))
    elif isinstance(value, float):
        yield from (constant(value * 1.01), constant(value * 2), constant(-value)) if value else (constant(1.0),)
    elif isinstance(value, str):
        yield constant(value + "_")


def compare(place: Place) -> Iterator[New]:
    """a < b -> a <= b, ..."""
    node = place.node
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield remade(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])


def boolean(place: Place) -> Iterator[New]:
    """a and b -> a or b, a, b"""
    node = place.node
    if isinstance(node, ast.BoolOp):
        yield remade(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for i in range(len(node.values)):
            left = node.values[:i] + node.values[i + 1 :]
            yield left[0] if len(left) == 1 else remade(node, values=left)


def drop_argument(place: Place) -> Iterator[New]:
    """f(a, b=c) -> f(b=c), f(a)"""
    node = place.node
    if isinstance(node, ast.Call) and not in_error(place):
        for i in range(len(node.args)):
            yield remade(node, args=node.args[:i] + node.args[i + 1 :])
        for i in range(len(node.keywords)):
            yield remade(node, keywords=node.keywords[:i] + node.keywords[i + 1 :])


def swap_arguments(place: Place) -> Iterator[New]:
    """f(a, b) -> f(b, a)"""
    node = place.node
    if isinstance(node, ast.Call) and not in_error(place) and called(node) not in SYMMETRIC:
        yield from (remade(node, args=args) for args in _swapped(node.args))


def _swapped(items: list[ast.expr]) -> Iterator[list[ast.expr]]:
    """The list with two neighbours swapped, in every way."""
    for i in range(len(items) - 1):
        yield [*items[:i], items[i + 1], items[i], *items[i + 2 :]]


def call_to_argument(place: Place) -> Iterator[New]:
    """f(a) -> a; a.f(b) -> a"""
    node = place.node
    if isinstance(node, ast.Call) and not in_error(place):
        if isinstance(node.func, ast.Attribute) and not is_library(node.func.value):
            yield node.func.value
        yield from (argument for argument in node.args if not isinstance(argument, ast.Starred))


def is_library(node: ast.expr) -> bool:
    """Whether it is a module such as `torch.nn`, or `self` or `super()`, which stand for no value."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return called(node) == "super" or (
        isinstance(node, ast.Name) and node.id in ("self", "torch", "nn", "F", "math", "np", "einops", "copy", "time")
    )


def items(place: Place) -> Iterator[New]:
    """An entry of a list, tuple or dictionary left out; two neighbours swapped."""
    node = place.node
    if isinstance(node, (ast.List, ast.Tuple)) and isinstance(node.ctx, ast.Load) and len(node.elts) > 1:
        for i in range(len(node.elts)):
            yield remade(node, elts=node.elts[:i] + node.elts[i + 1 :])
        yield from (remade(node, elts=elements) for elements in _swapped(node.elts))
    elif isinstance(node, ast.Dict) and len(node.keys) > 1:
        for i in range(len(node.keys)):
            yield remade(node, keys=node.keys[:i] + node.keys[i + 1 :], values=node.values[:i] + node.values[i + 1 :])


def bounds(place: Place) -> Iterator[New]:
    """x[a:b] -> x[:b], x[a:]; each bound moved by one where it is no plain number (those are constants)."""
    node = place.node
    if isinstance(node, ast.Slice):
        for field in ("lower", "upper", "step"):
            bound = getattr(node, field)
            if bound is not None:
                yield remade(node, **{field: None})
                if not isinstance(bound, (ast.Constant, ast.UnaryOp)):
                    yield remade(node, **{field: ast.BinOp(bound, ast.Add(), constant(1))})


def filled(source: str, value: ast.expr) -> ast.expr:
    """An expression in which `_` stands for another one."""

    class Filled(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return value if node.id == "_" else node

    return Filled().visit(ast.parse(source, mode="eval").body)


def other_name(place: Place) -> Iterator[New]:
    """A variable for one that is made beside it in the same function; an attribute of self for one of its class.

    Each for its two neighbours: all for all would be half of all mutants, and most of them end at once.
    """
    node, function = place.node, place.function
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and function is not None and place.field != "func":
        alike = _aliases(function, node.id)
        others = _beside(node.id, [name for name in _local_names(function) if name not in alike])
        yield from (ast.Name(name, ast.Load()) for name in others)
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_self(node.value):
        around = next((scope for scope in reversed(place.scopes) if isinstance(scope, ast.ClassDef)), None)
        if around is not None:
            yield from (remade(node, attr=name) for name in _beside(node.attr, _attributes(around)))


def _beside(name: str, names: list[str]) -> list[str]:
    """The one before and the one behind it."""
    if name not in names:
        return []
    at = names.index(name)
    return names[max(0, at - 1) : at] + names[at + 1 : at + 2]


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _local_names(function: Function) -> list[str]:
    """The arguments and variables of a function, in order."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg != "self"]
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
    return list(dict.fromkeys(names))


def _aliases(function: Function, name: str) -> set[str]:
    """Other names for the same value: P and patch_size after `P = patch_size`."""
    pairs = [
        {ast.unparse(node.targets[0]), ast.unparse(node.value)}
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and len(node.targets) == 1
    ]
    return {other for pair in pairs if name in pair for other in pair} - {name}


def _attributes(around: ast.ClassDef) -> list[str]:
    """The attributes that a class gives itself, in order."""
    found = [
        node.attr
        for node in ast.walk(around)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value)
    ]
    return list(dict.fromkeys(found))


OPERATORS: dict[str, Operator] = {
    "arithmetic": arithmetic,
    "drop-operand": drop_operand,
    "swap-operands": swap_operands,
    "compare": compare,
    "boolean": boolean,
    "drop-argument": drop_argument,
    "swap-arguments": swap_arguments,
    "call-to-argument": call_to_argument,
    "items": items,
    "bounds": bounds,
    "other-name": other_name,
    "constant": change_constant,
}
