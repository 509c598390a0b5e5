"""The exam of `attention_maps`."""

from __future__ import annotations

import dataclasses
from typing import Any

from autograder.exams.lab3.shared import CODE, TRACKERS, WRITING
from autograder.exams.lab3.vision_transformer import uneven, vit_images, vit_init, vit_weights
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def map_cases(variant: Variant) -> list[ModuleCase]:
    """Square and other images, head_dim given and left out, one image alone, others of one shape, large scores."""

    def case(
        name: str, grid: tuple[int, int], depth: int = 2, batch: int | None = None, own: bool = False, **options: Any
    ) -> ModuleCase:
        init, width, inner = vit_init(variant, grid, depth, own)
        _, patch, channels, classes, dim, _, _, hidden = init
        weights = vit_weights(variant, grid, patch, channels, classes, dim, depth, inner, hidden, qkv_bias=not own)
        if own:
            options |= {"init_kwargs": {"head_dim": width, "qkv_bias": False}}
        images = vit_images(variant, init, batch)
        return ModuleCase(
            name, "attention_maps", (images,), init=init, weights=weights, maker="VisionTransformer", **options
        )

    (side,) = variant.sizes(1, 2, 3)
    return [
        case("square images, two blocks", (side, side)),
        case("images that are not square, three blocks", uneven(variant), 3, layout="cropped"),
        case("head_dim given, no qkv_bias", uneven(variant), own=True),
        case("one image alone, a model with dropout", uneven(variant), batch=1, init_kwargs={"dropout": 0.5}),
        _second(variant, case("other images, of the same shape", uneven(variant), 1)),
        _far(variant),
    ]


def _second(variant: Variant, case: ModuleCase) -> ModuleCase:
    """The same, after a call with other images."""
    before = (variant.normal(*case.args[0].shape, scale=3.0),)
    return dataclasses.replace(case, before=before, scoring=Scoring(share=0.5))


def _far(variant: Variant) -> ModuleCase:
    """Two wide heads, through whose last feature all scores are near 400 in one and near -400 in the other."""
    grid, patch, channels, classes, dim, hidden, wide = uneven(variant), 2, 3, 5, 6, 8, 64
    weights = vit_weights(variant, grid, patch, channels, classes, dim, 1, 2 * wide, hidden)
    for name, values in (("to_q", (57.0, 57.0)), ("to_k", (57.0, -57.0))):
        for head, value in enumerate(values):
            weights[f"blocks.0.attention.{name}.weight"][(head + 1) * wide - 1] = 0
            weights[f"blocks.0.attention.{name}.bias"][(head + 1) * wide - 1] = value
    init = ((grid[0] * patch, grid[1] * patch), patch, channels, classes, dim, 1, 2, hidden, wide)
    return ModuleCase(
        "wide heads, all scores far above or below zero", "attention_maps", (vit_images(variant, init, 2),), init=init,
        weights=weights, maker="VisionTransformer", scoring=Scoring(share=0.5),
    )  # fmt: skip


