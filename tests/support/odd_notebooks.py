"""Oddly arranged notebooks with right code: split, copied, merged and moved cells, made from a lab's release.

Each says what it must earn: full points everywhere but for what `less` names.
"""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from autograder.authoring.sample_class import model_codes, wrong
from autograder.labs.lab import Lab, find_lab
from support.course_fixture import ATTENTION, EINSUM, HEAD, HEADS, WEIGHTS

LAB1, LAB2 = find_lab("lab1"), find_lab("lab2")
MODEL, TOKENS = model_codes(LAB1), model_codes(LAB2)
INVERTED = wrong(LAB1, scaled_dot_product_attention="mask-inverted")[ATTENTION]
LINEAR, CONV = ("class " + part for part in TOKENS["patch_embeddings"].split("class ")[1:])
ZEROS = "def attention_weights(q, k):\n    return torch.zeros(*q.shape[:-1], k.shape[-2])\n"


@dataclass(frozen=True)
class Odd:
    """One notebook.

    Attributes:
        mend: what is done to the lab's solved notebook.
        less: exercise -> its status, for those that do not earn full points.
        told: what the feedback says.
    """

    name: str
    mend: Callable[[NotebookNode], None]
    less: dict[str, str] = field(default_factory=dict)
    told: tuple[str, ...] = ()
    lab: Lab = LAB1

    def __str__(self) -> str:
        return self.name


def place(nb: NotebookNode, id: str) -> int:
    return next(i for i, cell in enumerate(nb.cells) if cell.metadata.get("nbgrader", {}).get("grade_id") == id)


def cell(nb: NotebookNode, id: str) -> NotebookNode:
    return nb.cells[place(nb, id)]


def put(*sources: str, after: str = "", of: str = "", id: str | None = None) -> Callable[[NotebookNode], None]:
    """Insert code cells behind a released one, or at the end.

    Args:
        of: they are copies of that cell, and have its metadata; id: with another grade_id.
    """

    def mend(nb: NotebookNode) -> None:
        at = place(nb, after) + 1 if after else len(nb.cells)
        made = [new_code_cell(source) for source in sources]
        for one in made:
            if of:
                one.metadata = copy.deepcopy(cell(nb, of).metadata)
                one.metadata.nbgrader.grade_id = id or of
        nb.cells[at:at] = made

    return mend


def fill(id: str, source: str) -> Callable[[NotebookNode], None]:
    """Other text in a released cell."""
    return lambda nb: cell(nb, id).update(source=source)


def add(id: str, text: str, front: bool = False) -> Callable[[NotebookNode], None]:
    """More text in a released cell."""

    def mend(nb: NotebookNode) -> None:
        one = cell(nb, id)
        one.source = f"{text}\n\n{one.source}" if front else f"{one.source}\n\n{text}"

    return mend


def drop(*ids: str) -> Callable[[NotebookNode], None]:
    """Delete released cells."""
    return lambda nb: [nb.cells.remove(cell(nb, id)) for id in ids] and None


def todo(*ids: str) -> Callable[[NotebookNode], None]:
    """Leave cells as released."""

    def mend(nb: NotebookNode) -> None:
        for id in ids:
            cell(nb, id).source = nb.metadata.stubs[id]

    return mend


def each(*mends: Callable[[NotebookNode], None]) -> Callable[[NotebookNode], None]:
    return lambda nb: [mend(nb) for mend in mends] and None


def note(text: str, after: str) -> Callable[[NotebookNode], None]:
    """A text cell of one's own."""
    return lambda nb: nb.cells.insert(place(nb, after) + 1, new_markdown_cell(text))


def twice(nb: NotebookNode) -> None:
    """The whole release once more, below."""
    again = copy.deepcopy(nb.cells)
    for one in again:
        one.id = f"{one.id[:50]}-again"
        one.source = nb.metadata.stubs.get(one.metadata.nbgrader.grade_id, one.source)
    nb.cells += again


def in_one(codes: dict[str, str]) -> str:
    return "\n\n".join(codes.values())


def indented(code: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in code.split("\n"))


