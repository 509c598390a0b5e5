"""What the model answer, a misconception, or another convention gives for a case.

There is no second copy of a reference implementation: the solution cells of the notebook are run
as they stand, with one cell replaced where a wrong or another answer is wanted. This code is our
own, so it runs in this process; a student's never does.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

import torch

from autograder.labs.exam import ALTERNATIVE, STAND_IN, Exercise
from autograder.labs.lab import Lab, without_marks
from autograder.labs.variants import Variant
from vitedu.checks.fingerprint_file import pack_expected, unpack_expected
from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, Expected, comparable, is_same_answer
from vitedu.probe.serialization import WireError

AppliedIdeas = tuple[tuple[str, str], ...]  # ((exercise id, idea), ...): what stands in earlier cells, see Exercise
Some = TypeVar("Some")
ALL = slice(None)
KEPT = 4096  # answers of this many (exercise, variant, code) triples stay in memory


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: the tensors are tiny, so a second only waits, and on a busy machine it waits long."""
    if (threads := torch.get_num_threads()) == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Reference:
    """Answers of a lab's own code, each computed once per variant and kept.

    Attributes:
        cache: a folder in which processes that grade the same class leave their answers for each other, and for the
            next time, and to which no submission can write; None without one.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.cache: Path | None = None
        self._namespaces: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        self._answers: OrderedDict[Any, list[Expected]] = OrderedDict()
        self._single: OrderedDict[Any, list[Expected]] = OrderedDict()  # so many that they would push whole ones out
        self._cases: OrderedDict[Any, list[Case]] = OrderedDict()

    def cases(self, exercise: Exercise, variant: Variant) -> list[Case]:
        """The cases of one variant."""
        return _remember(self._cases, (exercise.id, variant.key), lambda: list(exercise.cases(variant)))

    def answers(
        self,
        exercise: Exercise,
        variant: Variant,
        idea: str = "",
        applied: AppliedIdeas = (),
        places: slice = ALL,
    ) -> list[Expected]:
        """What an idea gives, "" for the model answer, with the ideas that are `applied` in earlier exercises.

        Args:
            places: of which cases. Those of a few, which cost less, are kept apart: so many would push whole lists out.
        """
        key = (exercise.id, variant.key, (*applied, (exercise.id, idea)) if idea else applied)
        if places == ALL or key in self._answers:
            whole = _remember(
                self._answers,
                key,
                lambda: self._from_cache(key, lambda: self._given(exercise, variant, key[2], ALL)),
            )
            return whole[places]
        part = (*key, places.start, places.stop)
        return _remember(self._single, part, lambda: self._given(exercise, variant, key[2], places))

    def calling(self, exercise: Exercise, variant: Variant) -> list[str]:
        """The alternatives that may use earlier answers: with stand-ins they give numbers of their own.

        They call one by name, or are asked about an object that is made by one.
        """
        earlier = self.lab.exercises[: self.lab.exercises.index(exercise)]
        names = {name for each in earlier for name in self.lab.stand_in_names(each.id)}
        given = names & {name for case in self.cases(exercise, variant) for name in case.names}
        words = [set(re.findall(r"\w+", alternative.code)) for alternative in exercise.alternatives]
        return [f"{ALTERNATIVE}{i}" for i, used in enumerate(words) if given or used & names]

    def called(self, exercise: Exercise, variant: Variant) -> list[str]:
        """The earlier exercises whose answers the solution uses, in its own code or through another one's."""
        earlier = self.lab.exercises[: self.lab.exercises.index(exercise)]
        words = {name for case in self.cases(exercise, variant) for name in case.names}
        words |= set(re.findall(r"\w+", self.code(exercise.id)))
        found = []
        for each in reversed(earlier):
            if words & set(self.lab.stand_in_names(each.id)):
                found.append(each.id)
                words |= set(re.findall(r"\w+", self.code(each.id)))
        return found

    def ways(self, exercise: Exercise, variant: Variant, with_stand_ins: bool) -> list[str]:
        """What right code may stand in a cell, by convention: the solution, and beside stand-ins what calls others."""
        ways = ["", *self.calling(exercise, variant)] if with_stand_ins else [""]
        return [f"{way}{convention}" for way in ways for convention in exercise.under()]

    def namespace(self, codes: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The notebook's names after its cells ran with some solution cells replaced.

        Args:
            codes: (grade_id, code) of the replaced cells.
        """
        key = tuple(codes)
        if key not in self._namespaces:
            replaced, namespace = dict(codes), {"__name__": f"{self.lab.key}_solution"}
            for cell in self.lab.cells:
                if cell.kind == "code" and cell.role in ("setup", "solution"):
                    source = replaced.get(cell.grade_id, without_marks(cell.source))
                    exec(_compiled(source, f"<{self.lab.key}: {cell.grade_id}>"), namespace)
            self._namespaces[key] = namespace
        return self._namespaces[key]

    @cached_property
    def _solutions(self) -> dict[str, str]:
        return {cell.grade_id: without_marks(cell.source) for cell in self.lab.cells if cell.role == "solution"}

    def code(self, exercise: str, idea: str = "") -> str:
        """What stands in an exercise's cell under an idea."""
        if idea == STAND_IN:
            return self.lab.stand_in(exercise)
        return self.lab.exercise(exercise).code(idea, self._solutions[exercise])

    def _given(self, exercise: Exercise, variant: Variant, applied: AppliedIdeas, places: slice) -> list[Expected]:
        """What the lab's own code gives for some of the cases."""
        tolerance, found = TOLERANCE[torch.float64], []
        with one_thread(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some wrong ideas make torch warn; that is their business
            namespace = self.namespace([(id, self.code(id, idea)) for id, idea in applied])
            for case in self.cases(exercise, variant)[places]:
                first = comparable(ask(namespace[case.target], case, namespace=namespace), case, tolerance)
                # Chance shows in two calls, or where a parameter got no weights and keeps those it was made with.
                second = first
                if not first.repeatable or any(first.keys):
                    second = comparable(ask(namespace[case.target], case, seed=1, namespace=namespace), case, tolerance)
                found.append(Expected(first, nondeterministic=not is_same_answer(first, second, tolerance, nan=True)))
        return found

    def _from_cache(self, key: Any, compute: Callable[[], list[Expected]]) -> list[Expected]:
        if self.cache is None:
            return compute()
        path = self.cache / hashlib.sha256(repr(key).encode()).hexdigest()
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
        is_same_answer(
            a.answer, b.answer, tolerance, nan=True, nondeterministic=a.nondeterministic and b.nondeterministic
        )
        for a, b in zip(some, others, strict=True)
    )


def _remember(store: OrderedDict[Any, Some], key: Any, compute: Callable[[], Some]) -> Some:
    """The stored value of a key, computed when missing; the oldest leaves when there are too many."""
    if key not in store:
        store[key] = compute()
        if len(store) > KEPT:
            store.popitem(last=False)
    store.move_to_end(key)
    return store[key]
