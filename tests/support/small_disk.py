"""Run a command that finds a small disk of its own at a folder: `small_disk.py FOLDER BYTES COMMAND...`.

The disk is a tmpfs in a mount namespace; nobody else sees it, and it is gone with the command.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def main(folder: str, size: str, *command: str) -> None:
    """Mount the disk, and become the command."""
    libc, (user, group) = ctypes.CDLL(None, use_errno=True), (os.geteuid(), os.getegid())
    _check(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if user else 0)))
    if user:  # who is not root may mount only in a user namespace; there it stays the same user
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    _check(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size},mode=700".encode()))
    os.execvp(command[0], command)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(*sys.argv[1:])
