"""What to do about an error that comes from a file which was not handed in, in a sentence for the student."""

from __future__ import annotations

import re

_MODULE = re.compile(r"ModuleNotFoundError: No module named '([\w.]{1,60})'")
_UNKNOWN = re.compile(r"ImportError: cannot import name '\w{1,60}' from '([\w.]{1,60})' \(unknown location\)")
_FILE = re.compile(r"FileNotFoundError: .{0,60}?No such file or directory: '([^']{1,60})")


def advice(error: str) -> str:
    """A sentence about an error's text, such as "ModuleNotFoundError: No module named 'helpers'"; "" for all others."""
    if found := _MODULE.search(error) or _UNKNOWN.search(error):
        name = found[1].split(".")[0]
        return (
            f"The module {name} is not in the course's environment, and files beside the notebook are not read: "
            f"move its code into a cell of the notebook and hand it in again."
        )
    if found := _FILE.search(error):
        return (
            f"The file {found[1]} is not here: files beside the notebook are not read. "
            "Make the data in a cell of the notebook and hand it in again."
        )
    return ""
