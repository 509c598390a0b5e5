"""The class that all systems of the grading benchmark grade, and the marks that it deserves."""

from __future__ import annotations

from dataclasses import dataclass

from autograder.authoring.sample_class import Student, sample_class
from autograder.labs.lab import find_lab

LAB = find_lab("lab1_attention")
POINTS = {exercise.id: LAB.points(exercise.id) for exercise in LAB.exercises}
# A copied cell aborts stock nbgrader's whole class, and neither opponent grades a notebook that ends its kernel.
NOT_FOR_ALL = ("lena", "nora")
Scores = dict[str, dict[str, float] | None]  # student -> exercise -> points


@dataclass(frozen=True)
class Member:
    """One submission, and the exercises whose answers are right or wrong in themselves."""

    student: Student
    right: frozenset[str]
    wrong: frozenset[str]


def class_of(count: int) -> list[Member]:
    """Copies of the sample class, no two notebooks with the same text in an answered cell."""
    models = [student for student in sample_class(LAB) if student.id not in NOT_FOR_ALL]
    cells = {cell.grade_id: cell for cell in LAB.cells}
    all_right = next(student for student in models if student.id == "ada").codes
    members = []
    for number in range(count):
        model = models[number % len(models)]
        codes = {
            id: f"{code}\n\n# student {number}" if cells[id].kind == "code" else f"{code} ({number})"
            for id, code in model.codes.items()
        }
        accepted = {
            exercise.id
            for exercise in LAB.exercises
            if (code := model.codes.get(exercise.id)) == all_right[exercise.id]
            or code in [alternative.code for alternative in exercise.alternatives]
            or model.id == "milo"  # the model answer behind warnings
        }
        wrong = frozenset(POINTS) - accepted
        # What stands on a wrong answer may be called wrong or not: that is each system's own choice.
        right = frozenset(accepted if not wrong else ())
        members.append(Member(Student(f"{model.id}-{number:04d}", model.about, codes), right, wrong))
    return members


def graded_wrongly(members: list[Member], scores: Scores) -> str:
    """A sentence about the first submission that got other marks than it deserves; "" when there is none."""
    for member in members:
        found = scores.get(member.student.id)
        if found is None:
            return f"{member.student.id} was not graded"
        for exercise, points in POINTS.items():
            got = found.get(exercise)
            if exercise in member.right and got != points:
                return f"{member.student.id} is right in {exercise} and got {got} of {points:g} points"
            if exercise in member.wrong and (got is None or got >= points):
                return f"{member.student.id} is wrong in {exercise} and got {got} of {points:g} points"
    return ""
