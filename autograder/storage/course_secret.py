"""The secret of a course, from which every exam's cases are drawn: a file that is made on first use."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from autograder.errors import UserError
from autograder.storage.atomic_files import write_new

SECRET = "course_secret"


def read_secret(root: Path) -> bytes:
    """The course secret, from which all variants are drawn; made on first use, readable by its owner only.

    Raises:
        UserError: the file holds something else.
    """
    path = Path(root) / SECRET
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = write_new(path.with_name(f"{SECRET}-{secrets.token_hex(4)}"), secrets.token_hex(32) + "\n", mode=0o600)
        try:
            os.link(mine, path)  # unlike a rename, this does not replace what somebody else drew meanwhile
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(mine, path)
        mine.unlink(missing_ok=True)
    try:
        secret = bytes.fromhex(path.read_text().strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise UserError(
            f"{path} should hold at least 32 hexadecimal digits, the course secret; restore it from a backup."
        )
    return secret
