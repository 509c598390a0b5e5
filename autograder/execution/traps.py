"""Find the cell that has left a trap: something that ends the kernel, or holds it up, while another cell runs.

A hook of IPython's, a patched function of torch, a callback of the garbage collector: no thread and no timer shows
them. So the notebook is tried in fresh kernels in which suspected cells do no more than define their names. Where the
answer still fails, it is to blame itself, after this one trial; where it does not, it is tried without fewer of them,
until it is known which one matters.
"""

from __future__ import annotations

import math
import re
import time

from autograder.execution.notebook_cells import Attempt, Cells, Found
from autograder.execution.own_cells import OWN, acts, definitions, is_own
from autograder.execution.student_kernel import ERROR, GONE, INTERRUPTED, TIMED_OUT, Run
from autograder.labs.lab import EXAMS
from autograder.submission.cell_order import INDIRECT, answers, runs

ROUNDS = 3  # as many cells are looked for, one after the other; then all that are suspected are left out
# What a trap is made of, for those that do not shut again when they are tried.
LIKELY = re.compile(
    r"register|callbacks|set(trace|profile|attr|itimer)|handler|transform|builtins|_exit|abort|kill|signal|interrupt|atexit|"
    r"weakref|__del__|Thread|__dict__|globals|\b(torch|F|nn|Tensor)(\.\w+)+\s*="
)
MISSING = re.compile(r"NameError: .*?'(\w{1,60})' is not defined|AttributeError: .*? has no attribute '(\w{1,60})'")
QUICK = 10.0  # seconds that anything may take in a trial


def interrupted(run: Run) -> bool:
    """Whether the code interrupted itself; an interrupt of the grader's is a time-out."""
    return run.status == ERROR and run.error.startswith(INTERRUPTED)


def ends(run: Run) -> bool:
    """Whether it ended in a way in which another cell's trap may end it."""
    return run.status in (*GONE, TIMED_OUT) or run.lost or interrupted(run)


def without(
    cells: Cells, index: int, attempt: Attempt, run: Run, costly: bool = False, place: int | None = None
) -> Found | None:
    """What comes of a cell or an exam without the trap that another cell has left; such cells are left out and told.

    Args:
        run: how it ended.
        costly: too long to be tried again and again: all suspects are left out together.
        place: where the attempt is made, if elsewhere than at `index`: when the cells before this one have run.

    Returns:
        None when no trap is to blame. Otherwise the kernel is there, and as it should be.
    """
    place = index if place is None else place
    suspects = _suspects(cells, index, place)
    if not suspects or cells.trials <= 0 or cells.no_cpu():
        return None
    did = "ended the kernel" if run.status in GONE else "interrupted what ran after it"
    trial = _Trial(cells, place, attempt, "held up what ran after it" if run.status == TIMED_OUT else did)
    found = None
    try:
        found = trial.all_at_once(suspects) if costly else trial.one_by_one(suspects)
    finally:
        trial.end(found is not None)
    return found


def _suspects(cells: Cells, index: int, place: int) -> list[int]:
    """The student's cells above this one that do more than define something, but for those that answer it."""
    above, cell = cells.notebook.cells[:place], cells.notebook.cells[index]
    exam = cell.metadata.vitedu.role in EXAMS
    mine = {cell.metadata.vitedu.exercise} if exam else set(answers(cell))
    return [
        number
        for number, other in enumerate(above)
        if other.cell_type == "code" and other.metadata.vitedu.role in (*OWN, "solution")
        and number not in cells.reduced and not mine & set(answers(other)) and acts(other.source)
    ]  # fmt: skip


def _missing(found: Found) -> str:
    """The name for want of which an attempt ended; "" where it did not end so."""
    what, run, _ = found
    replies = [getattr(each, part, None) for each in what or () for part in ("answer", "trained", "tested")]
    messages = [f"{reply.error.get('type')}: {reply.error.get('message')}" for reply in replies if reply is not None]
    return next((match[1] or match[2] for text in (run.error, *messages) if (match := MISSING.search(text))), "")


def _makes(name: str, source: str) -> bool:
    """Whether a cell may make a name: it mentions it, or does what shows no names, as a star import."""
    return bool(INDIRECT.search(source) or re.search(rf"\b{name}\b", source))


