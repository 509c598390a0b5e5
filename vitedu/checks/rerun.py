"""The notebook's definitions once more, with stand-ins: how an answer behaves when all before it is in order."""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

BUILTINS = frozenset(dir(builtins))


def notebook_names() -> dict[str, Any] | None:
    """The names of the notebook that is running; None where this is none."""
    shell = _shell()
    return None if shell is None else shell.user_ns


def stand_ins(lab: str, exercises: Iterable[str]) -> dict[str, Any]:
    """What the stand-ins of these exercises define, by name; exercises without one give nothing."""
    try:
        module = importlib.import_module(f"vitedu.stand_ins.{lab}")
    except ImportError:
        return {}
    return {name: getattr(module, name) for id in exercises for name in module.STAND_INS.get(id, ())}


def defined_again(stood: Mapping[str, Any]) -> dict[str, Any]:
    """Run all cells of this notebook again, as far as they define something, where `stood` has these names.

    Nothing of the notebook itself changes. What a cell does besides, such as a training, is not done again.
    """
    shell = _shell()
    names: dict[str, Any] = {**shell.user_ns, **stood} if shell else dict(stood)
    for source in list(names.get("In", ())):
        with contextlib.suppress(BaseException):  # a cell that failed, or does so here: the others count
            tree = ast.parse(shell.input_transformer_manager.transform_cell(source))
            tree.body = [node for node in tree.body if _only_binds(node)]
            exec(compile(tree, "<notebook>", "exec"), names)
        names |= stood
    return names


def _only_binds(node: ast.stmt) -> bool:
    """Whether a statement does nothing but bind names: an import, a function, a class, or values without a call."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name not in BUILTINS
        case ast.Assign(targets=targets):
            calls = any(isinstance(part, ast.Call) for part in ast.walk(node))
            return not calls and all(isinstance(target, ast.Name) for target in targets)
    return False


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()  # type: ignore[no-untyped-call]
