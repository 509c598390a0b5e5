"""Texts for a terminal, which may know fewer characters than they hold."""

from __future__ import annotations

import sys


def printable(text: str) -> str:
    """A text as the terminal can print it: a question mark for what its encoding, such as Windows' cp1252, lacks."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "replace").decode(encoding)
    except (LookupError, UnicodeError):  # the stream is somebody's own
        return text
