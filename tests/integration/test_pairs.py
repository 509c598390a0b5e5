"""An exercise that is wrong, raises or is empty costs nothing in any other one: all pairs, in real notebooks."""

from __future__ import annotations

import functools

import nbformat
import pytest

from autograder.authoring.sample_class import Student, hand_in, model_codes, wrong
from autograder.execution.examiner import Examination, examine
from autograder.execution.preload import PACKAGES, modules_of
from autograder.execution.submission_task import Task
from autograder.judging.reference_answers import Reference
from autograder.labs.lab import ROOT, Lab, all_labs
from autograder.sandbox import bubblewrap
from autograder.sandbox.forked_kernel import ForkServer
from autograder.submission.bindings import defined
from autograder.submission.parse_notebook import parse_submission
from autograder.submission.rebuild import rebuild
from support.skipping import missing

SECRET = bytes(range(32))
EVERY = [(lab, exercise) for lab in all_labs() for exercise in lab.exercises if not exercise.trained]
KINDS = ("wrong", "raises", "empty")


@functools.cache
def reference(assignment: str) -> Reference:
    return Reference(Lab(assignment))


@pytest.fixture(scope="module")
def template():
    """One fork server at a time: tests come lab by lab."""
    if why := bubblewrap.unavailable():
        missing(why)
    kept: dict[str, ForkServer] = {}

    def of(lab: Lab) -> str:
        if lab.key not in kept:
            while kept:
                kept.popitem()[1].close()
            kept[lab.key] = ForkServer(modules_of(lab.source), PACKAGES)
        return kept[lab.key].address

    yield of
    while kept:
        kept.popitem()[1].close()


def examined(lab: Lab, template, codes: dict[str, str]) -> Examination:
    path = ROOT / "notebooks" / lab.assignment / f"{lab.notebook}.ipynb"
    release = nbformat.read(path, as_version=4)
    handed = hand_in(release, Student("ada", "", codes))
    task = Task(lab.assignment, "ada", secret=SECRET, template=template(lab))
    exams = [cell.metadata.nbgrader for cell in release.cells if "points" in cell.metadata.nbgrader]
    points = {each.grade_id: float(each.points) for each in exams}
    notebook, _ = rebuild(parse_submission(nbformat.writes(handed).encode()), nbformat.read(path, as_version=4), points)
    return examine(task, notebook, reference(lab.assignment))


def spoilt(lab: Lab, exercise, kind: str) -> dict[str, str]:
    """The model answers, but for one: a misconception, code that raises wherever it is called, or the TODO."""
    codes = model_codes(lab) | {e.id: "raise NotImplementedError('TODO')" for e in lab.exercises if e.trained}
    if kind == "empty":
        del codes[exercise.id]
    elif kind == "wrong":
        codes[exercise.id] = exercise.misconceptions[len(exercise.misconceptions) // 3].code
    else:
        names = sorted(defined(codes[exercise.id]))
        codes[exercise.id] += "".join(
            f"\n\ndef {name}(*args, **kwargs):\n    raise RuntimeError('of my own')\n" for name in names
        )
    return codes


def costs_nothing_elsewhere(lab: Lab, exercise, kind: str, template) -> None:
    found = examined(lab, template, spoilt(lab, exercise, kind))
    for verdict in found.verdicts:
        if lab.exercise(verdict.exercise).trained:
            continue
        if verdict.exercise == exercise.id:
            assert not all(case.right for case in verdict.cases) or verdict.points == 0.0
            continue
        said = [(case.name, case.note) for case in verdict.cases if not case.right]
        assert not said and verdict.points == verdict.max_points, (exercise.id, kind, verdict.exercise, said)
        assert not verdict.diagnoses, (verdict.exercise, verdict.diagnoses)


def _name(value) -> str:
    return value if isinstance(value, str) else getattr(value, "key", getattr(value, "id", ""))


@pytest.mark.parametrize(
    "lab, exercise, kind",
    [(*each, KINDS[i % 3]) for i, each in enumerate(EVERY) if each[0].key in ("lab1", "lab2")],
    ids=_name,
)
def test_one_that_is_not_right_costs_nothing_elsewhere(lab, exercise, kind, template):
    costs_nothing_elsewhere(lab, exercise, kind, template)


ATTENTION = "scaled_dot_product_attention"
WITHOUT_BIAS = ("nn.Linear(hidden_dim, dim)", "nn.Linear(hidden_dim, dim, bias=False)")
OWN_DROPOUT = (
    "hidden = self.dropout(self.activation(self.fc1(x)))",
    "hidden = F.dropout(self.activation(self.fc1(x)), 0.3)",
)
REACHED = {
    "by a default argument": ("def forward(self, x: Tensor) -> Tensor:", f"def forward(self, x, attend={ATTENTION}):"),
    "by another name": ("class MultiHeadAttention", f"attend = {ATTENTION}\n\n\nclass MultiHeadAttention"),
}


@pytest.mark.long
@pytest.mark.parametrize("edit", [WITHOUT_BIAS, OWN_DROPOUT], ids=["fc2 without bias", "dropout that never ends"])
def test_a_mistake_without_a_name_costs_its_own_exercise_only(edit, template):
    lab = Lab("lab3_vit")
    codes = model_codes(lab)
    assert codes["FeedForward"].count(edit[0]) == 1
    codes["FeedForward"] = "import torch.nn.functional as F\n" + codes["FeedForward"].replace(*edit)
    found = examined(lab, template, codes).verdicts
    assert [v.exercise for v in found if not all(case.right for case in v.cases)] == ["FeedForward"]


@pytest.mark.parametrize("way", REACHED)
def test_a_stand_in_is_reached_however_it_is_called(way, template):
    lab = Lab("lab1_attention")
    codes = wrong(lab, **{ATTENTION: "no-scale"})
    code = codes["MultiHeadAttention"].replace(f"heads = {ATTENTION}(", "heads = attend(").replace(*REACHED[way])
    assert code.count("attend") >= 2
    found = examined(lab, template, codes | {"MultiHeadAttention": code}).verdicts
    assert [v.exercise for v in found if v.points != v.max_points] == [ATTENTION]


def test_who_calls_nothing_is_right_as_it_stands(template):
    """F31: with its own attention inside, divided by K, nobody else is blamed; and right, it owes nobody anything."""
    lab = Lab("lab1_attention")
    codes = wrong(lab, **{ATTENTION: "no-scale"})
    own = codes["MultiHeadAttention"].replace(
        f"{ATTENTION}(q, k, v)", "(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v"
    )
    found = {v.exercise: v for v in examined(lab, template, codes | {"MultiHeadAttention": own}).verdicts}
    assert found["MultiHeadAttention"].points == found["MultiHeadAttention"].max_points
    by_k = model_codes(lab) | {"MultiHeadAttention": own.replace("** 0.5", "** 1.0")}
    found = {v.exercise: v for v in examined(lab, template, by_k).verdicts}
    assert found[ATTENTION].points == found[ATTENTION].max_points and found["MultiHeadAttention"].points == 0
    assert {d.exercise for d in found["MultiHeadAttention"].diagnoses} <= {"MultiHeadAttention"}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lab, exercise", EVERY, ids=_name)
def test_every_pair(lab, exercise, kind, template):
    costs_nothing_elsewhere(lab, exercise, kind, template)
