"""A submission comes back into the shape of the release, and keeps what is the student's."""

import json
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.rebuild import Unreadable, is_unchanged, read_submission, rebuild
from autograder.recognise import SubmittedCell

ROLES = {
    "intro": "prose",
    "imports": "setup",
    "answer": "solution",
    "exam": "exam",
    "why": "written",
    "play": "playground",
}


def cell(id: str, source: str, kind: str = "code") -> NotebookNode:
    made = new_code_cell(source) if kind == "code" else new_markdown_cell(source)
    nbgrader = {
        "grade_id": id,
        "grade": id in ("exam", "why"),
        "solution": id in ("answer", "why", "play"),
        "locked": True,
    }
    if nbgrader["grade"]:
        nbgrader["points"] = 2.0
    made.metadata = NotebookNode({"nbgrader": NotebookNode(nbgrader), "vitedu": NotebookNode({"role": ROLES[id]})})
    made.id = id
    return made


@pytest.fixture
def release() -> NotebookNode:
    return new_notebook(cells=[
        cell("intro", "# Lab", "markdown"),
        cell("imports", "import math"),
        cell("answer", "def f():\n    raise NotImplementedError('TODO')"),
        cell("exam", "check('x', f)"),
        cell("why", "YOUR ANSWER HERE", "markdown"),
        cell("play", "dim = 8"),
    ])  # fmt: skip


def submitted(nb: NotebookNode) -> list[SubmittedCell]:
    return [SubmittedCell(c.cell_type, c.source, c.metadata.get("nbgrader", {}).get("grade_id")) for c in nb.cells]


def back(cells: list[SubmittedCell], release: NotebookNode) -> tuple[list[tuple[str, str]], list[str]]:
    nb, mended = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    return [(c.metadata.get("nbgrader", {}).get("grade_id", "own"), c.source) for c in nb.cells], mended


def test_untouched_release_comes_back_as_it_is(release):
    cells, mended = back(submitted(release), release)
    assert cells == [(c.metadata.nbgrader.grade_id, c.source) for c in release.cells]
    assert mended == []


def test_answers_stay_and_points_come_from_the_gradebook(release):
    cells = submitted(release)
    cells[2] = SubmittedCell("code", "def f():\n    return 1", "answer")
    nb, mended = rebuild(cells, release, {"exam": 7.0, "why": 1.0})
    assert nb.cells[2].source == "def f():\n    return 1"
    assert nb.cells[3].metadata.nbgrader.points == 7.0
    assert mended == []


def test_locked_cells_come_back(release):
    cells = submitted(release)
    cells[1] = SubmittedCell("code", "import os", "imports")
    cells[3] = SubmittedCell("code", "pass", "exam")
    found, mended = back(cells, release)
    assert dict(found)["imports"] == "import math"
    assert dict(found)["exam"] == "check('x', f)"
    assert len(mended) == 2 and "imports" in mended[0] and "exam" in mended[1]


@pytest.mark.parametrize(
    "order", [("stub", "first", "second"), ("first", "second", "stub"), ("first", "stub", "second")]
)
def test_first_changed_copy_counts(release, order):
    texts = {"stub": release.cells[2].source, "first": "def f(): return 1", "second": "def f(): return 2"}
    cells = submitted(release)
    cells[2:3] = [SubmittedCell("code", texts[name], "answer") for name in order]
    found, mended = back(cells, release)
    assert dict(found)["answer"] == "def f(): return 1"
    assert [id for id, _ in found].count("answer") == 1
    assert mended == ["The cell answer was there 3 times; the first changed one counts."]


def test_missing_cells_are_put_back(release):
    found, mended = back([], release)
    assert [id for id, _ in found] == list(ROLES)
    assert len(mended) == len(ROLES)


def without_ids(cells: list[SubmittedCell]) -> list[SubmittedCell]:
    return [SubmittedCell(cell.kind, cell.source, None) for cell in cells]


