"""What is said of exercises and points, in the README and in the labs' own prose, is what the cells hold."""

from __future__ import annotations

import re

import pytest

from autograder.authoring.exercise_table import README, table, title, total, with_table, written
from autograder.errors import UserError
from autograder.labs.lab import Lab, all_labs

LABS = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.assignment)


def test_the_readmes_table_is_that_of_todays_labs():
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text, all_labs()), "run: make notebooks"


def test_the_table_follows_the_labs():
    first, *_, last = all_labs()
    rows = table([first, last]).splitlines()[2:]
    assert rows[0].startswith("| 1 Attention | `attention_weights`, `") and title(first) == "1 Attention"
    assert rows[-1] == f"| all | | {total(first) + total(last):g} |" and len(rows) == 3
    assert {"SmallCNN", "accuracy"} <= {name for lab in all_labs() for name in written(lab)}


def test_a_document_without_the_marks_is_refused():
    with pytest.raises(UserError, match="has lost the lines"):
        with_table("# vitedu\n", all_labs())


@LABS
def test_the_titles_table_adds_up(lab: Lab):
    """Its last column to the points, and the minutes but for extras to the sum below it."""
    text = next(cell.source for cell in lab.cells if cell.grade_id == "title")
    lines = re.findall(r"^\|(.*)\|$", text, flags=re.MULTILINE)[2:]
    rows = [[field.strip() for field in line.split("|")] for line in lines]
    assert sum(float(row[-1].strip("-") or 0) for row in rows) == total(lab)
    (said,) = re.findall(r"adds? up to (\d+)", " ".join(text.split()))
    assert int(said) == sum(int(row[-2]) for row in rows if "*extra*" not in row[1])


@LABS
def test_headings_count_on_and_name_the_points(lab: Lab):
    cells = {cell.grade_id: cell.source for cell in lab.cells}
    heads = [cells[grade_id] for grade_id in cells if grade_id.startswith("exercise-")]
    numbers = [int(number) for head in heads for number in re.findall(r"^## Exercise (\d+)", head)]
    assert numbers == list(range(1, len(numbers) + 1))
    for cell in lab.cells:
        if cell.role == "exam":
            assert f"**Points** {cell.points:g}" in cells[f"exercise-{cell.exercise}"]
