"""A notebook that went through Colab, Kaggle or VS Code, or is of an earlier release, is rebuilt as if it had not."""

from __future__ import annotations

import json
from functools import cache

import nbformat
import pytest
from nbformat import NotebookNode

from autograder.authoring.build import RELEASE
from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.labs.lab import Lab, all_labs, find_lab
from autograder.submission.match_cells import lab_of
from autograder.submission.parse_notebook import parse_submission
from autograder.submission.rebuild import rebuild
from support import round_trips

LABS = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)
OWN = "mine = 'Größe'\nmine"
WORDS = "In my own words: because $K$ products add up."


@cache
def released(lab: Lab) -> NotebookNode:
    return nbformat.read(RELEASE / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)


def solved(lab: Lab) -> NotebookNode:
    """All exercises and questions answered, and a cell of one's own in the middle."""
    words = {cell.grade_id: WORDS for cell in lab.cells if cell.role == "written"}
    nb = hand_in(released(lab), Student("s", "", model_codes(lab) | words))
    nb.cells.insert(len(nb.cells) // 2, nbformat.v4.new_code_cell(OWN))
    return nb


def rebuilt(lab: Lab, content: str) -> tuple[list[tuple], list[str]]:
    """The cells to examine, without ids of own cells, which count from the top; and what was put right."""
    submitted = parse_submission(content.encode())
    assert lab_of(submitted) == lab.assignment
    graded = {c.metadata.nbgrader.grade_id for c in released(lab).cells if "points" in c.metadata.nbgrader}
    nb, mended = rebuild(submitted, released(lab), dict.fromkeys(graded, 1.0))
    cells = [
        (cell.cell_type, cell.source, cell.metadata, cell.get("outputs", []), cell.get("attachments"))
        for cell in nb.cells
        if "view-in-github" not in cell.id and "colab.research.google.com" not in cell.source
    ]
    assert len([cell for cell in cells if cell[1] == OWN]) == 1
    return cells, mended


@LABS
@pytest.mark.parametrize("trip", round_trips.TRIPS, ids=lambda trip: trip.__name__)
def test_the_way_there_and_back_changes_nothing(lab, trip):
    nb = solved(lab)
    assert rebuilt(lab, trip(nb)) == rebuilt(lab, nbformat.writes(nb))
    assert rebuilt(lab, trip(nb))[1] == []


@LABS
def test_an_untouched_notebook_is_untouched_after_colab(lab):
    nb = released(lab)
    (graded, mended) = rebuild(parse_submission(round_trips.colab(nb).encode()), nb, _points(nb))
    assert mended == [] and [c.source for c in graded.cells[1:]] == [c.source for c in nb.cells]


def _points(nb: NotebookNode) -> dict[str, float]:
    return {c.metadata.nbgrader.grade_id: 1.0 for c in nb.cells if "points" in c.metadata.nbgrader}


@LABS
def test_were_the_metadata_lost_all_cells_would_be_recognised_by_what_stands_in_them(lab):
    nb = solved(lab)
    cells, mended = rebuilt(lab, round_trips.colab_without_metadata(nb))
    assert cells == rebuilt(lab, nbformat.writes(nb))[0]
    (sentence,) = mended
    assert "had lost their ids; recognised by what stands there" in sentence


@LABS
def test_a_notebook_of_an_earlier_release_is_rebuilt_without_a_word(lab):
    nb = solved(lab)
    old = rebuilt(lab, nbformat.writes(round_trips.earlier_release(nb)))
    assert old == rebuilt(lab, nbformat.writes(nb)) and old[1] == []


def test_a_release_with_another_address_is_rebuilt_without_a_word():
    lab = find_lab("lab1")
    nb = solved(lab)
    cell = next(cell for cell in nb.cells if cell.metadata.nbgrader.grade_id == "install")
    cell.source = cell.source.replace('needs="', 'install_from="vitedu==0.0.9", needs="').replace(
        "# Run", "# Please run"
    )
    assert rebuilt(lab, nbformat.writes(nb)) == rebuilt(lab, nbformat.writes(solved(lab)))


def test_what_was_added_to_the_first_cell_is_kept():
    lab = find_lab("lab1")
    nb = solved(lab)
    cell = next(cell for cell in nb.cells if cell.metadata.nbgrader.grade_id == "install")
    cell.source += "\nimport math as m\n"
    cells, mended = rebuilt(lab, nbformat.writes(nb))
    assert "import math as m" in [source for _, source, *_ in cells]
    assert mended == [
        "The locked cell install had been changed; it was put back as released; "
        "what was added to it is kept in a cell of its own."
    ]


def test_the_files_are_what_these_programs_write():
    nb = solved(find_lab("lab4"))
    for trip in round_trips.TRIPS:
        data = json.loads(trip(nb).removeprefix("\ufeff"))
        nbformat.validate(nbformat.from_dict(data))
    data = json.loads(round_trips.colab(nb))
    assert data["nbformat_minor"] == 0 and not any("id" in cell for cell in data["cells"])
    assert data["metadata"]["accelerator"] == "GPU" and data["metadata"]["colab"]["gpuType"] == "T4"
