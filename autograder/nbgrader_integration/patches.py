"""All that is replaced in nbgrader, in one place: what it is, and why no setting does it.

Written against nbgrader 0.9.6. `apply` looks first whether everything that it replaces is what stood there in that
version, and refuses to begin where it is not: graded in nbgrader's own way, a class would get points that its students
have printed themselves.

- `Autograde` and `GenerateFeedback`, as nbgrader's two commands and its API call them: nbgrader names its converter
  classes in two modules each, and offers no setting for them. Ours search for submissions, read them without trust,
  grade by probes and judges, and leave a folder behind only when it is complete.
- `nbgrader.api.create_engine`: how a gradebook is opened, see storage/gradebook.py. There is no setting for it.
- `nbgrader.api.get_alembic_version` and `nbgrader.dbutil.check_call`: nbgrader calls the program `alembic` by its name
  whenever it makes or upgrades a gradebook. In an environment that is not activated no such program is found; ours ask
  alembic itself, or call it by the Python that runs here.
- `Assignment` is entered with its course: nbgrader forgets the one without a name, its default, which SQLite takes and
  servers refuse.
- `NbGraderAPI.get_submitted_students` and `get_submitted_timestamp`: who handed in, and when, is asked in folders and
  under names that nbgrader expects. Courses without our configuration are answered as ever.
- `BaseHandler.content_security_policy`, `exporter` and `render`: formgrader's pages get a policy that runs none of a
  submission's scripts, see formgrader.py. Courses without our configuration are shown as ever.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from typing import Any, NamedTuple

from alembic.script import ScriptDirectory
from nbconvert.exporters import HTMLExporter
from nbgrader import api as database
from nbgrader import converters as stock
from nbgrader import dbutil
from nbgrader.apps import NbGraderAPI, api, autogradeapp, generatefeedbackapp
from nbgrader.server_extensions.formgrader.base import BaseHandler
from sqlalchemy import event, insert, select

from autograder.errors import UserError
from autograder.nbgrader_integration import converters, formgrader, submission_reader
from autograder.storage.gradebook import make_engine
from autograder.submission.timestamps import read_timestamp

VERSION = "0.9.6"
_applied = False


class Patch(NamedTuple):
    """One thing that is replaced.

    Attributes:
        expected: what stands there: a class itself, "property", or a function's signature.
        ours: what takes its place.
    """

    owner: Any
    name: str
    expected: Any
    ours: Any


def apply() -> None:
    """Replace it all; a second call changes nothing.

    Raises:
        UserError: nbgrader is another than the one that this is written against; then nothing is replaced.
    """
    global _applied
    if _applied:
        return
    if (found := metadata.version("nbgrader")) != VERSION:
        _refuse(f"this is nbgrader {found}")
    patches = [*_converters(), *_database(), *_submissions(), *_formgrader()]
    for patch in patches:
        _check(patch)
    for patch in patches:
        setattr(patch.owner, patch.name, patch.ours)
    event.listen(database.Assignment, "before_insert", _with_its_course)
    _applied = True


def _check(patch: Patch) -> None:
    there = inspect.getattr_static(patch.owner, patch.name, None)
    if isinstance(patch.expected, type):
        right = there is patch.expected
    elif patch.expected == "property":
        right = isinstance(there, property)
    else:
        right = inspect.isfunction(there) and ", ".join(inspect.signature(there).parameters) == patch.expected
    if not right:
        owner = getattr(patch.owner, "__qualname__", patch.owner.__name__)
        _refuse(f"{owner}.{patch.name} is not what it was there")


def _refuse(reason: str) -> None:
    raise UserError(
        f"The autograder is written against nbgrader {VERSION}, parts of which it replaces, but {reason}; "
        f"run: pip install nbgrader=={VERSION}"
    )


def _converters() -> list[Patch]:
    grades, writes = converters.StagedAutograde, converters.StagedFeedback
    return [
        Patch(autogradeapp, "Autograde", stock.Autograde, grades),
        Patch(api, "Autograde", stock.Autograde, grades),
        Patch(generatefeedbackapp, "GenerateFeedback", stock.GenerateFeedback, writes),
        Patch(api, "GenerateFeedback", stock.GenerateFeedback, writes),
    ]


def _database() -> list[Patch]:
    def get_alembic_version() -> str:
        version = ScriptDirectory(dbutil.ALEMBIC_DIR).get_current_head()
        assert version is not None
        return version

    def check_call(command: list[str]) -> int:
        return subprocess.check_call([sys.executable, "-m", *command])

    return [
        Patch(database, "create_engine", "url, kwargs", make_engine),
        Patch(database, "get_alembic_version", "", get_alembic_version),
        Patch(dbutil, "check_call", "popenargs, kwargs", check_call),
    ]


def _with_its_course(mapper: Any, connection: Any, assignment: database.Assignment) -> None:
    this = database.Course.__table__.c.id == assignment.course_id
    if connection.dialect.name != "sqlite" and not connection.execute(select(database.Course.id).where(this)).first():
        connection.execute(insert(database.Course).values(id=assignment.course_id))


def _submissions() -> list[Patch]:
    stock_students, stock_time = NbGraderAPI.get_submitted_students, NbGraderAPI.get_submitted_timestamp

    def get_submitted_students(self: NbGraderAPI, assignment_id: str) -> set[str]:
        found = stock_students(self, assignment_id)
        if submission_reader.is_ours(self.config):
            found |= submission_reader.submitted_students(self.coursedir, assignment_id)
        return found

    def get_submitted_timestamp(self: NbGraderAPI, assignment_id: str, student_id: str) -> datetime | None:
        ours = submission_reader.is_ours(self.config)
        folder = submission_reader.submitted_folder(self.coursedir, assignment_id, student_id) if ours else None
        return read_timestamp(folder).time if folder else stock_time(self, assignment_id, student_id)

    return [
        Patch(NbGraderAPI, "get_submitted_students", "self, assignment_id", get_submitted_students),
        Patch(NbGraderAPI, "get_submitted_timestamp", "self, assignment_id, student_id", get_submitted_timestamp),
    ]


def _formgrader() -> list[Patch]:
    stock = {name: inspect.getattr_static(BaseHandler, name) for name in ("content_security_policy", "exporter")}
    stock_render = BaseHandler.render

    def content_security_policy(self: BaseHandler) -> str:
        before: str = stock["content_security_policy"].fget(self)
        if not formgrader.is_ours(self):
            return before
        return f"{before}, {formgrader.policy(formgrader.nonce_of(self))}"  # both hold

    def exporter(self: BaseHandler) -> HTMLExporter:
        return formgrader.exporter_of(self) if formgrader.is_ours(self) else stock["exporter"].fget(self)

    def render(self: BaseHandler, name: str, **values: Any) -> str:
        if not formgrader.is_ours(self):
            return stock_render(self, name, **values)
        return formgrader.rendered(self, name, **values)

    return [
        Patch(BaseHandler, "content_security_policy", "property", property(content_security_policy)),
        Patch(BaseHandler, "exporter", "property", property(exporter)),
        Patch(BaseHandler, "render", "self, name, ns", render),
    ]
