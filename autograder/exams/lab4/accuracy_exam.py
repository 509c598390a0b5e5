"""The accuracy exam's draw: which images a submission is trained on, and which it is tested with.

Colours and classes are drawn from the course secret, the student's variant and the hash of the
submission, so that no answer is worth handing on and no second submission meets the same images.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache

from autograder.judging.accuracy import AccuracyExam, next_seed
from autograder.judging.reference_answers import Reference
from autograder.judging.trained_exercise import Attempt, Earlier, Earned, Outcome, TrainedExercise
from autograder.labs.training_draw import ATTEMPTS, AccuracyDraw, Generators, Images, drawn
from vitedu.data import drawing
from vitedu.data.exam_images import exam_images
from vitedu.training_exams import recipe

ID = "exam_model"


def draw(secret: bytes, variant: int | str, submission_hash: str) -> AccuracyDraw:
    """The draw of a submission, see `drawn`."""
    return drawn(ID, secret, variant, submission_hash, _images)


def _images(generator: Generators) -> Images:
    rng = generator("classes")
    palette, classes = drawing.random_palette(rng), rng.permutation(recipe.CLASSES).tolist()
    train_images, train_labels = exam_images(recipe.TRAIN, generator("train"), palette, classes)
    test_images, test_labels = exam_images(recipe.TEST, generator("test"), palette, classes)
    return recipe.as_bytes(train_images), train_labels, recipe.as_bytes(test_images), test_labels


@cache
def version() -> str:
    """A digest of all that decides what a training gives, but not of thresholds: these may be judged anew."""
    sizes = (recipe.TRAIN, recipe.TEST, recipe.CLASSES, ATTEMPTS)
    things = (recipe.learn, recipe.Recipe, recipe.Batches, recipe.as_floats, drawn, _images)
    sources = [inspect.getsource(thing) for thing in things]
    images, labels = exam_images(4, 0, drawing.random_palette(0))
    parts = [asdict(recipe.RECIPE), sizes, sources, recipe.as_bytes(images).tolist(), labels.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _judge(
    reference: Reference, draw: AccuracyDraw, attempts: Sequence[Attempt], earlier: Earlier, earned: Earned
) -> Outcome:
    return AccuracyExam(reference).judge(draw, attempts, earlier, earned)


EXERCISE = TrainedExercise(
    ID, draw=draw, version=version, entry="training_exams.kernel_entry.answer_learn", next_seed=next_seed,
    judge=_judge, tiers=len(recipe.TIERS), behind=("build_model",),
)  # fmt: skip
