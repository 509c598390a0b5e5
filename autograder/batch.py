"""Many submissions on many processors: hand them out, take back what comes, lose nothing when a worker dies.

Everything here speaks to a `concurrent.futures.Executor` and to nothing else: the processes of this machine
below, or those of a cluster (cluster.py).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol

from .errors import UserError
from .untrusted import terminal
from .work import Executed, Refused, Task, work

TRIES = 3  # of one submission, when the worker that has it dies
LOOK = 5.0  # seconds without a result, after which somebody looks whether there are workers
KEPT = "; what is graded so far is kept."
PR_SET_PDEATHSIG = 1


class Workers(Protocol):
    """Where work is done.

    Attributes:
        count: how many submissions are worked on at a time.
    """

    count: int

    def executor(self) -> Executor:
        """The executor; a new one when the last has broken down."""

    def check(self) -> None:
        """Nothing has come back for a while: raise UserError when nobody is there any more who works."""

    def close(self) -> None:
        """Stop at once what still runs."""


class Processes:
    """Processes of this machine, forked from this one: whatever it has imported they need not import."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def executor(self) -> Executor:
        """The pool; a new one when a process of the last has died."""
        if self._pool is not None and self._pool._broken:
            self.close()
            self._pool = None
        if self._pool is None:
            # A process with several threads must not be forked; then the pool's start anew.
            context = multiprocessing.get_context("fork" if _single_threaded() else "spawn")
            self._pool = ProcessPoolExecutor(self.count, context, initializer=_begin, initargs=(os.getpid(),))
        return self._pool

    def check(self) -> None:
        """A process that dies breaks the pool, which its futures tell."""

    def close(self) -> None:
        """End the processes at once; a kernel ends with the process that started it."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=True, cancel_futures=True)  # its threads end, too


def _single_threaded() -> bool:
    deadline = time.monotonic() + 1
    while threading.active_count() == 1:
        if not os.path.isdir("/proc/self/task"):
            return False
        if len(os.listdir("/proc/self/task")) == 1:
            return True
        if time.monotonic() > deadline:  # those of a pool that was closed just now need a moment to go
            return False
        time.sleep(0.01)
    return False


def _begin(parent: int) -> None:
    """First in every process: it ends with its parent, and leaves Ctrl-C to it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(workers: Workers, tasks: Iterable[Task]) -> Iterator[tuple[Task, Executed | str]]:
    """Do the tasks; each comes back once, in the order in which they are done, with what came of it or why nothing did.

    Only a few are in memory at a time. Those that were under way when a worker died are tried again at the end,
    one by one, so that one which kills its worker takes no other with it.
    """
    coming, again, tries = iter(tasks), deque[Task](), Counter[str]()
    running: dict[Future[Executed], Task] = {}
    while True:
        while len(running) < 2 * workers.count and (task := next(coming, None)) is not None:
            running[_submit(workers, task)] = task
        if not running and again:
            task = again.popleft()
            running[_submit(workers, task)] = task
        if not running:
            return
        if not (done := wait(running, timeout=LOOK, return_when=FIRST_COMPLETED).done):
            workers.check()
        for future in done:
            task = running.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            tries[task.student] += 1
            if error is None:
                yield task, future.result()
            elif _is_passing(error) and tries[task.student] < TRIES:
                again.append(task)
            else:
                yield task, _told(error)


def _submit(workers: Workers, task: Task) -> Future[Executed]:
    for _ in range(TRIES):
        try:
            return workers.executor().submit(work, task)
        except BrokenProcessPool:  # it broke down just now; the next executor is another
            continue
    raise UserError(
        f"The processes that grade do not stay alive (often: too little memory for so many --workers){KEPT}"
    )


def _is_passing(error: BaseException) -> bool:
    """Whether another try may go better: another worker, or the same one when there is more memory."""
    return _has_died(error) or isinstance(error, (CancelledError, OSError, Refused))


def _has_died(error: BaseException) -> bool:
    return isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"


def _told(error: BaseException) -> str:
    if _has_died(error):
        return f"the process that graded it died {TRIES} times (often: too little memory for so many --workers)"
    return terminal(str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}", 400)
