"""What the mutants show: survivors that are no mistakes, with the reason; tables by exercise and by operator."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from autograder.authoring.mutation.hunt import Outcome
from autograder.authoring.mutation.mutants import Mutant
from autograder.errors import UserError
from autograder.reporting.terminal_table import format_table

EQUIVALENT = Path(__file__).parents[2] / "exams" / "equivalent_mutants.csv"
STATES = ("killed", "explained", "survived")


def equivalents(path: Path = EQUIVALENT) -> dict[str, str]:
    """By id why a mutant is right: "*" in an id stands for anything, where one reason is that of many.

    Raises:
        UserError: a line has no reason, or its id stands twice.
    """
    found: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            id, why = (row["id"] or "").strip(), (row["why"] or "").strip()
            if not id or not why or id in found:
                raise UserError(f"{path.name}: expected an id that stands once and a reason, found {id!r}, {why!r}.")
            found[id] = why
    return found


def explained(outcomes: Sequence[Outcome], known: dict[str, str]) -> list[Outcome]:
    """The outcomes, with the reasons of those that have survived."""
    return [
        outcome if outcome.killed_by else dataclasses.replace(outcome, why=_why(outcome.id, known))
        for outcome in outcomes
    ]


def _why(id: str, known: dict[str, str]) -> str:
    return known.get(id) or next((why for pattern, why in known.items() if fnmatchcase(id, pattern)), "")


def stale(known: dict[str, str], made: Sequence[Mutant], outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence for each explanation that explains nothing any more.

    Args:
        made: all mutants, those of all alternatives included, of the exercises that were asked for.
        outcomes: of those that were tried.
    """
    exams, sentences = {mutant.exam for mutant in made}, []
    for id in known:
        exam = "/".join(id.split("/")[:2])
        if "*" not in exam and exam not in exams:
            continue  # of an exercise that was not asked for
        exist = [mutant.id for mutant in made if fnmatchcase(mutant.id, id)]
        tried = [outcome for outcome in outcomes if fnmatchcase(outcome.id, id)]
        if not exist and "*" not in exam:
            sentences.append(f"stale: there is no mutant {id}")
        elif tried and len(tried) == len(exist) and all(outcome.killed_by for outcome in tried):
            sentences.append(f"stale: {id} is killed ({tried[0].killed_by})")
    return sentences


def table(outcomes: Sequence[Outcome]) -> str:
    """How many were made, killed, explained and have survived, by exercise and by operator."""
    by_exam = _counted(outcomes, "exam", lambda outcome: "/".join(outcome.id.split("/")[:2]))
    return f"{by_exam}\n\n{_counted(outcomes, 'operator', lambda outcome: outcome.operator)}"


def _counted(outcomes: Sequence[Outcome], head: str, key: Callable[[Outcome], str]) -> str:
    counts: dict[str, Counter[str]] = {}
    for outcome in outcomes:
        counts.setdefault(key(outcome), Counter()).update([outcome.state])
    counts["all"] = sum(counts.values(), Counter())
    rows = [
        (name, str(count.total()), *(str(count[state]) for state in STATES), f"{_rate(count):.1%}")
        for name, count in counts.items()
    ]
    return format_table((head, "made", *STATES, "killed or explained"), rows, rule=False)


def _rate(count: Counter[str]) -> float:
    return 1 - count["survived"] / count.total() if count else 1.0


def survivors(outcomes: Sequence[Outcome]) -> str:
    """Each survivor that is not explained: its id, and the lines before and after."""
    return "\n".join(
        f"survived: {outcome.id}\n  before: {outcome.before}\n  after:  {outcome.after}"
        for outcome in outcomes
        if outcome.state == "survived"
    )


def write_json(outcomes: Sequence[Outcome], path: Path) -> None:
    """All outcomes as a JSON list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [dataclasses.asdict(outcome) | {"state": outcome.state} for outcome in outcomes]
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
