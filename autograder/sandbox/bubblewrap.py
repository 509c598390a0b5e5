"""The sandbox of one student's kernel, made by bubblewrap: what it sees, how much it may use, and nothing else.

Inside are the system's libraries, this Python environment, the packages that the caller names and guest/, all
read-only, and two empty folders that live in memory: /tmp, which is also the home and the current folder, and
/dev/shm. There is no network, no other process, no file of a person's, no package that the caller masks, and no
folder shared with the grader.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from glob import escape, glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from autograder.sandbox import seccomp
from autograder.sandbox.scratch import scratch

# What starts kernels inside, under a path of its own there: nothing else of this package is to be seen.
GUEST, GUEST_INSIDE = Path(__file__).parent / "guest", "/guest"
# As a package: what it imports beside it is found there, and -I looks into no script's folder.
FORK_SERVER = (
    "import runpy, sys; sys.path.insert(0, '/'); import guest; del sys.path[0]; "
    "runpy.run_module('guest.fork_server', run_name='__main__', alter_sys=True)"
)
# A grader that is root starts the sandbox as this user, which owns nothing: inside a user namespace that
# root itself had made, the host's /proc/sys could be written.
NOBODY = 65534
HOME = "/tmp"
CONNECTION = "/run/connection.json"
ABSENT = "raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
INSTALL = "install it (Debian, Ubuntu: apt-get install bubblewrap)"
ALLOW = (
    "allow user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "elsewhere: sysctl user.max_user_namespaces=10000; in a container: its seccomp profile must let them pass)"
)
OTHERWISE = "or grade with --no-sandbox what you would run as yourself"


class SandboxUnavailable(Exception):
    """No sandbox can be had here; the text says why and what to do."""


@dataclass(frozen=True)
class ResourceLimits:
    """How much the processes of one sandbox may use.

    Attributes:
        memory: bytes of all of them together.
        processes: of all, threads included.
        scratch_bytes, files: in /tmp; /dev/shm has the same.
        cpu: seconds of CPU time of all together.
    """

    memory: int = 4 * 2**30
    processes: int = 256
    scratch_bytes: int = 256 * 2**20
    files: int = 20_000
    cpu: float = 1000.0

    def limits(self) -> dict[str, int]:
        """What the kernel of the system enforces in each process; resource_monitor.py adds them up."""
        return {
            "DATA": self.memory, "AS": self.memory + 8 * 2**30,  # AS also counts shared memory, and every library
            "NPROC": self.processes, "FSIZE": self.scratch_bytes, "CPU": int(self.cpu) + 1,
            "CORE": 0, "NOFILE": 512, "MSGQUEUE": 0, "MEMLOCK": 2**16,
        }  # fmt: skip


@dataclass(frozen=True)
class GuestPackages:
    """Packages that a sandbox treats in a way of their own; the rest of the Python environment is shown as it is.

    Attributes:
        visible: names of those that can be imported inside, wherever they lie.
        masked: names of those that cannot, though they may lie in the environment.
        distributions: names under which pip knows them: their name and version are told inside, and nothing of what
            they hold or where they came from.
        hidden: folders that are empty inside, should they lie in what is shown.
    """

    visible: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


@cache
def package_folder(name: str) -> Path:
    """Where a package lies; it is not imported, which may take longer than all that is done here."""
    found = find_spec(name)
    # A namespace package has no origin: a folder of that name hides an editable installation, which lies beside us.
    return Path(found.origin).parent if found and found.origin else Path(__file__).parents[2] / name


def launch(
    limits: ResourceLimits,
    packages: GuestPackages,
    folder: Path,
    connection: Mapping[str, Any],
    environment: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start a kernel in a sandbox of its own; the sockets that it is to serve are opened here.

    Args:
        folder: an empty, private folder of the grader's.
        connection: what a connection file says, with transport "ipc".
    """
    sockets = {port: listen(f"{connection['ip']}-{port}") for name, port in connection.items() if _is_port(name)}
    descriptors = {port: each.fileno() for port, each in sockets.items()}
    settings = {"connection": CONNECTION, "sockets": descriptors, "limits": limits.limits()}
    data = {CONNECTION: json.dumps(dict(connection), default=_text).encode()}
    try:
        return _start(
            [sys.executable, "-I", "-B", f"{GUEST_INSIDE}/kernel_main.py", json.dumps(settings)],
            limits, packages, folder, environment, data, list(descriptors.values()),
        )  # fmt: skip
    finally:
        for each in sockets.values():
            each.close()


