"""The exam of the parameter counts, by walking a model and by formula."""

from __future__ import annotations

from typing import Any

from autograder.exams.lab3.shared import CODE, REPORTS, TRACKERS, WRITING
from autograder.exams.lab3.vision_transformer import uneven, vit_init
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring

REPORT = {  # the lab report's model: 28 x 28 pixels, one channel, six classes
    "image_size": 28, "patch_size": 4, "in_channels": 1, "num_classes": 6, "dim": 192, "depth": 10, "num_heads": 8,
    "mlp_dim": 384, "head_dim": 64, "qkv_bias": False,
}  # fmt: skip
VIT_B_16 = {
    "image_size": 224, "patch_size": 16, "in_channels": 3, "num_classes": 1000, "dim": 768, "depth": 12,
    "num_heads": 12, "mlp_dim": 3072,
}  # fmt: skip


def count_cases(variant: Variant) -> list[FunctionCase]:
    """Small models whose parameters are easily miscounted, formulas with drawn sizes, and two published ones."""
    a, b, c, d = variant.sizes(4, 2, 9)
    plain = (("conv", "Conv2d", (a, b, c)), ("act", "GELU", ()), ("norm", "LayerNorm", (d,)), ("fc", "Linear", (d, a)))
    a, b, c = variant.sizes(3, 2, 9)
    batch_norm = (("first", "Linear", (a, b)), ("norm", "BatchNorm1d", (b,)), ("head", "Linear", (b, c)))
    a, b = variant.sizes(2, 2, 9)
    tied = (("first", "Linear", (a, a)), ("act", "Tanh", ()), ("again", "same", ("first",)), ("head", "Linear", (a, b)))
    a, b, c = variant.sizes(3, 2, 9)
    a, c = sorted((a, c))  # so that what is frozen and what is not are never equally many
    frozen = (("body", "Linear", (a, b)), ("norm", "LayerNorm", (b,)), ("head", "Linear", (b, c)))
    count = "count_parameters"
    cold: dict[str, Any] = {"model": frozen, "frozen": ("body", "norm.bias")}
    cases = [
        FunctionCase("layers of several kinds", count, model=plain, any_dtype=True),
        FunctionCase("a model with buffers", count, model=batch_norm, any_dtype=True),
        FunctionCase("a layer that is used twice", count, model=tied, any_dtype=True),
        FunctionCase("half of it frozen, all counted", count, any_dtype=True, **cold),
        FunctionCase(
            "half of it frozen, the rest counted", count, kwargs={"trainable_only": True}, any_dtype=True, **cold
        ),
    ]
    a, b, c = variant.sizes(3, 2, 9)
    bare = (("patches", "Linear", (a, b)), ("tokens", "Tokens", (c, b)), ("head", "Linear", (b, c)))
    a, b = variant.sizes(2, 2, 9)
    tied = (("first", "Linear", (a, a)), ("act", "Tanh", ()), ("again", "tied", ("first",)), ("head", "Linear", (a, b)))
    half, trainable = Scoring(share=0.5), {"trainable_only": True}
    cold = {"model": bare, "frozen": ("patches", "tokens.cls_token"), "any_dtype": True, "scoring": half}
    cases += [
        FunctionCase("a class token and positions, some frozen, all counted", count, **cold),
        FunctionCase("a class token and positions, some frozen, the rest counted", count, kwargs=trainable, **cold),
        FunctionCase("two layers that share one weight", count, model=tied, any_dtype=True, scoring=half),
    ]

    def counts(name: str, grid: tuple[int, int], own: bool, **options: Any) -> FunctionCase:
        depth = variant.sizes(1, 2, 5)[0]
        init, width, _ = vit_init(variant, grid, depth, own)
        if own:
            options["head_dim"] = width
        return FunctionCase(name, "vit_parameters", init, options, any_dtype=True)

    (side,) = variant.sizes(1, 2, 5)
    return [
        *cases,
        counts("the formula, head_dim left out", (side, side), own=False),
        counts("the formula, head_dim given, image not square", uneven(variant), own=True),
        counts("the formula, no qkv_bias", uneven(variant), own=True, qkv_bias=False),
        FunctionCase("the lab report's model", "vit_parameters", kwargs=REPORT, any_dtype=True),
        FunctionCase("ViT-B/16", "vit_parameters", kwargs=VIT_B_16, any_dtype=True),
    ]


