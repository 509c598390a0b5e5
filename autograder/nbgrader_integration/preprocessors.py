"""The stages of nbgrader that are ours: rebuild, examine and record a submission; check the secret before a release.

nbgrader keeps metadata, releases, the gradebook, formgrader and feedback. Its own way from a
submission to a score goes through the outputs of the student's process, which the student writes;
ours goes through the judge's verdicts, which never enter that process on their way to the gradebook.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Integer

from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES
from autograder.execution.submission_task import Executed, execute, rebuilt, reference_of
from autograder.judging.check_secret import escapes
from autograder.judging.verdict import FOR_REVIEW, NOT_GRADED
from autograder.labs.lab import Lab, find_lab
from autograder.sandbox.bubblewrap import unavailable
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import references_path, verdict_path
from autograder.storage.course_secret import read_secret
from autograder.storage.gradebook import points_of
from autograder.storage.verdict_files import read_verdicts
from autograder.submission.cell_order import answered_elsewhere, contributing
from autograder.submission.pieces import is_unchanged
from autograder.submission.timestamps import read_timestamp


class _Stage(NbGraderPreprocessor):
    """What the stages know of the notebook they are given."""

    @property
    def coursedir(self) -> CourseDirectory:
        return self.parent.parent.coursedir

    def _place(self, resources: Any) -> tuple[str, str, str]:
        place = resources["nbgrader"]
        return place["student"], place["assignment"], place["notebook"]

    def _submitted(self, student: str, assignment: str) -> Path:
        """The folder that holds a submission's timestamp."""
        return self.parent.parent.submitted(assignment, student)

    def _release(self, assignment: str, notebook: str) -> NotebookNode:
        folder = self.coursedir.format_path(self.coursedir.release_directory, ".", assignment)
        path = Path(folder) / f"{notebook}.ipynb"
        if not path.exists():
            raise NbGraderException(
                f"expected the released notebook at {path}, found none; run: nbgrader generate_assignment {assignment}"
            )
        return nbformat.read(path, as_version=4)


class Rebuild(_Stage):
    """First stage: put the submission back into the shape of the release."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        student, assignment, notebook = self._place(resources)
        release = self._release(assignment, notebook)
        points = points_of(resources["nbgrader"]["db_url"], assignment, notebook, release)
        handed_in = resources["vitedu"]
        found = rebuilt(handed_in["content"], handed_in["problem"], release, points, handed_in["note"])
        if unread := found.metadata.vitedu["unread"]:
            self.log.error("Not graded: %s: %s", shown(student), terminal(unread, 600))
        return found, resources


class Examine(_Stage):
    """Second stage: run the student's cells, put the probes, judge, and write the judge's outputs."""

    cell_seconds = Float(Limits.cell, help="Wall time that one cell of a student may take.").tag(config=True)
    probe_seconds = Float(Limits.probe, help="Wall time that one exercise's probe may take.").tag(config=True)
    notebook_seconds = Float(
        Limits.notebook, help="Wall time of all cells and probes of a notebook, but for the student's own cells."
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
            cell=self.cell_seconds, probe=self.probe_seconds, notebook=self.notebook_seconds, own=self.own_seconds,
            replays=self.replays, memory=self.memory_bytes, processes=self.processes, cpu=self.cpu_seconds,
        )  # fmt: skip

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        if self.sandbox and (why := unavailable(PACKAGES)):
            raise NbGraderException(why)
        student, assignment, _ = self._place(resources)
        root = Path(self.coursedir.root)
        kept = root / "trained" / assignment
        done = execute(nb, assignment, student, read_secret(root), self.limits, kept, self.sandbox)
        if not self.sandbox:  # the submission may have come to it
            shutil.rmtree(references_path(Path(root)), ignore_errors=True)
        resources["vitedu"] = done.without_notebook()
        return done.notebook, resources


class Record(_Stage):
    """Third stage: the judge's verdicts into the gradebook, never anything read from an output."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        started = time.monotonic()
        student, assignment, notebook = self._place(resources)
        path = verdict_path(Path(self.coursedir.root), student, assignment, notebook)
        stored = read_verdicts(path)
        before = stored.get("answers", {})
        release = {c.metadata.nbgrader.grade_id: c for c in self._release(assignment, notebook).cells}
        done: Executed = resources["vitedu"]
        answered = _answers(nb)
        elsewhere = answered_elsewhere(nb)
        graded = {cell.metadata.nbgrader.grade_id for cell in nb.cells if cell.metadata.vitedu.role == "exam"}
        written, unread = [], nb.metadata.vitedu.get("unread", "")
        with Gradebook(resources["nbgrader"]["db_url"]) as gradebook:
            place = (notebook, assignment, student)
            for verdict in done.verdicts:
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
                    written.append({"grade_id": grade_id, "max_points": points, "answered": not empty})
            gradebook.db.commit()
        record = {
            "student": student, "assignment": assignment, "notebook": notebook,
            "mended": nb.metadata.vitedu.get("mended", []), "cpu": done.cpu, "sandbox": done.sandbox,
            "seconds": done.seconds | {"record": time.monotonic() - started}, "trained": done.trained,
            "exercises": [verdict.as_json() for verdict in done.verdicts], "written": written, "answers": answered,
        }  # fmt: skip
        if unread:
            record["unread"] = unread
        if done.again:  # what was executed counts as before, also when this is killed before the feedback is written
            record |= {"stamp": stored["stamp"]}
        if problem := read_timestamp(self._submitted(student, assignment)).problem:
            record["problems"] = [problem]
        write_atomically(path, json.dumps(record, indent=1))
        return nb, resources


def _answers(nb: NotebookNode) -> dict[str, str]:
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
        found = escapes(reference_of(lab.assignment), read_secret(Path(self.coursedir.root)))
        if found:
            raise NbGraderException(
                f"{lab.assignment} is not released: under this course's secret {found[0]} would not lose points "
                f"({len(found)} such draws); delete the file {self.coursedir.root}/course_secret to draw another secret"
            )
        return nb, resources
