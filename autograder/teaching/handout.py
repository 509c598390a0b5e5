"""`autograder handout`: the zip that students get of a lab, with the notebook, how to start it, and their wheel."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import nbformat
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder.errors import UserError
from autograder.labs.course_files import ROOT, is_installed
from autograder.labs.lab import Lab
from autograder.nbgrader_integration.release import requirement
from autograder.storage.atomic_files import write_atomically
from autograder.storage.course_folder import Course
from autograder.teaching.answers_in import answer_in

TEMPLATES = Path(__file__).with_name("templates")
WHEEL = re.compile(r"vitedu-[0-9][A-Za-z0-9.+_]*-py3-none-any\.whl", re.ASCII)
NO_WHEEL = "vitedu-VERSION-py3-none-any.whl"  # what the manual calls the wheel where none is given
MIDNIGHT = (1980, 1, 1, 0, 0, 0)  # the time of every file inside: the same content is the same zip


@dataclass(frozen=True)
class Handout:
    """What was written.

    Attributes:
        wheel: the students' wheel that is in it; None: none was found.
        install_from: where the notebook itself installs vitedu from, as the course was configured for its release.
    """

    path: Path
    wheel: Path | None
    install_from: str = ""

    @property
    def without_wheel(self) -> str:
        """A sentence where there is no wheel in it and none is needed elsewhere; "" where all is there."""
        if self.wheel or self.install_from:
            return ""
        return "There is no students' wheel in it: none lies in dist/; run `make wheels` or name one with --wheel FILE."


def handout(course: Course, lab: Lab, to: Path | None = None, wheel: Path | None = None) -> Handout:
    """Make the zip of a lab that is released in a course.

    Args:
        to: where; None: handout-LAB.zip in the course folder.
        wheel: the students' wheel; None: the one in dist/, of the course folder or of the repository.

    Raises:
        UserError: something is missing, or holds what students must not see; nothing was written.
    """
    to = to or course.root / f"handout-{lab.assignment}.zip"
    if to.suffix != ".zip" or to.is_dir():
        raise UserError(f"Expected a file that ends in .zip for the handout, found {to}; give it such a name.")
    wheel = wheel or _built_wheel(course.root)
    packed = {wheel.name: _wheel(wheel)} if wheel else {}
    notebook = _notebook(course, lab)
    released = nbformat.reads(notebook.decode(), as_version=4).metadata.get("vitedu", {})
    install_from = str(released.get("install_from", ""))
    manual = _manual(lab, wheel, install_from)
    files = {f"{lab.notebook}.ipynb": notebook, "README.md": manual.encode(), **packed}
    write_atomically(to, _zipped({f"{lab.assignment}/{name}": content for name, content in files.items()}))
    return Handout(to, wheel, install_from)


def _notebook(course: Course, lab: Lab) -> bytes:
    path = course.release(lab)
    if not path.is_file():
        raise UserError(
            f"Expected the released notebook at {path}, found none; in the course folder, run: "
            f"nbgrader generate_assignment {lab.assignment}"
        )
    content = path.read_bytes()
    if found := answer_in(content, lab):
        raise UserError(
            f"Expected at {path} the notebook as students get it, found {found}; "
            f"in the course folder, run: nbgrader generate_assignment {lab.assignment} --force"
        )
    return content


def _built_wheel(root: Path) -> Path | None:
    for folder in (root / "dist", *(() if is_installed() else (ROOT / "dist",))):
        found = sorted(path for path in folder.glob("vitedu-*.whl") if path.is_file())
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"Expected one students' wheel in {folder}, found {names}; name one with --wheel FILE.")
        if found:
            return found[0]
    return None


def _wheel(path: Path) -> bytes:
    """The students' wheel, with nothing of the grader in it."""
    expected = f"Expected the students' wheel, vitedu-VERSION-py3-none-any.whl, found {path}"
    again = "build it with `make wheels` and name it with --wheel FILE."
    if not WHEEL.fullmatch(path.name) or not path.is_file():
        raise UserError(f"{expected}{'' if path.is_file() else ', which is no file'}; {again}")
    content = path.read_bytes()
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (BadZipFile, ValueError, NotImplementedError):
        raise UserError(f"{expected}, which is damaged; {again}") from None
    own = ("vitedu/", f"vitedu-{path.name.split('-')[1]}.dist-info/")
    for name in names:
        if "autograder" in name or not name.startswith(own):
            raise UserError(f"{expected}, which holds {name!r}, and that is not for students; {again}")
    return content


def _manual(lab: Lab, wheel: Path | None, install_from: str) -> str:
    """How to start. A folder in `install_from` is one of a server's, and no address for a student's own computer."""
    address = install_from if "==" in install_from or "://" in install_from else ""
    name, extras = wheel.name if wheel else NO_WHEEL, "lab,libraries"
    package = requirement(address, extras) if address and not wheel else f"./{name}[{extras}]"
    title = next((c.source.partition("\n")[0].lstrip("# ") for c in lab.cells if c.grade_id == "title"), lab.assignment)
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("handout.md.j2").render(
        title=title, notebook=f"{lab.notebook}.ipynb", wheel=wheel, wheel_name=name, address=address, package=package
    )


def _zipped(files: dict[str, bytes]) -> bytes:
    """A zip that says nothing of when and by whom it was made."""
    packed = io.BytesIO()
    with ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            entry = ZipInfo(name, MIDNIGHT)
            entry.compress_type, entry.create_system, entry.external_attr = ZIP_DEFLATED, 3, 0o100644 << 16
            archive.writestr(entry, content)
    return packed.getvalue()
