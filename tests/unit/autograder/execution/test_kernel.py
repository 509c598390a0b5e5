"""A student's kernel: outputs kept as a notebook keeps them, and nothing that it sends is believed."""

import json
import os
import time
from pathlib import Path

import psutil
import pytest
import torch

from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES
from autograder.execution.student_kernel import DIED, ERROR, OK, TIMED_OUT, KernelStartError, Run, StudentKernel
from autograder.sandbox.bubblewrap import unavailable
from autograder.sandbox.forked_kernel import ForkServer
from vitedu.probe.case import FunctionCase

SMALL = Limits(output_bytes=50_000, outputs=20, message_bytes=2**23)
X = torch.arange(6, dtype=torch.float64).view(2, 3)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

# What a hostile notebook can reach: the kernel's own session and sockets.
FORGE = """
import base64, sys, threading, time
import torch
from IPython.display import HTML, clear_output, display, publish_display_data
from vitedu.probe import serialization
from vitedu.probe.case import Answer, pack_answer
kernel = get_ipython().kernel

def forge(kind, content, parent=None):
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent or kernel.get_parent())

def forge_reply():
    ident = kernel._get_shell_context_var(kernel._shell_parent_ident)
    kernel.session.send(kernel.shell_stream, "execute_reply", {"status": "ok"}, kernel.get_parent(), ident=ident)

def question():
    frame = sys._getframe()
    while "header" not in frame.f_locals or "nonce" not in frame.f_locals["header"]:
        frame = frame.f_back
    return frame.f_locals["header"]

def forge_answer(nonce, case, value):
    out = torch.full((2, 3), float(value), dtype=torch.float64)
    data = pack_answer(Answer("ok", "Tensor", tensors={"out": out}), nonce, case)
    publish_display_data({serialization.MIME: base64.b64encode(data).decode()})
"""


@pytest.fixture(scope="module")
def template():
    with ForkServer(["torch", "vitedu.probe.kernel_entry"], PACKAGES) as template:
        yield template.address


@pytest.fixture(scope="module", params=["cold", "warm"])
def kernel(request):
    """One kernel of each kind for the tests that leave it alive: a cold start takes seconds."""
    address = request.getfixturevalue("template") if request.param == "warm" else ""
    with StudentKernel(SMALL, template=address) as kernel:
        assert kernel.fallback_reason == ""
        assert kernel.run(FORGE, 60).status == OK
        yield kernel


def shown(run: Run) -> list[str]:
    """Each output as one text."""
    return [
        o.text if o.output_type == "stream" else o.get("evalue", o.get("data", {}).get("text/plain"))
        for o in run.outputs
    ]


def asked(kernel: StudentKernel, *things: str, seconds: float = 20) -> tuple[Run, dict[int, float | str]]:
    """A probe with one case a thing; the first number of each answer, or its status."""
    run = kernel.ask([FunctionCase("", thing, (X,)) for thing in things], torch.float64, seconds)
    assert all(a.tensors.keys() <= {"out", "again", "after.0"} for a in run.answers.values())
    return run, {
        i: a.tensors["out"].flatten()[0].item() if "out" in a.tensors else a.status for i, a in run.answers.items()
    }


def test_outputs_are_kept_as_a_notebook_keeps_them(kernel):
    run = kernel.run(
        "print('one')\nprint('two')\nprint('careful', file=sys.stderr)\ndisplay(HTML('<b>bold</b>'))\n"
        f"publish_display_data({{'image/png': '{PIXEL}', 'image/svg+xml': '<svg/>', 'text/plain': 'a pixel'}})\n"
        "'the last expression'",
        20,
    )
    assert run.status == OK
    assert [o.output_type for o in run.outputs] == ["stream", "stream", "display_data", "display_data", "display_data"]
    assert [o.name for o in run.outputs[:2]] == ["stdout", "stderr"]
    assert run.outputs[0].text == "one\ntwo\n"
    assert run.outputs[2].data["text/html"] == "<b>bold</b>"
    assert run.outputs[3].data == {"text/plain": "a pixel", "image/png": PIXEL}
    assert shown(run)[4] == "'the last expression'"


