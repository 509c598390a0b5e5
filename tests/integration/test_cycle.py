"""The whole cycle with real nbgrader on the real Lab 1: release, submissions, grading, feedback, export."""

import copy
import csv
import json
import os
import shutil
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell

import autograder.course
import autograder.execution.grade_one
import autograder.nbgrader_integration.grading_setup
import autograder.nbgrader_integration.preprocessors
from autograder.authoring.sample_class import model_codes, wrong
from autograder.cli import main
from autograder.course import course_api
from autograder.errors import UserError
from autograder.execution.examiner import Examination
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import KernelStartError, StudentKernel
from autograder.grading.grade_class import grade
from autograder.judging.verdict import Verdict
from autograder.labs.lab import ROOT
from autograder.storage import course_folder, verdict_files
from autograder.submission.pieces import is_unchanged
from support.course_fixture import EXERCISES, LAB, MAX, WRITTEN, Course, solved
from support.inline import Here
from vitedu.checks.fingerprint_file import unpack_expected

MODEL = model_codes(LAB)
SECONDS = {"probe_seconds": 4.0, "replays": 2}

# Answers the first case (each is asked twice), then ends or hangs.
ONCE = "calls = 0\ndef after_two(act):\n    global calls\n    calls += 1\n    if calls > 2:\n        act()\n"


def noisy() -> dict[str, str]:
    """Right code that warns and draws a progress bar, when its cell runs and when it is called."""
    noise = (
        "import warnings\nfrom tqdm.auto import tqdm\nwarnings.warn('what a noise')\nfor _ in tqdm(range(3)): pass\n"
    )
    call = "    warnings.warn('again'); list(tqdm(range(3))); print('printed')\n    scores = q @"
    codes = {name: noise + code for name, code in MODEL.items()}
    return codes | {"attention_weights": codes["attention_weights"].replace("    scores = q @", call)}


def killers() -> dict[str, str]:
    """Two exercises that end the process when they are asked: one at once, one after its first answer."""
    head = MODEL["AttentionHead"].replace(
        "        return scaled", "        import os; os._exit(1)\n        return scaled"
    )
    last = MODEL["multi_head_attention_einsum"].replace(
        "    q = torch", "    import os, time\n    after_two(lambda: (time.sleep(0.5), os._exit(0)))\n    q = torch"
    )
    assert head != MODEL["AttentionHead"] and last != MODEL["multi_head_attention_einsum"]
    return MODEL | {"AttentionHead": head, "multi_head_attention_einsum": ONCE + last}


def breaker() -> dict[str, str]:
    """The first solution cell ends the process when it is run, the fourth raises, the last hangs after one answer."""
    hangs = MODEL["multi_head_attention_einsum"].replace("    q = torch", "    after_two(hang)\n    q = torch")
    stubborn = (
        "def hang():\n    while True:\n        try:\n            import time; time.sleep(60)\n"
        "        except BaseException:\n            pass\n"
    )
    return MODEL | {
        "attention_weights": MODEL["attention_weights"] + "\nimport os\nos._exit(1)",
        "MultiHeadAttention": MODEL["MultiHeadAttention"].replace("self.to_out(", "self.to_output("),
        "multi_head_attention_einsum": ONCE + stubborn + hangs,
    }


def muddle(nb: nbformat.NotebookNode) -> None:
    """Copy a graded and a solution cell, delete a graded and a prose cell, retag a third, change a locked one."""
    at = {cell.metadata.nbgrader.grade_id: cell for cell in nb.cells}
    stub, copied = (copy.deepcopy(at[id]) for id in ("attention_weights", "exam-attention_weights"))
    stub.id, copied.id = "stub", "copied"
    stub.source = "def attention_weights(q, k):\n    raise NotImplementedError('TODO')"
    nb.cells.insert(nb.cells.index(at["exam-attention_weights"]), copied)
    nb.cells.append(new_code_cell("globals().clear()"))  # at the very end, where nothing is asked any more
    nb.cells.append(stub)  # a later copy that is still TODO undoes nothing
    nb.cells.remove(at["exam-scaled_dot_product_attention"])
    nb.cells.remove(next(c for c in nb.cells if c.metadata.nbgrader.locked and c.cell_type == "markdown"))
    at["exam-AttentionHead"].metadata = nbformat.NotebookNode(
        {
            "nbgrader": {"grade": True, "grade_id": "mine", "points": 100, "locked": False, "solution": False},
            "tags": ["skip"],
        }
    )
    at["exam-MultiHeadAttention"].metadata.nbgrader.points = 1000
    at["exam-multi_head_attention_einsum"].source = "print('10 of 10 points')"
    at["multi_head_attention_einsum"].metadata["tags"] = ["skip-execution", "raises-exception"]


