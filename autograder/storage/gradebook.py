"""How the gradebook's database is opened, a SQLite file or a PostgreSQL server, and the points that it has for a lab.

nbgrader opens the gradebook anew at every step, in many places, and offers no setting for how. So `make_engine` takes
the place of the function by which it does (nbgrader_integration/patches.py): a grading command waits for whoever else
is writing, and in SQLite's WAL mode no reader is in its way at all.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import psutil
from nbformat import NotebookNode
from nbgrader.converters.base import NbGraderException
from sqlalchemy import Engine, create_engine, event, make_url

from autograder.labs.lab import Lab
from autograder.storage.course_folder import Course

PATIENCE = 30  # seconds to wait for somebody else's lock; in the address, ?timeout=5 sets another number for SQLite
ANSWER = 10  # seconds within which a server has to answer
# On these, the programs may run on several machines, which WAL mode does not allow.
NETWORK = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs3", "nfs4",
    "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "webdav",
}  # fmt: skip
NOT_NETWORK = {"fuse.fuse-overlayfs", "fuse.lxcfs"}


def points_of(course: Course, lab: Lab, release: NotebookNode) -> dict[str, float]:
    """The points of each graded cell, as the gradebook has them.

    Raises:
        NbGraderException: the release names other cells.
    """
    with course.gradebook() as gradebook:
        cells = gradebook.find_notebook(lab.notebook, lab.assignment).grade_cells
        points = {cell.name: float(cell.max_score) for cell in cells}
    released = {c.metadata.nbgrader.grade_id for c in release.cells if c.metadata.nbgrader.get("grade")}
    if released != points.keys():
        raise NbGraderException(
            f"the release of {lab.assignment} and the gradebook name different graded cells "
            f"({', '.join(sorted(released ^ points.keys()))}); "
            f"run: nbgrader generate_assignment {lab.assignment} --force"
        )
    return points


@lru_cache(maxsize=8)
def make_engine(db_url: str, **options: Any) -> Engine:
    """Take the place of SQLAlchemy's create_engine for a gradebook: one engine for each address.

    It remembers the statements that it has put together, which takes longer than to run them.
    """
    engine = create_engine(db_url, **options)
    event.listen(engine, "do_connect", _before)
    event.listen(engine, "connect", _after)
    return engine


@contextmanager
def held(db_url: str) -> Iterator[None]:
    """Keep a SQLite database open meanwhile: whoever is the last to close it tidies up its files, each time anew."""
    path = make_url(db_url).database if db_url.startswith("sqlite") else None
    with closing(sqlite3.connect(path)) if path and os.path.exists(path) else nullcontext() as connection:
        if connection is not None:
            with suppress(sqlite3.Error):  # whatever it is, the next who opens it will tell
                connection.execute("PRAGMA schema_version").fetchone()
        yield


def _before(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
    """Set what a connection is made with; what the address says of it goes first."""
    if dialect.name == "sqlite":
        options.setdefault("timeout", PATIENCE)
    elif dialect.driver == "psycopg":
        options.setdefault("connect_timeout", ANSWER)


def _after(connection: Any, record: Any) -> None:
    """Set what holds for a connection from here on."""
    if isinstance(connection, sqlite3.Connection):
        # The verdict record with its cache key is written after the gradebook and is on the disk at once. With
        # synchronous=NORMAL a power cut could take the points back and leave the key: graded, and nobody's points.
        connection.execute("PRAGMA synchronous = FULL")
        _choose_journal(connection)
    elif type(connection).__module__.partition(".")[0] == "psycopg":
        # PostgreSQL waits for ever, unless the address or the server says otherwise.
        wait = f"SELECT set_config('lock_timeout', '{PATIENCE}s', false) WHERE current_setting('lock_timeout') = '0'"
        connection.execute(wait)
        connection.commit()


def _choose_journal(connection: sqlite3.Connection) -> None:
    """WAL mode, in which readers and the writer do not wait for each other; the old mode where that cannot be.

    The mode is kept in the file. A change needs the file for oneself: somebody else's lock is not waited for,
    the next connection changes it just as well.
    """
    ((_, _, path),) = connection.execute("PRAGMA database_list")
    mode = "delete" if _on_network(path) else "wal"
    ((patience,),) = connection.execute("PRAGMA busy_timeout")
    connection.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.Error):  # locked, read-only, damaged: the first statement will tell
        connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()
    connection.execute(f"PRAGMA busy_timeout = {patience}")


@cache
def _on_network(path: str) -> bool:
    return on_network(path)


def on_network(path: str, mounts: list[Any] | None = None) -> bool:
    """Whether a file lies on a network drive.

    Args:
        mounts: `mountpoint` and `fstype` of each file system; None: those of this machine.
    """
    real = Path(os.path.realpath(path))
    places = psutil.disk_partitions(all=True) if mounts is None else mounts
    above = [place for place in places if real.is_relative_to(place.mountpoint)]
    if not above:
        return False
    kind = max(reversed(above), key=lambda place: len(place.mountpoint)).fstype  # of two in one place, the upper one
    return kind in NETWORK or (kind.startswith("fuse.") and kind not in NOT_NETWORK)
