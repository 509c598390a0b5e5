"""Examine one rebuilt notebook: run its cells in a kernel, put the probes, let the judge decide."""

from __future__ import annotations

import ast
import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output

from vitedu.probe import Case, asks_for_float32

from .advice import advice, undefined, unknown_name
from .arrange import again, answer_to, answers, runs
from .bindings import defined, used
from .exam import Draw, Exercise, variant_of
from .judge import Reply, judge, signature
from .kernel import DIED, GONE, NO_MEMORY, OK, OUT_OF_MEMORY, TIMED_OUT, KernelStartError, Limits, Run, StudentKernel
from .lab import Lab
from .reference import Reference
from .trail import SLOW, Trail, definitions, is_own, name_of, needed
from .untrusted import text
from .verdict import ERROR, GRADED, NOT_ANSWERED, NOT_GRADED, CaseVerdict, Verdict

ENDINGS = {
    DIED: "the kernel died while this was examined",
    TIMED_OUT: "there was no answer in time",
    OUT_OF_MEMORY: "it took more memory than there is for a notebook",
}
EXAMINED = ("exam", "check")  # a check cell is an extra's: it is examined like the rest, and earns no points
COMMON = "common"  # the variant that is the same for all; it earns no points
PAUSES = 60.0  # seconds of a notebook to wait for what ends its kernels late
ASKED_TO_END = "SystemExit: this would end the kernel"  # see vitedu/boxed.py


@dataclass
class Examination:
    """What came of one notebook.

    Attributes:
        outputs: of each code cell that ran, by its place in the notebook.
        seconds: by stage: start, cells, probes, judge, replays.
        cpu: CPU seconds of the student's code, in all kernels together; what a kernel takes to start is left out.
        trained: names of the files with trained answers that it used or wrote.
        cold: why a kernel was not forked from the template, though there is one.
        told: sentences about the student's own cells that were stopped or left out.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    outputs: dict[int, list[NotebookNode]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    trained: list[str] = field(default_factory=list)
    cold: str = ""
    told: list[str] = field(default_factory=list)


def examine(
    notebook: NotebookNode,
    lab: Lab,
    reference: Reference,
    student: str,
    secret: bytes,
    limits: Limits | None = None,
    kept: Path | None = None,
    sandbox: bool = True,
    template: str = "",
) -> Examination:
    """Run and judge a rebuilt notebook (see rebuild.py); never raises for anything the student did.

    Args:
        student: decides the variants, with the course secret.
        kept: folder in which trained answers are kept, so that a regrade need not train again.
        sandbox: without, the student's code runs as the user who grades.
        template: address of a preloaded process that kernels are forked from, see warm.py.
    """
    return _Sitting(notebook, lab, reference, student, secret, limits or Limits(), kept, sandbox, template).hold()


def unexamined(notebook: NotebookNode, reason: str) -> Examination:
    """What comes of a notebook in which nothing can be graded: no score until a person has looked, and no kernel."""
    sitting = Examination()
    for cell in notebook.cells:
        if cell.metadata.vitedu.role in EXAMINED:
            sitting.verdicts.append(_verdict(cell, NOT_GRADED, None, reason))
    return sitting


def ask_exercise(kernel: StudentKernel, cases: list[Case], seconds: float) -> tuple[list[Reply], Run]:
    """Put all cases of an exercise; those with a dtype trouble once more, in float32.

    Only a fact about dtypes leads to a second question, never a value, and no verdict.
    """
    run = kernel.ask(cases, torch.float64, seconds)
    replies = [Reply(run.answers.get(i)) for i in range(len(cases))]
    again = [i for i, reply in enumerate(replies) if reply.answer is not None and asks_for_float32(reply.answer)]
    if again and run.status == OK:
        run = kernel.ask([cases[i] for i in again], torch.float32, seconds)
        for place, i in enumerate(again):
            replies[i] = Reply(run.answers.get(place), torch.float32)
    return replies, run


def library_remarks(source: str, library: tuple[str, ...]) -> list[str]:
    """A remark when an answer leaves its work to a library: `F.name(...)`, or an imported name."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.name for node in nodes if isinstance(node, ast.alias)}
    return [
        f"{name} of the library does the work here. That costs nothing, but write it yourself to learn it."
        for name in library
        if name in used
    ]