@pytest.fixture(scope="module")
def released(released_course, tmp_path_factory) -> Course:
    return released_course.copy(tmp_path_factory.mktemp("cycle") / "released")


@pytest.fixture(scope="module", autouse=True)
def short_limits():
    """Nobody in this class needs long; a hanging probe shall not hold up the tests."""
    configure = autograder.course.configure

    def configure_short(c, root=None):
        configure(c, root)
        c.Examine.update(SECONDS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autograder.course, "configure", configure_short)
        patch.setattr(
            autograder.nbgrader_integration.grading_setup, "code_hash", lambda *_: "the same all the time"
        )  # also while somebody edits
        yield


@pytest.fixture(scope="module")
def graded(released, tmp_path_factory) -> Course:
    """A class that was graded once; tests that change something work on a copy."""
    course = released.copy(tmp_path_factory.mktemp("class") / "course")
    beside = course.hand_in("solved", solved()).parent
    (beside / "torch.py").write_text("raise RuntimeError('not the real torch')")
    (beside / "nbgrader_config.py").write_text("raise RuntimeError('not our configuration')")
    (beside / "data").mkdir()
    (beside / "data" / "big.bin").write_bytes(b"0" * 1000)
    (beside / "link").symlink_to("/etc/passwd")
    (beside / "timestamp.txt").write_text("the day before yesterday, \x00 99:99")
    beside = course.hand_in("blank", {}).parent
    (beside / "timestamp.txt").write_text("2031-02-03 04:05:06 UTC\n")
    course.hand_in("noisy", noisy())
    course.hand_in("muddled", MODEL, muddle)
    course.hand_in("killers", killers())
    course.hand_in("breaker", breaker())
    course.hand_in("carried", wrong(LAB, scaled_dot_product_attention="no-scale"))
    torn = course.hand_in("torn", solved())
    torn.write_text(torn.read_text()[:20_000])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", open(os.devnull, "w"))
        assert grade(course.root, LAB.assignment, workers=Here()) == 1  # the torn file
    return course


def test_every_solution_passes(graded):
    for student in ("solved", "noisy", "muddled"):
        assert graded.points(student) == MAX, student
        assert all(not verdict["diagnoses"] for verdict in graded.verdicts(student).values()), student


def test_every_unsolved_exercise_scores_zero(graded):
    assert graded.points("blank") == dict.fromkeys(EXERCISES, 0.0)
    assert {verdict["status"] for verdict in graded.verdicts("blank").values()} == {"not answered"}


def test_warnings_and_a_progress_bar_are_shown_and_cost_nothing(graded):
    assert "what a noise" in graded.feedback("noisy")


def test_a_muddled_notebook_is_mended_and_told(graded):
    told = " ".join(graded.record("muddled")["mended"])
    assert "The locked cell exam-attention_weights was there 2 times" in told
    assert "The cell attention_weights was there 2 times; all that was changed in them counts, in their order." in told
    assert "The cell exam-scaled_dot_product_attention was missing; it was put back" in told
    assert "The cell exam-AttentionHead had lost its id; recognised by what stands there." in told
    assert "The locked cell exam-multi_head_attention_einsum had been changed" in told
    assert "was there 2 times" in graded.feedback("muddled")
    with graded.gradebook() as gradebook:
        submission = gradebook.find_submission(LAB.assignment, "muddled")
        assert submission.max_score == sum(MAX.values()) + len(WRITTEN)


def test_two_killers_cost_only_what_they_killed(graded):
    verdicts, points = graded.verdicts("killers"), graded.points("killers")
    assert [e for e, v in verdicts.items() if v["status"] == "kernel died"] == [
        "AttentionHead",
        "multi_head_attention_einsum",
    ]
    assert points["AttentionHead"] == 0.0
    assert 0 < points["multi_head_attention_einsum"] < MAX["multi_head_attention_einsum"], (
        "what was answered before stands"
    )
    for exercise in ("attention_weights", "scaled_dot_product_attention", "MultiHeadAttention"):
        assert points[exercise] == MAX[exercise]
    assert "ended" in graded.feedback("killers").lower() or "died" in graded.feedback("killers").lower()


