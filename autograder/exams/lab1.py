"""Lab 1's exams: the cases, the wrong ideas, and the other right ways of its five exercises.

The sizes inside a case are pairwise distinct and every weight is random, because equal sizes,
ones, and single heads let wrong code through. A batch has at least two samples, except where a
case says so: a lone sample is how part of a batch mistake can still earn its points.
"""

from __future__ import annotations

import torch

from vitedu.probe import Case

from ..exam import Alternative, Draw, Exercise, Misconception, changed
from ..lab import solution_cells

CODE = solution_cells("lab1_attention")

REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public attention code and of courses"
WRITING = "thought of while writing this exam"

# --- attention_weights ---------------------------------------------------------------------------


def weights_cases(draw: Draw) -> list[Case]:
    """Zero, one, and two leading dimensions, a square one, and scores that overflow exp."""

    def case(name: str, lead: tuple[int, ...], tq: int, tk: int, width: int, **options: object) -> Case:
        args = (draw.normal(*lead, tq, width), draw.normal(*lead, tk, width))
        return Case(name, "attention_weights", args, **options)

    tq, tk, width = draw.sizes(3, 2, 9)
    cases = [case("no leading dimension", (), tq, tk, width)]
    batch, tq, tk, width = draw.sizes(4, 2, 9)
    cases.append(case("one leading dimension, with gradients", (batch,), tq, tk, width, gradients=True))
    batch, heads, tq, tk, width = draw.sizes(5, 2, 9)
    cases.append(case("two leading dimensions", (batch, heads), tq, tk, width))
    batch, tokens, width = draw.sizes(3, 2, 9)
    cases.append(case("as many queries as keys", (batch,), tokens, tokens, width))

    # Each query points along one key; scores near 60 * 60 / sqrt(width) are beyond exp's 709 in float64,
    # and every winner is so clear that float32 finds it too.
    (tq, tk), (batch,), (width,) = draw.sizes(2, 2, 5), draw.sizes(1, 6, 7), draw.sizes(1, 8, 9)
    axes = 60 * torch.eye(width, dtype=torch.float64)
    q = axes[draw.normal(batch, tq, tk).argmax(-1)] + draw.normal(batch, tq, width)
    k = axes[:tk] + draw.normal(batch, tk, width)
    cases.append(Case("scores in the thousands", "attention_weights", (q, k)))
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

# --- scaled_dot_product_attention ----------------------------------------------------------------


def sdpa_cases(draw: Draw) -> list[Case]:
    """Every shape of mask that the docstring allows, no mask, and scores that overflow exp."""

    def sizes() -> list[int]:
        # Tq, Tk, K, Dv: sequences so long that dropout does not leave two calls equal by chance.
        return draw.sizes(4, 4, 9)

    def case(name: str, lead: tuple[int, ...], sizes: list[int], *mask: torch.Tensor, gradients: bool = False) -> Case:
        tq, tk, width, dv = sizes
        q, k, v = draw.normal(*lead, tq, width, scale=1.5), draw.normal(*lead, tk, width), draw.normal(*lead, tk, dv)
        return Case(name, "scaled_dot_product_attention", (q, k, v, *mask), gradients=gradients)

    batch, heads = draw.sizes(2, 2, 3)
    cases = [
        case("no mask, no leading dimension", (), sizes()),
        case("no mask, two leading dimensions, with gradients", (batch, heads), sizes(), gradients=True),
    ]
    tq, tk, *widths = sizes()
    cases.append(case("a mask (Tk,), the same for every query", (batch,), [tq, tk, *widths], draw.mask(tk)))
    tokens, _, *widths = sizes()
    square, mask = [tokens, tokens, *widths], draw.mask(tokens, tokens)
    cases.append(case("as many queries as keys, a mask (T, T)", (batch, heads), square, mask, gradients=True))
    tq, tk, *widths = sizes()
    mask = draw.mask(batch, 1, tk)
    cases.append(case("a mask (B, 1, Tk), one for each sample", (batch,), [tq, tk, *widths], mask))
    tq, tk, *widths = sizes()
    mask = draw.mask(batch, 1, 1, tk)
    cases.append(case("a mask (B, 1, 1, Tk), one for each sample", (batch, heads), [tq, tk, *widths], mask))

    # A last feature of 50 in all queries and keys lifts every score by 2500 / sqrt(width), beyond
    # exp's 709 in float64, and leaves the weights alone. Sixteenths and small values keep the
    # rounding of such scores in float32 below the tolerance.
    large = case("scores around a thousand", (batch,), sizes())
    for tensor in large.args[:2]:
        tensor.mul_(16).round_().div_(16)[..., -1] = 50
    large.args[2].mul_(0.25)
    return [*cases, large]


