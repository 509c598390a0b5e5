"""The notebook's instant checks, on a small lab made here: what a student reads in each state."""

import base64
import dataclasses
import io
import math
import re
import subprocess
import sys
import types

import pytest
import torch
from PIL import Image
from torch import nn

from vitedu.checks import feedback_card, fingerprint_file
from vitedu.checks.check import check, examine, when_ready
from vitedu.checks.fingerprint_file import Fingerprint, StoredMisconception
from vitedu.checks.mismatch import note
from vitedu.checks.sketch import sketch
from vitedu.checks.validate import CheckFailed
from vitedu.probe.ask import ask
from vitedu.probe.case import FunctionCase, ModuleCase, Scoring
from vitedu.probe.comparison import TOLERANCE, Expected, comparable
from vitedu.probe.explanation import Version

T = TOLERANCE[torch.float64]
X = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).double()
B = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1)).double()
WEIGHTS = {"to_q.weight": X, "to_q.bias": X[:, 0].clone()}


def rows_to_one(x):
    return x.softmax(-1)


class Layer(nn.Module):
    def __init__(self, dim, out):
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim {dim}")
        self.to_q = nn.Linear(dim, out)

    def forward(self, x):
        return rows_to_one(self.to_q(x))


ROWS = [
    FunctionCase("a matrix", "rows_to_one", args=(X,), gradients=True),
    FunctionCase("a batch", "rows_to_one", args=(B,), scoring=Scoring(share=2.0)),
]
LAYER = [
    ModuleCase("values", "Layer", args=(B,), init=(5, 4), weights=WEIGHTS),
    ModuleCase("a size that cannot be", "Layer", init=(-3, 4), construct_only=True, scoring=Scoring(raises=(-3,))),
]


MORE_ROWS = [FunctionCase("another", "rows_to_one", args=(B + X[:3],))]
MORE_LAYER = [ModuleCase("others", "Layer", args=(B * 2,), init=(5, 4), weights=WEIGHTS)]


class SineLayer(Layer):
    """Layer, where a stand-in takes the place of rows_to_one."""

    def forward(self, x):
        return self.to_q(x).sin()


class ColumnsLayer(Layer):
    def forward(self, x):
        return self.to_q(x).softmax(-2)


def facts(target, cases, nondeterministic=False):
    return [Expected(comparable(ask(target, c, namespace={}), c, T), nondeterministic) for c in cases]


def sketches(target, cases, nondeterministic=False):
    return [dataclasses.replace(e, answer=sketch(e.answer)) for e in facts(target, cases, nondeterministic)]


def idea(target, model, cases, second, text, question="Which dimension?", nondeterministic=False):
    version = Version(sketches(target, cases + second, nondeterministic), sketches(model, cases + second))
    return StoredMisconception(text, question, [version])


def dropped(x):
    return nn.functional.dropout(x).softmax(-1)


@pytest.fixture(autouse=True)
def lab(tmp_path, monkeypatch):
    """A lab of two exercises, the second built on the first, as an author's build would store it."""
    monkeypatch.setattr(fingerprint_file, "FOLDER", tmp_path)
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    rows, layer = (rows_to_one, ROWS, MORE_ROWS), (Layer, LAYER, MORE_LAYER)
    made = {
        "rows_to_one": Fingerprint(
            ROWS, [e.answer for e in facts(rows_to_one, ROWS)], {
                "over-columns": idea(lambda x: x.softmax(-2), *rows, "the softmax runs over the columns"),
                "over-first": idea(lambda x: x.softmax(0), *rows, "the softmax runs over dim 0"),
                "no-softmax": idea(lambda x: x, *rows, "there is no softmax."),
                "dropout": idea(dropped, *rows, "dropout stays on.", "When?", nondeterministic=True),
            },
            confirming=MORE_ROWS, confirmed=[sketches(rows_to_one, MORE_ROWS)],
        ),
        "Layer": Fingerprint(
            LAYER, [e.answer for e in facts(Layer, LAYER)],
            {"over-columns": idea(ColumnsLayer, *layer, "the softmax runs over the columns")},
            confirming=MORE_LAYER, confirmed=[sketches(Layer, MORE_LAYER)],
            with_stand_ins=[sketches(SineLayer, LAYER)],
        ),
    }  # fmt: skip
    fingerprint_file.save(tmp_path / "lab1.safetensors", made, source="abc")
    return made


