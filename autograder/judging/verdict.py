"""What the judge decided about one exercise, and about one notebook."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from vitedu.probe.explanation import in_cases, scope

GRADED = "graded"
NOT_ANSWERED = "not answered"
ERROR = "error"
TIMED_OUT = "timed out"
DIED = "kernel died"
OUT_OF_MEMORY = "out of memory"
FOR_REVIEW = "for review"  # a person decides; until then there are no points
NOT_GRADED = "not graded"  # our own failure: no score at all, never a zero


@dataclass
class CaseVerdict:
    """One case: whether it was right, and what is worth telling about it.

    Attributes:
        note: what was found instead, in words ("shape (2, 3): expected (2, 3, 5)").
        matches: ids of the misconceptions that explain this case, and that no right case refutes; where one explains
            all cases, the others are left out.
    """

    name: str
    right: bool
    share: float
    note: str = ""
    matches: list[str] = field(default_factory=list)


@dataclass
class Diagnosis:
    """A named idea.

    Attributes:
        whole: it explains every wrong case, not only some of them.
        confirmed: the answers to a second draw say so, too.
        explained, wrong: how many cases it explains, of how many that are wrong; 0 where there are no cases.
        carried: it was marked in the earlier exercise `exercise`, and costs nothing here.
    """

    misconception: str
    exercise: str
    idea: str
    question: str
    whole: bool = True
    confirmed: bool = True
    explained: int = 0
    wrong: int = 0
    carried: bool = False

    @property
    def scope(self) -> str:
        """What the idea explains, as the beginning of a sentence."""
        return scope(self.whole, self.confirmed, self.explained, self.wrong)

    @property
    def share(self) -> str:
        """In how many cases it was found."""
        return in_cases(self.explained, self.wrong)


@dataclass
class Verdict:
    """The judge's decision on one exercise.

    Attributes:
        points: None when the status is "not graded".
        remarks: things worth knowing that cost nothing.
        idea: what stands in the cell, as far as it was recognised; see labs.exam.Exercise.
        stand_ins: exercises that were not right, in whose place a stand-in was run when this answer was found so.
        signature: digest of a wrong, unexplained answer to the variant common to the class.
        seconds: time of the probe and the judge by stage.
    """

    exercise: str
    grade_id: str
    status: str
    points: float | None
    max_points: float
    cases: list[CaseVerdict] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    reason: str = ""
    idea: str = ""
    stand_ins: list[str] = field(default_factory=list)
    signature: str = ""
    variant: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data for verdicts/STUDENT/LAB/NOTEBOOK.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Verdict:
        """The verdict that `as_json` wrote."""
        data = dict(data)
        data["cases"] = [CaseVerdict(**case) for case in data["cases"]]
        data["diagnoses"] = [Diagnosis(**diagnosis) for diagnosis in data["diagnoses"]]
        return cls(**data)
