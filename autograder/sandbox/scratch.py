"""Scratch folders in the system's temporary folder, and the end of what killed graders left: folders and kernels."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


def scratch_folder() -> Path:
    """A new folder in the system's temporary folder; `sweep` of a later process removes it when this one was killed."""
    mark = Path(_mark(tempfile.gettempdir()))
    return Path(tempfile.mkdtemp(prefix=f"{mark.name}-", dir=mark.parent))


@contextmanager
def swept() -> Iterator[None]:
    """At the end, remove what forks of this process left in scratch folders when they were killed meanwhile."""
    mark = Path(_mark(tempfile.gettempdir()))  # before they are forked: so that theirs begin alike
    before = set(mark.parent.glob(f"{mark.name}-*"))
    try:
        yield
    finally:
        for folder in set(mark.parent.glob(f"{mark.name}-*")) - before:
            shutil.rmtree(folder, ignore_errors=True)
        sweep()  # and what others left that were not forked


@contextmanager
def scratch() -> Iterator[Path]:
    """The same for a while: it is removed at the end."""
    folder = scratch_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _mark(place: str) -> str:
    """What the names of this process's scratch folders begin with: vitedu-PID-SOMETHING, its lock beside them.

    A lock is a sign of life that holds across process namespaces, and that no reused pid can fake.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f"vitedu-{os.getpid()}-", suffix=".lock", dir=place)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until this process and all that it forks have ended
        if os.fstat(descriptor).st_nlink:
            atexit.register(_unmark, name, os.getpid())
            return name.removesuffix(".lock")
        os.close(descriptor)  # somebody swept it between these two lines


def _unmark(lock: str, pid: int) -> None:
    if os.getpid() == pid:  # not in what it forked
        for folder in Path(lock).parent.glob(f"{Path(lock).stem}-*"):  # of work that was broken off
            shutil.rmtree(folder, ignore_errors=True)
        Path(lock).unlink(missing_ok=True)


def sweep() -> None:
    """Remove the scratch folders that killed processes left, and end kernels that outlived them."""
    for lock in Path(tempfile.gettempdir()).glob("vitedu-*.lock"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid():
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
                    folders = list(lock.parent.glob(f"{lock.stem}-*"))
                    _end_processes(folders)
                    for folder in folders:
                        shutil.rmtree(folder, ignore_errors=True)
                    lock.unlink()
            finally:
                os.close(descriptor)


def _end_processes(folders: list[Path]) -> None:
    """End every process that was started in one of these folders, which only a kernel without a sandbox survives."""
    places = tuple(f"{folder}{os.sep}" for folder in folders)
    for process in psutil.process_iter() if places else ():
        with suppress(psutil.Error, OSError):
            if process.environ().get("HOME", "").startswith(places):
                process.kill()
