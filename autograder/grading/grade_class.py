"""Grade everything that was handed in for a lab: many at a time, recorded by one writer through nbgrader's converters.

A submission that is graded already, with the same file, exams, code, limits and secret, is not
graded again; one that was interrupted half-way is. The stamp in its verdict file says so: it is
removed first, and written last.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.converters.base import NbGraderException
from tqdm import tqdm

from autograder import interrupts
from autograder.course import course_api
from autograder.errors import UserError
from autograder.execution.code_version import sources
from autograder.execution.preload import modules_of
from autograder.execution.submission_task import OWN, Executed, Task
from autograder.grading import stage_times, worker_pool
from autograder.grading.cache_key import code_hash as _code_hash
from autograder.grading.cache_key import executed, has_feedback, stamp_of
from autograder.grading.course_lock import grading_alone
from autograder.grading.stored_results import Recorded, stored
from autograder.grading.worker_pool import Processes, Workers
from autograder.judging.verdict import NOT_GRADED
from autograder.labs.lab import Lab, find_lab
from autograder.nbgrader_integration.api import in_words, record, why
from autograder.nbgrader_integration.converters import RECORD_SECONDS
from autograder.nbgrader_integration.preprocessors import Examine
from autograder.reporting import score_export
from autograder.reporting.class_results import read
from autograder.reporting.course_report import write_overview
from autograder.reporting.lab_report import write_report
from autograder.reporting.terminal_table import text_table
from autograder.reporting.wording import labels
from autograder.sandbox.forked_kernel import ForkServer
from autograder.sandbox.scratch import scratch, sweep, swept
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.atomic_files import write_atomically, written_whole
from autograder.storage.course_folder import overview_path, references_path, report_path, verdict_path
from autograder.storage.course_secret import read_secret
from autograder.storage.diagnose import folder_trouble, gradebook_trouble
from autograder.storage.find_submissions import find_submissions
from autograder.storage.gradebook import held, points_of
from autograder.storage.refused import NOT_YET, enter, read_refused, write_refused
from autograder.storage.submissions import Submission, SubmissionSet
from autograder.storage.verdict_files import read_verdicts


def grade(
    course: Path,
    lab_name: str,
    students: list[str] | None = None,
    regrade: bool = False,
    sandbox: bool = True,
    workers: int | Workers | None = None,
    scheduler: str = "",
    profile: bool = False,
    template: ForkServer | None = None,
) -> int:
    """Grade, write feedback, scores.csv and the report; print the table.

    Args:
        workers: submissions that are graded at a time on this machine, None: one for each processor; or who does it.
        scheduler: address of a Dask scheduler, whose workers do it instead.
        profile: print where the time went, too.
        template: a preloaded process for this lab's kernels, when there is one already.

    Returns:
        0, or 1 when a submission could not be graded.

    Raises:
        UserError: no sandbox, no such lab, no release, nothing handed in, an unknown student, a broken
            configuration, or a folder or gradebook that cannot be used, at the beginning or later.
    """
    sweep()
    if sandbox and not scheduler:
        _check_sandbox()
    lab = find_lab(lab_name)
    released = course / "release" / lab.assignment / f"{lab.notebook}.ipynb"
    if not released.exists():
        raise UserError(
            f"Expected the release at {released}, found none; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment}"
        )
    if trouble := folder_trouble(course):
        raise UserError(f"{trouble}.")
    api = course_api(course, sandbox)
    handed = find_submissions(course, lab, students, api.coursedir.db_url)
    with grading_alone(course):
        class_ = _ClassGrading(course, lab, released, api, sandbox)
        enter(course, class_.db_url, lab.assignment, handed, bool(students))
        failed = class_.grade(handed, regrade, workers, scheduler, template)
        class_.tell(handed, failed)
    if profile:
        print(stage_times.table(course, lab.assignment))
    return 1 if failed else 0


class _ClassGrading:
    """All submissions to a lab in one course."""

    def __init__(self, course: Path, lab: Lab, released: Path, api: NbGraderAPI, sandbox: bool) -> None:
        self.course, self.lab, self.api, self.sandbox = course, lab, api, sandbox
        self.db_url: str = api.coursedir.db_url
        self.secret = read_secret(course)
        self.code = _code_hash(lab, released, self.secret, api.config)
        self.release = released.read_bytes()
        _check_gradebook(course, lab, self.db_url)
        try:
            release = nbformat.reads(self.release.decode(), as_version=4)
            self.points = points_of(self.db_url, lab.assignment, lab.notebook, release)
        except NbGraderException as error:
            raise UserError(f"{error}.") from None
        self.limits = Examine(config=api.config).limits
        self.done = self.again = 0
        self.lost: dict[str, str] = {}
        self.folders: dict[str, Path] = {}  # by student, with the timestamp
        self.recorded = Recorded(course, self.db_url, lab, api.config)
        self.cold = ""

    def grade(
        self,
        handed: SubmissionSet,
        regrade: bool,
        workers: int | Workers | None,
        scheduler: str,
        template: ForkServer | None,
    ) -> list[str]:
        """Grade what is not finished; a sentence for each submission that could not be."""
        self.folders = {student: submission.folder for student, submission in handed.found.items()}
        failed = [f"{shown(student)}: {problem}" for student, problem in handed.unreadable.items()]
        todo, stale, stamps, unread = {}, {}, {}, {}
        for student, submission in handed.found.items():
            stamps[student] = stamp_of(submission, self.code)
            if regrade or not executed(self.course, self.lab, student, stamps[student]):
                todo[student] = submission
            elif not self._is_recorded(student):
                stale[student] = submission
            elif said := self._record_of(student).get("unread"):
                unread[student] = said
        failed += [f"{shown(student)}: {unread[student]}" for student in self._unsettled(unread)]
        todo |= self._record_anew(stale, stamps, failed)
        if not todo:
            return failed
        with ExitStack() as stack:
            stack.enter_context(held(self.db_url))
            place = stack.enter_context(self._workers(workers, len(todo), scheduler, template))
            bar = stack.enter_context(
                tqdm(total=len(todo), desc=self.lab.assignment, unit="submission", file=sys.stderr)
            )
            tasks = (self._task(student, submission, place) for student, submission in todo.items())
            for task, outcome in worker_pool.run(place.workers, tasks):
                problem = (
                    outcome if isinstance(outcome, str) else self._record(task.student, stamps[task.student], outcome)
                )
                self.done += not problem
                if problem:
                    self._failed(failed, task.student, problem)
                (label,) = labels([task.student]).values()
                bar.set_postfix_str(label + (f", {len(failed)} failed" if failed else ""))
                bar.update()
                interrupts.check()
        return failed

    def _is_recorded(self, student: str) -> bool:
        """Whether gradebook and feedback still say what was found."""
        return has_feedback(self.course, self.lab, student) and self.recorded.holds(
            student, self.folders[student], self._record_of(student)
        )

    def _unsettled(self, students: Iterable[str]) -> list[str]:
        """Those in whose unreadable submissions something still waits for a person's mark."""
        names = list(students)
        found = read(self.db_url, self.course / "verdicts", [self.lab.assignment], names) if names else {}
        return [submission.student for each in found.values() for submission in each if submission.ungraded]

    def _left_over(self) -> None:
        """Keep why a submission is in no gradebook, of those only that are in none."""
        before = read_refused(self.course, self.lab.assignment)
        with Gradebook(self.db_url) as gradebook:
            recorded = {each.student_id for each in gradebook.assignment_submissions(self.lab.assignment)}
        kept = {student: why for student, why in before.items() if why != NOT_YET or student not in recorded}
        write_refused(self.course, self.lab.assignment, kept | self.lost)

    def _record_of(self, student: str) -> dict[str, Any]:
        return read_verdicts(verdict_path(self.course, student, self.lab.assignment, self.lab.notebook))

    def _record_anew(
        self, stale: dict[str, Submission], stamps: dict[str, str], failed: list[str]
    ) -> dict[str, Submission]:
        """Record what is stored; returns the submissions of which too little is, and which must be graded again."""
        lost: dict[str, Submission] = {}
        if not stale:
            return lost
        label = f"{self.lab.assignment}, recorded anew"
        with held(self.db_url), tqdm(stale.items(), desc=label, unit="submission", file=sys.stderr) as bar:
            for student, submission in bar:
                if (found := stored(self.course, self.lab, student)) is None:
                    lost[student] = submission
                    continue
                problem = self._record(student, stamps[student], found)
                self.again += not problem
                if problem:
                    self._failed(failed, student, problem)
                interrupts.check()
        return lost

    def _failed(self, failed: list[str], student: str, problem: str) -> None:
        """Note that a submission could not be graded; UserError when no other one can be, either."""
        failed.append(f"{shown(student)}: {problem}")
        record = self._record_of(student)
        if "stamp" not in record and all(each["status"] != NOT_GRADED for each in record.get("exercises", [])):
            self.lost[student] = problem  # what went wrong stands in no record
        if trouble := folder_trouble(self.course, problem) or gradebook_trouble(self.course, self.db_url):
            raise UserError(f"{trouble}; what is graded so far is kept.")

    @contextmanager
    def _workers(
        self, workers: int | Workers | None, most: int, scheduler: str, template: ForkServer | None
    ) -> Iterator[_WorkerSetup]:
        """Where it is done, and which fork server makes the kernels there."""
        with ExitStack() as stack:
            stack.callback(setattr, tqdm, "monitor_interval", tqdm.monitor_interval)
            tqdm.monitor_interval = 0  # its thread would stand in the way of forking
            if scheduler:
                from autograder.grading.dask_workers import Cluster

                place = _WorkerSetup(Cluster(scheduler, self.sandbox), OWN if self.sandbox else "")
            else:
                if self.sandbox and template is None:
                    template = stack.enter_context(ForkServer(modules_of(self.lab.source)))
                stack.enter_context(swept())
                shelf = stack.enter_context(self._shelf())
                address = template.address if self.sandbox and template else ""
                if workers is None or isinstance(workers, int):
                    workers = Processes(min(workers or len(os.sched_getaffinity(0)), most))
                place = _WorkerSetup(workers, address, shelf)
            stack.callback(place.workers.close)
            yield place

    @contextmanager
    def _shelf(self) -> Iterator[str]:
        """A folder for reference answers, which the next command finds again; "" where submissions could reach it."""
        places = references_path(self.course)
        if not self.sandbox:
            try:
                yield ""
            finally:  # a submission may have come to it
                shutil.rmtree(places, ignore_errors=True)
            return
        mine = places / f"{self.lab.key}-{self.code[:16]}"
        with scratch() as shelf:
            with suppress(OSError):  # then for this command alone
                mine.mkdir(mode=0o700, parents=True, exist_ok=True)
                shelf = mine
            for half in places.glob("*/*.*"):  # of processes that were killed while they wrote
                half.unlink(missing_ok=True)
            for old in places.glob(f"{self.lab.key}-*"):  # of other code, or another secret
                if old != mine:
                    shutil.rmtree(old, ignore_errors=True)
            yield str(shelf)

    def _task(self, student: str, submission: Submission, place: _WorkerSetup) -> Task:
        """A submission with all that decides about it."""
        content, problem = submission.content()
        path = verdict_path(self.course, student, self.lab.assignment, self.lab.notebook)
        before = read_verdicts(path)
        if before.pop("stamp", None):  # from here on it is unfinished
            write_atomically(path, json.dumps(before, indent=1))
        folder, names = self.course / "trained" / self.lab.assignment, before.get("trained") or []
        kept = {name: (folder / name).read_bytes() for name in map(str, names) if (folder / Path(name).name).is_file()}
        return Task(
            self.lab.assignment, student, content, problem, self.release, self.points, self.secret, self.limits,
            self.sandbox, kept, place.template, sources(), place.shelf, submission.note,
        )  # fmt: skip

    def _record(self, student: str, stamp: str, outcome: Executed) -> str:
        """Record what came of a submission and write its feedback; "" or what went wrong, in one line."""
        self.cold = self.cold or outcome.cold
        path = verdict_path(self.course, student, self.lab.assignment, self.lab.notebook)
        try:
            for name, content in outcome.files.items():
                write_atomically(self.course / "trained" / self.lab.assignment / name, content)
            folder = self.folders[student]
            for step in (lambda *place: record(self.api, *place, outcome, folder), self.api.generate_feedback):
                with interrupts.within(RECORD_SECONDS, "writing its results and its feedback"):
                    result = step(self.lab.assignment, student)
                if not result["success"]:
                    if "KeyboardInterrupt" in result["error"].strip().split("\n")[-1]:
                        raise KeyboardInterrupt
                    return why(result)
            written = read_verdicts(path)
            unread = written.get("unread", "")
            ours = [verdict["reason"] for verdict in written["exercises"] if verdict["status"] == NOT_GRADED]
            if ours and not unread:
                return terminal(ours[0], 400)
            self.recorded.refresh(student)
            written |= {"stamp": stamp, "recording": self.recorded.key(student, self.folders[student])}
            write_atomically(path, json.dumps(written, indent=1))  # last: only now is it finished
        except OSError as error:
            return in_words(f"OSError: {error}")
        return terminal(unread, 600)

    def tell(self, handed: SubmissionSet, failed: list[str]) -> None:
        """Write scores and report of the class, and print what was done."""
        try:
            self._left_over()
            with written_whole(self.course / "scores.csv") as path:
                score_export.write_csv(score_export.scores_table(self.db_url, self.course / "verdicts"), path)
            with written_whole(report_path(self.course, self.lab.assignment)) as path:
                write_report(self.course, self.lab.assignment, path, self.db_url)
            if len({folder.name for folder in (self.course / "verdicts").glob("*/*")}) > 1:
                with written_whole(overview_path(self.course)) as path:
                    write_overview(self.course, path, self.db_url)
            print(text_table(self.course, self.lab.assignment, db_url=self.db_url))
        except (UserError, OSError) as error:
            if trouble := folder_trouble(self.course, str(error)) or gradebook_trouble(self.course, self.db_url):
                raise UserError(f"{trouble}; what is graded so far is kept.") from None
            raise
        before = len(handed.found) + len(handed.unreadable) - self.done - self.again - len(failed)
        anew = f"{self.again} recorded anew, " * bool(self.again)
        print(f"{self.done} graded, {anew}{before} were graded already, {len(failed)} failed.")
        if self.cold:
            print(f"Kernels were started one by one, which takes longer: {terminal(self.cold, 300)}.", file=sys.stderr)
        for line in failed:
            print(f"Not graded: {line}", file=sys.stderr)


@dataclass(frozen=True)
class _WorkerSetup:
    workers: Workers
    template: str
    shelf: str = ""


def _check_sandbox() -> None:
    from autograder.sandbox.bubblewrap import unavailable

    if sentence := unavailable():
        raise UserError(sentence)


def _check_gradebook(course: Path, lab: Lab, db_url: str) -> None:
    if trouble := gradebook_trouble(course, db_url):
        raise UserError(f"{trouble}.")
    with Gradebook(db_url) as gradebook:
        known = [assignment.name for assignment in gradebook.assignments]
    if lab.assignment not in known:
        raise UserError(
            f"The gradebook of {course} does not know {lab.assignment}, whose release was made elsewhere; "
            f"in {course} run: nbgrader generate_assignment {lab.assignment} --force"
        )
