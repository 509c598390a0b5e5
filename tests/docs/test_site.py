"""The site builds without a warning, its links hold, nothing comes from elsewhere, and no page shows a solution."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup

from autograder.labs.lab import ROOT, Lab, all_labs
from support.site import build

each_lab = pytest.mark.parametrize("lab", all_labs(), ids=lambda lab: lab.key)
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
ENOUGH = 12  # letters of a line of code: shorter ones, such as `return x`, say nothing


def pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]


def read(path: Path) -> BeautifulSoup:
    text = path.read_text(encoding="utf-8")
    return BeautifulSoup(re.sub(r'data:image/png;base64,[^"]*', "data:,", text), "html.parser")


@pytest.fixture(scope="module")
def soups(site) -> dict[Path, BeautifulSoup]:
    return {path: read(path) for path in pages(site)}


def lines_of(source: str) -> set[str]:
    """The lines of code that say something, without blanks at their ends."""
    lines = {line.strip() for line in source.split("\n")}
    return {line for line in lines if len(line) >= ENOUGH and not line.startswith("#")}


def notebook(folder: str, lab: Lab):
    return nbformat.read(ROOT / folder / lab.assignment / f"{lab.notebook}.ipynb", as_version=4)


def test_there_is_a_page_for_each_lab_and_each_guide(site):
    names = {path.relative_to(site).with_suffix("").as_posix() for path in pages(site)}
    sources = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sources | {f"labs/{lab.assignment}" for lab in all_labs()} <= names
    first = (site / "index.html").read_text(encoding="utf-8")
    assert "diagnosis.png" in first and "report.png" in first


def test_every_link_and_file_of_a_page_exists(site, soups):
    anchors = {path: {tag["id"] for tag in soup.select("[id]")} for path, soup in soups.items()}
    broken, seen = [], 0
    for path, soup in soups.items():
        for tag in soup.select("[href], [src]"):
            address = tag.get("href") or tag.get("src") or ""
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not address.strip("#"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            seen += 1
            if not target.exists():
                broken.append(f"{path.relative_to(site)}: {address}")
            elif parts.fragment and target in anchors and unquote(parts.fragment) not in anchors[target]:
                broken.append(f"{path.relative_to(site)}: {address}: no such place")
    assert seen > 1000 and not broken, "\n".join(broken)


def test_pages_and_style_sheets_load_nothing_from_elsewhere(site, soups):
    found = []
    for path, soup in soups.items():
        for name, attribute in LOADED.items():
            for tag in soup.find_all(name):
                if urlsplit(tag.get(attribute, "")).netloc:
                    found.append(f"{path.relative_to(site)}: {tag}")
        found += [f"{path.name}: {style}" for style in re.findall(r"url\([\"']?(?:https?:)?//[^)]*", str(soup))]
    for path in site.rglob("*.css"):
        found += [f"{path.name}: {hit}" for hit in re.findall(r"url\([\"']?(?:https?:)?//[^)]*", path.read_text())]
        found += [f"{path.name}: {hit}" for hit in re.findall(r"@import[^;]*//[^;]*", path.read_text())]
    assert not found, "\n".join(found)


@each_lab
def test_a_lab_shows_the_students_cells_and_the_figures(site, lab):
    page = read(site / "labs" / f"{lab.assignment}.html")
    code = [re.sub(r"\s", "", cell.get_text()) for cell in page.select(".cell_input")]
    for cell in notebook("notebooks", lab).cells:
        if cell.cell_type == "code" and cell.metadata.nbgrader.grade_id != "install":
            assert re.sub(r"\s", "", cell.source) in code, cell.source
    stored = [cell for cell in notebook("solutions", lab).cells if cell.metadata.nbgrader.locked]
    pictures = [o for cell in stored for o in cell.get("outputs", []) if "<img" in str(o.get("data", {}))]
    shown = page.select(".cell_output img")
    assert len(shown) >= len(pictures) >= 3
    assert all(len(picture["alt"]) > 20 for picture in shown)
    assert page.select_one(".cell_output").get_text() and "right" in page.get_text()


@each_lab
def test_no_page_shows_a_line_of_a_solution(soups, lab):
    """But for lines that students get anyway: in this lab's notebook, or in a later one that hands a part out."""
    sources = {each.assignment: [cell.source for cell in notebook("notebooks", each).cells] for each in all_labs()}
    # A page shows `code` in prose without its quotes, and breaks lines elsewhere.
    plain = {name: " ".join("\n".join(texts).split()) for name, texts in sources.items()}
    handed_out = {name: text + text.replace("`", "") for name, text in plain.items()}
    cells = [cell for cell in notebook("solutions", lab).cells if cell.metadata.nbgrader.solution]
    lines = {" ".join(line.split()) for cell in cells for line in lines_of(cell.source)}
    for path, soup in soups.items():
        public = handed_out.get(path.stem) or "\n".join(handed_out.values())
        secret = {line for line in lines if line not in public}
        assert len(secret) > 20
        text = " ".join(soup.get_text().split())
        if path.stem != "contributing":  # its example speaks of the solution of an exercise that is in no lab
            assert not [line for line in secret if line in text], path


