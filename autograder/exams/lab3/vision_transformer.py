"""The exam of `VisionTransformer`."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from autograder.exams.attention_scales import scales_differ
from autograder.exams.lab3.shared import CODE, REPORTS, SPLITS, TRACKERS, WRITING, block_weights, norm_weights
from autograder.labs.exam import Alternative, Convention, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def vit_weights(
    variant: Variant, grid: tuple[int, int], patch: int, channels: int, classes: int, dim: int, depth: int, inner: int,
    hidden: int, qkv_bias: bool = True,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Random values for everything in a Vision Transformer; large tokens, in which eps hardly shows."""
    values = {
        "embedding.cls_token": variant.normal(1, 1, dim, scale=4.0),
        "embedding.position": variant.normal(1, grid[0] * grid[1] + 1, dim, scale=4.0),
        "embedding.patches.proj.weight": variant.normal(dim, channels, patch, patch, scale=1 / patch),
        "embedding.patches.proj.bias": variant.normal(dim, scale=0.5),
    }
    for i in range(depth):
        values |= block_weights(variant, dim, inner, hidden, qkv_bias, f"blocks.{i}.")
    values |= norm_weights(variant, "norm", dim) | variant.weights(
        {"head.weight": (classes, dim), "head.bias": (classes,)}
    )
    values["head.bias"][:2] = torch.tensor([2.0, -2.0])  # some logits are negative and some are not
    return values


def vit_init(
    variant: Variant, grid: tuple[int, int], depth: int, own_width: bool = False, widest: int = 12
) -> tuple[tuple[Any, ...], int, int]:
    """Constructor arguments from image_size to mlp_dim, all unlike each other; the width of a head, and of all heads.

    With a head width of its own, dim still splits evenly, so that the width is not missed by an error alone.
    """
    tokens = (grid[0] * grid[1], grid[0] * grid[1] + 1)
    choices = [
        (h, k, h * k, dim)
        for h, k in SPLITS
        if h * k <= widest
        for dim in (range(2 * h, 13, h) if own_width else (h * k,))
        if own_width == (dim != h * k) and len({h, k, h * k, dim, *tokens}) == 5 + own_width
        if scales_differ(k, h, *{h * k, dim})
    ]
    heads, width, inner, dim = choices[variant.sizes(1, 0, len(choices) - 1)[0]]
    classes, hidden = variant.sizes(2, 4, 11, without=(heads, width, inner, dim, *tokens))
    patch, channels = variant.sizes(2, 2, 3)
    size = grid[0] * patch if grid[0] == grid[1] else (grid[0] * patch, grid[1] * patch)
    return (size, patch, channels, classes, dim, depth, heads, hidden), width, inner


