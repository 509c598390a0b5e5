"""A verdict in the words of a table, a page and a report."""

from __future__ import annotations

from autograder.judging.verdict import GRADED, CaseVerdict, Verdict
from autograder.reporting import wording
from autograder.reporting.class_results import Cell

NOTE = "the loss of epoch 1 differs\nand 2 more differ\nthe loss of epoch 2 differs\nhead.bias after step 4 differs"


def cell(note: str) -> Cell:
    cases = [CaseVerdict("two epochs in a row", False, 1.0, note), CaseVerdict("a scheduler", True, 1.0)]
    verdict = Verdict("train_one_epoch", "exam-train_one_epoch", GRADED, 1.0, 2.0, cases)
    return Cell("training", "exam-train_one_epoch", False, 2.0, 1.0, GRADED, verdict)


def test_what_matters_most_is_said_in_short_and_how_much_else_in_full():
    assert wording.short(cell(NOTE)) == "the loss of epoch 1 differs"
    assert wording.full(cell(NOTE)) == [
        "1 of 2 cases right",
        "two epochs in a row: the loss of epoch 1 differs; and 2 more differ",
    ]


def test_a_note_of_one_line_is_said_as_it_is():
    assert wording.short(cell("the loss of epoch 1 differs")) == "the loss of epoch 1 differs"
    assert wording.full(cell("NaN"))[1] == "two epochs in a row: NaN"
    assert wording.short(cell("")) == "wrong values"
