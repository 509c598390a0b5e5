"""The class report and the terminal's table."""

import shutil

import pytest
from bs4 import BeautifulSoup
from nbgrader.api import Gradebook

from autograder.errors import UserError
from autograder.reporting.class_results import read_course
from autograder.reporting.course_report import text_overview, write_overview
from autograder.reporting.lab_report import write_report
from autograder.reporting.score_export import scores_table
from autograder.reporting.terminal_table import text_table
from support.sample_class import LAB, SOFTMAX, assert_harmless, database, fill_course, right, write_record


@pytest.fixture(scope="module")
def course(tmp_path_factory, make_course):
    return make_course(tmp_path_factory.mktemp("vision"))


@pytest.fixture(scope="module")
def page(course):
    write_report(read_course(course), LAB, course / "report.html")
    return BeautifulSoup((course / "report.html").read_text("utf-8"), "html.parser")


def row(page, student: str) -> list:
    """A student's cells of the first table, total last."""
    (head,) = [th for th in page.select("table.class tbody th") if th.contents[0] == student]
    return head.find_next_siblings("td")


def words_of(cell) -> str:
    return " ".join(cell.get_text(" ").split())


def after(page, heading: str) -> str:
    """The text between a heading and the next."""
    (start,) = [h2 for h2 in page.find_all("h2") if h2.get_text() == heading]
    found = []
    for sibling in start.find_next_siblings():
        if sibling.name == "h2":
            break
        found.append(words_of(sibling))
    return " ".join(found)


def test_the_heading_says_what_when_and_how(page):
    heading = words_of(page.header)
    assert LAB in heading and "Graded on" in heading and "graded without a sandbox" in heading


@pytest.mark.parametrize(
    ("student", "place", "shown"),
    [
        ("ada", 0, "2"),
        ("ada", -1, "14"),
        ("blaise", 3, "0 not answered"),
        ("carl", 0, "0.5 softmax over queries"),
        ("carl", 1, "3 carried over: softmax over queries"),
        ("carl", 5, "waiting"),
        ("carl", -1, "11.5 + 2 waiting"),
        ("emmy", 2, "not graded the grader's kernel did not start"),
        ("emmy", -1, "? no total: not graded"),
        ("fritz", 3, "0 timed out no answer within 30 s"),
        ("grace", 4, "0 the values differ"),
        ("ivan", 3, "2 shape: expected (2, 3, 5), got (2, 5, 3)"),
        ("mallory", 2, "0 error RuntimeError: <script>"),
        ("zoe", 0, "not submitted"),
    ],
)
def test_each_cell_says_its_points_and_what_is_wrong(page, student, place, shown):
    assert shown in words_of(row(page, student)[place])


def test_the_full_diagnosis_is_in_the_tooltip(page):
    assert SOFTMAX.idea in row(page, "carl")[0]["title"]
    assert "carried over from attention_weights" in row(page, "carl")[1]["title"]


def test_no_fact_hangs_on_colour_alone(page):
    for cell in page.select("table.class tbody td:not(.total)"):
        assert cell.select_one(".sign").get_text(strip=True)


def test_a_misconception_counts_once_a_student(page):
    told = after(page, "What the class misunderstood")
    assert told.index("softmax over queries") < told.index("mask inverted")  # the most frequent first
    assert "2 students" in told and "carl, dora" in told and SOFTMAX.question in told
    assert "Carried over into 1 later exercise" in told


def test_equal_unexplained_answers_are_grouped(page):
    told = after(page, "Unexplained answers that are equal")
    assert "2 students in multi_head_attention_einsum : grace, henri" in told


def test_what_was_mended_and_how_long_it_took(page):
    assert "henri : The cell exam-AttentionHead was missing" in after(page, "What was mended in the submissions")
    assert "3.29" in after(page, "Where the time went")  # the sum of the stages


def test_the_page_does_nothing_and_loads_nothing(course, page):
    assert_harmless((course / "report.html").read_text("utf-8"))
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert page.find(string=lambda text: "<b>Mallory</b>" in text)  # shown as text


