"""Where a notebook computes, and how long that takes.

One choice at the top of a notebook, `device = best_device()`, and the same cells run on an NVIDIA
GPU, on Apple's, and on the processor.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

KINDS: dict[str, Callable[[], bool]] = {
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
    "cpu": lambda: True,
}  # in the order of preference


def best_device() -> torch.device:
    """The fastest device that is there: CUDA, then Apple's (mps), then the CPU.

    The environment variable VITEDU_DEVICE chooses another, such as "cpu" or "cuda:1".

    Raises:
        ValueError: VITEDU_DEVICE names no device, or one that this machine does not have.
    """
    there = [kind for kind, available in KINDS.items() if available()]
    wanted = os.environ.get("VITEDU_DEVICE", "").strip()
    if not wanted:
        return torch.device(there[0])
    kind, _, index = wanted.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in there or (index and not (index.isdecimal() and int(index) < count)):
        raise ValueError(
            f"expected in VITEDU_DEVICE a device that this machine has ({', '.join(there)}), found {wanted!r}; "
            "change the variable, or unset it to let the notebook choose."
        )
    return torch.device(wanted)


def describe(device: torch.device | str) -> str:
    """One line about a device: its kind and name, its threads or memory, and torch's version."""
    return f"{device}: {facts(device)}, torch {torch.__version__}"


def facts(device: torch.device | str) -> str:
    """A device's name, and its threads or memory."""
    device = torch.device(device)
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        return f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    if device.type == "mps":
        return f"{_processor()}, {torch.mps.recommended_max_memory() / 2**30:.0f} GiB for the GPU"
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _processor() -> str:
    """The processor's name as its maker gives it, where the system tells."""
    known = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows as much as we could find out
    lines = known.read_text(encoding="utf-8", errors="replace").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def synchronize(device: torch.device | str) -> None:
    """Wait until a device has done all that it was given; a CPU always has.

    A call on a GPU returns at once, while the GPU still works: a clock that is read without waiting
    measures how fast work is handed over, not how fast it is done.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


def timed(calls: Mapping[str, Callable[[], Any]], device: torch.device | str, repeats: int = 7) -> dict[str, float]:
    """How long calls take: the median in seconds of each, measured in turns.

    In turns (a, b, a, b, ...), because a machine has fast and slow minutes: each call then meets the
    same. The median, because one disturbance must not count. One round before the first is not
    measured: caches fill, memory is reserved, kernels are chosen.

    Args:
        calls: name -> function without arguments.
        device: waited for before the clock is read.
        repeats: measured rounds, at least 1.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            synchronize(device)
            started = time.perf_counter()
            call()
            synchronize(device)
            if round_:
                seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}
