"""Which idea is named: equal where it is said, apart from what is right, and refuted by nothing."""

import pytest
import torch

from vitedu.probe.ask import ask
from vitedu.probe.case import Answer, FunctionCase
from vitedu.probe.comparison import Expected, comparable, is_correct
from vitedu.probe.explanation import Answered, Version, explain, named

T = 1e-6
X = torch.arange(1.0, 7.0, dtype=torch.float64).view(2, 3)
CASES = [FunctionCase("", "f", args=(X + i,)) for i in range(3)]
SECOND = [FunctionCase("", "f", args=(X * 1.5,))]


def double(x):
    return 2 * x


IDEAS = {
    "triple": lambda x: 3 * x,
    "square": lambda x: x * x,
    "plus-one": lambda x: 2 * x + 1,
    "thrice": lambda x: x + x + x,
    "nearly": lambda x: 2 * x + 1e-9,
    "by chance": lambda x: x * torch.rand(()),
}


def facts(f, cases, chance=False):
    return [Expected(comparable(ask(f, case), case, T), chance) for case in cases]


MODEL = facts(double, CASES + SECOND)
VERSIONS = {id: [Version(facts(f, CASES + SECOND, "chance" in id), MODEL)] for id, f in IDEAS.items()}


def answers(f, cases=CASES, second=SECOND):
    found = []
    for place, case in enumerate(cases + second):
        answer = comparable(ask(f, case), case, T)
        found.append(
            Answered(case, answer, is_correct(answer, MODEL[place].answer, case, T), T, int(place >= len(cases)))
        )
    return found


def explained(f):
    return {match.id: (match.places, match.whole) for match in explain(answers(f), VERSIONS)}


def test_a_right_answer_is_not_explained():
    assert explained(double) == {}


def test_an_idea_that_explains_everything_leaves_the_others_out():
    assert explained(lambda x: 3 * x) == {"triple": ((0, 1, 2, 3), True), "thrice": ((0, 1, 2, 3), True)}
    assert [match.id for match in named(explain(answers(IDEAS["triple"]), VERSIONS), answers(IDEAS["triple"]))] == [
        "triple"
    ]


def test_one_right_case_refutes_an_idea():
    assert explained(lambda x: 2 * x if x.sum() == 27 else 3 * x) == {}


def test_an_idea_that_the_second_draw_does_not_show_is_not_meant():
    assert explained(lambda x: 3 * x if x[0, 1] == x[0, 0] + 1 else x - 7) == {}


def test_two_ideas_that_explain_most_are_named_together():
    def both(x):
        return x * x if x.sum() == 21 else 2 * x + 1

    def mixed(x):
        return x * x if x[0, 0] == 1.5 else both(x)  # the second draw shows one of them

    found = answers(both)
    assert {match.id for match in explain(found, VERSIONS)} == {"plus-one"}
    assert {match.id for match in explain(answers(mixed), VERSIONS)} == {"square"}
    alone = answers(both, second=[])
    assert [(m.id, m.places, m.whole) for m in named(explain(alone, VERSIONS), alone)] == [
        ("plus-one", (1, 2), False),
        ("square", (0,), False),
    ]


@pytest.mark.parametrize("near", [1e-9, 1e-5])
def test_what_is_as_near_to_the_right_answer_explains_nothing(near):
    nearly = {"nearly": [Version(facts(lambda x: 2 * x + near, CASES), MODEL)]}
    answered = [Answered(a.case, a.found, False, T) for a in answers(lambda x: 2 * x + near, second=[])]
    assert explain(answered, nearly) == []


def test_what_is_left_to_chance_comes_last():
    versions = {
        "by chance": VERSIONS["by chance"],
        "random": [Version(facts(IDEAS["by chance"], CASES + SECOND), MODEL)],
    }
    found = answers(IDEAS["by chance"])
    assert [match.id for match in explain(found, versions)][-1:] == ["by chance"]


def test_an_unknown_mistake_stays_unnamed():
    assert explained(lambda x: x - 7) == {}


def test_no_answer_is_no_idea():
    silent = comparable(Answer("undone"), CASES[0], T)
    assert explain([Answered(CASES[0], silent, False, T)], {"triple": VERSIONS["triple"]}) == []
