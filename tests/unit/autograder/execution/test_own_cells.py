"""Cells of the student's own earn nothing, and cost nothing: whatever they end, and however long they take."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from autograder.authoring.sample_class import Student, hand_in, model_codes
from autograder.execution import notebook_cells
from autograder.execution.examiner import Examination, examine
from autograder.execution.limits import Limits
from autograder.execution.own_cells import acts, definitions, name_of, needed
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.student_kernel import StudentKernel
from autograder.execution.submission_task import Task
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import DIED, TIMED_OUT
from autograder.sandbox import bubblewrap
from autograder.sandbox.forked_kernel import ForkServer
from autograder.submission.parse_notebook import parse_submission
from autograder.submission.rebuild import rebuild
from support.course_fixture import ATTENTION, EINSUM, EXERCISES, HEAD, HEADS, LAB, WEIGHTS
from support.skipping import missing

MODEL = model_codes(LAB)
SECRET = bytes(range(32))
RELEASED = LAB.source.parents[2] / "notebooks" / LAB.assignment / f"{LAB.notebook}.ipynb"
SHUT_UP = """
import os, socket, threading, time
def shut_up(n):
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            s = socket.socket(fileno=os.dup(fd)); s.getpeername()
            if str(s.getsockname()).endswith(f"-{n}"): s.send(b"{" * 64)
        except OSError:
            pass
"""
LATER = "import threading, os, signal\nthreading.Timer({}, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()"
CHILD = (
    "import os, subprocess\n"
    "subprocess.Popen(['sh', '-c', f'sleep {}; kill -9 {{os.getpid()}}'], start_new_session=True)"
)


@pytest.fixture(scope="module")
def reference() -> Reference:
    if why := bubblewrap.unavailable():
        missing(why)
    return Reference(LAB)


@pytest.fixture(scope="module")
def template():
    with ForkServer(modules_of(LAB.source), PACKAGES) as template:
        yield template.address


@pytest.fixture(scope="module")
def sat(reference, template):
    """Examine the model answers, or others, with own cells before the answer cells that are named."""

    def sit(own: dict[str, list[str]], limits: Limits | None = None, **codes: str) -> Examination:
        release = nbformat.read(RELEASED, as_version=4)
        nb = hand_in(release, Student("s", "", {id: code for id, code in (MODEL | codes).items() if code}))
        for answer, sources in own.items():
            place = next(i for i, c in enumerate(nb.cells) if c.metadata.get("nbgrader", {}).get("grade_id") == answer)
            nb.cells[place:place] = [new_code_cell(source) for source in sources]
        points = {c.metadata.nbgrader.grade_id: 1.0 for c in release.cells if "points" in c.metadata.nbgrader}
        nb, _ = rebuild(parse_submission(nbformat.writes(nb).encode()), release, points)
        limits = limits or Limits(cell=20, probe=15)
        return examine(Task(LAB.assignment, "s", secret=SECRET, limits=limits, template=template), nb, reference)

    return sit


def full(done: Examination) -> dict[str, str]:
    """The exercises without full points, and their status."""
    return {v.exercise: f"{v.status}: {v.reason}" for v in done.verdicts if v.points != v.max_points}


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("exit()", "asked the kernel to end"),
        ("get_ipython().kernel.do_shutdown(True)", "asked the kernel to end"),
        ("import os\nos._exit(0)", "ended the kernel (kernel died)"),
        ("get_ipython().kernel.io_loop.stop()", "ended the kernel (kernel died"),
        (SHUT_UP + "shut_up(2)\nshut_up(1)", "it closed or damaged its own connection"),
        (LATER.format(0.15), "ended the kernel behind itself"),
        (CHILD.format(0.15), "ended the kernel behind itself"),
        (SHUT_UP + "threading.Timer(0.15, lambda: (shut_up(2), shut_up(1))).start()", "ended the kernel behind itself"),
    ],
    ids=["exit", "do-shutdown", "os-exit", "loop-stopped", "shut-up", "timer", "child", "shut-up-later"],
)
def test_an_own_cell_that_ends_the_kernel_costs_nothing_and_is_named(sat, code, told):
    done = sat({WEIGHTS: [code]})
    assert full(done) == {}
    (sentence,) = done.notes
    assert "own cell" in sentence and told in sentence


def test_any_number_of_them_costs_nothing(sat):
    kills = ["import os; os._exit(1)", "exit()", "import os; os.abort()"]
    done = sat(dict.fromkeys(EXERCISES, kills))
    assert full(done) == {} and len(done.notes) == len(kills) * len(EXERCISES)


def test_answers_that_kill_cost_their_own_exercise(sat):
    kills = MODEL[ATTENTION] + "\nimport os; os._exit(1)"
    asked = MODEL[HEAD] + "\nAttentionHead.forward = lambda self, x: __import__('os')._exit(1)"
    codes = {ATTENTION: kills, HEAD: asked, EINSUM: MODEL[EINSUM] + "\nexit()"}
    done = sat({HEADS: ["import os; os._exit(1)"]}, **codes)
    # Others may use what the answer that kills defines.
    assert {id: said.split(":")[0] for id, said in full(done).items()} == {ATTENTION: DIED, HEAD: DIED}
    assert len(done.notes) == 1


HOOK = "import os\nget_ipython().events.register('pre_run_cell', lambda info: os._exit(1))"
COLLECTOR = "import gc, os\ngc.callbacks.append(lambda *a: os._exit(1))"
HANGS = "def hang(*a, **k):\n    while True: pass\ntorch.Tensor.softmax = torch.softmax = hang"
INTERRUPTS = (
    "import signal\ndef ring(*a): raise KeyboardInterrupt\n"
    "signal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)"
)


@pytest.mark.long
def test_traps_that_no_thread_shows_cost_nothing_and_are_named(sat):
    own = {
        WEIGHTS: ["print('harmless')", HOOK, "made = math.sqrt(4)"], ATTENTION: [COLLECTOR], HEAD: [INTERRUPTS],
        EINSUM: ["print(made)", HANGS, "print(made)"],
    }  # fmt: skip
    done = sat(own, Limits(cell=4, probe=4), **{ATTENTION: MODEL[ATTENTION] + "\nassert made == 2.0"})
    assert full(done) == {}
    traps = ("get_ipython", "gc", "signal", "hang")
    named = [next((trap for trap in traps if trap in said), said) for said in texts(done)]
    assert named == list(traps)


def texts(done: Examination) -> list[str]:
    """What is told, without "import os" in front of a cell's name."""
    return [said.replace("import os)", "get_ipython)") for said in done.notes]


