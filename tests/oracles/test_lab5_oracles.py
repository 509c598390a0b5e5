"""Lab 5's model answers against models that we did not write, and mistakes that the oracles must see."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")

from timm.models.vision_transformer import VisionTransformer as TimmViT  # noqa: E402
from torchvision.models import VisionTransformer as TorchvisionViT  # noqa: E402
from transformers.modeling_outputs import BaseModelOutput  # noqa: E402

from autograder.judging.reference_answers import Reference  # noqa: E402
from autograder.labs.exam import changed  # noqa: E402
from autograder.labs.lab import find_lab, solution_cells  # noqa: E402
from vitedu.probe import encoders  # noqa: E402

CODE = solution_cells("lab5_libraries")
LAB = Reference(find_lab("lab5"))
DTYPES = {torch.float64: 1e-10, torch.float32: 1e-5}  # how far logits may be apart; the longer one first
CONFIG = {
    "image_size": 8, "patch_size": 2, "in_channels": 3, "num_classes": 5, "dim": 12, "depth": 3, "num_heads": 3,
    "mlp_dim": 7, "head_dim": None, "dropout": 0.0, "qkv_bias": True, "pool": "cls", "eps": 1e-5, "gelu": "none",
}  # fmt: skip
LIBRARY = {"to_torchvision": TorchvisionViT, "to_timm": TimmViT}


@cache
def run_cells(*replaced: tuple[str, str]) -> dict[str, Any]:
    """The names of the lab's code cells, some of the solution cells replaced."""
    return LAB.namespace(replaced)


MODEL = run_cells()
pytestmark = pytest.mark.usefixtures("float64")


def random(module: nn.Module) -> nn.Module:
    """The module with random numbers in all its parameters, those of LayerNorms around 1."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            is_scale = "norm" in name.lower() and name.endswith("weight")
            parameter.copy_(torch.randn_like(parameter) * 0.5 + is_scale)
    return module


def own(config: dict[str, Any]) -> nn.Module:
    """Lab 3's model for a configuration: random, with small tokens, so that the eps of its norms shows."""
    model = MODEL["VisionTransformer"](**{name: value for name, value in config.items() if name not in ("eps", "gelu")})
    random(model)
    with torch.no_grad():
        for parameter in model.embedding.parameters():
            parameter.mul_(0.02)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = config["eps"]
        if isinstance(module, nn.GELU):
            module.approximate = config["gelu"]
    return model.eval()


# --- the oracles: each takes the object under test ------------------------------------------------


def moved_oracle(function: Callable[..., nn.Module], library: type[nn.Module], **changes: Any) -> None:
    """The library's own model says what ours says, in both dtypes, as it comes back."""
    config = CONFIG | changes
    model = own(config)
    for dtype, apart in DTYPES.items():
        model = model.to(dtype)
        size = config["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        images, state = torch.randn(3, config["in_channels"], height, width, dtype=dtype), model.state_dict()
        before = {key: value.clone() for key, value in state.items()}
        torch.set_default_dtype(torch.float32)  # as in a notebook: the dtype is the weights' affair
        theirs = function(state, dict(config))
        torch.set_default_dtype(torch.float64)
        assert isinstance(theirs, library)
        assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in model.parameters())
        assert state.keys() == before.keys() and all(torch.equal(state[key], before[key]) for key in state)
        with torch.no_grad():
            torch.testing.assert_close(theirs(images), model(images), rtol=apart, atol=apart)


def torchvision_oracle(function: Callable[..., nn.Module]) -> None:
    moved_oracle(function, TorchvisionViT, dropout=0.5)


def timm_oracle(function: Callable[..., nn.Module]) -> None:
    moved_oracle(function, TimmViT, dropout=0.5)


def refusal_oracle(function: Callable[..., nn.Module]) -> None:
    """Each option that torchvision lacks is refused by name."""
    for option, value in REFUSED:
        config = CONFIG | {option: value}
        try:
            function(own(config).state_dict(), config)
        except ValueError as error:
            assert option in str(error)
        except RuntimeError as error:
            raise AssertionError(f"{option} is not refused") from error
        else:
            raise AssertionError(f"{option} is not refused")


REFUSED = [
    ("image_size", (8, 12)), ("in_channels", 1), ("head_dim", 5), ("qkv_bias", False), ("pool", "mean"),
    ("gelu", "tanh"),
]  # fmt: skip


