"""The exam of `attention_weights`."""

from __future__ import annotations

from typing import Any

import torch

from autograder.exams.attention_scales import scales_differ
from autograder.exams.lab1.shared import CODE, LIBRARY, REPORTS, TRACKERS, WIDE, WRITING, lifted
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring


def weights_cases(variant: Variant) -> list[FunctionCase]:
    """Zero, one, and two leading dimensions, a square one, lone samples, and scores that overflow exp."""

    def case(name: str, lead: tuple[int, ...], tq: int, tk: int, width: int, **options: Any) -> FunctionCase:
        args = (variant.normal(*lead, tq, width), variant.normal(*lead, tk, width))
        return FunctionCase(name, "attention_weights", args, **options)

    def sizes(count: int) -> list[int]:
        """The last one is K; queries and keys may stand before it."""
        return variant.sizes(count, 2, 9, where=lambda *drawn: scales_differ(drawn[-1], *drawn[-3:-1]))

    tq, tk, width = sizes(3)
    cases = [case("no leading dimension", (), tq, tk, width)]
    batch, tq, tk, width = sizes(4)
    cases.append(case("one leading dimension, with gradients", (batch,), tq, tk, width, gradients=True))
    batch, heads, tq, tk, width = sizes(5)
    cases.append(case("two leading dimensions", (batch, heads), tq, tk, width))
    batch, tokens, width = sizes(3)
    cases.append(case("as many queries as keys", (batch,), tokens, tokens, width))

    # Each query points along one key; scores near 60 * 60 / sqrt(width) are beyond exp's 709 in float64,
    # and every winner is so clear that float32 finds it too.
    (tq, tk), (batch,), (width,) = variant.sizes(2, 2, 5), variant.sizes(1, 6, 7), variant.sizes(1, 8, 9)
    axes = 60 * torch.eye(width, dtype=torch.float64)
    q = axes[variant.normal(batch, tq, tk).argmax(-1)] + variant.normal(batch, tq, width)
    k = axes[:tk] + variant.normal(batch, tk, width)
    cases.append(FunctionCase("scores in the thousands", "attention_weights", (q, k)))

    tq, tk, width = sizes(3)
    half = Scoring(share=0.5)
    cases.append(case("one sample with one head", (1, 1), tq, tk, width, scoring=half))
    tk, width = sizes(2)
    cases.append(case("one sample, one query", (1,), 1, tk, width, scoring=half))
    tq, tk = variant.sizes(2, 3, 9)
    q, k = lifted(variant.normal(2, tq, WIDE), variant.normal(2, tk, WIDE))
    name = "wide heads, all scores far above zero or far below"
    cases.append(FunctionCase(name, "attention_weights", (q, k), scoring=half))
    return cases