def todo(x):
    raise NotImplementedError("TODO")


def test_a_right_answer_of_another_convention_gets_its_remark(lab, tmp_path):
    def halved(x):
        return (x / 2).softmax(-1)

    known = lab["rows_to_one"]
    others = [[e.answer for e in facts(halved, ROWS)]]
    made = {"rows_to_one": dataclasses.replace(known, others=others, remarks=["You halve x; that is right, too."])}
    fingerprint_file.save(tmp_path / "lab1.safetensors", made)
    assert "You halve x" in repr(check("lab1/rows_to_one", halved))
    assert repr(check("lab1/rows_to_one", rows_to_one)) == "rows_to_one: right"
    wrong = check("lab1/rows_to_one", lambda x: halved(x) + (len(x) > 2))
    assert not wrong.passed and "You halve x" not in repr(wrong)


def test_a_right_answer(lab):
    report = check("lab1/rows_to_one", rows_to_one)
    assert report.passed and repr(report) == "rows_to_one: right"
    assert "a matrix" in report._repr_html_() and "<img" not in report._repr_html_()


def test_a_todo():
    report = check("lab1/rows_to_one", todo)
    assert not report.passed
    assert repr(report).startswith("rows_to_one: not answered yet\n") and "todo, which is still a TODO" in repr(report)


def test_a_todo_in_an_exercise_that_this_one_needs(monkeypatch):
    def rows_to_one(x):
        raise NotImplementedError("TODO")

    rows_to_one.__code__ = rows_to_one.__code__.replace(co_qualname="rows_to_one")
    monkeypatch.setitem(globals(), "rows_to_one", rows_to_one)
    text = repr(check("lab1/Layer", Layer))
    assert text.startswith("Layer: not finished yet\n  It needs rows_to_one, which is still a TODO.")
    assert "not yet values" in text and "right   a size that cannot be" in text


def test_an_exercises_own_todo_is_named(monkeypatch):
    class Layer(nn.Module):
        def __init__(self, dim, out):
            raise NotImplementedError("TODO")

    Layer.__init__.__code__ = Layer.__init__.__code__.replace(co_qualname="Layer.__init__")
    monkeypatch.setattr("vitedu.checks.rerun.notebook_names", pytest.fail)  # nothing has to run once more to see it
    assert repr(check("lab1/Layer", Layer)) == "Layer: not answered yet\n  Layer.__init__ is still a TODO."