def test_an_error_is_kept_and_named(kernel):
    run = kernel.run("print('before')\nraise ValueError('no such thing')", 20)
    assert (run.status, run.error) == (ERROR, "ValueError: no such thing")
    assert run.outputs[0].text == "before\n"
    assert (run.outputs[1].ename, run.outputs[1].evalue) == ("ValueError", "no such thing")
    assert any("no such thing" in line for line in run.outputs[1].traceback)


def test_a_later_cell_cannot_change_an_earlier_one(kernel):
    first = kernel.run("handle = display('first', display_id='shared')\nmine = kernel.get_parent()", 20)
    before = str(first.outputs)
    second = kernel.run(
        "handle.update('second')\nclear_output()\n"
        "forge('comm_open', {'comm_id': 'x', 'target_name': 'y', 'data': {}})\n"
        "forge('stream', {'name': 'stdout', 'text': 'for the first'}, mine)\nprint('kept')",
        20,
    )
    assert str(first.outputs) == before and "first" in before
    assert shown(second) == ["kept\n"]


@pytest.mark.parametrize(
    "code",
    ["for i in range(40_000):\n    print('x' * 100)", "for i in range(300):\n    display(i)", "print('y' * 700_000)"],
    ids=["many lines", "many displays", "one long line"],
)
def test_too_much_output_is_cut_and_the_cell_goes_on(kernel, code):
    started = time.monotonic()
    run = kernel.run(f"{code}\ndone = True", 60)
    assert run.status == OK and time.monotonic() - started < 40
    assert len(run.outputs) <= SMALL.outputs + 1 and len(str(run.outputs)) < 2 * SMALL.output_bytes
    assert "was cut here" in shown(run)[-1]
    assert shown(kernel.run("print(done); done = False", 20)) == ["True\n"]


def test_all_outputs_of_a_notebook_have_a_limit_together(kernel, monkeypatch):
    monkeypatch.setattr(kernel, "_output_left", 10_000)
    printed = [shown(kernel.run("print('y' * 4_000)", 20)) for _ in range(4)]
    assert [len("".join(said)) > 4_000 for said in printed] == [True, True, False, False]
    assert "was cut here" in printed[2][-1] and "has shown as much as one may" in printed[3][-1]


def test_a_message_beyond_the_limit_costs_its_own_cell_only(kernel):
    run = kernel.run("publish_display_data({'text/plain': 'z' * 20_000_000})", 20)
    assert len(str(run.outputs)) < 2 * SMALL.output_bytes
    assert kernel.alive
    assert asked(kernel, "torch.relu")[1] == {0: "missing"}
    assert shown(kernel.run("print('still here')", 20)) == ["still here\n"]


@pytest.mark.parametrize(
    "content",
    [
        "{'data': 5, 'metadata': {}}", "{'data': ['text/plain'], 'metadata': {}}", "{}", "b'[]'", "b'5'", "b'null'",
        "{'data': {'text/plain': 5, 'image/png': {'a': 1}, 'text/html': None}, 'metadata': 7}",
        "{'data': {serialization.MIME: 5}}", "{'data': {serialization.MIME: 'not base64'}}",
        "{'data': {serialization.MIME: 'AAAA'}}",
        "b'[' * 100_000 + b']' * 100_000", "b'{\"data\": ' * 50_000 + b'1' + b'}' * 50_000",
        "b'{\"data\": NaN'", "b'\\xff\\x00'",
    ],
)  # fmt: skip
def test_a_malformed_message_is_no_output(kernel, content):
    code = "".join(f"forge({kind!r}, {content})\n" for kind in ("display_data", "execute_result"))
    run = kernel.run(f"{code}print('after it')", 20)
    assert (run.status, shown(run)) == (OK, ["after it\n"])


def test_malformed_streams_errors_and_states_are_read_as_text(kernel):
    run = kernel.run(
        "forge('stream', {'name': ['x'], 'text': {'a': 1}})\n"
        "forge('error', {'traceback': 'x', 'ename': 5, 'evalue': None})\nforge('error', {'traceback': [1, None, {}]})\n"
        "forge('status', {'execution_state': ['idle']})\nforge('status', {})\n"
        "forge('x' * 10_000, {})\nprint('\\x00 \\ud800 \\x1b[31m red')",
        20,
    )
    assert run.status == OK
    assert {o.output_type for o in run.outputs} == {"stream", "error"}
    for text in (run.outputs[-1].text, str(run.outputs)):
        text.encode()
        assert "\x00" not in text and "\x1b" not in text


