"""Lab 6's scenarios: transforms, loaders, freezing, heads, and fine-tuning.

A function is run on a problem that is known to the last digit, and what it leaves behind is recorded as tensors. The
models are the stubs of stub_models.py, filled with numbers that come with the question.
"""

from __future__ import annotations

from collections.abc import Callable

from vitedu.labs.lab6.fine_tuning import fine_tune
from vitedu.labs.lab6.freezing import freeze, head_loss, replace_head
from vitedu.labs.lab6.loaders import loaders
from vitedu.labs.lab6.transforms import transform
from vitedu.probe.recording import Numbers
from vitedu.probe.scenarios import Scenario

PROBLEMS = {
    "transform": transform, "loaders": loaders, "freeze": freeze, "replace_head": replace_head,
    "head_loss": head_loss, "fine_tune": fine_tune,
}  # fmt: skip


def _with_parameters(run: Callable[..., tuple[str, Numbers]]) -> Scenario:
    return lambda thing, case, dtype, space: run(thing, dict(case.kwargs), dtype, space)


SCENARIOS = {name: _with_parameters(run) for name, run in PROBLEMS.items()}