A = CODE["attention_maps"]
A_TOKENS = "block.norm1(x)"
A_HEADS = "to(tokens).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)"
A_LAYERS = "(attention.to_q, attention.to_k)"
A_SCORES = "q @ k.mT / q.shape[-1] ** 0.5"
A_ROW = "maps.append(weights[:, :, 0, 1:])"
A_NEXT = "        x = block(x)\n"
A_STACK = "torch.stack(maps, dim=1)"
MAP_WRONG = (
    Misconception(
        "not-normalised",
        "queries and keys are made from the tokens as they are, without the block's first LayerNorm",
        "What does attention get inside the block?",
        changed(A, (A_TOKENS, "x")),
        (61,), WRITING,
    ),
    Misconception(
        "second-norm",
        "the tokens are normalised with the block's second LayerNorm, which belongs to the feed-forward network",
        "What does attention get inside the block?",
        changed(A, (A_TOKENS, "block.norm2(x)")),
        (61,), WRITING,
    ),
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What does attention do with the scores before the softmax?",
        changed(A, (A_SCORES, "q @ k.mT")),
        (1,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-width",
        "the scores are divided by the square root of dim, the token's width, instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(A, (A_SCORES, "q @ k.mT / x.shape[-1] ** 0.5")),
        (23,), TRACKERS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(A, (A_SCORES, "q @ k.mT / q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "scale-by-all-heads",
        "the scores are divided by the square root of the width of all heads together instead of one head's",
        "How many products does the dot product of one head's query and key add up?",
        changed(A, (A_SCORES, "q @ k.mT / (attention.num_heads * q.shape[-1]) ** 0.5")),
        (23,), TRACKERS,
    ),
    Misconception(
        "scale-by-head-count",
        "the scores are divided by the square root of the number of heads instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(A, (A_SCORES, "q @ k.mT / attention.num_heads ** 0.5")),
        (23,), TRACKERS,
    ),
    Misconception(
        "no-softmax",
        "the scaled scores are returned, without a softmax",
        "Can one of your weights be negative, and what do the weights of a query sum to?",
        changed(A, (".softmax(dim=-1)", "")),
        (8,), WRITING,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(A, ("softmax(dim=-1)", "softmax(dim=-2)")),
        (5,), WRITING,
    ),
    Misconception(
        "softmax-over-the-patches-only",
        "the weights over the patches sum to 1: the class token's weight on itself was left out before the softmax, or "
        "the rest was divided by its sum",
        "Can the class token attend to itself, and what do the other weights sum to then?",
        changed(A, (A_SCORES, "q[:, :, :1] @ k[:, :, 1:].mT / q.shape[-1] ** 0.5"),
                (A_ROW, "maps.append(weights[:, :, 0])")),
        (), WRITING,
    ),
    Misconception(
        "with-the-class-token",
        "the class token's weight on itself is returned, too: N + 1 numbers instead of N",
        "How many patches are there, and how many numbers in one of your rows?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0])")),
        (), WRITING,
    ),
    Misconception(
        "who-looks-at-the-class-token",
        "a column was taken instead of a row: what each patch's query gives to the class token",
        "Which index of the weights is the query's, and which the key's?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 1:, 0])")),
        (), TRACKERS,
    ),
    Misconception(
        "last-patch-left-out",
        "the last token is left out instead of the class token at place 0",
        "At which place did the embedding put the class token?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0, :-1])")),
        (), WRITING,
    ),
    Misconception(
        "last-token-asks",
        "the last patch's query is taken for the class token's",
        "At which place did the embedding put the class token?",
        changed(A, (A_ROW, "maps.append(weights[:, :, -1, 1:])")),
        (), WRITING,
    ),
    Misconception(
        "every-query",
        "the weights of all queries are returned, where the class token's are asked",
        "How many dimensions has your result, and which should not be in it?",
        changed(A, (A_ROW, "maps.append(weights)")),
        (), WRITING,
    ),
    Misconception(
        "mean-over-the-heads",
        "the heads' weights are averaged, where each head's own are asked",
        "How many dimensions has your result, and which one is missing?",
        changed(A, (A_ROW, "maps.append(weights[:, :, 0, 1:].mean(dim=1))")),
        (), TRACKERS,
    ),
    Misconception(
        "last-block-only",
        "the last block's weights are returned, where those of every block are asked",
        "How many dimensions has your result, and which one is missing?",
        changed(A, (A_STACK, "maps[-1]")),
        (), TRACKERS,
    ),
    Misconception(
        "blocks-first",
        "the blocks come before the samples: (depth, B, H, N)",
        "Which dimension comes first in the docstring's result, and which does stack put first?",
        changed(A, (A_STACK, "torch.stack(maps)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-after-the-heads",
        "the blocks come after the heads: (B, H, depth, N)",
        "Which dimension comes second in the docstring's result?",
        changed(A, (A_STACK, "torch.stack(maps, dim=2)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-joined-to-the-heads",
        "the blocks' weights are concatenated along the heads: (B, depth * H, N)",
        "What is the difference between cat and stack?",
        changed(A, (A_STACK, "torch.cat(maps, dim=1)")),
        (), WRITING,
    ),
    Misconception(
        "every-block-reads-the-embedding",
        "every block's weights are computed from the embedding's tokens, not from what the block before it gave",
        "Which tokens does the second block see?",
        changed(A, (A_NEXT, "")),
        (65,), WRITING,
    ),
    Misconception(
        "one-block-late",
        "each block's weights are computed from the tokens that come out of it, not from those that go in",
        "Does a block attend to its input or to its result?",
        changed(A, (A_NEXT, ""), ("    for block in model.blocks:\n", "    for block in model.blocks:\n" + A_NEXT)),
        (), WRITING,
    ),
    Misconception(
        "query-and-key-swapped",
        "queries and keys have changed places",
        "Which of the two layers makes what a token asks for?",
        changed(A, (A_LAYERS, "(attention.to_k, attention.to_q)")),
        (27,), WRITING,
    ),
    Misconception(
        "values-for-keys",
        "the values are used as keys",
        "Which two of the three layers decide how much a token looks at another?",
        changed(A, (A_LAYERS, "(attention.to_q, attention.to_v)")),
        (27,), WRITING,
    ),
    Misconception(
        "features-split-the-other-way",
        "the features are split as (k h): every num_heads-th one belongs to a head, where a head's features stand side "
        "by side",
        "How does MultiHeadAttention split the features into heads?",
        changed(A, (A_HEADS, "to(tokens).unflatten(-1, (-1, attention.num_heads)).permute(0, 3, 1, 2)")),
        (22,), TRACKERS,
    ),
    Misconception(
        "heads-without-transpose",
        "tokens and features are reshaped into heads without swapping the two dimensions, so that heads mix tokens",
        "What is the shape after splitting the last dimension, and which dimension must move to the front?",
        changed(A, (A_HEADS, "to(tokens).reshape(len(x), attention.num_heads, x.shape[1], -1)")),
        (19,), TRACKERS,
    ),
    Misconception(
        "one-head-over-all-features",
        "one softmax runs over the scores of all features together, as if there were one head",
        "How many heads has the model, and how many maps does each block give?",
        changed(A, (A_HEADS, "to(tokens).unsqueeze(1)")),
        (), WRITING,
    ),
)  # fmt: skip
MAP_OTHER = (
    Alternative("without gradients, torch's own attention on the identity as values", '''
@torch.no_grad()
def attention_maps(model, images):
    x = model.embedding(images)
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    maps = []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        q, k = (to(n).unflatten(-1, (a.num_heads, -1)).transpose(1, 2) for to in (a.to_q, a.to_k))
        weights = F.scaled_dot_product_attention(q, k, eye.expand(len(x), a.num_heads, -1, -1))
        maps.append(weights[..., 0, 1:])
        x = block(x)
    return torch.stack(maps, dim=1)
'''),
    Alternative("in the style of timm's feature extraction: hooks on the layers of attention", '''
def attention_maps(model, images):
    seen, hooks = [], []
    for block in model.blocks:
        for to in (block.attention.to_q, block.attention.to_k):
            hooks.append(to.register_forward_hook(lambda layer, inputs, output: seen.append(output)))
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    heads, maps = model.blocks[0].attention.num_heads, []
    for q, k in zip(seen[::2], seen[1::2]):
        q, k = (t.reshape(*t.shape[:2], heads, -1).permute(0, 2, 1, 3) for t in (q, k))
        maps.append(((q * k.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)[:, :, 0, 1:])
    return torch.stack(maps, 1)
'''),
    Alternative("in the style of lucidrains' Recorder: hooks on attention's input, the class token's query alone", '''
def attention_maps(model, images):
    recorded = []
    hooks = [block.attention.register_forward_pre_hook(lambda layer, inputs: recorded.append((layer, inputs[0])))
             for block in model.blocks]
    model(images)
    for hook in hooks:
        hook.remove()
    found = []
    for layer, n in recorded:
        q = layer.to_q(n[:, 0]).unflatten(-1, (layer.num_heads, -1))
        k = layer.to_k(n).unflatten(-1, (layer.num_heads, -1))
        scores = torch.einsum("bhk,bjhk->bhj", q, k) / q.shape[-1] ** 0.5
        found.append(scores.softmax(-1).narrow(-1, 1, n.shape[1] - 1).unsqueeze(1))
    return torch.cat(found, dim=1)
'''),
    Alternative("broadcast products, exp by hand", '''
def attention_maps(model, images):
    x = model.embedding(images)
    out = x.new_empty(len(x), len(model.blocks), model.blocks[0].attention.num_heads, x.shape[1] - 1)
    for i, block in enumerate(model.blocks):
        a, n = block.attention, block.norm1(x)
        q = a.to_q(n[:, :1]).view(len(x), 1, a.num_heads, -1)
        k = a.to_k(n).view(len(x), x.shape[1], a.num_heads, -1)
        scores = (q * k).sum(-1).transpose(1, 2) / k.shape[-1] ** 0.5
        e = (scores - scores.amax(-1, keepdim=True)).exp()
        out[:, i] = (e / e.sum(-1, keepdim=True))[..., 1:]
        x = block(x)
    return out
'''),
    Alternative("head by head with bmm, logsumexp", '''
def attention_maps(model, images):
    x, layers = model.embedding(images), []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        heads = []
        for q, k in zip(a.to_q(n).chunk(a.num_heads, -1), a.to_k(n).chunk(a.num_heads, -1)):
            scores = torch.bmm(q, k.permute(0, 2, 1)).div(q.size(-1) ** 0.5)
            heads.append((scores - scores.logsumexp(2, keepdim=True)).exp().select(1, 0).narrow(1, 1, x.size(1) - 1))
        layers.append(torch.stack(heads, dim=1))
        x = block(x)
    return torch.stack(layers, dim=1)
'''),
    Alternative("torch's multi_head_attention_forward without averaging, where the widths allow it", '''
def attention_maps(model, images):
    x, maps = model.embedding(images), []
    for block in model.blocks:
        a, n = block.attention, block.norm1(x)
        q, k = a.to_q(n), a.to_k(n)
        width, eye = q.shape[-1], torch.eye(q.shape[-1], dtype=q.dtype)
        zeros = torch.zeros(3 * width, dtype=q.dtype)
        _, weights = F.multi_head_attention_forward(
            q.transpose(0, 1), k.transpose(0, 1), k.transpose(0, 1), width, a.num_heads, torch.cat([eye, eye, eye]),
            zeros, None, None, False, 0.0, eye, None, training=False, need_weights=True, average_attn_weights=False)
        maps += [weights[:, :, 0, 1:]]
        x = block(x)
    return torch.stack(maps).transpose(0, 1)
'''),
    Alternative("one image after the other", '''
def attention_maps(model, images):
    def one(image):
        x, maps = model.embedding(image[None]), []
        for block in model.blocks:
            a, n = block.attention, block.norm1(x)[0]
            q, k = (to(n).unflatten(-1, (a.num_heads, -1)) for to in (a.to_q, a.to_k))
            scores = torch.tensordot(q[0], k, dims=([1], [2])).diagonal(dim1=0, dim2=2).T
            maps.append(F.softmax(scores / q.shape[-1] ** 0.5, dim=-1)[:, 1:])
            x = block(x)
        return torch.stack(maps)
    return torch.stack([one(image) for image in images])
'''),
    Alternative("the block's two sums written out with its parts", '''
def attention_maps(model, images):
    x, maps = model.embedding(images), []
    for block in model.blocks:
        n, a = block.norm1(x), block.attention
        q, k = (to(n).unflatten(-1, (a.num_heads, -1)).transpose(1, 2) for to in (a.to_q, a.to_k))
        maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)[:, :, 0, 1:])
        x = x + a(n)
        x = x + block.mlp(block.norm2(x))
    return torch.stack(maps, dim=1)
'''),
)  # fmt: skip

EXERCISE = Exercise("attention_maps", map_cases, MAP_WRONG, MAP_OTHER)
