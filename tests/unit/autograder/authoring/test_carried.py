"""Parts of earlier labs stand in one place, and everything that reads a lab finds them written out."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from autograder.authoring.build import exam_hash, source_hash
from autograder.errors import UserError
from autograder.execution.preload import modules_of
from autograder.labs.lab import SOLUTIONS, Lab, all_labs, find_lab, solution_cells
from autograder.labs.source_text import CELL, lab_text

FIRST = '# %% grade_id="imports"\nimport telnetlib\n\n# %% grade_id="one" role="solution"\nimport sndhdr\n\n\n'
FIRST += "def one():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n\n"
FIRST += '# %% [markdown] grade_id="words"\n# words\n'


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """Two labs of a few cells; the later one carries the answer of the first."""
    for name, text in {"lab1_a/a.py": FIRST, "lab2_b/b.py": '# %% grade_id="given" carried="lab1: one"\n'}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_carried_part_is_written_out_without_marks(labs):
    assert lab_text(labs / "lab2_b/b.py") == ('# %% grade_id="given"\nimport sndhdr\n\n\ndef one():\n    return 1\n')


def test_what_a_lab_carries_may_be_carried_on(labs):
    (labs / "lab3_c").mkdir()
    (labs / "lab3_c/c.py").write_text('# %% grade_id="again" carried="lab2: given"\n\n# %% grade_id="more"\n1\n')
    assert lab_text(labs / "lab3_c/c.py").endswith('def one():\n    return 1\n\n# %% grade_id="more"\n1\n')


@pytest.mark.parametrize(
    "carried",
    ['"lab1: two"', '"lab1: words"', '"lab2: given"', '"lab3: one"', '"lab1:"', '"one"', "lab1", '"lab1: one"\nx = 1'],
)
def test_what_is_not_there_or_not_earlier_cannot_be_carried(labs, carried):
    (labs / "lab3_c").mkdir()
    (labs / "lab3_c/c.py").write_text('# %% grade_id="one"\n1\n')
    (labs / "lab2_b/b.py").write_text(f'# %% grade_id="given" carried={carried}\n')
    with pytest.raises(UserError, match=r"^b\.py: the cell "):
        lab_text(labs / "lab2_b/b.py")


def test_a_fork_server_imports_what_carried_parts_import(labs):
    found = modules_of(labs / "lab2_b/b.py")
    assert "sndhdr" in found and "telnetlib" not in found


def test_an_edit_of_a_part_makes_every_lab_that_carries_it_stale(tmp_path, monkeypatch):
    shutil.copytree(SOLUTIONS, tmp_path / "solutions", ignore=shutil.ignore_patterns("*.ipynb"))
    labs = all_labs()
    before = {lab.key: (source_hash(lab), exam_hash(lab)) for lab in labs}
    monkeypatch.setattr("autograder.labs.lab.SOLUTIONS", tmp_path / "solutions")
    text = Lab("lab3_vit").source.read_text()
    Lab("lab3_vit").source.write_text(
        text.replace("class FeedForward(nn.Module):", "class FeedForward(nn.Module):  # x")
    )
    stale = {lab.key for lab in labs if (source_hash(lab), exam_hash(lab)) != before[lab.key]}
    assert stale == {"lab3", "lab4", "lab5", "lab6", "lab7"}


def test_no_code_is_written_twice():
    seen: dict[str, str] = {}
    for lab in all_labs():
        for cell in CELL.split(lab.source.read_text()):
            header, _, body = cell.partition("\n")
            if header.startswith("# %% grade_id") and len(body.strip().split("\n")) > 5:
                assert body.strip() not in seen, f"{header} of {lab.source.name} is also in {seen[body.strip()]}"
                seen[body.strip()] = lab.source.name


def tree(code: str) -> dict[str, str]:
    """The code of each class, as Python reads it, without docstrings."""
    found = ast.parse(code)
    for node in ast.walk(found):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return {node.name: ast.unparse(node) for node in found.body if isinstance(node, ast.ClassDef)}


def test_the_parts_that_lab_3_shortens_are_still_those_of_labs_1_and_2():
    """Its cell says less in docstrings, and calls torch's attention, which Lab 1's own is equal to."""
    given = tree(next(cell.source for cell in find_lab("lab3").cells if cell.grade_id == "earlier-parts"))
    origin = tree("\n".join([*solution_cells("lab1_attention").values(), *solution_cells("lab2_tokens").values()]))
    torchs, own = "F.scaled_dot_product_attention(", "scaled_dot_product_attention("
    assert given["MultiHeadAttention"].count(torchs) == 1 and len(given) == 3
    assert {name: code.replace(torchs, own) for name, code in given.items()} == {name: origin[name] for name in given}


# --- what all labs share


def test_a_shared_text_stands_above_the_cells_own(tmp_path):
    path = tmp_path / "lab1_first" / "first.py"
    path.parent.mkdir()
    path.write_text('# %% grade_id="one" shared="both"\ntwo()\n\n# %% grade_id="more"\n')
    (tmp_path / "both.py").write_text("def two():\n    pass\n")
    assert lab_text(path) == '# %% grade_id="one"\ndef two():\n    pass\n\n\ntwo()\n\n# %% grade_id="more"\n'


def test_a_shared_text_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "lab1_first" / "first.py"
    path.parent.mkdir()
    path.write_text('# %% grade_id="one" shared="both"\n')
    with pytest.raises(UserError, match=r"begins with the text of .*both\.py, which is no file"):
        lab_text(path)