S = CODE["scaled_dot_product_attention"]
SDPA_WRONG = (
    Misconception(
        "no-scale",
        "the scores go into the softmax as they are, without being divided by sqrt(K)",
        "What did attention_weights do with the scores before the softmax?",
        changed(S, (" / math.sqrt(q.shape[-1])", "")),
        (1,), REPORTS,
    ),
    Misconception(
        "divide-by-width",
        "the scores are divided by K itself instead of by its square root",
        "By how much does the standard deviation, not the variance, of a sum of K terms grow?",
        changed(S, ("math.sqrt(q.shape[-1])", "q.shape[-1]")),
        (2,), TRACKERS,
    ),
    Misconception(
        "multiply-by-root",
        "the scores are multiplied by sqrt(K) instead of divided by it",
        "Should wide vectors make the weights sharper or leave them as they are?",
        changed(S, ("/ math.sqrt", "* math.sqrt")),
        (3,), TRACKERS,
    ),
    Misconception(
        "scale-by-key-count",
        "the scores are divided by the square root of the number of keys, not of the number of features",
        "Over which axis does the dot product of a query and a key add up?",
        changed(S, ("math.sqrt(q.shape[-1])", "math.sqrt(k.shape[-2])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "scale-by-value-width",
        "the scores are divided by the square root of the values' width, not of the queries' and keys'",
        "Do the values take part in the scores at all?",
        changed(S, ("math.sqrt(q.shape[-1])", "math.sqrt(v.shape[-1])")),
        (4,), TRACKERS,
    ),
    Misconception(
        "softmax-over-queries",
        "the softmax runs over the queries instead of the keys, so that each column of weights sums to 1, not each row",
        "If all values are equal, every query must get just that value: does it?",
        changed(S, ("dim=-1", "dim=-2")),
        (5,), TRACKERS,
    ),
    Misconception(
        "softmax-over-dim-one",
        "the softmax runs over dimension 1, counted from the front, whatever stands there: keys, queries, or heads",
        "Which dimension holds the keys when there are none, one, or two leading dimensions? Can you count from the "
        "end?",
        changed(S, ("dim=-1", "dim=1")),
        (5,), REPORTS,
    ),
    Misconception(
        "softmax-over-batch",
        "the softmax runs over the first dimension, so that samples of a batch share their weights",
        "Would one sample get the same answer if it came alone?",
        changed(S, ("dim=-1", "dim=0")),
        (6,), TRACKERS,
    ),
    Misconception(
        "scale-after-softmax",
        "the division by sqrt(K) comes after the softmax or after the weighted sum, so that the answer only shrinks "
        "and the weights stay as sharp as before",
        "If all values are ones, what should come out, and what comes out of yours?",
        changed(S, (" / math.sqrt(q.shape[-1])", ""), ("@ v", "@ v / math.sqrt(q.shape[-1])")),
        (7,), REPORTS,
    ),
    Misconception(
        "no-softmax",
        "the scores mix the values without a softmax",
        "Can one of your weights be negative, and what do the weights of a query sum to?",
        changed(S, (".softmax(dim=-1)", "")),
        (8,), TRACKERS,
    ),
    Misconception(
        "sigmoid",
        "each score goes through a sigmoid on its own, so that the keys do not compete",
        "If all values are ones, what should come out, and what comes out of yours?",
        changed(S, (".softmax(dim=-1)", ".sigmoid()")),
        (8,), TRACKERS,
    ),
    Misconception(
        "mixes-keys",
        "the weights mix the keys instead of the values",
        "What were the keys for, and which tensor has not been used yet?",
        changed(S, ("@ v", "@ k")),
        (9,), TRACKERS,
    ),
    Misconception(
        "mixes-queries",
        "the weights mix the queries instead of the values",
        "What were the queries for, and which tensor has not been used yet?",
        changed(S, ("@ v", "@ q")),
        (9,), TRACKERS,
    ),
    Misconception(
        "reversed-by-T",
        "k.T turns round all dimensions of the keys, the leading ones too, not just the last two",
        "Print k.T.shape for keys of shape (2, 3, 4): which two dimensions did you want to swap?",
        changed(S, ("k.mT", "k.T")),
        (10,), TRACKERS,
    ),
    Misconception(
        "t-of-a-matrix-only",
        "k.t() is used, which knows matrices only and fails as soon as there is a batch",
        "How do you swap the last two dimensions of a tensor with any number of leading ones?",
        changed(S, ("k.mT", "k.t()")),
        (10,), TRACKERS,
    ),
    Misconception(
        "transpose-counted-from-the-front",
        "dimensions 1 and 2 of the keys are swapped, which are the last two only when there is one leading dimension",
        "Which numbers name the last two dimensions however many stand before them?",
        changed(S, ("k.mT", "k.transpose(1, 2)")),
        (10,), TRACKERS,
    ),
    Misconception(
        "scores-transposed",
        "queries and keys have changed places, so that each row of the weights belongs to a key instead of a query",
        "Before the values are mixed: how many rows must the weights have, and what does each row stand for?",
        changed(S, ("q @ k.mT", "k @ q.mT")),
        (10, 27), TRACKERS,
    ),
    Misconception(
        "forbidden-scores-become-zero",
        "a forbidden score becomes 0 (or -1e-9 where -1e9 was meant), and exp(0) is 1, so that the key still gets "
        "weight",
        "Which score does the softmax turn into a weight of exactly 0?",
        changed(S, ("-math.inf", "0.0")),
        (11,), TRACKERS,
    ),
    Misconception(
        "mask-after-softmax",
        "the mask sets weights to 0 after the softmax, so that the rest no longer sums to 1",
        "Where did the weight of the forbidden keys go?",
        changed(S, ("scores = scores.masked_fill(~mask, -math.inf)\n    return scores.softmax(dim=-1) @ v",
                    "return scores.softmax(dim=-1) * mask @ v\n    return scores.softmax(dim=-1) @ v")),
        (12,), TRACKERS,
    ),
    Misconception(
        "mask-inverted",
        "the mask is read the other way round, so that each query attends only to what it must not see",
        "Here True means: may attend. Which positions does your line fill?",
        changed(S, ("~mask", "mask")),
        (13,), TRACKERS,
    ),
    Misconception(
        "mask-has-no-effect",
        "the mask changes nothing: it is not used, or it adds a number as small as -1e-9",
        "Change a value that the mask forbids: may the answer change?",
        changed(S, ("scores = scores.masked_fill(~mask, -math.inf)", "scores = scores + ~mask * -1e-9")),
        (14,), TRACKERS,
    ),
    Misconception(
        "mask-added-as-numbers",
        "the boolean mask is added to the scores, where True counts as 1 and False as 0",
        "What would have to be added to a score so that nothing is left of it after the softmax?",
        changed(S, ("scores.masked_fill(~mask, -math.inf)", "scores + mask")),
        (14,), WRITING,
    ),
    Misconception(
        "infinity-times-zero",
        "the mask is multiplied by infinity before it is added, and 0 times infinity is NaN where attending is allowed",
        "What is 0 * inf, and how can infinity be put only where it is wanted?",
        changed(S, ("scores.masked_fill(~mask, -math.inf)", "scores + ~mask * -math.inf")),
        (), WRITING,
    ),
    Misconception(
        "truth-of-a-tensor",
        "the code asks `if mask:`, and a tensor of several booleans has no single truth value",
        "How do you ask whether a mask was given at all?",
        changed(S, ("if mask is not None:", "if mask:")),
        (), WRITING,
    ),
    Misconception(
        "exp-overflows",
        "the softmax is written as exp(scores) / sum, and exp of a large score is infinite, so that NaN comes out",
        "What changes in exp(s) / sum(exp(s)) when the same number is subtracted from every s of a row?",
        changed(S, ("return scores.softmax(dim=-1) @ v",
                    "e = scores.exp()\n    return e / e.sum(dim=-1, keepdim=True) @ v")),
        (15,), TRACKERS,
    ),
    Misconception(
        "dropout-always-on",
        "dropout is applied to the weights at every call, in evaluation too, so that two equal calls differ",
        "How does F.dropout know whether the model is being trained?",
        changed(S, ("scores.softmax(dim=-1)", "nn.functional.dropout(scores.softmax(dim=-1), 0.5)")),
        (16,), TRACKERS,
    ),
    Misconception(
        "returns-the-weights",
        "the weights are returned instead of the mixed values",
        "What is the shape of your result, and which shape does the docstring promise?",
        changed(S, (" @ v", "")),
        (17,), TRACKERS,
    ),
    Misconception(
        "returns-answer-and-weights",
        "a pair comes back, the answer and the weights, where only the answer was asked for",
        "What would the next layer do with a tuple?",
        changed(S, ("return scores.softmax(dim=-1) @ v", "return scores.softmax(dim=-1) @ v, scores.softmax(dim=-1)")),
        (17,), TRACKERS,
    ),
    Misconception(
        "returns-weights-and-answer",
        "a pair comes back, the weights first and then the answer, where only the answer was asked for",
        "Which of the two does the docstring promise?",
        changed(S, ("return scores.softmax(dim=-1) @ v", "return scores.softmax(dim=-1), scores.softmax(dim=-1) @ v")),
        (17,), TRACKERS,
    ),
    Misconception(
        "cut-from-the-graph",
        "the numbers are right, but the result is cut off from q, k, and v (detach, data, no_grad, or a new tensor), "
        "so that nothing can be learned through it",
        "What is the result's grad_fn when v requires a gradient?",
        changed(S, ("softmax(dim=-1) @ v", "softmax(dim=-1).detach() @ v.detach()")),
        (), WRITING,
    ),
    Misconception(
        "weights-cut-from-the-graph",
        "the numbers are right, but the weights are cut off from q and k, so that only the values can learn",
        "Which of q, k, and v get a gradient from your answer?",
        changed(S, ("softmax(dim=-1)", "softmax(dim=-1).detach()")),
        (), WRITING,
    ),
    Misconception(
        "scales-its-input-in-place",
        "the queries are divided in place (q /= ...), which changes the caller's tensor",
        "What does q hold after the call, and who else still uses it?",
        changed(S, ("scores = q @ k.mT / math.sqrt(q.shape[-1])",
                    "q /= math.sqrt(q.shape[-1])\n    scores = q @ k.mT")),
        (), WRITING,
    ),
)  # fmt: skip

SDPA_OTHER = (
    Alternative("torch's own attention", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
'''),
    Alternative("the first exercise without a mask, where and -1e9 with one", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    if mask is None:
        return attention_weights(q, k).matmul(v)
    scores = torch.einsum("...id,...jd->...ij", q, k) * q.shape[-1] ** -0.5
    return torch.einsum("...ij,...jd->...id", torch.where(mask, scores, -1e9).softmax(-1), v)
'''),
    Alternative("the mask as a bias of 0 and the lowest number", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    bias = q.new_zeros(()) if mask is None else (1 - mask.to(q.dtype)) * torch.finfo(q.dtype).min
    scores = torch.matmul(q / math.sqrt(q.size(-1)), k.transpose(-1, -2))
    return torch.matmul(nn.functional.softmax(scores.add(bias), dim=-1), v)
'''),
    Alternative("exp by hand, forbidden weights dropped, then shared out anew", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    scores = (q[..., :, None, :] * k[..., None, :, :]).sum(-1) / q.shape[-1] ** 0.5
    e = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    if mask is not None:
        e = e * mask
    return (e[..., None] * v[..., None, :, :]).sum(dim=-2) / e.sum(dim=-1, keepdim=True)
'''),
    Alternative("key by key with a running maximum, as flash attention does", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    allowed = torch.ones((), dtype=torch.bool) if mask is None else mask
    allowed = allowed.expand(*q.shape[:-1], k.shape[-2])
    top = q.new_full((*q.shape[:-1], 1), -1e30)
    total, mixed = torch.zeros_like(top), q.new_zeros(*q.shape[:-1], v.shape[-1])
    for j in range(k.shape[-2]):
        score = (q * k[..., j : j + 1, :]).sum(-1, keepdim=True) / math.sqrt(q.shape[-1])
        score = score.masked_fill(~allowed[..., j : j + 1], -1e30)
        new = torch.maximum(top, score.detach())
        keep, weight = torch.exp(top - new), torch.exp(score - new) * allowed[..., j : j + 1]
        total, mixed, top = total * keep + weight, mixed * keep + weight * v[..., j : j + 1, :], new
    return mixed / total
'''),
    Alternative("baddbmm with the mask as its input, leading dimensions folded", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    lead, tq, tk, d = q.shape[:-2], q.shape[-2], k.shape[-2], q.shape[-1]
    bias = torch.zeros(*lead, tq, tk, dtype=q.dtype, device=q.device)
    if mask is not None:
        bias.masked_fill_(mask.logical_not(), float("-inf"))
    scores = torch.baddbmm(bias.view(-1, tq, tk), q.reshape(-1, tq, d), k.reshape(-1, tk, d).mT, alpha=d**-0.5)
    return torch.bmm(torch.softmax(scores, 2), v.reshape(-1, tk, v.shape[-1])).view(*lead, tq, -1)
'''),
    Alternative("one query after the other, only the keys that it may see", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    if mask is not None:
        mask = torch.broadcast_to(mask, (*q.shape[:-1], k.shape[-2]))
    if q.dim() > 2:
        masks = [None] * len(q) if mask is None else mask
        return torch.stack([scaled_dot_product_attention(*one) for one in zip(q, k, v, masks)])
    rows = []
    for i, query in enumerate(q):
        seen = slice(None) if mask is None else mask[i].nonzero().squeeze(1)
        rows.append(torch.softmax(torch.mv(k[seen], query) / len(query) ** 0.5, dim=0) @ v[seen])
    return torch.stack(rows)
'''),
    Alternative("log-softmax and in-place work on its own tensors", '''
def scaled_dot_product_attention(q, k, v, mask=None):
    scores = torch.matmul(q, k.swapaxes(-2, -1))
    scores /= torch.sqrt(torch.tensor(q.shape[-1]))
    if mask is not None:
        scores.masked_fill_(mask == 0, -torch.inf)
    return torch.matmul(torch.log_softmax(scores, dim=-1).exp(), v)
'''),
)  # fmt: skip

# --- AttentionHead -------------------------------------------------------------------------------


def head_weights(draw: Draw, dim: int, width: int) -> dict[str, torch.Tensor]:
    """Random weights and biases for the three layers."""
    shapes = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes |= {f"{name}.weight": (width, dim), f"{name}.bias": (width,)}
    return draw.weights(shapes)


def head_cases(draw: Draw) -> list[Case]:
    """A head narrower and one wider than its token, and a lone sample."""

    def case(name: str, batch: int, tokens: int, dim: int, width: int, **options: object) -> Case:
        x, weights = draw.normal(batch, tokens, dim, scale=1.5), head_weights(draw, dim, width)
        return Case(name, "AttentionHead", (x,), init=(dim, width), weights=weights, **options)

    cases = []
    (batch, tokens, width), (dim,) = draw.sizes(3, 2, 5), draw.sizes(1, 6, 9)
    cases.append(case("a head narrower than the token, with gradients", batch, tokens, dim, width, gradients=True))
    (batch, tokens, dim), (width,) = draw.sizes(3, 2, 5), draw.sizes(1, 6, 9)
    cases.append(case("a head wider than the token", batch, tokens, dim, width))
    tokens, dim, width = draw.sizes(3, 2, 9)
    cases.append(case("one sample alone", 1, tokens, dim, width))
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
)  # fmt: skip

# --- MultiHeadAttention --------------------------------------------------------------------------

# Heads and their width, unlike each other; their product is the width of all heads together.
SPLITS = ((2, 3), (2, 4), (2, 5), (3, 2), (3, 4), (3, 5), (4, 2), (4, 3), (5, 2), (5, 3))


def many_weights(draw: Draw, dim: int, inner: int, qkv_bias: bool = True) -> dict[str, torch.Tensor]:
    """Random weights and biases for the four layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("to_q", "to_k", "to_v"):
        shapes[f"{name}.weight"] = (inner, dim)
        if qkv_bias:
            shapes[f"{name}.bias"] = (inner,)
    return draw.weights(shapes | {"to_out.weight": (dim, inner), "to_out.bias": (dim,)})


def many_cases(draw: Draw) -> list[Case]:
    """Each constructor argument given and left out, a lone sample, and sizes that must be refused."""

    def case(name: str, batch: int, tokens: int, init: tuple[int, ...], inner: int, **options: object) -> Case:
        weights = many_weights(draw, init[0], inner, options.get("init_kwargs", {}).get("qkv_bias", True))
        x = draw.normal(batch, tokens, init[0], scale=1.5)
        return Case(name, "MultiHeadAttention", (x,), init=init, weights=weights, **options)

    def split() -> tuple[int, int]:
        return SPLITS[draw.sizes(1, 0, len(SPLITS) - 1)[0]]

    heads, width = split()
    inner = heads * width
    batch, tokens = draw.sizes(2, 2, 7, without=(heads, width, inner))
    cases = [case("head_dim left out, with gradients", batch, tokens, (inner, heads), inner, gradients=True)]

    heads, width = split()
    (dim,) = draw.sizes(1, 5, 9, without=(width, heads * width, *range(heads, 10, heads)))
    batch, tokens = draw.sizes(2, 2, 7, without=(heads, width, dim))
    cases.append(case("head_dim given, and dim does not split", batch, tokens, (dim, heads, width), heads * width))

    heads, width = split()
    dim = heads * draw.sizes(1, 2, 5, without=(width, width // heads))[0]
    batch, tokens = draw.sizes(2, 2, 7, without=(heads, width, dim))
    options = {"head_dim": width, "qkv_bias": False}
    name = "no bias for queries, keys, and values"
    cases.append(case(name, batch, tokens, (dim, heads), heads * width, init_kwargs=options))

    heads, width = split()
    (tokens,) = draw.sizes(1, 4, 9, without=(heads, width, heads * width))
    cases.append(case("one sample alone", 1, tokens, (heads * width, heads), heads * width))

    heads, width = split()
    dim = heads * width + 1
    refused = Case(
        "sizes that do not split are refused", "MultiHeadAttention",
        init=(dim, heads), call=False, raises=(dim, heads), share=0.5,
    )  # fmt: skip
    return [*cases, refused]


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
)  # fmt: skip

# --- multi_head_attention_einsum -----------------------------------------------------------------


def einsum_cases(draw: Draw) -> list[Case]:
    """Narrow and wide heads, a lone sample, and five sizes of which no two are equal."""

    def case(name: str, batch: int, tokens: int, dim: int, heads: int, width: int, **options: object) -> Case:
        into = [draw.normal(heads, dim, width, scale=dim**-0.5) for _ in range(3)]
        out = draw.normal(heads, width, dim, scale=(heads * width) ** -0.5)
        x = draw.normal(batch, tokens, dim, scale=1.5)
        return Case(name, "multi_head_attention_einsum", (x, *into, out), **options)

    cases = [case("five different sizes, with gradients", *draw.sizes(5, 2, 7), gradients=True)]
    (dim,), rest = draw.sizes(1, 8, 9), draw.sizes(4, 2, 6)
    cases.append(case("tokens wider than a head", *rest[:2], dim, *rest[2:]))
    (width,), rest = draw.sizes(1, 8, 9), draw.sizes(4, 2, 6)
    cases.append(case("heads wider than a token", *rest, width))
    cases.append(case("one sample alone", 1, *draw.sizes(4, 2, 7)))
    return cases


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

LIBRARY = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")

EXERCISES = (
    Exercise("attention_weights", weights_cases, WEIGHTS_WRONG, WEIGHTS_OTHER, LIBRARY),
    Exercise("scaled_dot_product_attention", sdpa_cases, SDPA_WRONG, SDPA_OTHER, LIBRARY),
    Exercise("AttentionHead", head_cases, HEAD_WRONG, HEAD_OTHER, LIBRARY),
    Exercise("MultiHeadAttention", many_cases, MANY_WRONG, MANY_OTHER, LIBRARY),
    Exercise("multi_head_attention_einsum", einsum_cases, EINSUM_WRONG, EINSUM_OTHER, LIBRARY),
)