def vit_images(variant: Variant, init: tuple[Any, ...], batch: int | None = None) -> torch.Tensor:
    """Images that fit the constructor arguments; their number is none of the other sizes."""
    size, patch, channels, classes, dim, depth = init[:6]
    height, width = (size, size) if isinstance(size, int) else size
    tokens = (height // patch) * (width // patch)
    batch = batch or variant.sizes(1, 2, 8, without=(channels, classes, dim, depth, tokens, tokens + 1))[0]
    return variant.normal(batch, channels, height, width, scale=3.0)


def uneven(variant: Variant) -> tuple[int, int]:
    """A grid of patches that is not square."""
    return ((2, 3), (3, 2), (2, 4), (4, 2))[variant.sizes(1, 0, 3)[0]]


def transformer_cases(variant: Variant) -> list[ModuleCase]:
    """Both pools, both kinds of image_size, each further argument given and left out, and dropout in both modes."""

    def case(
        name: str, grid: tuple[int, int], depth: int = 2, batch: int | None = None, own: bool = False, **options: Any
    ) -> ModuleCase:
        init, width, inner = vit_init(variant, grid, depth, own, widest=8 if "gradients" in options else 12)
        _, patch, channels, classes, dim, _, _, hidden = init
        weights = vit_weights(variant, grid, patch, channels, classes, dim, depth, inner, hidden, qkv_bias=not own)
        images = vit_images(variant, init, batch)
        if own:  # by position, so that their order is asked, too
            init = (*init, width, 0.0, False, "cls")
        return ModuleCase(name, "VisionTransformer", (images,), init=init, weights=weights, **options)

    mean, half = {"pool": "mean"}, {"dropout": 0.5}
    (side,) = variant.sizes(1, 2, 3)
    cases = [
        case("the class token, square images, with gradients", (2, 2), gradients=True),
        case("the mean of the patch tokens, images that are not square", uneven(variant), init_kwargs=mean),
        case("head_dim given, no qkv_bias, three blocks", uneven(variant), 3, own=True, layout="channels_last"),
        case("dropout 0.5 in eval mode: nothing is dropped", uneven(variant), 1, init_kwargs=half),
        case("dropout 0.0 in training mode, one image alone: nothing is dropped", (side, side), 1, batch=1,
             init_kwargs={"dropout": 0.0} | mean, train=True),
        case("dropout 0.5 in training mode: two calls differ", uneven(variant), 1, init_kwargs=half, train=True,
             scoring=Scoring(random=True)),
    ]  # fmt: skip
    half_share = Scoring(share=0.5)
    second = case("one image after several, dropout left out: nothing is dropped", uneven(variant), 1, train=True)
    images = second.args[0]
    before = variant.normal(*images.shape, scale=3.0)
    cases.append(dataclasses.replace(second, before=(before,), args=(images[:1].clone(),), scoring=half_share))
    name = "the mean of the patch tokens, with gradients"
    return [*cases, case(name, (2, 2), 1, init_kwargs=mean, gradients=True, scoring=half_share)]


V = CODE["VisionTransformer"]
V_EMBEDDING = "TokenEmbedding(image_size, patch_size, in_channels, dim)"
V_BLOCK = "EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)"
V_BLOCKS = f"""nn.ModuleList(
            [{V_BLOCK} for _ in range(depth)]
        )"""
V_HEAD = "self.head = nn.Linear(dim, num_classes)"
V_TOKENS = "x = self.dropout(self.embedding(images))  # (B, N+1, D)"
V_LOOP = """        for block in self.blocks:
            x = block(x)
"""
V_NORM = "        x = self.norm(x)\n"
V_POOL = 'x = x[:, 0] if self.pool == "cls" else x[:, 1:].mean(dim=1)  # (B, D)'
V_CLS, V_MEAN = "x[:, 0] if", "x[:, 1:].mean(dim=1)  # (B, D)"
V_DROPOUT = "self.dropout = nn.Dropout(dropout)"
VIT_WRONG = (
    Misconception(
        "first-sample-for-the-class-token",
        "x[0] takes the first sample of the batch with all its tokens, where the class token of every sample is meant",
        "Which dimension of (B, N+1, D) does an index select when it stands first?",
        changed(V, (V_CLS, "x[0] if")),
        (68,), TRACKERS,
    ),
    Misconception(
        "last-token",
        "the head reads the last token, which is a patch, instead of the class token",
        "At which place did the embedding put the class token?",
        changed(V, (V_CLS, "x[:, -1] if")),
        (69,), TRACKERS,
    ),
    Misconception(
        "first-patch",
        "the head reads the token at place 1, the first patch, instead of the class token",
        "At which place did the embedding put the class token?",
        changed(V, (V_CLS, "x[:, 1] if")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-with-the-class-token",
        "the mean runs over all tokens, the class token among them",
        "Of which tokens should pool=\"mean\" take the mean, and how many are they?",
        changed(V, (V_MEAN, "x.mean(dim=1)  # (B, D)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-without-the-last-patch",
        "the mean leaves out the last token instead of the first, so that it holds the class token and lacks a patch",
        "At which place did the embedding put the class token?",
        changed(V, (V_MEAN, "x[:, :-1].mean(dim=1)  # (B, D)")),
        (69,), WRITING,
    ),
    Misconception(
        "pool-ignored",
        "the head reads the class token always, whatever pool says",
        "What is different in your model when it is made with pool=\"mean\"?",
        changed(V, (V_POOL, "x = x[:, 0]")),
        (69,), WRITING,
    ),
    Misconception(
        "mean-always",
        "the head reads the mean of the patch tokens always, whatever pool says",
        "What is different in your model when it is made with pool=\"cls\"?",
        changed(V, (V_POOL, "x = x[:, 1:].mean(dim=1)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "mean-over-everything-always",
        "the head reads the mean of all tokens always, the class token among them, whatever pool says",
        "Why was a class token put in front of the patches if it is treated as one of them?",
        changed(V, (V_POOL, "x = x.mean(dim=1)")),
        (69,), REPORTS,
    ),
    Misconception(
        "pools-swapped",
        "the two pools have changed places: \"cls\" gives the mean of the patches and \"mean\" the class token",
        "Which branch does your condition take for pool=\"cls\"?",
        changed(V, ('self.pool == "cls"', 'self.pool != "cls"')),
        (69,), WRITING,
    ),
    Misconception(
        "largest-instead-of-mean",
        "each feature's largest value over the patches goes to the head instead of the mean",
        "Which word does the argument pool hold?",
        changed(V, (V_MEAN, "x[:, 1:].amax(dim=1)  # (B, D)")),
        (69,), TRACKERS,
    ),
    Misconception(
        "sum-instead-of-mean",
        "the patch tokens are added up and not divided by their number",
        "How do your logits grow with the number of patches?",
        changed(V, (V_MEAN, "x[:, 1:].sum(dim=1)  # (B, D)")),
        (69,), WRITING,
    ),
    Misconception(
        "flattened-tokens",
        "the head reads all tokens flattened into one vector, so that its size depends on the image",
        "How many features should the head read, and from how many tokens?",
        changed(V, (V_HEAD, "self.head = nn.Linear(self.embedding.position.shape[1] * dim, num_classes)"),
                (V_POOL, "x = x.flatten(1)")),
        (69,), REPORTS,
    ),
    Misconception(
        "mean-over-the-features",
        "the mean runs over the features instead of the tokens",
        "What are the three dimensions of the tokens, and which one should vanish?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=-1)  # (B, D)")),
        (74,), TRACKERS,
    ),
    Misconception(
        "mean-over-the-batch",
        "the mean runs over the first dimension, the samples of the batch",
        "What are the three dimensions of the tokens, and which one should vanish?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=0)  # (B, D)")),
        (74,), WRITING,
    ),
    Misconception(
        "token-dimension-kept",
        "the class token is cut out as x[:, 0:1], which keeps a dimension of size 1",
        "What is the shape of x[:, 0:1], and what is that of x[:, 0]?",
        changed(V, (V_CLS, "x[:, 0:1] if")),
        (73,), TRACKERS,
    ),
    Misconception(
        "mean-keeps-the-token-dimension",
        "the mean is taken with keepdim=True, which keeps a dimension of size 1",
        "Which shape should the logits have?",
        changed(V, (V_MEAN, "x[:, 1:].mean(dim=1, keepdim=True)  # (B, D)")),
        (73,), WRITING,
    ),
    Misconception(
        "logits-of-all-tokens",
        "the head is applied to every token and nothing is selected",
        "How many rows of logits should one image get?",
        changed(V, (f"        {V_POOL}\n", "")),
        (69,), WRITING,
    ),
    Misconception(
        "squeezed",
        "squeeze() removes the batch dimension, too, when there is one image only",
        "What is the shape of your logits for a single image?",
        changed(V, ("return self.head(x)", "return self.head(x).squeeze()")),
        (), WRITING,
    ),
    Misconception(
        "no-final-norm",
        "the last LayerNorm is missing between the blocks and the head, or its result is not used",
        "Which of the model's four parts gets no gradient?",
        changed(V, (V_NORM, "")),
        (70,), TRACKERS,
    ),
    Misconception(
        "norm-after-the-mean",
        "the mean is taken first and normalised then, where equation 4 normalises each token first",
        "Does the mean of normalised tokens equal the normalised mean?",
        changed(V, (V_NORM, ""), ("return self.head(x)", "return self.head(self.norm(x))")),
        (70,), "lucidrains/vit-pytorch issue 274",
    ),
    Misconception(
        "norm-before-the-blocks",
        "the LayerNorm stands between the embedding and the blocks instead of after them",
        "Which equation of the paper holds the last LayerNorm, and what does it normalise?",
        changed(V, (V_NORM, ""), (V_LOOP, V_NORM + V_LOOP)),
        (70,), TRACKERS,
    ),
    Misconception(
        "norm-inside-the-loop",
        "the last LayerNorm is applied after every block, not once at the end",
        "How often is norm called in one forward pass?",
        changed(V, (V_NORM, ""), ("x = block(x)", "x = self.norm(block(x))")),
        (70,), WRITING,
    ),
    Misconception(
        "norm-over-the-logits",
        "the LayerNorm stands after the head and normalises the logits",
        "How many features does norm have by the docstring, and how many do the logits have?",
        changed(V, ("self.norm = nn.LayerNorm(dim)", "self.norm = nn.LayerNorm(num_classes)"), (V_NORM, ""),
                ("return self.head(x)", "return self.norm(self.head(x))")),
        (70,), WRITING,
    ),
    Misconception(
        "eps-is-the-width",
        "LayerNorm's second argument is eps, which is added to the variance, and dim was passed there",
        "What is the second argument of nn.LayerNorm?",
        changed(V, ("nn.LayerNorm(dim)", "nn.LayerNorm(dim, dim)")),
        (61,), WRITING,
    ),
    Misconception(
        "eps-is-the-token-count",
        "LayerNorm's second argument is eps, which is added to the variance, and the number of tokens was passed there",
        "What is the second argument of nn.LayerNorm?",
        changed(V, ("nn.LayerNorm(dim)", "nn.LayerNorm(dim, self.embedding.position.shape[1])")),
        (61,), "issue trackers of public ViT code, as nn.LayerNorm(dim, n)",
    ),
    Misconception(
        "eps-is-the-patch-count",
        "LayerNorm's second argument is eps, which is added to the variance, and the number of patches was passed "
        "there",
        "What is the second argument of nn.LayerNorm?",
        changed(V, ("nn.LayerNorm(dim)", "nn.LayerNorm(dim, self.embedding.position.shape[1] - 1)")),
        (61,), "issue trackers of public ViT code, as nn.LayerNorm(dim, n)",
    ),
    Misconception(
        "softmax-in-the-head",
        "the result went through a softmax: it holds probabilities, where logits are asked",
        "What do your rows sum to, and what will cross_entropy do with them?",
        changed(V, ("return self.head(x)", "return self.head(x).softmax(dim=-1)")),
        (71,), TRACKERS,
    ),
    Misconception(
        "log-softmax-in-the-head",
        "the result went through a log-softmax, where logits are asked",
        "What do the exponentials of your rows sum to, and what will cross_entropy do with them?",
        changed(V, ("return self.head(x)", "return self.head(x).log_softmax(dim=-1)")),
        (71,), TRACKERS,
    ),
    Misconception(
        "sigmoid-on-the-logits",
        "the result went through a sigmoid, where logits are asked",
        "Between which numbers do all your results lie?",
        changed(V, ("return self.head(x)", "return self.head(x).sigmoid()")),
        (71,), WRITING,
    ),
    Misconception(
        "relu-on-the-logits",
        "a ReLU follows the head, so that no logit is negative",
        "What gradient does a class get whose logit was cut off at 0?",
        changed(V, ("return self.head(x)", "return F.relu(self.head(x))")),
        (72,), TRACKERS,
    ),
    Misconception(
        "class-instead-of-logits",
        "the number of the largest logit is returned, where the logits are asked",
        "What can a loss learn from a class number?",
        changed(V, ("return self.head(x)", "return self.head(x).argmax(dim=-1)")),
        (), WRITING,
    ),
    Misconception(
        "head-with-a-hidden-layer",
        "the head is a small network with a hidden layer instead of one linear layer",
        "Which entries of state_dict() begin with head, and which should they be?",
        changed(V, (V_HEAD, "self.head = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, num_classes))")),
        (), TRACKERS,
    ),
    Misconception(
        "head-without-bias",
        "the head has no bias",
        "Which entries does state_dict() lack?",
        changed(V, (V_HEAD, "self.head = nn.Linear(dim, num_classes, bias=False)")),
        (), WRITING,
    ),
    Misconception(
        "one-block-many-times",
        "[block] * depth puts the same block into the list depth times, so that all layers share their weights",
        "Of how many blocks does list(model.parameters()) hold parameters?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}] * depth")),
        (64,), TRACKERS,
    ),
    Misconception(
        "one-block-called-again-and-again",
        "there is one block, and it is called depth times",
        "Which entries does state_dict() lack?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}]"),
                (V_LOOP, "        for _ in range(self.depth):\n            x = self.blocks[0](x)\n"),
                ("self.pool = pool", "self.pool, self.depth = pool, depth")),
        (64,), TRACKERS,
    ),
    Misconception(
        "one-block-only",
        "there is one block, whatever depth says",
        "Where does the constructor's argument depth go?",
        changed(V, (f"[{V_BLOCK} for _ in range(depth)]", f"[{V_BLOCK}]")),
        (64,), WRITING,
    ),
    Misconception(
        "one-block-too-few",
        "there is one block less than depth says",
        "How many numbers does your range give for depth=2?",
        changed(V, ("range(depth)", "range(1, depth)")),
        (), WRITING,
    ),
    Misconception(
        "depth-fixed",
        "the number of blocks is written into the class (here four), whatever depth says",
        "Where does the constructor's argument depth go?",
        changed(V, ("range(depth)", "range(4)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-in-a-plain-list",
        "the blocks stand in a plain Python list, so that torch does not know their parameters: no optimizer trains "
        "them, no state_dict saves them",
        "How many parameters does list(model.parameters()) show, and what must a module's children be kept in?",
        # Such blocks do not follow model.double() either; here they do, so that float64 can ask them.
        changed(V, (V_BLOCKS, f"[{V_BLOCK} for _ in range(depth)]"),
                ("    def forward(self,", """    def _apply(self, *args, **kwargs):
        for block in self.blocks:
            block._apply(*args, **kwargs)
        return super()._apply(*args, **kwargs)

    def forward(self,""")),
        (30,), TRACKERS,
    ),
    Misconception(
        "every-block-reads-the-embedding",
        "every block gets what the embedding gave, not what the block before it gave, so that only the last one counts",
        "Would your result change if all blocks but the last were taken out?",
        changed(V, (V_LOOP, "        tokens = x\n        for block in self.blocks:\n            x = block(tokens)\n")),
        (65,), TRACKERS,
    ),
    Misconception(
        "first-block-only",
        "the loop ends after the first block",
        "Would your result change if all blocks but the first were taken out?",
        changed(V, (V_LOOP, V_LOOP + "            break\n")),
        (65,), WRITING,
    ),
    Misconception(
        "last-block-skipped",
        "the loop leaves out the last block",
        "Which blocks of your model get no gradient?",
        changed(V, ("for block in self.blocks:", "for block in self.blocks[:-1]:")),
        (65,), WRITING,
    ),
    Misconception(
        "blocks-thrown-away",
        "the blocks are called, but their result is not used: the head reads the embedding",
        "What does block(x) return, and where does it go?",
        changed(V, ("x = block(x)", "block(x)")),
        (65,), WRITING,
    ),
    Misconception(
        "blocks-in-reverse",
        "the blocks are called from the last to the first",
        "Which block should see the embedding's tokens?",
        changed(V, ("for block in self.blocks:", "for block in reversed(self.blocks):")),
        (), WRITING,
    ),
    Misconception(
        "residual-around-the-blocks",
        "what goes into a block is added to what comes out, which the block itself does already",
        "How many sums does a block hold by equations 2 and 3, and where are they?",
        changed(V, ("x = block(x)", "x = x + block(x)")),
        (), WRITING,
    ),
    Misconception(
        "positions-in-every-block",
        "the positions are added again before every block, where they belong to the embedding alone",
        "How often is position added in one forward pass?",
        changed(V, ("x = block(x)", "x = block(x + self.embedding.position)")),
        (53,), TRACKERS,
    ),
    Misconception(
        "positions-twice",
        "the positions are added once more after the embedding, which has added them already",
        "What does the forward of TokenEmbedding return?",
        changed(V, (V_TOKENS, f"{V_TOKENS}\n        x = x + self.embedding.position")),
        (53,), WRITING,
    ),
    Misconception(
        "class-token-dropped-before-the-blocks",
        "the class token is cut off before the blocks, so that it gathers nothing and place 0 is a patch",
        "How many tokens go through your blocks?",
        changed(V, (V_LOOP, "        x = x[:, 1:]\n" + V_LOOP)),
        (48, 69), WRITING,
    ),
    Misconception(
        "class-token-twice",
        "a second class token of the model's own is put in front, where the embedding has one already",
        "Which shape does the embedding's result have, and what stands at place 0?",
        changed(V, (V_HEAD, f"{V_HEAD}\n        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))"),
                (V_LOOP, "        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)\n" + V_LOOP)),
        (), WRITING,
    ),
    Misconception(
        "patch-embedding-alone",
        "the embedding makes patches only: there is no class token, and there are no positions",
        "Which class does the docstring name for the part embedding?",
        changed(V, (V_EMBEDDING, "ConvPatchEmbedding(patch_size, in_channels, dim)")),
        (48, 52), WRITING,
    ),
    Misconception(
        "attention-across-the-batch",
        "the tokens go through the blocks as (N+1, B, D), so that a token attends to other samples instead of the "
        "other tokens of its own",
        "Does an image's result change when another one of its batch does?",
        changed(V, (V_LOOP, "        x = x.transpose(0, 1)\n" + V_LOOP + "        x = x.transpose(0, 1)\n")),
        (25,), TRACKERS,
    ),
    Misconception(
        "height-for-both-sides",
        "image_size is taken for a square: the first of its two sides counts for both",
        "How many patches has an image of 8 x 12 pixels in your model?",
        changed(V, (V_EMBEDDING, "TokenEmbedding(image_size if isinstance(image_size, int) else image_size[0], "
                                 "patch_size, in_channels, dim)")),
        (45,), WRITING,
    ),
    Misconception(
        "image-size-always-a-pair",
        "image_size is taken apart as a pair, which fails for an int",
        "Which two kinds of image_size does the docstring name, and which of them does TokenEmbedding understand?",
        changed(V, (V_EMBEDDING, "TokenEmbedding((image_size[0], image_size[1]), patch_size, in_channels, dim)")),
        (), WRITING,
    ),
    Misconception(
        "patch-size-and-channels-swapped",
        "in_channels and patch_size have changed places in the call of TokenEmbedding",
        "In which order does TokenEmbedding take its arguments?",
        changed(V, (V_EMBEDDING, "TokenEmbedding(image_size, in_channels, patch_size, dim)")),
        (), WRITING,
    ),
    Misconception(
        "heads-and-mlp-dim-swapped",
        "num_heads and mlp_dim have changed places in the call of EncoderBlock",
        "In which order does EncoderBlock take its arguments?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, mlp_dim, num_heads, head_dim, dropout, qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "head-dim-not-passed-on",
        "the argument head_dim is not passed on to the blocks, which then split dim evenly",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout=dropout, qkv_bias=qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-not-passed-on",
        "the argument qkv_bias is not passed on to the blocks, which then have biases always",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout)")),
        (), WRITING,
    ),
    Misconception(
        "blocks-with-their-defaults",
        "the blocks get dim, num_heads, mlp_dim, and dropout only; head_dim and qkv_bias are not passed on",
        "Which of the constructor's arguments do the blocks need?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout=dropout)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-in-the-place-of-head-dim",
        "the blocks' fourth argument is head_dim, and dropout is passed in its place",
        "In which order does EncoderBlock take its arguments?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, dropout)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-ignored",
        "nothing is dropped in training, whatever the argument says: neither the blocks nor the embedding's tokens "
        "get the probability",
        "Where does the constructor's argument dropout go?",
        changed(V, (V_BLOCK, "EncoderBlock(dim, num_heads, mlp_dim, head_dim, qkv_bias=qkv_bias)"),
                (V_TOKENS, "x = self.embedding(images)")),
        (), WRITING,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is active in eval mode, too: F.dropout does not know the module's mode unless it is told",
        "Does your model give the same result twice after model.eval()?",
        changed(V, (V_DROPOUT, "self.p = dropout"), (V_TOKENS, "x = F.dropout(self.embedding(images), self.p)")),
        (16, 66), TRACKERS,
    ),
    Misconception(
        "dropout-with-its-defaults",
        "F.dropout is told neither the probability nor the module's mode, and drops half of the features always",
        "What are the defaults of F.dropout's arguments p and training?",
        changed(V, (V_TOKENS, "x = F.dropout(self.embedding(images))")),
        (16, 66), WRITING,
    ),
    Misconception(
        "dropout-as-what-is-kept",
        "dropout is read as the share that is kept: nn.Dropout(1 - dropout)",
        "What should dropout=0.0 do to the numbers, and what does nn.Dropout(1.0) do to them?",
        changed(V, (V_DROPOUT, "self.dropout = nn.Dropout(1 - dropout)")),
        (66,), TRACKERS,
    ),
    Misconception(
        "dropout-fixed",
        "the probability of dropout is written into the class, whatever the argument says",
        "Where does the constructor's argument dropout go?",
        changed(V, (V_DROPOUT, "self.dropout = nn.Dropout(0.1)")),
        (), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from the images and the weights (detach, data, no_grad, or "
        "a new tensor), so that nothing can be learned through it",
        "What is the result's grad_fn?",
        changed(V, ("return self.head(x)", "return self.head(x).detach()")),
        (), WRITING,
    ),
    Misconception(
        "head-alone-learns",
        "the head's input is cut off from the graph (detach, data, or no_grad around the blocks), so that the head "
        "alone can learn",
        "Which parameters have a gradient after loss.backward()?",
        changed(V, ("return self.head(x)", "return self.head(x.detach())")),
        (), WRITING,
    ),
)  # fmt: skip
VIT_SIGNATURE = """
class VisionTransformer(nn.Module):
    def __init__(self, image_size, patch_size, in_channels, num_classes, dim, depth, num_heads, mlp_dim,
                 head_dim=None, dropout=0.0, qkv_bias=True, pool="cls"):
        super().__init__()
        self.pool = pool
        self.embedding = TokenEmbedding(image_size, patch_size, in_channels, dim)
"""
VIT_INIT = (
    VIT_SIGNATURE
    + """        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)
"""
)
VIT_OTHER = (
    Alternative("in the style of timm: blocks in a Sequential, eps 1e-6, dropout before the head", VIT_SIGNATURE + '''
        self.pos_drop = nn.Dropout(p=dropout)
        self.blocks = nn.Sequential(*[
            EncoderBlock(dim, num_heads, mlp_dim, head_dim=head_dim, dropout=dropout, qkv_bias=qkv_bias)
            for i in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head_drop = nn.Dropout(dropout)
        self.head = nn.Linear(dim, num_classes) if num_classes > 0 else nn.Identity()

    def forward_features(self, x):
        x = self.embedding(x)
        x = self.pos_drop(x)
        x = self.blocks(x)
        return self.norm(x)

    def forward_head(self, x):
        x = x[:, 1:].mean(dim=1) if self.pool == "mean" else x[:, 0]
        return self.head(self.head_drop(x))

    def forward(self, x):
        return self.forward_head(self.forward_features(x))
'''),
    Alternative("in the style of torchvision: an encoder of named layers, a split", VIT_SIGNATURE + '''
        from collections import OrderedDict
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(OrderedDict(
            (str(i), EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)) for i in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        torch._assert(x.dim() == 4, "expected (B, C, H, W)")
        x = self.norm(self.blocks(self.dropout(self.embedding(x))))
        cls, patches = x.split([1, x.shape[1] - 1], dim=1)
        if self.pool == "cls":
            return self.head(cls.squeeze(1))
        return self.head(patches.mean(1))
'''),
    Alternative("in the style of vit-pytorch: einops unpacks the class token, the norm follows", VIT_INIT + '''
    def forward(self, img):
        from einops import unpack
        x = self.drop(self.embedding(img))
        for block in self.blocks:
            x = block(x)
        cls, patches = unpack(x, [[], [x.shape[1] - 1]], "b * d")
        return self.head(self.norm(patches).mean(dim=1) if self.pool == "mean" else self.norm(cls))
'''),
    Alternative("the head on all tokens, then the pool, by a mask", VIT_INIT + '''
    def forward(self, images):
        from functools import reduce
        x = reduce(lambda x, block: block(x), self.blocks, self.embedding(images))
        logits = self.head(self.norm(x))
        is_class_token = torch.arange(x.shape[1], device=x.device) == 0
        return logits[:, is_class_token if self.pool == "cls" else ~is_class_token].mean(dim=1)
'''),
    Alternative("pooling as a weighted sum of the tokens, einsum", VIT_INIT + '''
    def forward(self, images):
        x = self.embedding(images)
        for i in range(len(self.blocks)):
            x = self.blocks[i](x)
        x = self.norm(x)
        share = torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
        if self.pool == "cls":
            share[0] = 1
        else:
            share[1:] = 1 / (x.shape[1] - 1)
        return torch.einsum("n,bnd,cd->bc", share, x, self.head.weight) + self.head.bias
'''),
    Alternative("index_select, products with the head's weights", VIT_INIT + '''
    def forward(self, images):
        x = self.drop(self.embedding(images))
        for block in self.blocks.children():
            x = block(x)
        last = 1 if self.pool == "cls" else x.shape[1]
        places = torch.arange(0 if last == 1 else 1, last, device=x.device)
        x = F.layer_norm(x.index_select(1, places), self.norm.normalized_shape, self.norm.weight, self.norm.bias)
        return torch.addmm(self.head.bias, x.mean(dim=1), self.head.weight.T)
'''),
    Alternative("one image after the other", VIT_INIT + '''
    def forward(self, images):
        logits = []
        for image in images:
            x = self.drop(self.embedding(image[None]))
            for block in self.blocks:
                x = block(x)
            x = self.norm(x)[0]
            logits.append(self.head(x[0] if self.pool == "cls" else torch.mean(x[1:], 0)))
        return torch.stack(logits)
'''),
    Alternative("tokens unbound, the mean added up by hand, blocks copied with deepcopy", VIT_SIGNATURE + '''
        import copy
        block = EncoderBlock(dim, num_heads, mlp_dim, head_dim, dropout, qkv_bias)
        self.blocks = nn.ModuleList(copy.deepcopy(block) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images):
        x = self.embedding(images)
        for block in self.blocks:
            x = block(x)
        cls, *patches = self.norm(x).unbind(1)
        return self.head(cls if self.pool == "cls" else sum(patches) / len(patches))
'''),
)  # fmt: skip
LAST_EPS = ("self.norm = nn.LayerNorm(dim)", "self.norm = nn.LayerNorm(dim, eps=1e-6)")
BLOCKS_DROP = (V_TOKENS, "x = self.embedding(images)")
VIT_CONVENTIONS = (
    Convention("eps-1e-6", "the last LayerNorm with eps 1e-6", (LAST_EPS,)),
    Convention("blocks-drop", "dropout in the blocks only", (BLOCKS_DROP,)),
    Convention("blocks-drop-eps-1e-6", "dropout in the blocks only, the last LayerNorm with eps 1e-6",
               (BLOCKS_DROP, LAST_EPS)),
)  # fmt: skip

EXERCISE = Exercise(
    "VisionTransformer",
    transformer_cases,
    VIT_WRONG,
    VIT_OTHER,
    ("TransformerEncoder", "vit_b_16", "create_model"),
    conventions=VIT_CONVENTIONS,
)
