"""The words of a question and of its answer: what a probe is asked, what it writes down, and both as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vitedu.probe import serialization


def must_travel(tensors: Mapping[str, Tensor]) -> None:
    """Raise what a student can understand when a result is no plain tensor, or far too large."""
    for t in tensors.values():
        if t.layout != torch.strided or t.is_meta or t.is_nested or t.dtype not in serialization.TORCH_DTYPES:
            raise TypeError(f"expected a plain tensor of real numbers, got {t.layout}, {t.dtype}, on {t.device}")
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    if size > serialization.MAX_BYTES - 2**20:
        raise ValueError(f"the result has {size} bytes, an answer at most {serialization.MAX_BYTES - 2**20}")


def pack_answer(reply: Answer, nonce: str, index: int) -> bytes:
    """One answer as bytes, with the nonce of its question.

    Raises:
        ValueError, TypeError: the tensors are larger than an answer may be, or not plain.
    """
    must_travel(reply.tensors)
    return serialization.pack(reply.header() | {"nonce": nonce, "case": index}, dict(reply.tensors))


STATUSES = ("ok", "undone", "error", "missing")
# The exception types that an answer may name; anything else travels as its nearest ancestor here.
EXCEPTIONS = (
    "NotImplementedError", "AssertionError", "AttributeError", "IndexError", "KeyError", "NameError",
    "OSError", "RecursionError", "MemoryError", "TypeError", "ValueError", "RuntimeError", "Exception",
    "SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException",
)  # fmt: skip
MAX_KEYS = 64  # of a state_dict that an answer names as absent, extra, or misshapen


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
        layout: "channels_last" or "cropped": floating inputs of four dimensions come non-contiguous.
        loose: state_dict keys that may lack leading dimensions of size 1.
        train: the module is called in training mode; in eval mode otherwise.
        model: layers (name, class, arguments) of a small model, see small_models.py; it gets the
            `weights` and is the first argument of the call. A single layer is passed as it is.
        frozen: beginnings of the names of that model's parameters that need no gradient.
        maker: name of the notebook's class that builds the first argument instead, from `init`.
        also: further names of the notebook that the question needs.
        script: name of a scripted problem, see scripted.py; `kwargs` are its parameters.
        paired: it counts only when another case of the same object, that is not paired, is right.
            For the judge only; cases with `raises` always are.
        random: the answer must change from call to call; only its shape is compared. For the judge only.
        any_dtype: integers and floats, tensors and arrays are all the same.
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
    layout: str = ""
    loose: tuple[str, ...] = ()
    train: bool = False
    model: tuple[tuple[str, str, tuple[Any, ...]], ...] = ()
    frozen: tuple[str, ...] = ()
    maker: str = ""
    also: tuple[str, ...] = ()
    script: str = ""
    random: bool = False
    paired: bool = False
    any_dtype: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the notebook that the question needs."""
        return tuple(name for name in (self.thing, self.maker, *self.also) if name)

    def inputs(self) -> dict[str, Tensor]:
        """The tensors that go into the call, by position or keyword; none where a script makes the calls."""
        if self.script:
            return {}
        named = {**{str(i): a for i, a in enumerate(self.args)}, **self.kwargs}
        return {name: value for name, value in named.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class Answer:
    """What came back for one case.

    Attributes:
        status: "ok", "undone" (a NotImplementedError), "error", or "missing" (no such object).
        kind: type name of the result, "Tensor" for a tensor; "dict of tensors" where numbers are asked.
        error: type, message and integers of the exception; where it was raised: the function,
            the line in its file or cell, and 0 when that is unknown.
        absent, extra, misshapen: state_dict keys that the module lacks, has too many, or has in
            another shape than the exercise fixes.
        tensors: "out" ("out.0", "out.1" of a tuple, "out.KEY" of a dictionary), "again" (a second
            call), "grad.NAME", and "after.NAME" (each input after the call).
        aside: what may be the cause where the values differ.
    """

    status: str
    kind: str = ""
    error: Mapping[str, Any] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    aside: str = ""

    def header(self) -> dict[str, Any]:
        """Everything but the tensors, as JSON."""
        return {
            "status": self.status, "kind": self.kind, "error": dict(self.error), "absent": list(self.absent),
            "extra": list(self.extra), "misshapen": list(self.misshapen),
            **({"aside": self.aside} if self.aside else {}),
        }  # fmt: skip

    @classmethod
    def read(cls, header: dict[str, Any], tensors: dict[str, Tensor]) -> Answer:
        """An answer from its header; texts and lists are cut to a safe length.

        Raises:
            wire.WireError: a field has the wrong type.
        """

        def text(value: Any, limit: int = 300) -> str:
            if not isinstance(value, str):
                raise serialization.WireError("a text field of an answer is not a text")
            return value[:limit]

        def texts(values: Any) -> tuple[str, ...]:
            if not isinstance(values, list):
                raise serialization.WireError("a list field of an answer is not a list")
            return tuple(text(value, 100) for value in values[:MAX_KEYS])

        status = text(header.get("status"), 10)
        if status not in STATUSES:
            raise serialization.WireError("the status of an answer is none that a probe gives")
        error = header.get("error")
        if not isinstance(error, dict):
            raise serialization.WireError("the error field of an answer is not an object")
        if status not in ("undone", "error"):
            error = {}
        else:
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
            aside=text(header.get("aside", ""), 200),
        )  # fmt: skip


