"""The sandbox, seen from inside and from outside: what is there, what is refused, and what is left afterwards."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import nbformat
import psutil
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.preprocessors import Execute

from autograder.execution import student_kernel
from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES
from autograder.execution.student_kernel import DIED, ERROR, OK, OUT_OF_MEMORY, TIMED_OUT, StudentKernel
from autograder.sandbox import bubblewrap, provisioner
from autograder.sandbox.forked_kernel import ForkServer
from support.kernels import as_somebody_else, printed, told
from support.places import ROOT

LOW = Limits(memory=1200 * 2**20, processes=60, scratch_bytes=16 * 2**20, files=500, cpu=30)


pytestmark = pytest.mark.usefixtures("walls")


@pytest.fixture(scope="module")
def template() -> Iterator[ForkServer]:
    with ForkServer([], PACKAGES) as template:  # what a lab imports would use up most of the low limits
        yield template


@pytest.fixture(scope="module", params=["cold", "warm"])
def start(request) -> Callable[[Limits], StudentKernel]:
    """Starts a kernel from nothing, or from a preloaded process."""
    address = request.getfixturevalue("template").address if request.param == "warm" else ""

    def started(limits: Limits) -> StudentKernel:
        kernel = StudentKernel(limits, template=address)
        assert kernel.fallback_reason == ""
        return kernel

    return started


@pytest.fixture
def low(start) -> Iterator[StudentKernel]:
    with start(LOW) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def kernel(start) -> Iterator[StudentKernel]:
    with start(Limits()) as kernel:
        yield kernel


# --- what is inside


def test_only_the_environment_and_two_empty_folders_are_inside(kernel):
    allowed = {
        "bin",
        "dev",
        "etc",
        "guest",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
    }
    prefixes = {Path(p).parts[1] for p in (sys.prefix, sys.base_prefix, str(ROOT))}
    assert set(told(kernel, "os.listdir('/')")) <= allowed | prefixes
    assert told(kernel, "os.listdir('/dev/shm')") == [] and told(kernel, "os.listdir('/run')") == ["connection.json"]
    assert told(kernel, "[os.getcwd(), os.environ['HOME'], os.environ['TMPDIR']]") == ["/tmp"] * 3
    assert told(kernel, "[os.getuid(), os.getgid(), os.getgroups()]") == [1000, 1000, []]
    assert told(kernel, "os.uname().nodename") == "sandbox"
    # Of the repository, and of the folder that holds Python, nothing but what a notebook imports.
    assert set(told(kernel, f"os.listdir({str(ROOT)!r})")) <= {"vitedu", Path(sys.prefix).name}
    assert "solutions" not in str(told(kernel, "[f for _, folders, _ in os.walk('/etc') for f in folders]"))


def test_nothing_can_be_written_but_scratch(kernel):
    free = "('/proc', '/tmp', '/dev/shm', '/dev/pts')"
    places = f"[p for p, _, _ in os.walk('/') if not p.startswith({free}) and os.access(p, os.W_OK)]"
    assert told(kernel, places) == []
    import vitedu

    for path in ("/x", "/dev/x", "/run/x", "/etc/x", f"{sys.prefix}/x", str(Path(vitedu.__file__).parent / "x")):
        run = kernel.run(f"open({path!r}, 'w')", 20)
        assert run.status == ERROR and "Read-only" in run.error, path
    assert kernel.run("open('x', 'w').write('1'); open('/dev/shm/x', 'w').write('1')", 20).status == OK


@pytest.mark.parametrize("way", ["cold", "warm"])
def test_neither_grader_nor_its_environment_is_inside(way, monkeypatch):
    monkeypatch.setenv("VITEDU_TEST_SECRET", "do not tell")
    with ForkServer([], PACKAGES) if way == "warm" else nullcontext() as template, ExitStack() as stack:
        kernel = stack.enter_context(StudentKernel(Limits(), template=template.address if template else ""))
        assert kernel.fallback_reason == ""
        for name in ("autograder", "autograder.judging.judge", "autograder.exams.lab1"):
            run = kernel.run(f"import {name}", 20)
            assert run.status == ERROR and "ModuleNotFoundError" in run.error
        everything = "open(f'/proc/{p}/environ', 'rb').read().decode()"
        seen = told(kernel, f"[{everything} for p in os.listdir('/proc') if p.isdigit() and p != '1']")
        assert "do not tell" not in str(seen)
        assert set(told(kernel, "sorted(os.environ)")) <= set(provisioner.environment()) | {
            "PWD", "TERM", "CLICOLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "PAGER", "GIT_PAGER", "MPLBACKEND",
            "PYDEVD_USE_FRAME_EVAL", "TORCHINDUCTOR_CACHE_DIR",
        }  # fmt: skip


def test_there_is_no_other_process_and_no_network(kernel):
    assert told(kernel, "[p for p in os.listdir('/proc') if p.isdigit()]") == ["1", "2"]  # the sandbox's, the kernel
    assert told(kernel, "os.listdir('/proc/1')") == [] and "guest" in told(kernel, "open('/proc/2/cmdline').read()")
    assert told(kernel, "__import__('socket').if_nameindex()") == [[1, "lo"]]
    for address in ("127.0.0.1", "192.0.2.1"):
        run = kernel.run(f"import socket\nsocket.create_connection(({address!r}, 53), 2)", 20)
        assert run.status == ERROR and ("refused" in run.error or "unreachable" in run.error), address
    # A name that is bound in the grader's abstract namespace of sockets is not there.
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0vitedu-test")
        server.listen()
        run = kernel.run("s = socket.socket(socket.AF_UNIX)\ns.connect('\\0vitedu-test')", 20)
    assert run.status == ERROR and "ConnectionRefused" in run.error


SYSTEM_CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *args):
    ctypes.set_errno(0)
    return libc.syscall(number, *args) == -1 and ctypes.get_errno() == errno.EPERM
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls are this machine's")
def test_system_calls_that_go_round_the_limits_are_refused(kernel):
    assert kernel.run(SYSTEM_CALLS, 20).status == OK
    numbers = {
        "memfd_create": 319, "shmget": 29, "ptrace": 101, "unshare": 272, "mount": 165, "setns": 308, "bpf": 321,
        "io_uring_setup": 425, "keyctl": 250, "userfaultfd": 323, "perf_event_open": 298, "process_vm_readv": 310,
        "vmsplice": 278,
    }  # fmt: skip
    for name, number in numbers.items():
        assert told(kernel, f"refused({number}, 0, 0, 0, 0, 0)"), name
    assert told(kernel, "refused(56, 0x10000000 | 17, 0, 0, 0, 0)"), "clone into a new user namespace"
    assert "Operation not permitted" in kernel.run("import fcntl\nfcntl.ioctl(0, 0x5412, b'x')", 20).error


def test_an_ordinary_notebook_feels_at_home(kernel):
    code = """
        import getpass, tempfile, threading, subprocess, multiprocessing, matplotlib.pyplot as plt, torch
        assert getpass.getuser() == "student" and subprocess.check_output(["echo", "1"]) == b"1\\n"
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 2**20)
        open("helper.py", "w").write("answer = 42")
        from helper import answer
        from torch.utils.data import DataLoader
        assert len(list(DataLoader(torch.zeros(10, 3), batch_size=5, num_workers=2))) == 2
        plt.plot([1, 2]);
    """
    run = kernel.run(textwrap.dedent(code), 120)
    assert run.status == OK, run.error
    assert any("image/png" in output.get("data", {}) for output in run.outputs) and not printed(run)


def test_what_lies_below_tmp_is_shown_there(tmp_path, monkeypatch):
    """As Python does, when somebody sets up the environment there."""
    (tmp_path / "environment").mkdir(mode=0o755)
    (tmp_path / "environment" / "file").write_text("here")
    monkeypatch.setattr(bubblewrap, "_FURTHER", (*bubblewrap._FURTHER, str(tmp_path / "environment")))
    with StudentKernel(Limits()) as kernel:
        assert told(kernel, f"open({str(tmp_path / 'environment' / 'file')!r}).read()") == "here"
        assert kernel.run(f"open({str(tmp_path / 'environment' / 'more')!r}, 'w')", 20).status == ERROR


def test_of_our_distributions_name_and_version_are_told_and_nothing_else(kernel):
    code = "[[d.name, d.version, d.files, d.read_text('direct_url.json')] for d in importlib.metadata.distributions()"
    assert kernel.run("import importlib.metadata", 20).status == OK
    known = told(kernel, f"{code} if d.name.startswith('vitedu')]")
    assert known == [["vitedu", metadata.version("vitedu"), None, None]]
    assert metadata.distribution("vitedu").files  # outside


def test_a_clone_that_lies_in_what_is_shown_shows_no_answer(tmp_path, monkeypatch):
    """Such as one in /usr/src."""
    for name in ("solutions", "vitedu"):
        (tmp_path / "clone" / name).mkdir(parents=True)
        (tmp_path / "clone" / name / "file.py").write_text("here")
    monkeypatch.setattr(bubblewrap, "_FURTHER", (*bubblewrap._FURTHER, str(tmp_path / "clone")))
    hidden = (str(tmp_path / "clone" / "solutions"), str(tmp_path / "clone" / "never-made"))
    monkeypatch.setattr(student_kernel, "PACKAGES", replace(PACKAGES, hidden=hidden))
    with StudentKernel(Limits()) as kernel:
        found = f"[p for p, _, files in os.walk({str(tmp_path)!r}) for f in files]"
        assert told(kernel, found) == [str(tmp_path / "clone" / "vitedu")]


def test_all_of_a_clone_is_hidden_but_what_students_have():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.partition("/")[0] for line in tracked.splitlines() if "/" in line}
    hidden = {Path(path).name for path in PACKAGES.hidden}
    assert folders - hidden == {"vitedu", "notebooks"} and Path(sys.prefix).name not in hidden


# --- limits


def test_no_limit_can_be_raised_again(low):
    for name, most in LOW.limits().items():
        code = f"import resource\nresource.setrlimit(resource.RLIMIT_{name}, ({most + 1}, {most + 1}))"
        assert low.run(code, 20).status == ERROR, name


def test_memory_of_one_process_and_of_many(low):
    run = low.run("x = bytearray(1500 * 2**20)", 20)
    assert (run.status, low.alive) == (OUT_OF_MEMORY, True)
    code = "import os, time\nfor _ in range(9):\n    if not os.fork():\n        x = bytearray(2 * 10**8)\n        break"
    run = low.run(code + "\ntime.sleep(60)", 40)
    assert run.status == OUT_OF_MEMORY and "more than" in run.error and not low.alive


def test_shared_memory_counts(low):
    code = "import mmap, time\nm = mmap.mmap(-1, 1500 * 2**20)\nfor i in range(0, len(m), 4096):\n    m[i] = 1"
    run = low.run(code + "\ntime.sleep(30)", 40)
    assert run.status == OUT_OF_MEMORY


def test_memory_that_no_process_shows_counts_too(low):
    code = "import mmap, time\nm = mmap.mmap(-1, 1500 * 2**20)\nfor i in range(0, len(m), 2**24):\n"
    code += "    m[i:i + 2**24] = bytes(2**24)\n    m.madvise(mmap.MADV_DONTNEED, i, 2**24)\ntime.sleep(30)"
    assert low.run(code, 40).status == OUT_OF_MEMORY


def test_sockets_hold_little(start, low):
    code = "import socket\na, b = socket.socketpair()\na.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**22)"
    assert "Operation not permitted" in low.run(code, 20).error
    code = """
        import os, socket, time
        os.fork()
        server = socket.create_server(("127.0.0.1", 0))
        kept = []
        for _ in range(200):
            client = socket.create_connection(server.getsockname())
            kept += [client, server.accept()[0]]
            client.setblocking(False)
            try:
                while True:
                    client.send(bytes(2**20))
            except BlockingIOError:
                pass
        time.sleep(20)
    """
    with start(replace(LOW, memory=1000 * 2**20)) as kernel:  # a fork has most of that from its template
        assert kernel.run(textwrap.dedent(code), 60).status == OUT_OF_MEMORY


def test_processes_files_and_disk(low):
    code = "import subprocess\nmany = []\nfor _ in range(100):\n    many.append(subprocess.Popen(['sleep', '30']))"
    assert "BlockingIOError" in low.run(code, 30).error
    assert low.run("for p in many:\n    p.kill(); p.wait()", 20).status == OK
    for place in ("/tmp", "/dev/shm"):
        code = f"for i in range(4):\n    open(f'{place}/{{i}}', 'wb').write(bytes(6 * 2**20))"
        assert "No space left" in low.run(code, 20).error
    run = low.run("import time\nfor i in range(5000):\n    open(f'/dev/shm/n{i}', 'w').close()\ntime.sleep(30)", 40)
    assert run.status == DIED and "more than 500 files" in run.error


def test_cpu_time_of_all_together_and_of_what_has_ended(start):
    burn = "import time\nwhile time.process_time() < 1.5: pass"
    code = f"import subprocess, sys\nfor _ in range(20):\n    subprocess.run([sys.executable, '-c', {burn!r}])"
    with start(Limits(cpu=6)) as kernel:
        run = kernel.run(code, 100)
        assert run.status == TIMED_OUT and "CPU time" in run.error and not kernel.alive


def test_nothing_outlives_the_kernel(start):
    daemon = """
        import os, signal, time
        if not os.fork():
            os.setsid()
            if not os.fork():
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(300)
            os._exit(0)
        time.sleep(1)
    """
    for ending in ("close", "os._exit(0)", "os.kill(os.getpid(), 11)"):
        with start(Limits()) as kernel:
            before = kernel._watch.family()
            assert kernel.run(textwrap.dedent(daemon), 20).status == OK
            family = [p for p in kernel._watch.family() if p.status() != psutil.STATUS_ZOMBIE]
            assert len(family) == len(before) + 1  # the daemon
            if ending != "close":
                assert kernel.run(ending, 20).status == DIED
        assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_it_ends_with_the_grader(tmp_path):
    code = (
        "import time\nfrom autograder.execution.student_kernel import Limits, StudentKernel\n"
        "kernel = StudentKernel(Limits())\n"
        "print(*[p.pid for p in kernel._watch.family()], flush=True)\ntime.sleep(300)"
    )
    grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    family = [psutil.Process(int(pid)) for pid in grader.stdout.readline().split()]
    assert len(family) == 3
    grader.kill()
    grader.wait()
    deadline = time.monotonic() + 20
    while [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# --- who may start it, and what for


LOOK = """
from autograder.execution.student_kernel import Limits, StudentKernel
from autograder.sandbox.bubblewrap import unavailable
assert not unavailable(), unavailable()
with StudentKernel(Limits(files=50)) as kernel:
    print(kernel.run("import os, torch; print(os.getuid(), float(torch.ones(2).sum()))", 60).outputs[0].text)
    run = kernel.run("import time\\nfor i in range(200): open(f'{i}', 'w')\\ntime.sleep(20)", 30)
    print(run.status, run.error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_gets_the_same(tmp_path):
    shared = Path(f"/tmp/vitedu-test-{os.getpid()}")  # where everybody may pass
    shared.mkdir()
    try:
        command = [*as_somebody_else(shared), sys.executable, "-c", LOOK]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    finally:
        shutil.rmtree(shared)
    assert done.stdout.split("\n")[0] == "1000 2.0", done.stderr[-3000:]
    assert "more than 50 files" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="root's own way")
