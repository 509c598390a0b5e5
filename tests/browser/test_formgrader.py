"""Every page of formgrader in a real browser: it works under our policy, and nothing of a submission runs."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.api import Gradebook
from playwright.sync_api import Browser, Locator, Page, expect

from autograder.labs.lab import find_lab
from autograder.storage.atomic_files import write_atomically
from support.browser import PATIENCE, Server, jupyter_lab
from support.pixels import encoded
from support.sample_class import LAB, NOTEBOOK, database, hostile_notebook

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("chromium")]

RUN = "top.ran = (top.ran || 0) + 1"
PLANTED = "\n\n".join(
    [
        f"<script>{RUN}</script>",
        f'<img src="x:" onerror="{RUN}">',
        f"[planted](javascript:{urllib.parse.quote(RUN)})",
        f'<a href="javascript:{RUN}">planted</a>',
        f'<svg onload="{RUN}"><script>{RUN}</script></svg>',
        f'<iframe srcdoc="<script>{RUN}</script>"></iframe>',
        f'<iframe src="javascript:{RUN}"></iframe>',
        "$\\href{javascript:top.ran=1}{planted}$",
        "<form action='javascript:top.ran=1'><button>planted</button></form>",
        "<base href='https://evil.example/'>",
    ]
)
CONFIG = """from autograder.course import configure
c = get_config()
configure(c)
c.CourseDirectory.root, c.CourseDirectory.course_id, c.Exchange.root = {root!r}, "vit", {exchange!r}
c.GenerateAssignment.preprocessors = c.GenerateAssignment.preprocessors[1:]  # test_notebooks.py asks about secrets
"""
SECOND = find_lab("lab2_tokens")
ODD = 'x"-alert(1)-"<img src=x: onerror=top.ran=1>'  # a student's id, as a folder can be named


@pytest.fixture(scope="module")
def server(tmp_path_factory, make_course) -> Iterator[Server]:
    """JupyterLab in a graded course: "carl" is honest, "mallory" plants scripts in each kind of cell."""
    course = make_course(tmp_path_factory.mktemp("course"))
    (course / "nbgrader_config.py").write_text(CONFIG.format(root=str(course), exchange=str(course / "exchange")))
    (course / "exchange").mkdir()
    write_atomically(course / "course_secret", "7e57" * 16 + "\n")
    (course / "source" / LAB).mkdir(parents=True)
    with Gradebook(database(course)) as gradebook:
        gradebook.add_student(ODD, first_name="<img src=x: onerror=top.ran=1>", last_name="</script><script>top.ran=1")
    for student in ("carl", "mallory"):
        nb = hostile_notebook()
        written = next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "written-scale")
        if student == "mallory":
            written.source = PLANTED
            shown = new_output("display_data", data={"text/html": PLANTED, "text/markdown": PLANTED})
            script = new_output("display_data", data={"application/javascript": RUN})
            nb.cells.append(new_code_cell("1", outputs=[shown, script], metadata={"vitedu": {"role": "own"}}))
            nb.cells.append(new_markdown_cell(PLANTED, metadata={"vitedu": {"role": "own"}}))
            # Not cleaned, as if the cleaning had a hole: the policy is a wall of its own.
            nb.cells.append(new_markdown_cell(PLANTED, metadata={"vitedu": {"role": "prose"}}))
        else:
            nb.cells = [c for c in nb.cells if "nbgrader" in c.metadata]
            for cell in nb.cells:
                if cell.cell_type == "code":
                    cell.outputs = [o for o in cell.outputs if "vitedu" in o.get("metadata", {})][-1:]
            written.source = "See ![x](attachment:my%20image.png), and $a<b$."
            written.attachments = {"my image.png": {"image/png": encoded(size=(80, 60))}}
        path = course / "autograded" / student / LAB / f"{NOTEBOOK}.ipynb"
        write_atomically(path, json.dumps(nb))
    with jupyter_lab(course, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def said() -> list[str]:
    """What the pages complain about: refusals by the policy, and errors of scripts."""
    return []


@pytest.fixture
def page(browser: Browser, server: Server, said: list[str]) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 1100})
    page.set_default_timeout(PATIENCE / 4)
    page.on("console", lambda m: said.append(m.text) if "Content Security Policy" in m.text else None)
    # formgrader's own script asks for MathJax, which comes from elsewhere, and so is not here.
    without = re.compile("MathJax|reading 'Startup'")
    page.on("pageerror", lambda error: None if without.search(str(error)) else said.append(str(error)))
    page.route(re.compile(r"^https://"), lambda route: route.abort())  # nothing is fetched from elsewhere
    page.goto(server.page("formgrader/manage_assignments"))
    yield page
    page.close()


def gradebook(server: Server) -> Gradebook:
    return Gradebook(database(server.folder))


def loaded(page: Page) -> None:
    """Until formgrader's script has the marks: before, its buttons do nothing."""
    expect(page.locator("#exam-attention_weights")).to_have_attribute("placeholder", re.compile(r"\d"))


