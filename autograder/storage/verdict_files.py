"""Reading verdict files: cleaned for what people read, or as they were written, for the next grading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autograder.errors import UserError
from autograder.judging.verdict import Verdict
from autograder.sanitize import untrusted


def read_record(path: Path) -> dict[str, Any]:
    """One verdicts file, its texts cleaned, its exercises as `Verdict`; {} when there is none.

    Raises:
        UserError: the file is damaged.
    """
    try:
        data = untrusted.json_safe(json.loads(path.read_text("utf-8")))
        return {
            "exercises": [Verdict.from_json(entry) for entry in data["exercises"]],
            "written": [{"grade_id": e["grade_id"], "answered": bool(e["answered"])} for e in data.get("written", [])],
            "mended": [untrusted.text(sentence, 300) for sentence in data.get("mended", [])],
            "unread": untrusted.text(data.get("unread", ""), 600),
            "problems": [untrusted.text(sentence, 300) for sentence in data.get("problems", [])],
            "seconds": {untrusted.terminal(k, 30): float(s or 0.0) for k, s in data.get("seconds", {}).items()},
            "sandbox": data.get("sandbox") is True,
            "modified": path.stat().st_mtime,
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        where = "/".join(path.parts[-3:])
        raise UserError(f"verdicts/{where} is damaged ({type(error).__name__}); grade this submission again") from None


def read_verdicts(path: Path) -> dict[str, Any]:
    """The stored verdicts of a notebook; empty when there are none or the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
