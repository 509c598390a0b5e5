"""The stand-ins of Labs 4 to 7: they keep the contract, compute something else, and later exams judge by them, too."""

from __future__ import annotations

import copy
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.judging.reference_answers import Reference, one_thread
from autograder.labs.lab import find_lab
from autograder.labs.variants import Variant
from vitedu.labs.lab6.stub_models import fill, stub
from vitedu.probe.ask import ask
from vitedu.probe.case import Case
from vitedu.probe.comparison import TOLERANCE, ComparableAnswer, comparable, is_correct, is_same_answer
from vitedu.probe.fake_device import FakeDeviceTensor
from vitedu.stand_ins import lab4, lab6, lab7

LABS = {key: Reference(find_lab(key)) for key in ("lab4", "lab5", "lab6", "lab7")}
STAND_INS: dict[str, dict[str, tuple[str, ...]]] = {
    key: importlib.import_module(f"vitedu.stand_ins.{key}").STAND_INS for key in LABS
}
EXERCISES = [(lab, id) for lab, found in STAND_INS.items() for id in found]
NAMES = [(lab, id, name) for lab, id in EXERCISES for name in STAND_INS[lab][id]]
EXACT = TOLERANCE[torch.float64]
Codes = tuple[tuple[str, str], ...]  # (grade_id, code) of replaced cells


def line(lab: str, id: str) -> str:
    """The cell that puts an exercise's stand-in in place."""
    return f"from vitedu.stand_ins.{lab} import {', '.join(STAND_INS[lab][id])}"


@cache
def cases(lab: str, id: str) -> list[Case]:
    return LABS[lab].cases(LABS[lab].lab.exercise(id), Variant(b"stand-ins", id, 0))


class Given:
    """What a lab's code gives for an exercise's cases with some cells replaced; each is asked when it is looked at."""

    def __init__(self, lab: str, id: str, codes: Codes) -> None:
        self.reference, self.codes, self.cases = LABS[lab], codes, cases(lab, id)
        self.found: list[ComparableAnswer] = []

    def __iter__(self) -> Iterator[ComparableAnswer]:
        for place, case in enumerate(self.cases):
            if place == len(self.found):
                with one_thread(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    names = self.reference.namespace(self.codes)
                    self.found.append(comparable(ask(names[case.target], case, namespace=names), case, EXACT))
            yield self.found[place]

    def equals(self, other: Given) -> bool:
        return all(is_same_answer(a, b, EXACT, nan=True) for a, b in zip(self, other, strict=True))

    def earns_all(self, reading: Given) -> bool:
        """Whether the judge would give all points where this reading is expected."""
        return all(is_correct(a, b, case, EXACT) for a, b, case in zip(self, reading, self.cases, strict=True))


given = cache(Given)

# --- which exercises have one


def calls(code: str, names: tuple[str, ...]) -> bool:
    """Whether a code calls one of these names that it does not define itself."""
    own = defined(code)
    return any(re.search(rf"(?<!def )\b{name}\(", code) for name in names if name not in own)


def defined(code: str) -> list[str]:
    """The functions and classes that a code defines."""
    return re.findall(r"^(?:def|class) (\w+)", code, flags=re.M)


@pytest.mark.parametrize("lab", LABS)
def test_every_exercise_that_another_one_calls_has_one(lab):
    """But build_model (the locked cell takes its place); a training is none that somebody else calls."""
    reference, met = LABS[lab], set()
    exercises = list(reference.lab.exercises)
    for place, later in enumerate(exercises):
        codes = [reference.code(later.id), *(a.code for a in later.alternatives)]
        for earlier in exercises[:place]:
            if any(calls(code, tuple(defined(reference.code(earlier.id)))) for code in codes):
                met.add(earlier.id)
    # trainable_parameters: nobody has to print how much learns, but a right fine_tune may
    assert met - {"build_model"} == STAND_INS[lab].keys() - {"trainable_parameters"}


# --- the contract


def signatures(target: Any) -> list[inspect.Signature]:
    parts = (target.__init__, target.forward) if inspect.isclass(target) else (target,)
    return [inspect.signature(part, eval_str=True) for part in parts]


@pytest.mark.parametrize(("lab", "id", "name"), NAMES)
def test_it_is_called_as_the_solution_is_and_says_what_it_does(lab, id, name):
    theirs = LABS[lab].namespace(())[name]
    mine = LABS[lab].namespace(((id, line(lab, id)),))[name]
    assert mine.__module__ == f"vitedu.stand_ins.{lab}" and signatures(mine) == signatures(theirs)
    assert mine.__doc__ and mine.__doc__ != theirs.__doc__ and mine.__doc__.split("\n")[0].endswith(".")


@pytest.mark.parametrize(("lab", "id"), EXERCISES)
def test_its_answers_have_the_solutions_form_and_other_numbers(lab, id):
    code = LABS[lab].code(id)
    plain, mine = given(lab, id, ()), given(lab, id, ((id, f"{code}\n\n{line(lab, id)}"),))
    others = 0
    for case, a, b in zip(plain.cases, plain, mine, strict=True):
        if case.target not in STAND_INS[lab][id]:
            continue
        if case.scoring.raises:
            assert is_correct(b, a, case, EXACT)
            continue
        assert (a.status, a.kind, a.keys, a.changed, a.repeatable) == (b.status, b.kind, b.keys, b.changed, True)
        assert {n: t.shape for n, t in a.values.items()} == {n: t.shape for n, t in b.values.items()}
        assert {n: t.dtype for n, t in a.values.items()} == {n: t.dtype for n, t in b.values.items()}
        assert all(torch.isfinite(t).all() for t in b.values.values() if t.is_floating_point())
        others += not is_same_answer(a, b, 1e-2)
    assert others >= 2
    for m in LABS[lab].lab.exercise(id).misconceptions:
        assert not mine.equals(given(lab, id, ((id, m.code),))), m.id


# --- Lab 4


@pytest.fixture
def net(float64) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 4)
    )  # fmt: skip


