"""The sixteen variants of an exam: the random inputs of each, from the course secret, and which one a student meets."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import torch
from torch import Tensor

VARIANTS = 16
TRIES = 1000  # draws of sizes until some fit


class Variant:
    """One variant of one exercise: its random inputs, fixed by the course secret.

    Values are drawn in float32 and handed out in float64, so that a case repeated in
    float32 has exactly the same inputs.
    """

    def __init__(self, secret: bytes, exercise: str, name: int | str) -> None:
        self.key = (secret, exercise, str(name))
        digest = hmac.digest(secret, f"{exercise}/{name}".encode(), hashlib.sha256)
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def sizes(
        self,
        count: int,
        low: int,
        high: int,
        *,
        without: tuple[int, ...] = (),
        where: Callable[..., bool] | None = None,
    ) -> list[int]:
        """`count` pairwise distinct integers from low to high: equal sizes hide mistakes.

        Args:
            without: integers that are not drawn.
            where: asked about the integers drawn, in their order; where it says False, all are drawn anew.

        Raises:
            ValueError: there are too few integers, or `where` never says True.
        """
        free = [n for n in range(low, high + 1) if n not in without]
        if count > len(free):
            raise ValueError(f"expected at least {count} sizes from {low} to {high}, found {len(free)}")
        for _ in range(TRIES):
            drawn = [free[i] for i in torch.randperm(len(free), generator=self._generator)[:count].tolist()]
            if where is None or where(*drawn):
                return drawn
        raise ValueError(f"expected {count} sizes from {low} to {high} that fit, found none in {TRIES} draws")

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        """Normal values with standard deviation `scale`."""
        return (torch.randn(shape, generator=self._generator) * scale).double()

    def mask(self, *shape: int) -> Tensor:
        """A boolean mask; every row of the last dimension has a True and a False."""
        mask = torch.rand(*shape, generator=self._generator) < 0.6
        keep = torch.rand(*shape, generator=self._generator)
        mask.scatter_(-1, keep.argmax(-1, keepdim=True), True)
        return mask.scatter_(-1, keep.argmin(-1, keepdim=True), False)

    def weights(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Random values for every entry of a state_dict, scaled by 1/sqrt(last size)."""
        return {key: self.normal(*shape, scale=shape[-1] ** -0.5) for key, shape in shapes.items()}


def variant_of(secret: bytes, student: str, exercise: str) -> int:
    """The variant a student is examined with: HMAC(secret, student, exercise) mod 16."""
    digest = hmac.digest(secret, f"{student}\0{exercise}".encode(), hashlib.sha256)
    return int.from_bytes(digest, "big") % VARIANTS
