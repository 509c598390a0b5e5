"""One student's kernel: run a cell, ask a probe, and believe nothing that comes back.

The client keeps what nbclient would keep of a cell's outputs, and nothing else: messages that
reach into other cells (update_display_data, clear_output, comms, widgets) are not followed, every
message is read defensively, and outputs are counted in bytes. It never waits for a promise of the
kernel alone: the shell's reply ends a cell, a deadline ends a hanging one, and a dead process is
noticed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil
import torch
import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from nbformat import NotebookNode
from nbformat.v4 import new_output

from vitedu import wire
from vitedu.learn import CPU_SECONDS
from vitedu.probe import Answer, Case, request

from . import provisioner, sandbox, watch
from .folder import scratch_folder
from .sandbox import Room
from .untrusted import json_safe, text

OK, ERROR, TIMED_OUT, DIED, OUT_OF_MEMORY = "ok", "error", "timed out", "kernel died", "out of memory"
GONE = (DIED, OUT_OF_MEMORY)
NO_MEMORY = re.compile(r"MemoryError|can't allocate memory|Cannot allocate memory|bad_alloc")
ENDED = {  # what the watch ended a kernel for -> status and reason
    watch.MEMORY: (OUT_OF_MEMORY, "its processes took more than {room.memory} bytes of memory"),
    watch.CPU: (TIMED_OUT, "it took more CPU time than a notebook may"),
    watch.FILES: (DIED, "it made more than {room.files} files"),
    watch.PROCESSES: (DIED, "it made more than {room.processes} processes"),
}
SHOWN = ("text/plain", "text/html", "image/png", "image/jpeg")  # other kinds of output are dropped


@dataclass(frozen=True)
class Limits(Room):
    """What one notebook may use; seconds are wall time, but for those of the CPU.

    Attributes:
        cell, probe: of one cell, and of one exercise's probe.
        notebook: of all cells and probes of a notebook, replays included.
        learn, learn_cpu: of one training of the accuracy exam: wall time, and CPU time.
        replays: how often a fresh kernel replays the cells after one died.
        cpu: CPU seconds of all kernels of a notebook together.
        output_bytes, outputs: kept of one cell.
        message_bytes: of one message; the connection of a larger one is cut.
        waiting: messages that the grader takes in before they are read; a kernel that sends more has to wait.
        parts: brackets and braces in one message: each becomes an object of the grader's when it is parsed.
    """

    start: float = 60.0
    cell: float = 60.0
    probe: float = 30.0
    notebook: float = 300.0
    learn: float = 900.0
    learn_cpu: float = CPU_SECONDS
    replays: int = 2
    output_bytes: int = 2 * 2**20
    outputs: int = 200
    message_bytes: int = 32 * 2**20
    messages: int = 20_000
    waiting: int = 8
    parts: int = 500_000


class KernelStartError(RuntimeError):
    """The kernel did not start: our failure, not the student's."""


@dataclass
class Run:
    """How a cell ended and what it showed."""

    status: str
    outputs: list[NotebookNode] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    error: str = ""


