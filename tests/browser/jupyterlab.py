"""Driving JupyterLab as a person does: open a notebook, press Shift+Enter, look at what appears."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
import requests
from playwright.sync_api import Locator, Page, Response, expect

from pumphouse.notebook.desk import jupyter_command

START_S = 60.0
STOP_S = 10.0
CELL_MS = 60_000
SAVED_S = 10.0
_DONE = re.compile(r"^\[\d+\]:$")
_FOLDERS = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR")
#: What JupyterLab shows red below a cell: an exception, or anything else on its standard error.
ERROR = ".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']"


@dataclass(frozen=True)
class JupyterLab:
    """A running JupyterLab on a work folder."""

    url: str
    token: str
    work: Path

    def open(self, **wanted: Page) -> list[NotebookPage]:
        """Open notebooks (name without suffix: window) side by side, and wait for their kernels."""
        for name, page in wanted.items():
            page.goto(f"{self.url}/lab/tree/{name}.ipynb?reset&token={self.token}", wait_until="domcontentloaded")
        notebooks = [NotebookPage(page) for page in wanted.values()]
        for name, notebook in zip(wanted, notebooks, strict=True):
            expect(notebook.cells.first).to_be_visible(timeout=CELL_MS)
            self._wait_for_kernel(f"{name}.ipynb")
            notebook.wait_until_idle()
        return notebooks

    def _wait_for_kernel(self, name: str) -> None:
        # cells that are run before the page is connected to its kernel make JupyterLab ask for one
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            kernels = [row["kernel"] for row in self.ask("sessions").json() if row["path"] == name]
            if any(kernel["execution_state"] == "idle" and kernel["connections"] for kernel in kernels):
                return
            time.sleep(0.1)
        raise AssertionError(f"{name} got no kernel")

    def ask(self, what: str) -> requests.Response:
        """GET something of the server's own API."""
        return requests.get(f"{self.url}/api/{what}", headers={"Authorization": f"token {self.token}"}, timeout=10)


@contextlib.contextmanager
def jupyterlab(work: Path, environment: Mapping[str, str], private: Path) -> Iterator[JupyterLab]:
    """JupyterLab on a folder, with settings of its own under ``private``; ended afterwards, its kernels too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    own = {name: str(private / name.lower()) for name in _FOLDERS}
    options = ("--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0")
    command = jupyter_command(work, (*options, f"--IdentityProvider.token={token}"))
    log = private / "jupyterlab.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            command, env={**environment, **own}, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        lab = JupyterLab(f"http://127.0.0.1:{port}", token, work)
        _wait_until_it_answers(lab, process, log)
        yield lab
    finally:
        _end(process)


def _wait_until_it_answers(lab: JupyterLab, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if lab.ask("status").ok:
                return
        time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not come up:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # asked politely it shuts its kernels down, which live in sessions of their own
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_S)


def preset(notebook: Path, line: str, value: str) -> None:
    """Edit one line of a copy's parameters cell, as its user would; ``value`` is Python."""
    book = nbformat.read(notebook, as_version=4)
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    changed, count = re.subn(rf"(?m)^({line}: [^=]+ = )\S+", lambda match: match[1] + value, cell.source)
    assert count == 1, f"{notebook.name} has no parameter {line}"
    cell.source = changed
    nbformat.write(book, notebook)


def _is_save(answer: Response) -> bool:
    return answer.request.method == "PUT" and "/api/contents/" in answer.url


def read_notebook(notebook: Path) -> nbformat.NotebookNode:
    """A notebook's file once it is whole: JupyterLab calls it saved while its server may still be writing it."""
    end = time.monotonic() + SAVED_S
    while True:
        try:
            return nbformat.read(notebook, as_version=4)
        except nbformat.reader.NotJSONError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