def test_death_error_and_hang_cost_only_what_they_broke(graded):
    verdicts, points = graded.verdicts("breaker"), graded.points("breaker")
    status = {exercise: verdict["status"] for exercise, verdict in verdicts.items()}
    broken = {"attention_weights": "kernel died", "MultiHeadAttention": "error"}
    broken["multi_head_attention_einsum"] = "timed out"
    assert status == dict.fromkeys(EXERCISES, "graded") | broken
    for exercise in EXERCISES:
        assert points[exercise] == MAX[exercise] or exercise in broken
    assert points["attention_weights"] == 0.0
    assert points["MultiHeadAttention"] < MAX["MultiHeadAttention"]
    assert 0 < points["multi_head_attention_einsum"] < MAX["multi_head_attention_einsum"]
    assert "to_output" in str(verdicts["MultiHeadAttention"])


def test_a_mistake_loses_points_once(graded):
    points, verdicts = graded.points("carried"), graded.verdicts("carried")
    assert points["scaled_dot_product_attention"] < MAX["scaled_dot_product_attention"]
    (found,) = verdicts["scaled_dot_product_attention"]["diagnoses"]
    assert (found["misconception"], found["whole"], found["confirmed"]) == ("no-scale", True, True)
    for exercise in ("AttentionHead", "MultiHeadAttention"):
        assert points[exercise] == MAX[exercise] and verdicts[exercise]["diagnoses"] == []
        (said,) = [remark for remark in verdicts[exercise]["remarks"] if "Right as far as this exercise goes" in remark]
        assert "scaled_dot_product_attention is not right yet" in said and "AttentionHead" not in said


def test_what_cannot_be_read_is_told_and_does_not_stop_the_class(graded, tmp_path, monkeypatch):
    course = graded.copy(tmp_path / "course", "torn", "blank")
    course.hand_in("empty", {}).write_text("")
    link = course.hand_in("linked", {})
    link.unlink()
    link.symlink_to(graded.submission("solved"))
    folder = course.hand_in("folder", {})
    folder.unlink()
    folder.mkdir()
    canned(monkeypatch, {})
    assert grade(course.root, LAB.assignment, workers=Here()) == 1
    report = (course.root / "report-lab1_attention.html").read_text()
    for student, words in {"torn": "not JSON", "empty": "not JSON", "linked": "a link", "folder": "a folder"}.items():
        assert course.points(student) == dict.fromkeys(EXERCISES) and score(course, student)["score"] == ""
        (told,) = course.record(student)["mended"]
        assert told.startswith("Nothing could be graded") and words in told
        assert told in course.feedback(student) and told in report
        nb = nbformat.read(course.root / "autograded" / student / LAB.assignment / "attention.ipynb", as_version=4)
        assert all(is_unchanged(a.source, b.source) for a, b in zip(nb.cells, course.released.cells, strict=True))


def test_feedback_shows_the_diagnosis_and_no_hidden_test(graded):
    idea = LAB.exercise("scaled_dot_product_attention").misconception("no-scale").idea
    assert idea in graded.feedback("carried")
    pages = [graded.feedback(path.name) for path in (graded.root / "submitted").iterdir()]
    assert len(pages) == 8
    for page in pages:
        for secret in ("examine(", "HIDDEN TESTS", "MARK SCHEME", "BEGIN SOLUTION"):
            assert secret not in page


def test_files_beside_the_notebook_have_no_effect(graded):
    assert sorted(p.name for p in (graded.root / "autograded/solved" / LAB.assignment).iterdir()) == [
        f"{LAB.notebook}.ipynb"
    ]
    with graded.gradebook() as gradebook:
        assert gradebook.find_submission(LAB.assignment, "solved").timestamp is None
        assert str(gradebook.find_submission(LAB.assignment, "blank").timestamp) == "2031-02-03 04:05:06"


def test_written_answers_wait_and_blank_ones_do_not(graded):
    for cell in WRITTEN:
        assert graded.grade("solved", cell)[:3] == (None, None, True)
        assert graded.grade("blank", cell)[:3] == (0.0, None, False)
    with graded.gradebook() as gradebook:
        assert not gradebook.find_submission(LAB.assignment, "blank").needs_manual_grade


def test_export_and_report_show_the_class(graded):
    rows = {path.name: score(graded, path.name) for path in (graded.root / "submitted").iterdir()}
    assert float(rows["noisy"]["score"]) == sum(MAX.values()) and rows["noisy"]["complete"] == "yes"
    assert rows["solved"]["waiting"] == "2" and rows["solved"]["complete"] == "no"
    assert float(rows["blank"]["score"]) == 0.0
    report = (graded.root / "report-lab1_attention.html").read_text()
    assert all(student in report for student in rows)