def saving(page: Page, what: str):
    """Around a step with which formgrader stores a mark or a comment."""
    return page.expect_response(lambda r: f"/api/{what}/" in r.url and r.request.method == "PUT" and r.ok)


def test_every_page_works_and_nothing_is_refused(page, server, said, tmp_path):
    expect(page.locator("#main-table")).to_contain_text(LAB)
    page.get_by_role("button", name=re.compile("^Instructions")).click()
    expect(page.locator("#collapseOne")).to_be_visible()
    page.locator("tr", has_text=LAB).locator(".edit a, .glyphicon-pencil").first.click()
    expect(page.locator(".modal-dialog")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    page.goto(f"{server.url}/formgrader/manage_submissions/{LAB}")
    expect(page.locator("#main-table")).to_contain_text("mallory")

    page.get_by_role("link", name="Gradebook").first.or_(page.get_by_role("link", name="Manual Grading")).first.click()
    page.locator("#main-table").get_by_role("link", name=LAB, exact=True).click()
    page.locator("#main-table").get_by_role("link", name=NOTEBOOK, exact=True).click()
    expect(page.locator("#main-table")).to_contain_text("Submission #1")
    page.locator("#toggle_names").click()
    expect(page.locator("#main-table")).to_contain_text("carl")

    with gradebook(server) as there:
        id = there.find_submission_notebook(NOTEBOOK, LAB, "carl").id
    page.goto(f"{server.url}/formgrader/submissions/{id}/")
    page.locator(".glyphicon-eye-open").click()
    expect(page.locator(".breadcrumb")).to_contain_text("carl")
    picture = page.get_by_role("img", name="x", exact=True)
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 80
    cell = page.locator(".nbgrader_cell", has=page.locator("#written-scale"))
    loaded(page)
    with saving(page, "grade"):
        cell.get_by_role("button", name="Full credit").click()
    page.locator("#written-heads").fill("0.25")
    with saving(page, "grade"):
        page.locator("#written-heads").blur()
    comment = page.locator("#written-scale-comment")
    comment.fill("well <b>done</b>")
    with saving(page, "comment"):
        comment.blur()
    page.screenshot(path=tmp_path / "submission.png", full_page=True)
    assert said == []
    for way in ("Next", "Prev"):  # to the list, or to mallory's page, where much is refused: ids are random
        with page.expect_response(lambda r: r.ok and r.request.is_navigation_request()):
            page.get_by_role("link", name=way).click()
        page.goto(f"{server.url}/formgrader/submissions/{id}/")
    said.clear()
    expect(page.locator("#written-scale")).to_have_value("1")
    expect(page.locator("#written-heads")).to_have_value("0.25")
    expect(page.locator("#written-scale-comment")).to_have_value("well <b>done</b>")
    with saving(page, "grade"):
        cell.get_by_role("button", name="No credit").click()
    expect(page.locator("#written-scale")).to_have_value("0")

    page.goto(f"{server.url}/formgrader/manage_students")
    expect(page.locator("#main-table")).to_contain_text("carl")
    page.goto(f"{server.url}/formgrader/manage_students/carl")
    expect(page.locator("#main-table")).to_contain_text(LAB)
    page.goto(f"{server.url}/formgrader/manage_students/carl/{LAB}")
    expect(page.locator("#main-table")).to_contain_text(NOTEBOOK)
    assert said == []
    with gradebook(server) as there:
        marks = {g.name: g.manual_score for g in there.find_submission_notebook(NOTEBOOK, LAB, "carl").grades}
    assert (marks["written-scale"], marks["written-heads"]) == (0, 0.25)


def press(page: Page, row: Locator, what: str, said: list[str]) -> None:
    """A button of a list that does its work on the server, and the dialog that tells how it went."""
    row.locator(f".{what} a").click()
    dialog = page.locator(".modal-dialog")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".modal-title")).to_have_text("Success")
    dialog.get_by_role("button", name="OK").click()
    expect(dialog).to_have_count(0)
    assert said == []


