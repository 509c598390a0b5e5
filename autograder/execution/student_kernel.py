"""One student's kernel: run a cell, ask a probe, and believe nothing that comes back.

It never waits for a promise of the kernel alone: the shell's reply ends a cell, a deadline ends a
hanging one, and a dead process is noticed, and so is a kernel that takes or sends no messages any
more: after each cell it must answer. What comes out of it is read by kernel_messages.py.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import psutil
import torch
import zmq
from nbformat import NotebookNode

from autograder.execution.kernel_messages import Outputs, keep_answer, read
from autograder.execution.limits import Limits
from autograder.sandbox import resource_monitor
from autograder.sandbox.bubblewrap import ResourceLimits
from autograder.sandbox.forked_kernel import ForkedKernel, ForkError
from autograder.sandbox.kernel_process import LaunchedKernel, runs
from autograder.sandbox.scratch import scratch_folder
from autograder.sanitize.untrusted import text
from vitedu.probe.case import Answer, Case, request

OK, ERROR, TIMED_OUT, DIED, OUT_OF_MEMORY = "ok", "error", "timed out", "kernel died", "out of memory"
GONE = (DIED, OUT_OF_MEMORY)
SEND = 1000  # milliseconds; a socket that takes no message by then has lost its other end for good
SETTLE = 10.0  # seconds, within which a kernel must answer after a cell
CUT = "it closed or damaged its own connection, or did not answer any more"
ENDED_LATE = "it ended behind the cell that had just run"
INTERRUPTED = "KeyboardInterrupt"
NO_MEMORY = re.compile(r"MemoryError|can't allocate memory|Cannot allocate memory|bad_alloc")
ENDED = {  # what the watch ended a kernel for -> status and reason
    resource_monitor.MEMORY: (OUT_OF_MEMORY, "its processes took more than {room.memory} bytes of memory"),
    resource_monitor.CPU: (TIMED_OUT, "it took more CPU time than a notebook may"),
    resource_monitor.FILES: (DIED, "it made more than {room.files} files"),
    resource_monitor.PROCESSES: (DIED, "it made more than {room.processes} processes"),
}


class KernelStartError(RuntimeError):
    """The kernel did not start: our failure, not the student's."""


@dataclass
class Run:
    """How a cell ended and what it showed; `lost`: it ended by itself, and not all that was asked was answered."""

    status: str
    outputs: list[NotebookNode] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    error: str = ""
    lost: bool = False


def _raised(reply: dict[str, Any]) -> str:
    """What ended a probe before its last answer, as a kernel's reply tells it; "" where nothing did."""
    found = reply.get("user_expressions")
    found = found.get("answer") if isinstance(found, dict) else None
    if not isinstance(found, dict) or found.get("status") != "error":
        return ""
    if found.get("ename") == "KeyboardInterrupt":  # the grader's own interrupts are time-outs
        return f"{INTERRUPTED}: the code interrupted itself"
    return text(f"{found.get('ename', '')}: {found.get('evalue', '')}", 300)


