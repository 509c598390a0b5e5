"""A verdict as the output of its exam cell: what formgrader and the feedback show."""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.judging.verdict import FOR_REVIEW, GRADED, NOT_ANSWERED, NOT_GRADED, Diagnosis, Verdict
from vitedu import display


def verdict_output(verdict: Verdict) -> NotebookNode:
    """A display_data output with the verdict as HTML and as text, marked as ours."""
    card = verdict_card(verdict)
    data = {"text/plain": display.text(card), "text/html": display.html(card)}
    return new_output("display_data", data=data, metadata={"vitedu": {"verdict": True}})


def verdict_card(verdict: Verdict) -> display.Card:
    """The verdict in words."""
    seconds = sum(verdict.seconds.values())
    remarks = [*verdict.remarks, f"Examined in {seconds:.2f} s."] if verdict.seconds else list(verdict.remarks)
    if verdict.status == NOT_GRADED:
        said = [(f"Not graded: {verdict.reason}. This has no score until somebody has looked, which is no zero.", "")]
        return display.Card(verdict.exercise, "not graded", display.OPEN, said, remarks=remarks)
    said = [(_sentence(d), "" if d.carried else f"Ask yourself: {d.question}") for d in verdict.diagnoses]
    if verdict.status not in (GRADED, NOT_ANSWERED):
        because = f": {verdict.reason}" if verdict.reason else ""
        said.insert(0, (f"{verdict.status.capitalize()}{because}.", ""))
    rows = [(case.right, case.name, case.note) for case in verdict.cases]
    points = f"{verdict.points:g} of {verdict.max_points:g} points" if verdict.max_points else "extra, no points"
    if verdict.status == NOT_ANSWERED:
        return display.Card(verdict.exercise, f"not answered, {points}", display.OPEN, remarks=remarks)
    if verdict.status == FOR_REVIEW:
        points = f"for review, {verdict.max_points:g} points open"
        return display.Card(verdict.exercise, points, display.OPEN, said, rows, remarks)
    tone = display.RIGHT if all(case.right for case in verdict.cases) else display.WRONG
    return display.Card(verdict.exercise, points, tone, said, rows, remarks)


def _sentence(diagnosis: Diagnosis) -> str:
    idea = diagnosis.idea.rstrip(".")
    if diagnosis.carried:
        return f"Carried over from {diagnosis.exercise}, where it was marked; it costs nothing here: {idea}."
    start = "This equals what comes out when" if diagnosis.whole else "In some cases this equals what comes out when"
    return f"{start} {idea}."
