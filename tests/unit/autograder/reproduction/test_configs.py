"""The reports' models by name: their numbers of parameters are the published ones."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from autograder.reproduction.configs import BASELINE, CONFIGS, Config
from vitedu.data.datasets import load
from vitedu.labs.lab3 import homework


@pytest.fixture(scope="module")
def notebooks() -> dict[str, dict[str, Any]]:
    """The names of the solution notebooks that models come from."""
    return {lab: Reference(find_lab(lab)).namespace([]) for lab in ("lab4", "lab5")}


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_homework_models_have_the_published_numbers_of_parameters():
    model = CONFIGS["homework-vit"]().build({})
    assert count(model) == 52_213_253 and len(list(model.parameters())) == 46
    einsum = CONFIGS["homework-einsum"]().build({})
    assert einsum.mixing.weight.numel() == 887_808 and count(einsum.classes) == 140_037
    assert isinstance(model, homework.FlattenedViT) and isinstance(einsum, homework.OneTensorViT)


def test_the_lab_report_model_layer_by_layer(notebooks):
    model = CONFIGS["lab-report-28"]().build(notebooks["lab4"])
    block = model.blocks[9]
    assert len(model.blocks) == 10
    assert count(block.attention) == 393_408
    assert count(block.mlp) == 148_032
    assert count(block.norm1) == count(block.norm2) == 384
    assert count(model.embedding.patches) == 3_264
    tokens = 7 * 7 + 1  # patches of a 28x28 image, and the class token
    rest = 192 + tokens * 192 + 384 + (192 + 1) * 6  # class token, positions, last norm, head
    assert count(model) == 3_264 + 10 * (393_408 + 148_032 + 2 * 384) + rest == 5_436_678


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_builds_what_it_says(name, notebooks):
    config = CONFIGS[name]()
    model = config.build(notebooks[config.lab])
    assert config.name == name and count(model) == config.parameters
    assert model(torch.zeros(2, *config.image)).shape == (2, config.classes)
    assert CONFIGS[name]() == config  # frozen values, made anew each time
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model = "another"


@pytest.mark.parametrize("name", CONFIGS)
def test_a_docstring_gives_the_command_and_the_measured_run(name):
    said = CONFIGS[name].__doc__
    assert f"autograder train {name}" in said and "Measured" in said


@pytest.mark.parametrize("name", CONFIGS)
def test_a_stand_in_is_embedded_and_has_enough_classes(name):
    config: Config = CONFIGS[name]()
    assert config.stand_in in ("digits", "pairs", "oddone")
    assert len(load(config.stand_in, train=4, test=2).classes) >= config.classes
    assert config.ours


def test_the_numbers_that_the_reports_give():
    assert CONFIGS["lab-sheet"]().training.epochs == (10, 30, 50)
    assert BASELINE == 0.6
    assert [make().published for make in CONFIGS.values()] == [True, False, False, False, False, False]
