"""The draw of an exam that trains a model: the images and seeds of one submission."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

ATTEMPTS = 3  # trainings at most: one, and two more after a near miss
Generators = Callable[[str], np.random.Generator]
Images = tuple[Tensor, Tensor, Tensor, Tensor]  # images and labels to train on, and to test with


@dataclass(frozen=True)
class AccuracyDraw:
    """The images of one submission.

    Attributes:
        id: names the draw and tells nothing about it.
        seeds: of the trainings; only these and the training images may enter the student's kernel,
            and the test images once it has trained.
    """

    id: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    seeds: tuple[int, ...]


def drawn(
    exercise: str, secret: bytes, variant: int | str, submission_hash: str, make: Callable[[Generators], Images]
) -> AccuracyDraw:
    """The draw of a submission, from 256 bits that it cannot know.

    The two sets of images and the seeds come from digests of their own: who works back from the
    training images to the state of their generator has nothing of the test images.

    Args:
        make: generators by name -> images and labels to train on, and to test with.
    """
    message = json.dumps([exercise, str(variant), submission_hash]).encode()
    key = hmac.digest(secret, message, hashlib.sha256)

    def part(name: str) -> bytes:
        return hmac.digest(key, name.encode(), hashlib.sha256)

    def generator(name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(part(name), "big"))))

    seeds = tuple(int.from_bytes(part(f"seed {i}")[:4], "big") >> 1 for i in range(ATTEMPTS))
    return AccuracyDraw(part("id").hex()[:32], *make(generator), seeds)