def launch_fork_server(
    packages: GuestPackages, folder: Path, listening: int, modules: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the fork server, see guest/fork_server.py; no student's code ever runs in it itself.

    Args:
        folder: an empty, private folder of the grader's.
        listening: an open file, the socket that it is to serve.
        modules: what it imports.
    """
    settings = json.dumps({"listen": listening, "modules": list(modules)})
    command = [sys.executable, "-I", "-B", "-c", FORK_SERVER, settings]
    return _start(command, ResourceLimits(), packages, folder, environment, {}, [listening], fork_server=True)


def binds_below(folders: Sequence[str], packages: GuestPackages, scratch: Path) -> list[str]:
    """What is shown to a kernel below these folders, and has to stay when empty ones are laid over them."""
    places = [p for p in _binds(packages, scratch) if p.startswith(tuple(f"{f}/" for f in folders))]
    return [p for p in places if not any(p.startswith(f"{other}/") for other in places)]


@cache
def unavailable(packages: GuestPackages = GuestPackages()) -> str:
    """Why no sandbox can be had here in which these packages can be imported, with what to do; "" where one can."""
    if sys.platform != "linux":
        return f"The sandbox needs Linux, and this is {sys.platform}: grade on a Linux machine, {OTHERWISE}."
    if shutil.which("bwrap") is None:
        return f"The sandbox needs bubblewrap, and no 'bwrap' was found: {INSTALL}, {OTHERWISE}."
    try:
        seccomp.program()
    except (ImportError, OSError, RuntimeError) as error:
        return (
            f"The sandbox needs libseccomp, which gave: {error}; install it (Debian, Ubuntu: apt-get install "
            f"libseccomp2) and pip's pyseccomp, {OTHERWISE}."
        )
    with scratch() as folder:
        # A look at what must be there, and at what must not.
        code = (
            "import importlib.util, os, zmq; assert os.getuid() == 1000 and not os.listdir('/dev/shm')\n"
            f"for name in {('torch', 'ipykernel', *packages.visible)}:\n"
            "    if not importlib.util.find_spec(name): raise ImportError(f'{name}: Permission denied')"
        )
        try:
            command = [sys.executable, "-I", "-B", "-c", code]
            process = _start(command, ResourceLimits(), packages, folder, {}, {}, [], subprocess.PIPE)
            _, written = process.communicate(timeout=120)
        except (OSError, subprocess.SubprocessError, SandboxUnavailable) as error:
            return f"The sandbox does not start here ({error}): {ALLOW}, {OTHERWISE}."
    if process.returncode == 0:
        return ""
    lines = written.decode(errors="replace").strip().splitlines()
    last = lines[-1][:300] if lines else f"exit status {process.returncode}"
    if "Permission denied" in last and "namespace" not in last and "uid map" not in last:
        return f"The sandbox cannot read what it needs ({last}): move it to where every user can read it, {OTHERWISE}."
    return f"The sandbox does not start here ({last}): {ALLOW}, {OTHERWISE}."


def _start(
    command: Sequence[str],
    limits: ResourceLimits,
    packages: GuestPackages,
    folder: Path,
    environment: Mapping[str, str],
    data: Mapping[str, bytes],
    sockets: Sequence[int],
    stderr: int = subprocess.DEVNULL,
    fork_server: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command in a sandbox.

    Args:
        data: path inside -> content of a file that is put there.
        stderr: where the process's goes; a student's must never reach the grader's terminal.
        fork_server: its kernels have namespaces within this sandbox: it may enter new ones.
    """
    files = {path: _anonymous_file(content) for path, content in (_ACCOUNTS | dict(data)).items()}
    filters = [] if fork_server else [_anonymous_file(seccomp.program())]
    binds = _binds(packages, folder)
    as_root = os.geteuid() == 0
    if as_root:
        folder.chmod(0o711)  # to be passed through, not to be looked into
    before: list[str] = []
    if as_root and not all(_world_readable(source) for source in binds.values()):
        before, binds = _rebound(binds, folder)
    options = [
        "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        "--die-with-parent", "--new-session", "--hostname", "sandbox", "--uid", "1000", "--gid", "1000",
    ]  # fmt: skip
    options += ["--disable-userns"] if _version() >= (0, 8) and not fork_server else []
    for link in _system_links():
        options += ["--symlink", os.readlink(link), str(link)]
    options += ["--proc", "/proc"]
    if not fork_server:  # process 1 is bubblewrap's own and has no limits: nobody inside shall get at its memory
        options += ["--tmpfs", "/proc/1", "--remount-ro", "/proc/1"]
    options += ["--dev", "/dev"]
    for place in (HOME, "/dev/shm"):
        options += [*(["--size", str(limits.scratch_bytes)] if _version() >= (0, 7) else []), "--tmpfs", place]
    options += ["--dir", f"{HOME}/.cache", *(["--dir", os.path.dirname(CONNECTION)] if fork_server else [])]
    for place, source in binds.items():  # after the empty folders: Python may lie below one of them
        options += ["--ro-bind", source, place]
    for place, descriptor in files.items():
        options += ["--ro-bind-data", str(descriptor), place]
    options += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME]
    options += [part for each in filters for part in ("--seccomp", str(each))]
    # Over a file: nothing of the outside shall stand among arguments.
    arguments = _anonymous_file(b"".join(option.encode() + b"\0" for option in options))
    passed = [*files.values(), *filters, arguments, *sockets]
    nobody = NOBODY if as_root and not before else None
    try:
        return subprocess.Popen(
            [*before, shutil.which("bwrap") or "bwrap", "--args", str(arguments), "--", *command],
            env=dict(environment), cwd="/", pass_fds=passed, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=stderr, user=nobody, group=nobody,
            extra_groups=None if nobody is None else [],
        )  # fmt: skip
    finally:
        for descriptor in (*files.values(), *filters, arguments):
            os.close(descriptor)


