"""No wrong scale of attention looks like another, or like the right one, on any draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from autograder.authoring.fingerprints import DRAWS, PUBLIC
from autograder.authoring.prove_exams import SECRETS, all_draws
from autograder.exams.attention_scales import scales_differ
from autograder.execution.examiner import COMMON
from autograder.labs.lab import find_lab
from autograder.labs.variants import Variant

Sizes = dict[str, int]


def of_weights(case: Any) -> Sizes:
    q, k, *values = case.args[:3]
    found = {"width": q.shape[-1], "queries": q.shape[-2], "keys": k.shape[-2]}
    if values:
        found["width of values"] = values[0].shape[-1]
    if case.target == "scaled_dot_product_attention" or found["queries"] == found["keys"]:
        del found["queries"]  # no idea of this exercise, or the same number as that of keys
    return found


def of_head(case: Any) -> Sizes:
    return {"width": case.init[1], "token width": case.init[0], "tokens": case.args[0].shape[1]}


def of_heads(dim: int, heads: int, width: int | None) -> Sizes:
    found = {"width": width or dim // heads, "token width": dim, "heads": heads}
    return found | ({"all heads": heads * width} if width and heads > 1 else {})  # else they are dim, or one head


def of_many(case: Any) -> Sizes:
    dim, heads, *width = case.init
    return of_heads(dim, heads, width[0] if width else case.init_kwargs.get("head_dim"))


def of_einsum(case: Any) -> Sizes:
    heads, dim, width = case.args[1].shape
    return of_heads(dim, heads, width) | {"tokens": case.args[0].shape[1]}


def of_maps(case: Any) -> Sizes:
    width = case.init[8] if len(case.init) > 8 else case.init_kwargs.get("head_dim")
    return of_heads(case.init[4], case.init[6], width)


EXERCISES: dict[str, Callable[[Any], Sizes]] = {
    "lab1/attention_weights": of_weights,
    "lab1/scaled_dot_product_attention": of_weights,
    "lab1/AttentionHead": of_head,
    "lab1/MultiHeadAttention": of_many,
    "lab1/multi_head_attention_einsum": of_einsum,
    "lab3/attention_maps": of_maps,
}


def draws(exercise: str) -> list[Variant]:
    common = [Variant(secret, exercise, COMMON) for secret in SECRETS]
    return [*all_draws(exercise), *common, *(Variant(PUBLIC, exercise, name) for name in DRAWS)]


def scales(sizes: Sizes) -> dict[str, float]:
    """By what the scores are divided; a root of 1, of a lone query or head, stands for no other idea."""
    roots = {f"root of {name}": math.sqrt(size) for name, size in sizes.items() if size > 1}
    return {"nothing": 1.0, "width": float(sizes["width"])} | roots


# One token's weight is always 1, and the root of one feature is 1, too.
NO_SCALE = ("one token alone", "a single head of one feature")


@pytest.mark.parametrize("name", EXERCISES)
def test_the_scales_of_all_ideas_differ_on_every_draw(name):
    lab, _, id = name.partition("/")
    exercise, seen = find_lab(lab).exercise(id), 0
    for variant in draws(id):
        for case in exercise.cases(variant):
            if getattr(case, "construct_only", False) or case.name in NO_SCALE:
                continue
            found = scales(EXERCISES[name](case))
            for (one, a), (other, b) in combinations(found.items(), 2):
                assert max(a, b) > 1.01 * min(a, b), f"{variant.key}, {case.name}: {one} and {other} are {a} and {b}"
            seen += 1
    assert seen >= 53 * 4


@pytest.mark.parametrize("id", list(EXERCISES))
def test_dividing_by_the_width_itself_is_in_the_bank_of_each_attention(id):
    lab, _, exercise = id.partition("/")
    assert find_lab(lab).exercise(exercise).misconception("divide-by-width").rows == (2,)


def test_sizes_that_coincide_are_seen():
    assert scales_differ(3, 4, 5)
    assert not scales_differ(2, 4)  # K and the root of 4
    assert not scales_differ(3, 3)  # the right scale and the root of another size
    assert not scales_differ(3, 5, 5)
    assert not scales_differ(3, 1)


def test_sizes_are_drawn_until_they_fit_and_not_forever():
    sizes = Variant(b"secret", "exercise", 0).sizes
    for _ in range(20):
        small, large = sizes(2, 2, 9, where=lambda a, b: a < b)
        assert small < large
    with pytest.raises(ValueError, match="2 sizes from 2 to 9"):
        sizes(2, 2, 9, where=lambda a, b: False)