def test_root_starts_it_as_nobody(kernel):
    assert {p.uids().real for p in kernel._watch.family()} == {bubblewrap.NOBODY}
    pattern = Path("/proc/sys/kernel/core_pattern")
    before = pattern.read_text()
    run = kernel.run(f"open({str(pattern)!r}, 'w').write({before!r})", 20)
    assert run.status == ERROR and "Permission denied" in run.error


def test_without_bubblewrap_or_namespaces_it_says_what_to_do(tmp_path, monkeypatch, request):
    def why() -> str:
        bubblewrap.unavailable.cache_clear()
        return bubblewrap.unavailable()

    (tmp_path / "bwrap").write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    request.addfinalizer(bubblewrap.unavailable.cache_clear)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "nothing"))
        assert "no 'bwrap' was found" in why() and "apt-get install bubblewrap" in why() and "--no-sandbox" in why()
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}:/usr/bin:/bin")
        patch.setattr(bubblewrap, "_version", lambda: (0, 8))
        assert "No permissions to create new namespace" in why() and "max_user_namespaces" in why()
    assert why() == ""


@pytest.fixture
def spec(tmp_path, monkeypatch) -> str:
    provisioner.install(tmp_path, PACKAGES)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    assert provisioner.NAME in KernelSpecManager().find_kernel_specs()
    return provisioner.NAME


