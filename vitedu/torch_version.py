"""Is torch new enough? `vitedu` imports this before all else, so that an old one is named in one sentence."""

from __future__ import annotations

import re

MINIMUM = (2, 6)  # as pyproject.toml asks for it


class TorchVersionError(ImportError):
    """torch is missing or too old; IPython shows the one sentence and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def require() -> None:
    """Make sure that torch is there and new enough.

    Raises:
        TorchVersionError: it is not.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        found = "no torch"
    else:
        number = re.match(r"(\d+)\.(\d+)", torch.__version__)
        if number is None or (int(number[1]), int(number[2])) >= MINIMUM:
            return
        found = f"torch {torch.__version__}"
    raise TorchVersionError(
        f"vitedu needs torch {MINIMUM[0]}.{MINIMUM[1]} or newer and found {found}: "
        "run `pip install --upgrade torch torchvision`, then restart the kernel."
    ) from None


require()
