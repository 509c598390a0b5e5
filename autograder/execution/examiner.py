"""Examine one rebuilt notebook: run its cells in a kernel, put the probes, let the judge decide."""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from nbformat import NotebookNode

from autograder.execution import stand_ins, training_runs, training_store, traps
from autograder.execution.notebook_cells import Cells
from autograder.execution.student_kernel import (
    GONE,
    INTERRUPTED,
    NO_MEMORY,
    OK,
    OUT_OF_MEMORY,
    TIMED_OUT,
    KernelStartError,
    Run,
    StudentKernel,
)
from autograder.execution.submission_task import ENDINGS, Examination, Task, new_verdict
from autograder.judging.judge import CaseAnswer, Circumstances, judge, signature
from autograder.judging.reference_answers import Reference
from autograder.judging.trained_exercise import Attempt, TrainedExercise
from autograder.judging.verdict import ERROR, GRADED, NOT_ANSWERED, NOT_GRADED, CaseVerdict, Verdict
from autograder.labs.exam import Exercise
from autograder.labs.lab import EXAMS
from autograder.labs.training_draw import AccuracyDraw
from autograder.labs.variants import Variant, variant_of
from autograder.submission.advice import advice, undefined, unknown_name
from autograder.submission.bindings import defined, used
from autograder.submission.cell_order import again, answer_to
from vitedu.probe.ask import asks_for_float32
from vitedu.probe.case import Case

COMMON = "common"  # the variant that is the same for all; it earns no points


def examine(task: Task, notebook: NotebookNode, reference: Reference, trainings_dir: Path | None = None) -> Examination:
    """Run and judge a rebuilt notebook (see submission/rebuild.py); never raises for anything the student did.

    Args:
        trainings_dir: folder in which trained answers are kept, so that a regrade need not train again.
    """
    first = NotebookExamination(task, notebook, reference, trainings_dir)
    done = first.run()
    stood = stand_ins.needed(reference.lab, done.verdicts)
    if stood and first.cells.kernel is not None:
        again = NotebookExamination(task, notebook, reference, trainings_dir, first, stood)
        stand_ins.merge(done, again.run())
        first.judge_trainings_anew()
    return done


def ask_exercise(kernel: StudentKernel, cases: list[Case], seconds: float) -> tuple[list[CaseAnswer], Run]:
    """Put all cases of an exercise; those with a dtype trouble once more, in float32.

    Only a fact about dtypes leads to a second question, never a value, and no verdict.
    """
    run = kernel.ask(cases, torch.float64, seconds)
    reason = run.error if run.status == ERROR else ""
    replies = [CaseAnswer(run.answers.get(i), reason=reason) for i in range(len(cases))]
    again = [i for i, reply in enumerate(replies) if reply.answer is not None and asks_for_float32(reply.answer)]
    if again and run.status == OK:
        run = kernel.ask([cases[i] for i in again], torch.float32, seconds)
        for place, i in enumerate(again):
            replies[i] = CaseAnswer(run.answers.get(place), torch.float32, run.error if run.status == ERROR else "")
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


