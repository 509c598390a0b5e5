"""Pools of processes against what happens to a grader's workers: ours, the standard library's, loky's and pebble's.

    python benchmarks/pools.py [POOL ...]        (default: ours stdlib loky pebble)

Each pool works under the product's own loop, `worker_pool.run`, with two processes. All processes begin as ours do:
they end with their parent and leave Ctrl-C to it. Every trial is a process of its own with a limit, so that a pool
that hangs costs two minutes and no more.
"""

from __future__ import annotations

import ctypes
import importlib.util
import multiprocessing
import os
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: a process with threads is not forked

import psutil

from autograder.grading import worker_pool

LIMIT = 120.0  # seconds of one trial; a busy machine needs many to import torch anew
DEADLINE, LATE = 2.0, 5.0  # seconds that a stuck job has, and that its end may take longer
GONE = 5.0  # seconds after which nothing may be left of a command that was ended
ROUNDS, HANGS = 20, 2  # where a worker is killed, which depends on chance; no more rounds after so many that hang
LARGE = 64 * 2**20
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Job:
    """Instead of a submission; its name says what becomes of whoever does it.

    Attributes:
        most: seconds that it may take.
    """

    student: str
    folder: Path
    most: float = LIMIT

    def note(self, what: str) -> None:
        """Add a line to the journal."""
        with (self.folder / "journal").open("a") as file:
            file.write(f"{what} {self.student} {os.getpid()} {time.monotonic()}\n")


def journal(folder: Path) -> list[tuple[str, str, int, float]]:
    """What was begun and done, by whom and when."""
    path = folder / "journal"
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return [(what, name, int(process), float(when)) for what, name, process, when in lines]