@pytest.fixture
def batches(float64) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(n, 1, 2, 3), torch.randint(4, (n,))) for n in (5, 4, 2)]


def turned(values: Tensor) -> Tensor:
    """The same values, the other way round in memory."""
    return values.mT.contiguous().mT


@pytest.mark.parametrize("function", [lab4.accuracy, lab6.head_accuracy], ids=["accuracy", "head_accuracy"])
def test_accuracies_are_k_of_n_by_the_order_of_the_logits(float64, function):
    logits, labels = torch.randn(40, 5), torch.randint(5, (40,))
    share = function(logits, labels)
    alone = [function(logits[i : i + 1], labels[i : i + 1]) for i in range(40)]
    assert isinstance(share, float) and 0 < share < 1
    assert set(alone) == {0.0, 1.0} and share == pytest.approx(sum(alone) / 40)
    for same in (logits.softmax(1), logits.log_softmax(1), 1000 * logits, logits.float(), turned(logits)):
        assert function(same, labels) == share
    one = [(logits[:1], torch.tensor([c])) for c in range(5)]
    assert {function(*pair) for pair in one} == {0.0, 1.0}  # labels count
    for column in range(5):
        higher = [function(x + 9 * F.one_hot(torch.tensor([column]), 5), y) for x, y in zip(
            logits.split(1), labels.split(1), strict=True)]  # fmt: skip
        assert higher != alone


def test_counts_of_a_confusion_matrix_add_up_over_samples(float64):
    predictions, labels = torch.randint(4, (30,)), torch.randint(3, (30,))
    table = lab4.confusion_matrix(predictions, labels, 5)
    parts = [lab4.confusion_matrix(p, y, 5) for p, y in zip(predictions.split(7), labels.split(7), strict=True)]
    assert table.shape == (5, 5) and table.dtype == torch.int64 and torch.equal(table, sum(parts))
    assert not torch.equal(table, lab4.confusion_matrix(labels, predictions, 5)) and not torch.equal(table, table.T)


def trained(net: nn.Module, batches: Any, **more: Any) -> tuple[dict[str, float], Tensor]:
    """What training a copy of the net by the stand-in gives: its numbers, and the weights afterwards as a vector."""
    torch.manual_seed(1)
    net = copy.deepcopy(net)
    descent = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    found = lab4.train_one_epoch(net, batches, descent, "cpu", **more)
    assert net.training
    return found, torch.cat([p.detach().flatten() for p in net.parameters()])