def extension(name: str):
    """A module of docs/_ext, which lies in no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_cell_that_differs_gets_no_output_of_another():
    lab_pages, lab = extension("lab_pages"), all_labs()[0]
    solution = notebook("solutions", lab)
    cell = next(cell for cell in solution.cells if cell.metadata.nbgrader.grade_id == "picture-sentence")
    cell.source += "\n# changed"
    with pytest.raises(ValueError, match=r"The cell picture-sentence is not the same .* make notebooks"):
        lab_pages.page(notebook("notebooks", lab), solution)


def test_outputs_of_cells_that_students_fill_stay_away():
    lab_pages, lab = extension("lab_pages"), all_labs()[0]
    solution = notebook("solutions", lab)
    for cell in solution.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=cell.metadata.nbgrader.grade_id)]
    made = lab_pages.page(notebook("notebooks", lab), solution)
    shown = {o.text for cell in made.cells for o in cell.get("outputs", [])}
    assert "exam-attention_weights" in shown and not shown & {"attention_weights", "playground"}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> tuple[Path, str]:
    """A site with one lab, the address of a repository, and a link to nowhere; and what Sphinx said of it."""
    folder = tmp_path_factory.mktemp("small")
    sources = folder / "docs"
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "docs" / name, sources / name)
    shutil.copy(ROOT / "docs" / "conf.py", sources)
    (folder / "vitedu").mkdir()
    shutil.copy(ROOT / "vitedu" / "__init__.py", folder / "vitedu")  # for the version
    for kind in ("notebooks", "solutions"):
        shutil.copytree(ROOT / kind / "lab1_attention", folder / kind / "lab1_attention")
    (sources / "labs").mkdir()
    (sources / "index.md").write_text("# A site\n\n```{toctree}\nlabs/lab1_attention\n```\n\n[a page](nowhere.md)\n")
    with pytest.raises(RuntimeError) as said:
        build(folder / "site", sources, VITEDU_REPOSITORY="https://github.com/somebody/a-course")
    return folder / "site", str(said.value)


def test_a_link_to_nowhere_turns_the_build_red(small):
    (warning,) = [line for line in small[1].split("\n") if "WARNING" in line]
    assert "index.md" in warning and "nowhere.md" in warning


def test_launch_links_come_with_the_address_of_a_repository(small):
    made = extension("lab_pages").buttons
    path = "notebooks/lab1_attention/attention.ipynb"
    assert made("", "main", path) == ""
    place = f"https://github.com/somebody/a-course/blob/main/{path}"
    links = [
        place.replace("https://github.com", "https://colab.research.google.com/github"),
        f"https://kaggle.com/kernels/welcome?src={place}",
        f"https://mybinder.org/v2/gh/somebody/a-course/main?urlpath=lab/tree/{path}",
    ]
    text, page = made("somebody/a-course", "main", path), read(small[0] / "labs" / "lab1_attention.html")
    for link in links:
        assert f"({link})" in text and len(page.find_all("a", href=link)) == 1


def test_there_is_no_launch_link_without_an_address(soups):
    for path, soup in soups.items():
        assert not soup.select("[href*='colab.research'], [href*='mybinder.org/v2'], [href*='kaggle.com']"), path
