"""What we keep in a course folder beside nbgrader's own (the secret, the verdicts), and folders for scratch.

Whatever is written appears whole or not at all, also when this process is killed meanwhile.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from .errors import UserError

SECRET = "course_secret"


def read_secret(root: Path) -> bytes:
    """The course secret, from which all variants are drawn; made on first use, readable by its owner only.

    Raises:
        UserError: the file holds something else.
    """
    path = Path(root) / SECRET
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = _write(path.with_name(f"{SECRET}-{secrets.token_hex(4)}"), secrets.token_hex(32) + "\n", mode=0o600)
        try:
            os.link(mine, path)  # unlike a rename, this does not replace what somebody else drew meanwhile
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(mine, path)
        mine.unlink(missing_ok=True)
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise UserError(
            f"{path} should hold at least 32 hexadecimal digits, the course secret; restore it from a backup."
        )
    return secret


def verdict_path(root: Path, student: str, assignment: str, notebook: str) -> Path:
    """Where the verdicts on a notebook are kept."""
    return Path(root) / "verdicts" / student / assignment / f"{notebook}.json"


def read_verdicts(path: Path) -> dict[str, Any]:
    """The stored verdicts of a notebook; empty when there are none or the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one whole.

    Raises:
        OSError: it could not be written, and the old one is there unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(_write(path, content), path)


def _write(path: Path, content: str | bytes, mode: int = 0o666) -> Path:
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
