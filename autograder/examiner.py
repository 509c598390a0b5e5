"""Examine one rebuilt notebook: run its cells in a kernel, put the probes, let the judge decide."""

from __future__ import annotations

import ast
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from nbformat import NotebookNode
from nbformat.v4 import new_output

from vitedu.probe import Case, asks_for_float32

from .advice import advice, unknown_name
from .arrange import answer_to, answers, runs
from .exam import Draw, Exercise, variant_of
from .judge import Reply, judge, signature
from .kernel import DIED, GONE, NO_MEMORY, OK, OUT_OF_MEMORY, TIMED_OUT, KernelStartError, Limits, Run, StudentKernel
from .lab import Lab
from .reference import Reference
from .verdict import ERROR, GRADED, NOT_ANSWERED, NOT_GRADED, CaseVerdict, Verdict

ENDINGS = {
    DIED: "the kernel died while this was examined",
    TIMED_OUT: "there was no answer in time",
    OUT_OF_MEMORY: "it took more memory than there is for a notebook",
}
EXAMINED = ("exam", "check")  # a check cell is an extra's: it is examined like the rest, and earns no points
COMMON = "common"  # the variant that is the same for all; it earns no points


@dataclass
class Examination:
    """What came of one notebook.

    Attributes:
        outputs: of each code cell that ran, by its place in the notebook.
        seconds: by stage: start, cells, probes, judge, replays.
        cpu: CPU seconds of the student's code, in all kernels together; what a kernel takes to start is left out.
        trained: names of the files with trained answers that it used or wrote.
        cold: why a kernel was not forked from the template, though there is one.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    outputs: dict[int, list[NotebookNode]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    trained: list[str] = field(default_factory=list)
    cold: str = ""


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
        self.deadline = 0.0
        self.kernels = 0
        self.spent = 0.0  # CPU seconds of the kernels that are gone
        self.killers: set[int] = set()  # cells that a replay leaves out: they died or hung
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
        self.kernels += 1
        self.done.seconds["start"] += time.monotonic() - started
        if not self.deadline:
            self.deadline = time.monotonic() + self.limits.notebook

    def _leave(self) -> None:
        """Close the kernel and count what it has taken."""
        self.kernel.close()
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
        if self.kernels > self.limits.replays:
            return DIED
        self._leave()
        if self.spent >= self.limits.cpu:
            return TIMED_OUT
        self._start()
        started = time.monotonic()
        for place, cell in enumerate(self.notebook.cells[:index]):
            if (
                cell.cell_type == "code"
                and cell.metadata.vitedu.role not in ("display", *EXAMINED)
                and place not in self.killers
            ):
                self.kernel.run(runs(cell), self._left(self.limits.cell))
        self.done.seconds["replays"] += time.monotonic() - started
        return OK if self.kernel.alive else DIED

    def _run(self, index: int, cell: NotebookNode) -> None:
        try:
            status = self._ready(index)
        except KernelStartError:
            return  # the next exam tries again, and says "not graded" when there is still no kernel
        started = time.monotonic()
        run = self.kernel.run(runs(cell), self._left(self.limits.cell)) if status == OK else Run(status)
        self.done.seconds["cells"] += time.monotonic() - started
        self.done.outputs[index] = run.outputs
        if run.status in (*GONE, TIMED_OUT):
            self.killers.add(index)
        if run.status != OK:
            for grade_id in answers(cell):
                self.failures[grade_id] = run.status, run.error or f"its cell ended with: {run.status}"
            if said := advice(run.error):
                self.advice.append((said, "import *" in cell.source))
                run.outputs.append(new_output("stream", name="stderr", text=f"{said}\n"))

    def _examine(self, index: int, cell: NotebookNode) -> None:
        try:
            status = self._ready(index)
        except KernelStartError as error:
            self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
            return
        exercise = self.lab.exercise(cell.metadata.vitedu.exercise)
        if exercise.trained:
            self._examine_trained(exercise, cell, status)
            return
        draw = Draw(self.secret, exercise.id, variant_of(self.secret, self.student, exercise.id))
        cases = self.reference.cases(exercise, draw)
        started, why = time.monotonic(), ""
        if status == OK:
            replies, run = ask_exercise(self.kernel, cases, self._left(self.limits.probe))
            status, why = (GRADED, "") if run.status in (OK, ERROR) else (run.status, run.error)
        else:
            replies = [Reply(None)] * len(cases)
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
        verdict.seconds = {"probe": probed - started, "judge": time.monotonic() - probed}
        self.done.seconds["probes"] += verdict.seconds["probe"]
        self.done.seconds["judge"] += verdict.seconds["judge"]
        self._ask_common(exercise, verdict)

    def _examine_trained(self, exercise: Exercise, cell: NotebookNode, status: str) -> None:
        """An accuracy exam: train in the student's kernel, or take what an earlier grading kept."""
        from . import attempts, trained  # they read Lab 4's exams: only the labs that train need them
        from .trained_exams import trained_exam

        exam = trained_exam(exercise.id)
        variant = variant_of(self.secret, self.student, exercise.id)
        content = attempts.notebook_hash(self.notebook)
        draw = exam.draw(self.secret, variant, content)
        name = trained.key(content, draw, variant, exam.version())
        held = trained.load(self.kept, name) if self.kept else None
        started, why = time.monotonic(), ""
        if held is None and status == OK:
            held, status, why = exam.hold(self.kernel, draw, self.limits)
            if self.kept and status in (OK, ERROR):
                trained.store(self.kept, name, held)
        if self.kept and held is not None:
            self.done.trained.append(trained.file_name(name))
        learned = time.monotonic()
        self.deadline += learned - started  # training has limits of its own
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

    def _ask_common(self, exercise: Exercise, verdict: Verdict) -> None:
        """Put the variant common to the class, so that equal unexplained answers can be grouped."""
        if not self.kernel.alive or self._left(1) <= 0 or verdict.status in ENDINGS:
            return
        cases = self.reference.cases(exercise, Draw(self.secret, exercise.id, COMMON))
        started = time.monotonic()
        replies, _ = ask_exercise(self.kernel, cases, self._left(self.limits.probe))
        self.done.seconds["probes"] += time.monotonic() - started
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
