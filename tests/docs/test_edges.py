"""The table of edges: each case that it names is there and asks at that edge, and no exercise is left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from autograder.exams.lab4 import training_problems
from autograder.exams.lab6 import fine_tune, problems
from autograder.labs.lab import ROOT, find_lab
from autograder.labs.variants import Variant
from vitedu.labs.lab4 import scenarios as training_scenarios

PAGE = (ROOT / "docs" / "edges.md").read_text(encoding="utf-8")
NONE, NOT_ASKED = "-", "not asked"
DRAW = ("a secret for tests", 0)
HEADS = ("head", "head_dist", "classifier", "fc")
MANY = 256  # more than a byte can count


def read_tables() -> tuple[dict[str, dict[str, list[str]]], set[tuple[str, str]]]:
    """Exercise -> edge -> names of cases, none where the page says "-" or "not asked"; and what is not asked."""
    found: dict[str, dict[str, list[str]]] = {}
    open_edges = set()
    for section in re.findall(r"^## Lab \d\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        lines = [line for line in section.split("\n") if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        head, rules, *exercises = rows
        assert head[0] == "exercise" and set("".join(rules)) == {"-"}
        assert len(set(head)) == len(head), "an edge stands twice"
        for name, *cells in exercises:
            assert name not in found, f"{name} stands twice"
            assert len(cells) == len(head) - 1, f"{name} has {len(cells)} cells for {len(head) - 1} edges"
            found[name] = {
                edge: [] if cell in (NONE, NOT_ASKED) else cell.split("<br>")
                for edge, cell in zip(head[1:], cells, strict=True)
            }
            open_edges |= {(name, edge) for edge, cell in zip(head[1:], cells, strict=True) if cell == NOT_ASKED}
    return found, open_edges


TABLES, OPEN = read_tables()


@cache
def cases(exercise: str) -> dict[str, Any]:
    lab, _, id = exercise.partition("/")
    secret, draw = DRAW
    return {case.name: case for case in find_lab(lab).exercise(id).cases(Variant(secret.encode(), id, draw))}


def rows(case: Any, dimension: int) -> int:
    """The size of a dimension of the first tensor that goes in; 0 without one."""
    first = next((t for t in case.args if hasattr(t, "shape") and t.ndim > dimension), None)
    return 0 if first is None else first.shape[dimension]


def takes_gradients(case: Any) -> bool:
    return case.gradients


def dropout(case: Any) -> float:
    """The share that a module drops: an argument of its own, or the last of the sizes of an EncoderViT's BERT."""
    encoder = next((each for each in case.init if isinstance(each, tuple) and "bert" in each), (0,))
    return case.init_kwargs.get("dropout", encoder[-1])


def drops_in_training(case: Any) -> bool:
    if scenario(case).startswith("lab6."):
        return case.parameters.get("drop", 0) > 0
    return case.train and dropout(case) > 0


def drops_nothing(case: Any) -> bool:
    if scenario(case) == "lab4.evaluate":
        return any(kind == "Dropout" for _, kind, _ in case.model)
    if scenario(case):
        return case.parameters["dropout"] > 0  # the library's model must be in eval mode
    return not (case.train and dropout(case) > 0)


def scenario(case: Any) -> str:
    return getattr(case, "scenario", "")


def parameter(name: str) -> Callable[[Any], Any]:
    """A parameter of a scenario; None where it has no such parameter."""
    return lambda case: case.parameters.get(name)


def batches(case: Any) -> list[tuple[int, ...]]:
    """The sizes of the batches of each loader."""
    if scenario(case) != "lab6.loaders":
        return [case.parameters[key] for key in ("batches", "val_batches") if key in case.parameters]
    count, size = (case.parameters[key] for key in ("count", "batch_size"))
    held = round(count * case.parameters["val_fraction"])
    return [tuple(min(size, part - at) for at in range(0, part, size)) for part in (count - held, held)]


def size(case: Any) -> int:
    """The largest number of samples that come together."""
    return max(sum(batches(case), (0,))) if scenario(case) else rows(case, 0)


def samples(case: Any) -> int:
    return len(case.parameters["labels"]) if scenario(case) else rows(case, 0)


def classes(case: Any) -> int:
    return case.parameters["first"].shape[1] if scenario(case) else rows(case, 1)


def val_accuracy(case: Any) -> list[float]:
    """What the model answer of fit finds in each epoch."""
    if scenario(case) != "lab4.fit":
        raise KeyError("val_accuracy")
    return training_problems.solved(case)[0]["val_accuracy"].tolist()


