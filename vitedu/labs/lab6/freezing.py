"""Scenarios of freezing and heads: what learns, what moves, and what a new head looks like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.labs.lab6.recording import changed_entries, flags, state_of
from vitedu.labs.lab6.stub_models import stub_model
from vitedu.probe.scenarios import Call
from vitedu.probe.serialization import as_tensor


def freeze_call(given: dict, dtype: torch.dtype) -> Call:
    """The call of freeze_all_but."""
    then = "then model.train(), and a forward and a backward pass"
    model = stub_model(given, dtype).requires_grad_(not given.get("frozen"))
    return Call({"model": model, "module_names": list(given["names"])}, then=then)


def freeze(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """freeze_all_but, then train() and a forward pass: what learns, which dropouts act, which statistics move.

    parameters: those of stub_model; names; x, images; mode, "eval" where the model is found in it; frozen: nothing
    in it learns when it is found.
    """
    call = freeze_call(given, dtype)
    model = call.positional["model"]
    before, names = state_of(model), [name for name, _ in model.named_parameters()]
    model.train(given.get("mode") != "eval")
    acted = {name: False for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    call.of(target)
    named = dict(model.named_parameters())
    found = {
        "trainable": flags(*(name in named and named[name].requires_grad for name in names)),
        "state": changed_entries(before, model),
    }
    with torch.no_grad():
        found["logits"] = model.eval()(given["x"].to(dtype))
    model.train()

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            acted[name] = acted[name] or not torch.equal(inputs[0], out)

        return hook

    for name, module in model.named_modules():
        if name in acted:
            module.register_forward_hook(note(name))
    out = model(given["x"].to(dtype))
    found["buffers"] = changed_entries(before, model)
    found["dropouts"] = flags(*acted.values()) if acted else flags(0)
    learns = [p for p in model.parameters() if p.requires_grad]
    loss = sum((part**2).sum() for part in (out if isinstance(out, tuple) else (out,)))
    if learns and loss.requires_grad:
        loss.backward()
    found["gradients"] = flags(*(name in named and named[name].grad is not None for name in names))
    return "NoneType", found


HEADS = ("head", "head_dist", "classifier", "fc")


def replace_head_call(given: dict, dtype: torch.dtype) -> Call:
    """The call of replace_head, on a model all of whose parameters are frozen."""
    model = stub_model(given, torch.float32).requires_grad_(False)
    if given.get("meta"):
        model = model.to("meta", torch.float16)
    return Call({"model": model, "num_classes": given["new_classes"]})


def replace_head(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """replace_head on a model whose parameters are frozen; with `meta` on a device without numbers, in float16.

    parameters: those of stub_model; new_classes; x, images; meta.
    """
    call = replace_head_call(given, dtype)
    model = call.positional["model"]
    before = state_of(model)
    result = call.of(target)
    model = result if isinstance(result, nn.Module) else model
    after = model.state_dict()
    own = [name for name in before if name.split(".")[0] in HEADS]
    here = [after[name] for name in own if name in after]
    found = {
        "shapes": torch.tensor([[*t.shape, 0][:2] for t in here] or [[0, 0]]),
        "names": torch.tensor([len(after), len(set(after) - set(before)), len(set(before) - set(after))]),
        "learns": flags(*(p.requires_grad for p in model.parameters())),
        "place": flags(*(t.device == before[own[0]].device and t.dtype == before[own[0]].dtype for t in here)),
    }
    if not given.get("meta"):
        rest = {name: t for name, t in before.items() if name not in own}
        found["rest"] = changed_entries(rest, model)
        rows = min(given["classes"], given["new_classes"])
        found["fresh"] = flags(*(not torch.allclose(after[n][:rows], before[n][:rows]) for n in own if n in after))
        out = model.train()(given["x"].float())
        out = out if isinstance(out, tuple) else (out,)
        found["logits"] = torch.tensor([list(logits.shape) for logits in out])
        sums = [bool(((logits.sum(1) - 1).abs() < 1e-3).all()) for logits in out]
        found["probabilities"] = flags(*sums)
    return "Module", found


def head_loss_call(given: dict, dtype: torch.dtype) -> Call:
    """The call of two_head_loss, on the logits of one head, or on those of two."""
    outputs = [given[name].to(dtype).clone().requires_grad_() for name in ("first", "second") if name in given]
    asked = ", ".join("head_accuracy(outputs, labels" + (f', "{heads}")' if heads else ")") for heads in given["heads"])
    return Call(
        {"outputs": tuple(outputs) if len(outputs) > 1 else outputs[0], "labels": given["labels"]},
        then=f"then {asked}, with the logits detached",
    )


def head_loss(target: Callable[..., Any], given: dict, dtype: torch.dtype, namespace: Mapping[str, Any]) -> Any:
    """two_head_loss with its gradients, and head_accuracy, for the outputs of one head or of two.

    parameters: first and perhaps second, logits (B, C); labels; heads, the ways to count.
    """
    call = head_loss_call(given, dtype)
    outputs, labels = call.positional["outputs"], call.positional["labels"]
    loss = call.of(target)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    if not isinstance(loss, Tensor):
        raise TypeError(f"expected the loss as a tensor, from which gradients flow back, got {type(loss).__name__}")
    found = {"loss": loss.detach().reshape(loss.shape).cpu().double()}
    found["graph"] = flags(loss.requires_grad, True, False)
    gradients = torch.autograd.grad(loss.sum(), outputs, allow_unused=True) if loss.requires_grad else [None] * 2
    for i, (logits, gradient) in enumerate(zip(outputs, gradients, strict=False)):
        found[f"gradient{i}"] = torch.zeros_like(logits) if gradient is None else gradient
    plain = [logits.detach() for logits in outputs]
    asked = tuple(plain) if len(plain) > 1 else plain[0]
    count, kind = namespace["head_accuracy"], "Tensor"
    for heads in given["heads"]:
        value = count(asked, labels, heads) if heads else count(asked, labels)
        number = as_tensor(value)
        if number is None:
            raise TypeError(f"expected a number from head_accuracy, got {type(value).__name__}")
        found[f"accuracy_{heads or 'usual'}"] = number.detach().cpu().double()
    return kind, found
