"""Lab 1's model answers against attention that we did not write, and mistakes that the oracles must see."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autograder.labs.exam import changed
from autograder.labs.lab import solution_cells

CODE = solution_cells("lab1_attention")
Shape = tuple[int, ...]
LEADS = [(), (3,), (2, 4)]
SIZES = [(3, 5, 7, 4), (6, 2, 3, 8), (5, 5, 4, 9)]  # Tq, Tk, K, Dv
ANY_LEAD = [(mask, lead) for mask in ("none", "(Tk,)", "(Tq, Tk)") for lead in LEADS]
FITTING = [*ANY_LEAD, ("(B, 1, Tk)", (3,)), ("(B, 1, 1, Tk)", (2, 4))]


def run_cells(**replaced: str) -> dict[str, Any]:
    """The names that the solution cells define, some of the cells replaced."""
    space: dict[str, Any] = {"math": math, "torch": torch, "Tensor": Tensor, "nn": nn}
    for name, code in CODE.items():
        exec(compile(replaced.get(name, code), f"<{name}>", "exec"), space)
    return space


MODEL = run_cells()
pytestmark = pytest.mark.usefixtures("float64")


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def random_mask(kind: str, lead: Shape, tq: int, tk: int) -> Tensor:
    """A boolean mask of the named shape, with a True in every row."""
    first = lead[:1]
    shapes = {"(Tk,)": (tk,), "(Tq, Tk)": (tq, tk), "(B, 1, Tk)": (*first, 1, tk), "(B, 1, 1, Tk)": (*first, 1, 1, tk)}
    shape = shapes[kind]
    mask = torch.rand(shape) < 0.6
    return mask.scatter(-1, torch.randint(tk, (*shape[:-1], 1)), True)


# --- the oracles: each takes the object under test ------------------------------------------------


def weights_oracle(function: Callable[..., Tensor], lead: Shape = (2,), sizes: Shape = SIZES[0]) -> None:
    """torch's attention on the identity as values returns its weights."""
    tq, tk, width, _ = sizes
    q, k = torch.randn(*lead, tq, width), torch.randn(*lead, tk, width)
    close(function(q, k), F.scaled_dot_product_attention(q, k, torch.eye(tk).expand(*lead, tk, tk)))


def sdpa_oracle(
    function: Callable[..., Tensor], mask: str = "(Tq, Tk)", lead: Shape = (2,), sizes: Shape = SIZES[0]
) -> None:
    """torch's own function, with the same boolean mask."""
    tq, tk, width, dv = sizes
    q, k, v = torch.randn(*lead, tq, width), torch.randn(*lead, tk, width), torch.randn(*lead, tk, dv)
    if mask == "none":
        close(function(q, k, v), F.scaled_dot_product_attention(q, k, v))
        return
    allowed = random_mask(mask, lead, tq, tk)
    # torch's fused kernel on the CPU does not take a mask of one dimension for four-dimensional inputs.
    full = allowed.expand(*lead, tq, tk)
    close(function(q, k, v, allowed), F.scaled_dot_product_attention(q, k, v, attn_mask=full))


def torch_attention(dim: int, heads: int, weights: dict[str, Tensor]) -> nn.MultiheadAttention:
    """torch's module with the weights of to_q, to_k, to_v, and to_out; missing biases are 0."""
    module = nn.MultiheadAttention(dim, heads, batch_first=True)
    zeros = torch.zeros(dim)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat([weights[f"to_{n}.weight"] for n in "qkv"]))
        module.in_proj_bias.copy_(torch.cat([weights.get(f"to_{n}.bias", zeros) for n in "qkv"]))
        module.out_proj.weight.copy_(weights.get("to_out.weight", torch.eye(dim)))
        module.out_proj.bias.copy_(weights.get("to_out.bias", zeros))
    return module


