"""What a notebook's first code cell says: whether notebook and package fit, what is installed, and where it computes.

Released notebooks import `ready` from here by name, so both names stay.
"""

from __future__ import annotations

import re

import vitedu
from vitedu.__main__ import versions


class VersionError(ImportError):
    """Notebook and package do not fit; IPython shows the one sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def fits(needs: str, installed: str) -> bool:
    """Whether a package does for a notebook that was released with version `needs` of it.

    From 1.0.0 on, the first numbers must agree and the package must not be older. Before that the second numbers must
    agree, too: what was released with 0.3.1 runs with 0.3.1 and 0.3.7, not with 0.3.0 or 0.4.0. Names that notebooks
    import move only when a number changes that must agree.
    """
    wanted, found = _numbers(needs), _numbers(installed)
    agree = 1 if wanted[0] else 2
    return wanted[:agree] == found[:agree] and found >= wanted


def ready(needs: str = "") -> None:
    """Print what is installed and which device the notebook takes.

    Args:
        needs: the version with which the notebook was released; "" fits all.

    Raises:
        VersionError: the installed version does not fit.
    """
    if needs and not fits(needs, vitedu.__version__):
        older = _numbers(vitedu.__version__) < _numbers(needs)
        todo = (
            f"ask your instructor for vitedu-{needs}-py3-none-any.whl, run `%pip install` with that file's name, "
            "and restart the kernel"
            if older
            else "ask your instructor for a newer notebook"
        )
        raise VersionError(f"This notebook needs vitedu {needs} and found vitedu {vitedu.__version__}: {todo}.")
    print(versions())


def _numbers(version: str) -> tuple[int, int, int]:
    """The three numbers of a version, without what may follow them."""
    found = [int(number) for number in re.findall(r"\d+", version)[:3]]
    first, second, third = [*found, 0, 0, 0][:3]
    return first, second, third
