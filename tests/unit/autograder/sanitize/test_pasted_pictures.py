"""Pictures in answers: which are kept, from the handed-in file to formgrader's page and the feedback."""

import base64
import json
import zlib
from urllib.parse import quote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook
from traitlets.config import Config

from autograder.authoring.sample_class import Student, hand_in
from autograder.labs.lab import ROOT, find_lab
from autograder.nbgrader_integration.preprocessors import answers_of
from autograder.reporting import feedback_page
from autograder.reporting.feedback_cells import showable
from autograder.sanitize import markdown, pictures, untrusted
from autograder.sanitize.page_budget import PageBudget
from autograder.submission.parse_notebook import parse_submission
from autograder.submission.pieces import is_unchanged
from autograder.submission.rebuild import rebuild
from support.pixels import encoded
from support.sample_class import assert_harmless

LAB = find_lab("lab1_attention")


def sources(markup: str) -> list[str]:
    """The pictures of a page, as base64."""
    return [image["src"].partition(",")[2] for image in BeautifulSoup(markup, "html.parser").find_all("img")]


def bomb() -> str:
    """A PNG of a few bytes that says that it has 60,000 x 60,000 pixels."""
    content = bytearray(base64.b64decode(encoded()))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return base64.b64encode(content).decode()


SVG = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").decode()


@pytest.mark.parametrize(
    ("mime", "data", "why"),
    [
        ("image/svg+xml", SVG, "only PNG and JPEG"),
        ("image/png", SVG, "only PNG and JPEG"),
        ("image/gif", encoded(kind="GIF"), "only PNG and JPEG"),
        ("text/html", base64.b64encode(b"<script>alert(1)</script>").decode(), "only PNG and JPEG"),
        ("image/png", encoded()[:40], "damaged"),
        ("image/png", "not base64!", "damaged"),
        ("image/jpeg", base64.b64encode(b"\xff\xd8\xff and no more").decode(), "damaged"),
        ("image/png", bomb(), "60000 x 60000 pixels"),
        ("image/png", encoded(size=(17_000, 1)), "17000 x 1 pixels"),
        ("image/jpeg", base64.b64encode(b"\xff\xd8\xff" + bytes(6 * 2**20)).decode(), "6.0 MiB"),
        ("image/png", {"a": 1}, "damaged"),
        ("image/png", None, "damaged"),
    ],
)
def test_what_is_refused_and_why(mime, data, why):
    kept, refused = pictures.attached({"a.png": {mime: data}})
    assert kept == {} and len(refused) == 1
    assert refused[0].startswith("The picture a.png is not shown: ") and why in refused[0]


@pytest.mark.parametrize("value", [None, [], "x", {"a": None}, {"a": []}, {"": {}}, {3: {"image/png": 4}}], ids=repr)
def test_attachments_of_any_shape_are_read(value):
    assert pictures.attached(value)[0] == {}


def test_a_picture_is_kept_under_its_true_type_and_a_cell_holds_so_many():
    assert pictures.attached({"a": {"image/png": [encoded(kind="JPEG")]}})[0]["a"].keys() == {"image/jpeg"}
    kept, refused = pictures.attached({f"{i}.png": {"image/png": encoded()} for i in range(25)})
    assert len(kept) == pictures.MAX_NUMBER and len(refused) == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.png", "![x](attachment:a.png)"),
        ("a.png", "![x](attachment:a.png 'a title')"),
        ("a.png", "![x][1]\n\n[1]: attachment:a.png"),
        ("a.png", "<img src='attachment:a.png' width=200 onerror=alert(1)>"),
        ("my picture.png", "![x](attachment:my%20picture.png)"),
        ("my%20picture.png", "![x](attachment:my%20picture.png)"),
        ("my picture.png", "![x](<attachment:my picture.png>)"),
        ("Bild \u00e4\u00df.png", "![x](attachment:" + quote("Bild a\u0308\u00df.png") + ")"),
        ("\u56fe.png", "![x](attachment:\u56fe.png)"),
        ("a.png", "nothing refers to it"),
        ("a.png", ""),
    ],
)
def test_however_it_is_named_it_is_shown_once(name, text):
    shown = markdown.markdown(text, {name: {"image/png": encoded()}})
    assert sources(shown) == [encoded()]
    assert_harmless(shown)


@pytest.mark.parametrize("text", ["![x](attachment:no.png)", "<img src=attachment:no.png>", "![x](attachment:b.svg)"])
def test_a_picture_that_is_not_there_is_a_sentence(text):
    shown = markdown.markdown(f"before {text} after", {"b.svg": {"image/svg+xml": SVG}})
    assert "is not shown" in shown and "before" in shown and "after" in shown and "<img" not in shown


