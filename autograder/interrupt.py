"""Ctrl-C that is not lost: the KeyboardInterrupt it raises can come up in a destructor, or in somebody's `except:`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_pressed = False  # no Event: two presses at once would wait for each other at its lock


@contextmanager
def heard() -> Iterator[None]:
    """From here on `check` knows of every Ctrl-C; outside of the main thread, of none."""
    global _pressed
    _pressed = False
    here = threading.current_thread() is threading.main_thread()
    before: Any = signal.signal(signal.SIGINT, _press) if here else None
    try:
        yield
    finally:
        if here:
            signal.signal(signal.SIGINT, before)


def check() -> None:
    """Raise the KeyboardInterrupt that was swallowed.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, and this still runs.
    """
    if _pressed:
        raise KeyboardInterrupt


def _press(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)
