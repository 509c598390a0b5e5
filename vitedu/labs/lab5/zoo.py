"""Encoders of transformers that take vectors in place of words, and what each does with the order of its tokens.

All are made from a configuration, small and with random weights; nothing is downloaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.bert.configuration_bert import BertConfig
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.distilbert.configuration_distilbert import DistilBertConfig
from transformers.models.distilbert.modeling_distilbert import DistilBertModel
from transformers.models.gpt2.configuration_gpt2 import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Model
from transformers.models.modernbert.configuration_modernbert import ModernBertConfig
from transformers.models.modernbert.modeling_modernbert import ModernBertModel

from vitedu.plots.anatomy import Table

SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 8, "pad_token_id": 0,
}  # fmt: skip
WORDLESS = {"bos_token_id": None, "eos_token_id": None, "cls_token_id": None, "sep_token_id": None}
ENCODERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "BertModel": (BertModel, BertConfig, {"intermediate_size": 64, "max_position_embeddings": 32}),
    "DistilBertModel": (DistilBertModel, DistilBertConfig, {"hidden_dim": 64, "max_position_embeddings": 32}),
    "ModernBertModel": (ModernBertModel, ModernBertConfig, {"intermediate_size": 64} | WORDLESS),
    "GPT2Model": (GPT2Model, GPT2Config, {"n_positions": 32} | {"bos_token_id": None, "eos_token_id": None}),
}
TITLES = ("class", "pooler_output", "sees the order of patches", "token 0 hears of a patch", "a patch hears of token 0")


def small(name: str) -> nn.Module:
    """One of ENCODERS with two layers of 32 features, in eval mode, with large random weights.

    Large, because what a fresh encoder does with positions is as small as its position embeddings.
    """
    model_class, config_class, sizes = ENCODERS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_class(config_class(**SIZES, **sizes, initializer_range=0.3)).eval()


def compared(tokens: int = 9) -> Table:
    """What is in each encoder's output, and three experiments with it: who hears of what."""
    return Table(TITLES, [(name, *map(_yes, experiments(small(name), tokens))) for name in ENCODERS])


@torch.no_grad()
def experiments(encoder: nn.Module, tokens: int = 9) -> tuple[bool, bool, bool, bool]:
    """Whether there is a pooler; whether the last token sees the order of those before it; whether token 0 hears
    of token 4, and token 4 of token 0."""
    config: Any = encoder.config
    x = torch.randn(1, tokens, config.hidden_size, generator=torch.Generator().manual_seed(1))
    output = encoder(inputs_embeds=x)

    def change(changed: Tensor, place: int) -> bool:
        difference = encoder(inputs_embeds=changed).last_hidden_state - output.last_hidden_state
        return bool(difference[0, place].abs().max() > 1e-4)

    turned = torch.cat([x[:, :1], x[:, 1:-1].flip(1), x[:, -1:]], dim=1)
    patch, first = x.clone(), x.clone()
    patch[:, 4] *= -1
    first[:, 0] *= -1  # a constant that is added to all features would be lost in a LayerNorm
    pooler = output.get("pooler_output") is not None
    return pooler, change(turned, -1), change(patch, 0), change(first, 4)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
