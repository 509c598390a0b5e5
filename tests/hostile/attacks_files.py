"""Attacks on what lies on the disk: read the answers, the secrets and the others' work, and write what is not theirs.

Each looks for the course folder as it would be found (`COURSE`), and where it cannot be found it is told
the path: not knowing where things are must not be what keeps them safe.
"""

from __future__ import annotations

from pathlib import Path

from hostile.attack import COURSE_SECRET, GRADEBOOK_MARK, NEIGHBOUR_MARK, Attack
from hostile.loot import EXERCISES, KNOWN, LAST, MODEL, loot, told, two_kernels, with_honest

REPOSITORY = Path(__file__).parents[2]
NOTHING_THERE = "FileNotFoundError|PermissionError|unable to open database"

IMPORTED = """
from autograder.labs.lab import find_lab
from autograder.authoring.sample_class import model_codes
exec(model_codes(find_lab("lab1_attention"))["{exercise}"])
"""

SOLUTIONS = f"""
import pathlib, re, sys, vitedu
places = [pathlib.Path(vitedu.__file__).parents[1], pathlib.Path({str(REPOSITORY)!r}), *map(pathlib.Path, sys.path)]
name = "solutions/lab1_attention/attention.py"  # in a clone; where the grader is installed, it lies inside
found = [path for place in places for path in (place / name, place / "autograder/_course" / name) if path.exists()]
text = [*found, pathlib.Path(name)][0].read_text()
exec(re.search('# %% grade_id="{{exercise}}" role="solution"\\n(.*?)\\n# %%', text, re.DOTALL)[1])
"""

# Every way from an installed package to its sources: beside ours, on the path, and where pip wrote it down.
EXAMS = f"""
import glob, importlib.metadata, pathlib, sys, vitedu
places = {{str(pathlib.Path(vitedu.__file__).parents[1]), {str(REPOSITORY)!r}, *sys.path}}
try:
    places.add(importlib.metadata.distribution("vitedu").read_text("direct_url.json").split('"')[3][len("file://"):])
except (importlib.metadata.PackageNotFoundError, AttributeError, IndexError):
    pass
found = [path for place in places for path in glob.glob(place + "/autograder/exams/lab1/**/*.py*", recursive=True)]
if not found:
    raise FileNotFoundError("no exams")
print("loot", "exams", sep="=", end=" ")
print(sum(pathlib.Path(path).read_bytes().count(b"Misconception") for path in found))
"""

COPIED = (
    KNOWN
    + """
import json
for path in sorted((course / "submitted").iterdir()):
    cells = json.loads((path / "lab1_attention/attention.ipynb").read_text())["cells"]
    found = {cell["metadata"].get("nbgrader", {}).get("grade_id"): "".join(cell["source"]) for cell in cells}
    if path.name.endswith("-neighbour"):  # not its own notebook
        print(found["attention_weights"])
        exec(found["attention_weights"])
        break
"""
)

SECRET = KNOWN + 'print((course / "course_secret").read_text())'

SCORES = (
    KNOWN
    + """
import sqlite3
base = sqlite3.connect(f"file:{course}/gradebook.db?mode=ro", uri=True)
print(base.execute("SELECT manual_comment FROM comment WHERE manual_comment NOT NULL").fetchall())
print(base.execute("SELECT auto_score, manual_score FROM grade").fetchall())
"""
)

SEARCH = """
import os, time
until, found = time.monotonic() + 4, []
wanted = {"course_secret", "gradebook.db", "nbgrader_config.py", "feedback", "submitted", "autograded", "solutions"}
roots = {"/", "/tmp", "/home", "/root", "/var", "/mnt", "/media", "/srv", "/oldroot", "/newroot", "/run", "/dev/shm"}
for pid in filter(str.isdigit, os.listdir("/proc")):
    for link in ("root", "cwd"):
        try:
            roots.add(os.readlink(f"/proc/{pid}/{link}"))
            roots.add(f"/proc/{pid}/{link}")
        except OSError:
            pass
for root in sorted(roots, key=len, reverse=True):
    for folder, folders, files in os.walk(root):
        found += [os.path.join(folder, name) for name in wanted & {*folders, *files}]
        folders[:] = [name for name in folders if name not in ("proc", "sys", "site-packages", "usr")]
        if time.monotonic() > until or len(found) > 20:
            break
print(len(found), "things found")
if found:
    print("loot", "search", sep="=", end=" ")
    print(found)
"""

REWRITTEN = (
    KNOWN
    + """
import sqlite3
base = sqlite3.connect(f"file:{course}/gradebook.db?mode=rw", uri=True)
base.execute("UPDATE grade SET auto_score = 99, manual_score = 99, needs_manual_grade = 0")
base.commit()
"""
)

REPLACED = (
    KNOWN
    + """
for folder in (course / "submitted").iterdir():
    if "neighbour" in folder.name:
        (folder / "lab1_attention/attention.ipynb").write_text("{}")
"""
)

FORGED = (
    KNOWN
    + """
import os
os.listdir(course)
for kind in ("verdicts", "feedback", "autograded", "trained"):
    (course / kind / "intruder").mkdir(parents=True)
    (course / kind / "intruder" / "left.txt").write_text("everybody passed")
"""
)

SECRET_REPLACED = (
    KNOWN
    + """
with open(course / "course_secret", "r+") as file:
    file.write("00" * 32 + "\\n")
"""
)

# The course's own configuration is a program; the instructor's next command would run it.
PLANTED = (
    KNOWN
    + """
with open(course / "nbgrader_config.py", "a") as file:
    file.write("\\nprint('at your service')\\n")
"""
)

