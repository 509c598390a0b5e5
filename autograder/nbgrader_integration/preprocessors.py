"""The stages of nbgrader that are ours: examine and record a submission; check the secret before a release.

nbgrader keeps metadata, releases, the gradebook, formgrader and feedback. Its own way from a
submission to a score goes through the outputs of the student's process, which the student writes;
ours goes through the judge's verdicts, which never enter that process on their way to the gradebook.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Integer

from autograder.execution.grade_one import grade_one, reference_of
from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES
from autograder.execution.submission_task import Executed, Task
from autograder.judging.check_secret import escapes
from autograder.judging.reference_answers import one_thread
from autograder.judging.verdict import FOR_REVIEW, NOT_GRADED
from autograder.labs.lab import Lab, find_lab
from autograder.sandbox.bubblewrap import unavailable
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import Course
from autograder.storage.verdict_files import VerdictRecord, WrittenAnswer
from autograder.submission.cell_order import answered_elsewhere, contributing
from autograder.submission.pieces import is_unchanged
from autograder.submission.timestamps import read_timestamp

RESOURCE = "vitedu"  # the one key of nbconvert's resources under which ours travel


@dataclass
class Conversion:
    """One submission on its way through the stages: all of ours that travels in nbconvert's resources.

    Attributes:
        release: the notebook as students got it.
        folder: where its timestamp lies, if there is one.
        cache_key: a digest of all that decides its score.
        task: what is to be graded; None where `executed` is there from the beginning.
        executed: what came of it.
        record: the verdict record, which the converter or its caller writes.
    """

    course: Course
    lab: Lab
    release: bytes
    folder: Path
    cache_key: str
    task: Task | None = None
    executed: Executed | None = None
    record: VerdictRecord | None = None


class _Stage(NbGraderPreprocessor):
    """What the stages know of the notebook they are given."""

    @property
    def coursedir(self) -> CourseDirectory:
        return self.parent.parent.coursedir

    def _place(self, resources: Any) -> tuple[str, str, str]:
        place = resources["nbgrader"]
        return place["student"], place["assignment"], place["notebook"]


class Examine(_Stage):
    """First stage: rebuild the submission, run it, judge it. Its traits are the course's limits."""

    cell_seconds = Float(Limits.cell, help="Wall time that one cell of a student may take.").tag(config=True)
    probe_seconds = Float(Limits.probe, help="Wall time that one exercise's probe may take.").tag(config=True)
    notebook_seconds = Float(
        Limits.notebook, help="Wall time of all cells and probes of a notebook, but for the student's own cells."
    ).tag(config=True)
    again_seconds = Float(
        Limits.again, help="The same for the second run, with stand-ins, of a notebook in which not all is right."
    ).tag(config=True)
    own_seconds = Float(
        Limits.own, help="Wall time of the cells that a student has added, and of those to play in, together."
    ).tag(config=True)
    replays = Integer(
        Limits.replays, help="How often a fresh kernel replays a notebook after an exercise's probe has ended one."
    ).tag(config=True)
    memory_bytes = Integer(Limits.memory, help="Memory of a kernel and its children together.").tag(config=True)
    processes = Integer(Limits.processes, help="Processes and threads of a kernel.").tag(config=True)
    cpu_seconds = Float(Limits.cpu, help="CPU time of all kernels of a notebook.").tag(config=True)
    sandbox = Bool(
        True, help="False runs the students' code as the user who grades, with all that this user may do."
    ).tag(config=True)

    @property
    def limits(self) -> Limits:
        """What a notebook may use."""
        return Limits(
            cell=self.cell_seconds, probe=self.probe_seconds, notebook=self.notebook_seconds, again=self.again_seconds,
            own=self.own_seconds, replays=self.replays, memory=self.memory_bytes, processes=self.processes,
            cpu=self.cpu_seconds,
        )  # fmt: skip

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Grade what is not graded yet."""
        conversion: Conversion = resources[RESOURCE]
        if conversion.executed is None:
            assert conversion.task is not None
            conversion.executed = self._grade(conversion.course, conversion.task)
        return conversion.executed.notebook, resources

    def _grade(self, course: Course, task: Task) -> Executed:
        """Grade a submission in this process, as nbgrader's own command does."""
        if task.sandbox and (reason := unavailable(PACKAGES)):
            raise NbGraderException(reason)
        executed = grade_one(task)
        if not task.sandbox:  # the submission may have come to it
            shutil.rmtree(course.references, ignore_errors=True)
        if unread := executed.notebook.metadata.vitedu.get("unread"):
            self.log.error("Not graded: %s: %s", shown(task.student), terminal(unread, 600))
        return executed


