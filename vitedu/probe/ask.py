"""Ask a student's object a question and write down what comes back as tensors.

There are three kinds of questions, and a lab adds none: call a function; build a module, load
weights into it by name, and call it; run a function in a scenario. Inputs and
weights come in with the question, so no answer depends on a random seed or on the order in which
parameters were made.

The same function serves the instant checks in the notebook, the model answer, every
misconception, and the exam inside the student's kernel.
"""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitedu.probe import encoders, scenarios, serialization, toy_models
from vitedu.probe.case import MAX_KEYS, Answer, Case, FunctionCase, ModuleCase, ScenarioCase, must_travel
from vitedu.probe.serialization import as_tensor
from vitedu.probe.student_errors import failed
from vitedu.probe.wrapped_models import eagerly, lazies, plain, unusual_eps


def ask(
    target: Any,
    case: Case,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    namespace: Mapping[str, Any] | None = None,
) -> Answer:
    """Put one case to a function or class and write down the answer; raises nothing but a real interrupt.

    `namespace` holds the further objects that the case names. The seed makes even a random answer the
    same everywhere, so that dropout in an earlier exercise can be recognised in a later one; the
    caller's random state is left as it was.
    """
    with _interrupts() as interrupted:
        try:
            return attempt(target, case, dtype, seed, namespace)
        except BaseException as error:  # sys.exit() and its like are the answer's own affair, too
            if interrupted and isinstance(error, KeyboardInterrupt):
                raise
            return failed(error)


