"""The capstone's draw: which images a submission is trained on, and which it is tested with.

As in Lab 4's accuracy exam, colours, classes, images and seeds come from the course secret, the student's variant and
the hash of the submission.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from functools import cache, partial

from autograder.judging import capstone as capstone_judge
from autograder.judging.accuracy import next_seed
from autograder.judging.reference_answers import Reference
from autograder.judging.trained_exercise import Attempt, Earlier, Earned, Outcome, TrainedExercise
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw, Generators, Images, drawn
from vitedu.data import drawing, glyphs
from vitedu.training_exams import capstone
from vitedu.training_exams.capstone import BUDGET, TIERS

ID = "capstone"
GRACE = 1.25  # the cut-off, in budgets: a batch and a look at the clock may come too late
FREE = 15.0  # CPU seconds that a notebook may have computed before; see `cpu_seconds`
TEST_SECONDS = 10.0  # of CPU, to look at the test images: no time to train on them


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


def cpu_seconds(limit: float, used: float) -> float:
    """CPU seconds after which a training is cut off, measured from outside.

    What the kernel has computed since it was ready counts, too, beyond `FREE`: a model that was trained in another
    cell, on images that one can draw by oneself, has had its computing already. Imports, the locked cells and the
    other exercise's exam take a part of `FREE`.
    """
    return min(limit, max(1.0, GRACE * BUDGET - max(0.0, used - FREE)))


def _judge(
    reference: Reference, draw: AccuracyDraw, attempts: Sequence[Attempt], earlier: Earlier, earned: Earned
) -> Outcome:
    return capstone_judge.judge(draw, attempts)


EXERCISE = TrainedExercise(
    ID, draw=draw, version=version, entry="training_exams.capstone_kernel_entry.answer_capstone",
    next_seed=partial(next_seed, tiers=TIERS), judge=_judge, tiers=len(TIERS), cpu_seconds=cpu_seconds,
    test_cpu_seconds=TEST_SECONDS,
)  # fmt: skip
