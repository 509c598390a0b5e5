"""The words of a question and of its answer: what a probe is asked, what it writes down, and both as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
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
Layers = tuple[tuple[str, str, tuple[Any, ...]], ...]  # (name, class, arguments), see toy_models.py


@dataclass(frozen=True)
class Scoring:
    """How the answer to a case is judged. It never travels to where the answer is made.

    Attributes:
        raises: the integers that a ValueError must name, when this case must raise one.
        share: this case's share of the exercise's points, relative to the other cases.
        random: the answer must change from call to call; only its shape is compared.
        paired: it counts only when another case of the same object, that is not paired, is right. Cases with `raises`
            always are.
    """

    raises: tuple[int, ...] | None = None
    share: float = 1.0
    random: bool = False
    paired: bool = False


SCORING = Scoring()


@dataclass(frozen=True)
class _Case:
    """What all cases have.

    Attributes:
        name: what this case looks at, in words a student reads.
        target: name of the function or class that is asked.
    """

    name: str
    target: str

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the notebook that the question needs."""
        return (self.target,)

    def inputs(self) -> dict[str, Tensor]:
        """The tensors that go into the call, by position or keyword."""
        return {}


def _tensors(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    named = {**_numbered(args), **kwargs}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


@dataclass(frozen=True)
class FunctionCase(_Case):
    """A function is called.

    Attributes:
        args, kwargs: inputs of the call; tensors are sent in the dtype of the question.
        gradients: also ask for the gradients of a fixed weighted sum of the result, with respect to every floating
            input.
        layout: "channels_last" or "cropped": floating inputs of four dimensions come non-contiguous.
        any_dtype: integers and floats, tensors and arrays are all the same.
        model: layers (name, class, arguments) of a small model, see toy_models.py, that is the first argument of the
            call. A single layer is passed as it is.
        weights: of that model.
        frozen: beginnings of the names of that model's parameters that need no gradient.
        before: arguments of an earlier call, such as one with a larger batch; what it gives is not looked at.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Any, ...] = ()
    gradients: bool = False
    layout: str = ""
    any_dtype: bool = False
    model: Layers = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    scoring: Scoring = SCORING

    def inputs(self) -> dict[str, Tensor]:
        return _tensors(self.args, self.kwargs)


@dataclass(frozen=True)
class ModuleCase(_Case):
    """A module is built, gets weights by name, and is called; or a function is called with it.

    Attributes:
        args, kwargs, layout: as in FunctionCase.
        before: the same; the earlier call is one of the same object.
        gradients: the same, and with respect to every parameter.
        init, init_kwargs: constructor arguments.
        weights: every entry that the module's state_dict must have, and its value.
        construct_only: the question is only whether the constructor accepts `init`.
        loose: state_dict keys that may lack leading dimensions of size 1.
        train: the module is called in training mode; in eval mode otherwise.
        maker: name of the notebook's class that builds the module, where `target` is a function whose first argument
            it is; "": `target` builds it.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Any, ...] = ()
    init: tuple[Any, ...] = ()
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    construct_only: bool = False
    gradients: bool = False
    layout: str = ""
    loose: tuple[str, ...] = ()
    train: bool = False
    maker: str = ""
    scoring: Scoring = SCORING

    @property
    def names(self) -> tuple[str, ...]:
        return (self.target, self.maker) if self.maker else (self.target,)

    def inputs(self) -> dict[str, Tensor]:
        return _tensors(self.args, self.kwargs)


@dataclass(frozen=True)
class ScenarioCase(_Case):
    """A function is run on a problem of ours, and what it leaves behind is compared.

    Attributes:
        scenario: full name, such as "lab4.train", see scenarios.py. The scenario makes the calls, so the case has no
            inputs of its own.
        parameters: what the scenario reads.
        model, weights, frozen: as in FunctionCase, where the scenario uses a small model.
        also: further names of the notebook that the question needs.
    """

    scenario: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    model: Layers = ()
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    scoring: Scoring = SCORING

    @property
    def names(self) -> tuple[str, ...]:
        return (self.target, *self.also)


Case = FunctionCase | ModuleCase | ScenarioCase


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
            serialization.WireError: a field has the wrong type.
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


KINDS: dict[str, type[Case]] = {"function": FunctionCase, "module": ModuleCase, "scenario": ScenarioCase}
POSITIONAL = ("args", "before", "init")
HERE = ("name", "scoring")  # fields that stay with the judge


def request(cases: Sequence[Case], dtype: str, nonce: str) -> bytes:
    """The question as bytes. What only the judge needs (names and scoring) stays out."""
    tensors: dict[str, Tensor] = {}
    sent = [to_json(case, str(i), tensors) for i, case in enumerate(cases)]
    return serialization.pack({"cases": sent, "dtype": dtype, "nonce": nonce}, tensors)


def read_cases(header: dict[str, Any], tensors: dict[str, Tensor]) -> list[Case]:
    """The cases of a `request`."""
    return [from_json(sent, tensors) for sent in header["cases"]]


def to_json(case: Case, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """What is asked in a case, as JSON: its kind, and the fields that are set. Its tensors go into `tensors`."""
    sent: dict[str, Any] = {"kind": next(kind for kind, cls in KINDS.items() if isinstance(case, cls))}
    for name in (each.name for each in fields(case) if each.name not in HERE):
        value = getattr(case, name)
        if name in POSITIONAL:
            value = _numbered(value)
        if value:
            is_mapping = isinstance(value, Mapping)
            sent[name] = serialization.flatten(dict(value), f"{prefix}.{name}", tensors) if is_mapping else value
    return sent


def from_json(sent: Mapping[str, Any], tensors: dict[str, Tensor]) -> Case:
    """The case of `to_json`, without name and scoring."""
    values: dict[str, Any] = {
        name: serialization.restore(value, tensors) if isinstance(value, dict) else _tuples(value)
        for name, value in sent.items()
        if name != "kind"
    }
    positional: dict[str, Any] = {name: tuple(values[name].values()) for name in POSITIONAL if name in values}
    return KINDS[sent["kind"]](name="", **values | positional)


def _numbered(values: tuple[Any, ...]) -> dict[str, Any]:
    return {str(i): value for i, value in enumerate(values)}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
