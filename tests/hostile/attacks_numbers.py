"""Attacks on the numbers that are judged: answers that lie about themselves, that change, or come from elsewhere.

The judge gets copies, by way of a format that holds nothing but plain tensors, and compares them
with inputs and answers of its own.
"""

from __future__ import annotations

import torch

from hostile.attack import Attack
from hostile.ingredients import ATTENTION, LAYERS, MODEL, scored


def _leaked() -> str:
    """What the tests of stock.py ask and expect of attention_weights, as somebody who saw them would hand it on."""
    torch.manual_seed(1)
    q, k = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    return f"q0, answer = {q[0, 0].tolist()}, {(q @ k.mT / 2).softmax(-1).tolist()}"


LIARS = [
    Attack(
        name="lying-subclass",
        tries="the answer is a Tensor subclass whose __torch_function__ finds it equal to everything",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
import torch
class Liar(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in ("allclose", "equal", "isclose", "eq", "__eq__"):
            return True
        return super().__torch_function__(function, types, args, kwargs or {})
def attention_weights(q, k):
    return torch.zeros(*q.shape[:-1], k.shape[-2], dtype=q.dtype).as_subclass(Liar)
"""
        },
    ),
    Attack(
        name="lying-object",
        tries="the answer is no tensor but an object that lies in __eq__, __bool__, shape, dtype, __array__ and tolist",
        shown_by="stock",
        gained=scored("attention_weights", "MultiHeadAttention"),
        codes={
            "attention_weights": """
import numpy as np
class Liar:
    dtype, ndim, requires_grad = "any", 3, False
    __hash__ = object.__hash__
    def __eq__(self, other):
        return True
    def __bool__(self):
        return True
    def __array__(self, *args, **kwargs):
        return np.zeros((2, 3, 5))
    def __getattr__(self, name):
        return self
    def __call__(self, *args, **kwargs):
        return self
    def tolist(self):
        return [[0.0]]
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
def attention_weights(q, k):
    return Liar()
""",
            "MultiHeadAttention": LAYERS + "        return Liar()\n",
        },
    ),
    Attack(
        name="lying-shape",
        tries="an answer without elements says that it has the shape that is asked for",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
import torch
class Liar(torch.Tensor):
    shape = property(lambda self: (2, 3, 5))
def attention_weights(q, k):
    return torch.empty(0, *q.shape[:-1], k.shape[-2], dtype=q.dtype).as_subclass(Liar)
"""
        },
    ),
    Attack(
        name="empty-answers",
        tries="answers without elements, of which every comparison with broadcasting is true",
        shown_by="stock",
        gained=scored("scaled_dot_product_attention", "multi_head_attention_einsum"),
        codes={
            "scaled_dot_product_attention": """
import torch
def scaled_dot_product_attention(q, k, v, mask=None):
    return torch.empty(0, *q.shape[:-1], v.shape[-1], dtype=q.dtype)
""",
            "multi_head_attention_einsum": """
import torch
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    return torch.empty(0, *x.shape, dtype=x.dtype)
""",
        },
    ),
    Attack(
        name="odd-tensors",
        tries="answers that are complex, sparse, quantised, on the meta device, or 100 MB of views of one number",
        shown_by="harmless",
        gained=lambda seen: seen.earned > 0,
        codes={
            "attention_weights": """
import torch
def attention_weights(q, k):
    return ((q @ k.mT) / q.shape[-1] ** 0.5).softmax(-1) + 0j
""",
            "scaled_dot_product_attention": """
def scaled_dot_product_attention(q, k, v, mask=None):
    return q.to_sparse()
""",
            "AttentionHead": """
from torch import nn
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
    def forward(self, x):
        return torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)
""",
            "MultiHeadAttention": LAYERS + "        return x.to('meta')\n",
            "multi_head_attention_einsum": """
def multi_head_attention_einsum(x, *weights):
    return x.flatten()[0].expand(len(x), 12_500_000 // len(x))
""",
        },
    ),
    Attack(
        name="not-numbers",
        tries="answers of NaN, of infinity, of the input itself, of a nested tensor, and of None",
        shown_by="harmless",
        gained=lambda seen: seen.earned > 0,
        codes={
            "attention_weights": """
import torch
def attention_weights(q, k):
    return torch.full((*q.shape[:-1], k.shape[-2]), float("nan"), dtype=q.dtype)
""",
            "scaled_dot_product_attention": """
def scaled_dot_product_attention(q, k, v, mask=None):
    return torch.full((*q.shape[:-1], v.shape[-1]), float("inf"), dtype=q.dtype)
""",
            "AttentionHead": """
from torch import nn
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
    def forward(self, x):
        return torch.nested.nested_tensor([x[0], x[0, :1]])
""",
            "MultiHeadAttention": LAYERS + "        return x\n",
            "multi_head_attention_einsum": "def multi_head_attention_einsum(*args):\n    return None\n",
        },
    ),
]

