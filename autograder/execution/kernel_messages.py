"""What comes out of a student's kernel, read defensively: nothing in it is believed, and nothing in it can hurt.

Kept is what nbclient would keep of a cell's outputs, and no more: messages that reach into other
cells (update_display_data, clear_output, comms, widgets) are not followed.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import zmq
from nbformat import NotebookNode
from nbformat.v4 import new_output

from autograder.sanitize.untrusted import json_safe, text
from vitedu.probe import serialization
from vitedu.probe.case import Answer

SHOWN = ("text/plain", "text/html", "image/png", "image/jpeg")  # other kinds of output are dropped


def read(channel: Any, parts: int) -> dict[str, Any] | None:
    """One message as plain data, or None; anything wrong with it is the submission's own affair."""
    try:
        _, frames = channel.session.feed_identities(channel.socket.recv_multipart(zmq.NOBLOCK))
        if sum(frame.count(mark) for frame in frames for mark in (b"[", b"{")) > parts:
            return None
        message = channel.session.deserialize(frames)
        content, header, parent = message["content"], message["header"], message["parent_header"]
        kind, parent = header["msg_type"], parent.get("msg_id")
        if isinstance(content, dict) and isinstance(kind, str) and isinstance(parent, str | None):
            return {"type": kind, "parent": parent, "content": content}
    except Exception:
        # A bad signature, broken JSON, nesting too deep: whatever it was, the next one is read.
        pass
    return None


def keep_answer(message: dict[str, Any], nonce: str, count: int, answers: dict[int, Answer]) -> None:
    """Keep the first answer of each case that carries this probe's nonce; all else is ignored."""
    if message["type"] != "display_data":
        return
    data = message["content"].get("data")
    encoded = data.get(serialization.MIME) if isinstance(data, dict) else None
    if not isinstance(encoded, str) or len(encoded) > 2 * serialization.MAX_BYTES:
        return
    try:
        header, tensors = serialization.unpack(base64.b64decode(encoded, validate=True))
        index = header.get("case")
        if header.get("nonce") == nonce and isinstance(index, int) and 0 <= index < count and index not in answers:
            answers[index] = Answer.read(header, tensors)
    except (serialization.WireError, ValueError):
        return


class Outputs:
    """A cell's outputs as the notebook stores them, cut at the limits."""

    def __init__(self, most_bytes: int, most: int) -> None:
        self._most_bytes, self._most = most_bytes, most
        self.outputs: list[NotebookNode] = []
        self._bytes = 0
        self._full = False

    @property
    def size(self) -> int:
        """Bytes taken in so far; what was cut away is not among them."""
        return min(self._bytes, self._most_bytes)

    def add(self, message: dict[str, Any]) -> None:
        """Take one message; kinds that reach beyond their own cell are ignored."""
        if self._full:
            return
        output = _output(message["type"], message["content"])
        if output is None:
            return
        self._bytes += len(json.dumps(output))
        last = self.outputs[-1] if self.outputs else None
        if self._bytes > self._most_bytes or len(self.outputs) >= self._most:
            self._full = True
            limit = f"The output of this cell was cut here, at {self._most_bytes} bytes or {self._most} outputs"
            said = limit if self._most_bytes else "Not shown: this notebook has shown as much as one may"
            output = new_output("stream", name="stderr", text=f"[{said}.]\n")
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            self.outputs.append(output)


def _output(kind: str, content: dict[str, Any]) -> NotebookNode | None:
    if kind == "stream":
        name = "stderr" if content.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=text(content.get("text"), 2**20))
    if kind in ("display_data", "execute_result"):
        data = content.get("data")
        if not isinstance(data, dict):
            return None
        shown = {mime: json_safe(data[mime]) for mime in SHOWN if isinstance(data.get(mime), str)}
        return new_output("display_data", data=shown) if shown else None
    if kind == "error":
        lines = content.get("traceback")
        lines = [text(line, 10_000) for line in lines[:100]] if isinstance(lines, list) else []
        name, value = text(content.get("ename"), 200), text(content.get("evalue"), 2000)
        return new_output("error", ename=name, evalue=value, traceback=lines)
    return None
