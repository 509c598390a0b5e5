"""Puts MathJax beside the pages: the script and its fonts, out of the package sphinx-mathjax-offline."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2")  # 1.5 of 24 MB: what formulas in TeX need


def copy(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    # The package's name has hyphens. As an extension of Sphinx it would copy all of its 24 MB.
    (folder,) = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations
    for part in PARTS:
        source, target = Path(folder, "static/mathjax", part), Path(app.outdir, "_static/mathjax", part)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
