"""What a hostile submission is, and what a run of it showed.

An attack is data: what is handed in, and how its gain would show. The harness hands it in twice:
in a baseline (stock nbgrader, or our examiner without its sandbox), where it must gain something,
and in a class behind the walls, where it must not. While writing one, try it alone:

    .venv/bin/python tests/hostile/harness.py NAME --baseline
    .venv/bin/python tests/hostile/harness.py NAME --walled

Every attack must be safe in its baseline run: it touches only the course folder it is graded in
(`COURSE`) and temporary folders, its bombs are bounded and end by themselves, and it talks to
nobody but 127.0.0.1. Imports in attacks_*.py: `from hostile.attack import ...`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode

# What lies in the course folder and must not come out. Each stands in one place only:
COURSE_SECRET = "7e57" * 16  # course_secret (the baseline with stock nbgrader has that file, too)
NEIGHBOUR_MARK = "owl-1f3a-in-the-neighbours-words"  # a comment in each neighbour's playground cell
GRADEBOOK_MARK = "elk-9c42-in-the-gradebook"  # a teacher's comment on last year's student
SOLUTION_MARK = "BEGIN MARK SCHEME"  # solutions/ and autograder/; never in a release
STOCK_TESTS_MARK = "newt-77b0-in-the-hidden-tests"  # stock only; its feedback shows it to everybody, so print a prefix
NEIGHBOUR = "neighbour"  # in the id of every honest student

# Code for an attack's cells: `course` is the folder in which this run grades, or None where it is out of sight.
COURSE = '''
def find_course():
    """The course folder: above this one (stock nbgrader), or where a parent process of ours stands."""
    import os, pathlib
    places, pid = [pathlib.Path.cwd(), *pathlib.Path.cwd().parents], os.getpid()
    try:
        while pid > 1:
            places.append(pathlib.Path(os.readlink(f"/proc/{pid}/cwd")))
            pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        pass
    for place in places:
        try:
            if (place / "gradebook.db").exists() and (place / "submitted").is_dir():
                return place
        except OSError:
            pass
    return None

course = find_course()
'''


@dataclass(frozen=True)
class Seen:
    """What one run of an attack showed.

    Attributes:
        points: exercise -> the automatic points in the gradebook; None when there are none.
        status: exercise -> the status in our verdict record; empty with stock nbgrader.
        total: the student's score as the gradebook adds it up; None when there is no such submission.
        own: what came out about this student, each as text: the outputs in the autograded notebook, the
            feedback, the verdict record, the lines of the command and of scores.csv that name the student.
        text: `own`, all that the command printed, scores.csv, and the report.
        feedback: the feedback page as HTML; "" when there is none.
        neighbours: id -> their points, as `points`.
        harmed: neighbours without the points that their work is worth.
        gradebook_changed: whether rows of somebody who handed in nothing, or the points to be had, changed.
        root: the course folder.
        exit: exit status of the grading command; negative: the signal that killed it, -9 when time was up.
        seconds: that the command ran.
        changed: files in the course folder that are not grading's to write, and were changed, made or removed.
        left: command lines of processes that outlived the command; they were killed afterwards.
    """

    points: Mapping[str, float | None]
    status: Mapping[str, str]
    total: float | None
    own: str
    text: str
    feedback: str
    neighbours: Mapping[str, Mapping[str, float | None]]
    harmed: frozenset[str]
    gradebook_changed: bool
    root: Path
    exit: int
    seconds: float
    changed: frozenset[str]
    left: tuple[str, ...]

    @property
    def earned(self) -> float:
        """The automatic points, added up."""
        return sum(points or 0.0 for points in self.points.values())


@dataclass(frozen=True)
class OwnPoints:
    """A gain that shows in the attack's own points for one of these exercises, so that its baseline may be a class."""

    exercises: tuple[str, ...]

    def __call__(self, seen: Seen) -> bool:
        return any((seen.points[exercise] or 0.0) > 0 for exercise in self.exercises)


@dataclass(frozen=True)
class Attack:
    """One hostile submission.

    Attributes:
        name: such as "forged-display-message"; the student's id is a number and this (letters, digits, hyphens).
        tries: one line: what it tries.
        shown_by: the baseline in which it gains something: "stock" nbgrader, or our examiner "unwalled"
            (`--no-sandbox`); "harmless": neither, so it is run and listed, but not counted.
        gained: whether a run shows the gain. True of the baseline, False of the walled run.
        codes: exercise id -> code of its answer cell; the others stay TODO.
        honest: exercises that are right: they must get full points behind the walls, the others none.
        loses: exercises that may get anything from nothing to full points, as the attack gets in their way.
        mend: surgery on the handed-in notebook; the codes are in it already.
        rewrite: then, on the bytes of its file.
        beside: then, on the folder that it lies in: what lies beside it, or takes its place.
        environ: of the grading command, such as a secret that is to be found; its values must not come out.
        says: regular expression that `Seen.own` must match behind the walls: the walls name what happened.
        fast: also in `make test`; the rest only in `make test-hostile`.
        patience: seconds after which the baseline's command is killed.
    """

    name: str
    tries: str
    shown_by: str
    gained: Callable[[Seen], bool]
    codes: Mapping[str, str] = field(default_factory=dict)
    honest: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    mend: Callable[[NotebookNode], None] = lambda nb: None
    rewrite: Callable[[bytes], bytes] | None = None
    beside: Callable[[Path], None] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    says: str = ""
    fast: bool = False
    patience: float = 100.0
    lab: str = "lab1_attention"


def cell_of(nb: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with this grade_id; `exam-` and an exercise's id for its graded cell."""
    return next(cell for cell in nb.cells if cell.metadata.nbgrader.grade_id == grade_id)
