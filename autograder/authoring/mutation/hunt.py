"""Put mutants to the exams, in kernels that may hang or die, with the functions that judge students.

A mutant is killed when it loses points on one of four variants, ends its kernel, or takes too long, twice: this machine
may have been busy the first time. What gets all points on all four has survived.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import torch
from tqdm import tqdm

from autograder.authoring.mutation.mutants import Mutant, choose, exercise_mutants, origins
from autograder.authoring.prove_exams import SECRETS
from autograder.errors import UserError
from autograder.execution.examiner import ask_exercise
from autograder.execution.limits import Limits
from autograder.execution.student_kernel import OK, StudentKernel
from autograder.judging.judge import judge
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import GRADED, Verdict
from autograder.labs.exam import Exercise
from autograder.labs.lab import Lab, find_lab, without_marks
from autograder.labs.variants import Variant

ASKED = 4  # variants, of the first secret
SECONDS = 5.0  # for a mutant's cell, and for a variant's answers
SLOW = 3.0  # times as long as the model answer takes, where that is more
START = 600.0  # seconds for a kernel and for each of the lab's own cells, which import libraries
PATIENCE = 4.0  # times as long at the second try
TOGETHER = 120  # mutants that a kernel is started for; one takes seconds to start, a mutant some milliseconds
KEEP = "_of_the_lab = dict(globals())"
# Names of the user's namespace that a mutant has made go, and those that it has bound anew are what they were.
RESTORE = """
for _name in [name for name in globals() if not name.startswith("_")]:
    if _name not in _of_the_lab:
        del globals()[_name]
globals().update({name: value for name, value in _of_the_lab.items() if not name.startswith("_")})
__import__("torch").set_grad_enabled(True)
__import__("torch").set_default_dtype(__import__("torch").float32)
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a mutant.

    Attributes:
        killed_by: "points", "time", or "kernel"; "" when it has survived.
        why: why it is right all the same, as `equivalent_mutants.csv` says; "" where nothing is said.
    """

    id: str
    operator: str
    before: str
    after: str
    killed_by: str
    why: str = ""

    @property
    def state(self) -> str:
        """ "killed", "explained" or "survived"."""
        return "killed" if self.killed_by else "explained" if self.why else "survived"


def select(
    chosen: Iterable[tuple[Lab, Exercise]], all_alternatives: bool = False, limit: int | None = None
) -> list[Mutant]:
    """The mutants of some exercises: all of the solution cells, and twenty an exercise of the alternatives, or all.

    Args:
        limit: only so many of them, drawn over everything, always the same.
    """
    made = [
        mutant
        for lab, exercise in chosen
        for mutant in exercise_mutants(lab, exercise, None if all_alternatives else 20)
    ]
    return made if limit is None else choose(made, limit, "limited")


def hunt(mutants: list[Mutant], workers: int = 2) -> list[Outcome]:
    """Put mutants to their exams, several kernels at a time, with a progress bar; the outcomes in the same order."""
    found: dict[str, str] = {}
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool, tqdm(total=len(mutants), desc="mutants", unit="mutant") as bar:  # fmt: skip
        waiting = {pool.submit(examined, part): len(part) for part in _parts(mutants)}
        for done in as_completed(waiting):
            found |= done.result()
            bar.update(waiting[done])
            bar.set_postfix(survived=sum(not killed_by for killed_by in found.values()))
    return [Outcome(m.id, m.operator, m.before, m.after, found[m.id]) for m in mutants]


def _parts(mutants: list[Mutant]) -> Iterator[list[Mutant]]:
    """The mutants of one exam after the other, in parts of some length."""
    for exam in dict.fromkeys(mutant.exam for mutant in mutants):
        of_exam = iter([mutant for mutant in mutants if mutant.exam == exam])
        while part := list(islice(of_exam, TOGETHER)):
            yield part


def examined(part: list[Mutant]) -> dict[str, str]:
    """By the mutant's id what killed it, "" for a survivor; all of one exam.

    Raises:
        UserError: right code loses points here, so that nothing would be shown of its mutants.
    """
    key, _, id = part[0].exam.partition("/")
    lab = find_lab(key)
    room = _Room(lab, lab.exercise(id))
    try:
        for origin in dict.fromkeys(mutant.origin for mutant in part):
            if killed_by := room.measured(origins(lab, room.exercise)[origin]):
                raise UserError(
                    f"{part[0].exam}: the right code {origin!r} was killed by {killed_by}; mend that first."
                )
        found = {mutant.id: room.tried(mutant.code, room.seconds) for mutant in part}
        late = [mutant for mutant in part if found[mutant.id] == "time"]
        return found | {mutant.id: room.tried(mutant.code, PATIENCE * room.seconds) for mutant in late}
    finally:
        room.close()


class _Room:
    """An exam and a kernel in which the lab's cells ran; another kernel follows when one ends."""

    def __init__(self, lab: Lab, exercise: Exercise) -> None:
        # Without misconceptions: only the points count here, and naming what is wrong takes the longest.
        self.lab, self.exercise = lab, dataclasses.replace(exercise, misconceptions=())
        self.variants = [Variant(SECRETS[0], exercise.id, number) for number in range(ASKED)]
        self.reference = Reference(lab)
        self.seconds = SECONDS
        self.kernel: StudentKernel | None = None

    def close(self) -> None:
        """End the kernel."""
        if self.kernel is not None:
            self.kernel.close()
            self.kernel = None

    def measured(self, code: str) -> str:
        """As `tried`, for right code; what it takes decides what a mutant may take."""
        started = time.monotonic()
        killed_by, _ = self.tried(code, START), self.tried(code, START)  # the second time nothing is computed first
        self.seconds = max(SECONDS, SLOW * (time.monotonic() - started) / 2)
        return killed_by

    def tried(self, code: str, seconds: float) -> str:
        """What kills a code: "points", "time" or "kernel"; "" where nothing does.

        Args:
            seconds: for its cell, and for the answers to each variant.
        """
        for variant in self.variants:
            kernel = self._ready()
            # Run anew for each variant: no student meets two, and a mutant may keep what it has seen.
            run = kernel.run(RESTORE, 60)
            if run.status == OK:
                run = kernel.run(code, seconds)
            if run.status == OK:
                replies, run = ask_exercise(kernel, self.reference.cases(self.exercise, variant), seconds)
            if run.status != OK:
                ended = not kernel.alive
                if ended or run.status != "error":
                    self.close()
                return "points" if run.status == "error" else "kernel" if ended else "time"
            verdict = Verdict(self.exercise.id, f"exam-{self.exercise.id}", GRADED, 0.0, 1.0)
            if judge(self.reference, self.exercise, variant, replies, verdict).points != 1.0:
                return "points"
        return ""

    def _ready(self) -> StudentKernel:
        """The kernel, with the names of the lab."""
        if self.kernel is None or not self.kernel.alive:
            self.close()
            self.kernel = StudentKernel(Limits(start=START, cpu=36_000), sandboxed=False)  # our own code
            for cell in self.lab.cells:
                if cell.kind == "code" and cell.role in ("setup", "solution"):
                    run = self.kernel.run(without_marks(cell.source), START)
                    if run.status != OK:
                        how = run.error or run.status
                        raise UserError(f"the cell {cell.grade_id} of {self.lab.key} ended with {how}; mend it.")
            self.kernel.run(KEEP, 60)
        return self.kernel