W = CODE["attention_weights"]
WEIGHTS_WRONG = (
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "Two random vectors of K features: how does the spread of their dot product grow with K, and what undoes that?",
        changed(W, (" / math.sqrt(q.shape[-1])", "")),
        (1,), REPORTS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(W, ("math.sqrt(q.shape[-1])", "q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "multiply-by-root",
        "the scores are multiplied by sqrt(K) instead of divided by it",
        "Should wide vectors make the weights sharper or leave them as they are?",
        changed(W, ("/ math.sqrt", "* math.sqrt")),
        (3,), TRACKERS,
    ),
    Misconception(
        "scale-by-key-count",
        "the scores are divided by the square root of the number of keys, not of the number of features",
        "Over which axis does the dot product add up, and how long is that axis?",
        changed(W, ("math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "scale-by-query-count",
        "the scores are divided by the square root of the number of queries, not of the number of features",
        "Over which axis does the dot product add up, and how long is that axis?",
        changed(W, ("math.sqrt(q.shape[-1])", "math.sqrt(q.shape[-2])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys, so that each column sums to 1, not each row",
        "Whose weights must sum to 1: those that one query gives, or those that one key gets?",
        changed(W, ("dim=-1", "dim=-2")),
        (5,), TRACKERS,
    ),
    Misconception(
        "softmax-over-dim-one",
        "the softmax runs over dimension 1, counted from the front, whatever stands there: keys, queries, or heads",
        "Which dimension holds the keys when there are none, one, or two leading dimensions? Can you count from the "
        "end?",
        changed(W, ("dim=-1", "dim=1")),
        (5,), REPORTS,
    ),
    Misconception(
        "softmax-over-batch",
        "the softmax runs over the first dimension, so that samples of a batch share their weights",
        "Would one sample get the same weights if it came alone?",
        changed(W, ("dim=-1", "dim=0")),
        (6,), TRACKERS,
    ),
    Misconception(
        "softmax-without-dim",
        "the softmax is called without saying over which dimension, and torch guesses one from the number of "
        "dimensions",
        "Which dimension does the warning say was chosen, and which one holds the keys?",
        changed(W, ("scores.softmax(dim=-1)", "nn.functional.softmax(scores)")),
        (6,), WRITING,
    ),
    Misconception(
        "scale-after-softmax",
        "the softmax comes first and its result is divided by sqrt(K), so that the weights of a query no longer sum "
        "to 1",
        "What do your weights sum to for one query, and which number is that?",
        changed(W, (" / math.sqrt(q.shape[-1])", ""), ("dim=-1)", "dim=-1) / math.sqrt(q.shape[-1])")),
        (7,), REPORTS,
    ),
    Misconception(
        "no-softmax",
        "the scaled scores are returned without a softmax, negative ones too",
        "What makes weights out of scores: can yours be negative, and do they sum to 1?",
        changed(W, (".softmax(dim=-1)", "")),
        (8,), TRACKERS,
    ),
    Misconception(
        "sigmoid",
        "each score goes through a sigmoid on its own, so that the keys do not compete",
        "If one key's score rises, should the weights of the others stay as they are?",
        changed(W, (".softmax(dim=-1)", ".sigmoid()")),
        (8,), TRACKERS,
    ),
    Misconception(
        "share-of-absolute-scores",
        "each score is divided by the sum of the absolute scores of its row, without the exponential",
        "What happens to a negative score here, and which function makes every number positive first?",
        changed(W, ("scores.softmax(dim=-1)", "scores / scores.abs().sum(dim=-1, keepdim=True)")),
        (8,), TRACKERS,
    ),
    Misconception(
        "reversed-by-T",
        "k.T turns round all dimensions of the keys, the leading ones too, not just the last two",
        "Print k.T.shape for keys of shape (2, 3, 4): which two dimensions did you want to swap?",
        changed(W, ("k.mT", "k.T")),
        (10,), TRACKERS,
    ),
    Misconception(
        "t-of-a-matrix-only",
        "k.t() is used, which knows matrices only and fails as soon as there is a batch",
        "How do you swap the last two dimensions of a tensor with any number of leading ones?",
        changed(W, ("k.mT", "k.t()")),
        (10,), TRACKERS,
    ),
    Misconception(
        "transpose-counted-from-the-front",
        "dimensions 1 and 2 of the keys are swapped, which are the last two only when there is one leading dimension",
        "Which numbers name the last two dimensions however many stand before them?",
        changed(W, ("k.mT", "k.transpose(1, 2)")),
        (10,), TRACKERS,
    ),
    Misconception(
        "scores-transposed",
        "queries and keys have changed places: each row belongs to a key and its weights run over the queries",
        "Your result has one row for each what: query or key?",
        changed(W, ("q @ k.mT", "k @ q.mT")),
        (10, 27), TRACKERS,
    ),
    Misconception(
        "exp-overflows",
        "the softmax is written as exp(scores) / sum, and exp of a large score is infinite, so that NaN comes out",
        "What changes in exp(s) / sum(exp(s)) when the same number is subtracted from every s of a row?",
        changed(W, ("return scores.softmax(dim=-1)",
                    "e = scores.exp()\n    return e / e.sum(dim=-1, keepdim=True)")),
        (15,), TRACKERS,
    ),
    Misconception(
        "largest-of-all-subtracted",
        "the largest of all scores is subtracted before the exponential, not the largest of each row, so that a sample "
        "whose scores lie far below another's gets 0 / 0",
        "Which scores share one sum, and whose largest must be subtracted from them so that the sum cannot be 0?",
        changed(W, ("return scores.softmax(dim=-1)",
                    "e = (scores - scores.max()).exp()\n    return e / e.sum(dim=-1, keepdim=True)")),
        (15,), WRITING,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from q and k (detach, data, no_grad, or a new tensor), "
        "so that nothing can be learned through it",
        "What is the result's grad_fn when q requires a gradient?",
        changed(W, ("dim=-1)", "dim=-1).detach()")),
        (), WRITING,
    ),
    Misconception(
        "scales-its-input-in-place",
        "the queries are divided in place (q /= ...), which changes the caller's tensor",
        "What does q hold after the call, and who else still uses it?",
        changed(W, ("scores = q @ k.mT / math.sqrt(q.shape[-1])",
                    "q /= math.sqrt(q.shape[-1])\n    scores = q @ k.mT")),
        (), WRITING,
    ),
)  # fmt: skip
WEIGHTS_OTHER = (
    Alternative("einsum, torch.softmax, scale on the queries", '''
def attention_weights(q, k):
    scores = torch.einsum("...id,...jd->...ij", q * q.shape[-1] ** -0.5, k)
    return torch.softmax(scores, dim=-1)
'''),
    Alternative("exp by hand with the largest score subtracted", '''
def attention_weights(q, k):
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(k.size(-1))
    e = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
    return e / e.sum(dim=-1, keepdim=True)
'''),
    Alternative("exp of the score minus logsumexp, a tensor as scale", '''
def attention_weights(q, k):
    scores = torch.matmul(q, torch.swapaxes(k, -1, -2)) / torch.sqrt(torch.tensor(q.size(-1)))
    return (scores - torch.logsumexp(scores, dim=-1, keepdim=True)).exp()
'''),
    Alternative("broadcast product summed over the features", '''
def attention_weights(q, k):
    scores = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(dim=-1)
    return nn.functional.log_softmax(scores.div(q.shape[-1] ** 0.5), dim=-1).exp()
'''),
    Alternative("leading dimensions folded into one, baddbmm", '''
def attention_weights(q, k):
    lead, (tq, d), tk = q.shape[:-2], q.shape[-2:], k.shape[-2]
    q, k = q.reshape(-1, tq, d), k.reshape(-1, tk, d)
    scores = torch.baddbmm(q.new_zeros(1, 1, 1), q, k.permute(0, 2, 1), beta=0, alpha=1 / math.sqrt(d))
    return nn.Softmax(dim=-1)(scores).reshape(*lead, tq, tk)
'''),
    Alternative("one sample after the other, stacked", '''
def attention_weights(q, k):
    if q.dim() > 2:
        return torch.stack([attention_weights(a, b) for a, b in zip(q, k)])
    rows = [torch.mv(k, row) * (1 / math.sqrt(q.shape[1])) for row in q]
    return torch.stack([torch.softmax(row, dim=0) for row in rows])
'''),
    Alternative("torch's attention applied to the identity as values", '''
def attention_weights(q, k):
    identity = torch.eye(k.shape[-2], dtype=k.dtype, device=k.device).expand(*k.shape[:-1], k.shape[-2])
    return nn.functional.scaled_dot_product_attention(q, k, identity)
'''),
    Alternative("softmin of negated scores, in place on its own tensor", '''
def attention_weights(q, k):
    scores = torch.matmul(-q, k.movedim(-1, -2))
    scores.mul_(q.shape[-1] ** -0.5)
    return nn.functional.softmin(scores, dim=-1)
'''),
)  # fmt: skip

EXERCISE = Exercise("attention_weights", weights_cases, WEIGHTS_WRONG, WEIGHTS_OTHER, LIBRARY)
