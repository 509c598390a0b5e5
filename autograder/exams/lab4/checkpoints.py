"""The exam of checkpoints, which go through a real file, between steps along given gradients."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab4.training_problems import CODE, TRACKERS, WRITING, conv_net, rate, small_net
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import SCORING, ScenarioCase, Scoring


def checkpoint_cases(variant: Variant) -> list[ScenarioCase]:
    """With Adam's memory, without an optimizer, from another device, into a model with other keys."""

    def case(
        name: str, net: tuple, optimizer: str, options: tuple, scoring: Scoring = SCORING, **parameters: Any
    ) -> ScenarioCase:
        layers, weights = net
        before, after = variant.sizes(2, 2, 4)
        trained = {key: t for key, t in weights.items() if "running" not in key}
        gradients = {f"grad.{key}": variant.normal(before + after, *t.shape) for key, t in trained.items()}
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        history = tuple((name, tuple(variant.normal(before).abs().tolist())) for name in names)
        given = {
            "optimizer": optimizer, "options": options, "before": before, "after": after, "history": history,
            "epoch": variant.sizes(1, 3, 40)[0], "with_optimizer": True, **gradients, **parameters,
        }  # fmt: skip
        return ScenarioCase(
            name, "save_checkpoint", model=layers, weights=weights, parameters=given, scenario="lab4.checkpoint",
            also=("load_checkpoint",), scoring=scoring,
        )  # fmt: skip

    def small() -> tuple:
        features, hidden, classes = variant.sizes(3, 2, 5)
        return small_net(variant, features, hidden, classes)

    adam = (("lr", rate(variant, 2, 9)),)
    momentum = (("lr", rate(variant, 5, 20)), ("momentum", 0.9))
    conv = conv_net(variant, *variant.sizes(5, 2, 6))
    return [
        case("an optimizer with a memory", conv, "AdamW", adam),
        case("loaded without an optimizer", small(), "SGD", momentum, with_optimizer=False),
        case("written on another device", small(), "SGD", momentum, elsewhere=True),
        case("loaded into a model with other keys", small(), "Adam", adam, mismatch=True, scoring=Scoring(paired=True)),
    ]


