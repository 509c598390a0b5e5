"""Kernels forked from a preloaded process: as good as cold ones, and nothing goes from one to the next."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from autograder.execution.limits import Limits
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.student_kernel import DIED, ERROR, OK, StudentKernel
from autograder.labs.lab import find_lab
from autograder.sandbox import bubblewrap, provisioner
from autograder.sandbox.forked_kernel import ForkServer
from autograder.sandbox.kernel_process import runs
from hostile import attacks_next
from support.kernels import as_somebody_else, printed, told
from support.places import ROOT

MODULES = modules_of(find_lab("lab1_attention").source)
KINDS = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")


pytestmark = pytest.mark.usefixtures("walls")


@pytest.fixture(scope="module")
def template() -> Iterator[ForkServer]:
    with ForkServer(MODULES, PACKAGES) as template:
        yield template


def warm(address: str) -> StudentKernel:
    kernel = StudentKernel(Limits(), template=address)
    assert kernel.fallback_reason == ""
    return kernel


@pytest.fixture(scope="module")
def siblings(template) -> Iterator[tuple[StudentKernel, StudentKernel]]:
    """Two that are alive at the same time."""
    with warm(template.address) as one, warm(template.address) as other:
        yield one, other


@pytest.fixture(scope="module")
def cold() -> Iterator[StudentKernel]:
    with StudentKernel(Limits()) as kernel:
        yield kernel


def preloaded(template: ForkServer) -> psutil.Process:
    """The process itself, below bubblewrap's two."""
    return psutil.Process(template.process.pid).children()[0].children()[0]


def status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def descriptors(pid: int) -> list[str]:
    """What a process has open."""
    return [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]