def canned(monkeypatch, verdicts: dict[str, dict]) -> list[str]:
    """Examine no more, but give these verdicts; the list says who would have been examined."""
    examined = []

    def examine(task, *rest):
        examined.append(task.student)
        return Examination([Verdict.from_json(verdict) for verdict in verdicts[task.student].values()])

    monkeypatch.setattr(autograder.execution.grade_one, "examine", examine)
    return examined


def score(course: Course, student: str) -> dict[str, str]:
    """A student's row of scores.csv."""
    with (course.root / "scores.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["student_id"] == student)


def test_a_second_run_gives_the_same_scores_without_examining(graded, tmp_path, monkeypatch, capsys):
    course = graded.copy(tmp_path / "course")
    scores = (course.root / "scores.csv").read_bytes()
    (course.root / "scores.csv").unlink()
    examined = canned(monkeypatch, {})
    assert grade(course.root, "lab1", workers=Here()) == 1
    assert (examined, (course.root / "scores.csv").read_bytes()) == ([], scores)
    assert "0 graded, 7 were graded already, 1 failed" in capsys.readouterr().out


def test_a_grading_writes_its_record_once_with_its_key(graded, tmp_path, monkeypatch):
    course = graded.copy(tmp_path / "course", "blank")
    canned(monkeypatch, {"blank": graded.verdicts("blank")})
    written, write = [], verdict_files.write_atomically
    monkeypatch.setattr(verdict_files, "write_atomically", lambda *args: written.append(args[1]) or write(*args))
    assert grade(course.root, LAB.assignment, regrade=True) == 0
    (content,) = written
    assert json.loads(content) == course.record("blank") and course.record("blank")["stamp"]


def test_what_nbgraders_own_command_has_graded_is_only_recorded_again(graded, tmp_path, monkeypatch, capsys):
    course = graded.copy(tmp_path / "course", "blank")
    course.hand_in("blank", {"playground": "1 + 1"})
    examined = canned(monkeypatch, {"blank": graded.verdicts("blank")})
    assert course_api(course.root).autograde(LAB.assignment, "blank", force=True)["success"]
    assert examined == ["blank"] and course.record("blank")["stamp"] != graded.record("blank")["stamp"]
    assert grade(course.root, LAB.assignment) == 0
    assert "0 graded, 1 recorded anew, 0 were graded already, 0 failed" in capsys.readouterr().out
    assert examined == ["blank"] and course.feedback("blank") != graded.feedback("blank")


def test_an_interrupted_run_is_finished_by_the_same_command(graded, tmp_path, monkeypatch):
    course = graded.copy(tmp_path / "course", "blank", "noisy")
    before = course.points("blank")
    examined = canned(monkeypatch, {student: graded.verdicts(student) for student in ("blank", "noisy")})
    mine, noisy = (f"{student}/{LAB.assignment}/attention" for student in ("blank", "noisy"))
    shutil.rmtree((course.root / "feedback" / mine).parent)
    assert grade(course.root, LAB.assignment, workers=Here()) == 0 and examined == [] and course.feedback("blank")
    # Killed between two writes: half a notebook and no record of it, half a record of the other.
    (course.root / "verdicts" / f"{mine}.json").unlink()
    os.truncate(course.root / "autograded" / f"{mine}.ipynb", 1000)
    os.truncate(course.root / "verdicts" / f"{noisy}.json", 100)
    assert grade(course.root, LAB.assignment, workers=Here()) == 0 and examined == ["blank", "noisy"]
    assert course.points("blank") == before and course.feedback("blank")
    nbformat.read(course.root / "autograded" / f"{mine}.ipynb", as_version=4)
    assert grade(course.root, LAB.assignment, workers=Here()) == 0 and len(examined) == 2


def test_ctrl_c_keeps_what_is_finished(graded, tmp_path, monkeypatch, capsys):
    course = graded.copy(tmp_path / "course", "blank", "noisy", "muddled")

    def interrupted(nb, lab, reference, student, *rest):
        raise KeyboardInterrupt

    command = ["grade", LAB.assignment, "--course", str(course.root)]

    def grade_here(course, lab, students, regrade, sandbox, workers, *rest):
        return grade(course, lab, students, regrade, sandbox, Here(), *rest)

    monkeypatch.setattr(autograder.grading.grade_class, "grade", grade_here)
    shutil.rmtree(course.root / "autograded" / "muddled")
    with monkeypatch.context() as patch:
        patch.setattr(autograder.execution.grade_one, "examine", interrupted)
        assert main(command) == 130
    assert "same command goes on" in capsys.readouterr().err
    examined = canned(monkeypatch, {"muddled": graded.verdicts("muddled")})
    assert main(command) == 0 and examined == ["muddled"]


def test_reference_answers_stay_for_the_next_command_where_no_submission_comes_to_them(graded, tmp_path, monkeypatch):
    left = list(course_folder.Course(graded.root).references.glob("lab1-*/*"))
    assert left and all(unpack_expected(path.read_bytes()) for path in left)
    course = graded.copy(tmp_path / "course", "blank")
    mine, theirs = (course_folder.Course(each.root).references for each in (course, graded))
    shutil.copytree(theirs, mine, dirs_exist_ok=True)
    canned(monkeypatch, {"blank": graded.verdicts("blank")})
    assert grade(course.root, LAB.assignment, workers=Here(), regrade=True, sandbox=False) == 0
    assert not mine.exists()


def test_one_failure_does_not_stop_the_class(graded, tmp_path, monkeypatch, capsys):
    course = graded.copy(tmp_path / "course", "blank", "noisy", "muddled")
    verdicts = {student: graded.verdicts(student) for student in ("blank", "muddled")}
    canned(monkeypatch, verdicts)  # a KeyError for noisy
    assert grade(course.root, LAB.assignment, workers=Here(), regrade=True) == 1
    said = capsys.readouterr()
    assert "2 graded, 0 were graded already, 1 failed." in said.out
    assert "Not graded: noisy: KeyError: 'noisy'" in said.err and "Traceback" not in said.err
    assert (course.root / "autograded" / "noisy" / LAB.assignment).exists(), "the old result stays until there is a new"
    examined = canned(monkeypatch, {"noisy": graded.verdicts("noisy")})
    assert grade(course.root, LAB.assignment, workers=Here()) == 0 and examined == ["noisy"]


def test_a_gradebook_of_another_release_is_told(graded, tmp_path, capsys):
    course = graded.copy(tmp_path / "course", "blank")
    nb = course.released
    nb.cells = [cell for cell in nb.cells if cell.metadata.nbgrader.grade_id != "exam-AttentionHead"]
    nbformat.write(nb, course.root / "release" / LAB.assignment / f"{LAB.notebook}.ipynb")
    with pytest.raises(UserError) as told:
        grade(course.root, LAB.assignment, workers=Here(), regrade=True)
    said = "the release of lab1_attention and the gradebook name different graded cells (exam-AttentionHead)"
    assert said in str(told.value) and "nbgrader generate_assignment lab1_attention --force" in str(told.value)


def test_marks_by_hand_stay_while_the_answer_is_the_same(graded, tmp_path, monkeypatch):
    course, (first, second) = graded.copy(tmp_path / "course", "solved"), WRITTEN
    canned(monkeypatch, {"solved": graded.verdicts("solved")})
    course.mark("solved", first, 0.5, "nearly")
    course.mark("solved", second, 1.0, "yes")
    course.mark("solved", "exam-AttentionHead", 1.25, "by my own rule")
    course.mark("solved", "exam-MultiHeadAttention", 3.0)
    assert grade(course.root, LAB.assignment, workers=Here(), regrade=True) == 0
    assert course.grade("solved", first) == (None, 0.5, False, "nearly")
    assert course.grade("solved", second) == (None, 1.0, False, "yes")
    assert course.grade("solved", "exam-AttentionHead") == (MAX["AttentionHead"], 1.25, False, "by my own rule")
    changed = MAX | {"AttentionHead": 1.25, "MultiHeadAttention": 3.0}
    assert score(course, "solved")["score"] == str(sum(changed.values()) + 1.5)

    codes = solved() | {first: "Another answer.", "AttentionHead": "# another answer\n" + MODEL["AttentionHead"]}
    course.hand_in("solved", codes)
    for options in ({}, {"regrade": True}):  # nobody has looked in between: the changed ones still wait
        assert grade(course.root, LAB.assignment, workers=Here(), **options) == 0
        assert course.grade("solved", first) == (None, 0.5, True, "nearly")
        assert course.grade("solved", second) == (None, 1.0, False, "yes")
        assert course.grade("solved", "exam-AttentionHead") == (MAX["AttentionHead"], 1.25, True, "by my own rule")
        assert course.grade("solved", "exam-MultiHeadAttention")[:3] == (MAX["MultiHeadAttention"], 3.0, False)


def test_our_own_failure_is_no_zero_and_is_made_good(graded, tmp_path, monkeypatch, capsys):
    course = graded.copy(tmp_path / "course", "noisy")
    course.hand_in("noisy", noisy() | {"playground": "1 + 1"})
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(program))
        assert grade(course.root, LAB.assignment, workers=Here()) == 1
    said = capsys.readouterr()
    assert "noisy: the kernel did not start" in said.err and "1 failed" in said.out
    assert course.points("noisy") == dict.fromkeys(EXERCISES)
    assert all(course.grade("noisy", f"exam-{exercise}")[2] for exercise in EXERCISES)
    row = score(course, "noisy")
    assert row["score"] == "" and "the kernel did not start" in row["note"] and row["complete"] == "no"
    for page in (course.feedback("noisy"), (course.root / "report-lab1_attention.html").read_text()):
        assert "the kernel did not start" in page
    assert grade(course.root, LAB.assignment, workers=Here()) == 0
    assert course.points("noisy") == MAX
    assert not any(course.grade("noisy", f"exam-{exercise}")[2] for exercise in EXERCISES)


