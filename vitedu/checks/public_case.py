"""`vitedu.case`: one of a check's public cases, to look at its inputs and to run one's own code on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.checks import fingerprint_file
from vitedu.checks.in_words import described
from vitedu.probe import encoders, scenarios, serialization, toy_models
from vitedu.probe.ask import arranged, ask, asks_for_float32, attempt
from vitedu.probe.case import Case, FunctionCase, ModuleCase, ScenarioCase
from vitedu.terminal import printable

DTYPE = torch.float64  # of the questions of a check


def case(exam_id: str, number: int) -> PublicCase:
    """A public case of a check, for debugging: its inputs, the model that goes in, and the call.

    Args:
        exam_id: such as "lab4/fit".
        number: counted from 1, in the order in which the check lists its cases.

    Returns:
        An object that describes itself as the cell's result, see PublicCase.

    Raises:
        ValueError: an unknown exercise, or one that has no case of this number; the text says what there is.
    """
    lab, _, exercise = exam_id.partition("/")
    known = fingerprint_file.load(lab)
    if exercise not in known:
        listed = ", ".join(f"{lab}/{id}" for id in known)
        raise ValueError(f"{lab} has no check {exercise!r}, so it has no cases; write one of {listed}.")
    cases = known[exercise].cases
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(cases):
        raise ValueError(
            f"Expected the number of one of the {len(cases)} cases of {exam_id}, found {number!r}; count from 1 to "
            f"{len(cases)}, in the order in which the check lists them."
        )
    return PublicCase(exam_id, number, cases[number - 1])


def hint(exam_id: str, number: int) -> str:
    """The sentence under a check that says how to look at a case."""
    return f'To look at it: vitedu.case("{exam_id}", {number}) (after import vitedu).'


class PublicCase:
    """A public case. Whatever goes into a call is made anew each time that it is asked for, in float64.

    Attributes:
        exam_id, number: as in `case`.
        name: what the case looks at, as the check calls it.
        targets: names of the functions and classes that `run` needs, in order.
    """

    def __init__(self, exam_id: str, number: int, asked: Case) -> None:
        self.exam_id, self.number, self.name, self.targets = exam_id, number, asked.name, asked.names
        self._asked = asked

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments of the call; of a function that takes a model, the model is the first."""
        return tuple(self._call().positional.values())

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self._call().keyword)

    @property
    def model(self) -> nn.Module | None:
        """A fresh copy of the model that goes in, with its weights; None where none does."""
        model: nn.Module | None = self._call().positional.get("model")
        return model

    @property
    def batches(self) -> dict[str, list[tuple[Tensor, Tensor]]]:
        """What each loader yields in an epoch, (images, labels) by batch, under the name of the loader."""
        return {name: list(value) for name, value in self._call().positional.items() if name.endswith("loader")}

    @property
    def settings(self) -> dict[str, Any]:
        """The numbers and options of a problem on which a function is run, without its tensors."""
        given = self._asked.parameters if isinstance(self._asked, ScenarioCase) else {}
        return {name: value for name, value in given.items() if not isinstance(value, Tensor)}

    @property
    def init(self) -> tuple[Any, ...]:
        """The positional arguments of a module's constructor."""
        with torch.random.fork_rng(devices=[]):
            return tuple(map(encoders.made, self._asked.init)) if isinstance(self._asked, ModuleCase) else ()

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """The keyword arguments of a module's constructor."""
        return dict(self._asked.init_kwargs) if isinstance(self._asked, ModuleCase) else {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights that a module or a model gets, by state_dict key."""
        return {key: serialization.as_dtype(value, DTYPE) for key, value in self._asked.weights.items()}

    @property
    def line(self) -> str:
        """The call, as a line of Python that works where this object is called `case`."""
        asked = self._asked
        if isinstance(asked, ModuleCase) and asked.construct_only:
            return f"{asked.target}(*case.init, **case.init_kwargs)"
        given = "*case.args" + ", **case.kwargs" * bool(self.kwargs)
        if not isinstance(asked, ModuleCase):
            return f"{asked.target}({given})"
        if asked.maker:
            return f"{asked.target}(case.module({asked.maker}), {given})"
        return f"case.module({asked.target})({given})"

    def module(self, cls: Callable[..., nn.Module]) -> nn.Module:
        """A module of your class as the check makes it: with its weights, in eval mode or in training mode.

        Raises:
            ValueError: this case makes no module.
            RuntimeError: the weights do not fit; torch says which.
        """
        asked = self._asked
        if not isinstance(asked, ModuleCase):
            raise ValueError(f"Case {self.number} of {self.exam_id} makes no module; write {self._run_line()}.")
        with torch.random.fork_rng(devices=[]):
            made = cls(*self.init, **self.init_kwargs).to(DTYPE).train(asked.train)
        weights, own = self.weights, made.state_dict()
        for key in asked.loose:  # these may lack leading dimensions of size 1
            if key in own and key in weights and own[key].numel() == weights[key].numel():
                weights[key] = weights[key].view(own[key].shape)
        made.load_state_dict(weights)
        return made

    def run(self, *targets: Any) -> dict[str, Tensor]:
        """Run your code on exactly this case.

        Args:
            targets: the functions or classes themselves, in the order of `self.targets`.

        Returns:
            What the check looks at, by name. An exception of your code passes with its traceback.

        Raises:
            ValueError: not the things that this case needs.
        """
        if len(targets) != len(self.targets) or not all(map(callable, targets)):
            got = ", ".join(type(target).__name__ for target in targets) or "nothing"
            raise ValueError(f"Expected {', '.join(self.targets)} themselves, found {got}; write {self._run_line()}.")
        objects = dict(zip(self.targets, targets, strict=True))
        quick = ask(targets[0], self._asked, DTYPE, namespace=objects)
        dtype = torch.float32 if asks_for_float32(quick) else DTYPE
        found = attempt(targets[0], self._asked, dtype, namespace=objects)
        return {_output(name): tensor for name, tensor in found.tensors.items()}

    def __repr__(self) -> str:
        call = self._call()
        rows = [(name, described(value)) for name, value in (*call.positional.items(), *call.keyword.items())]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f'vitedu.case("{self.exam_id}", {self.number}): {self.name}', f"  {self.line}"]
        lines += [f"    {name:<{width}}  {text}" for name, text in rows]
        lines += [f"  {sentence}" for sentence in self._besides(call)]
        return printable("\n".join([*lines, f"  {self._run_line()} gives what the check looks at."]))

    def _besides(self, call: scenarios.Call) -> list[str]:
        """What the check does besides the call, or asks of it."""
        asked = self._asked
        said = [f"{call.then[0].upper()}{call.then[1:]}."] if call.then else []
        if isinstance(asked, ModuleCase):
            said.append(_made(asked, self.init))
        if asked.scoring.raises is not None:
            said.append(f"A ValueError must come that names {' and '.join(map(str, asked.scoring.raises))}.")
        if asked.scoring.random:
            said.append("Each call must give something else.")
        if not isinstance(asked, ScenarioCase) and asked.gradients:
            said.append("Gradients are compared as well.")
        return said

    def _run_line(self) -> str:
        return f"case.run({', '.join(self.targets)})"

    def _call(self) -> scenarios.Call:
        """The call with new objects; arguments without names are numbered."""
        asked = self._asked
        with torch.random.fork_rng(devices=[]):
            if isinstance(asked, ScenarioCase):
                return scenarios.find(asked.scenario).call(asked, DTYPE)
            model = {}
            if isinstance(asked, FunctionCase) and asked.model:
                model = {"model": toy_models.build(asked.model, asked.weights, asked.frozen, DTYPE).eval()}
        given = [arranged(serialization.as_dtype(value, DTYPE), asked) for value in asked.args]
        keyword = {name: serialization.as_dtype(value, DTYPE) for name, value in asked.kwargs.items()}
        return scenarios.Call(model | {f"argument {i + 1}": value for i, value in enumerate(given)}, keyword)


def _made(asked: ModuleCase, init: tuple[Any, ...]) -> str:
    """How the module of a case is made."""
    sizes = [*map(described, init), *(f"{name}={value!r}" for name, value in asked.init_kwargs.items())]
    made = f"The module is {asked.maker or asked.target}({', '.join(sizes)})"
    mode = "training" if asked.train else "eval"
    weights = f", in {mode} mode, with the {len(asked.weights)} tensors of case.weights"
    return f"{made}{'' if asked.construct_only else weights}."


def _output(name: str) -> str:
    """A recorded tensor in words: "out.train_loss" -> "train_loss", "grad.0" -> "gradient of argument 1"."""
    kind, _, key = name.partition(".")
    if kind == "out":
        return key or "result"
    key = f"argument {int(key) + 1}" if key.isdigit() else key
    return {"again": f"result {key}".strip() + " of a second call", "grad": f"gradient of {key}"}.get(
        kind, f"{key} afterwards"
    )
