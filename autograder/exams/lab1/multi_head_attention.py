"""The exam of `MultiHeadAttention`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from autograder.exams.attention_scales import scales_differ
from autograder.exams.lab1.shared import CODE, LIBRARY, REPORTS, TRACKERS, WIDE, WRITING, lift_layers, quarters
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring

# Heads and their width, unlike each other; their product is the width of all heads together. No width is the square
# root of a number of heads: (4, 2) is left out.
SPLITS = ((2, 3), (2, 4), (2, 5), (3, 2), (3, 4), (3, 5), (4, 3), (5, 2), (5, 3))


def many_weights(variant: Variant, dim: int, inner: int, qkv_bias: bool = True) -> dict[str, torch.Tensor]:
    """Random weights and biases for the four layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes[f"{name}.weight"] = (inner, dim)
        if qkv_bias:
            shapes[f"{name}.bias"] = (inner,)
    return variant.weights(shapes | {"to_out.weight": (dim, inner), "to_out.bias": (dim,)})


def many_cases(variant: Variant) -> list[ModuleCase]:
    """Each constructor argument given and left out, lone samples, heads and tokens, large scores, refused sizes."""

    def case(name: str, batch: int, tokens: int, init: tuple[int, ...], inner: int, **options: Any) -> ModuleCase:
        weights = many_weights(variant, init[0], inner, options.get("init_kwargs", {}).get("qkv_bias", True))
        x = variant.normal(batch, tokens, init[0], scale=1.5)
        return ModuleCase(name, "MultiHeadAttention", (x,), init=init, weights=weights, **options)

    def split() -> tuple[int, int]:
        return SPLITS[variant.sizes(1, 0, len(SPLITS) - 1)[0]]

    heads, width = split()
    inner = heads * width
    batch, tokens = variant.sizes(2, 2, 7, without=(heads, width, inner))
    cases = [case("head_dim left out, with gradients", batch, tokens, (inner, heads), inner, gradients=True)]

    heads, width = split()
    (dim,) = variant.sizes(1, 5, 9, without=(width, width**2, heads * width, *range(heads, 10, heads)))
    batch, tokens = variant.sizes(2, 2, 7, without=(heads, width, dim))
    cases.append(case("head_dim given, and dim does not split", batch, tokens, (dim, heads, width), heads * width))

    heads, width = split()
    dim = heads * variant.sizes(1, 2, 5, without=(width, width // heads))[0]
    batch, tokens = variant.sizes(2, 2, 7, without=(heads, width, dim))
    options = {"head_dim": width, "qkv_bias": False}
    name = "no bias for queries, keys, and values"
    cases.append(case(name, batch, tokens, (dim, heads), heads * width, init_kwargs=options))

    heads, width = split()
    (tokens,) = variant.sizes(1, 4, 9, without=(heads, width, heads * width))
    cases.append(case("one sample alone", 1, tokens, (heads * width, heads), heads * width))

    heads, width = split()
    dim = heads * width + 1
    refused = ModuleCase(
        "sizes that do not split are refused", "MultiHeadAttention",
        init=(dim, heads), construct_only=True, scoring=Scoring(raises=(dim, heads), share=0.5),
    )  # fmt: skip
    return [*cases, *_edges(variant, case), refused]


def _edges(variant: Variant, case: Callable[..., ModuleCase]) -> list[ModuleCase]:
    """Sizes of 1, a second call, and scores that are far from zero."""
    half = Scoring(share=0.5)
    batch, tokens, width, dim = variant.sizes(4, 2, 9, where=lambda _, tokens, width, dim: scales_differ(width, dim))
    cases = [case("a single head", batch, tokens, (dim, 1, width), width, scoring=half)]
    batch, dim, heads, width = variant.sizes(4, 2, 7, where=lambda _, dim, heads, width: heads < dim)
    alone = Scoring(share=0.25, paired=True)  # its weight is 1, whatever the scores are
    cases.append(case("one token alone", batch, 1, (dim, heads, width), heads * width, scoring=alone))
    batch, tokens, heads, width, dim, *first = variant.sizes(
        7, 2, 9,
        where=lambda _, tokens, heads, width, dim, *first: heads < dim
        and scales_differ(width, heads, dim, heads * width),
    )  # fmt: skip
    before = (variant.normal(*first, dim),)
    name = "a second call, with another number of samples and of tokens"
    cases.append(case(name, batch, tokens, (dim, heads, width), heads * width, before=before, scoring=half))
    batch, tokens, dim = variant.sizes(3, 3, 9)
    far = case("wide heads, all scores far above or below zero", batch, tokens, (dim, 2, WIDE), 2 * WIDE, scoring=half)
    lift_layers(far.weights, 1, -1)
    return [*cases, dataclasses.replace(far, args=(quarters(far.args[0]),))]


M = CODE["MultiHeadAttention"]
SPLIT = ".unflatten(-1, (self.num_heads, -1)).transpose(1, 2)"
MERGE = "heads.transpose(1, 2).flatten(2)"
MANY_CALL = "scaled_dot_product_attention(q, k, v)"
MANY_OWN = changed(M, (MANY_CALL, "(q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v"))
MANY_LAYERS = """        self.to_q = nn.Linear(dim, inner, bias=qkv_bias)
        self.to_k = nn.Linear(dim, inner, bias=qkv_bias)
        self.to_v = nn.Linear(dim, inner, bias=qkv_bias)
"""
MANY_FORWARD = M[M.index("q, k, v = (") :]  # the body of forward
THREE = "(self.to_q, self.to_k, self.to_v)"
REFUSAL = 'raise ValueError(f"dim {dim} does not split into {num_heads} heads; give head_dim")'
VIEW_SPLIT = ".reshape(x.shape[0], self.num_heads, x.shape[1], -1)"
VIEW_MERGE = "heads.reshape(x.shape[0], x.shape[1], -1)"
STRIDED_SPLIT = ".unflatten(-1, (-1, self.num_heads)).permute(0, 3, 1, 2)"
STRIDED_MERGE = "heads.permute(0, 2, 3, 1).flatten(2)"
MANY_WRONG = (
    Misconception(
        "split-by-view-alone",
        "(B, T, H * K) is viewed as (B, H, T, K) at once, so that tokens and heads are mixed up",
        "In which order do T, H, and K lie in memory, and what must a transpose do after the view?",
        changed(M, (SPLIT, VIEW_SPLIT)),
        (19,), TRACKERS,
    ),
    Misconception(
        "merge-by-view-alone",
        "(B, H, T, K) is viewed as (B, T, H * K) without going back to (B, T, H, K) first, so that the answers are "
        "scrambled",
        "Which two dimensions must change places before the heads can be laid side by side?",
        changed(M, (MERGE, VIEW_MERGE)),
        (20,), TRACKERS,
    ),
    Misconception(
        "split-and-merge-by-view-alone",
        "heads are split and merged by a view alone: it runs and even learns a little, but each head sees a strip "
        "of a few whole tokens",
        "Take x with x[b, t, f] = t: which tokens does your first head hold?",
        changed(M, (SPLIT, VIEW_SPLIT), (MERGE, VIEW_MERGE)),
        (21,), TRACKERS,
    ),
    Misconception(
        "split-strided-merge-in-blocks",
        "heads are split as (k h), every H-th feature to one head, but merged as (h k), so that features change places",
        "Split and merge without any attention in between: do you get your tensor back?",
        changed(M, (SPLIT, STRIDED_SPLIT)),
        (22,), TRACKERS,
    ),
    Misconception(
        "split-in-blocks-merge-strided",
        "heads are split as (h k), in blocks, but merged as (k h), so that features change places",
        "Split and merge without any attention in between: do you get your tensor back?",
        changed(M, (MERGE, STRIDED_MERGE)),
        (22,), TRACKERS,
    ),
    Misconception(
        "heads-strided",
        "heads are split and merged as (k h), every H-th feature to one head: not an error but another convention, "
        "and weights trained under this course's (h k) do not fit it",
        "Which features belong to the first head in the docstring's convention?",
        changed(M, (SPLIT, STRIDED_SPLIT), (MERGE, STRIDED_MERGE)),
        (22,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-width",
        "the scores are divided by the square root of dim, the token's width, instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(MANY_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1])")),
        (23,), "omihub; lucidrains/vit-pytorch issue 65",
    ),
    Misconception(
        "scale-by-all-heads",
        "the scores are divided by the square root of the width of all heads together instead of one head's",
        "How many products does the dot product of one head's query and key add up?",
        changed(MANY_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(self.num_heads * q.shape[-1])")),
        (23,), TRACKERS,
    ),
    Misconception(
        "scale-by-head-count",
        "the scores are divided by the square root of the number of heads instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(MANY_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(self.num_heads)")),
        (23,), "tt-metal",
    ),
    Misconception(
        "attention-across-the-heads",
        "the heads of one token attend to each other, and no token sees another",
        "Change one token: whose answers change? Over which two dimensions must the scores run?",
        changed(M, (SPLIT, ".unflatten(-1, (self.num_heads, -1))"), (MERGE, "heads.flatten(2)")),
        (24,), TRACKERS,
    ),
    Misconception(
        "attention-across-the-batch",
        "the first dimension is taken for the sequence (as in torch without batch_first), so that a token attends "
        "to the same place in other samples",
        "Does a sample's answer change when another one of its batch does?",
        changed(M, ("q, k, v = (", "x = x.transpose(0, 1)\n        q, k, v = ("),
                (f"self.to_out({MERGE})", f"self.to_out({MERGE}).transpose(0, 1)")),
        (25,), TRACKERS,
    ),
    Misconception(
        "no-output-layer",
        "the heads are laid side by side and returned without the layer to_out",
        "What lets the features that one head found reach the others?",
        changed(M, ("        self.to_out = nn.Linear(inner, dim)\n", ""), (f"self.to_out({MERGE})", MERGE)),
        (26,), REPORTS,
    ),
    Misconception(
        "no-output-layer-no-scale-no-bias",
        "three things are missing at once: the layer to_out, the division by sqrt(K), and the biases",
        "Which entries does state_dict() lack, and what did your scaled_dot_product_attention do with the scores?",
        changed(M, (MANY_LAYERS, MANY_LAYERS.replace("qkv_bias", "False")),
                ("        self.to_out = nn.Linear(inner, dim)\n", ""), (f"self.to_out({MERGE})", MERGE),
                (MANY_CALL, "(q @ k.mT).softmax(dim=-1) @ v")),
        (1, 26), REPORTS,
    ),
    Misconception(
        "query-and-key-swapped",
        "the query layer makes the keys and the key layer makes the queries, so that the maps of scores are transposed",
        "Which of the two asks, and whose softmax runs over the others?",
        changed(M, (THREE, "(self.to_k, self.to_q, self.to_v)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "key-and-value-swapped",
        "keys and values have changed places: tokens are found by their values and answer with their keys",
        "In which order does scaled_dot_product_attention take its arguments?",
        changed(M, (THREE, "(self.to_q, self.to_v, self.to_k)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "query-and-value-swapped",
        "queries and values have changed places",
        "In which order does scaled_dot_product_attention take its arguments?",
        changed(M, (THREE, "(self.to_v, self.to_k, self.to_q)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "heads-before-thirds",
        "queries, keys, and values are laid side by side and then cut as (H, 3, K) instead of (3, H, K), so that "
        "heads get pieces of the wrong ones",
        "What are the first K numbers of the wide vector, and what are the next K?",
        changed(M, ("""q, k, v = (
            to(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, T, K)
            for to in (self.to_q, self.to_k, self.to_v)
        )""", """wide = torch.cat([self.to_q(x), self.to_k(x), self.to_v(x)], dim=-1)
        q, k, v = wide.unflatten(-1, (self.num_heads, 3, -1)).permute(3, 0, 2, 1, 4)""")),
        (28,), TRACKERS,
    ),
    Misconception(
        "one-layer-for-all-three",
        "one layer, to_q, makes queries, keys, and values alike",
        "Can a token ask for something other than what it is itself when query and key are the same vector?",
        changed(M, (MANY_LAYERS, "        self.to_q = nn.Linear(dim, inner, bias=qkv_bias)\n"),
                (THREE, "(self.to_q, self.to_q, self.to_q)")),
        (29,), TRACKERS,
    ),
    Misconception(
        "query-layer-used-three-times",
        "three layers are made, but only to_q is ever called",
        "Which parameters get no gradient?",
        changed(M, (THREE, "(self.to_q, self.to_q, self.to_q)")),
        (29,), TRACKERS,
    ),
    Misconception(
        "keys-from-the-query-layer",
        "the keys come from to_q, as the queries do, so that the scores are symmetric",
        "Which of the layers is never called?",
        changed(M, (THREE, "(self.to_q, self.to_q, self.to_v)")),
        (29,), TRACKERS,
    ),
    Misconception(
        "values-from-the-key-layer",
        "the weights mix the keys: the values come from to_k, and to_v is never called",
        "Which of the layers is never called?",
        changed(M, (THREE, "(self.to_q, self.to_k, self.to_k)")),
        (9, 29), TRACKERS,
    ),
    Misconception(
        "heads-in-a-plain-list",
        "the heads stand in a plain Python list, so that torch does not know their parameters: no optimizer trains "
        "them, no state_dict saves them",
        "How many parameters does list(module.parameters()) show, and what must a module's children be kept in?",
        changed(M, (MANY_LAYERS, "        self.heads = [AttentionHead(dim, head_dim) for _ in range(num_heads)]\n"),
                (MANY_FORWARD, "return self.to_out(torch.cat([head.to(x)(x) for head in self.heads], dim=-1))")),
        (30,), TRACKERS,
    ),
    Misconception(
        "heads-in-a-module-list",
        "the heads are modules of their own in a ModuleList: that can compute the same, but the course fixes to_q, "
        "to_k, and to_v as three layers for all heads together",
        "Under which names does the docstring want the weights, so that they can be loaded?",
        changed(M, (MANY_LAYERS, "        heads = (AttentionHead(dim, head_dim) for _ in range(num_heads))\n"
                                 "        self.heads = nn.ModuleList(heads)\n"),
                (MANY_FORWARD, "return self.to_out(torch.cat([head(x) for head in self.heads], dim=-1))")),
        (), WRITING,
    ),
    Misconception(
        "rounds-the-head-width-down",
        "dim // num_heads is taken without asking whether anything is left over, so that features are lost in silence",
        "What does 10 // 3 give, and how many features do three such heads have together?",
        changed(M, (f"            if dim % num_heads:\n                {REFUSAL}\n", "")),
        (36,), TRACKERS,
    ),
    Misconception(
        "assert-instead-of-an-error",
        "sizes that do not split end in a bare assert, which says nothing and vanishes under python -O",
        "Which exception does the docstring promise, and which two numbers does its reader need?",
        changed(M, (f"if dim % num_heads:\n                {REFUSAL}", "assert dim % num_heads == 0")),
        (36,), TRACKERS,
    ),
    Misconception(
        "error-without-the-numbers",
        "the ValueError does not say which two numbers do not fit",
        "What would you have to look up after reading your own message?",
        changed(M, (REFUSAL, 'raise ValueError("dim must be divisible by num_heads")')),
        (36,), WRITING,
    ),
    Misconception(
        "head-dim-ignored",
        "head_dim is not used: a head's width is dim // num_heads even when another one is given",
        "What does MultiHeadAttention(7, 2, head_dim=4) build, and what should it?",
        changed(M, (f"""        if head_dim is None:
            if dim % num_heads:
                {REFUSAL}
            head_dim = dim // num_heads
""", f"""        if dim % num_heads:
            {REFUSAL}
        head_dim = dim // num_heads
""")),
        (), WRITING,
    ),
    Misconception(
        "refuses-although-head-dim-is-given",
        "sizes are refused whenever num_heads does not divide dim, even when head_dim is given and nothing needs to "
        "split",
        "When does dim have to be a multiple of num_heads, and when does it not matter?",
        changed(M, (f"""        if head_dim is None:
            if dim % num_heads:
                {REFUSAL}
            head_dim = dim // num_heads
""", f"""        if dim % num_heads:
            {REFUSAL}
        if head_dim is None:
            head_dim = dim // num_heads
""")),
        (36,), WRITING,
    ),
    Misconception(
        "every-head-as-wide-as-the-token",
        "every head has all dim features instead of its share of them",
        "How does dim split over the heads when no head_dim is given?",
        changed(M, ("head_dim = dim // num_heads", "head_dim = dim")),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-ignored",
        "the layers for queries, keys, and values always have a bias, whatever qkv_bias says",
        "Where does qkv_bias have to go?",
        changed(M, (MANY_LAYERS, MANY_LAYERS.replace(", bias=qkv_bias", ""))),
        (), WRITING,
    ),
    Misconception(
        "qkv-bias-off-by-default",
        "the layers for queries, keys, and values have no bias where qkv_bias is left out",
        "What is the default of qkv_bias in the docstring?",
        changed(M, ("qkv_bias: bool = True", "qkv_bias: bool = False")),
        (), WRITING,
    ),
    Misconception(
        "to-out-without-bias",
        "the layer to_out is made without a bias",
        "Which entries does state_dict() lack?",
        changed(M, ("nn.Linear(inner, dim)", "nn.Linear(inner, dim, bias=False)")),
        (), TRACKERS,
    ),
    Misconception(
        "qkv-bias-for-to-out-too",
        "qkv_bias also switches off the bias of to_out",
        "Which layers does the docstring name for qkv_bias?",
        changed(M, ("nn.Linear(inner, dim)", "nn.Linear(inner, dim, bias=qkv_bias)")),
        (), WRITING,
    ),
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What does your scaled_dot_product_attention do that this class does not?",
        changed(MANY_OWN, (" / math.sqrt(q.shape[-1])", "")),
        (1,), REPORTS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(MANY_OWN, ("math.sqrt(q.shape[-1])", "q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "scale-from-the-even-split",
        "the scores are divided by the square root of dim // num_heads even where the heads have another width",
        "How wide is a head when head_dim is given, and how many products does its dot product add up?",
        changed(MANY_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1] // self.num_heads)")),
        (23,), WRITING,
    ),
    Misconception(
        "causal-always",
        "a token sees only itself and the tokens before it, as in a language model",
        "Change the last token: whose answers change, and whose should?",
        changed(MANY_OWN, ("(q @ k.mT / math.sqrt(q.shape[-1]))", "(q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(\n"
                "            ~torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(), -math.inf)")),
        (), WRITING,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys, so that each column of weights sums to 1, not each row",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(MANY_OWN, ("dim=-1", "dim=-2")),
        (5,), TRACKERS,
    ),
    Misconception(
        "softmax-over-heads",
        "the softmax runs over dimension 1, which holds the heads here, so that the heads compete instead of the keys",
        "What are the four dimensions of the scores, and which one holds the keys?",
        changed(MANY_OWN, ("dim=-1", "dim=1")),
        (5,), REPORTS,
    ),
    Misconception(
        "scale-after-softmax",
        "the division by sqrt(K) comes after the softmax or after the weighted sum instead of on the scores",
        "What do the weights of one query sum to in your class?",
        changed(MANY_OWN, (" / math.sqrt(q.shape[-1])", ""), ("dim=-1) @ v", "dim=-1) @ v / math.sqrt(q.shape[-1])")),
        (7,), REPORTS,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is applied at every call, in evaluation too, so that two equal calls differ",
        "How does F.dropout know whether the model is being trained?",
        changed(MANY_OWN, ("@ v", "@ nn.functional.dropout(v, 0.5)")),
        (16,), TRACKERS,
    ),
    Misconception(
        "returns-answer-and-weights",
        "a pair comes back, as from torch's own class, where only the tokens were asked for",
        "What would the next layer do with a tuple?",
        changed(M, (f"return self.to_out({MERGE})",
                    f"return self.to_out({MERGE}), (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)")),
        (17,), TRACKERS,
    ),
    Misconception(
        "layers-over-the-flattened-sequence",
        "each layer maps the whole sequence at once, all tokens and features flattened (here 17 tokens), instead "
        "of one token after the other",
        "What does your class do with a sequence of another length, and how many parameters does it have?",
        changed(M, (MANY_LAYERS, MANY_LAYERS.replace("(dim, inner", "(17 * dim, 17 * inner")),
                ("to(x).unflatten", "to(x.flatten(1)).unflatten(1, (17, -1)).unflatten")),
        (), REPORTS,
    ),
)  # fmt: skip
MANY_INIT = M[: M.index("    def forward")]
MANY_OTHER = (
    Alternative("torch's own attention", changed(M, (MANY_CALL, f"nn.functional.{MANY_CALL}"))),
    Alternative("in timm's style: reshape and transpose, queries scaled first", '''
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, num_heads, head_dim=None, qkv_bias=True):
        super().__init__()
        if head_dim is None and dim % num_heads != 0:
            raise ValueError(f"num_heads {num_heads} should divide dim {dim}")
        self.num_heads, self.head_dim = num_heads, head_dim or dim // num_heads
        self.scale = self.head_dim**-0.5
        inner = self.num_heads * self.head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, inner, bias=qkv_bias) for _ in range(3))
        self.q_norm, self.attn_drop, self.proj_drop = nn.Identity(), nn.Dropout(0.2), nn.Dropout(0.2)
        self.to_out = nn.Linear(inner, dim)

    def forward(self, x):
        B, N, _ = x.shape
        q = self.to_q(x).reshape(B, N, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.to_k(x).reshape(B, N, self.num_heads, self.head_dim).transpose(1, 2)
        v = self.to_v(x).reshape(B, N, self.num_heads, self.head_dim).transpose(1, 2)
        weights = self.attn_drop(torch.softmax(self.q_norm(q) * self.scale @ k.transpose(-2, -1), dim=-1))
        return self.proj_drop(self.to_out((weights @ v).transpose(1, 2).reshape(B, N, -1)))
'''),
    Alternative("in vit-pytorch's style: einops and a softmax module", '''
from einops import rearrange

class MultiHeadAttention(nn.Module):
    def __init__(self, dim, num_heads, head_dim=None, qkv_bias=True):
        super().__init__()
        if head_dim is None:
            head_dim, rest = divmod(dim, num_heads)
            if rest:
                raise ValueError(f"{dim} features do not go into {num_heads} heads")
        self.heads, self.scale, self.attend = num_heads, head_dim**-0.5, nn.Softmax(dim=-1)
        self.to_q = nn.Linear(dim, num_heads * head_dim, bias=qkv_bias)
        self.to_k = nn.Linear(dim, num_heads * head_dim, bias=qkv_bias)
        self.to_v = nn.Linear(dim, num_heads * head_dim, bias=qkv_bias)
        self.to_out = nn.Linear(num_heads * head_dim, dim)

    def forward(self, x):
        q, k, v = (rearrange(to(x), "b n (h d) -> b h n d", h=self.heads) for to in (self.to_q, self.to_k, self.to_v))
        dots = torch.matmul(q, k.transpose(-1, -2)) * self.scale
        return self.to_out(rearrange(torch.matmul(self.attend(dots), v), "b h n d -> b n (h d)"))
'''),
    Alternative("in torchvision's style: multi_head_attention_forward", MANY_INIT + '''
    def forward(self, x):
        q, k, v = (to(x).transpose(0, 1) for to in (self.to_q, self.to_k, self.to_v))
        eye = torch.eye(q.shape[-1], dtype=x.dtype, device=x.device)
        out, _ = nn.functional.multi_head_attention_forward(
            q, k, v, q.shape[-1], self.num_heads, eye.repeat(3, 1), None, None, None, False, 0.0,
            self.to_out.weight, self.to_out.bias, training=self.training, need_weights=False)
        return out.transpose(0, 1)
'''),
    Alternative("head by head, laid side by side", MANY_INIT + '''
    def forward(self, x):
        parts = zip(*(to(x).tensor_split(self.num_heads, dim=-1) for to in (self.to_q, self.to_k, self.to_v)))
        return self.to_out(torch.cat([scaled_dot_product_attention(q, k, v) for q, k, v in parts], dim=-1))
'''),
    Alternative("head by head, each through its own columns of to_out, added up", MANY_INIT + '''
    def forward(self, x):
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        width = q.shape[-1] // self.num_heads
        out = self.to_out.bias.expand_as(x)
        for h in range(self.num_heads):
            mine = slice(h * width, (h + 1) * width)
            scores = torch.bmm(q[..., mine], k[..., mine].permute(0, 2, 1)) / width**0.5
            found = torch.bmm(scores.log_softmax(dim=2).exp(), v[..., mine])
            out = out + nn.functional.linear(found, self.to_out.weight[:, mine])
        return out
'''),
    Alternative("einsum on the weights, one tensor for all heads", MANY_INIT + '''
    def forward(self, x):
        def project(to):
            weight = to.weight.view(self.num_heads, -1, x.shape[-1])
            out = torch.einsum("btd,hkd->bhtk", x, weight)
            return out if to.bias is None else out + to.bias.view(self.num_heads, 1, -1)

        q, k, v = project(self.to_q), project(self.to_k), project(self.to_v)
        weights = (torch.einsum("bhik,bhjk->bhij", q, k) / math.sqrt(q.shape[-1])).softmax(-1)
        mixed = torch.einsum("bhij,bhjk->bihk", weights, v)
        return torch.einsum("bthk,dhk->btd", mixed, self.to_out.weight.view(-1, *mixed.shape[2:])) + self.to_out.bias
'''),
    Alternative("heads folded into the batch, baddbmm, exp by hand", MANY_INIT + '''
    def forward(self, x):
        batch, tokens, _ = x.shape

        def fold(y):
            return y.view(batch, tokens, self.num_heads, -1).transpose(1, 2).reshape(batch * self.num_heads, tokens, -1)

        q, k, v = fold(self.to_q(x)), fold(self.to_k(x)), fold(self.to_v(x))
        scores = torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=q.shape[2] ** -0.5)
        e = torch.exp(scores - scores.amax(dim=2, keepdim=True))
        out = torch.bmm(e, v).div(e.sum(dim=2, keepdim=True)).view(batch, self.num_heads, tokens, -1)
        return self.to_out(out.swapaxes(1, 2).flatten(start_dim=2))
'''),
    Alternative("the first exercise's weights, heads in front of the batch", '''
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, num_heads, head_dim=None, qkv_bias=True):
        super().__init__()
        if head_dim is None and dim % num_heads != 0:
            raise ValueError(f"num_heads {num_heads} should divide dim {dim}")
        self.num_heads = num_heads
        inner = num_heads * (head_dim or dim // num_heads)
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, inner, bias=qkv_bias) for _ in range(3))
        self.to_out = nn.Linear(inner, dim)

    def forward(self, x):
        q, k, v = (torch.stack(to(x).chunk(self.num_heads, dim=-1)) for to in (self.to_q, self.to_k, self.to_v))
        mixed = attention_weights(q, k) @ v
        return self.to_out(torch.cat(mixed.unbind(0), dim=-1))
'''),
)  # fmt: skip

EXERCISE = Exercise("MultiHeadAttention", many_cases, MANY_WRONG, MANY_OTHER, LIBRARY)
