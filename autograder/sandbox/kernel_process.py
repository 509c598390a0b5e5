"""The process of a student's kernel and the line to it: started by jupyter_client, in the sandbox or without one.

A kernel forked from a preloaded process has the same four ways to be dealt with: see forked_kernel.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import zmq
from jupyter_client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning import LocalProvisioner

from autograder.sandbox import bubblewrap, provisioner
from autograder.sandbox.bubblewrap import GUEST, GuestPackages, ResourceLimits

KILL_TIMEOUT = 5.0  # seconds until a killed process is gone; one that is not then is left to the system


class LaunchedKernel:
    """A kernel that starts from nothing.

    Args:
        folder: an empty folder of the grader's; `close` leaves it there.
        sandboxed: without, it is an ordinary process of the user who grades; only its environment is bare.

    Attributes:
        pid: of the sandbox, or of the kernel.
        client: channels to it, started.
    """

    def __init__(
        self, limits: ResourceLimits, packages: GuestPackages, folder: Path, context: zmq.Context[Any], sandboxed: bool
    ) -> None:
        # A short path of its own: a socket's may have 107 characters.
        self._manager = KernelManager(context=context, transport="ipc", ip=str(folder / "socket"))
        self._manager.connection_file = str(folder / "connection.json")
        spec = provisioner.kernelspec(limits, packages)
        scratch = folder / "scratch"
        if not sandboxed:
            scratch.mkdir()
            settings = json.dumps({"connection": "{connection_file}", "sockets": {}, "limits": {}})
            spec["argv"] = [sys.executable, "-P", str(GUEST / "kernel_main.py"), settings]
            spec["interrupt_mode"], spec["metadata"] = "signal", {}
        self._manager._kernel_spec = KernelSpec(**spec)
        # What the process itself writes, past IPython, must reach no terminal.
        streams = {"stdin": None, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        place = {} if sandboxed else {"cwd": str(scratch), "env": bare_environment(scratch)}
        self._manager.start_kernel(**place, start_new_session=True, **streams)
        assert isinstance(self._manager.provisioner, LocalProvisioner)
        self._provisioner = self._manager.provisioner
        assert self._provisioner.pid is not None
        self.pid: int = self._provisioner.pid
        self.client: BlockingKernelClient = self._manager.client(context=context)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._manager.is_alive()

    def interrupt(self) -> None:
        """Ask it to leave the cell that it is in.

        Raises:
            zmq.ZMQError: it does not take the message.
        """
        self._manager.interrupt_kernel()

    def end(self) -> None:
        """Kill it; may be called from any thread."""
        if self._manager.has_kernel and self._provisioner.process is not None:
            bubblewrap.end(self._provisioner.process)

    def kill(self) -> None:
        """Kill it and let jupyter_client tidy up, whose own way would first send the kernel a message."""
        self.end()
        if self._provisioner.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._provisioner.process.wait(KILL_TIMEOUT)
        self._manager.cleanup_resources()


def bare_environment(scratch: Path) -> dict[str, str]:
    """What a kernel sees of our environment: where programs are, and nothing else."""
    caches = scratch.parent / "caches"
    caches.mkdir(exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(scratch), "TMPDIR": str(scratch),
        "IPYTHONDIR": str(caches / "ipython"), "MPLCONFIGDIR": str(caches / "matplotlib"),
        "JUPYTER_PLATFORM_DIRS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        **provisioner.EAGER,
    }  # fmt: skip


def runs(process: psutil.Process) -> bool:
    """Whether a process is there, and not only waits until the system buries it."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
