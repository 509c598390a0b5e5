"""scores.csv: one row a student, and nothing undecided that reads as a zero."""

import csv

import pytest
from nbgrader.api import Gradebook

from autograder.errors import UserError
from autograder.reporting.class_results import read
from autograder.reporting.score_export import FIRST, scores_table, write_csv
from autograder.storage.course_folder import Course
from support.sample_class import LAB, NOTEBOOK, database, nbgrader, write_record


@pytest.fixture(scope="module")
def course(tmp_path_factory, make_course):
    return make_course(tmp_path_factory.mktemp("course"))


def by_student(course, **only):
    return {row["student_id"]: row for row in scores_table(read(Course(course), **only))}


def test_one_row_a_student(course):
    rows = by_student(course)
    assert sorted(rows) == "ada blaise carl dora emmy fritz grace henri ivan mallory zoe".split()
    assert all(tuple(row)[: len(FIRST)] == FIRST for row in rows.values())
    assert len({tuple(row) for row in rows.values()}) == 1  # the same columns for everybody
    assert rows["zoe"]["email"] == "zoe@example.org"


def test_a_decided_score_is_complete(course):
    ada = by_student(course)["ada"]
    assert (ada["score"], ada["max_score"], ada["complete"], ada["waiting"], ada["note"]) == (14.0, 15.0, "yes", 0, "")
    assert ada[f"{LAB}: MultiHeadAttention"] == 4.0 and ada[f"{LAB}: written-heads"] == 0.5
    blank = by_student(course)["blaise"]
    assert (blank["score"], blank["complete"]) == (0.0, "yes")  # not answered is a zero


def test_an_exercise_that_was_not_graded_leaves_cell_and_total_empty(course):
    emmy = by_student(course)["emmy"]
    assert emmy["score"] is None and emmy[f"{LAB} score"] is None and emmy[f"{LAB}: AttentionHead"] is None
    assert emmy[f"{LAB} status"] == "not graded" and emmy["complete"] == "no"
    assert "AttentionHead was not graded (the grader's kernel did not start)" in emmy["note"]
    assert emmy[f"{LAB}: attention_weights"] == 2.0


def test_written_answers_that_wait_are_counted_and_are_no_zeros(course):
    carl = by_student(course)["carl"]
    assert (carl["score"], carl["waiting"], carl["complete"]) == (11.5, 2, "no")
    assert carl[f"{LAB}: written-scale"] is None
    assert carl["note"] == f"{LAB}: 2 written answers wait for grading"


def test_who_handed_nothing_in_is_listed_with_zero_points(course):
    zoe = by_student(course)["zoe"]
    assert zoe["score"] == 0.0 and zoe[f"{LAB} status"] == "not submitted" and zoe["complete"] == "no"


@pytest.mark.parametrize("name", ["no such lab", "lab1"])
def test_an_unknown_assignment_is_named(course, name):
    with pytest.raises(UserError, match=f"no assignment {name}; it has {LAB}"):
        by_student(course, assignments=[name])


def test_an_unknown_student_is_named(course):
    with pytest.raises(UserError, match="no student nobody"):
        by_student(course, students=["ada", "nobody"])


def test_names_are_not_computed_by_a_spreadsheet(course, tmp_path):
    write_csv(scores_table(read(Course(course))), tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert rows["mallory"]["first_name"] == '\'=cmd("calc")'
    assert rows["emmy"]["score"] == "" and float(rows["ada"]["score"]) == 14.0
    assert not any(field[:1] in ("=", "+", "-", "@") for row in rows.values() for field in row.values())


def test_a_file_that_cannot_be_written_is_named(course, tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        write_csv([], tmp_path / "no such folder" / "scores.csv")


@pytest.mark.parametrize(("penalty", "score"), [(1.5, 12.5), (100.0, 0.0)])
def test_a_late_penalty_is_taken_off_but_not_below_zero(tmp_path, penalty, score, make_course):
    course = make_course(tmp_path)
    with Gradebook(database(course)) as gradebook:
        gradebook.find_submission_notebook(NOTEBOOK, LAB, "ada").late_submission_penalty = penalty
        gradebook.db.commit()
    ada = by_student(course)["ada"]
    assert (ada["score"], ada[f"{LAB} late_penalty"]) == (score, penalty)


def test_a_mark_by_hand_decides_what_was_not_graded(tmp_path, make_course):
    course = make_course(tmp_path)
    with Gradebook(database(course)) as gradebook:
        gradebook.find_grade("exam-AttentionHead", NOTEBOOK, LAB, "emmy").manual_score = 1.0
        gradebook.db.commit()
    emmy = by_student(course)["emmy"]
    assert emmy[f"{LAB}: AttentionHead"] == 1.0 and emmy["score"] == 12.5


def test_a_mark_on_an_answer_that_changed_since_waits_again(tmp_path, make_course):
    course = make_course(tmp_path)
    with Gradebook(database(course)) as gradebook:
        gradebook.find_grade("written-heads", NOTEBOOK, LAB, "ada").needs_manual_grade = True
        gradebook.db.commit()
    ada = by_student(course)["ada"]
    assert (ada["score"], ada["waiting"], ada[f"{LAB}: written-heads"]) == (13.5, 1, None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"exercises": [{"x": 1}]}', '{"exercises": 3}', "[" * 100_000])
def test_a_damaged_verdict_loses_words_not_points(tmp_path, content, make_course):
    course = make_course(tmp_path)
    write_record(course, "ada", content)
    ada = by_student(course)["ada"]
    assert ada["score"] == 14.0 and f"verdicts/ada/{LAB}/{NOTEBOOK}.json is damaged" in ada["note"]


def test_two_assignments_are_summed(tmp_path, make_course):
    course = make_course(tmp_path)
    with Gradebook(database(course)) as gradebook:
        gradebook.add_assignment("lab2")
        gradebook.add_notebook("tokens", "lab2")
        gradebook.add_grade_cell("exam-patchify", "tokens", "lab2", max_score=4, cell_type="code")
        for student in ("ada", "emmy"):
            gradebook.add_submission("lab2", student)
            gradebook.find_grade("exam-patchify", "tokens", "lab2", student).auto_score = 3.0
        gradebook.db.commit()
    rows = by_student(course)
    assert (rows["ada"]["score"], rows["ada"]["max_score"], rows["ada"]["complete"]) == (17.0, 19.0, "yes")
    assert rows["emmy"]["score"] is None and rows["emmy"]["lab2 score"] == 3.0
    assert rows["carl"]["lab2 status"] == "not submitted" and rows["carl"]["complete"] == "no"


def test_nbgrader_export_takes_it(course, tmp_path):
    out = tmp_path / "scores.csv"
    nbgrader(course, "export", "--exporter=autograder.export.ScoresExporter", "--to", str(out))
    with out.open(newline="") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 11 and rows["ada"]["score"] == "14.0"
    assert rows["emmy"]["score"] == "" and "not graded" in rows["emmy"]["note"]
