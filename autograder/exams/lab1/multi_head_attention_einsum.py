"""The exam of `MultiHeadAttentionEinsum`."""

from __future__ import annotations

import dataclasses
from typing import Any

from autograder.exams.lab1.shared import CODE, LIBRARY, LIFT, REPORTS, TRACKERS, WIDE, WRITING, quarters
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def einsum_cases(variant: Variant) -> list[FunctionCase]:
    """Narrow and wide heads, lone samples and heads, large scores, and five sizes of which no two are equal."""

    def case(name: str, batch: int, tokens: int, dim: int, heads: int, width: int, **options: Any) -> FunctionCase:
        into = [variant.normal(heads, dim, width, scale=dim**-0.5) for _ in range(3)]
        out = variant.normal(heads, width, dim, scale=(heads * width) ** -0.5)
        x = variant.normal(batch, tokens, dim, scale=1.5)
        return FunctionCase(name, "multi_head_attention_einsum", (x, *into, out), **options)

    cases = [case("five different sizes, with gradients", *variant.sizes(5, 2, 7), gradients=True)]
    (dim,), (batch, tokens, heads, width) = variant.sizes(1, 8, 9), variant.sizes(4, 2, 6)
    cases.append(case("tokens wider than a head", batch, tokens, dim, heads, width))
    (width,), (batch, tokens, dim, heads) = variant.sizes(1, 8, 9), variant.sizes(4, 2, 6)
    cases.append(case("heads wider than a token", batch, tokens, dim, heads, width))
    cases.append(case("one sample alone", 1, *variant.sizes(4, 2, 7)))
    half = Scoring(share=0.5)
    batch, tokens, dim = variant.sizes(3, 2, 7)
    cases.append(case("a single head of one feature", batch, tokens, dim, 1, 1, scoring=half))
    batch, dim, heads, width = variant.sizes(4, 2, 7)
    alone = Scoring(share=0.25, paired=True)  # its weight is 1, whatever the scores are
    cases.append(case("one token alone", batch, 1, dim, heads, width, scoring=alone))
    batch, tokens, dim = variant.sizes(3, 3, 9)
    far = case("wide heads, all scores far above or below zero", batch, tokens, dim, 2, WIDE, scoring=half)
    x, w_q, w_k = (quarters(t) for t in far.args[:3])
    x[..., -1] = 1  # through this feature the last one of each head's queries and keys is always the same
    w_q[:, :, -1] = w_k[:, :, -1] = 0
    w_q[:, -1, -1], w_k[0, -1, -1], w_k[1, -1, -1] = LIFT, LIFT, -LIFT
    return [*cases, dataclasses.replace(far, args=(x, w_q, w_k, *far.args[3:]))]


