"""What a check raises under nbgrader's Validate."""

from __future__ import annotations


class CheckFailed(AssertionError):
    """An unpassed check under nbgrader's Validate; IPython shows its one line and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