class StudentKernel:
    """A kernel in a sandbox, with an empty scratch folder and a bare environment. Use it in a `with`.

    Args:
        boxed: without, it is an ordinary process of the user who grades; only its environment is bare.
        spent: CPU seconds that earlier kernels of the same notebook have taken.
    """

    def __init__(self, limits: Limits, boxed: bool = True, spent: float = 0.0) -> None:
        self.limits, self.boxed = limits, boxed
        self.room = Room(**{f.name: getattr(limits, f.name) for f in fields(Room)} | {"cpu": limits.cpu - spent})
        self._folder = scratch_folder()
        self._context = zmq.Context()
        self._context.maxmsgsize = limits.message_bytes  # defaults of every socket made from it
        self._context.rcvhwm = limits.waiting
        self._context.linger = 0
        self._manager: KernelManager | None = None
        self._watch: watch.Watch | None = None
        try:
            self._start()
        except Exception as error:
            self.close()
            raise KernelStartError(f"the kernel did not start: {error or type(error).__name__}") from error

    def _start(self) -> None:
        # A short path of its own: a socket's may have 107 characters.
        manager = KernelManager(context=self._context, transport="ipc", ip=str(self._folder / "socket"))
        manager.connection_file = str(self._folder / "connection.json")
        spec = provisioner.kernelspec(self.room)
        scratch = self._folder / "scratch"
        if not self.boxed:
            scratch.mkdir()
            spec["argv"] = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}",
                            "--HistoryManager.enabled=False", "--IPKernelApp.log_level=50"]  # fmt: skip
            spec["interrupt_mode"], spec["metadata"] = "signal", {}
        manager._kernel_spec = KernelSpec(**spec)
        self._manager = manager
        # What the process itself writes, past IPython, must reach no terminal.
        streams = {"stdin": None, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        place = {} if self.boxed else {"cwd": str(scratch), "env": bare_environment(scratch)}
        manager.start_kernel(**place, start_new_session=True, **streams)
        self._watch = watch.Watch(manager.provisioner.pid, self.room, self._end, self.boxed)
        self._client = manager.client(context=self._context)
        self._client.start_channels(hb=False, stdin=False)
        self._client.wait_for_ready(timeout=self.limits.start)

    def __enter__(self) -> StudentKernel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Kill the kernel (never ask it to leave: a student's code can refuse) and remove its folder."""
        if self._manager is not None:
            if hasattr(self, "_client"):
                self._client.stop_channels()
            self.kill()
            self._manager = None
        self._context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether the kernel's process runs."""
        return self._manager is not None and self._manager.is_alive()

    def run(self, code: str, seconds: float) -> Run:
        """Execute a cell of the student's."""
        return self._execute(code, seconds, nonce=None)

    def ask(self, cases: list[Case], dtype: torch.dtype, seconds: float) -> Run:
        """Put cases to the student's objects; the answers that came in time are in `Run.answers`."""
        name = str(dtype).removeprefix("torch.")
        return self.put("probe.answer", lambda nonce: request(cases, name, nonce), len(cases), seconds)

    def put(
        self, entry: str, make: Callable[[str], bytes], count: int, seconds: float, cpu_seconds: float = math.inf
    ) -> Run:
        """Send a request to one of vitedu's functions in the kernel, such as "probe.answer".

        Args:
            make: nonce -> the request.
            count: how many answers there may be.
            cpu_seconds: CPU time that the kernel and its children may take from now on.
        """
        nonce = secrets.token_hex(16)
        encoded = base64.b64encode(make(nonce)).decode()
        # No name of the student's is used here: `globals` may be one of theirs.
        space = "__import__('sys').modules['__main__'].__dict__"
        call = f"__import__('vitedu.{entry.split('.')[0]}').{entry}({encoded!r}, {space})"
        # As an expression beside an empty cell: as a cell, megabytes would first go through IPython's transformers.
        return self._execute("", seconds, nonce, count, cpu_seconds, {"answer": call})

    def cpu_time(self) -> float:
        """CPU seconds that the kernel and its children have taken so far, as the system counts them."""
        return self._watch.measure_cpu() if self._watch is not None else 0.0

    def _execute(
        self,
        code: str,
        seconds: float,
        nonce: str | None,
        count: int = 0,
        cpu_seconds: float = math.inf,
        expressions: dict[str, str] | None = None,
    ) -> Run:
        if not self.alive:
            return self._gone(Run(DIED))
        cpu_limit = self.cpu_time() + cpu_seconds if cpu_seconds < math.inf else math.inf
        run, kept = Run(OK), _Outputs(self.limits)
        options = {"store_history": nonce is None, "allow_stdin": False, "stop_on_error": False}
        parent = self._client.execute(code, user_expressions=expressions or {}, **options)
        deadline, idle, reply, interrupted = time.monotonic() + seconds, False, None, False
        poller = zmq.Poller()
        channels = {c.socket: c for c in (self._client.iopub_channel, self._client.shell_channel)}
        for socket in channels:
            poller.register(socket, zmq.POLLIN)
        for _ in range(self.limits.messages):
            if reply is not None and idle:
                break
            ready = dict(poller.poll(200))
            for socket in ready:
                message = _read(channels[socket], self.limits.parts)
                if message is None or message["parent"] != parent:
                    continue
                if message["type"] == "execute_reply":
                    reply, deadline = message["content"], min(deadline, time.monotonic() + 2)
                elif message["type"] == "status" and message["content"].get("execution_state") == "idle":
                    idle = True
                elif nonce is not None:
                    _keep_answer(message, nonce, count, run)
                else:
                    kept.add(message)
            if not ready and not self.alive:
                self._gone(run)
                break
            if cpu_limit < math.inf and reply is None and self.cpu_time() > cpu_limit:
                deadline, cpu_limit = 0.0, math.inf
                run.error = f"more than {cpu_seconds:.0f} s of CPU time"
            if time.monotonic() > deadline:
                if reply is not None:  # everything is done, only the idle message got lost
                    break
                run.status = TIMED_OUT
                if interrupted:
                    self.kill()
                    break
                # A cell that heeds the interrupt leaves the kernel, and what it defined, intact.
                interrupted, deadline = True, time.monotonic() + 3
                self._manager.interrupt_kernel()
        else:
            run.status = TIMED_OUT
            run.error = f"more than {self.limits.messages} messages in one cell"
            self.kill()
        if run.status == OK and reply is not None and reply.get("status") == "error":
            run.status = ERROR
            run.error = text(f"{reply.get('ename', '')}: {reply.get('evalue', '')}", 300)
        if run.status == ERROR and NO_MEMORY.search(run.error):
            run.status = OUT_OF_MEMORY
        if reply is not None and not idle:
            self._reconnect()
        run.outputs = kept.outputs
        return run

    def _reconnect(self) -> None:
        """Connect to the outputs anew: zmq cuts the connection of a message beyond the limit, for good.

        Without this, the answers of all later exercises would be lost on the way.
        """
        self._client.iopub_channel.stop()
        self._client._iopub_channel = None  # the next access makes another
        channel, deadline = self._client.iopub_channel, time.monotonic() + 5
        channel.start()
        while self.alive and time.monotonic() < deadline:  # until the first message comes through
            asked = self._client.kernel_info()
            while channel.socket.poll(200) and time.monotonic() < deadline:
                message = _read(channel, self.limits.parts)
                if message is not None and message["parent"] == asked:
                    return

    def _gone(self, run: Run) -> Run:
        """What became of a kernel that is not there any more."""
        run.status, ended = DIED, self._watch.ended if self._watch is not None else ""
        if ended:
            run.status, run.error = ENDED[ended][0], ENDED[ended][1].format(room=self.room)
        return run

    def _end(self) -> None:
        """Called by the watch, in its own thread."""
        process = self._manager.provisioner.process
        if process is not None:
            sandbox.end(process)

    def kill(self) -> None:
        """End the kernel's process, and all that came from it, at once."""
        family = []
        if self._watch is not None:
            self._watch.stop()
            family = self._watch.family()
        if self._manager is not None and self._manager.has_kernel:
            self._manager.shutdown_kernel(now=True)
        for process in family[1:]:  # bubblewrap takes them along; a kernel without a sandbox does not
            with contextlib.suppress(psutil.Error):
                process.kill()
        deadline = time.monotonic() + 5
        while any(_runs(process) for process in family) and time.monotonic() < deadline:
            time.sleep(0.01)


def bare_environment(scratch: Path) -> dict[str, str]:
    """What a kernel sees of our environment: where programs are, and nothing else."""
    caches = scratch.parent / "caches"
    caches.mkdir(exist_ok=True)
    return {
        "PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(scratch), "TMPDIR": str(scratch),
        "IPYTHONDIR": str(caches / "ipython"), "MPLCONFIGDIR": str(caches / "matplotlib"),
        "JUPYTER_PLATFORM_DIRS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # that one only waits until the system buries it
    except psutil.Error:
        return False


def _read(channel: Any, parts: int) -> dict[str, Any] | None:
    """One message as plain data, or None; anything wrong with it is the submission's own affair."""
    try:
        _, frames = channel.session.feed_identities(channel.socket.recv_multipart(zmq.NOBLOCK))
        if sum(frame.count(mark) for frame in frames for mark in (b"[", b"{")) > parts:
            return None
        message = channel.session.deserialize(frames)
        content, header, parent = message["content"], message["header"], message["parent_header"]
        kind, parent = header["msg_type"], parent.get("msg_id")
        if isinstance(content, dict) and isinstance(kind, str):
            return {"type": kind, "parent": parent, "content": content}
    except Exception:
        # A bad signature, broken JSON, nesting too deep: whatever it was, the next one is read.
        pass
    return None


def _keep_answer(message: dict[str, Any], nonce: str, count: int, run: Run) -> None:
    """Keep the first answer of each case that carries this probe's nonce; all else is ignored."""
    if message["type"] != "display_data":
        return
    data = message["content"].get("data")
    encoded = data.get(wire.MIME) if isinstance(data, dict) else None
    if not isinstance(encoded, str) or len(encoded) > 2 * wire.MAX_BYTES:
        return
    try:
        header, tensors = wire.unpack(base64.b64decode(encoded, validate=True))
        index = header.get("case")
        if header.get("nonce") == nonce and isinstance(index, int) and 0 <= index < count and index not in run.answers:
            run.answers[index] = Answer.read(header, tensors)
    except (wire.WireError, ValueError):
        return


class _Outputs:
    """A cell's outputs as the notebook stores them, cut at the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.outputs: list[NotebookNode] = []
        self._bytes = 0
        self._full = False

    def add(self, message: dict[str, Any]) -> None:
        """Take one message; kinds that reach beyond their own cell are ignored."""
        if self._full:
            return
        output = _output(message["type"], message["content"])
        if output is None:
            return
        self._bytes += len(json.dumps(output))
        last = self.outputs[-1] if self.outputs else None
        if self._bytes > self.limits.output_bytes or len(self.outputs) >= self.limits.outputs:
            self._full = True
            limit = f"{self.limits.output_bytes} bytes or {self.limits.outputs} outputs"
            output = new_output("stream", name="stderr", text=f"[The output of this cell was cut here, at {limit}.]\n")
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            self.outputs.append(output)


def _output(kind: str, content: dict[str, Any]) -> NotebookNode | None:
    if kind == "stream":
        name = "stderr" if content.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=text(content.get("text"), 2**20))
    if kind in ("display_data", "execute_result"):
        data = content.get("data")
        if not isinstance(data, dict):
            return None
        shown = {mime: json_safe(data[mime]) for mime in SHOWN if isinstance(data.get(mime), str)}
        return new_output("display_data", data=shown) if shown else None
    if kind == "error":
        lines = content.get("traceback")
        lines = [text(line, 10_000) for line in lines[:100]] if isinstance(lines, list) else []
        name, value = text(content.get("ename"), 200), text(content.get("evalue"), 2000)
        return new_output("error", ename=name, evalue=value, traceback=lines)
    return None
