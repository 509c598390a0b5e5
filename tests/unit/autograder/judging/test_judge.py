"""The judge on Lab 1's own exams: points, names, what stand-ins change, and what never counts."""

import dataclasses
import json
import random

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from autograder.authoring.sample_class import model_codes
from autograder.execution.examiner import library_remarks
from autograder.judging.judge import ALONE, CaseAnswer, Circumstances, judge, signature
from autograder.judging.reference_answers import ALL, Reference, differ
from autograder.judging.verdict import ERROR, GRADED, NOT_ANSWERED, Verdict
from autograder.judging.verdict_output import verdict_output
from autograder.labs.lab import find_lab
from autograder.labs.variants import VARIANTS, Variant, variant_of
from vitedu.probe.ask import ask
from vitedu.probe.case import Answer
from vitedu.probe.comparison import close

SECRET = b"a secret for tests"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(find_lab("lab1"))


def replies(reference, exercise_id, replaced=(), dtype=torch.float64, variant=3):
    """What a student with these misconceptions ((exercise, id), ...) answers."""
    exercise = reference.lab.exercise(exercise_id)
    codes = [(id, reference.lab.exercise(id).misconception(m).code) for id, m in replaced]
    namespace = reference.namespace(codes)
    draw = Variant(SECRET, exercise_id, variant)
    return (
        exercise,
        draw,
        [CaseAnswer(ask(namespace[c.target], c, dtype), dtype) for c in reference.cases(exercise, draw)],
    )


def verdict_on(reference, exercise_id, replaced=(), dtype=torch.float64):
    exercise, draw, given = replies(reference, exercise_id, replaced, dtype)
    return judged(reference, exercise, draw, given)


def judged(reference, exercise, draw, given, around=ALONE, status=GRADED, common=None):
    verdict = Verdict(exercise.id, "exam", status, 0.0, 4.0)
    return judge(reference, exercise, draw, given, verdict, around, common)


def answered(reference, exercise_id, variant=3, **codes):
    """What a student answers in whose cells these codes stand; a stand-in where it is None."""
    exercise, draw = reference.lab.exercise(exercise_id), Variant(SECRET, exercise_id, variant)
    cells = [(id, reference.lab.stand_in(id) if code is None else code) for id, code in codes.items()]
    namespace = reference.namespace(cells)
    cases = reference.cases(exercise, draw)
    return exercise, draw, [CaseAnswer(ask(namespace[c.target], c, namespace=namespace)) for c in cases]


def test_every_exercise_has_three_cases_and_partial_credit(reference):
    for exercise in reference.lab.exercises:
        assert len(exercise.cases(Variant(SECRET, exercise.id, 0))) >= 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_model_answer_gets_full_marks(reference, dtype):
    for exercise in reference.lab.exercises:
        verdict = verdict_on(reference, exercise.id, dtype=dtype)
        assert (verdict.points, verdict.status, verdict.diagnoses) == (4.0, GRADED, [])
        assert bool(verdict.remarks) == (dtype == torch.float32)


def test_a_misconception_loses_points_and_is_named_with_its_question(reference):
    verdict = verdict_on(reference, "attention_weights", [("attention_weights", "softmax-over-queries")])
    assert verdict.points < 4.0
    (diagnosis,) = verdict.diagnoses
    assert (diagnosis.misconception, diagnosis.whole) == ("softmax-over-queries", True)
    assert diagnosis.idea and diagnosis.question


def test_part_of_the_cases_right_gives_part_of_the_points(reference):
    verdict = verdict_on(reference, "attention_weights", [("attention_weights", "exp-overflows")])
    assert 0 < verdict.points < 4.0
    assert any(case.right for case in verdict.cases) and not all(case.right for case in verdict.cases)


# --- stand-ins: each exercise alone -------------------------------------------------------------

ATTENTION = "scaled_dot_product_attention"
STOOD = Circumstances(stand_ins=(ATTENTION,))


@pytest.mark.parametrize("exercise_id", ["AttentionHead", "MultiHeadAttention"])
def test_right_code_is_right_with_a_stand_in_before_it(reference, exercise_id):
    given = answered(reference, exercise_id, **{ATTENTION: None})
    verdict = judged(reference, *given, STOOD)
    assert (verdict.points, verdict.status, verdict.diagnoses) == (4.0, GRADED, [])
    assert verdict.stand_ins == [ATTENTION]
    assert judged(reference, *given).points < 4.0  # only where one was run


