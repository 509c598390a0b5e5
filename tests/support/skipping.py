"""What a test does where a program is missing."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test on a person's machine; fail it in CI, where nothing may be left untested unseen."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
