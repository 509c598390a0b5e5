"""The probe: what it asks, what it writes down, and that nothing a student's code does makes it raise."""

import base64
import dataclasses
import math
import signal
import threading
import warnings

import pytest
import torch
from torch import nn

from vitedu.checks.mismatch import note
from vitedu.probe import case, kernel_entry, serialization
from vitedu.probe.ask import ask, asks_for_float32
from vitedu.probe.case import Answer, FunctionCase, ModuleCase, Scoring, read_cases, request
from vitedu.probe.comparison import comparable
from vitedu.probe.student_errors import integers_in, is_todo

X = torch.randn(2, 3, dtype=torch.float64)
W = torch.randn(4, 3, dtype=torch.float64)
CALL = FunctionCase("a call", "f", args=(X,), gradients=True)
LINEAR = ModuleCase(
    "a module", "M", args=(X,), init=(3, 4), gradients=True,
    weights={"to_q.weight": W, "to_q.bias": torch.ones(4, dtype=torch.float64)},
)  # fmt: skip


class Head(nn.Module):
    def __init__(self, dim, out):
        super().__init__()
        self.to_q = nn.Linear(dim, out)

    def forward(self, x):
        return self.to_q(x)


def test_a_call_gives_result_repetition_inputs_and_gradients():
    found = ask(lambda x: x * x, CALL)
    assert (found.status, found.kind) == ("ok", "Tensor")
    assert set(found.tensors) == {"out", "again", "after.0", "grad.0"}
    assert torch.equal(found.tensors["out"], X * X) and torch.equal(found.tensors["after.0"], X)
    weighting = torch.cos(torch.arange(6, dtype=torch.float64)).view(2, 3)
    assert torch.allclose(found.tensors["grad.0"], 2 * X * weighting)


def test_keyword_arguments_and_other_values():
    case = FunctionCase("", "f", args=(X, 2), kwargs={"mask": X > 0, "scale": X}, gradients=True)
    found = ask(lambda x, n, mask, scale: x * n * mask * scale, case)
    assert set(found.tensors) == {"out", "again", "after.0", "after.mask", "after.scale", "grad.0", "grad.scale"}
    assert found.tensors["after.mask"].dtype == torch.bool


def test_a_call_before_is_made_on_the_same_object_and_not_looked_at():
    class Keeping(Head):
        def forward(self, x):
            self.rows = getattr(self, "rows", len(x))
            return super().forward(x) + self.rows

    assert torch.allclose(ask(Keeping, LINEAR).tensors["out"], X @ W.T + 3)
    case = dataclasses.replace(LINEAR, before=(torch.ones(5, 3).double(),))
    (sent,) = read_cases(*serialization.unpack(request([case], "float64", "n")))
    for asked in (case, sent):
        found = ask(Keeping, asked)
        assert torch.allclose(found.tensors["out"], X @ W.T + 6)
        assert set(found.tensors) == set(ask(Keeping, LINEAR).tensors)
    seen = []
    ask(lambda *args: seen.append(len(args)) or X, FunctionCase("", "f", args=(X,), before=(X, 2)))
    assert seen == [2, 1, 1]


def test_a_module_gets_its_weights_by_name():
    found = ask(Head, LINEAR)
    assert torch.allclose(found.tensors["out"], X @ W.T + 1)
    assert {"grad.0", "grad.to_q.weight", "grad.to_q.bias"} <= set(found.tensors)
    assert (found.absent, found.extra, found.misshapen) == ((), (), ())