def test_right_code_that_calls_nothing_is_right_with_stand_ins_too(reference):
    verdict = judged(reference, *answered(reference, "multi_head_attention_einsum"), STOOD)
    assert (verdict.points, verdict.diagnoses, verdict.stand_ins) == (4.0, [], [])


def test_an_alternative_that_calls_another_answer_is_right_with_stand_ins(reference):
    both = Circumstances(stand_ins=("attention_weights", ATTENTION))
    exercise, tried = reference.lab.exercise("MultiHeadAttention"), 0
    for idea in reference.calling(exercise, Variant(SECRET, exercise.id, 3)):
        code = reference.code(exercise.id, idea)
        given = answered(reference, exercise.id, attention_weights=None, **{ATTENTION: None, exercise.id: code})
        assert judged(reference, *given, both).points == 4.0, code
        tried += 1
    assert tried


def test_right_code_that_calls_one_stand_in_and_not_the_other_is_right():
    """Its training is written out, train_one_epoch is not called; evaluate is. Neither was right."""
    reference, exercise, draw = Reference(find_lab("lab4")), find_lab("lab4").exercise("fit"), Variant(SECRET, "fit", 3)
    model = model_codes(reference.lab)
    train, fit = (model[id].replace("train_one_epoch(", "one_epoch(") for id in ("train_one_epoch", "fit"))
    cells = [(id, reference.lab.stand_in(id)) for id in ("train_one_epoch", "evaluate")] + [
        ("fit", f"{train}\n\n{fit}")
    ]
    names = reference.namespace(cells)
    cases = reference.cases(exercise, draw)
    given = [CaseAnswer(ask(names[c.target], c, namespace=names)) for c in cases]
    verdict = judged(reference, exercise, draw, given, Circumstances(stand_ins=("train_one_epoch", "evaluate")))
    assert (verdict.points, verdict.diagnoses, verdict.stand_ins) == (4.0, [], ["evaluate"])


def test_an_own_mistake_is_named_with_a_stand_in_before_it(reference):
    wrong = reference.code("MultiHeadAttention", "split-by-view-alone")
    given = answered(reference, "MultiHeadAttention", **{ATTENTION: None, "MultiHeadAttention": wrong})
    verdict = judged(reference, *given, STOOD)
    assert verdict.points < 4.0
    assert [d.misconception for d in verdict.diagnoses] == ["split-by-view-alone"]


def test_answers_are_never_read_in_one_way_here_and_in_another_there(reference):
    exercise, draw, plain = answered(reference, "MultiHeadAttention")
    _, _, stood = answered(reference, "MultiHeadAttention", **{ATTENTION: None})
    mixed = [a if i % 2 else b for i, (a, b) in enumerate(zip(plain, stood, strict=True))]
    verdict = judged(reference, exercise, draw, mixed, STOOD)
    assert 0 < verdict.points < 4.0


# --- names: said only when they are true --------------------------------------------------------


def weights(change: str) -> str:
    return f"def attention_weights(q, k):\n    scores = q @ k.mT / q.shape[-1] ** 0.5\n    return {change}"


@pytest.mark.parametrize(
    "change",
    [
        "scores.softmax(-1) * 1.0001",
        "(scores * (1 + 1e-4)).softmax(-1)",
        "(scores + 1e-4 * scores ** 2).softmax(-1)",
        "scores.softmax(-1) ** 1.001",
    ],
)
def test_what_is_nearly_right_is_told_no_idea(reference, change):
    exercise, draw, given = answered(reference, "attention_weights", attention_weights=weights(change))
    _, other, second = answered(reference, "attention_weights", variant="common", attention_weights=weights(change))
    verdict = judged(reference, exercise, draw, given, common=(other, second))
    assert verdict.points < 4.0 and verdict.diagnoses == []
    assert all(not case.matches for case in verdict.cases)


