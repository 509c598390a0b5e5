"""A few mutants of a real exercise in a real kernel: points, time and a dead kernel kill; right code survives."""

import dataclasses

import pytest

from autograder.authoring.mutation import hunt
from autograder.authoring.mutation.mutants import exercise_mutants
from autograder.cli import main
from autograder.errors import UserError
from autograder.labs.lab import find_lab

LAB = find_lab("lab1")
MADE = exercise_mutants(LAB, LAB.exercise("attention_weights"))


def mutant(code: str, id: str = "lab1/attention_weights/solution/by-hand-1"):
    return dataclasses.replace(MADE[0], id=id, code=code)


def test_points_time_and_a_dead_kernel_kill_and_right_code_survives(monkeypatch):
    monkeypatch.setattr(hunt, "SECONDS", 1.0)
    monkeypatch.setattr(hunt, "SLOW", 0.0)
    right = "def attention_weights(q, k):\n    {}return (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)"
    codes = {
        "points": right.format("").replace("-0.5", "0.5"),
        "kernel": right.format("import os; os._exit(1); "),
        "": right.format(""),
        "time": right.format("import time; time.sleep(60); "),
    }
    # The last one must not find what an earlier one defined.
    leftover = [mutant(right.format("").replace("def", "left = 1\ndef"), "lab1/attention_weights/solution/a-1"),
                mutant(right.format("left; "), "lab1/attention_weights/solution/a-2")]  # fmt: skip
    part = [mutant(code, f"lab1/attention_weights/solution/{how or 'right'}-1") for how, code in codes.items()]
    found = hunt.examined(part + leftover)
    assert list(found.values()) == [*codes, "", "points"]


def test_right_code_that_loses_points_is_no_base_for_mutants(monkeypatch):
    wrong = "def attention_weights(q, k):\n    return q"
    monkeypatch.setattr(hunt, "origins", lambda lab, exercise: {"solution": wrong})
    with pytest.raises(UserError, match="right code 'solution' was killed by points"):
        hunt.examined(MADE[:1])


def test_the_command_names_survivors_and_ends_with_1(capsys, tmp_path, monkeypatch):
    survivor = mutant(LAB_CODE, "lab1/attention_weights/solution/by-hand-1")
    monkeypatch.setattr(hunt, "exercise_mutants", lambda *_: [*MADE[:4], survivor])
    path = tmp_path / "new" / "mutants.json"
    assert main(["verify", "lab1/attention_weights", "--mutants", "--json", str(path), "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert "survived: lab1/attention_weights/solution/by-hand-1" in said and "1 mutants survive." in said
    assert path.read_text().count('"state"') == 5


LAB_CODE = next(cell.source for cell in LAB.cells if cell.grade_id == "attention_weights")
