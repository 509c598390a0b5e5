"""Scripted problems write down what a function left behind, against numbers computed by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from vitedu.labs.lab4 import scenarios as training_scenarios
from vitedu.probe import recording, serialization, toy_models
from vitedu.probe.ask import ask
from vitedu.probe.case import Case, ScenarioCase, read_cases, request

# One feature, no hidden layer: logits are (w x, 0), so everything can be worked out on paper.
LAYERS = (("flat", "Flatten", ()), ("head", "Linear", (1, 2)))
WEIGHTS = {"head.weight": torch.tensor([[1.0], [0.0]]).double(), "head.bias": torch.zeros(2).double()}
X, Y = torch.tensor([[1.0], [2.0], [-1.0]]).double(), torch.tensor([0, 1, 0])


def case(script: str, target: str = "f", **kwargs) -> Case:
    problem = {"x": X, "y": Y, "batches": (2, 1), "options": (("lr", 0.5),)} | kwargs
    return ScenarioCase("", target, scenario=f"lab4.{script}", model=LAYERS, weights=WEIGHTS, parameters=problem)


def run(function, asked: Case, **namespace) -> dict[str, torch.Tensor]:
    answer = ask(function, asked, namespace=namespace)
    assert answer.status == "ok", answer.error
    return {name.removeprefix("out."): t for name, t in answer.tensors.items()}


def epoch(model, loader, optimizer, device, scheduler=None):
    """A plain training epoch, which tests bend where they need it bent."""
    model.train()
    losses, hits, count = 0.0, 0, 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        out = model(x)
        loss = F.cross_entropy(out, y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        losses, hits, count = losses + loss.item() * len(y), hits + (out.argmax(1) == y).sum().item(), count + len(y)
    return {"loss": losses / count, "accuracy": hits / count}


def by_hand() -> tuple[float, torch.Tensor]:
    """Loss and weight after one epoch on LAYERS, from the derivative of cross-entropy (p - onehot) x."""
    w, b, total = WEIGHTS["head.weight"].clone(), WEIGHTS["head.bias"].clone(), 0.0
    for x, y in zip(X.split([2, 1]), Y.split([2, 1]), strict=True):
        p = (x @ w.T + b).softmax(1)
        total += -p[range(len(y)), y].log().sum().item()
        apart = (p - F.one_hot(y, 2)) / len(y)
        w, b = w - 0.5 * apart.T @ x, b - 0.5 * apart.sum(0)
    return total / 3, w


def test_train_gives_the_numbers_of_a_calculation_by_hand():
    found, (loss, weight) = run(epoch, case("train")), by_hand()
    torch.testing.assert_close(found["loss"], torch.tensor([loss]).double())
    torch.testing.assert_close(found["state.head.weight"], weight)
    assert found["accuracy"].tolist() == [pytest.approx(1 / 3)]
    assert found["lr"].tolist() == [0.5] * 3 and not found["forward_in_eval"] and not found["keeps_graph"]


def test_train_sees_rates_modes_and_graphs():
    halved = case("train", scheduler="ExponentialLR", scheduler_options=(("gamma", 0.5),), epochs=2)
    assert run(epoch, halved)["lr"].tolist() == [0.5, 0.25, 0.125, 0.0625, 0.03125]

    def careless(model, loader, optimizer, device):
        model.eval()
        found = [F.cross_entropy(model(x), y) for x, y in loader]
        return {"loss": sum(found), "accuracy": 0.5}

    found = run(careless, case("train"))
    assert found["forward_in_eval"] and found["keeps_graph"].tolist() == [1]
    assert found["lr"].tolist() == [0.5]  # no step was taken


def test_batches_can_be_gone_through_again_and_promise_nothing_else():
    def look(model, loader, optimizer, device):
        first, again = ([len(y) for _, y in loader] for _ in range(2))
        assert first == again == [2, 1]
        assert not hasattr(loader, "__len__") and not hasattr(loader, "dataset")
        return {"loss": 0.0, "accuracy": 0.0}

    run(look, case("train"))


@pytest.mark.parametrize("move", [True, False])
def test_batches_from_elsewhere_must_be_moved(move):
    def forgetful(model, loader, optimizer, device):
        return {"loss": sum(F.cross_entropy(model(x), y).item() for x, y in loader), "accuracy": 0.0}

    answer = ask(epoch if move else forgetful, case("train", elsewhere=True))
    assert answer.status == ("ok" if move else "error")


def test_evaluate_sees_whatever_was_touched():
    def test(model, loader, device):
        total = sum(F.cross_entropy(model(x), y, reduction="sum").item() for x, y in loader)
        return {"loss": total / 3, "accuracy": torch.tensor(1 / 3)}

    def careful(model, loader, device):
        mode = model.training
        model.eval()
        with torch.no_grad():
            found = test(model, loader, device)
        model.train(mode)
        return found

    def reckless(model, loader, device):
        torch.set_grad_enabled(False)
        torch.rand(1)
        model.zero_grad()
        model.requires_grad_(False)
        return test(model.train(), loader, device)

    good, bad = run(careful, case("evaluate", mode="train")), run(reckless, case("evaluate", mode="eval"))
    assert good["training"].all() and good["requires_grad"].all() and good["random_state"] and good["grad_mode"]
    assert not good["forward_in_train"] and not good["forward_with_gradients"]
    assert (good["grad.head.bias"] == 0.5).all() and torch.equal(good["state.head.weight"], WEIGHTS["head.weight"])
    assert bad["training"].all() and not bad["requires_grad"].any() and not bad["random_state"] and not bad["grad_mode"]
    assert bad["forward_in_train"] and (bad["grad.head.bias"] == 0).all()
    assert torch.is_grad_enabled()
    assert ask(careful, case("evaluate")).kind == "dict of tensors"


def test_fit_sees_what_on_epoch_was_given():
    def fit(model, train, val, optimizer, epochs, device, scheduler=None, on_epoch=None):
        history = {name: [] for name in training_scenarios.HISTORY}
        for i in range(epochs):
            for name, value in epoch(model, train, optimizer, device, scheduler).items():
                history[f"train_{name}"].append(value)
                history[f"val_{name}"].append(0.5)
            for x, _ in val:
                model(x)
            if on_epoch:
                on_epoch(i, history)
        return history

    asked = case("fit", epochs=2, on_epoch=True, val_x=X[:1], val_y=Y[:1], val_batches=(1,))
    found = run(fit, asked)
    assert found["calls.epoch"].tolist() == [-1, 0, 1] and found["calls.length"].tolist() == [-1, 1, 2]
    torch.testing.assert_close(found["calls.state.head.weight"][0], by_hand()[1])
    assert torch.equal(found["calls.state.head.weight"][1], found["state.head.weight"])
    assert found["val_forward_in_train"] and found["val_forward_with_gradients"] and not found["train_forward_in_eval"]


GRADIENTS = {"grad.head.weight": torch.ones(4, 2, 1).double(), "grad.head.bias": torch.ones(4, 2).double()}
STEPS = {"before": 2, "after": 2, "epoch": 3, "history": (("train_loss", (2.0, 1.0)),), "with_optimizer": True}
SAVED = STEPS | GRADIENTS


def save(path, model, optimizer, epoch, history):
    torch.save({"m": model.state_dict(), "o": optimizer.state_dict(), "e": epoch, "h": history}, path)


def load(path, model, optimizer=None, device="cpu"):
    saved = torch.load(path, map_location=device)
    model.load_state_dict(saved["m"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["o"])
    return saved["e"], saved["h"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_checkpoint_goes_on_where_it_stopped(elsewhere):
    asked = case("checkpoint", options=(("lr", 0.1), ("momentum", 0.5)), elsewhere=elsewhere, **SAVED)
    found = run(save, asked, load_checkpoint=load)
    # Momentum by hand: velocities 1, 1.5, 1.75, 1.875 times 0.1.
    torch.testing.assert_close(found["loaded.head.bias"], torch.full((2,), -0.25).double())
    torch.testing.assert_close(found["state.head.bias"], torch.full((2,), -0.6125).double())
    assert (found["epoch"], found["history.train_loss"].tolist(), int(found["readable"])) == (3, [2.0, 1.0], 1)


def test_a_checkpoint_that_holds_more_than_weights_or_does_not_fit_is_seen():
    def pickled(path, model, optimizer, epoch, history):
        torch.save({"m": model, "o": optimizer.state_dict(), "e": epoch, "h": history}, path)

    def unpickled(path, model, optimizer=None, device="cpu"):
        saved = torch.load(path, weights_only=False)
        model.load_state_dict(copy.deepcopy(saved["m"].state_dict()))
        return saved["e"], saved["h"]

    assert not run(pickled, case("checkpoint", **SAVED), load_checkpoint=unpickled)["readable"]
    assert run(save, case("checkpoint", mismatch=True, **SAVED), load_checkpoint=load)["raised"]

    def lenient(path, model, optimizer=None, device="cpu"):
        model.load_state_dict(torch.load(path)["m"], strict=False)
        return 0, {}

    assert not run(save, case("checkpoint", mismatch=True, **SAVED), load_checkpoint=lenient)["raised"]


@pytest.mark.parametrize("result", [None, 1.5, {"loss": 1.0}, {"loss": "low", "accuracy": 1.0}])
def test_what_is_no_dictionary_of_numbers_is_an_error_in_words(result):
    answer = ask(lambda *_: result, case("train"))
    assert answer.status == "error" and answer.error["type"] == "TypeError" and "expected" in answer.error["message"]


def test_an_empty_history_is_never_right():
    _, found = recording.numbers({"loss": []}, ("loss",))
    assert math.isnan(found["loss"].item())


def test_a_problem_travels_whole():
    asked = case("fit", epochs=2, val_x=X, val_y=Y, val_batches=(3,))
    header, tensors = serialization.unpack(request([asked], "float64", "n"))
    (found,) = read_cases(header, tensors)
    assert (found.scenario, found.model, found.parameters["batches"]) == ("lab4.fit", LAYERS, (2, 1))
    assert recording.pairs(found.parameters["options"]) == {"lr": 0.5}
    assert found.names == ("f",)


def test_a_tied_layer_shares_its_weight_alone_and_tokens_have_bare_parameters():
    layers = (("tokens", "Tokens", (4, 3)), ("a", "Linear", (3, 3)), ("b", "tied", ("a",)))
    model = toy_models.build(layers, {}, (), torch.float64)
    assert model.a.weight is model.b.weight and model.a.bias is not model.b.bias
    assert dict(model.named_parameters()).keys() == {
        "tokens.cls_token", "tokens.position", "a.weight", "a.bias", "b.bias",
    }  # fmt: skip
    assert model(torch.zeros(2, 4, 3).double()).shape == (2, 5, 3)


def test_a_model_of_layers_can_share_and_freeze():
    layers = (("a", "Linear", (3, 3)), ("act", "Tanh", ()), ("b", "same", ("a",)))
    weights = {"a.weight": torch.eye(3), "a.bias": torch.ones(3)}
    model = toy_models.build(layers, weights, ("a.bias",), torch.float64)
    assert sum(p.numel() for p in model.parameters()) == 12 and model.a is model.b
    assert [p.requires_grad for p in model.parameters()] == [True, False]
    single = toy_models.build(layers[:1], weights, (), torch.float64)
    assert type(single) is torch.nn.Linear and torch.equal(single.weight, torch.eye(3).double())
