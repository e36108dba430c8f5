"""JupyterLab as a desk starts it: it serves our extension, and answers pages that are loaded anew once they log in."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pumphouse.celllog import CellLog, log_file
from pumphouse.notebook.desk import lay_out
from tests.browser.jupyterlab import JupyterLab, jupyterlab


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jupyter")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, private: Path) -> Iterator[JupyterLab]:
    folder = tmp_path_factory.mktemp("desk")
    work, environment = lay_out(folder, folder / "none", folder / "site.yaml")
    with jupyterlab(work, environment, private) as running:
        yield running


def ask(desk: JupyterLab, path: str, method: str = "GET", body: Any = None, token: str | None = None) -> Any:
    headers = {"Authorization": f"token {desk.token if token is None else token}"}
    data = None if body is None else json.dumps(body)
    return requests.request(method, f"{desk.url}/{path}", headers=headers, data=data, timeout=60)


def test_the_page_is_told_to_load_our_extension(desk: JupyterLab) -> None:
    page = ask(desk, "lab").text
    assert '"name": "pumphouse"' in page
    script = ask(desk, "lab/extensions/pumphouse/static/remoteEntry.js")
    assert script.status_code == 200
    assert "_JUPYTERLAB" in script.text


def test_our_settings_are_ones_that_jupyterlab_knows(desk: JupyterLab) -> None:
    for name, key in (
        ("docmanager-extension:plugin", "autosaveInterval"),
        ("filebrowser-extension:browser", "showLastModifiedColumn"),
        ("notebook-extension:tracker", "windowingMode"),
        ("apputils-extension:notification", "fetchNews"),
    ):
        answer = ask(desk, f"lab/api/settings/@jupyterlab/{name}").json()
        assert key in answer["schema"]["properties"]
        assert key in json.loads(answer["raw"])


def test_open_tabs_are_kept_with_the_desk_and_not_with_the_user(desk: JupyterLab, private: Path) -> None:
    answer = ask(desk, "lab/api/workspaces/default", "PUT", {"data": {}, "metadata": {"id": "default"}})
    assert answer.status_code == 204
    assert len(list((desk.work.parent / "jupyter-workspaces").glob("default*"))) == 1
    assert not list(private.rglob("default*.jupyterlab-workspace"))


def test_nobody_is_answered_without_a_login_nor_about_a_kernel_that_is_not_here(desk: JupyterLab) -> None:
    nobody = uuid.uuid4()
    stop = {"cell": "abc", "kind": "now"}
    assert ask(desk, f"pumphouse/cells/{nobody}", token="wrong").status_code == 403
    assert ask(desk, f"pumphouse/stop/{nobody}", "POST", stop, token="wrong").status_code == 403
    assert ask(desk, f"pumphouse/cells/{nobody}").status_code == 404
    assert ask(desk, f"pumphouse/stop/{nobody}", "POST", stop).status_code == 404


def test_a_page_is_told_which_cells_its_kernel_ran(desk: JupyterLab, private: Path) -> None:
    kernel = ask(desk, "api/kernels", "POST", {"name": "python3"}).json()["id"]
    (connection,) = private.rglob(f"kernel-{kernel}.json")
    deadline = time.monotonic() + 60
    while not log_file(connection).exists() and time.monotonic() < deadline:
        time.sleep(0.1)  # the kernel begins its own log when it starts
    assert ask(desk, f"pumphouse/cells/{kernel}").json() == {"windows": 0, "cells": []}
    log = CellLog(log_file(connection))
    for cell in ("one", "two"):
        log.begin({"header": {"msg_id": cell, "session": "page"}, "metadata": {"cellId": cell}})
    told = ask(desk, f"pumphouse/cells/{kernel}").json()
    assert [(cell["id"], cell.get("work")) for cell in told["cells"]] == [("one", None), ("two", None)]
    assert [cell["id"] for cell in ask(desk, f"pumphouse/cells/{kernel}?cell=two").json()["cells"]] == ["two"]
    refused = ask(desk, f"pumphouse/stop/{kernel}", "POST", {"cell": "two", "kind": "now"}).json()
    assert not refused["done"]
    assert "nothing to stop" in refused["words"]
    for body in ({"cell": "two"}, {"cell": "two", "kind": "at-once"}, {"kind": "now"}):
        assert ask(desk, f"pumphouse/stop/{kernel}", "POST", body).status_code == 400
    log.remove()
