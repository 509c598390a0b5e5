"""A second look at a notebook in which not all is right: stand-ins take the place of what was not.

So each exercise is judged alone. What the first look found decides which stand-ins run. Nothing that was found about
an exercise is known in the kernel in which it is judged: all exercises behind a stand-in are asked there.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.execution.own_cells import definitions, is_own
from autograder.execution.submission_task import ENDINGS, Examination
from autograder.judging.trained_exercise import TrainedExercise
from autograder.judging.verdict import GRADED, NOT_GRADED, Verdict
from autograder.labs.exam import Exercise
from autograder.labs.lab import EXAMS, Lab
from autograder.submission.cell_order import again, runs


def needed(lab: Lab, verdicts: Sequence[Verdict]) -> list[str]:
    """The exercises that need a stand-in: not right, and a later one is not right either."""
    order = [exercise.id for exercise in lab.exercises]
    found = {verdict.exercise: verdict for verdict in verdicts if verdict.points is not None}
    wrong = [id for id in order if id in found and not is_right(found[id])]
    return [id for id in wrong[:-1] if lab.stand_in(id) and _asked(lab, found, [id])]


def is_right(verdict: Verdict) -> bool:
    """Whether nothing was wrong with an answer; an extra earns no points, and is right all the same."""
    return verdict.status == GRADED and bool(verdict.cases) and all(case.right for case in verdict.cases)


def asked_again(lab: Lab, verdicts: Sequence[Verdict], stood: Sequence[str]) -> set[str]:
    """What to ask in the second look: all behind a stand-in, right ones too; a training only where it matters."""
    found = {verdict.exercise: verdict for verdict in verdicts}
    later = {e.id for e in lab.exercises if before(lab, e, stood) and not isinstance(e, TrainedExercise)}
    return later | set(_asked(lab, found, stood))


def _asked(lab: Lab, found: Mapping[str, Verdict], stood: Sequence[str]) -> list[str]:
    """The exercises whose verdict a stand-in may change."""
    ids = []
    for exercise in lab.exercises:
        if exercise.id not in found or is_right(found[exercise.id]) or not (there := before(lab, exercise, stood)):
            continue
        if not isinstance(exercise, TrainedExercise) or set(there) & set(exercise.behind):
            ids.append(exercise.id)
    return ids


def before(lab: Lab, exercise: Exercise, stood: Sequence[str]) -> tuple[str, ...]:
    """The stand-ins that run before an exercise."""
    order = [each.id for each in lab.exercises]
    return tuple(id for id in order[: order.index(exercise.id)] if id in stood)


def notebook_with(notebook: NotebookNode, lab: Lab, stood: Sequence[str], reduced: Mapping[int, str]) -> NotebookNode:
    """A copy with a stand-in behind each of these exercises' exams, and behind cells that define it once more.

    Of the student's own cells, and of those that ended a kernel or hung, only what they define is run again.

    Args:
        reduced: cell -> what a replay runs of it.
    """
    changed = copy.deepcopy(notebook)
    cells, changed.cells = changed.cells, []
    seen: set[str] = set()
    for place, cell in enumerate(cells):
        changed.cells.append(cell)
        if cell.cell_type != "code":
            continue
        if place in reduced:
            cell.metadata.vitedu["runs"] = reduced[place]
        elif is_own(cell):
            cell.metadata.vitedu["runs"] = definitions(runs(cell))
        if cell.metadata.vitedu.role in EXAMS and cell.metadata.vitedu.exercise in stood:
            seen.add(cell.metadata.vitedu.exercise)
            changed.cells.append(_cell(lab, cell.metadata.vitedu.exercise))
        changed.cells += [_cell(lab, id) for id in again(cell) if id in seen]
    return changed


def _cell(lab: Lab, exercise: str) -> NotebookNode:
    metadata = {"nbgrader": {"grade_id": f"stand-in-{exercise}"}, "vitedu": {"role": "setup"}}
    cell: NotebookNode = new_code_cell(lab.stand_in(exercise), metadata=metadata)  # type: ignore[no-untyped-call]
    return cell


def merge(done: Examination, second: Examination) -> None:
    """Take over what is better in the second look, and what it costs."""
    found = {verdict.exercise: verdict for verdict in second.verdicts}
    for place, first in enumerate(done.verdicts):
        if (verdict := found.get(first.exercise)) is None or not _is_better(first, verdict):
            continue
        seconds = first.seconds | verdict.seconds
        verdict.seconds = {s: first.seconds.get(s, 0.0) + verdict.seconds.get(s, 0.0) for s in seconds}
        done.verdicts[place] = verdict
        # Those that are right after all, with stand-ins before them, need no mending.
        wrong = [v.exercise for v in done.verdicts[:place] if v.exercise in verdict.stand_ins and not is_right(v)]
        if wrong:
            so_far = "Right as far as this exercise goes: " if is_right(verdict) else ""
            some = "is not right yet, and costs" if len(wrong) == 1 else "are not right yet, and cost"
            verdict.remarks.append(f"{so_far}{' and '.join(wrong)} {some} nothing here.")
    done.seconds["again"] = sum(second.seconds.values())
    done.cpu += second.cpu
    done.trained += second.trained


def _is_better(first: Verdict, second: Verdict) -> bool:
    """Whether the second verdict counts. What was found without the earlier mistakes names what is wrong here."""
    if first.points is None or is_right(first) or second.points is None or second.points < first.points:
        return False
    nothing = second.status in (*ENDINGS, NOT_GRADED)  # no kernel, or no time
    return second.points > first.points or not nothing