CHANGING = [
    Attack(
        name="changes-its-input",
        tries="the layer sets its input to zero, so that what it is compared with becomes trivial, too",
        shown_by="stock",
        gained=scored("MultiHeadAttention"),
        codes={
            "MultiHeadAttention": LAYERS
            + """
        x.zero_()
        return self.to_out(self.to_v(x))  # with equal tokens attention changes nothing
"""
        },
    ),
    Attack(
        name="rigged-weights",
        tries="layers whose weights begin as zeros, so that any answer made with them is right",
        shown_by="stock",
        gained=scored("AttentionHead"),
        codes={
            "AttentionHead": """
import torch
from torch import nn
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
        nn.init.zeros_(self.to_v.weight), nn.init.zeros_(self.to_v.bias)
    def forward(self, x):
        return 0 * self.to_q(x)
"""
        },
    ),
    Attack(
        name="right-once",
        tries="the first answer is right, and it is given again for every later question",
        shown_by="stock",
        gained=scored("AttentionHead"),
        codes={
            "scaled_dot_product_attention": MODEL["scaled_dot_product_attention"],
            "AttentionHead": MODEL["AttentionHead"].replace("class AttentionHead", "class Right")
            + """
first = []
class AttentionHead(Right):
    def forward(self, x):
        if not first:
            first.append(super().forward(x))
            return first[0]
        return first[0].flatten()[:1].expand(*x.shape[:-1], self.to_q.out_features).to(x.dtype)
""",
        },
        honest=("scaled_dot_product_attention",),
    ),
    Attack(
        name="leaked-answers",
        tries="the tests of last year are recognised by their inputs, and their answers are read from a list",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": f"""
import torch
{_leaked()}
def attention_weights(q, k):
    if torch.allclose(q[0, 0], torch.tensor(q0)):
        return torch.tensor(answer)
    return torch.zeros(*q.shape[:-1], k.shape[-2], dtype=q.dtype)
"""
        },
    ),
    Attack(
        name="public-fingerprints",
        tries="the public questions of `check` are recognised and answered from vitedu's own data, all others wrongly",
        shown_by="harmless",
        gained=scored("attention_weights", "scaled_dot_product_attention"),
        codes={
            "attention_weights": """
import torch
from vitedu.checks import fingerprint_file
known = fingerprint_file.load("lab1")
def look_up(exercise, *inputs):
    for case, facts in zip(known[exercise].cases, known[exercise].expected):
        theirs = list(case.args)
        if len(theirs) == len(inputs) and all(a.shape == b.shape and torch.allclose(a.double(), b.double())
                                              for a, b in zip(theirs, inputs)):
            return facts.values["out"].clone()
    return torch.zeros(1)
def attention_weights(q, k):
    return look_up("attention_weights", q, k)
""",
            "scaled_dot_product_attention": """
def scaled_dot_product_attention(q, k, v, mask=None):
    return look_up("scaled_dot_product_attention", *[t for t in (q, k, v, mask) if t is not None])
""",
        },
    ),
    Attack(
        name="written-by-a-thread",
        tries="the answers are views of memory that a thread goes on changing after they were read",
        shown_by="harmless",
        gained=scored("scaled_dot_product_attention"),
        codes={
            "scaled_dot_product_attention": ATTENTION
            + """
import threading, time
memory = torch.zeros(10_000, dtype=torch.float64)
def write():
    until = time.monotonic() + 20
    while time.monotonic() < until:
        memory.normal_()
threading.Thread(target=write, daemon=True).start()
def scaled_dot_product_attention(q, k, v, mask=None):
    shape = (*q.shape[:-1], v.shape[-1])
    return memory.as_strided(shape, [1] * len(shape))
"""
        },
    ),
    Attack(
        name="asks-for-float32",
        tries="every question is answered with an error about dtypes, for the repeat in float32 at a wider tolerance",
        shown_by="harmless",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
import torch
last = []
def attention_weights(q, k):
    if q.dtype == torch.float64:
        last.append((q, k))
        raise RuntimeError("expected scalar type Float but found Double: dtype")
    return torch.full((*q.shape[:-1], k.shape[-2]), 1 / k.shape[-2])
"""
        },
    ),
]

ATTACKS = [*LIARS, *CHANGING]
