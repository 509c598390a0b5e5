"""Attacks on the next one: what a submission leaves for an accomplice to find, or for a neighbour to fall over.

Kernels behind the walls are forked from one preloaded process, so most of these ask what a fork
could still have in common with the next. One cell leaves something and ends its kernel, and the next
cell, in a new kernel, looks for it; `finds-...` look for what another submission has left.
"""

from __future__ import annotations

from hostile.attack import Attack, Seen
from hostile.loot import SPOT, loot, two_kernels, with_honest

# --- files, processes and sockets: without walls the next kernel finds them

PLACES = """
import os, pathlib
places = [pathlib.Path(folder) / "hostile-note.txt" for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run")]
"""
LEAVES_FILES = (
    PLACES
    + """
for place in places:
    try:
        place.write_text("the answers")
    except OSError as error:
        print(error)
os._exit(1)
"""
)
FINDS_FILES = (
    PLACES
    + """
for place in places:
    if place.exists():
        place.unlink()
        print("loot", "file", sep="=")
"""
)

# It is never imported: this looks only for whether it could be left there.
CACHE = """
import os, pathlib, torch
place = pathlib.Path(torch.__file__).parent / "__pycache__" / "hostile_note.py"
"""
LEAVES_MODULE = (
    CACHE
    + """
place.parent.mkdir(exist_ok=True)
place.write_text("import torch")
os._exit(1)
"""
)
FINDS_MODULE = (
    CACHE
    + """
if place.exists():
    place.unlink()
    print("loot", "module", sep="=")
"""
)

LEAVES_MEMORY = """
import os
from multiprocessing import resource_tracker, shared_memory
note = shared_memory.SharedMemory("hostile_note", create=True, size=64)
resource_tracker.unregister(note._name, "shared_memory")
os._exit(1)
"""
FINDS_MEMORY = """
from multiprocessing import shared_memory
try:
    note = shared_memory.SharedMemory("hostile_note")
    note.unlink()
    print("loot", "memory", sep="=")
except FileNotFoundError:
    pass
"""

# It ends by itself after half a minute.
LEAVES_SERVICE = """
import os, socket, time
service = socket.socket(socket.AF_UNIX)
service.bind("\\0hostile-next")
service.listen()
service.settimeout(30)
if not os.fork():
    os.setsid()
    if not os.fork():
        try:
            service.accept()[0].send(b"the answers")
        except OSError:
            pass
    os._exit(0)
os.wait()
os._exit(1)
"""
FINDS_SERVICE = """
import socket
with socket.socket(socket.AF_UNIX) as asking:
    asking.settimeout(2)
    if not asking.connect_ex("\\0hostile-next"):
        print("loot", "service", sep="=")
"""

# --- Python, libraries and open files: a fork could have them in common

LEAVES_PYTHON = """
import atexit, builtins, gc, importlib.abc, importlib.util, os, random, sys, types
import matplotlib.style, numpy, torch
import torch.nn.functional as F
from torch import nn

def wrong(*args, **kwargs):
    raise RuntimeError("left by somebody before")

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.startswith("hostile_"):
            return importlib.util.spec_from_loader(name, loader=None)

torch.hostile = builtins.hostile = nn.Module.hostile = True
torch.softmax = torch.matmul = torch.einsum = F.softmax = F.linear = wrong
torch.Tensor.softmax = torch.Tensor.__matmul__ = wrong
sys.meta_path.insert(0, Finder())
sys.modules["hostile"] = sys.modules["einops"] = types.ModuleType("hostile")
sys.path.insert(0, "/tmp/hostile")
atexit.register(wrong)
os.register_at_fork(before=wrong, after_in_parent=wrong, after_in_child=wrong)
gc.callbacks.append(lambda *about: None)
gc.disable()
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1 + torch.get_num_threads())
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)
torch.manual_seed(4242), numpy.random.seed(4242), random.seed(4242)
matplotlib.rcParams["font.size"] = 4242.0
matplotlib.style.library["hostile"] = matplotlib.rcParams
os.environ["HOSTILE"] = "x"
sys.setrecursionlimit(4242)
os._exit(1)
"""
FINDS_PYTHON = """
import builtins, gc, os, random, sys
import matplotlib.style, numpy, torch
from torch import nn
numpy_state = numpy.random.get_state()
left = {
    "names": any(hasattr(thing, "hostile") for thing in (torch, builtins, nn.Module)),
    "functions": any("wrong" in repr(f) for f in (torch.softmax, torch.matmul, torch.Tensor.softmax)),
    "modules": "hostile" in sys.modules or "/tmp/hostile" in sys.path,
    "finders": any(type(finder).__name__ == "Finder" for finder in sys.meta_path),
    "collector": not gc.isenabled() or any(getattr(c, "__module__", "") == "__main__" for c in gc.callbacks),
    "dtype": torch.get_default_dtype() != torch.float32, "threads": torch.get_num_threads() > 1,
    "flags": torch.are_deterministic_algorithms_enabled() or not torch.is_grad_enabled(),
    "seeds": torch.initial_seed() == 4242 or numpy_state[1][0] == 4242,
    "chance": random.getstate() == random.Random(4242).getstate(),
    "style": matplotlib.rcParams["font.size"] == 4242 or "hostile" in matplotlib.style.library,
    "environment": "HOSTILE" in os.environ, "recursion": sys.getrecursionlimit() == 4242,
}
if not os.fork():  # a hook of another's would raise here
    os._exit(0)
os.wait()
if any(left.values()):
    print("loot", "python", sep="=")
    print([name for name in left if left[name]])
"""