def test_a_parent_that_is_no_text_is_nobodys(kernel):
    forges = "forge('status', {}, {'header': {'msg_id': ['a list']}})"  # before anything is said of a request
    kernel.run(
        f"set_parent = kernel.set_parent\nkernel.set_parent = lambda *args, **kwargs: ({forges}, "
        "set_parent(*args, **kwargs))[1]",
        20,
    )
    assert shown(kernel.run("del kernel.set_parent\nprint('still here')", 20)) == ["still here\n"]


def test_a_probe_gets_numbers_and_states(kernel):
    kernel.run("def double(x):\n    print('noise')\n    return 2 * x\ndef broken(x):\n    return x.nothing", 20)
    run, found = asked(kernel, "double", "broken", "nowhere")
    assert (run.status, found, run.outputs) == (OK, {0: 0.0, 1: "error", 2: "missing"}, [])
    assert torch.equal(run.answers[0].tensors["out"], 2 * X)


def test_a_probe_leaves_no_trace_in_the_notebook(kernel):
    before = shown(kernel.run("names = set(globals()); print(len(In))", 20))
    asked(kernel, "forge")
    assert shown(kernel.run("print(set(globals()) - names - {'names'})", 20))[0].startswith(("set()", "{'_i"))
    assert int(shown(kernel.run("print(len(In))", 20))[0]) == int(before[0]) + 2


def test_answers_with_another_nonce_are_ignored_and_the_first_counts(kernel):
    kernel.run(
        "old = 'f' * 32\n"
        "def forger(x):\n"
        "    nonce = question()['nonce']\n"
        "    forge_answer(old, 0, 100); forge_answer(old, 1, 100)\n"  # not this question's
        "    forge_answer(nonce, 1, 7); forge_answer(nonce, 1, 8)\n"  # before the true one, and twice
        "    for place in (-1, 3, 10**9): forge_answer(nonce, place, 9)\n"  # there is no such case
        "    return x + 1\n"
        "def repeater(x):\n"
        "    forge_answer(question()['nonce'], 0, 9)\n"  # that one has been answered
        "    return x + 3",
        20,
    )
    run, found = asked(kernel, "forger", "repeater", "repeater")
    assert (run.status, found) == (OK, {0: 1.0, 1: 7.0, 2: 3.0})


def test_what_would_end_a_process_ends_its_own_case_only(kernel):
    stops = {
        "SystemExit": "import sys; sys.exit(3)", "KeyboardInterrupt": "raise KeyboardInterrupt",
        "GeneratorExit": "raise GeneratorExit", "BaseException": "raise type('Own', (BaseException,), {})('mine')",
    }  # fmt: skip
    ways = [*stops.items(), ("SystemExit", "exit()"), ("SystemExit", "get_ipython().kernel.do_shutdown(True)")]
    kernel.run("def ok(x): return x + 5\n" + "".join(f"def f{i}(x): {does}\n" for i, (_, does) in enumerate(ways)), 20)
    run, found = asked(kernel, "ok", *(f"f{i}" for i in range(len(ways))), "ok")
    assert run.status == OK and found == {0: 5.0, **dict.fromkeys(range(1, 7), "error"), 7: 5.0}
    assert [run.answers[i].error["type"] for i in range(1, 7)] == [name for name, _ in ways]


def test_exit_ends_its_cell_and_nothing_else(kernel):
    for code in ("exit()", "quit()", "get_ipython().ask_exit()", "get_ipython().kernel.do_shutdown(False)"):
        run = kernel.run(f"before = 1\n{code}\nafter = 1", 20)
        assert run.status == ERROR and run.error.startswith("SystemExit: this would end the kernel"), code
    assert shown(kernel.run("print(before, 'after' in globals(), type(get_ipython()).__name__)", 20)) == [
        "1 False ZMQInteractiveShell\n"
    ]


def test_code_that_interrupts_itself_is_told(kernel):
    kernel.run("import os, signal\ndef halts(x):\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(1)", 20)
    run, found = asked(kernel, "halts")
    assert (run.status, run.error, run.lost, found) == (
        ERROR, "KeyboardInterrupt: the code interrupted itself", True, {},
    )  # fmt: skip


