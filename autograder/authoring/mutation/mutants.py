"""Make the mutants of a code: one small change each, none twice, with ids that outlast changes elsewhere in it."""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from autograder.authoring.mutation import code_operators, statement_operators, tensor_operators
from autograder.authoring.mutation.places import places
from autograder.labs.exam import Exercise
from autograder.labs.lab import Lab, without_marks

# In the order in which equal mutants are given to one of them: the more special first.
OPERATORS = tensor_operators.OPERATORS | statement_operators.OPERATORS | code_operators.OPERATORS
SOLUTION = "solution"  # the origin of the mutants of a solution cell; of others it is made of the alternative's name


@dataclass(frozen=True)
class Mutant:
    """A code with one small change.

    Attributes:
        id: exam, origin, operator, and a digest of the change: "lab1/attention_weights/solution/other-axis-3fa2c17b".
        operator: what was done, a key of OPERATORS.
        before, after: the lines that differ, as Python writes the syntax tree; several are parted by " | ".
        code: the whole cell.
    """

    id: str
    operator: str
    before: str
    after: str
    code: str

    @property
    def exam(self) -> str:
        """The exam that must take points off, such as "lab1/attention_weights"."""
        return "/".join(self.id.split("/")[:2])

    @property
    def origin(self) -> str:
        """What was mutated."""
        return self.id.split("/")[2]


def mutants_of(source: str, prefix: str) -> list[Mutant]:
    """All mutants of a code that differ from it and from each other in more than texts, in the order of the code.

    Args:
        prefix: what the ids begin with, such as "lab1/attention_weights/solution".
    """
    tree = ast.parse(source)
    original = ast.unparse(tree)
    seen, met, made = {_digest(original)}, Counter[str](), []
    for scope, operator, code in _changes(tree):
        digest = _digest(code)
        if digest is None or digest in seen:
            continue
        seen.add(digest)
        before, after = _difference(original, code)
        change = f"{scope}\n{before}\n{after}"
        met[operator + change] += 1  # the same change in another place of the same function has another number
        short = hashlib.sha256(f"{change}\n{met[operator + change]}".encode()).hexdigest()[:8]
        made.append(Mutant(f"{prefix}/{operator}-{short}", operator, before, after, code))
    return made


def _changes(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """The name of what surrounds each change, the operator, and the changed code."""
    for place in list(places(tree)):
        for name, operator in OPERATORS.items():
            for new in operator(place):
                with place.holding(new):
                    try:
                        code = ast.unparse(ast.fix_missing_locations(tree))
                    except ValueError:  # quotes that cannot stand inside a formatted text
                        continue
                yield place.name, name, code


def _digest(code: str) -> bytes | None:
    """A digest of what a code does; None where it is no code."""
    try:
        tree = ast.parse(code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "'int' object is not subscriptable": so be it
            compile(tree, "<mutant>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    return hashlib.sha256(ast.dump(tree).encode()).digest()


def _difference(one: str, other: str) -> tuple[str, str]:
    """The lines in which two codes differ, without what they have in common above and below."""
    a, b = one.split("\n"), other.split("\n")
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return " | ".join(map(str.strip, a)), " | ".join(map(str.strip, b))


def origins(lab: Lab, exercise: Exercise) -> dict[str, str]:
    """The right codes of an exercise by a name for ids: the solution cell, and every alternative."""
    model = next(cell.source for cell in lab.cells if cell.grade_id == exercise.id)
    slugs = {re.sub(r"[^a-z0-9]+", "-", each.name.lower()).strip("-"): each.code for each in exercise.alternatives}
    return {SOLUTION: without_marks(model)} | slugs


def choose(made: list[Mutant], count: int, seed: str = "") -> list[Mutant]:
    """Some of the mutants, always the same: whether one is chosen depends on its id, hardly on what else there is."""
    ranked = sorted(made, key=lambda mutant: hashlib.sha256(f"{seed}{mutant.id}".encode()).digest())
    chosen = set(ranked[:count])
    return [mutant for mutant in made if mutant in chosen]


def exercise_mutants(lab: Lab, exercise: Exercise, alternatives: int | None = 20) -> list[Mutant]:
    """The mutants of an exercise's solution cell, and some of its alternatives.

    Args:
        alternatives: how many of theirs, all together; None: all.
    """
    made = {
        origin: mutants_of(code, f"{lab.key}/{exercise.id}/{origin}")
        for origin, code in origins(lab, exercise).items()
    }  # fmt: skip
    others = [mutant for origin, each in made.items() if origin != SOLUTION for mutant in each]
    return made[SOLUTION] + (others if alternatives is None else choose(others, alternatives))
