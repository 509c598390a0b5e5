"""Lab 6's exam of parameter counts by formula: a dense block, and a transformer block with its heads."""

from __future__ import annotations

from autograder.exams.lab6.problems import CODE, REPORTS, TRACKERS, WRITING
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def paper_cases(variant: Variant) -> list[FunctionCase]:
    """Small sizes, one layer alone, and with and without layer scale."""
    a, b, c, d = variant.sizes(4, 3, 11)
    e, f, g, h = variant.sizes(4, 3, 11)
    i, j, k, m = variant.sizes(4, 3, 11)
    usual = (*variant.sizes(4, 3, 11), 2)
    dense, vit = "dense_block_count", "vit_block_count"
    return [
        FunctionCase("a dense block", dense, (a, b, c, d), any_dtype=True),
        FunctionCase("a dense block of one layer", dense, (1, e, f, g), any_dtype=True),
        FunctionCase("a transformer block, two heads", vit, (e, f, g, h, 2, False), any_dtype=True),
        FunctionCase("a transformer block with layer scale, one head", vit, (i, j, k, m, 1, True), any_dtype=True),
        FunctionCase("layer scale left out", vit, usual, any_dtype=True, scoring=Scoring(share=0.5)),
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
DENSE = """
def dense_block_count(layers, in_channels, growth, bottleneck):
    total = 2 * (in_channels + layers * growth)
    for c in range(in_channels, in_channels + layers * growth, growth):
        total += c * (2 + bottleneck) + bottleneck * (2 + 9 * growth)
    return total
"""
VIT = """
def vit_block_count(dim, mlp_dim, hidden, num_classes, heads, layer_scale=False):
    linear = lambda a, b: (a + 1) * b
    block = 4 * linear(dim, dim) + linear(dim, mlp_dim) + linear(mlp_dim, dim) + 4 * dim
    return block + 2 * dim * (1 + bool(layer_scale)) + heads * (linear(dim, hidden) + linear(hidden, num_classes))
"""
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

EXERCISE = Exercise("paper_counts", paper_cases, PAPER_WRONG, PAPER_OTHER)
