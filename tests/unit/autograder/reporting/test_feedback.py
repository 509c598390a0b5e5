"""The feedback page, made by nbgrader's own converter from a hostile student's notebook."""

import json
import re

import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from nbgrader.apps import NbGraderAPI
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config

from autograder.reporting.feedback_cells import showable
from autograder.reporting.feedback_page import configure
from autograder.sanitize import markdown
from autograder.sanitize.page_budget import PageBudget
from support.sample_class import (
    LAB,
    NOTEBOOK,
    PIXEL,
    SOFTMAX,
    assert_harmless,
    hostile_notebook,
    nbgrader,
    write_autograded,
)


def settings(course) -> Config:
    c = Config()
    configure(c)
    c.CourseDirectory.root = str(course)
    c.CourseDirectory.assignment_id = LAB
    return c


def page_of(course, student: str = "mallory") -> str:
    return (course / "feedback" / student / LAB / f"{NOTEBOOK}.html").read_text("utf-8")


@pytest.fixture(scope="module")
def markup(tmp_path_factory, make_course):
    course = make_course(tmp_path_factory.mktemp("course"))
    for student in ("mallory", "emmy", "carl"):
        write_autograded(course, student)
    c = settings(course)
    GenerateFeedback(coursedir=CourseDirectory(config=c), config=c).start()
    return {student: page_of(course, student) for student in ("mallory", "emmy", "carl")}


@pytest.fixture(scope="module")
def page(markup):
    return BeautifulSoup(markup["mallory"], "html.parser")


def summary(markup: str) -> dict[str, list[str]]:
    """The first table: points, status and words by exercise."""
    rows = BeautifulSoup(markup, "html.parser").select("table.summary tbody tr, table.summary tfoot tr")
    return {row.th.get_text(): [" ".join(td.get_text(" ").split()) for td in row.find_all("td")] for row in rows}


def test_nothing_hostile_survives(markup, page):
    assert_harmless(markup["mallory"])
    assert not page.find_all(["script", "svg", "iframe", "form", "base", "object", "embed"])
    for tag in page.find_all(True):
        assert not any(name.startswith("on") for name in tag.attrs)
        assert not str(tag.get("href", "#")).lower().startswith(("javascript", "http", "//"))
        assert str(tag.get("src", "data:")).startswith("data:")
    assert "evil.example" not in str(page.select("a, img, link, [style]"))
    assert not any(char in markup["mallory"] for char in "\x00\x07\x1b")
    policies = [tag["content"] for tag in page.find_all("meta", attrs={"http-equiv": True})]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"]


def test_what_is_harmless_is_still_shown(page):
    text = page.get_text()
    for kept in ("plain text", "a table", "a link", "red <script>alert(1)</script>", "ValueError", "return x"):
        assert kept in text
    assert page.find("strong", string="variance")  # written answers are set as markdown
    assert len(page.find_all("img", src=f"data:image/png;base64,{PIXEL}")) >= 3  # output, attachment, verdict


def test_the_summary_stands_first(markup, page):
    assert page.table["class"] == ["summary"]
    rows = summary(markup["mallory"])
    assert rows["attention_weights"][:2] == ["2 / 2", "\u25cf right"]
    assert rows["AttentionHead"][:2] == ["0 / 1.5", "! error"] and "RuntimeError" in rows["AttentionHead"][2]
    assert rows["written-scale"][:2] == ["? / 1", "\u270e waits for grading"]
    assert rows["Total"] == ["11.5 / 15", "2 written answers wait for grading"]
    assert "exam-AttentionHead was missing" in page.select_one(".warning").get_text()


def test_the_diagnosis_is_shown_and_what_is_carried_over(markup):
    rows = summary(markup["carl"])
    assert SOFTMAX.idea in rows["attention_weights"][2] and f"Ask: {SOFTMAX.question}" in rows["attention_weights"][2]
    assert rows["scaled_dot_product_attention"][:2] == ["3 / 3", "\u25cf right"]
    assert "carried over from attention_weights" in rows["scaled_dot_product_attention"][2]


def test_the_judges_words_stand_in_the_exams_place_and_nobody_elses(page):
    (verdict,) = [v for v in page.select("section.verdict") if "attention_weights" in v.header.get_text()]
    assert SOFTMAX.idea in verdict.get_text() and verdict.img
    assert "forged by the process" not in page.get_text()
    assert not any("forged: 100 points" in v.get_text() for v in page.select("section.verdict"))


def test_not_graded_is_not_a_zero(markup):
    rows = summary(markup["emmy"])
    assert rows["AttentionHead"][:2] == ["? / 1.5", "? not graded"]
    assert rows["Total"][0] == "? / 15" and "the grader's kernel did not start" in rows["Total"][1]


def test_hidden_tests_never_come_through(page):
    text = page.get_text()
    assert "examine(" not in text and "HIDDEN TESTS" not in text and "secret_answer" not in text