def test_training_steps_optimizer_and_scheduler_once_a_batch(net, batches):
    net.eval()
    net[1].requires_grad_(False)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    descent, rates = torch.optim.AdamW(net.parameters(), lr=1.0), []
    descent.register_step_pre_hook(lambda *_: rates.append(descent.param_groups[0]["lr"]))
    schedule = torch.optim.lr_scheduler.ExponentialLR(descent, 0.5)
    found = lab4.train_one_epoch(net, batches, descent, "cpu", schedule)
    assert rates == [1.0, 0.5, 0.25] and schedule.last_epoch == 3
    assert found.keys() == {"loss", "accuracy"} and all(isinstance(number, float) for number in found.values())
    assert (11 * found["accuracy"]) == pytest.approx(round(11 * found["accuracy"]))
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == before.keys() - {"1.weight", "1.bias"} and not net[1].weight.requires_grad
    assert all((p.grad is not None) == p.requires_grad for p in net.parameters())


def test_training_depends_on_everything_and_on_no_count_of_calls(net, batches):
    found, weights = trained(net, batches)
    again, weights_again = trained(net, batches)
    assert again == found and torch.equal(weights_again, weights)
    other_images = [(x + (i == 1), y) for i, (x, y) in enumerate(batches)]
    other_labels = [(x, (y + (i == 1)) % 4) for i, (x, y) in enumerate(batches)]
    other_net = copy.deepcopy(net)
    other_net[5].weight.data[0, 0] += 0.1
    for changed in ((net, other_images), (net, other_labels), (net, batches[::-1]), (other_net, batches)):
        numbers, moved = trained(*changed)
        assert numbers != found and not torch.allclose(moved, weights, atol=1e-4)
    net[4].p = 0.0
    assert trained(net, batches)[0] != found  # dropout acts


@pytest.mark.parametrize("function", ["train_one_epoch", "evaluate"])
def test_batches_are_brought_to_the_device(net, batches, function):
    elsewhere = [(FakeDeviceTensor(x), FakeDeviceTensor(y)) for x, y in batches]
    if function == "evaluate":
        assert lab4.evaluate(net, elsewhere, "cpu") == lab4.evaluate(net, batches, "cpu")
    else:
        assert trained(net, elsewhere)[0] == trained(net, batches)[0]


def test_rounding_stays_small_in_training(net, batches):
    net[4].p = 0.0
    fine = [trained(net, batches * times)[1] for times in (1, 5)]
    rough = [trained(net.float(), [(x.float(), y) for x, y in batches * times])[1] for times in (1, 5)]
    assert all(torch.allclose(a.float(), b, atol=1e-4, rtol=1e-4) for a, b in zip(fine, rough, strict=True))


@pytest.mark.parametrize("mode", [True, False])
def test_testing_leaves_no_trace_and_means_are_over_samples(net, batches, mode):
    net.train(mode)
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    state, seed = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    found = lab4.evaluate(net, batches, "cpu")
    assert net.training is mode and all(module.training is mode for module in net)
    assert torch.is_grad_enabled() and torch.equal(seed, torch.get_rng_state())
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    assert all(torch.equal(p.grad, torch.ones_like(p)) and p.requires_grad for p in net.parameters())
    whole = [tuple(torch.cat(parts) for parts in zip(*batches, strict=True))]
    assert lab4.evaluate(net, whole, "cpu") == pytest.approx(found)
    with torch.no_grad():
        assert lab4.evaluate(net, batches, "cpu") == found
    assert found["accuracy"] * 11 == pytest.approx(round(found["accuracy"] * 11))


def test_testing_sees_images_labels_and_weights(net, batches):
    found = lab4.evaluate(net, batches, "cpu")
    twin = copy.deepcopy(net)
    twin[5].weight.data[0, 0] += 0.1
    for changed in (
        (net, [(x + (i == 2), y) for i, (x, y) in enumerate(batches)]),
        (net, [(x, (y + (i == 2)) % 4) for i, (x, y) in enumerate(batches)]), (twin, batches),
    ):  # fmt: skip
        assert lab4.evaluate(*changed, "cpu")["loss"] != pytest.approx(found["loss"], abs=1e-5)
    assert all(isinstance(number, float) for number in found.values())


# --- Lab 6


def small(kind: str = "deit", drop: float = 0.5) -> nn.Module:
    return fill(stub(kind, 4, 3, drop), torch.randn(997))