def wait_for_the_end(processes: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 20
    while any(runs(process) for process in processes):
        assert time.monotonic() < deadline, [p for p in processes if runs(p)]
        time.sleep(0.02)


def family(kernel: StudentKernel) -> list[psutil.Process]:
    """Process 1 of its namespaces, the kernel, and what that has started."""
    return kernel._watch.family()


def test_what_takes_long_to_import_is_there_for_the_labs_that_use_it_and_not_for_the_others():
    def of(lab: str) -> set[str]:
        loaded = {name.split(".")[0] for name in modules_of(find_lab(lab).source)}
        return loaded & {"sklearn", "timm", "torchvision", "transformers"}

    assert of("lab1") == of("lab3") == set()
    assert of("lab5") >= {"timm", "torchvision", "transformers"} and of("lab6") >= {"torchvision"}
    optimizes = {lab for lab in ("lab1", "lab3", "lab4") if "torch._dynamo" in modules_of(find_lab(lab).source)}
    assert optimizes == {"lab4"}


# --- as a cold one

FACTS = r"""
import gc, hashlib, json, locale, multiprocessing, os, resource, signal, socket, sys, threading, warnings
import matplotlib, matplotlib.pyplot as plt, numpy, torch, vitedu.probe.kernel_entry, vitedu.training_exams.recipe
plt.close(plt.figure())
def signature(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
of_status = "Umask SigIgn SigBlk SigPnd ShdPnd CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters"
names = [n for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}")]
opened = [os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in names]
environ = {k: v for k, v in os.environ.items() if not k.startswith(("TORCHINDUCTOR_", "KMP_"))}
print("FACTS" + json.dumps({
    "path": sys.path, "program": sys.argv[0], "environ": environ, "folder": os.getcwd(), "flags": repr(sys.flags),
    "status": {name: status[name] for name in (of_status + " Uid Gid Groups Cpus_allowed").split()},
    "signals": {int(n): str(signal.getsignal(n)).split(" at ")[0] for n in signal.valid_signals()},
    "limits": {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")},
    "streams": [os.readlink(f"/proc/self/fd/{n}").split(":")[0] for n in range(3)],
    "open": [[kind for kind in opened if kind == name] for name in ("pipe", "/dev/null", "memfd")],
    "started": len(threading.enumerate()), "process": [os.getpid(), os.getppid(), os.nice(0)],
    "processes": sorted(p for p in os.listdir("/proc") if p.isdigit()), "name": socket.gethostname(),
    "main": [sys.modules["__main__"].__name__, hasattr(sys.modules["__main__"], "__file__")],
    "importers": [repr(type(m)) for m in sys.meta_path] + [repr(m)[:30] for m in sys.path_hooks],
    "text": [sys.stdout.encoding, locale.getlocale(), sys.getfilesystemencoding()],
    "python": [sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), gc.isenabled(), sys.gettrace()],
    "torch": [torch.get_num_threads(), torch.get_num_interop_threads(), str(torch.get_default_dtype()),
              torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.cuda.is_available(),
              torch.get_float32_matmul_precision(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled()],
    "matplotlib": [matplotlib.get_backend(), signature(sorted((k, repr(v)) for k, v in matplotlib.rcParams.items()))],
    "numpy": [numpy.geterr(), numpy.get_printoptions()], "printed": str(torch._tensor_str.PRINT_OPTS),
    "workers": [multiprocessing.current_process().name, multiprocessing.get_start_method()],
    "folders": {path: sorted(os.listdir(path)) for path in ("/dev/shm", "/run", "/etc", "/dev", "/")},
    "hooks": [type(sys.displayhook).__name__, sys.excepthook.__qualname__],
    "dumpable": __import__("ctypes").CDLL(None).prctl(3, 0, 0, 0, 0),
}, default=str))
"""


def facts(kernel: StudentKernel) -> dict[str, object]:
    run = kernel.run(FACTS, 60)
    assert run.status == OK, run.error
    return json.loads(printed(run).split("FACTS")[1])


def test_a_notebook_finds_what_it_finds_in_a_cold_kernel(cold, siblings):
    """What differs, and may: the process's own arguments, how many modules there are, and what loading them leaves:

    TORCHINDUCTOR_CACHE_DIR (torch._dynamo) and two KMP_... (scikit-learn) in the environment, filters of warnings, and
    the numbers in the names of threads: a cold kernel has them once it imports the same. It leads a session of its
    own, as a cold one's process 1 does, and has no connection from jupyter_client's manager.
    """
    expected, found = facts(cold), facts(siblings[0])
    assert found.keys() == expected.keys()
    for name, fact in expected.items():
        assert found[name] == fact, name
    assert expected["program"].endswith("kernel_main.py") and expected["matplotlib"][0].endswith("backend_inline")


def test_figures_come_out(siblings):
    run = siblings[0].run("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", 30)
    assert [list(output.data) for output in run.outputs] == [["text/plain", "image/png"]]


def test_an_interrupt_ends_the_cell_and_nothing_else(siblings):
    for kernel in siblings:
        kernel.run("kept = 1", 20)
        kernel.run("while True: pass", 0.5)
        assert kernel.alive and told(kernel, "kept") == 1


def test_what_lies_below_tmp_is_shown_there(monkeypatch):
    """As Python does, when somebody sets up the environment there."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, ExitStack() as stack:
        Path(folder).chmod(0o755)
        (Path(folder) / "file").write_text("here")
        monkeypatch.setattr(bubblewrap, "_FURTHER", (*bubblewrap._FURTHER, folder))
        template = stack.enter_context(ForkServer([], PACKAGES))
        kernel = stack.enter_context(warm(template.address))
        assert told(kernel, f"open('{folder}/file').read()") == "here"
        assert kernel.run(f"open('{folder}/more', 'w')", 20).status == ERROR
        # Python itself may lie below /tmp, too.
        python = {Path(p).parts[2] for p in (*map(os.path.realpath, sys.path), *sys.path) if p.startswith("/tmp/")}
        assert set(told(kernel, "os.listdir('/tmp')")) - python == {".cache", Path(folder).name}


# --- what a fork brings along


def test_nothing_is_open_but_the_kernels_own(template, siblings):
    one, other = (family(kernel) for kernel in siblings)
    assert sorted(d.split(":")[0] for d in descriptors(preloaded(template).pid)) == ["/dev/null"] * 3 + ["socket"]
    # eventfds and their like have no number of their own here; sockets and pipes have.
    owned = [{d for d in descriptors(p.pid) if d.startswith(("socket:", "pipe:"))} for p in (*one, *other)]
    owned.append({d for d in descriptors(preloaded(template).pid) if d.startswith("socket:")})
    assert len(owned) == 5 and all(owned)
    for i, mine in enumerate(owned):
        for others in owned[i + 1 :]:
            assert not mine & others
    with warm(template.address) as kernel:  # one that has not read a font yet
        assert {d for d in descriptors(family(kernel)[1].pid) if d.startswith("/")} == {"/dev/null"}


def test_no_memory_is_shared_that_can_be_written(template, siblings):
    for process in (preloaded(template), *family(siblings[0])):
        maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        assert len(maps) > 500
        assert [line for line in maps if re.match(r"\S+ .w.s", line)] == []


def test_the_template_is_one_thread_that_computes_nothing(template):
    assert preloaded(template).num_threads() == 1
    assert preloaded(template).cpu_times().user < 60


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into that memory")
def test_no_key_passes_through_the_template(template, siblings):
    def holds(pid: int, what: bytes) -> bool:
        with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in maps:
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if line.split()[1].startswith("rw"):
                    memory.seek(start)
                    if what in memory.read(end - start):
                        return True
        return False

    for kernel in siblings:
        key = kernel._client.session.key
        assert holds(family(kernel)[1].pid, key), "a search that finds nothing proves nothing"
        assert not holds(preloaded(template).pid, key)
        assert not holds(preloaded(template).pid, str(kernel._folder).encode())


def test_process_1_is_out_of_reach(siblings):
    kernel = siblings[0]
    code = """
        import ctypes, os, signal
        libc = ctypes.CDLL(None, use_errno=True)
        for name in ("mem", "maps", "environ", "cmdline", "fd", "root", "cwd", "task"):
            assert not os.path.lexists(f"/proc/1/{name}"), name
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            os.kill(1, number)
        assert libc.ptrace(0x4206, 1, 0, 0) == -1 and libc.ptrace(16, 1, 0, 0) == -1
        handle = os.pidfd_open(1)
        assert libc.syscall(438, handle, 3, 0) == -1  # its open files
        os.close(handle)
    """
    run = kernel.run(textwrap.dedent(code), 20)
    assert run.status == OK, run.error
    assert told(kernel, "1") == 1
    first = family(kernel)[0]
    assert first.environ().keys() <= provisioner.environment().keys() | {"PWD"}
    assert str(kernel._folder) not in str(first.cmdline()) and kernel._client.session.key.decode() not in str(first)


def test_no_rights_are_left(siblings):
    first, kernel = family(siblings[0])
    nothing = "0" * 16
    for process in (first, kernel):
        found = status(process.pid)
        assert [found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [nothing] * 5
        assert found["NoNewPrivs"] == "1"
    assert (status(kernel.pid)["Seccomp"], status(kernel.pid)["NSpid"].split()[-1]) == ("2", "2")
    settings = "[f'{d}/{n}' for d, _, names in os.walk('/proc/sys') for n in names if os.access(f'{d}/{n}', os.W_OK)]"
    for path in told(siblings[0], settings):  # a mode that would allow it, to somebody with rights
        run = siblings[0].run(f"with open({path!r}, 'w') as file: file.write('1')", 20)
        assert run.status == ERROR and "Operation not permitted" in run.error, path


# --- from one to the next


def test_siblings_have_their_own_namespaces(template, siblings):
    processes = [family(siblings[0])[1], family(siblings[1])[1], preloaded(template), psutil.Process()]
    for kind in KINDS:
        assert len({os.readlink(f"/proc/{p.pid}/ns/{kind}") for p in processes}) == 4, kind


LEAVES = """
import fcntl, mmap, os, signal, socket, struct, sys
for place in ("/tmp", "/dev/shm"):
    open(f"{place}/left", "w").write("x")
open("/tmp/.cache/ipython/profile_default/startup/left.py", "w").write("left = 1")
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0left"); abstract.listen()
server = socket.create_server(("127.0.0.1", 7001))
import builtins, torch, numpy, matplotlib
builtins.left = torch.left = sys.left = 1
torch.set_default_dtype(torch.float64); torch.manual_seed(7); numpy.random.seed(7)
torch.use_deterministic_algorithms(True)
matplotlib.rcParams["font.size"] = 77.0
os.environ["LEFT"] = "x"
os.umask(0)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
# Of a file that was open before the fork, flags, owner and lock would be those of all.
for number in range(3):
    fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    fcntl.fcntl(number, 10, 42)  # F_SETSIG
fcntl.flock(0, fcntl.LOCK_EX)
"""
FINDS = """
import builtins, fcntl, os, signal, socket, sys, torch, numpy, matplotlib
places = ("/tmp/left", "/dev/shm/left", "/tmp/.cache/ipython/profile_default/startup/left.py")
found = [place for place in places if os.path.exists(place)]
for family, address in ((socket.AF_UNIX, "\\0left"), (socket.AF_INET, ("127.0.0.1", 7001))):
    with socket.socket(family) as asking:
        found += [address] if not asking.connect_ex(address) else []
found += [thing for thing in (builtins, torch, sys) if hasattr(thing, "left")]
found += [torch.get_default_dtype()] if torch.get_default_dtype() != torch.float32 else []
found += [seed for seed in (torch.initial_seed(), numpy.random.get_state()[1][0]) if seed == 7]
found += ["deterministic"] if torch.are_deterministic_algorithms_enabled() else []
found += ["font"] if matplotlib.rcParams["font.size"] == 77.0 else []
found += ["environment"] if "LEFT" in os.environ else []
found += ["umask"] if os.umask(0o022) == 0 else []
found += ["signal"] if signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL else []
found += [n for n in range(3) if fcntl.fcntl(n, fcntl.F_GETFL) & os.O_APPEND or fcntl.fcntl(n, 11)]
with open("/dev/null") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        found.append("lock")
print(found)
"""


def test_nothing_that_one_leaves_is_there_for_the_next(template, siblings):
    with warm(template.address) as kernel:
        run = kernel.run(LEAVES, 20)
        assert run.status == OK, run.error
        assert len(printed(kernel.run(FINDS, 20)).split(",")) > 12, "a search that finds nothing proves nothing"
        assert kernel.run("fcntl.flock(0, fcntl.LOCK_UN)", 20).status == OK
        # /dev/null itself is the machine's: a lock lasts while its owner lives.
        assert printed(siblings[0].run(FINDS, 20)) == "[]\n"
        assert kernel.run("fcntl.flock(0, fcntl.LOCK_EX)", 20).status == OK
    assert printed(siblings[1].run(FINDS, 20)) == "[]\n"
    with warm(template.address) as kernel:
        assert printed(kernel.run(FINDS, 20)) == "[]\n"


def test_accomplices_would_find_what_they_leave_if_it_were_there(template):
    """Once in the same kernel, where everything is found, and then from one kernel to the next, where nothing is."""
    leaves = attacks_next.SERVES + attacks_next.STAYS
    with warm(template.address) as kernel:
        assert kernel.run(leaves, 20).status == OK
        found = printed(kernel.run(attacks_next.LOOKS, 20))
        assert {word for word in attacks_next.LEFT if f"loot={word}" in found} == set(attacks_next.LEFT)
    with warm(template.address) as kernel:
        run = kernel.run(attacks_next.LOOKS, 20)
        assert run.status == OK and "loot" not in printed(run)


def test_chance_is_not_the_same(template):
    numbers = (
        "import json, random, ssl, tempfile, uuid, numpy, torch\n"
        "print(json.dumps([random.random(), numpy.random.rand(), tempfile.mktemp(), ssl.RAND_bytes(8).hex(),\n"
        "    str(uuid.uuid4()), str(uuid.uuid1()), torch.initial_seed(), float(torch.rand(())), os.urandom(8).hex(),\n"
        "    float(numpy.random.default_rng().random())]))"
    )
    drawn = []
    for _ in range(3):
        with warm(template.address) as kernel:
            run = kernel.run(f"import os\n{numbers}", 20)
            assert run.status == OK, run.error
            drawn.append(json.loads(printed(run)))
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 3, numbers


# --- the end


def test_all_end_with_their_grader():
    code = (
        "import sys, time\nfrom autograder.execution.student_kernel import Limits, StudentKernel\n"
        "from autograder.execution.preload import PACKAGES\n"
        "from autograder.sandbox.forked_kernel import ForkServer\n"
        "template = ForkServer([], PACKAGES)\nkernel = StudentKernel(Limits(), template=template.address)\n"
        "assert not kernel.fallback_reason, kernel.fallback_reason\n"
        "print(template.process.pid, *[p.pid for p in kernel._watch.family()], flush=True)\ntime.sleep(300)"
    )
    grader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    started = [psutil.Process(int(pid)) for pid in grader.stdout.readline().split()]
    started += started[0].children(recursive=True)
    assert len(set(started)) == 6  # bubblewrap twice, the template, and three for a kernel
    grader.kill()
    grader.wait()
    wait_for_the_end(started)


def test_a_kernel_ends_with_its_worker_though_the_template_stays(template):
    code = (
        "import sys, time\nfrom autograder.execution.student_kernel import Limits, StudentKernel\n"
        f"kernel = StudentKernel(Limits(), template={template.address!r})\n"
        "assert not kernel.fallback_reason, kernel.fallback_reason\n"
        'kernel.run(\'import subprocess; many = [subprocess.Popen(["sleep", "300"]) for _ in range(3)]\', 20)\n'
        "print(*[p.pid for p in kernel._watch.family()], flush=True)\ntime.sleep(300)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    started = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
    assert len(started) == 5
    worker.kill()
    worker.wait()
    wait_for_the_end(started)
    assert runs(preloaded(template))


def test_a_kernel_ends_with_process_1(template):
    with warm(template.address) as kernel:
        first, itself = family(kernel)
        between = first.parent()
        first.kill()
        wait_for_the_end([first, itself, between])
        assert kernel.run("1", 20).status == DIED


def test_a_kernel_ends_with_the_template_and_the_next_starts_cold():
    with ForkServer([], PACKAGES) as template, warm(template.address) as kernel:
        assert kernel.run("1", 20).status == OK
        started = family(kernel)
        preloaded(template).kill()
        wait_for_the_end(started)
        assert kernel.run("1", 20).status == DIED
        with StudentKernel(Limits(), template=template.address) as next_one:
            assert "no kernel could be forked" in next_one.fallback_reason and "cold" not in next_one.fallback_reason
            assert told(next_one, "1 + 1") == 2 and len(family(next_one)) == 3


def test_where_namespaces_are_refused_it_starts_cold(monkeypatch):
    start = bubblewrap._start
    monkeypatch.setattr(
        bubblewrap, "_start", lambda *args, fork_server=False: start(*args)
    )  # as any kernel's: no namespaces
    with ForkServer([], PACKAGES) as template, StudentKernel(Limits(), template=template.address) as kernel:
        assert "new namespaces" in kernel.fallback_reason
        assert told(kernel, "1 + 1") == 2
        assert runs(preloaded(template))


def test_a_template_that_gets_no_process_or_no_time_costs_its_kernels_the_warm_start_only(monkeypatch):
    start = bubblewrap._start

    def narrow(command: list[str], *args: object, fork_server: bool = False) -> subprocess.Popen:
        return start(
            ["/usr/bin/prlimit", "--nproc=2", *command] if fork_server else command, *args, fork_server=fork_server
        )

    monkeypatch.setattr(bubblewrap, "_start", narrow)  # bubblewrap's process 1 and the template: there may be no third
    with ForkServer([], PACKAGES) as template:
        for _ in range(2):
            with StudentKernel(Limits(), template=template.address) as kernel:
                assert "no kernel could be forked" in kernel.fallback_reason and told(kernel, "1 + 1") == 2
        assert runs(preloaded(template))
        bubblewrap.end(template.process)
        with StudentKernel(Limits(), template=template.address) as kernel:
            assert kernel.fallback_reason and told(kernel, "1 + 1") == 2


@pytest.mark.long
def test_a_hundred_starts_leave_nothing(template):
    def seen() -> list[int]:
        time.sleep(1)  # what is being ended now
        folders = [p for p in Path(tempfile.gettempdir()).glob("vitedu-*") if str(os.getpid()) in p.name]
        itself = preloaded(template)
        return [psutil.Process().num_fds(), itself.num_fds(), len(itself.children()), len(folders)]

    warm(template.address).close()
    before, memory = seen(), preloaded(template).memory_info().rss
    for i in range(100):
        with warm(template.address) as kernel:
            if i % 20 == 0:
                assert kernel.run("import subprocess; left = subprocess.Popen(['sleep', '300'])", 20).status == OK
    assert all(now <= then + 2 for now, then in zip(seen(), before, strict=True)), (before, seen())
    assert preloaded(template).memory_info().rss - memory < 2**21


LOOK = """
from autograder.execution.student_kernel import Limits, StudentKernel
from autograder.sandbox.bubblewrap import unavailable
from autograder.execution.preload import PACKAGES
from autograder.sandbox.forked_kernel import ForkServer
assert not unavailable(), unavailable()
with ForkServer(["torch"], PACKAGES) as template:
    with StudentKernel(Limits(files=50), template=template.address) as kernel:
        run = kernel.run("import os, torch; print(os.getuid(), torch.ones(2).sum())", 60)
        print(kernel.fallback_reason, run.outputs[0].text)
        run = kernel.run("import time\\nfor i in range(200): open(f'{i}', 'w')\\ntime.sleep(20)", 30)
        print(run.status, run.error)
    with StudentKernel(Limits(memory=1200 * 2**20), template=template.address) as kernel:
        code = "import mmap, time\\nm = mmap.mmap(-1, 1500 * 2**20)\\nfor i in range(0, len(m), 4096): m[i] = 1\\n"
        print(kernel.fallback_reason, kernel.run(code + "time.sleep(30)", 40).status)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_gets_the_same():
    shared = Path(f"/tmp/vitedu-test-warm-{os.getpid()}")  # where everybody may pass
    shared.mkdir()
    try:
        command = [*as_somebody_else(shared), sys.executable, "-c", LOOK]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    finally:
        shutil.rmtree(shared)
    lines = done.stdout.splitlines()
    assert lines[0] == " 1000 tensor(2.)", done.stderr[-3000:]
    assert "more than 50 files" in done.stdout and lines[-1] == " out of memory"