def test_a_right_case_refutes_an_idea(reference):
    exercise, draw, given = replies(reference, "attention_weights", [("attention_weights", "no-scale")])
    assert [d.whole for d in judged(reference, exercise, draw, given).diagnoses] == [True]
    _, _, right = replies(reference, "attention_weights")
    cases = reference.cases(exercise, draw)
    first = next(i for i, c in enumerate(judged(reference, exercise, draw, given).cases) if not c.right)
    mixed = [r if i == first else g for i, (g, r) in enumerate(zip(given, right, strict=True))]
    assert len(cases) > 2 and judged(reference, exercise, draw, mixed).diagnoses == []


def test_an_idea_that_the_second_draw_does_not_show_is_not_named(reference):
    exercise, draw, given = replies(reference, "attention_weights", [("attention_weights", "no-scale")])
    _, other, same = replies(reference, "attention_weights", [("attention_weights", "no-scale")], variant="common")
    (named,) = judged(reference, exercise, draw, given, common=(other, same)).diagnoses
    assert named.confirmed and named.whole
    (named,) = judged(reference, exercise, draw, given).diagnoses
    assert not named.confirmed
    for idea in ("sigmoid", None):
        mistakes = [("attention_weights", idea)] if idea else []
        _, _, another = replies(reference, "attention_weights", mistakes, variant="common")
        assert judged(reference, exercise, draw, given, common=(other, another)).diagnoses == []


def test_what_explains_some_cases_says_how_many(reference):
    exercise, draw, given = replies(reference, "attention_weights", [("attention_weights", "no-scale")])
    _, _, other = replies(reference, "attention_weights", [("attention_weights", "sigmoid")])
    wrong = [i for i, case in enumerate(judged(reference, exercise, draw, given).cases) if not case.right]
    mixed = [other[i] if i == wrong[0] else reply for i, reply in enumerate(given)]
    (found,) = judged(reference, exercise, draw, mixed).diagnoses  # the other one is refuted by the case that is right
    assert (found.misconception, found.whole) == ("no-scale", False)
    assert (found.explained, found.wrong) == (len(wrong) - 1, len(wrong))


def test_an_error_is_another_one_where_its_numbers_or_its_place_are_others(reference):
    exercise, draw, given = replies(reference, "attention_weights", [("attention_weights", "t-of-a-matrix-only")])
    failing = [i for i, r in enumerate(given) if r.answer.status == "error"]
    assert failing and judged(reference, exercise, draw, given).diagnoses
    for change in ({"message": "The size of tensor a (97) is another"}, {"where": "helper"}, {"type": "TypeError"}):
        changed = [CaseAnswer(dataclasses.replace(r.answer, error={**r.answer.error, **change})) if i in failing else r
                   for i, r in enumerate(given)]  # fmt: skip
        assert judged(reference, exercise, draw, changed).diagnoses == [], change


@pytest.fixture(scope="module")
def norms() -> Reference:
    """Lab 3, in which an eps and an approximation are free."""
    return Reference(find_lab("lab3"))


def held(reference, exercise_id, **ideas):
    """What a student whose cells hold these ideas answers."""
    exercise, draw = reference.lab.exercise(exercise_id), Variant(SECRET, exercise_id, 1)
    namespace = reference.namespace([(id, reference.code(id, idea)) for id, idea in ideas.items()])
    return (
        exercise,
        draw,
        [CaseAnswer(ask(namespace[c.target], c, namespace=namespace)) for c in reference.cases(exercise, draw)],
    )


def test_answers_by_chance_count_only_beside_right_numbers(norms):
    exercise, draw, given = held(norms, "FeedForward")
    (random_case,) = [i for i, case in enumerate(norms.cases(exercise, draw)) if case.scoring.random]
    noise = [  # another with each call, as an answer by chance is
        CaseAnswer(Answer("ok", "Tensor", tensors={"out": torch.rand_like(t), "again": torch.rand_like(t)}))
        for t in (reply.answer.tensors["out"] for reply in given)
    ]
    assert judged(norms, exercise, draw, noise).points == 0.0
    right = [*given]
    right[random_case] = noise[random_case]
    assert judged(norms, exercise, draw, right).points == 4.0


def test_no_answer_is_no_points(reference):
    exercise, draw, given = replies(reference, "attention_weights")
    silent = judged(reference, exercise, draw, [CaseAnswer(None)] * len(given))
    assert silent.points == 0 and {case.note for case in silent.cases} == {"no answer came back"}
    known = judged(reference, exercise, draw, [CaseAnswer(None, reason="it interrupted itself")] * len(given))
    assert (known.points, known.status, known.reason) == (0, ERROR, "no answer came back: it interrupted itself")
    some = judged(reference, exercise, draw, [given[0]] + [CaseAnswer(None)] * (len(given) - 1), status="timed out")
    assert 0 < some.points < 4.0 and some.status == "timed out"


