"""The grading benchmark: its opponents examine what we examine, and its figures are what they say."""

from __future__ import annotations

import math
import sys
import warnings

import bench_class
import grading
import opponents
import pytest
import torch
import torch.nn.functional as F
import twin
import watched
from torch import Tensor, nn

from autograder.authoring.sample_class import model_codes
from autograder.labs.lab import find_lab
from autograder.labs.variants import Variant

LAB = find_lab("lab1_attention")


def examine(exercise: str, code: str) -> None:
    """Run the twin of an exam on a notebook whose other cells hold the model answers."""
    space = {"math": math, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wrong ideas make torch warn
        for source in (model_codes(LAB) | {exercise: code}).values():
            exec(source, space)
        exec(twin.as_function(exercise), space)
        space["examine_it"](space[exercise])


@pytest.mark.parametrize("exercise", LAB.exercises, ids=lambda exercise: exercise.id)
def test_the_twin_accepts_right_code_and_catches_every_misconception(exercise):
    for code in (model_codes(LAB)[exercise.id], *(alternative.code for alternative in exercise.alternatives)):
        examine(exercise.id, code)
    for misconception in exercise.misconceptions:
        with pytest.raises(Exception):  # noqa: B017 - wrong code fails in its own ways
            examine(exercise.id, misconception.code)
            pytest.fail(f"{misconception.id} gets full marks", pytrace=False)


@pytest.mark.parametrize("exercise", LAB.exercises, ids=lambda exercise: exercise.id)
def test_the_twin_has_as_many_cases_as_the_exam(exercise, monkeypatch):
    asked = []
    for name in ("agree", "refuse"):
        monkeypatch.setattr(twin, name, lambda *args, **kwargs: asked.append(args))
    space = {"math": math, "torch": torch, "F": F, "nn": nn, "Tensor": Tensor}
    exec("\n".join(model_codes(LAB).values()), space)
    twin.TESTS[exercise.id](space[exercise.id])
    assert len(asked) == len(exercise.cases(Variant(bytes(32), exercise.id, 0)))


def test_no_two_notebooks_have_an_answer_in_common():
    members = bench_class.class_of(40)
    assert len({member.student.id for member in members}) == 40
    answers = [code for member in members for code in member.student.codes.values()]
    assert len(answers) == len(set(answers))
    assert sum(not member.wrong for member in members) >= 10  # ada, blaise and milo, again and again
    assert any("attention_weights" in member.wrong for member in members)


def test_wrong_marks_are_noticed():
    members = bench_class.class_of(5)
    fair = {
        member.student.id: {e: 0.0 if e in member.wrong else points for e, points in bench_class.POINTS.items()}
        for member in members
    }
    assert bench_class.graded_wrongly(members, fair) == ""
    ada, emmy = members[0].student.id, members[4].student.id
    assert "is right in attention_weights" in bench_class.graded_wrongly(
        members, fair | {ada: fair[ada] | {"attention_weights": 1.0}}
    )
    assert "is wrong in attention_weights" in bench_class.graded_wrongly(members, fair | {emmy: bench_class.POINTS})
    assert "was not graded" in bench_class.graded_wrongly(members, fair | {ada: None})


def runs(*seconds: float, count: int = 10, cpu: float | None = None) -> list[dict]:
    return [{"round": i, "submissions": count, "seconds": s, "cpu": cpu} for i, s in enumerate(seconds)]


def test_the_figures():
    ours, stock, otter = runs(10, 12, 11, cpu=14.0), runs(80, 120, 110), runs(60, 60, 44)
    curve = [*runs(10, cpu=14.0), *runs(90, count=110, cpu=154.0)]
    found = grading.figures(ours, stock, otter, curve, workers=2)
    assert found["ratio_to_nbgrader"] == 10.0  # of 8, 10, 10: each round for itself
    assert found["ratio_to_otter"] == 5.0  # of 6, 5, 4
    assert found["overhead_seconds_per_submission"] == pytest.approx((11 - 14) / 10)
    assert found["limit_ratio"] == pytest.approx(11 * 2 / 14)
    assert found["overhead_of_workers"] == pytest.approx((11 * 2 - 14) / 10)
    assert found["overhead_of_workers_steady"] == pytest.approx((90 * 2 - 154 - (10 * 2 - 14)) / 100)


def test_what_is_unknown_has_no_figure():
    found = grading.figures(runs(10, 12), runs(80), [], runs(10), workers=2)
    assert found["ratio_to_nbgrader"] == 8.0
    unknown = {name for name in found if found[name] is None}
    assert unknown == found.keys() - {"ratio_to_nbgrader"}


def test_an_opponent_that_could_not_be_measured_gets_a_reason_and_no_ratio():
    ours, stock = runs(10, 10), runs(80, 100)
    found = {"submissions": 10, "workers": 2, "samples": {"ours": ours, "stock": stock, "otter": []}, "curve": [],
             "not_measured": {"otter": "no network"}} | grading.figures(ours, stock, [], [], 2)  # fmt: skip
    text = grading.table(found)
    assert "9.0 times (8.0 to 10.0)" in text
    assert "not measured: no network" in text and text.count("times (") == 1


def test_a_round_in_which_an_opponent_failed_has_no_ratio_to_it():
    ours, otter = runs(10, 20, 10), runs(60, 60, 80)
    del otter[1]
    found = {"submissions": 10, "workers": 2, "samples": {"ours": ours, "stock": [], "otter": otter}, "curve": [],
             "not_measured": {"otter": "round 2: wrong marks"}} | grading.figures(ours, [], otter, [], 2)  # fmt: skip
    assert found["ratio_to_otter"] == 7.0  # of 6 and 8
    assert "7.0 times (6.0 to 8.0); round 2: wrong marks" in grading.table(found)


def test_memory_of_a_command_and_of_what_it_starts(tmp_path):
    child = "import time; held = bytearray(b'x' * 200_000_000); time.sleep(3)"
    parent = f"""
import subprocess, sys
sys.stderr.write("last words\\n")
subprocess.run([sys.executable, "-c", {child!r}])
sys.exit(3)
"""
    done = watched.watched([sys.executable, "-c", parent], tmp_path, {}, memory=True)
    assert (done.status, done.said) == (3, "last words")
    assert done.own < 150_000_000 < 200_000_000 < done.worker < done.together


@pytest.mark.parametrize("argv", [["--submissions", "0"], ["--workers", "two"], ["--curve", "30,"], ["--rounds", "-1"]])
def test_a_bad_argument_is_one_sentence(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        grading.main(argv)
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1 and "expected a whole number from 1" in said


def test_without_a_package_index_otter_is_not_measured_and_the_reason_is_one_sentence(tmp_path, monkeypatch):
    for name, value in (("PIP_CONFIG_FILE", "/dev/null"), ("PIP_NO_INDEX", "1")):
        monkeypatch.setenv(name, value)
    for _ in range(2):  # what is half made is not taken for done
        with pytest.raises(opponents.CannotRun, match="connect to the network"):
            opponents.otter_python(tmp_path / "otter")


@pytest.mark.long
def test_stock_nbgrader_gives_the_twin_s_marks(tmp_path):
    system, members = opponents.Stock(tmp_path / "stock"), bench_class.class_of(5)
    ada, emmy = members[0], members[4]
    folder = tmp_path / "class"
    system.hand_in(folder, [ada, emmy])
    done = watched.watched(system.command(folder), folder, opponents.environment(tmp_path))
    assert done.status == 0, done.said
    scores = system.scores(folder)
    assert scores[ada.student.id] == bench_class.POINTS
    assert bench_class.graded_wrongly([ada, emmy], scores) == ""
    assert {exercise for exercise, points in scores[emmy.student.id].items() if not points} == emmy.wrong