def test_a_module_is_asked_in_evaluation_mode_and_the_dtype_of_the_question():
    seen = []

    class Module(Head):
        def forward(self, x):
            seen.append((self.training, x.dtype, self.to_q.weight.dtype))
            return super().forward(x)

    ask(Module, LINEAR, torch.float32)
    assert seen == [(False, torch.float32, torch.float32)] * 2


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"to_q": nn.Linear(3, 4, bias=False)}, {"absent": ("to_q.bias",)}),
        ({"more": nn.Linear(1, 1, bias=False)}, {"extra": ("more.weight",)}),
        (
            {"to_q": nn.Linear(3, 5)},
            {"misshapen": ("to_q.bias: expected (4,), got (5,)", "to_q.weight: expected (4, 3), got (5, 3)")},
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_is_named(change, facts):
    class Module(Head):
        def __init__(self, dim, out):
            super().__init__(dim, out)
            for name, child in change.items():
                setattr(self, name, child)

    found = ask(Module, LINEAR)
    expected = {"absent": (), "extra": (), "misshapen": ()} | facts
    assert {name: getattr(found, name) for name in expected} == expected
    assert ("out" in found.tensors) == (not (found.extra or found.misshapen))


def test_buffers_that_are_not_saved_and_parts_without_parameters_are_fine():
    class Module(Head):
        def __init__(self, dim, out):
            super().__init__(dim, out)
            self.register_buffer("positions", torch.arange(3), persistent=False)
            self.softmax = nn.Softmax(-1)

    assert ask(Module, LINEAR).extra == ()


def test_a_buffer_that_is_saved_is_told_from_a_parameter():
    class Module(Head):
        def __init__(self, dim, out):
            super().__init__(dim, out)
            self.register_buffer("positions", torch.arange(3))
            self.further = nn.Parameter(torch.ones(1))

    found = Answer.read(ask(Module, LINEAR).header(), {})
    assert found.extra == ("further", "positions")
    right = comparable(ask(Head, LINEAR), LINEAR, 1e-6)
    assert note(found, comparable(found, LINEAR, 1e-6), right, LINEAR, 1e-6) == (
        "the state_dict should not hold further, positions; positions is a buffer: register it with persistent=False"
    )


def compiled(backend):
    """Every way in which torch.compile is put on a module."""
    whole = type("Whole", (Head,), {})
    method = type("Method", (Head,), {"forward": torch.compile(Head.forward, backend=backend)})

    class Inner(Head):
        def __init__(self, dim, out):
            super().__init__(dim, out)
            for name, child in list(self.named_children()):
                setattr(self, name, torch.compile(child, backend=backend))
            self.compile(backend=backend)

    return [
        torch.compile(whole, backend=backend), method, Inner,
        lambda dim, out: torch.compile(Head(dim, out), backend=backend),
    ]  # fmt: skip


def test_what_is_compiled_is_asked_as_it_was_written():
    def backend(graph, inputs):
        raise AssertionError("a probe has no time to compile")

    plain = ask(Head, LINEAR).tensors
    for made in (*compiled(backend), lambda dim, out: torch.jit.script(Head(dim, out))):
        found = ask(made, LINEAR)
        assert found.status == "ok" and not (found.absent or found.extra), found
        assert found.tensors.keys() == plain.keys()
        assert all(torch.allclose(t, plain[name]) for name, t in found.tensors.items())
    f = ask(torch.compile(lambda x: x * 2, backend=backend), CALL)
    assert f.status == "ok", f.error


def test_lazy_layers_take_the_size_of_their_weights():
    class Lazy(Head):
        def __init__(self, dim, out):
            super().__init__(dim, out)
            for name, child in list(self.named_children()):
                setattr(self, name, nn.LazyLinear(child.out_features))

    plain, found = ask(Head, LINEAR), ask(Lazy, LINEAR)
    assert found.status == "ok" and found.tensors.keys() == plain.tensors.keys()
    assert all(torch.allclose(t, plain.tensors[name]) for name, t in found.tensors.items())


def test_an_eps_that_is_not_accepted_is_named_beside_other_numbers():
    def norm(eps):
        return type("Norm", (nn.LayerNorm,), {"__init__": lambda self: nn.LayerNorm.__init__(self, 3, eps=eps)})

    asked = ModuleCase("", "N", args=(1e-3 * X,), init=(), weights={"weight": torch.ones(3), "bias": torch.zeros(3)})
    right, odd = (ask(norm(eps), asked) for eps in (1e-5, 1e-12))
    assert right.aside == "" and ask(norm(1e-6), asked).aside == ""
    told = Answer.read(odd.header(), odd.tensors)
    said = note(told, comparable(told, asked, 1e-6), comparable(right, asked, 1e-6), asked, 1e-6)
    assert said.endswith("; a LayerNorm has eps 1e-12, and accepted are 1e-5 and 1e-6")


def test_constructor_alone():
    case = ModuleCase("", "M", init=(3,), init_kwargs={"out": 4}, construct_only=True)
    assert ask(Head, case) == Answer("ok", "Head")


@pytest.mark.parametrize(
    ("result", "kind", "outs"),
    [
        (lambda x: (x, 3, x + 1), "tuple", {"out.0", "out.1", "out.2"}),
        (lambda x: (x, "text", 2.5), "tuple", {"out.0", "out.2"}),
        (lambda x: {"loss": 1.5, "maps": [1, 2.0], 3: 4, "who": "me"}, "dict", {"out.loss", "out.maps"}),
        (lambda x: [x] * 20, "list", {f"out.{i}" for i in range(8)}),
        (lambda x: None, "NoneType", set()),
        (lambda x: x.tolist(), "list", {"out.0", "out.1"}),
        (lambda x: x.detach().numpy(), "ndarray", set()),
        (lambda x: x.sum().item(), "float", {"out"}),
        (lambda x: nn.Parameter(x.detach()), "Parameter", {"out"}),
        (lambda x: x.T, "Tensor", {"out"}),
        (lambda x: x[0, 0], "Tensor", {"out"}),
        (lambda x: x[:0], "Tensor", {"out"}),
        (lambda x: x.argmax(-1), "Tensor", {"out"}),
        (lambda x: x > 0, "Tensor", {"out"}),
    ],
)
def test_every_kind_of_result_travels(result, kind, outs):
    found = ask(result, CALL)
    assert (found.status, found.kind) == ("ok", kind)
    assert {name for name in found.tensors if name.startswith("out")} == outs
    header, tensors = serialization.unpack(case.pack_answer(found, "nonce", 3))
    assert (header["nonce"], header["case"]) == ("nonce", 3)
    back = Answer.read(header, tensors)
    assert (back.status, back.kind) == (found.status, found.kind)
    assert all(torch.equal(back.tensors[name], t.detach()) for name, t in found.tensors.items())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda x: x.detach().to_sparse(), "sparse"),
        (lambda x: x.detach().to(torch.complex128), "complex128"),
        (lambda x: x.detach().to("meta"), "meta"),
        (lambda x: torch.zeros(1).expand(10**10), "bytes"),
        (lambda x: torch.zeros(3 * 2**20, dtype=torch.float64), "bytes"),
    ],
)
def test_a_result_that_cannot_travel_is_an_error_with_a_reason(result, message):
    found = ask(result, CALL)
    assert found.status == "error" and message in found.error["message"] and not found.tensors


