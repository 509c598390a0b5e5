"""What a student's error says: whether it is an open TODO, its type and numbers, and where it was raised."""

from __future__ import annotations

import os
import re
import sysconfig

import torch

from vitedu.probe.case import EXCEPTIONS, Answer


def is_todo(error: BaseException) -> bool:
    """Whether this is an exercise's `raise NotImplementedError("TODO")`, and not torch's own NotImplementedError."""
    return isinstance(error, NotImplementedError) and _message(error)[:4] in ("", "TODO")


def _message(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except BaseException:  # a student's own exception class may fail to print itself
        return ""


# A minus is one where nothing stands before it that it could join: "got -3", "(-3", "=-3"; not "dim-3", "2-3".
NUMBER = re.compile(r"(?:(?<![^\s(\[{=:,;<>|/*+'\"])-)?\d+(?:\.\d+(?![\d.]))?")
# After a noun, "dim -13" may be a dash or a minus; after these words it is a minus: "got -3", "to -3".
_SAYING = re.compile(
    r"\b(got|gets?|gives?|gave|given|found|is|was|are|were|be|not|and|or|to|of|from|by|than|at|wants?|wanted|"
    r"expect(s|ed)?|received|returned|equals?|values?|numbers?|integers?)\s+$",
    re.IGNORECASE,
)


def integers_in(message: str) -> list[int]:
    """The whole numbers in a text, with any punctuation around them; 4.0 is one, 4.5 is none.

    Where a minus may as well be a dash, as in "dim -13", both readings are in the list.
    """
    found: list[int] = []
    for match in NUMBER.finditer(message):
        whole, _, rest = match[0].partition(".")
        if rest.strip("0") or len(whole) >= 18:
            continue
        number, before = int(whole), message[: match.start()]
        if number < 0 and re.search(r"[^\W\d_]\s+$", before[-20:]) and not _SAYING.search(before[-20:]):
            found.append(-number)
        found.append(number)
    return found[:16]


def failed(error: BaseException) -> Answer:
    """The answer of a call that raised."""
    names = [cls.__name__ for cls in type(error).__mro__]
    message = _message(error)
    known = next((name for name in names if name in EXCEPTIONS), "Exception")
    integers = integers_in(message)
    where, line = place(error)
    facts = {"type": known, "message": message, "integers": integers, "where": where, "line": line}
    return Answer("undone" if is_todo(error) else "error", error=facts)


LIBRARIES = tuple(
    os.path.normcase(os.path.join(folder, ""))
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.dirname(torch.__file__), os.path.dirname(os.path.dirname(__file__)),
    )
)  # fmt: skip


def place(error: BaseException) -> tuple[str, int]:
    """Function and line of the innermost frame that is neither a library's nor ours."""
    found, trace = ("", 0), error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not os.path.normcase(code.co_filename).startswith(LIBRARIES) and not code.co_filename.startswith("<frozen"):
            found = (code.co_qualname, trace.tb_lineno)
        trace = trace.tb_next
    return found


def exercise_of(where: str) -> str:
    """The function or class around a TODO: "AttentionHead.forward" -> "AttentionHead"."""
    return where.split(".")[0] or "an earlier cell"
