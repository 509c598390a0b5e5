"""A notebook's cells made anew from what is safe to show: text, sanitised HTML, PNG and JPEG."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell

from autograder.sanitize import pictures, untrusted
from autograder.sanitize.markdown import MAX_TEXT
from autograder.sanitize.page_budget import PageBudget

MAX_OUTPUTS = 30  # outputs of one cell
FULL = "this notebook has shown so much already that no page could hold it"
ALT = "a picture that this cell showed"
QUIET = ("setup", "display")  # author cells: shown only when they failed
HIDDEN = re.compile(r"^[^\n]*### BEGIN (HIDDEN TESTS|MARK SCHEME)\b.*?(?:### END \1[^\n]*(?:\n|\Z)|\Z)", re.S | re.M)
HEADING = re.compile(r"^#{1,6} .*$", re.M)


def showable(
    cell: NotebookNode, rows: dict[str, NotebookNode], comments: dict[str, str], budget: PageBudget
) -> NotebookNode | None:
    """A cell as the page shows it; None for what the page leaves out.

    Args:
        rows: the summary's lines by grade_id; a graded cell carries its own along.
        comments: the graders', by grade_id.
        budget: what is left for the page.
    """
    grading = _mapping(cell.get("metadata"), "nbgrader")
    role = _mapping(cell.get("metadata"), "vitedu").get("role")
    grade_id = str(grading.get("grade_id"))
    row = rows.get(grade_id) if grading.get("grade") else None
    facts: dict[str, Any] = {"row": row, "comment": _text(comments.get(grade_id)), "exam": False}
    text = _joined(cell.get("source"))
    kept: pictures.Attachments = {}
    if cell.get("cell_type") == "markdown" and role != "prose":  # before the text is cut
        text, kept, _ = pictures.embedded_as_attachments(text, pictures.attached(cell.get("attachments"))[0])
    source = _source(text, role)
    if cell.get("cell_type") == "markdown":
        if role == "prose":
            heading = HEADING.search(source)
            facts["heading"] = True
            return new_markdown_cell(heading.group(), metadata={"vitedu": facts}) if heading else None
        source, facts["plain"] = as_affordable(source, budget)
        return new_markdown_cell(source, metadata={"vitedu": facts}, attachments=kept)
    if cell.get("cell_type") == "raw":
        return new_raw_cell(source, metadata={"vitedu": facts})

    outputs = [output for output in _list(cell.get("outputs")) if isinstance(output, dict)]
    if row is not None and not grading.get("solution"):
        # Only what the judge wrote: anything else in an exam's cell came from the student's process.
        facts["exam"], source = True, ""
        outputs = [o for o in outputs if _mapping(o.get("metadata"), "vitedu").get("verdict") is True]
        budget = PageBudget()
    elif role in QUIET and not any(o.get("output_type") == "error" for o in outputs):
        return None
    shown = affordable(outputs[:MAX_OUTPUTS], _output, budget)
    if len(outputs) > MAX_OUTPUTS:
        shown.append(note(f"{len(outputs) - MAX_OUTPUTS} more outputs are not shown"))
    facts["plain"] = not budget.affords("code", len(source))
    return new_code_cell(source, metadata={"vitedu": facts}, outputs=shown)


def _source(source: str, role: Any) -> str:
    """A cell's text, without hidden tests and mark schemes should one ever have come this far."""
    source = HIDDEN.sub("", _text(source))
    if role in ("exam", "check", *QUIET):
        source = "\n".join(line for line in source.split("\n") if "examine(" not in line)
    return source


def as_affordable(source: str, budget: PageBudget) -> tuple[str, bool]:
    """A Markdown text, or a sentence instead of it, and whether it is shown as it is, not rendered."""
    if budget.affords("markdown", len(source)):
        return source, False
    if budget.output(min(len(source), MAX_TEXT)):
        return source, True
    return f"[a text of {len(source)} characters is not shown: {FULL}]", True


def affordable(
    outputs: list[Any], clean: Callable[[Any, PageBudget], list[NotebookNode]], budget: PageBudget
) -> list[NotebookNode]:
    """A cell's outputs, cleaned, as far as the page has room, and a sentence for the others."""
    kept, left = [], 0
    for output in outputs:
        made = [] if budget.full else clean(output, budget)
        if budget.full or not all([budget.output(_length(part)) for part in made]):
            left += 1
        else:
            kept += made
    if left:
        what = f"{left} outputs are" if left > 1 else "an output is"
        kept.append(note(f"{what} not shown: {FULL}"))
    return kept


def _length(output: NotebookNode) -> int:
    """Characters of an output, but for pictures, which count elsewhere."""
    texts = [output.get("text", ""), *output.get("traceback", [])]
    texts += [untrusted.PICTURE.sub("", text) for mime, text in output.get("data", {}).items() if mime[:5] == "text/"]
    return sum(map(len, map(str, texts)))


def _output(output: dict[str, Any], budget: PageBudget) -> list[NotebookNode]:
    """An output as text, sanitised HTML, PNG or JPEG; [] when it is none of nbformat's kinds."""
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return [new_output("stream", name=name, text=_text(output.get("text")))]
    if kind == "error":
        message = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
        trace = "\n".join(_text(line) for line in _list(output.get("traceback"))[:200]) or message
        return [new_output("error", ename="", evalue="", traceback=[untrusted.text(trace, MAX_TEXT)])]
    if kind in ("display_data", "execute_result"):
        return [rich(_mapping(output, "data"), budget)]
    return []


def rich(data: dict[str, Any], budget: PageBudget) -> NotebookNode:
    """The best safe form of a display: HTML, else a picture, else its text."""
    if "text/html" in data and budget.markup(markup := _joined(data["text/html"])):
        return new_output("display_data", data={"text/html": untrusted.html(markup)})
    reason = ""
    for mime in ("image/png", "image/jpeg"):
        if mime not in data:
            continue
        content = pictures.decoded(data[mime])  # encoded again, so that nothing else can hide in it
        encoded = base64.b64encode(content).decode()
        reason = pictures.too_large(content) or budget.picture({"": {mime: encoded}}) if content else ""
        if content and not reason:
            return new_output("display_data", data={mime: encoded}, metadata={"alt": ALT})
    for mime in ("text/plain", "text/markdown", "text/latex"):
        if mime in data:
            return new_output("display_data", data={"text/plain": _text(data[mime])})
    if "text/html" in data:
        return note("an output is not shown: this notebook has shown more HTML than a page can hold")
    return note(
        f"a picture is not shown: {reason}" if reason else "an output that is neither text nor a picture is not shown"
    )


def note(sentence: str) -> NotebookNode:
    """A sentence of ours among the outputs."""
    return new_output("stream", name="stdout", text=f"[{sentence}]")


def _text(value: Any) -> str:
    return untrusted.text(_joined(value), MAX_TEXT)


def _joined(value: Any) -> str:
    """nbformat stores long texts as lists of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
