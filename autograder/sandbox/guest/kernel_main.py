"""What runs first inside a grader's sandbox: it takes on the limits, then becomes the kernel.

The sandbox shares no folder with the grader. The grader has opened the kernel's five sockets
already and hands them down as open files; zmq goes on with those (ZMQ_USE_FD). Without a sandbox
there are none to go on with, and the kernel opens its own.

    python -I -B kernel_main.py SETTINGS      SETTINGS: JSON, see `main`
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from typing import Any

import zmq
from ipykernel import zmqshell
from ipykernel.heartbeat import Heartbeat
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.thread import CONTROL_THREAD_NAME
from traitlets import Type, observe

_sockets: dict[int, int] = {}  # port (here just a number from 1 to 5) -> open file


class ZMQInteractiveShell(zmqshell.ZMQInteractiveShell):  # notebooks ask for this name to know that they are one
    """A shell in which exit(), quit() and do_shutdown() end the cell that calls them.

    ipykernel's own ends the kernel a moment after the cell is done, in the middle of whatever runs by then.
    """

    @observe("exit_now")
    def _update_exit_now(self, change: Any) -> None:
        if not change["new"]:
            return
        if threading.current_thread().name == CONTROL_THREAD_NAME:  # whoever started the kernel ends it
            zmqshell.ZMQInteractiveShell._update_exit_now(self, change)
            return
        self.exit_now = False
        raise SystemExit("this would end the kernel; in grading it ends only what called it")


class _Kernel(IPythonKernel):
    shell_class = Type(ZMQInteractiveShell)


class _Heartbeat(Heartbeat):
    def _try_bind_socket(self) -> Any:
        if self.port in _sockets:
            self.socket.setsockopt(zmq.USE_FD, _sockets[self.port])
        return super()._try_bind_socket()


class SandboxedKernel(IPKernelApp):
    """An ordinary kernel, on sockets that somebody else has opened where there are such."""

    kernel_class = Type(_Kernel, klass="ipykernel.kernelbase.Kernel")  # type: ignore[assignment]  # a trait, as there

    def _try_bind_socket(self, s: zmq.Socket[bytes], port: int) -> int:
        if port in _sockets:
            s.setsockopt(zmq.USE_FD, _sockets[port])
        bound: int = super()._try_bind_socket(s, port)
        return bound

    def init_heartbeat(self) -> None:
        self.heartbeat = _Heartbeat(zmq.Context(), (self.transport, self.ip, self.hb_port))
        self.heartbeat.start()


def set_limits(limits: dict[str, int]) -> None:
    """Set resource limits by name, such as {"DATA": 2**32}, so that they cannot be raised again."""
    for name, most in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def run_kernel(connection: str, sockets: dict[int, int]) -> None:
    """Turn this process into the kernel; does not return.

    Args:
        connection: path of the connection file.
        sockets: port -> open file.
    """
    for port, descriptor in sockets.items():
        os.set_inheritable(descriptor, False)  # a student's own child processes need not have it
        _sockets[int(port)] = descriptor
    sys.path.insert(0, "")  # as in any notebook: modules that a cell has written can be imported
    app = SandboxedKernel.instance()
    app.initialize(["-f", connection, "--HistoryManager.enabled=False", "--IPKernelApp.log_level=50"])
    app.start()


def main(settings: str) -> None:
    """Set the limits and become the kernel.

    Args:
        settings: {"connection": path of the connection file, "sockets": {port: open file}, "limits": {name: number}}.
    """
    data = json.loads(settings)
    set_limits(data["limits"])
    run_kernel(data["connection"], data["sockets"])


if __name__ == "__main__":
    main(sys.argv[1])