def raises(error):
    def f(x):
        raise error

    return f


class Unprintable(ValueError):
    def __str__(self):
        raise RuntimeError("no text")


class Own(LookupError):
    pass


@pytest.mark.parametrize(
    ("error", "status", "kind", "integers"),
    [
        (NotImplementedError("TODO"), "undone", "NotImplementedError", []),
        (NotImplementedError(), "undone", "NotImplementedError", []),
        (NotImplementedError("masks come later"), "error", "NotImplementedError", []),
        (ValueError("dim 10 does not split into 3 heads"), "error", "ValueError", [10, 3]),
        (ValueError("-7 and " + "9" * 30), "error", "ValueError", [-7]),
        (SystemExit(2), "error", "SystemExit", [2]),
        (KeyboardInterrupt(), "error", "KeyboardInterrupt", []),
        (GeneratorExit(), "error", "GeneratorExit", []),
        (ValueError("x" * 5000), "error", "ValueError", []),
        (Unprintable(), "error", "ValueError", []),
        (Own("mine"), "error", "Exception", []),
        (UnicodeError("a kind of ValueError"), "error", "ValueError", []),
    ],
)
def test_exceptions(error, status, kind, integers):
    found = ask(raises(error), CALL)
    assert (found.status, found.error["type"]) == (status, kind)
    assert found.error["integers"] == integers
    assert len(found.error["message"]) <= 300
    assert Answer.read(found.header(), {}).error == found.error


