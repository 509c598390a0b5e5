"""nbgrader's configuration for a vitedu course: copy this file into the course folder."""

from autograder.course import configure

configure(get_config())  # type: ignore[name-defined]  # noqa: F821  (nbgrader puts this name here)
