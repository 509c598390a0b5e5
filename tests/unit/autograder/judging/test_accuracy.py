"""The accuracy exam: its draw, its judge, its stored answers, and the broken variants that it is measured with."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

import accuracy as bench  # benchmarks/accuracy.py
import pytest
import torch
from torch import Tensor, nn

from autograder.exams.lab4 import accuracy_exam
from autograder.exams.lab4.broken_variants import BROKEN_TRAININGS, VISIBLE, codes, find
from autograder.exams.lab7 import capstone_exam
from autograder.execution import training_store
from autograder.judging import accuracy as module
from autograder.judging.accuracy import MARGIN, NEAR_MISS, AccuracyExam, accuracy_of, needs_rerun, next_seed
from autograder.judging.reference_answers import Reference
from autograder.judging.trained_exercise import Attempt
from autograder.judging.verdict import ERROR, FOR_REVIEW, GRADED, NOT_ANSWERED
from autograder.labs.exam import Exercise, Misconception, changed
from autograder.labs.lab import Lab, all_labs, solution_cells
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw
from vitedu.probe.case import Answer
from vitedu.training_exams import capstone, recipe
from vitedu.training_exams.recipe import TEST, TIERS, exam_settings, logits_of

GOLD, SILVER, BRONZE = (TIERS[name] for name in ("gold", "silver", "bronze"))
CODE = solution_cells("lab4_training")
MEAN_POOL = changed(
    CODE["build_model"], ("num_heads, mlp_dim, dropout=dropout", 'num_heads, mlp_dim, dropout=dropout, pool="mean"')
)
NO_STEP = changed(CODE["train_one_epoch"], ("        optimizer.step()\n", ""))
DIVIDES = changed(CODE["train_one_epoch"], ("total_loss / count", "total_loss / 0"))


def idea(id: str, code: str) -> Misconception:
    return Misconception(id, f"{id} is done", f"Why {id}?", code)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Lab 4, with two exercises that hold a few wrong ideas."""
    lab = Lab("lab4_training")
    lab.__dict__["exercises"] = (
        Exercise("build_model", lambda draw: [], (idea("mean-pool", MEAN_POOL),), ()),
        Exercise("train_one_epoch", lambda draw: [], (idea("no-step", NO_STEP), idea("divides", DIVIDES)), ()),
    )
    return Reference(lab)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(256, (TEST, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def make(reference: Reference, **options) -> nn.Module:
    """A Vision Transformer with random weights, every one of which matters."""
    sizes = {"patch_size": 8, "dim": 12, "depth": 2, "num_heads": 3, "mlp_dim": 10} | options
    with exam_settings(1):
        model = reference.namespace([])["VisionTransformer"](32, in_channels=3, num_classes=6, **sizes)
        for p in model.parameters():
            nn.init.normal_(p, std=0.4)
    return model


def answers(model: nn.Module, images: Tensor, seed: int = 5) -> Attempt:
    """What a kernel sends that holds this model."""
    with exam_settings(0):
        tensors = {"logits": logits_of(model, images)} | {f"state.{k}": t for k, t in model.state_dict().items()}
    return Attempt(seed, Answer("ok", "history"), Answer("ok", "logits", tensors=tensors))


def with_labels(images: Tensor, attempt: Attempt, accuracy: float) -> AccuracyDraw:
    """A draw under whose labels these logits have this accuracy."""
    labels = attempt.tested.tensors["logits"].argmax(1)
    wrong = TEST - round(accuracy * TEST)
    labels[:wrong] = (labels[:wrong] + 1) % 6
    return AccuracyDraw("draw", images, labels, images, labels, (5, 6, 7))


@pytest.fixture(scope="module")
def honest(reference, images) -> Attempt:
    return answers(make(reference), images)


def changed_answer(attempt: Attempt, **tensors: Tensor | None) -> Attempt:
    kept = {k: t for k, t in (dict(attempt.tested.tensors) | tensors).items() if t is not None}
    return dataclasses.replace(attempt, tested=dataclasses.replace(attempt.tested, tensors=kept))


# --- the draw ---


@pytest.mark.parametrize(
    ("exam", "train", "test", "classes"),
    [
        (accuracy_exam, 3000, 600, 6),
        (capstone_exam, capstone.TRAIN, capstone.TEST, capstone.CLASSES),
    ],
)
def test_a_draw_is_fixed_by_secret_variant_and_submission_and_by_each_of_them(exam, train, test, classes):
    one, again = (exam.draw(b"a", 3, "hash") for _ in range(2))
    assert one.id == again.id and torch.equal(one.test_images, again.test_images) and one.seeds == again.seeds
    assert one.train_images.shape == (train, 3, 32, 32) and one.train_images.dtype == torch.uint8
    assert one.test_images.shape == (test, 3, 32, 32) and len(set(one.seeds)) == len(one.seeds) == ATTEMPTS
    assert set(one.train_labels.tolist()) == set(one.test_labels.tolist()) == set(range(classes))
    for other in (("b", 3, "hash"), ("a", 4, "hash"), ("a", 3, "hask")):
        drawn = exam.draw(other[0].encode(), *other[1:])
        assert drawn.id != one.id and drawn.seeds != one.seeds
        assert not torch.equal(drawn.train_images, one.train_images)
        assert not torch.equal(drawn.test_labels, one.test_labels)


def test_the_version_changes_with_the_recipe_and_not_with_a_threshold(monkeypatch):
    before = accuracy_exam.version()
    accuracy_exam.version.cache_clear()
    monkeypatch.setitem(recipe.TIERS, "gold", 0.999)
    assert accuracy_exam.version() == before
    accuracy_exam.version.cache_clear()
    monkeypatch.setattr(recipe, "RECIPE", recipe.Recipe(epochs=99))
    assert accuracy_exam.version() != before
    monkeypatch.undo()
    accuracy_exam.version.cache_clear()


# --- the judge ---


@pytest.mark.parametrize(
    ("accuracy", "again"),
    [
        (None, False), (0.2, False), (BRONZE - NEAR_MISS - 0.002, False), (BRONZE - NEAR_MISS + 0.002, True),
        (GOLD, False), (1.0, False), (GOLD - 1 / TEST, True),
    ],
)  # fmt: skip
def test_near_misses(accuracy, again):
    assert needs_rerun(accuracy) is again


def test_further_seeds_are_for_near_misses_only(reference, images, honest):
    draw = with_labels(images, honest, SILVER - 1 / TEST)
    bad = changed_answer(honest, logits=-honest.tested.tensors["logits"])
    perfect = changed_answer(honest, logits=torch.eye(6)[draw.test_labels])
    assert next_seed(draw, []) == 5 and next_seed(draw, [honest]) == 6 and next_seed(draw, [honest, honest]) == 7
    assert next_seed(draw, [honest, honest, honest]) is None and next_seed(draw, [honest, perfect]) is None
    assert next_seed(draw, [honest, bad]) == 7
    assert next_seed(draw, [bad]) is None and next_seed(draw, [perfect]) is None
    assert next_seed(draw, [Attempt(5, error("ValueError"), None)]) is None


@pytest.mark.parametrize(
    ("accuracy", "points"),
    [(1.0, 3), (GOLD, 3), (GOLD - 1 / TEST, 2), (SILVER, 2), (BRONZE, 1), (BRONZE - 1 / TEST, 0)],
)
def test_points_by_tier(reference, images, honest, accuracy, points):
    draw = with_labels(images, honest, accuracy)
    outcome = AccuracyExam(reference).judge(draw, [honest], {})
    assert (outcome.points, outcome.status) == (points, GRADED)
    assert outcome.accuracy == pytest.approx(accuracy, abs=0.5 / TEST) and not outcome.diagnoses
    assert outcome.accuracy == accuracy_of(draw, honest)


@pytest.mark.parametrize(
    "options",
    [
        {"num_heads": 1}, {"num_heads": 4}, {"num_heads": 12}, {"num_heads": 2, "head_dim": 5}, {"qkv_bias": False},
        {"pool": "mean"}, {"patch_size": 4}, {"patch_size": 16}, {"depth": 1}, {"depth": 5}, {"mlp_dim": 31},
        {"dim": 6}, {"dropout": 0.3},
    ],
    ids=str,
)  # fmt: skip
def test_any_sizes_are_recognised(reference, images, options):
    attempt = answers(make(reference, **options), images)
    outcome = AccuracyExam(reference).judge(with_labels(images, attempt, 1.0), [attempt], {})
    assert (outcome.points, outcome.status) == (3, GRADED), outcome.notes


@pytest.mark.parametrize("eps", [1e-5, 1e-6])
@pytest.mark.parametrize("gelu", ["none", "tanh"])
def test_conventions_are_recognised(reference, images, eps, gelu):
    model = make(reference)
    for part in model.modules():
        part.eps = eps
        part.approximate = gelu
    attempt = answers(model, images)
    assert AccuracyExam(reference).judge(with_labels(images, attempt, 1.0), [attempt], {}).points == 3


def test_positions_without_their_first_dimension_and_other_float_types(reference, images, honest):
    draw, exam = with_labels(images, honest, 1.0), AccuracyExam(reference)
    bare = honest.tested.tensors["state.embedding.position"][0]
    assert exam.judge(draw, [changed_answer(honest, **{"state.embedding.position": bare})], {}).points == 3
    double = {k: t.double() for k, t in honest.tested.tensors.items() if k.startswith("state.")}
    assert exam.judge(draw, [changed_answer(honest, **double)], {}).points == 3


SUSPECT = [
    {"logits": torch.eye(6)[torch.arange(TEST) % 6] * 9},
    {"state.head.weight": None},
    {"state.head.weight": torch.zeros(6, 11)},
    {"state.head.weight": torch.zeros(6, 12)},
    {"state.head.weight": torch.full((6, 12), torch.nan)},
    {"state.extra": torch.zeros(3)},
    {"state.embedding.patches.proj.weight": torch.zeros(12, 3, 1, 1)},
    {"state.embedding.patches.proj.weight": torch.zeros(12, 3, 5, 5)},
    {"state.embedding.patches.proj.weight": torch.zeros(0, 3, 8, 8)},
    {"state.embedding.patches.proj.weight": torch.zeros(5)},
    {"state.blocks.0.mlp.fc1.weight": torch.zeros(100_000, 1, dtype=torch.int8)},
    {"state.blocks.0.attention.to_q.weight": torch.zeros(13, 12)},
    {"state.blocks.77.norm1.weight": torch.zeros(12)},
    {"state.blocks.0.attention.to_q.bias": None},
    {"state.embedding.position": torch.zeros(17 * 12)},
]


@pytest.mark.parametrize("tensors", SUSPECT, ids=lambda t: next(iter(t)))
def test_logits_that_the_weights_do_not_give_wait_for_a_person(reference, images, honest, tensors):
    attempt = changed_answer(honest, **tensors)
    outcome = AccuracyExam(reference).judge(with_labels(images, attempt, 1.0), [attempt], {})
    assert (outcome.points, outcome.status, outcome.would_be) == (0, FOR_REVIEW, 3)
    assert "A person looks at this" in outcome.notes[-1]


@pytest.mark.parametrize(
    "logits",
    [
        None, torch.zeros(TEST, 6, dtype=torch.float64), torch.zeros(TEST, 5), torch.zeros(TEST - 1, 6), torch.zeros(0),
        torch.full((TEST, 6), torch.nan), torch.full((TEST, 6), torch.inf), torch.zeros(TEST, 6, dtype=torch.int64),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_are_no_logits_earns_nothing(reference, images, honest, logits):
    outcome = AccuracyExam(reference).judge(
        with_labels(images, honest, 1.0), [changed_answer(honest, logits=logits)], {}
    )
    assert (outcome.points, outcome.status, outcome.accuracy) == (0, ERROR, None)


def error(kind: str, message: str = "") -> Answer:
    return Answer("error", error={"type": kind, "message": message, "where": "", "line": 0, "integers": []})


@pytest.mark.parametrize(
    ("trained", "tested", "status", "note"),
    [
        (None, None, ERROR, "No trained model came back."),
        (Answer("missing"), None, NOT_ANSWERED, "TODO"),
        (Answer("undone"), Answer("missing"), NOT_ANSWERED, "TODO"),
        (error("ValueError", "so\x00\x1b[31m it is"), Answer("missing"), ERROR, "ValueError: so it is"),
        (Answer("ok"), None, ERROR, "no finite logits"),
    ],
)
def test_without_logits(reference, images, honest, trained, tested, status, note):
    outcome = AccuracyExam(reference).judge(with_labels(images, honest, 1.0), [Attempt(1, trained, tested)], {})
    assert (outcome.points, outcome.status) == (0, status) and note in outcome.notes[0]


def test_logits_count_only_after_a_training(reference, images, honest):
    untrained = dataclasses.replace(honest, trained=error("ValueError"))
    assert AccuracyExam(reference).judge(with_labels(images, honest, 1.0), [untrained], {}).points == 0


def test_the_best_training_counts_and_one_that_does_not_hold_leaves_it_to_the_next(reference, images, honest):
    draw, exam = with_labels(images, honest, BRONZE), AccuracyExam(reference)
    forged = changed_answer(honest, logits=torch.eye(6)[draw.test_labels] * 9)
    for order in ([honest, forged], [forged, honest]):
        outcome = exam.judge(draw, order, {})
        assert (outcome.points, outcome.status) == (1, GRADED) and "best of 2" in outcome.notes[1]
    other = changed_answer(honest, logits=-honest.tested.tensors["logits"])
    assert exam.judge(draw, [other, honest], {}).points == 1, "the second is better"
    assert exam.judge(draw, [other, other, other, honest], {}).points == 0, "three trainings at most"


# --- mistakes that have cost their points already ---


def test_a_model_that_is_wrong_by_itself_is_for_review(reference, images):
    """With the locked model in its place it is trained again."""
    model = make(reference)
    attempt = answers(model, images)
    negated = nn.Linear(12, 6)
    negated.load_state_dict({k: -t for k, t in model.head.state_dict().items()})
    model.head = negated
    with exam_settings(0):
        attempt = changed_answer(attempt, logits=logits_of(model, images))
    outcome = AccuracyExam(reference).judge(with_labels(images, attempt, 1.0), [attempt], {"build_model": "mean-pool"})
    assert (outcome.status, outcome.diagnoses) == (FOR_REVIEW, [])


@pytest.mark.parametrize(
    ("reached", "accuracy", "points"),
    [
        (0.2, 0.2, 3), (0.2, 0.2 - MARGIN + 0.01, 3), (0.5, 0.5 - MARGIN - 0.01, 0), (0.2, BRONZE, 3),
        (GOLD, BRONZE, 1), ("ValueError", BRONZE, 1),
    ],
)  # fmt: skip
def test_a_carried_mistake_costs_nothing_here(reference, images, honest, monkeypatch, reached, accuracy, points):
    exam = AccuracyExam(reference)
    monkeypatch.setattr(exam, "_with_mistakes", lambda draw, context, seed: reached)
    draw = with_labels(images, honest, accuracy)
    outcome = exam.judge(draw, [honest], {"train_one_epoch": "no-step", "evaluate": "other"})
    assert (outcome.points, outcome.status) == (points, GRADED)
    carried = points == 3 and accuracy < GOLD
    assert [d.misconception for d in outcome.diagnoses] == (["no-step"] if carried else [])
    assert exam.judge(draw, [honest], {"evaluate": "other"}).points == module.points_of(outcome.accuracy)


def test_what_a_training_without_anything_right_has_reached_is_for_review(reference, images, honest):
    exam, draw = AccuracyExam(reference), with_labels(images, honest, 1.0)
    outcome = exam.judge(draw, [honest], {}, {"train_one_epoch": 0.0})
    assert (outcome.points, outcome.status, outcome.would_be) == (0, FOR_REVIEW, 3)
    assert exam.judge(draw, [honest], {}, {"train_one_epoch": 0.5}).points == 3


def test_broken_code_that_depends_on_the_seed_is_tried_with_each(reference, images, honest, monkeypatch):
    exam, asked = AccuracyExam(reference), []
    by_seed = {5: 0.9, 6: "ValueError", 7: 0.6}
    monkeypatch.setattr(exam, "_with_mistakes", lambda draw, context, seed: asked.append(seed) or by_seed[seed])
    wrong = {"train_one_epoch": "no-step"}
    assert exam.judge(with_labels(images, honest, 0.58), [honest], wrong).points == 3
    assert exam.judge(with_labels(images, honest, 0.50), [honest], wrong).points == 0
    assert asked == [5, 6, 7] * 2


@pytest.mark.parametrize(
    "answered",
    [
        (error("ZeroDivisionError"), Answer("missing")), (error("ValueError", "what comes of it"), Answer("missing")),
        (Answer("ok"), Answer("ok", tensors={"logits": torch.full((TEST, 6), torch.nan)})),
    ],
)  # fmt: skip
def test_where_an_earlier_mistake_leaves_no_logits_a_person_looks(reference, images, honest, monkeypatch, answered):
    draw, failed = with_labels(images, honest, 1.0), [Attempt(5, *answered)]
    exam = AccuracyExam(reference)
    monkeypatch.setattr(module, "learn", lambda make, *rest: (make(), {}))
    assert exam.judge(draw, failed, {"train_one_epoch": "no-step"}).status == ERROR  # with that, ours gives logits
    monkeypatch.setattr(module, "learn", lambda make, train, *rest: train(make(), [], None, None))
    assert (exam.judge(draw, failed, {}).points, exam.judge(draw, failed, {}).status) == (0, ERROR)
    outcome = exam.judge(draw, failed, {"train_one_epoch": "divides"})
    assert (outcome.points, outcome.status, outcome.would_be) == (0, FOR_REVIEW, 3)
    assert outcome.notes[1].startswith("A person looks at this") and "ZeroDivisionError, too" in outcome.notes[1]
    assert [(d.misconception, d.carried) for d in outcome.diagnoses] == [("divides", True)]
    assert exam.judge(draw, [Attempt(5, None, None)], {"train_one_epoch": "divides"}).status == ERROR


def test_a_mistake_that_ends_in_nan_leaves_no_logits(reference, images, honest, monkeypatch):
    draw, exam = with_labels(images, honest, 1.0), AccuracyExam(reference)
    monkeypatch.setattr(module, "learn", lambda make, *rest: (make(), {}))
    monkeypatch.setattr(module, "logits_of", lambda model, images: torch.full((TEST, 6), torch.nan))
    failed = [changed_answer(honest, logits=torch.full((TEST, 6), torch.nan))]
    outcome = exam.judge(draw, failed, {"train_one_epoch": "no-step"})
    assert (outcome.points, outcome.status) == (0, FOR_REVIEW) and "a NaN, too" in outcome.notes[1]
    # Finite logits, however bad, are then no sign of that mistake.
    assert exam.judge(with_labels(images, honest, 0.3), [honest], {"train_one_epoch": "no-step"}).points == 0


# --- garbage ---


def garbage(rng: random.Random) -> Iterator[Answer | None]:
    names = ["logits", "state.", "state.head.weight", "state.embedding.position", "state.blocks.0.norm1.weight", "\x00"]
    names += ["state.embedding.patches.proj.weight", "state.blocks.0.mlp.fc1.weight"]
    types = [torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.int8, torch.float64]
    shapes = [(), (0,), (TEST, 6), (6,), (2, 3, 8, 8), (7, 3, 2, 2), (4, 4), (1, 17, 4)]
    while True:
        tensors = {
            rng.choice(names): torch.zeros(rng.choice(shapes), dtype=rng.choice(types)) for _ in range(rng.randrange(6))
        }
        status = rng.choice(["ok", "ok", "ok", "error", "missing", "undone"])
        yield rng.choice([None, error("ValueError"), Answer(status, tensors=tensors), Answer("ok", tensors=tensors)])


def test_garbage_never_raises_and_earns_nothing(reference, images, honest):
    exam, made = AccuracyExam(reference), garbage(random.Random(0))
    draw = with_labels(images, honest, 0.0)
    for _ in range(200):
        attempts = [Attempt(1, next(made), next(made)) for _ in range(random.randrange(4))]
        assert exam.judge(draw, attempts, {}).points == 0


# --- stored answers ---


def test_stored_answers_come_back(tmp_path, honest, images):
    draw = with_labels(images, honest, 1.0)
    name = training_store.key("notebook", draw, 3, "exam")
    attempts = [honest, Attempt(6, error("ValueError", "x"), None)]
    assert training_store.load(tmp_path / "trained", name) is None
    training_store.store(tmp_path / "trained", name, attempts)
    (path,) = (tmp_path / "trained").iterdir()
    first, second = training_store.load(tmp_path / "trained", name)
    assert torch.equal(first.tested.tensors["logits"], honest.tested.tensors["logits"])
    assert first.tested.tensors.keys() == honest.tested.tensors.keys() and first.seed == 5
    assert (second.trained.status, second.trained.error["type"], second.tested) == ("error", "ValueError", None)
    path.rename(path.with_stem("0" * 64))
    assert training_store.load(tmp_path / "trained", "0" * 64) is None, "of another submission"
    path.write_bytes(b"half of a file")
    assert training_store.load(tmp_path / "trained", name) is None


def test_the_key_of_stored_answers(images, honest, monkeypatch):
    draw = with_labels(images, honest, 1.0)
    first = ("a", draw, 3, "exam")
    others = (("b", draw, 3, "exam"), ("a", draw, 4, "exam"), ("a", draw, 3, "newer"))
    keys = {training_store.key(*parts) for parts in (first, *others)}
    keys.add(training_store.key("a", dataclasses.replace(draw, id="other"), 3, "exam"))
    monkeypatch.setattr(torch, "__version__", "9.9")
    keys.add(training_store.key(*first))
    assert len(keys) == 6


# --- the variants, and the table of what the exam sees ---


def test_every_variant_can_be_made_and_learns_or_fails_as_code_does():
    lab = Lab("lab4_training")
    images, labels = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8), torch.arange(8) % 6
    assert len({variant.id for variant in BROKEN_TRAININGS}) == len(BROKEN_TRAININGS)
    reference = Reference(lab)
    model = logits_with_same_weights(reference, [], images)
    for variant in BROKEN_TRAININGS:
        space = reference.namespace(codes(variant, lab))
        recipe.learn(space["exam_model"], space["train_one_epoch"], images, labels, 0, recipe=recipe.Recipe(1, 4))
        if set(variant.edits) == {"earlier-parts"} and variant.id != "class-token-frozen":
            other = logits_with_same_weights(reference, codes(variant, lab), images)
            assert not torch.allclose(model, other, atol=1e-3), f"{variant.id} computes the same as right code"


def logits_with_same_weights(reference: Reference, changes: list[tuple[str, str]], images: Tensor) -> Tensor:
    with exam_settings(0):
        model = reference.namespace(changes)["build_model"]()
        for i, p in enumerate(model.parameters()):
            nn.init.normal_(p, std=0.3, generator=torch.Generator().manual_seed(i))
        return logits_of(model, images)


def test_the_visible_list_holds_at_least_what_was_promised():
    promised = {"no-positions", "plain-view-patches", "class-token-isolated"}
    promised |= {"no-step", "no-zero-grad", "labels-shuffled"}
    assert promised <= set(VISIBLE) <= {variant.id for variant in BROKEN_TRAININGS}


def test_what_is_said_to_be_held_elsewhere_is_held_there():
    banks = {f"{lab.key}/{e.id} {m.id}" for lab in all_labs() for e in lab.exercises for m in e.misconceptions}
    assert not {entry for variant in BROKEN_TRAININGS for entry in variant.held} - banks


def runs(variant: str, *accuracies: float) -> list[dict]:
    common = {"variant": variant, "cpu": 9.0, "wall": 9.5}
    return [common | {"seed": seed, "accuracies": [accuracy]} for seed, accuracy in enumerate(accuracies)]


def test_the_table_of_the_benchmark():
    results = runs(bench.MODEL, GOLD, 1.0, GOLD) + runs("no-step", 0.1, 0.2) + runs("no-mlp", 0.1, BRONZE)
    shown = bench.table(results)
    line = {row.split()[0]: " ".join(row.split()) for row in shown.split("\n") if row.strip()}
    assert "accuracy" in line["no-step"] and "0.100 0.150 0.200" in line["no-step"]
    assert "accuracy" not in line["no-mlp"] and "bronze" in line["no-mlp"]
    assert f"{GOLD - BRONZE:+.3f} above bronze" in shown and f"{BRONZE - 0.2:+.3f} below bronze" in shown
    assert "gold on 3 of 3 seeds" in shown
    assert "gold on 1 of 2 seeds" in bench.table(runs(bench.MODEL, GOLD - 0.01, 1.0))


@pytest.mark.slow
def test_the_model_answer_gets_gold_and_a_broken_one_is_carried_over(reference):
    found = bench.train(bench.MODEL, 990)
    assert max(found["accuracies"]) >= GOLD and found["cpu"] < 60
    draw = accuracy_exam.draw(b"slow", 1, "one")
    space = reference.namespace([("train_one_epoch", NO_STEP)])
    model, _ = recipe.learn(space["exam_model"], space["train_one_epoch"], draw.train_images, draw.train_labels, 5)
    attempt, exam = answers(model, draw.test_images), AccuracyExam(reference)
    assert exam.judge(draw, [attempt], {}).points == 0
    assert exam.judge(draw, [attempt], {"train_one_epoch": "no-step"}).points == 3
    assert find("no-step").id in VISIBLE
