"""Attention of the trained model: all rows from a function that knows one, rollout, and the pictures of both."""

import ast
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab, solution_cells
from vitedu.checks.check import when_ready
from vitedu.data import shapes
from vitedu.labs.lab3 import rollout, vit_diagrams
from vitedu.plots.figure import Picture

WEIGHTS = Path(rollout.__file__).parent / "weights" / "pairs.safetensors"


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """The names of Lab 3's solution notebook."""
    return Reference(find_lab("lab3")).namespace(())


@pytest.fixture(scope="module")
def model(space) -> nn.Module:
    return rollout.trained(space["VisionTransformer"])


@pytest.fixture(scope="module")
def images() -> Tensor:
    return shapes.pairs(300, rng=9)[0]


@torch.no_grad()
def shares(space: dict[str, Any], model: nn.Module, images: Tensor) -> Tensor:
    return rollout.rollout(rollout.full_attention(space["attention_maps"], model, images))


# --- the trained model ----------------------------------------------------------------------------


def test_the_weights_are_a_small_file_of_half_precision():
    from safetensors.torch import load_file

    assert WEIGHTS.stat().st_size < 300_000
    assert {weight.dtype for weight in load_file(WEIGHTS).values()} == {torch.float16}


@torch.no_grad()
def test_the_model_knows_the_classes_of_new_images_and_needs_its_positions(space):
    images, labels = shapes.pairs(1000, rng=10)
    model = rollout.trained(space["VisionTransformer"])
    assert not model.training
    assert (model(images).argmax(-1) == labels).float().mean() > 0.98
    model.embedding.position.zero_()
    assert (model(images).argmax(-1) == labels).float().mean() < 0.7


NORMS = ("self.attention(self.norm1(x)))\n        return x + self.mlp(self.norm2(x))",
         "self.attention(self.norm2(x)))\n        return x + self.mlp(self.norm1(x))")  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "edit", "low", "high"),
    [
        ("EncoderBlock", ("x = x + self.dropout(", "x = self.dropout("), 0.25, 0.45),
        ("VisionTransformer", ("x[:, 0]", "x[:, -1]"), 0.55, 0.8),
        ("FeedForward", ("nn.GELU()", "nn.ReLU()"), 0.98, 1.0),
        ("EncoderBlock", NORMS, 0.98, 1.0),
        ("VisionTransformer", ("        x = self.norm(x)\n", ""), 0.98, 1.0),
    ],
)
@torch.no_grad()
def test_what_the_notebook_says_about_wrong_parts_under_the_trained_weights(cell, edit, low, high):
    code = solution_cells("lab3_vit")[cell]
    assert edit[0] in code
    wrong = Reference(find_lab("lab3")).namespace([(cell, code.replace(*edit))])["VisionTransformer"]
    images, labels = shapes.pairs(1000, rng=11)
    assert low < (rollout.trained(wrong)(images).argmax(-1) == labels).float().mean() < high


def test_weights_do_not_fit_a_model_with_other_names():
    with pytest.raises(RuntimeError, match=r"head\.weight"):
        rollout.trained(lambda **_: nn.Linear(2, 2))


# --- attention and rollout ------------------------------------------------------------------------


@torch.no_grad()
def test_all_rows_come_from_a_function_that_knows_the_first(space, model, images):
    """Held against queries and keys overheard inside the model."""
    heard: dict[str, list[Tensor]] = {"to_q": [], "to_k": []}
    handles = [
        getattr(block.attention, name).register_forward_hook(lambda _, __, made, name=name: heard[name].append(made))
        for block in model.blocks
        for name in heard
    ]
    model(images[:4])
    for handle in handles:
        handle.remove()
    q, k = (torch.stack(heard[name], 1).unflatten(-1, (3, 16)).transpose(2, 3) for name in heard)  # (B, L, H, T, K)
    expected = torch.softmax(q @ k.mT / 4, dim=-1)
    got = rollout.full_attention(space["attention_maps"], model, images[:4])
    assert got.shape == (4, 3, 3, 17, 17)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)


def test_the_model_is_left_without_hooks_even_after_an_error(model, images):
    def wrong(*_: Any) -> Tensor:
        raise RuntimeError("a student's mistake")

    with pytest.raises(RuntimeError, match="a student's mistake"):
        rollout.full_attention(wrong, model, images[:2])
    assert not model.embedding._forward_hooks


def test_rollout_multiplies_from_the_first_block_to_the_last():
    torch.manual_seed(0)
    attention = torch.rand(2, 3, 4, 6, 6).softmax(dim=-1)
    mixed = [(attention[:, block].mean(1) + torch.eye(6)) / 2 for block in range(3)]
    whole = mixed[2] @ mixed[1] @ mixed[0]
    torch.testing.assert_close(rollout.rollout(attention), whole[:, 0, 1:])
    torch.testing.assert_close(whole.sum(-1), torch.ones(2, 6))
    assert not torch.allclose(rollout.rollout(attention.flip(1)), whole[:, 0, 1:], atol=1e-4)


