"""Writing records, listing them in the manifest, showing them as pages."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbformat.v4 import new_output
from papermill.iorw import papermill_io

from pumphouse.errors import RunbookError
from pumphouse.records import Redactor
from pumphouse.records.archive import FolderArchive
from pumphouse.records.engine import NotebookStopped, RecordEngine
from pumphouse.records.html import render_html
from pumphouse.records.pages import render_archive
from pumphouse.records.sheet import Sheet, Template, write_sheet
from pumphouse.records.store import RecordHandler, WritePolicy, hide_in_text, open_record
from tests.records.sealing import seal
from tests.runner.making import code, inventory, notebook, prose, read_record, statuses, template_cells, write_template

STARTED = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)


def sheet(result: str = "succeeded", detail: str = "") -> Sheet:
    template = Template("notebooks/10-look.ipynb", "ab" * 32, "cd" * 20, dirty=True)
    given = {"project": "shop|x", "names": ["a", "b"], "note": "", "limit": 0}
    start = Sheet("20310405T060708-aa", template, "Ada", STARTED, given, "tiny")
    return start.ended(result, detail, at=datetime(2031, 4, 5, 6, 9, 10, tzinfo=UTC))


def make_record(file: Path, *cells: Any, result: str = "succeeded", detail: str = "") -> Path:
    book = notebook(*template_cells(*cells))
    write_sheet(book, sheet(result, detail))
    with open_record(file, WritePolicy(Redactor(lambda: {"correct-horse-battery"}))):
        RecordHandler.write(nbformat.writes(book), f"record://{file}")
    return file


def test_papermill_knows_scheme_and_engine() -> None:
    assert papermill_io.get_handler("record:///x/y.ipynb") is RecordHandler
    assert papermill.engines.papermill_engines.get_engine("pumphouse") is RecordEngine


def test_every_write_is_redacted_and_folder_is_made(tmp_path: Path) -> None:
    book = notebook(prose("# T\nit is correct-horse-battery"))
    book["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"m": {"options": ["a"]}}}}
    file = tmp_path / "deep" / "er" / "r.ipynb"
    with open_record(file, WritePolicy(Redactor(lambda: {"correct-horse-battery"}))) as path:
        for _ in range(2):
            papermill_io.write(nbformat.writes(book), path)
            assert "correct-horse" not in file.read_text()
    record = read_record(file)
    assert "widgets" not in record["metadata"]
    assert [f.name for f in file.parent.iterdir()] == ["r.ipynb"]
    assert RecordHandler.listdir(f"record://{file.parent}") == [f"record://{file}"]


def test_failed_write_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_record(tmp_path / "r.ipynb")
    before = file.read_text()

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunbookError, match=r"r\.ipynb cannot be written.*No space left"):
        make_record(file, prose("more"))
    assert file.read_text() == before
    assert [f.name for f in tmp_path.iterdir()] == ["r.ipynb"]


def test_braces_in_a_folder_are_no_format(tmp_path: Path) -> None:
    file = tmp_path / "{odd}" / "r.ipynb"
    with open_record(file, WritePolicy(Redactor())) as path:
        assert path.format() == f"record://{file}"


def test_folders_get_their_alias() -> None:
    aliases = {"/srv/site": ".", "/srv": "[srv]"}
    assert hide_in_text("in /srv/site/records/x, not /srv/sites/y", aliases) == "in records/x, not [srv]/sites/y"
    assert hide_in_text("\x1b[32m/srv/lib.py\x1b[0m!", aliases) == "\x1b[32m[srv]/lib.py\x1b[0m!"
    assert hide_in_text("in /srv, or /srv.", aliases) == "in [srv], or [srv]."
    assert hide_in_text("/other/srv/site/x", aliases) == "/other/srv/site/x"


def test_widget_view_gives_way_to_its_twin(tmp_path: Path) -> None:
    cell = code("w", "ph-select")
    view = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "1"},
        "text/html": "<b>twin</b>",
        "text/plain": "w",
    }
    cell["outputs"] = [new_output("display_data", data=view)]
    record = read_record(make_record(tmp_path / "r.ipynb", prose("## S"), cell))
    assert [sorted(o["data"]) for c in record["cells"] for o in c.get("outputs", [])] == [["text/html", "text/plain"]]


def test_summary_is_on_top_once_and_escapes_markup(tmp_path: Path) -> None:
    record = read_record(make_record(tmp_path / "r.ipynb", result="failed", detail="a | b <script>"))
    write_sheet(record, sheet("failed"))
    assert [c["id"] for c in record["cells"]].count("ph-summary") == 1
    top = read_record(tmp_path / "r.ipynb")["cells"][0]["source"]
    assert top.startswith("# Result: failed\n")
    assert "a \\| b &lt;script&gt;" in top
    assert "shop\\|x" in top
    assert "with uncommitted changes" in top
    assert "| `limit` | 0 |" in top
    assert "Left empty: `note`" in top


def page_of(folder: Path, *cells: Any, result: str = "succeeded", detail: str = "") -> str:
    return render_html(
        make_record(folder / "r.ipynb", *cells, result=result, detail=detail), folder / "r.html"
    ).read_text()


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, Any]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.append((tag, attrs))


def test_page_asks_for_nothing_and_runs_nothing(tmp_path: Path) -> None:
    cell = code("show()", "ph-inventory")
    hostile = '<script src="http://x.example/a.js"></script><meta http-equiv=refresh content="0;url=http://x.example">'
    cell["outputs"] = [
        new_output("display_data", data={"text/html": f"<table><tr><td>kept</td></tr></table>{hostile}"}),
        new_output("display_data", data={"application/javascript": "alert(1)", "text/plain": "plain twin"}),
    ]
    page = page_of(tmp_path, prose("## Look"), cell)
    seen = Tags()
    seen.feed(page)
    assert "default-src 'none'" in page
    assert not {tag for tag, _ in seen.tags} & {"script", "link", "iframe", "base", "object", "embed"}
    assert [tag for tag, _ in seen.tags].count("meta") == 3
    links = [value for _, attributes in seen.tags for key, value in attributes if key in ("src", "href", "action")]
    assert [link for link in links if not link.startswith(("data:", "#"))] == []
    assert "<td>kept</td>" in page
    assert "plain twin" in page
    assert "alert(1)" not in page


def test_page_shows_result_first_and_folds_code(tmp_path: Path) -> None:
    cell = code("secret_sauce()", "ph-action")
    cell["metadata"]["papermill"] = {"status": "failed", "duration": 1.25}
    cell["outputs"] = [new_output("error", ename="StepError", evalue="web1 is in ERROR.", traceback=["line"])]
    page = page_of(tmp_path, prose("## M\n\n| a | b |\n|---|---|\n| 1 | 2 |"), cell, result="failed", detail="Cell 6.")
    banner = page.index('class="banner failed"')
    assert page.count("<h1>") == 1
    assert banner < page.index("<h1>A tiny notebook") < page.index("20310405T060708-aa") < page.index("secret_sauce")
    assert "Result: failed" not in page
    assert re.search(
        r"<details class=\"code never\"><summary>Code \(ph-action\): ended the run</summary>\s*<pre>", page
    )
    assert "<th>a</th>" in page
    assert "StepError: web1 is in ERROR." in page
    assert "shop|x" in page
    assert "Left empty: note<" in page


def test_page_of_no_notebook(tmp_path: Path) -> None:
    (tmp_path / "x.ipynb").write_text("{")
    with pytest.raises(RunbookError, match=r"x\.ipynb cannot be read"):
        render_html(tmp_path / "x.ipynb", tmp_path / "x.html")


def test_index_lists_every_run(tmp_path: Path) -> None:
    make_record(tmp_path / "r.ipynb")
    seal(tmp_path, "child", stem="r", parent_id="parent")
    seal(tmp_path, "parent")
    seal(tmp_path, "lonely", "refused")
    page = render_archive(FolderArchive(tmp_path)).read_text()
    assert page.index(">2: parent<") < page.index(">1: child<")
    assert 'href="r.html"' in page
    assert 'href="r.ipynb"' in page
    assert "3 runs: 2 succeeded, 1 refused." in page
    assert "does not agree" not in page
    assert (tmp_path / "r.html").exists()
    other = render_archive(FolderArchive(tmp_path), tmp_path / "site" / "www").read_text()
    assert 'href="../../r.ipynb"' in other
    (tmp_path / "r.ipynb").write_text("{}")
    assert "does not agree" in render_archive(FolderArchive(tmp_path)).read_text()


def test_index_of_nothing(tmp_path: Path) -> None:
    assert "No run has ended yet." in render_archive(FolderArchive(tmp_path / "none"), tmp_path / "out").read_text()


def test_engine_without_runner_tells_the_truth_too(tmp_path: Path) -> None:
    template = write_template(tmp_path / "t.ipynb", *inventory("import sys\nsys.exit(0)"))
    record = tmp_path / "records" / "r.ipynb"
    with pytest.raises(NotebookStopped, match="left the notebook early"):
        papermill.execute_notebook(
            str(template), f"record://{record}", parameters={"count": 5}, engine_name="pumphouse", progress_bar=False
        )
    book = read_record(record)
    assert book["metadata"]["pumphouse"]["result"] == "failed"
    assert book["metadata"]["pumphouse"]["parameters"] == {"count": 5}
    assert statuses(book)[-2:] == ["failed", "pending"]
    assert book["metadata"]["papermill"]["exception"] is True


def test_template_facts_outside_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    file = write_template(tmp_path / "t.ipynb")
    facts = Template.of(file)
    assert (facts.path, facts.commit, facts.dirty) == ("t.ipynb", None, None)


def test_metadata_is_json(tmp_path: Path) -> None:
    record = json.loads(make_record(tmp_path / "r.ipynb").read_text())
    facts = record["metadata"]["pumphouse"]
    assert facts["schema"] == 1
    assert facts["started_at"] == "2031-04-05T06:07:08+00:00"
    assert facts["template"] == {
        "path": "notebooks/10-look.ipynb",
        "sha256": "ab" * 32,
        "commit": "cd" * 20,
        "dirty": True,
    }
