"""The system calls that put a fork of the fork server into namespaces of its own; see fork_server.py.

Sources: the manual pages user_namespaces(7), mount_namespaces(7), pid_namespaces(7), capabilities(7),
mount_setattr(2), seccomp(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
from typing import Any

NEW_USER, NEW_PID, NEW_NET, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
NEW_UTS, NEW_CGROUP, NEW_MOUNTS = 0x04000000, 0x02000000, 0x00020000
NO_SUID, NO_DEV, NO_EXEC, BIND, REC, SLAVE = 2, 4, 8, 4096, 16384, 1 << 19  # MS_...
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, FILTER = 38, 47, 4, 2
MOUNT_SETATTR, READ_ONLY, RECURSIVE, AT_FDCWD = 442, 1, 0x8000, -100
CAPABILITY_VERSION_3 = 0x20080522
COLLAPSE, LARGE = 25, 2**21  # MADV_COLLAPSE; bytes of a large page
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
_c = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)


def _prctl(option: int, *values: int) -> int:
    result: int = _c.prctl(option, *(ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]))
    return result


def die_with_parent() -> None:
    """End when the process that forked this one ends."""
    _check(_prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def forbid_tracing() -> None:
    """Nobody but the system's administrator may look into this process, or trace it."""
    _check(_prctl(PR_SET_DUMPABLE, 0), "prctl")


def allow_tracing() -> None:
    """As with any other process: the user that it belongs to may look into it, and so may the grader's watch."""
    _check(_prctl(PR_SET_DUMPABLE, 1), "prctl")


def collapse_pages() -> None:
    """Put what this process has computed so far on large pages, so that a fork has fewer to copy; only where it can be.

    Source: madvise(2), MADV_COLLAPSE.
    """
    with contextlib.suppress(OSError), open("/proc/self/maps") as file:
        for line in file:
            addresses, rights, *_, inode = line.split()[:5]
            start, end = (int(number, 16) for number in addresses.split("-"))
            if rights == "rw-p" and inode == "0" and end - start >= LARGE:
                _c.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), COLLAPSE)


def unshare_all() -> None:
    """Enter new namespaces of every kind; the next fork is process 1 in them."""
    user, group = os.getuid(), os.getgid()
    allow_tracing()  # else the next files belong to the administrator
    kinds = NEW_USER | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS | NEW_CGROUP | NEW_MOUNTS
    _check(_c.unshare(kinds), "unshare")
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)
    forbid_tracing()


def _mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    encoded = [value if value is None else value.encode() for value in (source, target, kind)]
    _check(_c.mount(*encoded, ctypes.c_ulong(flags), data and data.encode()), target)


def _read_only(path: str, recursive: bool = False) -> None:
    attributes = struct.pack("QQQQ", READ_ONLY, 0, 0, 0)
    flags = RECURSIVE if recursive else 0
    _check(_c.syscall(MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, ctypes.c_size_t(32)), path)


def mount_filesystems(settings: dict[str, Any]) -> None:
    """In process 1: everything read-only, then empty folders in memory, and a /proc of these processes alone.

    Args:
        settings: "folders": {path: bytes} of the empty folders; "kept": paths below them that stay to be seen;
            "connection": "path" and "content" of the connection file; "home": the folder to be in.
    """
    kept = [(mount_point, os.open(mount_point, os.O_PATH)) for mount_point in settings["kept"]]
    _mount("none", "/", None, REC | SLAVE)
    _read_only("/", recursive=True)
    for mount_point, size in settings["folders"].items():
        _mount("tmpfs", mount_point, "tmpfs", NO_SUID | NO_DEV, f"size={size},mode=0755")
    for mount_point, descriptor in kept:
        source = f"/proc/self/fd/{descriptor}"
        if os.path.isdir(source):
            os.makedirs(mount_point, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(mount_point), exist_ok=True)
            open(mount_point, "w").close()
        _mount(source, mount_point, None, BIND | REC)
        _read_only(mount_point, recursive=True)
        os.close(descriptor)
    os.mkdir(os.path.join(settings["home"], ".cache"))
    _mount("devpts", "/dev/pts", "devpts", NO_SUID | NO_EXEC, "newinstance,ptmxmode=0666,mode=620")
    path = settings["connection"]["path"]
    _mount("tmpfs", os.path.dirname(path), "tmpfs", NO_SUID | NO_DEV | NO_EXEC, "size=64k,mode=0755")
    with open(path, "w") as file:
        json.dump(settings["connection"]["content"], file)
    _read_only(os.path.dirname(path))
    _mount("proc", "/proc", "proc", NO_SUID | NO_DEV | NO_EXEC)
    with contextlib.suppress(OSError), open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")  # a second lock: the refused calls are the first
    # Process 1 has no limits: nobody inside shall get at its memory.
    _mount("tmpfs", "/proc/1", "tmpfs", NO_SUID | NO_DEV | NO_EXEC, "size=4k,mode=0755")
    _read_only("/proc/1")
    os.chdir(settings["home"])
    _raise_loopback()


def _raise_loopback() -> None:
    """Switch the network on that leads nowhere but here."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(each, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(each, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))


def drop_capabilities() -> None:
    """No capability in any namespace, now or after another program is started."""
    _check(_prctl(PR_SET_NO_NEW_PRIVS, 1), "prctl")
    for number in range(64):
        if _prctl(PR_CAPBSET_DROP, number) != 0:
            break
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header, nothing = struct.pack("Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    _check(_c.capset(header, nothing), "capset")


def install_seccomp_filter(program: bytes) -> None:
    """Let the system refuse calls, for this process and all that come from it.

    Args:
        program: of struct sock_filter, 8 bytes each.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    holder = ctypes.create_string_buffer(head, len(head))
    _check(_prctl(PR_SET_SECCOMP, FILTER, ctypes.addressof(holder)), "seccomp")
    allow_tracing()
