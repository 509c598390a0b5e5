"""The table of edges: each case that it names is there and asks at that edge, and no exercise is left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from autograder.labs.lab import ROOT, find_lab
from autograder.labs.variants import Variant

PAGE = (ROOT / "docs" / "edges.md").read_text(encoding="utf-8")
NONE = "-"
DRAW = ("a secret for tests", 0)


def read_tables() -> dict[str, dict[str, list[str]]]:
    """Exercise -> edge -> names of cases; none where the page says "-"."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in re.findall(r"^## [^\n]+\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        lines = [line for line in section.split("\n") if line.startswith("|")]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        head, rules, *exercises = rows
        assert head[0] == "exercise" and set("".join(rules)) == {"-"}
        for name, *cells in exercises:
            assert name not in found, f"{name} stands twice"
            assert len(cells) == len(head) - 1, f"{name} has {len(cells)} cells for {len(head) - 1} edges"
            found[name] = {
                edge: [] if cell == NONE else cell.split("<br>") for edge, cell in zip(head[1:], cells, strict=True)
            }
    return found


TABLES = read_tables()


def cases(exercise: str) -> dict[str, Any]:
    lab, _, id = exercise.partition("/")
    secret, draw = DRAW
    return {case.name: case for case in find_lab(lab).exercise(id).cases(Variant(secret.encode(), id, draw))}


def rows(case: Any, dimension: int) -> int:
    """The size of a dimension of the first tensor that goes in; 0 without one."""
    first = next((t for t in case.args if hasattr(t, "shape") and t.ndim > dimension), None)
    return 0 if first is None else first.shape[dimension]


def takes_gradients(case: Any) -> bool:
    return case.gradients


# What shows in a case: a cell of these columns holds only such cases, and is not empty where there is one.
SHOWN: dict[str, Callable[[Any], bool]] = {
    "gradients": takes_gradients,
    "a second call": lambda case: bool(case.before),
    "non-contiguous images": lambda case: bool(case.layout),
    "sizes that do not fit": lambda case: case.scoring.raises is not None,
    "dropout in training mode": lambda case: case.train and case.init_kwargs.get("dropout", 0) > 0,
    "frozen parameters": lambda case: bool(case.frozen),
}
# What a named case has; others may have it, too.
SIZES: dict[str, Callable[[Any], bool]] = {
    "one sample": lambda case: rows(case, 0) == 1,
    "one channel": lambda case: rows(case, 1) == 1 or case.model or "one channel" in case.name,
    "one query or token": lambda case: rows(case, -2 % case.args[0].ndim) == 1,
}


@pytest.mark.parametrize("exercise", TABLES)
def test_every_named_case_is_there(exercise):
    known = cases(exercise)
    for edge, named in TABLES[exercise].items():
        assert set(named) <= set(known), f"{exercise}, {edge}: no case {sorted(set(named) - set(known))}"
        assert len(set(named)) == len(named)


@pytest.mark.parametrize("exercise", TABLES)
def test_the_cases_ask_at_the_edge(exercise):
    known = cases(exercise)
    for edge, named in TABLES[exercise].items():
        if edge in SHOWN:
            there = {name for name, case in known.items() if asks(SHOWN[edge], case)}
            assert set(named) <= there, f"{exercise}, {edge}: {sorted(set(named) - there)} do not ask there"
            assert named or not there, f"{exercise}, {edge}: {sorted(there)} ask there"
        if edge in SIZES:
            assert all(SIZES[edge](known[name]) for name in named), f"{exercise}, {edge}: {named}"


def asks(shown: Callable[[Any], bool], case: Any) -> bool:
    """Whether an edge shows in a case; kinds of cases that cannot have it do not."""
    try:
        return bool(shown(case))
    except AttributeError:
        return False


@pytest.mark.parametrize("lab", sorted({name.partition("/")[0] for name in TABLES}))
def test_every_exercise_of_a_lab_has_a_row(lab):
    asked = [f"{lab}/{exercise.id}" for exercise in find_lab(lab).exercises if not exercise.trained]
    assert [name for name in TABLES if name.startswith(f"{lab}/")] == asked


def test_the_labs_without_training_are_there():
    assert {"lab1", "lab2", "lab3"} <= {name.partition("/")[0] for name in TABLES}
