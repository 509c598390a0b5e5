"""Runs in an environment that holds the students' wheel and no grader: checks, or notebooks. See compat.py.

python -I in_environment.py checks ANSWERS.json
python -I in_environment.py notebooks FOLDER
"""

from __future__ import annotations

import ast
import json
import os
import sys
import warnings
from pathlib import Path

WRONG = "not right yet"


def checks(path):
    """Right answers are right, and planted mistakes are named."""
    os.environ.update(MPLBACKEND="agg", TQDM_DISABLE="1")
    warnings.simplefilter("ignore")
    import vitedu.__main__

    print(vitedu.__main__.versions())
    right = named = 0
    wrong = []
    for lab, given in json.loads(Path(path).read_text(encoding="utf-8")).items():
        solved = defined(given["cells"])
        for asked in given["asked"]:
            planted = asked["code"] and asked["exercise"]
            names = defined(given["cells"], planted, asked["code"]) if planted else solved
            made = value(asked["check"], dict(names))
            said = " ".join(message for message, _ in made.card.messages)
            if not planted:
                right += made.passed
                good = made.passed
            else:
                good = not made.passed and " ".join(asked["idea"].split()) in " ".join(said.split())
                named += good
            if not good:
                wrong.append(
                    f"{lab}/{asked['exercise']}: {asked['idea'] or 'the right answer'}: {made.card.state} {said}"
                )
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{right} right answers right, {named} planted mistakes named, {len(wrong)} not as expected")
    return not wrong


def defined(cells, exercise="", code=""):
    """The names that a notebook's cells define, one answer perhaps replaced."""
    names = {"__name__": "__main__", "display": repr}
    for cell in cells:
        exec(code if exercise and cell["exercise"] == exercise else cell["code"], names)
    return names


def value(source, names):
    """The value of a cell's last line."""
    tree = ast.parse(source)
    last = tree.body.pop()
    exec(compile(tree, "<check>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<check>", "eval"), names)


def notebooks(folder):
    """Every notebook runs without an error, and the solved ones have nothing wrong."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    good = True
    for path in sorted(Path(folder).rglob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        client = NotebookClient(
            nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
        )
        try:
            client.execute()
        except CellExecutionError as error:
            good = False
            print(f"{path.relative_to(folder)}: {error}", flush=True)
            continue
        said = json.dumps([cell.get("outputs", []) for cell in nb.cells])
        if path.is_relative_to(Path(folder) / "solutions") and (WRONG in said or "not answered yet" in said):
            good = False
            print(f"{path.relative_to(folder)}: a check says '{WRONG}' or 'not answered yet'", flush=True)
            continue
        print(f"{path.relative_to(folder)}: runs", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(0 if {"checks": checks, "notebooks": notebooks}[sys.argv[1]](sys.argv[2]) else 1)
