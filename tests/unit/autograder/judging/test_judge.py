"""The judge on Lab 1's own exams: points, names, what is carried over, and what never counts."""

import dataclasses
import json
import random

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from autograder.execution.examiner import library_remarks
from autograder.judging.judge import CaseAnswer, judge, signature
from autograder.judging.reference_answers import Reference, differ
from autograder.judging.verdict import ERROR, FOR_REVIEW, GRADED, NOT_ANSWERED, Verdict
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


def verdict_on(reference, exercise_id, replaced=(), earlier=None, dtype=torch.float64):
    exercise, draw, given = replies(reference, exercise_id, replaced, dtype)
    return judged(reference, exercise, draw, given, earlier)


def judged(reference, exercise, draw, given, earlier=None, status=GRADED):
    return judge(reference, exercise, draw, given, earlier or {}, Verdict(exercise.id, "exam", status, 0.0, 4.0))


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
    assert (diagnosis.misconception, diagnosis.carried, diagnosis.whole) == ("softmax-over-queries", False, True)
    assert diagnosis.idea and diagnosis.question


def test_part_of_the_cases_right_gives_part_of_the_points(reference):
    verdict = verdict_on(reference, "attention_weights", [("attention_weights", "exp-overflows")])
    assert 0 < verdict.points < 4.0
    assert any(case.right for case in verdict.cases) and not all(case.right for case in verdict.cases)


def test_a_mistake_is_carried_over_only_when_it_was_judged_earlier(reference):
    mistake = ("scaled_dot_product_attention", "no-scale")
    carried = verdict_on(reference, "MultiHeadAttention", [mistake], earlier=dict([mistake]))
    assert carried.points == 4.0
    assert [(d.misconception, d.exercise, d.carried) for d in carried.diagnoses] == [("no-scale", mistake[0], True)]
    alone = verdict_on(reference, "MultiHeadAttention", [mistake])
    assert alone.points < 4.0
    other = verdict_on(reference, "MultiHeadAttention", [mistake], earlier={mistake[0]: "mask-inverted"})
    assert other.points < 4.0


def test_an_own_mistake_is_named_on_top_of_a_carried_one(reference):
    earlier = ("scaled_dot_product_attention", "no-scale")
    own = ("MultiHeadAttention", "split-by-view-alone")
    verdict = verdict_on(reference, "MultiHeadAttention", [earlier, own], earlier=dict([earlier]))
    assert verdict.points < 4.0
    assert [(d.misconception, d.carried) for d in verdict.diagnoses] == [
        ("no-scale", True),
        ("split-by-view-alone", False),
    ]


def test_right_code_after_a_mistake_that_it_does_not_use_is_just_right(reference):
    verdict = verdict_on(reference, "multi_head_attention_einsum", earlier={"scaled_dot_product_attention": "no-scale"})
    assert (verdict.points, verdict.diagnoses) == (4.0, [])


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


# --- an earlier mistake that leaves no numbers to expect ----------------------------------------

RAISES = ("scaled_dot_product_attention", "t-of-a-matrix-only")  # then every later call raises


@pytest.mark.parametrize("exercise_id", ["AttentionHead", "MultiHeadAttention"])
def test_right_code_of_which_nothing_can_be_seen_is_for_review_and_not_wrong(reference, exercise_id):
    assert verdict_on(reference, RAISES[0], [RAISES]).points < 4.0  # where it is marked
    verdict = verdict_on(reference, exercise_id, [RAISES], earlier=dict([RAISES]))
    assert (verdict.points, verdict.status) == (0.0, FOR_REVIEW)
    assert "a person looks at it" in verdict.reason and any("Error" in case.note for case in verdict.cases)
    assert [(d.misconception, d.carried) for d in verdict.diagnoses] == [(RAISES[1], True)]
    assert verdict_on(reference, exercise_id, [RAISES]).status == ERROR  # never inferred from this exercise alone


def raised(kind: str, message: str = "") -> Answer:
    return Answer("error", error={"type": kind, "message": message, "where": "", "line": 0, "integers": []})


def test_nobody_gains_by_giving_an_exercise_away_and_raising_ever_after(reference):
    exercise, draw, given = replies(reference, "AttentionHead", [RAISES])
    same = [CaseAnswer(raised(r.answer.error["type"], r.answer.error["message"])) for r in given]
    for forged in (same, [CaseAnswer(raised("ValueError"))] * len(given)):
        verdict = judged(reference, exercise, draw, forged, dict([RAISES]))
        assert (verdict.points, verdict.status) == (0.0, FOR_REVIEW)
    for blank in (dataclasses.replace(raised("NotImplementedError"), status="undone"), Answer("missing")):
        verdict = judged(reference, exercise, draw, [CaseAnswer(blank)] * len(given), dict([RAISES]))
        assert (verdict.points, verdict.status) == (0.0, NOT_ANSWERED)
    _, _, numbers = replies(reference, "AttentionHead", [("AttentionHead", "query-and-key-swapped")])
    verdict = judged(reference, exercise, draw, numbers, dict([RAISES]))  # no error, where there must be one
    assert verdict.points == 0.0 and verdict.status == GRADED


