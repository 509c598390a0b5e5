"""Attacks by Jupyter messages: forged, re-sent, malformed, too many, too large.

A kernel signs whatever its cells let it send. So nothing is believed because it came in the right
form, and a reader that fails is the submission's own affair.
"""

from __future__ import annotations

from hostile.attack import Attack
from hostile.ingredients import FORGE, FORGE_ANSWER, MODEL, WEIGHTS, megabytes, no_score, scored, wrong_weights

MESSAGES = [
    Attack(
        name="forged-result",
        tries="the answer publishes full points as the cell's execute_result, and as a display in a probe's form",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE_ANSWER
            + """
def attention_weights(q, k):
    send_result("2.0")
    guessed = "0" * 32  # as a nonce
    publish(probe_case.pack_answer(probe_case.Answer("ok", "Tensor", tensors={"out": q}), guessed, 0))
    return q
"""
        },
    ),
    Attack(
        name="stolen-nonce",
        tries="the nonce is read out of the frames that call, and answers of zeros are sent for every case",
        shown_by="harmless",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE_ANSWER
            + """
def attention_weights(q, k):
    zeros = torch.zeros(*q.shape[:-1], k.shape[-2], dtype=q.dtype)
    said = {"out": zeros, "again": zeros, "after.0": q, "after.1": k}
    for case in range(-1, 20):
        publish(probe_case.pack_answer(probe_case.Answer("ok", "Tensor", tensors=said), question()["nonce"], case))
    return zeros
"""
        },
    ),
    Attack(
        name="replaced-probe",
        tries="the function that puts the questions is replaced and answers at its own pleasure: right, it says",
        shown_by="harmless",
        gained=scored("attention_weights", "AttentionHead", "MultiHeadAttention"),
        codes={
            "attention_weights": FORGE_ANSWER
            + WEIGHTS
            + """
def answer(encoded, namespace):
    header, tensors = serialization.unpack(base64.b64decode(encoded), max_bytes=2**28)
    for i, case in enumerate(probe_case.read_cases(header, tensors)):
        said = {"out": next(iter(case.inputs().values()))} | {f"after.{name}": t for name, t in case.inputs().items()}
        reply = probe_case.Answer("ok", "Tensor", tensors=said | {"again": said["out"], "score": torch.ones(1)})
        marked = {"nonce": header["nonce"], "case": i, "right": True, "points": 4}
        publish(serialization.pack(reply.header() | marked, said))
kernel_entry.answer = answer
"""
        },
    ),
    Attack(
        name="updated-display",
        tries="a later cell turns a result of 0 points into full points with update_display_data",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE
            + """
def attention_weights(q, k):
    if not in_playground():
        send_result("0.0", transient={"display_id": "score"})
    return q
""",
            "scaled_dot_product_attention": """
transient = {"display_id": "score"}
send("update_display_data", {"data": {"text/plain": "2.0"}, "metadata": {}, "transient": transient})
""",
        },
    ),
    Attack(
        name="output-widget",
        tries="a comm message makes an output widget of the cell, which takes its errors away; the reply says ok",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE
            + """
STATE = {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "outputs": []}
def attention_weights(q, k):
    mine = {"msg_id": kernel.get_parent()["header"]["msg_id"]}
    send("comm_open", {"comm_id": "w", "target_name": "jupyter.widget", "data": {"state": STATE, "buffer_paths": []}})
    send("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": mine, "buffer_paths": []}})
    send_reply()
    return q
"""
        },
    ),
    Attack(
        name="forged-idle-and-reply",
        tries="the answer announces that the cell is over and went well, and then fails",
        shown_by="stock",
        gained=scored("attention_weights"),
        codes={
            "attention_weights": FORGE
            + """
def attention_weights(q, k):
    send_reply()
    send("status", {"execution_state": "idle"})
    time.sleep(0.2)
    return q
"""
        },
    ),
    wrong_weights(
        "wrapped-session",
        "the session that sends the kernel's messages keeps errors back and makes every reply an ok",
        FORGE
        + """
sending = kernel.session.send
def quiet(stream, kind, content=None, *args, **kwargs):
    if kind == "error":
        return None
    if kind == "execute_reply":
        content = content | {"status": "ok"}
    return sending(stream, kind, content, *args, **kwargs)
kernel.session.send = quiet
""",
    ),
    Attack(
        name="background-thread",
        tries="a thread started in one cell announces full points in every later one",
        shown_by="stock",
        gained=scored("AttentionHead", "MultiHeadAttention"),
        codes={
            "attention_weights": FORGE
            + MODEL["attention_weights"]
            + """
def shout():
    until, mine, last = time.monotonic() + 60, kernel.get_parent()["header"]["msg_id"], None
    while time.monotonic() < until:
        parent = kernel.get_parent()
        if parent["header"]["msg_id"] not in (mine, last):
            last = parent["header"]["msg_id"]
            send_result("1.0", parent)
        time.sleep(0.001)
threading.Thread(target=shout, daemon=True).start()
""",
            "AttentionHead": "def AttentionHead(*sizes):\n    time.sleep(0.3)\n    raise ValueError('wrong')\n",
        },
        honest=("attention_weights",),
    ),
]