class NotebookPage:
    """One notebook that is open in JupyterLab."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.cells = page.locator(".jp-Notebook .jp-Cell")
        self.code = page.locator(".jp-Notebook .jp-CodeCell")

    def wait_until_idle(self) -> None:
        """Until the page knows its kernel, and knows it to be idle."""
        expect(self.page.locator(".jp-NotebookPanel-toolbar .jp-KernelName")).to_have_text(
            "Python 3 (ipykernel)", timeout=CELL_MS
        )
        idle = self.page.locator(".jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator[data-status=idle]")
        expect(idle).to_be_visible(timeout=CELL_MS)

    def with_source(self, text: str) -> Locator:
        """The one code cell whose source contains a text."""
        found = self.code.filter(has=self.page.locator(".jp-InputArea-editor", has_text=text))
        expect(found).to_have_count(1)
        return found

    def prompts(self) -> list[str]:
        """The prompts of all code cells: ``[3]:`` has run, ``[*]:`` is under way, ``[ ]:`` has not run."""
        return [text.strip() for text in self.code.locator(".jp-InputPrompt").all_inner_texts()]

    def run_cell_by_cell(self, *, until: str = "", after: str = "") -> None:
        """Shift+Enter on the first cell (or the one after ``after``), then on the next, each when the one before has
        ended well; up to and with the cell that contains ``until``, or the last one.
        """
        first = self._place(after) + 1 if after else 0
        last = self._place(until) if until else self.cells.count() - 1
        if first:
            self.select(self.cells.nth(first - 1))
            self.page.keyboard.press("ArrowDown")
        else:
            self.cells.first.click()
            self.page.keyboard.press("Escape")
        for number in range(first, last + 1):
            expect(self.cells.nth(number)).to_have_class(re.compile("jp-mod-active"), timeout=CELL_MS)
            # after the last cell, Shift+Enter would add an empty one
            is_last = number == self.cells.count() - 1
            self.run(self.cells.nth(number), "Control+Enter" if is_last else "Shift+Enter")

    def _place(self, text: str) -> int:
        texts = self.cells.locator(".jp-InputArea-editor").all_inner_texts()
        (place,) = [number for number, source in enumerate(texts) if text in source]
        return place

    def begin(self, cell: Locator) -> None:
        """Run a code cell without waiting for its end."""
        before = cell.locator(".jp-InputPrompt").inner_text()
        self.select(cell)
        self.page.keyboard.press("Control+Enter")
        expect(cell.locator(".jp-InputPrompt")).not_to_have_text(before, timeout=CELL_MS)

    def wait_for(self, cell: Locator) -> None:
        """Until a cell has ended, well or not."""
        expect(cell.locator(".jp-InputPrompt")).to_have_text(_DONE, timeout=CELL_MS)

    def run(self, cell: Locator, keys: str = "Control+Enter") -> None:
        """Run the selected cell and wait until it has ended well."""
        is_code = "jp-CodeCell" in (cell.get_attribute("class") or "")
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.inner_text() if is_code else ""
        self.page.keyboard.press(keys)
        if is_code:
            expect(prompt).not_to_have_text(before, timeout=CELL_MS)
            expect(prompt).to_have_text(_DONE, timeout=CELL_MS)
            expect(cell.locator(ERROR)).to_have_count(0)

    def retype(self, line: str, text: str) -> None:
        """Replace one line of code by typing over it."""
        self.code.locator(".cm-line").get_by_text(line).click()
        self.page.keyboard.press("Home")
        self.page.keyboard.press("Shift+End")
        # as pasted: typed brackets would be completed
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Escape")

    def select(self, cell: Locator) -> None:
        """Make a cell the selected one, as a click beside its code does."""
        cell.locator(".jp-InputPrompt").click()
        expect(cell).to_have_class(re.compile("jp-mod-active"))

    def save(self) -> None:
        """File > Save Notebook, and wait until the server has written it and nothing is unsaved."""
        with self.page.expect_response(_is_save, timeout=CELL_MS):
            self._menu("File", "Save Notebook")
        self.wait_until_saved()

    def wait_until_saved(self) -> None:
        """Until nothing is unsaved."""
        tab = self.page.locator(".lm-DockPanel-tabBar .lm-mod-current")
        expect(tab).not_to_have_class(re.compile("jp-mod-dirty"), timeout=CELL_MS)

    def run_all(self) -> None:
        """Run > Run All Cells, which ends with the first that fails; wait until none is under way."""
        before = self.prompts()[0]
        self._menu("Run", "Run All Cells")
        expect(self.code.first.locator(".jp-InputPrompt")).not_to_have_text(before, timeout=CELL_MS)
        expect(self.code.locator(".jp-InputPrompt", has_text="[*]")).to_have_count(0, timeout=CELL_MS)

    def run_below(self) -> None:
        """Run > Run Selected Cell and All Below, without waiting for their end."""
        self._menu("Run", "Run Selected Cell and All Below")

    def restart_and_run_all(self) -> None:
        """Run > Restart Kernel and Run All Cells, and wait until the last code cell has run."""
        self._menu("Run", "Restart Kernel and Run All Cells…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        prompt = self.code.last.locator(".jp-InputPrompt")
        expect(prompt).to_have_text("[*]:", timeout=CELL_MS)
        expect(prompt).to_have_text(_DONE, timeout=CELL_MS)
        expect(self.code.locator(ERROR)).to_have_count(0)

    def _menu(self, menu: str, entry: str) -> None:
        self.page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{menu}$")).click()
        self.page.locator(".lm-Menu-item", has=self.page.get_by_text(entry, exact=True)).click()