def test_what_the_student_gets_wrong_in_another_way_than_we_do_is_for_review_too(reference):
    earlier = ("scaled_dot_product_attention", "returns-answer-and-weights")
    exercise = reference.lab.exercise("MultiHeadAttention")
    other = next(a for a in exercise.alternatives if a.name == "head by head, laid side by side")
    namespace = reference.namespace([(earlier[0], reference.code(*earlier)), (exercise.id, other.code)])
    draw = Variant(SECRET, exercise.id, 3)
    given = [CaseAnswer(ask(namespace[c.target], c)) for c in reference.cases(exercise, draw)]
    ours = reference.model(exercise, draw, (earlier,))
    assert any(r.answer.error["message"] != e.answer.message for r, e in zip(given, ours, strict=True))
    assert judged(reference, exercise, draw, given, dict([earlier])).status == FOR_REVIEW


def test_an_error_that_a_mistake_leads_to_counts_beside_right_numbers(norms):
    earlier = {"EncoderBlock": "changes-its-input-in-place"}
    exercise, draw, given = held(norms, "VisionTransformer", **earlier)
    failing = [i for i, reply in enumerate(given) if reply.answer.status == "error"]
    assert 0 < len(failing) < len(given)
    verdict = judged(norms, exercise, draw, given, earlier)
    assert (verdict.points, verdict.status, [d.carried for d in verdict.diagnoses]) == (4.0, GRADED, [True])
    alone = [r if i in failing else CaseAnswer(raised("ValueError")) for i, r in enumerate(given)]
    assert judged(norms, exercise, draw, alone, earlier).points == 0.0


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
            assert not differ(*(norms.model(exercise, draw, (), id) for id in (found, convention.id)))


def test_a_convention_comes_along_into_later_exercises(norms):
    idea = "~" + norms.lab.exercise("FeedForward").conventions[0].id
    given = held(norms, "VisionTransformer", FeedForward=idea)
    assert judged(norms, *given, {"FeedForward": idea}).points == 4.0
    assert judged(norms, *given).points < 4.0  # never inferred from the later exercise


def test_a_mistake_is_named_under_every_convention(norms):
    block = norms.lab.exercise("EncoderBlock")
    first = block.misconceptions[0].id
    for convention in block.conventions:
        verdict = judged(norms, *held(norms, "EncoderBlock", EncoderBlock=f"{first}~{convention.id}"))
        assert verdict.points < 4.0
        assert [d.misconception for d in verdict.diagnoses if d.whole] == [first]


def test_a_mistake_is_carried_over_under_every_convention(norms):
    block = norms.lab.exercise("EncoderBlock")
    first, convention = block.misconceptions[0].id, block.conventions[0].id
    given = held(norms, "VisionTransformer", EncoderBlock=f"{first}~{convention}")
    verdict = judged(norms, *given, {"EncoderBlock": first})
    assert (verdict.points, [d.misconception for d in verdict.diagnoses if d.carried]) == (4.0, [first])


def test_processes_that_grade_a_class_share_reference_answers(tmp_path, monkeypatch):
    one, other = Reference(find_lab("lab1")), Reference(find_lab("lab1"))
    one.cache = other.cache = tmp_path
    exercise = one.lab.exercises[0]
    idea = exercise.misconceptions[0].id

    def answers(reference: Reference) -> list:
        return reference.misconception(exercise, Variant(SECRET, exercise.id, 1), idea)

    computed = answers(one)
    with monkeypatch.context() as patch:
        patch.setattr("vitedu.probe.ask.ask", lambda *_, **__: pytest.fail("it is there already"))
        assert not differ(computed, answers(other))
    (left,) = tmp_path.iterdir()
    left.write_bytes(left.read_bytes()[:50])  # of a process that was killed, or a disk that was full
    third = Reference(find_lab("lab1"))
    third.cache = tmp_path
    assert not differ(computed, answers(third))
    assert differ(computed, third.model(exercise, Variant(SECRET, exercise.id, 1))), (
        "each answer has a place of its own"
    )


def test_one_case_of_a_wrong_idea_gives_what_it_gives_among_all():
    alone, whole = Reference(find_lab("lab1")), Reference(find_lab("lab1"))
    for exercise in alone.lab.exercises:
        for idea in exercise.misconceptions[::3]:
            all_cases = whole.misconception(exercise, Variant(SECRET, exercise.id, 1), idea.id)
            for place in reversed(range(len(all_cases))):
                case = alone.misconception_of_case(exercise, Variant(SECRET, exercise.id, 1), idea.id, place)
                assert not differ([case], all_cases[place : place + 1]), (exercise.id, idea.id, place)


def test_one_idea_through_and_through_leaves_the_others_alone(monkeypatch):
    """What a wrong answer costs: one case of each idea, and all cases of those that this one case fits."""
    reference = Reference(find_lab("lab1"))
    exercise = reference.lab.exercises[0]
    idea, asked = exercise.misconceptions[-1].id, []
    given = held(reference, exercise.id, **{exercise.id: idea})
    answer = reference.misconception
    monkeypatch.setattr(reference, "misconception", lambda *args: (asked.append(args[2]), answer(*args))[1])
    verdict = judged(reference, *given)
    assert verdict.diagnoses[0].misconception in asked and len(set(asked)) < len(exercise.misconceptions) / 2
