"""Scenarios: a function of the student's is run on a problem of ours, and what it leaves behind is recorded.

A scenario belongs to a lab and is called "labN.NAME": NAME is a key of SCENARIOS in `vitedu/labs/labN/scenarios.py`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from vitedu.probe.case import Case
from vitedu.probe.recording import Numbers

# (the student's function, case, dtype, further objects by name) -> the kind of what it returned, as in Answer.kind, and
# everything that is compared
Scenario = Callable[[Callable[..., Any], Case, torch.dtype, Mapping[str, Any]], tuple[str, Numbers]]


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


def run(thing: Callable[..., Any], case: Case, dtype: torch.dtype, space: Mapping[str, Any]) -> tuple[str, Numbers]:
    """Run a function in the scenario that a case names.

    Returns:
        The kind of what it returned, as in Answer.kind, and everything that is compared.
    """
    return find(case.script)(thing, case, dtype, space)
