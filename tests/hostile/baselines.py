"""What each attack gains without walls: a fact of its code and of the versions that it ran on, kept in baselines.json.

`make test-hostile` runs an attack without walls only where its key is not that of the record; with BASELINES=1 it runs
them all, and writes the record anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from types import CodeType, FunctionType

from autograder.storage.atomic_files import write_atomically
from hostile.attack import Attack
from support.places import ROOT

RECORD = Path(__file__).with_name("baselines.json")
PACKAGES = ("nbgrader", "nbconvert", "nbclient", "nbformat", "jupyter-client", "ipykernel", "ipython", "torch", "numpy")
EXAMINER = ("autograder/execution", "autograder/sandbox")  # what runs "unwalled"; stock nbgrader comes to none of it


@cache
def versions() -> tuple[str, ...]:
    """What both baselines run on."""
    python = ".".join(map(str, sys.version_info[:2]))
    return (f"python {python}", *(f"{name} {metadata.version(name)}" for name in PACKAGES))


@cache
def _examiner() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for folder in EXAMINER for path in (ROOT / folder).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key(attack: Attack) -> str:
    """A digest of the attack, its functions included, and of what it runs on."""
    told = _described(attack, set()).replace(str(ROOT), "")  # the same in every clone
    parts = [*versions(), _examiner() if attack.shown_by == "unwalled" else "stock", told]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def recorded(attack: Attack) -> str:
    """What the attack gained, in a few words; "" where it is to be run."""
    kept = _record().get(attack.name, {})
    return kept["gained"] if kept.get("key") == key(attack) else ""


@cache
def _record() -> dict[str, dict[str, str]]:
    return json.loads(RECORD.read_text())


def keep(gained: Mapping[str, str], attacks: list[Attack]) -> None:
    """Write what these gained; of an attack that is gone, nothing is kept."""
    record = {}
    for attack in sorted(attacks, key=lambda attack: attack.name):
        if attack.name in gained:
            record[attack.name] = {"key": key(attack), "gained": gained[attack.name]}
        elif attack.name in _record():
            record[attack.name] = _record()[attack.name]
    write_atomically(RECORD, json.dumps(record, indent=1) + "\n")


def _described(value: object, seen: set[int]) -> str:
    """A text that changes when the value does; a function's is its byte code and all that this refers to."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _described({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, seen)
    if isinstance(value, Mapping):
        return f"{{{','.join(sorted(f'{key!r}:{_described(value[key], seen)}' for key in value))}}}"
    if isinstance(value, tuple | list):
        return f"[{','.join(_described(each, seen) for each in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{','.join(sorted(_described(each, seen) for each in value))}}}"
    if isinstance(value, partial):
        return _described((value.func, value.args, value.keywords), seen)
    if isinstance(value, re.Pattern):
        return repr(value)
    if isinstance(value, CodeType):
        return _described((value.co_code, value.co_consts, value.co_names), seen)
    if isinstance(value, FunctionType):
        if id(value) in seen:
            return value.__name__
        seen.add(id(value))
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        names = sorted(_names(value.__code__) & value.__globals__.keys())
        used = {name: value.__globals__[name] for name in names}
        return _described((value.__code__, closure, value.__defaults__, value.__kwdefaults__, used), seen)
    if value is None or isinstance(value, str | bytes | int | float | complex):
        return repr(value)
    return getattr(value, "__name__", type(value).__name__)  # a module, a class, what C made


def _names(code: CodeType) -> set[str]:
    inner = [_names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)
