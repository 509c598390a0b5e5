"""What the outputs of Lab 6's scenarios are called in a note.

Each function is a `Scenario.named`, see vitedu/probe/scenarios.py. Most outputs are facts in a row, one for each
parameter, layer or loader; here they get the names of the model's parts, and a sentence about what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from torch import Tensor, nn

from vitedu.labs.lab6.fine_tuning import HISTORY
from vitedu.labs.lab6.freezing import HEADS
from vitedu.labs.lab6.stub_models import stub
from vitedu.probe.case import ScenarioCase
from vitedu.probe.quantities import AFTERWARDS, BEFORE, Named, Quantities, Quantity, epochs, fact, facts, facts_about

GRAPH = "the numbers that come back still hold their graph (requires_grad is True)"
CHANGED = "{} has other values than before"
Expected = Mapping[str, Tensor]


def of_transforms(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `transform`."""
    colours = [tuple(map(int, colour)) for colour in case.parameters["colours"].tolist()]
    images = [Quantity(f"the image of one colour, {colour}") for colour in colours]
    turns = ("mirrored left to right", "turned upside down", "turned by a right angle")
    known: dict[str, Named] = {
        "colours": Quantities(Quantity("the number of images"), images),
        "varies": facts(fact((1, 0), zero="an image comes out the same each time", one="no image comes out twice")),
        "kept": facts(
            fact((2, 0), zero="a part of the image is cut off"),
            fact((2, 1), zero="more than 30 percent of the image are cut off"),
        ),
        "mirrored": facts_about("turns", turns, (3, 0), zero="no image is {}", one="some images are {}"),
    }  # fmt: skip
    return known.get(output)


