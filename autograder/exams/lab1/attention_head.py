"""The exam of `AttentionHead`."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from autograder.exams.attention_scales import scales_differ
from autograder.exams.lab1.shared import CODE, LIBRARY, REPORTS, TRACKERS, WIDE, WRITING, lift_layers, quarters
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import ModuleCase, Scoring


def head_weights(variant: Variant, dim: int, width: int) -> dict[str, torch.Tensor]:
    """Random weights and biases for the three layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes |= {f"{name}.weight": (width, dim), f"{name}.bias": (width,)}
    return variant.weights(shapes)


def head_cases(variant: Variant) -> list[ModuleCase]:
    """A head narrower and one wider than its token, a lone sample, a lone token, a second call, and large scores."""

    def case(name: str, batch: int, tokens: int, dim: int, width: int, **options: Any) -> ModuleCase:
        x, weights = variant.normal(batch, tokens, dim, scale=1.5), head_weights(variant, dim, width)
        return ModuleCase(name, "AttentionHead", (x,), init=(dim, width), weights=weights, **options)

    cases = []
    batch, tokens, width = variant.sizes(3, 2, 5, where=lambda _, tokens, width: scales_differ(width, tokens))
    (dim,) = variant.sizes(1, 6, 9, where=lambda dim: scales_differ(width, tokens, dim))
    cases.append(case("a head narrower than the token, with gradients", batch, tokens, dim, width, gradients=True))
    (batch, tokens, dim), (width,) = variant.sizes(3, 2, 5), variant.sizes(1, 6, 9)
    cases.append(case("a head wider than the token", batch, tokens, dim, width))
    tokens, dim, width = variant.sizes(3, 2, 9, where=lambda tokens, dim, width: scales_differ(width, tokens, dim))
    cases.append(case("one sample alone", 1, tokens, dim, width))
    batch, dim, width = variant.sizes(3, 2, 9)
    alone = Scoring(share=0.25, paired=True)  # its weight is 1, whatever the scores are
    cases.append(case("one token alone", batch, 1, dim, width, scoring=alone))
    half = Scoring(share=0.5)
    batch, tokens, dim, width, *first = variant.sizes(
        6, 2, 9, where=lambda _, tokens, dim, width, *first: scales_differ(width, tokens, dim)
    )
    before = (variant.normal(*first, dim),)
    name = "a second call, with another number of samples and of tokens"
    cases.append(case(name, batch, tokens, dim, width, before=before, scoring=half))
    for sign, where in ((1, "above"), (-1, "below")):
        batch, tokens, dim = variant.sizes(3, 2, 9)
        far = case(f"a wide head, all scores far {where} zero", batch, tokens, dim, WIDE, scoring=half)
        lift_layers(far.weights, sign)
        cases.append(dataclasses.replace(far, args=(quarters(far.args[0]),)))
    return cases


A = CODE["AttentionHead"]
HEAD_CALL = "scaled_dot_product_attention(self.to_q(x), self.to_k(x), self.to_v(x))"
HEAD_LAYERS = """        self.to_q = nn.Linear(dim, head_dim)
        self.to_k = nn.Linear(dim, head_dim)
        self.to_v = nn.Linear(dim, head_dim)
"""
# The same head with the attention written out, so that a wrong idea can stand inside it.
HEAD_OWN = changed(A, (f"return {HEAD_CALL}", """q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)
        return weights @ v"""))  # fmt: skip
