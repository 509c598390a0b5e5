"""What was found instead of the right answer, in a student's words.

A note is a text of one or more lines: what matters most, then how much else differs, then what that is. Cards fold away
all but the first.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vitedu.checks.difference import difference
from vitedu.checks.quantity_notes import differing
from vitedu.probe.case import Answer, Case, ScenarioCase
from vitedu.probe.comparison import ComparableAnswer, close

MOST = 12  # of the further differences that a note lists


def note(
    answer: Answer,
    found: ComparableAnswer,
    expected: ComparableAnswer,
    case: Case,
    tolerance: float,
    arguments: Sequence[str] = (),
    values: bool = True,
) -> str:
    """What is to be said about a wrong answer to a case, see above.

    Args:
        found: `answer` as it is compared.
        arguments: names of the call's positional arguments; without them they are counted from 1.
        values: whether expected values may be shown, as for the public cases of a check.
    """
    if found.status == "undone":
        return f"{answer.error['where'] or case.target} is still a TODO"
    if found.status == "missing":
        return f"{case.target} is not defined"
    if case.scoring.raises is not None:
        numbers = " and ".join(map(str, case.scoring.raises))
        got = raised(answer) if found.status == "error" else "no error"
        return f"expected a ValueError whose message names {numbers}; got {got}"
    if found.status == "error":
        return raised(answer)
    absent, extra, misshapen = found.keys
    parts = [f"the state_dict lacks {_listed(absent)}"] if absent else []
    parts += [f"the state_dict should not hold {_listed(extra)}"] if extra else []
    parts += [f"in the state_dict, {text}" for text in misshapen]
    parts += [f"changed its {_argument(name, arguments)} in place" for name in found.changed]
    differences: list[str] = []
    if case.scoring.random and found.repeatable:
        parts.append("two calls gave the same result, and each must give another one")
    elif not found.repeatable and not case.scoring.random:
        parts.append("two calls with equal inputs gave different results")
    elif not any(found.keys):  # without its weights a module's values mean nothing
        differences = _differences(found, expected, case, tolerance, arguments, values)
    parts += differences[:1]
    parts += [answer.aside] if answer.aside and found.repeatable else []
    return "\n".join(["; ".join(map(_line, parts)) or "the answer differs", *_folded(differences[1:])])


def _folded(rest: Sequence[str]) -> list[str]:
    """What else differs: how much, then line by line as far as anybody would read it."""
    if not rest:
        return []
    more = [f"and {len(rest)} more {'differs' if len(rest) == 1 else 'differ'}", *map(_line, rest[:MOST])]
    return more + [f"... and {len(rest) - MOST} others"] * (len(rest) > MOST)


def _line(text: str) -> str:
    """One line: a note's first one says what matters, and the names in it may be a student's."""
    return " ".join(text.split())


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
    found: ComparableAnswer,
    expected: ComparableAnswer,
    case: Case,
    tolerance: float,
    arguments: Sequence[str],
    values: bool,
) -> list[str]:
    """A sentence about each thing that differs, what matters most first."""
    if expected.status == "error":  # where an earlier mistake leads to one
        return [f"expected an error ({expected.error}), got {found.kind}"]
    if not any(name == "out" or name.startswith("out.") for name in found.values):
        if not expected.values:
            return [f"expected {expected.kind}, got {found.kind}"] if found.kind != expected.kind else []
        forgotten = ": is a return missing?" if found.kind == "NoneType" else ""
        return [f"expected a tensor, got {'None' if forgotten else found.kind}{forgotten}"]
    got, wanted = ({name: t for name, t in each.values.items() if not name.startswith("grad.")}
                   for each in (found, expected))  # fmt: skip
    if isinstance(case, ScenarioCase):
        got, wanted = ({name.removeprefix("out."): t for name, t in each.items()} for each in (got, wanted))
        return differing(got, wanted, case, tolerance, values)
    if got.keys() != wanted.keys():
        return [f"expected {'one tensor' if list(wanted) == ['out'] else f'{len(wanted)} tensors'}, got {found.kind}"]
    wrong = [_result(name, got[name], wanted[name], case, tolerance, values) for name in wanted]
    return list(filter(None, wrong)) or _gradients(found, expected, case, tolerance, arguments)


def _result(name: str, got: Tensor, wanted: Tensor, case: Case, tolerance: float, values: bool) -> str:
    """How a result differs: the one of the call, or one of those in a tuple or dictionary."""
    if case.scoring.random and got.shape == wanted.shape:
        return ""  # its values are nobody's to say
    key = name.removeprefix("out").removeprefix(".")
    what = f"result {int(key) + 1}" if key.isdigit() else f"the result {key}".strip()
    return difference(got, wanted, tolerance, f"{what} of {case.target}", values, named=bool(key))


def _gradients(
    found: ComparableAnswer, expected: ComparableAnswer, case: Case, tolerance: float, arguments: Sequence[str]
) -> list[str]:
    wanted = [name for name in expected.values if name.startswith("grad.")]
    lost = [name for name in wanted if name not in found.values]
    names = [_argument(name[5:], arguments).removeprefix("argument ") for name in lost or wanted]
    if lost and len(lost) == len(wanted):
        return ["the values are right, but no gradient flows back; look for .detach(), .item(), .data or numpy"]
    if lost:
        return [f"the values are right, but no gradient reaches {_listed(names)}"]
    if case.scoring.random:
        return []
    equal = [close(found.values[name], expected.values[name], tolerance) for name in wanted]
    wrong = [name for name, ok in zip(names, equal, strict=True) if not ok]
    return [f"the values are right, but the gradient of {_listed(wrong)} is not"] if wrong else []