@pytest.mark.parametrize(
    "answer, status",
    [
        (
            Answer(
                "undone",
                error={"type": "NotImplementedError", "message": "TODO", "where": "f", "line": 1, "integers": []},
            ),
            NOT_ANSWERED,
        ),
        (Answer("missing"), NOT_ANSWERED),
        (Answer("error", error={"type": "TypeError", "message": "no", "where": "f", "line": 1, "integers": []}), ERROR),
    ],
)
def test_states_are_distinct(reference, answer, status):
    exercise, draw, given = replies(reference, "AttentionHead")
    verdict = judged(reference, exercise, draw, [CaseAnswer(answer)] * len(given))
    assert (verdict.status, verdict.points) == (status, 0.0)


def test_an_expected_error_counts_only_beside_right_numbers(reference):
    exercise, draw, given = replies(reference, "MultiHeadAttention")
    cases = reference.cases(exercise, draw)
    refused = [i for i, case in enumerate(cases) if case.scoring.raises is not None]
    assert refused
    error = {
        "type": "ValueError",
        "message": "",
        "where": "",
        "line": 0,
        "integers": sorted({n for i in refused for n in cases[i].scoring.raises}),
    }
    always = [CaseAnswer(Answer("error", error=error))] * len(given)
    assert judged(reference, exercise, draw, always).points == 0
    wrong_numbers = list(given)
    wrong_numbers[refused[0]] = CaseAnswer(Answer("error", error=error | {"integers": [1]}))
    assert not judged(reference, exercise, draw, wrong_numbers).cases[refused[0]].right


def test_shape_and_dtype_are_checked_before_values_and_without_broadcasting(reference):
    exercise, draw, given = replies(reference, "attention_weights")
    for change in (lambda t: t[..., :1], lambda t: t.unsqueeze(0), lambda t: t.long(), lambda t: t[:0]):
        broken = [CaseAnswer(Answer("ok", "Tensor", tensors=
                  {n: change(t) if n in ("out", "again") else t for n, t in r.answer.tensors.items()}))
                  for r in given]  # fmt: skip
        assert judged(reference, exercise, draw, broken).points == 0


def test_notes_hold_no_expected_value(reference):
    verdict = verdict_on(reference, "scaled_dot_product_attention", [("scaled_dot_product_attention", "no-scale")])
    notes = {case.note for case in verdict.cases if not case.right}
    assert notes and all("." not in note for note in notes), notes


def test_equal_answers_have_equal_signatures(reference):
    def sign(*replaced):
        exercise, draw, given = replies(reference, "attention_weights", replaced, variant="common")
        return signature(given, reference.cases(exercise, draw))

    assert sign() == sign()
    assert sign(("attention_weights", "no-scale")) == sign(("attention_weights", "no-scale"))
    assert sign(("attention_weights", "no-scale")) != sign(("attention_weights", "sigmoid"))


def test_variants_depend_on_student_exercise_and_secret():
    seen = {variant_of(SECRET, f"student{i}", "attention_weights") for i in range(200)}
    assert seen == set(range(VARIANTS))
    assert variant_of(SECRET, "a", "x") == variant_of(SECRET, "a", "x")
    many = [
        (variant_of(SECRET, f"s{i}", "x"), variant_of(SECRET, f"s{i}", "y"), variant_of(b"other secret", f"s{i}", "x"))
        for i in range(50)
    ]
    assert any(a != b for a, b, _ in many) and any(a != c for a, _, c in many)


def test_sizes_are_distinct_and_draws_repeat():
    draw, again = Variant(SECRET, "x", 1), Variant(SECRET, "x", 1)
    sizes = draw.sizes(5, 2, 9)
    assert len(set(sizes)) == 5 and sizes == again.sizes(5, 2, 9)
    assert torch.equal(draw.normal(3, 4), again.normal(3, 4))
    mask = draw.mask(2, 4, 5)
    assert mask.any(-1).all() and not mask.all(-1).any()
    with pytest.raises(ValueError, match="at least 9 sizes"):
        draw.sizes(9, 2, 9)