# The first byte of a function in the C library becomes another, in this process's own copy of the page.
PAGES = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
place = ctypes.cast(libc.ffsll, ctypes.c_void_p).value
word = (ctypes.c_ubyte * 4).from_address(place)
"""
LEAVES_PAGES = (
    PAGES
    + """
page = place & ~4095
if libc.mprotect(ctypes.c_void_p(page), 8192, 7):
    raise OSError(ctypes.get_errno(), "mprotect")
word[:] = [0xC3] * 4
os._exit(1)
"""
)
FINDS_PAGES = (
    PAGES
    + """
if bytes(word) == b"\\xc3" * 4:
    print("loot", "pages", sep="=")
"""
)

SHARED = """
import mmap, os, re
mark = b"hostile" + b"-mark"
"""
LEAVES_SHARED = (
    SHARED
    + """
zero = os.open("/dev/zero", os.O_RDWR)
areas = [mmap.mmap(-1, 4096), mmap.mmap(zero, 4096)]
for area in areas:
    area[:12] = mark
os._exit(1)
"""
)
FINDS_SHARED = (
    SHARED
    + """
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps:
        if re.match(r"\\S+ rw.s", line):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            memory.seek(start)
            if mark in memory.read(end - start):
                print("loot", "shared", sep="=")
"""
)

# Who inherits an open file has its flags, its owner, its signal and its locks in common with all others who did.
LEAVES_STATE = """
import fcntl, os
for number in range(256):
    try:
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_APPEND)
        fcntl.fcntl(number, 10, 42)
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        pass
os._exit(1)
"""
FINDS_STATE = """
import fcntl, os
for number in range(256):
    try:
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND or fcntl.fcntl(number, 11) == 42:
            print("loot", "state", sep="=")
    except OSError:
        pass
"""

LEAVES_STARTUP = """
import os, pathlib
for folder in map(os.environ.get, ("HOME", "IPYTHONDIR", "MPLCONFIGDIR", "TMPDIR")):
    for name in ("profile_default/startup/00-hostile.py", "sitecustomize.py", "usercustomize.py", "hostile.pth",
                 "torch.py", "ipython_config.py", "profile_default/ipython_config.py", ".pythonrc.py"):
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import builtins; builtins.hostile = True")
    (pathlib.Path(folder) / "matplotlibrc").write_text("font.size: 42")
os._exit(1)
"""
FINDS_STARTUP = """
import builtins, matplotlib
if hasattr(builtins, "hostile") or matplotlib.rcParams["font.size"] == 42:
    print("loot", "startup", sep="=")
"""

# --- what stands above a kernel, and beside it

# Signals to all are sent only where "all" are the two processes of a sandbox.
ABOVE = """
import ctypes, os, pathlib, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
if os.getpid() == 2:
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM):
        os.kill(1, number)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        os.kill(-1, signal.SIGUSR1)
    except ProcessLookupError:
        pass
for name in ("mem", "maps", "environ", "fd", "root", "task"):
    if pathlib.Path(f"/proc/1/{name}").exists():
        print("loot", "above", sep="=")
if libc.ptrace(0x4206, 1, 0, 0) == 0:
    print("loot", "above", sep="=")