HEAD_WRONG = (
    Misconception(
        "query-and-key-swapped",
        "the query layer makes the keys and the key layer makes the queries, so that the map of scores is transposed",
        "Which of the two asks, and whose softmax runs over the others?",
        changed(A, ("self.to_q(x), self.to_k(x)", "self.to_k(x), self.to_q(x)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "key-and-value-swapped",
        "keys and values have changed places: tokens are found by their values and answer with their keys",
        "In which order does scaled_dot_product_attention take its arguments?",
        changed(A, ("self.to_k(x), self.to_v(x)", "self.to_v(x), self.to_k(x)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "query-and-value-swapped",
        "queries and values have changed places",
        "In which order does scaled_dot_product_attention take its arguments?",
        changed(A, (HEAD_CALL, "scaled_dot_product_attention(self.to_v(x), self.to_k(x), self.to_q(x))")),
        (27,), TRACKERS,
    ),
    Misconception(
        "one-layer-for-all-three",
        "one layer, to_q, makes queries, keys, and values alike",
        "Can a token ask for something other than what it is itself when query and key are the same vector?",
        changed(A, (HEAD_LAYERS, "        self.to_q = nn.Linear(dim, head_dim)\n"),
                (HEAD_CALL, "scaled_dot_product_attention(self.to_q(x), self.to_q(x), self.to_q(x))")),
        (29,), TRACKERS,
    ),
    Misconception(
        "one-layer-under-three-names",
        "to_q, to_k, and to_v are three names of one and the same layer",
        "How many different weight tensors does list(head.parameters()) hold?",
        changed(A, ("self.to_q = nn", "self.to_q = self.to_k = self.to_v = nn"),
                ("        self.to_k = nn.Linear(dim, head_dim)\n        self.to_v = nn.Linear(dim, head_dim)\n", "")),
        (29,), TRACKERS,
    ),
    Misconception(
        "query-layer-used-three-times",
        "three layers are made, but only to_q is ever called",
        "Which parameters of the head get no gradient?",
        changed(A, (HEAD_CALL, "scaled_dot_product_attention(self.to_q(x), self.to_q(x), self.to_q(x))")),
        (29,), TRACKERS,
    ),
    Misconception(
        "keys-from-the-query-layer",
        "the keys come from to_q, as the queries do, so that the scores are symmetric",
        "Which of the three layers is never called?",
        changed(A, ("self.to_k(x)", "self.to_q(x)")),
        (29,), TRACKERS,
    ),
    Misconception(
        "values-from-the-key-layer",
        "the weights mix the keys: the values come from to_k, and to_v is never called",
        "Which of the three layers is never called?",
        changed(A, ("self.to_v(x)", "self.to_k(x)")),
        (9, 29), TRACKERS,
    ),
    Misconception(
        "values-not-projected",
        "the weights mix the tokens themselves instead of what to_v makes of them",
        "What is the last dimension of your result, and what should it be?",
        changed(A, ("self.to_v(x)", "x")),
        (), WRITING,
    ),
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What does your scaled_dot_product_attention do that this head does not?",
        changed(HEAD_OWN, (" / math.sqrt(q.shape[-1])", "")),
        (1,), REPORTS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(HEAD_OWN, ("math.sqrt(q.shape[-1])", "q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-width",
        "the scores are divided by the square root of dim, the token's width, instead of the head's width",
        "How many products does the dot product of one query and one key add up?",
        changed(HEAD_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[-1])")),
        (23,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-count",
        "the scores are divided by the square root of the number of tokens instead of the head's width",
        "How many products does the dot product of one query and one key add up?",
        changed(HEAD_OWN, ("math.sqrt(q.shape[-1])", "math.sqrt(x.shape[1])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries (dimension 1 of a (B, T, T) tensor) instead of the keys",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(HEAD_OWN, ("dim=-1", "dim=1")),
        (5,), REPORTS,
    ),
    Misconception(
        "softmax-over-batch",
        "the softmax runs over the first dimension, so that samples of a batch share their weights",
        "Would one sample get the same answer if it came alone?",
        changed(HEAD_OWN, ("dim=-1", "dim=0")),
        (6,), TRACKERS,
    ),
    Misconception(
        "scale-after-softmax",
        "the division by sqrt(K) comes after the softmax or after the weighted sum instead of on the scores",
        "What do the weights of one query sum to in your head?",
        changed(HEAD_OWN, (" / math.sqrt(q.shape[-1])", ""), ("weights @ v", "weights @ v / math.sqrt(q.shape[-1])")),
        (7,), REPORTS,
    ),
    Misconception(
        "causal-always",
        "a token sees only itself and the tokens before it, as in a language model",
        "Change the last token: whose answers change, and whose should?",
        changed(HEAD_OWN, ("(q @ k.mT / math.sqrt(q.shape[-1]))", "(q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(\n"
                "            ~torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(), -math.inf)")),
        (), WRITING,
    ),
    Misconception(
        "attention-across-the-batch",
        "the first dimension is taken for the sequence, so that a token attends to the same place in other samples",
        "Does a sample's answer change when another one of its batch does?",
        changed(A, (f"return {HEAD_CALL}", f"x = x.transpose(0, 1)\n        return {HEAD_CALL}.transpose(0, 1)")),
        (25,), TRACKERS,
    ),
    Misconception(
        "layers-without-bias",
        "the three layers are made without a bias",
        "Which entries does head.state_dict() lack?",
        A.replace("nn.Linear(dim, head_dim)", "nn.Linear(dim, head_dim, bias=False)"),
        (), REPORTS,
    ),
    Misconception(
        "output-layer-in-the-head",
        "the head has a further layer after the attention, which belongs to multi-head attention",
        "What is there to mix when there is only one head?",
        changed(A, (HEAD_LAYERS, HEAD_LAYERS + "        self.to_out = nn.Linear(head_dim, head_dim)\n"),
                (HEAD_CALL, f"self.to_out({HEAD_CALL})")),
        (), WRITING,
    ),
    Misconception(
        "sizes-of-the-layers-swapped",
        "the layers are made as Linear(head_dim, dim), the sizes in the wrong order",
        "Which size goes into the layer, and which comes out?",
        A.replace("nn.Linear(dim, head_dim)", "nn.Linear(head_dim, dim)"),
        (), WRITING,
    ),
    Misconception(
        "fused-layer",
        "queries, keys, and values come from one wide layer, to_qkv, where the course fixes three by name: a "
        "convention, not an error",
        "Under which names does the docstring want the weights, so that they can be loaded?",
        changed(A, (HEAD_LAYERS, "        self.to_qkv = nn.Linear(dim, 3 * head_dim)\n"),
                (HEAD_CALL, "scaled_dot_product_attention(*self.to_qkv(x).chunk(3, dim=-1))")),
        (), WRITING,
    ),
    Misconception(
        "layers-over-the-flattened-sequence",
        "each layer maps the whole sequence at once, all tokens and features flattened (here 17 tokens), instead "
        "of one token after the other",
        "What does your head do with a sequence of another length, and how many parameters does it have?",
        changed(A, (HEAD_LAYERS, HEAD_LAYERS.replace("(dim, head_dim)", "(17 * dim, 17 * head_dim)")),
                (HEAD_CALL, "scaled_dot_product_attention(*(to(x.flatten(1)).unflatten(1, (17, -1))"
                            " for to in (self.to_q, self.to_k, self.to_v)))")),
        (), REPORTS,
    ),
)  # fmt: skip
HEAD_OTHER = (
    Alternative("torch's own attention", changed(A, (HEAD_CALL, f"nn.functional.{HEAD_CALL}"))),
    Alternative("in timm's style: a scale kept at construction, queries scaled first", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.scale = head_dim**-0.5
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        q = self.to_q(x).mul(self.scale)
        weights = q @ self.to_k(x).transpose(-2, -1)
        weights = self.drop(weights.softmax(dim=-1))
        return weights @ self.to_v(x)
'''),
    Alternative("in torchvision's style: multi_head_attention_forward with one head", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q = nn.Linear(dim, head_dim)
        self.to_k = nn.Linear(dim, head_dim)
        self.to_v = nn.Linear(dim, head_dim)
        self.register_buffer("identity", torch.eye(head_dim), persistent=False)

    def forward(self, x):
        q, k, v = (to(x).transpose(0, 1) for to in (self.to_q, self.to_k, self.to_v))
        eye = self.identity
        out, _ = nn.functional.multi_head_attention_forward(
            q, k, v, eye.shape[0], 1, torch.cat([eye, eye, eye]), None, None, None, False, 0.0, eye, None,
            training=self.training, need_weights=False)
        return out.transpose(0, 1)
'''),
    Alternative("in vit-pytorch's style: a softmax module, one product for all three", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q = nn.Linear(dim, head_dim)
        self.to_k = nn.Linear(dim, head_dim)
        self.to_v = nn.Linear(dim, head_dim)
        self.attend = nn.Softmax(dim=-1)

    def forward(self, x):
        layers = (self.to_q, self.to_k, self.to_v)
        weight, bias = torch.cat([l.weight for l in layers]), torch.cat([l.bias for l in layers])
        q, k, v = nn.functional.linear(x, weight, bias).chunk(3, dim=-1)
        return torch.matmul(self.attend(torch.matmul(q, k.transpose(-1, -2)) * k.shape[-1] ** -0.5), v)
'''),
    Alternative("own parameters under the same names, einsum", '''
class Projection(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.empty(head_dim, dim)), nn.Parameter(torch.empty(head_dim))

    def forward(self, x):
        return torch.einsum("btd,kd->btk", x, self.weight) + self.bias

class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (Projection(dim, head_dim) for _ in range(3))

    def forward(self, x):
        scores = torch.einsum("bik,bjk->bij", self.to_q(x), self.to_k(x)) / math.sqrt(len(self.to_q.bias))
        return torch.einsum("bij,bjk->bik", torch.softmax(scores, dim=2), self.to_v(x))
'''),
    Alternative("bmm and exp by hand", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        for name in ("to_q", "to_k", "to_v"):
            self.add_module(name, nn.Linear(dim, head_dim))

    def forward(self, x):
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        scores = torch.bmm(q, k.permute(0, 2, 1)).div(k.size(2) ** 0.5)
        e = (scores - scores.amax(2, keepdim=True)).exp()
        return torch.bmm(e, v) / e.sum(2, keepdim=True)
'''),
    Alternative("sample by sample with vmap", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q = nn.Linear(dim, head_dim)
        self.to_k = nn.Linear(dim, head_dim)
        self.to_v = nn.Linear(dim, head_dim)

    def forward(self, x):
        def one(q, k, v):
            return nn.functional.softmax(torch.mm(q, k.T) / math.sqrt(q.shape[1]), dim=1).mm(v)

        return torch.func.vmap(one)(self.to_q(x), self.to_k(x), self.to_v(x))
'''),
    Alternative("the first exercise's weights, the values mixed in a product of its own", '''
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))

    def forward(self, x):
        return attention_weights(self.to_q(x), self.to_k(x)) @ self.to_v(x)
'''),
)  # fmt: skip

EXERCISE = Exercise("AttentionHead", head_cases, HEAD_WRONG, HEAD_OTHER, LIBRARY)