def encoder_oracle(cls: Callable[..., nn.Module], kind: str = "BertModel") -> None:
    """The encoder itself, given tokens that are made patch by patch, without a convolution."""
    model = random(cls(2, 3, 5, small(kind))).eval()
    images, state = torch.randn(3, 3, 4, 6), model.state_dict()
    rows = []
    for image in images:
        patches = [image[:, y : y + 2, x : x + 2].flatten() for y in (0, 2) for x in (0, 2, 4)]
        kernel = state["patch_embed.weight"].flatten(1)
        tokens = [state["cls_token"].flatten(), *(kernel @ patch + state["patch_embed.bias"] for patch in patches)]
        first = model.encoder(inputs_embeds=torch.stack(tokens)[None])[0][0, 0]
        rows.append(state["readout.weight"] @ first + state["readout.bias"])
    torch.testing.assert_close(model(images), torch.stack(rows), rtol=1e-9, atol=1e-9)


def small(kind: str) -> nn.Module:
    """An encoder of transformers from a configuration, with twelve features."""
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "vocab_size": 8, "pad_token_id": 0}
    if kind == "DistilBertModel":
        sizes["hidden_dim"] = 7
    else:
        sizes["intermediate_size"] = 7
    model_class = getattr(transformers, kind)
    return model_class(model_class.config_class(**sizes))


# --- the model answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize(
    "changes",
    [{}, {"depth": 1, "eps": 1e-6}, {"dim": 10, "num_heads": 2, "mlp_dim": 23}, {"head_dim": 4}, {"image_size": (8, 8)},
     {"patch_size": 4, "eps": 1e-3}, {"num_heads": 12, "num_classes": 2}],
    ids=str,
)  # fmt: skip
def test_moved_weights_give_equal_logits(name, changes):
    moved_oracle(MODEL[name], LIBRARY[name], **changes)


@pytest.mark.parametrize(
    "changes",
    [{"image_size": (4, 6)}, {"in_channels": 1}, {"qkv_bias": False}, {"pool": "mean"}, {"gelu": "tanh"}], ids=str,
)  # fmt: skip
def test_timm_has_more_options(changes):
    moved_oracle(MODEL["to_timm"], TimmViT, **changes)


@pytest.mark.parametrize("mlp_dim", range(1, 60, 7))
def test_any_width_of_the_mlp_is_timms(mlp_dim):
    """timm cuts dim * mlp_ratio off to a whole number, and some quotients come out just below one."""
    moved_oracle(MODEL["to_timm"], TimmViT, mlp_dim=mlp_dim, depth=1, dim=54)


def test_torchvision_refuses_what_it_has_no_option_for():
    refusal_oracle(MODEL["to_torchvision"])


@pytest.mark.parametrize("kind", ["BertModel", "DistilBertModel", "RobertaModel"])
def test_encoder_vit(kind):
    encoder_oracle(MODEL["EncoderViT"], kind)


