"""Put a submission back into the shape of the release, keeping all that the student wrote.

Prose, imports, checks and exams come from the release; answers and playgrounds from the submission, matched by
grade_id; points from the gradebook. All other cells, further attempts, and what was added to locked cells are
the student's own and stay where they stand. See pieces.py for what becomes of a cell, cell_order.py for the order.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from nbformat import NotebookNode

from autograder.submission.cell_order import arrange
from autograder.submission.match_cells import recognise
from autograder.submission.parse_notebook import MAX_REFUSED, SubmittedCell
from autograder.submission.pieces import Pieces


def rebuild(
    submitted: Sequence[SubmittedCell], release: NotebookNode, points: dict[str, float]
) -> tuple[NotebookNode, list[str]]:
    """The notebook to examine, and one sentence for each thing that was put right.

    Args:
        submitted: the cells as handed in.
        release: the student notebook as nbgrader made it; gives order, prose, stubs and roles.
        points: from the gradebook, for each graded cell.
    """
    submitted, found = recognise(submitted, release)
    pieces = Pieces(submitted, release)
    cells, moved = arrange(pieces.all(), pieces.names)
    for cell in cells:
        if "points" in cell.metadata.get("nbgrader", {}):
            cell.metadata.nbgrader["points"] = points[cell.metadata.nbgrader.grade_id]
    notebook = copy.deepcopy(release)
    notebook.cells = cells
    refused = list(dict.fromkeys(sentence for cell in submitted for sentence in cell.refused))
    if len(refused) > MAX_REFUSED:
        refused = [*refused[:MAX_REFUSED], f"{len(refused) - MAX_REFUSED} more pictures are not shown."]
    return notebook, [*found, *pieces.repairs, *moved, *refused]