def submission(mend) -> nbformat.NotebookNode:
    """A rebuilt notebook, of the release after some surgery."""
    release = nbformat.read(ROOT / "notebooks" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    handed_in = hand_in(release, Student("s", "", {}, mend))
    points = {c.metadata.nbgrader.grade_id: 1.0 for c in release.cells if "points" in c.metadata.nbgrader}
    nb, mended = rebuild(parse_submission(json.dumps(handed_in).encode()), release, points)
    nb.metadata["vitedu"] = {"mended": mended}
    nbformat.validate(nb)
    return nb


def written(nb: nbformat.NotebookNode, grade_id: str = "written-scale") -> nbformat.NotebookNode:
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def formgraders_page(*cells: nbformat.NotebookNode) -> str:
    config = Config()
    feedback_page.configure(config)
    return HTMLExporter(config=config).from_notebook_node(new_notebook(cells=list(cells)))[0]


def test_pictures_arrive_in_formgrader_and_feedback():
    large = encoded(kind="PNG", size=(700, 700))
    noise = base64.b64encode(b"\xff\xd8\xff" + bytes(10)).decode()

    def mend(nb):
        cell = written(nb)
        cell.source = f"![](attachment:image.png) <img src='data:image/png;base64,{large}'> ![n](attachment:n.jpg)"
        cell["attachments"] = {"image.png": {"image/png": encoded("red")}, "n.jpg": {"image/jpeg": noise}}
        other = written(nb, "written-heads")
        other.source = f"![](attachment:image.png) ![](data:image/jpeg;base64,{encoded(kind='JPEG')})"
        other["attachments"] = {"image.png": {"image/png": encoded("blue")}}
        own = new_markdown_cell("![](attachment:image.png)", attachments={"image.png": {"image/png": encoded("green")}})
        nb.cells.insert(3, own)

    nb = submission(mend)
    assert nb.metadata.vitedu.mended == ["The picture n.jpg is not shown: its data are damaged."]
    own = next(c for c in nb.cells if c.metadata.vitedu.get("role") == "own")
    cells = [written(nb), written(nb, "written-heads"), own]
    expected = [[encoded("red"), large], [encoded("blue"), encoded(kind="JPEG")], [encoded("green")]]
    for cell, found in zip(cells, expected, strict=True):
        assert sources(formgraders_page(cell)) == found
        shown = showable(cell, {}, {}, PageBudget())
        assert sources(markdown.markdown(shown.source, shown.attachments)) == found


def test_two_cells_that_become_one_answer_keep_their_pictures_apart():
    def mend(nb):
        written(nb).source = "first ![](attachment:image.png)"
        written(nb)["attachments"] = {"image.png": {"image/png": encoded("red")}}
        more = new_markdown_cell("more ![](attachment:image.png)")
        more["attachments"] = {"image.png": {"image/png": encoded("blue")}}
        nb.cells.insert(nb.cells.index(written(nb)) + 1, more)

    assert sources(formgraders_page(written(submission(mend)))) == [encoded("red"), encoded("blue")]


def test_another_picture_is_another_answer_and_a_picture_alone_is_one():
    def with_picture(colour):
        def mend(nb):
            written(nb).source = "![](attachment:image.png)"
            written(nb)["attachments"] = {"image.png": {"image/png": encoded(colour)}}

        return submission(mend)

    red, blue = with_picture("red"), with_picture("blue")
    assert answers_of(red)["written-scale"] != answers_of(blue)["written-scale"]
    assert answers_of(red)["written-heads"] == answers_of(blue)["written-heads"]

    def only_attached(nb):  # the text is as released
        written(nb)["attachments"] = {"image.png": {"image/png": encoded()}}

    answer = written(submission(only_attached))
    assert sources(formgraders_page(answer)) == [encoded()]
    assert is_unchanged(answer.source, answer.source) and not is_unchanged(
        answer.source, answer.source, answer.attachments
    )


def test_a_picture_that_is_named_many_times_is_shown_a_few_times():
    attachments = {"a.png": {"image/png": encoded()}}
    shown = untrusted.html('<img src="attachment:a.png" alt="a">' * 100, attachments)
    assert shown.count("<img") == pictures.MAX_TIMES and shown.count("[the picture a.png again]") == 97


def test_what_a_text_refers_to_is_found_in_one_go():
    attachments = {"a b.png": {"image/png": encoded()}, "c.png": {"image/png": encoded()}}
    assert list(pictures.referenced("![](attachment:a%20b.png) attachment:c", attachments)) == ["a b.png"]
    assert list(pictures.referenced("attachment:" * 80_000 + "c.png", attachments)) == ["c.png"]


def test_thousands_of_embedded_pictures_are_looked_at_once():
    text = " ".join(f"![](data:image/png;base64,{i:032d})" for i in range(8000))
    source, kept, refused = pictures.embedded_as_attachments(text, {})
    assert not kept and source.count("attachment:") == 8000 and len(refused) <= 11 * pictures.MAX_NUMBER


def test_a_notebook_has_room_for_so_many_pictures(monkeypatch):
    monkeypatch.setitem(pictures.MAX_ALL, "pictures", 3)
    budget, each = pictures.Budget(), {"a.png": {"image/png": encoded()}, "b.png": {"image/png": encoded()}}
    assert budget.take(each) == (each, [])
    kept, (refused,) = budget.take(each)
    assert list(kept) == ["a.png"] and "b.png is not shown: a notebook may have 3 pictures" in refused