class _Sitting:
    """The examination of one notebook, with the kernel it is in and the time that it has left."""

    def __init__(
        self,
        notebook: NotebookNode,
        lab: Lab,
        reference: Reference,
        student: str,
        secret: bytes,
        limits: Limits,
        kept: Path | None,
        sandbox: bool,
        template: str,
    ) -> None:
        self.notebook, self.lab, self.reference, self.limits = notebook, lab, reference, limits
        self.student, self.secret, self.kept, self.sandbox, self.template = student, secret, kept, sandbox, template
        self.done = Examination(seconds=dict.fromkeys(("start", "cells", "probes", "judge", "replays"), 0.0))
        self.kernel: StudentKernel | None = None
        self.counted: StudentKernel | None = None  # whose CPU time is in `spent`
        self.tried: StudentKernel | None = None  # in which the last cell was run for the first time
        self.trail = Trail(0)
        self.deadline = 0.0
        self.own_left, self.own_cpu = limits.own, limits.cpu / 2  # seconds that own cells may still take
        self.pauses = PAUSES
        self.deaths = 0  # by probes
        self.at_own_cost = False  # the last kernel was ended by an own cell
        self.spent = 0.0  # CPU seconds of the kernels that are gone
        self.took: dict[int, float] = {}  # cell or exam -> seconds
        self.reduced: dict[int, str] = {}  # cells that ended a kernel or hung -> what a replay runs instead
        self.fatal: set[str] = set()  # grade_id of those that ended a kernel
        self.failures: dict[str, tuple[str, str]] = {}  # grade_id -> status and reason of a cell that failed
        self.advice: list[tuple[str, bool]] = []  # about cells that failed: what to do, and whether any name was there
        self.named: dict[str, str] = {}  # exercise -> the idea found in it, see exam.Exercise

    def hold(self) -> Examination:
        """Go through the notebook from top to bottom."""
        try:
            self._start()
        except KernelStartError as error:
            for cell in self._exams():
                self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
            return self.done
        try:
            for index, cell in enumerate(self.notebook.cells):
                if cell.cell_type != "code" or cell.metadata.vitedu.role == "display":
                    continue
                if cell.metadata.vitedu.role in EXAMINED:
                    self._examine(index, cell)
                else:
                    self._run(index, cell)
                    self._ask_again(index, cell)
        finally:
            if self.kernel is not None:
                self._leave()
        return self.done

    def _exams(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.metadata.vitedu.role in EXAMINED]

    def _start(self) -> None:
        """A fresh kernel; a failure to start one is ours, and is tried twice."""
        started = time.monotonic()
        try:
            self.kernel = StudentKernel(self.limits, self.sandbox, self.spent, self.template)
        except KernelStartError:
            self.kernel = StudentKernel(self.limits, self.sandbox, self.spent)
        self.done.cold = self.done.cold or self.kernel.cold
        self.trail = Trail(self.kernel.tasks())
        self.done.seconds["start"] += time.monotonic() - started
        if not self.deadline:
            self.deadline = time.monotonic() + self.limits.notebook

    def _leave(self) -> None:
        """Close the kernel and count what it has taken."""
        if self.kernel is self.counted:  # no other could be started meanwhile
            return
        self.kernel.close()
        self.counted = self.kernel
        taken = self.kernel.cpu_time()
        self.spent += taken
        self.done.cpu += max(0.0, taken - self.kernel.cpu_of_start)

    def _left(self, most: float) -> float:
        return max(0.0, min(most, self.deadline - time.monotonic()))

    def _ready(self, index: int) -> str:
        """OK with a live kernel in which the earlier cells ran; else why there is none."""
        if self._left(1) <= 0:
            return TIMED_OUT
        if self.kernel.alive:
            return OK
        if self.deaths > self.limits.replays or not self._has_more(index):
            return DIED
        while self._left(1) > 0:
            if self.spent + self.kernel.cpu_time() >= self.limits.cpu:
                return TIMED_OUT
            if (ended := self._replay(index)) is None:
                return OK
            self._leave_out(ended, "ended the kernel when it was run again")
        return TIMED_OUT

    def _has_more(self, index: int) -> bool:
        """Whether anything is asked from this place on, behind the cell above it included."""
        cells = self.notebook.cells
        exams = any(cell.metadata.vitedu.role in EXAMINED for cell in cells[index:])
        return exams or any(self._open(exercise) for cell in cells[max(index - 1, 0) :] for exercise in again(cell))

    def _open(self, exercise: str) -> bool:
        """Whether an exercise was asked and has points left to earn."""
        found = [verdict for verdict in self.done.verdicts if verdict.exercise == exercise]
        return any(v.points is not None and v.points < v.max_points for v in found)

    def _replay(self, index: int, waits: Mapping[int, float] | None = None) -> int | None:
        """Run the cells before this one in a fresh kernel; what an own cell has made necessary, own time pays.

        Args:
            waits: cell -> seconds to wait behind it, whether the kernel lasts.

        Returns:
            The cell at which, or behind which, this kernel ended, too; None when it is ready.
        """
        started, left = time.monotonic(), self.own_left
        self._leave()
        self._start()
        ended = next((place for place in self._again(index) if not self._outlives(place, waits or {})), None)
        taken = time.monotonic() - started
        self.done.seconds["replays"] += taken
        if self.at_own_cost:
            paid = min(taken - (left - self.own_left), max(self.own_left, 0.0))  # own cells have paid for themselves
            self.own_left -= paid
            self.deadline += paid
        self.at_own_cost = False
        return ended

    def _again(self, index: int) -> Iterator[int]:
        """The places of the cells that a replay runs."""
        cells = self.notebook.cells
        for place, cell in enumerate(cells[:index]):
            if cell.cell_type != "code" or cell.metadata.vitedu.role in ("display", *EXAMINED):
                continue
            if self.reduced.get(place) == "":
                continue
            if is_own(cell) and (
                self.own_left <= 0 or (self.took.get(place, 0.0) > SLOW and not needed(cells, place))
            ):
                continue
            yield place

    def _outlives(self, place: int, waits: Mapping[int, float]) -> bool:
        """Run a cell again; whether the kernel lasts, for some seconds longer where that was asked."""
        self._play(place)
        pause = min(waits.get(place, 0.0), self.pauses)
        if not pause or not self.kernel.alive:
            return self.kernel.alive
        started = time.monotonic()
        lasts = self.kernel.lasts(pause)
        self.pauses -= pause
        self.deadline += time.monotonic() - started
        return lasts

    def _play(self, place: int) -> Run:
        """Run a cell in the kernel that is there, within its time."""
        cell = self.notebook.cells[place]
        source, own = self.reduced.get(place, runs(cell)), is_own(cell)
        most = min(self.limits.cell, max(self.own_left, 0.0)) if own else self._left(self.limits.cell)
        started, cpu = time.monotonic(), self.kernel.cpu_time() if own else 0.0
        run = self.kernel.run(source, most, max(self.own_cpu, 1.0) if own else math.inf)
        taken = time.monotonic() - started
        if own:  # its time is no exercise's
            self.own_left -= taken
            self.own_cpu -= self.kernel.cpu_time() - cpu
            self.deadline += taken
        self.took[place] = self.took.get(place, 0.0) + taken
        if self.kernel.alive:
            self.trail.ran(place, source, self.kernel.tasks())
        if run.status == TIMED_OUT and not run.error:
            run.error = f"it took more than {most:.0f} s" if most >= self.limits.cell or own else self._no_time()
        return run

    def _is_lost(self, run: Run) -> bool:
        """Whether a kernel is gone by what it ran, or had to be killed while an own cell had left something running.

        What was left may have stopped the kernel or hold its lock, so that whoever runs then gets no answer.
        """
        if self.kernel.alive:
            return False
        return run.status in GONE or any(is_own(self.notebook.cells[place]) for place in self.trail.waits())

    def _culprit(self, index: int) -> bool:
        """Whether something earlier has ended the kernel that this cell or exam was in, which then gets another try.

        A fresh kernel runs the earlier cells again, and waits behind each that had left something running. One
        behind which it ends is left out from now on. If it lasts it is there, ready for the next, and who was
        there when the last one died is to blame.
        """
        waits = self.trail.waits()
        if not waits or self.pauses <= 0 or self._left(1) <= 0 or self.spent >= self.limits.cpu:
            return False
        ended = self._replay(index, waits)
        if ended is None:  # no cell has; but an answer that was asked earlier may have, which is not asked again
            return any(self.notebook.cells[place].metadata.vitedu.role in EXAMINED for place in waits)
        # In the middle of a cell that it has outlived before: the last one that had left something.
        before = [place for place in waits if place <= ended]
        self._leave_out(max(before, default=ended), "ended the kernel behind itself")
        return True

    def _leave_out(self, place: int, did: str) -> None:
        """Run no more of a cell than its definitions, and where they end a kernel nothing; tell of a student's own."""
        cell, first = self.notebook.cells[place], place not in self.reduced
        self.reduced[place] = definitions(cell.source) if first else ""
        if is_own(cell):
            self.at_own_cost = not self.kernel.alive
            if first:
                self._tell(place, did if self.kernel.alive else f"{did}; only what it defines was run from then on")
        elif not self.kernel.alive:
            grade_id = cell.metadata.nbgrader.grade_id
            self.fatal.add(grade_id)
            self.failures.setdefault(grade_id, (DIED, f"its cell {did}"))

    def _tell(self, place: int, did: str) -> None:
        name = name_of(self.notebook.cells, place)
        self.done.told.append(text(f"{name[0].upper()}{name[1:]} {did}.", 300))

    def _no_time(self) -> str:
        """Why there is no time left, with the cell that took most of it."""
        told = f"the {self.limits.notebook:g} s of the notebook are used up"
        took = {place: seconds for place, seconds in self.took.items() if not is_own(self.notebook.cells[place])}
        if not took:
            return told
        place = max(took, key=took.get)
        return f"{told}, most of them ({took[place]:.0f} s) by {name_of(self.notebook.cells, place)}"

    def _run(self, index: int, cell: NotebookNode) -> None:
        if is_own(cell) and (self.own_left <= 0 or self.own_cpu <= 0):
            self._skip(index)
            return
        try:
            status, run, taken = self._attempt(index)
        except KernelStartError:
            return  # the next exam tries again, and says "not graded" when there is still no kernel
        self.done.seconds["cells"] += taken
        self.done.outputs[index] = run.outputs
        if status == OK and run.status in GONE:
            why = ": ".join(filter(None, (run.status, run.error)))
            lasts = self.kernel is self.tried and self.kernel.alive
            self._leave_out(index, f"was ended there ({why})" if lasts else f"ended the kernel ({why})")
            if self.kernel is not self.tried and self.kernel.alive:  # a fresh one, in which this cell has not run
                self._play(index)
        elif status == OK and run.status == TIMED_OUT:
            self._leave_out(index, f"was stopped: {run.error}")
        elif is_own(cell) and run.error.startswith(ASKED_TO_END):
            self._tell(index, "asked the kernel to end, by exit() or in another way: only the cell ended there")
        if run.status != OK:
            if status == TIMED_OUT:
                run.error = self._no_time()
            for grade_id in answers(cell):
                self.failures[grade_id] = run.status, run.error or f"its cell ended with: {run.status}"
            if said := advice(run.error):
                self.advice.append((said, "import *" in cell.source))
                run.outputs.append(new_output("stream", name="stderr", text=f"{said}\n"))

    def _attempt(self, index: int) -> tuple[str, Run, float]:
        """Run a cell, and once more for each earlier one that turns out to have ended its kernel.

        Returns:
            Whether there was a kernel, how it ended, and its seconds.
        """
        while (status := self._ready(index)) == OK:
            started = time.monotonic()
            self.tried = self.kernel
            run = self._play(index)
            if not self._is_lost(run) or not self._culprit(index):
                return OK, run, time.monotonic() - started
        return status, Run(status), 0.0

    def _skip(self, index: int) -> None:
        """Leave an own cell out for which there is no time any more; the first time, say why."""
        if not any("time for own cells" in sentence for sentence in self.done.told):
            took = {place: s for place, s in self.took.items() if is_own(self.notebook.cells[place])} or {index: 0.0}
            place = max(took, key=took.get)
            self._tell(
                place,
                f"took {took[place]:.0f} s: the time for own cells ({self.limits.own:g} s together) is used up, and "
                "those that follow were left out",
            )
        self.reduced[index] = ""

    def _ask_again(self, index: int, cell: NotebookNode) -> None:
        """Ask what a cell makes something else of behind its exam, where that was not right; the better one counts.

        What is wrong at its check may be put right further below; what is right there is no worse for experiments.
        """
        better: set[str] = set()  # names
        for place, exam in enumerate(self.notebook.cells[: index + 1]):
            if exam.metadata.vitedu.role not in EXAMINED or not self._open(exercise := exam.metadata.vitedu.exercise):
                continue
            at = next(i for i, verdict in enumerate(self.done.verdicts) if verdict.exercise == exercise)
            uses = better and self.done.verdicts[at].status != NOT_ANSWERED
            follows = uses and better & used(answer_to(self.notebook, exercise))
            if self.lab.exercise(exercise).trained or not (follows or exercise in again(cell)):
                continue
            named = dict(self.named)
            self.named.pop(exercise, None)
            self._examine(place, exam, index + 1)
            new = self.done.verdicts.pop()
            if (new.points or 0) > self.done.verdicts[at].points:
                self.done.verdicts[at] = new
                better |= defined(answer_to(self.notebook, exercise))
                self.done.told.append(f"{exercise} is better further below than at its check; the better one counts.")
            else:
                self.named = named

    def _examine(self, index: int, cell: NotebookNode, place: int | None = None) -> None:
        """Put an exam and judge it.

        Args:
            index: its place in the notebook.
            place: where it is put, if elsewhere: when the cells before this one have run.
        """
        place = index if place is None else place
        exercise = self.lab.exercise(cell.metadata.vitedu.exercise)
        if exercise.trained:
            self._examine_trained(index, exercise, cell)
            return
        draw = Draw(self.secret, exercise.id, variant_of(self.secret, self.student, exercise.id))
        cases = self.reference.cases(exercise, draw)
        try:
            replies, run, taken = self._ask(index, place, exercise.id, cases)
        except KernelStartError as error:
            self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
            return
        status, why = (GRADED, "") if run.status in (OK, ERROR) else (run.status, run.error)
        probed = time.monotonic()
        failure, reason = self.failures.get(exercise.id, ("", ""))
        reason = reason or why or ENDINGS.get(status, "")
        verdict = self._add(cell, status=status, points=0.0, reason=reason)
        verdict.variant = int(draw.key[2])
        verdict.remarks += library_remarks(answer_to(self.notebook, exercise.id), exercise.library)
        judge(self.reference, exercise, draw, replies, self.named, verdict)
        errors = [r.answer.error for r in replies if r.answer is not None and r.answer.status == "error"]
        if verdict.status == ERROR and all(NO_MEMORY.search(f"{e['type']} {e['message']}") for e in errors):
            verdict.status = OUT_OF_MEMORY
        if verdict.status == NOT_ANSWERED and failure:  # it was answered, but its cell did not get through
            verdict.status = failure
        verdict.remarks += self._advice(verdict, index)
        if verdict.idea:
            self.named[exercise.id] = verdict.idea
        verdict.seconds = {"probe": taken, "judge": time.monotonic() - probed}
        self.done.seconds["probes"] += verdict.seconds["probe"]
        self.done.seconds["judge"] += verdict.seconds["judge"]
        self._ask_common(index, place, exercise, verdict)

    def _ask(self, index: int, place: int, exercise: str, cases: list[Case]) -> tuple[list[Reply], Run, float]:
        """Put the cases of an exam, as `_attempt` runs a cell; how that ended, with why, and its seconds.

        Args:
            index, place: see `_examine`.

        Raises:
            KernelStartError: there is no kernel.
        """
        nothing = [Reply(None)] * len(cases)
        while True:
            status = self._ready(place)
            if exercise in self.fatal:  # its own affair, though what else it defines stays for the others
                return nothing, Run(self.failures[exercise][0]), 0.0
            if status != OK:
                why = self._no_time() if status == TIMED_OUT else ""
                return nothing, Run(status, error=why), 0.0
            started, most = time.monotonic(), self._left(self.limits.probe)
            replies, run = ask_exercise(self.kernel, cases, most)
            taken = time.monotonic() - started
            self.took[index] = self.took.get(index, 0.0) + taken
            if self._is_lost(run) and self._culprit(place):
                continue
            if run.status in GONE:
                self.deaths += 1
            elif self.kernel.alive:
                self.trail.ran(index, "", self.kernel.tasks())
            if run.status == TIMED_OUT and most < self.limits.probe:
                run.error = run.error or self._no_time()
            return replies, run, taken

    def _examine_trained(self, index: int, exercise: Exercise, cell: NotebookNode) -> None:
        """An accuracy exam: train in the student's kernel, or take what an earlier grading kept."""
        from . import attempts, trained  # they read Lab 4's exams: only the labs that train need them
        from .trained_exams import trained_exam

        exam = trained_exam(exercise.id)
        variant = variant_of(self.secret, self.student, exercise.id)
        content = attempts.notebook_hash(self.notebook)
        draw = exam.draw(self.secret, variant, content)
        name = trained.key(content, draw, variant, exam.version())
        held = trained.load(self.kept, name) if self.kept else None
        started, why, status = time.monotonic(), "", OK
        while held is None:
            try:
                if (status := self._ready(index)) != OK:
                    why = self._no_time() if status == TIMED_OUT else ""
                    break
                begun = time.monotonic()
                held, status, why = exam.hold(self.kernel, draw, self.limits)
                self.deadline += time.monotonic() - begun  # training has limits of its own
                if status in GONE and self._culprit(index):
                    held = None
                    continue
            except KernelStartError as error:
                self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
                return
            self.deaths += status in GONE
            if self.kept and status in (OK, ERROR):
                trained.store(self.kept, name, held)
        if self.kept and held is not None:
            self.done.trained.append(trained.file_name(name))
        learned = time.monotonic()
        verdict = self._add(cell, status=GRADED, points=0.0, reason="")
        verdict.variant = variant
        if held is None or status in ENDINGS:
            verdict.status, verdict.reason = status, why or ENDINGS[status]
        else:
            earned = {v.exercise: v.points for v in self.done.verdicts}
            outcome = exam.judge(self.reference, draw, held, self.named, earned)
            verdict.status, verdict.diagnoses = outcome.status, outcome.diagnoses
            verdict.points = round(verdict.max_points * outcome.points / exam.tiers, 2)
            verdict.reason = outcome.notes[0].rstrip(".") if outcome.status == ERROR else ""
            verdict.cases = [
                CaseVerdict("accuracy on hidden images", outcome.points == exam.tiers, 1.0, told)
                for told in outcome.notes[:1]
            ]
            verdict.remarks += outcome.notes[1:]
        failure, reason = self.failures.get(exercise.id, ("", ""))
        if verdict.status == NOT_ANSWERED and failure:
            verdict.status, verdict.reason = failure, reason
        verdict.seconds = {"probe": learned - started, "judge": time.monotonic() - learned}
        self.done.seconds["probes"] += verdict.seconds["probe"]
        self.done.seconds["judge"] += verdict.seconds["judge"]

    def _ask_common(self, index: int, place: int, exercise: Exercise, verdict: Verdict) -> None:
        """Put the variant common to the class, so that equal unexplained answers can be grouped."""
        if not self.kernel.alive or self._left(1) <= 0 or verdict.status in ENDINGS:
            return
        cases = self.reference.cases(exercise, Draw(self.secret, exercise.id, COMMON))
        started = time.monotonic()
        replies, run = ask_exercise(self.kernel, cases, self._left(self.limits.probe))
        self.done.seconds["probes"] += time.monotonic() - started
        if self.kernel.alive:
            self.trail.ran(index, "", self.kernel.tasks())
        with contextlib.suppress(KernelStartError):  # the next exam tries again, and tells
            self.deaths += run.status in GONE and not self._culprit(place)
        wrong = any(not case.right for case in verdict.cases)
        if wrong and not verdict.diagnoses and verdict.status == GRADED:
            verdict.signature = signature(replies, cases)

    def _advice(self, verdict: Verdict, index: int) -> list[str]:
        """What to do about an error in this exercise that comes from elsewhere: a file, or another cell."""
        said = [verdict.reason, *(case.note for case in verdict.cases if not case.right)]
        found = [told for text in said if (told := advice(text))]
        unknown = any("NameError" in text for text in said)
        found += [told for told, any_name in self.advice if unknown or (any_name and verdict.status == NOT_ANSWERED)]
        found += [told for text in said if (told := unknown_name(text, self.notebook.cells, index))]
        if verdict.status == NOT_ANSWERED:
            stub = next(cell.source for cell in self.lab.cells if cell.grade_id == verdict.exercise)
            found += filter(None, [undefined(defined(stub), self.notebook.cells, verdict.exercise)])
        return list(dict.fromkeys(found))[:3]

    def _add(self, cell: NotebookNode, status: str, points: float | None, reason: str) -> Verdict:
        verdict = _verdict(cell, status, points, reason)
        self.done.verdicts.append(verdict)
        return verdict


def _verdict(cell: NotebookNode, status: str, points: float | None, reason: str) -> Verdict:
    """A verdict on an exam's cell."""
    return Verdict(
        exercise=cell.metadata.vitedu.exercise, grade_id=cell.metadata.nbgrader.grade_id, status=status,
        points=points, max_points=float(cell.metadata.nbgrader.get("points", 0)), reason=reason,
    )  # fmt: skip