def work(job: Job) -> Any:
    """Do a job, or fail as its name says."""
    inherited = "inherited" in sys.modules
    job.note("begun")
    name, me = job.student, os.getpid()
    if name == "killed":
        time.sleep(0.3)
        os.kill(me, signal.SIGKILL)
    elif name == "stopped":
        os.kill(me, signal.SIGSTOP)
    elif name == "held":  # the interpreter itself, by a lock that is taken twice: no thread or handler has a turn
        library, lock = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        library.pthread_mutex_lock(lock)
        library.pthread_mutex_lock(lock)
    elif name == "asleep":
        time.sleep(3600)
    elif name in ("torn", "half-sent"):
        ending, whole = signal.SIGKILL if name == "torn" else signal.SIGSTOP, Connection._send  # type: ignore[attr-defined]

        def send(line: Connection, content: bytes) -> None:
            if len(content) < LARGE // 2:
                return whole(line, content)
            left = memoryview(content)[: len(content) // 2]
            while left:
                left = left[os.write(line.fileno(), left) :]
            os.kill(os.getpid(), ending)

        Connection._send = send  # type: ignore[attr-defined]
        return bytes(LARGE)
    elif name == "torch":
        import torch

        assert torch.ones(2).sum() == 2
        return inherited
    elif name.startswith("pair"):  # two that wait for each other need two processes
        until = time.monotonic() + LIMIT / 2
        while len({each for what, each, *_ in journal(job.folder) if each.startswith("pair")}) < 2:
            if time.monotonic() > until:
                raise RuntimeError("there is one process only")
            time.sleep(0.05)
    else:
        time.sleep(0.2)
    job.note("done")
    return True


def begin(parent: int) -> None:
    """What our own processes do first; told here so that those of loky need not import the grader for it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Stdlib:
    """concurrent.futures with forked processes."""

    count = 2
    pool: Any = None

    def executor(self) -> Any:
        return self

    def check(self) -> None: ...

    def submit(self, fn: Callable[..., Any], job: Job) -> Future[Any]:
        """As executors do it; in a new pool, when the last has broken down."""
        try:
            self.pool = self.pool or self.start()
            return self.send(fn, job)
        except RuntimeError:
            self.close()
            self.pool = self.start()
            return self.send(fn, job)

    def start(self) -> Any:
        return ProcessPoolExecutor(self.count, fork, begin, (os.getpid(),))

    def send(self, fn: Callable[..., Any], job: Job) -> Future[Any]:
        return self.pool.submit(fn, job)

    def close(self) -> None:
        if self.pool:
            for process in list((self.pool._processes or {}).values()):
                process.kill()
            self.pool.shutdown(cancel_futures=True)
            self.pool = None


class Loky(Stdlib):
    """Its processes are started anew: it advises against forking."""

    def start(self) -> Any:
        from loky import ProcessPoolExecutor as Pool

        return Pool(self.count, initializer=begin, initargs=(os.getpid(),))

    def close(self) -> None:
        if self.pool:
            self.pool.shutdown(kill_workers=True)
            self.pool = None


class Pebble(Stdlib):
    """The one that has a deadline for each job, as ours does."""

    def start(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(self.count, initializer=begin, initargs=(os.getpid(),), context=fork)

    def send(self, fn: Callable[..., Any], job: Job) -> Future[Any]:
        from pebble import ProcessExpired

        ours: Future[Any] = Future()

        def translate(theirs: Future[Any]) -> None:
            error = theirs.exception()
            if error is None:
                ours.set_result(theirs.result())
            elif isinstance(error, TimeoutError):
                ours.set_exception(worker_pool.Stuck(f"took more than {job.most:.0f} s"))
            else:
                ours.set_exception(BrokenProcessPool() if isinstance(error, ProcessExpired) else error)

        self.pool.schedule(fn, (job,), timeout=job.most).add_done_callback(translate)
        return ours

    def close(self) -> None:
        if self.pool:
            self.pool.stop()
            self.pool.join()
            self.pool = None


POOLS: dict[str, Callable[[], Any]] = {
    "ours": partial(worker_pool.Processes, 2), "stdlib": Stdlib, "loky": Loky, "pebble": Pebble
}  # fmt: skip
Seen = tuple[bool, str]


def graded(workers: Any, *jobs: Any) -> dict[str, Any]:
    """What came of each job."""
    return {job.student: outcome for job, outcome in worker_pool.run(workers, jobs)}


def class_with(bad: str, pool: str, folder: Path, most: float = LIMIT) -> Seen:
    """One bad job among five others, then two that need both processes."""
    workers = POOLS[pool]()
    outcomes: dict[str, Any] = {}
    told = 0.0
    jobs: list[Any] = [Job(name, folder, most if name == bad else LIMIT) for name in ("a", bad, *"bcde")]
    for job, outcome in worker_pool.run(workers, jobs):
        outcomes[job.student] = outcome
        told = time.monotonic() if job.student == bad else told
    pair = graded(workers, Job("pair1", folder), Job("pair2", folder))
    lines = journal(folder)
    begun, done = (Counter(name for what, name, *_ in lines if what == each) for each in ("begun", "done"))
    alive = [who for what, name, who, _ in lines if (what, name) == ("begun", bad) and is_alive(who)]
    workers.close()
    first = min(when for what, name, _, when in lines if (what, name) == ("begun", bad))
    others, sentence = [outcomes[name] for name in "abcde"], str(outcomes[bad])
    clear = ("died 3 times" if most == LIMIT else "took more than") in sentence
    on_time = most == LIMIT or told - first < most + LATE
    again, twice = (sum(count[name] > 1 for name in "abcde") for count in (begun, done))
    held = others == [True] * 5 and not twice and clear and on_time and not alive
    seen = [f"{others.count(True)} of 5 others done", f"{again} begun again", f"{twice} done twice"]
    seen += [f"told after {told - first:.1f} s"]
    seen += ["" if clear else f'"{sentence[:60]}"', "it is still there" if alive else ""]
    seen += ["" if (on := set(pair.values()) == {True}) else f"then: {pair}"]
    return held and on, ", ".join(filter(None, seen))


def is_alive(process: int) -> bool:
    """Whether there is such a process, and not only what is left of it."""
    with suppress(psutil.Error):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False


def inherits(pool: str, folder: Path) -> Seen:
    """Seconds until torch has computed something in a new pool, three times."""
    import torch  # noqa: F401

    sys.modules["inherited"] = types.ModuleType("inherited")  # no process that starts anew can import it
    seconds, inherited = [], []
    for _ in range(3):
        started = time.monotonic()
        workers = POOLS[pool]()
        inherited.append(graded(workers, Job("torch", folder))["torch"])
        seconds.append(time.monotonic() - started)
        workers.close()
    return inherited == [True] * 3, f"first result after {median(seconds):.2f} s"


def endless(pool: str, folder: Path) -> None:
    """A command whose two jobs do not end, the leader of its group, as in a terminal."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    workers = POOLS[pool]()
    with suppress(KeyboardInterrupt):
        graded(workers, Job("asleep", folder), Job("held", folder))
    workers.close()


def ended(by: signal.Signals, pool: str, folder: Path) -> Seen:
    """The command gets a signal (and its group, from Ctrl-C); what is left after some seconds?"""
    command = fork.Process(target=endless, args=(pool, folder))
    command.start()
    while len(journal(folder)) < 2:
        time.sleep(0.05)
    time.sleep(0.5)  # both are inside
    started = time.monotonic()
    assert command.pid
    (os.killpg if by == signal.SIGINT else os.kill)(command.pid, by)
    command.join()
    took = time.monotonic() - started
    _, left = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=max(GONE - took, 0.1))
    seen = f"the command ended after {took:.1f} s, {len(left)} processes left after {max(took, GONE):.0f} s"
    return took < GONE and not left, seen