ANSWER = "%%time\nimport math\ndef f():\n    return 1"


def test_an_answer_that_lost_its_id_is_recognised(release):
    cells = submitted(release)
    cells[2] = SubmittedCell("code", ANSWER, None)
    found, mended = back(cells, release)
    assert [id for id, _ in found] == list(ROLES) and dict(found)["answer"] == ANSWER
    assert mended == ["The cell answer had lost its id; recognised by what stands there."]


def test_a_notebook_without_any_ids_is_put_back_together(release):
    cells = without_ids(submitted(release))
    cells[2] = SubmittedCell("code", "def f():\n    return helper()", None)
    cells[4] = SubmittedCell("markdown", "because", None)
    cells.insert(2, SubmittedCell("code", "def helper():\n    return 1", None))
    cells.insert(6, SubmittedCell("markdown", "and so on", None))
    found, mended = back(cells, release)
    assert [id for id, _ in found] == ["intro", "imports", "own", "answer", "exam", "why", "own", "play"]
    assert found[3][1].endswith("helper()") and found[5][1] == "because" and found[6][1] == "and so on"
    assert mended == ["6 cells had lost their ids; recognised by what stands there."]


def test_a_cell_with_an_id_is_never_overruled(release):
    cells = [*submitted(release), SubmittedCell("code", "def f():\n    return 2", None)]
    cells[2] = SubmittedCell("code", "def f():\n    return 1", "answer")
    found, mended = back(cells, release)
    assert dict(found)["answer"].endswith("1") and mended == []


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_stub_has_not_the_last_word_over_an_answer_in_a_cell_of_ones_own(release, place):
    cells = submitted(release)
    cells.insert(place, SubmittedCell("code", "def f():\n    return 1", None))
    found, mended = back(cells, release)
    order = [id for id, _ in found]
    assert order.index("own") - order.index("answer") == 1 and order.index("own") < order.index("exam")
    assert mended == ([] if place == 3 else ["The answer to answer stood above its TODO cell; it counts."])


def test_a_draft_above_an_answered_cell_stays_above(release):
    cells = submitted(release)
    cells[2] = SubmittedCell("code", "def f():\n    return 1", "answer")
    cells.insert(2, SubmittedCell("code", "def f():\n    return 'a draft'", None))
    found, _ = back(cells, release)
    assert [id for id, _ in found][2:4] == ["own", "answer"]


def test_an_answer_below_its_check_is_told(release):
    release.cells[3].metadata.vitedu["exercise"] = "answer"
    cells = [*submitted(release), SubmittedCell("code", "def f():\n    return 1", None)]
    _, mended = back(cells, release)
    assert mended == ["A cell of the student's own defines answer, but below its check: too late to count."]


def test_own_cells_stay_in_order_behind_their_neighbour(release):
    cells = submitted(release)
    cells.insert(0, SubmittedCell("code", "top = 1", None))
    cells.insert(3, SubmittedCell("code", "helper = 1", "unknown-id"))
    cells.insert(4, SubmittedCell("markdown", "my notes", None))
    cells.insert(5, SubmittedCell("code", "   ", None))
    found, _ = back(cells, release)
    assert [text for id, text in found if id == "own"] == ["top = 1", "helper = 1", "my notes"]
    assert [id for id, _ in found] == ["own", "intro", "imports", "own", "own", "answer", "exam", "why", "play"]


def test_kind_of_an_answer_is_mended(release):
    cells = submitted(release)
    cells[2] = SubmittedCell("markdown", "def f(): return 1", "answer")
    nb, mended = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    assert nb.cells[2].cell_type == "code" and nb.cells[2].source == "def f(): return 1"
    assert "markdown" in mended[0]


def test_foreign_metadata_is_dropped(release):
    nb = new_notebook(cells=[cell("answer", "def f(): return 1")])
    nb.cells[0].metadata["tags"] = ["skip-execution"]
    rebuilt, _ = rebuild(submitted(nb), release, {"exam": 2.0, "why": 1.0})
    answer = rebuilt.cells[2]
    assert "tags" not in answer.metadata and set(answer.metadata) == {"nbgrader", "vitedu"}


