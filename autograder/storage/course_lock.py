"""The lock of a course folder, so that one command at a time grades there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autograder.errors import UserError


@contextmanager
def grading_alone(course: Path) -> Iterator[None]:
    """One grading command at a time in a course; the system takes the lock from a command that was killed."""
    with (course / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another command is grading in {course} right now; wait until it has ended and run this one again."
            ) from None
        except OSError:  # a network drive without locks: there it is up to the user
            pass
        yield
