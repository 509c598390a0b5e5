"""A submission comes back into the shape of the release, and keeps what is the student's."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.execution.examiner import library_remarks
from autograder.execution.grade_one import rebuilt
from autograder.execution.submission_task import Task
from autograder.labs.lab import ROOT, all_labs, find_lab
from autograder.nbgrader_integration.preprocessors import answers_of
from autograder.submission.advice import advice, undefined, unknown_name
from autograder.submission.bindings import bound
from autograder.submission.cell_order import answer_to, slots
from autograder.submission.match_cells import lab_of
from autograder.submission.parse_notebook import SubmittedCell, Unreadable, read_submission
from autograder.submission.pieces import is_unchanged
from autograder.submission.rebuild import rebuild
from autograder.submission.statements import added, guarded, without_todo

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
    vitedu = NotebookNode({"role": ROLES[id]} | ({"exercise": "answer"} if id == "exam" else {}))
    made.metadata = NotebookNode({"nbgrader": NotebookNode(nbgrader), "vitedu": vitedu})
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
def test_every_changed_copy_runs_in_order_and_no_stub_below_them(release, order):
    texts = {"stub": release.cells[2].source, "first": "def f(): return 1", "second": "def f(): return 2"}
    cells = submitted(release)
    cells[2:3] = [SubmittedCell("code", texts[name], "answer") for name in order]
    found, mended = back(cells, release)
    assert [entry for entry in found if entry[0] in ("answer", "own", "exam")] == [
        ("answer", "def f(): return 1"), ("own", "def f(): return 2"), ("exam", "check('x', f)"),
    ]  # fmt: skip
    assert mended == ["The cell answer was there 3 times; all that was changed in them counts, in their order."]


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
    assert [id for id, _ in found] == ["intro", "imports", "own", "answer", "exam", "why", "play"]
    assert found[3][1].endswith("helper()") and found[5][1] == "because\n\nand so on"
    assert mended == [
        "6 cells had lost their ids; recognised by what stands there.",
        "The answer to why stood in 2 cells; they were joined.",
    ]


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


def test_an_answer_below_its_check_is_examined_there(release):
    cells = [*submitted(release), SubmittedCell("code", "def f():\n    return 1", None)]
    found, mended = back(cells, release)
    assert [id for id, _ in found][-2:] == ["own", "exam"]
    assert mended == ["answer is answered below its check, so it was examined there."]


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
        (json.dumps({"cells": [{"cell_type": "code", "source": "x" * 2**20}] * 3}).encode(), "3145728 characters"),
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


# --- order ---


@pytest.mark.parametrize(
    "places, found, in_order",
    [
        ([0, None, 1, 2], [0, 0, 1, 2], {0, 2, 3}),
        ([None, 0, 3, 1, None, 2], [-1, 0, 0, 1, 1, 2], {1, 3, 5}),
        ([3, 2, 1, 0], [-1, -1, -1, 0], {3}),  # backwards: all others stand above it
        ([0, 1, 2, 0, 1, 2], [0, 1, 2, 2, 2, 2], {0, 1, 2}),  # pasted twice: the first ones are in order
        ([None, None], [-1, -1], set()),
    ],
)
def test_cells_stand_behind_the_nearest_one_in_order(places, found, in_order):
    assert slots(places) == (found, in_order)


@pytest.mark.parametrize("place", [1, 2, 5])
def test_an_answer_that_is_deleted_is_not_undone_by_its_stub(release, place):
    cells = [cell for cell in submitted(release) if cell.grade_id != "answer"]
    answer = "if True:\n    from functools import partial\n    f = partial(max, 1)"
    cells.insert(place, SubmittedCell("code", answer, None))
    nb, _ = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    names: dict = {"check": lambda *_: None}
    for cell in nb.cells:
        if cell.cell_type == "code":
            exec(cell.metadata.vitedu.get("runs", cell.source), names)
        if cell.metadata.vitedu.role == "exam":
            break
    assert names["f"](0) == 1
    assert release.cells[2].source in [cell.source for cell in nb.cells], "it is shown as it was released"


def test_a_second_attempt_below_the_check_is_examined_there(release):
    cells = [*submitted(release), SubmittedCell("code", "def f():\n    return 2", "answer")]
    cells[2] = SubmittedCell("code", "def f():\n    return 1", "answer")
    found, mended = back(cells, release)
    assert [id for id, _ in found] == ["intro", "imports", "answer", "why", "play", "own", "exam"]
    assert "answer is answered below its check, so it was examined there." in mended


def test_an_experiment_below_the_check_changes_nothing(release):
    cells = [*submitted(release), SubmittedCell("code", "f = None", None)]
    cells[2] = SubmittedCell("code", "def f():\n    return 1", "answer")
    found, mended = back(cells, release)
    assert [id for id, _ in found] == [*ROLES, "own"] and mended == []


# --- what stands in a cell ---

STUB = 'def f():\n    """Say 1."""\n    raise NotImplementedError("TODO")'
CLASS_STUB = (
    "class g(list):\n    def __init__(self):\n        super().__init__()\n        raise NotImplementedError('TODO')"
)


def test_a_stub_undoes_nothing_and_stands_where_there_is_nothing():
    for names in ({}, {"f": 1, "g": 2}):
        before = dict(names)
        exec(guarded(f"{STUB}\n\n\n{CLASS_STUB}", {"f", "g"}), names)
        assert before.items() <= names.items() and {"f", "g"} <= names.keys()


def test_no_name_of_the_students_is_called_to_look_whether_a_stub_is_needed():
    def trap(*args, **kwargs):
        raise SystemExit

    names = dict.fromkeys(("globals", "locals", "vars", "dict", "__import__", "getattr", "hasattr"), trap)
    exec(guarded(STUB, {"f"}), names)
    with pytest.raises(NotImplementedError):
        names["f"]()


@pytest.mark.parametrize(
    "source, left",
    [
        (STUB, ""), (CLASS_STUB, ""), ("", ""), ("# no idea\n\n", ""), (f"'''no idea'''\n{STUB}", ""),
        (STUB.replace("raise", "return 1; raise"), None), ("def f():\n    return 1", None), ("def f(", None),
        (f"{STUB}\nh = 1", "h = 1"), ("def h():\n    raise NotImplementedError", None),
    ],
)  # fmt: skip
def test_what_is_left_when_the_todo_goes(source, left):
    assert without_todo(source, {"f", "g"}) == (source if left is None else left)


@pytest.mark.parametrize(
    "source",
    [
        "f = partial(g, 1)", "from x import f", "from x import (\n    a,\n    f,\n)", "import x as f",
        "if a:\n    def f(): 1", "try:\n    1\nexcept E:\n    f = 1", "with a as f:\n    1", "for f in x: 1",
        "a, f = x", "f: int = 1", "exec('def f(): return 1')", "globals()['f'] = 1", "globals().update(f=1)",
        "setattr(m, 'f', 1)", "(f := 1)", "%%time\nf = 1", "%%writefile x.py\ndef f(): return 1",
        "def h():\n    global f\n    f = 1", "@d\ndef f(): 1", "def f(:", "async def f(): 1",
    ],
)  # fmt: skip
def test_every_way_of_binding_a_name_is_seen(source):
    assert bound(source, {"f", "other"}) == {"f"}


@pytest.mark.parametrize(
    "source",
    ["f()", "x = f", "f == 1", "g(f=1)", "print('f')", "def h():\n    f = 1", "class A:\n    def f(self): 1",
     "[f for f in x]", "from torch.nn.functional import f", "# nothing"],
)  # fmt: skip
def test_what_does_not_bind_a_name_is_none(source):
    assert bound(source, {"f"}) == set()


@pytest.mark.parametrize(
    "source, before, behind",
    [
        ("import math", "", ""), ("import  math  # mine", "", ""), ("", "", ""), ("%%time\nimport math", "", ""),
        ("import math\nimport numpy", "", "import numpy"), ("x = 1\nimport math\ny = 2", "x = 1", "y = 2"),
        ("import math, numpy", "", "import math, numpy"), ("import math; import os", "", "import os"),
        ("import math\ndef helper():\n    return 1", "", "def helper():\n    return 1"),
        ("import math\n# a helper\n@deco\ndef h(): 1", "", "# a helper\n@deco\ndef h(): 1"),
        ("import math\n%matplotlib inline", "", "%matplotlib inline"), ("import math\nx = (", "", "x = ("),
    ],
)  # fmt: skip
def test_what_was_added_to_a_locked_cell(source, before, behind):
    assert added(source, "import math") == (before, behind)


def test_a_released_definition_is_not_replaced_and_what_only_shows_is_not_run():
    assert added("def h():\n    return 2\nx = 1", "def h():\n    return 1") == ("", "x = 1")
    assert added("show(2)\nx = 1", "show(1)", runs=False) == ("", "x = 1")


def test_code_in_a_text_cell_is_run_and_other_text_is_kept(release):
    cells = submitted(release)
    cells[0] = SubmittedCell("markdown", "# Lab\n\ndef f():\n    return 1", "intro")
    del cells[2]
    nb, mended = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    assert (nb.cells[0].cell_type, nb.cells[0].source) == ("markdown", "# Lab")
    assert ("code", "def f():\n    return 1") in [(c.cell_type, c.source) for c in nb.cells]
    assert "Code in the text cell intro was run, too." in mended
    cells[0] = SubmittedCell("markdown", "# Lab\n\nmy notes", "intro")
    nb, _ = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    assert ("markdown", "my notes") in [(c.cell_type, c.source) for c in nb.cells]


# --- answers in words ---


@pytest.mark.parametrize(
    "parts, answer",
    [
        ([("one", "why"), ("two", "why")], "one\n\ntwo"),
        ([("YOUR ANSWER HERE", "why"), ("two", None), ("three", None)], "two\n\nthree"),
        ([("one", "why"), ("two", None)], "one\n\ntwo"),
        ([("YOUR ANSWER HERE", "why"), ("one", "why"), ("one", "why")], "one"),
        ([("two", None)], "two"),
    ],
)
def test_all_parts_of_an_answer_in_words_are_in_the_cell_that_is_marked(release, parts, answer):
    cells = submitted(release)
    cells[4:5] = [SubmittedCell("markdown", text, id) for text, id in parts]
    found, _ = back(cells, release)
    assert dict(found)["why"] == answer and "own" not in dict(found)


# --- what belongs to an answer ---


def test_the_digest_of_an_answer_changes_with_each_cell_that_contributes(release):
    def digest(*own: str, answer: str = "def f():\n    return helper()") -> str:
        cells = submitted(release)
        cells[2:3] = [*(SubmittedCell("code", source, None) for source in own), SubmittedCell("code", answer, "answer")]
        return answers_of(rebuild(cells, release, {"exam": 2.0, "why": 1.0})[0])["answer"]

    base = digest("def helper():\n    return 1", "x = 5")
    assert digest("def helper():\n    return 1", "x = 6") == base
    assert digest("def helper():\n    return 2", "x = 5") != base
    stub = release.cells[2].source
    assert digest("def f():\n    return 1", answer=stub) != digest("def f():\n    return 2", answer=stub)
    assert digest("x = 1") == digest("x = 2") == digest(), "what it does not use"


def test_a_library_that_works_in_a_second_cell_is_remarked(release):
    cells = submitted(release)
    cells[2:3] = [
        SubmittedCell("code", "def f():\n    return 1", "answer"),
        SubmittedCell("code", "def f():\n    return math.gcd(1, 1)\ndef other():\n    return math.lcm(1)", None),
    ]
    nb, _ = rebuild(cells, release, {"exam": 2.0, "why": 1.0})
    assert [remark[:3] for remark in library_remarks(answer_to(nb, "answer"), ("gcd", "lcm"))] == ["gcd"]


# --- another lab's notebook ---


def of_lab(key: str) -> NotebookNode:
    lab = find_lab(key)
    return nbformat.read(ROOT / "notebooks" / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)


@pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)
def test_each_notebook_is_known_with_its_ids_or_without(lab):
    cells = submitted(of_lab(lab.key))
    assert lab_of(cells) == lab_of(without_ids(cells)) == lab.assignment


def test_of_no_lab():
    assert lab_of([]) is None and lab_of([SubmittedCell("code", "1", None)] * 50) is None


def test_another_labs_notebook_is_one_sentence():
    lab1, lab2 = of_lab("lab1"), of_lab("lab2")
    points = {c.metadata.nbgrader.grade_id: 1.0 for c in lab1.cells if "points" in c.metadata.nbgrader}
    content = {lab: nbformat.writes(nb).encode() for lab, nb in (("lab1", lab1), ("lab2", lab2))}
    nb = rebuilt(Task("lab1_attention", "ada", content["lab2"], release=content["lab1"], points=points))
    assert nb.metadata.vitedu.mended == [
        "Nothing could be graded: this is Lab 2's notebook (tokens.ipynb), expected Lab 1's notebook "
        "(attention.ipynb): hand in that one."
    ]
    assert [c.source for c in nb.cells] == [c.source for c in lab1.cells]
    same = rebuilt(Task("lab1_attention", "ada", content["lab1"], release=content["lab1"], points=points))
    assert same.metadata.vitedu.mended == []


def test_many_missing_cells_are_summed_up():
    lab1 = of_lab("lab1")
    points = {c.metadata.nbgrader.grade_id: 1.0 for c in lab1.cells if "points" in c.metadata.nbgrader}
    _, mended = rebuild(submitted(lab1)[:33], lab1, points)
    assert mended == ["41 of the release's cells were missing; they were put back."]
    _, mended = rebuild(submitted(lab1) * 2, lab1, points)
    assert any("locked cells were there more than once" in said for said in mended) and len(mended) < 9, mended


# --- files that are not here ---


@pytest.mark.parametrize(
    "error, words",
    [
        ("ModuleNotFoundError: No module named 'helpers'", "The module helpers is not in the course's environment"),
        ("ModuleNotFoundError: No module named 'my.own'", "The module my is not"),
        ("ImportError: cannot import name 'f' from 'utils' (unknown location)", "The module utils is not"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'data/my.csv'", "The file data/my.csv is not here"),
        ("Exception: No module named 'helpers' (in f, line 2)", "The module helpers is not"),  # as a probe says it
        ("OSError: [Errno 2] No such file or directory: 'w.pt' (in f, line 2)", "The file w.pt is not here"),
    ],
)
def test_what_to_do_about_a_file_that_was_not_handed_in(error, words):
    said = advice(error)
    assert said.startswith(words) and "hand it in again." in said


@pytest.mark.parametrize(
    ("answer", "own", "words"),
    [
        (STUB, new_markdown_cell("```python\ndef f():\n    return 1\n```"), "f stands in a text cell, which is not"),
        ("%%timeit\ndef f():\n    return 1", new_code_cell("x = 1"), "Under %%timeit a cell defines nothing"),
        ("def my_f():\n    return 1", new_code_cell("x = 1"), "The cell answer defines my_f, but not f"),
        (STUB, new_markdown_cell("f is hard"), ""),
        (STUB, new_code_cell("def helper(): ..."), ""),
    ],
)
def test_why_there_is_no_answer(release, answer, own, words):
    own.metadata.vitedu = {"role": "own"}
    release.cells[2].source = answer
    said = undefined({"f"}, [*release.cells, own], "answer")
    assert said.startswith(words) and bool(said) == bool(words)


def test_an_import_below_the_check_is_named_as_such(release):
    own = new_code_cell("import numpy as np", metadata={"vitedu": {"role": "own"}})
    said = unknown_name("error: NameError: name 'np' is not defined (in f, line 2)", [*release.cells, own], 3)
    assert said.startswith("np is defined below the check of this exercise")


def test_other_errors_need_no_such_advice():
    for error in ("NameError: name 'x' is not defined", "ImportError: cannot import name 'x' from 'math'"):
        assert advice(error) == ""