K = CODE["checkpoints"]
FILE = '{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "history": history}'
LOADED = '    model.load_state_dict(saved["model"])\n'
OPTIMIZED = '    if optimizer is not None:\n        optimizer.load_state_dict(saved["optimizer"])\n'
GIVEN_BACK = 'return saved["epoch"], saved["history"]'
CHECKPOINT_WRONG = (
    Misconception(
        "load-state-dict-taken-for-a-model",
        "the result of model.load_state_dict(...) is used as if it were the model",
        "What does load_state_dict return, and what has happened to the model itself?",
        changed(K, (LOADED, '    model = model.load_state_dict(saved["model"]).to(device)\n')),
        (110,), TRACKERS,
    ),
    Misconception(
        "not-strict",
        "keys that do not match are passed over (strict=False), so that a model can be loaded with nothing at all",
        "What does your function do with a file whose keys all begin with another name?",
        changed(K, ('saved["model"])', 'saved["model"], strict=False)')),
        (111,), TRACKERS,
    ),
    Misconception(
        "whole-objects-pickled",
        "the model or the optimizer itself is written, code and all, instead of its state_dict",
        "What must the reader of your file have besides it, and what may its code do on their machine?",
        changed(K, ('"model": model.state_dict()', '"model": model'), ("weights_only=True", "weights_only=False"),
                (LOADED, '    model.load_state_dict(saved["model"].state_dict())\n')),
        (112,), TRACKERS,
    ),
    Misconception(
        "optimizer-not-saved",
        "what the optimizer has collected for each weight is not saved or not loaded, so that Adam's averages and the "
        "momentum begin again at zero",
        "What does your optimizer remember from step to step, and what is in its state_dict besides param_groups?",
        changed(K, (', "optimizer": optimizer.state_dict()', ""), (OPTIMIZED, "")),
        (113,), TRACKERS,
    ),
    Misconception(
        "optimizer-always-loaded",
        "the optimizer's state is loaded even when no optimizer was given",
        "What is optimizer when somebody loads a model only to test it?",
        changed(K, (OPTIMIZED, '    optimizer.load_state_dict(saved["optimizer"])\n')),
        (113,), WRITING,
    ),
    Misconception(
        "model-not-loaded",
        "the model gets none of the saved weights (a copy was loaded, or nothing)",
        "Which object did you load the weights into, and does the caller hold that one?",
        changed(K, (LOADED, '    copy.deepcopy(model).load_state_dict(saved["model"])\n')),
        (111,), TRACKERS,
    ),
    Misconception(
        "parameters-without-buffers",
        "only the parameters are saved, so that BatchNorm's running statistics are lost",
        "What is in model.state_dict() that is not in model.named_parameters()?",
        changed(K, ('"model": model.state_dict()', '"model": {n: p.detach() for n, p in model.named_parameters()}'),
                (LOADED, '    wanted = {n for n, _ in model.named_parameters()}\n'
                 '    if wanted != saved["model"].keys():\n        raise KeyError("other parameters")\n'
                 '    model.load_state_dict(saved["model"], strict=False)\n')),
        (113,), WRITING,
    ),
    Misconception(
        "weights-assigned",
        "the model gets new weight tensors (assign=True, or new Parameters), while the optimizer goes on moving the "
        "old ones",
        "Which tensors does the optimizer hold, and does the model still use them?",
        changed(K, ('saved["model"])', 'saved["model"], assign=True)')),
        (84,), WRITING,
    ),
    Misconception(
        "epoch-not-saved",
        "the epoch is not in the file, and 0 comes back",
        "With which epoch does training go on after loading?",
        changed(K, (', "epoch": epoch', ""), ('saved["epoch"]', "0")),
        (113,), TRACKERS,
    ),
    Misconception(
        "next-epoch",
        "the number after the saved epoch comes back instead of the saved one",
        "What does the docstring say about the epoch that comes back?",
        changed(K, ('return saved["epoch"]', 'return saved["epoch"] + 1')),
        (113,), WRITING,
    ),
    Misconception(
        "history-not-saved",
        "the history is not in the file, and an empty one comes back",
        "Where do the curves of the first epochs come from after loading?",
        changed(K, (', "history": history', ""),
                ('saved["history"]',
                 '{name: [] for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")}')),
        (113,), TRACKERS,
    ),
    Misconception(
        "history-s-last-numbers",
        "only the last number of each list of the history is saved",
        "How long are the lists that come back, and how long were those that were saved?",
        changed(K, ('"history": history', '"history": {name: values[-1:] for name, values in history.items()}')),
        (113,), WRITING,
    ),
    Misconception(
        "everything-but-the-history",
        "the model, the optimizer, and the epoch come back, or the whole file, instead of epoch and history",
        "Which two things does the docstring say come back?",
        changed(K, (GIVEN_BACK, "return saved")),
        (), WRITING,
    ),
    Misconception(
        "nothing-comes-back",
        "the model is loaded, but epoch and history are not returned",
        "Which two things does the docstring say come back?",
        changed(K, (GIVEN_BACK, "return None")),
        (), WRITING,
    ),
    Misconception(
        "history-before-epoch",
        "history and epoch come back in the wrong order",
        "Which of the two comes first in the docstring?",
        changed(K, (GIVEN_BACK, 'return saved["history"], saved["epoch"]')),
        (), WRITING,
    ),
    Misconception(
        "no-map-location",
        "the tensors are loaded to the device on which they were saved, which this machine may not have",
        "What happens to a file from a GPU on a machine without one?",
        changed(K, ("map_location=device, ", "")),
        (115,), TRACKERS,
    ),
)  # fmt: skip
CHECKPOINT_OTHER = (
    Alternative("an open file, torch.load's own weights_only, the loaded weights looked over", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    with open(path, "wb") as file:
        torch.save([model.state_dict(), optimizer.state_dict(), epoch, history], file)


def load_checkpoint(path, model, optimizer=None, device="cpu"):
    with open(path, "rb") as file:
        weights, steps, epoch, history = torch.load(file, map_location=torch.device(device))
    model.load_state_dict(weights, strict=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key].to(value.device))
    if optimizer:
        optimizer.load_state_dict(steps)
    return epoch, history
'''),
    Alternative("clones on the CPU, the history as tensors", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    curves = torch.tensor(list(history.values()), dtype=torch.float64)
    saved = {"weights": weights, "optimizer": optimizer.state_dict(), "epoch": epoch}
    torch.save(saved | {"names": list(history), "curves": curves}, path)


def load_checkpoint(path, model, optimizer=None, device="cpu"):
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["weights"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    return saved["epoch"], dict(zip(saved["names"], (values.tolist() for values in saved["curves"].unbind())))
'''),
    Alternative("values copied by hand after the keys were compared", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    torch.save({"model": dict(model.state_dict()), "opt": optimizer.state_dict(), "log": (epoch, history)}, str(path))


@torch.no_grad()
def load_checkpoint(path, model, optimizer=None, device="cpu"):
    saved = torch.load(path, map_location=lambda storage, location: storage, weights_only=True)
    mine = model.state_dict()
    if mine.keys() != saved["model"].keys():
        raise KeyError(f"expected the keys {sorted(mine)}, found {sorted(saved['model'])}")
    torch._foreach_copy_(list(mine.values()), [saved["model"][key] for key in mine])
    if optimizer is not None:
        optimizer.load_state_dict(saved["opt"])
    return saved["log"]
'''),
    Alternative("bytes in memory, then a file; the weights as one vector", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    import io
    from pathlib import Path

    buffer = io.BytesIO()
    vector = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    buffers = {key: value for key, value in model.named_buffers()}
    keys = [key for key, _ in model.named_parameters()]
    torch.save((keys, vector, buffers, optimizer.state_dict(), epoch, history), buffer)
    Path(path).write_bytes(buffer.getvalue())


def load_checkpoint(path, model, optimizer=None, device="cpu"):
    import io
    from pathlib import Path

    data = io.BytesIO(Path(path).read_bytes())
    keys, vector, buffers, state, epoch, history = torch.load(data, map_location=device, weights_only=True)
    if keys != [key for key, _ in model.named_parameters()]:
        raise RuntimeError("the file holds another model's weights")
    nn.utils.vector_to_parameters(vector, model.parameters())
    for key, value in model.named_buffers():
        value.copy_(buffers[key])
    if optimizer is not None:
        optimizer.load_state_dict(state)
    return epoch, history
'''),
    Alternative("in the style of torch's tutorial on checkpoints: model_state_dict and optimizer_state_dict", '''
def save_checkpoint(PATH, model, optimizer, EPOCH, LOSS):
    torch.save(
        {
            "epoch": EPOCH,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": LOSS,
        },
        PATH,
    )


def load_checkpoint(PATH, model, optimizer=None, device="cpu"):
    checkpoint = torch.load(PATH, weights_only=True, map_location=device)
    model.load_state_dict(checkpoint["model_state_dict"])
    model.to(device)
    if optimizer is not None:
        optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
    epoch = checkpoint["epoch"]
    loss = checkpoint["loss"]
    return epoch, loss
'''),
    Alternative("in the style of timm: a file of its own that takes its name at the end, a checksum", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    import os

    state_dict = model.state_dict()
    save_state = {
        "epoch": epoch,
        "arch": type(model).__name__.lower(),
        "state_dict": state_dict,
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "metric": history,
        "checksum": sum(value.double().sum().item() for value in state_dict.values()),
    }
    tmp_save_path = f"{path}.tmp"
    torch.save(save_state, tmp_save_path)
    os.replace(tmp_save_path, path)


def load_checkpoint(path, model, optimizer=None, device="cpu"):
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    model.load_state_dict(checkpoint["state_dict"], strict=True)
    if optimizer is not None and "optimizer" in checkpoint:
        optimizer.load_state_dict(checkpoint["optimizer"])
    return (checkpoint["epoch"], checkpoint["metric"])
'''),
    Alternative("a deep copy of the state, the history as text", '''
def save_checkpoint(path, model, optimizer, epoch, history):
    import json

    state = {key: torch.stack([value, value])[0] for key, value in model.state_dict().items()}
    log = json.dumps([epoch, history])
    torch.save({"model": state, "optimizer": copy.deepcopy(optimizer.state_dict()), "log": log}, path)


def load_checkpoint(path, model, optimizer=None, device="cpu"):
    import json

    saved = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(saved["model"])
    if optimizer is not None:
        optimizer.load_state_dict(saved["optimizer"])
    epoch, history = json.loads(saved["log"])
    return epoch, history
'''),
)  # fmt: skip

EXERCISE = Exercise("checkpoints", checkpoint_cases, CHECKPOINT_WRONG, CHECKPOINT_OTHER)
