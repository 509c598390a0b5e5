"""Run a command that may hang, be killed, or leave processes behind: `supervise.py FOLDER SECONDS COMMAND...`.

Writes FOLDER/output.txt, what the command printed, and FOLDER/run.json: its exit status, its seconds,
and the command lines of processes that outlived it. Those are killed: nothing stays behind.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Container
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36  # whoever loses its parent below us becomes our child, however it tried to get away
GRACE = 5.0  # seconds in which what was killed with the command may go


def survivors(seconds: float, known: Container[int] = ()) -> list[psutil.Process]:
    """Processes below this one that are still there after a grace period, but those known; zombies are reaped."""
    until = time.monotonic() + seconds
    while True:
        below = [process for process in psutil.Process().children(recursive=True) if process.pid not in known]
        _, alive = psutil.wait_procs(below, timeout=0.2)
        if not alive or time.monotonic() > until:
            return alive


def described(process: psutil.Process) -> str:
    """A process's command line; its name where it has none."""
    try:
        return " ".join(process.cmdline())[:300] or process.name()
    except psutil.Error:
        return str(process.pid)


def end(processes: list[psutil.Process]) -> None:
    """Kill them, and what they start meanwhile."""
    for _ in range(100):
        if not processes:
            return
        for process in processes:
            try:
                process.kill()
            except psutil.Error:
                pass
        processes = survivors(0.0)


def main(folder: str, seconds: str, *command: str) -> None:
    """Run the command and write what came of it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.monotonic()
    with (Path(folder) / "output.txt").open("ab") as output:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = running.wait(float(seconds))
            left = survivors(GRACE)
        except subprocess.TimeoutExpired:
            status, left = -9, []
            running.kill()
    took, told = time.monotonic() - started, [described(process) for process in left]
    end(left or survivors(0.0))
    (Path(folder) / "run.json").write_text(json.dumps({"exit": status, "seconds": took, "left": told}))


if __name__ == "__main__":
    main(*sys.argv[1:])
