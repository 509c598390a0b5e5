"""What runs first inside a grader's sandbox: it takes on the limits, then becomes the kernel.

The sandbox shares no folder with the grader. The grader has opened the kernel's five sockets
already and hands them down as open files; zmq goes on with those (ZMQ_USE_FD).

    python -I -B boxed.py SETTINGS      SETTINGS: JSON, see `main`
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

import zmq
from ipykernel.heartbeat import Heartbeat
from ipykernel.kernelapp import IPKernelApp

_sockets: dict[int, int] = {}  # port (here just a number from 1 to 5) -> open file


class _Heartbeat(Heartbeat):
    def _try_bind_socket(self) -> Any:
        self.socket.setsockopt(zmq.USE_FD, _sockets[self.port])
        return super()._try_bind_socket()


class BoxedKernel(IPKernelApp):
    """An ordinary kernel on sockets that somebody else has opened."""

    def _try_bind_socket(self, s: zmq.Socket, port: int) -> int:
        s.setsockopt(zmq.USE_FD, _sockets[port])
        return super()._try_bind_socket(s, port)

    def init_heartbeat(self) -> None:
        self.heartbeat = _Heartbeat(zmq.Context(), (self.transport, self.ip, self.hb_port))
        self.heartbeat.start()


def take_on(limits: dict[str, int]) -> None:
    """Set resource limits by name, such as {"DATA": 2**32}, so that they cannot be raised again."""
    for name, most in limits.items():
        which = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def become(connection: str, sockets: dict[int, int]) -> None:
    """Turn this process into the kernel; does not return.

    Args:
        connection: path of the connection file.
        sockets: port -> open file.
    """
    for port, descriptor in sockets.items():
        os.set_inheritable(descriptor, False)  # a student's own child processes need not have it
        _sockets[int(port)] = descriptor
    sys.path.insert(0, "")  # as in any notebook: modules that a cell has written can be imported
    app = BoxedKernel.instance()
    app.initialize(["-f", connection, "--HistoryManager.enabled=False", "--IPKernelApp.log_level=50"])
    app.start()


def main(settings: str) -> None:
    """Take on the limits and become the kernel.

    Args:
        settings: {"connection": path of the connection file, "sockets": {port: open file}, "limits": {name: number}}.
    """
    data = json.loads(settings)
    take_on(data["limits"])
    become(data["connection"], data["sockets"])


if __name__ == "__main__":
    main(sys.argv[1])