E = CODE["multi_head_attention_einsum"]
ROOT = "math.sqrt(w_q.shape[-1])"
EINSUM_WRONG = (
    Misconception(
        "scores-without-the-head-letter",
        "the scores are written without the letter for the heads, which adds them up into one map that all heads share",
        "Which letters of the input are missing in the output, and what does einsum do with those?",
        changed(E, ("bhik,bhjk->bhij", "bhik,bhjk->bij"), ("bhij,bhjk->bhik", "bij,bhjk->bhik")),
        (31,), TRACKERS,
    ),
    Misconception(
        "scores-without-the-batch-letter",
        "the scores are written without the letter for the batch, which adds up all samples into one map that they "
        "share",
        "Would one sample get the same answer if it came alone?",
        changed(E, ("bhik,bhjk->bhij", "bhik,bhjk->hij"), ("bhij,bhjk->bhik", "hij,bhjk->bhik")),
        (32,), TRACKERS,
    ),
    Misconception(
        "no-shared-letter",
        "queries and keys share no letter for their features, so that each is added up on its own and the sums are "
        "multiplied",
        "Which letter must stand in both inputs for the features to be multiplied pair by pair?",
        changed(E, ("bhik,bhjk->bhij", "bhik,bhjl->bhij")),
        (33,), TRACKERS,
    ),
    Misconception(
        "scores-transposed",
        "the scores come out as (keys, queries), by swapped letters or by swapped queries and keys, and the "
        "softmax then runs over the queries",
        "In bhij: which letter is the query's, and over which letter does softmax(dim=-1) run?",
        changed(E, ("bhik,bhjk->bhij", "bhik,bhjk->bhji")),
        (27, 34), TRACKERS,
    ),
    Misconception(
        "mixes-over-queries",
        "the values are added up over the queries instead of the keys: the weights are used transposed",
        "In bhij: which letter is the key's, and which letter do the values share with it?",
        changed(E, ("bhij,bhjk->bhik", "bhij,bhik->bhjk")),
        (34,), TRACKERS,
    ),
    Misconception(
        "no-mixing",
        "each value is multiplied by the sum of its own row of weights, which is 1, so that every token sees only "
        "itself",
        "Change one token: whose answers change? Which letter must be summed over between weights and values?",
        changed(E, ("bhij,bhjk->bhik", "bhij,bhik->bhik")),
        (35,), TRACKERS,
    ),
    Misconception(
        "values-times-what-they-receive",
        "each value stays in its place, multiplied by the sum of the weights that it gets, so that nothing is mixed",
        "Which token is an entry of the result about: the one that asks or the one that answers?",
        changed(E, ("bhij,bhjk->bhik", "bhij,bhjk->bhjk")),
        (35,), WRITING,
    ),
    Misconception(
        "attention-across-the-heads",
        "the heads of one token attend to each other, and no token sees another",
        "Change one token: whose answers change? Which two letters must the scores end with?",
        changed(E, ("bhik,bhjk->bhij", "bhtk,bgtk->bthg"), ("bhij,bhjk->bhik", "bthg,bgtk->bhtk")),
        (24,), TRACKERS,
    ),
    Misconception(
        "attention-across-the-batch",
        "a token attends to the same place in other samples instead of the other tokens of its own",
        "Does a sample's answer change when another one of its batch does?",
        changed(E, ("bhik,bhjk->bhij", "bhtk,chtk->htbc"), ("bhij,bhjk->bhik", "htbc,chtk->bhtk")),
        (25,), TRACKERS,
    ),
    Misconception(
        "key-and-value-swapped",
        "keys and values have changed places: w_v makes the keys and w_k the values",
        "Which weight belongs to which line?",
        changed(E, ('bhij", q, k)', 'bhij", q, v)'), ("softmax(dim=-1), v)", "softmax(dim=-1), k)")),
        (27,), TRACKERS,
    ),
    Misconception(
        "keys-from-the-query-weights",
        "the keys are made with w_q, as the queries are, so that the scores are symmetric",
        "Which of the four weights is never used?",
        changed(E, ('hdk->bhtk", x, w_k', 'hdk->bhtk", x, w_q')),
        (29,), TRACKERS,
    ),
    Misconception(
        "values-from-the-key-weights",
        "the weights mix the keys: the values are made with w_k, and w_v is never used",
        "Which of the four weights is never used?",
        changed(E, ('hdk->bhtk", x, w_v', 'hdk->bhtk", x, w_k')),
        (9, 29), TRACKERS,
    ),
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What did attention_weights do with the scores before the softmax?",
        changed(E, (f" / {ROOT}", "")),
        (1,), REPORTS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(E, (ROOT, "w_q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-count",
        "the scores are divided by the square root of the number of tokens instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(E, (ROOT, "math.sqrt(x.shape[1])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "scale-by-token-width",
        "the scores are divided by the square root of D, the token's width, instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(E, (ROOT, "math.sqrt(w_q.shape[1])")),
        (23,), "omihub; lucidrains/vit-pytorch issue 65",
    ),
    Misconception(
        "scale-by-all-heads",
        "the scores are divided by the square root of the width of all heads together instead of one head's",
        "How many products does the dot product of one head's query and key add up?",
        changed(E, (ROOT, "math.sqrt(w_q.shape[0] * w_q.shape[-1])")),
        (23,), TRACKERS,
    ),
    Misconception(
        "scale-by-head-count",
        "the scores are divided by the square root of the number of heads instead of the head's width",
        "How many products does the dot product of one head's query and key add up?",
        changed(E, (ROOT, "math.sqrt(w_q.shape[0])")),
        (23,), "tt-metal",
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys, so that each column of weights sums to 1, not each row",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(E, ("dim=-1", "dim=-2")),
        (5,), TRACKERS,
    ),
    Misconception(
        "softmax-over-heads",
        "the softmax runs over dimension 1, which holds the heads here, so that the heads compete instead of the keys",
        "What are the four dimensions of the scores, and which one holds the keys?",
        changed(E, ("dim=-1", "dim=1")),
        (5,), REPORTS,
    ),
    Misconception(
        "softmax-over-batch",
        "the softmax runs over the first dimension, so that samples of a batch share their weights",
        "Would one sample get the same answer if it came alone?",
        changed(E, ("dim=-1", "dim=0")),
        (6,), TRACKERS,
    ),
    Misconception(
        "scale-after-softmax",
        "the division by sqrt(K) comes after the softmax or after the weighted sum instead of on the scores",
        "What do the weights of one query sum to in your function?",
        changed(E, (f" / {ROOT}", ""), ("softmax(dim=-1)", "softmax(dim=-1) / math.sqrt(w_q.shape[-1])")),
        (7,), REPORTS,
    ),
    Misconception(
        "no-softmax",
        "the scores mix the values without a softmax",
        "Can one of your weights be negative, and what do the weights of a query sum to?",
        changed(E, ("scores.softmax(dim=-1)", "scores")),
        (8,), TRACKERS,
    ),
    Misconception(
        "no-output-weights",
        "what the heads found is laid side by side and returned, and w_out is never used",
        "What brings the heads' features back to the width of a token?",
        changed(E, ('return torch.einsum("bhtk,hkd->btd", heads, w_out)', "return heads.transpose(1, 2).flatten(2)")),
        (26,), REPORTS,
    ),
    Misconception(
        "heads-not-summed",
        "the heads' contributions stand next to each other instead of being added up",
        "How many dimensions has your result, and which letter should not be in it?",
        changed(E, ("->btd", "->bhtd")),
        (), WRITING,
    ),
    Misconception(
        "heads-averaged",
        "the heads' contributions are averaged instead of added up",
        "What does one wide matrix do with heads that lie side by side: does it add or average?",
        changed(E, ('heads, w_out)', 'heads, w_out) / w_q.shape[0]')),
        (), WRITING,
    ),
)  # fmt: skip
EINSUM_OTHER = (
    Alternative("torch's own attention on broadcast products", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    q, k, v = (x.unsqueeze(1) @ w for w in (w_q, w_k, w_v))
    return (nn.functional.scaled_dot_product_attention(q, k, v) @ w_out).sum(dim=1)
'''),
    Alternative("two einsum lines for everything", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    scores = torch.einsum("bid,hdk,bje,hek->bhij", x, w_q, x, w_k) * w_q.shape[-1] ** -0.5
    return torch.einsum("bhij,bjd,hdk,hke->bie", torch.softmax(scores, -1), x, w_v, w_out)
'''),
    Alternative("einops' einsum, log-softmax", '''
from einops import einsum

def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    q, k, v = (einsum(x, w, "b t d, h d k -> b h t k") for w in (w_q, w_k, w_v))
    weights = (einsum(q, k, "b h i k, b h j k -> b h i j") / math.sqrt(k.shape[-1])).log_softmax(dim=-1).exp()
    mixed = einsum(weights, v, "b h i j, b h j k -> b h i k")
    return einsum(mixed, w_out, "b h t k, h k d -> b t d")
'''),
    Alternative("head by head with bmm, added up", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    out = torch.zeros_like(x)
    for q, k, v, back in zip(w_q, w_k, w_v, w_out):
        scores = torch.bmm(x.matmul(q), x.matmul(k).permute(0, 2, 1)) / math.sqrt(q.shape[1])
        out = out + torch.bmm(scores.softmax(dim=2), x.matmul(v)).matmul(back)
    return out
'''),
    Alternative("the weights as wide matrices, one linear for all heads", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    heads, dim, width = w_q.shape

    def project(w):
        wide = w.permute(0, 2, 1).reshape(heads * width, dim)
        return nn.functional.linear(x, wide).unflatten(-1, (heads, width)).transpose(1, 2)

    mixed = scaled_dot_product_attention(project(w_q), project(w_k), project(w_v))
    return mixed.transpose(1, 2).flatten(2) @ w_out.reshape(heads * width, dim)
'''),
    Alternative("tensordot, exp by hand", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    q, k, v = (torch.tensordot(x, w, dims=([2], [1])).movedim(2, 1) for w in (w_q, w_k, w_v))
    scores = torch.matmul(q, k.swapaxes(-1, -2)) / torch.sqrt(torch.tensor(w_q.shape[-1]))
    e = torch.exp(scores - torch.amax(scores, dim=-1, keepdim=True))
    mixed = torch.matmul(e / e.sum(dim=-1, keepdim=True), v)
    return torch.tensordot(mixed, w_out, dims=([1, 3], [0, 1]))
'''),
    Alternative("vmap over the heads", '''
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    def one(q, k, v, back):
        scores = (x @ q) @ (x @ k).mT
        return nn.functional.log_softmax(scores.div(q.shape[-1] ** 0.5), dim=-1).exp() @ (x @ v) @ back

    return torch.func.vmap(one)(w_q, w_k, w_v, w_out).sum(0)
'''),
)  # fmt: skip

EXERCISE = Exercise("multi_head_attention_einsum", einsum_cases, EINSUM_WRONG, EINSUM_OTHER, LIBRARY)
