"""A sample class: notebooks as students hand them in, made from the release by filling cells in."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.labs.lab import Lab, without_marks

Codes = dict[str, str]  # solution cell -> its code


@dataclass(frozen=True)
class Student:
    """One member of the class.

    Attributes:
        about: what is special about the submission.
        codes: the code in each solution cell; cells not named stay as released.
        mend: what else happens to the notebook before it is handed in.
    """

    id: str
    about: str
    codes: Codes
    mend: Callable[[NotebookNode], None] = lambda nb: None


def hand_in(release: NotebookNode, student: Student) -> NotebookNode:
    """The student's notebook: the release with their code in it."""
    nb = copy.deepcopy(release)
    for cell in nb.cells:
        if cell.metadata.nbgrader.grade_id in student.codes:
            cell.source = student.codes[cell.metadata.nbgrader.grade_id]
    student.mend(nb)
    return nb


def model_codes(lab: Lab) -> Codes:
    """The solution of every exercise."""
    return {cell.grade_id: without_marks(cell.source) for cell in lab.cells if cell.role == "solution"}


def wrong(lab: Lab, **ideas: str) -> Codes:
    """The solution, with one misconception in each named exercise."""
    named = {exercise: lab.exercise(exercise).misconception(id).code for exercise, id in ideas.items()}
    return model_codes(lab) | named


def sample_class(lab: Lab) -> list[Student]:
    """The class of the demo."""
    return _class_of_lab1(lab) if lab.key == "lab1" else _class_of(lab)


def _class_of_lab1(lab: Lab) -> list[Student]:
    model = model_codes(lab)
    other = _other(lab, model)
    first_two = dict(list(model.items())[:2])
    raising = model | {"MultiHeadAttention": model["MultiHeadAttention"].replace("self.to_out(", "self.to_output(")}
    noisy = {name: _with_noise(code) for name, code in model.items()}
    last = "multi_head_attention_einsum"
    killer = model | {last: _killing(last, model[last])}
    return [
        Student("ada", "the model answer, and written answers", model | _written(lab)),
        Student("blaise", "right in another style", other | _written(lab)),
        Student("carl", "blank", {}),
        Student("dora", "half done", first_two),
        Student("emmy", "two misconceptions in one notebook", wrong(lab, attention_weights="softmax-over-queries",
                multi_head_attention_einsum="scores-without-the-head-letter")),
        Student("felix", "the mask the wrong way round", wrong(lab, scaled_dot_product_attention="mask-inverted")),
        Student("grace", "a mistake that later ones build on", wrong(lab, scaled_dot_product_attention="no-scale")),
        Student("hugo", "queries and keys swapped", wrong(lab, AttentionHead="query-and-key-swapped")),
        Student("ines", "heads split without a transpose", wrong(lab, MultiHeadAttention="split-by-view-alone")),
        Student("jonas", "no output projection", wrong(lab, MultiHeadAttention="no-output-layer") | _written(lab)),
        Student("karl", "one exercise raises", raising),
        Student("lena", "a copied, a deleted and a retagged graded cell", model, _muddle),
        Student("milo", "right code that prints warnings and a progress bar", noisy),
        Student("nora", "one exercise kills the kernel", killer),
    ]  # fmt: skip


def _other(lab: Lab, model: Codes) -> Codes:
    """Right code in another style, where there is some."""
    return model | {e.id: e.alternatives[i % 3].code for i, e in enumerate(lab.exercises) if e.alternatives}


def _class_of(lab: Lab) -> list[Student]:
    """Right, blank and half-done work, one wrong idea from each exercise, and some bad luck."""
    model, exercises = model_codes(lab), [e for e in lab.exercises if e.misconceptions]
    other = _other(lab, model)
    half = dict(list(model.items())[: len(model) // 2])
    first, last = exercises[0], exercises[-1]
    both = {first.id: first.misconceptions[0].id, last.id: last.misconceptions[-1].id}
    raising = model | {first.id: model[first.id] + f"\n\n{_defined(model[first.id])} = None\n"}
    noisy = {name: _with_noise(code) for name, code in model.items()}
    killer = model | {first.id: _killing(_defined(model[first.id]), model[first.id])}
    students = [
        Student("ada", "the model answer, and written answers", model | _written(lab)),
        Student("blaise", "right in another style", other | _written(lab)),
        Student("carl", "blank", {}),
        Student("dora", "half done", half),
        Student("emmy", "two misconceptions in one notebook" if first is not last else "a misconception",
                wrong(lab, **both)),
    ]  # fmt: skip
    for id, exercise in zip(("felix", "grace", "hugo", "ines", "jonas"), exercises, strict=False):
        m = exercise.misconceptions[len(exercise.misconceptions) // 2]
        students.append(Student(id, f"{exercise.id}: {m.id}", wrong(lab, **{exercise.id: m.id})))
    return [
        *students,
        Student("karl", "one name is not a function", raising),
        Student("lena", "a copied, a deleted and a retagged graded cell", model, _muddle),
        Student("milo", "right code that prints warnings and a progress bar", noisy),
        Student("nora", "one exercise kills the kernel", killer),
    ]


def _defined(code: str) -> str:
    """The first function or class that a cell defines."""
    return re.findall(r"^(?:def|class) (\w+)", code, re.MULTILINE)[0]


def _written(lab: Lab) -> Codes:
    """The model's answers in words, without their mark schemes."""
    return {c.grade_id: c.source.split("### BEGIN MARK SCHEME")[0].strip() for c in lab.cells if c.role == "written"}


def _with_noise(code: str) -> str:
    """Code that warns and draws a progress bar when its cell runs, and is right all the same."""
    noise = ["import warnings", "from tqdm.auto import tqdm", "warnings.warn('only a warning')"]
    return "\n".join([*noise, "for _ in tqdm(range(3)):", "    pass", code])


def _killing(name: str, code: str) -> str:
    """Code whose function or class ends the process when it is called."""
    return f"{code}\n\ndef {name}(*args, **kwargs):\n    import os\n    os._exit(1)\n"


def _muddle(nb: NotebookNode) -> None:
    """Copy one graded cell, delete another, give a third a foreign id, points and tags."""
    exams = [i for i, cell in enumerate(nb.cells) if cell.metadata.vitedu.role == "exam"]
    written = [i for i, cell in enumerate(nb.cells) if cell.metadata.vitedu.role == "written"]
    nb.cells[[*exams, *written][2]].metadata = NotebookNode(  # a lab may have two exams only
        {
            "nbgrader": {"grade": True, "grade_id": "mine", "points": 100, "locked": False, "solution": False},
            "tags": ["skip"],
        }
    )
    removed = nb.cells.pop(exams[1])
    nb.cells.insert(exams[0] + 1, NotebookNode(copy.deepcopy(nb.cells[exams[0]]), id="copied"))
    # An id of its own: nbformat's are random, and the class would hand in something new at every run.
    nb.cells.append(new_code_cell(f"# what was here before: {removed.metadata.nbgrader.grade_id}", id="note"))
