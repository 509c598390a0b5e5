"""What differs in a scenario, each quantity by its name, in the order in which it came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from vitedu.checks.difference import difference
from vitedu.probe import scenarios
from vitedu.probe.case import ScenarioCase
from vitedu.probe.comparison import LOSS_TOLERANCE, close, unequal
from vitedu.probe.quantities import LAST, Order, Quantities, Quantity

Found = tuple[Order, str]


def differing(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], case: ScenarioCase, tolerance: float, shown: bool
) -> list[str]:
    """A sentence about each quantity that is wrong; what came first, and causes, before their consequences.

    Args:
        found, expected: what the scenario recorded, by name.
        shown: whether expected values may be shown.
    """
    lines: list[Found] = []
    with torch.random.fork_rng(devices=[]):  # models may be built, for the names of their parts
        for name, wanted in expected.items():
            close_to = max(tolerance, LOSS_TOLERANCE) if name.endswith("loss") else tolerance
            if name in found and close(found[name], wanted, close_to):
                continue
            named = scenarios.find(case.scenario).named(case, name, expected) or Quantity(name, (LAST, 0))
            if name not in found:
                first = named if isinstance(named, Quantity) else named.entries[0]
                lines.append((first.order, f"{first.words} is missing"))
                continue
            lines += _lines(named, found[name], wanted, close_to, shown)
    if more := found.keys() - expected.keys():
        lines.append(((LAST, 0), f"{len(more)} results that nobody asked for"))
    return list(dict.fromkeys(text for _, text in sorted(lines, key=lambda line: line[0])))


def _lines(named: Quantity | Quantities, got: Tensor, wanted: Tensor, tolerance: float, shown: bool) -> Iterator[Found]:
    if isinstance(named, Quantity):
        yield named.order, _line(named, got, wanted, tolerance, shown)
        return
    if got.shape != wanted.shape:
        yield named.count.order, _count(named, got, wanted, tolerance, shown)
        return
    if len(named.entries) == wanted.numel():  # one for each number
        got, wanted = got.flatten(), wanted.flatten()
    off = unequal(got, wanted, tolerance)
    said: set[str] = set()
    for place in off.reshape(len(off), -1).any(1).nonzero().flatten().tolist():
        quantity = named.entries[place] if place < len(named.entries) else named.count
        if quantity.words not in said:
            said.add(quantity.words)
            yield quantity.order, _line(quantity, got[place], wanted[place], tolerance, shown)


def _line(quantity: Quantity, got: Tensor, wanted: Tensor, tolerance: float, shown: bool) -> str:
    text = difference(got, wanted, tolerance, quantity.words, shown)
    said = [sentence for value, sentence in quantity.said.items() if got.numel() == 1 and got.item() == value]
    return said[0] if said else text


def _count(named: Quantities, got: Tensor, wanted: Tensor, tolerance: float, shown: bool) -> str:
    """A list of another length; or, where the length is right, entries of another shape."""
    has, should = (len(t) - named.extra if t.ndim else 1 for t in (got, wanted))
    if got.shape == (1,) and got.isnan().all():  # nothing came back, see recording.numbers
        has = 0
    if has != should:
        return difference(torch.tensor(has), torch.tensor(should), tolerance, named.count.words, shown)
    if got.ndim and wanted.ndim and named.entries:
        return difference(got[0], wanted[0], tolerance, named.entries[0].words, shown)
    return difference(got, wanted, tolerance, named.count.words, shown)
