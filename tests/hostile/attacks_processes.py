"""Attacks on what runs beside the kernel: the grading command, other services, and the system's own settings."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hostile.attack import COURSE_SECRET, Attack, Seen
from hostile.loot import KNOWN, loot, told, two_kernels, with_honest

TOKEN = "wren-8e03-from-the-graders-environment"
BANNER = "heron-5d21-from-a-service-next-door"
PORT = "12345678"  # stands for the listener's port, as PATH does for the course
DENIED = "FileNotFoundError|PermissionError|ProcessLookupError|Operation not permitted"

# The grading command, as far as it can be seen; else whatever started this kernel.
GRADER = """
import ctypes, os, pathlib, resource, signal, time
def find_grader():  # the command itself, above the workers that it has forked
    pid = found = os.getppid()
    while pid > 1:
        arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"supervise" in arguments:  # that one is ours
            break
        found = pid if b"grade" in arguments else found
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found
grader = find_grader()
libc = ctypes.CDLL(None, use_errno=True)
"""

ENVIRON = (
    GRADER
    + """
for pid in {grader, *filter(str.isdigit, os.listdir("/proc"))}:
    try:
        found = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\\0")
    except OSError:
        continue
    print([entry.decode() for entry in found if entry.startswith(b"GRADING_TOKEN")])
"""
)

OWN_ENVIRON = """
import os
print(os.environ.get("GRADING_TOKEN", "nothing"))
"""

MEMORY = (
    GRADER
    + """
secret = b"7e" b"57"
needles = secret * 16, bytes.fromhex(secret.decode()) * 16  # as in the file, and as bytes
with open(f"/proc/{grader}/maps") as maps, open(f"/proc/{grader}/mem", "rb", 0) as memory:
    for line in maps:
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if "rw-p" in line and end - start < 2**26:
            memory.seek(start)
            try:
                content = memory.read(end - start)
            except OSError:
                continue
            if any(needle in content for needle in needles):
                print(needles[0].decode())
                break
"""
)

# Opened only: whoever writes there runs code of theirs in that process, without the limits of this one.
WRITABLE = (
    GRADER
    + """
os.close(os.open(f"/proc/{grader}/mem", os.O_RDWR))
print("loot", "writable", sep="=")
"""
)

NAMES = (
    KNOWN
    + """
import os
found = set()
for folder in [course / "submitted", *course.parents]:
    found.update(os.listdir(folder) if folder.is_dir() else [])
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ", "mountinfo", "maps"):
        try:
            found.update((pathlib.Path("/proc") / pid / name).read_bytes().decode(errors="replace").split())
        except OSError:
            pass
print(len(found), "words")
if any("neigh" + "bour" in word for word in found):
    print("loot", "names", sep="=")
"""
)

COMMANDS = """
import pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        line = path.read_bytes().decode(errors="replace").replace("\\0", " ")
    except OSError:
        continue
    print(line)
    if "grade" in line or "course" in line or "--ro-bind" in line:
        print("loot", "commands", sep="=")
"""

TRACED = (
    GRADER
    + """
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
if libc.ptrace(PTRACE_SEIZE, grader, 0, 0):
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
print("loot", "traced", sep="=")
"""
)

KILLED = (
    GRADER
    + """
os.kill(grader, signal.SIGKILL)
time.sleep(5)
"""
)

# No file may be written any more: neither the gradebook nor a feedback page.
STARVED = (
    GRADER
    + """
if grader == 0:
    raise ProcessLookupError("no process above this one")
resource.prlimit(grader, resource.RLIMIT_FSIZE, (0, 0))
print("limited", grader)
"""
)

CORE_PATTERN = """
with open("/proc/sys/kernel/core_pattern") as file:
    before = file.read()
with open("/proc/sys/kernel/core_pattern", "w") as file:  # what is there already; the name of a program would be run
    file.write(before)
print("loot", "core_pattern", sep="=")
"""

NAMESPACE = (
    GRADER
    + """