def test_every_button_does_its_work(page, server, said):
    row = page.locator("tr", has_text=SECOND.assignment)
    press(page, row, "assign", said)
    press(page, row, "release", said)
    row.locator(".edit a").click()
    page.locator(".modal-duedate").fill("2030-01-02T03:04")
    page.get_by_role("button", name="Save").click()
    expect(row.locator(".duedate")).to_contain_text("2030-01-02")

    # What nbgrader's Submit leaves in the exchange; the file is damaged, so that no kernel is needed.
    handed_in = server.folder / "exchange" / "vit" / "inbound" / f"dora+{SECOND.assignment}+2030-01-01 00:00:00 UTC+x"
    handed_in.mkdir(parents=True)
    (handed_in / "timestamp.txt").write_text("2030-01-01 00:00:00 UTC")
    (handed_in / "submission_secret.txt").write_text("s" * 64)
    (handed_in / f"{SECOND.notebook}.ipynb").write_text(PLANTED)
    press(page, row, "collect", said)
    row.locator(".num-submissions a").click()
    row = page.locator("tr", has=page.locator(".student-id", has_text="dora"))
    for what in ("autograde", "generate-feedback", "release-feedback"):
        press(page, row, what, said)
    expect(row.locator(".status")).to_have_text("needs manual grading")
    assert list((server.folder / "exchange" / "vit" / "feedback").glob("*.html"))

    page.goto(f"{server.url}/formgrader/manage_students")
    page.get_by_text("Add new student").click()
    page.locator("input.id").fill("eve")
    page.locator(".modal").get_by_role("button", name="Save").click()
    row = page.locator("tr", has=page.locator(".id", has_text="eve"))
    row.locator(".edit a").click()
    page.locator(".modal-last-name").fill("<b>Eve</b>")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("<b>Eve</b>")
    assert said == [] and page.evaluate("top.ran") is None


def test_nothing_that_a_submission_plants_runs(page, server, said):
    with gradebook(server) as there:
        id = there.find_submission_notebook(NOTEBOOK, LAB, "mallory").id
        before = {g.name: g.manual_score for g in there.find_submission_notebook(NOTEBOOK, LAB, "mallory").grades}
    page.goto(f"{server.url}/formgrader/submissions/{id}/")
    expect(page.locator("#written-scale")).to_be_visible()
    planted = page.get_by_role("link", name="planted")
    assert planted.count() > 0  # in the cell that is not cleaned
    for link in planted.all():
        link.evaluate("link => link.click()")
    for button in page.get_by_role("button", name="planted").all():
        button.evaluate("button => button.click()")
    assert page.url == f"{server.url}/formgrader/submissions/{id}/"
    assert page.evaluate("top.ran") is None
    assert any("Content Security Policy" in refusal for refusal in said)
    assert page.locator(".nbgrader_cell a").count() == 0  # what is cleaned has no link that could be clicked
    loaded(page)
    with saving(page, "grade"):  # the page still works
        page.get_by_role("button", name="Full credit").last.click()
    for path in (
        "manage_students",
        "manage_students/" + urllib.parse.quote(ODD, safe=""),
        "manage_students/x%22;top.ran=1;%22",
        f"gradebook/{LAB}/x%5C/",
        "gradebook/%3Cscript%3Etop.ran=1%3C%5C%3E",
        "submissions/%3Cscript%3Etop.ran=1%3C%2Fscript%3E",
    ):
        page.goto(f"{server.url}/formgrader/{path}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("top.ran") is None, path
    assert before["written-scale"] is None
    # Jupyter's own view of the file: scripts would run in an origin that is nobody's.
    with urllib.request.urlopen(server.page(f"files/autograded/mallory/{LAB}/{NOTEBOOK}.ipynb")) as answer:
        (sandbox,) = re.findall(r"sandbox[^;]*", answer.headers["Content-Security-Policy"])
        assert "allow-same-origin" not in sandbox


def test_the_policy_names_what_may_run_and_nothing_more(server):
    with gradebook(server) as there:
        id = there.find_submission_notebook(NOTEBOOK, LAB, "mallory").id
    nonces = set()
    for path in ("manage_assignments", "gradebook", f"submissions/{id}/", f"submissions/{id}/", "api/students"):
        with urllib.request.urlopen(server.page(f"formgrader/{path}")) as answer:
            policy, body = answer.headers["Content-Security-Policy"], answer.read().decode()
        (scripts,) = re.findall(r"script-src ([^;]*)", policy)
        assert "'unsafe-inline'" not in scripts and "'unsafe-eval'" not in scripts and "'self'" not in scripts
        assert "default-src 'none'" in policy and "base-uri 'none'" in policy and "form-action 'none'" in policy
        (nonce,) = re.findall(r"'nonce-([\w-]{20,})'", scripts)
        nonces.add(nonce)
        if path.startswith("submissions"):
            given = re.findall(r"<script[^>]*nonce=[^>]*>", body)
            assert len(given) > 8 and all(nonce in tag for tag in given)
        assert "text/x-mathjax-config" not in body  # MathJax would evaluate it
    assert len(nonces) == 5


def test_another_course_on_the_same_server_is_shown_as_ever(server):
    """formgrader can be led to another course while it runs, and back."""
    plain = server.folder / "plain"
    plain.mkdir()
    (plain / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.root = {str(plain)!r}\n")
    policies = []
    for query in (f"&path={urllib.parse.quote(str(plain))}", ""):
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(server.page("formgrader/") + query).close()
        with opener.open(server.page("formgrader/manage_students")) as answer:
            policies.append((answer.headers["Content-Security-Policy"], answer.read().decode()))
    (other, page), (ours, our_page) = policies
    assert "script-src" not in other and "nonce" not in page
    assert "script-src 'nonce-" in ours and "nonce" in our_page