def test_a_wrong_idea_is_named_with_a_question_and_a_picture():
    report = check("lab1/rows_to_one", lambda x: x.softmax(-2))
    text = " ".join(repr(report).split())
    assert "This equals what comes out when the softmax runs over the columns. Ask yourself: Which dimension?" in text
    assert "2 of 2 cases differ" in text and "at [0, 0] expected" in text
    html = report._repr_html_()
    assert "Ask yourself: Which dimension?" in html
    (png,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert Image.open(io.BytesIO(base64.b64decode(png))).size[0] > 500
    assert re.search(r'alt="Heat maps of 4 by 5 values: expected, yours, and the difference, which is at most', html)


def test_an_idea_that_explains_some_cases_says_how_many():
    text = " ".join(repr(check("lab1/rows_to_one", lambda x: x - 7 if x.ndim == 2 else x.softmax(-2))).split())
    assert "In 1 of 2 wrong cases this equals what comes out when the softmax runs over the columns." in text


def test_an_idea_that_the_second_draw_or_a_right_case_refutes_is_not_named():
    for wrong in (
        lambda x: x.softmax(-2) if x.shape[0] == 4 or x is B or torch.equal(x, B) else x.softmax(-1),  # not there
        lambda x: x.softmax(-1) if x.ndim == 2 else x.softmax(-2),  # a matrix is right
    ):
        report = check("lab1/rows_to_one", wrong)
        assert not report.passed and "what comes out when" not in repr(report)


def test_what_is_nearly_right_is_told_no_idea():
    assert "what comes out when" not in repr(check("lab1/rows_to_one", lambda x: x.softmax(-1) * 1.0001))


NOTEBOOK = """
def rows_to_one(x):
    return x.softmax(-2)
def unrelated():
    raise SystemExit
class Layer(nn.Module):
    def __init__(self, dim, out):
        super().__init__()
        if dim < 1:
            raise ValueError(f"dim {dim}")
        self.to_q = nn.Linear(dim, out)
    def forward(self, x):
        return rows_to_one(self.to_q(x))
"""


@pytest.mark.parametrize(
    "first, said",
    [
        (NOTEBOOK, "Layer: right as far as this exercise goes\n  Fix rows_to_one first."),
        (NOTEBOOK.replace("return x.softmax(-2)", 'raise NotImplementedError("TODO")'), "Fix rows_to_one first."),
        (NOTEBOOK.replace("return x.softmax(-2)", "return x.softmax(-1)"), "Layer: right"),
        (NOTEBOOK.replace("(self.to_q(x))", "(self.to_q(x)) + 1"), "Layer: not right yet: 1 of 2 cases differ"),
    ],
)
def test_an_exercise_is_judged_alone(monkeypatch, first, said):
    """Behind a wrong exercise a right one is right, in a notebook that runs, and nothing in it changes."""
    from IPython.core.interactiveshell import InteractiveShell

    stand_in = types.ModuleType("vitedu.stand_ins.lab1")
    stand_in.STAND_INS, stand_in.rows_to_one = {"rows_to_one": ("rows_to_one",)}, torch.sin
    monkeypatch.setitem(sys.modules, "vitedu.stand_ins.lab1", stand_in)
    shell = InteractiveShell()
    monkeypatch.setattr("vitedu.checks.rerun._shell", lambda: shell)
    shell.run_cell("import torch\nfrom torch import nn", store_history=True)
    shell.run_cell(first, store_history=True)
    before = dict(shell.user_ns)
    text = repr(check("lab1/Layer", shell.user_ns["Layer"]))
    assert text.startswith(said) or said in text
    assert all(shell.user_ns[name] is before[name] for name in ("rows_to_one", "Layer", "unrelated"))


def test_an_answer_by_chance_is_recognised():
    text = repr(check("lab1/rows_to_one", lambda x: nn.functional.dropout(x).softmax(-1)))
    assert "dropout stays on. Ask" not in text and "when dropout stays on." in text
    assert "two calls with equal inputs gave different results" in text


def in_place(x):
    x *= 2
    return (x / 2).softmax(-1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda x: x.softmax(-1) + 0.125, "(20 of 20 values differ)"),
        (lambda x: x.mT.softmax(-1), "shape: expected (4, 5), got (5, 4)"),
        (lambda x: x.softmax(-1)[None], "shape: expected (4, 5), got (1, 4, 5)"),
        (lambda x: x.softmax(-1)[:0], "shape: expected (4, 5), got (0, 5)"),
        (lambda x: x.argmax(-1, keepdim=True).expand(x.shape), "dtype: expected float64, got int64"),
        (lambda x: x / 0 * 0, "NaN at [0, 0] (20 of 20 values are not finite)"),
        (lambda x: x.exp() / 0, "infinity at [0, 0]"),
        (lambda x: x.softmax(-1).detach(), "no gradient flows back"),
        (lambda x: x.detach().softmax(-1) + 0 * x, "but the gradient of x is not"),
        (in_place, "changed its argument x in place"),
        (lambda x: torch.rand_like(x), "two calls with equal inputs gave different results"),
        (lambda x: None, "expected a tensor, got None: is a return missing?"),
        (lambda x: x.tolist(), "expected a tensor, got list"),
        (lambda x: (x.softmax(-1), x), "expected one tensor, got tuple"),
        (lambda x: x.to_sparse(), "TypeError: expected a plain tensor of real numbers"),
        (lambda: 3, "takes 0 positional arguments but 1 was given"),
    ],
)
def test_what_was_found_in_words(wrong, said):
    report = check("lab1/rows_to_one", wrong)
    assert not report.passed and said in " ".join(repr(report).split())
    report._repr_html_()


class WithoutBias(Layer):
    def __init__(self, dim, out):
        super().__init__(dim, out)
        self.to_q = nn.Linear(dim, out, bias=False)