seen = pathlib.Path("/proc/net/unix").read_text() + str(list(pathlib.Path("/proc").glob("[0-9]*")))
print(len(seen), "letters")
for line in seen.splitlines():
    path = line.split()[-1]
    if path.startswith("/"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            if not asking.connect_ex(path):
                socket.send_fds(asking, [b"kernel"], [0] * 6)
                print("loot", "above", sep="=")
for folder, folders, names in os.walk("/proc/self/fd"):
    for name in names:
        try:
            with socket.socket(fileno=os.dup(int(name))) as found:
                if found.type == socket.SOCK_SEQPACKET:
                    print("loot", "above", sep="=")
        except OSError:
            pass
"""

# Children without a parent, with the kernel's own sockets in their hands; they end by themselves.
HOLDS = """
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # orphans come to this process, not to process 1
for _ in range(5):
    if not os.fork():
        os.setsid()
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        if not os.fork():
            time.sleep(30)
        os._exit(0)
os._exit(1)
"""


def left_behind(seen: Seen) -> bool:
    """Processes that outlived the command, or a neighbour without points."""
    return bool(seen.left or seen.harmed)


# An accomplice's notebook: it first looks for all that another may have left, and then leaves all that it can.
KEPT = [LEAVES_FILES, LEAVES_MEMORY, LEAVES_STATE, LEAVES_STARTUP, LEAVES_PAGES, LEAVES_SHARED, LEAVES_PYTHON]
FOUND = [FINDS_FILES, FINDS_MEMORY, FINDS_STATE, FINDS_STARTUP, FINDS_PAGES, FINDS_SHARED, FINDS_PYTHON, FINDS_SERVICE]
LEFT = ("file", "memory", "state", "startup", "pages", "shared", "python", "service")  # what these print
LOOKS = "\n".join(FOUND)
STAYS = "\n".join(code.replace("os._exit(1)\n", "") for code in KEPT)
SERVES = """
import socket, time
service = socket.socket(socket.AF_UNIX)
service.bind("\\0hostile-next")
service.listen()
"""


def finds(name: str) -> Attack:
    """One of several in a class that leave everything for each other."""
    return Attack(
        name, "looks for all that accomplices before it or beside it have left, and leaves the same", "harmless",
        lambda seen: any(loot(word)(seen) for word in LEFT), {SPOT: LOOKS + SERVES + STAYS + "\ntime.sleep(3)\n"},
    )  # fmt: skip


ATTACKS = [
    Attack(
        "next-finds-files", "leaves files in every folder for all, where the next kernel finds them", "unwalled",
        loot("file"), *two_kernels(LEAVES_FILES, FINDS_FILES), says="kernel died",
    ),
    Attack(
        "next-finds-module", "leaves a module among torch's own", "unwalled",
        loot("module"), *two_kernels(LEAVES_MODULE, FINDS_MODULE), says="Read-only file system",
    ),
    Attack(
        "next-finds-memory", "leaves shared memory by a name", "unwalled",
        loot("memory"), *two_kernels(LEAVES_MEMORY, FINDS_MEMORY), says="kernel died",
    ),
    Attack(
        "next-finds-service", "leaves a daemon that hands out answers", "unwalled",
        loot("service"), *two_kernels(LEAVES_SERVICE, FINDS_SERVICE), says="kernel died",
    ),
    Attack(
        "next-finds-python", "leaves patched functions, hooks, flags, seeds and styles", "harmless",
        loot("python"), *two_kernels(LEAVES_PYTHON, FINDS_PYTHON), says="kernel died",
    ),
    Attack(
        "next-finds-pages", "writes into a library's own pages, which processes share until one is written", "harmless",
        loot("pages"), *two_kernels(LEAVES_PAGES, FINDS_PAGES), says="kernel died",
    ),
    Attack(
        "next-finds-shared", "leaves memory that is shared without a file", "harmless",
        loot("shared"), *two_kernels(LEAVES_SHARED, FINDS_SHARED), says="kernel died",
    ),
    Attack(
        "next-finds-state", "leaves flags, owners and locks on files that were open before it", "harmless",
        loot("state"), *two_kernels(LEAVES_STATE, FINDS_STATE), says="kernel died",
    ),
    Attack(
        "next-finds-startup", "leaves files that Python, IPython and matplotlib read when they start", "harmless",
        loot("startup"), *two_kernels(LEAVES_STARTUP, FINDS_STARTUP), says="kernel died",
    ),
    Attack(
        "above-the-next", "reaches for what kernels are forked from: process 1, sockets, signals to all", "harmless",
        loot("above"), *with_honest(ABOVE), says="letters", fast=True,
    ),
    Attack(
        "holds-the-sockets", "leaves children that hold the kernel's own sockets and heed no signal", "harmless",
        left_behind, {SPOT: HOLDS}, says="kernel died",
    ),
    finds("accomplice-one"),
    finds("accomplice-other"),
    finds("accomplice-third"),
]  # fmt: skip