def learning(model: nn.Module, names: list[str]) -> set[str]:
    lab6.freeze_all_but(model, names)
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", ["deit", "cait", "densenet"])
def test_what_is_named_learns_and_nothing_else(float64, kind):
    model = small(kind)
    names = [name for name, module in model.named_modules() if name and list(module.parameters())]
    for name, other in zip(names[::9], names[4::9], strict=False):
        wanted = {n for n, _ in model.named_parameters() if n.startswith((f"{name}.", f"{other}."))}
        assert learning(model, [name, other]) == learning(model, [other, name, other]) == wanted
    assert learning(model, []) == set()


def test_an_unknown_name_is_refused_before_anything_changes(float64):
    model = small()
    before, state = {name for name, p in model.named_parameters() if p.requires_grad}, dict(model.pos_drop.__dict__)
    for name in ("blocks.77", "head.weight", "cls_token"):
        with pytest.raises(ValueError, match=re.escape(name)):
            lab6.freeze_all_but(model, ["head", name])
    assert {name for name, p in model.named_parameters() if p.requires_grad} == before
    assert model.pos_drop.__dict__ == state


def test_a_frozen_model_draws_nothing_by_chance_and_has_a_loss_to_learn_from(float64):
    model, images, labels = small().train(), torch.randn(2, 3, 4, 4), torch.tensor([0, 2])
    lab6.freeze_all_but(model, ["blocks.1", "head"])
    once, seed = model(images)[0], torch.get_rng_state()
    lab6.freeze_all_but(model, ["blocks.1", "head"])
    assert torch.equal(model(images)[0], once) and torch.equal(torch.get_rng_state(), seed)
    assert not torch.allclose(copy.deepcopy(model).eval()(images), sum(model(images)) / 2)  # the modes still differ
    lab6.two_head_loss(model(images), labels).backward()
    assert all((p.grad is not None and bool(p.grad.abs().sum() > 0)) == p.requires_grad for p in model.parameters())
    quiet = small(drop=0.5).eval()
    expected = quiet(images)
    lab6.freeze_all_but(quiet, ["head"])
    assert torch.equal(quiet(images), expected)  # in evaluation mode nothing has changed


def test_what_learns_is_listed_once_and_what_does_not_is_left_out(float64):
    shared = nn.Linear(3, 3)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), shared, shared)
    count = lab6.trainable_parameters(model)
    parts = [lab6.trainable_parameters(model.requires_grad_(False))]
    for p in model.parameters():
        p.requires_grad_(True)
        parts.append(lab6.trainable_parameters(model))
    assert type(count) is int and parts[0] == 0 and parts[-1] == count and parts == sorted(set(parts))
    assert len(parts) == 7


def test_the_loss_is_a_mean_over_samples_and_heads_and_feels_every_logit(float64):
    first, second, labels = torch.randn(7, 4), torch.randn(7, 4), torch.randint(4, (7,))
    loss = lab6.two_head_loss(first, labels)
    parts = [lab6.two_head_loss(first[i : i + 1], labels[i : i + 1]) for i in range(7)]
    assert loss.shape == () and torch.isclose(loss, torch.stack(parts).mean())
    both = lab6.two_head_loss((first, second), labels)
    assert torch.isclose(both, (loss + lab6.two_head_loss(second, labels)) / 2)
    given = [t.clone().requires_grad_() for t in (first, second)]
    found = lab6.two_head_loss(tuple(given), labels)
    gradients = torch.autograd.grad(found, given)
    assert all(bool((gradient.abs() > 1e-4).all()) for gradient in gradients)
    assert torch.equal(given[0], first)
    assert torch.autograd.gradcheck(lambda x: lab6.two_head_loss((x, second), labels), given[:1])
    assert torch.isfinite(lab6.two_head_loss(4000 * first, labels))
    assert lab6.two_head_loss(first.float(), labels).dtype == torch.float32
    assert torch.equal(lab6.two_head_loss(turned(first), labels), loss)