def asked_images(train: bool, shown: Callable[[int, int, int], bool]) -> Callable[[Any], bool]:
    """Whether a case of make_transforms is for training, or not, and its images' sides and the size are like this."""

    def look(case: Any) -> bool:
        if scenario(case) != "lab6.transform":
            return False
        return case.parameters["train"] == train and shown(*case.parameters["sides"], case.parameters["size"])

    return look


def not_square(case: Any) -> bool:
    if scenario(case):
        size = case.parameters["image_size"]
        return isinstance(size, tuple) and size[0] != size[1]
    return case.args[0].shape[-1] != case.args[0].shape[-2]


def without_names(*names: str) -> Callable[[Any], bool]:
    return lambda case: "names" in case.parameters and not set(names) & set(case.parameters["names"])


def first_layer_learns(case: Any) -> bool:
    if scenario(case):
        return "conv1" in case.parameters["names"]
    return bool(case.model) and case.model[0][0] not in case.frozen


# What shows in a case: a cell of these columns holds only such cases, and is not empty where there is one.
SHOWN: dict[str, Callable[[Any], Any]] = {
    "gradients": takes_gradients,
    "a second call": lambda case: bool(case.before),
    "non-contiguous images": lambda case: bool(case.layout),
    "sizes that do not fit": lambda case: case.scoring.raises is not None,
    "names that do not fit": lambda case: case.scoring.raises is not None,
    "dropout in training mode": drops_in_training,
    "frozen parameters": lambda case: bool(case.frozen),
    # of trainings
    "a smaller last batch": lambda case: any(sizes[-1] < sizes[0] for sizes in batches(case)),
    "a last batch of one": lambda case: any(len(sizes) > 1 and sizes[-1] == 1 for sizes in batches(case)),
    "a single batch": lambda case: any(len(sizes) == 1 for sizes in batches(case)),
    "hundreds of samples": lambda case: size(case) > MANY,
    "hundreds of classes": lambda case: classes(case) > MANY,
    "one class": lambda case: case.target == "confusion_matrix" and case.args[2] == 1,
    "epochs in a row": lambda case: case.parameters.get("epochs", 1) > 1,
    "one epoch": lambda case: case.parameters["epochs"] == 1,
    "found in eval mode": lambda case: case.parameters.get("mode") == "eval",
    "found in training mode": lambda case: (
        case.target != "save_checkpoint" and case.parameters.get("mode", "train") == "train"
    ),
    "some of the model frozen": lambda case: bool(case.frozen),
    "gradients off where it is called": parameter("gradients_off"),
    "a scheduler": parameter("scheduler"),
    "no scheduler": lambda case: case.target in ("train_one_epoch", "fit") and not case.parameters.get("scheduler"),
    "on_epoch given": parameter("on_epoch"),
    "on_epoch left out": lambda case: case.target == "fit" and not case.parameters.get("on_epoch"),
    "another device": lambda case: case.parameters.get("elsewhere") or case.parameters.get("meta"),
    "keys that do not fit": parameter("mismatch"),
    "epoch 0": lambda case: case.parameters["epoch"] == 0,
    "loaded with an optimizer": lambda case: case.parameters["with_optimizer"] and "mismatch" not in case.parameters,
    "loaded without an optimizer": lambda case: not case.parameters["with_optimizer"],
    "equal epochs": lambda case: (seen := val_accuracy(case)).count(max(seen)) > 1,
    "accuracy 0.0 throughout": lambda case: not any(val_accuracy(case)),
    "the first epoch is the best": lambda case: (seen := val_accuracy(case))[0] > max(seen[1:]),
    "the last epoch is the best": lambda case: (seen := val_accuracy(case))[-1] > max(seen[:-1]),
    "the last epoch is not the best": lambda case: (
        scenario(case) == "lab6.fine_tune" and fine_tune.best_before_the_end(problems.solved(case))
    ),
    # of libraries
    "images that are not square": not_square,
    "an encoder without a pooler": lambda case: "stand-in" in case.init[-1],
    "another eps": lambda case: case.parameters["eps"] != 1e-5,
    "one block": lambda case: case.parameters["depth"] == 1,
    "options of another library": lambda case: case.parameters.get("option", "image_size") != "image_size",
    # of transfer
    "validation images larger than asked": asked_images(False, lambda w, h, size: min(w, h) > size),
    "validation images smaller than asked": asked_images(False, lambda w, h, size: max(w, h) < size),
    "training images smaller than asked": asked_images(True, lambda w, h, size: max(w, h) < size),
    "validation images that are not square": asked_images(False, lambda w, h, size: w != h),
    "training images that are not square": asked_images(True, lambda w, h, size: w != h),
    "no names": lambda case: not case.parameters.get("names", True),
    "no head learns": without_names(*HEADS),
    "the first layer": first_layer_learns,
    "part of a layer frozen": lambda case: any("." in name for name in case.frozen),
    "nothing learns": lambda case: (
        bool(case.model) and {name for name, kind, _ in case.model if kind != "Flatten"} <= set(case.frozen)
    ),
    "found frozen": lambda case: case.parameters.get("frozen") or scenario(case) == "lab6.replace_head",
    "one layer": lambda case: case.target == "dense_block_count" and case.args[0] == 1,
    # of the network
    "sides that cannot be halved twice": lambda case: any(side % 4 for side in case.args[0].shape[2:]),
    "images of a few pixels": lambda case: min(case.args[0].shape[2:]) < 8,
    "training mode": lambda case: case.train,
}
# What a named case has; others may have it, too.
SIZES: dict[str, Callable[[Any], Any]] = {
    "one sample": lambda case: samples(case) == 1,
    "one channel": lambda case: rows(case, 1) == 1 or case.model or "one channel" in case.name,
    "one query or token": lambda case: rows(case, -2 % case.args[0].ndim) == 1,
    "patches of one pixel": lambda case: (case.parameters["patch_size"] if scenario(case) else case.args[1]) == 1,
    "dropout left out, or 0, or in eval mode": drops_nothing,
    "image_size as a number": lambda case: not scenario(case) or isinstance(case.parameters["image_size"], int),
    "image_size as a pair": lambda case: not scenario(case) or isinstance(case.parameters["image_size"], tuple),
    "head_dim given": lambda case: not scenario(case) or case.parameters["head_dim"],
    "head_dim left out": lambda case: not scenario(case) or not case.parameters["head_dim"],
    "BatchNorm": lambda case: (
        case.parameters["kind"] in ("densenet", "resnet") if scenario(case)
        else any("BatchNorm" in kind for _, kind, _ in case.model)
    ),
    "two heads": lambda case: (
        not scenario(case) or "second" in case.parameters or case.parameters["kind"] == "deit"
    ),
}  # fmt: skip


