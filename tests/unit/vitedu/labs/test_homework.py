"""The homework reports' models have the reports' numbers, and the faults that Lab 3 shows."""

import pytest
import torch
from torch import nn

from vitedu.labs.lab3 import homework
from vitedu.labs.lab3.homework import FlattenedBlock, FlattenedViT, OneTensorAttention, OneTensorViT


def numbers(part: nn.Module | nn.Parameter) -> int:
    return part.numel() if isinstance(part, nn.Parameter) else sum(p.numel() for p in part.parameters())


@pytest.fixture(scope="module")
def first() -> FlattenedViT:
    """The first model's shapes; its 52 million numbers take time and memory that counting does not need."""
    with torch.device("meta"):
        return FlattenedViT()


@pytest.mark.parametrize(
    ("part", "published"),
    [
        ("", 52_213_253),
        ("layers.0", 26_055_936),
        ("layers.1", 26_055_936),
        ("pixels", 98_432),
        ("classes", 645),
        ("layers.0.heads", 7_108_992),
    ],
)
def test_the_first_model_has_the_reports_parameters(part, published, first):
    assert numbers(first.get_submodule(part)) == published


def test_the_first_models_other_numbers(first):
    block = first.layers[0]
    assert numbers(first.first) + numbers(first.places) == 2_304
    assert numbers(block.widen) + numbers(block.narrow) == 18_946_432
    assert numbers(block.after_heads) + numbers(block.after_network) == 512
    assert (len(list(block.parameters())), len(list(first.parameters()))) == (20, 46)
    assert block.heads[0].query.weight.shape == (1088, 1088)


def test_the_second_model_has_the_reports_parameters():
    model = OneTensorViT()
    assert numbers(model.mixing.weight) == 887_808
    assert numbers(model.classes) == 140_037


def test_no_other_sizes_give_the_second_models_numbers():
    """Any heads, features of a head and hidden features, for 17 tokens and 5 classes."""
    tokens, found = homework.TOKENS, []
    for heads in range(1, 33):
        for features in range(1, 129):
            width = tokens * heads * features  # of the sequence in a row
            hidden, rest = divmod(140_037 - homework.CLASSES, width + 1 + homework.CLASSES)
            if heads * 3 * (tokens * features) ** 2 == 887_808 and rest == 0 and hidden:
                found.append((heads, features, hidden))
    assert found == [(4, 16, 128)]


@pytest.mark.parametrize("model_class", [FlattenedViT, OneTensorViT])
def test_both_models_give_logits_and_learn_on_the_cpu(model_class):
    torch.manual_seed(0)
    model = model_class()
    logits = model(torch.randn(3, 3, 64, 64))
    assert logits.shape == (3, homework.CLASSES)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_einsum_is_what_its_letters_say():
    torch.manual_seed(0)
    tokens, heads, features = 3, 2, 4
    layer, x = OneTensorAttention(tokens, heads, features).double(), torch.randn(2, 3, 8, dtype=torch.float64)
    split = x.view(2, tokens, heads, features)
    by_hand = []
    for head in range(heads):
        flat = split[:, :, head].flatten(1)  # all tokens of one head in a row
        maps = layer.weight[head].flatten(1, 2).flatten(2)  # (3, tokens * features, tokens * features)
        q, k, v = ((flat @ m).view(2, tokens, features) for m in maps)
        weights = torch.softmax(q @ k.mT / features**0.5, dim=-1)
        by_hand.append(weights @ v)
    torch.testing.assert_close(layer(x), torch.cat(by_hand, dim=-1))


@pytest.mark.parametrize(("block", "dim"), [(FlattenedBlock, 128), (OneTensorAttention, 64)])
def test_neither_treats_tokens_alike_nor_takes_more_of_them(block, dim):
    torch.manual_seed(0)
    layer, x, order = block(), torch.randn(1, 17, dim), torch.randperm(17)
    assert not torch.allclose(layer(x)[:, order], layer(x[:, order]), atol=1e-3)
    with pytest.raises(RuntimeError):
        layer(torch.randn(1, 18, dim))


def test_on_another_device_the_second_model_loses_what_it_moved():
    here, elsewhere = (dict(OneTensorViT(device).named_parameters()) for device in ("cpu", "meta"))
    assert set(here) - set(elsewhere) == {"last", "places", "mixing.weight"}
    assert set(elsewhere) < set(here)
    lost = sum(here[name].numel() for name in set(here) - set(elsewhere))
    assert lost == 888_960 and round(lost / numbers(OneTensorViT()), 2) == 0.82
    assert isinstance(OneTensorViT("meta").mixing.weight, torch.Tensor)  # still there, and never trained
