"""Code and Markdown of any kind become a page in a time that grows with their length."""

import html
import re
import sys

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import Config

from autograder.labs.lab import ROOT
from autograder.nbgrader_integration.formgrader import SubmissionPage
from autograder.reporting import feedback_page
from autograder.reporting.feedback_cells import showable
from autograder.sanitize import code_colours, markdown, pictures, untrusted
from autograder.sanitize.page_budget import LIMITS, PageBudget
from support.pixels import encoded
from support.sample_class import assert_harmless


def text_of(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup)).strip("\n")


# Most of these keep Pygments' lexers busy for minutes and longer.
SLOW = [
    "a.",
    " \n",
    "\t",
    '"%' + "0" * 500,
    "match a.",
    "1_.",
    "(",
    "'",
    "\"\"\"'''",
    "'''\\",
    "\\",
    "@a",
    "f'{",
    "e\u0301",
    ".1e",
    "x=%",
]


@pytest.mark.parametrize("unit", SLOW, ids=repr)
def test_code_keeps_its_text_and_takes_time_by_its_length(unit, monkeypatch):
    monkeypatch.setattr(code_colours, "MAX_COLOURED", sys.maxsize)
    code = unit * (100_000 // len(unit)) + "x"
    assert text_of(code_colours.coloured(code)) == code.strip("\n")


def test_code_has_the_colours_of_nbconverts_style_sheets():
    code = '@wraps(f)\ndef f(x: int = 3.5e-3):\n    """doc"""\n    return x.sum is not None  # why\n'
    shown = code_colours.coloured(code)
    for kind, token in [
        ("nd", "@wraps"), ("k", "def"), ("nf", "f"), ("nb", "int"), ("mi", "3.5e-3"), 
        ("s2", "&quot;&quot;&quot;doc&quot;&quot;&quot;"), ("ow", "is"), ("kc", "None"), ("c1", "# why"),
    ]:  # fmt: skip
        assert f'<span class="{kind}">{token}</span>' in shown
    assert ".</span>sum" in shown  # a method is no builtin
    own = (ROOT / "autograder" / "submission" / "pieces.py").read_text()[: code_colours.MAX_COLOURED]
    assert text_of(code_colours.coloured(own)) == own.strip("\n")


def test_long_code_is_plain_and_escaped():
    shown = code_colours.coloured("<b>x</b>" * 5_000)
    assert "<b>" not in shown and shown.count("<span") == 1 and text_of(shown) == "<b>x</b>" * 5_000


MARKDOWN = {
    "fence": '```python\n"%' + "0" * 20_000 + "\n```",
    "fence of another language": "```livescript\n" + "a." * 9_000 + "\n```",
    "blanks": "a" + " " * 15_000 + "\nb", "label": "[" + " " * 15_000 + "]",
    "formulas": r"\\[" * 6_000, "begin": r"\begin{a}" * 2_000,
}  # fmt: skip


@pytest.mark.parametrize("text", MARKDOWN.values(), ids=MARKDOWN)
def test_markdown_that_a_renderer_is_slow_at(text):
    shown = markdown.markdown(text)
    assert_harmless(shown)
    assert text.split()[-1].strip("`")[:20] in html.unescape(shown)


def own(cell):
    cell.metadata["vitedu"] = {"role": "own"}
    return cell


def pages(*cells) -> tuple[str, str]:
    """What formgrader and the feedback show of cells."""
    config, budget = Config(), PageBudget()
    feedback_page.configure(config)
    shown = [showable(cell, {}, {}, budget) for cell in cells]
    names = ("assignment_id", "notebook_id", "submission_id", "student", "last_name", "first_name", "notebook_path")
    resources = dict.fromkeys(names, "x") | {"index": 0, "total": 1, "base_url": ""}
    page = SubmissionPage(config).from_notebook_node(new_notebook(cells=list(map(own, cells))), resources)[0]
    exporter = feedback_page.FeedbackExporter(config=config)
    told = dict.fromkeys(("student", "assignment", "notebook", "style", "total", "max_points", "note"), "")
    told |= {"rows": [], "repairs": [], "lost": "", "unsandboxed": False}
    return page, exporter.from_notebook_node(new_notebook(cells=shown), {"vitedu": told})[0]


def test_a_page_has_an_end_however_many_cells_there_are(monkeypatch):
    for kind, most in {"code": 1_000, "markdown": 1_000, "markup": 10_000, "text": 20_000}.items():
        monkeypatch.setitem(LIMITS, kind, most)

    def shows(data):
        return new_code_cell("1", outputs=[new_output("display_data", data=data) for _ in range(25)])

    code = [new_code_cell("a." * 150) for _ in range(5)]
    prose = [new_markdown_cell("*a* " * 100) for _ in range(4)]
    tables = shows({"text/html": "<p>" + "<b>q</b> " * 30})
    texts = [shows({"text/plain": "x" * 300}) for _ in range(5)]
    for page in pages(*code, *prose, tables, *texts):
        assert (page.count('<span class="o">.</span>'), page.count("a." * 150)) == (3 * 150, 2)
        assert (page.count("<em>a</em>"), page.count("*a* " * 99)) == (2 * 100, 2)
        assert page.count("<b>q</b>") == 4 * 30 and "more HTML than a page can hold" in page
        assert 5 < page.count("x" * 300) < 40 and "25 outputs are not shown: this notebook has shown so much" in page


def test_outputs_hold_as_many_pictures_as_a_page_does(monkeypatch):
    monkeypatch.setitem(pictures.MAX_ALL, "pictures", 3)
    cell = new_code_cell("1", outputs=[new_output("display_data", data={"image/png": encoded()})] * 5)
    for page in pages(cell):
        assert page.count("data:image/png") == 3 and page.count("a notebook may have 3 pictures") == 2


ATTRIBUTES = "<p " + " ".join(f"a{i}=''" for i in range(50_000)) + ">x"
MARKUP = {
    "attributes": ATTRIBUTES,
    "style": "<p style='" + "color: red;" * 100_000 + "'>x",
    "pictures": "<img>x" * 3_000,
    "ends": ">" * 1_500_000,
}


@pytest.mark.parametrize("markup", MARKUP.values(), ids=MARKUP)
def test_markup_that_a_cleaner_is_slow_at(markup):
    assert_harmless(untrusted.html(markup))
