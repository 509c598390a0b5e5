"""What a release says of its place and version: which vitedu it needs, where that comes from, and its badges."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, unquote

from nbformat import NotebookNode
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode
from traitlets.config import Config

from autograder.errors import UserError
from autograder.labs.lab import INSTALL, Lab, find_lab
from autograder.sanitize.untrusted import terminal
from vitedu import __version__

CALL = re.compile(r"^prepare\((.*)\)$", re.MULTILINE)
VERSIONED = re.compile(r"vitedu==[0-9][A-Za-z0-9.!+]*", re.ASCII)
WHEEL = re.compile(
    r"(?:https://[^\s\"']+|http://(?:localhost|127\.0\.0\.1)(?::\d+)?(?:/[^\s\"']*)?)/vitedu-[0-9][^\s/\"']*\.whl"
    r"(?:#sha256=[0-9a-f]{64})?",
    re.ASCII,
)
FOLDER = re.compile(r"(?:[/.]|[A-Za-z]:)[^\n\"'*?\[\]]*")
REPOSITORY = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+)/blob/([\w.-]+)((?:/[^\s/?#]+)*)/?", re.ASCII)


class Release(NbGraderPreprocessor):
    """Stage of a release: its first code cell, and the badges under its title."""

    install_from = Unicode(
        "",
        help="""Where a notebook's first cell installs vitedu from when no wheel lies beside it: "vitedu==0.1.0" from
        pip's index, a wheel's address ("https://.../vitedu-0.1.0-py3-none-any.whl"), or a folder with the wheel that
        students' notebooks can read ("/srv/course"). Empty: from nowhere.""",
    ).tag(config=True)
    repository = Unicode(
        "",
        help="""Address of the folder release/ in a public repository, such as
        "https://github.com/ORG/COURSE/blob/main/release": notebooks then have badges that open them in Colab, Binder
        and Kaggle. Empty: no badges.""",
    ).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Fill in what is configured.

        Raises:
            NbGraderException: a setting is none of those that can be meant.
        """
        try:
            fill_in(nb, find_lab(resources["nbgrader"]["assignment"]), self.install_from, self.repository)
        except UserError as error:
            raise NbGraderException(str(error)) from None
        return nb, resources


def release_settings(config: Config) -> tuple[str, str]:
    """`install_from` and `repository` of a configuration, checked.

    Raises:
        UserError: one of them is none of those that can be meant.
        TraitError: one is no text.
    """
    release = Release(config=config)
    check(release.install_from, release.repository)
    return release.install_from, release.repository


def check(install_from: str, repository: str) -> None:
    """Refuse what students could not install from, or no badge lead to.

    Raises:
        UserError: with what was expected and found.
    """
    if install_from and not any(form.fullmatch(install_from) for form in (VERSIONED, WHEEL, FOLDER)):
        raise UserError(
            "Expected in c.Release.install_from 'vitedu==VERSION', a wheel's address 'https://.../vitedu-....whl', or "
            f"a folder such as '/srv/course', found {terminal(repr(install_from), 200)}; mend it in nbgrader_config.py."
        )
    if repository and not REPOSITORY.fullmatch(repository):
        raise UserError(
            "Expected in c.Release.repository 'https://github.com/ORG/COURSE/blob/BRANCH/FOLDER', found "
            f"{terminal(repr(repository), 200)}; mend it in nbgrader_config.py."
        )


def marks(install_from: str, repository: str) -> dict[str, str]:
    """What a released notebook's metadata says of its version and settings."""
    given = {"needs": __version__, "install_from": install_from, "repository": repository}
    return {name: value for name, value in given.items() if value}


def fill_in(nb: NotebookNode, lab: Lab, install_from: str, repository: str) -> None:
    """Write version, address and badges into a notebook that is to be released.

    Raises:
        UserError: see `check`.
    """
    check(install_from, repository)
    nb.metadata.setdefault("vitedu", NotebookNode()).update(marks(install_from, repository))
    for cell in nb.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id == INSTALL:
            cell.source = CALL.sub(lambda call: _call(call[1], install_from), cell.source)
        elif grade_id == "title" and repository:
            heading, _, text = cell.source.partition("\n")
            cell.source = f"{heading}\n\n{badges(repository, lab)}\n{text}"


def requirement(install_from: str, extras: str = "") -> str:
    """What pip is given to install from a setting; a pattern for a folder's wheels, without the extras."""
    extra = f"[{extras}]" if extras else ""
    if VERSIONED.fullmatch(install_from):
        return install_from.replace("==", f"{extra}==")
    if WHEEL.fullmatch(install_from):
        return f"vitedu{extra} @ {install_from}"
    return f"{install_from.rstrip('/')}/vitedu-*.whl" if install_from else ""


def _call(libraries: str, install_from: str) -> str:
    """The call of the first cell, with what is known of this release."""
    given = {"needs": __version__, "install_from": requirement(install_from, "libraries" if libraries else "")}
    more = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items() if value]
    return f"prepare({', '.join([*([libraries] if libraries else []), *more])})"


def badges(repository: str, lab: Lab) -> str:
    """Three pictures that are links: the notebook in Colab, Binder and Kaggle."""
    found = REPOSITORY.fullmatch(repository)
    assert found is not None
    owner, branch, folder = found[1], found[2], unquote(found[3]).strip("/")
    path = "/".join(part for part in (folder, lab.assignment, f"{lab.notebook}.ipynb") if part)
    links = {
        "Open in Colab": (
            "https://colab.research.google.com/assets/colab-badge.svg",
            f"https://colab.research.google.com/github/{owner}/blob/{branch}/{quote(path)}",
        ),
        "Open in Binder": (
            "https://mybinder.org/badge_logo.svg",
            f"https://mybinder.org/v2/gh/{owner}/{branch}?labpath={quote(path, safe='')}",
        ),
        "Open in Kaggle": (
            "https://kaggle.com/static/images/open-in-kaggle.svg",
            f"https://kaggle.com/kernels/welcome?src=https://github.com/{owner}/blob/{branch}/{quote(path)}",
        ),
    }
    return " ".join(f"[![{name}]({picture})]({link})" for name, (picture, link) in links.items())