def test_an_answer_that_dies_by_itself_costs_one_kernel_more_where_own_cells_are(sat, monkeypatch):
    made = []
    monkeypatch.setattr(notebook_cells, "StudentKernel", lambda *args: made.append(1) or StudentKernel(*args))
    asked = MODEL[HEAD] + "\nAttentionHead.forward = lambda self, x: __import__('os')._exit(1)"
    for own, kernels in (([], 2), (["print('harmless')"], 3), (["def helper():\n    return 1"], 2)):
        made.clear()
        done = sat({WEIGHTS: own}, **{HEAD: asked})
        assert {id: said.split(":")[0] for id, said in full(done).items()} == {HEAD: DIED}
        assert (len(made), done.notes) == (kernels, [])


@pytest.mark.long
def test_who_takes_the_kernel_away_from_later_cells_without_ending_it_is_named(sat, monkeypatch):
    monkeypatch.setattr("autograder.execution.student_kernel.SETTLE", 2.0)
    lock_held = "import threading, re\nthreading.Timer(0.15, lambda: re.match('(a+)+$', 'a' * 50 + 'b')).start()"
    done = sat({WEIGHTS: [lock_held]}, Limits(cell=4, probe=4))
    assert full(done) == {}
    (sentence,) = done.notes
    assert "own cell" in sentence and "ended the kernel behind itself" in sentence


def test_what_a_cell_that_kills_defines_is_there_though_others_have_left_threads(sat):
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
    helper = "def helper(x):\n    return x\nimport os; os._exit(1)"
    codes = {HEAD: MODEL[HEAD].replace("        return ", "        x = helper(x)\n        return ", 1)}
    done = sat({WEIGHTS: [thread], HEAD: [helper]}, **codes)
    assert full(done) == {} and len(done.notes) == 1


DIES = "\n{0}.forward = lambda self, *a: __import__('os')._exit(1)"