def attempt(
    target: Any,
    case: Case,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    namespace: Mapping[str, Any] | None = None,
) -> Answer:
    """As `ask`, and an exception of the answer's passes with its traceback."""
    # The notebook may have switched gradients off, or may use a GPU, whose random state is its own.
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), eagerly():
        torch.default_generator.manual_seed(seed)
        found = _ask(target, case, dtype, namespace or {})
        must_travel(found.tensors)
        return found


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Inside, an interrupt from outside leaves something in the list: an answer may raise KeyboardInterrupt, too."""
    seen: list[int] = []

    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield seen  # none comes from outside: interrupts are ignored, or end the process, or are another thread's
        return

    def note(number: int, frame: Any) -> None:
        seen.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        if signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def asks_for_float32(found: Answer) -> bool:
    """Whether an answer to a float64 question has a trouble of dtypes alone: it is asked again in float32."""
    if found.status == "error":
        return re.search(r"dtype|data ?type|scalar type|\b[Dd]ouble\b|float64", found.error["message"]) is not None
    half = (torch.float32, torch.float16, torch.bfloat16)
    return any(t.dtype in half for name, t in found.tensors.items() if name.split(".")[0] == "out")


def _ask(target: Any, case: Case, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Answer:
    if isinstance(case, ScenarioCase):
        kind, found = scenarios.run(target, case, dtype, namespace)
        return Answer("ok", kind, tensors={f"out.{name}": t for name, t in found.items()})
    if isinstance(case, ModuleCase):
        if case.maker:
            return _module(namespace[case.maker], case, dtype, use=target)
        return _module(target, case, dtype)
    return _function(target, case, dtype)


def _function(target: Callable[..., Any], case: FunctionCase, dtype: torch.dtype) -> Answer:
    """Ask a function; with a model of its own for each call, where the case brings one."""
    if not case.model:
        return _call(target, case, dtype, {})

    def call(*args: Any, **kwargs: Any) -> Any:
        return target(toy_models.build(case.model, case.weights, case.frozen, dtype).eval(), *args, **kwargs)

    return _call(call, case, dtype, {})


def _call(
    target: Callable[..., Any],
    case: FunctionCase | ModuleCase,
    dtype: torch.dtype,
    parameters: Mapping[str, Tensor],
    **about: Any,
) -> Answer:
    if case.before:
        with torch.no_grad():
            target(*(arranged(serialization.as_dtype(a, dtype), case) for a in case.before))

    def inputs(gradients: bool) -> tuple[list[Any], dict[str, Any]]:
        args = [serialization.as_dtype(a, dtype) for a in case.args]
        kwargs = {name: serialization.as_dtype(a, dtype) for name, a in case.kwargs.items()}
        for value in (*args, *kwargs.values()):
            if gradients and isinstance(value, Tensor) and value.is_floating_point():
                value.requires_grad_()
        return args, kwargs

    # The second call and the inputs afterwards show what a single result cannot: chance in the
    # computation, and arguments that were changed in place.
    any_dtype, loose = (case.any_dtype, ()) if isinstance(case, FunctionCase) else (False, case.loose)
    args, kwargs = inputs(gradients=False)
    with torch.no_grad():
        again = target(*(arranged(a, case) for a in args), **kwargs)
    after = {str(i): a for i, a in enumerate(args)} | kwargs
    tensors = {f"after.{name}": value for name, value in after.items() if isinstance(value, Tensor)}

    args, kwargs = inputs(case.gradients)
    fresh = [arranged(_fresh(a), case) for a in args]
    out: Any = target(*fresh, **{name: _fresh(value) for name, value in kwargs.items()})
    if not any_dtype and type(out).__module__ == "numpy" and getattr(out, "ndim", False):
        return Answer("ok", type(out).__name__, **about)  # no tensor, where one is asked for
    tensors |= _named("again", again) | _named("out", out)
    if case.gradients and isinstance(out, Tensor) and out.requires_grad and out.is_floating_point():
        leaves = {str(i): a for i, a in enumerate(args)} | kwargs
        leaves = {n: v for n, v in leaves.items() if isinstance(v, Tensor) and v.requires_grad} | dict(parameters)
        # A fixed, uneven weighting: a plain sum of a softmax's rows has no gradient at all.
        weighting = torch.cos(torch.arange(out.numel(), dtype=out.dtype, device=out.device)).view(out.shape)
        gradients = torch.autograd.grad((out * weighting).sum(), list(leaves.values()), allow_unused=True)
        found = {name: g for name, g in zip(leaves, gradients, strict=True) if g is not None}
        tensors |= {f"grad.{name}": _like(g, case.weights.get(name), name in loose) for name, g in found.items()}
    return Answer("ok", type(out).__name__, tensors=tensors, **about)


def _module(
    cls: Callable[..., Any], case: ModuleCase, dtype: torch.dtype, use: Callable[..., Any] | None = None
) -> Answer:
    """Ask a module, or a function `use` whose first argument it is."""
    module = cls(*map(encoders.made, case.init), **case.init_kwargs)
    if case.construct_only:
        return Answer("ok", type(module).__name__)
    if not isinstance(module, nn.Module):
        raise TypeError(f"expected an nn.Module, got {type(module).__name__}")
    module = module.to(dtype).train(case.train)
    own = module.state_dict()
    actual = {plain(key): key for key in own}
    state = {key: own[name] for key, name in actual.items()}
    late = {key for key, tensor in state.items() if lazies([tensor])}  # they take the size of what is loaded
    learnable = {plain(name) for name, _ in module.named_parameters()}
    fits = {
        key: key in late
        or state[key].shape == wanted.shape
        or (key in case.loose and _squeezed(state[key]) == _squeezed(wanted))
        for key, wanted in case.weights.items()
        if key in state
    }
    about: dict[str, Any] = {
        "absent": tuple(sorted(case.weights.keys() - state.keys()))[:MAX_KEYS],
        "extra": tuple(sorted(state.keys() - case.weights.keys()))[:MAX_KEYS],
        "misshapen": tuple(
            f"{key}: expected {tuple(case.weights[key].shape)}, got {tuple(state[key].shape)}"
            for key in sorted(fits)
            if not fits[key]
        )[:MAX_KEYS],
    }
    buffers = [key for key in about["extra"] if key not in learnable]
    about["aside"] = f"{buffers[0]} is a buffer: register it with persistent=False" if buffers else unusual_eps(module)
    if about["extra"] or about["misshapen"]:  # a parameter without a value would answer at random
        return Answer("ok", type(module).__name__, **about)
    weights = {
        actual[key]: serialization.as_dtype(case.weights[key], dtype).view(
            case.weights[key].shape if key in late else t.shape
        )
        for key, t in state.items()
    }
    module.load_state_dict(weights, strict=True)
    parameters = {plain(name): p for name, p in module.named_parameters() if p.requires_grad}
    call = module if use is None else lambda *args, **kwargs: use(module, *args, **kwargs)
    return _call(call, case, dtype, parameters, **about)


def _squeezed(t: Tensor) -> list[int]:
    """A shape without its leading dimensions of size 1."""
    shape = list(t.shape)
    while shape[:1] == [1]:
        shape.pop(0)
    return shape


def _like(t: Tensor, wanted: Tensor | None, loose: bool) -> Tensor:
    """A gradient in the shape that the exercise fixes, where its parameter may have another."""
    return t.view(wanted.shape) if loose and wanted is not None and t.numel() == wanted.numel() else t


def arranged(value: Any, case: FunctionCase | ModuleCase) -> Any:
    """Images as they also come: channels last, or cut out of larger ones. The values are the same."""
    if not case.layout or not isinstance(value, Tensor) or value.ndim != 4 or not value.is_floating_point():
        return value
    if case.layout == "channels_last":
        return value.contiguous(memory_format=torch.channels_last)
    return F.pad(value, (1, 2, 2, 1), value=float("nan"))[..., 2:-1, 1:-2]


def _fresh(value: Any) -> Any:
    """A copy that gradients flow through: to change a leaf in place would be an error of its own."""
    return value.clone() if isinstance(value, Tensor) else value


def _named(name: str, value: Any) -> dict[str, Tensor]:
    """A result as named tensors: one, those of a tuple or list, or those of a dictionary."""
    if isinstance(value, (tuple, list)):
        pairs = [(str(i), v) for i, v in enumerate(value[:8])]
    elif isinstance(value, Mapping):
        pairs = [(key, value[key]) for key in list(value)[:16] if isinstance(key, str) and len(key) < 40]
    else:
        single = as_tensor(value)
        return {} if single is None else {name: single}
    found = {f"{name}.{key}": as_tensor(v) for key, v in pairs}
    return {key: t for key, t in found.items() if t is not None}