class _Trial:
    """Runs of the notebook in fresh kernels, which cost neither its time nor that of own cells.

    The kernel that was there is kept, and comes back where no trap is found.
    """

    def __init__(self, cells: Cells, index: int, attempt: Attempt, did: str) -> None:
        self.cells, self.index, self.attempt, self.did = cells, index, attempt, did
        self.started, self.until = time.monotonic(), time.monotonic() + cells.trials
        self._budgets = cells.deadline, cells.own_left, cells.own_cpu
        self._held = None
        if cells.alive:
            self._held, cells.kernel = (cells.running, cells.trail), None
        cells.on_trial, cells.deadline = True, max(cells.deadline, self.until + cells.limits.cell)

    def end(self, lasts: bool) -> None:
        """Put back what belongs to the notebook; with `lasts` the kernel that is there now is its own from here on."""
        cells, taken = self.cells, time.monotonic() - self.started
        cells.deadline, cells.own_left, cells.own_cpu = self._budgets
        cells.deadline += taken
        cells.trials -= taken
        cells.on_trial = False
        if not lasts:
            cells.leave()
        if self._held is not None:
            now = cells.kernel, cells.trail
            cells.kernel, cells.trail = self._held
            if lasts:
                cells.leave()
                cells.kernel, cells.trail = now

    def all_at_once(self, suspects: list[int]) -> Found | None:
        """What comes of the attempt without any of the suspects, who are then all to blame."""
        suspects, found = self._without_makers(suspects)
        if found is not None:
            self._convict(suspects)
        return found

    def one_by_one(self, suspects: list[int]) -> Found | None:
        """What comes of the attempt without those of the suspects that are to blame."""
        suspects, found = self._without_makers(suspects)
        if found is None:
            return None
        if len(suspects) == 1:
            self._convict(suspects)
            return self._pardoned(suspects[0], found)
        ahead = {place: s for place, s in self.cells.took.items() if place < self.index}
        slow = max(found[2], *(s for place, s in ahead.items() if place not in self.cells.reduced), 0.0)
        quick, left = QUICK + 3 * slow, list(suspects)
        for _ in range(ROUNDS):
            if time.monotonic() > self.until:
                break
            found = self._holds([], quick)
            if found is not None:
                guilty, sure = [] if len(left) < len(suspects) else self._unrepeated(left), False
                if not guilty:
                    return self._pardoned(min(set(suspects) - set(left), default=self.index), found)
            elif left:
                guilty, sure = [self._last(left, quick)], time.monotonic() < self.until
            else:
                return None
            self._convict(guilty, sure)
            left = [place for place in left if place not in guilty]
        self._convict(left, sure=False)
        return self._holds([])

    def _without_makers(self, suspects: list[int]) -> tuple[list[int], Found | None]:
        """The suspects, but for cells that make what the attempt needs, and what comes of it without these suspects.

        An attempt that ends because a name is missing has not come to where it ended before, and shows nothing.
        """
        while suspects and (found := self._holds(suspects)) is not None:
            if not (name := _missing(found)):
                return suspects, found
            makers = [place for place in suspects if _makes(name, runs(self.cells.notebook.cells[place]))]
            if not makers:
                break
            suspects = [place for place in suspects if place not in makers]
        return suspects, None

    def _holds(self, reduced: list[int], quick: float = math.inf) -> Found | None:
        """An attempt in a fresh kernel, in which some more cells only define; None where it fails, too."""
        cells, before = self.cells, self.cells.reduced
        _, cells.own_left, cells.own_cpu = self._budgets  # each trial has them whole
        # Something is run in each one's place: a trap may count what runs.
        cells.reduced = before | {p: definitions(runs(cells.notebook.cells[p])) or "pass" for p in reduced}
        cells.quick = quick
        try:
            if cells.replay(self.index) is not None:
                return None
            started = time.monotonic()
            found, run = self.attempt()
            return None if ends(run) else (found, run, time.monotonic() - started)
        finally:
            cells.reduced, cells.quick = before, math.inf

    def _last(self, suspects: list[int], quick: float) -> int:
        """The last of the suspects without which, and without those above it, the attempt holds."""
        fails, holds = 0, len(suspects)
        while holds - fails > 1 and time.monotonic() < self.until:
            middle = (fails + holds) // 2
            if self._holds(suspects[:middle], quick) is None:
                fails = middle
            else:
                holds = middle
        return suspects[holds - 1]

    def _unrepeated(self, suspects: list[int]) -> list[int]:
        """Who may have left what does not come again: cells too slow to be run again, or what looks like a trap."""
        again = set(self.cells.again(self.index))
        sources = self.cells.notebook.cells
        return [p for p in suspects if p not in again] or [p for p in suspects if LIKELY.search(runs(sources[p]))]

    def _convict(self, places: list[int], sure: bool = True) -> None:
        """Run no more of these cells than their definitions, and tell it; `sure` where a trial has shown it."""
        cells, left = self.cells, "left" if sure else "may have left"
        for place in places:
            cell = cells.notebook.cells[place]
            cells.reduced[place] = definitions(runs(cell)) or "pass"  # as in the trial
            cells.convicted = True
            cells.note(place, f"{left} something behind that {self.did}; only what it defines was run from then on")
            if not is_own(cell):
                cells.fails(cell, f"its cell {left} something behind that {self.did}")

    def _pardoned(self, first: int, found: Found) -> Found | None:
        """The attempt with own cells run in full again that were blamed behind this one for what it had done.

        Args:
            found: what came of it without them; it stands where there are none. Where they fail of themselves, they
                stay blamed.
        """
        cells = self.cells
        blamed = [place for place in cells.blamed if place > first]
        if not blamed:
            return found
        before = cells.reduced, cells.blamed, cells.notes
        cells.reduced = {place: code for place, code in cells.reduced.items() if place not in blamed}
        cells.blamed = cells.blamed - set(blamed)
        cells.notes = [(place, sentence) for place, sentence in cells.notes if place not in blamed]
        again = self._holds([])
        if again is None:
            cells.reduced, cells.blamed, cells.notes = before
            again = self._holds([])
        return again