# A file of the environment would be imported by the next kernel, and by the grader itself.
ENVIRONMENT = """
import os, pathlib, sysconfig, torch, vitedu
for place in (sysconfig.get_path("purelib"), *map(os.path.dirname, (torch.__file__, vitedu.__file__))):
    mark = pathlib.Path(place) / f"hostile-{os.getpid()}.txt"
    mark.write_text("a .pth file would do more")
    mark.unlink()
    print("loot", "environment", sep="=")
"""

# Written by the first kernel, which then dies; looked for by the second: what one leaves, another finds.
LEAVES_FILES = """
import os, pathlib
written = 0
for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock"):
    try:
        (pathlib.Path(place) / "hostile-note.txt").write_text("the answers to the first probe")
    except OSError:
        pass
os._exit(1)
"""
FINDS_FILES = """
import pathlib
for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock"):
    note = pathlib.Path(place) / "hostile-note.txt"
    if note.exists():
        note.unlink()
        print("loot", "note", sep="=")
"""

# Files by which Python, IPython or ipykernel would run code of the student's in the next kernel.
LEAVES_STARTUP = """
import os, pathlib, site
mark = "import builtins; builtins.from_the_last_kernel = 'loot' + '=startup'"
home = pathlib.Path.home()
for path in (
    "sitecustomize.py", "usercustomize.py", "torch.py", "vitedu.py", ".pythonrc.py",
    ".ipython/profile_default/startup/0.py", ".config/matplotlib/matplotlibrc",
    ".local/lib/python%d.%d/site-packages/hostile.pth" % os.sys.version_info[:2],
):
    for folder in (home, pathlib.Path.cwd(), pathlib.Path(os.environ.get("TMPDIR", "."))):
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(mark)
        except OSError:
            pass
os._exit(1)
"""
FINDS_STARTUP = "import builtins\nprint(getattr(builtins, 'from_the_last_kernel', 'nothing'))"


def _everywhere(code: str) -> dict[str, str]:
    """The same attack in each answer cell, for the answer that belongs there."""
    return {exercise: code.replace("{exercise}", exercise) for exercise in EXERCISES}


ATTACKS = [
    Attack(
        "model-answers-imported", "imports the model answers from the autograder and hands them in", "unwalled",
        lambda seen: seen.earned > 0, _everywhere(IMPORTED), says="No module named 'autograder'", fast=True,
    ),
    Attack(
        "solutions-read", "finds the solution notebook beside the installed library and runs its cells", "unwalled",
        lambda seen: seen.earned > 0, _everywhere(SOLUTIONS), says=NOTHING_THERE,
    ),
    Attack(
        "exams-read", "reads the hidden tests' source, as files or as compiled ones", "unwalled",
        loot("exams"), *with_honest(EXAMS), says=NOTHING_THERE,
    ),
    Attack(
        "neighbours-answer-copied", "takes an answer out of another submission", "unwalled",
        lambda seen: bool(seen.points["attention_weights"]) or NEIGHBOUR_MARK in seen.own,
        {"attention_weights": COPIED, LAST: MODEL[LAST]}, (LAST,), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "course-secret-read", "prints the secret that all variants are drawn from", "unwalled",
        lambda seen: COURSE_SECRET in seen.own, *with_honest(SECRET), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "gradebook-read", "prints the scores and the teacher's comments of the class", "unwalled",
        lambda seen: GRADEBOOK_MARK in seen.own, *with_honest(SCORES), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "search-everywhere", "looks for a course folder in every folder, and in those of every process", "unwalled",
        loot("search"), *with_honest(SEARCH), says="0 things found",
    ),
    Attack(
        "gradebook-rewritten", "gives everybody 99 points in every cell of the gradebook", "unwalled",
        lambda seen: seen.gradebook_changed or bool(seen.harmed) or (seen.total or 0) > 50,
        *with_honest(REWRITTEN), beside=told, says=NOTHING_THERE, fast=True,
    ),
    Attack(
        "neighbours-work-replaced", "empties the other submissions before they are graded", "unwalled",
        lambda seen: bool(seen.harmed) or any("neighbour" in name for name in seen.changed),
        *with_honest(REPLACED), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "records-forged", "writes verdicts, feedback and trained answers of its own making", "unwalled",
        lambda seen: any(seen.root.glob("*/intruder")),
        *with_honest(FORGED), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "course-secret-replaced", "writes a secret that it knows, so that later variants are known, too", "unwalled",
        lambda seen: (seen.root / "course_secret").read_text().strip() != COURSE_SECRET,
        *with_honest(SECRET_REPLACED), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "configuration-planted", "writes into nbgrader_config.py, which the instructor's next command runs", "unwalled",
        lambda seen: "at your service" in (seen.root / "nbgrader_config.py").read_text(),
        *with_honest(PLANTED), beside=told, says=NOTHING_THERE,
    ),
    Attack(
        "environment-written", "writes files into the Python environment that the grader uses, too", "unwalled",
        loot("environment"), *with_honest(ENVIRONMENT), says="Read-only file system|Permission denied",
    ),
    Attack(
        "note-in-files", "leaves a file in every temporary folder, where the next kernel looks for it", "unwalled",
        loot("note"), *two_kernels(LEAVES_FILES, FINDS_FILES), says="kernel died",
    ),
    Attack(
        "startup-files", "leaves start-up files, modules and .pth files for the next kernel to run", "harmless",
        loot("startup"), *two_kernels(LEAVES_STARTUP, FINDS_STARTUP), says="kernel died",
    ),
]  # fmt: skip
