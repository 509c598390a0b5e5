"""Run a command to its end: wall seconds, and on request how much memory its processes took."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY = 0.5  # seconds between two looks at the memory


@dataclass
class Watched:
    """How a command went.

    Attributes:
        said: the last line that it wrote on stderr.
        own: largest resident memory of the command's own process, in bytes; 0 when nobody looked.
        worker: largest share of memory (PSS: a shared page counts once, divided) of one process that it started.
        together: largest sum over all of them at one time.
    """

    seconds: float
    status: int
    said: str
    own: int = 0
    worker: int = 0
    together: int = 0


def watched(command: list[str], folder: Path, environment: dict[str, str], memory: bool = False) -> Watched:
    """Run it; looking at the memory takes some time itself, so timings that are compared go without."""
    with (folder / "said.txt").open("w+b") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said)
        try:
            result = Watched(0.0, 0, "")
            if memory:
                ended = threading.Event()
                looking = threading.Thread(target=_look, args=(process.pid, result, ended))
                looking.start()
            result.status = process.wait()
            result.seconds = time.perf_counter() - started
            if memory:
                ended.set()
                looking.join()
        finally:  # also when somebody presses Ctrl-C: nothing stays behind
            if process.poll() is None:
                process.terminate()
                process.wait()
        said.seek(0)
        lines = said.read().decode(errors="replace").split("\n")
    result.said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return result


def _look(pid: int, result: Watched, ended: threading.Event) -> None:
    while not ended.wait(EVERY):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            result.own = max(result.own, *(int(kib) * 1024 for kib in re.findall(r"VmHWM:\s+(\d+)", status)))
            root = psutil.Process(pid)
            started = [share(process) for process in root.children(recursive=True)]
        except (OSError, TypeError, psutil.Error):  # it ended just now
            continue
        result.worker = max([result.worker, *started])
        result.together = max(result.together, share(root) + sum(started))


def share(process: psutil.Process) -> int:
    """Its memory in bytes (PSS); 0 when it is gone."""
    try:
        return process.memory_full_info().pss
    except (OSError, psutil.Error):  # it ended just now, or belongs to somebody else
        return 0