def module_oracle(module: nn.Module, dim: int, heads: int, batch: int = 2, tokens: int = 5) -> None:
    """nn.MultiheadAttention with the same weights; a module without to_out is one head."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    x = torch.randn(batch, tokens, dim, requires_grad=True)
    found = module(x)
    expected = torch_attention(dim, heads, module.state_dict())(x, x, x, need_weights=False)[0]
    close(found, expected)
    close(*(torch.autograd.grad(out.square().sum(), x)[0] for out in (found, expected)))


def einsum_oracle(
    function: Callable[..., Tensor], batch: int = 2, tokens: int = 5, heads: int = 3, width: int = 4
) -> None:
    """nn.MultiheadAttention whose wide matrices are the heads' weights, one under the other."""
    dim = heads * width
    x = torch.randn(batch, tokens, dim)
    into = [torch.randn(heads, dim, width) * dim**-0.5 for _ in range(3)]
    w_out = torch.randn(heads, width, dim) * dim**-0.5
    wide = {f"to_{n}.weight": w.permute(0, 2, 1).reshape(dim, dim) for n, w in zip("qkv", into, strict=True)}
    module = torch_attention(dim, heads, wide | {"to_out.weight": w_out.reshape(dim, dim).T})
    close(function(x, *into, w_out), module(x, x, x, need_weights=False)[0].detach())


# --- the model answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("lead", LEADS)
def test_attention_weights(lead, sizes):
    weights_oracle(MODEL["attention_weights"], lead, sizes)


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(("mask", "lead"), FITTING)
def test_scaled_dot_product_attention(mask, lead, sizes):
    sdpa_oracle(MODEL["scaled_dot_product_attention"], mask, lead, sizes)


@pytest.mark.parametrize(("batch", "tokens", "dim"), [(2, 5, 4), (1, 3, 7), (4, 2, 6)])
def test_attention_head(batch, tokens, dim):
    module_oracle(MODEL["AttentionHead"](dim, dim), dim, 1, batch, tokens)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(("batch", "tokens", "dim", "heads"), [(2, 5, 12, 3), (3, 4, 10, 2), (1, 6, 8, 8)])
def test_multi_head_attention(batch, tokens, dim, heads, qkv_bias):
    module_oracle(MODEL["MultiHeadAttention"](dim, heads, qkv_bias=qkv_bias), dim, heads, batch, tokens)


def test_a_given_head_dim_is_the_sum_of_single_heads():
    """nn.MultiheadAttention has no head_dim: each head is compared on its own, then added up."""
    dim, heads, width = 7, 3, 4
    module, x = MODEL["MultiHeadAttention"](dim, heads, width), torch.randn(2, 5, dim)
    expected = module.to_out.bias.expand(2, 5, dim)
    for h in range(heads):
        mine = slice(h * width, (h + 1) * width)
        q, k, v = (F.linear(x, to.weight[mine], to.bias[mine]) for to in (module.to_q, module.to_k, module.to_v))
        expected = expected + F.scaled_dot_product_attention(q, k, v) @ module.to_out.weight[:, mine].T
    close(module(x), expected)


@pytest.mark.parametrize(("batch", "tokens", "heads", "width"), [(2, 5, 3, 4), (3, 2, 2, 5), (1, 6, 4, 3)])
def test_multi_head_attention_einsum(batch, tokens, heads, width):
    einsum_oracle(MODEL["multi_head_attention_einsum"], batch, tokens, heads, width)


@pytest.mark.parametrize(("dim", "heads"), [(10, 3), (7, 2)])
def test_sizes_that_do_not_split_are_refused(dim, heads):
    with pytest.raises(ValueError, match=rf"\b{dim}\b.*\b{heads}\b"):
        MODEL["MultiHeadAttention"](dim, heads)


# --- properties -----------------------------------------------------------------------------------


