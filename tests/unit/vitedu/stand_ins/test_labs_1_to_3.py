"""What right callers may rely on, in the stand-ins of Labs 1 to 3, and that nothing a caller passes goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from vitedu.stand_ins import lab1, lab2, lab3

# --- functions of attention

LEADS = [(), (3,), (2, 3)]


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def attended(*lead: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of 4 queries and 5 keys of 3 features, with values of 2."""
    return tuple(normal(*lead, *size, seed=i, scale=scale) for i, size in enumerate([(4, 3), (5, 3), (5, 2)]))


def masks(*lead: int) -> list[Tensor]:
    """Of each shape that fits, one; every query may see two keys at least."""
    shapes = [(5,), (4, 5)] + ([(lead[0], 1, 5)] if len(lead) == 1 else [(lead[0], 1, 1, 5)] if lead else [])
    return [(normal(*shape, seed=9) > 0.3).index_fill(-1, torch.tensor([1, 3]), True) for shape in shapes]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 60.0, 1e4])
@pytest.mark.parametrize("lead", LEADS)
def test_rows_of_weights_are_positive_and_sum_to_one(lead, scale):
    q, k, v = attended(*lead, scale=scale)
    weights, eye = lab1.attention_weights(q, k), torch.eye(5, dtype=q.dtype).expand(*lead, 5, 5)
    assert weights.shape == (*lead, 4, 5) and (weights > 0.01).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(*lead, 4, dtype=q.dtype))
    torch.testing.assert_close(lab1.scaled_dot_product_attention(q, k, eye), weights)
    torch.testing.assert_close(lab1.scaled_dot_product_attention(q, k, v), weights @ v)
    torch.testing.assert_close(lab1.attention_weights(q.float(), k.float()).double(), weights, rtol=1e-3, atol=1e-3)
    if scale > 0.1:  # no key is like another
        assert weights.std(-1).min() > 1e-3


@pytest.mark.parametrize("lead", LEADS)
def test_a_mask_forbids_and_does_nothing_else(lead):
    q, k, v = attended(*lead)
    attention = lab1.scaled_dot_product_attention
    assert torch.equal(attention(q, k, v), attention(q, k, v, torch.ones(5, dtype=torch.bool)))
    for mask in masks(*lead):
        found, wide = attention(q, k, v, mask), mask.expand(*lead, 4, 5)
        torch.testing.assert_close(attention(q, k, v, wide), found)
        assert (found - attention(q, k, v)).abs().max() > 1e-3
        # One query after the other, with its own keys alone; then with other keys in the forbidden places.
        for at in torch.cartesian_prod(*(torch.arange(n) for n in (*lead, 4))).view(-1, len(lead) + 1).tolist():
            seen, sample = wide[tuple(at)], tuple(at[:-1])
            one_q, one_k, one_v = q[tuple(at)][None], k[sample], v[sample]
            torch.testing.assert_close(attention(one_q, one_k[seen], one_v[seen])[0], found[tuple(at)])
            other_v = torch.where(seen[:, None], one_v, 1e6 * one_v.flip(0))
            for other in (1e6, float("nan")):
                other_k = torch.where(seen[:, None], one_k, other)
                torch.testing.assert_close(attention(one_q, other_k, other_v, seen)[0], found[tuple(at)])


@pytest.mark.parametrize("mask", [None, *masks()])
def test_attention_depends_on_each_number_smoothly_and_on_its_place(mask):
    q, k, v = (t.requires_grad_() for t in attended())
    attention = lab1.scaled_dot_product_attention
    assert torch.autograd.gradcheck(lambda *args: attention(*args, mask), (q, k, v))
    weighting = normal(4, 2, seed=5)
    seen = torch.ones(5, dtype=torch.bool) if mask is None else mask.view(-1, 5).any(0)
    for t, rows in zip((q, k, v), (slice(None), seen, seen), strict=True):
        (slope,) = torch.autograd.grad((attention(q, k, v, mask) * weighting).sum(), t)
        assert (slope[rows].abs() > 1e-6).all()
    found = attention(q, k, v, mask)
    others = [
        (q / 3**0.5, k), (q, k / 3**0.5), (k[:4], torch.cat([q, k[4:]])), (2 * k[:4], torch.cat([q, k[4:]]) / 2),
        (-q, k), (q, -k), (-q, -k), (q, k.flip(0)), (q.flip(-1), k), (q, k + 1), (q + 1, k), (q + 1, k + 1),
    ]  # fmt: skip
    assert all((attention(*other, v, mask) - found).abs().max() > 1e-3 for other in others)
    for dtype in (torch.float32, torch.float64):
        assert attention(q.to(dtype), k.to(dtype), v.to(dtype), mask).dtype == dtype
    across = [t.detach().mT.contiguous().mT for t in (q, k, v)]
    torch.testing.assert_close(attention(*across, mask), found.detach())
    by_vmap = torch.func.vmap(lambda *args: attention(*args, mask))(*(t[None] for t in across))
    torch.testing.assert_close(by_vmap[0], found.detach())


