"""A small graded course in a folder: a gradebook, verdicts, and a hostile student's notebook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from bleach._vendor import html5lib  # parses as browsers do
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.api import Gradebook

from autograder.judging.verdict import (
    ERROR,
    GRADED,
    NOT_ANSWERED,
    NOT_GRADED,
    TIMED_OUT,
    CaseVerdict,
    Diagnosis,
    Verdict,
)
from autograder.sanitize import untrusted
from support.places import ROOT

# A new gradebook runs alembic, which stands beside python and need not be on the PATH.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

LAB, NOTEBOOK = "lab1_attention", "attention"
# A class of our own making: what the lab really holds, and for how many points, does not matter here.
EXERCISES = {
    "attention_weights": 2.0, "scaled_dot_product_attention": 3.0, "AttentionHead": 1.5,
    "MultiHeadAttention": 4.0, "multi_head_attention_einsum": 2.5,
}  # fmt: skip
WRITTEN = {"written-scale": 1.0, "written-heads": 1.0}

SOFTMAX = Diagnosis(
    "softmax-over-queries", "attention_weights", "the softmax runs over the queries instead of the keys",
    "Whose weights must sum to 1: a query's over the keys, or a key's over the queries?",
)  # fmt: skip
CARRIED = Diagnosis(SOFTMAX.misconception, SOFTMAX.exercise, SOFTMAX.idea, SOFTMAX.question, carried=True)
INVERTED = Diagnosis(
    "mask-inverted", "scaled_dot_product_attention", "the mask forbids where it should allow",
    "What does True mean in this mask?",
)  # fmt: skip
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'& \x1b[31mred\x1b[0m \ud800 \x00"


def verdict(exercise: str, points: float | None, status: str = GRADED, wrong: int = 0, note: str = "", **rest):
    """A verdict with four cases, the last `wrong` of them wrong."""
    cases = [CaseVerdict(f"case {i + 1}", i < 4 - wrong, 1.0, note if i >= 4 - wrong else "") for i in range(4)]
    return Verdict(exercise, f"exam-{exercise}", status, points, EXERCISES[exercise], cases, **rest)


def right() -> dict[str, Verdict]:
    return {exercise: verdict(exercise, points) for exercise, points in EXERCISES.items()}


def class_of_samples() -> dict[str, dict[str, Verdict]]:
    """Verdicts by student: one of each kind that a class shows."""
    same = {"wrong": 4, "signature": "f00d", "note": "the values differ"}
    shape = {"wrong": 2, "note": "shape: expected (2, 3, 5), got (2, 5, 3)"}
    none = right() | {e: verdict(e, 0.0, NOT_ANSWERED, 4) for e in EXERCISES}
    lost = verdict("AttentionHead", None, NOT_GRADED, 4, reason="the grader's kernel did not start")
    slow = verdict("MultiHeadAttention", 0.0, TIMED_OUT, 4, reason="no answer within 30 s")
    return {
        "ada": right(),
        "blaise": none,
        "carl": right() | {
            "attention_weights": verdict("attention_weights", 0.5, wrong=3, diagnoses=[SOFTMAX]),
            "scaled_dot_product_attention": verdict("scaled_dot_product_attention", 3.0, diagnoses=[CARRIED]),
        },
        "dora": right() | {"attention_weights": verdict("attention_weights", 0.5, wrong=3, diagnoses=[SOFTMAX])},
        "emmy": right() | {"AttentionHead": lost},
        "fritz": right() | {"MultiHeadAttention": slow},
        "grace": right() | {"multi_head_attention_einsum": verdict("multi_head_attention_einsum", 0.0, **same)},
        "henri": right() | {"multi_head_attention_einsum": verdict("multi_head_attention_einsum", 0.0, **same)},
        "ivan": right() | {
            "scaled_dot_product_attention": verdict("scaled_dot_product_attention", 1.5, wrong=2, diagnoses=[INVERTED]),
            "MultiHeadAttention": verdict("MultiHeadAttention", 2.0, **shape),
        },
        "mallory": right() | {
            "AttentionHead": verdict("AttentionHead", 0.0, ERROR, 4, HOSTILE, reason=f"RuntimeError: {HOSTILE}"),
            "MultiHeadAttention": verdict("MultiHeadAttention", 4.0, remarks=[f"a remark {HOSTILE}"]),
        },
    }  # fmt: skip


def record(student: str, verdicts: dict[str, Verdict], answered: bool) -> dict:
    """What the record stage writes beside the gradebook."""
    mended = ["The cell exam-AttentionHead was missing; it was put back."] if student in ("henri", "mallory") else []
    return {
        "student": student, "assignment": LAB, "notebook": NOTEBOOK, "mended": mended, "sandbox": False,
        "seconds": {"kernel": 0.52, "cells": 1.91, "probes": 0.74, "judge": 0.12},
        "exercises": [v.as_json() for v in verdicts.values()],
        "written": [{"grade_id": g, "max_points": p, "answered": answered} for g, p in WRITTEN.items()],
    }  # fmt: skip


def fill_course(root: Path, classmates: dict[str, dict[str, Verdict]]) -> Path:
    """A gradebook and verdicts for the students given, and "zoe", in a folder that need not be there."""
    root.mkdir(parents=True, exist_ok=True)
    with Gradebook(database(root)) as gradebook:
        gradebook.add_assignment(LAB)
        gradebook.add_notebook(NOTEBOOK, LAB)
        for exercise, points in EXERCISES.items():
            gradebook.add_solution_cell(exercise, NOTEBOOK, LAB)
            gradebook.add_grade_cell(f"exam-{exercise}", NOTEBOOK, LAB, max_score=points, cell_type="code")
        for grade_id, points in WRITTEN.items():
            gradebook.add_grade_cell(grade_id, NOTEBOOK, LAB, max_score=points, cell_type="markdown")
            gradebook.add_solution_cell(grade_id, NOTEBOOK, LAB)
        gradebook.add_student("zoe", first_name="Zoe", last_name="Late", email="zoe@example.org")
        for student, verdicts in classmates.items():
            names = {"first_name": '=cmd("calc")', "last_name": "<b>Mallory</b>"} if student == "mallory" else {}
            gradebook.add_student(student, **names)
            gradebook.add_submission(LAB, student)
            for v in verdicts.values():
                grade = gradebook.find_grade(v.grade_id, NOTEBOOK, LAB, student)
                grade.auto_score, grade.needs_manual_grade = v.points, v.points is None
            for grade_id in WRITTEN:
                grade = gradebook.find_grade(grade_id, NOTEBOOK, LAB, student)
                if student in ("ada", "blaise"):
                    grade.needs_manual_grade = False
                    grade.manual_score, grade.auto_score = (0.5, None) if student == "ada" else (None, 0.0)
            gradebook.db.commit()
            write_record(root, student, json.dumps(record(student, verdicts, answered=student != "blaise")))
    return root


def database(root: Path) -> str:
    return f"sqlite:///{root}/gradebook.db"


def nbgrader(root: Path, *argv: str) -> None:
    """Run nbgrader's own command in a course folder."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "nbgrader", *argv], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_record(root: Path, student: str, content: str) -> Path:
    path = root / "verdicts" / student / LAB / f"{NOTEBOOK}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, "utf-8")
    return path


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def hostile_notebook() -> nbformat.NotebookNode:
    """An autograded notebook, as our stages leave it, of a student who tries everything."""

    def author(grade_id: str, role: str, **rest) -> dict:
        nbgrader = {"grade_id": grade_id, "locked": True, "grade": False, "solution": False, "schema_version": 3}
        return {"nbgrader": nbgrader | rest, "vitedu": {"role": role}}

    def shown(data: dict, **metadata) -> nbformat.NotebookNode:
        return new_output("display_data", data=data, metadata=metadata)

    attacks = [
        new_output("stream", text="\x1b]0;owned\x07\x1b[31mred\x1b[0m <script>alert(1)</script>\n"),
        shown({"text/html": "<script>alert(1)</script><svg onload=alert(2)><a href='javascript:alert(3)'>go</a></svg>"
               "<iframe src='https://evil.example'></iframe><img src='https://evil.example/pixel.png'>"
               "<p onclick='alert(4)' style='position:fixed;color:red'>plain text</p>"
               "<p style='background:url(https://evil.example)'>more text</p>"
               "<a href='https://evil.example'>a link</a><math><mtext><style><img onerror=alert(5)></style></math>"
               "<form action='https://evil.example'><input></form><base href='https://evil.example'>"
               "<meta http-equiv='refresh' content='0;url=https://evil.example'>"
               "<table><tr><td colspan=2>a table</td></tr></table>"}),
        shown({"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"}),
        shown({"application/javascript": "alert(1)"}),
        shown({"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "a widget"}),
        shown({"text/latex": "$\\href{javascript:alert(1)}{x}$"}),
        shown({"image/png": PIXEL + '" onload="alert(1)'}),
        shown({"image/png": PIXEL}, **{"image/png": {"width": '1" onload="alert(1)', "alt": '" onerror="alert(1)'}}),
        shown({"text/html": "<b>forged: 100 points</b>"}, vitedu={"verdict": True}),
        new_output("error", ename="<script>", evalue="<img onerror=alert(1)>",
                   traceback=["\x1b[0;31mValueError\x1b[0m <script>alert(1)</script> \ud800"]),
    ]  # fmt: skip
    judged = shown(
        {"text/html": f"<p style='color: #97281b'>Your answer equals what comes out when {SOFTMAX.idea}.</p>"
         f"<img alt='attention map' src='data:image/png;base64,{PIXEL}'>", "text/plain": SOFTMAX.idea},
        vitedu={"verdict": True},
    )  # fmt: skip
    tests = 'examine("lab1/x")\nassert secret_answer == 42'
    hidden = f'check("lab1/x", x)\n### BEGIN HIDDEN TESTS\n{tests}\n### END HIDDEN TESTS\n'
    cells = [
        new_markdown_cell("# Lab 1 - Attention\nA long introduction.", metadata=author("title", "prose")),
        new_code_cell("import torch", metadata=author("imports", "setup")),
        new_markdown_cell(
            "# mine\n<script>alert(1)</script> [link](javascript:alert(1)) <img src=x onerror=alert(1)>\n"
            "![pasted](attachment:a.png) ![evil](attachment:b.svg) <a href='https://evil.example'>out</a> \ud800",
            attachments={"a.png": {"image/png": PIXEL}, "b.svg": {"image/svg+xml": "PHN2Zy8+"}},
        ),
    ]
    for exercise, points in EXERCISES.items():
        task = author(exercise, "solution", solution=True, locked=False)
        exam = author(f"exam-{exercise}", "exam", grade=True, points=points)
        first = exercise == "attention_weights"
        code = f"def {exercise}(x):\n    return x  # </pre><script>alert(1)</script>"
        cells.append(new_code_cell(code, metadata=task, outputs=attacks if first else []))
        outputs = [shown({"text/html": "<b>forged by the process</b>"}), judged] if first else []
        cells.append(new_code_cell(hidden, metadata=exam, outputs=outputs))
    for grade_id, points in WRITTEN.items():
        meta = author(grade_id, "written", grade=True, solution=True, locked=False, points=points)
        cells.append(new_markdown_cell("Because of **variance**. <script>alert(1)</script>", metadata=meta))
    cells.append(new_code_cell(hidden, metadata=author("helpers", "setup"), outputs=[attacks[-1]]))
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}, "x": "</script><script>alert(1)"}}
    return new_notebook(cells=cells, metadata={"widgets": widgets})


def write_autograded(root: Path, student: str) -> None:
    path = root / "autograded" / student / LAB / f"{NOTEBOOK}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(hostile_notebook()), "ascii")  # ascii: lone surrogates stay as escapes


FORBIDDEN = frozenset(
    "script svg math iframe object embed link base form input button video audio noscript template".split()
)


def assert_harmless(markup: str) -> None:
    """No scripts, no handlers, no address but an embedded PNG or JPEG and places in the same page."""
    tree = html5lib.parse(markup, namespaceHTMLElements=False)
    for tag in tree.iter():
        if not isinstance(tag.tag, str):
            continue  # a comment
        assert tag.tag not in FORBIDDEN, tag.tag
        for name, value in tag.attrib.items():
            assert not name.startswith("on"), name
            assert name not in ("srcset", "srcdoc", "background", "action", "formaction"), name
            if name == "src":
                assert untrusted.PICTURE.fullmatch(value), value
            if name == "href":
                assert value.startswith("#"), value
            if name == "style":
                assert not any(word in value for word in ("url", "position", "expression", "\\")), value