def test_the_course_text_is_left_out_but_for_its_headings(page):
    assert page.find(string="Lab 1 - Attention") and "A long introduction" not in page.get_text()
    assert "import torch" not in page.get_text()


@pytest.mark.parametrize("name", ["application/javascript", "image/svg+xml", "application/pdf", "text/vnd.mermaid"])
def test_outputs_of_other_kinds_are_named(name):
    cell = hostile_notebook().cells[3]
    cell.outputs = [{"output_type": "display_data", "data": {name: "<b>x</b>"}, "metadata": {}}]
    (output,) = showable(cell, {}, {}, PageBudget()).outputs
    assert output.text == "[an output that is neither text nor a picture is not shown]"


STRANGE = [
    None, [], "x", [None], [{}], [{"output_type": "display_data"}], [{"output_type": "display_data", "data": 3}],
    [{"output_type": "stream", "text": {"a": 1}}], [{"output_type": "error", "traceback": 7}],
    [{"output_type": "display_data", "data": {"image/png": ["!", 3]}}],
    [{"output_type": "display_data", "data": {"text/html": {"x": []}}}],
    [{"output_type": "error", "traceback": [["a"], None]}], [{"output_type": ["stream"]}],
]  # fmt: skip


@pytest.mark.parametrize("outputs", STRANGE, ids=repr)
def test_malformed_outputs_stop_nothing(outputs):
    cell = hostile_notebook().cells[3]
    cell["outputs"] = outputs
    shown = showable(cell, {}, {}, PageBudget())
    assert shown.source == cell.source
    json.dumps(shown).encode()


def test_an_answer_without_end_is_cut(tmp_path):
    cell = hostile_notebook().cells[3]
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 1_000_000}] * 100
    shown = showable(cell, {}, {}, PageBudget())
    assert len(json.dumps(shown)) < 1_000_000
    assert shown.outputs[-1].text == "[70 more outputs are not shown]"


@pytest.mark.parametrize("source", [">" * 5000 + "x", "[" * 5000, "*a " * 3000, "![x](attachment:no.png)", "$$" * 3000])
def test_strange_markdown_does_not_stop_a_page(tmp_path, source, make_course):
    course = make_course(tmp_path)
    write_autograded(course, "mallory")
    path = course / "autograded" / "mallory" / LAB / f"{NOTEBOOK}.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][2]["source"] = source
    path.write_text(json.dumps(notebook))
    c = settings(course)
    GenerateFeedback(coursedir=CourseDirectory(config=c), config=c).start()
    assert_harmless(page_of(course))
    assert summary(page_of(course))["Total"][0] == "11.5 / 15"


def test_the_command_line_and_the_formgrader_write_the_same_page(tmp_path, markup, make_course):
    course = make_course(tmp_path)
    write_autograded(course, "mallory")
    (course / "nbgrader_config.py").write_text(
        "from autograder.reporting.feedback_page import configure\nc = get_config()\nconfigure(c)\n"
        f"c.CourseDirectory.root = {str(course)!r}\n"
    )
    nbgrader(course, "generate_feedback", LAB)
    assert page_of(course) == markup["mallory"]

    c = settings(course)
    # What formgrader adds to its own configuration, and hands on to the converter.
    c.HTMLExporter.template_name = "formgrade"
    c.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    api = NbGraderAPI(CourseDirectory(config=c), config=c)
    result = api.generate_feedback(LAB, "mallory", force=True)
    assert result["success"], result["log"]
    assert page_of(course) == markup["mallory"]


def test_formgraders_page_is_sanitised_but_the_verdict_stays():
    verdict = new_output("display_data", data={"text/html": '<div class="kept">verdict</div>'})
    verdict.metadata["vitedu"] = {"verdict": True}
    shown = new_output("display_data", data={"text/html": "<img src=x onerror=alert(1)>shown"})
    stream = new_output("stream", text="\x1b]0;title\x07\x1b[31mred\x1b[0m\u202e text")
    nb = new_notebook(cells=[
        new_markdown_cell("<script>alert(2)</script> my answer", metadata={"vitedu": {"role": "written"}}),
        new_code_cell("1", outputs=[stream, shown, verdict], metadata={"vitedu": {"role": "own"}}),
    ])  # fmt: skip
    config = Config()
    configure(config)
    page, _ = HTMLExporter(config=config).from_notebook_node(nb)
    assert "alert(" not in page
    assert "red text" in page and "title" not in page.partition("<body")[2]
    assert '<div class="kept">verdict</div>' in page and "my answer" in page and "shown" in page


