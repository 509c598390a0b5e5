"""What many attacks are made of: wrong answers in the right shapes, forged messages, and how a gain shows."""

from __future__ import annotations

from collections.abc import Callable

from autograder.authoring.sample_class import model_codes
from autograder.labs.lab import find_lab
from hostile.attack import Attack, OwnPoints, Seen

MODEL = model_codes(find_lab("lab1_attention"))

# Wrong answers, in the right shapes.
WEIGHTS = """
import torch
def attention_weights(q, k):
    return torch.zeros(*q.shape[:-1], k.shape[-2], dtype=q.dtype)
"""
ATTENTION = """
import torch
def scaled_dot_product_attention(q, k, v, mask=None):
    return torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
"""
EINSUM = """
import torch
def multi_head_attention_einsum(x, w_q, w_k, w_v, w_out):
    return torch.zeros_like(x)
"""
# The layers have the right names and sizes; `forward` follows.
LAYERS = """
import torch
from torch import nn
class MultiHeadAttention(nn.Module):
    def __init__(self, dim, num_heads, head_dim=None, qkv_bias=True):
        super().__init__()
        head_dim = head_dim or dim // num_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, num_heads * head_dim, bias=qkv_bias) for _ in range(3))
        self.to_out = nn.Linear(num_heads * head_dim, dim)
    def forward(self, x):
"""

# What code in a kernel reaches: the sockets and the key that sign whatever it likes.
FORGE = """
import sys, threading, time
import torch
kernel = get_ipython().kernel

def send(kind, content, parent=None):
    kernel.session.send(kernel.iopub_socket, kind, content, parent=parent or kernel.get_parent())

def send_result(text, parent=None, **more):
    send("execute_result", {"execution_count": 1, "data": {"text/plain": text}, "metadata": {}, **more}, parent)

def in_playground():  # there is nothing to be gained in it
    return "when_ready" in kernel.get_parent()["content"]["code"]

def send_reply():
    if in_playground():
        return
    ident = kernel._get_shell_context_var(kernel._shell_parent_ident)
    kernel.session.send(kernel.shell_stream, "execute_reply", {"status": "ok"}, kernel.get_parent(), ident=ident)
"""
# ... and how a probe's answer is made. `question` finds the nonce in the frames that called.
FORGE_ANSWER = (
    FORGE
    + """
import base64
from IPython.display import publish_display_data
from vitedu.probe import case as probe_case, kernel_entry, serialization

def question():
    frame = sys._getframe()
    while frame and "nonce" not in frame.f_locals.get("header", ()):
        frame = frame.f_back
    return frame.f_locals["header"]

def publish(data):
    publish_display_data({serialization.MIME: base64.b64encode(data).decode()})
"""
)


def scored(*exercises: str) -> OwnPoints:
    """Points for one of these exercises."""
    return OwnPoints(exercises)


def no_score(seen: Seen) -> bool:
    """The student ends without a score that an instructor could record."""
    return None in seen.points.values()


def megabytes(least: float) -> Callable[[Seen], bool]:
    """So much came out of the submission, into its notebook and its feedback."""
    return lambda seen: len(seen.own) > least * 2**20


def wrong_weights(name: str, tries: str, trick: str, **options: object) -> Attack:
    """An attack for full marks on the first exercise: a trick, and zeros for an answer."""
    options = {"shown_by": "stock", "gained": scored("attention_weights")} | options
    return Attack(name=name, tries=tries, codes={"attention_weights": trick + WEIGHTS}, **options)
