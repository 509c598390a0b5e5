"""Lab 2's model answers against patches that we did not cut, and mistakes that the oracles must see."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from autograder.labs.exam import changed
from autograder.labs.lab import solution_cells

CODE = solution_cells("lab2_tokens")
GRIDS = [(2, 3, 4, 3, 5), (3, 1, 2, 4, 2), (1, 2, 5, 3, 3), (4, 3, 3, 1, 6)]  # B, C, P, h, w


def run_cells(**replaced: str) -> dict[str, Any]:
    """The names that the solution cells define, some of the cells replaced."""
    space: dict[str, Any] = {"math": math, "torch": torch, "F": F, "Tensor": Tensor, "nn": nn}
    for name, code in CODE.items():
        exec(compile(replaced.get(name, code), f"<{name}>", "exec"), space)
    return space


MODEL = run_cells()
pytestmark = pytest.mark.usefixtures("float64")


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def random_parameters(module: nn.Module) -> nn.Module:
    """The module with all its parameters random: zeros and ones hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    return module


# --- the oracles: each takes the object under test ------------------------------------------------


def patchify_oracle(
    function: Callable[..., Tensor], batch: int = 2, channels: int = 3, patch: int = 4, h: int = 3, w: int = 5
) -> None:
    """F.unfold, and pixel by pixel: number ((c * P) + i) * P + j of patch a * w + b is pixel (a * P + i, b * P + j)."""
    images = torch.randn(batch, channels, h * patch, w * patch)
    found = function(images, patch)
    close(found, F.unfold(images, patch, stride=patch).mT)
    for a, b, c, i, j in torch.cartesian_prod(*map(torch.arange, (h, w, channels, patch, patch))).tolist():
        pixel = images[:, c, a * patch + i, b * patch + j]
        assert torch.equal(found[:, a * w + b, (c * patch + i) * patch + j], pixel)


def unpatchify_oracle(
    function: Callable[..., Tensor], batch: int = 2, channels: int = 3, patch: int = 4, h: int = 3, w: int = 5
) -> None:
    """F.fold, and the images that F.unfold took apart."""
    size = (h * patch, w * patch)
    patches, images = torch.randn(batch, h * w, channels * patch**2), torch.randn(batch, channels, *size)
    close(function(patches, patch, size), F.fold(patches.mT, size, patch, stride=patch))
    close(function(F.unfold(images, patch, stride=patch).mT, patch, size), images)


def embedding_oracle(
    cls: Callable[..., nn.Module], batch: int = 2, channels: int = 3, patch: int = 4, h: int = 3, w: int = 5
) -> None:
    """Token by token: the features of a patch are the sums of its pixels times the kernels, plus the bias."""
    dim = 7
    module = random_parameters(cls(patch, channels, dim))
    images = torch.randn(batch, channels, h * patch, w * patch, requires_grad=True)
    kernels = module.proj.weight.view(dim, channels, patch, patch)
    rows = []
    for a in range(0, h * patch, patch):
        for b in range(0, w * patch, patch):
            piece = images[:, None, :, a : a + patch, b : b + patch]  # (B, 1, C, P, P)
            rows.append((piece * kernels).sum(dim=(2, 3, 4)) + module.proj.bias)
    found, expected = module(images), torch.stack(rows, dim=1)
    close(found, expected)
    close(*(torch.autograd.grad(out.square().sum(), images)[0] for out in (found, expected)))


