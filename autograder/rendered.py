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

from . import pictures, untrusted

MAX_TEXT = 20_000  # characters of one cell or one text output
# What a student made stays in its box, whatever a formula or a table does: it cannot cover a button of the page.
BOX = '<div style="overflow: auto; contain: content;">'


class _Renderer(IPythonRenderer):
    """Leaves the addresses of attachments as they are; the cleaning puts the pictures in."""

    def _embed_image_or_attachment(self, src: str) -> str:
        return src


def markdown(source: Any, attachments: Any = None) -> str:
    """Markdown as HTML that does nothing; as plain text when the renderer gives up.

    A picture that is missing, or that is refused, becomes a sentence; one that no text refers to stands at the end.

    Args:
        attachments: of the cell, as notebooks keep them: anything.
    """
    source, kept, _ = pictures.lifted(str(source), pictures.attached(attachments)[0])
    source = untrusted.text(source, MAX_TEXT)
    try:
        shown = MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)
    except Exception:  # deep nesting raises all kinds of errors in the renderer
        return f"<pre>{entities.escape(source)}</pre>"
    named = {pictures.key(src) for src in re.findall(r"attachment:([^\"'>]+)", entities.unescape(shown))}
    for name in kept:
        if pictures.key(name) not in named:
            shown += f'\n<p>Attached: <img src="attachment:{entities.escape(name)}" alt="{entities.escape(name)}"></p>'
    return untrusted.html(shown, kept)


def boxed(shown: str) -> str:
    """Cleaned HTML in a box that nothing leaves."""
    return f"{BOX}{shown}</div>"


@lru_cache(maxsize=1)
def _plain() -> HTMLExporter:
    return HTMLExporter()


@pass_context
def markdown2html(context: Any, source: str) -> str:
    """nbconvert's filter of this name for formgrader's page: the author's own prose as ever, all else cleaned."""
    cell = context.get("cell", {})
    if is_prose(cell):
        return _plain().markdown2html(context, source)
    return boxed(markdown(source, cell.get("attachments")))


def is_prose(cell: Mapping[str, Any]) -> bool:
    """Whether a cell of a rebuilt notebook is the author's text."""
    return cell.get("metadata", {}).get("vitedu", {}).get("role") == "prose"