class WithMore(Layer):
    def __init__(self, dim, out):
        super().__init__(dim, out)
        self.more = nn.Linear(1, 1, bias=False)


class Misshapen(Layer):
    def __init__(self, dim, out):
        super().__init__(out, dim)


class NeverRefuses(Layer):
    def __init__(self, dim, out):
        super().__init__(abs(dim), out)


class RefusesWithoutNumber(Layer):
    def __init__(self, dim, out):
        if dim < 1:
            raise ValueError("too small")
        super().__init__(dim, out)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (WithoutBias, "wrong values: the state_dict lacks to_q.bias"),
        (WithMore, "wrong values: the state_dict should not hold more.weight"),
        (Misshapen, "in the state_dict, to_q.weight: expected (4, 5), got (5, 4)"),
        (NeverRefuses, "expected a ValueError whose message names -3; got no error"),
        (RefusesWithoutNumber, "names -3; got ValueError: too small (in RefusesWithoutNumber.__init__, line"),
        (lambda dim, out: abs(dim), "TypeError: expected an nn.Module, got int"),
    ],
)
def test_what_was_found_in_a_module(wrong, said):
    assert said in " ".join(repr(check("lab1/Layer", wrong)).split())


def test_an_exception_is_shown_with_its_place():
    namespace = {}
    exec(compile("def f(x):\n    y = x\n    return y @ x\n", "/home/student/cell.py", "exec"), namespace)
    assert "RuntimeError: mat1 and mat2 shapes cannot be multiplied (4x5 and 4x5) (in f, line 3)" in " ".join(
        repr(check("lab1/rows_to_one", namespace["f"])).split()
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.float().softmax(-1),
        lambda x: (x @ torch.eye(5)).softmax(-1),
        lambda x: nn.functional.linear(x, torch.eye(5)).softmax(-1),
    ],
)
def test_float32_is_accepted_with_a_remark(f):
    report = check("lab1/rows_to_one", f)
    assert report.passed and "keep the dtype of the inputs" in repr(report)
    assert "keep the dtype of the inputs" in report._repr_html_()


def test_what_a_student_prints_and_warnings_are_seen(capsys):
    def f(x):
        print("shape", tuple(x.shape))
        return x.softmax(-1)

    assert check("lab1/rows_to_one", f).passed and "shape (4, 5)" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        check("lab1/rows_to_one", nn.functional.softmax)


