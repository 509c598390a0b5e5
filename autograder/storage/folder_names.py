"""Names of folders: compared as people type and see them, and refused where nbgrader cannot take them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from autograder.storage.diagnose import AGAIN

LONGEST = 128  # characters of a student's name in nbgrader's gradebook; SQLite alone takes more


def as_typed(name: str) -> str:
    """A lab folder's name as people type it: "Lab1_Attention", "lab1 attention", "lab 1" -> "lab1attention", "lab1"."""
    return re.sub(r"[\W_]+", "", name).lower()


def lookalike_key(name: str) -> str:
    """Equal for names that look alike: composed in another way, or with other blanks."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def bad_name(name: str, alike: Counter[str], longest: int | None) -> str:
    """Why nbgrader, or a reader, cannot tell whose a folder is; "" where all is well."""
    if alike[lookalike_key(name)] > 1:
        return (
            f"{alike[lookalike_key(name)]} folders' names look like this one; rename one or put them together {AGAIN}"
        )
    if any(sign in name for sign in "*?["):
        return f"nbgrader takes the folder's name for a pattern; rename it {AGAIN}"
    if longest is not None and len(name) > longest:
        return f"the folder's name has {len(name)} characters, the gradebook takes {longest}; rename it {AGAIN}"
    if name != name.strip() or not name.isprintable() or any(sign in name for sign in "+,"):
        signs = "a blank at its start or end, a comma, a plus or a control character"
        return f"nbgrader cannot take a folder's name with {signs}; rename it {AGAIN}"
    return ""
