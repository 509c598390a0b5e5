"""`autograder new-course`: the folder of a course, with its settings, its manual and its continuous integration."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default import Exchange
from nbgrader.plugins import LateSubmissionPlugin
from nbgrader.preprocessors import AssignLatePenalties
from traitlets import TraitType
from traitlets.config import Configurable

from autograder.errors import UserError
from autograder.labs.lab import all_labs
from autograder.nbgrader_integration.preprocessors import Examine
from autograder.nbgrader_integration.release import Release
from autograder.storage.atomic_files import write_atomically

TEMPLATES = Path(__file__).with_name("templates")
# What a course may set, by heading: a class with those of its traits, or with all that it has of its own.
SETTINGS: dict[str, list[tuple[type[Configurable], tuple[str, ...]]]] = {
    "What students get": [(Release, ())],
    "What the code of a submission may use": [(Examine, ())],
    "nbgrader's exchange": [(CourseDirectory, ("course_id",)), (Exchange, ("root",))],
    "Late submissions": [(LateSubmissionPlugin, ("penalty_method",)), (AssignLatePenalties, ("plugin_class",))],
}
# Path in the course folder -> its template.
FILES = {
    "nbgrader_config.py": "nbgrader_config.py.j2",
    ".gitignore": "gitignore.j2",
    "README.md": "course.md.j2",
    ".github/workflows/notebooks.yml": "notebooks.yml.j2",
}


def new_course(folder: Path) -> list[Path]:
    """Make a course folder.

    Returns:
        The files that were written.

    Raises:
        UserError: something is there already, or the folder cannot be written; nothing has changed.
    """
    expected = f"Expected a new or empty folder at {folder}, found"
    try:
        if os.path.lexists(folder) and not folder.is_dir():
            raise UserError(f"{expected} something that is no folder; name another folder.")
        if folder.is_dir() and (there := sorted(path.name for path in folder.iterdir())):
            named = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
            raise UserError(f"{expected} {named} in it; empty that folder or name another one.")
        return add_course_files(folder)
    except OSError as error:
        raise UserError(
            f"Expected a folder that can be written at {folder}, found that the system refuses it "
            f"({error.strerror}: {error.filename}); mend that or name another folder."
        ) from None


def add_course_files(folder: Path) -> list[Path]:
    """Write a course's own files into a folder where none of them is; a failure takes back what was written.

    Raises:
        OSError: one of them could not be written.
    """
    loader = FileSystemLoader(TEMPLATES)
    templates = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    values = {"settings": settings(), "labs": all_labs()}
    texts = {folder / name: templates.get_template(template).render(values) for name, template in FILES.items()}
    folders = [each for path in texts for each in path.parents if not each.exists()]
    try:
        for path, text in texts.items():
            write_atomically(path, text)
    except OSError:
        for path in texts:
            if path.parent.is_dir():
                path.unlink(missing_ok=True)
        for each in sorted(folders, reverse=True):  # a folder after all that is in it
            if each.is_dir():
                each.rmdir()
        raise
    return list(texts)


def settings() -> dict[str, list[tuple[str, str]]]:
    """What a course may set: heading -> pairs of a comment and of the line that sets the default."""
    return {
        heading: [
            (_help(trait.help), f"c.{of.__name__}.{name} = {trait.default_value_repr()}")
            for of, names in chosen
            for name, trait in _traits(of).items()
            if name in names or not names
        ]
        for heading, chosen in SETTINGS.items()
    }


def _traits(of: type[Configurable]) -> dict[str, TraitType]:
    """What can be configured of a class, in the order in which it stands there."""
    traits = of.class_own_traits(config=True)
    return {name: traits[name] for name in vars(of) if name in traits}


def _help(text: str) -> str:
    """What a trait says about itself, as lines of a comment: the first paragraph of it."""
    paragraph = " ".join(textwrap.dedent(text).strip().split("\n\n")[0].split())
    return textwrap.fill(paragraph, 100, initial_indent="# ", subsequent_indent="# ", break_long_words=False)
