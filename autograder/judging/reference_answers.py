"""What the model answer, a misconception, or another convention gives for a case.

There is no second copy of a reference implementation: the solution cells of the notebook are run
as they stand, with one cell replaced where a wrong or another answer is wanted. This code is our
own, so it runs in this process; a student's never does.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

import torch

from autograder.labs.exam import Exercise
from autograder.labs.lab import Lab, without_marks
from autograder.labs.variants import Draw
from vitedu.checks.fingerprint_file import pack_expected, unpack_expected
from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, Expected, facts, same
from vitedu.probe.serialization import WireError

Context = tuple[tuple[str, str], ...]  # ((exercise id, idea), ...): what stands in earlier cells, see Exercise
KEPT = 4096  # answers of this many (exercise, variant, code) triples stay in memory


class Reference:
    """Answers of a lab's own code, each computed once per variant and kept.

    Attributes:
        shelf: a folder in which processes that grade the same class leave their answers for each other, and for the
            next time, and to which no submission can write; None without one.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.shelf: Path | None = None
        torch.set_num_threads(1)  # the tensors are tiny: a second thread only waits, and on a busy machine waits long
        self._spaces: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        self._answers: OrderedDict[Any, list[Expected]] = OrderedDict()
        self._single: OrderedDict[Any, list[Expected]] = OrderedDict()  # so many that they would push whole ones out
        self._cases: OrderedDict[Any, list[Case]] = OrderedDict()

    def cases(self, exercise: Exercise, draw: Draw) -> list[Case]:
        """The cases of one variant."""
        return _remember(self._cases, (exercise.id, draw.key), lambda: exercise.cases(draw))

    def model(self, exercise: Exercise, draw: Draw, context: Context = (), convention: str = "") -> list[Expected]:
        """The model answer under a convention, with the ideas of `context` in earlier exercises."""
        return self._expected(exercise, draw, (*context, (exercise.id, f"~{convention}")) if convention else context)

    def misconception(self, exercise: Exercise, draw: Draw, id: str, context: Context = ()) -> list[Expected]:
        """The answer of one misconception, with the ideas of `context` in earlier exercises."""
        return self._expected(exercise, draw, (*context, (exercise.id, id)))

    def misconception_of_case(
        self, exercise: Exercise, draw: Draw, id: str, place: int, context: Context = ()
    ) -> Expected:
        """The same for one case alone, which costs less."""
        key = (exercise.id, draw.key, (*context, (exercise.id, id)))
        if key in self._answers:
            return self._answers[key][place]
        return _remember(
            self._single, (*key, place), lambda: self._given(exercise, draw, key[2], slice(place, place + 1))
        )[0]

    def namespace(self, codes: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The notebook's names after its cells ran with some solution cells replaced.

        Args:
            codes: (grade_id, code) of the replaced cells.
        """
        key = tuple(codes)
        if key not in self._spaces:
            replaced, space = dict(codes), {"__name__": f"{self.lab.key}_solution"}
            for cell in self.lab.cells:
                if cell.kind == "code" and cell.role in ("setup", "solution"):
                    source = replaced.get(cell.grade_id, without_marks(cell.source))
                    exec(_compiled(source, f"<{self.lab.key}: {cell.grade_id}>"), space)
            self._spaces[key] = space
        return self._spaces[key]

    @cached_property
    def _solutions(self) -> dict[str, str]:
        return {cell.grade_id: without_marks(cell.source) for cell in self.lab.cells if cell.role == "solution"}

    def code(self, exercise: str, idea: str = "") -> str:
        """What stands in an exercise's cell under an idea."""
        return self.lab.exercise(exercise).code(idea, self._solutions[exercise])

    def _expected(self, exercise: Exercise, draw: Draw, context: Context) -> list[Expected]:
        key = (exercise.id, draw.key, context)
        return _remember(
            self._answers, key, lambda: self._from_shelf(key, lambda: self._given(exercise, draw, context, slice(None)))
        )

    def _given(self, exercise: Exercise, draw: Draw, context: Context, places: slice) -> list[Expected]:
        """What the lab's own code gives for some of the cases."""
        tolerance, found = TOLERANCE[torch.float64], []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some wrong ideas make torch warn; that is their business
            space = self.namespace([(id, self.code(id, idea)) for id, idea in context])
            for case in self.cases(exercise, draw)[places]:
                first = facts(ask(space[case.thing], case, space=space), case, tolerance)
                # Chance shows in two calls, or where a parameter got no weights and keeps those it was made with.
                second = first
                if not first.repeatable or any(first.keys):
                    second = facts(ask(space[case.thing], case, seed=1, space=space), case, tolerance)
                found.append(Expected(first, by_chance=not same(first, second, tolerance, nan=True)))
        return found

    def _from_shelf(self, key: Any, compute: Callable[[], list[Expected]]) -> list[Expected]:
        if self.shelf is None:
            return compute()
        path = self.shelf / hashlib.sha256(repr(key).encode()).hexdigest()
        try:
            return unpack_expected(path.read_bytes())
        except (OSError, WireError):  # not there, or of a process that was killed while it wrote
            answers = compute()
        with suppress(OSError):  # then the next process computes it, too
            mine = path.with_suffix(f".{os.getpid()}")
            mine.write_bytes(pack_expected(answers))
            os.replace(mine, path)
        return answers


@lru_cache(maxsize=1024)
def _compiled(source: str, name: str) -> CodeType:
    """A cell's code; most cells are the same in hundreds of namespaces."""
    return compile(source, name, "exec")


def differ(some: Sequence[Expected], others: Sequence[Expected]) -> bool:
    """Whether two lists of answers to the same cases differ anywhere."""
    tolerance = TOLERANCE[torch.float64]
    return not all(
        same(a.facts, b.facts, tolerance, nan=True, by_chance=a.by_chance and b.by_chance)
        for a, b in zip(some, others, strict=True)
    )


def _remember(store: OrderedDict[Any, Any], key: Any, compute: Any) -> Any:
    """The stored value of a key, computed when missing; the oldest leaves when there are too many."""
    if key not in store:
        store[key] = compute()
        if len(store) > KEPT:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]
