"""axe-core finds no grave fault in what a check shows in a notebook, in a feedback page, and in the reports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from playwright.sync_api import Page
from traitlets.config import Config

from autograder.reporting.class_results import read_course
from autograder.reporting.course_report import write_overview
from autograder.reporting.feedback_page import configure
from autograder.reporting.lab_report import write_report
from support.accessible import grave_faults
from support.sample_class import LAB, NOTEBOOK, write_autograded
from vitedu import check

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("chromium")]


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """Without a network."""
    context = browser.new_context(offline=True, viewport={"width": 1200, "height": 1000})
    yield context.new_page()
    context.close()


def softmax(dim: int):
    def attention_weights(q, k):
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim)

    return attention_weights


def todo(q, k):
    raise NotImplementedError("TODO")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_checks_card(page, tmp_path, theme):
    """As JupyterLab shows it, whose style nbconvert brings: wrong with a picture, right, and not answered."""
    torch.manual_seed(0)
    reports = [check("lab1/attention_weights", answer) for answer in (softmax(-2), softmax(-1), todo)]
    cells = [
        new_code_cell("check(...)", outputs=[new_output("display_data", {"text/html": report._repr_html_()})])
        for report in reports
    ]
    html, _ = HTMLExporter(theme=theme).from_notebook_node(new_notebook(cells=cells))
    (tmp_path / "card.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "card.html").as_uri(), wait_until="domcontentloaded")
    assert page.locator(".jp-OutputArea-output img").count() == 1
    assert not (found := grave_faults(page, ".jp-OutputArea-output")), "\n".join(found)


def test_feedback_and_reports(page, tmp_path, make_course):
    course = make_course(tmp_path)
    for student in ("emmy", "carl", "mallory"):
        write_autograded(course, student)
    settings = Config()
    configure(settings)
    settings.CourseDirectory.root, settings.CourseDirectory.assignment_id = str(course), LAB
    GenerateFeedback(coursedir=CourseDirectory(config=settings), config=settings).start()
    results = read_course(course)
    write_report(results, LAB, course / "report-lab.html")
    write_overview(results, course / "report.html")
    files = [course / "feedback" / name / LAB / f"{NOTEBOOK}.html" for name in ("emmy", "carl", "mallory")]
    found = []
    for path in [*files, course / "report-lab.html", course / "report.html"]:
        page.goto(path.as_uri())
        # The hostile student's own output is red; what students choose is shown as they chose it.
        found += [fault for fault in grave_faults(page) if '<p style="color:red;">' not in fault]
    assert not found, "\n".join(found)
