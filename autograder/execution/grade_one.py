"""The slow part of grading one submission, as a function of bytes: it reads and writes no course folder.

This is the one road from a file to its verdicts. `autograder grade` has it walked by workers (grading/worker_pool.py),
nbgrader's own command and formgrader's button by their own process (nbgrader_integration/preprocessors.py).
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.execution.code_version import sources
from autograder.execution.examiner import examine
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.submission_task import OWN, Executed, Refused, Task, unexamined
from autograder.judging.reference_answers import Reference, one_thread
from autograder.judging.verdict_output import verdict_output
from autograder.labs.lab import EXAMS, find_lab
from autograder.sandbox import bubblewrap
from autograder.sandbox.forked_kernel import ForkServer
from autograder.sandbox.scratch import scratch, sweep
from autograder.submission.match_cells import lab_of, recognise
from autograder.submission.parse_notebook import SubmittedCell, Unreadable, parse_submission
from autograder.submission.rebuild import rebuild

GRACE = 60.0  # seconds that a worker of this machine's pool has to be ended from outside first

_references: dict[str, Reference] = {}
_templates: dict[str, ForkServer] = {}
_one_at_a_time = threading.Lock()  # torch's default dtype is one for all threads of a process, and so is a template


def grade_one(task: Task) -> Executed:
    """Rebuild, run and judge one submission.

    Raises:
        Refused: no sandbox here, or other code than the task was made for.
    """
    where = f"{os.uname().nodename}-{os.getpid()}"
    if task.sources and task.sources != sources():
        raise Refused(f"the worker {where} has another version of vitedu: install the same everywhere")
    if task.sandbox and (reason := bubblewrap.unavailable(PACKAGES)):
        raise Refused(f"the worker {where} has no sandbox: {reason}")
    notebook = rebuilt(task)
    with _one_at_a_time, one_thread(), scratch() as trainings_dir:
        for name, content in task.trainings.items():
            (trainings_dir / Path(name).name).write_bytes(content)
        executed = _execute(task, notebook, trainings_dir)
        new = (path for path in trainings_dir.iterdir() if path.name not in task.trainings)
        executed.files = {path.name: path.read_bytes() for path in new}
    return executed


def grade_in_worker(task: Task) -> Executed:
    """The same in a process that has nothing else to do, and ends when it is stuck."""
    with _alive_until(task.most + GRACE):
        return grade_one(task)


def reference_of(assignment: str) -> Reference:
    """The reference answers of a lab, kept for all submissions that this process grades."""
    if assignment not in _references:
        _references[assignment] = Reference(find_lab(assignment))
    return _references[assignment]


def rebuilt(task: Task) -> NotebookNode:
    """The submission put back into the shape of the release.

    Its metadata holds what was repaired, as "mended", and under "unread" why nothing can be graded: then it has no
    score.
    """
    started, cells, problem = time.monotonic(), list[SubmittedCell](), task.problem
    release = nbformat.reads(task.release.decode(), as_version=4)
    if task.content is not None:
        try:
            cells = parse_submission(task.content)
            problem = _foreign(cells, release)
        except Unreadable as error:
            problem = f"{error}: hand in the notebook again"
    notebook, repairs = rebuild([] if problem else cells, release, dict(task.points))
    unread = f"Nothing could be graded: {problem}." if problem else ""
    repairs = [unread] if unread else [task.note] * bool(task.note) + repairs
    seconds = time.monotonic() - started
    notebook.metadata["vitedu"] = {"mended": repairs, "unread": unread, "rebuild_seconds": seconds}
    return notebook


def _foreign(cells: list[SubmittedCell], release: NotebookNode) -> str:
    """Why a notebook is not one of this release: another lab's, or nobody's; "" where it is one."""
    released = [SubmittedCell(c.cell_type, c.source, c.metadata.nbgrader.grade_id) for c in release.cells]
    found, expected = lab_of(cells), lab_of(released)
    if found is not None and expected is not None and found != expected:
        return f"this is {_its_name(found)}, expected {_its_name(expected)}: hand in that one"
    known = {cell.grade_id for cell in released}
    if found is None and not any(cell.grade_id in known for cell in recognise(cells, release)[0]):
        return "nothing in the notebook belongs to this lab: hand in the notebook that was released, with your answers"
    return ""


def _its_name(assignment: str) -> str:
    lab = find_lab(assignment)
    return f"Lab {lab.key.removeprefix('lab')}'s notebook ({lab.notebook}.ipynb)"


def _execute(task: Task, notebook: NotebookNode, trainings_dir: Path) -> Executed:
    """Run a rebuilt notebook's cells, put the probes, judge, and write the judge's outputs."""
    reference = reference_of(task.lab)
    reference.cache = Path(task.reference_cache) if task.reference_cache else None
    if unread := notebook.metadata.vitedu.get("unread", ""):
        examination = unexamined(notebook, unread.rstrip("."))
    else:
        if task.template == OWN:
            task = replace(task, template=_template(task.lab))
        examination = examine(task, notebook, reference, trainings_dir)
    for index, outputs in examination.outputs.items():
        notebook.cells[index].outputs = outputs
    notebook.metadata.vitedu["mended"] = [*notebook.metadata.vitedu.get("mended", []), *examination.notes]
    by_cell = {verdict.grade_id: verdict for verdict in examination.verdicts}
    for cell in notebook.cells:
        if cell.metadata.vitedu.role in EXAMS:  # written last, when the kernel is dead
            cell.outputs = [verdict_output(by_cell[cell.metadata.nbgrader.grade_id])]
    seconds = {"rebuild": notebook.metadata.vitedu.pop("rebuild_seconds", 0.0)} | examination.seconds
    return Executed(
        notebook, examination.verdicts, seconds, examination.cpu, task.sandbox, examination.trained,
        fallback_reason=examination.fallback_reason,
    )  # fmt: skip


@contextlib.contextmanager
def _alive_until(seconds: float) -> Iterator[None]:
    """End this process when it takes longer, whatever holds it: this needs neither signals nor the interpreter."""
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _template(lab: str) -> str:
    """The address of this process's own template, which is made anew when it has ended."""
    there = _templates.get(lab)
    if there is None or there.process.poll() is not None:
        sweep()  # what a worker left here that was killed, and whose place this one has taken
        _close_templates()
        atexit.register(_close_templates)
        _templates[lab] = ForkServer(modules_of(find_lab(lab).source), PACKAGES)
    return _templates[lab].address


def _close_templates() -> None:
    for lab in list(_templates):
        _templates.pop(lab).close()
