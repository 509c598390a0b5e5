"""What a course's configuration puts into a release: the version, the address, and badges."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.apps import NbGraderAPI
from packaging.requirements import Requirement
from traitlets.config import Config

from autograder.authoring import build
from autograder.course import configure
from autograder.errors import UserError
from autograder.labs.lab import INSTALL, Lab, all_labs, find_lab
from autograder.nbgrader_integration import release
from autograder.nbgrader_integration.instructor_config import read_config
from vitedu import __version__

LAB = find_lab("lab1")
ADDRESS = "https://example.org/files/vitedu-0.1.0-py3-none-any.whl"
REPOSITORY = "https://github.com/our-org/vit.course/blob/main/students/release"
LABS = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)


def filled(lab: Lab, install_from: str = "", repository: str = "") -> NotebookNode:
    nb = build.source_notebook(lab)
    release.fill_in(nb, lab, install_from, repository)
    return nb


def call(nb: NotebookNode) -> dict[str, object]:
    """What the first cell's call gives to `prepare`, as Python reads it."""
    (source,) = [cell.source for cell in nb.cells if cell.metadata.nbgrader.grade_id == INSTALL]
    (node,) = [node.value for node in ast.parse(source).body if isinstance(node, ast.Expr)]
    libraries = [ast.literal_eval(argument) for argument in node.args]
    return {each.arg: ast.literal_eval(each.value) for each in node.keywords} | {"libraries": libraries}


@LABS
def test_a_release_says_which_version_it_needs(lab):
    libraries = {"lab5": ["timm", "transformers"], "lab6": ["timm"]}.get(lab.key, [])
    nb = filled(lab)
    assert call(nb) == {"needs": __version__, "libraries": libraries}
    assert nb.metadata.vitedu == {"source": build.source_hash(lab), "needs": __version__}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("vitedu==0.1.0", "vitedu{}==0.1.0"),
        (ADDRESS, f"vitedu{{}} @ {ADDRESS}"),
        (f"{ADDRESS}#sha256={'0' * 64}", f"vitedu{{}} @ {ADDRESS}#sha256={'0' * 64}"),
        ("http://127.0.0.1:8000/vitedu-0.1.0-py3-none-any.whl",
         "vitedu{} @ http://127.0.0.1:8000/vitedu-0.1.0-py3-none-any.whl"),
        ("/srv/our course/", "/srv/our course/vitedu-*.whl"),
        ("../Größe", "../Größe/vitedu-*.whl"),
        ("C:\\course", "C:\\course/vitedu-*.whl"),
    ],
)  # fmt: skip
def test_the_address_is_written_as_pip_takes_it(given, expected):
    for lab, extra in ((LAB, ""), (find_lab("lab5"), "[libraries]")):
        written = call(filled(lab, given))["install_from"]
        assert written == expected.format(extra)
        if not written.endswith("*.whl"):
            assert Requirement(written).name == "vitedu"


