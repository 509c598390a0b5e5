"""One training of an answer: what it returned, what it took, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

from vitedu.cases import Answer


@dataclass(frozen=True)
class Attempt:
    """One training in the student's kernel.

    Attributes:
        trained, tested: the answers to the two requests; None where none came.
    """

    seed: int
    trained: Answer | None
    tested: Answer | None
