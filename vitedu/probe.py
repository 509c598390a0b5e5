"""Ask a student's object a question and write down what comes back as tensors.

There are two kinds of questions, and a lab adds none: call a function, or build a module, load
weights into it by name, and call it. Inputs and weights come in with the question, so no answer
depends on a random seed or on the order in which parameters were made.

The same function serves the instant checks in the notebook, the model answer, every
misconception, and the exam inside the student's kernel.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from . import wire

STATUSES = ("ok", "undone", "error", "missing")

# The exception types that an answer may name; anything else travels as its nearest ancestor here.
EXCEPTIONS = (
    "NotImplementedError", "AssertionError", "AttributeError", "IndexError", "KeyError", "NameError",
    "OSError", "RecursionError", "MemoryError", "TypeError", "ValueError", "RuntimeError", "Exception",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        name: what this case looks at, in words a student reads.
        thing: name of the function or class that is asked.
        args, kwargs: inputs of the call; tensors are sent in the dtype of the question.
        init, init_kwargs: constructor arguments when the object is a class, else None and {}.
        weights: every entry that the module's state_dict must have, and its value.
        call: False when the question is only whether the constructor accepts `init`.
        gradients: also ask for the gradients of a fixed weighted sum of the result, with
            respect to every floating input and every parameter.
        raises: the integers that a ValueError must name, when this case must raise one.
            Known to the judge only.
        share: this case's share of the exercise's points, relative to the other cases.
    """

    name: str
    thing: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    init: tuple[Any, ...] | None = None
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    call: bool = True
    gradients: bool = False
    raises: tuple[int, ...] | None = None
    share: float = 1.0

    def inputs(self) -> dict[str, Tensor]:
        """The tensors that go into the call, by position or keyword."""
        named = {**{str(i): a for i, a in enumerate(self.args)}, **self.kwargs}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Answer:
    """What came back for one case.

    Attributes:
        status: "ok", "undone" (a NotImplementedError), "error", or "missing" (no such object).
        kind: type name of the result, "Tensor" for a tensor.
        error: type, message and integers of the exception; where it was raised: the function,
            the line in its file or cell, and 0 when that is unknown.
        absent, extra, misshapen: state_dict keys that the module lacks, has too many, or has in
            another shape than the exercise fixes.
        tensors: "out" (or "out.0", "out.1" of a tuple), "again" (a second call), "grad.NAME",
            and "after.NAME" (each input after the call).
    """

    status: str
    kind: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def header(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {
            "status": self.status, "kind": self.kind, "error": dict(self.error), "absent": list(self.absent),
            "extra": list(self.extra), "misshapen": list(self.misshapen),
        }  # fmt: skip

    @classmethod
    def read(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> Answer:
        """An answer from its header; texts and lists are cut to a safe length.

        Raises:
            wire.WireError: a field has the wrong type.
        """

        def text(value: Any, limit: int = 300) -> str:
            if not isinstance(value, str):
                raise wire.WireError("a text field of an answer is not a text")
            return value[:limit]

        def texts(values: Any) -> tuple[str, ...]:
            if not isinstance(values, list):
                raise wire.WireError("a list field of an answer is not a list")
            return tuple(text(value, 100) for value in values[:64])

        status = text(header.get("status"), 10)
        if status not in STATUSES:
            raise wire.WireError("the status of an answer is none that a probe gives")
        error = header.get("error")
        if not isinstance(error, dict):
            raise wire.WireError("the error field of an answer is not an object")
        if status in ("undone", "error"):
            numbers = error.get("integers")
            numbers = [n for n in numbers if isinstance(n, int)][:16] if isinstance(numbers, list) else []
            kind = text(error.get("type", ""))
            error = {
                "type": kind if kind in EXCEPTIONS else "Exception",
                "message": text(error.get("message", "")),
                "where": text(error.get("where", ""), 100),
                "line": error["line"] if isinstance(error.get("line"), int) else 0,
                "integers": numbers,
            }
        return cls(
            status=status, kind=text(header.get("kind"), 40), error=error,
            absent=texts(header.get("absent")), extra=texts(header.get("extra")),
            misshapen=texts(header.get("misshapen")), tensors=tensors,
        )  # fmt: skip


def ask(thing: Any, case: Case, dtype: torch.dtype = torch.float64, seed: int = 0) -> Answer:
    """Put one case to a function or class and write down the answer; never raises an Exception.

    The seed makes even a random answer the same everywhere, so that dropout in an earlier
    exercise can be recognised in a later one; the caller's random state is left as it was.
    """
    # The notebook may have switched gradients off, or may use a GPU, whose random state is its own.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        try:
            found = _module(thing, case, dtype) if case.init is not None else _call(thing, case, dtype, {})
            _must_travel(found.tensors)
            return found
        except Exception as error:
            return _failed(error)


def asks_for_float32(found: Answer) -> bool:
    """Whether an answer to a float64 question has a trouble of dtypes alone: it is asked again in float32."""
    if found.status == "error":
        return re.search(r"dtype|data ?type|scalar type|\b[Dd]ouble\b|float64", found.error["message"]) is not None
    half = (torch.float32, torch.float16, torch.bfloat16)
    return any(t.dtype in half for name, t in found.tensors.items() if name.split(".")[0] == "out")


def is_todo(error: BaseException) -> bool:
    """Whether this is an exercise's `raise NotImplementedError("TODO")`, and not torch's own NotImplementedError."""
    return isinstance(error, NotImplementedError) and _message(error)[:4] in ("", "TODO")


def _message(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except Exception:  # a student's own exception class may fail to print itself
        return ""


def _call(
    thing: Callable[..., Any], case: Case, dtype: torch.dtype, parameters: dict[str, Tensor], **facts: Any
) -> Answer:
    def inputs(gradients: bool) -> tuple[list[Any], dict[str, Any]]:
        args = [wire.as_dtype(a, dtype) for a in case.args]
        kwargs = {name: wire.as_dtype(a, dtype) for name, a in case.kwargs.items()}
        for value in (*args, *kwargs.values()):
            if gradients and isinstance(value, Tensor) and value.is_floating_point():
                value.requires_grad_()
        return args, kwargs

    # The second call and the inputs afterwards show what a single result cannot: chance in the
    # computation, and arguments that were changed in place.
    args, kwargs = inputs(gradients=False)
    with torch.no_grad():
        again = thing(*args, **kwargs)
    after = {str(i): a for i, a in enumerate(args)} | kwargs
    tensors = {f"after.{name}": value for name, value in after.items() if isinstance(value, Tensor)}

    args, kwargs = inputs(case.gradients)
    out = thing(*map(_fresh, args), **{name: _fresh(value) for name, value in kwargs.items()})
    tensors |= _named("again", again) | _named("out", out)
    if case.gradients and isinstance(out, Tensor) and out.requires_grad and out.is_floating_point():
        leaves = {str(i): a for i, a in enumerate(args)} | kwargs
        leaves = {n: v for n, v in leaves.items() if isinstance(v, Tensor) and v.requires_grad} | parameters
        # A fixed, uneven weighting: a plain sum of a softmax's rows has no gradient at all.
        weighting = torch.cos(torch.arange(out.numel(), dtype=out.dtype, device=out.device)).view(out.shape)
        found = torch.autograd.grad((out * weighting).sum(), list(leaves.values()), allow_unused=True)
        tensors |= {f"grad.{name}": g for name, g in zip(leaves, found, strict=True) if g is not None}
    return Answer("ok", type(out).__name__, tensors=tensors, **facts)


def _module(cls: Callable[..., Any], case: Case, dtype: torch.dtype) -> Answer:
    module = cls(*case.init, **case.init_kwargs)
    if not case.call:
        return Answer("ok", type(module).__name__)
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected an nn.Module, got {type(module).__name__}")
    module = module.to(dtype).eval()
    state = module.state_dict()
    facts = {
        "absent": tuple(sorted(case.weights.keys() - state.keys())),
        "extra": tuple(sorted(state.keys() - case.weights.keys())),
        "misshapen": tuple(
            f"{key}: expected {tuple(case.weights[key].shape)}, got {tuple(state[key].shape)}"
            for key in sorted(state.keys() & case.weights.keys())
            if state[key].shape != case.weights[key].shape
        ),
    }
    if facts["extra"] or facts["misshapen"]:  # a parameter without a value would answer at random
        return Answer("ok", type(module).__name__, **facts)
    module.load_state_dict({key: wire.as_dtype(case.weights[key], dtype) for key in state}, strict=True)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    return _call(module, case, dtype, parameters, **facts)


def _fresh(value: Any) -> Any:
    """A copy that gradients flow through: to change a leaf in place would be an error of its own."""
    return value.clone() if isinstance(value, Tensor) else value


def _must_travel(tensors: Mapping[str, Tensor]) -> None:
    """Raise what a student can understand when a result is no plain tensor, or far too large."""
    for t in tensors.values():
        if t.layout != torch.strided or t.is_meta or t.is_nested or t.dtype not in wire.TORCH_DTYPES:
            raise TypeError(f"expected a plain tensor of real numbers, got {t.layout}, {t.dtype}, on {t.device}")
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    if size > wire.MAX_BYTES - 2**20:
        raise ValueError(f"the result has {size} bytes, an answer at most {wire.MAX_BYTES - 2**20}")


def _named(name: str, value: Any) -> dict[str, Tensor]:
    """A result as named tensors: one tensor, or the tensors of a tuple or list."""
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, (tuple, list)):
        return {f"{name}.{i}": v for i, v in enumerate(value[:8]) if isinstance(v, Tensor)}
    return {}


def _failed(error: Exception) -> Answer:
    names = [cls.__name__ for cls in type(error).__mro__]
    message = _message(error)
    known = next((name for name in names if name in EXCEPTIONS), "Exception")
    integers = [int(n) for n in re.findall(r"-?\d+", message)[:16] if len(n) < 18]
    where, line = place(error)
    facts = {"type": known, "message": message, "integers": integers, "where": where, "line": line}
    return Answer("undone" if is_todo(error) else "error", error=facts)


LIBRARIES = tuple(
    os.path.join(folder, "")
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        os.path.dirname(torch.__file__), os.path.dirname(__file__),
    )
)  # fmt: skip


def place(error: BaseException) -> tuple[str, int]:
    """Function and line of the innermost frame that is neither a library's nor ours."""
    found, trace = ("", 0), error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if not code.co_filename.startswith(LIBRARIES) and not code.co_filename.startswith("<frozen"):
            found = (code.co_qualname, trace.tb_lineno)
        trace = trace.tb_next
    return found


def request(cases: list[Case], dtype: str, nonce: str) -> bytes:
    """The question as bytes. What only the judge needs (names, shares, expected errors) stays out."""
    tensors: dict[str, Tensor] = {}
    sent = [to_json(case, str(i), tensors) for i, case in enumerate(cases)]
    return wire.pack({"cases": sent, "dtype": dtype, "nonce": nonce}, tensors)


def read_cases(header: dict[str, Any], tensors: dict[str, Tensor]) -> list[Case]:
    """The cases of a `request`."""
    return [from_json(sent, tensors) for sent in header["cases"]]


def to_json(case: Case, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What is asked in a case, as JSON; its tensors go into `tensors`."""
    return {
        "thing": case.thing,
        "args": wire.flatten(_numbered(case.args), f"{prefix}.args", tensors),
        "kwargs": wire.flatten(dict(case.kwargs), f"{prefix}.kwargs", tensors),
        "init": None if case.init is None else wire.flatten(_numbered(case.init), f"{prefix}.init", tensors),
        "init_kwargs": wire.flatten(dict(case.init_kwargs), f"{prefix}.init_kwargs", tensors),
        "weights": wire.flatten(dict(case.weights), f"{prefix}.weights", tensors),
        "call": case.call,
        "gradients": case.gradients,
    }


def _numbered(values: tuple[Any, ...]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}


def from_json(sent: Mapping[str, Any], tensors: dict[str, Tensor]) -> Case:
    """The case of `to_json`, without name, share and expected error."""
    return Case(
        name="",
        thing=sent["thing"],
        args=tuple(wire.restore(sent["args"], tensors).values()),
        kwargs=wire.restore(sent["kwargs"], tensors),
        init=None if sent["init"] is None else tuple(wire.restore(sent["init"], tensors).values()),
        init_kwargs=wire.restore(sent["init_kwargs"], tensors),
        weights=wire.restore(sent["weights"], tensors),
        call=sent["call"],
        gradients=sent["gradients"],
    )


def answer(encoded: str, namespace: Mapping[str, Any]) -> None:
    """Run inside the student's kernel: answer each case with a display message of its own.

    One message per case, sent as soon as it is known: a case that hangs or kills the kernel
    does not take the earlier ones with it.
    """
    from IPython.display import publish_display_data

    header, tensors = wire.unpack(base64.b64decode(encoded), max_bytes=256 * 2**20, max_tensors=4096)
    dtype = getattr(torch, header["dtype"])
    for i, case in enumerate(read_cases(header, tensors)):
        if case.thing in namespace:
            reply = ask(namespace[case.thing], case, dtype)
        else:
            reply = Answer("missing")
        try:
            data = pack_answer(reply, header["nonce"], i)
        except Exception as error:  # a result that is no plain tensor: sparse, complex, meta, ...
            data = pack_answer(replace(_failed(error), tensors={}), header["nonce"], i)
        publish_display_data({wire.MIME: base64.b64encode(data).decode()})
        # The message only lies in a queue yet; flushing what comes after it waits until it is sent.
        with contextlib.suppress(Exception):  # sys.stdout may be the student's
            sys.stdout.flush()


def pack_answer(reply: Answer, nonce: str, index: int) -> bytes:
    """One answer as bytes, with the nonce of its question.

    Raises:
        ValueError, TypeError: the tensors are larger than an answer may be, or not plain.
    """
    _must_travel(reply.tensors)
    return wire.pack(reply.header() | {"nonce": nonce, "case": index}, dict(reply.tensors))