@pytest.mark.parametrize("exercise", TABLES)
def test_every_named_case_is_there(exercise):
    known = cases(exercise)
    for edge, named in TABLES[exercise].items():
        assert set(named) <= set(known), f"{exercise}, {edge}: no case {sorted(set(named) - set(known))}"
        assert len(set(named)) == len(named)


@pytest.mark.parametrize("exercise", TABLES)
def test_the_cases_ask_at_the_edge(exercise):
    known = cases(exercise)
    for edge, named in TABLES[exercise].items():
        if edge in SHOWN:
            there = {name for name, case in known.items() if asks(SHOWN[edge], case)}
            assert set(named) <= there, f"{exercise}, {edge}: {sorted(set(named) - there)} do not ask there"
            assert named or not there, f"{exercise}, {edge}: {sorted(there)} ask there"
        if edge in SIZES:
            assert all(SIZES[edge](known[name]) for name in named), f"{exercise}, {edge}: {named}"


def asks(shown: Callable[[Any], bool], case: Any) -> bool:
    """Whether an edge shows in a case; kinds of cases that cannot have it do not."""
    try:
        return bool(shown(case))
    except (AttributeError, KeyError):
        return False


@pytest.mark.parametrize("lab", sorted({name.partition("/")[0] for name in TABLES}))
def test_every_exercise_of_a_lab_has_a_row(lab):
    asked = [f"{lab}/{exercise.id}" for exercise in find_lab(lab).exercises if not exercise.trained]
    assert [name for name in TABLES if name.startswith(f"{lab}/")] == asked


def test_every_lab_is_there():
    assert {f"lab{n}" for n in range(1, 8)} == {name.partition("/")[0] for name in TABLES}


def test_what_is_not_asked_has_a_reason():
    section = PAGE.partition("## Not asked\n")[2]
    said = []
    for line in section.strip().split("\n"):
        found = re.fullmatch(r"- (lab\d/\w+), (\*[^:]+\*): (.+)\.", line)
        assert found, f"no exercise, edge and reason: {line}"
        said += [(found[1], edge) for edge in re.findall(r"\*([^*]+)\*", found[2])]
    assert len(said) == len(set(said)) and set(said) == OPEN


def test_loaders_and_gradients_of_lab_4_are_as_the_page_says():
    loader = training_scenarios.Batches
    assert not hasattr(loader, "__len__") and not hasattr(loader, "dataset")
    for case in cases("lab4/evaluate").values():
        problem = training_scenarios.Problem(case, torch.float64)
        training_scenarios.evaluate_call(problem)
        assert all(p.grad is not None for p in problem.model.parameters())
