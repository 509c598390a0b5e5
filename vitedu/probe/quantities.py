"""What the outputs of a scenario are called, so that a note can say which quantity is wrong.

A scenario records tensors under short names. Its lab says in words what one of them holds: one quantity, or several in
a row such as a loss for each epoch. Words begin with "the " where a sentence needs it, and are singular.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Order = tuple[int, int]  # (time, rank): what happens earlier comes first, then a cause before its consequences
BEFORE, AFTERWARDS, LAST = -1, 1_000_000, 2_000_000  # times: before the first epoch, after the last one, after all


@dataclass(frozen=True)
class Quantity:
    """One number, or one tensor, that a scenario records.

    Attributes:
        words: such as "the loss of epoch 1", "head.weight after step 6".
        order: its place among the quantities of the scenario.
        said: for a fact, the sentence about each value that may be found instead of the right one.
    """

    words: str
    order: Order = (0, 0)
    said: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quantities:
    """Several quantities in one tensor.

    Attributes:
        count: how many there are, as a quantity: "the length of train_loss".
        entries: one for each entry of the first dimension, or one for each number.
        extra: entries that the count leaves out.
    """

    count: Quantity
    entries: Sequence[Quantity]
    extra: int = 0


Named = Quantity | Quantities


def fact(order: Order, *, zero: str = "", one: str = "") -> Quantity:
    """A fact that is recorded as 0 or 1, with the sentence about each of them; the right one needs none."""
    return Quantity(zero or one, order, {value: text for value, text in ((0, zero), (1, one)) if text})


def facts(*entries: Quantity) -> Quantities:
    """Facts in a row."""
    return Quantities(Quantity("the number of facts", entries[0].order), entries)


def facts_about(what: str, names: Iterable[str], order: Order, *, zero: str = "", one: str = "") -> Quantities:
    """The same fact about each of several things; `zero` and `one` are sentences with {} for the name of the thing.

    Args:
        what: the things, in the plural.
    """
    entries = [fact(order, zero=zero.replace("{}", name), one=one.replace("{}", name)) for name in names]
    return Quantities(Quantity(f"the number of {what}", order), entries)


def epochs(words: str, number: int, rank: int) -> Quantities:
    """A list with one number for each epoch: "the train_loss" -> "the train_loss of epoch 1", ..."""
    entries = [Quantity(f"{words} of epoch {epoch + 1}", (epoch, rank)) for epoch in range(number)]
    return Quantities(Quantity(f"the length of {words.removeprefix('the ')}", (0, rank)), entries)
