"""Lab 5's scenarios: functions that move trained weights into a library's model.

A case brings weights and a configuration; the function makes a model of them, and what is compared
are its logits. Whatever else can be said about the model is said as an error, in words.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.probe import serialization
from vitedu.probe.case import ScenarioCase
from vitedu.probe.quantities import Named, Quantity, fact
from vitedu.probe.recording import Numbers
from vitedu.probe.scenarios import Call, Scenario

LIBRARIES = {"torchvision": "torchvision.models", "timm": "timm.models.vision_transformer"}
# The options of a configuration that a library may not have.
OPTIONS = ("image_size", "in_channels", "head_dim", "qkv_bias", "pool", "gelu")


def port_weights(target: Callable[..., Any], case: ScenarioCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """The logits of the model that a function makes of weights and a configuration, as it comes back.

    parameters of the case: images (B, C, H, W); library, a key of LIBRARIES; and the configuration.

    Raises:
        TypeError: what came back is no model of the library.
        AssertionError: chance decides something in it, or in its logits.
    """
    config = dict(case.parameters)
    images, library = serialization.as_dtype(config.pop("images"), dtype), config.pop("library")
    state = {key: serialization.as_dtype(value, dtype) for key, value in case.weights.items()}
    given = dict(state)
    first, second = (_made(target, some, config, library, seed) for seed, some in enumerate((given, dict(state))))
    others = second.state_dict()
    for key, value in first.state_dict().items():
        if not torch.equal(value, others[key]):
            raise AssertionError(f"{key} is another one each time that the model is made: nothing was moved there")
    with torch.no_grad():
        logits, again = first(images), first(images)
    if not torch.allclose(logits, again, atol=1e-5):
        raise AssertionError("two calls with the same images give different logits: the model is in training mode")
    kept = given.keys() == state.keys() and all(given[key] is state[key] for key in state)
    same = kept and all(torch.equal(state[key], case.weights[key].to(state[key].dtype)) for key in state)
    return {"logits": logits, "weights_kept": torch.tensor(int(same))}


def _made(
    target: Callable[..., Any], state: dict[str, Tensor], config: Mapping[str, Any], library: str, seed: int
) -> nn.Module:
    torch.manual_seed(seed)
    model = target(state, dict(config))
    wanted = importlib.import_module(LIBRARIES[library]).VisionTransformer
    if not isinstance(model, wanted):
        raise TypeError(f"expected a VisionTransformer of {library}, got {_kind(model)}")
    return model


def _kind(value: Any) -> str:
    """The name of a class, without its module: that of a notebook is called differently here and there."""
    kind = type(value)
    library = kind.__module__.split(".")[0]
    return f"a {kind.__name__} of {library}" if library in LIBRARIES else f"another thing, of the type {kind.__name__}"


def refuse_weights(target: Callable[..., Any], case: ScenarioCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """1 when a function refuses a configuration by a ValueError that names the one option which does not fit.

    parameters of the case: option, the name; and the configuration.

    Raises:
        AssertionError: it does something else.
    """
    config = dict(case.parameters)
    option = config.pop("option")
    state = {key: serialization.as_dtype(value, dtype) for key, value in case.weights.items()}
    wanted = f"expected a ValueError whose message names {option}"
    try:
        made = target(state, config)
    except NotImplementedError:
        raise  # a TODO is no answer
    except ValueError as error:
        named = [name for name in OPTIONS if re.search(rf"\b{name}\b", str(error))]
        if named != [option]:
            also = f"one that names {', '.join(named)}" if named else "one that names none of the options"
            raise AssertionError(f"{wanted}, and no other option; got {also}") from None
    except Exception as error:
        raise AssertionError(f"{wanted}; got {type(error).__name__}") from None
    else:
        raise AssertionError(f"{wanted}; got {_kind(made)}")
    return {"refused": torch.tensor(1)}


def call(case: ScenarioCase, dtype: torch.dtype) -> Call:
    """The call of to_torchvision or to_timm."""
    config = {name: value for name, value in case.parameters.items() if name not in ("images", "library", "option")}
    state = {key: serialization.as_dtype(value, dtype) for key, value in case.weights.items()}
    then = "" if "option" in case.parameters else "the model's logits for images are looked at"
    return Call({"state_dict": state, "config": config}, then=then)


def named(case: ScenarioCase, output: str, expected: Mapping[str, Tensor]) -> Named | None:
    """What the outputs are called, see `Scenario.named`."""
    known: dict[str, Named] = {
        "logits": Quantity("the output of the model that comes back"),
        "weights_kept": fact((1, 0), zero="the state_dict that was given is another one afterwards"),
    }
    return known.get(output)


def _with_case(run: Callable[..., Numbers]) -> Scenario:
    return Scenario(
        run=lambda target, case, dtype, namespace: ("dict", run(target, case, dtype)), call=call, named=named
    )


SCENARIOS = {"port_weights": _with_case(port_weights), "refuse_weights": _with_case(refuse_weights)}
