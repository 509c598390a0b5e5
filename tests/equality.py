"""Does the product still do the same? Digests of what a move or a rename must leave as it is.

    make equality                  compare with tests/equality.json, print each part, exit 1 where something differs
    .venv/bin/python tests/equality.py --write       make that record anew, after a change that is meant

The parts:

- cases: every question of every exam, on all variants of one secret and the common one;
- fingerprints: what the notebooks' checks compare with, tensor by tensor (the file's hash may change);
- notebooks: the text of every cell that students get, but for the lines that import this project's own packages;
- verdicts: what the sample class of every lab gets, without times, from a course graded in .run/equality/.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import torch
from safetensors import safe_open

from autograder.authoring.build import FINGERPRINTS
from autograder.authoring.demo import demo
from autograder.labs.lab import ROOT, Lab, all_labs
from autograder.labs.variants import VARIANTS, Variant
from vitedu.probe.case import Case

RECORD = Path(__file__).with_suffix(".json")
SECRET = b"equality"
VARIANT_NAMES = (*range(VARIANTS), "common")
TIMES = ("seconds", "cpu")  # what no two runs have in common
OTHER = ("stamp", "recording", "trained")  # digests of code, and names that hold them


def digest(value: Any) -> str:
    """A short digest of nested data with tensors in it."""
    content = hashlib.sha256()
    for part in _flat(value):
        content.update(part)
        content.update(b"\0")
    return content.hexdigest()[:16]


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Case):
        yield from _flat_case(value)
    elif isinstance(value, Mapping):
        yield b"{"
        for key in value:
            yield str(key).encode()
            yield from _flat(value[key])
    elif isinstance(value, (list, tuple)):
        yield b"["
        for each in value:
            yield from _flat(each)
        yield b"]"
    else:
        yield repr(value).encode()


# The fields of a case, of whichever type, under the names and in the order in which the record has them, with what
# stands there for a case that has no such field.
FIELDS: dict[str, Any] = {
    "name": "", "thing": "", "args": (), "kwargs": {}, "init": None, "init_kwargs": {}, "weights": {}, "call": True,
    "gradients": False, "raises": None, "share": 1.0, "layout": "", "loose": (), "train": False, "model": (),
    "frozen": (), "maker": "", "also": (), "script": "", "random": False, "paired": False, "any_dtype": False,
}  # fmt: skip
THEN = {"target": "thing", "parameters": "kwargs", "scenario": "script"}  # field now -> field in the record


def _flat_case(case: Case) -> Iterator[bytes]:
    found = dict(FIELDS) | dataclasses.asdict(case.scoring)
    for field in dataclasses.fields(case):
        value = getattr(case, field.name)
        if field.name == "construct_only":
            found["call"] = not value
        elif field.name != "scoring":
            found[THEN.get(field.name, field.name)] = _scenario(value) if field.name == "scenario" else value
    if unknown := found.keys() - FIELDS.keys():
        raise ValueError(f"a field of {type(case).__name__} is not in the record: {', '.join(sorted(unknown))}")
    for name in FIELDS:
        yield name.encode()
        yield from _flat(found[name])


def _scenario(name: str) -> str:
    """A scenario's name when the record was made: without its lab."""
    own = name.rpartition(".")[2]
    return {"port_weights": "moved", "refuse_weights": "refused"}.get(own, own)


def cases() -> dict[str, str]:
    """Exercise -> digest of its cases."""
    found = {}
    for lab in all_labs():
        for exercise in lab.exercises:
            if not exercise.trained:
                drawn = [exercise.cases(Variant(SECRET, exercise.id, variant)) for variant in VARIANT_NAMES]
                found[f"{lab.key}/{exercise.id}"] = digest(drawn)
    return found


def fingerprints() -> dict[str, str]:
    """Lab -> digest of the tensors that lie in its file, in the order of their names."""
    found = {}
    for path in sorted(FINGERPRINTS.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found[path.stem] = digest({name: file.get_tensor(name) for name in sorted(file.keys(), key=_number)})
    return found


def _number(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdigit() else (sys.maxsize, name)


def notebooks() -> dict[str, str]:
    """Lab -> digest of its student notebook's cells, imports of our own left out."""
    return {lab.assignment: digest(_cells(lab)) for lab in all_labs()}


def _cells(lab: Lab) -> list[tuple[str, str, str]]:
    nb = nbformat.read(ROOT / "notebooks" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)
    return [(c.metadata.nbgrader.grade_id, c.cell_type, _without_imports(c.source)) for c in nb.cells]


def _without_imports(source: str) -> str:
    """Without them, and with the places of our modules that two cells name as they were when the record was made."""
    ours = ("from vitedu", "import vitedu")
    moved = (("`lab3/homework.py`", "`vitedu/homework.py`"), ("vitedu.labs.lab7.", "vitedu.capstone."))
    for now, then in moved:
        source = source.replace(now, then)
    return "\n".join(line for line in source.split("\n") if not line.startswith(ours))


def verdicts() -> dict[str, str]:
    """Lab -> digest of the verdicts of its sample class."""
    folder = ROOT / ".run" / "equality"
    demo(folder, all_labs())
    found = {}
    for lab in all_labs():
        paths = sorted((folder / "verdicts").glob(f"*/{lab.assignment}/{lab.notebook}.json"))
        found[lab.assignment] = digest([_untimed(json.loads(path.read_text())) for path in paths])
    return found


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(each) for key, each in sorted(value.items()) if key not in (*TIMES, *OTHER)}
    return [_untimed(each) for each in value] if isinstance(value, list) else value


PARTS: dict[str, Callable[[], dict[str, str]]] = {
    "cases": cases, "fingerprints": fingerprints, "notebooks": notebooks, "verdicts": verdicts,
}  # fmt: skip


def main() -> int:
    """Compare, or write the record."""
    parser = argparse.ArgumentParser(description="Does the product still do the same?")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; none: all")
    parser.add_argument("--write", action="store_true", help="make the record anew")
    args = parser.parse_args()
    if unknown := set(args.parts) - PARTS.keys():
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    found = {name: PARTS[name]() for name in args.parts or PARTS}
    if args.write:
        RECORD.write_text(json.dumps(before | found, indent=1) + "\n")
    differ = [
        f"{part}: {name}"
        for part, now in found.items()
        for name in sorted(now.keys() | before.get(part, {}).keys())
        if not args.write and now.get(name) != before.get(part, {}).get(name)
    ]
    for line in differ:
        print(f"differs: {line}")
    print(f"{sum(map(len, found.values())) - len(differ)} equal, {len(differ)} differ ({', '.join(found)})")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
