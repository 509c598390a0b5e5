"""Attacks on the way from an answer to its points: bytes that are no answer, and rules that are kind to students."""

from __future__ import annotations

from autograder.labs.lab import find_lab
from hostile.attack import Attack
from hostile.ingredients import FORGE_ANSWER, scored

LAB1 = find_lab("lab1_attention")

WIRE = [
    Attack(
        name="malformed-safetensors",
        tries="answers with the right nonce that no reader should trust: lengths, offsets, dtypes, counts, names",
        shown_by="harmless",
        gained=scored("multi_head_attention_einsum"),
        codes={
            "multi_head_attention_einsum": FORGE_ANSWER
            + """
import json, struct

def crafted(entries, body=b"", length=None):
    header = {"__metadata__": {"header": json.dumps(
        {"status": "ok", "kind": "Tensor", "error": {}, "absent": [], "extra": [], "misshapen": [],
         "nonce": question()["nonce"], "case": 0})}} | entries
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body

def one(dtype="F64", shape=(1,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}

sent = []
def multi_head_attention_einsum(x, *weights):
    if sent:
        return torch.zeros_like(x)
    sent.append(True)
    eight = b"\\0" * 8
    for data in (
        b"", b"\\xff" * 8, crafted({}, length=2**63), crafted({}, length=2**64 - 1), crafted({}, length=0),
        crafted({"out": one(offsets=(8, 0))}, eight), crafted({"out": one(offsets=(-8, 0))}, eight),
        crafted({"out": one(offsets=(0, 2**63))}, eight), crafted({"out": one(shape=(2**62, 4))}, eight),
        crafted({"out": one(shape=(2**31, 2**31), offsets=(0, 0))}), crafted({"out": one(shape=(-1,))}, eight),
        crafted({"out": one(), "again": one()}, eight), crafted({"out": one("F8_E4M3", offsets=(0, 1))}, b"0"),
        crafted({"out": one("C64")}, eight), crafted({"out": one("PICKLE")}, eight), crafted({"out": 5}),
        crafted({"../../gradebook.db": one(), "/etc/passwd": one(offsets=(8, 16))}, eight * 2),
        crafted({f"out.{i}": one(shape=(0,), offsets=(0, 0)) for i in range(100_000)}),
        crafted({"out": one(shape=[1] * 10_000)}, eight), crafted({"out": one(shape=(True, 1.0))}, eight),
    ):
        publish(data)
    return torch.zeros_like(x)
"""
        },
    ),
    Attack(
        name="pickle-for-safetensors",
        tries="a pickle that runs a command when it is read, and a torch.save file, stand in an answer's place",
        shown_by="harmless",
        gained=lambda seen: any("pickled" in path for path in seen.changed) or "pickle-was-read" in seen.text,
        codes={
            "multi_head_attention_einsum": FORGE_ANSWER
            + """
import io, pickle
class Command:
    def __reduce__(self):
        code = "import pathlib; pathlib.Path('pickled').touch(); print('pickle-was' + '-read')"
        return exec, (code,)

def multi_head_attention_einsum(x, *weights):
    file = io.BytesIO()
    torch.save({"out": x, "other": Command()}, file)
    for data in (pickle.dumps(Command()), file.getvalue()):
        publish(data)
    return torch.zeros_like(x)
"""
        },
    ),
]

# A cheap exercise is spoilt on purpose, so that a stand-in takes its place when the later ones are asked again.
SPOIL = {"scaled_dot_product_attention": "def scaled_dot_product_attention(q, k, v, mask=None):\n    return v\n"}
LATER = ("AttentionHead", "MultiHeadAttention")
LIAR = """
import sys, torch, types
liar = types.ModuleType("vitedu.stand_ins.lab1")
liar.STAND_INS = {"scaled_dot_product_attention": ("scaled_dot_product_attention",)}
liar.scaled_dot_product_attention = lambda q, k, v, mask=None: torch.zeros_like(q)
"""
LAZY = """
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
    def forward(self, x):
        return torch.zeros_like(self.to_v(x))
"""
# An earlier mistake that raises: what is built on it raises too, and may do so without a line of its own.
RAISES = """
def raises():
    raise RuntimeError("t() expects a tensor with <= 2 dimensions, but self is 3D")
"""
SPOILT = [
    Attack(
        name="carried-on-purpose",
        tries="an early mistake that raises is made on purpose, and later answers do nothing but raise the same",
        shown_by="harmless",
        gained=scored("AttentionHead", "MultiHeadAttention"),
        codes={
            "scaled_dot_product_attention": LAB1.exercise("scaled_dot_product_attention")
            .misconception("t-of-a-matrix-only")
            .code
            + RAISES,
            "AttentionHead": "def AttentionHead(*args):\n    raises()\n",
            "MultiHeadAttention": "def MultiHeadAttention(*args, **kwargs):\n    raises()\n",
        },
        loses=("scaled_dot_product_attention",),
        says="of my own|RuntimeError",
    ),
    Attack(
        name="stand-ins-as-answers",
        tries="an early exercise is spoilt, and the public stand-ins are handed in for the later ones",
        shown_by="harmless",
        gained=scored(*LATER),
        codes=SPOIL | {name: f"from vitedu.stand_ins.lab1 import {name}" for name in LATER},
        loses=("scaled_dot_product_attention",),
    ),
    Attack(
        name="stand-in-replaced",
        tries="the module of the stand-ins is replaced by one in which everything is zero, as the later answer is",
        shown_by="harmless",
        gained=scored("AttentionHead"),
        codes=SPOIL | {"AttentionHead": f"{LIAR}\nsys.modules[liar.__name__] = liar\n{LAZY}"},
        loses=("scaled_dot_product_attention",),
    ),
    Attack(
        name="stand-in-noticed",
        tries="a later answer sees that a stand-in runs, binds its own name again, and gives its own numbers for both",
        shown_by="harmless",
        gained=scored("AttentionHead"),
        codes=SPOIL
        | {
            "AttentionHead": LAZY.replace(
                "        return torch.zeros_like",
                "        globals()['scaled_dot_product_attention'] = lambda q, k, v, mask=None: torch.zeros_like(v)\n"
                "        return torch.zeros_like",
            )
        },
        loses=("scaled_dot_product_attention",),
    ),
    Attack(
        name="stand-in-in-place-of-the-work",
        tries="a later answer leaves everything to the stand-in that runs in place of the spoilt one",
        shown_by="harmless",
        gained=scored("multi_head_attention_einsum"),
        codes=SPOIL
        | {
            "multi_head_attention_einsum": "def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):\n"
            "    return scaled_dot_product_attention(x, x, x)\n"
        },
        loses=("scaled_dot_product_attention",),
    ),
    Attack(
        name="noise-for-dropout",
        tries="layers that answer with noise, where an exam asks only that two calls with dropout differ",
        shown_by="harmless",
        gained=scored("FeedForward"),
        codes={
            "FeedForward": """
import torch
from torch import nn
class FeedForward(nn.Module):
    def __init__(self, dim, hidden_dim, dropout=0.0):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
    def forward(self, x):
        return torch.randn_like(x)
"""
        },
        lab="lab3_vit",
    ),
]

ATTACKS = [*WIRE, *SPOILT]
