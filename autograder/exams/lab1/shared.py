"""What the exams of Lab 1 share: the solution cells, where ideas were met, and functions that do all of the work."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autograder.labs.lab import solution_cells

CODE = solution_cells("lab1_attention")
REPORTS = "homework reports that were handed in"
TRACKERS = "issue trackers of public attention code and of courses"
WRITING = "thought of while writing this exam"

# Functions and classes of torch that do an exercise's whole work.
LIBRARY = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")

WIDE = 64  # features of a wide head; its square root is a whole number, so that scores stay exact
LIFT = 200.0  # squared and divided by sqrt(WIDE): 5000, which moves all scores of a row and leaves the weights alone


def quarters(t: Tensor) -> Tensor:
    """Values rounded to quarters: float32 holds their products and sums exactly, in the thousands, too."""
    return (t * 4).round() / 4


def lifted(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys of two samples, with all scores of the first near 5000, and of the second near -5000."""
    q, k = quarters(q), quarters(k)
    q[..., -1] = LIFT
    k[0, ..., -1], k[1, ..., -1] = LIFT, -LIFT
    return q, k


def lift_layers(weights: Mapping[str, Tensor], *signs: int) -> None:
    """Change the layers to_q and to_k of wide heads, one a sign: all scores of a head are near 5000 or -5000."""
    for name in ("to_q", "to_k"):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        weight.copy_(quarters(weight))
        bias.copy_(quarters(bias))
        for head, sign in enumerate(signs):
            last = (head + 1) * WIDE - 1
            weight[last], bias[last] = 0, LIFT if name == "to_q" else sign * LIFT
