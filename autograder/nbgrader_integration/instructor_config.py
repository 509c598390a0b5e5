"""An instructor's nbgrader_config.py: read, and checked for what would break the grading."""

from __future__ import annotations

from pathlib import Path

from traitlets import TraitError
from traitlets.config import Config, PyFileConfigLoader

from autograder.errors import UserError
from autograder.nbgrader_integration import preprocessors
from autograder.nbgrader_integration.release import Release, release_settings
from autograder.sanitize.untrusted import terminal

STEPS = ("release", "submitted", "autograded", "feedback")
FILE = "nbgrader_config.py"


def read_config(root: Path) -> Config:
    """What the instructor set in the course folder's nbgrader_config.py; empty where there is none.

    Raises:
        UserError: the file is broken, or sets what cannot be meant.
    """
    path = root / FILE
    if not path.exists():
        return Config()
    try:
        config = PyFileConfigLoader(FILE, path=str(root)).load_config()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # any program may stand there, also one that calls exit()
        what = terminal(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"{path} cannot be read ({what}); mend it and run the same command again.") from None
    check_config(path, config)
    return config


def check_config(path: Path, config: Config) -> None:
    """Refuse a misspelled setting, which would have no effect, a wrong value, and folders moved elsewhere."""
    for ours in (preprocessors.Examine, Release):
        known, section = ours.class_traits(config=True), ours.__name__
        for name in config[section]:
            if name not in known:
                there = ", ".join(sorted(known))
                raise UserError(
                    f"{path} sets c.{section}.{name}, which does not exist; mend the name (there are {there})."
                )
    try:
        preprocessors.Examine(config=config)
        release_settings(config)
    except TraitError as error:
        raise UserError(f"{path}: {terminal(str(error), 200)}") from None
    for name in (*(f"{step}_directory" for step in STEPS), "directory_structure"):
        if name in config.CourseDirectory:
            raise UserError(
                f"{path} sets c.CourseDirectory.{name}, but a vitedu course uses nbgrader's own folders; "
                "remove that line and run the same command again."
            )
