"""Lab 7's capstone: the best accuracy that a given amount of computing buys.

Everything is the student's choice: model, optimizer, augmentation, and what the time is spent on. The exam fixes the
images and the processor time. The grader measures that time from outside; the clock in here only tells it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from vitedu.data.drawing import PALETTE, Colours, Seed
from vitedu.data.glyphs import twoforms
from vitedu.training_exams.recipe import as_bytes, as_floats, exam_settings

BUDGET = 20.0  # seconds of processor time for one training
# Shares of the hidden images that must be right, 1 to 4 points, by the rule in benchmarks/capstone.py.
TIERS = {"iron": 144 / 600, "bronze": 289 / 600, "silver": 435 / 600, "gold": 581 / 600}
TRAIN, TEST, CLASSES = 4000, 600, 6
Capstone = Callable[[Tensor, Tensor, "Clock"], nn.Module]


class Clock:
    """Processor time of this process since the clock was made, of all its threads together.

    Attributes:
        seconds: the budget.
    """

    def __init__(self, seconds: float = BUDGET) -> None:
        self.seconds, self._start = seconds, time.process_time()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.process_time() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left; 0 when the budget is spent."""
        return max(0.0, self.seconds - self.spent)

    @property
    def share(self) -> float:
        """What part of the budget is spent, 0 to 1."""
        return min(1.0, self.spent / self.seconds)


def capstone_images(
    count: int, rng: Seed, palette: Colours = PALETTE, classes: tuple[int, ...] = tuple(range(CLASSES))
) -> tuple[Tensor, Tensor]:
    """The capstone's images as uint8 (count, 3, 32, 32), and labels (count,); see forms.twoforms."""
    images, labels = twoforms(count, rng, palette, classes)
    return as_bytes(images), labels


def public_images() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """(images, labels) to train on and to test with, uint8, the same for everybody."""
    train, test = (np.random.default_rng(seed) for seed in (71, 72))
    return capstone_images(TRAIN, train), capstone_images(TEST, test)


def warm_up() -> None:
    """One step of a tiny model: torch's first one takes a second or two for imports, which nobody has to pay for."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
        first = torch.optim.AdamW(model.parameters(), fused=True)
        model(torch.ones(2, 1, 4, 4)).square().sum().backward()
        first.step()


def train(
    capstone: Capstone, images: Tensor, labels: Tensor, seed: int, seconds: float = BUDGET
) -> tuple[nn.Module, float]:
    """Call a capstone as the exam does: one thread, float32, a seed, and a clock that starts now.

    Args:
        images: uint8 (n, 3, 32, 32).
        labels: class indices (n,).

    Returns:
        The trained model and the processor seconds that it took.
    """
    with exam_settings(seed):
        warm_up()
        clock = Clock(seconds)
        model = capstone(as_floats(images), labels.clone(), clock)
        spent = clock.spent
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected an nn.Module from capstone(images, labels, clock), got {type(model).__name__}")
    return model, spent
