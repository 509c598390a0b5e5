"""The note on a wrong function that runs in a scenario, where another function is the model answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from vitedu.checks.mismatch import note
from vitedu.probe.ask import ask
from vitedu.probe.case import ScenarioCase
from vitedu.probe.comparison import TOLERANCE, comparable, is_correct

T = TOLERANCE[torch.float64]


def said(
    asked: ScenarioCase,
    right: Callable[..., Any],
    wrong: Callable[..., Any],
    values: bool,
    also: Mapping[str, Any] | None = None,
    instead: Mapping[str, Any] | None = None,
) -> str:
    """The note on `wrong`, where `right` is the model answer.

    Args:
        values: whether expected values may be shown.
        also: further objects that the case needs.
        instead: the same for the wrong answer, where they are others.
    """
    model, answer = (ask(f, asked, namespace=n) for f, n in ((right, also), (wrong, instead or also)))
    assert model.status == "ok", model.error
    expected, found = comparable(model, asked, T), comparable(answer, asked, T)
    assert is_correct(expected, expected, asked, T) and not is_correct(found, expected, asked, T)
    return note(answer, found, expected, asked, T, values=values)
