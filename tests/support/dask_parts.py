"""A Dask scheduler and workers as processes of their own, and a look at what they do.

Run by a worker as its preload script (`dask worker --preload`), it writes down what the worker opens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]  # no import of ours: a worker runs this file alone
OPENED = "opened"  # a worker's list of the paths that it opened, in its home
EVENTS = ("open", "os.listdir", "os.scandir", "os.chdir", "sqlite3.connect")


class Workplace:
    """A scheduler, and workers each with a home and a temporary folder of its own; nothing is left at the end.

    Attributes:
        address: what --scheduler takes.
        spy: a client of the tests' own.
    """

    def __init__(self, root: Path) -> None:
        from distributed import Client

        self.root, self._processes = root, list[subprocess.Popen]()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        place = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        self.scheduler = self._start("scheduler", {}, "distributed.cli.dask_scheduler", *place)
        self.spy = Client(self.address, timeout=60, set_as_default=False)

    def worker(self, name: str, *options: str, **environment: str) -> None:
        """Start a worker under a nanny, which starts it again when it dies."""
        place = ("--name", name, "--nworkers", "1", "--nthreads", "1", "--nanny", "--no-dashboard")
        watch = () if "PYTHONPATH" in environment else ("--preload", __file__)
        self._start(name, environment, "distributed.cli.dask_worker", self.address, *place, *watch, *options)

    def wait(self, count: int) -> None:
        """Until so many workers are there."""
        self.spy.wait_for_workers(count, timeout=60)

    def home(self, name: str) -> Path:
        """The only folder that a worker is to write in."""
        return self.root / name

    def _start(self, name: str, environment: Mapping[str, str], *command: str) -> subprocess.Popen:
        home = self.home(name)
        (home / "tmp").mkdir(parents=True)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
        }
        own |= {"OMP_NUM_THREADS": "1"} | environment
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=home, env=os.environ | own,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def log(self, name: str) -> str:
        """What a worker or the scheduler said."""
        return (self.home(name) / "log").read_text()

    def opened(self, name: str) -> list[str]:
        """The paths that a worker opened."""
        return (self.home(name) / OPENED).read_text().splitlines()

    def names(self) -> dict[str, str]:
        """Address -> name of the workers that are there now."""
        return {address: told["name"] for address, told in self.spy.scheduler_info(n_workers=-1)["workers"].items()}

    def pids(self) -> dict[str, int]:
        """Address -> process, not the nanny's."""
        return self.spy.run(os.getpid)

    def busy(self) -> dict[str, list[str]]:
        """Address -> keys of what it works on, for those that have something."""
        return {address: list(map(str, keys)) for address, keys in self.spy.processing().items() if keys}

    def close(self) -> None:
        """End the scheduler, the nannies and their workers."""
        with contextlib.suppress(Exception):
            self.spy.close(timeout=5)
        family = [child for each in self._processes for child in _descendants(each.pid)]
        for each in self._processes:
            each.send_signal(signal.SIGTERM)
        until(lambda: all(each.poll() is not None for each in self._processes), 20)
        for each in self._processes:
            each.kill()
            each.wait()
        for child in family:
            with contextlib.suppress(psutil.Error):
                child.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What it gives as soon as that is something; whatever it gives after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def processes_of(home: Path) -> Iterator[psutil.Process]:
    """What runs with something of this home in its environment: a worker, its template, its kernels."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("HOME") == str(home):
                yield process


def dask_setup(worker: Any) -> None:
    """Called by Dask in the worker: note what it opens from now on."""
    notes = open(Path(os.environ["HOME"]) / OPENED, "a", buffering=1, encoding="utf-8", errors="replace")

    def note(event: str, arguments: tuple) -> None:
        if event in ("open", "os.listdir", "os.scandir", "os.chdir", "sqlite3.connect") and isinstance(
            arguments[0], str | bytes
        ):
            notes.write(os.fsdecode(arguments[0]) + "\n")

    sys.addaudithook(note)
