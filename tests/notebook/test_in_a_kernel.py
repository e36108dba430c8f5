"""The whole way once: a real kernel shows the picker, and what the notebook stores renders offline."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import pumphouse
from tests.factories import make_snapshot, uid

VIEW = "application/vnd.jupyter.widget-view+json"
PACKAGE = Path(pumphouse.__file__).parent


@pytest.mark.filterwarnings("default")
def test_an_executed_notebook_keeps_the_view_and_the_static_twin(tmp_path: Path) -> None:
    snapshot = make_snapshot().save(tmp_path / "old.json")
    first = (
        "from pumphouse.inventory import Inventory, Snapshot\n"
        "from pumphouse.notebook import Reporter, select, show\n"
        f"inv = Inventory(Snapshot.load({str(snapshot)!r}))\n"
        "show(inv.servers)"
    )
    cells = [
        first,
        "picker = select(inv, preset={'projects': ['acme']})\npicker",
        "Reporter()('chosen')\npicker.value.digest",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])

    NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()

    (shown,) = book.cells[0].outputs
    assert uid("acme-web1") in shown.data["text/html"]
    assert "Servers (10)" in shown.data["text/plain"]
    (picked,) = book.cells[1].outputs
    assert VIEW in picked.data
    assert uid("acme-web1") in picked.data["text/html"]
    assert "<script" not in picked.data["text/html"]
    printed, value = book.cells[2].outputs
    assert printed.text.endswith("Z  chosen\n")
    assert len(value.data["text/plain"].strip("'")) == 64


def test_only_the_notebook_package_imports_ipython_or_widgets() -> None:
    guilty = []
    for file in PACKAGE.rglob("*.py"):
        if file.is_relative_to(PACKAGE / "notebook"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            guilty += [f"{file.name}: {name}" for name in modules if name.split(".")[0] in ("IPython", "ipywidgets")]
    assert guilty == []