def torn(pool: str, folder: Path) -> Seen:
    """One round of a worker that is killed with half of a large result sent."""
    workers = POOLS[pool]()
    outcomes = graded(workers, *(Job(name, folder) for name in ("a", "torn", *"bc")))
    workers.close()
    told = outcomes.pop("torn")
    done = list(outcomes.values()).count(True)
    return done == 3 and "died 3 times" in str(told), f"{done} of 3 others done"


TRIALS: dict[str, Callable[[str, Path], Seen]] = {
    "killed at work": partial(class_with, "killed"),
    "killed while it sends": torn,
    "stopped": partial(class_with, "stopped", most=DEADLINE),
    "holds the interpreter": partial(class_with, "held", most=DEADLINE),
    "stopped while it sends": partial(class_with, "half-sent", most=DEADLINE),
    "inherits imports": inherits,
    "parent killed": partial(ended, signal.SIGKILL),
    "Ctrl-C": partial(ended, signal.SIGINT),
}


def attempt(trial: str, pool: str) -> Seen:
    """A trial in a process of its own, of which nothing stays behind; without an answer it hung."""
    with TemporaryDirectory() as folder:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=answer, args=(theirs, trial, pool, Path(folder)))
        process.start()
        theirs.close()
        try:
            seen = ours.recv() if ours.poll(LIMIT) else (False, f"hung: no end after {LIMIT:.0f} s")
        except EOFError:
            seen = False, "the trial itself broke down"
        while rest := psutil.Process().children(recursive=True):
            for each in rest:
                with suppress(psutil.Error):
                    each.kill()
            psutil.wait_procs(rest, timeout=1)
        return seen


def answer(line: Connection, trial: str, pool: str, folder: Path) -> None:
    """Do a trial and send what was seen."""
    adopt()
    try:
        line.send(TRIALS[trial](pool, folder))
    except Exception as error:
        line.send((False, f"{type(error).__name__}: {error}"))


def adopt() -> None:
    """Have processes that lose their parent below this one come to it, so that they can be counted and ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def repeated(trial: str, pool: str) -> Seen:
    """A trial that depends on chance, many times; the others once."""
    if not trial.startswith("killed"):
        return attempt(trial, pool)
    found: list[Seen] = []
    while len(found) < ROUNDS and sum("hung" in seen for _, seen in found) < HANGS:
        found.append(attempt(trial, pool))
    bad = [seen for held, seen in found if not held]
    return not bad, f"right in {len(found) - len(bad)} of {len(found)} rounds; one: {(bad or [found[-1][1]])[0]}"


def main(pools: list[str]) -> None:
    """Print a line for each trial of each pool."""
    if unknown := set(pools) - POOLS.keys():
        sys.exit(f"no such pool: {', '.join(sorted(unknown))}; there are {', '.join(POOLS)}")
    if missing := [name for name in pools if name in ("loky", "pebble") and not importlib.util.find_spec(name)]:
        sys.exit(f"not installed: {', '.join(missing)}; to compare with it, run: pip install {' '.join(missing)}")
    adopt()
    worker_pool.grade_in_worker = work  # type: ignore[assignment]
    print(f"{'trial':24}{'pool':8}{'held':6}what was seen")
    for trial in TRIALS:
        for pool in pools:
            held, seen = repeated(trial, pool)
            print(f"{trial:24}{pool:8}{'yes' if held else 'NO':6}{seen}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(POOLS))