def tokens_oracle(
    cls: Callable[..., nn.Module], batch: int = 3, channels: int = 2, patch: int = 4, h: int = 3, w: int = 5
) -> None:
    """By hand: torch's convolution, its places row by row, the class token before them, a position added to each."""
    dim, size = 6, (h * patch, w * patch)
    module = random_parameters(cls(size, patch, channels, dim))
    images = torch.randn(batch, channels, *size)
    grid = F.conv2d(images, module.patches.proj.weight, module.patches.proj.bias, stride=patch)
    expected = torch.empty(batch, h * w + 1, dim)
    for b in range(batch):
        expected[b, 0] = module.cls_token[0, 0] + module.position[0, 0]
        for n in range(h * w):
            expected[b, n + 1] = grid[b, :, n // w, n % w] + module.position[0, n + 1]
    close(module(images), expected.detach())


def torchvision_tokens(module: nn.Module, images: Tensor, patch: int) -> Tensor:
    """What torchvision's model gives to its first block, with the same weights."""
    dim = module.cls_token.shape[-1]
    peer = VisionTransformer(
        image_size=images.shape[-1], patch_size=patch, num_layers=1, num_heads=1, hidden_dim=dim, mlp_dim=dim
    )
    with torch.no_grad():
        peer.conv_proj.weight.copy_(module.patches.proj.weight)
        peer.conv_proj.bias.copy_(module.patches.proj.bias)
        peer.class_token.copy_(module.cls_token)
        peer.encoder.pos_embedding.copy_(module.position)
    seen: list[Tensor] = []
    peer.encoder.dropout.register_forward_hook(lambda layer, inputs, out: seen.append(out))
    peer.eval()(images)
    return seen[0].detach()


def conv_as_linear_oracle(
    function: Callable[..., tuple[Tensor, Tensor]], channels: int = 3, dim: int = 5, patch: int = 4
) -> None:
    """F.linear of the patches that F.unfold cuts equals the convolution."""
    conv = random_parameters(nn.Conv2d(channels, dim, patch, patch))
    images = torch.randn(2, channels, 2 * patch, 3 * patch)
    weight, bias = function(conv)
    patches = F.unfold(images, patch, stride=patch).mT
    close(F.linear(patches, weight, bias).detach(), conv(images).flatten(2).mT.detach())


def sincos_oracle(function: Callable[..., Tensor], height: int = 3, width: int = 5, dim: int = 12) -> None:
    """The formula of the docstring, number by number, with Python's math."""
    f = [10000 ** (-i / (dim / 4)) for i in range(dim // 4)]
    expected = [
        [wave(place * one) for place in (x, y) for wave in (math.sin, math.cos) for one in f]
        for y in range(height)
        for x in range(width)
    ]
    close(function(height, width, dim), torch.tensor(expected))


# --- the model answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("grid", GRIDS)
def test_patchify(grid):
    patchify_oracle(MODEL["patchify"], *grid)


@pytest.mark.parametrize("grid", GRIDS)
def test_unpatchify(grid):
    unpatchify_oracle(MODEL["unpatchify"], *grid)


@pytest.mark.parametrize("cls", ["LinearPatchEmbedding", "ConvPatchEmbedding"])
@pytest.mark.parametrize("grid", GRIDS)
def test_patch_embeddings(grid, cls):
    embedding_oracle(MODEL[cls], *grid)


@pytest.mark.parametrize("grid", GRIDS)
def test_token_embedding(grid):
    tokens_oracle(MODEL["TokenEmbedding"], *grid)


@pytest.mark.parametrize(("batch", "patch", "side", "dim"), [(2, 4, 3, 6), (1, 2, 5, 8), (3, 5, 2, 4)])
def test_token_embedding_is_torchvisions(batch, patch, side, dim):
    module = random_parameters(MODEL["TokenEmbedding"](side * patch, patch, 3, dim))
    images = torch.randn(batch, 3, side * patch, side * patch)
    close(module(images).detach(), torchvision_tokens(module, images, patch))


@pytest.mark.parametrize(("channels", "dim", "patch"), [(3, 5, 4), (1, 7, 2), (6, 2, 3)])
def test_conv_as_linear(channels, dim, patch):
    conv_as_linear_oracle(MODEL["conv_as_linear"], channels, dim, patch)


@pytest.mark.parametrize(("height", "width", "dim"), [(3, 5, 12), (6, 2, 4), (4, 4, 32), (1, 7, 8)])
def test_sincos_position_2d(height, width, dim):
    sincos_oracle(MODEL["sincos_position_2d"], height, width, dim)


# --- properties -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "patch", "side"), [(12, 10, 4, 10), (10, 12, 4, 10), (30, 30, 8, 30)])
def test_sides_that_do_not_split_are_refused(height, width, patch, side):
    with pytest.raises(ValueError) as refused:
        MODEL["patchify"](torch.randn(2, 3, height, width), patch)
    assert {str(side), str(patch)} <= set(str(refused.value).split())


@pytest.mark.parametrize("grid", GRIDS)
def test_unpatchify_is_the_inverse_of_patchify(grid):
    batch, channels, patch, h, w = grid
    images = torch.randn(batch, channels, h * patch, w * patch)
    patches = MODEL["patchify"](images, patch)
    assert torch.equal(MODEL["unpatchify"](patches, patch, (h * patch, w * patch)), images)


def test_one_bright_pixel_is_one_number_of_one_patch():
    images = torch.zeros(1, 3, 6, 8)
    images[0, 2, 3, 5] = 1  # row 1 and column 1 of the patch in row 1 and column 2 of the grid
    assert MODEL["patchify"](images, 2).nonzero().tolist() == [[0, 1 * 4 + 2, 2 * 4 + 1 * 2 + 1]]


@pytest.mark.parametrize("name", ["patchify", "LinearPatchEmbedding", "ConvPatchEmbedding", "TokenEmbedding"])
def test_images_may_lie_in_memory_as_they_like_and_stay_as_they_are(name):
    images = torch.randn(2, 3, 12, 8)
    cropped, last = F.pad(images, (1, 1, 1, 1))[..., 1:-1, 1:-1], images.contiguous(memory_format=torch.channels_last)
    if name == "patchify":
        thing = lambda x: MODEL[name](x, 4)  # noqa: E731
    else:
        first = ((12, 8),) if name == "TokenEmbedding" else ()
        thing = random_parameters(MODEL[name](*first, 4, 3, 5))
    expected, before = thing(images), images.clone()
    for other in (cropped, last):
        assert not other.is_contiguous()
        close(thing(other), expected)
        assert torch.equal(other, before)


def test_both_embeddings_agree_with_the_weights_of_conv_as_linear():
    patch, channels, dim = 4, 3, 5
    conv = random_parameters(MODEL["ConvPatchEmbedding"](patch, channels, dim))
    linear = MODEL["LinearPatchEmbedding"](patch, channels, dim)
    weight, bias = MODEL["conv_as_linear"](conv.proj)
    linear.load_state_dict({"proj.weight": weight, "proj.bias": bias})
    images = torch.randn(2, channels, 8, 12)
    close(linear(images), conv(images))


def test_token_embedding_trains_every_parameter_and_takes_any_batch():
    module = MODEL["TokenEmbedding"]((8, 12), 4, 3, 5)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        "cls_token": (1, 1, 5), "position": (1, 7, 5), "patches.proj.weight": (5, 3, 4, 4), "patches.proj.bias": (5,)
    }  # fmt: skip
    images = torch.randn(4, 3, 8, 12)
    whole = module(images)
    for batch in (1, 3):  # the last batch of an epoch is a smaller one
        close(module(images[:batch]), whole[:batch])
    whole.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_shuffled_patches_are_other_tokens_only_by_their_positions():
    module = random_parameters(MODEL["TokenEmbedding"]((8, 12), 4, 3, 5))
    images, order = torch.randn(2, 3, 8, 12), torch.randperm(6)
    shuffled = MODEL["unpatchify"](MODEL["patchify"](images, 4)[:, order], 4, (8, 12))
    found, before = (module(x) - module.position for x in (shuffled, images))
    close(found[:, 1:], before[:, 1:][:, order])
    close(found[:, 0], before[:, 0])


def test_sincos_products_depend_on_the_distance_alone():
    """sin a sin b + cos a cos b = cos(a - b): the product of two places knows how far apart they are, not where."""
    height, width, dim = 5, 6, 16
    positions = MODEL["sincos_position_2d"](height, width, dim).view(height, width, dim)
    rest = positions[: height - 2, : width - 3]
    products = (rest * positions[2:, 3:]).sum(-1)  # all pairs two rows and three columns apart
    close(products, products[0, 0].expand_as(products))
    close(positions.square().sum(-1), torch.full((height, width), dim / 2))
    x, y = positions.split(dim // 2, dim=-1)
    close(x, x[:1].expand_as(x))  # the first half knows the column only
    close(y, y[:, :1].expand_as(y))


# --- planted mistakes: the oracles must see each one ----------------------------------------------

# Classes whose cell has another name.
CELLS = {"LinearPatchEmbedding": "patch_embeddings", "ConvPatchEmbedding": "patch_embeddings"}
CUT, GLUED, TOKENS = "permute(0, 2, 4, 1, 3, 5)", "permute(0, 3, 1, 4, 2, 5)", "[cls, self.patches(images)]"
FLAT, PATCHES = "weight.flatten(1)", "patchify(images, self.patch_size)"

PLANTED = [
    ("patchify", patchify_oracle, (CUT, "permute(0, 4, 2, 1, 3, 5)")),
    ("patchify", patchify_oracle, (CUT, "permute(0, 2, 4, 1, 5, 3)")),
    ("patchify", patchify_oracle, (CUT, "permute(0, 2, 4, 3, 5, 1)")),
    ("patchify", patchify_oracle, ("B, C, H, W = images.shape", "B, C, W, H = images.shape")),
    ("patchify", patchify_oracle, ("H // P, P, W // P, P)", "P, H // P, P, W // P)")),
    ("unpatchify", unpatchify_oracle, (GLUED, "permute(0, 3, 1, 5, 2, 4)")),
    ("unpatchify", unpatchify_oracle, (GLUED, "permute(0, 3, 4, 1, 5, 2)")),
    ("unpatchify", unpatchify_oracle, ("H, W = image_size", "W, H = image_size")),
    ("LinearPatchEmbedding", embedding_oracle, (PATCHES, "patchify(images.mT, self.patch_size)")),
    ("LinearPatchEmbedding", embedding_oracle, (f"self.proj({PATCHES})", f"self.proj({PATCHES}).relu()")),
    ("ConvPatchEmbedding", embedding_oracle, (".transpose(1, 2)", ".reshape(len(images), -1, self.proj.out_channels)")),
    ("ConvPatchEmbedding", embedding_oracle, (", stride=patch_size", "")),
    ("TokenEmbedding", tokens_oracle, (TOKENS, "[self.patches(images), cls]")),
    ("TokenEmbedding", tokens_oracle, ("+ self.position", "+ self.position.roll(1, dims=1)")),
    ("TokenEmbedding", tokens_oracle, (" + self.position", "")),
    ("conv_as_linear", conv_as_linear_oracle, (FLAT, "weight.mT.flatten(1)")),
    ("conv_as_linear", conv_as_linear_oracle, (FLAT, "weight.permute(0, 2, 3, 1).flatten(1)")),
    ("conv_as_linear", conv_as_linear_oracle, (", conv.bias", ", 0 * conv.bias")),
    ("sincos_position_2d", sincos_oracle, ('indexing="ij"', 'indexing="xy"')),
    ("sincos_position_2d", sincos_oracle, ("(dim / 4)", "(dim / 2)")),
    ("sincos_position_2d", sincos_oracle, ("x.sin(), x.cos()", "x.cos(), x.sin()")),
]


@pytest.mark.parametrize(("name", "oracle", "edit"), PLANTED, ids=[f"{name}: {edit[1]}" for name, _, edit in PLANTED])
def test_a_planted_mistake_is_seen(name, oracle, edit):
    oracle(MODEL[name])
    cell = CELLS.get(name, name)
    wrong = run_cells(**{cell: changed(CODE[cell], edit)})[name]
    with pytest.raises(AssertionError):
        oracle(wrong)


@pytest.mark.parametrize("edit", [(TOKENS, "[self.patches(images), cls]"), (" + self.position", "")])
def test_torchvision_sees_planted_mistakes_too(edit):
    wrong = run_cells(TokenEmbedding=changed(CODE["TokenEmbedding"], edit))["TokenEmbedding"]
    module, images = random_parameters(wrong(12, 4, 3, 6)), torch.randn(2, 3, 12, 12)
    with pytest.raises(AssertionError):
        close(module(images).detach(), torchvision_tokens(module, images, 4))


def test_a_mistake_in_a_part_reaches_what_builds_on_it():
    """LinearPatchEmbedding calls the notebook's own patchify, and TokenEmbedding its ConvPatchEmbedding."""
    space = run_cells(patchify=changed(CODE["patchify"], (CUT, "permute(0, 4, 2, 1, 3, 5)")))
    with pytest.raises(AssertionError):
        embedding_oracle(space["LinearPatchEmbedding"])
    embedding_oracle(space["ConvPatchEmbedding"])
    swapped = (".flatten(2).transpose(1, 2)", ".transpose(2, 3).flatten(2).transpose(1, 2)")
    space = run_cells(patch_embeddings=changed(CODE["patch_embeddings"], swapped))
    with pytest.raises(AssertionError):
        tokens_oracle(space["TokenEmbedding"])