child = os.fork()
if child == 0:  # a single thread: the kernel itself has several, which is refused in any case
    os._exit(0 if libc.unshare(0x10000000 | 0x00020000) == 0 else 1)
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
    raise PermissionError("no new user namespace")
print("loot", "namespace", sep="=")
"""
)

# By number, as a program without a C library would: (x86-64, the others' common table), arguments.
CALLS = (
    GRADER
    + """
import platform
x86 = platform.machine() == "x86_64"
block = ctypes.create_string_buffer(256)
calls = {
    "add_key": (248, 217, b"user", b"hostile", b"x", 1, -2), "io_uring_setup": (425, 425, 1, block),
    "userfaultfd": (323, 282, 1), "memfd_secret": (447, 447, 0), "memfd_create": (319, 279, b"x", 0),
    "fanotify_init": (300, 262, 0, 0), "mount_setattr": (442, 442, -1, b"", 0, block, 0),
    "perf_event_open": (298, 241, block, 0, -1, -1, 0), "bpf": (321, 280, 0, block, 120),
}
for name, (first, second, *arguments) in calls.items():
    found = libc.syscall(first if x86 else second, *arguments)
    error = ctypes.get_errno() if found == -1 else 0
    if error:
        print(name, os.strerror(error))
    else:
        print("loot", "call", sep="=", end=" ")
        print(name)
        if name != "add_key":
            os.close(found)
"""
)

KEYRING = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
ADD, KEYCTL = (248, 250) if platform.machine() == "x86_64" else (217, 219)
USER, SEARCH, UNLINK, TIMEOUT = -4, 10, 9, 15
"""
LEAVES_KEY = (
    KEYRING
    + """
key = libc.syscall(ADD, b"user", b"hostile-note", b"the answers", 11, USER)
libc.syscall(KEYCTL, TIMEOUT, key, 60)
os._exit(1)
"""
)
FINDS_KEY = (
    KEYRING
    + """
key = libc.syscall(KEYCTL, SEARCH, USER, b"user", b"hostile-note", 0)
if key != -1:
    libc.syscall(KEYCTL, UNLINK, key, USER)
    print("loot", "key", sep="=")
"""
)

LEAVES_SHM = """
import ctypes, os
ctypes.CDLL(None).shmget(0x7E57, 4096, 0o1600)
os._exit(1)
"""
FINDS_SHM = """
import ctypes
libc = ctypes.CDLL(None)
found = libc.shmget(0x7E57, 0, 0)
if found != -1:
    libc.shmctl(found, 0, None)
    print("loot", "segment", sep="=")
"""

TCP = f"""
import socket
with socket.create_connection(("127.0.0.1", {PORT}), 2) as service:
    print(service.recv(100).decode())
"""

# What a look-up of a name is: a question by UDP. The listener plays the name server.
UDP = f"""
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as service:
    service.settimeout(2)
    service.connect(("127.0.0.1", {PORT}))
    service.send(b"where is example.org?")
    print(service.recv(100).decode())
"""

ABSTRACT = f"""
import socket
with socket.socket(socket.AF_UNIX) as service:
    service.settimeout(2)
    service.connect("\\0hostile-{PORT}")
    print(service.recv(100).decode())
"""

ROUTES = """
import socket
print([name for _, name in socket.if_nameindex()])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.connect(("198.51.100.1", 53))  # sends nothing: it only asks for the way
    print("loot", "route", sep="=")
"""


