"""Looks at a student's processes from outside, a few times a second, and ends them when they take too much.

The system's own limits hold for one process each; these hold for all processes of a kernel together.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from autograder.sandbox.bubblewrap import HOME, ResourceLimits

PERIOD = 0.2  # seconds
JOIN_TIMEOUT = 5.0  # seconds that it gets to end
_shared_with: dict[str, int] = {}  # by address of a fork server: to count takes a hundredth of a second
MEMORY, CPU, FILES, PROCESSES = "memory", "cpu", "files", "processes"


class ResourceMonitor(threading.Thread):
    """Watches one kernel until `stop`.

    Attributes:
        ended: what the kernel was ended for, such as MEMORY; "" while there is nothing.
        cpu_seconds: CPU time of the kernel and its children, as the system last counted it.
        shared: bytes that a kernel forked from a fork server has in common with it; they count as its own, as they are
            those of a kernel that has imported everything itself.
    """

    def __init__(self, pid: int, limits: ResourceLimits, end: Callable[[], None], sandboxed: bool) -> None:
        super().__init__(name="resource monitor", daemon=True)
        self.limits, self.sandboxed, self.ended, self.cpu_seconds, self.shared = limits, sandboxed, "", 0.0, 0
        self._process, self._end, self._done = psutil.Process(pid), end, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._done.wait(PERIOD):
            if found := self._exceeded():
                self.ended = found
                self._end()
                return

    def stop(self) -> None:
        """Watch no longer; what it is looking at just now may be long, and nobody waits for all of it."""
        self._done.set()
        self.join(JOIN_TIMEOUT)

    def tasks(self) -> int:
        """How many processes and threads there are, without those that have ended."""
        total = 0
        for process in self.family():
            with suppress(psutil.Error):
                total += process.num_threads() if process.status() != psutil.STATUS_ZOMBIE else 0
        return total

    def family(self) -> list[psutil.Process]:
        """The kernel's process, and all that came from it."""
        try:
            return [self._process, *self._process.children(recursive=True)]
        except psutil.Error:  # it has ended
            return []

    def measure_shared(self, fork_server: str) -> None:
        """Take what the first kernel forked from a fork server has in its memory just now for shared with it by all."""
        for kernel in self.family()[1:2] if fork_server not in _shared_with else ():  # behind process 1
            with suppress(psutil.Error):
                _shared_with[fork_server] = max(0, _resident(kernel) - _proportional(kernel))
        self.shared = _shared_with.get(fork_server, 0)

    def measure_cpu(self, family: list[psutil.Process] | None = None) -> float:
        """CPU seconds so far: of the living, and of those that their parents have buried."""
        total = 0.0
        for process in self.family() if family is None else family:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        self.cpu_seconds = max(self.cpu_seconds, total)
        return self.cpu_seconds

    def _exceeded(self) -> str:
        family = self.family()  # which goes through all processes of the machine
        if self.measure_cpu(family) > self.limits.cpu:
            return CPU
        if len(family) > self.limits.processes + 8:
            return PROCESSES
        if self._is_beyond(family):
            return MEMORY
        return FILES if self.sandboxed and _files(family) > self.limits.files else ""

    def _is_beyond(self, family: list[psutil.Process]) -> bool:
        """Whether they hold too much memory; the slow, exact count is for sums that may be too large."""
        resident = _sum(family, _resident)
        if resident + _unmapped() <= self.limits.memory:
            return False
        hidden = _shared(family) + (_queued(family) if self.sandboxed else 0)
        if resident + hidden <= self.limits.memory:  # in this sum, what processes share counts for each
            return False
        return _sum(family, _proportional) + hidden + self.shared > self.limits.memory


def _sum(family: list[psutil.Process], measure: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in family:
        try:
            total += measure(process)
        except psutil.Error:
            continue
    return total


def _resident(process: psutil.Process) -> int:
    resident: int = process.memory_info().rss
    return resident


def _proportional(process: psutil.Process) -> int:
    """What a process holds of its own, and its part of what it shares with others, in bytes."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_File:")))


def _unmapped() -> int:
    """Bytes that nobody on this machine can hold more of outside the memory that belongs to a process."""
    try:
        shared = re.search(r"^Shmem: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
        queued = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)
    except OSError:
        return sys.maxsize
    if shared is None or queued is None:
        return sys.maxsize
    return 1024 * int(shared[1]) + mmap.PAGESIZE * int(queued[1])


def _shared(family: list[psutil.Process]) -> int:
    """Bytes of memory that processes share without a file; it stays when none of them has it mapped in any more."""
    areas: dict[tuple[str, str], int] = {}
    for process in family:
        try:
            maps = Path(f"/proc/{process.pid}/maps").read_text(errors="replace")
        except OSError:
            continue
        for line in maps.splitlines() if "/dev/zero (deleted)" in maps else ():
            if line.endswith("/dev/zero (deleted)"):
                addresses, _, offset, _, inode = line.split()[:5]
                start, end = addresses.split("-")
                areas[inode, offset] = max(areas.get((inode, offset), 0), int(end, 16) - int(start, 16))
    return sum(areas.values())


def _queued(family: list[psutil.Process]) -> int:
    """Bytes that wait in the network connections of a sandbox, which has a network of its own."""
    for process in reversed(family):
        try:
            lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/{process.pid}/net/{name}").open()]
        except OSError:
            continue
        queues = [line.split()[4].split(":") for line in lines if not line.lstrip().startswith("sl")]
        return sum(int(size, 16) for pair in queues for size in pair)
    return 0


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