@pytest.mark.parametrize(
    "source, remarked",
    [
        ("def f(q):\n    return F.scaled_dot_product_attention(q, q, q)", True),
        ("from torch.nn.functional import scaled_dot_product_attention as f", True),
        ("def scaled_dot_product_attention(q):\n    return q", False),  # the student's own, of the same name
        ("def f(q):\n    return scaled_dot_product_attention(q)", False),
        ("this is no Python (", False),
        ("x = " + "(" * 5000, False),
    ],
)
def test_a_library_that_does_the_work_is_remarked(source, remarked):
    assert bool(library_remarks(source, ("scaled_dot_product_attention",))) == remarked


def forged(rng: random.Random, reply: CaseAnswer, case) -> CaseAnswer:
    """An answer as a hostile process might send it: fields swapped, tensors lost, retyped, reshaped, renamed."""
    header, tensors = reply.answer.header(), dict(reply.answer.tensors)
    for name in list(tensors):
        change = rng.choice(["keep", "drop", "shape", "dtype", "nan", "empty", "scalar", "rename"])
        value = tensors.pop(name)
        if change == "keep":
            tensors[name] = value
        elif change == "shape":
            tensors[name] = value.flatten()[: rng.randint(0, 3)]
        elif change == "dtype":
            dtypes = [torch.float16, torch.bfloat16, torch.bool, torch.int64, torch.uint8]
            tensors[name] = value.nan_to_num().clamp(0, 1).to(rng.choice(dtypes))
        elif change == "nan":
            tensors[name] = torch.full_like(value.double(), float(rng.choice(["nan", "inf", "-inf"])))
        elif change == "empty":
            tensors[name] = torch.empty(0, 4)
        elif change == "scalar":
            tensors[name] = torch.tensor(1.0)
        elif change == "rename":
            tensors[rng.choice(["out", "out.0", "again", "grad.0", "after.0", "after.zz", "x" * 300])] = value
    header["status"] = rng.choice(["ok", "undone", "error", "missing"])
    error = {"type": "\ud800", "message": "\0\ud800" * 9, "where": "x", "integers": [True, 3], "line": "7"}
    header["error"] = rng.choice([{}, error, {"integers": 5}, {"integers": [[1]]}])
    header["kind"] = rng.choice(["Tensor", "", "\ud800"])
    header["absent"] = rng.choice([[], ["to_q.weight", "\ud800"]])
    return CaseAnswer(Answer.read(header, tensors), rng.choice([torch.float64, torch.float32]))


def test_no_forged_answer_stops_the_judge_or_earns_what_it_does_not_know(reference):
    rng = random.Random(0)
    for round in range(60):
        exercise, draw, given = replies(reference, rng.choice(reference.lab.exercises).id)
        cases = reference.cases(exercise, draw)
        forgeries = [forged(rng, reply, case) for reply, case in zip(given, cases, strict=True)]
        verdict = judged(reference, exercise, draw, forgeries)
        json.dumps(verdict.as_json()).encode()
        nbformat.writes(new_notebook(cells=[new_code_cell(outputs=[verdict_output(verdict)])])).encode()
        for case, asked, forgery, reply in zip(verdict.cases, cases, forgeries, given, strict=True):
            if case.right and asked.scoring.raises is None:  # only an answer that still holds the right numbers
                assert close(forgery.answer.tensors["out"], reply.answer.tensors["out"], 1e-4), (round, case)
        signature(forgeries, cases)


# --- conventions --------------------------------------------------------------------------------


def test_every_convention_is_right_and_is_remembered(norms):
    for exercise in norms.lab.exercises:
        for convention in exercise.conventions:
            exercise, draw, given = held(norms, exercise.id, **{exercise.id: f"~{convention.id}"})
            verdict = judged(norms, exercise, draw, given)
            assert (verdict.points, verdict.diagnoses) == (4.0, []), convention.name
            found = verdict.idea.partition("~")[2]  # itself, or one that gives the same numbers
            assert not differ(*(norms.answers(exercise, draw, f"~{id}") for id in (found, convention.id)))


