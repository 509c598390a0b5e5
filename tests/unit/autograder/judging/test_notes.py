"""Notes on wrong answers say what differs, for every known wrong idea, and never what a hidden case expects."""

from __future__ import annotations

import dataclasses
import re
import warnings

import pytest
import torch

from autograder.judging.judge import CaseAnswer, judge
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import GRADED, Verdict
from autograder.judging.verdict_output import verdict_output
from autograder.labs.lab import all_labs, find_lab
from autograder.labs.variants import Variant
from vitedu.checks.mismatch import note
from vitedu.probe.ask import ask
from vitedu.probe.case import Answer, Case, ScenarioCase
from vitedu.probe.comparison import TOLERANCE, comparable, is_correct

T = TOLERANCE[torch.float64]
SECRET = b"a secret for tests"
LABS = [lab.key for lab in all_labs()]
BARE = {"", "the values differ", "the answer differs", "the result differs", "it differs", "differs"}


def says_something(text: str, case: Case, values: bool) -> None:
    """A note names what differs, and in a hidden exam no expected value."""
    first, *folded = text.split("\n")
    assert not BARE & {first, *folded}
    assert "-0," not in text and not text.endswith("-0")
    if folded:
        assert re.fullmatch(r"and \d+ more differs?", folded[0]) and len(folded) >= 2
    if isinstance(case, ScenarioCase) and case.scoring.raises is None:
        assert not re.match(r"(expected|at \[)", first), "the quantity comes first"
    if not values and not re.match(r"\w+Error: ", first):  # the words of an error are the student's own
        assert not re.search(r"expected -?\d|expected nan|expected inf", text)


@pytest.mark.parametrize("lab", [pytest.param(lab, marks=[pytest.mark.long] * (lab != "lab1")) for lab in LABS])
def test_no_known_mistake_gets_a_bare_note(lab):
    reference = Reference(find_lab(lab))
    for exercise in reference.lab.exercises:
        if exercise.trained:
            continue
        draw = Variant(SECRET, exercise.id, 1)
        cases, model = reference.cases(exercise, draw), reference.answers(exercise, draw)
        for idea in exercise.misconceptions:
            namespace = reference.namespace([(exercise.id, idea.code)])
            for case, right in zip(cases, model, strict=True):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    answer = ask(namespace[case.target], case, namespace=namespace)
                found = comparable(answer, case, T)
                if not is_correct(found, right.answer, case, T):
                    for values in (True, False):  # in a check, and in an exam
                        says_something(note(answer, found, right.answer, case, T, values=values), case, values)


# --- notes of the judge ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attention() -> Reference:
    return Reference(find_lab("lab1"))


@pytest.fixture(scope="module")
def training() -> Reference:
    return Reference(find_lab("lab4"))


def judged(reference: Reference, exercise_id: str, code: str = "", change=None) -> Verdict:
    """The verdict on a cell, or on the model answer with some answers changed: `change` maps (case, answer) to one."""
    exercise = reference.lab.exercise(exercise_id)
    draw = Variant(SECRET, exercise_id, 1)
    namespace = reference.namespace([(exercise_id, code)] if code else [])
    answers = [(c, ask(namespace[c.target], c, namespace=namespace)) for c in reference.cases(exercise, draw)]
    replies = [CaseAnswer(change(case, answer) if change else answer) for case, answer in answers]
    return judge(reference, exercise, draw, replies, Verdict(exercise_id, "exam", GRADED, 0.0, 4.0))


def test_an_assertion_in_place_of_a_value_error_is_told_the_type_that_is_expected(attention):
    def asserted(case: Case, answer: Answer) -> Answer:
        if case.scoring.raises is None:
            return answer
        return dataclasses.replace(answer, error={**answer.error, "type": "AssertionError"})

    verdict = judged(attention, "MultiHeadAttention", change=asserted)
    (wrong,) = [case for case in verdict.cases if not case.right]
    assert re.match(r"expected a ValueError whose message names \d+ and \d+; got AssertionError: ", wrong.note)
    assert verdict.points < 4.0


def test_an_error_alone_is_right_and_is_told_what_it_is_paired_with(attention):
    def only_refuses(case: Case, answer: Answer) -> Answer:
        return answer if case.scoring.raises is not None else dataclasses.replace(answer, tensors={}, kind="NoneType")

    verdict = judged(attention, "MultiHeadAttention", change=only_refuses)
    assert verdict.points == 0.0
    (refusal,) = [case for case in verdict.cases if case.note.startswith("right, but")]
    assert re.fullmatch(
        r'right, but it shows too little to count alone: it needs a right answer to one of "[^"]+", "[^"]+".*',
        refusal.note,
    )
    assert refusal.name not in refusal.note


def test_a_paired_case_of_a_checkpoint_names_its_partners(training):
    idea = training.lab.exercise("checkpoints").misconception("epoch-not-saved")
    verdict = judged(training, "checkpoints", idea.code)
    assert [case.right for case in verdict.cases] == [False] * 4
    assert [case.note for case in verdict.cases[:3]] == ["the epoch that comes back differs"] * 3
    assert verdict.cases[3].note == (
        "right, but it shows too little to count alone: it needs a right answer to one of "
        '"an optimizer with a memory", "loaded without an optimizer", "written on another device"'
    )


def test_what_follows_is_folded_away_in_the_feedback(training):
    idea = training.lab.exercise("train_one_epoch").misconception("mean-of-batch-means")
    output = verdict_output(judged(training, "train_one_epoch", idea.code)).data
    html, text = output["text/html"], " ".join(output["text/plain"].split())
    assert (
        "the loss of epoch 1 differs<details><summary>and 3 more differ</summary><div>the accuracy of epoch 1" in html
    )
    assert "the loss of epoch 1 differs; and 3 more differ" in text and "accuracy of epoch 2" not in text
