"""Bytes in, bytes out: what was packed comes back, and anything else is refused with a WireError."""

import json
import struct

import pytest
import torch
from torch import nn

from vitedu.probe import serialization

TENSORS = {
    "float64": torch.randn(2, 3, dtype=torch.float64),
    "float32": torch.randn(3),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "int64": torch.arange(5),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.zeros(0, 3),
    "transposed": torch.randn(2, 3).T,
    "parameter": nn.Parameter(torch.randn(2)),
}


@pytest.mark.parametrize("name", TENSORS)
def test_round_trip(name):
    header, tensors = serialization.unpack(serialization.pack({"a": [1, None, "x"]}, {name: TENSORS[name]}))
    assert header == {"a": [1, None, "x"]}
    assert tensors[name].dtype == TENSORS[name].dtype
    assert torch.equal(tensors[name], TENSORS[name].detach())


def test_tensors_that_share_memory_come_back_apart():
    x = torch.arange(6.0)
    _, tensors = serialization.unpack(serialization.pack({}, {"all": x, "half": x[3:], "view": x.view(2, 3)}))
    assert torch.equal(tensors["half"], x[3:]) and torch.equal(tensors["view"], x.view(2, 3))


def raw(layout, body=b""):
    """Safetensors bytes with any layout at all."""
    text = layout if isinstance(layout, bytes) else json.dumps(layout).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


GOOD = {"header": "{}"}
MALFORMED = {
    "nothing": b"",
    "too short": b"12345678",
    "a length that is not there": struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the data": struct.pack("<Q", 100) + b"{}" * 10,
    "not JSON": raw(b"{not json}"),
    "not UTF-8": raw(b"\xff\xfe{}"),
    "JSON nested too deep": raw(b"[" * 100_000 + b"]" * 100_000),
    "a list": raw([]),
    "no metadata": raw({"a": entry()}, b"1234"),
    "metadata without a header": raw({"__metadata__": {}}),
    "metadata that is a text": raw({"__metadata__": "header"}),
    "an inner header that is not JSON": raw({"__metadata__": {"header": "{"}}),
    "an inner header nested too deep": raw({"__metadata__": {"header": "[" * 100_000}}),
    "an inner header that is a list": raw({"__metadata__": {"header": "[]"}}),
    "an inner header that is a number": raw({"__metadata__": {"header": 3}}),
    "a tensor without dtype": raw({"__metadata__": GOOD, "a": {"shape": [1]}}, b"1234"),
    "a tensor that is a number": raw({"__metadata__": GOOD, "a": 3}),
    "a dtype that is a list": raw({"__metadata__": GOOD, "a": entry(dtype=["F32"])}, b"1234"),
    "dtypes of several kinds": raw({"__metadata__": GOOD, "a": entry(dtype="X"), "b": entry(dtype=5)}, b"1234"),
    "an unknown dtype": raw({"__metadata__": GOOD, "a": entry(dtype="C64", offsets=(0, 8))}, b"12345678"),
    "offsets beyond the end": raw({"__metadata__": GOOD, "a": entry(offsets=(0, 400))}, b"1234"),
    "offsets turned round": raw({"__metadata__": GOOD, "a": entry(offsets=(4, 0))}, b"1234"),
    "a shape that does not fit": raw({"__metadata__": GOOD, "a": entry(shape=(7,))}, b"1234"),
    "a negative shape": raw({"__metadata__": GOOD, "a": entry(shape=(-1,))}, b"1234"),
    "a shape whose product overflows": raw({"__metadata__": GOOD, "a": entry(shape=(2**40, 2**40))}, b"1234"),
    "truncated": serialization.pack({}, {"a": torch.ones(100)})[:-1],
    "with bytes behind the end": serialization.pack({}, {"a": torch.ones(2)}) + b"more",
    "too many tensors": serialization.pack({}, {str(i): torch.ones(1) for i in range(serialization.MAX_TENSORS + 1)}),
    "a header above a megabyte": serialization.pack({"text": "x" * 2**20}, {}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_anything_else_is_refused(name):
    with pytest.raises(serialization.WireError):
        serialization.unpack(MALFORMED[name])


def test_more_bytes_than_allowed_are_refused():
    data = serialization.pack({}, {"a": torch.ones(100)})
    with pytest.raises(serialization.WireError, match=f"found {len(data)}"):
        serialization.unpack(data, max_bytes=len(data) - 1)
    serialization.unpack(data, max_bytes=len(data))


def test_flatten_and_restore():
    values = {"x": torch.ones(2), "n": 3, "size": (4, 5), "none": None, "text": "cls"}
    tensors = {}
    tree = json.loads(json.dumps(serialization.flatten(values, "args", tensors)))
    back = serialization.restore(tree, tensors)
    assert torch.equal(back.pop("x"), torch.ones(2)) and list(tensors) == ["args.x"]
    assert back == {"n": 3, "size": (4, 5), "none": None, "text": "cls"}


def test_as_dtype_copies_and_keeps_integers():
    x, n = torch.ones(2, dtype=torch.float64), torch.arange(2)
    assert serialization.as_dtype(x, torch.float32).dtype == torch.float32
    assert serialization.as_dtype(x, torch.float64) is not x
    assert serialization.as_dtype(n, torch.float32).dtype == torch.int64
    assert serialization.as_dtype("mean", torch.float32) == "mean"
