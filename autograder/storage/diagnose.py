"""What is wrong with a course folder itself: full, locked, closed. Asked before a class, and when a submission failed.

Whether a class is stopped is decided by looking at the folder, never by what an error's text says: a
submission may have a part in that.
"""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from autograder.sanitize.untrusted import terminal
from autograder.storage.course_folder import Course

AGAIN = "and run the same command again"
FULL = (errno.ENOSPC, errno.EDQUOT)
SERVER = "postgresql+psycopg://USER:PASSWORD@SERVER/DATABASE"
FULL_DISK = re.compile(r"No space left on device|disk is full|disk quota exceeded", re.IGNORECASE)
ROOM = 2**20  # bytes without which grading is not begun
NEAR = 64 * 2**20  # with less than this free, what said "full" is believed


def folder_trouble(root: Path, message: str = "") -> str:
    """Why nothing can be written for a course, as a sentence without its full stop; "" when it can.

    Args:
        message: what failed just now; half of it may be removed again, so that there seems to be room.
    """
    for place in (root, Path(tempfile.gettempdir())):
        try:
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(bytes(ROOM))
                file.flush()
            if not (FULL_DISK.search(message) and shutil.disk_usage(place).free < NEAR):
                continue
        except OSError as error:
            if error.errno not in FULL:
                return (
                    f"Expected to write the gradebook, feedback and scores into {place}, but nothing can be written "
                    f"there ({error.strerror}); mend that {AGAIN}"
                )
        free = shutil.disk_usage(place).free / 2**20
        return f"The disk of {place} is full ({free:.1f} MB free): make room {AGAIN}"
    return ""


def gradebook_trouble(course: Course) -> str:
    """Why nothing can be recorded in the gradebook, as a sentence without its full stop; "" when it can."""
    try:
        with course.gradebook() as gradebook, gradebook.engine.connect() as connection:
            if gradebook.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # the lock for writing
            connection.exec_driver_sql("UPDATE grade SET id = id WHERE 1 = 0")  # and the right to
            connection.rollback()
    except (SQLAlchemyError, ImportError) as error:
        return database_message(error, course.root)
    return ""


def database_message(error: SQLAlchemyError | ImportError, root: Path) -> str:
    """What a failure of the gradebook means and what to do, as a sentence without its full stop."""
    if isinstance(error, ImportError):
        return (
            f"c.CourseDirectory.db_url names a database for which Python's package {error.name} is missing: install "
            f"it (for a PostgreSQL server write {SERVER} and run: pip install 'psycopg[binary]') {AGAIN}"
        )
    if isinstance(error, ArgumentError):
        return (
            f"Expected a database's address in c.CourseDirectory.db_url, such as {SERVER}, found another text "
            f"({_plain(error)}); mend it {AGAIN}"
        )
    orig = getattr(error, "orig", None)
    what = str(orig or type(error).__name__)
    if orig is not None and not isinstance(orig, sqlite3.Error):
        return _server_message(what)
    if "locked" in what:
        return (
            f"The gradebook of {root} is locked by another program: "
            f"close that (formgrader, another grading command, a database browser) {AGAIN}"
        )
    if "full" in what:
        return f"The disk of {root} is full: make room {AGAIN}"
    if "readonly" in what or "unable to open" in what:
        return f"The gradebook of {root} cannot be written ({what}): see to its permissions {AGAIN}"
    return f"The gradebook of {root} cannot be read ({terminal(what, 200)}); restore it from a backup"


def _server_message(what: str) -> str:
    if "lock timeout" in what:
        return (
            "The gradebook on the database server is locked by another program: "
            f"close that (formgrader, another grading command, a database browser) {AGAIN}"
        )
    if FULL_DISK.search(what):
        return f"The disk of the database server is full: make room there {AGAIN}"
    return (
        f"The gradebook's database server cannot be used (it said: {_plain(what)}): see that it runs, and that "
        f"c.CourseDirectory.db_url has the right user, password, address and database, {AGAIN}"
    )


def _plain(what: object) -> str:
    """The first line of what a library said."""
    return terminal(str(what).strip().split("\n")[0], 200)