LINKS = [
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1) 'a title onclick=alert(1)')",
    "[x][1]\n\n[1]: javascript:alert(1)",
    "[x](&#106;avascript&colon;alert(1))",
    "[x](java\\script:alert(1))",
    "[x](<javascript:alert(1)>)",
    "<javascript:alert(1)>",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:alert(1))",
    "[x](%6aavascript:alert(1))",
    "[![x](javascript:alert(1))](javascript:alert(1))",
    "![x](javascript:alert(1))",
    '![x](x" onerror="alert(1))',
    "**[x](\tjavascript:alert(1))**",
    "> - [x](javascript:alert(1))",
    "|a|\n|-|\n|[x](javascript:alert(1))|",
    "# [x](javascript:alert(1))",
    "```mermaid\n</pre><script>alert(1)</script>\n```",
    "```python\n</pre><script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "[x](https://evil.example)",
    "<https://evil.example>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a\nhref=javascript:alert(1)>x</a>",
    "<div id=submission_id name=base_url class=full-credit>x</div>",
    "<base href=https://evil.example>",
    "<meta http-equiv=refresh content=0>",
    "<form action=https://evil.example><button>x</button></form>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<svg onload=alert(1)></svg>",
    "<div style='position:fixed;top:0;padding:9999px;display:none'>x</div>",
    "<scr<script></script>ipt>alert(1)</scr</script>ipt>",
    "<details open ontoggle=alert(1)>x</details>",
]


def formgraders_page(*cells) -> str:
    """What formgrader's exporter makes of rebuilt cells, without the head."""
    config = Config()
    configure(config)
    page, _ = HTMLExporter(config=config).from_notebook_node(new_notebook(cells=list(cells)))
    return str(BeautifulSoup(page, "html.parser").find("main"))


@pytest.mark.parametrize("markup", LINKS)
def test_what_markdown_makes_of_a_text_is_cleaned(markup):
    answer = new_markdown_cell(f"before\n\n{markup}\n\nafter", metadata={"vitedu": {"role": "written"}})
    displayed = new_output("display_data", data={"text/markdown": markup, "text/html": markdown.markdown(markup)})
    only = new_output("display_data", data={"text/markdown": markup})
    own = new_code_cell("1", outputs=[displayed, only], metadata={"vitedu": {"role": "own"}})
    page = formgraders_page(answer, own, new_raw_cell(markup, metadata={"raw_mimetype": "text/html"}))
    shown = [str(box) for box in BeautifulSoup(page, "html.parser").select('[style*="contain: content"]')]
    assert len(shown) == 2 and "before" in shown[0] and "after" in shown[0]
    for clean in (*shown, markdown.markdown(markup)):
        inner = clean.removeprefix(shown[0][: len(markdown.CONTAINER)])
        assert_harmless(inner)
        assert not BeautifulSoup(inner, "html.parser").find(["a", "base", "meta"])
        assert not BeautifulSoup(clean, "html.parser").find(id=True) and "padding: 9999px" not in clean
    assert not BeautifulSoup(page, "html.parser").find(["script", "iframe", "form", "svg"])
    assert not BeautifulSoup(page, "html.parser").find(href=lambda address: address and not address.startswith("#"))


@pytest.mark.parametrize(
    "formula",
    [
        "$\\href{javascript:alert(1)}{x}$",
        "$$\\style{position:fixed}{x}$$",
        "\\\\(\\class{full-credit}{x}\\\\)",
        "\\begin{equation}\\cssId{x}{y}\\end{equation}",
        "$\\require{action}$",
        "$\\def\\x{\\href}\\x{javascript:alert(1)}{y}$",
        "<p>$\\hr<!-- -->ef{javascript:alert(1)}{x}$</p>",
        "<p>$\\hr<x-y></x-y>ef{javascript:alert(1)}{x}$</p>",
        "<p>$\\&#104;ref{javascript:alert(1)}{x}$</p>",
        "$\\mmlToken{mi}[href='javascript:alert(1)']{x}$",
    ],
)
def test_commands_of_formulas_that_make_links_are_broken(formula):
    clean = markdown.markdown(formula)
    text = re.sub(r"<(?!span></span)[^>]*>", "", clean)
    assert not re.search(r"\\(href|style|class|cssId|require|mmlToken)", text), clean
    # The reader still sees them.
    assert re.search(r"\\(href|style|class|cssId|require|mmlToken)", BeautifulSoup(clean, "html.parser").get_text())


def test_the_authors_text_and_plain_formulas_stay():
    prose = new_markdown_cell("[book](https://example.org) <a id=here></a>", metadata={"vitedu": {"role": "prose"}})
    answer = new_markdown_cell("$\\frac{a}{b} < c$ and `a < b` & [this](https://example.org)")
    page = formgraders_page(prose, answer)
    soup = BeautifulSoup(page, "html.parser")
    assert [a.get_text() for a in soup.find_all("a", href="https://example.org")] == ["book"] and soup.find(id="here")
    assert "$\\frac{a}{b} < c$ and a < b & this" in soup.get_text()
