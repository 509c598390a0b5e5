"""A process that has imported everything, and from which students' kernels are forked, each into namespaces of its own.

It runs inside a grader's sandbox (see forked_kernel.py), only imports, computes nothing, and learns
nothing of any submission: a kernel's settings go past it to the fork. Three processes stand for a kernel:

    this process -> a fork that enters new namespaces -> process 1 in them -> the kernel, with a student's code

Process 1 ends with the kernel, or when the grader closes its end of the line, and everything in the
namespaces ends with it.

    guest.fork_server SETTINGS      SETTINGS: JSON, {"listen": open file, "modules": [names]}

How it is started stands in bubblewrap.py: FORK_SERVER.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable
from typing import Any

from . import kernel_main, namespaces

SOCKETS = 5  # of a kernel
# What a kernel loads before its first cell, beside what the lab's own cells import.
FOUNDATION = (
    "ipykernel.debugger", "ipykernel.zmqshell", "ipykernel.ipkernel", "ipykernel.datapub", "ipykernel.pickleutil",
    "ipykernel.codeutil", "ipykernel.serialize", "ipykernel.embed", "ipykernel.comm", "comm", "debugpy",
    "IPython.core.completer", "IPython.core.magics", "IPython.utils.io",
    "IPython.core.pylabtools", "IPython.lib.pretty", "pygments.formatters", "pygments.lexers.python", "pygments.styles",
    "zmq.eventloop.zmqstream", "logging.config", "jedi", "tornado.queues", "tornado.locks",
)  # fmt: skip


def load(names: Iterable[str]) -> None:
    """Import modules; one that is not there is the business of the cell that asks for it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def serve(listening: socket.socket) -> None:
    """Fork a kernel for each request, until the grader is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the forks
    while True:
        line, _ = listening.accept()
        files: list[int] = []
        with line, contextlib.suppress(OSError):
            line.settimeout(10)  # whoever asks sends at once, or was stopped between the two
            _, files, _, _ = socket.recv_fds(line, 16, SOCKETS + 1)
        # A machine that has no room for a process now costs this kernel, which starts cold, and not the others.
        with contextlib.suppress(OSError):
            if len(files) == SOCKETS + 1 and os.fork() == 0:
                try:
                    listening.close()
                    _enter(socket.socket(fileno=files[0]), files[1:])
                finally:
                    os._exit(1)
        for each in files:
            os.close(each)


def _enter(line: socket.socket, sockets: list[int]) -> None:
    """In the fork: new namespaces, and process 1 in them."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    namespaces.die_with_parent()
    try:
        namespaces.enter()
    except OSError as error:
        line.send(f"new namespaces: {error.strerror}".encode())
        return
    first = os.fork()
    if first:
        line.close()
        for each in sockets:
            os.close(each)
        os.waitpid(first, 0)
        os._exit(0)
    namespaces.die_with_parent()
    _first(line, sockets)


def _first(line: socket.socket, sockets: list[int]) -> None:
    """Process 1: set up the namespaces, start the kernel, and wait for its end or the grader's."""
    line.send(b"here")  # the system tells the grader whose message this is: our number outside
    with line.makefile("rb") as file:
        settings = json.loads(file.readline())
    try:
        namespaces.furnish(settings)
    except OSError as error:
        line.send(f"{error.filename or 'mounts'}: {error.strerror}".encode())
        return
    namespaces.give_up_rights()
    kernel = os.fork()
    if kernel == 0:
        line.close()
        _become(settings, sockets)
    for each in sockets:
        os.close(each)
    namespaces.hide_memory()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    waiting.register(line, select.POLLIN)
    while True:
        while (gone := _bury()) is not None:
            if gone == kernel:
                return
        if any(descriptor == line.fileno() for descriptor, _ in waiting.poll(1000)):
            return
        with contextlib.suppress(BlockingIOError):
            os.read(reader, 4096)


def _bury() -> int | None:
    """The number of a process that has ended; None when there is none."""
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(-1, os.WNOHANG)[0] or None
    return None


def _become(settings: dict[str, Any], sockets: list[int]) -> None:
    """The kernel: take on limits, and forget what forks have in common."""
    os.setsid()
    kernel_main.take_on(settings["limits"])
    namespaces.refuse_calls(base64.b64decode(settings["refused"]))
    # An open file has flags, an owner and a lock, which all who inherit it share: the next kernel would see them.
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()
    tempfile._name_sequence = None
    sys.argv = [kernel_main.__file__]
    kernel_main.become(settings["connection"]["path"], dict(enumerate(sockets, start=1)))


def main(settings: str) -> None:
    """Import, then serve."""
    namespaces.die_with_parent()
    namespaces.hide_memory()
    data = json.loads(settings)
    os.closerange(3, data["listen"])  # whatever the grader may have had open
    os.closerange(data["listen"] + 1, 4096)
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as ipykernel sets it; matplotlib reads it
    load((*data["modules"], *FOUNDATION))
    if len(os.listdir("/proc/self/task")) > 1:
        sys.exit("an import started a thread, which a fork would not have")
    gc.collect()
    gc.freeze()  # what is there now is never looked at again, so it stays shared
    namespaces.join_pages()
    serve(socket.socket(fileno=data["listen"]))


if __name__ == "__main__":
    main(sys.argv[1])
