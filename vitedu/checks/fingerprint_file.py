"""Fingerprints of a lab: what the model answer and every known wrong idea give for the public questions.

They are tensors and sentences in one safetensors file. A student's machine can so tell a wrong
idea by its result, and holds no line of code that solves an exercise or gets it wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitedu.probe import serialization
from vitedu.probe.case import Case, Scoring, from_json, to_json
from vitedu.probe.comparison import ComparableAnswer, Expected, unequal
from vitedu.probe.explanation import Version

CHECKED = ("raises", "random")  # what a check reads of a case's scoring: it gives no points
FOLDER = Path(__file__).parent / "fingerprints"
MAX_BYTES = 64 * 2**20
MAX_TENSORS = 65536


@dataclass(frozen=True)
class StoredMisconception:
    """A wrong idea and what it gives; idea and question as in autograder.labs.exam.

    Attributes:
        versions: sketches, under each convention: of the cases, and then of the confirming ones.
        with_stand_ins: the same of the cases, with stand-ins for all earlier exercises.
    """

    idea: str
    question: str
    versions: list[Version]
    with_stand_ins: list[Version] = field(default_factory=list)


@dataclass(frozen=True)
class Fingerprint:
    """One exercise: its public cases, the model answer to each, and the wrong ideas by id.

    Attributes:
        others: the model answers under other conventions that are just as right.
        confirming: cases of a second draw: an idea is named only where the answers to these agree.
        confirmed: sketches of the answers to them, of the model answer and of the others.
        with_stand_ins: sketches of right answers to the cases, with stand-ins for all earlier exercises; empty where
            there are none.
        remarks: for each of `others`, what is said where it is what an answer equals; "": nothing.
    """

    cases: list[Case]
    expected: list[ComparableAnswer]
    misconceptions: dict[str, StoredMisconception]
    others: list[list[ComparableAnswer]] = field(default_factory=list)
    confirming: list[Case] = field(default_factory=list)
    confirmed: list[list[Expected]] = field(default_factory=list)
    with_stand_ins: list[list[Expected]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def targets(self) -> list[str]:
        """Names of the functions and classes that the cases ask, in order of first appearance."""
        return list(dict.fromkeys(name for case in self.cases for name in case.names))


class _TensorStore:
    """Tensors by number; equal ones lie there once. So do the names of an answer's values."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.names: dict[tuple[str, ...], int] = {}
        self._places: dict[Any, str] = {}

    def name(self, names: Sequence[str]) -> int:
        """The number of a list of names."""
        return self.names.setdefault(tuple(names), len(self.names))

    def put(self, tensor: Tensor) -> str:
        """The tensor's number."""
        data = tensor.detach().cpu().contiguous()
        place = self._places.setdefault(_key(data), str(len(self.tensors)))
        self.tensors.setdefault(place, data)
        return place

    def put_rounded(self, tensor: Tensor) -> str:
        """The number of the tensor, or of its float32 copy: half the size, and close enough to recognise it.

        A whole number is only rounded where nothing is lost: counts are compared exactly.
        """
        data = tensor.detach().cpu().contiguous()
        if _key(data) in self._places or data.dtype != torch.float64:
            return self.put(data)
        rounded = data.float()
        return self.put(data if bool(unequal(rounded.double(), data, 1e-7, nan=True).any()) else rounded)


@dataclass(frozen=True)
class _Stored:
    """What a `_TensorStore` held."""

    tensors: Mapping[str, Tensor]
    names: Sequence[Sequence[str]]


def _key(data: Tensor) -> Any:
    return data.dtype, data.shape, hashlib.sha256(data.reshape(-1).view(torch.uint8).numpy().tobytes()).digest()


def save(path: Path, exercises: Mapping[str, Fingerprint], source: str = "") -> None:
    """Write the fingerprints of a lab; the same content gives the same bytes.

    Args:
        exercises: by exercise id, without the lab: "attention_weights".
        source: hash of what they were made from, so that stale ones can be told.
    """
    store = _TensorStore()
    packed = {id: _exercise_json(e, store) for id, e in exercises.items()}
    header = {"source": source, "names": [list(names) for names in store.names], "exercises": packed}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(serialization.pack(header, store.tensors))
    temporary.replace(path)


def load(lab: str) -> dict[str, Fingerprint]:
    """The fingerprints of a lab ("lab1") by exercise id.

    Raises:
        ValueError: there is no such lab, or its file is damaged; the text says what to do.
    """
    labs = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
    if lab not in labs:
        known = f"the labs with checks are {', '.join(labs)}" if labs else "this installation of vitedu holds none"
        raise ValueError(f"There are no checks for {lab!r}: {known}.")
    path = FOLDER / f"{lab}.safetensors"
    return _loaded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _loaded(path: Path, _changed: int) -> dict[str, Fingerprint]:
    """A file is read once, however many checks a notebook runs."""
    header, tensors = _read(path)
    try:
        stored = _Stored(tensors, header["names"])
        return {id: _exercise(data, stored) for id, data in header["exercises"].items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"The checks of {path.stem} cannot be read ({error!r}): install vitedu again.") from None


def pack_expected(answers: Sequence[Expected]) -> bytes:
    """What some code gives for the cases of an exam, one `Expected` a case, as bytes that nothing is run to read."""
    store = _TensorStore()
    expected = [_expected_json(each, store, store.put) for each in answers]
    return serialization.pack({"expected": expected, "names": [list(names) for names in store.names]}, store.tensors)


