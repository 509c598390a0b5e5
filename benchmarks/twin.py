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
    layer: nn.Module, theirs: Callable[..., Tensor], x: Tensor, shapes: dict[str, tuple[int, ...]], gradients: bool
) -> None:
    """`agree`, for a module with random weights; `theirs` takes the input and the weights in the order of `shapes`."""
    weights = [torch.randn(*shape, dtype=torch.float64) * shape[-1] ** -0.5 for shape in shapes.values()]
    layer = layer.double().eval()
    layer.load_state_dict(dict(zip(shapes, weights, strict=True)))

    def mine(x: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(layer, dict(zip(shapes, weights, strict=True)), (x,))

    agree(mine, theirs, [x, *weights], gradients)


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

    for lead, tq, tk, width in (((), 5, 3, 7), ((4,), 6, 2, 5), ((2, 3), 7, 4, 6), ((3,), 5, 5, 8)):
        q = torch.randn(*lead, tq, width, dtype=torch.float64)
        k = torch.randn(*lead, tk, width, dtype=torch.float64)
        agree(attention_weights, theirs, [q, k], gradients=lead == (4,))
    axes = 60 * torch.eye(8, dtype=torch.float64)  # scores near 60 * 60 / sqrt(8), beyond exp's 709
    q = axes[torch.randint(3, (6, 4))] + torch.randn(6, 4, 8, dtype=torch.float64)
    agree(attention_weights, theirs, [q, axes[:3] + torch.randn(6, 3, 8, dtype=torch.float64)])


def test_scaled_dot_product_attention(scaled_dot_product_attention: Callable[..., Tensor]) -> None:
    torch.manual_seed(2)

    def theirs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    for lead, tq, tk, mask_shape, gradients in (
        ((), 5, 8, None, False),
        ((2, 3), 6, 4, None, True),
        ((2,), 7, 5, (5,), False),
        ((2, 3), 6, 6, (6, 6), True),
        ((2,), 4, 7, (2, 1, 7), False),
        ((2, 3), 5, 6, (2, 1, 1, 6), False),
    ):
        q, k, v = (torch.randn(*lead, *size, dtype=torch.float64) for size in ((tq, 8), (tk, 8), (tk, 9)))
        mask = []
        if mask_shape:
            order = torch.rand(mask_shape).argsort(-1)  # every row has a True and a False
            mask = [(order < max(1, mask_shape[-1] // 2))]
        agree(scaled_dot_product_attention, theirs, [q, k, v, *mask], gradients)
    q, k, v = (torch.randn(2, *size, dtype=torch.float64) for size in ((5, 4), (7, 4), (7, 6)))
    q[..., -1] = k[..., -1] = 50  # scores around a thousand
    agree(scaled_dot_product_attention, theirs, [q, k, v])


def test_AttentionHead(AttentionHead: type[nn.Module]) -> None:
    torch.manual_seed(3)

    def theirs(x: Tensor, *w: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(F.linear(x, w[0], w[1]), F.linear(x, w[2], w[3]), F.linear(x, w[4], w[5]))

    for batch, tokens, dim, width in ((4, 3, 8, 5), (2, 5, 3, 7), (1, 4, 6, 9)):
        shapes = {}
        for name in ("to_q", "to_k", "to_v"):
            shapes |= {f"{name}.weight": (width, dim), f"{name}.bias": (width,)}
        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
        agree_as_module(AttentionHead(dim, width), theirs, x, shapes, gradients=batch == 4)


def test_MultiHeadAttention(MultiHeadAttention: type[nn.Module]) -> None:
    torch.manual_seed(4)
    for batch, tokens, dim, heads, width, options in (
        (2, 5, 12, 3, 4, {}),
        (5, 6, 7, 2, 4, {"head_dim": 4}),
        (4, 7, 6, 2, 5, {"head_dim": 5, "qkv_bias": False}),
        (1, 7, 10, 5, 2, {}),
    ):
        bias, inner, shapes = options.get("qkv_bias", True), heads * width, {}
        for name in ("to_q", "to_k", "to_v"):
            shapes |= {f"{name}.weight": (inner, dim)} | ({f"{name}.bias": (inner,)} if bias else {})
        shapes |= {"to_out.weight": (dim, inner), "to_out.bias": (dim,)}

        def theirs(x: Tensor, *w: Tensor, heads: int = heads, bias: bool = bias) -> Tensor:
            layers = zip(w[:-2:2], w[1:-2:2], strict=True) if bias else ((weight, None) for weight in w[:-2])
            q, k, v = (F.linear(x, *layer).unflatten(-1, (heads, -1)).transpose(1, 2) for layer in layers)
            return F.linear(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2), *w[-2:])

        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
        agree_as_module(MultiHeadAttention(dim, heads, **options), theirs, x, shapes, gradients=batch == 2)
    refuse(lambda: MultiHeadAttention(13, 3), 13, 3)


def test_multi_head_attention_einsum(multi_head_attention_einsum: Callable[..., Tensor]) -> None:
    torch.manual_seed(5)

    def theirs(x: Tensor, *w: Tensor) -> Tensor:
        q, k, v = (x.unsqueeze(1) @ weight for weight in w[:3])
        return (F.scaled_dot_product_attention(q, k, v) @ w[3]).sum(dim=1)

    for batch, tokens, dim, heads, width in ((2, 5, 6, 3, 4), (3, 5, 9, 2, 4), (4, 3, 6, 2, 8), (1, 5, 6, 3, 4)):
        into = [torch.randn(heads, dim, width, dtype=torch.float64) * dim**-0.5 for _ in range(3)]
        out = torch.randn(heads, width, dim, dtype=torch.float64) * (heads * width) ** -0.5
        x = 1.5 * torch.randn(batch, tokens, dim, dtype=torch.float64)
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
    parts = [inspect.getsource(part) for part in (agree, agree_as_module, refuse, TESTS[exercise])]
    body = textwrap.indent("\n".join([IMPORTS, *parts, f"test_{exercise}({exercise})"]), "    ")
    return f"def examine_it({exercise}):\n{body}"
