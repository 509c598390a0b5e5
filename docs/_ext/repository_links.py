"""Links to files of the repository that are pages of the site, so that one text can be read in both places.

On a code host a guide links to ../CONTRIBUTING.md or to a lab's notebook. The site shows these under other names.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "CHANGELOG.md": "changelog",
}
LINK = re.compile(r"\]\((?P<path>(?![a-z]+:)[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")
NOTEBOOK = re.compile(r"notebooks/(lab[^/]+)/[^/]+\.ipynb")


def page_of(path: str) -> str | None:
    """The page that shows a file of the repository."""
    if lab := NOTEBOOK.fullmatch(path):
        return f"labs/{lab[1]}.ipynb"
    return f"{PAGES[path]}.md" if path in PAGES else None


def lead_to_pages(app: Sphinx, docname: str, content: list[str]) -> None:
    if app.env.doc2path(docname).suffix != ".md":
        return
    here = posixpath.dirname(docname)

    def other(link: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join("docs", here, link["path"]))
        page = page_of(file)
        return f"](/{page}{link['anchor'] or ''})" if page else link[0]

    content[0] = LINK.sub(other, content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", lead_to_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
