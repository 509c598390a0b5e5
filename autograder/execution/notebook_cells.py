"""The cells of one notebook in a kernel: run, run again in a fresh one, and left out where they end it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.execution.limits import Limits
from autograder.execution.own_cells import SLOW, Trail, definitions, is_own, name_of, needed
from autograder.execution.student_kernel import DIED, GONE, OK, TIMED_OUT, KernelStartError, Run, StudentKernel
from autograder.labs.lab import EXAMS
from autograder.sanitize.untrusted import text
from autograder.submission.advice import advice
from autograder.submission.cell_order import again, answers, runs

PAUSES = 60.0  # seconds of a notebook to wait for what ends its kernels late
TRIALS = 120.0  # seconds of a notebook to look for what its cells have left in a kernel; a trial that has begun goes on
ASKED_TO_END = "SystemExit: this would end the kernel"  # see sandbox/guest/kernel_main.py

Attempt = Callable[[], tuple[Any, Run]]  # runs a cell, or puts an exam: what came of it, and how it ended
Found = tuple[Any, Run, float]  # the same, and its seconds


class TrapFinder(Protocol):
    """Who finds out whether another cell's trap ended a cell, see traps.py, which is one."""

    def ends(self, run: Run, /) -> bool:
        """Whether it ended in a way in which a trap may end it."""

    def without(
        self, cells: Cells, index: int, attempt: Attempt, run: Run, costly: bool = False, place: int | None = None, /
    ) -> Found | None:
        """What comes of it without the trap; None: it has none."""


