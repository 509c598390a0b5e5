"""The proof of the exams can itself fail: an exam that misses something is a problem, in words."""

import dataclasses

import autograder.authoring.prove_exams
from autograder.authoring.null_answers import NULLS
from autograder.authoring.prove_exams import Proof, prove, table
from autograder.judging.check_secret import escapes
from autograder.judging.reference_answers import Reference
from autograder.labs.exam import Alternative, Exercise, Misconception
from autograder.labs.lab import Cell, Lab
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase

SECRET = b"a secret for tests"

MODEL = "def double(x):\n    return x + x"
TRIPLE = Misconception("triple", "x is added twice", "How often?", "def double(x):\n    return x + x + x")
FORGOTTEN = Misconception("forgotten", "x is returned as it is", "What is 2 x?", "def double(x):\n    return x.clone()")
TWICE = Alternative("a product", "def double(x):\n    return 2 * x")
DRAWS = [Variant(SECRET, "double", variant) for variant in (0, 7)]


def cases(target: str):
    return lambda draw: [FunctionCase(f"size {n}", target, (draw.normal(n, 2),)) for n in draw.sizes(3, 2, 9)]


def right(id: str, *codes: str) -> tuple[Alternative, ...]:
    return tuple(Alternative(f"way {i}", f"def {id}(x):\n    return {code}") for i, code in enumerate(codes))


DOUBLE = Exercise(
    "double", cases("double"), (TRIPLE, FORGOTTEN),
    (TWICE, *right("double", "x.add(x)", "x - -x", "torch.stack([x, x]).sum(0)", "x / 0.5", "x.exp().square().log()")),
)  # fmt: skip


def marked(code: str) -> str:
    """A function with the marks around its body."""
    return code.replace(":\n", ":\n    ### BEGIN SOLUTION\n", 1) + "\n    ### END SOLUTION"


def lab_of(*exercises: Exercise, **models: str) -> Lab:
    """A lab of a few lines, with a lab's own name."""
    lab = Lab("lab1_attention")
    codes = {
        "double": MODEL,
        "ones": "def ones(x):\n    return torch.ones_like(x)",
        "after": "def after(x):\n    return double(x).exp()",
    }
    cells = [Cell("imports", "setup", "code", "import torch")]
    cells += [Cell(e.id, "solution", "code", marked((codes | models)[e.id])) for e in exercises]
    lab.__dict__.update(exercises=exercises, cells=tuple(cells))  # where its cached properties keep them
    return lab


def proof_of(monkeypatch, lab: Lab, exercise: str) -> Proof:
    monkeypatch.setattr(autograder.authoring.prove_exams, "find_lab", lambda name: lab)
    return prove("lab1_attention", exercise, DRAWS)


def has(proof: Proof, *words: str) -> bool:
    return any(all(word in problem for word in words) for problem in proof.problems)


def test_an_exam_that_misses_things_is_told_each_of_them(monkeypatch):
    exercise = dataclasses.replace(
        DOUBLE,
        misconceptions=(
            TRIPLE,
            dataclasses.replace(TRIPLE, id="triple-again", code="def double(x):\n    return 3 * x"),
            Misconception("same-as-the-model", "nothing is wrong", "Is it?", "def double(x):\n    return x * 2"),
        ),
        alternatives=(
            TWICE,
            Alternative("wrong", "def double(x):\n    return x * x"),
            Alternative("the same way", TWICE.code),
        ),
    )
    proof = proof_of(monkeypatch, lab_of(exercise), "double")
    assert has(proof, "same-as-the-model gets full marks", "2 of 2 draws")
    assert has(proof, "same-as-the-model is not named")
    assert has(proof, "triple-again is not named as itself")
    assert has(proof, "wrong loses points")
    assert has(proof, "'a product' and 'the same way' call the same operations")
    assert has(proof, "3 alternatives", "at least 6")
    assert not has(proof, "the model answer") and not has(proof, "stub") and not has(proof, "null answer")
    assert (proof.misconceptions, proof.alternatives, proof.accepted, proof.nulls_refused) == (3, 3, 2, proof.nulls)
    assert (proof.caught, proof.named) == (2, 1)
    assert table([proof]).count("lab1/double: ") == len(proof.problems)


