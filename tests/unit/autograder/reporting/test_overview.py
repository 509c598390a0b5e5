"""The report of a whole course."""

import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook

from autograder.cli import main
from autograder.errors import UserError
from autograder.reporting.class_results import read_course
from autograder.reporting.course_report import text_overview, write_overview
from support.sample_class import LAB, assert_harmless, database

SECOND = "lab2_tokens"


@pytest.fixture(scope="module")
def course(tmp_path_factory, make_course):
    """A class with a graded lab, a second one that only "ada" handed in, and a third that nobody has."""
    root = make_course(tmp_path_factory.mktemp("course"))
    with Gradebook(database(root)) as gradebook:
        for name in (SECOND, "lab3_vit"):
            gradebook.add_assignment(name)
            gradebook.add_notebook("notebook", name)
            gradebook.add_grade_cell("exam-patchify", "notebook", name, max_score=4, cell_type="code")
        with gradebook.db.no_autoflush:
            gradebook.add_submission(SECOND, "ada")
        grade = gradebook.find_grade("exam-patchify", "notebook", SECOND, "ada")
        grade.manual_score, grade.needs_manual_grade = 3, False
        gradebook.db.commit()
    return root


@pytest.fixture(scope="module")
def page(course):
    write_overview(read_course(course), course / "report.html")
    return BeautifulSoup((course / "report.html").read_text("utf-8"), "html.parser")


def row(page, student: str) -> list[str]:
    (head,) = [th for th in page.select("table.class tbody th") if th.contents[0] == student]
    return [" ".join(td.get_text(" ").split()) for td in head.find_next_siblings("td")]


def test_each_student_has_a_row_with_a_cell_for_each_lab_that_was_handed_in(page):
    heads = [" ".join(th.get_text("").split()) for th in page.select("table.class thead th")]
    assert heads[1].startswith(LAB) and heads[2].startswith(SECOND) and len(heads) == 4, "nobody has lab3"
    assert row(page, "ada") == ["14", "3", "17"]
    assert row(page, "blaise")[1] == "– not submitted"
    assert row(page, "carl") == ["11.5 + 2 waiting", "– not submitted", "11.5 + 2 waiting"]
    assert row(page, "emmy")[0] == "? not graded" and row(page, "emmy")[-1] == "? no total: not graded"
    assert row(page, "zoe") == ["– not submitted", "– not submitted", "0"]


def test_the_numbers_of_the_course(page):
    said = [" ".join(li.get_text(" ").split()) for li in page.select(".numbers li")]
    assert said[0] == "2 labs graded, 19 points"


def test_misconceptions_stand_under_their_lab_with_the_way_to_its_report(page):
    first, second = page.select("h3.lab")
    assert first.a["href"] == f"report-{LAB}.html"
    named = first.find_next_sibling("section")
    assert "softmax over queries" in named.get_text(" ")
    assert "No wrong answer" in second.find_next_sibling().get_text()


def test_nothing_of_a_students_becomes_markup(course):
    page = (course / "report.html").read_text("utf-8")
    for name in (LAB, SECOND):  # the ways to the labs' own reports are ours
        page = page.replace(f'href="report-{name}.html"', 'href="#"')
    assert_harmless(page)


def test_the_command_prints_the_table_and_says_where_the_page_is(course, capsys):
    (course / "report.html").unlink()
    assert main(["report", "--course", str(course)]) == 0
    said = capsys.readouterr().out
    table = text_overview(read_course(course))
    assert table in said and f"Report: {course / 'report.html'}" in said and (course / "report.html").exists()
    rows = {line.split()[0]: line.split()[1:] for line in table.split("\n") if line[:1].isalpha()}
    assert rows["student"] == ["lab1", "lab2", "total"] and rows["ada"] == ["14", "3", "17"]
    assert rows["carl"] == ["11.5+", "-", "11.5+"] and rows["emmy"] == ["?", "-", "?"]


def test_nothing_graded_yet(tmp_path):
    with Gradebook(database(tmp_path)) as gradebook:
        gradebook.add_assignment(LAB)
    with pytest.raises(UserError, match="nothing is graded yet"):
        text_overview(read_course(tmp_path))


def test_a_report_that_cannot_be_written(course):
    with pytest.raises(UserError, match="cannot write the report"):
        write_overview(read_course(course), course / "missing" / "report.html")