def test_rows_sum_to_one_and_large_scores_stay_finite():
    for scale in (1, 1000):
        weights = MODEL["attention_weights"](torch.randn(2, 3, 7) * scale, torch.randn(2, 5, 7))
        assert (weights >= 0).all()
        close(weights.sum(-1), torch.ones(2, 3))


def test_a_forbidden_key_has_no_influence():
    q, k, v = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 2)
    mask = torch.tensor([True, True, False, True, True])
    attend = MODEL["scaled_dot_product_attention"]
    before = attend(q, k, v, mask)
    k[2], v[2] = 100.0, -100.0
    assert torch.equal(attend(q, k, v, mask), before)


@pytest.mark.parametrize("make", ["AttentionHead", "MultiHeadAttention"])
def test_tokens_are_a_set_and_samples_are_alone(make):
    module = MODEL[make](6, 3)
    x, order = torch.randn(4, 5, 6), torch.randperm(5)
    close(module(x[:, order]), module(x)[:, order])
    close(module(x[1:2]), module(x)[1:2])


# --- planted mistakes: the oracles must see each one ----------------------------------------------


def head_oracle(cls: Callable[..., nn.Module]) -> None:
    module_oracle(cls(6, 6), 6, 1)


def many_oracle(cls: Callable[..., nn.Module]) -> None:
    module_oracle(cls(12, 3), 12, 3)


PLANTED = [
    ("attention_weights", weights_oracle, ("dim=-1", "dim=-2")),
    ("attention_weights", weights_oracle, (" / math.sqrt(q.shape[-1])", "")),
    ("attention_weights", weights_oracle, ("q.shape[-1]", "k.shape[-2]")),
    ("scaled_dot_product_attention", sdpa_oracle, ("dim=-1", "dim=-2")),
    ("scaled_dot_product_attention", sdpa_oracle, (" / math.sqrt(q.shape[-1])", "")),
    ("scaled_dot_product_attention", sdpa_oracle, ("~mask", "mask")),
    ("scaled_dot_product_attention", sdpa_oracle, ("-math.inf", "0.0")),
    ("AttentionHead", head_oracle, ("self.to_k(x)", "self.to_q(x)")),
    ("AttentionHead", head_oracle, ("self.to_k(x), self.to_v(x)", "self.to_v(x), self.to_k(x)")),
    ("MultiHeadAttention", many_oracle, ("heads.transpose(1, 2).flatten(2)", "heads.reshape(x.shape)")),
    ("MultiHeadAttention", many_oracle, ("self.to_q, self.to_k,", "self.to_k, self.to_q,")),
    ("MultiHeadAttention", many_oracle, ("(self.num_heads, -1)", "(-1, self.num_heads)")),
    ("multi_head_attention_einsum", einsum_oracle, ("dim=-1", "dim=-2")),
    ("multi_head_attention_einsum", einsum_oracle, (" / math.sqrt(w_q.shape[-1])", "")),
    ("multi_head_attention_einsum", einsum_oracle, ("->bhij", "->bhji")),
]


@pytest.mark.parametrize(("name", "oracle", "edit"), PLANTED, ids=[f"{name}: {edit[0]}" for name, _, edit in PLANTED])
def test_a_planted_mistake_is_seen(name, oracle, edit):
    oracle(MODEL[name])
    wrong = run_cells(**{name: changed(CODE[name], edit)})[name]
    with pytest.raises(AssertionError):
        oracle(wrong)


def test_a_mistake_in_attention_reaches_the_modules_that_build_on_it():
    """AttentionHead and MultiHeadAttention call the notebook's own function: so a stand-in for it reaches them, too."""
    name = "scaled_dot_product_attention"
    space = run_cells(**{name: changed(CODE[name], (" / math.sqrt(q.shape[-1])", ""))})
    for module, dim, heads in ((space["AttentionHead"](6, 6), 6, 1), (space["MultiHeadAttention"](12, 3), 12, 3)):
        with pytest.raises(AssertionError):
            module_oracle(module, dim, heads)
