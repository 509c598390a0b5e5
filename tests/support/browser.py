"""A JupyterLab server for the tests, and a person's hands in its notebooks."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import Locator, Page, expect

PATIENCE = 60_000  # milliseconds for one step: a kernel that imports torch on a busy machine takes its time
expect.set_options(timeout=PATIENCE)

# All cells stand in the page (only those in view would, otherwise), and nothing asks about news or updates.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True)
class Server:
    """A running JupyterLab, its files, and what it says."""

    url: str
    token: str
    folder: Path
    log: Path

    def page(self, path: str) -> str:
        """Address of a page of this server, with the key to it."""
        return f"{self.url}/{path}?token={self.token}"


@contextmanager
def jupyter_lab(folder: Path, home: Path) -> Iterator[Server]:
    """JupyterLab as `jupyter lab` in `folder` starts it, with all its own files in `home`.

    The server and its kernels are gone at the end.

    Raises:
        RuntimeError: it did not come up; the text ends with what it said.
    """
    for name, setting in SETTINGS.items():
        path = home / "config" / "lab" / "user-settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(setting))
    server = Server(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16), folder, home / "server.log")
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={folder}",
        f"--ServerApp.port={server.url.rsplit(':', 1)[1]}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={server.token}",
    ]  # fmt: skip
    with server.log.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_until_up(server, process)
        yield server
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(home: Path) -> dict[str, str]:
    folders = {
        "HOME": ".", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython", "MPLCONFIGDIR": "matplotlib",
    }  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "NBGRADER"))}
    return kept | {name: str(home / folder) for name, folder in folders.items()}


def _wait_until_up(server: Server, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(server.page("api/status"), timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not come up:\n{server.log.read_text()[-3000:]}")


def _end(process: subprocess.Popen) -> None:
    """Ask the server to end, which ends its kernels; kill its process group when it does not."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


class NotebookPage:
    """One notebook in JupyterLab, in a page of its own."""

    def __init__(self, page: Page, server: Server, path: str) -> None:
        self.page = page
        self.file = server.folder / path
        # A workspace of its own: else JupyterLab opens again what an earlier page had open.
        page.goto(server.page(f"lab/workspaces/{secrets.token_hex(4)}/tree/{path}"))
        expect(page.locator(".jp-Notebook .jp-Cell").first).to_be_visible()
        # The indicator beside the notebook says idle before there is a kernel; the status bar does not. What is run
        # before the kernel is there gets lost.
        expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Until the kernel is idle and no cell waits for its turn."""
        expect(self.page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute("data-status", "idle")
        expect(self.page.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0)

    def cell(self, grade_id: str) -> Locator:
        """The cell with this grade_id."""
        ids = [cell.metadata.nbgrader.grade_id for cell in nbformat.read(self.file, as_version=4).cells]
        return self.page.locator(".jp-Notebook .jp-Cell").nth(ids.index(grade_id))

    def run_all(self) -> None:
        """Run > Run All Cells, to the end."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        last = self.page.locator(".jp-Notebook .jp-CodeCell").last
        expect(last.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]"))
        self.wait_until_idle()

    def run(self, grade_id: str) -> Locator:
        """Shift-Enter in a cell; what it shows."""
        cell = self.cell(grade_id)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text()
        self._go_into(cell)
        self.page.keyboard.press("Shift+Enter")
        expect(prompt).not_to_have_text(before)
        self.wait_until_idle()
        return cell.locator(".jp-OutputArea-output")

    def answer(self, grade_id: str, lines: list[str]) -> None:
        """Type an answer over the last line of a solution cell, which raises NotImplementedError, key by key."""
        keyboard = self.page.keyboard
        self._go_into(self.cell(grade_id))
        keyboard.press("Control+End")
        keyboard.press("Shift+Home")
        for i, line in enumerate(lines):
            if i:
                keyboard.press("Enter")  # the editor keeps the indentation
            keyboard.type(line)

    def _go_into(self, cell: Locator) -> None:
        cell.locator(".cm-content").focus()  # a click could miss: pictures that arrive still move the cells
        expect(cell).to_have_class(re.compile("jp-mod-active"))

    def saved(self) -> NotebookNode:
        """Save with Control-S, and read the file."""
        self.page.keyboard.press("Control+S")
        expect(self.page.locator(".jp-mod-dirty")).to_have_count(0)
        return nbformat.read(self.file, as_version=4)

    def validate(self) -> Locator:
        """Press nbgrader's Validate button; the dialog that comes up."""
        self.page.locator(".validate-button").get_by_role("button").click()
        dialog = self.page.locator(".jp-Dialog-content")
        expect(dialog).to_be_visible()
        return dialog


def picture_of(page: Page, *parts: Locator) -> bytes:
    """A PNG of the smallest rectangle that holds all the parts; the page must be tall enough to show them."""
    parts[0].scroll_into_view_if_needed()
    parts[-1].scroll_into_view_if_needed()
    boxes = [part.bounding_box() for part in parts]
    left, top = (min(box[at] for box in boxes) for at in ("x", "y"))
    right, bottom = (max(box[at] + box[size] for box in boxes) for at, size in (("x", "width"), ("y", "height")))
    return page.screenshot(clip={"x": left, "y": top, "width": right - left, "height": bottom - top})