def named(exercise: str, name: str) -> str:
    """An answer under another name."""
    return MODEL[exercise].replace(f"def {exercise}", f"def {name}")


REST = [ATTENTION, HEAD, HEADS, EINSUM]
TOKEN_REST = [id for id in TOKENS if id != "patchify"]
CHECK = 'check("lab1/scaled_dot_product_attention", scaled_dot_product_attention)'
SCORES = "def _scores(q, k):\n    return q @ k.mT / math.sqrt(q.shape[-1])"
BY_SCORES = "def attention_weights(q, k):\n    return _scores(q, k).softmax(dim=-1)"
OTHER_WAYS = (
    f"if torch is not None:\n{indented(MODEL[WEIGHTS])}",
    f"from functools import partial\n{named(ATTENTION, '_plain')}\nscaled_dot_product_attention = partial(_plain)",
    f"try:\n{indented(MODEL[HEAD])}\nfinally:\n    pass",
    f"%%capture\n{MODEL[HEADS]}",
    f"exec({MODEL[EINSUM]!r})",
)
FORWARD = {id: textwrap.dedent("    def forward" + MODEL[id].split("    def forward")[1]) for id in (HEAD, HEADS)}
FILE = "%%writefile answers.py\nimport math, torch\nfrom torch import nn, Tensor\n" + in_one(MODEL)

