"""The table of a model's layers: shapes, parameters as the student counts them, multiply-adds."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autograder.judging.reference_answers import Reference
from autograder.labs.lab import find_lab
from vitedu.plots.anatomy import Table, anatomy


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def model() -> nn.Module:
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(5, 5), nn.GELU(), nn.LayerNorm(5)) for _ in range(3)))
    return nn.Sequential(nn.Conv2d(2, 5, 3, stride=3, bias=False), nn.Flatten(2), nn.Linear(4, 5), blocks)


def test_every_layer_has_its_line(model):
    table = anatomy(model, torch.zeros(1, 2, 6, 6), count)
    assert table.rows == [
        ("the model", "Sequential", "", "1 x 2 x 6 x 6", "1 x 5 x 5", "", "235", ""),
        ("[i]", "Conv2d", "", "1 x 2 x 6 x 6", "1 x 5 x 2 x 2", "5 x 2 x 3 x 3", "90", "360"),
        ("[i]", "Linear", "", "1 x 5 x 4", "1 x 5 x 5", "5 x 4", "25", "100"),
        ("[i]", "Sequential", "", "1 x 5 x 5", "1 x 5 x 5", "", "120", ""),
        ("[i][i]", "Sequential", "3", "1 x 5 x 5", "1 x 5 x 5", "", "40", ""),
        ("[i][i][i]", "Linear", "3", "1 x 5 x 5", "1 x 5 x 5", "5 x 5", "30", "125"),
        ("[i][i][i]", "LayerNorm", "3", "1 x 5 x 5", "1 x 5 x 5", "5", "10", ""),
    ]
    assert table.note.startswith("Together: 235 parameters, and 835 multiply-adds")


def test_multiply_adds_are_those_that_torch_counts(model):
    """torch counts two operations for a multiply-add."""
    example = torch.zeros(1, 2, 6, 6)
    with FlopCounterMode(display=False) as counter:
        model(example)
    assert f"{counter.get_total_flops() // 2:,} multiply-adds" in anatomy(model, example, count).note


def test_lab_3_model_line_by_line_beside_published_numbers():
    space = Reference(find_lab("lab3")).namespace(())
    table = space["take_apart"](space["VisionTransformer"], space["count_parameters"])
    assert table.titles[-1] == "published"
    rows = {row[0].strip(): row for row in table.rows}
    held = [row for row in table.rows if row[-1]]
    assert {row[1] for row in held} == {"Conv2d", "MultiHeadAttention", "FeedForward", "LayerNorm"}
    assert all(row[6] == row[-1] for row in held), held
    assert rows["blocks[i]"][2] == "10" and rows["fc1"][2] == "10" and rows["head"][2] == ""
    assert rows["to_q"][7] == "4,915,200"  # 50 tokens by 192 by 512
    assert [row[0] for row in table.rows if "fc1" in row[0]] == ["    fc1"]


def test_parameters_are_counted_by_the_function_that_comes_in(model):
    table = anatomy(model, torch.zeros(1, 2, 6, 6), lambda module: 7)
    assert {row[6] for row in table.rows} == {"7"}


def test_the_model_is_left_as_it_was(model):
    model.train()
    anatomy(model, torch.zeros(1, 2, 6, 6), count)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError):
        anatomy(model, torch.zeros(1, 7, 6, 6), count)  # too many channels
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_a_layer_that_runs_twice_has_two_lines():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.GELU(), shared)
    assert [row[2] for row in anatomy(model, torch.zeros(1, 4), count).rows] == ["", "2"]


def test_a_table_shows_itself_as_text_and_as_safe_html():
    table = Table(("layer", "parameters"), [("a <b>", "1"), ("  inside", "1,234")], "5 < 6")
    assert repr(table).split("\n") == ["layer     parameters", "a <b>              1", "  inside       1,234", "5 < 6"]
    html = table._repr_html_()
    assert "<b>" not in html and "a &lt;b&gt;" in html and "5 &lt; 6" in html
    assert html.count("text-align: right") == 3