# Programs ask for the name and home of who runs them.
_ACCOUNTS = {
    "/etc/passwd": f"student:x:1000:1000::{HOME}:/bin/sh\n".encode(),
    "/etc/group": b"student:x:1000:\n",
    "/etc/hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
}
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_FURTHER = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/fonts", "/sys/devices/system/cpu")


def _system_links() -> list[Path]:
    return [Path(p) for p in _SYSTEM if Path(p).is_symlink()]


def _binds(packages: GuestPackages, scratch: Path) -> dict[str, str]:
    """Path inside -> path outside, in the order in which they are laid over each other.

    Args:
        scratch: what covers the masked packages and all that tells of them is written below this folder.
    """
    binds = {p: p for p in (*_SYSTEM, *_FURTHER) if os.path.exists(p) and p not in map(str, _system_links())}
    binds |= {p: os.path.realpath(p) for p in _FURTHER if os.path.islink(p) and os.path.exists(p)}
    prefixes = [sys.base_prefix, sys.base_exec_prefix, sys.prefix, sys.exec_prefix]
    for prefix in dict.fromkeys([*map(os.path.realpath, prefixes), *prefixes]):
        if prefix == "/":
            raise SandboxUnavailable("expected Python in a folder of its own, found it in /; use a virtual environment")
        if prefix != "/usr":
            binds[prefix] = os.path.realpath(prefix)
    for name in packages.visible:
        binds[str(package_folder(name))] = os.path.realpath(package_folder(name))
    binds[GUEST_INSIDE] = os.path.realpath(GUEST)
    covered = dict(_covers(packages, scratch))
    parents = tuple(f"{place}{os.sep}" for place in binds)
    return binds | {place: cover for place, cover in covered.items() if place.startswith(parents)}


