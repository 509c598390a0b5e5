"""The capstone inside the student's kernel: one request to train, a second one with the test images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vitedu.probe.case import Answer
from vitedu.training_exams.capstone import train
from vitedu.training_exams.kernel_entry import _trained, send_answer
from vitedu.training_exams.recipe import exam_settings, logits_of

THING = "capstone"  # what the exam takes from the notebook


def answer_capstone(encoded: str, namespace: Mapping[str, Any]) -> None:
    """Run inside the student's kernel: answer a request of kernel_entry.py with one display message.

    To "train" come the seconds that the student's process says it took, to "test" the "logits". Labels of the
    test images never come here.
    """
    send_answer(encoded, lambda seed, tensors: _train(seed, tensors, namespace), _test)


def _train(seed: int, tensors: Mapping[str, Tensor], namespace: Mapping[str, Any]) -> Answer:
    _trained.clear()
    if THING not in namespace:
        return Answer("missing")
    _trained["model"], spent = train(namespace[THING], tensors["images"], tensors["labels"], seed)
    return Answer("ok", "seconds", tensors={"seconds": torch.tensor(spent, dtype=torch.float64)})


def _test(tensors: Mapping[str, Tensor]) -> Answer:
    if "model" not in _trained:
        return Answer("missing")
    with exam_settings(seed=0):
        logits = logits_of(_trained["model"], tensors["images"])
    return Answer("ok", "logits", tensors={"logits": logits})
