"""The notebooks' pictures: each is a small PNG with a text that says what it shows."""

import ast
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from vitedu.checks.check import when_ready
from vitedu.labs.lab1 import diagrams, photo, pictures
from vitedu.plots import figure

MODULES = (figure, photo, diagrams)
WORDS = ["she", "fed", "it"]


@pytest.fixture(scope="module")
def answers() -> dict[str, Callable[..., Tensor]]:
    """The names of Lab 1's solution notebook."""
    return Reference(find_lab("lab1")).namespace(())


def uniform(q: Tensor, k: Tensor) -> Tensor:
    """Attention that looks everywhere alike, whatever is asked."""
    return torch.full((q.shape[-2], k.shape[-2]), 1 / k.shape[-2])


def draw(name: str, answers: dict[str, Callable[..., Tensor]]) -> figure.Picture:
    weights, attention = answers["attention_weights"], answers["scaled_dot_product_attention"]
    x = torch.eye(3)
    drawings = {
        "matrices": lambda: pictures.attention_matrices({"weights": weights(8 * x, x)}, WORDS),
        "entropy": lambda: pictures.scale_entropy(weights),
        "photo": lambda: photo.photo_attention(weights),
        "photo of one patch": lambda: photo.photo_attention(weights, [(12, 19)]),
        "causal photo": lambda: photo.photo_causal(attention),
        "heads": lambda: diagrams.heads_split(2, 3),
        "transformer": diagrams.encoder_decoder,
    }
    return drawings[name]()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("matrices", ("she looks most at she (0.98)", "it looks most at it", "weights")),
        ("entropy", ("with the scale it goes from 3.9", "without the scale it goes from 3.9 at K = 1 to 0.1 at")),
        ("photo", ("260 patches", "patch A in row 2, column 16", "patch C in row 10, column 12")),
        ("photo of one patch", ("patch A in row 12, column 19",)),
        ("causal photo", ("row 6, column 14", "with no mask", "with causal mask")),
        ("heads", ("6 features", "2 heads of 3", "head 0 has the features 0 to 2")),
        ("transformer", ("self-attention", "causal", "cross-attention", "feed-forward")),
    ],
)
def test_a_picture_is_a_small_png_with_a_text(name, facts, answers):
    picture = draw(name, answers)
    image = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"))
    assert image.std() > 5  # something is drawn
    assert len(picture.png) < 60_000
    assert all(fact in picture.alt for fact in facts), picture.alt
    assert repr(picture) == f"Picture: {picture.alt}"
    assert 'alt="' in picture._repr_html_() and "data:image/png;base64," in picture._repr_html_()


def test_the_alt_text_is_escaped():
    assert 'alt="a &lt;b&gt; &quot;c&quot;"' in figure.Picture(b"", 'a <b> "c"')._repr_html_()


def test_pictures_show_what_the_function_computes(answers):
    right, wrong = (photo.photo_attention(f) for f in (answers["attention_weights"], uniform))
    assert right.png != wrong.png
    assert "gives half of its weight to 130 of 260 patches" in wrong.alt
    assert "without the scale it goes from 4.2 at K = 1 to 4.2 at K = 1024" in pictures.scale_entropy(uniform).alt


def test_a_patch_looks_most_at_itself(answers):
    q, k, columns = photo.patch_queries_keys()
    assert (len(q), columns) == (260, 20)
    weights = answers["attention_weights"](q, k)
    assert torch.equal(weights.argmax(dim=-1), torch.arange(260))


def test_the_causal_picture_shows_nothing_after_the_patch(answers):
    seen = []

    def spy(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        seen.append(answers["scaled_dot_product_attention"](q, k, v, mask))
        return seen[-1]

    photo.photo_causal(spy)
    free, causal = seen
    assert free.triu(1).sum() > 1
    assert causal.triu(1).sum() == 0
    torch.testing.assert_close(causal.sum(-1), torch.ones(260))


def test_a_map_of_the_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"expected weights \(3, 3\).*got \(3, 2\)"):
        pictures.attention_matrices({"": torch.zeros(3, 2)}, WORDS)


def test_a_todo_is_one_line_and_no_picture(capsys):
    def todo(*_: Tensor) -> Tensor:
        raise NotImplementedError("TODO")

    for drawing in (pictures.scale_entropy, photo.photo_attention, photo.photo_causal):
        assert when_ready(drawing)(todo) is None
        assert capsys.readouterr().out.count("\n") == 1


def test_importing_draws_nothing_and_loads_no_matplotlib():
    drawn = "vitedu.plots.figure, vitedu.labs.lab1.photo, vitedu.labs.lab1.diagrams"
    code = f"import sys, {drawn}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_solution_stands_in_the_drawing_code():
    solving = {"softmax", "log_softmax", "Softmax", "scaled_dot_product_attention", "einsum", "masked_fill"}
    for module in MODULES:
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        assert not solving & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