def test_an_answer_that_dies_is_to_blame_though_answers_stand_in_another_cell(sat):
    """The cells that are empty get their TODO back, which must not take the place of an answer when it is tried why."""
    whole = "\n\n".join(MODEL[id] + (DIES.format("AttentionHead") if id == HEAD else "") for id in EXERCISES)
    done = sat({}, **dict.fromkeys(EXERCISES[1:], ""), **{WEIGHTS: whole})
    assert {id: said.split(":")[0] for id, said in full(done).items()} == {HEAD: DIED}
    assert not any("left something" in said for said in done.notes)


def test_a_cell_that_makes_what_an_answer_needs_is_no_trap(sat):
    own = "%matplotlib inline\nimport math as m\nscale = torch.tensor(2.0)"
    dies = "\ndef die(*a):\n    m.sqrt(4), scale * 2\n    __import__('os')._exit(1)\nAttentionHead.forward = die"
    done = sat(
        {WEIGHTS: [own]}, **{HEAD: MODEL[HEAD] + dies, EINSUM: MODEL[EINSUM] + "\nassert m.sqrt(4) == scale == 2"}
    )
    assert {id: said.split(":")[0] for id, said in full(done).items()} == {HEAD: DIED} and done.notes == []


def test_an_answers_cell_that_ends_the_kernel_costs_the_same_whatever_stands_above(sat):
    ends = {ATTENTION: MODEL[ATTENTION] + "\nimport os; os._exit(0)"}
    alone, below = sat({}, **ends), sat({WEIGHTS: ["# Thread"]}, **ends)
    assert full(alone) == full(below) and full(alone)[ATTENTION].startswith(DIED)


def test_a_second_look_keeps_what_a_cell_did_to_the_kernel(sat):
    """What comes before is a TODO, so that a stand-in takes its place: the cell has ended its kernel all the same."""
    ends = {ATTENTION: MODEL[ATTENTION] + "\nimport os; os._exit(0)"}
    assert full(sat({}, **{WEIGHTS: ""}, **ends))[ATTENTION].startswith(DIED)


SLEEPS = "import time; started = time.monotonic()\nwhile time.monotonic() < started + {}: pass"


def test_own_cells_have_a_time_of_their_own(sat):
    limits = Limits(cell=20, probe=15, notebook=12, own=8)
    done = sat({WEIGHTS: [SLEEPS.format(5), SLEEPS.format(60)], HEAD: ["never = 1"]}, limits)
    assert full(done) == {}
    first, second = done.notes
    assert "was stopped" in first and "8 s together" in second and "monotonic" in second


def test_who_took_the_time_is_named(sat):
    slow = MODEL[WEIGHTS] + "\n" + SLEEPS.format(60)
    done = sat({}, Limits(cell=20, probe=15, notebook=6, again=0), **{WEIGHTS: slow})
    late = full(done)[HEADS]
    assert late.startswith(TIMED_OUT) and "the 6 s of the notebook are used up" in late and WEIGHTS in late


def test_a_slow_cell_is_not_run_again_for_nothing():
    some = [new_code_cell(source) for source in ("a, b = 1, 2", "print('only shown')", "%%time\nc = 1", "print(a)")]
    for cell in some:
        cell.metadata.vitedu = {"role": "own"}
    assert [needed(some, i) for i in range(4)] == [True, False, True, False]
    assert name_of(some, 1) == "the student's own cell 2 (print('only shown'))"


def test_of_a_cell_that_kills_its_definitions_stay():
    source = "import os\nK = 3\nn = os.getpid()\ndef f():\n    return K\n@wrap\nclass A:\n    x = 1\nos._exit(f())"
    assert definitions(source) == "import os\nK = 3\n\ndef f():\n    return K\n\n@wrap\nclass A:\n    x = 1"
    assert definitions("%matplotlib inline\nimport math\nshow()") == "import math"
    assert definitions("%%bash\nx = 1") == definitions("x =") == ""
    for takes_a_place in ("torch.softmax = f", "print = f", "def len(x): pass", "gc.callbacks += [f]", "a, b.c = f"):
        assert definitions(takes_a_place) == "" and acts(takes_a_place)
    assert not acts("'a text'\nimport torch\nK: int = 3\na, (b, c) = 1, (2, 3)") and acts("%load_ext mine")
