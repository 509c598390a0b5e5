"""The capstone's draw: which images a submission is trained on, and which it is tested with.

As in Lab 4's accuracy exam, colours, classes, images and seeds come from the course secret, the student's variant and
the hash of the submission.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from functools import cache

from autograder.labs.exam import Exercise
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw, Generators, Images, drawn
from vitedu.data import drawing, glyphs
from vitedu.training_exams import capstone

ID = "capstone"


def draw(secret: bytes, variant: int | str, submission_hash: str) -> AccuracyDraw:
    """The draw of a submission, see `training_draw.drawn`."""
    return drawn(ID, secret, variant, submission_hash, _images)


def _images(generator: Generators) -> Images:
    rng = generator("classes")
    palette, classes = drawing.random_palette(rng), tuple(rng.permutation(capstone.CLASSES).tolist())
    train = capstone.capstone_images(capstone.TRAIN, generator("train"), palette, classes)
    test = capstone.capstone_images(capstone.TEST, generator("test"), palette, classes)
    return *train, *test


@cache
def version() -> str:
    """A digest of all that decides what a training gives, but not of thresholds: these may be judged anew."""
    sizes = (capstone.BUDGET, capstone.TRAIN, capstone.TEST, capstone.CLASSES, ATTEMPTS)
    things = (capstone.train, capstone.warm_up, capstone.Clock, glyphs._draw, drawn, _images)
    sources = [inspect.getsource(thing) for thing in things]
    images, labels = capstone.capstone_images(4, 0)
    parts = [ID, sizes, sources, images.tolist(), labels.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


EXERCISE = Exercise(ID, lambda draw: [], (), (), trained=True)