def test_what_does_not_fit_is_refused_as_by_the_solution():
    (q, k, v), solution = attended(3), Reference(find_lab("lab1")).namespace([])["scaled_dot_product_attention"]
    several = torch.ones(4, dtype=torch.bool)
    for arguments in (
        (q, k[..., :2], v),
        (q, k, v[:, :4]),
        (q[:2], k, v),
        (q, k, v, several),
        (q, k, v, several.float()),
    ):
        with pytest.raises((RuntimeError, TypeError)) as theirs:
            solution(*arguments)
        with pytest.raises((RuntimeError, TypeError)) as mine:
            lab1.scaled_dot_product_attention(*arguments)
        assert mine.type is theirs.type


# --- functions of images


@pytest.mark.parametrize(
    ("shape", "patch"), [((2, 3, 4, 6), 2), ((3, 1, 9, 3), 3), ((2, 2, 8, 8), 4), ((1, 3, 5, 7), 1)]
)
def test_patchify_permutes_the_pixels_and_unpatchify_undoes_it(shape, patch):
    batch, *image = shape
    numbers = torch.arange(torch.Size(image).numel()).view(1, *image).expand(shape)
    patches = lab2.patchify(numbers, patch)
    assert patches.shape == (batch, shape[2] * shape[3] // patch**2, shape[1] * patch**2)
    assert patches.dtype == torch.int64 and torch.equal(patches[0].flatten().sort().values, numbers[0].flatten())
    assert all(torch.equal(one, patches[0]) for one in patches)
    assert (patches[0].flatten() != numbers[0].flatten()).float().mean() > 0.9
    for images in (
        numbers,
        normal(*shape),
        normal(*shape).float(),
        normal(*shape) > 0,
        normal(*shape).mT.contiguous().mT,
    ):
        assert torch.equal(lab2.unpatchify(lab2.patchify(images, patch), patch, shape[2:]), images)
    # A right unpatchify that asks patchify where each pixel goes.
    where, images = lab2.patchify(numbers[:1], patch).flatten().argsort(), normal(*shape)
    assert torch.equal(lab2.patchify(images, patch).flatten(1)[:, where].view(shape), images)
    x = normal(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: lab2.unpatchify(lab2.patchify(x, patch) ** 2, patch, shape[2:]), x)


def test_sizes_of_patches_and_of_images_matter():
    found = {}
    for shape, patch in [((4, 4), 2), ((4, 4), 4), ((2, 8), 2), ((8, 2), 2), ((16, 1), 1)]:
        found[shape, patch] = tuple(lab2.patchify(torch.arange(16).view(1, 1, *shape), patch).flatten().tolist())
    assert len(set(found.values())) == len(found)
    with pytest.raises(ValueError, match=r"\b3\b.*\b7\b"):
        lab2.patchify(torch.zeros(1, 2, 6, 7), 3)


def test_both_patch_embeddings_are_one():
    linear, conv = lab2.LinearPatchEmbedding(2, 3, 5).double(), lab2.ConvPatchEmbedding(2, 3, 5).double()
    with torch.no_grad():
        linear.proj.weight.copy_(conv.proj.weight.view(5, -1))
        linear.proj.bias.copy_(conv.proj.bias)
    images = normal(2, 3, 4, 6)
    torch.testing.assert_close(linear(images), conv(images))
    weight, bias = lab2.conv_as_linear(conv.proj)
    assert weight.shape == linear.proj.weight.shape and bias.shape == linear.proj.bias.shape
    torch.testing.assert_close(weight.sinh().sum(), conv.proj.weight.sum())


# --- modules

HALF = 0.5
MADE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "AttentionHead": (lambda: lab1.AttentionHead(5, 3), (4, 5)),
    "MultiHeadAttention": (lambda: lab1.MultiHeadAttention(6, 2), (4, 6)),
    "MultiHeadAttention, own width": (lambda: lab1.MultiHeadAttention(5, 2, 3, qkv_bias=False), (4, 5)),
    "LinearPatchEmbedding": (lambda: lab2.LinearPatchEmbedding(2, 3, 5), (3, 4, 6)),
    "ConvPatchEmbedding": (lambda: lab2.ConvPatchEmbedding(2, 3, 5), (3, 4, 6)),
    "FeedForward": (lambda: lab3.FeedForward(5, 7, HALF), (4, 5)),
    "EncoderBlock": (lambda: lab3.EncoderBlock(6, 2, 7, None, HALF), (4, 6)),
    "VisionTransformer": (lambda: lab3.VisionTransformer((4, 6), 2, 3, 4, 6, 2, 2, 7, dropout=HALF), (3, 4, 6)),
    "VisionTransformer, mean": (
        lambda: lab3.VisionTransformer(4, 2, 1, 3, 6, 1, 2, 5, 2, HALF, qkv_bias=False, pool="mean"), (1, 4, 4),
    ),
}  # fmt: skip
TOKENS = ["AttentionHead", "MultiHeadAttention", "MultiHeadAttention, own width", "FeedForward", "EncoderBlock"]
DROPS = ["FeedForward", "EncoderBlock", "VisionTransformer", "VisionTransformer, mean"]


