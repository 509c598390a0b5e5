"""What the grading of one submission may take: time, kernels, outputs and messages.

Memory, processes and files are limited by the sandbox, see ResourceLimits.
"""

from __future__ import annotations

from dataclasses import dataclass

from autograder.sandbox.bubblewrap import ResourceLimits
from vitedu.training_exams.recipe import CPU_SECONDS

JUDGE = 600.0  # seconds for all that is not the student's process


@dataclass(frozen=True)
class Limits(ResourceLimits):
    """What one notebook may use; seconds are wall time, but for those of the CPU.

    Attributes:
        cell, probe: of one cell, and of one exercise's probe.
        notebook: of all cells and probes of a notebook, replays included, but for the student's own cells.
        again: of the second run of a notebook, in which stand-ins take the place of what was not right.
        own: of the cells that students have added, and of those to play in.
        learn, learn_cpu: of one training of the accuracy exam: wall time, and CPU time.
        replays: how often a fresh kernel replays the cells after a probe has ended one. Cells that do are left out
            from then on, and do not count.
        cpu: CPU seconds of all kernels of a notebook together.
        output_bytes, outputs: kept of one cell.
        all_output_bytes: kept of all cells together, by one kernel.
        message_bytes: of one message; the connection of a larger one is cut.
        waiting: messages that the grader takes in before they are read; a kernel that sends more has to wait.
        parts: brackets and braces in one message: each becomes an object of the grader's when it is parsed.
    """

    start: float = 60.0
    cell: float = 60.0
    probe: float = 30.0
    notebook: float = 300.0
    again: float = 120.0
    own: float = 300.0
    learn: float = 900.0
    learn_cpu: float = CPU_SECONDS
    replays: int = 2
    output_bytes: int = 2 * 2**20
    outputs: int = 200
    all_output_bytes: int = 64 * 2**20
    message_bytes: int = 32 * 2**20
    messages: int = 20_000
    waiting: int = 8
    parts: int = 500_000

    def whole(self, trainings: int = 0) -> float:
        """Seconds after which the grading of one submission is stuck, whatever the reason.

        Everything in it has a limit of its own, and their sum lies below this.

        Args:
            trainings: how many there may be.
        """
        kernels = 4 * self.start * (self.replays + 3)
        return (
            2 * (self.notebook + self.again + 2 * self.own)
            + kernels
            + 2 * trainings * (self.learn + self.probe)
            + JUDGE
        )
