"""What was found instead of the right answer, in a student's words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vitedu.probe.case import Answer, Case
from vitedu.probe.comparison import ComparableAnswer, close


def note(
    answer: Answer,
    found: ComparableAnswer,
    expected: ComparableAnswer,
    case: Case,
    tolerance: float,
    arguments: Sequence[str] = (),
    values: bool = True,
) -> str:
    """One line about a wrong answer to a case.

    Args:
        found: `answer` as facts.
        arguments: names of the call's positional arguments; without them they are counted from 1.
        values: whether expected values may be shown, as for the public cases of a check.
    """
    if found.status == "undone":
        return f"{answer.error['where'] or case.thing} is still a TODO"
    if found.status == "missing":
        return f"{case.thing} is not defined"
    if case.raises is not None:
        numbers = " and ".join(map(str, case.raises))
        got = raised(answer) if found.status == "error" else "no error"
        return f"expected a ValueError whose message names {numbers}; got {got}"
    if found.status == "error":
        return raised(answer)
    absent, extra, misshapen = found.keys
    parts = [f"the state_dict lacks {_listed(absent)}"] if absent else []
    parts += [f"the state_dict should not hold {_listed(extra)}"] if extra else []
    parts += [f"in the state_dict, {text}" for text in misshapen]
    parts += [f"changed its {_argument(name, arguments)} in place" for name in found.changed]
    if not found.repeatable:
        parts.append("two calls with equal inputs gave different results")
    elif not any(found.keys):  # without its weights a module's values mean nothing
        parts += _differences(found, expected, tolerance, arguments, values)
    parts += [answer.aside] if answer.aside and found.repeatable else []
    return "; ".join(parts) or "the answer differs"


def raised(answer: Answer) -> str:
    """An exception with its place: "ValueError: ... (in AttentionHead.forward, line 12)"."""
    error = answer.error
    place = f" (in {error['where']}, line {error['line']})" if error.get("where") else ""
    message = " ".join(error["message"].split())
    return (f"{error['type']}: {message}" if message else error["type"]) + place


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _argument(name: str, arguments: Sequence[str]) -> str:
    """An input in words: tensors that go in by position are named by their number."""
    if not name.isdigit():
        return f"argument {name}"
    place = int(name)
    return f"argument {arguments[place]}" if place < len(arguments) else f"argument {place + 1}"


def _differences(
    found: ComparableAnswer, expected: ComparableAnswer, tolerance: float, arguments: Sequence[str], values: bool
) -> list[str]:
    if not any(name == "out" or name.startswith("out.") for name in found.values):
        if not expected.values:
            return [f"expected {expected.kind}, got {found.kind}"] if found.kind != expected.kind else []
        forgotten = ": is a return missing?" if found.kind == "NoneType" else ""
        return [f"expected a tensor, got {'None' if forgotten else found.kind}{forgotten}"]
    outs = [name for name in expected.values if not name.startswith("grad.")]
    if sorted(outs) != sorted(name for name in found.values if not name.startswith("grad.")):
        wanted = "one tensor" if outs == ["out"] else f"{len(outs)} tensors"
        return [f"expected {wanted}, got {found.kind}"]
    wrong = [_values(found.values[name], expected.values[name], tolerance, values) for name in outs]
    if any(wrong):
        return [text for text in wrong if text]
    return _gradients(found, expected, tolerance, arguments)


def _values(got: Tensor, wanted: Tensor, tolerance: float, shown: bool) -> str:
    """How a tensor differs from the expected one: shape first, then kind, then values; "" if not at all."""
    if got.shape != wanted.shape:
        return f"shape: expected {tuple(wanted.shape)}, got {tuple(got.shape)}"
    if got.is_floating_point() != wanted.is_floating_point():
        return f"dtype: expected {_dtype(wanted)}, got {_dtype(got)}"
    if got.numel() == 0:
        return f"the result is empty: its shape is {tuple(got.shape)}"
    if close(got, wanted, tolerance):
        return ""
    a, b = got.double(), wanted.double()
    odd = ~torch.isfinite(a) & torch.isfinite(b)
    if odd.any():
        kind = "NaN" if torch.isnan(a[odd]).any() else "infinity"
        return f"{kind} at {_index(odd)} ({int(odd.sum())} of {odd.numel()} values are not finite)"
    if not shown:
        return "the values differ"
    off = ~torch.isclose(a, b, rtol=tolerance, atol=tolerance)
    place = tuple(off.nonzero()[0].tolist())
    pair = _pair(b[place].item(), a[place].item())
    difference = f"expected {pair[0]}, got {pair[1]}"
    return f"at {list(place)} {difference} ({int(off.sum())} of {off.numel()} values differ)" if place else difference


def _index(where: Tensor) -> list[int]:
    return where.nonzero()[0].tolist()


def _pair(wanted: float, got: float) -> tuple[str, str]:
    """Two numbers with as few digits as tell them apart."""
    for digits in (4, 8, 17):
        pair = f"{wanted:.{digits}g}", f"{got:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _gradients(
    found: ComparableAnswer, expected: ComparableAnswer, tolerance: float, arguments: Sequence[str]
) -> list[str]:
    wanted = [name for name in expected.values if name.startswith("grad.")]
    lost = [name for name in wanted if name not in found.values]
    names = [_argument(name[5:], arguments).removeprefix("argument ") for name in lost or wanted]
    if lost and len(lost) == len(wanted):
        return ["the values are right, but no gradient flows back; look for .detach(), .item(), .data or numpy"]
    if lost:
        return [f"the values are right, but no gradient reaches {_listed(names)}"]
    equal = [close(found.values[name], expected.values[name], tolerance) for name in wanted]
    wrong = [name for name, ok in zip(names, equal, strict=True) if not ok]
    return [f"the values are right, but the gradient of {_listed(wrong)} is not"] if wrong else []
