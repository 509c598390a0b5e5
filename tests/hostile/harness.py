"""Run hostile submissions: one in a baseline without walls, or many as a class behind the walls.

    .venv/bin/python tests/hostile/harness.py NAME... [--baseline | --walled] [--no-sandbox]

runs the named attacks and prints what was seen; without an option both ways.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

if __name__ == "__main__":  # run by its path: the package lies one folder up
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from autograder.course import course_api
from autograder.labs.lab import Lab, find_lab
from hostile import stock
from hostile.attack import NEIGHBOUR, Attack, Seen
from hostile.classroom import Classroom, Points, changed

MODULES = sorted(path.stem.removeprefix("attacks_") for path in Path(__file__).parent.glob("attacks_*.py"))
# Low enough that a class of hanging notebooks ends, high enough that importing torch beside other work gets through.
LIMITS = {
    "cell_seconds": 12.0, "probe_seconds": 12.0, "notebook_seconds": 60.0, "again_seconds": 60.0, "replays": 1,
    "memory_bytes": 1300 * 2**20, "processes": 100,
}  # fmt: skip
WALLED_SECONDS = 300.0  # a submission, beyond which the whole command is taken to hang


def all_attacks() -> list[Attack]:
    """Every attack, module by module."""
    return [attack for module in MODULES for attack in attacks_of(module)]


def attacks_of(module: str) -> list[Attack]:
    """The attacks of one module of this package."""
    return importlib.import_module(f"hostile.attacks_{module}").ATTACKS


def classes() -> dict[str, list[Attack]]:
    """The attacks as they are graded together: the fast ones of all modules, and the others module by module."""
    found: dict[str, list[Attack]] = {}
    for module in MODULES:
        for attack in attacks_of(module):
            name = f"fast-{attack.lab}" if attack.fast else f"{module}-{attack.lab}"
            found.setdefault(name, []).append(attack)
    return found


@cache
def _released(lab: Lab, ours: bool) -> Path:
    """A released course folder, made once in this process."""
    folder = tempfile.TemporaryDirectory(prefix="hostile-release-")
    atexit.register(folder.cleanup)
    root = Path(folder.name) / "course"
    root.mkdir()
    room = Classroom(root, lab)
    if ours:
        settings = "\n".join(f"c.Examine.{name} = {value!r}" for name, value in LIMITS.items())
        config = f"from autograder.course import configure\n\nc = get_config()\nconfigure(c)\n{settings}\n"
        room.write_secret()
        (root / "nbgrader_config.py").write_text(config)
        result = course_api(root).generate_assignment(lab.assignment)
        assert result["success"], result
    else:
        room.write_secret()
        stock.release(root)
    room.add_last_year()
    return root


def _classroom(lab: Lab, root: Path, ours: bool) -> Classroom:
    shutil.copytree(_released(lab, ours), root)
    return Classroom(root, lab)


def baseline(attacks: Sequence[Attack], root: Path) -> dict[str, Seen]:
    """Grade the attacks and then one neighbour without walls, in a new folder `root`."""
    ((lab, shown_by),) = {(attack.lab, attack.shown_by) for attack in attacks}
    ours = shown_by == "unwalled"
    room = _classroom(find_lab(lab), root, ours)
    neighbour = f"s999-{NEIGHBOUR}"
    honest = {neighbour: room.hand_in_honest(neighbour)}  # first handed in, later graded
    students = {f"s{i:03d}-{attack.name}": attack for i, attack in enumerate(attacks)}
    for student, attack in students.items():
        room.hand_in(student, attack)
    command = _ours(room, sandbox=False) if ours else stock.command(lab)
    return _run(room, students, honest, command, sum(attack.patience for attack in attacks))


def walled(attacks: Sequence[Attack], root: Path, sandbox: bool = True) -> dict[str, Seen]:
    """Grade the attacks as one class in a new folder `root`, with neighbours before, between and after them."""
    (lab,) = {attack.lab for attack in attacks}
    room = _classroom(find_lab(lab), root, ours=True)
    middle = len(attacks) // 2
    order = enumerate([None, *attacks[:middle], None, *attacks[middle:], None])
    everybody = {f"s{i:03d}-{attack.name if attack else NEIGHBOUR}": attack for i, attack in order}
    honest, students = {}, {student: attack for student, attack in everybody.items() if attack}
    for student in everybody.keys() - students.keys():  # they hand in first, so that there is something to steal
        everything = lab == "lab1_attention" and student == f"s{middle + 1:03d}-{NEIGHBOUR}"
        honest[student] = room.hand_in_honest(student, everything)
    for student, attack in students.items():
        room.hand_in(student, attack)
    return _run(room, students, honest, _ours(room, sandbox), WALLED_SECONDS * (len(students) + len(honest)))


def _ours(room: Classroom, sandbox: bool) -> list[str]:
    command = [sys.executable, "-P", "-m", "autograder.cli", "grade", room.lab.assignment, "--course", str(room.root)]
    return command if sandbox else [*command, "--no-sandbox"]


def _run(
    room: Classroom, students: dict[str, Attack], honest: dict[str, Points], command: list[str], seconds: float
) -> dict[str, Seen]:
    """Run the grading command once; what was seen of each attack, by its name."""
    files, rows = room.snapshot(), room.foreign_rows()
    with tempfile.TemporaryDirectory(prefix="hostile-run-") as folder:
        environment = _environment(Path(folder)) | {k: v for a in students.values() for k, v in a.environ.items()}
        supervise = [sys.executable, "-P", str(Path(__file__).with_name("supervise.py")), folder, str(seconds)]
        subprocess.run([*supervise, *command], cwd=room.root, env=environment, check=True)
        run = json.loads((Path(folder) / "run.json").read_text())
        printed = (Path(folder) / "output.txt").read_text(errors="replace")
    neighbours = {student: room.points(student) for student in honest}
    everybody = dict(
        neighbours=neighbours, harmed=frozenset(s for s in honest if neighbours[s] != honest[s]), root=room.root,
        gradebook_changed=room.foreign_rows() != rows, changed=changed(files, room.snapshot()),
        exit=run["exit"], seconds=run["seconds"], left=tuple(run["left"]),
    )  # fmt: skip
    seen = {}
    for student, attack in students.items():
        own = room.shown(student, printed)
        verdicts = room.record(student).get("exercises", [])
        seen[attack.name] = Seen(
            points=room.points(student), total=room.total(student), own=own, feedback=room.feedback(student),
            text="\n".join((own, printed, room.public())), status={v["exercise"]: v["status"] for v in verdicts},
            **everybody,
        )  # fmt: skip
    return seen


def _environment(folder: Path) -> dict[str, str]:
    """What the grading command gets: no setting of this machine's user, one thread."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip


