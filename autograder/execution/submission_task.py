"""The slow part of grading one submission, as a function of bytes: it reads and writes no course folder.

So it can run in any process of any machine that has this package and a sandbox; grading/worker_pool.py hands it to
one, and nbgrader_integration/api.py records what comes back.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.execution.code_version import sources
from autograder.execution.examiner import examine, unexamined
from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES, modules_of
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import Verdict
from autograder.judging.verdict_output import verdict_output
from autograder.labs.lab import EXAMS, find_lab
from autograder.sandbox import bubblewrap
from autograder.sandbox.forked_kernel import ForkServer
from autograder.sandbox.scratch import scratch, sweep
from autograder.submission.match_cells import lab_of, recognise
from autograder.submission.parse_notebook import SubmittedCell, Unreadable, parse_submission
from autograder.submission.rebuild import rebuild

OWN = "own"  # instead of an address: a template of the worker's own
GRACE = 60.0  # seconds that a worker of this machine's pool has to be ended from outside first


class Refused(RuntimeError):
    """This worker cannot do the work as it must be done."""


@dataclass(frozen=True)
class Task:
    """One submission, and all that decides about it.

    Attributes:
        content: the handed-in file; None where it could not be taken in, and `problem` says why.
        release: the notebook as students got it; points: of each graded cell, from the gradebook.
        kept: trained answers of an earlier grading, by file name.
        template: address of a preloaded process, OWN, or "" for cold kernels.
        sources: digest of the code that is to do it.
        note: what was done about an odd name or place.
        shelf: a folder of the worker's machine for reference answers, see Reference; "" without one.
    """

    lab: str
    student: str
    content: bytes | None
    problem: str
    release: bytes
    points: dict[str, float]
    secret: bytes
    limits: Limits
    sandbox: bool
    kept: dict[str, bytes] = field(default_factory=dict)
    template: str = ""
    sources: str = ""
    shelf: str = ""
    note: str = ""

    @property
    def most(self) -> float:
        """Seconds after which whoever does it is stuck."""
        return most_seconds(self.lab, self.limits)


def most_seconds(lab: str, limits: Limits) -> float:
    """Seconds after which the grading of one submission of a lab is stuck."""
    return limits.whole(sum(3 for exercise in find_lab(lab).exercises if exercise.trained))


@dataclass
class Executed:
    """A notebook with the judge's outputs in it, and what the judge decided.

    Attributes:
        seconds: wall time by stage; cpu: CPU time of the student's code.
        trained: names of the files with trained answers; files: those that are new.
        cold: why a kernel was not forked from the template, though there is one.
        again: this is what an earlier grading has stored, to be recorded anew.
    """

    notebook: NotebookNode
    verdicts: list[Verdict]
    seconds: dict[str, float]
    cpu: float
    sandbox: bool
    trained: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    cold: str = ""
    again: bool = False

    def without_notebook(self) -> Executed:
        """The rest, for nbconvert's resources, which it copies again and again."""
        return replace(self, notebook=NotebookNode(), files={})


_references: dict[str, Reference] = {}
_templates: dict[str, ForkServer] = {}
_one_at_a_time = threading.Lock()  # torch's default dtype is one for all threads of a process, and so is a template


def reference_of(assignment: str) -> Reference:
    """The reference answers of a lab, kept for all submissions that this process grades."""
    if assignment not in _references:
        _references[assignment] = Reference(find_lab(assignment))
    return _references[assignment]


def work(task: Task) -> Executed:
    """Rebuild, run and judge one submission.

    Raises:
        Refused: no sandbox here, or other code than the task was made for.
    """
    where = f"{os.uname().nodename}-{os.getpid()}"
    if task.sources and task.sources != sources():
        raise Refused(f"the worker {where} has another version of vitedu: install the same everywhere")
    if task.sandbox and (why := bubblewrap.unavailable(PACKAGES)):
        raise Refused(f"the worker {where} has no sandbox: {why}")
    release = nbformat.reads(task.release.decode(), as_version=4)
    nb = rebuilt(task.content, task.problem, release, task.points, task.note)
    reference_of(task.lab).shelf = Path(task.shelf) if task.shelf else None
    with _one_at_a_time, _alive_until(task.most + GRACE), scratch() as kept:
        template = _template(task.lab) if task.template == OWN else task.template
        for name, content in task.kept.items():
            (kept / Path(name).name).write_bytes(content)
        done = execute(nb, task.lab, task.student, task.secret, task.limits, kept, task.sandbox, template)
        done.files = {path.name: path.read_bytes() for path in kept.iterdir() if path.name not in task.kept}
    return done


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


def rebuilt(
    content: bytes | None, problem: str, release: NotebookNode, points: dict[str, float], note: str = ""
) -> NotebookNode:
    """The submission put back into the shape of the release.

    Its metadata holds what was mended, and under "unread" why nothing can be graded: then it has no score.
    """
    started, cells = time.monotonic(), []
    if content is not None:
        try:
            cells = parse_submission(content)
            problem = _foreign(cells, release)
        except Unreadable as error:
            problem = f"{error}: hand in the notebook again"
    nb, mended = rebuild([] if problem else cells, release, points)
    unread = f"Nothing could be graded: {problem}." if problem else ""
    mended = [unread] if unread else [note] * bool(note) + mended
    nb.metadata["vitedu"] = {"mended": mended, "unread": unread, "rebuild_seconds": time.monotonic() - started}
    return nb


def _foreign(cells: list[SubmittedCell], release: NotebookNode) -> str:
    """Why a notebook is not one of this release: another lab's, or nobody's; "" where it is one."""
    released = [SubmittedCell(c.cell_type, c.source, c.metadata.nbgrader.grade_id) for c in release.cells]
    found, expected = lab_of(cells), lab_of(released)
    if None not in (found, expected) and found != expected:
        return f"this is {_its_name(found)}, expected {_its_name(expected)}: hand in that one"
    known = {cell.grade_id for cell in released}
    if found is None and not any(cell.grade_id in known for cell in recognise(cells, release)[0]):
        return "nothing in the notebook belongs to this lab: hand in the notebook that was released, with your answers"
    return ""


def _its_name(assignment: str) -> str:
    lab = find_lab(assignment)
    return f"Lab {lab.key.removeprefix('lab')}'s notebook ({lab.notebook}.ipynb)"


def execute(
    nb: NotebookNode,
    assignment: str,
    student: str,
    secret: bytes,
    limits: Limits,
    kept: Path | None,
    sandboxed: bool,
    template: str = "",
) -> Executed:
    """Run a rebuilt notebook's cells, put the probes, judge, and write the judge's outputs."""
    reference = reference_of(assignment)
    if unread := nb.metadata.vitedu.get("unread", ""):
        examination = unexamined(nb, unread.rstrip("."))
    else:
        examination = examine(nb, reference.lab, reference, student, secret, limits, kept, sandboxed, template)
    for index, outputs in examination.outputs.items():
        nb.cells[index].outputs = outputs
    nb.metadata.vitedu["mended"] = [*nb.metadata.vitedu.get("mended", []), *examination.told]
    by_cell = {verdict.grade_id: verdict for verdict in examination.verdicts}
    for cell in nb.cells:
        if cell.metadata.vitedu.role in EXAMS:  # written last, when the kernel is dead
            cell.outputs = [verdict_output(by_cell[cell.metadata.nbgrader.grade_id])]
    seconds = {"rebuild": nb.metadata.vitedu.pop("rebuild_seconds", 0.0)} | examination.seconds
    return Executed(
        nb, examination.verdicts, seconds, examination.cpu, sandboxed, examination.trained, cold=examination.cold
    )
