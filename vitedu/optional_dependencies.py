"""Libraries that only some labs need: one sentence says what to install when one is missing."""

from __future__ import annotations

from importlib.util import find_spec


class MissingLibraryError(ImportError):
    """A library that this lab needs is not installed; IPython shows its one sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def need(*names: str) -> None:
    """Make sure that libraries can be imported.

    Raises:
        MissingLibraryError: one cannot.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        raise MissingLibraryError(
            f"This lab needs {' and '.join(missing)}: run `pip install {' '.join(missing)}`, then restart the kernel."
        )
