"""Kernels forked from a process that has imported everything already: ready in a tenth of the time.

`ForkServer` is that process, in a sandbox of its own; `ForkedKernel` is one kernel. What a fork does to
get into namespaces of its own stands in guest/fork_server.py and guest/namespaces.py.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zmq
from jupyter_client import BlockingKernelClient

from autograder.sandbox import bubblewrap, seccomp
from autograder.sandbox.bubblewrap import CONNECTION, HOME, GuestPackages, ResourceLimits
from autograder.sandbox.provisioner import environment
from autograder.sandbox.scratch import scratch_folder

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
FOLDERS = (HOME, "/dev/shm")


class ForkError(RuntimeError):
    """No kernel could be forked; a cold one can still be had."""


class ForkServer:
    """The preloaded process; it ends with the process that made it. Use it in a `with`.

    Args:
        modules: what it imports.
        packages: what kernels forked from it can import beside the Python environment, and what they cannot.

    Attributes:
        address: where kernels are asked for, also by other processes of this machine and user.
    """

    def __init__(self, modules: Iterable[str], packages: GuestPackages) -> None:
        self._folder = scratch_folder()
        self.address = str(self._folder / "fork_server")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listening.bind(self.address)
            os.chmod(self.address, 0o600)
            listening.listen(64)
            self.process = bubblewrap.launch_fork_server(
                packages, self._folder, listening.fileno(), list(modules), environment()
            )
        finally:
            listening.close()  # the fork server has it now: when it ends, whoever waits is told

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; kernels that were forked from it end, too."""
        bubblewrap.end(self.process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)


class ForkedKernel:
    """A kernel forked by the fork server at `address`.

    Args:
        packages: those of the fork server.
        folder: an empty folder of the grader's.
        seconds: how long to wait for it; the first one waits until everything is imported.

    Attributes:
        pid: of process 1 of its namespaces: when that ends, everything in them does.
        client: channels to it.

    Raises:
        ForkError: it cannot be had.
    """

    def __init__(
        self,
        address: str,
        limits: ResourceLimits,
        packages: GuestPackages,
        folder: Path,
        context: zmq.Context[Any],
        seconds: float,
    ) -> None:
        ip = str(folder / "socket")
        self.client = BlockingKernelClient(context=context)
        ports = {name: number for number, name in enumerate(PORTS, start=1)}
        key = self.client.session.key.decode()
        info: Any = ports | {"transport": "ipc", "ip": ip, "key": key, "signature_scheme": "hmac-sha256"}
        self.client.load_connection_info(info)
        settings = {
            "connection": {"path": CONNECTION, "content": info}, "limits": limits.limits(), "home": HOME,
            "folders": dict.fromkeys(FOLDERS, limits.scratch_bytes),
            "kept": bubblewrap.binds_below(FOLDERS, packages, folder),
            "refused": base64.b64encode(seccomp.program()).decode(),
        }  # fmt: skip
        self._connection, far = socket.socketpair()
        self._pidfd = -1
        sockets: list[socket.socket] = []
        try:
            sockets += [bubblewrap.listen(f"{ip}-{port}") for port in ports.values()]
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._connection.settimeout(seconds)
            with far, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
                asking.settimeout(seconds)
                asking.connect(address)
                socket.send_fds(asking, [b"kernel"], [far.fileno(), *(each.fileno() for each in sockets)])
            self.pid = self._receive_pid()
            self._pidfd = os.pidfd_open(self.pid)
            self._connection.sendall(json.dumps(settings).encode() + b"\n")
        except OSError as error:
            self.kill()
            raise ForkError(f"no kernel could be forked ({error.strerror or type(error).__name__})") from None
        except ForkError:
            self.kill()
            raise
        finally:
            for each in sockets:
                each.close()

    def _receive_pid(self) -> int:
        """The number of the process that says it is there, as the system tells it."""
        message, ancillary, _, _ = self._connection.recvmsg(200, socket.CMSG_SPACE(12))
        if message != b"here":
            reason = message.decode(errors="replace") or "the fork server ended"
            raise ForkError(f"no kernel could be forked ({reason})")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid: int = struct.unpack("3i", data)[0]
                return pid
        raise ForkError("no kernel could be forked (the system did not tell its number)")

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def interrupt(self) -> None:
        """Ask it to leave the cell that it is in.

        Raises:
            zmq.ZMQError: it does not take the message.
        """
        self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))

    def end(self) -> None:
        """Kill it; may be called from any thread."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.end()
        deadline = time.monotonic() + 5
        while self.alive and time.monotonic() < deadline:
            select.select([self._pidfd], [], [], 0.5)
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)
        self._connection.close()

    def trouble(self) -> str:
        """What went wrong in the fork, when something did."""
        with contextlib.suppress(OSError):
            self._connection.settimeout(0)
            return self._connection.recv(200).decode(errors="replace")
        return ""
