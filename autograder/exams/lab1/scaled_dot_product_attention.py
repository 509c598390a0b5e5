"""The exam of `scaled_dot_product_attention`."""

from __future__ import annotations

import dataclasses

import torch

from autograder.exams.lab1.shared import CODE, LIBRARY, REPORTS, TRACKERS, WIDE, WRITING, lifted, quarters
from autograder.labs.exam import Alternative, Exercise, Misconception, changed
from autograder.labs.variants import Variant
from vitedu.probe.case import FunctionCase, Scoring

TARGET = "scaled_dot_product_attention"


def sdpa_cases(variant: Variant) -> list[FunctionCase]:
    """Every shape of mask that the docstring allows, no mask, lone samples, and scores that overflow exp."""

    def sizes() -> list[int]:
        # Tq, Tk, K, Dv: sequences so long that dropout does not leave two calls equal by chance.
        return variant.sizes(4, 4, 9)

    def case(
        name: str, lead: tuple[int, ...], sizes: list[int], *mask: torch.Tensor, gradients: bool = False
    ) -> FunctionCase:
        tq, tk, width, dv = sizes
        q, k, v = (
            variant.normal(*lead, tq, width, scale=1.5),
            variant.normal(*lead, tk, width),
            variant.normal(*lead, tk, dv),
        )
        return FunctionCase(name, TARGET, (q, k, v, *mask), gradients=gradients)

    batch, heads = variant.sizes(2, 2, 3)
    cases = [
        case("no mask, no leading dimension", (), sizes()),
        case("no mask, two leading dimensions, with gradients", (batch, heads), sizes(), gradients=True),
    ]
    tq, tk, *widths = sizes()
    cases.append(case("a mask (Tk,), the same for every query", (batch,), [tq, tk, *widths], variant.mask(tk)))
    tokens, _, *widths = sizes()
    square, mask = [tokens, tokens, *widths], variant.mask(tokens, tokens)
    cases.append(case("as many queries as keys, a mask (T, T)", (batch, heads), square, mask, gradients=True))
    tq, tk, *widths = sizes()
    mask = variant.mask(batch, 1, tk)
    cases.append(case("a mask (B, 1, Tk), one for each sample", (batch,), [tq, tk, *widths], mask))
    tq, tk, *widths = sizes()
    mask = variant.mask(batch, 1, 1, tk)
    cases.append(case("a mask (B, 1, 1, Tk), one for each sample", (batch, heads), [tq, tk, *widths], mask))

    # A last feature of 50 in all queries and keys lifts every score by 2500 / sqrt(width), beyond
    # exp's 709 in float64, and leaves the weights alone. Sixteenths and small values keep the
    # rounding of such scores in float32 below the tolerance.
    large = case("scores around a thousand", (batch,), sizes())
    for tensor in large.args[:2]:
        tensor.mul_(16).round_().div_(16)[..., -1] = 50
    large.args[2].mul_(0.25)

    half = Scoring(share=0.5)
    tq, tk, dv, _ = sizes()
    q, k = lifted(variant.normal(2, tq, WIDE), variant.normal(2, tk, WIDE))
    args = (q, k, variant.normal(2, tk, dv, scale=0.25), variant.mask(2, 1, tk))
    name = "a mask with wide heads, all scores far above zero or far below"
    far = FunctionCase(name, TARGET, args, scoring=half)
    tempting = _tempting(variant, *sizes()[:3])
    tq, tk, *widths = sizes()
    single = case("one sample with one head, a mask (T, T)", (1, 1), [tq, tk, *widths], variant.mask(tq, tk))
    mask = variant.mask(tq, tk)
    other = dataclasses.replace(single, name="another mask of the same shape", args=(*single.args[:3], mask))
    _, tk, width, _ = sizes()
    lone = case("one query, values of one feature, a mask (Tk,)", (), [1, tk, width, 1], variant.mask(tk))
    cases = [*cases, large, far]
    return cases + [dataclasses.replace(each, scoring=half) for each in (single, other, lone, tempting)]


def _tempting(variant: Variant, tq: int, tk: int, dv: int) -> FunctionCase:
    """Scores near 144 where attending is allowed, and near 432 where it is not: a small number added hides nothing."""
    q, k = quarters(variant.normal(2, tq, WIDE)), quarters(variant.normal(2, tk, WIDE))
    mask = variant.mask(2, 1, tk)
    q[..., -1], k[..., -1] = 48, torch.where(mask[:, 0], 24.0, 72.0)
    args = (q, k, variant.normal(2, tk, dv, scale=0.25), mask)
    return FunctionCase("a mask with scores in the hundreds, the forbidden ones the highest", TARGET, args)


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
        "forbidden-scores-not-low-enough",
        "a forbidden score becomes a number such as -100 or -1000, so that the key gets all the weight where the "
        "allowed scores are lower still",
        "Which number is below every score that there can be?",
        changed(S, ("-math.inf", "-1000.0")),
        (11,), WRITING,
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
        "mask-transposed",
        "the mask is transposed, so that its rows stand for the keys and its columns for the queries",
        "In a mask (Tq, Tk): what does row 0 belong to, a query or a key?",
        changed(S, ("~mask", "~mask.mT")),
        (), WRITING,
    ),
    Misconception(
        "forbidden-scores-lowered-too-little",
        "a number such as -100 is added to the forbidden scores, and one that is higher than the allowed ones by more "
        "still gets all the weight",
        "How large may a score be, and is it below all others after your addition?",
        changed(S, ("scores.masked_fill(~mask, -math.inf)", "scores + ~mask * -100.0")),
        (11,), WRITING,
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
        "largest-of-all-subtracted",
        "the largest of all scores is subtracted before the exponential, not the largest of each row, so that a sample "
        "whose scores lie far below another's gets 0 / 0",
        "Which scores share one sum, and whose largest must be subtracted from them so that the sum cannot be 0?",
        changed(S, ("return scores.softmax(dim=-1) @ v",
                    "e = (scores - scores.max()).exp()\n    return e / e.sum(dim=-1, keepdim=True) @ v")),
        (15,), WRITING,
    ),
    Misconception(
        "causal-always",
        "a query sees only the keys up to its own place, as in a language model, without any mask that says so",
        "Which tokens may a query attend to when no mask is given?",
        changed(S, ("    return scores", "    later = torch.ones_like(scores, dtype=torch.bool).triu(1)\n"
                                         "    scores = scores.masked_fill(later, -math.inf)\n    return scores")),
        (), WRITING,
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

EXERCISE = Exercise("scaled_dot_product_attention", sdpa_cases, SDPA_WRONG, SDPA_OTHER, LIBRARY)
