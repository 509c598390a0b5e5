"""One training of a student's model, as judges see it: its seed, and the answers that came out of the kernel."""

from __future__ import annotations

from dataclasses import dataclass

from vitedu.probe.case import Answer


@dataclass(frozen=True)
class Attempt:
    """One training in the student's kernel.

    Attributes:
        trained, tested: the answers to the two requests; None where none came.
    """

    seed: int
    trained: Answer | None
    tested: Answer | None
