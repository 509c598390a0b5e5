"""Mutants: what each operator makes of a small code, ids that stay, and nothing made twice or for its text alone."""

import ast

import pytest

from autograder.authoring.mutation import report
from autograder.authoring.mutation.hunt import Outcome
from autograder.authoring.mutation.mutants import OPERATORS, Mutant, choose, exercise_mutants, mutants_of
from autograder.errors import UserError
from autograder.labs.lab import find_lab

# operator, code, one of the codes that it must make of it
MADE = [
    ("arithmetic", "def f(a, b): return a + b", "return a - b"),
    ("drop-operand", "def f(a, b): return a / b", "return b"),
    ("drop-operand", "def f(a): return ~a", "return a"),
    ("swap-operands", "def f(a, b): return a @ b", "return b @ a"),
    ("plain-assignment", "def f(a, b):\n    a += b", "a = b"),
    ("negate-condition", "def f(a):\n    if a is not None:\n        a.x = 1", "if not a is not None:"),
    ("negate-condition", "def f(a):\n    return [b for b in a if b.c]", "return [b for b in a if False]"),
    ("compare", "def f(a, b): return a < b", "return a <= b"),
    ("boolean", "def f(a, b): return a and b", "return b"),
    ("drop-argument", "def f(a): return g(a, b=a)", "return g(a)"),
    ("swap-arguments", "def f(a, b): return g(a, b)", "return g(b, a)"),
    ("call-to-argument", "def f(a): return g(a)", "return a"),
    ("items", "def f(a, b): return [a, b]", "return [a]"),
    ("items", "def f(a, b): return {'a': a, 'b': b}", "return {'b': b}"),
    ("bounds", "def f(a): return a[2:]", "return a[:]"),
    ("bounds", "def f(a, b): return a[:b]", "return a[:b + 1]"),
    ("remove-statement", "def f(a):\n    a.step()\n    return a", ""),
    ("dedent-statement", "def f(a):\n    for b in a:\n        b.x()\n        b.y()", "b.y()"),
    ("swap-statements", "def f(a):\n    a.x()\n    a.y()\n    return a", "a.y() | a.x()"),
    ("repeat-statement", "def f(a):\n    a.x()", "a.x()"),
    ("loop", "def f(a):\n    for b in a:\n        b.x()", "for b in list(a)[:-1]:"),
    ("other-name", "def f(a, b): return g(a)", "return g(b)"),
    ("other-name", "class C:\n    def f(self):\n        self.a = self.b = 1\n        return self.a", "return self.b"),
    ("constant", "def f(a): return a * 2", "return a * 3"),
    ("constant", "def f(a=True): return a", "def f(a=False):"),
    ("constant", "def f(a): return a == 'cls'", "return a == 'cls_'"),
    ("other-axis", "def f(a): return a.softmax(dim=-1)", "return a.softmax(dim=0)"),
    ("other-axis", "def f(a): return a.transpose(1, 2)", "return a.transpose(1, -1)"),
    ("other-axis", "def f(a): return a.mean(dim=(2, 3))", "return a.mean(dim=(2, -1))"),
    ("other-call", "def f(a): return a.mean()", "return a.sum()"),
    ("other-option", "def f(a, b): return nn.Linear(a, b)", "return nn.Linear(a, b, bias=False)"),
    ("einsum", "def f(a, b): return torch.einsum('ij,jk->ik', a, b)", "return torch.einsum('ij,jk->ki', a, b)"),
    ("infinity", "def f(a, b): return a.masked_fill(b, -math.inf)", "return a.masked_fill(b, -100.0)"),
    ("bounded-scores", "def f(a): return a.softmax(-1)", "return a.clamp(-50, 50).softmax(-1)"),
    ("bounded-scores", "def f(a): return torch.softmax(a, -1)", "return torch.softmax(a.clamp(-50, 50), -1)"),
    ("in-place", "def f(a, b): return a / b", "return a.div_(b)"),
    ("in-place", "def f(a): return a.exp()", "return a.exp_()"),
    ("in-place", "def f(a, b):\n    a = a + b\n    return a", "a += b"),
    ("first-kept", "def f(a): return g(len(a))", "return g(f.__dict__.setdefault('kept', len(a)))"),
    (
        "first-kept", "class C:\n    def forward(self, a):\n        return g(a.shape[0])",
        "return g(self.__dict__.setdefault('kept', a.shape[0]))",
    ),
    ("first-argument-kept", "def f(a): return a.x", "a = f.__dict__.setdefault('kept a', a)"),
    ("squeeze", "def f(a): return g(a)", "return g(a).squeeze()"),
    ("detach", "def f(a): return g(a)", "return g(a).detach()"),
    ("float32", "def f(a): return g(a)", "return g(a).float()"),
    ("half", "def f(a): return g(a)", "return g(a).half().to(g(a).dtype)"),
    ("byte", "def f(a): return g(a)", "return g(a).byte().to(g(a).dtype)"),
]  # fmt: skip


def texts(code: str) -> set[str]:
    return {mutant.after for mutant in mutants_of(code, "lab/f/solution")}


@pytest.mark.parametrize("operator, code, after", MADE)
def test_each_operator_makes_what_it_says(operator, code, after):
    made = [mutant for mutant in mutants_of(code, "lab/f/solution") if mutant.operator == operator]
    assert after in {mutant.after for mutant in made}
    for mutant in made:
        assert ast.unparse(ast.parse(mutant.code)) == mutant.code != ast.unparse(ast.parse(code))


