"""`make compat`: the students' wheel with the oldest packages that it accepts, and with the newest that there are.

For each an environment from nothing in .run/compat/; in it every check on right answers and on planted mistakes, and
every notebook, solved and untouched. Prints a line for each, and ends with status 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from autograder.labs.course_files import ROOT
from autograder.labs.lab import EXAMS, Lab, all_labs
from autograder.labs.source_text import without_marks

HERE = Path(__file__).parent
FOLDER = ROOT / ".run" / "compat"
PROGRAM = HERE / "in_environment.py"
PLACES = {"oldest": ["-c", str(HERE / "oldest.txt")], "newest": ["--upgrade"]}
RUNS = ["ipykernel", "nbclient"]  # what opens notebooks in an environment; nothing of ours imports them
MISTAKES = 30
PARTS = ("checks", "notebooks")


def answers() -> dict[str, dict[str, list[dict[str, str]]]]:
    """Lab -> its cells that define the answers, and what is asked: each check, some with a planted mistake, too."""
    found = {lab.key: {"cells": cells(lab), "asked": list[dict[str, str]]()} for lab in all_labs()}
    exercises = [(lab, exercise) for lab in all_labs() for exercise in lab.exercises if not exercise.trained]
    planted = set(random.Random(0).sample(range(len(exercises)), min(MISTAKES, len(exercises))))
    for place, (lab, exercise) in enumerate(exercises):
        right = {"exercise": exercise.id, "code": "", "idea": "", "check": _check(lab, exercise.id)}
        asked = found[lab.key]["asked"]
        asked.append(right)
        if place in planted:
            idea = random.Random(exercise.id).choice(exercise.misconceptions)
            asked.append(right | {"code": idea.code, "idea": idea.idea})
    return found


def _check(lab: Lab, exercise: str) -> str:
    (cell,) = (c for c in lab.cells if c.role in EXAMS and c.exercise == exercise)
    return cell.source


def cells(lab: Lab) -> list[dict[str, str]]:
    """The cells that define something, in order."""
    solved = {exercise.id for exercise in lab.exercises}
    return [
        {"exercise": cell.grade_id if cell.grade_id in solved else "", "code": without_marks(cell.source)}
        for cell in lab.cells
        if cell.kind == "code" and cell.role in ("setup", "solution")
    ]


def environment(name: str, wheel: Path) -> Path:
    """A fresh environment with the wheel; its Python."""
    root = FOLDER / name
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", root], check=True)
    python = root / "bin" / "python"
    print(f"{name}: installing {wheel.name} from nothing ...", flush=True)
    install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PLACES[name]]
    subprocess.run([*install, f"{wheel}[libraries]", *RUNS], check=True)
    return python


def main() -> int:
    """Make the environments, run everything in each, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", help="some of: oldest, newest; none: both")
    parser.add_argument("--only", choices=PARTS, help="the checks only, or the notebooks only")
    parser.add_argument("--write-answers", action="store_true", help="write answers.json for another machine, and stop")
    args = parser.parse_args()
    if unknown := [place for place in args.places if place not in PLACES]:
        parser.error(f"expected some of {', '.join(PLACES)}, found {', '.join(unknown)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "answers.json").write_text(json.dumps(answers()), encoding="utf-8")
    if args.write_answers:
        return 0
    wheels = sorted((ROOT / "dist").glob("vitedu-*.whl"))
    if len(wheels) != 1:
        print(f"Expected one wheel vitedu-*.whl in dist/, found {len(wheels)}; run `make wheels`.", file=sys.stderr)
        return 1
    failed = 0
    for name in args.places or PLACES:
        python = environment(name, wheels[0])
        for part in (args.only,) if args.only else PARTS:
            given = FOLDER / "answers.json" if part == "checks" else _notebooks(name)
            started = time.monotonic()
            done = subprocess.run([python, "-I", PROGRAM, part, given], cwd=FOLDER)
            print(f"{name}: {part} {'failed' if done.returncode else 'hold'}, {time.monotonic() - started:.0f} s")
            failed += done.returncode != 0
    return 1 if failed else 0


def _notebooks(name: str) -> Path:
    """Copies of all notebooks, to be run."""
    folder = FOLDER / f"{name}-notebooks"
    shutil.rmtree(folder, ignore_errors=True)
    for lab in all_labs():
        for kind in ("solutions", "notebooks"):
            source = ROOT / kind / lab.assignment / f"{lab.notebook}.ipynb"
            target = folder / kind / lab.assignment / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


if __name__ == "__main__":
    sys.exit(main())
