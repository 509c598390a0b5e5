"""Right in another style everywhere: the alternatives of all exercises of a lab at once still get full marks."""

from __future__ import annotations

import warnings

import pytest
import torch

from autograder.judging.judge import CaseAnswer, Circumstances, judge
from autograder.judging.reference_answers import Reference
from autograder.judging.verdict import GRADED, Verdict
from autograder.labs.lab import all_labs
from autograder.labs.variants import Variant
from vitedu.probe.ask import ask, asks_for_float32

LABS = all_labs()


@pytest.fixture(scope="module", params=LABS, ids=lambda lab: lab.key)
def reference(request) -> Reference:
    return Reference(request.param)


@pytest.mark.parametrize("place", range(7))
def test_alternatives_get_along(reference, place):
    exercises = [e for e in reference.lab.exercises if not e.trained]
    chosen = {e.id: e.alternatives[place % len(e.alternatives)] for e in exercises}
    namespace, earlier = reference.namespace([(id, a.code) for id, a in chosen.items()]), {}
    for exercise in exercises:
        draw = Variant(b"in another style", exercise.id, place)
        replies = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for case in reference.cases(exercise, draw):
                reply = CaseAnswer(ask(namespace[case.target], case, namespace=namespace))
                if asks_for_float32(reply.answer):
                    reply = CaseAnswer(
                        ask(namespace[case.target], case, torch.float32, namespace=namespace), torch.float32
                    )
                replies.append(reply)
        verdict = Verdict(exercise.id, "exam", GRADED, 0.0, 1.0)
        judge(reference, exercise, draw, replies, verdict, Circumstances(earlier))
        earlier |= {exercise.id: verdict.idea.removeprefix("~")} if verdict.idea else {}
        assert (verdict.points, verdict.diagnoses) == (1.0, []), [chosen[e.id].name for e in exercises]
