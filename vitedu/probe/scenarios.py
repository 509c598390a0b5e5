"""Scenarios: a function of the student's is run on a problem of ours, and what it leaves behind is recorded.

A scenario belongs to a lab and is called "labN.NAME": NAME is a key of SCENARIOS in `vitedu/labs/labN/scenarios.py`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitedu.probe.case import ScenarioCase
from vitedu.probe.quantities import Named
from vitedu.probe.recording import Numbers


@dataclass(frozen=True)
class Call:
    """The call that a scenario makes of the student's function, with new objects each time that it is prepared.

    Attributes:
        positional, keyword: its arguments, under the names that the exercise gives them.
        then: what the scenario does besides, in words.
    """

    positional: Mapping[str, Any]
    keyword: Mapping[str, Any] = field(default_factory=dict)
    then: str = ""

    def of(self, target: Callable[..., Any]) -> Any:
        """Make the call."""
        return target(*self.positional.values(), **self.keyword)


@dataclass(frozen=True)
class Scenario:
    """What a lab says about one of its scenarios.

    Attributes:
        run: (the student's function, case, dtype, further objects by name) -> the kind of what it returned, as in
            Answer.kind, and everything that is compared.
        call: (case, dtype) -> the call that `run` makes, or the first of them.
        named: (case, name of an output, the right values of all outputs) -> what that output holds, in words; None
            where the name says it.
    """

    run: Callable[[Callable[..., Any], ScenarioCase, torch.dtype, Mapping[str, Any]], tuple[str, Numbers]]
    call: Callable[[ScenarioCase, torch.dtype], Call]
    named: Callable[[ScenarioCase, str, Mapping[str, Tensor]], Named | None]


def find(name: str) -> Scenario:
    """A lab's scenario by its full name, such as "lab4.train".

    Raises:
        LookupError: there is none.
    """
    lab, _, own = name.partition(".")
    if re.fullmatch(r"lab\d+", lab):
        registered: Mapping[str, Scenario] = importlib.import_module(f"vitedu.labs.{lab}.scenarios").SCENARIOS
        if own in registered:
            return registered[own]
    raise LookupError(f"there is no scenario {name!r}")


def run(
    target: Callable[..., Any], case: ScenarioCase, dtype: torch.dtype, namespace: Mapping[str, Any]
) -> tuple[str, Numbers]:
    """Run a function in the scenario that a case names.

    Returns:
        The kind of what it returned, as in Answer.kind, and everything that is compared.
    """
    return find(case.scenario).run(target, case, dtype, namespace)