def test_an_announced_end_ends_only_its_own_exercise(kernel):
    kernel.run(
        "def liar(x):\n"
        "    forge_reply(); forge('status', {'execution_state': 'idle'})\n    time.sleep(1.5)\n    return x\n"
        "def idler(x):\n    forge('status', {'execution_state': 'idle'})\n    time.sleep(0.3)\n    return x + 4\n"
        "def honest(x):\n    return x + 2",
        20,
    )
    assert asked(kernel, "idler", "idler")[1][0] == 4.0, "idle alone does not end a probe"
    run, found = asked(kernel, "liar", "honest")
    assert run.status == OK and found in ({}, {0: 0.0, 1: 2.0})
    assert asked(kernel, "honest", "honest")[1] == {0: 2.0, 1: 2.0}
    assert shown(kernel.run("print('in order')", 20)) == ["in order\n"]


def test_a_thread_of_an_earlier_cell_cannot_answer_for_a_later_one(kernel):
    kernel.run(
        "parent = kernel.get_parent()\n"
        "def shout():\n"
        "    for _ in range(20):\n"
        "        forge('status', {'execution_state': 'idle'}, parent)\n"
        "        forge('display_data', {'data': {'text/plain': 'shout'}}, parent)\n"
        "        time.sleep(0.05)\n"
        "threading.Thread(target=shout, daemon=True).start()\n"
        "def slow(x):\n    time.sleep(0.2)\n    return x + 6",
        20,
    )
    assert asked(kernel, "slow", "slow")[1] == {0: 6.0, 1: 6.0}
    assert shown(kernel.run("time.sleep(0.3); print('mine')", 20)) == ["mine\n"]


def test_a_hanging_cell_is_interrupted_and_the_kernel_stays_intact(kernel):
    run = kernel.run("kept = 'kept'\nprint('begun')\nwhile True:\n    pass", 1)
    assert run.status == TIMED_OUT and kernel.alive
    assert run.outputs[0].text == "begun\n"
    assert shown(kernel.run("print(kept)", 20)) == ["kept\n"]
    kernel.run("def hangs(x):\n    while True:\n        pass\ndef ok(x): return x + 5", 20)
    run, found = asked(kernel, "ok", "hangs", "ok", seconds=1)
    assert (run.status, found) == (TIMED_OUT, {0: 5.0})
    assert asked(kernel, "ok")[1] == {0: 5.0}


def test_environment_folder_and_end_without_a_sandbox(monkeypatch):
    monkeypatch.setenv("VITEDU_TEST_SECRET", "do not tell")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    with StudentKernel(SMALL, sandboxed=False) as kernel:
        facts = "dict(os.environ), os.getcwd(), os.listdir(), os.getpid(), os.getsid(0)"
        run = kernel.run(f"import json, os, signal, sys\nprint(json.dumps([{facts}]))", 20)
        environment, folder, files, pid, session = json.loads(run.outputs[0].text)
        assert "do not tell" not in str(environment) and "PYTHONPATH" not in environment
        assert environment["HOME"] == environment["TMPDIR"] == folder
        assert files == [] and Path(folder) != Path.cwd() and session == pid != os.getsid(0)

        assert kernel.run("open('left.txt', 'w').write('x')\nsys.stdout.close()", 20).status == OK
        assert kernel.run("print(1)", 20).status == ERROR
        assert shown(kernel.run("def f(x): return x + 1\n'no stdout is needed'", 20)) == ["'no stdout is needed'"]
        assert asked(kernel, "f")[1] == {0: 1.0}

        started = time.monotonic()
        run = kernel.run("signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    pass", 1)
        assert (run.status, kernel.alive) == (TIMED_OUT, False), "a cell that ignores the interrupt is killed"
        assert time.monotonic() - started < 20
        assert kernel.run("1", 20).status == DIED
        assert kernel.ask([FunctionCase("", "f", (X,))], torch.float64, 20).status == DIED
    assert not Path(folder).parent.exists()
    assert not Path(f"/proc/{pid}").exists()
    kernel.close()  # a second time does no harm


