"""Attacks by what the student's process does to IPython, which runs the cells of tests and students alike."""

from __future__ import annotations

from hostile.attack import Attack
from hostile.ingredients import FORGE, MODEL, no_score, scored, wrong_weights

ATTACKS = [
    wrong_weights(
        "ast-transformer",
        "an IPython AST transformer takes all asserts out of later cells",
        """
import ast
class NoAsserts(ast.NodeTransformer):
    def visit_Assert(self, node):
        return None
get_ipython().ast_transformers.append(NoAsserts())
""",
        fast=True,
    ),
    wrong_weights(
        "input-transformer",
        "an IPython input transformer empties every later cell",
        "get_ipython().input_transformers_cleanup.append(lambda lines: [])\n",
    ),
    wrong_weights(
        "pre-run-hook",
        "a hook before each cell announces full points as the cell's result",
        FORGE + 'get_ipython().events.register("pre_run_cell", lambda info: send_result("2.0"))\n',
    ),
    Attack(
        name="post-run-hook",
        tries="a hook after each cell wipes its outputs, errors too, and its reply says ok",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE
            + """
get_ipython().events.register("post_run_cell", lambda result: send("clear_output", {"wait": False}))
def attention_weights(q, k):
    send_reply()
    return torch.zeros(*q.shape[:-1], k.shape[-2], dtype=q.dtype)
"""
        },
    ),
    wrong_weights(
        "wrapped-run-cell",
        "run_cell and run_cell_async do nothing any more and report success",
        """
from IPython.core.interactiveshell import ExecutionResult
def run_cell(*args, **kwargs):
    return ExecutionResult(None)
async def run_cell_async(*args, **kwargs):
    return ExecutionResult(None)
get_ipython().run_cell, get_ipython().run_cell_async = run_cell, run_cell_async
""",
    ),
    wrong_weights(
        "custom-exception-handler",
        "set_custom_exc swallows every error and takes it out of the cell's result",
        """
import sys
def swallow(shell, kind, value, trace, tb_offset=None):
    frame = sys._getframe()
    while frame:
        result = frame.f_locals.get("result")
        if hasattr(result, "error_in_exec"):
            result.error_in_exec = None
        frame = frame.f_back
    return []
get_ipython().set_custom_exc((Exception,), swallow)
""",
    ),
    wrong_weights(
        "lying-compiler",
        "IPython's compiler turns every later cell into nothing",
        "import ast\nget_ipython().compile.ast_parse = lambda *args, **kwargs: ast.parse('')\n",
    ),
    wrong_weights(
        "lying-namespace",
        "the notebook's namespace becomes a dict that gives zeros for `expected`",
        """
class Lying(dict):
    def __getitem__(self, name):
        found = super().__getitem__(name)
        return found * 0 if name == "expected" else found
get_ipython().user_ns = Lying(get_ipython().user_ns)
""",
    ),
    Attack(
        name="system-exit",
        tries="the answer raises SystemExit, which is no Exception, in the middle of the test",
        shown_by="harmless",
        gained=scored("attention_weights"),
        codes={"attention_weights": "def attention_weights(q, k):\n    raise SystemExit(0)"},
    ),
    wrong_weights(
        "redefined-names",
        "print, get_ipython, __import__ and globals mean something else in the notebook",
        "print = get_ipython = __import__ = globals = lambda *args, **kwargs: 2.0\n",
        shown_by="harmless",
    ),
    Attack(
        name="quits",
        tries="the kernel is told to quit in mid-notebook, so that the grader finds it dead",
        shown_by="stock",
        gained=no_score,
        codes={"attention_weights": MODEL["attention_weights"], "scaled_dot_product_attention": "quit()"},
        honest=("attention_weights",),
    ),
]
