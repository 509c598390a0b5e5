"""The site in a browser without a network: formulas are set, nothing is asked for, axe-core finds no grave fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from autograder.labs.lab import all_labs
from support.accessible import grave_faults

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.browser, pytest.mark.usefixtures("chromium")]

LABS = [f"labs/{lab.assignment}" for lab in all_labs()]
WIDE, NARROW = 1400, 390
SOME = ["index", LABS[0], "instructors/grading-day"]
each_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


class Reader:
    """Pages of the site, looked at without a network; what they ask for beside files is noted."""

    def __init__(self, browser: Browser, site: Path, scheme: str, width: int) -> None:
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 1000}, offline=True, reduced_motion="reduce"
        )
        self.site, self.page, self.asked = site, context.new_page(), list[str]()
        self.page.on("request", self._note)

    def _note(self, request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:", "about:")):
            self.asked.append(request.url)

    def open(self, name: str) -> Page:
        """A page, with its formulas set."""
        self.page.goto((self.site / f"{name}.html").as_uri())
        self.page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => {})")
        return self.page


@pytest.fixture
def reader(browser, site) -> Iterator:
    made = []

    def make(scheme: str, width: int = WIDE) -> Reader:
        made.append(Reader(browser, site, scheme, width))
        return made[-1]

    yield make
    for each in made:
        each.page.context.close()


def all_pages(site: Path) -> list[str]:
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    return [path.relative_to(site).with_suffix("").as_posix() for path in paths]


def one_of_a_kind(site: Path) -> list[str]:
    """All pages but six labs and the decisions, which are as the others of their kind; `make proofs` takes them all."""
    return [name for name in all_pages(site) if name not in LABS[1:] and not name.startswith("decisions/0")]


def faults(reader: Reader, names: list[str]) -> list[str]:
    return [fault for name in names for fault in grave_faults(reader.open(name))]


def test_formulas_are_set_and_nothing_is_asked_for(reader):
    reading = reader("light")
    page = reading.open(LABS[0])
    formulas = page.locator("mjx-container")
    assert formulas.count() == page.locator(".math").count() > 20
    assert page.locator("mjx-merror").count() == 0
    fraction = page.locator("mjx-container[display=true] mjx-mfrac").first
    assert fraction.bounding_box()["height"] > 20
    assert page.evaluate("document.fonts.ready.then(() => document.fonts.check('16px MJXTEX-I'))")
    for name in ("index", "reference/api"):
        reading.open(name)
    assert not reading.asked


@each_scheme
def test_axe_finds_no_grave_fault_on_some_pages(reader, scheme):
    assert not (found := faults(reader(scheme), SOME)), "\n".join(found)


@pytest.mark.long
@each_scheme
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_axe_finds_no_grave_fault_on_all_pages(reader, site, scheme, width):
    assert not (found := faults(reader(scheme, width), all_pages(site))), "\n".join(found)


@pytest.mark.long
def test_no_page_is_wider_than_a_telephone(reader, site):
    reading = reader("light", NARROW)
    for name in one_of_a_kind(site):
        page = reading.open(name)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW, name


def test_an_image_without_a_text_is_seen(reader):
    """axe does look."""
    page = reader("light").open("index")
    page.evaluate("document.querySelector('article').append(new Image(10, 10))")
    assert any("image-alt" in fault for fault in grave_faults(page))
