"""Signals to the main thread: a Ctrl-C that is not lost, and a deadline for what can be interrupted in no other way.

The KeyboardInterrupt that Ctrl-C raises can come up in a destructor, or in somebody's `except:`.
"""

from __future__ import annotations

import signal
import threading
import time
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


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raise TimeoutError inside when it takes longer, and again each second while somebody swallows it.

    It reaches what runs long in one call, too, such as a regular expression; but only in the main thread.
    """

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"{what} took more than {seconds:g} s")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, started = signal.signal(signal.SIGALRM, ring), time.monotonic()
    left, every = signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - started), 0.1) if left else 0.0, every)


def _press(number: int, frame: FrameType | None) -> None:
    global _pressed
    _pressed = True
    signal.default_int_handler(number, frame)
