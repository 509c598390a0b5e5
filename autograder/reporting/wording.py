"""A result in words: short enough for a table's cell, or in full."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from autograder.judging.verdict import (
    DIED,
    ERROR,
    FOR_REVIEW,
    GRADED,
    NOT_ANSWERED,
    NOT_GRADED,
    OUT_OF_MEMORY,
    TIMED_OUT,
    Diagnosis,
    Verdict,
)
from autograder.reporting.class_results import WAITING, Cell
from autograder.sanitize import untrusted
from vitedu.checks.feedback_card import in_short

# status -> CSS class and sign; a graded cell is looked up by its share of the points
STATUS_STYLES = {
    "full": ("full", "\u25cf"), "part": ("part", "\u25d0"), "zero": ("zero", "\u25cb"),
    NOT_ANSWERED: ("blank", "\u2013"), ERROR: ("zero", "!"), TIMED_OUT: ("zero", "\u2026"), DIED: ("zero", "\u2020"),
    OUT_OF_MEMORY: ("zero", "\u2191"), NOT_GRADED: ("lost", "?"),
    FOR_REVIEW: ("wait", "\u2315"), WAITING: ("wait", "\u270e"),
}  # fmt: skip


def status_style(cell: Cell) -> tuple[str, str]:
    """CSS class and sign of a cell, so that no fact hangs on colour alone."""
    if cell.status != GRADED or cell.points is None:
        return STATUS_STYLES[cell.status] if cell.status in STATUS_STYLES else STATUS_STYLES["zero"]
    return STATUS_STYLES["full" if cell.points >= cell.max_points else "part" if cell.points > 0 else "zero"]


def points(value: float | None) -> str:
    """Points as people write them: 2, 1.5, 1.33; "?" when nobody has decided."""
    return "?" if value is None else f"{round(value, 2):g}"


def labels(names: Iterable[str], most: int = 28) -> dict[str, str]:
    """Names for a column: long ones cut in the middle, unless two would then look alike.

    Two that look alike as they are, such as one name composed in two ways, are written in ASCII.
    """
    whole = {name: untrusted.shown(name) for name in names}
    alike = Counter(unicodedata.normalize("NFKC", text) for text in whole.values())
    twins = {name for name, text in whole.items() if alike[unicodedata.normalize("NFKC", text)] > 1}
    whole |= {name: untrusted.terminal(ascii(name), 1000) for name in twins}
    cut = {name: text if len(text) <= most else f"{text[: most - 11]}...{text[-8:]}" for name, text in whole.items()}
    times = Counter(cut.values())
    return {name: text if times[text] == 1 and name not in twins else whole[name] for name, text in cut.items()}


def exercise_name(id: str) -> str:
    """The exercise without its lab: "lab1/attention_weights" -> "attention_weights"."""
    return untrusted.terminal(id, 80).rpartition("/")[2]


def named(diagnosis: Diagnosis) -> str:
    """A misconception's id as words: "softmax-over-queries" -> "softmax over queries"."""
    return untrusted.terminal(diagnosis.misconception, 60).replace("-", " ")


def full(cell: Cell) -> list[str]:
    """Every sentence worth telling about a cell, plain text; [] for a right answer."""
    if cell.status == WAITING:
        return ["waits for grading"]
    if cell.status == NOT_GRADED:
        return [f"not graded: {untrusted.terminal(cell.missing, 300)}"]
    if cell.verdict is None:
        return [cell.status] if cell.status == NOT_ANSWERED else []
    return ["points given by hand"] * cell.by_hand + _of_verdict(cell.verdict)


def _of_verdict(verdict: Verdict) -> list[str]:
    sentences = []
    if verdict.status not in (GRADED, NOT_GRADED):
        reason = untrusted.terminal(verdict.reason, 300)
        sentences.append(f"{verdict.status}: {reason}" if reason else verdict.status)
    for diagnosis in verdict.diagnoses:
        carried = f" (carried over from {exercise_name(diagnosis.exercise)})" if diagnosis.carried else ""
        sentences.append(_scope(diagnosis) + untrusted.terminal(diagnosis.idea, 400) + carried)
    own = [d for d in verdict.diagnoses if not d.carried and d.whole]
    wrong = [case for case in verdict.cases if not case.right]
    known = verdict.status != GRADED and len(wrong) == len(verdict.cases)  # the reason said it all
    if wrong and not own and not known:
        sentences.append(f"{len(verdict.cases) - len(wrong)} of {len(verdict.cases)} cases right")
        notes = {
            untrusted.terminal(in_short(untrusted.text(case.note)), 200): untrusted.terminal(case.name, 80)
            for case in reversed(wrong)
        }
        sentences += [f"{name}: {note}" if note else name for note, name in reversed(notes.items())][:3]
    return sentences + [untrusted.terminal(remark, 300) for remark in verdict.remarks]


def _scope(diagnosis: Diagnosis) -> str:
    """Where an idea does not explain everything, or nothing confirms it: "in 2 of 5 wrong cases: ", "probably: "."""
    if not diagnosis.whole:
        share = diagnosis.share[0].lower() + diagnosis.share[1:]
        return f"{share}: " if diagnosis.confirmed else f"probably, {share}: "
    return "" if diagnosis.confirmed else "probably: "


def reason(cell: Cell) -> str:
    """Why a cell has the status it has, cut to a few words; "" when the status says it all."""
    return untrusted.text(untrusted.terminal(cell.missing or (cell.verdict.reason if cell.verdict else "")), 80)


def short(cell: Cell) -> str:
    """The same in a few words; "" for a right answer."""
    verdict = cell.verdict
    if cell.status != GRADED or verdict is None:
        return cell.status if cell.status != GRADED else ""
    if verdict.diagnoses:
        first = min(verdict.diagnoses, key=lambda d: d.carried)
        more = sum(d.carried == first.carried for d in verdict.diagnoses) - 1
        start = "carried over: " if first.carried else "" if first.whole else "in part: "
        return start + named(first) + (f" (+{more})" if more else "")
    wrong = [case for case in verdict.cases if not case.right]
    if not wrong:
        return "with a remark" if verdict.remarks else ""
    matters = untrusted.text(wrong[0].note).partition("\n")[0]
    return untrusted.text(untrusted.terminal(matters), 60) or "wrong values"


def breakable(name: str) -> list[str]:
    """A name's parts, between which a line may break: a_long_name, ACamelCaseName."""
    return re.findall(r"[^_-]+?(?:[_-]|(?<=[a-z0-9])(?=[A-Z])|$)", untrusted.terminal(name, 60)) or [name]