def made(name: str, batch: int = 3) -> tuple[nn.Module, Tensor]:
    """A module in eval mode with random parameters in float64, and an input."""
    make, shape = MADE[name]
    module = make().double().eval()
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=i, scale=0.7))
    return module, normal(batch, *shape, seed=99)


@pytest.mark.parametrize("name", MADE)
def test_a_module_takes_samples_one_by_one_in_any_layout_and_dtype(name):
    module, x = made(name)
    before, found = x.clone(), module(x)
    assert torch.equal(x, before) and torch.equal(module(x), found)
    torch.testing.assert_close(torch.cat([module(one[None]) for one in x]), found)
    torch.testing.assert_close(module(x.transpose(0, -1).contiguous().transpose(0, -1)), found)
    assert all((found[i] - found[j]).abs().min() > 1e-9 for i in range(3) for j in range(i))
    for other in (x.flip(-1), x.roll(1, -1), x * 0.9, -x):
        assert (module(other) - found).abs().max() > 1e-4
    single = module.float()(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MADE)
def test_a_module_depends_on_each_number_smoothly(name):
    module, x = made(name, batch=2)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), x)

    inputs = (x.requires_grad_(), *parameters)
    out = call(*inputs)
    for slope in torch.autograd.grad((out * normal(*out.shape, seed=7)).sum(), inputs):
        assert (slope.abs() > 1e-9).all()
    assert torch.autograd.gradcheck(call, inputs, fast_mode=True)
    assert all(torch.isfinite(t).all() for t in torch.autograd.grad(call(3e3 * x, *parameters).sum(), inputs))


@pytest.mark.parametrize("name", MADE)
def test_zeros_give_zero(name):
    module, x = made(name)
    kept = x if name == "EncoderBlock" else 0 * module(x)  # a block adds to its tokens
    for parameter in module.parameters():
        parameter.detach().zero_()
    assert torch.equal(module(x), kept) and torch.equal(module.train()(x), kept)


@pytest.mark.parametrize("name", DROPS)
def test_dropout_acts_in_training_mode_with_its_probability(name):
    module, x = made(name)
    still = module(x)
    module.train()
    torch.manual_seed(0)
    assert len({module(x).sum().item() for _ in range(4)} | {still.sum().item()}) == 5
    for each in module.modules():
        if isinstance(each, nn.Dropout):
            each.p = 0.0
    assert torch.equal(module(x), still)


@pytest.mark.parametrize(("kind", "zeros"), [("FeedForward", 0.0), ("EncoderBlock", 1.0)])
def test_as_many_features_are_dropped_as_the_constructor_says(kind, zeros):
    torch.manual_seed(0)
    module = lab3.FeedForward(40, 30, 0.2) if kind == "FeedForward" else lab3.EncoderBlock(40, 4, 30, dropout=0.2)
    x = torch.randn(20, 50, 40)
    assert ((module(x) == zeros * x).double().mean() - 0.2).abs() < 0.02


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_may_change_places_and_do_they_see_each_other(name):
    module, x = made(name)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])
    other = x.clone()
    other[:, 2, 1:] *= 2
    apart = (module(other) != module(x)).any(-1)
    assert apart.tolist() == [[name != "FeedForward" or place == 2 for place in range(4)]] * 3


def test_a_feed_forward_network_takes_tokens_in_any_shape():
    module, x = made("FeedForward")
    torch.testing.assert_close(module(x.flatten(0, 1)).view(x.shape), module(x))
    torch.testing.assert_close(module(x[0, 0]), module(x)[0, 0])


def test_heads_matter():
    (one, x), six = made("MultiHeadAttention"), lab1.MultiHeadAttention(6, 6).double()
    six.load_state_dict(one.state_dict())
    assert (one(x) - six(x)).abs().max() > 1e-3 and (one.num_heads, six.num_heads) == (2, 6)
    with pytest.raises(ValueError, match=r"\b3\b.*\b7\b"):
        lab1.MultiHeadAttention(7, 3)
    with pytest.raises(ValueError, match=r"\b3\b.*\b7\b"):
        lab3.VisionTransformer(4, 2, 1, 3, 7, 1, 3, 5)


def test_both_pools_are_something_of_their_own():
    (one, x), other = (
        made("VisionTransformer"),
        lab3.VisionTransformer((4, 6), 2, 3, 4, 6, 2, 2, 7, pool="mean").double(),
    )
    other.load_state_dict(one.state_dict())
    assert (one(x) - other.eval()(x)).abs().max() > 1e-3


@pytest.mark.parametrize("size", [8, (8, 12)])
def test_a_model_without_memory_has_as_many_parameters_as_the_formula_says(size):
    arguments, solution = (size, 4, 3, 5, 6, 2, 3, 7, 4), Reference(find_lab("lab3")).namespace([])
    with torch.device("meta"):
        model = lab3.VisionTransformer(*arguments, qkv_bias=False)
    assert solution["count_parameters"](model) == solution["vit_parameters"](*arguments, qkv_bias=False)
    assert model(torch.zeros(2, 3, 8, 8 if size == 8 else 12, device="meta")).shape == (2, 5)
