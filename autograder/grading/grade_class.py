"""Grade everything that was handed in for a lab: many at a time, recorded by one writer through nbgrader's converters.

A submission that is graded already, with the same file, exams, code, limits and secret, is not graded again. The
cache key in its verdict record says so, which is written once, when points and notebook are at their place. What is
written last is the feedback page, and it is removed first: where it is missing, what stands in the record is recorded
anew.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbgrader.apps import NbGraderAPI
from nbgrader.converters.base import NbGraderException
from tqdm import tqdm

from autograder import interrupts
from autograder.course import course_api
from autograder.errors import UserError
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.submission_task import OWN, Executed
from autograder.grading import stage_times, worker_pool
from autograder.grading.stored_results import Recorded, has_feedback, is_executed, stored
from autograder.grading.worker_pool import Processes, Workers
from autograder.labs.lab import Lab, find_lab
from autograder.nbgrader_integration.api import in_words, quiet, reason_of, record
from autograder.nbgrader_integration.converters import RECORD_SECONDS
from autograder.nbgrader_integration.grading_setup import GradingSetup
from autograder.nbgrader_integration.preprocessors import Conversion, Examine
from autograder.reporting import score_export
from autograder.reporting.class_results import read
from autograder.reporting.course_report import write_overview
from autograder.reporting.lab_report import write_report
from autograder.reporting.terminal_table import text_table
from autograder.reporting.wording import labels
from autograder.sandbox.forked_kernel import ForkServer
from autograder.sandbox.scratch import scratch, sweep, swept
from autograder.sanitize.untrusted import shown, terminal
from autograder.storage.atomic_files import written_whole
from autograder.storage.course_folder import Course
from autograder.storage.diagnose import folder_trouble, gradebook_trouble
from autograder.storage.find_submissions import find_submissions
from autograder.storage.gradebook import held
from autograder.storage.refused import NOT_YET, enter, read_refused, write_refused
from autograder.storage.submissions import Submission, SubmissionSet
from autograder.storage.verdict_files import write_record


def grade(
    root: Path,
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
        root: the course folder.
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
    released = Course(root).release(lab)
    if not released.exists():
        raise UserError(
            f"Expected the release at {released}, found none; "
            f"in {root} run: nbgrader generate_assignment {lab.assignment}"
        )
    if trouble := folder_trouble(root):
        raise UserError(f"{trouble}.")
    with quiet():
        api = course_api(root, sandbox)
        course = Course(root, api.coursedir.db_url)
        handed = find_submissions(course, lab, students)
        with course.alone():
            class_ = _ClassGrading(course, lab, api)
            enter(course, lab, handed, bool(students))
            failed = class_.grade(handed, regrade, workers, scheduler, template)
            class_.write_reports(handed, failed)
    if profile:
        print(stage_times.table(root, lab.assignment))
    return 1 if failed else 0


class _ClassGrading:
    """All submissions to a lab in one course."""

    def __init__(self, course: Course, lab: Lab, api: NbGraderAPI) -> None:
        self.course, self.lab, self.api = course, lab, api
        _ = course.secret  # first of all: where its file is damaged, nothing else matters
        _check_gradebook(course, lab)
        examine = Examine(config=api.config)
        try:
            self.setup = GradingSetup.read(course, lab, course.release(lab), examine.limits, examine.sandbox)
        except NbGraderException as error:
            raise UserError(f"{error}.") from None
        self.done = self.again = 0
        self.lost: dict[str, str] = {}
        self.submissions: dict[str, Submission] = {}
        self.recorded = Recorded(course, lab, api.config)
        self.fallback_reason = ""

    def grade(
        self,
        handed: SubmissionSet,
        regrade: bool,
        workers: int | Workers | None,
        scheduler: str,
        template: ForkServer | None,
    ) -> list[str]:
        """Grade what is not finished; a sentence for each submission that could not be."""
        self.submissions = handed.found
        failed = [f"{shown(student)}: {problem}" for student, problem in handed.unreadable.items()]
        todo, stale, keys, unread = dict[str, Submission](), dict[str, Submission](), dict[str, str](), dict[str, str]()
        for student, submission in handed.found.items():
            keys[student] = self.setup.cache_key(submission)
            if regrade or not is_executed(self.course, self.lab, student, keys[student]):
                todo[student] = submission
            elif not self._is_recorded(student):
                stale[student] = submission
            elif (record := self.course.record(self.lab, student)) and record.unread:
                unread[student] = record.unread
        failed += [f"{shown(student)}: {unread[student]}" for student in self._unsettled(unread)]
        todo |= self._record_anew(stale, keys, failed)
        if not todo:
            return failed
        with ExitStack() as stack:
            stack.enter_context(held(self.course.db_url))
            place = stack.enter_context(self._workers(workers, len(todo), scheduler, template))
            bar = stack.enter_context(
                tqdm(total=len(todo), desc=self.lab.assignment, unit="submission", file=sys.stderr)
            )
            tasks = (
                self.setup.task(student, submission, place.template, place.reference_cache)
                for student, submission in todo.items()
            )
            for task, outcome in worker_pool.run(place.workers, tasks):
                if isinstance(outcome, str):
                    problem = outcome
                    self._take_back(task.student)
                else:
                    problem = self._record(task.student, keys[task.student], outcome)
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
        record, folder = self.course.record(self.lab, student), self.submissions[student].folder
        return (
            record is not None
            and has_feedback(self.course, self.lab, student)
            and self.recorded.holds(student, folder, record)
        )

    def _unsettled(self, students: Iterable[str]) -> list[str]:
        """Those in whose unreadable submissions something still waits for a person's mark."""
        names = list(students)
        if not names:
            return []
        found = read(self.course, [self.lab.assignment], names)
        return [submission.student for submission in found.assignments[self.lab.assignment] if submission.ungraded]

    def _left_over(self) -> None:
        """Keep why a submission is in no gradebook, of those only that are in none."""
        before = read_refused(self.course.root, self.lab.assignment)
        with self.course.gradebook() as gradebook:
            recorded = {each.student_id for each in gradebook.assignment_submissions(self.lab.assignment)}
        left = {student: reason for student, reason in before.items() if reason != NOT_YET or student not in recorded}
        write_refused(self.course.root, self.lab.assignment, left | self.lost)

    def _record_anew(
        self, stale: dict[str, Submission], keys: dict[str, str], failed: list[str]
    ) -> dict[str, Submission]:
        """Record what is stored; returns the submissions of which too little is, and which must be graded again."""
        lost: dict[str, Submission] = {}
        if not stale:
            return lost
        label = f"{self.lab.assignment}, recorded anew"
        with held(self.course.db_url), tqdm(stale.items(), desc=label, unit="submission", file=sys.stderr) as bar:
            for student, submission in bar:
                if (found := stored(self.course, self.lab, student)) is None:
                    lost[student] = submission
                    continue
                problem = self._record(student, keys[student], found)
                self.again += not problem
                if problem:
                    self._failed(failed, student, problem)
                interrupts.check()
        return lost

    def _failed(self, failed: list[str], student: str, problem: str) -> None:
        """Note that a submission could not be graded; UserError when no other one can be, either."""
        failed.append(f"{shown(student)}: {problem}")
        record = self.course.record(self.lab, student)
        if record is None or not record.not_graded:
            self.lost[student] = problem  # what went wrong stands in no record
        if trouble := folder_trouble(self.course.root, problem) or gradebook_trouble(self.course):
            raise UserError(f"{trouble}; what is graded so far is kept.")

    def _take_back(self, student: str) -> None:
        """What an earlier grading has decided stays, but the next command grades it again, as this one should have."""
        record = self.course.record(self.lab, student)
        if record is not None and record.cache_key:
            record.cache_key = record.recording = ""
            with suppress(OSError):  # which is told when the folder is looked at
                write_record(self.course.record_path(self.lab, student), record)

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

                place = _WorkerSetup(Cluster(scheduler, self.setup.sandbox), OWN if self.setup.sandbox else "")
            else:
                if self.setup.sandbox and template is None:
                    template = stack.enter_context(ForkServer(modules_of(self.lab.source), PACKAGES))
                stack.enter_context(swept())
                cache = stack.enter_context(self._reference_cache())
                address = template.address if self.setup.sandbox and template else ""
                if workers is None or isinstance(workers, int):
                    workers = Processes(min(workers or len(os.sched_getaffinity(0)), most))
                place = _WorkerSetup(workers, address, cache)
            stack.callback(place.workers.close)
            yield place

    @contextmanager
    def _reference_cache(self) -> Iterator[str]:
        """A folder for reference answers, which the next command finds again; "" where submissions could reach it."""
        places = self.course.references
        if not self.setup.sandbox:
            try:
                yield ""
            finally:  # a submission may have come to it
                shutil.rmtree(places, ignore_errors=True)
            return
        mine = places / f"{self.lab.key}-{self.setup.code[:16]}"
        with scratch() as cache:
            with suppress(OSError):  # then for this command alone
                mine.mkdir(mode=0o700, parents=True, exist_ok=True)
                cache = mine
            for half in places.glob("*/*.*"):  # of processes that were killed while they wrote
                half.unlink(missing_ok=True)
            for old in places.glob(f"{self.lab.key}-*"):  # of other code, or another secret
                if old != mine:
                    shutil.rmtree(old, ignore_errors=True)
            yield str(cache)

    def _record(self, student: str, cache_key: str, outcome: Executed) -> str:
        """Record what came of a submission and write its feedback; "" or what went wrong, in one line."""
        self.fallback_reason = self.fallback_reason or outcome.fallback_reason
        submission = self.submissions[student]
        conversion = Conversion(
            self.course, self.lab, self.setup.release, submission.folder, cache_key, executed=outcome
        )
        try:
            self.course.feedback(self.lab, student).unlink(missing_ok=True)  # from here on it is unfinished
            if reason := self._step(lambda: record(self.api, student, submission, conversion)):
                return reason
            written = conversion.record
            assert written is not None
            self.recorded.refresh(student)
            if written.cache_key:
                written.recording = self.recorded.key(student, submission.folder)
            write_record(self.course.record_path(self.lab, student), written)
            if reason := self._step(lambda: self.api.generate_feedback(self.lab.assignment, student)):
                return reason
        except OSError as error:
            return in_words(f"OSError: {error}")
        if written.not_graded and not written.unread:
            return terminal(written.not_graded[0], 400)
        return terminal(written.unread, 600)

    def _step(self, step: Callable[[], dict[str, Any]]) -> str:
        """Take one of nbgrader's steps; "" or why it failed."""
        with interrupts.within(RECORD_SECONDS, "writing its results and its feedback"):
            result = step()
        if result["success"]:
            return ""
        if "KeyboardInterrupt" in result["error"].strip().split("\n")[-1]:
            raise KeyboardInterrupt
        return reason_of(result)

    def write_reports(self, handed: SubmissionSet, failed: list[str]) -> None:
        """Write scores and report of the class, and print what was done."""
        try:
            self._left_over()
            results = read(self.course)
            with written_whole(self.course.scores) as path:
                score_export.write_csv(score_export.scores_table(results), path)
            with written_whole(self.course.report(self.lab)) as path:
                write_report(results, self.lab.assignment, path)
            if len({folder.name for folder in self.course.verdicts.glob("*/*")}) > 1:
                with written_whole(self.course.overview) as path:
                    write_overview(results, path)
            print(text_table(results, self.lab.assignment))
        except (UserError, OSError) as error:
            if trouble := folder_trouble(self.course.root, str(error)) or gradebook_trouble(self.course):
                raise UserError(f"{trouble}; what is graded so far is kept.") from None
            raise
        before = len(handed.found) + len(handed.unreadable) - self.done - self.again - len(failed)
        anew = f"{self.again} recorded anew, " * bool(self.again)
        print(f"{self.done} graded, {anew}{before} were graded already, {len(failed)} failed.")
        if self.fallback_reason:
            reason = terminal(self.fallback_reason, 300)
            print(f"Kernels were started one by one, which takes longer: {reason}.", file=sys.stderr)
        for line in failed:
            print(f"Not graded: {line}", file=sys.stderr)


@dataclass(frozen=True)
class _WorkerSetup:
    workers: Workers
    template: str
    reference_cache: str = ""


def _check_sandbox() -> None:
    from autograder.sandbox.bubblewrap import unavailable

    if sentence := unavailable(PACKAGES):
        raise UserError(sentence)


def _check_gradebook(course: Course, lab: Lab) -> None:
    if trouble := gradebook_trouble(course):
        raise UserError(f"{trouble}.")
    with course.gradebook() as gradebook:
        known = [assignment.name for assignment in gradebook.assignments]
    if lab.assignment not in known:
        raise UserError(
            f"The gradebook of {course.root} does not know {lab.assignment}, whose release was made elsewhere; "
            f"in {course.root} run: nbgrader generate_assignment {lab.assignment} --force"
        )
