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
            tree.body = [node for node in tree.body if only_binds(node)]
            exec(compile(tree, "<notebook>", "exec"), names)
        names |= stood
    return names


def only_binds(node: ast.stmt) -> bool:
    """Whether a statement only gives something of its own a name: an import, a definition, a value without a call."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name not in BUILTINS
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or any(isinstance(part, ast.Call) for part in ast.walk(node)):
        return False
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    plain = (ast.Name, ast.Tuple, ast.List, ast.Starred, ast.expr_context)
    parts = [part for target in targets for part in ast.walk(target)]
    return all(isinstance(p, plain) and not (isinstance(p, ast.Name) and p.id in BUILTINS) for p in parts)


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()  # type: ignore[no-untyped-call]
