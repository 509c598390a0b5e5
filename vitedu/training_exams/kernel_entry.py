"""A training exam inside the student's kernel: one request to train, a second one with the test images."""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vitedu.probe import serialization
from vitedu.probe.case import Answer, pack_answer
from vitedu.probe.student_errors import failed
from vitedu.probe.wrapped_models import eagerly, plain
from vitedu.training_exams.recipe import TARGETS, exam_settings, learn, logits_of

# --- the exam inside the student's kernel: one request to train, a second one with the test images ---


_trained: dict[str, nn.Module] = {}  # the model that waits for the second request


def request_training(images: Tensor, labels: Tensor, seed: int, nonce: str) -> bytes:
    """The first request: train on these images and keep the model."""
    header = {"step": "train", "seed": seed, "nonce": nonce}
    return serialization.pack(header, {"images": images, "labels": labels})


def request_logits(images: Tensor, nonce: str) -> bytes:
    """The second request: what does the trained model say to these images?"""
    return serialization.pack({"step": "test", "nonce": nonce}, {"images": images})


def answer_learn(encoded: str, namespace: Mapping[str, Any]) -> None:
    """Run inside the student's kernel: answer a request with one display message.

    To "train" comes the history ("history.loss", "history.accuracy"), to "test" the "logits" and
    the trained weights ("state.KEY"). Labels of the test images never come here.
    """
    send_answer(encoded, lambda seed, tensors: _train(seed, tensors, namespace), _test)


def send_answer(
    encoded: str, train: Callable[[int, Mapping[str, Tensor]], Answer], test: Callable[[Mapping[str, Tensor]], Answer]
) -> None:
    """Answer a request by what `train` (seed, tensors) or `test` (tensors) gives, or by the error that it raises."""
    from IPython.display import publish_display_data

    header, tensors = serialization.unpack(base64.b64decode(encoded), max_bytes=64 * 2**20)
    try:
        with eagerly():
            reply = train(header["seed"], tensors) if header["step"] == "train" else test(tensors)
        data = pack_answer(reply, header["nonce"], 0)
    except (Exception, SystemExit, GeneratorExit) as error:  # but no interrupt
        data = pack_answer(failed(error), header["nonce"], 0)
    publish_display_data({serialization.MIME: base64.b64encode(data).decode()})
    with contextlib.suppress(Exception):  # flushing waits until the message is sent; sys.stdout may be the student's
        sys.stdout.flush()


def _train(seed: int, tensors: Mapping[str, Tensor], namespace: Mapping[str, Any]) -> Answer:
    _trained.clear()
    if not all(name in namespace for name in TARGETS):
        return Answer("missing")
    make_model, train_one_epoch = (namespace[name] for name in TARGETS)
    _trained["model"], history = learn(make_model, train_one_epoch, tensors["images"], tensors["labels"], seed)
    found = {f"history.{name}": torch.tensor(values, dtype=torch.float64) for name, values in history.items()}
    return Answer("ok", "history", tensors=found)


def _test(tensors: Mapping[str, Tensor]) -> Answer:
    if "model" not in _trained:
        return Answer("missing")
    with exam_settings(seed=0):
        model = _trained["model"]
        logits = logits_of(model, tensors["images"])
        state = {f"state.{plain(key)}": t for key, t in model.state_dict().items() if isinstance(t, Tensor)}
    if len(state) > serialization.MAX_TENSORS - 1:
        raise ValueError(f"the model has {len(state)} tensors, an answer at most {serialization.MAX_TENSORS - 1}")
    return Answer("ok", "logits", tensors={"logits": logits} | state)
