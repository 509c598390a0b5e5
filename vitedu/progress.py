"""What one sees of a training while it runs: progress bars, and the numbers of each iteration.

Nothing here trains: bar and record listen to the student's own functions.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from tqdm.auto import tqdm

DELAY = 0.2  # seconds before a bar comes


def progress(steps: Iterable[Any] | None, title: str, **options: Any) -> tqdm:
    """A progress bar around a loop; `bar.set_postfix(loss=...)` writes a number beside it.

    It comes when there is something to show, so that a loop that stops at a TODO leaves no bar behind,
    and goes away when the loop is over. Where the environment variable TQDM_DISABLE is set it does not
    come at all: a notebook that nobody watches would keep an empty one.

    Args:
        steps: what the loop goes through; None: `bar.update()` counts.
        options: more for tqdm, such as total and unit.
    """
    hidden = bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(steps, desc=title, leave=False, delay=DELAY, disable=hidden, **options)


def watch(epochs: int, title: str) -> Callable[[int, Mapping[str, list[float]]], None]:
    """An `on_epoch` for a training loop: a progress bar with the last losses and the accuracy."""
    bar = progress(None, title, total=epochs, unit="epoch")

    def on_epoch(epoch: int, history: Mapping[str, list[float]]) -> None:
        shown = {name.replace("_", " "): f"{values[-1]:.3f}" for name, values in history.items() if values}
        shown.pop("train accuracy", None)  # three numbers fit beside the bar
        bar.set_postfix(shown, refresh=False)
        bar.update(epoch + 1 - bar.n)
        if epoch + 1 >= epochs:
            bar.close()

    return on_epoch


class Record:
    """Listens to a training: goes between loader and model, and notes what each iteration gives.

    It is a loader itself, to be given to the training in place of the one that it wraps. The numbers
    are taken from the training's own forward passes, so nothing is computed twice and nothing changes.

    Args:
        loader: yields (images, labels).
        model: its forward passes in training mode are noted.
        measures: name -> function of (logits, labels).

    Attributes:
        values: name -> one number an iteration.
    """

    def __init__(
        self, loader: Iterable[tuple[Tensor, Tensor]], model: nn.Module, measures: Mapping[str, Callable[..., Any]]
    ) -> None:
        self.loader = loader
        self.waiting: deque[Tensor] = deque()
        self.values: dict[str, list[float]] = {name: [] for name in measures}

        def note(model: nn.Module, _: Any, logits: Tensor) -> None:
            if model.training and self.waiting:
                labels = self.waiting.popleft().to(logits.device)
                for name, measure in measures.items():
                    self.values[name].append(float(measure(logits.detach(), labels)))

        model.register_forward_hook(note)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.waiting.clear()
        for images, labels in self.loader:
            self.waiting.append(labels)
            yield images, labels