PUBLISHED = """
def sincos_position_2d(h, w, dim):
    places = torch.cartesian_prod(torch.arange(h), torch.arange(w)).flip(1)
    omega = torch.arange(dim // 4) / (dim // 4 - 1)
    angles = places[..., None] * 10000.0**-omega
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)
"""


@pytest.mark.parametrize(
    ("change", "right", "remarked"),
    [(("", ""), True, True), ((" - 1)", ")"), True, False), (("flip(1)", "flip(0)"), False, False)],
    ids=["published", "as asked", "wrong"],
)
def test_a_published_convention_is_right_with_a_remark(change, right, remarked):
    reference = Reference(find_lab("lab2"))
    code = PUBLISHED.replace(*change) if change[0] else PUBLISHED
    verdict = judged(reference, *answered(reference, "sincos_position_2d", sincos_position_2d=code))
    assert (verdict.points == 4.0) == right
    assert any("vit-pytorch's convention" in remark for remark in verdict.remarks) == remarked
    assert verdict.idea == ("~last-frequency-included" if right and remarked else verdict.idea)


def test_a_convention_comes_along_into_later_exercises(norms):
    convention = norms.lab.exercise("FeedForward").conventions[0].id
    given = held(norms, "VisionTransformer", FeedForward=f"~{convention}")
    assert judged(norms, *given, Circumstances({"FeedForward": convention})).points == 4.0
    assert judged(norms, *given).points < 4.0  # never inferred from the later exercise


def test_a_mistake_is_named_under_every_convention(norms):
    block = norms.lab.exercise("EncoderBlock")
    first = block.misconceptions[0].id
    for convention in block.conventions:
        verdict = judged(norms, *held(norms, "EncoderBlock", EncoderBlock=f"{first}~{convention.id}"))
        assert verdict.points < 4.0
        assert [d.misconception for d in verdict.diagnoses if d.whole] == [first]


def test_processes_that_grade_a_class_share_reference_answers(tmp_path, monkeypatch):
    one, other = Reference(find_lab("lab1")), Reference(find_lab("lab1"))
    one.cache = other.cache = tmp_path
    exercise = one.lab.exercises[0]
    idea = exercise.misconceptions[0].id

    def answers(reference: Reference) -> list:
        return reference.answers(exercise, Variant(SECRET, exercise.id, 1), idea)

    computed = answers(one)
    with monkeypatch.context() as patch:
        patch.setattr("vitedu.probe.ask.ask", lambda *_, **__: pytest.fail("it is there already"))
        assert not differ(computed, answers(other))
    (left,) = tmp_path.iterdir()
    left.write_bytes(left.read_bytes()[:50])  # of a process that was killed, or a disk that was full
    third = Reference(find_lab("lab1"))
    third.cache = tmp_path
    assert not differ(computed, answers(third))
    assert differ(computed, third.answers(exercise, Variant(SECRET, exercise.id, 1))), (
        "each answer has a place of its own"
    )


def test_one_case_of_a_wrong_idea_gives_what_it_gives_among_all():
    alone, whole = Reference(find_lab("lab1")), Reference(find_lab("lab1"))
    for exercise in alone.lab.exercises:
        for idea in exercise.misconceptions[::3]:
            all_cases = whole.answers(exercise, Variant(SECRET, exercise.id, 1), idea.id)
            for place in reversed(range(len(all_cases))):
                part = slice(place, place + 1)
                case = alone.answers(exercise, Variant(SECRET, exercise.id, 1), idea.id, places=part)
                assert not differ(case, all_cases[part]), (exercise.id, idea.id, place)


def test_one_idea_through_and_through_leaves_the_others_alone(monkeypatch):
    """What a wrong answer costs: one case of each idea, and all cases of those that this one case fits."""
    reference = Reference(find_lab("lab1"))
    exercise = reference.lab.exercises[0]
    idea, asked = exercise.misconceptions[-1].id, []
    given = held(reference, exercise.id, **{exercise.id: idea})
    answers = reference.answers

    def seen(exercise, variant, idea="", applied=(), places=ALL):
        asked.extend([idea] * (places == ALL and bool(idea)))
        return answers(exercise, variant, idea, applied, places)

    monkeypatch.setattr(reference, "answers", seen)
    verdict = judged(reference, *given)
    assert verdict.diagnoses[0].misconception in asked and len(set(asked)) < len(exercise.misconceptions) / 2
