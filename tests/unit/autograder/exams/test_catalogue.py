"""The catalogue of wrong ideas and the bank agree, row by row."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path

import pytest

import autograder
from autograder.labs.lab import all_labs

PATH = Path(autograder.__file__).parent / "exams" / "catalogue.csv"
COLUMNS = ["row", "idea", "state", "where", "note"]
REPORT_ENTRIES = 21  # S1 to S21: ideas seen in homework reports


def read_catalogue() -> list[dict[str, str]]:
    with PATH.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@cache
def bank() -> dict[tuple[str, str], tuple[int, ...]]:
    """("lab1/EXERCISE", misconception id) -> its rows, for every lab that there is."""
    return {(f"{lab.key}/{e.id}", m.id): m.rows for lab in all_labs() for e in lab.exercises for m in e.misconceptions}


def held(entry: dict[str, str]) -> set[tuple[str, str]]:
    """The misconceptions that an entry points to."""
    return {tuple(place.split(" ")) for place in entry["where"].split("; ")}


CATALOGUE = read_catalogue()
BY_ROW = {entry["row"]: entry for entry in CATALOGUE}
HELD = [entry for entry in CATALOGUE if entry["state"] == "held"]


def test_every_row_stands_in_it_once():
    expected = [str(row) for row in range(1, 136)] + [f"S{i}" for i in range(1, REPORT_ENTRIES + 1)]
    assert [entry["row"] for entry in CATALOGUE] == expected


def test_every_line_is_whole():
    for entry in CATALOGUE:
        assert list(entry) == COLUMNS, entry
        assert entry["idea"].strip(), entry
        assert entry["state"] in ("held", "later", "not expressible"), entry


@pytest.mark.parametrize("entry", HELD, ids=lambda entry: entry["row"])
def test_what_is_held_exists(entry):
    rows = bank()
    for place in held(entry):
        assert place in rows, f"row {entry['row']}: {place} is not in the bank"
        if entry["row"].isdigit():
            assert int(entry["row"]) in rows[place], f"row {entry['row']}: {place} does not list it"


def test_every_misconception_stands_in_the_rows_that_it_lists():
    for place, rows in bank().items():
        for row in rows:
            entry = BY_ROW[str(row)]
            assert entry["state"] == "held" and place in held(entry), f"{place} lists row {row}, which does not name it"


def test_what_comes_later_names_its_lab():
    done = {lab.key for lab in all_labs()}
    for entry in CATALOGUE:
        if entry["state"] == "later":
            assert re.fullmatch(r"lab [2-7]", entry["where"]), entry
            assert entry["where"].replace(" ", "") not in done, f"row {entry['row']}: its lab is there, so it is due"


def test_what_cannot_be_expressed_says_why():
    for entry in CATALOGUE:
        if entry["state"] == "not expressible":
            assert entry["where"] == "" and entry["note"].startswith("because "), entry


@pytest.mark.parametrize("row", range(1, 37))
def test_attention_is_complete(row):
    assert BY_ROW[str(row)]["state"] in ("held", "not expressible")


@pytest.mark.parametrize("row", ["S1", "S2", "S5", "S18"])
def test_attention_in_the_reports_is_complete(row):
    assert BY_ROW[row]["state"] == "held"


def test_ids_and_sentences():
    """Ids are stable names; the idea completes "Your answer equals what comes out when ..."; the question asks."""
    for lab in all_labs():
        for exercise in lab.exercises:
            ids = [m.id for m in exercise.misconceptions]
            assert len(ids) == len(set(ids)), f"{exercise.id} has an id twice"
            assert len(exercise.alternatives) >= 6 or exercise.trained, f"{exercise.id} has fewer than six alternatives"
            for m in exercise.misconceptions:
                assert re.fullmatch(r"[a-z0-9]+(-[a-zA-Z0-9]+)*", m.id), m.id
                assert not m.idea.endswith(".") and m.question.endswith("?") and m.seen, m.id
                compile(m.code, m.id, "exec")
