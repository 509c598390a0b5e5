"""Looks at a student's processes from outside, a few times a second, and ends them when they take too much.

The system's own limits hold for one process each; these hold for all processes of a kernel together.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import psutil

from .sandbox import HOME, Room

EVERY = 0.2  # seconds
MEMORY, CPU, FILES, PROCESSES = "memory", "cpu", "files", "processes"


class Watch(threading.Thread):
    """Watches one kernel until `stop`.

    Attributes:
        ended: what the kernel was ended for, such as MEMORY; "" while there is nothing.
        cpu_seconds: CPU time of the kernel and its children, as the system last counted it.
    """

    def __init__(self, pid: int, room: Room, end: Callable[[], None], boxed: bool) -> None:
        super().__init__(name="watch", daemon=True)
        self.room, self.boxed, self.ended, self.cpu_seconds = room, boxed, "", 0.0
        self._process, self._end, self._done = psutil.Process(pid), end, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(EVERY):
            if found := self._look():
                self.ended = found
                self._end()
                return

    def stop(self) -> None:
        """Watch no longer."""
        self._done.set()
        self.join()

    def family(self) -> list[psutil.Process]:
        """The kernel's process, and all that came from it."""
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:  # it has ended
            return []

    def measure_cpu(self) -> float:
        """CPU seconds so far: of the living, and of those that their parents have buried."""
        total = 0.0
        for process in self.family():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        self.cpu_seconds = max(self.cpu_seconds, total)
        return self.cpu_seconds

    def _look(self) -> str:
        if self.measure_cpu() > self.room.cpu:
            return CPU
        family = self.family()
        if len(family) > self.room.processes + 8:
            return PROCESSES
        # Processes share pages: only a sum that is too large is worth the slow, exact count.
        if _sum(family, _resident) > self.room.memory and _sum(family, _proportional) > self.room.memory:
            return MEMORY
        return FILES if self.boxed and _files(family) > self.room.files else ""


def _sum(family: list[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in family:
        try:
            total += measure(process)
        except psutil.Error:
            continue
    return total


def _resident(process: psutil.Process) -> int:
    return process.memory_info().rss


def _proportional(process: psutil.Process) -> int:
    return process.memory_full_info().pss


def _files(family: list[psutil.Process]) -> int:
    """How many files there are in the folders that a sandbox may write to."""
    for process in reversed(family):  # the first ones are bubblewrap's own, outside
        counts = []
        for place in (HOME, "/dev/shm"):  # these are mounts: nobody inside can put something else in their place
            try:
                found = os.statvfs(f"/proc/{process.pid}/root{place}")
            except OSError:
                break
            counts.append(found.f_files - found.f_ffree)
        if len(counts) == 2:
            return max(counts)
    return 0
