"""The capstone's draw: which images a submission is trained on, and which it is tested with.

As in Lab 4's accuracy exam, colours, classes, images and seeds come from the course secret, the student's variant and
the hash of the submission.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
from functools import cache

import numpy as np

from vitedu import capstone, forms, shapes

from .lab4_accuracy import ATTEMPTS, AccuracyDraw

EXERCISE = "capstone"


def draw(secret: bytes, variant: int | str, submission_hash: str) -> AccuracyDraw:
    """The draw of a submission, from 256 bits that it cannot know.

    The two sets of images and the seeds come from digests of their own: who works back from the
    training images to the state of their generator has nothing of the test images.
    """
    message = json.dumps([EXERCISE, str(variant), submission_hash]).encode()
    key = hmac.digest(secret, message, hashlib.sha256)

    def part(name: str) -> bytes:
        return hmac.digest(key, name.encode(), hashlib.sha256)

    def generator(name: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(int.from_bytes(part(name), "big"))))

    rng = generator("classes")
    palette, classes = shapes.random_palette(rng), tuple(rng.permutation(capstone.CLASSES).tolist())
    train = capstone.capstone_images(capstone.TRAIN, generator("train"), palette, classes)
    test = capstone.capstone_images(capstone.TEST, generator("test"), palette, classes)
    seeds = tuple(int.from_bytes(part(f"seed {i}")[:4], "big") >> 1 for i in range(ATTEMPTS))
    return AccuracyDraw(part("id").hex()[:32], *train, *test, seeds)


@cache
def version() -> str:
    """A digest of all that decides what a training gives, but not of thresholds: these may be judged anew."""
    sizes = (capstone.BUDGET, capstone.TRAIN, capstone.TEST, capstone.CLASSES, ATTEMPTS)
    things = (capstone.train, capstone.warm_up, capstone.Clock, forms._draw, draw)
    sources = [inspect.getsource(thing) for thing in things]
    images, labels = capstone.capstone_images(4, 0)
    parts = [EXERCISE, sizes, sources, images.tolist(), labels.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