def _print(title: str, attack: Attack, seen: Seen) -> None:
    print(f"== {attack.name}, {title}: gained {attack.gained(seen)}, {seen.seconds:.0f} s, exit {seen.exit}")
    for name in ("points", "status", "total", "neighbours", "harmed", "gradebook_changed", "changed", "left"):
        print(f"   {name}: {getattr(seen, name)}")


def _readable(text: str) -> str:
    return re.sub(r"(?s)<(style|script)\b.*?</\1>|<[^>]*>", "", text)


def main() -> None:
    """Run attacks by name and print what was seen."""
    parser = argparse.ArgumentParser(description="Run hostile submissions by name.")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--baseline", action="store_true", help="only without walls")
    parser.add_argument("--walled", action="store_true", help="only as a class behind the walls")
    parser.add_argument("--no-sandbox", action="store_true", help="the walls without their sandbox")
    parser.add_argument("--text", action="store_true", help="print all that came out, too")
    args = parser.parse_args()
    attacks = [attack for attack in all_attacks() if attack.name in args.names]
    if unknown := set(args.names) - {attack.name for attack in attacks}:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="hostile-try-") as folder:
        for attack in attacks if args.baseline or not args.walled else ():
            seen = baseline([attack], Path(folder) / attack.name)[attack.name]
            _print(f"baseline ({attack.shown_by})", attack, seen)
            print(_readable(seen.text) if args.text else "")
        if args.walled or not args.baseline:
            for name, seen in walled(attacks, Path(folder) / "class", not args.no_sandbox).items():
                _print("walled", next(a for a in attacks if a.name == name), seen)
                print(_readable(seen.own) if args.text else "")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
