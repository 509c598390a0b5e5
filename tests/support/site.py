"""The site of the documentation, built for the tests."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from support.places import ROOT


def command(sources: Path, target: Path) -> list[str]:
    """The command of `make site`, for other folders."""
    line = re.search(r"^site:.*?\n\t\$\(BIN\)/python (-m sphinx .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folders = {"docs": str(sources), ".run/site": str(target), ".run/site-doctrees": f"{target}-doctrees"}
    return [sys.executable, *(folders.get(word, word) for word in shlex.split(line[1]))]


def build(target: Path, sources: Path = ROOT / "docs", **variables: str) -> None:
    """Build the site, offline: every way out leads to a port at which nobody listens.

    Raises:
        RuntimeError: a warning, or worse; the text is what Sphinx said.
    """
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VITEDU_")}
    done = subprocess.run(command(sources, target), env=clean | nowhere | variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
