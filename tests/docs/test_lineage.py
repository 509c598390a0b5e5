"""The lineage page: every system of the reports, its command, and numbers that are those of the code."""

from __future__ import annotations

import re

import pytest

from autograder.labs.lab import ROOT
from autograder.reproduction.configs import BASELINE, CONFIGS
from vitedu.labs.lab3 import homework

PAGE = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
REPORTS = ("homework-vit", "homework-einsum", "lab-report-28", "lab-sheet")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_it_lists_the_systems_of_the_reports():
    assert len(SECTIONS) == 6  # five systems, and what none of them did
    for text in list(SECTIONS.values())[:5]:
        for part in ("**What it is.**", "**In the course.**", "**Command.**", "**What was wrong.**"):
            assert text.count(part) == 1, part
        assert "| reported | here |" in text


@pytest.mark.parametrize("name", REPORTS)
def test_each_configuration_of_a_report_stands_there_with_its_command_and_its_parameters(name):
    assert f"autograder train {name}" in PAGE
    row = next(line for line in PAGE.split("\n") if line.startswith("| [") and f"`autograder train {name}`" in line)
    assert row.endswith(f"| {CONFIGS[name]().parameters:,} |")


def test_every_command_names_a_configuration():
    assert set(re.findall(r"autograder train ([\w-]+)", PAGE)) <= set(CONFIGS)


def test_stand_ins_are_those_of_the_configurations():
    for name in REPORTS:
        config = CONFIGS[name]()
        (text,) = (text for text in SECTIONS.values() if f"`autograder train {name}`" in text)
        assert {"digits": "digits", "pairs": "`pairs`"}[config.stand_in] in text and "stand" in text


def test_the_counts_of_the_homework_are_those_of_the_models():
    model, einsum = homework.FlattenedViT(), homework.OneTensorViT()
    block = count(model.layers[0])
    assert f"{block:,} parameters a block" in PAGE and f"{count(model):,} in {len(list(model.parameters()))}" in PAGE
    assert f"{einsum.mixing.weight.numel():,} and {count(einsum.classes):,}" in PAGE
    assert f"{round(block / 198_272)} times the parameters" in PAGE
    lost = 1 - count(homework.OneTensorViT("meta")) / count(einsum)
    assert f"{lost:.0%}".replace("%", " %") in PAGE
    assert f"to beat: {BASELINE:.0%}".replace("%", " %") in PAGE


def test_the_reported_numbers_stand_there():
    for number in ("53 %", "95 %", "53.20 %", "46.76 %", "10", "30", "50"):
        assert number in PAGE
    for number in (235_210, 7_103_252, 1_775_376, 6_982_400, 7_488_276, 1_877_130):
        assert f"{number:,}" in PAGE


def test_what_was_not_run_is_said_so():
    for text in SECTIONS.values():
        for row in re.findall(r"^\| (?:accuracy|\d+ \|).*$", text, re.MULTILINE):
            here = row.rstrip("| ").split("|")[-1]
            assert re.search(r"\d %|not run here", here), row
    assert "@" not in PAGE and "??" not in PAGE