NOTEBOOK = ["import os, sys, time", "print(os.getuid(), os.listdir('/run'), 'VITEDU_TEST_SECRET' in os.environ)"]
SHOWN = "1000 ['connection.json'] False\n"


def test_nbclient_and_nbgrader_use_it_by_its_kernelspec(spec, monkeypatch):
    monkeypatch.setenv("VITEDU_TEST_SECRET", "do not tell")
    cells = [new_code_cell(source) for source in NOTEBOOK]
    nb = NotebookClient(new_notebook(cells=cells), kernel_name=spec).execute()
    assert nb.cells[1].outputs[0].text == SHOWN
    nb, _ = Execute(kernel_name=spec).preprocess(new_notebook(cells=[new_code_cell(s) for s in NOTEBOOK]), {})
    assert nb.cells[1].outputs[0].text == SHOWN
    hangs = new_notebook(cells=[new_code_cell("import time; time.sleep(60)"), new_code_cell("print(1)")])
    done = NotebookClient(hangs, kernel_name=spec, timeout=2, interrupt_on_timeout=True, allow_errors=True).execute()
    assert "KeyboardInterrupt" in str(done.cells[0].outputs) and done.cells[1].outputs[0].text == "1\n"


def test_nbval_uses_it_by_its_kernelspec(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("VITEDU_TEST_SECRET", "do not tell")
    out = [nbformat.v4.new_output("stream", name="stdout", text=SHOWN)]
    cells = [new_code_cell(NOTEBOOK[0], execution_count=1), new_code_cell(NOTEBOOK[1], execution_count=2, outputs=out)]
    nb = new_notebook(cells=cells)
    nbformat.write(nb, tmp_path / "seen.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-kernel-name", spec]
    done = subprocess.run([*command, "seen.ipynb"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


def test_a_kernelspec_that_masks_nothing_starts_no_kernel(spec, tmp_path):
    """An older one says nothing of packages: its kernels would find the grader."""
    path = tmp_path / "share" / "jupyter" / "kernels" / spec / "kernel.json"
    said = json.loads(path.read_text())
    del said["metadata"]["kernel_provisioner"]["config"]["masked"]
    path.write_text(json.dumps(said))
    with pytest.raises(RuntimeError, match="autograder sandbox --kernelspec"):
        NotebookClient(new_notebook(cells=[new_code_cell("1")]), kernel_name=spec).execute()