# What a kernel can do so that the grader's messages find no reader, or no way.
SHUT_UP = """
import os, signal, socket, threading, time
def opened():
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            found = socket.socket(fileno=os.dup(fd))
            found.getsockname() and not fd < 3 and (yield fd, found)
        except OSError:
            pass
def garbage(*numbers):
    for fd, found in opened():
        try:
            found.getpeername()
            if str(found.getsockname()).endswith(tuple(f"-{n}" for n in numbers)): found.send(b"{" * 64)
        except OSError:
            pass
def close():
    for fd, found in opened():
        os.close(fd)
def loop_stops():
    get_ipython().kernel.io_loop.stop()
def loop_blocks():
    get_ipython().kernel.io_loop.call_later(0, time.sleep, 3600)
"""
SHELL, IOPUB, CONTROL = 1, 2, 4
DEAF = {
    f"garbage({SHELL})": (DIED, "it closed or damaged its own connection"),
    f"garbage({IOPUB}, {SHELL})": (DIED, "it closed or damaged its own connection"),
    f"garbage({CONTROL})\nwhile True: pass": (TIMED_OUT, ""),
    "close()": (DIED, ""),
    "os.closerange(3, 512)": (DIED, ""),
    "os.kill(os.getpid(), signal.SIGSTOP)": (TIMED_OUT, ""),
    "loop_stops()": (DIED, ""),  # before its reply is read, or behind it
    "loop_blocks()": (DIED, "or did not answer any more"),
    "import os, sys\nprint('last words', flush=True)\nos._exit(0)": (DIED, ""),
}


@pytest.mark.parametrize("way", ["cold", "warm", "no sandbox"])
def test_whatever_a_kernel_does_to_itself_the_grader_goes_on(way, template, monkeypatch):
    """Each is the cell's own affair, and nobody waits longer than that cell may take (a test that hangs times out)."""
    monkeypatch.setattr("autograder.execution.student_kernel.SETTLE", 2.0)
    for code, (status, error) in DEAF.items():
        with StudentKernel(SMALL, way != "no sandbox", template=template if way == "warm" else "") as kernel:
            assert kernel.fallback_reason == ""
            assert kernel.run(SHUT_UP, 30).status == OK
            run = kernel.run(code, 2)
            assert run.status == status and error in run.error, (code, run)
            by_signal = way == "no sandbox" and code.startswith(f"garbage({CONTROL}")  # an interrupt is a signal there
            assert kernel.run("1", 5).status == (OK if by_signal else DIED)


def test_outputs_cut_off_for_once_come_back(kernel):
    kernel.run(SHUT_UP, 20)
    assert kernel.run(f"garbage({IOPUB})", 5).status == OK
    assert shown(kernel.run("print('again')", 20)) == ["again\n"]


def test_a_kernel_that_does_not_start_is_our_failure(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    for executable in (program, tmp_path / "nothing"):
        unavailable()  # which is asked once, and not about this
        monkeypatch.setattr("sys.executable", str(executable))
        with pytest.raises(KernelStartError, match="did not start"):
            StudentKernel(SMALL)


MANY_OBJECTS = """
message = kernel.session.msg("stream", {"name": "stdout", "text": ["x"]}, parent=kernel.get_parent())
frames = kernel.session.serialize(message)
frames[-1] = b'{"name": "stdout", "text": "hidden", "x": [' + b"[]," * 2_000_000 + b"[]]}"
frames[1] = kernel.session.sign(frames[2:])
kernel.iopub_socket.send_multipart([b"stream", *frames])
print("after it")
"""


def test_a_message_of_millions_of_objects_is_not_parsed():
    with StudentKernel(Limits()) as kernel:
        assert kernel.run(FORGE, 30).status == OK
        before = psutil.Process().memory_info().rss
        run = kernel.run(MANY_OBJECTS, 30)
        assert run.status == OK and shown(run) == ["after it\n"]
        assert psutil.Process().memory_info().rss - before < 100 * 2**20  # parsed, they take 200 MB and more


def test_a_flood_waits_in_the_kernel_while_the_grader_does_something_else():
    flood = "def flood():\n    for _ in range(60): forge('stream', {'name': 'stdout', 'text': 'x' * 20_000_000})"
    with StudentKernel(Limits(waiting=2)) as kernel:
        assert kernel.run(FORGE, 30).status == OK
        kernel.run(flood + "\nthreading.Thread(target=flood, daemon=True).start()", 30)
        before = psutil.Process().memory_info().rss
        time.sleep(6)  # the judge's time
        assert psutil.Process().memory_info().rss - before < 200 * 2**20  # all of it is 1.2 GB
        kernel.run("1", 30)
