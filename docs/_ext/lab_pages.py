"""A page for each lab: the student's notebook, and the figures that come out once its answers are right.

The cells are those of notebooks/, so that a page holds no more than a student gets. Outputs come from the executed
solution notebook, of locked cells only: a cell that students fill in, or play in, shows none.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
FOLDER = "labs"
INSTALL = "install"  # the cell that installs vitedu in Colab: nothing to read, and its output is one machine's
NOTE = """\
:::{{note}}
This is the notebook as students get it: {{download}}`{file} <{path}>`. The pictures and results below appear in
it once the answers are right. The cells to fill in say `TODO`.
{buttons}:::
"""


def grade_id(cell: NotebookNode) -> str | None:
    return cell.metadata.get("nbgrader", {}).get("grade_id")


def locked(cell: NotebookNode) -> bool:
    facts = cell.metadata.get("nbgrader", {})
    return bool(facts.get("locked")) and not facts.get("solution")


def page(student: NotebookNode, solution: NotebookNode) -> NotebookNode:
    """The student's notebook with the outputs that the solution notebook has stored for its locked cells.

    Raises:
        ValueError: a locked cell is not the same in both, so that its output may be another cell's.
    """
    stored = {grade_id(cell): cell for cell in solution.cells if cell.cell_type == "code" and locked(cell)}
    made = copy.deepcopy(student)
    made.cells = [cell for cell in made.cells if grade_id(cell) != INSTALL]
    for cell in made.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if not locked(cell) or grade_id(cell) not in stored:
            continue
        twin = stored[grade_id(cell)]
        if not twin.source.endswith(cell.source):  # an exam's cell begins with the place of its hidden test
            raise ValueError(
                f"The cell {grade_id(cell)} is not the same in the student's notebook and in the solution: "
                "run make notebooks."
            )
        cell.outputs = [output for output in copy.deepcopy(twin.outputs) if output.output_type != "error"]
    return made


def buttons(repository: str, branch: str, path: str) -> str:
    """Links that open a student's notebook elsewhere; none without the address of a repository."""
    if not repository:
        return ""
    place = f"{quote(repository)}/blob/{quote(branch)}/{quote(path)}"
    binder = f"https://mybinder.org/v2/gh/{quote(repository)}/{quote(branch, '')}?urlpath=lab/tree/{quote(path)}"
    links = {
        "Open in Colab": f"https://colab.research.google.com/github/{place}",
        "Open in Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{place}",
        "Open in Binder": binder,
    }
    return "\n" + "\n".join(f"[{name}]({link})" for name, link in links.items()) + "\n"


def write(app: Sphinx) -> None:
    """Write the pages beside the sources, where git ignores them; a page that is there already stays as it is."""
    folder = Path(app.srcdir, FOLDER)
    for file in sorted(ROOT.glob("notebooks/lab*/*.ipynb")):
        where = file.relative_to(ROOT).as_posix()
        solution = ROOT / "solutions" / file.parent.name / file.name
        made = page(nbformat.read(file, as_version=4), nbformat.read(solution, as_version=4))
        links = buttons(app.config.repository, app.config.repository_branch, where)
        note = nbformat.v4.new_markdown_cell(NOTE.format(file=file.name, path=f"../../{where}", buttons=links))
        note.id = "about-this-page"
        made.cells.insert(1, note)
        text, target = nbformat.writes(made), folder / f"{file.parent.name}.ipynb"
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("repository", "", "env")
    app.add_config_value("repository_branch", "main", "env")
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
