"""Lab 6's exams: transforms and loaders, freezing, counting, heads, and fine-tuning.

This module holds counting and the list of all; lab6_loading.py, lab6_freezing.py, and lab6_tuning.py hold the others,
lab6_problems.py what they have in common.
"""

from __future__ import annotations

from vitedu.probe import Case

from ..exam import Alternative, Draw, Exercise, Misconception, changed
from .lab6_freezing import FREEZE_OTHER, FREEZE_WRONG, freeze_cases
from .lab6_loading import LOADING_OTHER, LOADING_WRONG, loading_cases
from .lab6_problems import CODE, REPORTS, TRACKERS, WRITING
from .lab6_tuning import HEADS_OTHER, HEADS_WRONG, TUNE_OTHER, TUNE_WRONG, heads_cases, tune_cases

# --- trainable_parameters -------------------------------------------------------------------------


def count_cases(draw: Draw) -> list[Case]:
    """A half-frozen model with statistics, one with a shared layer, one that is frozen but for a norm, one layer."""

    def case(name: str, layers: tuple, frozen: tuple[str, ...]) -> Case:
        return Case(name, "trainable_parameters", model=layers, frozen=frozen, any_dtype=True)

    a, b, c, d = draw.sizes(4, 3, 9)
    (kernel,) = draw.sizes(1, 2, 4)
    half = (
        ("conv", "Conv2d", (a, b, kernel)), ("norm", "BatchNorm2d", (b,)), ("flat", "Flatten", ()),
        ("body", "Linear", (b, c)), ("head", "Linear", (c, d)),
    )  # fmt: skip
    shared = (
        ("first", "Linear", (a, b)), ("inner", "Linear", (b, b)), ("again", "same", ("inner",)),
        ("norm", "LayerNorm", (b,)), ("head", "Linear", (b, c)),
    )  # fmt: skip
    return [
        case("the first layers are frozen, and there is a BatchNorm", half, ("conv", "body")),
        case("two layers share their parameters", shared, ("first",)),
        case("everything is frozen but for a norm", shared, ("first", "inner", "again", "head")),
        case("the head's weight is frozen, its bias is not", half, ("conv", "norm", "head.weight")),
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

# --- paper_counts ---------------------------------------------------------------------------------


def paper_cases(draw: Draw) -> list[Case]:
    """Small sizes, one layer alone, and with and without layer scale."""
    a, b, c, d = draw.sizes(4, 3, 11)
    e, f, g, h = draw.sizes(4, 3, 11)
    i, j, k, m = draw.sizes(4, 3, 11)
    dense, vit = "dense_block_count", "vit_block_count"
    return [
        Case("a dense block", dense, (a, b, c, d), any_dtype=True),
        Case("a dense block of one layer", dense, (1, e, f, g), any_dtype=True),
        Case("a transformer block, two heads", vit, (e, f, g, h, 2, False), any_dtype=True),
        Case("a transformer block with layer scale, one head", vit, (i, j, k, m, 1, True), any_dtype=True),
    ]


D = CODE["paper_counts"]

PAPER_WRONG = (
    Misconception(
        "final-norm-forgotten",
        "the LayerNorm behind the last block is left out, so that the number is too small by twice dim",
        "By how much is your number for DeiT too small, and which layer has 2 * 768 parameters?",
        changed(D, ("return block + 2 * dim + heads", "return block + heads")),
        (127,), TRACKERS,
    ),
    Misconception(
        "both-final-norms-forgotten",
        "the norms behind both blocks are left out",
        "What stands between the last block and the classifier, in both kinds of models?",
        changed(D, ("return block + 2 * dim + heads", "return block + heads"),
                ("return total + 2 * (in_channels + layers * growth)", "return total")),
        (127,), TRACKERS,
    ),
    Misconception(
        "dense-norm-forgotten",
        "the BatchNorm behind the dense block is left out",
        "What stands between the last dense layer and the classifier?",
        changed(D, ("return total + 2 * (in_channels + layers * growth)", "return total")),
        (127,), WRITING,
    ),
    Misconception(
        "one-layer-of-the-block",
        "only the last layer of the dense block is counted, not the whole block",
        "How many layers has the fourth block of DenseNet-201, and how many did the paper train?",
        changed(D, ("        total += 2 * c", "        total = 2 * c")),
        (119,), REPORTS,
    ),
    Misconception(
        "the-report-s-heads",
        "the heads are counted as linear ones, as in the report, and not with the paper's hidden layer",
        "What does the docstring say about the heads?",
        changed(D, ("dim * hidden + hidden + hidden * num_classes + num_classes", "dim * num_classes + num_classes")),
        (), REPORTS,
    ),
    Misconception(
        "one-head-counted",
        "one head is counted, whatever their number",
        "How many heads has a distilled model?",
        changed(D, ("heads * head", "head")),
        (), REPORTS,
    ),
    Misconception(
        "channels-do-not-grow",
        "every layer of the dense block is counted with the channels that come into the block",
        "What does layer 1 of a dense block see beside the block's input?",
        changed(D, ("c = in_channels + i * growth", "c = in_channels")),
        (), WRITING,
    ),
    Misconception(
        "growth-counted-from-one",
        "the first layer of the dense block is counted with channels that it only adds itself",
        "How many channels does layer 0 see?",
        changed(D, ("i * growth\n", "(i + 1) * growth\n")),
        (119,), WRITING,
    ),
    Misconception(
        "buffers-of-the-norms",
        "the running statistics of the BatchNorms are counted as parameters",
        "Which two of a BatchNorm's four vectors learn?",
        changed(D, ("2 * c + c", "4 * c + c"), ("2 * bottleneck + 9", "4 * bottleneck + 9"),
                ("return total + 2 *", "return total + 4 *")),
        (), WRITING,
    ),
    Misconception(
        "layer-scale-forgotten",
        "layer scale is left out",
        "Which two vectors has a block of CaiT that a block of DeiT has not?",
        changed(D, (" + (2 * dim if layer_scale else 0)", "")),
        (), WRITING,
    ),
    Misconception(
        "no-biases",
        "the biases of the transformer's linear layers are left out",
        "Which layers of the block have a bias?",
        changed(D, ("4 * (dim * dim + dim)", "4 * dim * dim"), (" + mlp_dim + dim\n", "\n")),
        (), WRITING,
    ),
)  # fmt: skip

DENSE = '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    total = 2 * (in_channels + layers * growth)
    for c in range(in_channels, in_channels + layers * growth, growth):
        total += c * (2 + bottleneck) + bottleneck * (2 + 9 * growth)
    return total
'''
VIT = '''
def vit_block_count(dim, mlp_dim, hidden, num_classes, heads, layer_scale=False):
    linear = lambda a, b: (a + 1) * b
    block = 4 * linear(dim, dim) + linear(dim, mlp_dim) + linear(mlp_dim, dim) + 4 * dim
    return block + 2 * dim * (1 + bool(layer_scale)) + heads * (linear(dim, hidden) + linear(hidden, num_classes))
'''

PAPER_OTHER = (
    Alternative("plain sums", DENSE + VIT),
    Alternative("channels as a tensor", '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    c = in_channels + growth * torch.arange(layers)
    return (c * (2 + bottleneck) + 2 * bottleneck + 9 * bottleneck * growth).sum() + 2 * (in_channels + layers * growth)
''' + VIT),
    Alternative("the sum of an arithmetic series, as a float", '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    channels = layers * in_channels + growth * layers * (layers - 1) / 2
    rest = layers * bottleneck * (2 + 9 * growth) + 2.0 * (in_channels + layers * growth)
    return torch.tensor(channels * (2 + bottleneck) + rest).round()
''' + VIT),
    Alternative("torchvision's own block, built and counted", '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    from torchvision.models.densenet import _DenseLayer

    parts = [_DenseLayer(in_channels + i * growth, growth, 1, 0.0) for i in range(layers)]
    for i, part in enumerate(parts):
        part.norm1 = nn.BatchNorm2d(in_channels + i * growth)
        part.conv1 = nn.Conv2d(in_channels + i * growth, bottleneck, 1, bias=False)
        part.norm2 = nn.BatchNorm2d(bottleneck)
        part.conv2 = nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False)
    block = nn.ModuleList([*parts, nn.BatchNorm2d(in_channels + layers * growth)])
    return sum(p.numel() for p in block.parameters())
''' + VIT),
    Alternative("shapes on the meta device", '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    total = 0
    for i in range(layers):
        c = in_channels + i * growth
        total += torch.empty(bottleneck, c, device="meta").numel() + torch.empty(growth, bottleneck, 3, 3).numel()
        total += torch.empty(2, c + bottleneck).numel()
    return total + 2 * (in_channels + layers * growth)
''' + VIT),
    Alternative("matrix product of sizes and multiplicities", '''
def dense_block_count(layers, in_channels, growth, bottleneck):
    c = torch.arange(in_channels, in_channels + layers * growth, growth, dtype=torch.float64)
    sizes = torch.stack([c, torch.ones_like(c)], dim=1) @ torch.tensor(
        [2.0 + bottleneck, bottleneck * (2.0 + 9 * growth)], dtype=torch.float64)
    return int(sizes.sum()) + 2 * (in_channels + layers * growth)
''' + VIT),
)  # fmt: skip

# In notebook order.
EXERCISES = (
    Exercise("loading", loading_cases, LOADING_WRONG, LOADING_OTHER),
    Exercise("freeze_all_but", freeze_cases, FREEZE_WRONG, FREEZE_OTHER),
    Exercise("trainable_parameters", count_cases, COUNT_WRONG, COUNT_OTHER, ("summary",)),
    Exercise("paper_counts", paper_cases, PAPER_WRONG, PAPER_OTHER),
    Exercise("heads", heads_cases, HEADS_WRONG, HEADS_OTHER, ("reset_classifier",)),
    Exercise("fine_tune", tune_cases, TUNE_WRONG, TUNE_OTHER),
)
