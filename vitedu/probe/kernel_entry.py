"""Run inside the student's kernel: answer the grader's cases with display messages."""

from __future__ import annotations

import base64
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from vitedu.probe import serialization
from vitedu.probe.ask import ask
from vitedu.probe.case import Answer, pack_answer, read_cases
from vitedu.probe.student_errors import failed


def answer(encoded: str, namespace: Mapping[str, Any]) -> None:
    """Run inside the student's kernel: answer each case with a display message of its own.

    One message per case, sent as soon as it is known: a case that hangs or kills the kernel
    does not take the earlier ones with it.
    """
    from IPython.display import publish_display_data

    header, tensors = serialization.unpack(base64.b64decode(encoded), max_bytes=256 * 2**20, max_tensors=4096)
    dtype = getattr(torch, header["dtype"])
    for i, case in enumerate(read_cases(header, tensors)):
        if all(name in namespace for name in case.names):
            reply = ask(namespace[case.thing], case, dtype, space=namespace)
        else:
            reply = Answer("missing")
        try:
            data = pack_answer(reply, header["nonce"], i)
        except Exception as error:  # a result that is no plain tensor: sparse, complex, meta, ...
            data = pack_answer(replace(failed(error), tensors={}), header["nonce"], i)
        publish_display_data({serialization.MIME: base64.b64encode(data).decode()})
        # The message only lies in a queue yet; flushing what comes after it waits until it is sent.
        with contextlib.suppress(Exception):  # sys.stdout may be the student's
            sys.stdout.flush()