def test_encoder_vit_trains_and_every_part_of_it_learns():
    torch.set_default_dtype(torch.float32)
    model = MODEL["EncoderViT"](4, 3, 6, small("BertModel").train())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 6
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    losses = [MODEL["train_one_epoch"](model, [batch], optimizer, "cpu")["loss"] for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    same = [key for key, value in model.state_dict().items() if torch.equal(value, before[key])]
    assert all("pooler" in key or "word_embeddings" in key for key in same)


# --- what the prose says of the libraries ---------------------------------------------------------


def test_what_the_table_of_encoders_says():
    from vitedu.labs.lab5 import zoo

    found = {name: zoo.experiments(zoo.small(name).double()) for name in zoo.ENCODERS}
    assert found == {
        "BertModel": (True, True, True, True),
        "DistilBertModel": (False, True, True, True),
        "ModernBertModel": (False, True, True, True),
        "GPT2Model": (False, True, False, True),
    }


def test_which_models_take_vectors_in_place_of_words():
    from inspect import signature

    text = ("Bert", "Roberta", "Electra", "DistilBert", "Albert", "ModernBert", "GPT2", "Llama")
    for name in text:
        assert "inputs_embeds" in signature(getattr(transformers, f"{name}Model").forward).parameters
    for name in ("ViT", "DeiT", "Dinov2"):
        parameters = signature(getattr(transformers, f"{name}Model").forward).parameters
        assert "inputs_embeds" not in parameters and "pixel_values" in parameters


def test_the_stand_in_is_called_as_an_encoder_of_transformers_is():
    stand_in = encoders.made((encoders.MARK, "stand-in", 6, 9))
    bert = encoders.made((encoders.MARK, "bert", 6, 1, 2, 7, 9))
    x = torch.randn(2, 5, 6)
    for encoder in (stand_in, bert.eval()):
        output = encoder(inputs_embeds=x)
        assert encoder.config.hidden_size == encoder.get_input_embeddings().embedding_dim == 6
        assert torch.equal(output[0], output.last_hidden_state) and torch.equal(output["last_hidden_state"], output[0])
        assert torch.equal(encoder(inputs_embeds=x, return_dict=False)[0], output[0])
        assert torch.equal(encoder(inputs_embeds=x, output_hidden_states=True).hidden_states[-1], output[0])
        torch.testing.assert_close(encoder(inputs_embeds=x, attention_mask=torch.ones(2, 5))[0], output[0])
        with pytest.raises((ValueError, RuntimeError)):
            encoder(x)
        with pytest.raises(ValueError, match="exactly one"):
            encoder()
    with pytest.raises(AttributeError, match="pooler_output"):
        _ = stand_in(inputs_embeds=x).pooler_output
    assert BaseModelOutput(last_hidden_state=x).keys() == stand_in(inputs_embeds=x).keys()


def test_an_argument_that_is_no_encoder_stays_as_it_is():
    for value in (4, (8, 12), "cls", None, ()):
        assert encoders.made(value) is value


# --- planted mistakes: the oracles must see each one ----------------------------------------------

PLANTED = [
    ("EncoderViT", encoder_oracle, ("[:, 0, :]", "[:, 1, :]")),
    ("EncoderViT", encoder_oracle, ("torch.cat([cls, patches], dim=1)", "torch.cat([patches, cls], dim=1)")),
    ("EncoderViT", encoder_oracle, ("flatten(2).transpose(1, 2)", "transpose(2, 3).flatten(2).transpose(1, 2)")),
    ("EncoderViT", encoder_oracle, ("output.last_hidden_state[:, 0, :]", "output.pooler_output")),
    ("EncoderViT", encoder_oracle, ("inputs_embeds=tokens", "inputs_embeds=tokens + 1e-3 * tokens.cumsum(1)")),
    ("to_torchvision", torchvision_oracle, ('{kind}"] for name in "qkv"]', '{kind}"] for name in "kqv"]')),
    ("to_torchvision", torchvision_oracle, ('f"{ours}.norm1"', 'f"{ours}.norm2"')),
    ("to_torchvision", torchvision_oracle, ("return model.eval()", "return model")),
    ("to_torchvision", torchvision_oracle, ('.to(state_dict["norm.weight"].dtype).load_state_dict(moved)',
                                            '.load_state_dict(moved)\n    model.to(state_dict["norm.weight"].dtype)')),
    ("to_torchvision", refusal_oracle, ('"pool": config["pool"] == "cls"', '"pool": True')),
    ("to_torchvision", refusal_oracle, ("height == width", "True")),
    ("to_torchvision", refusal_oracle, ("express {option}={config[option]!r}", "do this")),
    ("to_timm", timm_oracle, ('f"to_{letter}")] for letter in "qkv"]', 'f"to_{letter}")] for letter in "qvk"]')),
    ("to_timm", timm_oracle, ('"token" if config["pool"] == "cls" else "avg"', '"avg"')),
    ("to_timm", timm_oracle, ("return library.eval()", "return library")),
    ("to_timm", timm_oracle, ('eps=config["eps"]),\n        act_layer', "eps=1e-6),\n        act_layer")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "oracle", "edit"), PLANTED, ids=[f"{name}: {edit[0]}" for name, _, edit in PLANTED])
def test_a_planted_mistake_is_seen(name, oracle, edit):
    oracle(MODEL[name])
    cell = "libraries" if name.startswith("to_") else name
    wrong = run_cells((cell, changed(CODE[cell], edit)))[name]
    with pytest.raises((AssertionError, AttributeError)):
        oracle(wrong)