@pytest.mark.parametrize(
    ("message", "integers"),
    [
        *((m, [13, 3]) for m in (
            "dim-13/heads-3", "(13,3)", "13x3", "dim=13,heads=3", "dim_13, heads_3.", "13%3", "[13]-[3]", "13-3",
            "dim 13.0, heads 3", "#13: not 3!", "13\n3",
        )),
        ("got -3, want (-13)", [-3, -13]), ("x=-3", [-3]), ("x = -3", [-3]),
        ("(-3, 2)", [-3, 2]), ("13 / 3 is 4.33", [13, 3]), ("no number", []),
        ("dim -13, heads -3", [13, -13, 3, -3]), ("13 -3", [13, -3]),  # a dash or a minus: either reading counts
    ],
)  # fmt: skip
def test_numbers_are_found_with_any_punctuation(message, integers):
    assert integers_in(message) == integers


def test_an_interrupt_from_outside_is_no_answer():
    def f(x):
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            ask(f, CALL)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_own_interrupt_is_told_from_a_real_one_whoever_handles_interrupts():
    """As asyncio does: then one that an answer raises is still its own, and a real one still reaches the handler."""
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        assert ask(raises(KeyboardInterrupt()), CALL).error["type"] == "KeyboardInterrupt"
        ask(lambda x: signal.raise_signal(signal.SIGINT), CALL)
    finally:
        signal.signal(signal.SIGINT, before)
    assert pressed  # once for each call that the question makes
    threaded = []
    thread = threading.Thread(target=lambda: threaded.append(ask(raises(KeyboardInterrupt()), CALL)))
    thread.start()
    thread.join()
    assert threaded[0].error["type"] == "KeyboardInterrupt"


def test_torchs_own_not_implemented_is_no_todo():
    softmax = ask(lambda x: x.argmax(-1).softmax(-1), CALL)  # "not implemented for 'Long'"
    assert (softmax.status, softmax.error["type"]) == ("error", "NotImplementedError")
    no_forward = ask(type("M", (nn.Module,), {"__init__": lambda self: super(nn.Module, self).__init__()}), CALL)
    assert no_forward.status == "error"
    assert is_todo(NotImplementedError("TODO: attention_weights")) and not is_todo(ValueError("TODO"))


OUTER = """
import torch
def outer(x):
    def inner(x):
        return torch.nn.functional.softmax(x, dim=7)
    return inner(x)
"""
MODULE = """
from torch import nn
class M(nn.Module):
    def __init__(self):
        super().__init__()
        nn.Linear("a", 2)
"""


@pytest.mark.parametrize(
    ("source", "case", "place"),
    [
        (OUTER, FunctionCase("", "outer", args=(X,)), ("outer.<locals>.inner", 5)),
        (MODULE, ModuleCase("", "M", init=(), construct_only=True), ("M.__init__", 6)),
    ],
)
def test_an_error_is_placed_in_the_students_code_not_in_the_library(source, case, place):
    namespace = {}
    exec(compile(source, "/home/student/attention.py", "exec"), namespace)
    error = ask(namespace[case.target], case).error
    assert (error["where"], error["line"]) == place


def test_endless_recursion_is_an_answer():
    def f(x):
        return f(x)

    assert ask(f, CALL).error["type"] == "RecursionError"


def test_changes_in_place_show_afterwards_and_do_not_hide_behind_an_autograd_error():
    def f(x):
        x *= 2
        return x + 1

    found = ask(f, CALL)
    assert found.status == "ok"
    assert torch.equal(found.tensors["after.0"], 2 * X) and torch.equal(found.tensors["out"], 2 * X + 1)
    assert "grad.0" in found.tensors


def test_chance_shows_in_the_second_call_and_is_the_same_in_every_process():
    def f(x):
        return nn.functional.dropout(x)

    one, two, other = ask(f, CALL), ask(f, CALL), ask(f, CALL, seed=1)
    assert not torch.equal(one.tensors["out"], one.tensors["again"])
    assert torch.equal(one.tensors["out"], two.tensors["out"])
    assert not torch.equal(one.tensors["out"], other.tensors["out"])


def test_the_callers_random_state_stays():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    ask(torch.rand_like, CALL)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("f", "gradients"),
    [
        (lambda x, y: (x * y).detach(), set()),
        (lambda x, y: x * y.detach(), {"grad.0"}),
        (lambda x, y: (x > y).long(), set()),
        (lambda x, y: x * y, {"grad.0", "grad.y"}),
    ],
)
def test_gradients_that_do_not_flow_are_missing(f, gradients):
    found = ask(f, FunctionCase("", "f", args=(X,), kwargs={"y": X + 1}, gradients=True))
    assert {name for name in found.tensors if name.startswith("grad.")} == gradients