N = CODE["parameter_counts"]
N_COUNT = "sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)"
N_SIDES = "H, W = (image_size, image_size) if isinstance(image_size, int) else image_size"
N_TOKENS = "tokens = (H // patch_size) * (W // patch_size) + 1"
N_INNER = "inner = num_heads * (head_dim or dim // num_heads)"
N_EMBEDDING = "embedding = (in_channels * patch_size**2 + 1) * dim + dim + tokens * dim"
N_ATTENTION = "attention = 3 * (dim + qkv_bias) * inner + (inner + 1) * dim"
N_MLP = "mlp = (dim + 1) * mlp_dim + (mlp_dim + 1) * dim"
N_SUM = "embedding + depth * (attention + mlp + 4 * dim) + 2 * dim + (dim + 1) * num_classes"


def counted(expression: str) -> str:
    """The cell with another body of count_parameters."""
    return changed(N, (N_COUNT, expression))


def formula(**lines: str) -> str:
    """The cell with lines of vit_parameters replaced; `sum` is what it returns."""
    known = {
        "sides": N_SIDES, "tokens": N_TOKENS, "inner": N_INNER, "embedding": N_EMBEDDING, "attention": N_ATTENTION,
        "mlp": N_MLP, "sum": N_SUM,
    }  # fmt: skip
    return changed(N, *((known[name], line) for name, line in lines.items()))