def test_a_replay_that_does_not_start_is_our_failure_too(graded, tmp_path, monkeypatch):
    course = graded.copy(tmp_path / "course", "breaker")
    started = []

    def start(kernel, template):
        started.append(kernel)
        if len(started) > 1:
            raise KernelStartError("no room")
        return begin(kernel, template)

    begin = StudentKernel._start
    with monkeypatch.context() as patch:
        patch.setattr(StudentKernel, "_start", start)
        assert grade(course.root, LAB.assignment, workers=Here(), regrade=True) == 1
    assert {verdict["status"] for verdict in course.verdicts("breaker").values()} == {"not graded"}
    assert course.points("breaker") == dict.fromkeys(EXERCISES)


def test_nbgraders_own_command_takes_the_same_way(graded, released, tmp_path):
    course = released.copy(tmp_path / "course")
    shutil.copy(ROOT / "autograder" / "nbgrader_config.py", course.root)
    shutil.copytree(graded.submission("carried").parent, course.submission("carried").parent)
    done = course.nbgrader("autograde", LAB.assignment)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert course.points("carried") == graded.points("carried")
    mine, theirs = course.verdicts("carried"), graded.verdicts("carried")
    assert {e: v["diagnoses"] for e, v in mine.items()} == {e: v["diagnoses"] for e, v in theirs.items()}


