"""Lab 6's scenarios: transforms, loaders, freezing, heads, and fine-tuning.

A function is run on a problem that is known to the last digit, and what it leaves behind is recorded as tensors. The
models are the stubs of stub_models.py, filled with numbers that come with the question.
"""

from __future__ import annotations

from collections.abc import Callable

from vitedu.labs.lab6 import fine_tuning, freezing, loaders, quantities, transforms
from vitedu.probe.recording import Numbers
from vitedu.probe.scenarios import Call, Scenario

PROBLEMS: dict[str, Callable[..., tuple[str, Numbers]]] = {
    "transform": transforms.transform, "loaders": loaders.loaders, "freeze": freezing.freeze,
    "replace_head": freezing.replace_head, "head_loss": freezing.head_loss, "fine_tune": fine_tuning.fine_tune,
}  # fmt: skip
CALLS: dict[str, Callable[..., Call]] = {
    "transform": transforms.transform_call, "loaders": loaders.loaders_call, "freeze": freezing.freeze_call,
    "replace_head": freezing.replace_head_call, "head_loss": freezing.head_loss_call,
    "fine_tune": fine_tuning.fine_tune_call,
}  # fmt: skip
NAMED = {
    "transform": quantities.of_transforms, "loaders": quantities.of_loaders, "freeze": quantities.of_freezing,
    "replace_head": quantities.of_new_heads, "head_loss": quantities.of_head_losses,
    "fine_tune": quantities.of_fine_tuning,
}  # fmt: skip


def _scenario(name: str) -> Scenario:
    return Scenario(
        run=lambda target, case, dtype, namespace: PROBLEMS[name](target, dict(case.parameters), dtype, namespace),
        call=lambda case, dtype: CALLS[name](dict(case.parameters), dtype),
        named=NAMED[name],
    )


SCENARIOS = {name: _scenario(name) for name in PROBLEMS}
