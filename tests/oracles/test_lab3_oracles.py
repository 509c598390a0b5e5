"""Lab 3's model answers against transformers that we did not write, and mistakes that the oracles must see."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import vision_transformer as torchvision_vit

from autograder.exams.lab3.parameter_counts import REPORT, VIT_B_16
from autograder.judging.reference_answers import Reference
from autograder.labs.exam import changed
from autograder.labs.lab import find_lab, solution_cells

CODE = solution_cells("lab3_vit")
LAB = Reference(find_lab("lab3"))
LAYER_NORM = partial(nn.LayerNorm, eps=1e-5)  # the libraries' default is 1e-6


@cache
def run_cells(*replaced: tuple[str, str]) -> dict[str, Any]:
    """The names of the lab's code cells, some of the solution cells replaced."""
    return LAB.namespace(replaced)


MODEL = run_cells()
pytestmark = pytest.mark.usefixtures("float64")


def close(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def random(module: nn.Module) -> nn.Module:
    """The module with random numbers in all its parameters, those of LayerNorms around 1."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            is_scale = "norm" in name and name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.5 + is_scale)
    return module


def load(module: nn.Module, state: dict[str, Tensor], names: dict[str, str]) -> None:
    """Fill every parameter of a library's module; `names` gives ours for each beginning of theirs."""
    filled = {}
    for theirs in module.state_dict():
        start = max((n for n in names if theirs.startswith(n)), key=len)
        ours = names[start] + theirs.removeprefix(start)
        if "in_proj_" in theirs:
            stem, kind = ours.split("in_proj_")
            parts = [state[f"{stem}to_{n}.weight"] for n in "qkv"]
            if kind == "bias":
                zeros = parts[0].new_zeros(len(parts[0]))
                parts = [state.get(f"{stem}to_{n}.bias", zeros) for n in "qkv"]
            filled[theirs] = torch.cat(parts)
        else:
            filled[theirs] = state[ours.replace("out_proj", "to_out")]
    module.load_state_dict(filled)


def equal_with_gradients(found: nn.Module, expected: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Equal results, and equal gradients in the input."""
    x.requires_grad_()
    results = found(x), expected(x)
    close(*results)
    close(*(torch.autograd.grad(out.square().sum(), x)[0] for out in results))


# --- the oracles: each takes the object under test ------------------------------------------------


def forward_oracle(cls: Callable[..., nn.Module], dim: int = 5, hidden: int = 7) -> None:
    """torchvision's MLPBlock with the same weights."""
    module, library = random(cls(dim, hidden)), torchvision_vit.MLPBlock(dim, hidden, dropout=0.0)
    load(library, module.state_dict(), {"0": "fc1", "3": "fc2"})
    equal_with_gradients(module, library, torch.randn(2, 3, dim))


BLOCK_NAMES = {"self_attn.": "attention.", "linear1": "mlp.fc1", "linear2": "mlp.fc2", "norm": "norm"}


def block_oracle(cls: Callable[..., nn.Module], dim: int = 12, heads: int = 3, hidden: int = 7, **options: Any) -> None:
    """nn.TransformerEncoderLayer with norm_first and GELU, and the same weights."""
    module = random(cls(dim, heads, hidden, **options))
    library = nn.TransformerEncoderLayer(
        dim, heads, hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    load(library, module.state_dict(), BLOCK_NAMES)
    equal_with_gradients(module, library, torch.randn(2, 5, dim) * 2)


def torchvision_names(depth: int, prefix: str = "encoder.") -> dict[str, str]:
    """Our names for torchvision's."""
    names = {
        "class_token": "embedding.cls_token", "conv_proj": "embedding.patches.proj", "heads.head": "head",
        f"{prefix}pos_embedding": "embedding.position", f"{prefix}ln": "norm",
    }  # fmt: skip
    for i in range(depth):
        theirs, ours = f"{prefix}layers.encoder_layer_{i}.", f"blocks.{i}."
        names |= {
            f"{theirs}ln_1": f"{ours}norm1", f"{theirs}self_attention.": f"{ours}attention.",
            f"{theirs}ln_2": f"{ours}norm2", f"{theirs}mlp.0": f"{ours}mlp.fc1", f"{theirs}mlp.3": f"{ours}mlp.fc2",
        }  # fmt: skip
    return names


def whole_oracle(cls: Callable[..., nn.Module], side: int = 8, depth: int = 3) -> None:
    """torchvision's VisionTransformer, which knows square colour images and the class token."""
    module = random(cls(side, 4, 3, 5, 12, depth, 3, 7)).eval()
    library = torchvision_vit.VisionTransformer(side, 4, depth, 3, 12, 7, num_classes=5, norm_layer=LAYER_NORM).eval()
    load(library, module.state_dict(), torchvision_names(depth))
    equal_with_gradients(module, library, torch.randn(2, 3, side, side))


def vit_oracle(
    cls: Callable[..., nn.Module], size: tuple[int, int] = (4, 6), pool: str = "mean", depth: int = 2, **options: Any
) -> None:
    """Patches by F.unfold, then torchvision's encoder: any size, any number of channels, both pools."""
    patch, channels, classes, dim, heads, hidden = 2, 2, 5, 12, 3, 7
    module = random(cls(size, patch, channels, classes, dim, depth, heads, hidden, pool=pool, **options)).eval()
    state, tokens = module.state_dict(), (size[0] // patch) * (size[1] // patch) + 1
    encoder = torchvision_vit.Encoder(tokens, depth, heads, dim, hidden, 0.0, 0.0, LAYER_NORM).eval()
    load(encoder, state, torchvision_names(depth, prefix=""))

    def library(images: Tensor) -> Tensor:
        pixels = F.unfold(images, patch, stride=patch).mT
        patches = F.linear(
            pixels, state["embedding.patches.proj.weight"].flatten(1), state["embedding.patches.proj.bias"]
        )
        found = encoder(torch.cat([state["embedding.cls_token"].expand(len(images), 1, dim), patches], 1))
        pooled = found[:, 0] if pool == "cls" else found[:, 1:].mean(1)
        return F.linear(pooled, state["head.weight"], state["head.bias"])

    equal_with_gradients(module, library, torch.randn(3, channels, *size))


def class_token_oracle(cls: Callable[..., nn.Module]) -> None:
    vit_oracle(cls, pool="cls")


def formula_oracle(function: Callable[..., int], **options: Any) -> None:
    """The formula against a count of the numbers in a module that was built."""
    sizes = {
        "image_size": (6, 8), "patch_size": 2, "in_channels": 3, "num_classes": 5, "dim": 12, "depth": 4,
        "num_heads": 3, "mlp_dim": 7, "head_dim": 2, "qkv_bias": True, **options,
    }  # fmt: skip
    with torch.device("meta"):
        built = MODEL["VisionTransformer"](**sizes)
    assert function(**sizes) == sum(t.numel() for t in built.state_dict().values())  # it has no buffers


def count_oracle(function: Callable[..., int]) -> None:
    """torch's parameters_to_vector on a model with buffers, a frozen layer, and a layer that is used twice."""
    shared, frozen = nn.Linear(4, 4), nn.Linear(4, 3)
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Flatten(), shared, nn.Tanh(), shared, frozen)
    everything = len(nn.utils.parameters_to_vector(model.parameters()))
    assert function(model) == everything
    frozen.requires_grad_(False)
    assert function(model) == everything
    assert function(model, trainable_only=True) == everything - len(nn.utils.parameters_to_vector(frozen.parameters()))


def maps_oracle(function: Callable[..., Tensor], depth: int = 2, **options: Any) -> None:
    """nn.MultiheadAttention's own weights, block by block."""
    dim, heads = 12, 3
    model = random(MODEL["VisionTransformer"]((4, 6), 2, 2, 5, dim, depth, heads, 7, **options)).eval()
    images = torch.randn(2, 2, 4, 6)
    x, expected = model.embedding(images), []
    for block in model.blocks:
        library = nn.MultiheadAttention(dim, heads, batch_first=True)
        load(library, block.state_dict(), {"": "attention."})
        n = block.norm1(x)
        expected.append(library(n, n, n, average_attn_weights=False)[1][:, :, 0, 1:])
        x = block(x)
    close(function(model, images), torch.stack(expected, 1))


# --- the model answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "hidden"), [(5, 7), (6, 3), (1, 4)])
def test_feed_forward(dim, hidden):
    forward_oracle(MODEL["FeedForward"], dim, hidden)


@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize(("dim", "heads", "hidden"), [(12, 3, 7), (10, 2, 23), (8, 8, 3)])
def test_encoder_block(dim, heads, hidden, qkv_bias):
    block_oracle(MODEL["EncoderBlock"], dim, heads, hidden, qkv_bias=qkv_bias)


@pytest.mark.parametrize(("side", "depth"), [(8, 3), (12, 1)])
def test_vision_transformer_is_torchvisions(side, depth):
    whole_oracle(MODEL["VisionTransformer"], side, depth)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize(
    ("size", "depth", "options"),
    [((4, 6), 2, {}), ((6, 4), 3, {"qkv_bias": False}), ((4, 4), 1, {"head_dim": 4}), ((8, 2), 2, {"dropout": 0.3})],
)
def test_vision_transformer_of_any_size(pool, size, depth, options):
    vit_oracle(MODEL["VisionTransformer"], size, pool, depth, **options)


@pytest.mark.parametrize(("pool", "theirs"), [("cls", "token"), ("mean", "avg")])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_vision_transformer_is_timms(pool, theirs, qkv_bias):
    timm = pytest.importorskip("timm.models.vision_transformer")
    dim, hidden, size = 12, 24, (4, 6)
    module = random(MODEL["VisionTransformer"](size, 2, 2, 5, dim, 2, 3, hidden, qkv_bias=qkv_bias, pool=pool)).eval()
    library = timm.VisionTransformer(
        size, 2, 2, 5, theirs, dim, 2, 3, mlp_ratio=hidden / dim, qkv_bias=qkv_bias, fc_norm=False,
        norm_layer=LAYER_NORM,
    ).eval()  # fmt: skip
    names = {
        "embedding.cls_token": "cls_token", "embedding.position": "pos_embed", "embedding.patches.": "patch_embed.",
        "attention.to_out": "attn.proj",
    }  # fmt: skip
    filled: dict[str, Tensor] = {}
    for ours, value in module.state_dict().items():
        name = ours
        for old, new in names.items():
            name = name.replace(old, new)
        if "attention.to_" in name:  # q, k, and v come in this order, and lie on top of each other in timm
            name = name[: name.index("attention")] + "attn.qkv" + name[name.rindex(".") :]
            value = torch.cat([filled[name], value]) if name in filled else value
        filled[name] = value
    library.load_state_dict(filled)
    images = torch.randn(3, 2, *size)
    close(module(images), library(images))


@pytest.mark.parametrize(
    "options",
    [{}, {"head_dim": None}, {"qkv_bias": False}, {"image_size": 4, "head_dim": None, "qkv_bias": False}, {"depth": 1}],
)
def test_vit_parameters(options):
    formula_oracle(MODEL["vit_parameters"], **options)


def test_count_parameters():
    count_oracle(MODEL["count_parameters"])


@pytest.mark.parametrize("options", [{}, {"qkv_bias": False}, {"depth": 1}, {"dropout": 0.5}])
def test_attention_maps(options):
    maps_oracle(MODEL["attention_maps"], **options)


# --- published numbers ----------------------------------------------------------------------------


def test_vit_b_16_has_torchvisions_number():
    with torch.device("meta"):
        library = torchvision_vit.vit_b_16(weights=None)
    assert MODEL["count_parameters"](library) == MODEL["vit_parameters"](**VIT_B_16) == 86_567_656


def test_the_parts_of_the_lab_reports_model():
    with torch.device("meta"):
        model = MODEL["VisionTransformer"](**REPORT)
    count, block = MODEL["count_parameters"], model.blocks[0]
    assert count(block.attention) == 393_408
    assert count(block.mlp) == 148_032
    assert count(block.norm1) == count(block.norm2) == count(model.norm) == 384
    assert count(model.embedding.patches) == 3_264
    assert len(model.blocks) == 10
    rest = 3_264 + 192 + 50 * 192 + 384 + 193 * 6  # patches, class token, positions, last norm, head
    assert count(model) == MODEL["vit_parameters"](**REPORT) == 10 * (393_408 + 148_032 + 2 * 384) + rest


def test_a_block_of_deit_b():
    with torch.device("meta"):
        block = MODEL["EncoderBlock"](768, 12, 3072)
    assert MODEL["count_parameters"](block) == 7_087_872


# --- properties -----------------------------------------------------------------------------------


def test_an_int_is_a_square_image():
    one, two = (MODEL["VisionTransformer"](size, 2, 3, 5, 6, 2, 3, 7) for size in (8, (8, 8)))
    two.load_state_dict(random(one).state_dict())
    images = torch.randn(2, 3, 8, 8)
    close(one(images), two(images))
    assert MODEL["vit_parameters"](8, 2, 3, 5, 6, 2, 3, 7) == MODEL["vit_parameters"]((8, 8), 2, 3, 5, 6, 2, 3, 7)


def test_a_given_head_dim_sets_the_width_of_attention():
    for module in (MODEL["EncoderBlock"](7, 3, 5, 4), MODEL["VisionTransformer"](4, 2, 1, 2, 7, 1, 3, 5, 4).blocks[0]):
        assert module.attention.to_q.weight.shape == (12, 7)
        assert module.attention.to_out.weight.shape == (7, 12)


def test_tokens_of_a_block_are_a_set_and_samples_are_alone():
    block, x, order = random(MODEL["EncoderBlock"](6, 3, 5)), torch.randn(4, 5, 6), torch.randperm(5)
    close(block(x[:, order]), block(x)[:, order])
    close(block(x[1:2]), block(x)[1:2])


def test_a_block_whose_branches_give_nothing_is_the_identity():
    block, x = random(MODEL["EncoderBlock"](6, 3, 5, dropout=0.5)).train(), torch.randn(4, 5, 6)
    for layer in (block.attention.to_out, block.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    close(block(x), x)


def test_only_the_positions_tell_where_a_patch_was():
    model = random(MODEL["VisionTransformer"]((4, 6), 2, 2, 5, 6, 2, 3, 7)).eval()
    images = torch.randn(2, 2, 4, 6)
    shuffled = F.fold(F.unfold(images, 2, stride=2)[..., torch.randperm(6)], (4, 6), 2, stride=2)
    assert not torch.allclose(model(images), model(shuffled))
    nn.init.zeros_(model.embedding.position)
    close(model(images), model(shuffled))


@pytest.mark.parametrize(
    ("name", "init", "shape"),
    [("FeedForward", (6, 9), (2, 5, 6)), ("EncoderBlock", (6, 3, 9), (2, 5, 6)),
     ("VisionTransformer", (8, 2, 3, 5, 6, 2, 3, 9), (2, 3, 8, 8))],
)  # fmt: skip
def test_dropout_is_for_training_only(name, init, shape):
    module, x = random(MODEL[name](*init, dropout=0.5)), torch.randn(shape)
    assert not torch.equal(module(x), module(x))
    still = MODEL[name](*init)  # without dropout
    still.load_state_dict(module.state_dict())
    close(module.eval()(x), still(x))


def test_rows_of_the_maps_and_the_weight_on_itself_sum_to_one():
    model = random(MODEL["VisionTransformer"](8, 4, 3, 5, 6, 2, 3, 7)).eval()
    maps = MODEL["attention_maps"](model, torch.randn(2, 3, 8, 8))
    assert maps.shape == (2, 2, 3, 4)
    assert (maps > 0).all()
    assert (maps.sum(-1) < 1).all()


# --- planted mistakes: the oracles must see each one ----------------------------------------------

PLANTED = [
    ("FeedForward", forward_oracle, ("nn.GELU()", "nn.ReLU()")),
    ("FeedForward", forward_oracle, ("self.activation(self.fc1(x))", "self.fc1(x)")),
    ("FeedForward", forward_oracle, ("self.dropout(self.fc2(hidden))", "x + self.fc2(hidden)")),
    ("EncoderBlock", block_oracle, ("self.mlp(self.norm2(x))", "self.mlp(self.norm1(x))")),
    ("EncoderBlock", block_oracle, ("self.mlp(self.norm2(x))", "self.mlp(x)")),
    ("EncoderBlock", block_oracle, ("return x + self.mlp", "return self.mlp")),
    ("EncoderBlock", block_oracle, ("self.attention(self.norm1(x))", "self.norm1(self.attention(x))")),
    ("EncoderBlock", block_oracle, ("self.norm1 = nn.LayerNorm(dim)", "self.norm1 = nn.LayerNorm(dim, eps=1e-3)")),
    ("VisionTransformer", whole_oracle, ("        x = self.norm(x)\n", "")),
    ("VisionTransformer", whole_oracle, ("x = block(x)", "block(x)")),
    ("VisionTransformer", whole_oracle, ("x[:, 0] if", "x[:, -1] if")),
    ("VisionTransformer", vit_oracle, ("x[:, 1:].mean(dim=1)", "x.mean(dim=1)")),
    ("VisionTransformer", vit_oracle, ("in self.blocks:", "in reversed(self.blocks):")),
    ("VisionTransformer", vit_oracle, ("x = block(x)", "x = block(x + self.embedding.position)")),
    ("VisionTransformer", class_token_oracle, ("x[:, 0] if", "x[:, 1] if")),
    ("VisionTransformer", class_token_oracle, ('self.pool == "cls"', 'self.pool != "cls"')),
    ("VisionTransformer", class_token_oracle, ("return self.head(x)", "return self.head(x).softmax(-1)")),
    ("vit_parameters", formula_oracle, ("+ dim + tokens", "+ tokens")),
    ("vit_parameters", formula_oracle, ("(dim + 1) * num_classes", "dim * num_classes")),
    ("vit_parameters", formula_oracle, (" + 2 * dim", "")),
    ("vit_parameters", formula_oracle, ("(inner + 1) * dim", "(dim + 1) * inner")),
    ("vit_parameters", formula_oracle, ("(H // patch_size) * (W // patch_size)", "(H // patch_size) ** 2")),
    ("count_parameters", count_oracle, ("model.parameters()", "model.state_dict().values()")),
    ("count_parameters", count_oracle, ("p.numel()", "len(p)")),
    ("count_parameters", count_oracle, (" if p.requires_grad or not trainable_only", "")),
    ("attention_maps", maps_oracle, ("block.norm1(x)", "x")),
    ("attention_maps", maps_oracle, (" / q.shape[-1] ** 0.5", "")),
    ("attention_maps", maps_oracle, ("weights[:, :, 0, 1:]", "weights[:, :, 1:, 0]")),
    ("attention_maps", maps_oracle, ("        x = block(x)\n", "")),
    ("attention_maps", maps_oracle, ("(attention.to_q, attention.to_k)", "(attention.to_k, attention.to_q)")),
]


@pytest.mark.parametrize(("name", "oracle", "edit"), PLANTED, ids=[f"{name}: {edit[0]}" for name, _, edit in PLANTED])
def test_a_planted_mistake_is_seen(name, oracle, edit):
    oracle(MODEL[name])
    cell = "parameter_counts" if name.endswith("parameters") else name
    wrong = run_cells((cell, changed(CODE[cell], edit)))[name]
    with pytest.raises(AssertionError):
        oracle(wrong)


def test_a_mistake_in_a_part_reaches_what_is_built_from_it():
    """EncoderBlock calls the notebook's own FeedForward, VisionTransformer its EncoderBlock: stand-ins reach them."""
    for cell, edit in (
        ("FeedForward", ("nn.GELU()", "nn.ReLU()")),
        ("EncoderBlock", ("return x + self.mlp", "return self.mlp")),
    ):
        space = run_cells((cell, changed(CODE[cell], edit)))
        for name, oracle in (("EncoderBlock", block_oracle), ("VisionTransformer", whole_oracle)):
            with pytest.raises(AssertionError):
                oracle(space[name])