def unpack_expected(data: bytes) -> list[Expected]:
    """The answers of `pack_expected`.

    Raises:
        WireError: the bytes are not whole, or something else.
    """
    header, tensors = serialization.unpack(data, MAX_BYTES, MAX_TENSORS, max_header=MAX_BYTES)
    try:
        stored = _Stored(tensors, header["names"])
        return [_expected(each, stored) for each in header["expected"]]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise serialization.WireError(f"these are no answers ({error!r})") from None


def source(path: Path) -> str:
    """The hash of what a file of fingerprints was made from."""
    return _read(path)[0]["source"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        return serialization.unpack(path.read_bytes(), MAX_BYTES, MAX_TENSORS, max_header=MAX_BYTES)
    except serialization.WireError as error:
        raise ValueError(f"The checks in {path.name} cannot be read ({error}): install vitedu again.") from None


def _exercise_json(exercise: Fingerprint, store: _TensorStore) -> dict[str, Any]:
    def answers(given: Sequence[Expected]) -> list[dict[str, Any]]:
        return [_expected_json(each, store, store.put_rounded) for each in given]

    def versions(of: list[Version]) -> list[list[list[dict[str, Any]]]]:
        return [[answers(version.given), answers(version.model)] for version in of]

    return {
        "cases": [_case_json(case, store) for case in exercise.cases],
        "expected": [_answer_json(answer, store, store.put) for answer in exercise.expected],
        "others": [
            [_answer_json(answer, store, store.put_rounded) for answer in other] for other in exercise.others
        ],
        "remarks": exercise.remarks,
        "confirming": [_case_json(case, store) for case in exercise.confirming],
        "confirmed": [answers(each) for each in exercise.confirmed],
        "with_stand_ins": [answers(each) for each in exercise.with_stand_ins],
        "misconceptions": [
            {
                "id": id, "idea": named.idea, "question": named.question,
                "versions": versions(named.versions), "with_stand_ins": versions(named.with_stand_ins),
            }
            for id, named in exercise.misconceptions.items()
        ],
    }  # fmt: skip


def _exercise(data: dict[str, Any], stored: _Stored) -> Fingerprint:
    def answers(given: list[dict[str, Any]]) -> list[Expected]:
        return [_expected(each, stored) for each in given]

    def versions(of: list[list[list[dict[str, Any]]]]) -> list[Version]:
        return [Version(answers(given), answers(model)) for given, model in of]

    return Fingerprint(
        cases=[_case(case, stored.tensors) for case in data["cases"]],
        expected=[_answer(answer, stored) for answer in data["expected"]],
        others=[[_answer(answer, stored) for answer in other] for other in data["others"]],
        remarks=data.get("remarks", [""] * len(data["others"])),
        confirming=[_case(case, stored.tensors) for case in data["confirming"]],
        confirmed=[answers(each) for each in data["confirmed"]],
        with_stand_ins=[answers(each) for each in data["with_stand_ins"]],
        misconceptions={
            m["id"]: StoredMisconception(
                m["idea"], m["question"], versions(m["versions"]), versions(m["with_stand_ins"])
            )
            for m in data["misconceptions"]
        },
    )  # fmt: skip


def _case_json(case: Case, store: _TensorStore) -> dict[str, Any]:
    tensors: dict[str, Tensor] = {}
    data = to_json(case, "", tensors)
    data["tensors"] = {name: store.put(tensor) for name, tensor in tensors.items()}
    return data | {"name": case.name, "scoring": {name: getattr(case.scoring, name) for name in CHECKED}}


def _case(data: dict[str, Any], tensors: Mapping[str, Tensor]) -> Case:
    question = {name: value for name, value in data.items() if name not in ("name", "tensors", "scoring")}
    case = from_json(question, {name: tensors[place] for name, place in data["tensors"].items()})
    raises, random = data["scoring"]["raises"], data["scoring"]["random"]
    scoring = Scoring(raises=None if raises is None else tuple(raises), random=random)
    return replace(case, name=data["name"], scoring=scoring)


# What most answers have in common; only what differs from it is written down.
COMMON: dict[str, Any] = {
    "status": "ok", "kind": "Tensor", "error": "", "where": "", "message": "", "integers": [], "keys": [[], [], []],
    "repeatable": True, "changed": [], "values": [],
}  # fmt: skip


def _expected_json(expected: Expected, store: _TensorStore, put: Callable[[Tensor], str]) -> dict[str, Any]:
    data = _answer_json(expected.answer, store, put)
    return {**data, "nondeterministic": True} if expected.nondeterministic else data


def _expected(data: dict[str, Any], stored: _Stored) -> Expected:
    return Expected(_answer(data, stored), data.get("nondeterministic", False))


def _answer_json(answer: ComparableAnswer, store: _TensorStore, put: Callable[[Tensor], str]) -> dict[str, Any]:
    values = sorted(answer.values.items())
    data = {name: getattr(answer, name) for name in COMMON} | {
        "integers": sorted(answer.integers),
        "keys": [list(keys) for keys in answer.keys],
        "changed": list(answer.changed),
        "values": [store.name([name for name, _ in values]), *(int(put(tensor)) for _, tensor in values)],
    }
    return {name: value for name, value in data.items() if value != COMMON[name]}


def _answer(data: dict[str, Any], stored: _Stored) -> ComparableAnswer:
    data = {name: data.get(name, common) for name, common in COMMON.items()}
    names, places = stored.names[data["values"][0]] if data["values"] else (), data["values"][1:]
    return ComparableAnswer(**data | {
        "integers": frozenset(data["integers"]),
        "keys": tuple(tuple(keys) for keys in data["keys"]),
        "changed": tuple(data["changed"]),
        "values": {name: stored.tensors[str(place)] for name, place in zip(names, places, strict=True)},
    })  # fmt: skip