def test_rollout_of_tokens_that_look_at_themselves_finds_no_patch():
    assert rollout.rollout(torch.eye(5).expand(1, 2, 3, 5, 5)).abs().sum() == 0


def test_covering_paints_the_named_patches_and_no_others():
    images = torch.arange(2 * 3 * 32 * 32, dtype=torch.float32).view(2, 3, 32, 32)
    covered = rollout.cover(images, torch.tensor([[0, 6], [15, 15]]))
    changed = (covered != images).any(1)
    assert changed[0, :8, :8].all() and changed[0, 8:16, 16:24].all() and changed[0].sum() == 128
    assert changed[1, 24:, 24:].all() and changed[1].sum() == 64
    torch.testing.assert_close(covered[1, :, 31, 31], images[1].mean((1, 2)))


@torch.no_grad()
def test_the_rollout_points_at_what_the_model_needs(space, model, images):
    """What the notebook says: without the patches of the largest shares classes change, without the others none."""
    order, before = shares(space, model, images).argsort(-1), model(images).argmax(-1)
    changed = [
        (model(rollout.cover(images, patches)).argmax(-1) != before).sum().item()
        for patches in (order[:, -2:], order[:, :2])
    ]
    assert changed[0] > 30 and changed[1] <= 1, changed


@torch.no_grad()
def test_positions_know_the_height_of_a_patch_and_not_its_side(model):
    """What the notebook says about the picture of the positions."""
    alt = rollout.show_positions(model.embedding.position).alt
    similar = [float(part.split()[0]) for part in alt.split("Mean: ")[1].split("; ")]
    beside, _, first_and_last_row, first_and_last_column = similar
    assert beside > 0.8 and first_and_last_row < -0.8 and abs(first_and_last_column) < 0.3


# --- pictures -------------------------------------------------------------------------------------


def picture(name: str, space: dict[str, Any], model: nn.Module, images: Tensor) -> Picture:
    few = images[:3]
    drawings: dict[str, Callable[[], Picture]] = {
        "images": lambda: rollout.show_images(few, ["one", "two", "three"]),
        "maps": lambda: rollout.show_maps(few[0], space["attention_maps"](model, few)[0]),
        "rollout": lambda: rollout.show_rollout(few, shares(space, model, few), ["one", "two", "three"]),
        "positions": lambda: rollout.show_positions(model.embedding.position),
        "block": vit_diagrams.encoder_block,
        "model": vit_diagrams.vision_transformer,
        "GELU": vit_diagrams.gelu_and_relu,
        "alike": lambda: vit_diagrams.tokens_alike(space["EncoderBlock"]),
    }
    return drawings[name]()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("images", ("3 images", "one; two; three")),
        ("maps", ("block 0 head 0", "block 2 head 2")),
        ("rollout", ("three: most from the patches",)),
        ("positions", ("4 x 4 patches", "in the first and in the last row")),
        ("block", ("Pre-norm", "norm1 and attention", "Post-norm")),
        ("model", ("N+1 tokens of D features", "logits (B, classes)")),
        ("GELU", ("lowest with -0.17 at x = -0.7", "ReLU jumps")),
        ("alike", ("your blocks: -0.00 at the start", "the branches alone", "1.00 after 4")),
    ],
)
def test_a_picture_is_a_small_png_with_a_text(name, facts, space, model, images):
    with torch.no_grad():
        made = picture(name, space, model, images)
    assert np.asarray(Image.open(io.BytesIO(made.png)).convert("L")).std() > 5  # something is drawn
    assert len(made.png) < 60_000
    assert all(fact in made.alt for fact in facts), made.alt


def test_blocks_without_a_shortcut_show_in_the_picture(space):
    class NoShortcut(space["EncoderBlock"]):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) - x

    said = [vit_diagrams.tokens_alike(made).alt for made in (space["EncoderBlock"], NoShortcut)]
    own = [float(alt.split("your blocks: ")[1].split(" after 4")[0].split()[-1]) for alt in said]
    assert own[0] < 0.2 and own[1] > 0.9


def test_drawing_leaves_the_random_state_alone(space):
    before = torch.get_rng_state()
    vit_diagrams.tokens_alike(space["EncoderBlock"], depth=4)
    assert torch.equal(before, torch.get_rng_state())


def test_a_todo_is_one_line_and_no_picture(model, images, capsys):
    def todo(*_: Any, **__: Any) -> Any:
        raise NotImplementedError("TODO")

    for drawing in (
        lambda: rollout.trained(todo),
        lambda: rollout.full_attention(todo, model, images),
        lambda: vit_diagrams.tokens_alike(todo),
    ):
        assert when_ready(drawing)() is None
        assert capsys.readouterr().out.count("\n") == 1


def test_no_solution_stands_in_the_drawing_code():
    solving = {"softmax", "scaled_dot_product_attention", "to_q", "to_k", "blocks", "norm1", "numel"}
    for module in (rollout, vit_diagrams):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        assert not solving & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
