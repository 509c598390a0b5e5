"""Encoders for questions: a real one of Hugging Face, configured small, and a stand-in that needs no library.

A question says in one line which encoder it wants, and the same line builds it here and in a
student's kernel. Weights come with the question, so it does not matter how it was initialised.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

MARK = "encoder"  # the first word of the line


def made(argument: Any) -> Any:
    """An argument of a constructor: ("encoder", kind, sizes...) as the encoder itself, anything else as it is."""
    if not (isinstance(argument, tuple) and argument[:1] == (MARK,)):
        return argument
    kind, *sizes = argument[1:]
    return KINDS[kind](*sizes)


def bert(
    dim: int, depth: int, num_heads: int, mlp_dim: int, most: int, dropout: float = 0.0,
    initializer_range: float = 0.02,
) -> nn.Module:  # fmt: skip
    """A BertModel of transformers with random weights.

    Args:
        dim: D, features of a token.
        depth: number of layers.
        most: the largest number of tokens; it has a position embedding for each.
        dropout: everywhere where BERT has one.
        initializer_range: standard deviation of the fresh weights.
    """
    # Imported by name: the grader preloads what a module's import statements say, and other labs do not need this.
    library = importlib.import_module("transformers.models.bert")
    return library.BertModel(
        library.BertConfig(
            vocab_size=2, type_vocab_size=1, hidden_size=dim, num_hidden_layers=depth, num_attention_heads=num_heads,
            intermediate_size=mlp_dim, max_position_embeddings=most,
            hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
            initializer_range=initializer_range,
        )
    )  # fmt: skip


class Output(dict):
    """Results by name, as attributes, and by number, as transformers' ModelOutput has them."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"this encoder's output has {', '.join(self)}, and no {name}")

    def __getitem__(self, key: Any) -> Any:
        return tuple(self.values())[key] if isinstance(key, (int, slice)) else super().__getitem__(key)


class StubEncoder(nn.Module):
    """A tiny encoder that is called as those of transformers are, and has no pooler.

    Each token becomes a mixture of itself and of a weighted mean of all; the weights and a position
    embedding depend on the place, so that the order of tokens shows.

    Args:
        dim: D, features of a token.
        most: the largest number of tokens.
    """

    def __init__(self, dim: int, most: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=dim, max_position_embeddings=most)
        self.words = nn.Embedding(2, dim)
        self.positions = nn.Embedding(most, dim)
        self.own, self.all = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of word vectors, as every encoder of transformers gives it."""
        return self.words

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None, output_hidden_states: bool = False, return_dict: bool = True, **_: Any,
    ) -> Output | tuple[Any, ...]:  # fmt: skip
        """Word numbers (B, T) or vectors (B, T, D) -> an output whose last_hidden_state is (B, T, D)."""
        if input_ids is not None and inputs_embeds is None:
            if input_ids.ndim != 2:
                shape = tuple(input_ids.shape)
                raise ValueError(f"expected numbers of words (B, T) as input_ids, got the shape {shape}")
            x = self.words(input_ids)
        elif input_ids is None and inputs_embeds is not None:
            x = inputs_embeds
        else:
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        places = torch.arange(x.shape[1], device=x.device)
        x = x + self.positions(places)
        weights = (places + 1).to(x.dtype).expand(x.shape[:2])
        if attention_mask is not None:
            weights = weights * attention_mask
        mean = (x * (weights / weights.sum(1, keepdim=True))[..., None]).sum(1, keepdim=True)  # (B, 1, D)
        last = torch.tanh(self.own(x) + self.all(mean))
        output = Output(last_hidden_state=last) | ({"hidden_states": (x, last)} if output_hidden_states else {})
        return Output(output) if return_dict else tuple(output.values())


KINDS: dict[str, Callable[..., nn.Module]] = {"bert": bert, "stand-in": StubEncoder}