class Record(_Stage):
    """Second stage: the judge's verdicts into the gradebook, never anything read from an output."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Enter points and comments, and make the verdict record."""
        started = time.monotonic()
        student, assignment, notebook = self._place(resources)
        conversion: Conversion = resources[RESOURCE]
        course, lab, executed = conversion.course, conversion.lab, conversion.executed
        assert executed is not None
        for name, content in executed.files.items():
            write_atomically(course.trainings_dir(lab) / name, content)
        earlier = course.record(lab, student)
        before = earlier.answers if earlier else {}
        release = {c.metadata.nbgrader.grade_id: c for c in nbformat.reads(conversion.release.decode(), 4).cells}
        answered = answers_of(nb)
        elsewhere = answered_elsewhere(nb)
        graded = {cell.metadata.nbgrader.grade_id for cell in nb.cells if cell.metadata.vitedu.role == "exam"}
        written, unread = list[WrittenAnswer](), nb.metadata.vitedu.get("unread", "")
        with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
            place = (notebook, assignment, student)
            for verdict in executed.verdicts:
                if verdict.grade_id not in graded:  # an extra, without points
                    continue
                same = before.get(verdict.exercise) == answered.get(verdict.exercise)
                grade = gradebook.find_grade(verdict.grade_id, *place)
                grade.auto_score = verdict.points
                # A mark given by hand stays in force and needs no second look while the answer is the same.
                by_hand = grade.manual_score is not None
                waits = grade.needs_manual_grade or not same  # a changed answer waits until somebody has looked
                grade.needs_manual_grade = waits if by_hand else verdict.status in (NOT_GRADED, FOR_REVIEW)
            for cell in nb.cells:
                role, grade_id = cell.metadata.vitedu.role, cell.metadata.get("nbgrader", {}).get("grade_id")
                if role not in ("written", "solution"):
                    continue
                unchanged = is_unchanged(cell.source, release[grade_id].source, cell.get("attachments"))
                empty = unchanged and grade_id not in elsewhere
                gradebook.find_comment(grade_id, *place).auto_comment = "No response." if empty and not unread else None
                if role == "written" and unread:
                    grade = gradebook.find_grade(grade_id, *place)
                    grade.auto_score, grade.needs_manual_grade = None, grade.manual_score is None
                elif role == "written":
                    grade = gradebook.find_grade(grade_id, *place)
                    by_hand, same = grade.manual_score is not None, before.get(grade_id) == answered[grade_id]
                    grade.auto_score = 0.0 if empty else None
                    grade.needs_manual_grade = grade.needs_manual_grade or not same if by_hand else not empty
                if role == "written":
                    points = float(cell.metadata.nbgrader.points)
                    written.append(WrittenAnswer(grade_id=grade_id, max_points=points, answered=not empty))
            gradebook.db.commit()
        problem = read_timestamp(conversion.folder).problem
        conversion.record = record = VerdictRecord(
            student=student,
            assignment=assignment,
            notebook=notebook,
            repairs=nb.metadata.vitedu.get("mended", []),
            cpu=executed.cpu,
            sandbox=executed.sandbox,
            seconds=executed.seconds | {"record": time.monotonic() - started},
            trained=executed.trained,
            exercises=executed.verdicts,
            written=written,
            answers=answered,
            unread=unread,
            problems=[problem] if problem else [],
        )
        if unread or not record.not_graded:  # our own failures are made good by the next command
            record.cache_key = conversion.cache_key
        return nb, resources


def answers_of(nb: NotebookNode) -> dict[str, str]:
    """A digest of each of the student's answers, by grade_id: of all cells that contribute to it, and its pictures."""
    texts = {
        cell.metadata.nbgrader.grade_id: [
            *(contributing(nb, cell.metadata.nbgrader.grade_id) or [cell.source]),
            *([json.dumps(cell.attachments, sort_keys=True)] if cell.get("attachments") else []),
        ]
        for cell in nb.cells
        if cell.metadata.vitedu.role in ("solution", "written")
    }
    return {id: hashlib.sha256("\0".join(parts).encode()).hexdigest() for id, parts in texts.items()}


class CheckSecret(_Stage):
    """Before a release: under this course's secret, does every named mistake lose points?"""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        _, assignment, _ = self._place(resources)
        lab: Lab = find_lab(assignment)
        with one_thread():
            found = escapes(reference_of(lab.assignment), Course(Path(self.coursedir.root)).secret)
        if found:
            raise NbGraderException(
                f"{lab.assignment} is not released: under this course's secret {found[0]} would not lose points "
                f"({len(found)} such draws); delete the file {self.coursedir.root}/course_secret to draw another secret"
            )
        return nb, resources