def test_an_exam_that_misses_nothing_has_no_problem(monkeypatch):
    proof = proof_of(monkeypatch, lab_of(DOUBLE), "double")
    assert proof.problems == []
    assert (proof.caught, proof.named, proof.accepted) == (2, 2, 6)


def test_a_planted_mistake_in_the_solution_is_found(monkeypatch):
    proof = proof_of(monkeypatch, lab_of(DOUBLE, double=TRIPLE.code), "double")
    assert has(proof, "a product loses points on 2 of 2 draws") and proof.accepted == 0
    assert has(proof, "triple gets full marks")


def test_an_answer_that_needs_no_idea_is_found(monkeypatch):
    exercise = Exercise("ones", cases("ones"), (), right("ones", "x * 0 + 1"))
    proof = proof_of(monkeypatch, lab_of(exercise), "ones")
    assert has(proof, "the null answer 'ones' earns points")
    assert (proof.nulls, proof.nulls_refused) == (
        len(NULLS),
        len(NULLS) - 1,
    )


TWICE_DONE = Misconception(
    "twice", "it is done twice", "How often?", "def after(x):\n    return double(double(x)).exp()"
)
AFTER = Exercise(
    "after", cases("after"), (TWICE_DONE,), right("after", "double(x).exp()", "(x + x).exp()", "(2 * x).exp()")
)


def with_stand_in(code: str) -> Exercise:
    return dataclasses.replace(DOUBLE, stand_in=f"def double(x):\n    return {code}")


def test_right_code_is_right_with_a_stand_in_and_wrong_code_is_caught(monkeypatch):
    proof = proof_of(monkeypatch, lab_of(with_stand_in("x.sin()"), AFTER), "after")
    assert (proof.pairs, proof.pairs_hold) == (1, 1) and not has(proof, "stand-in")
    head, row = (line.split() for line in table([proof]).split("\n")[:2])
    assert row[-4:] == ["1", "of", "1", "2"] and head[-1] == "draws"


def test_a_stand_in_that_makes_the_exam_blind_is_found(monkeypatch):
    proof = proof_of(monkeypatch, lab_of(with_stand_in("x * 0"), AFTER), "after")
    assert (proof.pairs, proof.pairs_hold) == (1, 0)
    assert has(proof, "twice, with a stand-in for double, gets full marks on 2 of 2 draws")
    assert has(
        prove("lab1_attention", "after", DRAWS, paired=1), "with a stand-in for double, gets full marks on 1 of 1"
    )


def test_a_right_answer_that_a_stand_in_robs_is_found(monkeypatch):
    """One that calls the earlier answer in its own way is right; one that depends on a count of calls is not."""
    halves = Alternative("halves", "def after(x):\n    return (double(x) / 2 + x).exp()")
    after = dataclasses.replace(AFTER, alternatives=(*AFTER.alternatives, halves))
    proof = proof_of(monkeypatch, lab_of(with_stand_in("x.sin()"), after), "after")
    assert not has(proof, "halves")  # what it gives with the stand-in is one way more of being right
    counts = "def after(x):\n    after.n = getattr(after, 'n', 0) + 1\n    return double(x).exp() + (after.n > 8)"
    after = dataclasses.replace(AFTER, alternatives=(*AFTER.alternatives, Alternative("counts", counts)))
    assert has(proof_of(monkeypatch, lab_of(with_stand_in("x.sin()"), after), "after"), "counts, with a stand-in")


def test_an_escaping_misconception_is_found_under_any_secret():
    assert escapes(Reference(lab_of(DOUBLE)), SECRET) == []
    same = Misconception("same-as-the-model", "nothing is wrong", "Is it?", TWICE.code)
    found = escapes(Reference(lab_of(dataclasses.replace(DOUBLE, misconceptions=(TRIPLE, same)))), SECRET)
    assert found == [f"the misconception same-as-the-model of double on variant {variant}" for variant in range(16)]


def test_a_real_exam_holds_on_two_draws():
    proof = prove("lab1_attention", "attention_weights", [Variant(SECRET, "attention_weights", v) for v in (2, 11)])
    assert proof.problems == []
    assert proof.caught == proof.named == proof.misconceptions >= 15
    assert proof.accepted == proof.alternatives >= 6 and proof.nulls_refused == proof.nulls >= 6
