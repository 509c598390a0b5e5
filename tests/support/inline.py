"""Workers in this very process, for tests of what is recorded: patches and coverage reach them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Inline(Executor):
    """Does what is submitted at once."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Here:
    """See autograder.grading.worker_pool.Workers; for `grade(..., workers=Here())`."""

    count = 1

    def executor(self) -> Executor:
        return Inline()

    def check(self) -> None:
        pass

    def close(self) -> None:
        pass
