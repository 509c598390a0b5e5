"""Trained answers are kept: a regrade judges them again, and trains nothing."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from autograder.judging.trained_exercise import Attempt
from autograder.labs.training_draw import AccuracyDraw
from autograder.storage.atomic_files import write_atomically
from vitedu.probe import serialization
from vitedu.probe.case import Answer


def key(notebook_hash: str, draw: AccuracyDraw, variant: int | str, exam: str) -> str:
    """The name under which a submission's trained answers are kept.

    Args:
        notebook_hash: of the rebuilt notebook that was trained.
        exam: digest of what decides a training.
    """
    environment = [torch.__version__, platform.python_version(), platform.system(), platform.machine()]
    parts = [notebook_hash, exam, draw.id, str(variant), environment]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def store(folder: Path, name: str, attempts: Sequence[Attempt]) -> None:
    """Write trained answers into a folder of the course; a run that is killed leaves nothing half written."""
    headers, tensors = list[dict[str, object]](), dict[str, torch.Tensor]()
    for i, attempt in enumerate(attempts):
        entry: dict[str, object] = {"seed": attempt.seed}
        for part in ("trained", "tested"):
            answer: Answer | None = getattr(attempt, part)
            entry[part] = None if answer is None else answer.header()
            tensors |= {} if answer is None else {f"{i}.{part}.{k}": t for k, t in answer.tensors.items()}
        headers.append(entry)
    write_atomically(_path(folder, name), serialization.pack({"key": name, "attempts": headers}, tensors))


def load(folder: Path, name: str) -> list[Attempt] | None:
    """What `store` wrote; None when there is nothing, or nothing readable: then it is trained again."""
    try:
        data = _path(folder, name).read_bytes()
        header, tensors = serialization.unpack(
            data, max_bytes=8 * serialization.MAX_BYTES, max_tensors=16 * serialization.MAX_TENSORS
        )
        if header["key"] != name:
            return None
        return [_attempt(i, entry, tensors) for i, entry in enumerate(header["attempts"])]
    except (OSError, serialization.WireError, KeyError, TypeError, AttributeError, ValueError):
        return None


def file_name(name: str) -> str:
    """The file that holds what is kept under a name."""
    return f"{name}.safetensors"


def _path(folder: Path, name: str) -> Path:
    return folder / file_name(name)


def _attempt(i: int, entry: dict, tensors: dict[str, torch.Tensor]) -> Attempt:
    answers = {}
    for part in ("trained", "tested"):
        prefix = f"{i}.{part}."
        own = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        answers[part] = None if entry[part] is None else Answer.read(entry[part], own)
    return Attempt(int(entry["seed"]), **answers)