def test_gradients_are_asked_even_where_the_notebook_switched_them_off():
    with torch.no_grad():
        assert "grad.0" in ask(lambda x: x * x, CALL).tensors


@pytest.mark.parametrize(
    ("f", "again"),
    [
        (lambda x: x @ torch.ones(3, 3), True),
        (lambda x: nn.functional.linear(x, torch.ones(3, 3)), True),
        (lambda x: nn.functional.layer_norm(x, (3,), torch.ones(3)), True),
        (lambda x: x.float(), True),
        (lambda x: x.bfloat16(), True),
        (lambda x: (x.float(), x), True),
        (lambda x: x * math.pi, False),
        (lambda x: x.argmax(), False),
        (raises(ValueError("sizes 3 and 4 do not fit")), False),
        (lambda x: None, False),
    ],
)
def test_only_trouble_with_dtypes_is_asked_again_in_float32(f, again):
    assert asks_for_float32(ask(f, FunctionCase("", "f", args=(X,)))) is again


@pytest.mark.parametrize(
    "header",
    [
        {"status": 3}, {"status": "ok", "kind": None}, {"status": "ok", "kind": "", "error": "text"},
        {"status": "ok", "kind": "", "error": {"type": 3}}, {"status": "ok", "kind": "", "absent": "abc"},
        {"status": "ok", "kind": "", "absent": [], "extra": [[]]}, {},
    ],
)  # fmt: skip
def test_a_header_of_the_wrong_shape_is_refused(header):
    with pytest.raises(serialization.WireError):
        Answer.read(header, {})


def test_a_forged_header_is_cut_to_size():
    error = {
        "type": "Winner",
        "message": "m" * 9999,
        "where": "w" * 9999,
        "line": "x",
        "integers": [1, "a", 2.5, *range(99)],
    }
    read = Answer.read(
        {
            "status": "error",
            "kind": "k" * 99,
            "error": error,
            "absent": ["a" * 999] * 999,
            "extra": [],
            "misshapen": [],
        },
        {},
    )
    assert (len(read.kind), len(read.absent), len(read.absent[0])) == (40, 64, 100)
    assert (read.error["type"], len(read.error["message"]), read.error["line"]) == ("Exception", 300, 0)
    assert len(read.error["integers"]) <= 16
    with pytest.raises(serialization.WireError, match="status"):
        Answer.read(read.header() | {"status": "graded"}, {})


def test_a_request_holds_the_question_and_not_the_judges_part():
    case = ModuleCase(
        "a secret name", "M", args=(X, (2, 3)), init=((4, 6), 3), init_kwargs={"pool": "cls"}, weights={"w": W},
        scoring=Scoring(raises=(10, 3), share=7.0), gradients=True,
    )  # fmt: skip
    data = request([case], "float64", "n")
    assert b"secret" not in data and b"raises" not in data and b"share" not in data
    (back,) = read_cases(*serialization.unpack(data))
    assert (back.target, back.init, back.init_kwargs, back.args[1]) == ("M", ((4, 6), 3), {"pool": "cls"}, (2, 3))
    assert torch.equal(back.args[0], X) and torch.equal(back.weights["w"], W)
    assert (back.construct_only, back.gradients, back.scoring) == (False, True, Scoring())


def test_the_kernels_side_answers_each_case_with_a_message_of_its_own(monkeypatch):
    sent = []
    monkeypatch.setattr("IPython.display.publish_display_data", sent.append)
    cases = [CALL, FunctionCase("", "nobody", args=(X,)), FunctionCase("", "huge", args=(X,))]
    encoded = base64.b64encode(request(cases, "float64", "n1")).decode()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel_entry.answer(encoded, {"f": torch.exp, "huge": lambda x: x.expand(10**7, 2, 3)})
    read = [serialization.unpack(base64.b64decode(message[serialization.MIME])) for message in sent]
    assert [header["case"] for header, _ in read] == [0, 1, 2] and {header["nonce"] for header, _ in read} == {"n1"}
    assert [header["status"] for header, _ in read] == ["ok", "missing", "error"]
    assert torch.equal(read[0][1]["out"], X.exp())
