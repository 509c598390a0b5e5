"""What other programs make of a notebook that goes through them and back, by their documented or known formats."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.labs.lab import INSTALL

Data = dict[str, Any]
STREAM = {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}
SHOWN = {"output_type": "execute_result", "data": {"text/plain": ["3"]}, "metadata": {}, "execution_count": 3}


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _data(nb: NotebookNode) -> Data:
    return json.loads(nbformat.writes(nb))


def colab(nb: NotebookNode) -> str:
    """Downloaded from Google Colab after a run: its own ids in place of nbformat's, outputs, widgets."""
    data = _data(nb)
    kept = {name: data["metadata"][name] for name in ("vitedu", "accelerator") if name in data["metadata"]}
    widget = {"state": {"_view_count": None, "layout": "IPY_MODEL_9f2c"}, "model_module": "@jupyter-widgets/controls"}
    data["metadata"] = {
        "colab": {
            "provenance": [{"file_id": "1aBc", "timestamp": 1764550000000}],
            "gpuType": "T4",
            "toc_visible": True,
        },
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"602f2688": widget}},
        **kept,
    }
    for n, cell in enumerate(data["cells"]):
        cell.pop("id", None)
        cell["source"] = _lines("".join(cell["source"]))
        cell["metadata"]["id"] = f"Xy{n:03}_q-Zw8Rk"
        if cell["cell_type"] == "code":
            user = {"displayName": "A Student", "userId": "06366185027922693499"}
            cell["metadata"] |= {
                "colab": {"base_uri": "https://localhost:8080/", "height": 35, "referenced_widgets": ["602f2688"]},
                "executionInfo": {"status": "ok", "timestamp": 1764550000000 + n, "elapsed": 12, "user": user},
                "outputId": "9461224d-7a56-49f1-fe37-d09bfadc02fb",
            }  # fmt: skip
            shown = SHOWN | {
                "data": SHOWN["data"] | {"application/vnd.google.colaboratory.intrinsic+json": {"type": "string"}}
            }
            cell |= {"execution_count": n, "outputs": [STREAM, shown]}
    badge = (
        '<a href="https://colab.research.google.com/github/o/c/blob/main/a.ipynb" target="_parent"><img src="b"/></a>'
    )
    first = {"cell_type": "markdown", "metadata": {"id": "view-in-github", "colab_type": "text"}, "source": [badge]}
    # In the order in which Colab writes them.
    whole = {"nbformat": 4, "nbformat_minor": 0, "metadata": data["metadata"], "cells": [first, *data["cells"]]}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def kaggle(nb: NotebookNode) -> str:
    """Downloaded from Kaggle after a run: one line of JSON, no nbformat ids, times, sources as one text."""
    data = _data(nb)
    data["metadata"] |= {
        "kernelspec": {"language": "python", "display_name": "Python 3", "name": "python3"},
        "kaggle": {"accelerator": "nvidiaTeslaT4", "dataSources": [], "isGpuEnabled": True, "isInternetEnabled": False},
    }
    for cell in data["cells"]:
        cell.pop("id", None)
        cell["source"] = "".join(cell["source"])
        cell["metadata"] |= {
            "_uuid": "8f2839f25d086af736a60e9eeb907d3b93b6e0e5",
            "trusted": True,
            "_kg_hide-input": False,
        }
        if cell["cell_type"] == "code":
            times = dict.fromkeys(
                ("iopub.execute_input", "iopub.status.busy", "shell.execute_reply"), "2026-12-01T02:00:00Z"
            )
            cell["metadata"]["execution"] = times
            cell |= {"execution_count": None, "outputs": [STREAM | {"text": "1\n2\n"}]}
    return json.dumps(data | {"nbformat_minor": 4})


def vs_code(nb: NotebookNode) -> str:
    """Saved by VS Code: its own metadata, new ids, and on Windows its line ends and a byte order mark."""
    data = _data(nb)
    data["metadata"]["kernelspec"] = {"display_name": ".venv (3.12.4)", "language": "python", "name": "python3"}
    data["metadata"]["language_info"] = {"name": "python", "version": "3.12.4", "file_extension": ".py"}
    for n, cell in enumerate(data["cells"]):
        cell |= {"id": f"{n:08x}", "source": _lines("".join(cell["source"]).replace("\n", "\r\n"))}
        cell["metadata"]["vscode"] = {"languageId": "python" if cell["cell_type"] == "code" else "markdown"}
        if cell["cell_type"] == "code":
            cell |= {"execution_count": n, "outputs": [STREAM, SHOWN]}
    return "\ufeff" + json.dumps(data, indent=1, ensure_ascii=False)


def colab_without_metadata(nb: NotebookNode) -> str:
    """The worst that could happen on the way: each cell has lost all that others than Colab wrote into its metadata."""
    data = json.loads(colab(nb))
    for cell in data["cells"]:
        cell["metadata"] = {"id": cell["metadata"]["id"]}
    return json.dumps(data)


TRIPS: list[Callable[[NotebookNode], str]] = [colab, kaggle, vs_code]


def earlier_release(nb: NotebookNode) -> NotebookNode:
    """The notebook as it was handed out before there was a cell that installs vitedu."""
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != INSTALL]
    for name in ("needs", "install_from", "repository"):
        nb.metadata.vitedu.pop(name, None)
    for name in ("accelerator", "colab"):
        nb.metadata.pop(name, None)
    return nb