def test_a_damaged_verdict_is_named_and_costs_no_points(tmp_path, make_course):
    course = make_course(tmp_path)
    write_record(course, "carl", '{"exercises": ')
    write_report(read_course(course), LAB, course / "report.html")
    page = BeautifulSoup((course / "report.html").read_text("utf-8"), "html.parser")
    assert f"verdicts/carl/{LAB}/attention.json is damaged" in words_of(page.select_one(".warning"))
    assert words_of(row(page, "carl")[-1]).startswith("11.5")
    assert "is damaged" in text_table(read_course(course), LAB)


def test_a_class_without_mistakes_says_so(tmp_path):
    course = fill_course(tmp_path, {"ada": right()})
    write_report(read_course(course), LAB, course / "report.html")
    page = BeautifulSoup((course / "report.html").read_text("utf-8"), "html.parser")
    assert "No wrong answer" in after(page, "What the class misunderstood")
    assert after(page, "Unexplained answers that are equal") == "None."


def test_mistakes_of_the_user_are_one_sentence(course, tmp_path):
    with pytest.raises(UserError, match="expected a course folder"):
        read_course(tmp_path / "nowhere", [LAB])
    with pytest.raises(UserError, match="expected a gradebook"):
        read_course(tmp_path, [LAB])
    assert not (tmp_path / "gradebook.db").exists()
    with pytest.raises(UserError, match=f"no assignment lab9; it has {LAB}"):
        read_course(course, ["lab9"])
    (tmp_path / "gradebook.db").write_text("this is no database" * 100)
    with pytest.raises(UserError, match="cannot be read"):
        read_course(tmp_path, [LAB])


def test_what_is_read_once_is_enough_for_all_reports(tmp_path, make_course):
    course = make_course(tmp_path)
    results = read_course(course)
    (course / "gradebook.db").unlink()
    shutil.rmtree(course / "verdicts")
    write_report(results, LAB, course / "report.html")
    write_overview(results, course / "overview.html")
    assert all("ada" in (course / name).read_text("utf-8") for name in ("report.html", "overview.html"))
    assert "14" in text_table(results, LAB) and "14" in text_overview(results)
    assert {row["student_id"]: row["score"] for row in scores_table(results)}["ada"] == 14
    assert not (course / "gradebook.db").exists()


def test_nothing_graded_yet(tmp_path):
    course = fill_course(tmp_path, {})
    with pytest.raises(UserError, match="nothing of lab1_attention is graded yet"):
        write_report(read_course(course), LAB, course / "report.html")


def test_a_report_that_cannot_be_written(course):
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(read_course(course), LAB, course / "no" / "report.html")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_terminal_table_fits(course, width):
    table = text_table(read_course(course), LAB, width)
    assert max(map(len, table.splitlines())) <= width
    flat = " ".join(table.split())
    assert f"attention_weights: {SOFTMAX.idea}" in flat
    assert "(carried over from attention_weights)" in flat
    assert "AttentionHead: not graded: the grader's kernel did not start" in flat
    assert "zoe 0 not submitted" in flat
    assert all(char.isprintable() or char == "\n" for char in table)


def test_the_terminal_table_has_points_and_totals(course):
    lines = {
        line.split()[0]: line.split() for line in text_table(read_course(course), LAB, 100).splitlines() if line.strip()
    }
    assert lines["ada"] == ["ada", "2", "3", "1.5", "4", "2.5", "1", "14"]
    assert lines["blaise"] == ["blaise", "-", "-", "-", "-", "-", "0", "0"]
    assert lines["emmy"] == ["emmy", "2", "3", "?", "4", "2.5", "wait", "?"]
    assert lines["carl"][-2:] == ["wait", "11.5+"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_a_class_of_300_stays_usable(chromium, tmp_path, width, make_course):
    from playwright.sync_api import sync_playwright

    course = make_course(tmp_path)
    with Gradebook(database(course)) as gradebook:
        for i in range(300):
            gradebook.add_student(f"student{i:03d}")
    write_report(read_course(course), LAB, course / "report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((course / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        region = page.locator(".scroll").first
        region.evaluate("element => { element.scrollTop = 3000; element.scrollLeft = 200 }")
        box = region.bounding_box()
        corner = page.locator("table.class thead th").first.bounding_box()
        assert abs(corner["x"] - box["x"]) < 3 and abs(corner["y"] - box["y"]) < 3  # header and names stay in view
        assert page.locator("table.class thead th").nth(1).bounding_box()["y"] - box["y"] < 3
        browser.close()
