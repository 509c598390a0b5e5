"""Many submissions on many processors: hand them out, take back what comes, lose nothing when a worker dies.

Everything here speaks to a `concurrent.futures.Executor` and to nothing else: the processes of this machine
below, or those of a cluster (dask_workers.py).
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import psutil

from autograder.execution.grade_one import grade_in_worker
from autograder.execution.submission_task import Executed, Refused, Task
from autograder.sanitize.untrusted import terminal

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
        self._pool: _Pool | None = None

    def executor(self) -> Executor:
        """The pool; a new one when a process of the last has died."""
        if self._pool is not None and self._pool.broken:
            self.close()
        if self._pool is None:
            self._pool = _Pool(self.count)
        return self._pool

    def check(self) -> None:
        """A process that dies breaks the pool, which its futures tell."""

    def close(self) -> None:
        """End the processes at once; a kernel ends with the process that started it."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class Stuck(RuntimeError):
    """Work that took longer than all its limits together; whoever did it was ended."""


@dataclass(frozen=True)
class _Member:
    """A process, and our end of the line to it."""

    process: BaseProcess
    line: Connection


def _member(kind: str) -> _Member:
    context: Any = multiprocessing.get_context(kind)
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
    process.start()
    theirs.close()  # so that nobody but the process has it: when that ends, the line does
    return _Member(process, ours)


class _Pool(Executor):
    """A line to each process, and a thread at our end of it.

    In a ProcessPoolExecutor all have one line for their results, with a lock: one that is killed while it sends a
    notebook leaves half of it there, for which everybody then waits.
    """

    def __init__(self, count: int) -> None:
        # A process with several threads must not be forked; then these start anew.
        kind = "fork" if _single_threaded() else "spawn"
        self.broken, self._members = False, {_member(kind) for _ in range(count)}
        self._free = queue.SimpleQueue[_Member]()
        for member in self._members:
            self._free.put(member)
        self._threads = ThreadPoolExecutor(count)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a process call fn(*args); where the first of these has `most`, within so many seconds."""
        return self._threads.submit(self._ask, fn, args)

    def _ask(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        member, most = self._free.get(), getattr(args[0], "most", None)
        past = threading.Event()
        try:
            with _deadline(most, member, past):
                member.line.send((fn, args))
                value, error = member.line.recv()
        except (EOFError, OSError) as end:
            if not past.is_set():
                self.broken = True
                raise BrokenProcessPool from end
            raise Stuck(f"its grading took more than {most:.0f} s, beyond every limit, and was ended") from None
        finally:
            if past.is_set():
                member = self._replaced(member)
            self._free.put(member)
        if error is not None:
            raise error
        return value

    def _replaced(self, member: _Member) -> _Member:
        """A new process in the place of one that was ended."""
        self._members.discard(member)
        member.process.join()
        member.line.close()
        member = _member("spawn")  # there are threads here by now
        self._members.add(member)
        return member

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = True) -> None:
        """Kill the processes; then the threads end, too."""
        for member in list(self._members):
            member.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for member in self._members:
            member.process.kill()  # one that was made meanwhile
            member.process.join()
        while not self._free.empty():
            self._free.get().line.close()


@contextmanager
def _deadline(seconds: float | None, member: _Member, past: threading.Event) -> Iterator[None]:
    """End a process that is not done in time; it may stop in the middle of sending its result, too."""

    def end() -> None:
        past.set()
        family: list[psutil.Process] = []
        with suppress(psutil.Error):  # the kernels that it started
            family = psutil.Process(member.process.pid).children(recursive=True)
        member.process.kill()
        for process in family:
            with suppress(psutil.Error):
                process.kill()

    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # it may be at it


def _serve(line: Connection, parent: int) -> None:
    """One process of the pool: call what comes, and send back what comes of it."""
    _begin(parent)
    while True:
        fn, args = line.recv()
        answer: tuple[Any, Exception | None]
        try:
            answer = fn(*args), None
        except Exception as error:
            answer = None, error
        try:
            line.send(answer)
        except (pickle.PicklingError, TypeError, AttributeError) as error:  # it cannot be sent: nothing of it was
            line.send((None, RuntimeError(f"its result cannot be sent: {error}")))


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
    """Do the tasks; each comes back once, in the order in which they are done: what came of it, or why nothing did.

    Only a few are in memory at a time. Those that were under way when a worker died are tried again at the end,
    one by one, so that one which kills its worker takes no other with it.
    """
    coming, again, tries = iter(tasks), deque[Task](), Counter[str]()
    running: dict[Future[Executed], Task] = {}
    while True:
        while len(running) < 2 * workers.count and (task := next(coming, None)) is not None:
            running[workers.executor().submit(grade_in_worker, task)] = task
        if not running and again:
            task = again.popleft()
            running[workers.executor().submit(grade_in_worker, task)] = task
        if not running:
            return
        # `wait` does not count what a pool has cancelled that was closed, because one of its processes had died.
        done = {future for future in running if future.done()}
        if not (done or (done := wait(running, timeout=LOOK, return_when=FIRST_COMPLETED).done)):
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
                yield task, _reason(error)


def _is_passing(error: BaseException) -> bool:
    """Whether another try may go better: another worker, or the same one when there is more memory."""
    return _has_died(error) or isinstance(error, (CancelledError, OSError, Refused))


def _has_died(error: BaseException) -> bool:
    return isinstance(error, BrokenProcessPool) or type(error).__name__ == "KilledWorker"


def _reason(error: BaseException) -> str:
    if _has_died(error):
        return f"the process that graded it died {TRIES} times (often: too little memory for so many --workers)"
    return terminal(str(error) if isinstance(error, (Refused, Stuck)) else f"{type(error).__name__}: {error}", 400)