@cache
def _listener() -> int:
    """A service of this machine, by TCP, by UDP and by an abstract Unix socket; its port."""
    tcp, udp, unix = socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
    tcp.bind(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    udp.bind(("127.0.0.1", port))
    unix.bind(f"\0hostile-{port}")

    def greet(service: socket.socket) -> None:
        while True:
            client = service.accept()[0]
            client.send(BANNER.encode())
            client.close()

    def answer() -> None:
        while True:
            udp.sendto(BANNER.encode(), udp.recvfrom(100)[1])

    for service in (tcp, unix):
        service.listen()
        threading.Thread(target=greet, args=(service,), daemon=True).start()
    threading.Thread(target=answer, daemon=True).start()
    return port


def _told_port(folder: Path) -> None:
    for path in folder.glob("*.ipynb"):
        path.write_text(path.read_text().replace(PORT, str(_listener())))


def _came(text: str) -> Callable[[Seen], bool]:
    return lambda seen: text in seen.own


ATTACKS = [
    Attack(
        "graders-environment", "reads the environment of every process that it can see", "unwalled",
        _came(TOKEN), *with_honest(ENVIRON), environ={"GRADING_TOKEN": TOKEN},
    ),
    Attack(
        "own-environment", "prints a token that the kernel has inherited from the grading command", "stock",
        _came(TOKEN), *with_honest(OWN_ENVIRON), environ={"GRADING_TOKEN": TOKEN}, says="nothing",
    ),
    Attack(
        "graders-memory", "reads the course secret out of the grading command's memory", "unwalled",
        _came(COURSE_SECRET), *with_honest(MEMORY), says=DENIED,
    ),
    Attack(
        "memory-above-writable", "opens the memory of the process above it for writing", "unwalled",
        loot("writable"), *with_honest(WRITABLE), says=DENIED,
    ),
    Attack(
        "names-of-the-class", "looks for the others' names in folders, arguments and mounts", "unwalled",
        loot("names"), *with_honest(NAMES), beside=told, says="words",
    ),
    Attack(
        "command-lines", "reads the arguments of every process: paths, and whatever stands there", "unwalled",
        loot("commands"), *with_honest(COMMANDS), says="python",
    ),
    Attack(
        "grader-traced", "attaches to the grading command as a debugger", "unwalled",
        loot("traced"), *with_honest(TRACED), says=DENIED,
    ),
    Attack(
        "grader-killed", "kills the grading command", "unwalled",
        lambda seen: seen.exit < 0, *with_honest(KILLED),
    ),
    Attack(
        "grader-starved", "sets a limit on the grading command, which then cannot write any more", "unwalled",
        lambda seen: seen.exit != 0 or bool(seen.harmed), *with_honest(STARVED), says=f"{DENIED}|limited 1",
        patience=40,
    ),
    Attack(
        "core-pattern-written", "writes a setting of the system by which it could run programs as root", "unwalled",
        loot("core_pattern"), *with_honest(CORE_PATTERN), says="Read-only file system|Permission denied",
    ),
    Attack(
        "user-namespace", "makes a user namespace, in which it is root, and mounts in it", "unwalled",
        loot("namespace"), *with_honest(NAMESPACE), says="no new user namespace",
    ),
    Attack(
        "system-calls", "uses rings, keys, faults and counters of the kernel that have had many holes", "unwalled",
        loot("call"), *with_honest(CALLS), says="add_key Operation not permitted",
    ),
    Attack(
        "note-in-keyring", "leaves a key in the user's keyring, where the next kernel finds it", "unwalled",
        loot("key"), *two_kernels(LEAVES_KEY, FINDS_KEY), says="kernel died",
    ),
    Attack(
        "note-in-shared-memory", "leaves a SysV segment, which outlives its process, for the next kernel", "unwalled",
        loot("segment"), *two_kernels(LEAVES_SHM, FINDS_SHM), says="kernel died",
    ),
    Attack(
        "service-by-tcp", "connects to a service of the grader's machine", "unwalled",
        _came(BANNER), *with_honest(TCP), beside=_told_port, says="Connection refused",
    ),
    Attack(
        "name-server-by-udp", "asks a name server, which can carry any message", "unwalled",
        _came(BANNER), *with_honest(UDP), beside=_told_port, says="Connection refused",
    ),
    Attack(
        "service-by-abstract-socket", "connects to a Unix socket that has no file", "unwalled",
        _came(BANNER), *with_honest(ABSTRACT), beside=_told_port, says="Connection refused",
    ),
    Attack(
        "way-out", "looks for a network interface and a route to the internet", "unwalled",
        loot("route"), *with_honest(ROUTES), says="Network is unreachable",
    ),
]  # fmt: skip
