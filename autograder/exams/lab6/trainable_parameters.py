"""Lab 6's exam of counting the parameters that learn, in models that are frozen in part."""

from __future__ import annotations

import dataclasses

from autograder.exams.lab6.problems import CODE, TRACKERS, WRITING
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def count_cases(variant: Variant) -> list[FunctionCase]:
    """A half-frozen model with statistics, one with a shared layer, one that is frozen but for a norm, one layer."""

    def case(name: str, layers: tuple, frozen: tuple[str, ...]) -> FunctionCase:
        return FunctionCase(name, "trainable_parameters", model=layers, frozen=frozen, any_dtype=True)

    a, b, c, d = variant.sizes(4, 3, 9)
    (kernel,) = variant.sizes(1, 2, 4)
    half = (
        ("conv", "Conv2d", (a, b, kernel)), ("norm", "BatchNorm2d", (b,)), ("flat", "Flatten", ()),
        ("body", "Linear", (b, c)), ("head", "Linear", (c, d)),
    )  # fmt: skip
    shared = (
        ("first", "Linear", (a, b)), ("inner", "Linear", (b, b)), ("again", "same", ("inner",)),
        ("norm", "LayerNorm", (b,)), ("head", "Linear", (b, c)),
    )  # fmt: skip
    half_share = Scoring(share=0.5)
    return [
        case("the first layers are frozen, and there is a BatchNorm", half, ("conv", "body")),
        case("two layers share their parameters", shared, ("first",)),
        case("everything is frozen but for a norm", shared, ("first", "inner", "again", "head")),
        case("the head's weight is frozen, its bias is not", half, ("conv", "norm", "head.weight")),
        dataclasses.replace(case("only the first layer learns", half, ("norm", "body", "head")), scoring=half_share),
    ]


P = CODE["trainable_parameters"]
SUM = "sum(p.numel() for p in model.parameters() if p.requires_grad)"
COUNT_WRONG = (
    Misconception(
        "frozen-ones-too",
        "frozen parameters are counted, too",
        "Which attribute of a parameter tells whether it learns?",
        changed(P, (" if p.requires_grad", "")),
        (), TRACKERS,
    ),
    Misconception(
        "frozen-ones-only",
        "the frozen parameters are counted instead of those that learn",
        "What does requires_grad say when it is False?",
        changed(P, ("if p.requires_grad", "if not p.requires_grad")),
        (), WRITING,
    ),
    Misconception(
        "tensors-counted",
        "the parameter tensors are counted, not the numbers in them",
        "How many numbers are in the weight of a Linear layer from 5 to 3 features?",
        changed(P, ("p.numel()", "1")),
        (), TRACKERS,
    ),
    Misconception(
        "first-sizes-added",
        "the first size of each tensor is added, not the number of its entries",
        "What is len() of a matrix?",
        changed(P, ("p.numel()", "len(p)")),
        (), TRACKERS,
    ),
    Misconception(
        "state-dict-counted",
        "the state_dict is counted: that holds buffers, knows nothing of requires_grad, and lists a shared layer twice",
        "What is in model.state_dict() that is not in model.parameters()?",
        changed(P, (SUM, "sum(t.numel() for t in model.state_dict().values())")),
        (), TRACKERS,
    ),
    Misconception(
        "buffers-too",
        "buffers such as running statistics are counted, too",
        "Does anything compute a gradient for running_mean?",
        changed(P, (SUM, f"{SUM} + sum(b.numel() for b in model.buffers())")),
        (), TRACKERS,
    ),
    Misconception(
        "shared-counted-twice",
        "a layer that is used in two places is counted twice",
        "How many numbers does the optimizer change when two layers share one weight?",
        changed(P, (SUM, "sum(p.numel() for m in model.modules() for _, p in m.named_parameters(recurse=False)\n"
                    "               if p.requires_grad) + sum(\n"
                    "        p.numel() for i, m in enumerate(model.children()) for p in m.parameters()\n"
                    "        if p.requires_grad and any(m is n for n in list(model._modules.values())[:i]))"),
                ("model.children()", "model._modules.values()")),
        (), TRACKERS,
    ),
    Misconception(
        "weights-only",
        "only weights are counted, and biases are left out",
        "Does a bias learn?",
        changed(P, ("for p in model.parameters() if p.requires_grad",
                    'for n, p in model.named_parameters() if p.requires_grad and n.endswith("weight")')),
        (), TRACKERS,
    ),
    Misconception(
        "norms-left-out",
        "tensors of one dimension are left out: biases and norms",
        "Has a LayerNorm parameters that learn?",
        changed(P, ("if p.requires_grad", "if p.requires_grad and p.ndim > 1")),
        (), WRITING,
    ),
    Misconception(
        "in-thousands",
        "the number is given in thousands",
        "Which unit does the docstring ask for?",
        changed(P, (SUM, f"{SUM} / 1000")),
        (), WRITING,
    ),
    Misconception(
        "whole-layers-that-learn",
        "a layer counts whole as soon as one of its parameters learns",
        "Can the bias of a layer learn while its weight is frozen?",
        changed(P, (SUM, "sum(p.numel() for p in {p for m in model.children() for p in m.parameters()\n"
                    "               if any(q.requires_grad for q in m.parameters())})")),
        (), WRITING,
    ),
)  # fmt: skip
COUNT_OTHER = (
    Alternative("products of the shapes", '''
def trainable_parameters(model):
    total = 0
    for p in model.parameters():
        if p.requires_grad:
            total += torch.tensor(p.shape).prod()
    return total
'''),
    Alternative("one long vector", '''
def trainable_parameters(model):
    return nn.utils.parameters_to_vector([p for p in model.parameters() if p.requires_grad]).shape[0]
'''),
    Alternative("in the style of the lightning summary: each layer's own parameters, each once", '''
def trainable_parameters(model):
    known, total = set(), 0
    for layer in model.modules():
        for p in layer._parameters.values():
            if p is not None and p.requires_grad and id(p) not in known:
                known.add(id(p))
                total += math.prod(p.shape)
    return total
'''),
    Alternative("a tensor of sizes, summed by torch", '''
def trainable_parameters(model):
    return int(torch.tensor([p.nelement() for p in model.parameters() if p.requires_grad]).sum())
'''),
    Alternative("numpy arrays", '''
def trainable_parameters(model):
    learning = filter(lambda p: p.requires_grad, model.parameters())
    return int(sum(np.size(p.detach().unsqueeze(0).numpy()) for p in learning))
'''),
    Alternative("ones as many as parameters, counted", '''
def trainable_parameters(model):
    return sum(torch.count_nonzero(torch.ones_like(p)).item() for p in model.parameters() if p.requires_grad)
'''),
    Alternative("row by row", '''
def trainable_parameters(model):
    def numbers(t):
        return sum(map(numbers, t)) if t.dim() > 1 else len(t)

    return sum(numbers(p) for p in model.parameters() if p.requires_grad)
'''),
)  # fmt: skip

EXERCISE = Exercise("trainable_parameters", count_cases, COUNT_WRONG, COUNT_OTHER, ("summary",))
