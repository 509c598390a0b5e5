"""The exams of Lab 1 as an instructor without our autograder would write them: tests that run in the student's kernel.

Each function examines one exercise with as many cases as `autograder/exams/lab1/` has: the same shapes,
random weights, float64, gradients where the exam asks for them, a second call, arguments left as they were.
The model answers are torch's own. nbgrader gets a function as hidden tests of a cell, otter-grader as a test case.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def agree(mine: Callable[..., Any], theirs: Callable[..., Any], inputs: list[Tensor], gradients: bool = False) -> None:
    """Fail unless both give the same numbers, twice, and `mine` leaves its inputs as they were."""
    kept, wanted = [tensor.clone() for tensor in inputs], theirs(*inputs)
    with torch.no_grad():
        again = mine(*inputs)
    assert all(torch.equal(now, before) for now, before in zip(inputs, kept, strict=True)), "an argument was changed"
    leaves = [[t.clone().requires_grad_(gradients and t.is_floating_point()) for t in inputs] for _ in range(2)]
    found = mine(*leaves[0])
    assert found.shape == wanted.shape, f"expected shape {tuple(wanted.shape)}, found {tuple(found.shape)}"
    assert found.dtype == wanted.dtype, f"expected {wanted.dtype}, found {found.dtype}"
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-6), "other numbers"
    assert torch.allclose(again, found), "two calls differ"
    if gradients:
        learned = [[t for t in tensors if t.requires_grad] for tensors in leaves]
        direction = torch.randn_like(wanted)
        ours = torch.autograd.grad(found, learned[0], direction)
        for a, b in zip(ours, torch.autograd.grad(theirs(*leaves[1]), learned[1], direction), strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6), "other gradients"


def agree_as_module(
    layer: nn.Module,
    theirs: Callable[..., Tensor],
    x: Tensor,
    weights: dict[str, Tensor],
    gradients: bool = False,
    before: Tensor | None = None,
) -> None:
    """`agree`, for a module with these weights, in whose order `theirs` takes them; `before` is given to it first."""
    layer = layer.double().eval()
    layer.load_state_dict(weights)
    if before is not None:
        layer(before)

    def mine(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(weights, values, strict=True)), (x,))

    agree(mine, theirs, [x, *weights.values()], gradients)


def quarters(t: Tensor) -> Tensor:
    """Values rounded to quarters, whose products and sums are exact in the thousands, too."""
    return (t * 4).round() / 4


def lift(layers: dict[str, Tensor], *signs: int) -> None:
    """Move all scores of each head, of 64 features, to 5000 or -5000, and leave its weights alone."""
    for name in ("to_q", "to_k"):
        weight, bias = layers[f"{name}.weight"], layers[f"{name}.bias"]
        weight.copy_(quarters(weight)), bias.copy_(quarters(bias))
        for head, sign in enumerate(signs):
            last = 64 * head + 63
            weight[last], bias[last] = 0, 200 if name == "to_q" else sign * 200


def refuse(make: Callable[[], Any], *numbers: int) -> None:
    """Fail unless making it raises an error that names the numbers."""
    try:
        make()
    except (ValueError, AssertionError) as error:
        assert all(str(number) in str(error) for number in numbers), "the error does not name the sizes"
    else:
        raise AssertionError("sizes that do not split were taken")


def test_attention_weights(attention_weights: Callable[..., Tensor]) -> None:
    torch.manual_seed(1)

    def theirs(q: Tensor, k: Tensor) -> Tensor:
        identity = torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], k.shape[-2])
        return F.scaled_dot_product_attention(q, k, identity)

    sizes = (((), 5, 3, 7), ((4,), 6, 2, 5), ((2, 3), 7, 4, 6), ((3,), 5, 5, 8), ((1, 1), 6, 4, 5), ((1,), 1, 4, 7))
    for lead, tq, tk, width in sizes:
        q = torch.randn(*lead, tq, width, dtype=torch.float64)
        k = torch.randn(*lead, tk, width, dtype=torch.float64)
        agree(attention_weights, theirs, [q, k], gradients=lead == (4,))
    axes = 60 * torch.eye(8, dtype=torch.float64)  # scores near 60 * 60 / sqrt(8), beyond exp's 709
    q = axes[torch.randint(3, (6, 4))] + torch.randn(6, 4, 8, dtype=torch.float64)
    agree(attention_weights, theirs, [q, axes[:3] + torch.randn(6, 3, 8, dtype=torch.float64)])
    q, k = (quarters(torch.randn(2, tokens, 64, dtype=torch.float64)) for tokens in (5, 4))
    q[..., -1], k[0, :, -1], k[1, :, -1] = 200, 200, -200  # scores near 5000, and near -5000
    agree(attention_weights, theirs, [q, k])


def test_scaled_dot_product_attention(scaled_dot_product_attention: Callable[..., Tensor]) -> None:
    torch.manual_seed(2)

    def theirs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    def drawn(*shape: int) -> Tensor:
        order = torch.rand(shape).argsort(-1)  # every row has a True and a False
        return order < max(1, shape[-1] // 2)

    for lead, tq, tk, mask_shape, gradients in (
        ((), 5, 8, None, False),
        ((2, 3), 6, 4, None, True),
        ((2,), 7, 5, (5,), False),
        ((2, 3), 6, 6, (6, 6), True),
        ((2,), 4, 7, (2, 1, 7), False),
        ((2, 3), 5, 6, (2, 1, 1, 6), False),
        ((), 1, 7, (7,), False),
    ):
        q, k, v = (torch.randn(*lead, *size, dtype=torch.float64) for size in ((tq, 8), (tk, 8), (tk, 9)))
        agree(scaled_dot_product_attention, theirs, [q, k, v, *([drawn(*mask_shape)] if mask_shape else [])], gradients)
    q, k, v = (torch.randn(1, 1, *size, dtype=torch.float64) for size in ((5, 4), (6, 4), (6, 3)))
    for _ in range(2):  # two masks of one shape
        agree(scaled_dot_product_attention, theirs, [q, k, v, drawn(5, 6)])
    q, k, v = (torch.randn(2, *size, dtype=torch.float64) for size in ((5, 4), (7, 4), (7, 6)))
    q[..., -1] = k[..., -1] = 50  # scores around a thousand
    agree(scaled_dot_product_attention, theirs, [q, k, v])
    for among, forbidden in (
        (200.0, 200.0),
        (24.0, 72.0),
    ):  # then the forbidden ones have the highest scores
        q, k = (quarters(torch.randn(2, tokens, 64, dtype=torch.float64)) for tokens in (5, 6))
        mask, v = drawn(2, 1, 6), torch.randn(2, 6, 3, dtype=torch.float64)
        q[..., -1], k[..., -1] = among, torch.where(mask[:, 0], among, forbidden)
        if among == forbidden:
            k[1, :, -1] = -among
        agree(scaled_dot_product_attention, theirs, [q, k, v, mask])


def test_AttentionHead(AttentionHead: type[nn.Module]) -> None:
    torch.manual_seed(3)

    def theirs(x: Tensor, *w: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(F.linear(x, w[0], w[1]), F.linear(x, w[2], w[3]), F.linear(x, w[4], w[5]))

    def layers(dim: int, width: int) -> dict[str, Tensor]:
        drawn = {}
        for name in ("to_q", "to_k", "to_v"):
            drawn[f"{name}.weight"] = torch.randn(width, dim, dtype=torch.float64) * dim**-0.5
            drawn[f"{name}.bias"] = torch.randn(width, dtype=torch.float64)
        return drawn

    for batch, tokens, dim, width in ((4, 3, 8, 5), (2, 5, 3, 7), (1, 4, 6, 9), (3, 1, 5, 7)):
        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
        agree_as_module(AttentionHead(dim, width), theirs, x, layers(dim, width), gradients=batch == 4)
    x, before = (torch.randn(*size, 7, dtype=torch.float64) for size in ((2, 5), (3, 4)))
    agree_as_module(AttentionHead(7, 4), theirs, x, layers(7, 4), before=before)
    for sign in (1, -1):
        x, weights = quarters(torch.randn(3, 5, 7, dtype=torch.float64)), layers(7, 64)
        lift(weights, sign)
        agree_as_module(AttentionHead(7, 64), theirs, x, weights)


def test_MultiHeadAttention(MultiHeadAttention: type[nn.Module]) -> None:
    torch.manual_seed(4)
    for batch, tokens, dim, heads, width, options in (
        (2, 5, 12, 3, 4, {}),
        (5, 6, 7, 2, 4, {"head_dim": 4}),
        (4, 7, 6, 2, 5, {"head_dim": 5, "qkv_bias": False}),
        (1, 7, 10, 5, 2, {}),
        (3, 5, 7, 1, 4, {"head_dim": 4}),
        (3, 1, 7, 2, 5, {"head_dim": 5}),
        (4, 6, 9, 3, 5, {"head_dim": 5}),  # after a call with other sizes
        (3, 4, 5, 2, 64, {"head_dim": 64}),  # scores far above zero in one head, and far below in the other
    ):
        bias, inner, weights = options.get("qkv_bias", True), heads * width, {}
        for name in ("to_q", "to_k", "to_v"):
            weights[f"{name}.weight"] = torch.randn(inner, dim, dtype=torch.float64) * dim**-0.5
            if bias:
                weights[f"{name}.bias"] = torch.randn(inner, dtype=torch.float64)
        weights["to_out.weight"] = torch.randn(dim, inner, dtype=torch.float64) * inner**-0.5
        weights["to_out.bias"] = torch.randn(dim, dtype=torch.float64)
        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
        before = torch.randn(2, 3, dim, dtype=torch.float64) if dim == 9 else None
        if width == 64:
            x = quarters(x)
            lift(weights, 1, -1)

        def theirs(x: Tensor, *w: Tensor, heads: int = heads, bias: bool = bias) -> Tensor:
            layers = zip(w[:-2:2], w[1:-2:2], strict=True) if bias else ((weight, None) for weight in w[:-2])
            q, k, v = (F.linear(x, *layer).unflatten(-1, (heads, -1)).transpose(1, 2) for layer in layers)
            return F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), *w[-2:])

        agree_as_module(MultiHeadAttention(dim, heads, **options), theirs, x, weights, batch == 2, before)
    refuse(lambda: MultiHeadAttention(13, 3), 13, 3)


def test_multi_head_attention_einsum(multi_head_attention_einsum: Callable[..., Tensor]) -> None:
    torch.manual_seed(5)

    def theirs(x: Tensor, *w: Tensor) -> Tensor:
        q, k, v = (x.unsqueeze(1) @ weight for weight in w[:3])
        return (F.scaled_dot_product_attention(q, k, v) @ w[3]).sum(dim=1)

    for batch, tokens, dim, heads, width in (
        (2, 5, 6, 3, 4), (3, 5, 9, 2, 4), (4, 3, 6, 2, 8), (1, 5, 6, 3, 4), (3, 4, 6, 1, 1), (3, 1, 5, 2, 4),
        (3, 4, 5, 2, 64),
    ):  # fmt: skip
        into = [torch.randn(heads, dim, width, dtype=torch.float64) * dim**-0.5 for _ in range(3)]
        out = torch.randn(heads, width, dim, dtype=torch.float64) * (heads * width) ** -0.5
        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
        if width == 64:  # scores near 5000 in one head, and near -5000 in the other, by a feature that is always 1
            x, into[:2] = quarters(x), [quarters(weight) for weight in into[:2]]
            x[..., -1] = 1
            for weight, numbers in zip(into, ((200.0, 200.0), (200.0, -200.0)), strict=False):
                weight[:, :, -1] = 0
                weight[:, -1, -1] = torch.tensor(numbers, dtype=torch.float64)
        agree(multi_head_attention_einsum, theirs, [x, *into, out], gradients=batch == 2)


TESTS: dict[str, Callable[[Any], None]] = {
    test.__name__.removeprefix("test_"): test
    for test in (
        test_attention_weights,
        test_scaled_dot_product_attention,
        test_AttentionHead,
        test_MultiHeadAttention,
        test_multi_head_attention_einsum,
    )
}
IMPORTS = """from collections.abc import Callable
from typing import Any
import torch
import torch.nn.functional as F
from torch import Tensor, nn"""


def as_function(exercise: str) -> str:
    """The source of one function, `examine_it`, that holds all that an exercise's test needs."""
    parts = [inspect.getsource(part) for part in (agree, agree_as_module, quarters, lift, refuse, TESTS[exercise])]
    body = textwrap.indent("\n".join([IMPORTS, *parts, f"test_{exercise}({exercise})"]), "    ")
    return f"def examine_it({exercise}):\n{body}"