def of_loaders(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `loaders`."""
    known: dict[str, Named] = {
        "parts": facts(
            fact((0, 0), zero="some images are in both parts"),
            fact((0, 3), zero="some images are in neither part"),
            fact((0, 4), zero="some images come twice in an epoch"),
        ),
        "marks": facts(*_marks("training", 1, 5), *_marks("validation", 2, 6)),
        "other_marks": facts(
            *(
                Quantity(f"the mark that the transform of a second call leaves on {part} images", (0, 9))
                for part in ("training", "validation")
            )
        ),
        "labels_fit": facts(
            fact((0, 7), zero="training images come with labels of other images"),
            fact((0, 8), zero="validation images come with labels of other images"),
        ),
        "split": facts(
            fact((1, 0), zero="the same seed gives another split"),
            fact((1, 1), zero="another seed gives the same split"),
            fact((1, 2), zero="the validation images stand side by side in the dataset: nothing was shuffled"),
        ),
        "order": facts(
            fact((1, 3), zero="the training images come in the same order in each epoch"),
            fact((1, 4), zero="the validation images come in another order in each epoch"),
        ),
        "untouched": facts(fact((2, 0), zero="the dataset that was given is changed")),
    }
    if output in ("train_batches", "val_batches"):
        part, rank = ("training", 1) if output == "train_batches" else ("validation", 2)
        sizes = [Quantity(f"the size of {part} batch {i + 1}", (0, rank)) for i in range(len(expected[output]))]
        return Quantities(Quantity(f"the number of {part} batches", (0, rank)), sizes)
    return known.get(output)


def of_freezing(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `freeze`."""
    model = _model(case)
    parameters, entries = [n for n, _ in model.named_parameters()], list(model.state_dict())
    dropouts = [name for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
    known: dict[str, Named] = {
        "trainable": _trainable(model, (0, 0)),
        "state": facts_about("entries", entries, (0, 1), one=CHANGED),
        "dropouts": facts_about(
            "dropouts", dropouts, (1, 0), zero="the dropout {} does nothing after model.train() and should act",
            one="the dropout {} acts after model.train() and should not",
        ),
        "buffers": facts_about(
            "entries", entries, (1, 1), zero="{} stays the same in a training pass and should change",
            one="{} changes in a training pass and should not",
        ),
        "gradients": facts_about(
            "parameters", parameters, (1, 2), zero="{} gets no gradient and should",
            one="{} gets a gradient and should not",
        ),
    }  # fmt: skip
    return known.get(output)


def of_new_heads(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `replace_head`."""
    model = _model(case)
    own = [name for name in model.state_dict() if name.split(".")[0] in HEADS]
    rest = [name for name in model.state_dict() if name not in own]
    logits = [f"logits {i + 1}" for i in range(len(expected.get("logits", ())))]
    names = ("entries of the state_dict", "new names in the state_dict", "names that are gone from the state_dict")
    known: dict[str, Named] = {
        "shapes": _sizes("weights and biases of heads", own, ("outputs", "inputs"), (0, 1)),
        "names": Quantities(Quantity("the number of counts"), [Quantity(f"the number of {n}") for n in names]),
        "place": facts_about(
            "weights and biases of heads", own, (0, 2), zero="{} is on another device, or of another dtype, than before"
        ),
        "learns": _trainable(model, (0, 3)),
        "rest": facts_about("other entries", rest, (0, 4), one=CHANGED),
        "fresh": facts_about("weights and biases of heads", own, (0, 5), zero="{} begins with the old head's values"),
        "logits": _sizes("logits that come back", logits, ("samples", "classes"), (1, 0)),
        "probabilities": facts_about(
            "logits that come back", logits, (1, 1), one="{} sum to 1, as probabilities do", zero="{} do not sum to 1"
        ),
    }
    return known.get(output)


def of_head_losses(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `head_loss`."""
    single = "second" not in case.parameters
    known: dict[str, Named] = {
        "loss": Quantity("the loss", (0, 0)),
        "graph": facts(fact((0, 1), zero="no gradient flows back from the loss"), *[Quantity("the graph")] * 2),
    }
    if output.startswith("gradient"):
        head = "the logits" if single else f"the logits of head {int(output.removeprefix('gradient')) + 1}"
        return Quantity(f"the gradient of {head}", (0, 2))
    if output.startswith("accuracy_"):
        way = output.removeprefix("accuracy_")
        asked = "outputs, labels" if way == "usual" else f'outputs, labels, "{way}"'
        return Quantity(f"the result of head_accuracy({asked})", (1, 0))
    return known.get(output)


def of_fine_tuning(case: ScenarioCase, output: str, expected: Expected) -> Named | None:
    """The outputs of `fine_tune`."""
    rounds, model = case.parameters["epochs"], _model(case)
    known: dict[str, Named] = {
        "trainable": _trainable(model, (BEFORE, 0)),
        "optimizer_holds_frozen": facts(fact((BEFORE, 1), one="the optimizer holds frozen parameters")),
        "val_passes": facts(
            fact((BEFORE, 2), one="validation batches go through the model with gradients recorded")
        ),
        "moved": facts_about(
            "entries", model.state_dict(), (AFTERWARDS, 0), zero="{} has not moved and should",
            one="{} has moved and should not",
        ),
        "keeps_graph": fact((AFTERWARDS, 2), one=GRAPH),
    }  # fmt: skip
    if output in HISTORY:
        return epochs(f"the {output}", rounds, HISTORY.index(output))
    if output == "state":
        return _moved_values(case, model, expected)
    return known.get(output)


def _moved_values(case: ScenarioCase, model: nn.Module, expected: Expected) -> Quantities:
    """What the right answer moves, number by number; a 0 comes first, see recording.joined."""
    when = f"after step {case.parameters['epochs'] * len(case.parameters['batches'])}"
    entries = [Quantity("the values", (AFTERWARDS, 1))]
    for moved, (name, t) in zip(expected["moved"].tolist(), model.state_dict().items(), strict=False):
        entries += [Quantity(f"{name} {when}", (AFTERWARDS, 1))] * (t.numel() * int(moved))
    return Quantities(Quantity("the number of values that have moved", (AFTERWARDS, 1)), entries, extra=1)


def _trainable(model: nn.Module, order: tuple[int, int]) -> Quantities:
    """Which parameters of a model learn."""
    names = (name for name, _ in model.named_parameters())
    said = {"zero": "{} is frozen and should be trainable", "one": "{} is trainable and should be frozen"}
    return facts_about("parameters", names, order, **said)


def _sizes(what: str, names: Sequence[str], sizes: Sequence[str], order: tuple[int, int]) -> Quantities:
    """Shapes, number by number."""
    entries = [Quantity(f"the number of {size} of {name}", order) for name in names for size in sizes]
    return Quantities(Quantity(f"the number of {what}", order), entries)


def _marks(part: str, right: int, rank: int) -> list[Quantity]:
    """The smallest and the largest mark that a transform left on images of this part."""
    other = "validation" if part == "training" else "training"
    said = {3 - right: f"{part} images go through the transform for {other} images"}
    said |= {right + 10 * mark: f"{part} images go through two transforms" for mark in (1, 2)}
    said |= {3 - right + 10 * mark: f"{part} images go through two transforms" for mark in (1, 2)}
    return [Quantity(f"the transform of {part} images", (0, rank), said)] * 2


def _model(case: ScenarioCase) -> nn.Module:
    """The stub of a case, for the names of its parts."""
    return _stub(*(case.parameters[name] for name in ("kind", "width", "classes")))


@lru_cache(maxsize=32)
def _stub(kind: str, width: int, classes: int) -> nn.Module:
    return stub(kind, width, classes)