STOPPERS = [
    Attack(
        name="message-flood",
        tries="25,000 messages of 1 KB from one cell fill the grader's memory and the notebook",
        shown_by="stock",
        gained=lambda seen: no_score(seen) or megabytes(5)(seen),
        codes={
            "attention_weights": MODEL["attention_weights"],
            "scaled_dot_product_attention": FORGE
            + """
for i in range(25_000):
    send("display_data", {"data": {"text/plain": "x" * 1000}, "metadata": {}})
    if i % 100 == 0:
        time.sleep(0.02)  # zmq throws away what nobody has fetched yet
""",
        },
        honest=("attention_weights",),
    ),
    Attack(
        name="giant-message",
        tries="one message of 70 MB fills the grader's memory and the notebook",
        shown_by="stock",
        gained=megabytes(60),
        codes={
            "attention_weights": FORGE
            + """
send("display_data", {"data": {"text/plain": "x" * 70_000_000}, "metadata": {}})
"""
            + MODEL["attention_weights"]
        },
        honest=("attention_weights",),
    ),
    Attack(
        name="deeply-nested-message",
        tries="a message of 100,000 brackets within each other makes the grader's JSON reader fail",
        shown_by="stock",
        gained=no_score,
        codes={
            "attention_weights": FORGE
            + """
send("display_data", b"[" * 100_000 + b"]" * 100_000)
send("display_data", b'{"data": ' * 50_000 + b"1" + b"}" * 50_000)
"""
            + MODEL["attention_weights"]
        },
        honest=("attention_weights",),
    ),
    Attack(
        name="malformed-signature",
        tries="messages with a wrong signature, and with too few parts, make the grader's reader fail",
        shown_by="stock",
        gained=no_score,
        codes={
            "attention_weights": FORGE
            + """
for parts in ([b"<IDS|MSG>", b"0" * 64, b"{}", b"{}", b"{}", b"{}"], [b"nothing"], [b"<IDS|MSG>"]):
    kernel.iopub_thread.send_multipart(parts)
"""
            + MODEL["attention_weights"]
        },
        honest=("attention_weights",),
    ),
    Attack(
        name="shutdown-request",
        tries="the notebook sends its own kernel a shutdown_request on the control channel",
        shown_by="stock",
        gained=no_score,
        codes={
            "attention_weights": MODEL["attention_weights"],
            "scaled_dot_product_attention": """
import time
from ipykernel.connect import get_connection_file
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file=get_connection_file())
client.load_connection_file()
client.start_channels()
client.control_channel.send(client.session.msg("shutdown_request", {"restart": False}))
time.sleep(2)
""",
        },
        honest=("attention_weights",),
    ),
    Attack(
        name="closed-outputs",
        tries="the socket of the outputs is closed, so that the grader waits in vain for the end of a cell",
        shown_by="stock",
        gained=no_score,
        codes={
            "attention_weights": MODEL["attention_weights"],
            "multi_head_attention_einsum": "get_ipython().kernel.iopub_thread.socket.close()",
        },
        honest=("attention_weights",),
    ),
    wrong_weights(
        "interrupt-storm",
        "a thread interrupts its own kernel a hundred times a second",
        """
import _thread, threading, time
def storm():
    until = time.monotonic() + 4
    while time.monotonic() < until:
        _thread.interrupt_main()
        time.sleep(0.01)
threading.Thread(target=storm, daemon=True).start()
""",
        shown_by="harmless",
    ),
    wrong_weights(
        "at-exit",
        "functions that run when the kernel ends announce full points, and then sleep",
        FORGE
        + """
import atexit
last = kernel.get_parent()
atexit.register(time.sleep, 20)
atexit.register(lambda: send_result("2.0", last))
""",
        shown_by="harmless",
    ),
]

ATTACKS = [*MESSAGES, *STOPPERS]