COUNT_WRONG = (
    Misconception(
        "tensors-counted",
        "count_parameters counts the tensors, not the numbers in them",
        "How many numbers does a weight of shape (3, 5) hold?",
        counted("len([p for p in model.parameters() if p.requires_grad or not trainable_only])"),
        (75,), TRACKERS,
    ),
    Misconception(
        "first-sizes-added",
        "count_parameters adds up the first size of each tensor, p.size(0) or len(p), not the number of its entries",
        "How many numbers does a weight of shape (3, 5) hold?",
        counted("sum(p.size(0) for p in model.parameters() if p.requires_grad or not trainable_only)"),
        (76,), TRACKERS,
    ),
    Misconception(
        "buffers-too",
        "count_parameters counts the buffers, too, such as BatchNorm's running statistics",
        "Which tensors of a model does the optimizer change?",
        counted(N_COUNT + " + sum(b.numel() for b in model.buffers())"),
        (76,), TRACKERS,
    ),
    Misconception(
        "state-dict-counted",
        "count_parameters goes through the state_dict: that holds buffers and lists a shared layer twice, and its "
        "tensors have forgotten requires_grad",
        "What does state_dict() hold that parameters() does not, and what is requires_grad of its tensors?",
        counted("sum(t.numel() for t in model.state_dict().values() if t.requires_grad or not trainable_only)"),
        (76, 78), TRACKERS,
    ),
    Misconception(
        "state-dict-all-counted",
        "count_parameters adds up all of the state_dict: that holds buffers and lists a shared layer twice; "
        "trainable_only has no effect",
        "What does state_dict() hold that parameters() does not?",
        counted("sum(t.numel() for t in model.state_dict().values())"),
        (76, 77, 78), TRACKERS,
    ),
    Misconception(
        "trainable-only-ignored",
        "count_parameters counts frozen parameters always, whatever trainable_only says",
        "Which attribute of a parameter tells whether it is frozen, and where do you read it?",
        counted("sum(p.numel() for p in model.parameters())"),
        (77,), TRACKERS,
    ),
    Misconception(
        "trainable-only-always",
        "count_parameters leaves out frozen parameters always, whatever trainable_only says",
        "What should be counted when trainable_only is left out?",
        counted("sum(p.numel() for p in model.parameters() if p.requires_grad)"),
        (77,), TRACKERS,
    ),
    Misconception(
        "trainable-only-inverted",
        "with trainable_only=True count_parameters counts the frozen parameters and leaves out the others",
        "For which value of requires_grad does a parameter learn?",
        counted("sum(p.numel() for p in model.parameters() if not (p.requires_grad and trainable_only))"),
        (77,), WRITING,
    ),
    Misconception(
        "trainable-only-swapped",
        "count_parameters takes trainable_only the wrong way round: True counts everything, False only what learns",
        "Which of the two values leaves parameters out?",
        counted("sum(p.numel() for p in model.parameters() if p.requires_grad or trainable_only)"),
        (77,), WRITING,
    ),
    Misconception(
        "shared-counted-twice",
        "count_parameters counts a layer that is used in two places twice",
        "How many tensors does the optimizer get for a layer that is used twice?",
        counted("sum(p.numel() for _, p in model.named_parameters(remove_duplicate=False)\n"
                "               if p.requires_grad or not trainable_only)"),
        (78,), TRACKERS,
    ),
    Misconception(
        "shared-weights-counted-twice",
        "count_parameters adds up module by module, and counts a tensor that two layers share once for each of them",
        "How many tensors does the optimizer get for two layers that share one weight?",
        counted("sum(p.numel() for m in model.modules() for p in m.parameters(recurse=False)\n"
                "               if p.requires_grad or not trainable_only)"),
        (78,), WRITING,
    ),
    Misconception(
        "weights-and-biases-only",
        "count_parameters counts what is named weight or bias, and leaves out a module's own parameters, such as a "
        "class token and positions",
        "Which names do the parameters of TokenEmbedding have?",
        counted('sum(p.numel() for name, p in model.named_parameters()\n'
                '               if name.endswith(("weight", "bias")) and (p.requires_grad or not trainable_only))'),
        (), WRITING,
    ),
    Misconception(
        "matrices-only",
        "count_parameters counts weight matrices only and leaves out tensors of one dimension: biases and norms",
        "How many parameters has nn.Linear(3, 5)?",
        counted("sum(p.numel() for p in model.parameters()\n"
                "               if p.dim() > 1 and (p.requires_grad or not trainable_only))"),
        (), WRITING,
    ),
    Misconception(
        "linear-layers-only",
        "count_parameters counts the linear layers and leaves out all other kinds of layers",
        "Which kinds of layers besides nn.Linear have parameters?",
        counted("sum(p.numel() for m in model.modules() if isinstance(m, nn.Linear) for p in m.parameters()\n"
                "               if p.requires_grad or not trainable_only)"),
        (), WRITING,
    ),
    Misconception(
        "bytes-counted",
        "count_parameters gives the bytes that the parameters take, not how many they are",
        "How many bytes does one number take, and how many numbers are there?",
        counted(N_COUNT.replace("numel()", "numel() * p.element_size()")),
        (), WRITING,
    ),
    Misconception(
        "row-of-dim-missing",
        "vit_parameters lacks D numbers: the class token, its row of positions, or the bias of the patch projection",
        "Build a small model and list its named_parameters: which one of D numbers has your formula not got?",
        formula(embedding=N_EMBEDDING.replace("+ dim + tokens", "+ tokens")),
        (79,), TRACKERS,
    ),
    Misconception(
        "row-of-dim-too-many",
        "vit_parameters counts D numbers too many: a class token, a position, or a bias twice",
        "How many tokens are there, how many positions, and how many class tokens?",
        formula(embedding=N_EMBEDDING.replace("+ dim + tokens", "+ 2 * dim + tokens")),
        (79,), WRITING,
    ),
    Misconception(
        "two-rows-of-dim-missing",
        "vit_parameters lacks 2 D numbers: the last LayerNorm, or the class token together with its row of positions",
        "What comes after the last block, what does the class token add, and what has your formula got of it?",
        formula(sum=N_SUM.replace(" + 2 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "three-rows-of-dim-missing",
        "vit_parameters lacks 3 D numbers: class token, its row of positions, and the bias of the patch projection, or "
        "one of these and the last LayerNorm",
        "Build a small model and list its named_parameters: which of them has your formula not got?",
        formula(embedding="embedding = in_channels * patch_size**2 * dim + (tokens - 1) * dim"),
        (79,), WRITING,
    ),
    Misconception(
        "positions-missing",
        "vit_parameters counts no positions",
        "Which part of the embedding has N + 1 rows?",
        formula(embedding=N_EMBEDDING.replace(" + tokens * dim", "")),
        (79,), WRITING,
    ),
    Misconception(
        "head-bias-missing",
        "vit_parameters lacks the bias of the head, one number a class",
        "How many parameters has nn.Linear(dim, num_classes)?",
        formula(sum=N_SUM.replace("(dim + 1) * num_classes", "dim * num_classes")),
        (79,), TRACKERS,
    ),
    Misconception(
        "head-missing",
        "vit_parameters does not count the head",
        "Which part of the model depends on num_classes?",
        formula(sum=N_SUM.replace(" + (dim + 1) * num_classes", "")),
        (79,), WRITING,
    ),
    Misconception(
        "one-bias-in-each-block-missing",
        "vit_parameters lacks D numbers in each block: the bias of attention's output layer, or that of fc2",
        "How many biases has a block, and how long is each?",
        formula(attention=N_ATTENTION.replace("(inner + 1)", "inner")),
        (79,), TRACKERS,
    ),
    Misconception(
        "hidden-bias-missing",
        "vit_parameters lacks the bias of fc1 in each block, mlp_dim numbers",
        "How many biases has a block, and how long is each?",
        formula(mlp=N_MLP.replace("(dim + 1)", "dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "mlp-biases-missing",
        "vit_parameters lacks both biases of the feed-forward network in each block",
        "How many biases has a block, and how long is each?",
        formula(mlp="mlp = 2 * dim * mlp_dim"),
        (79,), TRACKERS,
    ),
    Misconception(
        "attention-biases-missing",
        "vit_parameters counts no bias in attention: neither the three of queries, keys, and values nor that of the "
        "output layer",
        "How many biases has attention with qkv_bias=True, and how long is each?",
        formula(attention="attention = 4 * dim * inner"),
        (79,), TRACKERS,
    ),
    Misconception(
        "linear-biases-missing",
        "vit_parameters counts no bias of any layer, only those of the LayerNorms",
        "How many parameters has nn.Linear(3, 5)?",
        formula(embedding="embedding = in_channels * patch_size**2 * dim + dim + tokens * dim",
                attention="attention = 4 * dim * inner", mlp="mlp = 2 * dim * mlp_dim",
                sum=N_SUM.replace("(dim + 1) * num_classes", "dim * num_classes")),
        (79,), TRACKERS,
    ),
    Misconception(
        "one-norm-in-each-block-missing",
        "vit_parameters lacks 2 D numbers in each block: one of the two LayerNorms, or the biases of attention's "
        "output layer and of fc2",
        "Which parts of a block have parameters, and how many has each?",
        formula(sum=N_SUM.replace("4 * dim", "2 * dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "block-norms-missing",
        "vit_parameters counts no LayerNorm inside the blocks, 4 D numbers each",
        "Which parts of a block have parameters, and how many has each?",
        formula(sum=N_SUM.replace(" + 4 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "all-norms-missing",
        "vit_parameters counts no LayerNorm at all, neither those in the blocks nor the last",
        "How many parameters has nn.LayerNorm(dim), and how many of them are there?",
        formula(sum=N_SUM.replace(" + 4 * dim", "").replace(" + 2 * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "norm-biases-missing",
        "vit_parameters counts D numbers for a LayerNorm, which has a weight and a bias",
        "How many parameters has nn.LayerNorm(dim)?",
        formula(sum=N_SUM.replace("4 * dim", "2 * dim").replace(" + 2 * dim + (dim", " + dim + (dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "norm-in-each-block-too-many",
        "vit_parameters counts the last LayerNorm in every block instead of once",
        "How often is the last LayerNorm there?",
        formula(sum=N_SUM.replace("4 * dim) + 2 * dim", "6 * dim)")),
        (79,), WRITING,
    ),
    Misconception(
        "output-layer-missing",
        "vit_parameters does not count attention's output layer, to_out",
        "How many linear layers has attention?",
        formula(attention=N_ATTENTION.replace(" + (inner + 1) * dim", "")),
        (79,), TRACKERS,
    ),
    Misconception(
        "one-layer-for-q-k-v",
        "vit_parameters counts one layer for queries, keys, and values, which are three",
        "How many linear layers has attention?",
        formula(attention=N_ATTENTION.replace("3 * ", "")),
        (79,), WRITING,
    ),
    Misconception(
        "qkv-bias-ignored",
        "vit_parameters counts the biases of queries, keys, and values always, whatever qkv_bias says",
        "By how much should the count fall with qkv_bias=False?",
        formula(attention=N_ATTENTION.replace("qkv_bias", "1")),
        (79,), TRACKERS,
    ),
    Misconception(
        "qkv-bias-never",
        "vit_parameters never counts the biases of queries, keys, and values, whatever qkv_bias says",
        "By how much should the count rise with qkv_bias=True?",
        formula(attention=N_ATTENTION.replace("(dim + qkv_bias)", "dim")),
        (79,), TRACKERS,
    ),
    Misconception(
        "qkv-bias-inverted",
        "vit_parameters counts the biases of queries, keys, and values when qkv_bias is False, and not when it is True",
        "For which value of qkv_bias has to_q a bias?",
        formula(attention=N_ATTENTION.replace("dim + qkv_bias", "dim + (not qkv_bias)")),
        (79,), WRITING,
    ),
    Misconception(
        "qkv-biases-of-width-dim",
        "vit_parameters counts D numbers for each bias of queries, keys, and values, which are as long as "
        "all heads together",
        "Is a layer's bias as long as what goes in or as what comes out?",
        formula(attention="attention = 3 * dim * inner + 3 * qkv_bias * dim + (inner + 1) * dim"),
        (79,), WRITING,
    ),
    Misconception(
        "output-bias-of-all-heads",
        "vit_parameters counts heads times head_dim numbers for the bias of attention's output layer, which is D long",
        "Is a layer's bias as long as what goes in or as what comes out?",
        formula(attention=N_ATTENTION.replace("(inner + 1) * dim", "(dim + 1) * inner")),
        (79,), WRITING,
    ),
    Misconception(
        "head-dim-ignored",
        "vit_parameters splits D evenly into the heads always, whatever head_dim says",
        "How wide are all heads together when there are 8 of 64 and D is 192?",
        formula(inner="inner = dim // num_heads * num_heads"),
        (79,), TRACKERS,
    ),
    Misconception(
        "head-dim-left-out-fails",
        "vit_parameters multiplies by head_dim without asking whether it was left out",
        "What is head_dim when the caller leaves it out, and what does that mean?",
        formula(inner="inner = num_heads * head_dim"),
        (), WRITING,
    ),
    Misconception(
        "one-head-counted",
        "vit_parameters counts one head only: num_heads is missing in the width of all heads together",
        "How many rows has the weight of to_q?",
        formula(inner="inner = head_dim or dim // num_heads"),
        (79,), WRITING,
    ),
    Misconception(
        "heads-counted-twice",
        "vit_parameters multiplies attention by the number of heads once more, where its layers hold all heads already",
        "How many rows has the weight of to_q?",
        formula(sum=N_SUM.replace("(attention +", "(num_heads * attention +")),
        (79,), WRITING,
    ),
    Misconception(
        "depth-ignored",
        "vit_parameters counts one block, whatever depth says",
        "By how much does the count rise with one block more?",
        formula(sum=N_SUM.replace("depth * (attention + mlp + 4 * dim)", "attention + mlp + 4 * dim")),
        (79,), WRITING,
    ),
    Misconception(
        "everything-times-depth",
        "vit_parameters multiplies everything by depth, the embedding, the last LayerNorm, and the head, too",
        "Which parts of the model are there once, whatever its depth?",
        formula(sum="depth * (embedding + attention + mlp + 6 * dim + (dim + 1) * num_classes)"),
        (79,), WRITING,
    ),
    Misconception(
        "square-images-only",
        "vit_parameters takes the image for a square: its height counts for both sides",
        "How many patches has an image of 8 x 12 pixels with P = 4?",
        formula(tokens="tokens = (H // patch_size) ** 2 + 1"),
        (45, 79), TRACKERS,
    ),
    Misconception(
        "image-size-as-int-only",
        "vit_parameters divides image_size itself, which fails when it is a pair (H, W)",
        "Which two kinds of image_size does the docstring of VisionTransformer name?",
        formula(tokens="tokens = (image_size // patch_size) ** 2 + 1"),
        (), WRITING,
    ),
    Misconception(
        "image-size-as-pair-only",
        "vit_parameters takes image_size apart as a pair, which fails when it is an int",
        "Which two kinds of image_size does the docstring of VisionTransformer name?",
        formula(sides="H, W = image_size"),
        (), WRITING,
    ),
    Misconception(
        "channels-forgotten",
        "vit_parameters takes a patch for P * P numbers, where each pixel has C of them",
        "How many numbers does one patch of a colour image hold?",
        formula(embedding=N_EMBEDDING.replace("in_channels * ", "")),
        (79,), WRITING,
    ),
    Misconception(
        "patch-side-not-squared",
        "vit_parameters takes a patch for C * P numbers, where it has P rows of P pixels",
        "How many pixels does one patch hold?",
        formula(embedding=N_EMBEDDING.replace("patch_size**2", "patch_size")),
        (79,), WRITING,
    ),
    Misconception(
        "projection-for-each-patch",
        "vit_parameters counts the patch projection once for each patch, where all patches share it",
        "How many weights has the convolution that makes the patches into vectors?",
        formula(embedding=N_EMBEDDING.replace("+ 1) * dim + dim", "+ 1) * dim * (tokens - 1) + dim")),
        (79,), WRITING,
    ),
    Misconception(
        "head-over-all-tokens",
        "vit_parameters lets the head read all tokens flattened, where it reads one vector of D numbers",
        "How many features go into the head?",
        formula(sum=N_SUM.replace("(dim + 1) * num_classes", "(tokens * dim + 1) * num_classes")),
        (69, 79), REPORTS,
    ),
    Misconception(
        "second-mlp-layer-missing",
        "vit_parameters counts the first layer of the feed-forward network only",
        "How many linear layers has the feed-forward network?",
        formula(mlp="mlp = (dim + 1) * mlp_dim"),
        (79,), WRITING,
    ),
    Misconception(
        "hidden-width-four-times",
        "vit_parameters takes the hidden layer for four times as wide as a token, whatever mlp_dim says",
        "Where does the argument mlp_dim go?",
        formula(mlp="mlp = (dim + 1) * 4 * dim + (4 * dim + 1) * dim"),
        (79,), WRITING,
    ),
)  # fmt: skip
COUNT_FORMULA = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    H, W = image_size if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    inner = num_heads * head_dim if head_dim is not None else dim
    total = in_channels * patch_size * patch_size * dim + dim  # projection
    total += dim + dim * (H * W // patch_size**2 + 1)  # class token and positions
    for _ in range(depth):
        total += 2 * dim + 3 * dim * inner + (3 * inner if qkv_bias else 0) + inner * dim + dim
        total += 2 * dim + dim * mlp_dim + mlp_dim + mlp_dim * dim + dim
    return total + 2 * dim + dim * num_classes + num_classes
"""
# Without numbers in memory: what the model would hold is counted, on torch's "meta" device.
COUNT_BUILT = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    with torch.device("meta"):
        embedding = TokenEmbedding(image_size, patch_size, in_channels, dim)
        attention = MultiHeadAttention(dim, num_heads, head_dim, qkv_bias)
        mlp = [nn.Linear(dim, mlp_dim), nn.Linear(mlp_dim, dim)]
        norm, head = nn.LayerNorm(dim), nn.Linear(dim, num_classes)
    block = [attention, *mlp, norm, norm]
    return sum(p.numel() for m in [embedding, norm, head] + depth * block for p in m.parameters())
"""
COUNT_TERMS = """

def vit_parameters(image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                   head_dim=None, qkv_bias=True):
    def linear(into, out, bias=True):
        return into * out + (out if bias else 0)

    H, W = (image_size, image_size) if isinstance(image_size, int) else image_size
    K = dim // num_heads if head_dim is None else head_dim
    parts = {
        "projection": linear(in_channels * patch_size**2, dim),
        "tokens": dim * (2 + (H // patch_size) * (W // patch_size)),
        "attention": depth * (3 * linear(dim, num_heads * K, qkv_bias) + linear(num_heads * K, dim)),
        "mlp": depth * (linear(dim, mlp_dim) + linear(mlp_dim, dim)),
        "norms": (2 * depth + 1) * 2 * dim,
        "head": linear(dim, num_classes),
    }
    return sum(parts.values())
"""
COUNT_OTHER = (
    Alternative("products of the shapes, a loop over the blocks", '''
def count_parameters(model, trainable_only=False):
    total = 0
    for p in model.parameters():
        if trainable_only and not p.requires_grad:
            continue
        total += torch.tensor(p.shape).prod()
    return total
''' + COUNT_FORMULA),
    Alternative("in the style of torchinfo: module by module, a formula of named terms", '''
def count_parameters(model, trainable_only=False):
    seen, total = set(), 0
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if id(p) not in seen and (p.requires_grad or not trainable_only):
                seen.add(id(p))
                total += p.flatten().size(0)
    return total
''' + COUNT_TERMS),
    Alternative("in the style of timm: numel() added up, the model built without memory", '''
def count_parameters(model, trainable_only=False):
    return sum([m.numel() for m in model.parameters() if not trainable_only or m.requires_grad])
''' + COUNT_BUILT),
    Alternative("one long vector", '''
def count_parameters(model, trainable_only=False):
    wanted = [p for p in model.parameters() if p.requires_grad or not trainable_only]
    return len(nn.utils.parameters_to_vector(wanted))
''' + COUNT_TERMS),
    Alternative("a tensor of sizes, summed by torch, and a formula that gives a float", '''
def count_parameters(model, trainable_only=False):
    return torch.tensor([p.numel() for p in model.parameters() if p.requires_grad or not trainable_only]).sum()
''' + COUNT_FORMULA.replace("return total +", "return 1.0 * total +")),
    Alternative("ones as many as parameters, added up", '''
def count_parameters(model, trainable_only=False):
    chosen = {name: p for name, p in model.named_parameters() if not trainable_only or p.requires_grad}
    return int(sum(torch.ones_like(p).sum().item() for p in chosen.values()))
''' + COUNT_FORMULA),
    Alternative("row by row", '''
def count_parameters(model, trainable_only=False):
    def numbers(t):
        return sum(map(numbers, t)) if t.dim() > 1 else len(t)

    return sum(numbers(p) for p in model.parameters() if not trainable_only or p.requires_grad)
''' + COUNT_TERMS),
)  # fmt: skip

EXERCISE = Exercise("parameter_counts", count_cases, COUNT_WRONG, COUNT_OTHER)