def test_nothing_is_left_changed():
    def f(x):
        torch.manual_seed(7)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return x.softmax(-1)

    torch.manual_seed(3)
    before = torch.get_rng_state()
    check("lab1/rows_to_one", f)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32
    with torch.no_grad():
        assert check("lab1/rows_to_one", rows_to_one).passed
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lab9/x", todo), "There are no checks for 'lab9': the labs with checks are lab1."),
        (("../lab1/x", todo), "There are no checks for '..'"),
        (("rows_to_one", todo), "There are no checks for 'rows_to_one'"),
        (("lab1/nothing", todo), "lab1 has no check 'nothing'; its checks are lab1/rows_to_one, lab1/Layer."),
        (("lab1/rows_to_one",), 'found 0; write check("lab1/rows_to_one", rows_to_one)'),
        (("lab1/rows_to_one", todo, todo), "found 2; write"),
        (("lab1/rows_to_one", None), "expected the function or class itself, found None"),
        (("lab1/rows_to_one", X), "found an object of type Tensor"),
        (("lab1/Layer", Layer(2, 3)), "found an object of type Layer"),
    ],
)
def test_a_wrong_call_is_one_clear_sentence(arguments, said):
    with pytest.raises(ValueError) as error:
        check(*arguments)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_damaged_fingerprints_are_one_clear_sentence(tmp_path):
    (tmp_path / "lab1.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"The checks in lab1.safetensors cannot be read .*: install vitedu again"):
        check("lab1/rows_to_one", rows_to_one)


def boom(x):
    raise ValueError("two\nlines")


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (todo, "not answered yet. It needs todo, which is still a TODO."),
        (boom, "2 of 2 cases differ. ValueError: two lines (in boom, line"),
        (lambda x: x.softmax(-2), "This equals what comes out when the softmax runs over the columns."),
        (lambda x: None, "expected a tensor, got None"),
    ],
)
def test_validate_never_passes_what_is_not_right(f, said, monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    with pytest.raises(CheckFailed) as error:
        check("lab1/rows_to_one", f)
    (line,) = error.value._render_traceback_()
    assert line == str(error.value) and line.startswith("rows_to_one: not ") and "\n" not in line and said in line


def test_validate_passes_what_is_right(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    assert check("lab1/rows_to_one", rows_to_one).passed


def test_ipython_shows_one_line_and_no_traceback(monkeypatch, capsys):
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    shell = InteractiveShell()
    shell.user_ns.update(check=check, todo=todo)
    shell.run_cell('check("lab1/rows_to_one", todo)')
    shown = capsys.readouterr().out.strip()
    assert "not answered yet" in shown and "Traceback" not in shown and "\n" not in shown


def test_when_ready(capsys):
    def rows(x, scale=1):
        return x * scale

    assert when_ready(rows)(3, scale=2) == 6 and when_ready(rows).__name__ == "rows"
    assert when_ready(lambda: todo(1))() is None
    assert capsys.readouterr().out == "This appears when todo is written.\n"
    assert isinstance(when_ready(Layer)(2, 3), Layer)


@pytest.mark.parametrize("error", [ValueError("real"), NotImplementedError("masks come later")])
def test_when_ready_lets_real_bugs_through(error):
    def f():
        raise error

    with pytest.raises(type(error)) as caught:
        when_ready(f)()
    assert caught.traceback[-1].name == "f"


def test_examine(monkeypatch):
    assert examine("lab1/rows_to_one") is None
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(RuntimeError, match=r"load autograder/nbgrader_config\.py"):
        examine("lab1/rows_to_one")


def test_everything_in_html_is_escaped():
    def f(x):
        raise ValueError("<script>alert(1)</script> \"quoted\" 'too' & <img onerror=x>")

    f.__code__ = f.__code__.replace(co_qualname="<b>f</b>")
    html = check("lab1/rows_to_one", f)._repr_html_()
    assert "<script" not in html and "<img" not in html and "<b>f" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &quot;quoted&quot; &#x27;too&#x27; &amp;" in html
    nasty = "<script>'\""
    card = feedback_card.Card(nasty, nasty, feedback_card.WRONG, [(nasty, nasty)], [(False, nasty, nasty)], [nasty])
    assert "<script" not in feedback_card.html(
        card, (b"", nasty)
    ) and 'alt="&lt;script&gt;&#x27;&quot;"' in feedback_card.html(card, (b"", nasty))


def test_html_uses_plain_tags_with_inline_style_only():
    html = check("lab1/rows_to_one", lambda x: x.softmax(-2))._repr_html_()
    html += check("lab1/rows_to_one", rows_to_one)._repr_html_()
    tags = set(re.findall(r"<([a-z]+)", html))
    assert tags <= {"div", "b", "span", "br", "table", "tbody", "tr", "td", "details", "summary", "img", "p"}
    assert set(re.findall(r" ([a-z-]+)=\"", html)) <= {"style", "alt", "src"}


def test_the_same_note_is_not_said_twice():
    card = feedback_card.Card(
        "e",
        "s",
        feedback_card.WRONG,
        rows=[(False, "one", "n"), (False, "two", "n"), (True, "three", ""), (True, "four", "")],
    )
    assert feedback_card.text(card).split("\n")[1:] == [
        "  wrong   one: n",
        "  wrong   two: the same",
        "  right   three",
        "  right   four",
    ]
    assert feedback_card.html(card).count("the same") == 1


def test_what_else_differs_is_folded_away():
    note = "the loss differs\nand 2 more differ\nthe <accuracy> differs\nhead.bias differs"
    card = feedback_card.Card("e", "s", feedback_card.WRONG, rows=[(False, "one", note), (False, "two", note)])
    assert feedback_card.text(card).split("\n")[1:] == [
        "  wrong   one: the loss differs; and 2 more differ", "  wrong   two: the same",
    ]  # fmt: skip
    assert (
        "the loss differs<details><summary>and 2 more differ</summary><div>the &lt;accuracy&gt; differs</div>"
        "<div>head.bias differs</div></details>"
    ) in feedback_card.html(card)


def numbers(expected, got):
    """The note on a function that returns a number, or a tensor, where another is right."""
    case = FunctionCase("", "f")
    model, found = (ask(lambda value=value: value, case) for value in (expected, got))
    return note(found, comparable(found, case, T), comparable(model, case, T), case, T)


@pytest.mark.parametrize(
    ("expected", "got", "said"),
    [
        (-0.0, 0.5, "expected 0, got 0.5"),
        (0.5, -0.0, "expected 0.5, got 0"),
        (-1e-17, 0.25, "expected 0, got 0.25"),
        (torch.tensor([1.0, -0.0]).double(), torch.tensor([1.0, 2.0]).double(),
         "at [1] expected 0, got 2 (1 of 2 values differ)"),
        (393408, 148032, "expected 393408, got 148032"),
        (86567656, 86567000, "expected 86567656, got 86567000"),
        (86567656, 86567657, "expected 86567656, got 86567657"),
        (torch.tensor([0.5, 86567656.0], dtype=torch.float64), torch.tensor([0.5, 86567657.0], dtype=torch.float64),
         "at [1] expected 86567656, got 86567657 (1 of 2 values differ)"),
        (2.5347, 2.4372, "expected 2.535, got 2.437"),
        (0.25, float("nan"), "got NaN"),
        (0.25, float("-inf"), "got infinity"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_one_reads_them(expected, got, said):
    assert numbers(expected, got) == said


def test_a_hidden_note_says_how_much_of_which_result_differs():
    case = FunctionCase("", "f", args=(X,))
    model, found, pair = (ask(f, case) for f in (rows_to_one, lambda x: x.softmax(-2), lambda x: (x, x)))
    two, other = (ask(f, case) for f in (lambda x: (x, x + 1), lambda x: (x, x + 2)))

    def hidden(found, model):
        return note(found, comparable(found, case, T), comparable(model, case, T), case, T, values=False)

    assert hidden(found, model) == "the result of f differs (20 of 20 values, the first at [0, 0])"
    assert hidden(pair, model) == "expected one tensor, got tuple"
    assert hidden(other, two) == "result 2 of f differs (20 of 20 values, the first at [0, 0])"
    for other, right in ((3, 4), (86567657, 86567656)):
        assert hidden(*(ask(lambda x, n=n: n, case) for n in (other, right))) == "the result of f differs"


def test_an_answer_that_should_change_from_call_to_call_is_told_so():
    case = FunctionCase("", "f", args=(X,), scoring=Scoring(random=True))
    model, found, other = (ask(f, case) for f in (dropped, rows_to_one, lambda x: dropped(x)[None]))
    expected = comparable(model, case, T)
    assert note(found, comparable(found, case, T), expected, case, T) == (
        "two calls gave the same result, and each must give another one"
    )
    assert note(other, comparable(other, case, T), expected, case, T) == "shape: expected (4, 5), got (1, 4, 5)"


def test_a_failing_check_says_how_to_look_at_its_first_wrong_case():
    text = " ".join(repr(check("lab1/rows_to_one", lambda x: x.softmax(-1) if x.ndim == 2 else x)).split())
    assert text.endswith('To look at it: vitedu.case("lab1/rows_to_one", 2) (after import vitedu).')
    assert "vitedu.case" not in repr(check("lab1/rows_to_one", rows_to_one)) + repr(check("lab1/rows_to_one", todo))


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (200, 3), (2, 2, 5, 1), (0 + 1, 9, 70)])
def test_heatmaps_of_any_size(shape):
    torch.manual_seed(0)
    expected = torch.randn(shape)
    png, alt = feedback_card.heatmaps(
        expected, expected + torch.zeros(shape).index_fill_(0, torch.tensor(shape[0] - 1), 2.0)
    )
    assert Image.open(io.BytesIO(png)).format == "PNG" and "at most 2" in alt


def test_the_matrix_that_differs_most_is_shown():
    expected = torch.zeros(2, 3, 4, 5)
    got = expected.clone()
    got[1, 2, 0, 0], got[0, 0, 0, 0] = -3, 1
    assert "at [1, 2]" in feedback_card.heatmaps(expected, got)[1]


def test_words_without_the_names_of_arguments():
    case = FunctionCase("", "f", args=(X, X), gradients=True)
    model, found = (ask(f, case) for f in (lambda a, b: a * b, lambda a, b: a * b.detach()))
    said = note(found, comparable(found, case, T), comparable(model, case, T), case, T)
    assert said == "the values are right, but no gradient reaches 2"


def chances(fingerprint):
    versions = [version for m in fingerprint.misconceptions.values() for version in m.versions]
    return [[e.nondeterministic for e in (*version.given, *version.model)] for version in versions]


def test_fingerprints_come_back_and_are_the_same_bytes_twice(lab, tmp_path):
    loaded = fingerprint_file.load("lab1")
    assert list(loaded) == ["rows_to_one", "Layer"] and fingerprint_file.source(tmp_path / "lab1.safetensors") == "abc"
    for id, fingerprint in lab.items():
        assert loaded[id].targets == [id]
        for case, back in zip(fingerprint.cases, loaded[id].cases, strict=True):
            assert (back.name, type(back), back.scoring.raises) == (case.name, type(case), case.scoring.raises)
            assert all(torch.equal(back.inputs()[name], value) for name, value in case.inputs().items())
            assert back.weights.keys() == case.weights.keys()
            assert getattr(back, "init", ()) == getattr(case, "init", ()), "only modules are made"
        for mine, back in zip(fingerprint.expected, loaded[id].expected, strict=True):
            assert {**vars(mine), "values": None} == {**vars(back), "values": None}
            assert all(torch.equal(back.values[name], value) for name, value in mine.values.items())
        assert [(k, m.idea, m.question) for k, m in loaded[id].misconceptions.items()] == [
            (k, m.idea, m.question) for k, m in fingerprint.misconceptions.items()
        ]
        assert chances(loaded[id]) == chances(fingerprint)
        assert [len(each) for each in loaded[id].with_stand_ins] == [len(each) for each in fingerprint.with_stand_ins]
        assert [case.name for case in loaded[id].confirming] == [case.name for case in fingerprint.confirming]
    fingerprint_file.save(tmp_path / "again.safetensors", lab, source="abc")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "lab1.safetensors").read_bytes()


def test_values_too_large_for_float32_are_kept_as_they_are(tmp_path):
    case = FunctionCase("", "f", args=(X,))
    huge = comparable(ask(lambda x: x * 1e200, case), case, T)
    version = Version([Expected(huge)], facts(rows_to_one, [case]))
    right = [e.answer for e in facts(rows_to_one, [case])]
    one = Fingerprint([case], right, {"huge": StoredMisconception("", "", [version])})
    fingerprint_file.save(tmp_path / "lab2.safetensors", {"f": one})
    (back,) = fingerprint_file.load("lab2")["f"].misconceptions["huge"].versions[0].given
    assert torch.equal(back.answer.values["out"], huge.values["out"]) and math.isfinite(huge.values["out"].max())


def test_a_count_stays_exact_and_other_numbers_take_half_the_room(tmp_path):
    """float32 has no room for a count beyond 16 million, which is compared exactly."""
    case = FunctionCase("", "f", args=(X,))
    values = {
        "count": torch.tensor(86567657.0, dtype=torch.float64),
        "small": torch.tensor(1040.0).double(),
        "mean": X.double() / 3,
    }
    answers = {name: comparable(ask(lambda x, v=v: v, case), case, T) for name, v in values.items()}
    right = [e.answer for e in facts(rows_to_one, [case])]
    versions = {name: ("", "", [Version([Expected(a)], facts(rows_to_one, [case]))]) for name, a in answers.items()}
    one = Fingerprint([case], right, {name: StoredMisconception(*version) for name, version in versions.items()})
    fingerprint_file.save(tmp_path / "lab2.safetensors", {"f": one})
    back = fingerprint_file.load("lab2")["f"].misconceptions
    found = {name: back[name].versions[0].given[0].answer.values["out"] for name in values}
    assert found["count"].item() == 86567657 and found["small"].item() == 1040
    assert found["count"].dtype == torch.float64 and found["mean"].dtype == torch.float32


def test_the_package_is_light():
    heavy = "matplotlib", "IPython", "torchvision", "autograder"
    code = f"import sys, vitedu; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