@pytest.mark.parametrize(
    "same", ["def f():\r\n    return 1", "def f():  \n    return 1\n\n", "def f():\n    return 1   "]
)
def test_line_ends_and_trailing_blanks_are_no_change(same):
    assert is_unchanged(same, "def f():\n    return 1")
    assert not is_unchanged(same.replace("1", "2"), "def f():\n    return 1")


def test_unicode_composition_is_no_change():
    assert is_unchanged("# e\u0301", "# \u00e9")


def test_thousands_of_blank_lines_are_not_kept(tmp_path):
    source = "x = 1\n" + "\n \n" * 5000 + "y = 2\n\n\n"
    nb = {"nbformat": 4, "cells": [{"cell_type": "code", "source": source, "metadata": {}}]}
    (cell,) = read_submission(write(tmp_path / "nb.ipynb", nb))
    lines = cell.source.split("\n")  # to colour them all takes minutes, and hours when there are more
    assert lines[0] == "x = 1" and lines[-4:] == ["y = 2", "", "", ""] and len(lines) == 205


def write(path: Path, content) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_reads_any_format_version(tmp_path):
    v4 = {
        "nbformat": 4,
        "cells": [{"cell_type": "code", "source": ["a\r\n", "b"], "metadata": {"nbgrader": {"grade_id": "x"}}}],
    }
    v3 = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": "a\nb", "metadata": {}}]}]}
    assert read_submission(write(tmp_path / "4.ipynb", v4)) == [SubmittedCell("code", "a\nb", "x")]
    assert read_submission(write(tmp_path / "3.ipynb", v3)) == [SubmittedCell("code", "a\nb", None)]


@pytest.mark.parametrize(
    "cells",
    [[7], [None], [{"cell_type": "code", "source": 5}], [{"cell_type": "code", "source": {"a": 1}}]],
)
def test_cells_of_the_wrong_shape_are_left_out(tmp_path, cells):
    assert read_submission(write(tmp_path / "x.ipynb", {"cells": cells})) == []


@pytest.mark.parametrize(
    "metadata", [5, [], {"nbgrader": 5}, {"nbgrader": {"grade_id": ["x"]}}, {"nbgrader": {"grade_id": None}}]
)
def test_strange_metadata_is_no_id(tmp_path, metadata):
    path = write(tmp_path / "x.ipynb", {"cells": [{"cell_type": "code", "source": "1", "metadata": metadata}]})
    assert read_submission(path) == [SubmittedCell("code", "1", None)]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "not JSON"),
        (b'{"cells": [', "not JSON"),
        (b"\x89PNG\r\n", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list of cells"),
        (b'{"cells": 5}', "no list of cells"),
        (b'{"worksheets": 5}', "no list of cells"),
        (b'{"worksheets": [{"cells": 5}, 7]}', "no list of cells"),
        (b'{"cells": [' + b"{}, " * 2000 + b"{}]}", "2001 cells"),
    ],
)
def test_what_is_no_notebook_is_told_in_a_sentence(tmp_path, content, words):
    with pytest.raises(Unreadable, match=words):
        read_submission(write(tmp_path / "x.ipynb", content))


def test_links_are_not_followed(tmp_path):
    target = write(tmp_path / "other.ipynb", {"cells": []})
    (tmp_path / "x.ipynb").symlink_to(target)
    with pytest.raises(Unreadable, match="link"):
        read_submission(tmp_path / "x.ipynb")


def test_lone_surrogates_and_nul_are_replaced(tmp_path):
    path = write(tmp_path / "x.ipynb", {"cells": [{"cell_type": "code", "source": "a\ud800\0b", "metadata": {}}]})
    (cell,) = read_submission(path)
    cell.source.encode()
    assert "\0" not in cell.source