def test_two_heads_are_counted_as_the_mean_of_their_logits_or_alone(float64):
    first, second, labels = torch.randn(50, 5), torch.randn(50, 5), torch.randint(5, (50,))
    count = lab6.head_accuracy
    found = [count((first, second), labels, heads) for heads in ("both", "first", "second")]
    assert found == [count((first + second) / 2, labels), count(first, labels), count(second, labels)]
    assert count((first, second), labels) == found[0] and len(set(found)) == 3
    theirs = LABS["lab6"].namespace(())["head_accuracy"]
    for function in (count, theirs):
        with pytest.raises(KeyError, match="third"):
            function((first, second), labels, "third")


# --- Lab 7


def test_the_small_network_has_the_solutions_parts_and_uses_them_all(float64):
    theirs = LABS["lab7"].namespace(())["SmallCNN"](3, 5, 4)
    mine = lab7.SmallCNN(3, 5, 4)
    shapes = [{k: (t.shape, t.dtype) for k, t in model.state_dict().items()} for model in (mine, theirs)]
    assert shapes[0] == shapes[1]
    for p in mine.parameters():
        p.data.normal_()
    images = torch.randn(4, 3, 13, 10)
    logits = mine.eval()(images)
    assert torch.allclose(mine(images[1:2]), logits[1:2])  # images are alone in eval mode
    assert torch.allclose(mine(images.contiguous(memory_format=torch.channels_last)), logits)
    assert torch.allclose(mine(images[..., 1:-1]), mine(images[..., 1:-1].contiguous()))
    assert torch.isfinite(mine(4000 * images)).all() and mine.float()(images.float()).dtype == torch.float32
    mine.double().zero_grad()
    (mine(images) * torch.arange(20.0).view(4, 5).cos()).sum().backward()
    assert all(bool((p.grad.abs() > 0).all()) for p in mine.parameters())
    before = mine.norm2.running_mean.clone()
    assert not torch.allclose(mine.train()(images), logits) and not torch.equal(mine.norm2.running_mean, before)


def test_the_small_network_learns(float64):
    model, images, labels = lab7.SmallCNN(1, 3, 4), torch.randn(12, 1, 8, 8), torch.arange(12) % 3
    images += labels[:, None, None, None]
    descent = torch.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(30):
        loss = F.cross_entropy(model(images), labels)
        descent.zero_grad()
        loss.backward()
        descent.step()
    assert loss < 0.1


# --- later exercises under stand-ins


def later_pairs() -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(lab, exercises with a stand-in, later exercise): each earlier one alone, and all that it calls."""
    for lab, found in STAND_INS.items():
        exercises = list(LABS[lab].lab.exercises)
        for place, later in enumerate(exercises):
            if later.trained:
                continue
            codes = [LABS[lab].code(later.id), *(a.code for a in later.alternatives)]
            earlier = [e.id for e in exercises[:place] if e.id in found]
            called = tuple(id for id in earlier if any(calls(code, found[id]) for code in codes))
            yield from ((lab, (id,), later.id) for id in called)
            if len(called) > 1:
                yield lab, called, later.id


# Each calls one name of an exercise and does the work of another itself, so that it agrees with itself alone.
BY_ITSELF = {
    "cross-entropy with one-hot labels, the metrics' own accuracy",
    "inference_mode as a decorator, the metrics' own accuracy",
    "everything written out, real seconds by another clock",
    "a loss of its own, and the accuracy of the heads",
    "the loss of the heads, and hits of its own",
}


@pytest.mark.parametrize(("lab", "earlier", "later"), list(later_pairs()))
def test_a_later_exercise_is_judged_under_stand_ins_as_well_as_without(lab, earlier, later):
    exercise, put = LABS[lab].lab.exercise(later), tuple((id, line(lab, id)) for id in earlier)
    plain, model = given(lab, later, ()), given(lab, later, put)
    called = any(calls(LABS[lab].code(later), STAND_INS[lab][id]) for id in earlier)
    assert model.equals(plain) != called
    alternatives = {a.name: given(lab, later, (*put, (later, a.code))) for a in exercise.alternatives}
    for name, found in alternatives.items():
        others = [each for n, each in alternatives.items() if n != name]
        expected = [plain, model, *others, *([found] if name in BY_ITSELF else ())]
        assert any(found.earns_all(reading) for reading in expected), name
    for m in exercise.misconceptions:
        found = given(lab, later, (*put, (later, m.code)))
        assert not any(found.earns_all(reading) for reading in (plain, model, *alternatives.values())), m.id