def test_a_release_is_refused_when_a_mistake_would_escape(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        autograder.nbgrader_integration.preprocessors, "escapes", lambda *_: ["the misconception x of y on variant 3"]
    )
    assert main(["demo", "--folder", str(tmp_path)]) == 2
    assert not (tmp_path / "release" / LAB.assignment).exists()
    (said,) = capsys.readouterr().err.strip().split("\n")
    assert "the misconception x of y on variant 3 would not lose points" in said and "draw another secret" in said
    assert "Traceback" not in said and "Exception" not in said


def test_nbgrader_without_our_configuration_gives_no_points(released, tmp_path):
    def only_code(nb):  # stock nbgrader runs the cells that display, too; without them it is quicker
        nb.cells = [c for c in nb.cells if c.metadata.vitedu.role in ("setup", "solution", "exam")]

    course = released.copy(tmp_path / "course")
    course.hand_in("solved", MODEL, only_code)
    done = course.nbgrader("autograde", LAB.assignment, "--CourseDirectory.source_directory=nothing")
    assert done.returncode == 0, done.stderr
    assert course.points("solved") == dict.fromkeys(EXERCISES, 0.0)
    nb = nbformat.read(course.root / "autograded/solved" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    exams = [cell for cell in nb.cells if cell.metadata.nbgrader.get("grade") and cell.cell_type == "code"]
    assert len(exams) == len(EXERCISES)
    for cell in exams:
        assert any("load autograder/nbgrader_config.py" in o.get("evalue", "") for o in cell.outputs)


def test_nbgraders_own_command_ends_what_no_limit_ends(graded, tmp_path, monkeypatch):
    course = graded.copy(tmp_path / "course", "solved")
    monkeypatch.setattr(Limits, "whole", lambda *_: 0.5)
    monkeypatch.setattr(autograder.nbgrader_integration.preprocessors, "grade_one", lambda *_: threading.Event().wait())
    result = course_api(course.root).autograde(LAB.assignment, "solved", force=True)
    assert not result["success"] and "its grading took more than 0.5 s" in result["log"]