def test_every_operator_is_tested():
    assert {operator for operator, _, _ in MADE} == set(OPERATORS)


def test_none_is_made_twice_and_none_equals_the_code():
    code = "def f(a, b):\n    return (a + b).sum(-1)"
    codes = [ast.dump(ast.parse(mutant.code)) for mutant in mutants_of(code, "lab/f/solution")]
    assert len(codes) == len(set(codes)) > 5
    assert ast.dump(ast.parse(code)) not in codes


def test_texts_of_errors_docstrings_and_annotations_stay():
    code = (
        'def f(a: int = 3) -> "Tensor":\n    """How 2 double 1."""\n'
        '    raise ValueError("a has 3 sides", f"not {a}")'
    )  # fmt: skip
    made = mutants_of(code, "lab/f/solution")
    assert {mutant.operator for mutant in made} == {"constant", "remove-statement", "first-argument-kept"}
    assert all("How 2 double 1." in mutant.code and "-> 'Tensor'" in mutant.code for mutant in made)


def test_ids_stay_when_other_lines_change():
    short = "def f(a, b):\n    return a.softmax(dim=-1)"
    longer = "import math\n\ndef g(x):\n    return x * 2\n\ndef f(a, b):\n    c = a - b\n    return a.softmax(dim=-1)"
    ids = {mutant.id for mutant in mutants_of(short, "lab/f/solution") if mutant.operator == "other-axis"}
    assert len(ids) == 6
    assert ids == {mutant.id for mutant in mutants_of(longer, "lab/f/solution") if mutant.operator == "other-axis"}


def test_equal_changes_at_two_places_have_two_ids():
    code = "def f(a):\n    a.x(1)\n    a.y()\n    a.x(1)"
    made = [m for m in mutants_of(code, "lab/f/solution") if m.after == "a.x(2)"]
    assert len(made) == 2 and len({mutant.id for mutant in made}) == 2


def test_a_choice_is_the_same_again_and_changes_little_when_there_is_more():
    made = mutants_of("def f(a, b):\n    return (a + b * 2).sum(-1)", "lab/f/solution")
    chosen = choose(made, 10)
    assert chosen == choose(list(reversed(made)), 10)[::-1] and len(chosen) == 10
    assert set(choose(made[1:], 10)) >= set(chosen) - {made[0]}
    assert choose(made, 10, "another seed") != chosen


def test_a_real_exercise_has_mutants_of_its_cell_and_of_twenty_alternatives():
    lab = find_lab("lab1")
    made = exercise_mutants(lab, lab.exercise("attention_weights"))
    assert sum(mutant.origin != "solution" for mutant in made) == 20
    assert len({mutant.id for mutant in made}) == len(made) > 60
    assert {mutant.exam for mutant in made} == {"lab1/attention_weights"}


def outcome(id: str, killed_by: str = "") -> Outcome:
    return Outcome(f"lab1/f/solution/{id}", id.partition("-")[0], "a + b", "a - b", killed_by)


def test_survivors_are_explained_by_id_or_by_pattern_and_the_table_counts_them():
    known = {"lab1/f/solution/float32-*": "accepted with a remark", "lab1/f/solution/squeeze-1": "nothing to squeeze"}
    outcomes = report.explained(
        [outcome("squeeze-1"), outcome("squeeze-2"), outcome("float32-3"), outcome("float32-4", "points")], known
    )
    assert [each.state for each in outcomes] == ["explained", "survived", "explained", "killed"]
    rows = [line.split() for line in report.table(outcomes).splitlines() if line]
    assert ["lab1/f", "4", "1", "2", "1", "75.0%"] in rows and ["squeeze", "2", "0", "1", "1", "50.0%"] in rows
    assert report.survivors(outcomes).split() == [
        "survived:", "lab1/f/solution/squeeze-2", "before:", "a", "+", "b", "after:", "a", "-", "b",
    ]  # fmt: skip


def test_explanations_that_explain_nothing_are_stale():
    made = [Mutant(f"lab1/f/solution/{id}", "squeeze", "", "", "") for id in ("squeeze-1", "squeeze-2", "half-3")]
    known = dict.fromkeys(
        ("lab1/f/solution/squeeze-1", "lab1/f/solution/squeeze-9", "lab1/f/solution/half-*", "lab2/g/solution/half-3"),
        "why",
    )
    tried = [outcome("squeeze-1", "points"), outcome("squeeze-2"), outcome("half-3")]
    assert report.stale(known, made, tried) == [
        "stale: lab1/f/solution/squeeze-1 is killed (points)", "stale: there is no mutant lab1/f/solution/squeeze-9",
    ]  # fmt: skip
    assert report.stale(known, made, []) == ["stale: there is no mutant lab1/f/solution/squeeze-9"]


def test_the_committed_explanations_have_reasons_and_a_line_without_one_is_refused(tmp_path):
    assert all(why for why in report.equivalents().values())
    (tmp_path / "some.csv").write_text("id,why\nlab1/f/solution/half-1,\n")
    with pytest.raises(UserError, match="half-1"):
        report.equivalents(tmp_path / "some.csv")
