"""The accuracy exam's draw: which images a submission is trained on, and which it is tested with.

Colours and classes are drawn from the course secret, the student's variant and the hash of the
submission, so that no answer is worth handing on and no second submission meets the same images.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from torch import Tensor

from vitedu import learn, shapes
from vitedu.exam_images import exam_images

EXERCISE = "exam_model"
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


def draw(secret: bytes, variant: int | str, submission_hash: str) -> AccuracyDraw:
    """The draw of a submission, see `drawn`."""
    return drawn(EXERCISE, secret, variant, submission_hash, _images)


def _images(generator: Generators) -> Images:
    rng = generator("classes")
    palette, classes = shapes.random_palette(rng), rng.permutation(learn.CLASSES).tolist()
    train_images, train_labels = exam_images(learn.TRAIN, generator("train"), palette, classes)
    test_images, test_labels = exam_images(learn.TEST, generator("test"), palette, classes)
    return learn.as_bytes(train_images), train_labels, learn.as_bytes(test_images), test_labels


@cache
def version() -> str:
    """A digest of all that decides what a training gives, but not of thresholds: these may be judged anew."""
    sizes = (learn.TRAIN, learn.TEST, learn.CLASSES, ATTEMPTS)
    things = (learn.learn, learn.Recipe, learn.Batches, learn.as_floats, drawn, _images)
    sources = [inspect.getsource(thing) for thing in things]
    images, labels = exam_images(4, 0, shapes.random_palette(0))
    parts = [asdict(learn.RECIPE), sizes, sources, learn.as_bytes(images).tolist(), labels.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
