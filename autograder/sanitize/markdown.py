"""A student's Markdown as HTML: rendered first, cleaned then.

What Markdown makes of a text cannot be seen in the text (a link's address may come in three notations, with entities,
on another line), so nothing is looked for in the source: the rendered HTML goes through the one allow-list there is.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograder.sanitize import pictures, untrusted
from autograder.sanitize.code_colours import coloured

MAX_TEXT = 20_000  # characters of one cell or one text output
# What a student made stays in its box, whatever a formula or a table does: it cannot cover a button of the page.
CONTAINER = '<div style="overflow: auto; contain: content;">'
BLANKS = re.compile(r"([ \t])[ \t]{200,}")  # the renderer goes over a run of blanks again and again
# From each of these the renderer looks for its other half, up to the end of the text.
OPENING = ("\\\\[", "\\\\(", "\\begin{")
MAX_SEARCH = 5_000_000  # characters


class _Renderer(IPythonRenderer):
    """Leaves the addresses of attachments as they are; the cleaning puts the pictures in.

    A block of code has no colours: which of hundreds of lexers reads it would be up to the student, and some of
    them take hours for a few kilobytes.
    """

    def block_code(self, code: str, info: str | None = None) -> str:
        return f"<pre><code>{entities.escape(code)}</code></pre>\n"

    def _embed_image_or_attachment(self, src: str) -> str:
        return src


def markdown(source: Any, attachments: Any = None, plain: bool = False) -> str:
    """Markdown as HTML that does nothing; as plain text when the renderer gives up.

    A picture that is missing, or that is refused, becomes a sentence; one that no text refers to stands at the end.

    Args:
        attachments: of the cell, as notebooks keep them: anything.
        plain: the source is shown as it is, with the pictures below.
    """
    source, kept, _ = pictures.embedded_as_attachments(str(source), pictures.attached(attachments)[0])
    source = untrusted.text(source, MAX_TEXT)
    shown = "" if plain else _rendered(source)
    named = {pictures.key(src) for src in re.findall(r"attachment:([^\"'>]+)", entities.unescape(shown))}
    more = ""
    for name in kept:
        if pictures.key(name) not in named:
            more += f'\n<p>Attached: <img src="attachment:{entities.escape(name)}" alt="{entities.escape(name)}"></p>'
    if shown:
        return untrusted.html(shown + more, kept)
    return (f"<pre>{entities.escape(source)}</pre>" if source else "") + untrusted.html(more, kept)


def _rendered(source: str) -> str:
    """HTML, not cleaned; "" when the renderer gives up, or would take too long."""
    if len(source) * sum(map(source.count, OPENING)) > MAX_SEARCH:
        return ""
    renderer = _Renderer(escape=False, exclude_anchor_links=True)
    try:
        return MarkdownWithMath(renderer=renderer).render(BLANKS.sub(r"\1", source))
    except Exception:  # deep nesting raises all kinds of errors in the renderer
        return ""


def contained(shown: str) -> str:
    """Cleaned HTML in a box that nothing leaves."""
    return f"{CONTAINER}{shown}</div>"


@lru_cache(maxsize=1)
def _plain() -> HTMLExporter:
    return HTMLExporter()


@pass_context
def markdown2html(context: Any, source: str) -> str:
    """nbconvert's filter of this name for formgrader's page: the author's own prose as ever, all else cleaned."""
    cell = context.get("cell", {})
    if is_prose(cell):
        return _plain().markdown2html(context, source)
    return contained(markdown(source, cell.get("attachments"), is_plain(cell)))


def highlight_code(source: str, metadata: Any = None) -> str:
    """nbconvert's filter of this name for all pages that show submissions."""
    return coloured(source, plain=is_plain({"metadata": metadata or {}}))


def is_plain(cell: Mapping[str, Any]) -> bool:
    """Whether a page has no room left to render a cell, see page_budget.py."""
    return cell.get("metadata", {}).get("vitedu", {}).get("plain") is True


def is_prose(cell: Mapping[str, Any]) -> bool:
    """Whether a cell of a rebuilt notebook is the author's text."""
    return cell.get("metadata", {}).get("vitedu", {}).get("role") == "prose"


def strip_files_prefix(text: str) -> str:
    """nbconvert's filter of this name, without what it does: for links of IPython 1 it reads on from each "["."""
    return text


FILTERS = {f.__name__: f for f in (markdown2html, highlight_code, strip_files_prefix)}  # for HTMLExporter
