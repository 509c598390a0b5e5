"""Lab 2's pictures: they show what the student's functions compute, and give no solution away."""

import ast
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from vitedu.checks.check import when_ready
from vitedu.data import sample_digit, sample_photo
from vitedu.labs.lab2 import patch_pictures, token_pictures
from vitedu.plots.figure import Picture


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """The names of Lab 2's solution notebook."""
    return Reference(find_lab("lab2")).namespace(())


def draw(name: str, answers: dict[str, Any]) -> Picture:
    cut, together = answers["patchify"], answers["unpatchify"]
    drawings = {
        "cut up": lambda: patch_pictures.cut_up(cut),
        "numbers": lambda: patch_pictures.patch_numbers(cut),
        "digit": lambda: patch_pictures.digit_patches(cut),
        "cost": lambda: patch_pictures.token_cost(cut, 64),
        "together": lambda: patch_pictures.put_together(cut, together),
        "shuffled": lambda: patch_pictures.put_together(cut, together, shuffled=True),
        "features": lambda: token_pictures.feature_maps(answers["ConvPatchEmbedding"]),
        "stages": lambda: token_pictures.token_stages(answers["TokenEmbedding"]),
        "similarity": lambda: token_pictures.position_similarity(answers["sincos_position_2d"](4, 5, 16), 4, 5),
    }
    return drawings[name]()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("cut up", ("15 patches of 32 x 32 pixels", "5 in a row")),
        ("numbers", ("as a row: 0.47, 0.47, 0.53, 0.47, 0.47, 0.80,",)),
        ("digit", ("16 patches", "without ink are 0, 3, 7, 8, 11, 12, 15.")),
        ("cost", ("P = 2: 1,024 tokens, 7.25 in linear maps, 1.61 in attention", "P = 32: 4 tokens")),
        ("together", ("60 patches in their order", "largest difference: 0.")),
        ("shuffled", ("60 patches shuffled", "right put together.")),
        ("features", ("24 x 40 tokens", "brightness from 1.3 to 48.0")),
        ("stages", ("[0, 3, 7, 8, 11, 12, 15] have no ink", "embeddings are all alike", "their tokens all different")),
        ("similarity", ("4 by 5 maps", "with itself: 1.00")),
    ],
)
def test_a_picture_is_a_small_png_with_a_text(name, facts, answers):
    picture = draw(name, answers)
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert image.std() > 5  # something is drawn
    assert len(picture.png) < 60_000
    assert all(fact in picture.alt for fact in facts), picture.alt


def by_columns(answers: dict[str, Any]) -> Callable[[Tensor, int], Tensor]:
    """patchify with the grid read from top to bottom first."""

    def cut(images: Tensor, patch_size: int) -> Tensor:
        h, w = (side // patch_size for side in images.shape[2:])
        order = torch.arange(h * w).view(h, w).T.flatten()
        return answers["patchify"](images, patch_size)[:, order]

    return cut


def test_pictures_of_patches_show_what_the_function_computes(answers):
    wrong = by_columns(answers)
    for drawing in (patch_pictures.cut_up, patch_pictures.digit_patches):
        assert drawing(wrong).png != drawing(answers["patchify"]).png
    assert "without ink are 0, 2, 3, 12, 13, 14, 15." in patch_pictures.digit_patches(wrong).alt
    mixed = patch_pictures.put_together(wrong, answers["unpatchify"])
    assert mixed.alt.endswith("largest difference: 1.")
    assert mixed.png != patch_pictures.put_together(answers["patchify"], answers["unpatchify"]).png


def test_the_row_of_numbers_is_the_functions(answers):
    def backwards(images: Tensor, patch_size: int) -> Tensor:
        return answers["patchify"](images, patch_size).flip(-1)

    numbers = [
        picture.alt.split("as a row: ")[1].removesuffix(".").split(", ")
        for picture in map(patch_pictures.patch_numbers, (answers["patchify"], backwards))
    ]
    assert numbers[0] == numbers[1][::-1] != numbers[1]


def test_tokens_without_positions_are_said_to_be_alike(answers):
    class Without(answers["TokenEmbedding"]):
        def forward(self, images: Tensor) -> Tensor:
            return torch.cat([self.cls_token, self.patches(images)], dim=1)

    assert "their tokens all alike" in token_pictures.token_stages(Without).alt


def test_similarity_is_that_of_the_vectors():
    """Orthogonal vectors are like nobody else, equal ones like all."""
    assert "with its right neighbour 0.00" in token_pictures.position_similarity(torch.eye(9), 3, 3).alt
    assert "upper left 1.00" in token_pictures.position_similarity(torch.ones(9, 4), 3, 3).alt


def test_features_are_dot_products_with_the_patterns(answers):
    photo = sample_photo.small_photo()
    sums = torch.nn.functional.avg_pool2d(photo.sum(1), 4) * 16
    said = f"brightness from {sums.min():.1f} to {sums.max():.1f}"
    assert said in token_pictures.feature_maps(answers["ConvPatchEmbedding"]).alt


def test_photo_and_digits():
    photo, digit = sample_photo.small_photo(), sample_digit.digit(1)
    assert photo.shape == (1, 3, 96, 160) and 0 <= photo.min() < 0.1 and 0.9 < photo.max() <= 1
    assert digit.shape == (1, 1, 8, 8) and digit.max() == 16 and torch.equal(digit, digit.round())
    assert digit.dtype == photo.dtype == torch.float32


def test_a_result_of_the_wrong_shape_is_named(answers):
    def transposed(images: Tensor, patch_size: int) -> Tensor:
        return answers["patchify"](images, patch_size).mT

    with pytest.raises(ValueError, match=r"expected patches \(1, 15, 3072\), got \(1, 3072, 15\)"):
        patch_pictures.cut_up(transposed)
    with pytest.raises(ValueError, match=r"expected images \(1, 3, 114, 190\), got"):
        patch_pictures.put_together(
            answers["patchify"], lambda cut, size, whole: answers["unpatchify"](cut, size, whole).mT
        )
    with pytest.raises(ValueError, match=r"expected positions \(6, 4\), got \(5, 4\)"):
        token_pictures.position_similarity(torch.ones(5, 4), 2, 3)


def test_a_todo_is_one_line_and_no_picture(capsys, answers):
    def todo(*_: Any) -> Tensor:
        raise NotImplementedError("TODO")

    drawings = (
        patch_pictures.cut_up, patch_pictures.patch_numbers, patch_pictures.digit_patches, patch_pictures.token_cost,
        token_pictures.feature_maps, token_pictures.token_stages,
    )  # fmt: skip
    for drawing in drawings:
        assert when_ready(drawing)(todo) is None
        assert capsys.readouterr().out.count("\n") == 1
    assert when_ready(patch_pictures.put_together)(answers["patchify"], todo) is None


def test_importing_draws_nothing_and_loads_no_matplotlib():
    code = (
        "import sys, vitedu.labs.lab2.patch_pictures, vitedu.labs.lab2.token_pictures; "
        "sys.exit(bool({'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", [patch_pictures, token_pictures], ids=lambda module: module.__name__)
def test_no_solution_stands_in_the_drawing_code(module):
    solving = {
        "permute", "transpose", "swapaxes", "mT", "rearrange", "unfold", "fold", "pixel_unshuffle", "pixel_shuffle",
        "Conv2d", "conv2d", "Linear", "linear", "Parameter", "sin", "cos", "meshgrid", "polar",
    }  # fmt: skip
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    assert not solving & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