def _covers(packages: GuestPackages, scratch: Path) -> Iterator[tuple[str, str]]:
    """Each folder that is not to be seen, with what is shown in its place."""
    for hidden in filter(os.path.isdir, packages.hidden):
        yield hidden, _written(scratch / "empty")
    installed = [p for kind in ("purelib", "platlib") if (p := sysconfig.get_path(kind))]
    places = [*installed, *sys.path, *(str(package_folder(name).parent) for name in packages.masked)]
    # os.path and glob pass over what this user may not read, where Path raises.
    for place in dict.fromkeys([*places, *map(os.path.realpath, places)]):
        for name in packages.masked:
            if os.path.isdir(path := os.path.join(place, name)):
                yield path, _written(scratch / "absent" / name, "__init__.py", ABSENT.format(name=name))
        for name in packages.distributions:
            for path in glob(f"{escape(place)}/{name.replace('-', '_')}-*.dist-info"):
                known = Path(path)
                metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {known.stem.rpartition('-')[2]}\n"
                yield path, _written(scratch / "metadata" / known.name, "METADATA", metadata)


def _written(folder: Path, name: str = "", text: str = "") -> str:
    """A folder with one file, or with none."""
    folder.mkdir(parents=True, exist_ok=True)
    if name:
        (folder / name).write_text(text)
    return str(folder)


def _world_readable(path: str) -> bool:
    """Whether a user who owns nothing gets at a file or folder: every folder on the way must let everybody through."""
    real = Path(os.path.realpath(path))
    return all(part.stat().st_mode & stat.S_IXOTH for part in real.parents) and bool(real.stat().st_mode & stat.S_IROTH)


def _rebound(binds: Mapping[str, str], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Show folders that only root can reach, such as a Python under /root, to a sandbox that is not root.

    In a mount namespace of its own they are first bound to where everybody can reach them.

    Returns:
        What goes before the command, and the new sources.
    """
    root = folder / "rebound"
    root.mkdir(exist_ok=True)
    hidden = [source for source in dict.fromkeys(binds.values()) if not _world_readable(source)]
    moved = {source: f"{root}/{i}" for i, source in enumerate(hidden)}
    script = """
        set -e; root=$1; shift; n=0
        mount -t tmpfs -o mode=755,size=64k rebound "$root"
        while [ "$1" != -- ]; do
            if [ -d "$1" ]; then mkdir "$root/$n"; else : > "$root/$n"; fi
            mount --rbind "$1" "$root/$n"; n=$((n + 1)); shift
        done; shift
        exec setpriv "$@"
    """
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "rebind", str(root), *hidden, "--"]
    before += [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    before[0] = shutil.which("unshare") or "/usr/bin/unshare"
    # $@ of the script: the hidden folders, then setpriv's own arguments and the command.
    return before, {place: moved.get(source, source) for place, source in binds.items()}


def _anonymous_file(content: bytes) -> int:
    """An open file without a name that holds this."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        return os.dup(file.fileno())


def listen(path: str) -> socket.socket:
    """A kernel's socket at a path, open and with a line to wait in."""
    if os.path.exists(path):
        os.unlink(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(path)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    made.listen(64)  # now: a client that comes before the kernel is ready waits in line
    made.setblocking(False)
    return made


def _is_port(name: str) -> bool:
    return name.endswith("_port")


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@cache
def _version() -> tuple[int, ...]:
    printed = subprocess.run(["bwrap", "--version"], capture_output=True, text=True).stdout
    return tuple(int(part) for part in printed.split()[-1].split(".") if part.isdigit())


def end(process: subprocess.Popen[bytes]) -> None:
    """End a sandbox with all that runs in it; bubblewrap's process takes the others along."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
