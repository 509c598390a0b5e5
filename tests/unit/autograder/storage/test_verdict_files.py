"""The verdict record: the same file as ever, read back whole, and older ones read, too."""

import json

import pytest

from autograder.errors import UserError
from autograder.judging.verdict import NOT_GRADED, CaseVerdict, Diagnosis, Verdict
from autograder.storage.verdict_files import VerdictRecord, WrittenAnswer, read_cleaned, read_record, write_record

NAMES = ["student", "assignment", "notebook", "mended", "cpu", "sandbox", "seconds", "trained", "exercises", "written",
         "answers"]  # fmt: skip
DIAGNOSIS = Diagnosis("no-scale", "attention", "the scores are not scaled", "What is their variance?")
VERDICT = Verdict(
    "attention", "exam-attention", "graded", 1.5, 3.0, [CaseVerdict("small", False, 0.5, "\ud800 1e-07", ["no-scale"])],
    [DIAGNOSIS], variant=3, seconds={"probe": 1e-07},
)  # fmt: skip


def record(**more) -> VerdictRecord:
    written = [WrittenAnswer(grade_id="written-scale", max_points=2.0, answered=True)]
    return VerdictRecord(
        student="ada", assignment="lab1", notebook="attention", repairs=["A cell was put back."], cpu=1.0, sandbox=True,
        seconds={"cells": 0.25}, exercises=[VERDICT], written=written, answers={"attention": "0f"}, **more,
    )  # fmt: skip


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "verdicts" / "ada.json"
    for wanted in (record(), record(unread="Nothing.", problems=["Late?"], cache_key="ab", recording="cd")):
        write_record(path, wanted)
        assert read_record(path) == wanted and [p.name for p in path.parent.iterdir()] == ["ada.json"]


def test_the_names_in_the_file_are_those_of_the_first_version(tmp_path):
    path = tmp_path / "ada.json"
    write_record(path, record())
    data = json.loads(path.read_text())
    assert list(data) == NAMES and data["exercises"] == [json.loads(json.dumps(VERDICT.as_json()))]
    assert path.read_text() == json.dumps(data, indent=1)
    assert data["written"] == [{"grade_id": "written-scale", "max_points": 2.0, "answered": True}]
    write_record(path, record(cache_key="ab", recording="cd", unread="Nothing.", problems=["Late?"]))
    data = json.loads(path.read_text())
    assert list(data) == [*NAMES, "unread", "problems", "stamp", "recording"] and data["stamp"] == "ab"


def test_a_record_of_an_earlier_version_has_defaults(tmp_path):
    path = tmp_path / "ada.json"
    path.write_text(json.dumps({"exercises": [VERDICT.as_json() | {"more": 1}], "sandbox": False, "new": [1]}))
    found = read_record(path)
    assert found == VerdictRecord(exercises=[VERDICT]) and found.cache_key == "" and found.not_graded == []


def test_for_people_it_is_cleaned(tmp_path):
    path = tmp_path / "ada.json"
    write_record(path, record(problems=["\x1b[31mred\ud800"]))
    assert read_cleaned(path).problems == ["red\ufffd"] and read_cleaned(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", ["", "[" * 100_000, '{"stamp": "ab"}', "[]", '{"exercises": 3}', b"\xff\xfe\x00"])
def test_a_damaged_one_is_none_for_the_grader_and_named_to_people(tmp_path, content):
    path = tmp_path / "lab1" / "attention.json"
    path.parent.mkdir()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read_record(path) is None
    with pytest.raises(UserError, match=r"lab1/attention\.json is damaged"):
        read_cleaned(path)


def test_our_own_failures_are_told(tmp_path):
    lost = Verdict("attention", "exam-attention", NOT_GRADED, None, 3.0, reason="the kernel did not start")
    assert VerdictRecord(exercises=[VERDICT, lost]).not_graded == ["the kernel did not start"]