# Fields that travel as they are, where they are set at all.
PLAIN = ("layout", "loose", "train", "model", "frozen", "maker", "also", "script", "any_dtype")


def request(cases: list[Case], dtype: str, nonce: str) -> bytes:
    """The question as bytes. What only the judge needs (names, shares, expected errors) stays out."""
    tensors: dict[str, Tensor] = {}
    sent = [to_json(case, str(i), tensors) for i, case in enumerate(cases)]
    return serialization.pack({"cases": sent, "dtype": dtype, "nonce": nonce}, tensors)


def read_cases(header: dict[str, Any], tensors: dict[str, Tensor]) -> list[Case]:
    """The cases of a `request`."""
    return [from_json(sent, tensors) for sent in header["cases"]]


def to_json(case: Case, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What is asked in a case, as JSON; its tensors go into `tensors`."""
    return {
        "thing": case.thing,
        "args": serialization.flatten(_numbered(case.args), f"{prefix}.args", tensors),
        "kwargs": serialization.flatten(dict(case.kwargs), f"{prefix}.kwargs", tensors),
        "init": None if case.init is None else serialization.flatten(_numbered(case.init), f"{prefix}.init", tensors),
        "init_kwargs": serialization.flatten(dict(case.init_kwargs), f"{prefix}.init_kwargs", tensors),
        "weights": serialization.flatten(dict(case.weights), f"{prefix}.weights", tensors),
        "call": case.call,
        "gradients": case.gradients,
        **{name: getattr(case, name) for name in PLAIN if getattr(case, name)},
    }


def _numbered(values: tuple[Any, ...]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}


def from_json(sent: Mapping[str, Any], tensors: dict[str, Tensor]) -> Case:
    """The case of `to_json`, without name, share and expected error."""
    return Case(
        name="",
        thing=sent["thing"],
        args=tuple(serialization.restore(sent["args"], tensors).values()),
        kwargs=serialization.restore(sent["kwargs"], tensors),
        init=None if sent["init"] is None else tuple(serialization.restore(sent["init"], tensors).values()),
        init_kwargs=serialization.restore(sent["init_kwargs"], tensors),
        weights=serialization.restore(sent["weights"], tensors),
        call=sent["call"],
        gradients=sent["gradients"],
        **{name: _tuples(sent[name]) for name in PLAIN if name in sent},
    )


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
