"""Kernels in a sandbox for everything that starts kernels through jupyter_client: ours, nbclient, nbgrader, nbval.

A kernelspec asks for it in its metadata, as the one below does; `autograder sandbox --kernelspec` installs
one by the name of vitedu-sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import LocalProvisioner
from traitlets import Float, Integer, List, Unicode

from autograder.sandbox import bubblewrap
from autograder.sandbox.bubblewrap import HOME, GuestPackages, ResourceLimits
from autograder.sandbox.scratch import scratch_folder

NAME = "vitedu-sandbox"
# torch.compile then gives back what it got: a first compilation takes longer than an exercise may.
EAGER = {"TORCHDYNAMO_DISABLE": "1"}


def kernelspec(limits: ResourceLimits, packages: GuestPackages) -> dict[str, Any]:
    """What a kernel.json says for a kernel in such a sandbox."""
    settings = asdict(limits) | {name: list(names) for name, names in asdict(packages).items()}
    return {
        "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],  # the provisioner starts its own
        "display_name": "Python (vitedu sandbox)", "language": "python", "interrupt_mode": "message",
        "metadata": {"kernel_provisioner": {"provisioner_name": NAME, "config": settings}},
    }  # fmt: skip


def install(prefix: Path, packages: GuestPackages) -> Path:
    """Write the kernelspec below `prefix`, such as sys.prefix; returns its folder."""
    folder = prefix / "share" / "jupyter" / "kernels" / NAME
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(kernelspec(ResourceLimits(), packages), indent=1) + "\n")
    return folder


def environment() -> dict[str, str]:
    """All that a kernel in a sandbox finds in its environment."""
    return {
        "PATH": os.defpath, "LANG": "C.UTF-8", "HOME": HOME, "TMPDIR": HOME,
        "IPYTHONDIR": f"{HOME}/.cache/ipython", "MPLCONFIGDIR": f"{HOME}/.cache/matplotlib",
        "JUPYTER_PLATFORM_DIRS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        **EAGER,
    }  # fmt: skip


class SandboxProvisioner(LocalProvisioner):
    """Starts kernels in a sandbox (see bubblewrap.py); nothing of the caller's environment or folders is inside."""

    memory = Integer(ResourceLimits.memory, config=True, help="Bytes of memory of a kernel and its children.")
    processes = Integer(ResourceLimits.processes, config=True, help="Processes and threads of a kernel.")
    scratch_bytes = Integer(ResourceLimits.scratch_bytes, config=True, help="Size of the folder that it may write to.")
    files = Integer(ResourceLimits.files, config=True, help="Files in that folder.")
    cpu = Float(ResourceLimits.cpu, config=True, help="CPU seconds of a kernel and its children.")
    visible = List(Unicode(), config=True, help="Packages that can be imported, wherever they lie.")
    masked = List(Unicode(), config=True, help="Packages that cannot, though the Python environment may hold them.")
    distributions = List(Unicode(), config=True, help="Distributions of which only name and version are told.")
    hidden = List(Unicode(), config=True, help="Folders that are empty inside, should they lie in what is shown.")

    _folder: Path | None = None

    @property
    def limits(self) -> ResourceLimits:
        """How much the kernel may use."""
        return ResourceLimits(**{f.name: getattr(self, f.name) for f in fields(ResourceLimits)})

    @property
    def packages(self) -> GuestPackages:
        """Which packages it finds, and which not."""
        return GuestPackages(**{f.name: tuple(getattr(self, f.name)) for f in fields(GuestPackages)})

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Sockets on files, in a private folder: there is no network inside."""
        if not self.masked:  # a kernel.json of an earlier version: its kernels would find the grader
            raise RuntimeError("This kernel.json names no package to mask; run: autograder sandbox --kernelspec")
        if reason := bubblewrap.unavailable(self.packages):
            raise RuntimeError(reason)
        if self._folder is None:
            self._folder = scratch_folder()
            manager: Any = self.parent
            manager.transport, manager.ip = "ipc", str(self._folder / "socket")
        return await super().pre_launch(**kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start the sandbox; the kernelspec's command is not used."""
        assert self._folder is not None  # since pre_launch
        self.process = bubblewrap.launch(self.limits, self.packages, self._folder, self.connection_info, environment())
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def send_signal(self, signum: int) -> None:
        """Signals end the sandbox; an interrupt goes to the kernel as a message, not this way."""
        if self.process and signum in (signal.SIGTERM, signal.SIGKILL):
            bubblewrap.end(self.process)

    async def cleanup(self, restart: bool = False) -> None:
        """Remove the private folder."""
        await super().cleanup(restart)
        if self._folder is not None and not restart:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
