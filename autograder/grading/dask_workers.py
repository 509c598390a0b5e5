"""The workers of a Dask cluster, by the address of its scheduler.

Submissions travel to them and results back as bytes, so they need no disk in common with this machine; what
they need is this package, in the same version, and a sandbox.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from typing import Any

from autograder.errors import UserError
from autograder.execution.code_version import sources
from autograder.grading.worker_pool import KEPT, TRIES
from autograder.sandbox.scratch import sweep
from autograder.sanitize.untrusted import terminal

SECONDS = 15  # to find the scheduler
AGAIN = 60  # for a worker to come back
LOUD = ("distributed", "distributed.client", "tornado.application", "asyncio")  # they write tracebacks to the terminal


class Cluster:
    """See worker_pool.Workers. Workers may come and go meanwhile.

    Args:
        sandbox: whether workers without one are left out.

    Attributes:
        count: of the workers that can do the work; each does one submission at a time.

    Raises:
        UserError: no scheduler, no workers, or none that can do the work.
    """

    def __init__(self, address: str, sandbox: bool = True) -> None:
        try:
            from distributed import Client
            from distributed.comm import get_address_host_port
        except ImportError:
            raise UserError("--scheduler needs Dask, which is not installed: pip install distributed.") from None
        self._quiet = ExitStack()
        self._quiet.enter_context(_quiet())
        self._client: Any = None
        self._address, self._sandbox, self.count = terminal(address, 100), sandbox, 0
        self._refusals: dict[str, str] = {}  # address of a worker -> the reason why it takes no part; "" where it does
        self._seen = time.monotonic()  # when there were workers that can do the work
        try:
            # A client that could not be made speaks up when Python ends: nobody there shows before one is made.
            socket.create_connection(get_address_host_port(address), SECONDS).close()
            self._client = Client(address, timeout=SECONDS, set_as_default=False)
        except Exception as error:  # whatever Dask makes of an address
            self.close()
            what = terminal(str(error).split("\n")[0] or type(error).__name__, 200)
            raise UserError(
                f"Expected a Dask scheduler at {self._address}, found none ({what}); start one "
                "(dask scheduler) or give its address."
            ) from None
        try:
            if not self._fit():
                raise UserError(
                    f"None of the {len(self._refusals)} workers of {self._address} can grade: see above."
                    if self._refusals
                    else f"The scheduler at {self._address} has no workers; start some "
                    f"(dask worker {self._address} --nthreads 1)."
                )
        except BaseException:
            self.close()
            raise

    def _fit(self) -> list[str]:
        """Addresses of the workers that can do the work now; those that are new are looked at."""
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
            if new := [address for address in workers if address not in self._refusals]:
                found = self._client.run(_look, sources(), self._sandbox, workers=new, on_error="return")
                for address in new:
                    self._refusals[address] = _refusal(
                        found.get(address, ""), workers[address]["nthreads"], self._address
                    )
                    if self._refusals[address]:
                        name = terminal(workers[address].get("name") or address, 60)
                        print(f"The worker {name} takes no part: {self._refusals[address]}", file=sys.stderr)
        except Exception as error:
            if self._client.status == "running":
                raise
            raise self._lost() from error
        fit = [address for address in workers if not self._refusals[address]]
        self.count = len(fit)
        return fit

    def executor(self) -> Executor:
        """The cluster as an executor, for those of its workers that can do the work now."""
        while not (fit := self._there()):
            time.sleep(0.5)
        # Others may only when all of these are gone; then it is grade_one() that refuses.
        return self._client.get_executor(pure=False, retries=TRIES, workers=fit, allow_other_workers=True)

    def check(self) -> None:
        """See worker_pool.Workers: what has no worker waits with the scheduler, without an end."""
        self._there()

    def _there(self) -> list[str]:
        """Addresses of the workers that can do the work now; UserError when there has been none for too long."""
        if self._client.status != "running":
            raise self._lost()
        if fit := self._fit():
            self._seen = time.monotonic()
        elif time.monotonic() > self._seen + AGAIN:
            raise UserError(f"The scheduler at {self._address} has no workers any more that can grade{KEPT}")
        return fit

    def _lost(self) -> UserError:
        return UserError(f"The connection to the scheduler at {self._address} is lost{KEPT}")

    def close(self) -> None:
        """Leave; what has not begun is cancelled, and what comes of the rest is not kept."""
        if self._client is not None:
            self._client.close(timeout=5)
        self._quiet.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from writing to the terminal: what matters of it is told here, in a sentence."""
    levels = {name: logging.getLogger(name).level for name in LOUD}
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _look(expected: str, sandbox: bool) -> str:
    """In a worker: why it cannot grade; "" when it can."""
    from autograder.execution.code_version import sources
    from autograder.execution.preload import PACKAGES
    from autograder.sandbox.bubblewrap import unavailable

    if sources() != expected:
        return f"it has another version of vitedu ({sources()[:8]}, expected {expected[:8]}); install the same there"
    sweep()  # of workers that were killed here
    return unavailable(PACKAGES) if sandbox else ""


def _refusal(found: Any, threads: int, address: str) -> str:
    """Why a worker takes no part, from what came of looking at it; "" where it does."""
    if isinstance(found, ImportError):
        return f"vitedu's autograder is not installed there; install the same version ({sources()[:8]})"
    if isinstance(found, BaseException):
        return terminal(f"{type(found).__name__}: {found}", 300)
    if not found and threads > 1:
        return (
            f"it has {threads} threads, and a process grades one submission at a time; start it with "
            f"dask worker {address} --nworkers {threads} --nthreads 1"
        )
    return terminal(found, 300)
