"""What a student's notebook imports: instant checks, and helpers to look at what was computed."""

from vitedu.checks import check, examine, when_ready

__version__ = "0.1.0"
__all__ = ["__version__", "check", "examine", "when_ready"]
