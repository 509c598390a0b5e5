"""What several test files share: the browser they drive, and numbers in float64."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from autograder.sandbox.bubblewrap import unavailable
from support.shared import shared_folder
from support.skipping import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from support.course_fixture import Course


pytest_plugins = ["support.durations"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--baselines", action="store_true", help="run all hostile submissions without walls, and record it"
    )


@pytest.fixture(scope="session")
def make_course(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """Puts a graded course there: "ada" is marked by hand too, "mallory" is hostile, "zoe" handed nothing in.

    It is made once a run: the gradebook takes seconds.
    """
    from support.sample_class import class_of_samples, fill_course

    made = shared_folder(request, "class", lambda root: fill_course(root, class_of_samples()))
    return lambda root: Path(shutil.copytree(made, root, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def released_course(request: pytest.FixtureRequest) -> "Course":
    """A course with Lab 1 released by real nbgrader, for copying; it is made once a run."""
    from support.course_fixture import Course

    return Course(shared_folder(request, "released", lambda root: Course(root).release()))


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Path:
    """The built site, as `make site` builds it; it is made once a run."""
    from support.site import build

    return shared_folder(request, "site", build)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser: VITEDU_CHROMIUM, or the first of chromium and google-chrome on PATH.

    For Playwright: `playwright.chromium.launch(executable_path=chromium)`.
    """
    for name in filter(None, (os.environ.get("VITEDU_CHROMIUM"), "chromium", "google-chrome")):
        if path := shutil.which(name):
            return path
    missing("no browser: install chromium (Debian: apt-get install chromium), or name one in VITEDU_CHROMIUM")


@pytest.fixture(scope="session")
def walls() -> None:
    """There is a sandbox."""
    if why := unavailable():
        missing(why)


@pytest.fixture
def float64():
    """Every parameter and input of the test is float64, from a fixed seed."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def browser(chromium: str) -> "Iterator[Browser]":
    """Chromium without a window, one for a file of tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        running = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        running.close()
