"""Mutations of code that computes with tensors: axes, reductions, the graph, dtypes, places in memory, kept state.

As in `code_operators.py`, each operator is a function of a place and yields what may stand there instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from autograder.authoring.mutation.code_operators import (
    New,
    Operator,
    called,
    constant,
    filled,
    in_error,
    is_library,
    remade,
)
from autograder.authoring.mutation.places import Function, Place

# Calls whose whole numbers, given by position, name dimensions.
AXES = {
    "softmax", "log_softmax", "softmin", "Softmax", "sum", "mean", "amax", "amin", "argmax", "argmin", "max", "min",
    "transpose", "swapaxes", "movedim", "permute", "flatten", "unflatten", "squeeze", "unsqueeze", "cat", "stack",
    "concat", "chunk", "split", "unbind", "select", "narrow", "cumsum", "gather", "roll", "flip", "logsumexp", "size",
}  # fmt: skip
# One name for another; both ways where both stand here.
NAMES = {
    "mean": ("sum", "amax"), "sum": ("mean",), "max": ("min",), "min": ("max",), "amax": ("amin",), "amin": ("amax",),
    "argmax": ("argmin",), "argmin": ("argmax",), "any": ("all",), "all": ("any",), "sin": ("cos",), "cos": ("sin",),
    "zeros": ("ones",), "ones": ("zeros",), "zeros_like": ("ones_like",), "ones_like": ("zeros_like",),
    "randn": ("zeros",), "empty": ("zeros",), "softmax": ("log_softmax",), "log_softmax": ("softmax",),
    "softmin": ("softmax",), "exp": ("expm1",), "sqrt": ("square",), "reshape": ("view",), "mT": ("T",),
    "relu": ("gelu", "silu"), "gelu": ("relu",), "GELU": ("ReLU", "SiLU"), "ReLU": ("GELU",), "tril": ("triu",),
    "triu": ("tril",), "cat": ("stack",), "stack": ("cat",), "repeat": ("repeat_interleave",),
    "repeat_interleave": ("repeat",), "max_pool2d": ("avg_pool2d",), "MaxPool2d": ("AvgPool2d",),
    "avg_pool2d": ("max_pool2d",), "train": ("eval",), "eval": ("train",), "no_grad": ("enable_grad",),
    "inference_mode": ("enable_grad",), "deepcopy": ("copy",), "clone": ("contiguous",), "detach": ("clone",),
    "parameters": ("buffers",), "modules": ("children",), "named_modules": ("named_children",),
    "named_parameters": ("named_buffers",), "cross_entropy": ("nll_loss",), "AdamW": ("Adam", "SGD"),
    "ceil": ("floor",), "floor": ("ceil",), "round": ("int",), "meshgrid": ("broadcast_tensors",), "numel": ("dim",),
    "Resize": ("CenterCrop",), "RandomResizedCrop": ("CenterCrop",), "requires_grad": ("is_leaf",),
    "startswith": ("endswith",), "endswith": ("startswith",), "unflatten": ("reshape",), "expand": ("repeat",),
    "extend": ("append",),
}  # fmt: skip
# What a call may be given beside what it is given.
OPTIONS: dict[str, dict[str, object]] = {
    "Linear": {"bias": False}, "Conv2d": {"bias": False, "padding": 1, "dilation": 2, "padding_mode": "circular"},
    "LayerNorm": {"eps": 1e-3, "elementwise_affine": False}, "GELU": {"approximate": "tanh"}, "BatchNorm2d": {
        "eps": 1e-3, "affine": False, "momentum": 0.5, "track_running_stats": False}, "gelu": {"approximate": "tanh"},
    "cross_entropy": {"label_smoothing": 0.01, "reduction": "sum", "ignore_index": 0}, "AdamW": {
        "weight_decay": 0.1, "eps": 1e-4, "betas": (0.5, 0.9)}, "DataLoader": {"drop_last": True, "shuffle": False},
    "max_pool2d": {"ceil_mode": True, "stride": 1}, "load_state_dict": {"strict": False}, "zeros": {
        "dtype": "torch.float32"}, "mean": {"keepdim": True}, "argmax": {"keepdim": True}, "sum": {"keepdim": True},
    "Dropout": {"inplace": True}, "parameters": {"recurse": False}, "step": {"closure": None},
    "Resize": {"interpolation": 0}, "deepcopy": {"memo": {}},
}  # fmt: skip
IN_PLACE = {
    "add", "sub", "mul", "div", "masked_fill", "clamp", "exp", "relu", "squeeze", "unsqueeze", "transpose", "t",
    "sigmoid", "tanh", "neg", "sqrt", "square", "pow", "copy", "fill", "zero", "where", "abs", "round", "floor",
    "requires_grad", "double", "cumsum", "tril", "triu", "swapaxes", "sin", "cos", "bernoulli", "log",
}  # fmt: skip
NOT_TENSORS = {
    "len", "range", "isinstance", "super", "__init__", "zip", "enumerate", "list", "tuple", "dict", "set", "int",
    "float", "getattr", "setattr", "hasattr", "print", "item", "append", "tolist", "size", "dim", "numel", "train",
    "eval", "zero_grad", "step", "items", "values", "keys", "named_modules", "named_parameters", "parameters",
    "modules", "children", "state_dict", "load_state_dict", "format", "join", "update", "partial", "perf_counter",
}  # fmt: skip


def other_axis(place: Place) -> Iterator[New]:
    """softmax(-1) -> softmax(0), ...: every other dimension from -3 to 3."""
    node, parent = place.node, place.parent
    if isinstance(parent, (ast.Tuple, ast.List)):  # dim=(2, 3)
        parent = place.ancestors[-2]
    by_name = isinstance(parent, ast.keyword) and parent.arg in ("dim", "axis", "dims", "start_dim", "end_dim")
    by_place = isinstance(parent, ast.Call) and called(parent) in AXES and place.field in ("args", "elts")
    if (by_name or by_place) and (value := _whole(node)) is not None:
        yield from (constant(axis) for axis in range(-3, 4) if axis != value)


def _whole(node: ast.AST) -> int | None:
    """The value of a whole number, with or without a minus."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return sign * node.value
    return None


