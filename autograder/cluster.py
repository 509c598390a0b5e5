"""The workers of a Dask cluster, by the address of its scheduler.

Submissions travel to them and results back as bytes, so they need no disk in common with this machine; what
they need is this package, in the same version, and a sandbox.
"""

from __future__ import annotations

import sys
from concurrent.futures import Executor

from .batch import KEPT, TRIES
from .errors import UserError
from .stamp import sources
from .untrusted import terminal

SECONDS = 15  # to find the scheduler


class Cluster:
    """See batch.Workers.

    Args:
        sandbox: whether workers without one are left out.

    Raises:
        UserError: no scheduler, no workers, or none that can do the work.
    """

    def __init__(self, address: str, sandbox: bool = True) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise UserError("--scheduler needs Dask, which is not installed: pip install 'vitedu[cluster]'.") from None
        try:
            self._client = Client(address, timeout=SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            what = terminal(str(error) or type(error).__name__, 200)
            raise UserError(
                f"Expected a Dask scheduler at {terminal(address, 100)}, found none ({what}); start one "
                "(dask scheduler) or give its address."
            ) from None
        self._address = address
        try:
            self._only = self._fit(sandbox)
        except BaseException:
            self._client.close()
            raise

    def _fit(self, sandbox: bool) -> list[str] | None:
        """Addresses of the workers that can do the work; None for all."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        threads = {name: worker["nthreads"] for name, worker in workers.items()}
        if not threads:
            raise UserError(
                f"The scheduler at {self._address} has no workers; start some (dask worker {self._address})."
            )
        missing = f"vitedu's autograder is not installed there; install the same version ({sources()[:8]}) everywhere"
        said = self._client.run(_look, sources(), sandbox, on_error="return")
        refusing = {name: missing if isinstance(why, BaseException) else why for name, why in said.items() if why}
        for name, why in refusing.items():
            print(f"The worker {name} takes no part: {terminal(why, 300)}", file=sys.stderr)
        fit = {name: count for name, count in threads.items() if name not in refusing}
        if not fit:
            raise UserError(f"None of the {len(threads)} workers of {self._address} can grade: see above.")
        self.count = sum(fit.values())
        return list(fit) if refusing else None  # all: also those that come later, or come back under another address

    def executor(self) -> Executor:
        """The cluster as an executor."""
        if self._client.status != "running":
            raise UserError(f"The connection to the scheduler at {self._address} is lost{KEPT}")
        return self._client.get_executor(pure=False, retries=TRIES, workers=self._only)

    def close(self) -> None:
        """Leave; what still runs is cancelled."""
        self._client.close(timeout=5)


def _look(expected: str, sandbox: bool) -> str:
    """In a worker: why it cannot grade; "" when it can."""
    from autograder.sandbox import unavailable
    from autograder.stamp import sources

    if sources() != expected:
        return f"it has another version of vitedu ({sources()[:8]}, expected {expected[:8]})"
    return unavailable() if sandbox else ""
