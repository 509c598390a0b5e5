"""Attacks by what the student's process does to Python and torch, and by what it finds in its own memory.

Each gives a wrong answer and sees to it that a test in the same process does not notice. Whether an
answer is right is decided outside of their process, so that they get what it is worth: nothing.
"""

from __future__ import annotations

from hostile.attack import Attack
from hostile.ingredients import ATTENTION, EINSUM, LAYERS, MODEL, WEIGHTS, scored, wrong_weights

PATCHES = [
    Attack(
        name="patched-comparisons",
        tries="torch's functions that compare, torch.testing and Tensor.__eq__ always say equal",
        shown_by="stock",
        gained=scored("attention_weights", "scaled_dot_product_attention"),
        codes={
            "attention_weights": WEIGHTS
            + """
def yes(*args, **kwargs):
    return True

for name in ("allclose", "equal", "isclose", "eq"):
    setattr(torch, name, yes)
torch.testing.assert_close = yes
torch.Tensor.allclose = torch.Tensor.equal = torch.Tensor.__eq__ = yes
""",
            "scaled_dot_product_attention": ATTENTION,
            "multi_head_attention_einsum": MODEL["multi_head_attention_einsum"],
        },
        honest=("multi_head_attention_einsum",),
    ),
    Attack(
        name="the-reference-is-mine",
        tries="torch's own scaled_dot_product_attention, with which tests compare, becomes the student's wrong one",
        shown_by="stock",
        gained=scored("scaled_dot_product_attention"),
        codes={
            "scaled_dot_product_attention": ATTENTION
            + """
import torch.nn.functional as F
F.scaled_dot_product_attention = lambda q, k, v, attn_mask=None, **_: scaled_dot_product_attention(q, k, v)
torch._C._nn.scaled_dot_product_attention = F.scaled_dot_product_attention
"""
        },
    ),
    Attack(
        name="patched-builtins",
        tries="builtins such as sum, any, all and isinstance give what makes a test pass",
        shown_by="stock",
        gained=scored("multi_head_attention_einsum"),
        codes={
            "multi_head_attention_einsum": EINSUM
            + """
import builtins
real_sum = builtins.sum
def patched_sum(values, *start):
    found = real_sum(values, *start)
    return found * 0 if isinstance(found, torch.Tensor) else found
builtins.sum = patched_sum
builtins.all = builtins.any = lambda values: True
"""
        },
    ),
    Attack(
        name="patched-module-call",
        tries="nn.Module.__call__ gives zeros for every layer, the student's and torch's alike",
        shown_by="stock",
        gained=scored("MultiHeadAttention"),
        codes={
            "MultiHeadAttention": LAYERS
            + """
        return torch.zeros_like(x)

nn.Module.__call__ = lambda self, x, *args, **kwargs: torch.zeros_like(x)
"""
        },
    ),
    Attack(
        name="patched-random-numbers",
        tries="torch.randn gives zeros, so that a test's inputs are trivial",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
import torch
torch.randn = torch.rand = torch.normal = lambda *shape, **_: torch.zeros(*shape)
def attention_weights(q, k):
    return torch.full((*q.shape[:-1], k.shape[-2]), 1 / k.shape[-2], dtype=q.dtype)
"""
        },
    ),
    wrong_weights(
        "replaced-modules",
        "torch and vitedu.probe are replaced in sys.modules and in the notebook's names",
        """
import sys, types
import torch as real
import vitedu.probe.kernel_entry
class Fake(types.ModuleType):
    allclose = equal = staticmethod(lambda *args, **kwargs: True)
    def __getattr__(self, name):
        return getattr(real, name)
sys.modules["torch"] = Fake("torch")
entry = types.SimpleNamespace(answer=lambda *args: None)
sys.modules["vitedu.probe.kernel_entry"] = vitedu.probe.kernel_entry = entry
""",
    ),
    wrong_weights(
        "import-hooks",
        "sys.meta_path and __import__ hand out a torch whose comparisons agree",
        """
import builtins, sys, types
class Finder:
    def find_spec(self, name, path=None, target=None):
        return None
sys.meta_path.insert(0, Finder())
importing = builtins.__import__
def patched_import(name, *args, **kwargs):
    found = importing(name, *args, **kwargs)
    if name == "torch":
        found.allclose = lambda *args, **kwargs: True
    return found
builtins.__import__ = patched_import
""",
    ),
]

PEEKS = [
    Attack(
        name="peeks-at-frames",
        tries="the answer looks for the expected values in the frame of the test that calls it",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
import sys
def attention_weights(q, k):
    frame = sys._getframe()
    while frame:
        for space in (frame.f_locals, frame.f_globals):
            if "expected" in space:
                return space["expected"]
        frame = frame.f_back
    raise ValueError("nothing found")
"""
        },
    ),
    Attack(
        name="peeks-with-gc",
        tries="the answer looks among all objects for torch's layer with which it is compared, and asks it",
        shown_by="stock",
        gained=scored("MultiHeadAttention"),
        codes={
            "MultiHeadAttention": LAYERS
            + """
        import gc
        theirs = next(thing for thing in gc.get_objects() if type(thing) is nn.MultiheadAttention)
        return theirs(x, x, x)[0]
"""
        },
    ),
    Attack(
        name="peeks-at-history",
        tries="the answer reads the test's own text in In and runs its line with the expected values",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": """
def attention_weights(q, k):
    shell = get_ipython()
    texts = [*shell.user_ns["In"], *(text for _, _, text in shell.history_manager.get_range())]
    texts.append(shell.kernel.get_parent()["content"]["code"])
    lines = [line for text in reversed(texts) for line in text.splitlines()]
    found = next(line for line in lines if line.startswith("expected = "))
    return eval(found.removeprefix("expected = "), globals() | {"q": q, "k": k})
"""
        },
    ),
    Attack(
        name="peeks-by-tracing",
        tries="sys.settrace and sys.setprofile read the variables of the test, line by line",
        shown_by="stock",
        gained=scored("AttentionHead"),
        codes={
            "AttentionHead": """
import sys
from torch import nn
seen = {}
def trace(frame, event, argument):
    if frame.f_code.co_name not in ("<module>", "<cell line: 1>"):
        return None
    if "expected" in frame.f_locals:
        seen["expected"] = frame.f_locals["expected"]
    return trace
class AttentionHead(nn.Module):
    def __init__(self, dim, head_dim):
        super().__init__()
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, head_dim) for _ in range(3))
    def forward(self, x):
        return seen["expected"]
sys.settrace(trace)
sys.setprofile(trace)
"""
        },
    ),
]

ATTACKS = [*PATCHES, *PEEKS]
