"""Which inline styles of a student's are kept: those that colour and space, none that hide, cover or push away."""

from __future__ import annotations

import re

# The largest value of a length, by unit.
LENGTHS = {"px": 2000, "pt": 1500, "em": 120, "rem": 120, "ex": 250, "ch": 250, "%": 100, "vw": 100}
# The smallest and the largest of what else could hide a text or push away what stands below, by unit.
LETTERS = {"px": (6, 60), "pt": (5, 45), "em": (0.5, 4), "rem": (0.5, 4), "%": (50, 400)}
LINES = {"": (0.8, 4), "px": (8, 100), "pt": (6, 75), "em": (0.8, 4), "rem": (0.8, 4), "%": (80, 400)}
SPACES = {"px": 120, "pt": 90, "em": 8, "rem": 8, "ex": 16, "ch": 16, "%": 20}
DISPLAYS = (
    "block inline inline-block flow-root flex inline-flex grid list-item table inline-table table-row table-cell"
    " table-caption table-row-group table-header-group table-footer-group"
).split()
_DECLARATION = re.compile(
    r"\s*([a-z-]+)\s*:\s*((?:[\w\s#.,%+-]|(?:rgb|hsl)a?\([\d\s.,%/]*\)|\"[\w\s-]*\"|'[\w\s-]*')*)", re.I
)
_NUMBER = re.compile(r"(?<![\w#.])([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([a-z%]*)", re.I)
# Colours that may let the ground through.
_CLEAR = re.compile(r"transparent|/|a\(|(?:,[^,]*){3}|#(?:[0-9a-f]{4}|[0-9a-f]{8})\b", re.I)


def modest(declaration: str) -> bool:
    """Whether a declaration, such as "color: red", is one that does no harm to what stands beside it."""
    found = _DECLARATION.fullmatch(declaration)
    if found is None:
        return False
    name, value = found[1].lower(), found[2].strip().lower()
    if name == "display":
        return value in DISPLAYS
    if name == "color" and _CLEAR.search(value):
        return False
    plain = re.sub(r"(?:rgb|hsl)a?\([^)]*\)|\"[^\"]*\"|'[^']*'", " ", value)
    numbers = [(float(number), unit) for number, unit in _NUMBER.findall(plain)]
    return all(_within(name, number, unit) for number, unit in numbers)


def _within(name: str, number: float, unit: str) -> bool:
    if name == "font-weight":
        return unit == "" and 100 <= number <= 1000
    if name in ("font-size", "line-height"):
        low, high = (LETTERS if name == "font-size" else LINES).get(unit, (1, 0))
        return low <= number <= high
    if name.startswith(("padding", "border")):
        return number == 0 or 0 < number <= SPACES.get(unit, -1)
    return name in ("width", "max-width", "height") and 0 < number <= LENGTHS.get(unit, -1)
