"""Neither importing nor `configure` changes anything for the rest of the process, but for nbgrader's own parts."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nbgrader import dbutil
from nbgrader.api import Gradebook
from sqlalchemy import text
from traitlets.config import Config

from autograder.course import configure
from autograder.errors import UserError
from autograder.labs.lab import ROOT
from autograder.nbgrader_integration import patches

FILES = sorted(
    path
    for package in ("autograder", "vitedu")
    for path in (ROOT / package).rglob("*.py")
    if path.stem not in ("nbgrader_config", "kernel_main")  # neither can be imported: one is a course's, one a program
)
MODULES = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in FILES]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file of ours imports when it is imported itself, and that are not ours."""
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        yield from (name for name in names if name.partition(".")[0] not in ("autograder", "vitedu"))


# What the libraries do when they are imported is their own affair: they come first.
COMPARE = """
import importlib, json, logging, os, sys, warnings
theirs, ours = json.loads(sys.stdin.read())
for name in theirs:
    importlib.import_module(name)
reading, writing = os.pipe()
if not os.fork():  # a first one imports ours, and tells what else came with them
    for name in ours:
        importlib.import_module(name)
    with os.fdopen(writing, "w") as file:
        json.dump([n for n in sys.modules if n.partition(".")[0] not in ("autograder", "vitedu", "__main__")], file)
    os._exit(0)
os.close(writing)
with os.fdopen(reading) as file:
    for name in json.load(file):
        try:
            importlib.import_module(name)
        except ImportError:  # one that only another one imports
            pass
import sqlalchemy, torch
from sqlalchemy.event import registry
from traitlets.config import Config

def state():
    loggers = {name: getattr(log, "level", 0) for name, log in logging.root.manager.loggerDict.items()}
    return {
        "environ": dict(os.environ), "path": list(sys.path), "filters": list(map(str, warnings.filters)),
        "create_engine": id(sqlalchemy.create_engine),
        "engine events": [key for key in registry._key_to_collection if key[0] == id(sqlalchemy.Engine)],
        "threads": torch.get_num_threads(), "dtype": str(torch.get_default_dtype()),
        "levels": {name: level for name, level in loggers.items() if level}, "root": logging.root.level,
    }

torch.set_num_threads(3)
before = state()
for name in ours:
    importlib.import_module(name)
from autograder.course import configure
configure(Config())
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
Reference(find_lab("lab1"))
after = state()
print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
"""
DAMAGED = """
import inspect, json, sys
import nbgrader.api, nbgrader.apps.api, nbgrader.dbutil
from nbgrader.apps import NbGraderAPI
from nbgrader.server_extensions.formgrader.base import BaseHandler
from autograder.errors import UserError
from autograder.nbgrader_integration import patches

def parts():
    return inspect.getattr_static(BaseHandler, "render"), nbgrader.apps.autogradeapp.Autograde, patches._applied

found, before = [], parts()
for owner, name, other in (
    (nbgrader.apps.api, "Autograde", object),
    (nbgrader.api, "create_engine", None),
    (nbgrader.dbutil, "check_call", lambda command, shell: 0),
    (NbGraderAPI, "get_submitted_students", lambda self: 0),
    (BaseHandler, "exporter", lambda self: 0),
):
    stock = inspect.getattr_static(owner, name)
    setattr(owner, name, other)
    try:
        patches.apply()
        found.append("applied")
    except UserError as error:
        found.append(str(error) if parts() == before else "half of it was replaced")
    setattr(owner, name, stock)
patches.apply()
print(json.dumps([found, parts()[1].__module__]))
"""


def run(code: str, given: object = None) -> object:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_everything_and_configuring_changes_nothing_outside_of_nbgrader():
    theirs = sorted({name for path in FILES for name in imported(path)})
    assert len(MODULES) > 150 and run(COMPARE, [theirs, MODULES]) == {}


def test_another_nbgrader_is_refused_in_one_sentence_and_nothing_is_replaced():
    found, ours = run(DAMAGED)
    names = ["nbgrader.apps.api.Autograde", "nbgrader.api.create_engine", "nbgrader.dbutil.check_call",
             "NbGraderAPI.get_submitted_students", "BaseHandler.exporter"]  # fmt: skip
    for message, name in zip(found, names, strict=True):
        assert f"but {name} is not what it was there; run: pip install nbgrader==0.9.6" in message
        assert "\n" not in message
    assert ours == "autograder.nbgrader_integration.converters", "with the right one all is replaced"


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(patches, "_applied", False)
    monkeypatch.setattr(patches.metadata, "version", lambda name: "1.0.0")
    with pytest.raises(UserError, match=r"is written against nbgrader 0\.9\.6, .* this is nbgrader 1\.0\.0; run: pip"):
        configure(Config())


def test_a_gradebook_is_made_where_no_program_alembic_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    configure(Config())
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        (version,) = gradebook.db.execute(text("SELECT version_num FROM alembic_version")).one()
    versions = Path(dbutil.ALEMBIC_DIR) / "versions"
    assert [path for path in versions.glob("*.py") if f"revision = '{version}'" in path.read_text()]


def test_nothing_of_nbgraders_is_replaced_elsewhere():
    """`patches` is the one module that assigns to what nbgrader has made."""
    for path in (ROOT / "autograder").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        names = {a.asname or a.name for n in froms if (n.module or "").startswith("nbgrader") for a in n.names}
        assigned = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
        owners = [t.value.id for t in assigned if isinstance(t, ast.Attribute) and isinstance(t.value, ast.Name)]
        assert names.isdisjoint(owners), path
