"""The desk in front of a site: copies that stay, settings, and errors that read well before the first cell."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest

from pumphouse.lab import process
from pumphouse.lab.jupyter import prepare
from pumphouse.lab.server import LabOptions
from pumphouse.notebook.desk import LAUNCHER, jupyter_command, lay_out, where_to_look
from pumphouse.site import SITE_VARIABLE


def test_templates_are_copied_and_copies_stay(tmp_path: Path) -> None:
    templates = tmp_path / "templates"
    templates.mkdir()
    for name in (LAUNCHER, "01-a.ipynb"):
        (templates / name).write_text("as it came")
    work, environment = lay_out(tmp_path / "desk", templates, tmp_path / "site.yaml")
    (work / "01-a.ipynb").write_text("evidence")
    (templates / "02-b.ipynb").write_text("later")
    again, _ = lay_out(tmp_path / "desk", templates, tmp_path / "site.yaml")
    assert again == work
    found = {file.name: file.read_text() for file in work.glob("*.ipynb")}
    assert found == {LAUNCHER: "as it came", "01-a.ipynb": "evidence", "02-b.ipynb": "later"}
    assert environment[SITE_VARIABLE] == str(tmp_path / "site.yaml")


def test_every_kernel_shows_errors_as_sentences_from_its_start(tmp_path: Path) -> None:
    _work, environment = lay_out(tmp_path, tmp_path, tmp_path / "site.yaml")
    (startup,) = (Path(environment["IPYTHONDIR"]) / "profile_default" / "startup").glob("*.py")
    names: dict[str, object] = {}
    exec(compile(startup.read_text(), str(startup), "exec"), names)
    assert "install_faults" in names


def test_the_launcher_is_opened_first_where_there_is_one(tmp_path: Path) -> None:
    work, _ = lay_out(tmp_path, tmp_path / "none", tmp_path / "site.yaml")
    assert not any("default_url" in word for word in jupyter_command(work))
    (work / LAUNCHER).write_text("{}")
    assert f"--LabApp.default_url=/lab/tree/{LAUNCHER}" in jupyter_command(work, ("--no-browser",))
    settings = [json.loads(file.read_text()) for file in (tmp_path / "jupyter-settings").rglob("*.jupyterlab-settings")]
    assert {"fetchNews": "false", "checkForUpdates": False} in settings


@pytest.mark.parametrize("there", [True, False])
def test_without_a_browser_none_is_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: bool) -> None:
    def get() -> object:
        if there:
            return object()
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", get)
    command = jupyter_command(tmp_path)
    assert ("--no-browser" in command) != there
    assert "--Application.log_level=WARN" in command
    assert ("no web browser here" in where_to_look()) != there


def test_the_labs_desk_has_hardware_for_the_notebooks_on_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def up(directory: Path, options: LabOptions | None = None) -> process.LabInfo:
        asked.append(options)
        return process.LabInfo(directory, running=True, facts={"site_file": str(directory / "site.yaml")})

    monkeypatch.setattr(process, "up", up)
    prepare(tmp_path)
    assert [options.hardware for options in asked if options] == [True]