class NotebookExamination:
    """The examination of one notebook, with the kernel it is in and the time that it has left.

    Args:
        first, stood: an earlier examination of the same notebook, and the exercises that were not right in it. A
            stand-in runs behind each of them, and the later exercises are asked again.
    """

    def __init__(
        self, task: Task, notebook: NotebookNode, reference: Reference, trainings_dir: Path | None,
        first: NotebookExamination | None = None, stood: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.lab, self.reference, self.limits, self.stood = reference.lab, reference, task.limits, tuple(stood)
        self.student, self.secret, self.trainings_dir = task.student, task.secret, trainings_dir
        self.asked = {exercise.id for exercise in self.lab.exercises}
        self.named: dict[str, str] = {}  # exercise -> the idea found in it, see labs.exam.Exercise
        if first is not None:
            notebook = stand_ins.notebook_with(notebook, self.lab, self.stood, first.cells.reduced)
            self.asked = stand_ins.asked_again(self.lab, first.done.verdicts, self.stood)
            self.limits = replace(task.limits, notebook=task.limits.again)
            self.named = {id: idea for id, idea in first.named.items() if id not in self.asked}
        self.notebook, self.is_first = notebook, first is None
        self.cells: Cells = Cells(notebook, self.limits, task.sandbox, task.template, self._open, traps)
        if first is not None:
            self.cells.take_over(first.cells)
        self.done: Examination = Examination(outputs=self.cells.outputs, seconds=self.cells.seconds)
        self._better: list[str] = []  # sentences about exercises that were better when they were asked again
        self._trained: dict[str, tuple[AccuracyDraw, list[Attempt]]] = {}  # what came of trainings

    def run(self) -> Examination:
        """Go through the notebook from top to bottom."""
        try:
            self.cells.start()
        except KernelStartError as error:
            for cell in self._exams() if self.is_first else ():
                self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
            return self.done
        try:
            for index, cell in enumerate(self.notebook.cells):
                if cell.cell_type != "code" or cell.metadata.vitedu.role == "display":
                    continue
                if cell.metadata.vitedu.role in EXAMS:
                    if cell.metadata.vitedu.exercise in self.asked:
                        self._examine(index, cell)
                else:
                    self.cells.run(index)
                    if self.is_first:
                        self._ask_again(index, cell)
        finally:
            self.cells.leave()
        self.done.cpu, self.done.fallback_reason = self.cells.cpu, self.cells.fallback_reason
        self.done.notes = [sentence for _, sentence in self.cells.notes] + self._better
        return self.done

    def _exams(self) -> list[NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.metadata.vitedu.role in EXAMS]

    def _open(self, exercise: str) -> bool:
        """Whether an exercise was asked and has points left to earn."""
        found = [verdict for verdict in self.done.verdicts if verdict.exercise == exercise]
        return self.is_first and any(v.points is not None and v.points < v.max_points for v in found)

    def _ask_again(self, index: int, cell: NotebookNode) -> None:
        """Ask what a cell makes something else of behind its exam, where that was not right; the better one counts.

        What is wrong at its check may be put right further below; what is right there is no worse for experiments.
        """
        better: set[str] = set()  # names
        for place, exam in enumerate(self.notebook.cells[: index + 1]):
            if exam.metadata.vitedu.role not in EXAMS or not self._open(exercise := exam.metadata.vitedu.exercise):
                continue
            at = next(i for i, verdict in enumerate(self.done.verdicts) if verdict.exercise == exercise)
            uses = better and self.done.verdicts[at].status != NOT_ANSWERED
            follows = uses and better & used(answer_to(self.notebook, exercise))
            if self.lab.exercise(exercise).trained or not (follows or exercise in again(cell)):
                continue
            named, deaths = dict(self.named), self.cells.deaths
            before = {verdict.exercise for verdict in self.done.verdicts[:at]}
            self.named = {id: idea for id, idea in named.items() if id in before}
            self._examine(place, exam, index + 1)
            new, self.cells.deaths = self.done.verdicts.pop(), deaths  # it was asked before, and costs no other
            idea = self.named.get(exercise)
            self.named = named
            if (new.points or 0) > (self.done.verdicts[at].points or 0):
                self.done.verdicts[at] = new
                self.named.pop(exercise, None)
                if idea:
                    self.named[exercise] = idea
                better |= defined(answer_to(self.notebook, exercise))
                self._better.append(f"{exercise} is better further below than at its check; the better one counts.")

    def _examine(self, index: int, cell: NotebookNode, place: int | None = None) -> None:
        """Put an exam and judge it.

        Args:
            index: its place in the notebook.
            place: where it is put, if elsewhere: when the cells before this one have run.
        """
        place = index if place is None else place
        exercise = self.lab.exercise(cell.metadata.vitedu.exercise)
        if isinstance(exercise, TrainedExercise):
            self._examine_trained(index, exercise, cell)
            return
        variant = Variant(self.secret, exercise.id, variant_of(self.secret, self.student, exercise.id))
        cases = self.reference.cases(exercise, variant)
        try:
            replies, run, taken = self._ask(index, place, exercise.id, cases)
        except KernelStartError as error:
            self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
            return
        status, problem = (GRADED, "") if run.status in (OK, ERROR) else (run.status, run.error)
        common = self._ask_common(index, place, exercise) if status not in ENDINGS else None
        started = time.monotonic()
        failure, reason = self.cells.failures.get(exercise.id, ("", ""))
        reason = reason or problem or ENDINGS.get(status, "")
        verdict = self._add(cell, status=status, points=0.0, reason=reason)
        verdict.variant = int(variant.key[2])
        verdict.remarks += library_remarks(answer_to(self.notebook, exercise.id), exercise.library)
        judge(self.reference, exercise, variant, replies, verdict, self._around(exercise), common)
        errors = [r.answer.error for r in replies if r.answer is not None and r.answer.status == "error"]
        if verdict.status == ERROR and errors and all(NO_MEMORY.search(f"{e['type']} {e['message']}") for e in errors):
            verdict.status = OUT_OF_MEMORY
        if verdict.status == NOT_ANSWERED and failure:  # it was answered, but its cell did not get through
            verdict.status = failure
        verdict.remarks += self._advice(verdict, index)
        if verdict.idea:
            self.named[exercise.id] = verdict.idea
        whole = any(diagnosis.whole for diagnosis in verdict.diagnoses)
        if common and verdict.status == GRADED and not whole and not all(c.right for c in verdict.cases):
            verdict.signature = signature(common[1], self.reference.cases(exercise, common[0]))
        verdict.seconds = {"probe": taken, "judge": time.monotonic() - started}
        self.done.seconds["probes"] += verdict.seconds["probe"]
        self.done.seconds["judge"] += verdict.seconds["judge"]

    def _around(self, exercise: Exercise) -> Circumstances:
        """What stands in the cells before this exercise's."""
        conventions = {id: idea.removeprefix("~") for id, idea in self.named.items() if idea.startswith("~")}
        return Circumstances(conventions, stand_ins.before(self.lab, exercise, self.stood))

    def _ask(self, index: int, place: int, exercise: str, cases: list[Case]) -> tuple[list[CaseAnswer], Run, float]:
        """Put the cases of an exam, as `_attempt` runs a cell; how that ended, with why, and its seconds.

        Args:
            index, place: see `_examine`.

        Raises:
            KernelStartError: there is no kernel.
        """
        nothing = [CaseAnswer(None)] * len(cases)
        while True:
            status = self.cells.ready(place)
            if exercise in self.cells.fatal:  # its own affair, though what else it defines stays for the others
                return nothing, Run(self.cells.failures[exercise][0]), 0.0
            if status != OK:
                error = self.cells.no_time() if status == TIMED_OUT else ""
                return nothing, Run(status, error=error), 0.0
            found = self.cells.settle(index, lambda: self._put(index, cases), self.limits.probe, place=place)
            if found is not None:
                self.cells.deaths += found[1].status in GONE
                return found

    def _put(self, index: int, cases: list[Case]) -> tuple[list[CaseAnswer], Run]:
        """Put the cases to the kernel that is there."""
        started, most = time.monotonic(), self.cells.left(self.limits.probe)
        replies, run = ask_exercise(self.cells.running, cases, most)
        self.cells.ran(index, "", time.monotonic() - started)
        run.lost |= any(r.answer is not None and r.answer.error.get("type") == INTERRUPTED for r in replies)
        if run.status == TIMED_OUT and most < self.limits.probe:
            run.error = run.error or self.cells.no_time()
        return replies, run

    def _examine_trained(self, index: int, exercise: TrainedExercise, cell: NotebookNode) -> None:
        """An exam that trains a model: train in the student's kernel, or take what an earlier grading kept."""
        variant = variant_of(self.secret, self.student, exercise.id)
        content = training_runs.notebook_hash(self.notebook)
        draw = exercise.draw(self.secret, variant, content)
        name = training_store.key(content, draw, variant, exercise.version())
        held = training_store.load(self.trainings_dir, name) if self.trainings_dir else None
        started, problem, status = time.monotonic(), "", OK

        def train() -> tuple[list[Any], Run]:
            begun = time.monotonic()
            found, status, problem = training_runs.run(self.cells.running, exercise, draw, self.limits)
            self.cells.deadline += time.monotonic() - begun  # training has limits of its own
            return found, Run(status, error=problem)

        while held is None:
            try:
                if (status := self.cells.ready(index)) != OK:
                    problem = self.cells.no_time() if status == TIMED_OUT else ""
                    break
                if (found := self.cells.settle(index, train, math.inf, costly=True)) is None:
                    continue
            except KernelStartError as error:
                self._add(cell, status=NOT_GRADED, points=None, reason=str(error))
                return
            held, status, problem = found[0], found[1].status, found[1].error
            self.cells.deaths += status in GONE
            if (
                self.trainings_dir and status in (OK, ERROR) and not self.cells.convicted
            ):  # a regrade would convict nobody
                training_store.store(self.trainings_dir, name, held)
        if self.trainings_dir and held is not None:
            self.done.trained.append(training_store.file_name(name))
        learned = time.monotonic()
        verdict = self._add(cell, status=GRADED, points=0.0, reason="")
        verdict.variant = variant
        verdict.stand_ins = [id for id in exercise.behind if id in self.stood]
        if held is None or status in ENDINGS:
            verdict.status, verdict.reason = status, problem or ENDINGS[status]
        else:
            self._trained[exercise.id] = draw, held
            self._judge_trained(exercise, verdict)
        failure, reason = self.cells.failures.get(exercise.id, ("", ""))
        if verdict.status == NOT_ANSWERED and failure:
            verdict.status, verdict.reason = failure, reason
        verdict.seconds = {"probe": learned - started, "judge": time.monotonic() - learned}
        self.done.seconds["probes"] += verdict.seconds["probe"]
        self.done.seconds["judge"] += verdict.seconds["judge"]

    def _judge_trained(self, exercise: TrainedExercise, verdict: Verdict) -> None:
        draw, held = self._trained[exercise.id]
        earned = {v.exercise: v.points for v in self.done.verdicts}
        outcome = exercise.judge(self.reference, draw, held, self.named, earned)
        verdict.status, verdict.diagnoses = outcome.status, outcome.diagnoses
        verdict.points = round(verdict.max_points * outcome.points / exercise.tiers, 2)
        verdict.reason = outcome.notes[0].rstrip(".") if outcome.status == ERROR else ""
        verdict.cases = [
            CaseVerdict("accuracy on hidden images", outcome.points == exercise.tiers, 1.0, note)
            for note in outcome.notes[:1]
        ]
        verdict.remarks += outcome.notes[1:]

    def judge_trainings_anew(self) -> None:
        """Judge trainings again, now that all that is known of the exercises before them is there."""
        self.named = {verdict.exercise: verdict.idea for verdict in self.done.verdicts if verdict.idea}
        for verdict in self.done.verdicts:
            exercise = self.lab.exercise(verdict.exercise)
            if isinstance(exercise, TrainedExercise) and exercise.id in self._trained and not verdict.stand_ins:
                if verdict.points is not None and verdict.points < verdict.max_points:
                    verdict.remarks = []
                    self._judge_trained(exercise, verdict)

    def _ask_common(self, index: int, place: int, exercise: Exercise) -> tuple[Variant, list[CaseAnswer]] | None:
        """Put the variant common to the class: it confirms ideas, and groups equal unexplained answers."""
        if not self.cells.alive or self.cells.left(1) <= 0:
            return None
        variant = Variant(self.secret, exercise.id, COMMON)
        cases = self.reference.cases(exercise, variant)
        try:
            found = self.cells.settle(index, lambda: self._put(index, cases), self.limits.probe, place=place)
        except KernelStartError:  # the next exam tries again, and tells
            return None
        if found is None:
            return None
        replies, run, taken = found
        self.done.seconds["probes"] += taken
        self.cells.deaths += run.status in GONE
        return variant, replies

    def _advice(self, verdict: Verdict, index: int) -> list[str]:
        """What to do about an error in this exercise that comes from elsewhere: a file, or another cell."""
        texts = [verdict.reason, *(case.note for case in verdict.cases if not case.right)]
        found = [sentence for text in texts if (sentence := advice(text))]
        unknown = any("NameError" in text for text in texts)
        found += [
            sentence
            for sentence, any_name in self.cells.advice
            if unknown or (any_name and verdict.status == NOT_ANSWERED)
        ]
        found += [sentence for text in texts if (sentence := unknown_name(text, self.notebook.cells, index))]
        if verdict.status == NOT_ANSWERED:
            stub = next(cell.source for cell in self.lab.cells if cell.grade_id == verdict.exercise)
            found += filter(None, [undefined(defined(stub), self.notebook.cells, verdict.exercise)])
        return list(dict.fromkeys(found))[:3]

    def _add(self, cell: NotebookNode, status: str, points: float | None, reason: str) -> Verdict:
        verdict = new_verdict(cell, status, points, reason)
        self.done.verdicts.append(verdict)
        return verdict
