"""Do these weights, in a Vision Transformer of our own, give these logits?

Logits come out of a student's process, where anything could have made them. The weights came with
them, so the model is built here again from the shapes of its weights, and must say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from autograder.judging.reference_answers import Reference
from vitedu.data.drawing import SIDE
from vitedu.training_exams.recipe import CHANNELS, CLASSES, exam_settings, logits_of

# Of 1 + the largest logit. On a trained model: float64, batches of another size, and attention written in other
# ways are up to 8e-7 away; LayerNorms of which only some have the other eps up to 2e-3; the nearest wrong ideas
# (no GELU, no scale, no MLP, another number of heads) 0.5 and more.
TOLERANCE = 5e-3
FEW = 4  # images on which each way of building the model is tried first
BATCH = 25  # bounds the memory of the largest model that fits the limits
LIMITS = {"dim": 4096, "depth": 64, "mlp_dim": 16384, "inner": 4096}
LARGEST_HEADS = 64
Maker = Callable[..., nn.Module]


class MisfitError(ValueError):
    """The weights are not those of a Vision Transformer as this lab fixes it; the message says why."""


@dataclass(frozen=True)
class Sizes:
    """What the shapes of the weights tell; `inner` is heads * head_dim."""

    patch_size: int
    dim: int
    depth: int
    mlp_dim: int
    inner: int
    qkv_bias: bool

    def heads(self) -> list[int]:
        """Every number of heads that these shapes allow: nothing in them tells which it is."""
        return [n for n in range(1, min(self.inner, LARGEST_HEADS) + 1) if self.inner % n == 0]


def sizes(state: Mapping[str, Tensor]) -> Sizes:
    """The sizes of the model, checked before anything of these sizes is made.

    Raises:
        MisfitError: a weight is missing, has an impossible shape, or is too large.
    """

    def shape(key: str, dimensions: int) -> tuple[int, ...]:
        if key not in state:
            raise MisfitError(f"the weights lack {key}")
        if state[key].ndim != dimensions:
            raise MisfitError(f"{key} has the shape {tuple(state[key].shape)}, expected {dimensions} dimensions")
        return tuple(state[key].shape)

    dim, channels, height, patch = shape("embedding.patches.proj.weight", 4)
    if channels != CHANNELS or height != patch or patch < 2 or SIDE % patch:
        raise MisfitError(f"patches of {channels} channels and {height} by {patch} pixels do not fit the images")
    found = Sizes(
        patch, dim,
        depth=len({match[1] for key in state if (match := re.match(r"blocks\.(\d{1,3})\.", key))}),
        mlp_dim=shape("blocks.0.mlp.fc1.weight", 2)[0],
        inner=shape("blocks.0.attention.to_q.weight", 2)[0],
        qkv_bias="blocks.0.attention.to_q.bias" in state,
    )  # fmt: skip
    for name, most in LIMITS.items():
        if not 1 <= getattr(found, name) <= most:
            raise MisfitError(f"expected {name} from 1 to {most}, found {getattr(found, name)}")
    return found


def same_model(reference: Reference, state: Mapping[str, Tensor], images: Tensor, logits: Tensor) -> str:
    """Why our own model does not give these logits with these weights; "" where it does.

    Args:
        state: the trained weights by state_dict key, from an untrusted process.
        images: uint8 (n, C, H, W).
        logits: (n, classes), finite.
    """
    try:
        with exam_settings(seed=0):
            for model in _models(reference, state):
                if _close(model, images[:FEW], logits[:FEW]) and _close(model, images, logits):
                    return ""
        return "with these weights our own model gives other logits"
    except MisfitError as error:
        return str(error)
    except Exception as error:  # weights that no model can have
        return f"our own model does not run with these weights ({type(error).__name__})"


def _models(reference: Reference, state: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Our own models that these weights fit: numbers of heads, pooling, LayerNorm's eps, kinds of GELU."""
    found = sizes(state)
    make = _maker(reference.namespace([]), found)
    with torch.device("meta"):  # shapes only: nothing is allocated before they all agree
        weights = _fitted(state, make(found.heads()[0], "cls").state_dict())
    for eps, gelu in product((1e-5, 1e-6), ("none", "tanh")):
        for heads, pool in product(reversed(found.heads()), ("cls", "mean")):
            model = make(heads, pool)
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eps = eps
                if isinstance(module, nn.GELU):
                    module.approximate = gelu
            model.load_state_dict(weights)
            yield model


def _maker(namespace: Mapping[str, Any], found: Sizes) -> Maker:
    """Builds the model for a number of heads and a pooling."""
    common = (SIDE, found.patch_size, CHANNELS, CLASSES, found.dim, found.depth)

    def make(heads: int, pool: str) -> nn.Module:
        rest = {"head_dim": found.inner // heads, "qkv_bias": found.qkv_bias, "pool": pool}
        model: nn.Module = namespace["VisionTransformer"](*common, heads, found.mlp_dim, **rest)
        return model

    return make


def _fitted(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights as float32 in the shapes of our own model; a leading dimension of size 1 may lack."""
    if state.keys() != wanted.keys():
        lacking, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
        what = f"lack {lacking[0]}" if lacking else f"hold {extra[0][:80]}, which this lab's model has not"
        raise MisfitError(f"the weights {what}")
    weights = {}
    for key, mine in wanted.items():
        theirs = state[key]
        bare = list(mine.shape)
        while bare[:1] == [1]:
            bare.pop(0)
        if theirs.shape != mine.shape and list(theirs.shape) != bare:
            raise MisfitError(f"{key} has the shape {tuple(theirs.shape)}, expected {tuple(mine.shape)}")
        weights[key] = theirs.to(torch.float32).reshape(mine.shape)
    return weights


def _close(model: nn.Module, images: Tensor, logits: Tensor) -> bool:
    mine = logits_of(model, images, BATCH)
    return bool((mine - logits).abs().max() <= TOLERANCE * (1 + mine.abs().max()))
