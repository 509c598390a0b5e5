"""What an author writes for an exercise: its cases, its misconceptions, its alternatives.

The cases are drawn anew for each variant, so that nobody can learn the answers by heart and no
wrong answer stays hidden behind one lucky draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from autograder.errors import UserError
from autograder.labs.variants import Variant
from vitedu.probe.case import Case

STAND_IN, ALTERNATIVE = "=", "@"  # ideas, see Exercise


@dataclass(frozen=True)
class Misconception:
    """A wrong idea that students really have.

    Attributes:
        id: stable name, such as "softmax-over-queries".
        idea: one sentence that completes "Your answer equals what comes out when ...".
        question: the next question the student should ask.
        code: a replacement for the exercise's solution cell that holds the wrong idea.
        rows: its numbers in the catalogue (autograder/exams/catalogue.csv).
        seen: where it was met.
    """

    id: str
    idea: str
    question: str
    code: str
    rows: tuple[int, ...] = ()
    seen: str = ""


@dataclass(frozen=True)
class Alternative:
    """Right code that goes another way than the solution, and must get full marks."""

    name: str
    code: str


@dataclass(frozen=True)
class Convention:
    """Another way that is just as right and gives slightly other numbers, such as another eps.

    Attributes:
        edits: (old, new) pairs, made in the cell's code wherever `old` stands.
        remark: what a student whose answer is right under it is told; "": nothing.
    """

    id: str
    name: str
    edits: tuple[tuple[str, str], ...]
    remark: str = ""

    def applied(self, code: str) -> str:
        """The code under this convention."""
        for old, new in self.edits:
            code = code.replace(old, new)
        return code


@dataclass(frozen=True)
class Exercise:
    """One exercise that is examined.

    What stands in its cell is named by an *idea*: "" for the model answer, the id of a misconception,
    "~" and the id of a convention, or both: "post-norm~eps-1e-6"; "@3" for the fourth alternative, "=" for the
    stand-in.

    Attributes:
        id: also the grade_id of its solution cell.
        conventions: accepted beside that of the model answer.
        trained: a model is trained, and there are no cases, see judging/trained_exercise.py.
        stand_in: a cell to run in place of an answer that is not right, where it is not one of vitedu.stand_ins.
        library: names of library functions and classes that do the exercise's work; using one
            costs nothing and earns a remark.
    """

    id: str
    cases: Callable[[Variant], Sequence[Case]]
    misconceptions: tuple[Misconception, ...]
    alternatives: tuple[Alternative, ...]
    library: tuple[str, ...] = ()
    conventions: tuple[Convention, ...] = ()
    stand_in: str = ""
    trained: ClassVar[bool] = False

    def code(self, idea: str, model: str) -> str:
        """What stands in the cell under an idea, given what the model answer has there."""
        other, _, convention = idea.partition("~")
        if other.startswith(ALTERNATIVE):
            code = self.alternatives[int(other.removeprefix(ALTERNATIVE))].code
        else:
            code = self.misconception(other).code if other else model
        return next(c for c in self.conventions if c.id == convention).applied(code) if convention else code

    def under(self, idea: str = "") -> list[str]:
        """The conventions under which a misconception is other code, each as its "~id"; "" for none stands first."""
        code = self.misconception(idea).code if idea else None
        return ["", *(f"~{c.id}" for c in self.conventions if code is None or c.applied(code) != code)]

    def misconception(self, id: str) -> Misconception:
        """The misconception with this id."""
        return next(m for m in self.misconceptions if m.id == id)


def changed(code: str, *edits: tuple[str, str]) -> str:
    """The code with each (old, new) edit made; `old` must stand in it exactly once.

    Raises:
        UserError: an edit does not fit, so the misconception would not be what it says.
    """
    for old, new in edits:
        if code.count(old) != 1:
            raise UserError(
                f"An edit in an exam does not fit its solution cell any more: expected {old!r} once in the cell, "
                f"found it {code.count(old)} times; correct the edit, or the cell:\n{code}"
            )
        code = code.replace(old, new)
    return code
