"""Folders that all processes of one run of the tests share, in pytest's own folder of this run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_folder(request: pytest.FixtureRequest, name: str, fill: Callable[[Path], object]) -> Path:
    """A folder that whoever asks first has filled; it is for copying, and nobody writes in it afterwards.

    `fill` makes the folder at the path that it gets, which is another one: a folder that is only half filled, by a
    process that failed or was killed, is never found under its name.
    """
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    base = factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # not by the environment, which a run that a test starts inherits
        base = base.parent  # the run's, in which each process has its own
    folder = base / f"shared-{name}"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            begun = Path(factory.mktemp(f"begun-{name}")) / name
            fill(begun)
            begun.rename(folder)
    return folder