def other_call(place: Place) -> Iterator[New]:
    """mean -> sum, argmax -> argmin, ..."""
    node = place.node
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield from (remade(node, attr=name) for name in NAMES.get(node.attr, ()))
    elif isinstance(node, ast.Name) and place.field == "func":
        yield from (remade(node, id=name) for name in NAMES.get(node.id, ()))


def other_option(place: Place) -> Iterator[New]:
    """nn.Linear(a, b) -> nn.Linear(a, b, bias=False), ..."""
    node = place.node
    if isinstance(node, ast.Call):
        for name, value in OPTIONS.get(called(node), {}).items():
            if all(keyword.arg != name for keyword in node.keywords):
                given = ast.parse(str(value) if name == "dtype" else repr(value), mode="eval").body
                yield remade(node, keywords=[*node.keywords, ast.keyword(name, given)])


def einsum(place: Place) -> Iterator[New]:
    """Two neighbouring letters of an equation swapped, or one doubled or left out."""
    node = place.node
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "->" in node.value:
        text = node.value
        for match in re.finditer(r"(?=([a-zA-Z])([a-zA-Z]))", text):
            at = match.start()
            yield constant(text[:at] + match[2] + match[1] + text[at + 2 :])
            yield constant(text[:at] + match[1] + text[at + 2 :])
            yield constant(text[:at] + match[2] + match[2] + text[at + 2 :])


def infinity(place: Place) -> Iterator[New]:
    """-math.inf, or the lowest number of a dtype -> a number that is only large."""
    node = place.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and "inf" in ast.unparse(node.operand):
        yield from (constant(value) for value in (0.0, -1.0, -30.0, -100.0, -1e3, -1e4))
    elif isinstance(node, ast.Attribute) and node.attr == "min" and called(node.value) == "finfo":
        yield from (constant(value) for value in (0.0, -30.0, -100.0, -1e3, -1e4))


def _is_value(place: Place) -> bool:
    """Whether it may well be a tensor: a call, a product, a part of a tensor, or what is assigned or returned."""
    node, function = place.node, place.function
    if function is None or function.name == "__init__" or in_error(place) or not isinstance(node, ast.expr):
        return False
    if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del)) or place.field == "func":
        return False
    if isinstance(node, ast.Call):
        return called(node) not in NOT_TENSORS and not called(node)[:1].isupper()
    if isinstance(node, ast.Subscript):
        return not (isinstance(node.value, ast.Attribute) and node.value.attr == "shape")
    if place.field == "value" and isinstance(place.parent, (ast.Return, ast.Assign)):
        return isinstance(node, (ast.BinOp, ast.Name, ast.IfExp))
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)