@pytest.mark.parametrize(
    "given",
    ["vitedu", "vitedu>=0.1", "other==1.0", "vitedu==", "https://example.org/vitedu.zip", "dist",
     "http://example.org/vitedu-0.1.0-py3-none-any.whl", "https://example.org/other-0.1.0-py3-none-any.whl",
     'vitedu==1.0"); import os; ("', '/srv/"', "/srv/*"],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused(given):
    with pytest.raises(UserError) as caught:
        filled(LAB, given)
    said = str(caught.value)
    assert said.startswith("Expected in c.Release.install_from 'vitedu==VERSION', a wheel's") and "\n" not in said
    assert "mend it in nbgrader_config.py" in said


# --- badges


@LABS
@pytest.mark.parametrize("folder", ["/students/release", "", "/r\u00e9lease", "/r%C3%A9lease"])
def test_badges_lead_to_the_notebook(lab, folder):
    nb = filled(lab, "", f"https://github.com/our-org/vit.course/blob/main{folder}")
    title, was = nb.cells[0].source, build.source_notebook(lab).cells[0].source
    heading, empty, line, rest = title.split("\n", 3)
    assert f"{heading}\n{rest}" == was and empty == "" and rest.startswith("\n")
    badges = re.findall(r"\[!\[([\w ]+)\]\(([^()\s]+)\)\]\(([^()\s]+)\)", line)
    assert [name for name, *_ in badges] == ["Open in Colab", "Open in Binder", "Open in Kaggle"]
    assert " ".join(f"[![{name}]({picture})]({link})" for name, picture, link in badges) == line and line.isascii()
    path = f"{unquote(folder)}/{lab.assignment}/{lab.notebook}.ipynb".lstrip("/")
    colab, binder, kaggle = (urlsplit(link) for *_, link in badges)
    assert colab.netloc == "colab.research.google.com"
    assert unquote(colab.path) == f"/github/our-org/vit.course/blob/main/{path}"
    assert (binder.netloc, binder.path) == ("mybinder.org", "/v2/gh/our-org/vit.course/main")
    assert parse_qs(binder.query) == {"labpath": [path]}
    assert (kaggle.netloc, kaggle.path) == ("kaggle.com", "/kernels/welcome")
    assert parse_qs(kaggle.query) == {"src": [f"https://github.com/our-org/vit.course/blob/main/{path}"]}


@pytest.mark.parametrize(
    "given",
    ["ORG/COURSE", "https://github.com/our-org/course", "https://github.com/our-org/course/tree/main", "http://github.com",
     "https://gitlab.com/our-org/course/blob/main", "https://github.com/our-org/course/blob/main/a b"],
)  # fmt: skip
def test_a_repository_that_no_badge_can_lead_to_is_refused(given):
    with pytest.raises(UserError, match=r"Expected in c\.Release\.repository 'https://github\.com/ORG/COURSE/blob"):
        filled(LAB, "", given)


# --- in a course


def released(course: Path, settings: str) -> dict:
    """What nbgrader says of a release in a course with these settings."""
    (course / "nbgrader_config.py").write_text(f"c = get_config()\n{settings}\n")
    config = read_config(course)
    configure(config, course)
    config.GenerateAssignment.preprocessors = config.GenerateAssignment.preprocessors[1:]  # it takes seconds
    config.NbGraderAPI.log_level = 40
    return NbGraderAPI(config=config).generate_assignment(LAB.assignment)


def test_nbgrader_writes_what_is_configured(tmp_path):
    settings = f"c.Release.install_from = {ADDRESS!r}\nc.Release.repository = {REPOSITORY!r}"
    result = released(tmp_path, settings)
    assert result["success"], result
    nb = nbformat.read(tmp_path / "release" / LAB.assignment / f"{LAB.notebook}.ipynb", as_version=4)
    assert call(nb)["install_from"] == f"vitedu @ {ADDRESS}" and "[![Open in Colab](" in nb.cells[0].source
    assert nb.metadata.vitedu.install_from == ADDRESS and nb.metadata.vitedu.repository == REPOSITORY
    # nbgrader notes the text of locked cells, so ours must have been there by then.
    assert all("checksum" in cell.metadata.nbgrader for cell in nb.cells if cell.metadata.nbgrader.grade)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c.Release.instal_from = ''", "sets c.Release.instal_from, which does not exist; mend the name (there are"),
        ("c.Release.install_from = 3", "install_from"),
        ("c.Release.install_from = 'vitedu'", "Expected in c.Release.install_from"),
        ("c.Release.repository = 'here'", "Expected in c.Release.repository"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_in_one_sentence(tmp_path, line, said):
    with pytest.raises(UserError) as caught:
        released(tmp_path, line)
    assert said in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "release").exists()


def test_nbgraders_own_command_refuses_it_too(tmp_path):
    config = Config()
    config.Release.install_from = "vitedu"
    configure(config, tmp_path)
    config.GenerateAssignment.preprocessors = config.GenerateAssignment.preprocessors[1:]
    config.NbGraderAPI.log_level = 40
    result = NbGraderAPI(config=config).generate_assignment(LAB.assignment)
    assert not result["success"] and "Expected in c.Release.install_from" in f"{result.get('log')}{result.get('error')}"
    assert not list((tmp_path / "release").rglob("*.ipynb"))


# --- in a clone


def test_what_the_clone_configures_comes_with_make_notebooks(tmp_path, monkeypatch):
    (tmp_path / "nbgrader_config.py").write_text(f"c = get_config()\nc.Release.repository = {REPOSITORY!r}\n")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    nb = build.release(build.source_notebook(LAB), LAB)
    assert "[![Open in Kaggle](" in nb.cells[0].source and nb.metadata.vitedu.repository == REPOSITORY
    assert release.marks(*release.release_settings(build.settings())).items() <= nb.metadata.vitedu.items()