CLASS = [
    # --- a second attempt
    Odd("copy-below", each(fill(ATTENTION, INVERTED), put(MODEL[ATTENTION], after=ATTENTION, of=ATTENTION)),
        told=(f"{ATTENTION} was there 2 times",)),
    Odd("copy-behind-its-check", each(fill(ATTENTION, INVERTED),
        put(MODEL[ATTENTION], after=f"exam-{ATTENTION}", of=ATTENTION)), told=("below its check",)),
    Odd("copy-at-the-end", each(fill(ATTENTION, INVERTED), put(MODEL[ATTENTION], of=ATTENTION))),
    Odd("the-last-counts", put(ZEROS, after=WEIGHTS, of=WEIGHTS), {WEIGHTS: "graded"}),
    Odd("copy-above", each(todo(ATTENTION), put(MODEL[ATTENTION], after=f"exam-{WEIGHTS}", of=ATTENTION))),
    Odd("second-answered", each(todo(ATTENTION), put(MODEL[ATTENTION], after=ATTENTION, of=ATTENTION))),
    Odd("copy-for-another", each(todo(HEAD), put(MODEL[HEAD], after=HEAD, of=WEIGHTS))),
    Odd("five-attempts", each(fill(ATTENTION, INVERTED), put(
        "def scaled_dot_product_attention(q, k, v, mask=None):\n    return no", "def scaled_dot_product_attention(",
        MODEL[ATTENTION], "", after=ATTENTION, of=ATTENTION))),
    Odd("pair-with-new-ids", each(fill(ATTENTION, INVERTED),
        put(CHECK, after=f"exam-{ATTENTION}", of=f"exam-{ATTENTION}", id="cell-5e1f"),
        put(MODEL[ATTENTION], after=f"exam-{ATTENTION}", of=ATTENTION, id="cell-09af"))),
    Odd("pair-without-ids", each(fill(ATTENTION, INVERTED), put(MODEL[ATTENTION], CHECK, after=f"exam-{ATTENTION}"))),
    Odd("mended-helper-and-check", each(fill(WEIGHTS, BY_SCORES), put("def _scores(q, k):\n    return q @ k.mT",
        after="imports"), put(SCORES, f'check("lab1/{WEIGHTS}", {WEIGHTS})', after=f"exam-{WEIGHTS}"))),
    Odd("experiment-below", put(ZEROS, "attention_weights = None", after=f"exam-{WEIGHTS}")),
    Odd("torch-below", each(todo(ATTENTION), fill(WEIGHTS, ZEROS), put("from torch.nn.functional import *",
        MODEL[WEIGHTS])), {ATTENTION: "not answered"}),
    Odd("todo-pasted-behind", lambda nb: [add(id, nb.metadata.stubs[id])(nb) for id in MODEL] and None),
    Odd("better-below-in-five-ways", each(
        fill(WEIGHTS, ZEROS), put(MODEL[WEIGHTS], after=f"exam-{WEIGHTS}"),
        fill(ATTENTION, f"def {ATTENTION}(q, k, v, mask=None):\n    s = q\n    raise NotImplementedError('TODO')"),
        put(MODEL[ATTENTION], after="playground"),
        fill(HEAD, MODEL[HEAD].split("    def forward")[0]),
        put(f"def to(cls):\n    return lambda f: setattr(cls, f.__name__, f)\n\n\n@to({HEAD})\n{FORWARD[HEAD]}"),
        fill(HEADS, MODEL[HEADS].split("    def forward")[0]), put(f"{FORWARD[HEADS]}\n\n\n{HEADS}.forward = forward"),
        fill(EINSUM, f"def {EINSUM}(*args):\n    pass"), put(f"CODE = {MODEL[EINSUM]!r}".replace(EINSUM, "E" + EINSUM),
            f"exec(CODE.replace('E{EINSUM}', '{EINSUM}'))")),
        told=tuple(f"{id} is better further below than at its check" for id in MODEL)),
    Odd("release-pasted-below", twice),
    # --- a cell split
    Odd("split-in-two", each(fill(WEIGHTS, SCORES), put(BY_SCORES, after=WEIGHTS, of=WEIGHTS))),
    Odd("split-in-three", each(fill(WEIGHTS, "scale = 0.5"), put(
        "def _scores(q, k):\n    return q @ k.mT / q.shape[-1] ** scale", BY_SCORES, after=WEIGHTS))),
    Odd("classes-split", each(fill("patch_embeddings", LINEAR),
        put(CONV, after="patch_embeddings", of="patch_embeddings")), lab=LAB2),
    Odd("classes-split-without-id", each(fill("patch_embeddings", CONV),
        put(LINEAR, after="exercise-patch_embeddings")), lab=LAB2),
    Odd("classes-split-by-the-check", each(fill("patch_embeddings", LINEAR),
        put(CONV, after="exam-patch_embeddings")), lab=LAB2),
    Odd("classes-in-two-copies", lambda nb: each(
        fill("patch_embeddings", nb.metadata.stubs["patch_embeddings"].split("class Conv")[0] + CONV),
        put(LINEAR + "class Conv" + nb.metadata.stubs["patch_embeddings"].split("class Conv")[1],
            after="patch_embeddings", of="patch_embeddings"))(nb), lab=LAB2),
    # --- several answers in one cell
    Odd("all-in-the-first", each(drop(*REST), fill(WEIGHTS, in_one(MODEL)))),
    Odd("all-in-the-first-emptied", each(*(fill(id, "") for id in REST), fill(WEIGHTS, in_one(MODEL)))),
    Odd("all-in-the-first-todo", each(todo(*REST), fill(WEIGHTS, in_one(MODEL))),
        told=("stand in cells of other exercises",)),
    Odd("all-in-the-last", each(drop(WEIGHTS, *REST[:-1]), fill(EINSUM, in_one(MODEL)))),
    Odd("all-in-one-of-my-own", each(drop(*MODEL), put(in_one(MODEL), after="imports"))),
    Odd("all-at-the-end", each(todo(*MODEL), put(*MODEL.values()))),
    Odd("all-tokens-in-the-first", each(drop(*TOKEN_REST), fill("patchify", in_one(TOKENS))), lab=LAB2),
    # --- by other means
    Odd("other-ways", each(todo(*MODEL), put(*OTHER_WAYS, after="imports"))),
    Odd("other-ways-stubs-deleted", each(drop(*MODEL), put(*OTHER_WAYS, after="imports"))),
    Odd("a-file-and-a-star", each(drop(*MODEL), put(FILE, "from answers import *", after="imports"))),
    Odd("a-file-and-a-star-below", each(todo(*MODEL), put(FILE, "from answers import *"))),
    Odd("torchs-star", each(todo(ATTENTION), put("from torch.nn.functional import *", after="imports")),
        {ATTENTION: "not answered"}),
    Odd("still-todo", each(fill(EINSUM, f"def {EINSUM}(*args):\n    raise NotImplementedError('TODO')  # how?")),
        {EINSUM: "not answered"}),
    # --- in cells that are not the student's
    Odd("merged-with-its-check", each(drop(ATTENTION), add(f"exam-{ATTENTION}", MODEL[ATTENTION], front=True)),
        told=("what was added to it is kept",)),
    Odd("merged-with-the-imports", each(drop(WEIGHTS), add("imports", MODEL[WEIGHTS]))),
    Odd("all-in-the-imports", each(drop(*MODEL, *(f"exam-{id}" for id in MODEL)),
        add("imports", in_one(MODEL) + f"\n{CHECK}"))),
    Odd("in-the-playground", each(todo(EINSUM), fill("playground", MODEL[EINSUM]))),
    Odd("merged-with-a-text", each(drop(WEIGHTS), add(f"hints-{WEIGHTS}", MODEL[WEIGHTS])), told=("was run, too",)),
    Odd("helper-in-a-check", each(fill(WEIGHTS, BY_SCORES), add(f"exam-{WEIGHTS}", SCORES))),
    Odd("experiment-in-a-check", add(f"exam-{WEIGHTS}", ZEROS)),
    Odd("import-added", each(fill(WEIGHTS, BY_SCORES.replace("_scores(q, k)", "(q @ k.mT / m.sqrt(q.shape[-1]))")),
        lambda nb: fill("imports", cell(nb, "imports").source.replace("import math", "import math, math as m"))(nb))),
    Odd("became-text", each(drop(WEIGHTS), note(MODEL[WEIGHTS], f"hints-{WEIGHTS}"))),
    # --- moved
    Odd("backwards", lambda nb: nb.cells.reverse()),
    Odd("answers-moved-up", lambda nb: nb.cells.__setitem__(slice(None), sorted(
        nb.cells, key=lambda c: (0 if c.metadata.nbgrader.grade_id in ("title", "imports") else
                                 1 if c.metadata.nbgrader.grade_id in MODEL else 2)))),
    Odd("swapped", lambda nb: each(fill(WEIGHTS, MODEL[EINSUM]), fill(EINSUM, MODEL[WEIGHTS]))(nb)),
    Odd("above-the-imports", each(todo(*MODEL), lambda nb: nb.cells.insert(0, new_code_cell(in_one(MODEL))))),
    Odd("todo-under-a-list", lambda nb: each(fill(WEIGHTS, in_one({id: MODEL[id] for id in (WEIGHTS, HEAD)})),
        fill(HEAD, f"names = !ls\n{nb.metadata.stubs[HEAD]}"))(nb)),
    Odd("a-text-and-exec-below", each(todo(*MODEL), put(f"CODE = {in_one(MODEL)!r}", "exec(CODE)"))),
    # --- what is not here
    Odd("module-beside", each(fill(WEIGHTS, BY_SCORES), put("from helpers import _scores", after="imports")),
        {WEIGHTS: "error"}, told=("The module helpers is not in the course", "move its code into a cell")),
    Odd("file-beside", put("rows = open('mine.csv').read()", after="imports"), told=("The file mine.csv is not here",)),
    Odd("helper-in-a-text", each(fill(WEIGHTS, BY_SCORES), note(SCORES, "imports")), {WEIGHTS: "error"},
        told=("_scores stands in a text cell",)),
    # --- in words
    Odd("words-below", note("Because the variance grows with K.", "written-scale")),
    Odd("words-split", each(fill("written-scale", "First half,"), note("second half.", "written-scale"))),
]  # fmt: skip
WORDS = {"words-below": "Because the variance grows with K.", "words-split": "First half,\n\nsecond half."}


def made(odd: Odd, release: NotebookNode) -> NotebookNode:
    """The notebook as handed in."""
    nb, codes = copy.deepcopy(release), model_codes(odd.lab)
    nb.metadata["stubs"] = {id: cell(nb, id).source for id in codes}
    for id, code in codes.items():
        cell(nb, id).source = code
    odd.mend(nb)
    del nb.metadata["stubs"]
    return nb