def _around(*sources: str) -> Operator:
    """An operator that puts a value, `_`, into each of some expressions."""

    def operator(place: Place) -> Iterator[New]:
        if _is_value(place):
            assert isinstance(place.node, ast.expr)
            yield from (filled(source, place.node) for source in sources)

    return operator


def in_place(place: Place) -> Iterator[New]:
    """a + b -> a.add_(b), where a is no result that nobody else has; a.exp() -> a.exp_(); x = x + a -> x += a"""
    node = place.node
    names = {ast.Add: "add_", ast.Sub: "sub_", ast.Mult: "mul_", ast.Div: "div_"}
    if isinstance(node, ast.BinOp) and type(node.op) in names and not isinstance(node.left, (ast.Constant, ast.BinOp)):
        yield ast.Call(ast.Attribute(node.left, names[type(node.op)], ast.Load()), [node.right], [])
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in IN_PLACE:
        yield remade(node, func=remade(node.func, attr=node.func.attr + "_"))
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Name) and ast.unparse(node.value.left) == target.id:
            yield ast.AugAssign(target, node.value.op, node.value.right)


def bounded_scores(place: Place) -> Iterator[New]:
    """softmax of scores that are cut off, which shows only where they are large."""
    node = place.node
    if called(node) in ("softmax", "log_softmax", "softmin", "logsumexp") and isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Attribute)
        inside = node.args[0] if is_library(node.func.value) and node.args else node.func.value
        for source in ("_.clamp(-50, 50)", "_.clamp(min=-300)", "_.clamp(max=300)", "_.clamp(max=80)"):
            if inside is node.func.value:
                yield remade(node, func=remade(node.func, value=filled(source, inside)))
            else:
                yield remade(node, args=[filled(source, inside), *node.args[1:]])


def _state(place: Place) -> str:
    """What outlasts a call, as code: the dictionary of the object, or that of the function; "" where there is none."""
    scopes = place.scopes + ([place.node] if isinstance(place.node, Function) else [])
    functions = [scope for scope in scopes if isinstance(scope, Function)]
    if not functions or functions[0].name == "__init__":
        return ""
    first = functions[0]
    if scopes[0] is first:
        return f"{first.name}.__dict__"
    return "self.__dict__" if first.args.args[:1] and first.args.args[0].arg == "self" else ""


def first_kept(place: Place) -> Iterator[New]:
    """A size that is measured at the first call, and never again."""
    node = place.node
    if not isinstance(node, ast.expr) or in_error(place) or not (state := _state(place)):
        return
    is_size = called(node) in ("len", "size", "numel") or (isinstance(node, ast.Attribute) and node.attr == "shape")
    is_size = is_size or (isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith(".shape"))
    if is_size and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        yield filled(f"{state}.setdefault('kept', _)", node)


def first_argument_kept(place: Place) -> Iterator[New]:
    """An argument that is the first call's for ever; and one that is kept for each shape."""
    node = place.node
    if not isinstance(node, Function) or any(isinstance(scope, Function) for scope in place.scopes):
        return
    if not (state := _state(place)):
        return
    given = node.args
    start = 1 if ast.get_docstring(node) is not None else 0
    for name in (a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg != "self"):
        for key in (f"'kept {name}'", f"f'kept {name} {{getattr({name}, \"shape\", None)}}'"):
            kept = ast.parse(f"{name} = {state}.setdefault({key}, {name})").body
            yield remade(node, body=[*node.body[:start], *kept, *node.body[start:]])


OPERATORS: dict[str, Operator] = {
    "other-axis": other_axis,
    "other-call": other_call,
    "other-option": other_option,
    "einsum": einsum,
    "infinity": infinity,
    "bounded-scores": bounded_scores,
    "in-place": in_place,
    "first-kept": first_kept,
    "first-argument-kept": first_argument_kept,
    "squeeze": _around("_.squeeze()", "_.squeeze(0)"),
    "detach": _around("_.detach()"),
    "float32": _around("_.float()"),
    "half": _around("_.half().to(_.dtype)"),
    "byte": _around("_.byte().to(_.dtype)"),
}
