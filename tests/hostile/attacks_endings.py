"""Ways to end or to hang a kernel. Each costs only the exercise that it stands in, in its cell or in its answer.

nbgrader's own limits hold against most of them, too, so they are run and listed but not counted.
"""

from __future__ import annotations

from hostile.attack import Attack, Seen
from hostile.loot import LAST, MODEL, SPOT, with_honest

DIED, TIMED_OUT = "kernel died", "timed out"

LOOP = "while True:\n    pass"
IGNORED = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass"
SWALLOWED = """
import time
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
LOCKED = """
import ctypes
while True:
    ctypes.PyDLL(None).sleep(60)  # without letting go of the interpreter: no other thread runs, no signal is seen
"""
STOPPED = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"
EXITED = "import os\nos._exit(0)"
ABORTED = "import os\nos.abort()"
CRASHED = "import ctypes\nctypes.string_at(0)"
RECURSION = """
import sys
sys.setrecursionlimit(10**9)
class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "x")
getattr(Deep(), "x")
"""
CLOSED = "import os\nos.closerange(3, 1000)"
# Two locks taken crosswise by threads that Python waits for at its end, and a handler that never returns.
DEADLOCK = """
import atexit, threading, time
locks = threading.Lock(), threading.Lock()
def cross(first, second):
    with first:
        time.sleep(0.2)
        with second:
            pass
for pair in (locks, locks[::-1]):
    threading.Thread(target=cross, args=pair).start()
atexit.register(time.sleep, 10_000)
time.sleep(0.5)
get_ipython().kernel.do_shutdown(False)
raise SystemExit
"""
# Garbage into the kernel's own connections, on which the grader's next message would then wait for ever.
GARBAGE = """
import os, socket, threading, time
def shut_up(*numbers):
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            s = socket.socket(fileno=os.dup(fd)); s.getpeername()
            if str(s.getsockname()).endswith(tuple(f"-{n}" for n in numbers)): s.send(b"{" * 64)
        except OSError:
            pass
"""
SHUT_UP = GARBAGE + "shut_up(2, 1)"
SHUT_UP_LATER = (
    GARBAGE
    + """
shut_up(2)
threading.Thread(target=lambda: (time.sleep(0.2), shut_up(1)), daemon=True).start()
"""
)
NO_INTERRUPT = GARBAGE + "shut_up(4)\nwhile True:\n    pass"
KILLED_LATER = """
import os, signal, threading
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()
"""
LOOP_STOPPED = "get_ipython().kernel.io_loop.stop()"
EXIT = "exit()"
EVERY_CELL = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


def _answer(code: str) -> str:
    """The same at the moment when the answer is asked for."""
    lines = code.strip().replace("\n", "\n    ")
    return f"def {SPOT}(q, k, v, mask=None):\n    {lines}\n    return v"


def _gains(seen: Seen) -> bool:
    return bool(seen.harmed) or bool(seen.left) or bool(seen.points[SPOT])


def _ending(
    name: str, tries: str, code: str, says: str, loses: tuple[str, ...] = (), fast: bool = False
) -> list[Attack]:
    """In the answer's cell, and in the answer."""
    attacks = []
    for add, when, attack in (("", "", code), ("-when-asked", ", when it is asked", _answer(code))):
        codes, honest = with_honest(attack)
        honest = tuple(exercise for exercise in honest if exercise not in loses)
        attacks.append(
            Attack(
                f"{name}{add}", f"{tries}{when}", "harmless", _gains, codes, honest, loses, says=says,
                fast=fast and not add,
            )
        )  # fmt: skip
    return attacks


ATTACKS = [
    *_ending("endless-loop", "loops for ever", LOOP, TIMED_OUT),
    *_ending("interrupt-ignored", "loops for ever and ignores the interrupt", IGNORED, TIMED_OUT, fast=True),
    *_ending("interrupt-swallowed", "sleeps for ever and catches every exception", SWALLOWED, TIMED_OUT),
    *_ending("interpreter-locked", "sleeps for ever and holds the interpreter's lock", LOCKED, TIMED_OUT),
    *_ending("stopped", "stops its own process, which then neither works nor ends", STOPPED, TIMED_OUT),
    *_ending("exited", "ends the process with success", EXITED, DIED),
    *_ending("aborted", "aborts the process", ABORTED, DIED),
    *_ending("crashed", "reads at address 0", CRASHED, DIED),
    *_ending("recursion", "runs out of stack", RECURSION, f"{DIED}|RecursionError|out of memory|MemoryError"),
    *_ending("files-closed", "closes every open file, the kernel's sockets too", CLOSED, f"{DIED}|{TIMED_OUT}"),
    *_ending("deadlock", "ends with threads and handlers that never do", DEADLOCK, "error|graded", loses=(LAST,)),
    *_ending("shut-up", "breaks its own connections", SHUT_UP, DIED, fast=True),
    *_ending("shut-up-later", "breaks its connections a moment later", SHUT_UP_LATER, f"{DIED}|not answered|graded"),
    *_ending("interrupt-cut", "cuts the line for interrupts and loops for ever", NO_INTERRUPT, TIMED_OUT),
    *_ending("killed-later", "ends the process a moment later", KILLED_LATER, f"{DIED}|not answered|graded"),
    *_ending("loop-stopped", "stops the kernel's loop, which ends it behind the cell", LOOP_STOPPED, DIED),
    *_ending("exit-called", "calls exit(), which ends a kernel behind the cell", EXIT, "SystemExit|not answered"),
    Attack(
        "every-cell-kills", "kills the kernel in every answer but the first", "harmless", _gains,
        dict.fromkeys(MODEL, EVERY_CELL) | {"attention_weights": MODEL["attention_weights"]}, ("attention_weights",),
        says=DIED,
    ),
]  # fmt: skip
