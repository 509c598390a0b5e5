"""Writing a file so that a reader, or a crash, sees the old one or the new one whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one whole.

    Raises:
        OSError: it could not be written, and the old one is there unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(write_new(path, content), path)


def write_new(path: Path, content: str | bytes, mode: int = 0o666) -> Path:
    """The content in a file beside `path`, always the same one, so that killed processes leave one at most."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place to write a file in; it takes the place of the old one when it is complete."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
