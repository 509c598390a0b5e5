"""A verdict as the output of its exam cell: what formgrader and the feedback show."""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.judging.verdict import FOR_REVIEW, GRADED, NOT_ANSWERED, NOT_GRADED, Diagnosis, Verdict
from vitedu.checks import feedback_card


def verdict_output(verdict: Verdict) -> NotebookNode:
    """A display_data output with the verdict as HTML and as text, marked as ours."""
    card = verdict_card(verdict)
    data = {"text/plain": feedback_card.text(card), "text/html": feedback_card.html(card)}
    marked = {"vitedu": {"verdict": True}}
    output: NotebookNode = new_output("display_data", data=data, metadata=marked)  # type: ignore[no-untyped-call]
    return output


def verdict_card(verdict: Verdict) -> feedback_card.Card:
    """The verdict in words."""
    seconds = sum(verdict.seconds.values())
    remarks = [*verdict.remarks, f"Examined in {seconds:.2f} s."] if verdict.seconds else list(verdict.remarks)
    if verdict.status == NOT_GRADED:
        messages = [
            (f"Not graded: {verdict.reason}. This has no score until somebody has looked, which is no zero.", "")
        ]
        return feedback_card.Card(verdict.exercise, "not graded", feedback_card.OPEN, messages, remarks=remarks)
    messages = [(_sentence(d), "" if d.carried else f"Ask yourself: {d.question}") for d in verdict.diagnoses]
    if verdict.status not in (GRADED, NOT_ANSWERED):
        because = f": {verdict.reason}" if verdict.reason else ""
        messages.insert(0, (f"{verdict.status.capitalize()}{because}.", ""))
    rows = [(case.right, case.name, case.note) for case in verdict.cases]
    points = f"{verdict.points:g} of {verdict.max_points:g} points" if verdict.max_points else "extra, no points"
    if verdict.status == NOT_ANSWERED:
        return feedback_card.Card(verdict.exercise, f"not answered, {points}", feedback_card.OPEN, remarks=remarks)
    if verdict.status == FOR_REVIEW:
        points = f"for review, {verdict.max_points:g} points open"
        return feedback_card.Card(verdict.exercise, points, feedback_card.OPEN, messages, rows, remarks)
    tone = feedback_card.RIGHT if all(case.right for case in verdict.cases) else feedback_card.WRONG
    return feedback_card.Card(verdict.exercise, points, tone, messages, rows, remarks)


def _sentence(diagnosis: Diagnosis) -> str:
    idea = diagnosis.idea.rstrip(".")
    if diagnosis.carried:
        return f"Carried over from {diagnosis.exercise}, where it was marked; it costs nothing here: {idea}."
    return f"{diagnosis.scope} what comes out when {idea}."