class StudentKernel:
    """A kernel in a sandbox, with an empty scratch folder and a bare environment. Use it in a `with`.

    Args:
        sandboxed: without, it is an ordinary process of the user who grades; only its environment is bare.
        spent: CPU seconds that earlier kernels of the same notebook have taken.
        template: address of a preloaded process to fork from; where that fails, or without one, the
            kernel starts cold.

    Attributes:
        cold: why it was started cold though there is a template; "" where it was not.
        cpu_of_start: CPU seconds until it was ready.
    """

    def __init__(self, limits: Limits, sandboxed: bool = True, spent: float = 0.0, template: str = "") -> None:
        self.limits, self.sandboxed, self.cold = limits, sandboxed, ""
        self._output_left = limits.all_output_bytes
        shared = {f.name: getattr(limits, f.name) for f in fields(ResourceLimits)}
        self.room = ResourceLimits(**shared | {"cpu": limits.cpu - spent})
        self._folder = scratch_folder()
        self._context = zmq.Context()
        self._context.maxmsgsize = limits.message_bytes  # defaults of every socket made from it
        self._context.rcvhwm = limits.waiting
        self._context.linger = 0
        self._context.sndtimeo = SEND
        self._process: LaunchedKernel | ForkedKernel | None = None
        self._watch: resource_monitor.Watch | None = None
        self.cpu_of_start = 0.0
        try:
            if template and sandboxed:
                try:
                    self._start(template)
                    return
                except (ForkError, RuntimeError) as error:
                    self.cold = str(error)
                    self._end()
            self._start("")
        except Exception as error:
            self.close()
            raise KernelStartError(f"the kernel did not start: {error or type(error).__name__}") from error

    def _start(self, template: str) -> None:
        if template:
            process = ForkedKernel(template, self.room, self._folder, self._context, self.limits.start)
        else:
            process = LaunchedKernel(self.room, self._folder, self._context, self.sandboxed)
        self._process, self._client = process, process.client
        self._watch = resource_monitor.Watch(process.pid, self.room, process.end, self.sandboxed)
        self._client.start_channels(hb=False, stdin=False)
        if not self._answers(self.limits.start):
            trouble = process.trouble() if isinstance(process, ForkedKernel) else ""
            raise RuntimeError(trouble or ("no answer in time" if self.alive else "its process has ended"))
        if template:
            self._watch.measure_shared(template)
        self.cpu_of_start = self.cpu_time()

    def __enter__(self) -> StudentKernel:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Kill the kernel (never ask it to leave: a student's code can refuse) and remove its folder."""
        self._end()
        self._context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        if self._process is not None:
            self._client.stop_channels()
            self.kill()
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether the kernel's process runs."""
        return self._process is not None and self._process.alive

    def run(self, code: str, seconds: float, cpu_seconds: float = math.inf) -> Run:
        """Execute a cell of the student's."""
        return self._execute(code, seconds, nonce=None, cpu_seconds=cpu_seconds)

    def ask(self, cases: list[Case], dtype: torch.dtype, seconds: float) -> Run:
        """Put cases to the student's objects; the answers that came in time are in `Run.answers`."""
        name = str(dtype).removeprefix("torch.")
        return self.put("probe.kernel_entry.answer", lambda nonce: request(cases, name, nonce), len(cases), seconds)

    def put(
        self, entry: str, make: Callable[[str], bytes], count: int, seconds: float, cpu_seconds: float = math.inf
    ) -> Run:
        """Send a request to one of vitedu's functions in the kernel, such as "probe.kernel_entry.answer".

        Args:
            make: nonce -> the request.
            count: how many answers there may be.
            cpu_seconds: CPU time that the kernel and its children may take from now on.
        """
        nonce = secrets.token_hex(16)
        encoded = base64.b64encode(make(nonce)).decode()
        # No name of the student's is used here: `globals` may be one of theirs.
        space = "__import__('sys').modules['__main__'].__dict__"
        call = f"__import__('vitedu.{entry.rpartition('.')[0]}').{entry}({encoded!r}, {space})"
        # As an expression beside an empty cell: as a cell, megabytes would first go through IPython's transformers.
        return self._execute("", seconds, nonce, count, cpu_seconds, {"answer": call})

    def cpu_time(self) -> float:
        """CPU seconds that the kernel and its children have taken so far, as the system counts them."""
        return self._watch.measure_cpu() if self._watch is not None else 0.0

    def lasts(self, seconds: float) -> bool:
        """Whether it is still there, and answers, after so long a pause; one that does not is ended."""
        end = time.monotonic() + seconds
        while self.alive and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
        if self._answers(SETTLE):
            return True
        self.kill()
        return False

    def tasks(self) -> int:
        """How many processes and threads there are: more than before means that a cell has left some behind."""
        return self._watch.tasks() if self._watch is not None else 0

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
        run, kept = Run(OK), Outputs(min(self.limits.output_bytes, self._output_left), self.limits.outputs)
        options = {"store_history": nonce is None, "allow_stdin": False, "stop_on_error": False}
        try:
            parent = self._client.execute(code, user_expressions=expressions or {}, **options)
        except zmq.ZMQError:
            return self._lost(Run(DIED))
        deadline, idle, reply, interrupted = time.monotonic() + seconds, False, None, False
        looked = 0.0
        poller = zmq.Poller()
        channels = {c.socket: c for c in (self._client.iopub_channel, self._client.shell_channel)}
        for socket in channels:
            poller.register(socket, zmq.POLLIN)
        for _ in range(self.limits.messages):
            if reply is not None and idle:
                break
            ready = dict(poller.poll(200))
            for socket in ready:
                message = read(channels[socket], self.limits.parts)
                if message is None or message["parent"] != parent:
                    continue
                if message["type"] == "execute_reply":
                    reply, deadline = message["content"], min(deadline, time.monotonic() + 2)
                elif message["type"] == "status" and message["content"].get("execution_state") == "idle":
                    idle = True
                elif nonce is not None:
                    keep_answer(message, nonce, count, run.answers)
                else:
                    kept.add(message)
            if not ready and not self.alive:
                self._gone(run)
                break
            if not ready and reply is None and not self._client.shell_channel.socket.poll(0, zmq.POLLOUT):
                run.outputs = kept.outputs  # the line is cut on which the reply would come
                return self._lost(run)
            if cpu_limit < math.inf and reply is None and (now := time.monotonic()) > looked + resource_monitor.EVERY:
                looked = now
                if self.cpu_time() > cpu_limit:
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
                try:
                    self._process.interrupt()
                except zmq.ZMQError:  # it does not even take that
                    self.kill()
                    break
        else:
            run.status = TIMED_OUT
            run.error = f"more than {self.limits.messages} messages in one cell"
            self.kill()
        if run.status == OK and reply is not None and reply.get("status") == "error":
            run.status = ERROR
            run.error = text(f"{reply.get('ename', '')}: {reply.get('evalue', '')}", 300)
        self._output_left = max(0, self._output_left - kept.size)
        if run.status == OK and nonce is not None and reply is not None and (said := _raised(reply)):
            run.status, run.error = ERROR, said
        run.lost = run.status in (OK, ERROR) and len(run.answers) < count
        if run.status == ERROR and NO_MEMORY.search(run.error):
            run.status = OUT_OF_MEMORY
        run.outputs = kept.outputs
        if reply is None:
            return run
        if not idle:
            self._reconnect()
        # What ends or damages a kernel behind a cell's reply would else fall upon the next one.
        return run if self._answers(SETTLE) else self._lost(run)

    def _reconnect(self) -> None:
        """Connect to the outputs anew: zmq cuts the connection of a message beyond the limit, for good.

        Without this, the answers of all later exercises would be lost on the way.
        """
        self._client.iopub_channel.stop()
        self._client._iopub_channel = None  # the next access makes another
        self._client.iopub_channel.start()

    def _answers(self, seconds: float) -> bool:
        """Whether the kernel is there, and what it publishes comes through."""
        channel, deadline, asked = self._client.iopub_channel, time.monotonic() + seconds, set()
        while self.alive and time.monotonic() < deadline:
            try:
                asked.add(self._client.kernel_info())  # again: what is published before we are connected is lost
            except zmq.ZMQError:
                return False
            while channel.socket.poll(200) and time.monotonic() < deadline:
                message = read(channel, self.limits.parts)
                if message is not None and message["parent"] in asked:
                    return True
        return False

    def _lost(self, run: Run) -> Run:
        """What became of a kernel that neither takes nor answers messages; if it is still there, it is ended."""
        died = not self.alive
        if not died:
            self.kill()
        run.error = ENDED_LATE if died else CUT
        return self._gone(run)

    def _gone(self, run: Run) -> Run:
        """What became of a kernel that is not there any more."""
        run.status, ended = DIED, self._watch.ended if self._watch is not None else ""
        if ended:
            run.status, run.error = ENDED[ended][0], ENDED[ended][1].format(room=self.room)
        return run

    def kill(self) -> None:
        """End the kernel's process, and all that came from it, at once."""
        family = []
        if self._watch is not None:
            self._watch.stop()
            self._watch.measure_cpu()
            family = self._watch.family()
        if self._process is not None:
            self._process.kill()
        for process in family[1:]:  # a sandbox takes them along; a kernel without one does not
            with contextlib.suppress(psutil.Error):
                process.kill()
        deadline = time.monotonic() + 5
        while any(runs(process) for process in family) and time.monotonic() < deadline:
            time.sleep(0.01)
