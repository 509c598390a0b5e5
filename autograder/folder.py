"""What we keep in a course folder beside nbgrader's own: the secret, and the verdicts."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from .errors import UserError

SECRET = "course_secret"


def read_secret(root: Path) -> bytes:
    """The course secret, from which all variants are drawn; made on first use, readable by its owner only.

    Raises:
        UserError: the file holds something else.
    """
    path = Path(root) / SECRET
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise UserError(
            f"{path} should hold at least 32 hexadecimal digits, the course secret; restore it from a backup."
        )
    return secret


def verdict_path(root: Path, student: str, assignment: str, notebook: str) -> Path:
    """Where the verdicts on a notebook are kept."""
    return Path(root) / "verdicts" / student / assignment / f"{notebook}.json"


def read_verdicts(path: Path) -> dict[str, Any]:
    """The stored verdicts of a notebook; empty when there are none or the file is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_atomically(path: Path, content: str) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, path)