class Cells:
    """A notebook's cells, the kernel that they are in, and the time that they have left.

    Attributes:
        seconds: by stage: start, cells, probes, judge, replays.
        cpu: CPU seconds of the student's code, in all kernels together; what a kernel takes to start is left out.
        spent: CPU seconds of the kernels that are gone, those of an earlier examination included.
        outputs: of each code cell that ran, by its place.
        fallback_reason: why a kernel was not forked from the template, though there is one.
        notes: sentences about what was stopped or left out, each with its cell.
        deaths: kernels that probes have ended.
        fatal: grade_id of the cells that ended a kernel.
        failures: grade_id -> status and reason of a cell that failed.
        advice: about cells that failed: what to do, and whether any name was there.
        own_left, own_cpu: seconds that own cells may still take.
        took: cell or exam -> seconds.
        reduced: cells that ended a kernel or hung -> what a replay runs instead.
        convicted: cells were left out because of a trap.
        blamed: own cells that were reduced because a kernel ended, or they hung.
        is_open: whether an exercise was asked and has points left to earn.
        traps: finds cells that end others.
        trials: seconds that are left for trials, see traps.py; in one, `quick` are those of a cell or probe.
    """

    def __init__(
        self,
        notebook: NotebookNode,
        limits: Limits,
        sandbox: bool,
        template: str,
        is_open: Callable[[str], bool],
        traps: TrapFinder,
    ) -> None:
        self.is_open, self.traps = is_open, traps
        self.notebook, self.limits, self.sandbox, self.template = notebook, limits, sandbox, template
        self.seconds = dict.fromkeys(("start", "cells", "probes", "judge", "replays"), 0.0)
        self.outputs: dict[int, list[NotebookNode]] = {}
        self.fallback_reason, self.cpu, self.deaths = "", 0.0, 0
        self.notes: list[tuple[int, str]] = []
        self.fatal: set[str] = set()
        self.failures: dict[str, tuple[str, str]] = {}
        self.advice: list[tuple[str, bool]] = []
        self.kernel: StudentKernel | None = None
        self.deadline = 0.0
        self._counted: StudentKernel | None = None  # whose CPU time is in `_spent`
        self._tried: StudentKernel | None = None  # in which the last cell was run for the first time
        self.spent = 0.0
        self.trail = Trail(0)
        self.own_left, self.own_cpu = limits.own, limits.cpu / 2
        self._pauses = PAUSES
        self._at_own_cost = False  # the last kernel was ended by an own cell
        self.took: dict[int, float] = {}
        self.reduced: dict[int, str] = {}
        self.blamed: set[int] = set()
        self.convicted = False
        self.trials, self.on_trial, self.quick = TRIALS, False, math.inf

    @property
    def running(self) -> StudentKernel:
        """The kernel, which was started; whether it is still alive is another question."""
        assert self.kernel is not None
        return self.kernel

    @property
    def alive(self) -> bool:
        """Whether there is a kernel, and it is alive."""
        return self.kernel is not None and self.kernel.alive

    def start(self) -> None:
        """A fresh kernel.

        Raises:
            KernelStartError: it did not start, which is our failure; it was tried twice.
        """
        started = time.monotonic()
        try:
            self.kernel = StudentKernel(self.limits, self.sandbox, self.spent, self.template)
        except KernelStartError:
            self.kernel = StudentKernel(self.limits, self.sandbox, self.spent)
        self.fallback_reason = self.fallback_reason or self.kernel.fallback_reason
        self.trail = Trail(self.kernel.tasks())
        self.seconds["start"] += time.monotonic() - started
        if not self.deadline:
            self.deadline = time.monotonic() + self.limits.notebook

    def take_over(self, earlier: Cells) -> None:
        """Go on from an earlier examination: what it has spent, and which answers' cells ended a kernel or hung."""
        self.spent, self.fatal = earlier.spent, set(earlier.fatal)
        for place in earlier.reduced:
            for grade_id in answers(earlier.notebook.cells[place]):
                if grade_id in earlier.failures:
                    self.failures[grade_id] = earlier.failures[grade_id]

    def leave(self) -> None:
        """Close the kernel and count what it has taken."""
        if self.kernel is None or self.kernel is self._counted:  # no other could be started meanwhile
            return
        self.kernel.close()
        self._counted = self.kernel
        taken = self.kernel.cpu_time()
        self.spent += taken
        self.cpu += max(0.0, taken - self.kernel.cpu_of_start)

    def left(self, most: float) -> float:
        """Seconds that there are for something that may take `most`."""
        return max(0.0, min(most, self.quick, self.deadline - time.monotonic()))

    def ready(self, index: int) -> str:
        """OK with a live kernel in which the earlier cells ran; else why there is none."""
        if self.left(1) <= 0:
            return TIMED_OUT
        if self.alive:
            return OK
        if self.deaths > self.limits.replays or not self._has_more(index):
            return DIED
        while self.left(1) > 0:
            if self.no_cpu():
                return TIMED_OUT
            if (ended := self.replay(index)) is None:
                return OK
            if self.traps.without(self, ended, partial(self._play_again, ended), Run(DIED)) is None:
                self._leave_out(ended, "ended the kernel when it was run again")
        return TIMED_OUT

    def _play_again(self, place: int) -> tuple[None, Run]:
        return None, self.play(place)

    def _has_more(self, index: int) -> bool:
        """Whether anything is asked from this place on, behind the cell above it included."""
        cells = self.notebook.cells
        exams = any(cell.metadata.vitedu.role in EXAMS for cell in cells[index:])
        return exams or any(self.is_open(exercise) for cell in cells[max(index - 1, 0) :] for exercise in again(cell))

    def no_cpu(self) -> bool:
        """Whether all the CPU time of the notebook is used up."""
        running = self.kernel.cpu_time() if self.kernel is not None and self.kernel is not self._counted else 0.0
        return self.spent + running >= self.limits.cpu

    def replay(self, index: int, waits: Mapping[int, float] | None = None) -> int | None:
        """Run the cells before this one in a fresh kernel; what an own cell has made necessary, own time pays.

        Args:
            waits: cell -> seconds to wait behind it, whether the kernel lasts.

        Returns:
            The cell at which, or behind which, this kernel ended, too; None when it is ready.
        """
        started, left = time.monotonic(), self.own_left
        self.leave()
        self.start()
        ended = next((place for place in self.again(index) if not self._outlives(place, waits or {})), None)
        taken = time.monotonic() - started
        self.seconds["replays"] += taken
        if self._at_own_cost:
            paid = min(taken - (left - self.own_left), max(self.own_left, 0.0))  # own cells have paid for themselves
            self.own_left -= paid
            self.deadline += paid
        self._at_own_cost = False
        return ended

    def again(self, index: int) -> Iterator[int]:
        """The places of the cells that a replay runs."""
        cells = self.notebook.cells
        for place, cell in enumerate(cells[:index]):
            if cell.cell_type != "code" or cell.metadata.vitedu.role in ("display", *EXAMS):
                continue
            if self.reduced.get(place) == "":
                continue
            if is_own(cell) and (self.own_left <= 0 or (self.took.get(place, 0.0) > SLOW and not needed(cells, place))):
                continue
            yield place

    def _outlives(self, place: int, waits: Mapping[int, float]) -> bool:
        """Run a cell again; whether the kernel lasts, for some seconds longer where that was asked."""
        run = self.play(place)
        if self.on_trial and self.traps.ends(run):
            return False
        pause = min(waits.get(place, 0.0), self._pauses)
        if not pause or not self.alive:
            return self.alive
        started = time.monotonic()
        lasts = self.running.lasts(pause)
        self._pauses -= pause
        self.deadline += time.monotonic() - started
        return lasts

    def play(self, place: int) -> Run:
        """Run a cell in the kernel that is there, within its time."""
        cell = self.notebook.cells[place]
        source, own = self.reduced.get(place, runs(cell)), is_own(cell)
        own_time = min(self.limits.cell, self.quick, max(self.own_left, 0.0))
        most = own_time if own else self.left(self.limits.cell)
        started, cpu = time.monotonic(), self.running.cpu_time() if own else 0.0
        run = self.running.run(source, most, max(self.own_cpu, 1.0) if own else math.inf)
        taken = time.monotonic() - started
        if own:  # its time is no exercise's
            self.own_left -= taken
            self.own_cpu -= self.running.cpu_time() - cpu
            self.deadline += taken
        self.ran(place, source, taken)
        if run.status == TIMED_OUT and not run.error:
            run.error = f"it took more than {most:.0f} s" if most >= self.limits.cell or own else self.no_time()
        return run

    def ran(self, place: int, source: str, taken: float) -> None:
        """Note what a cell or an exam has taken, and what it has left."""
        if not self.on_trial:
            self.took[place] = self.took.get(place, 0.0) + taken
        if self.alive:
            self.trail.ran(place, source, self.running.tasks())

    def settle(
        self, index: int, attempt: Attempt, most: float, costly: bool = False, place: int | None = None
    ) -> Found | None:
        """Make an attempt at a cell or exam, and find out who is to blame when it ends the kernel, or hangs.

        Args:
            most: seconds that it may take when there is time.
            costly: too long to be tried again and again.
            place: where it is made, if elsewhere than at `index`: when the cells before this one have run.

        Returns:
            What came of it; None when something earlier had ended the kernel, which then gets another try.
        """
        place = index if place is None else place
        full = self.left(most) >= most
        started = time.monotonic()
        found, run = attempt()
        taken = time.monotonic() - started
        if self._is_lost(run) and self._culprit(place):
            return None
        hurried = run.status == TIMED_OUT and not full  # there was no time left: no wonder
        if self.traps.ends(run) and not hurried and not is_own(self.notebook.cells[index]):
            better = self.traps.without(self, index, attempt, run, costly, place)
            if better is not None:
                self.deadline += 0.0 if costly else taken
                return better
        return found, run, taken

    def _is_lost(self, run: Run) -> bool:
        """Whether a kernel is gone by what it ran, or had to be killed while an own cell had left something running.

        What was left may have stopped the kernel or hold its lock, so that whoever runs then gets no answer.
        """
        if self.alive:
            return False
        return run.status in GONE or any(is_own(self.notebook.cells[place]) for place in self.trail.waits())

    def _culprit(self, index: int) -> bool:
        """Whether something earlier has ended the kernel that this cell or exam was in, which then gets another try.

        A fresh kernel runs the earlier cells again, and waits behind each that had left something running. One
        behind which it ends is left out from now on. If it lasts it is there, ready for the next, and who was
        there when the last one died is to blame.
        """
        waits = self.trail.waits()
        if not waits or self._pauses <= 0 or self.left(1) <= 0 or self.spent >= self.limits.cpu:
            return False
        ended = self.replay(index, waits)
        if ended is None:  # no cell has; but an answer that was asked earlier may have, which is not asked again
            return any(self.notebook.cells[place].metadata.vitedu.role in EXAMS for place in waits)
        # In the middle of a cell that it has outlived before: the last one that had left something.
        before = [place for place in waits if place <= ended]
        self._leave_out(max(before, default=ended), "ended the kernel behind itself")
        return True

    def _leave_out(self, place: int, did: str) -> None:
        """Run no more of a cell than its definitions, and where they end a kernel nothing; tell of a student's own."""
        cell, first = self.notebook.cells[place], place not in self.reduced
        self.reduced[place] = definitions(runs(cell)) if first else ""
        if is_own(cell):
            self.blamed.add(place)
            self._at_own_cost = not self.alive
            if first:
                self.note(place, did if self.alive else f"{did}; only what it defines was run from then on")
        elif not self.alive:
            self.fails(cell, f"its cell {did}")

    def fails(self, cell: NotebookNode, did: str) -> None:
        """Note that an answer's cell costs its exercise, and why."""
        grade_id = cell.metadata.nbgrader.grade_id
        self.fatal.add(grade_id)
        self.failures.setdefault(grade_id, (DIED, did))

    def note(self, place: int, did: str) -> None:
        """Keep a sentence about a cell for the student and the instructor."""
        name = name_of(self.notebook.cells, place)
        self.notes.append((place, text(f"{name[0].upper()}{name[1:]} {did}.", 300)))

    def no_time(self) -> str:
        """Why there is no time left, with the cell that took most of it."""
        sentence = f"the {self.limits.notebook:g} s of the notebook are used up"
        took = {place: seconds for place, seconds in self.took.items() if not is_own(self.notebook.cells[place])}
        if not took:
            return sentence
        place = max(took, key=took.__getitem__)
        return f"{sentence}, most of them ({took[place]:.0f} s) by {name_of(self.notebook.cells, place)}"

    def run(self, index: int) -> None:
        """Run a cell, keep its outputs, and note how it failed."""
        cell = self.notebook.cells[index]
        if is_own(cell) and (self.own_left <= 0 or self.own_cpu <= 0):
            self._skip(index)
            return
        try:
            status, run, taken = self._attempt(index)
        except KernelStartError:
            return  # the next exam tries again, and says "not graded" when there is still no kernel
        self.seconds["cells"] += taken
        self.outputs[index] = run.outputs
        if status == OK and run.status in GONE:
            reason = ": ".join(filter(None, (run.status, run.error)))
            lasts = self.kernel is self._tried and self.alive
            self._leave_out(index, f"was ended there ({reason})" if lasts else f"ended the kernel ({reason})")
            if not lasts and not is_own(cell):  # also where a fresh kernel is there already
                self.fails(cell, f"its cell ended the kernel ({reason})")
            if self.kernel is not self._tried and self.alive:  # a fresh one, in which this cell has not run
                self.play(index)
        elif status == OK and run.status == TIMED_OUT:
            self._leave_out(index, f"was stopped: {run.error}")
        elif is_own(cell) and run.error.startswith(ASKED_TO_END):
            self.note(index, "asked the kernel to end, by exit() or in another way: only the cell ended there")
        if run.status != OK:
            if status == TIMED_OUT:
                run.error = self.no_time()
            for grade_id in answers(cell):
                self.failures[grade_id] = run.status, run.error or f"its cell ended with: {run.status}"
            if sentence := advice(run.error):
                self.advice.append((sentence, "import *" in cell.source))
                run.outputs.append(new_output("stream", name="stderr", text=f"{sentence}\n"))

    def _attempt(self, index: int) -> tuple[str, Run, float]:
        """Run a cell, and once more for each earlier one that turns out to have ended its kernel.

        Returns:
            Whether there was a kernel, how it ended, and its seconds.
        """
        while (status := self.ready(index)) == OK:
            self._tried = self.kernel
            found = self.settle(index, partial(self._play_again, index), self.limits.cell)
            if found is not None:
                return OK, found[1], found[2]
        return status, Run(status), 0.0

    def _skip(self, index: int) -> None:
        """Leave an own cell out for which there is no time any more; the first time, say why."""
        if not any("time for own cells" in sentence for _, sentence in self.notes):
            took = {place: s for place, s in self.took.items() if is_own(self.notebook.cells[place])} or {index: 0.0}
            place = max(took, key=took.__getitem__)
            self.note(
                place,
                f"took {took[place]:.0f} s: the time for own cells ({self.limits.own:g} s together) is used up, and "
                "those that follow were left out",
            )
        self.reduced[index] = ""
