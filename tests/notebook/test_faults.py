"""Errors in a kernel: sentences instead of tracebacks, and the cell has failed all the same."""

from __future__ import annotations

import pickle
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from pumphouse.errors import ChecksFailed, PumphouseError
from pumphouse.notebook.faults import folded_trace

MAKES = "## The plan\nIt is made here."
CELLS = {
    "install": "from pumphouse.notebook.faults import install_faults\ninstall_faults()\ninstall_faults()",
    "refused": (
        "from pumphouse.errors import ChecksFailed\n"
        "raise ChecksFailed('2 findings:\\n  - a\\n  - b', remedy='mend it.')"
    ),
    "early": "print(plan)",
    "plan": "plan = 1",
    "typo": "print(plam)",
    "interrupted": "raise KeyboardInterrupt",
    "fault": "1 / 0",
    "late": "print(plan)",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The cells as they were run, by name; the cell that makes ``plan`` is only run after one that needs it."""
    folder = tmp_path_factory.mktemp("faults")
    cells = []
    for name, source in CELLS.items():
        if name == "plan":
            cells.append(nbformat.v4.new_markdown_cell(MAKES, id="prose"))
        cells.append(nbformat.v4.new_code_cell(source, id=name))
    book = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(book, folder / "book.ipynb")
    client = NotebookClient(
        book, timeout=120, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return {cell.id: cell for cell in book.cells}


def failure(cell: Any) -> Any:
    """The one error that a cell shows."""
    (error,) = [output for output in cell.outputs if output.output_type == "error"]
    return error


def shown(cell: Any) -> list[Any]:
    return [output.data for output in cell.outputs if output.output_type == "display_data"]


def test_a_refusal_is_its_sentences_and_nothing_else(ran: dict[str, Any]) -> None:
    error = failure(ran["refused"])
    assert error.ename == "ChecksFailed"
    assert error.traceback == ["ChecksFailed: 2 findings:\n  - a\n  - b", "Remedy: mend it."]


def test_the_traceback_is_there_folded_away(ran: dict[str, Any]) -> None:
    (data,) = shown(ran["refused"])
    assert data["text/html"].count("<details>") == 1
    assert "Traceback (most recent call last)" in data["text/html"]
    assert data["text/plain"].startswith("Raised in ")


def test_a_cell_out_of_order_is_refused_with_the_name_of_the_missing_one(ran: dict[str, Any]) -> None:
    words = "\n".join(failure(ran["early"]).traceback)
    assert "this cell needs “plan”, and the cell under “The plan”, which makes it, was not run" in words
    assert "Run All Above Selected Cell" in words
    assert shown(ran["early"]) == []
    assert ran["late"].outputs[0].text == "1\n"


@pytest.mark.parametrize(("name", "kind"), [("typo", "NameError"), ("fault", "ZeroDivisionError")])
def test_what_is_no_refusal_keeps_its_traceback(ran: dict[str, Any], name: str, kind: str) -> None:
    error = failure(ran[name])
    assert error.ename == kind
    assert "Traceback" in "\n".join(error.traceback)


def test_an_interrupt_says_what_it_means(ran: dict[str, Any]) -> None:
    error = failure(ran["interrupted"])
    assert error.ename == "KeyboardInterrupt"
    assert error.traceback[0] == "Interrupted."
    assert "Run the cell again to go on" in error.traceback[1]


def test_markup_and_controls_in_an_error_are_shown_not_followed() -> None:
    with pytest.raises(ChecksFailed) as caught:
        raise ChecksFailed("<script>alert(1)</script>\x1b[2J")
    display = folded_trace(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message
    assert "<script" not in display.html
    assert "\x1b" not in display.html


def test_a_request_id_is_part_of_the_sentence() -> None:
    error = PumphouseError("It failed.", request_id="req-1")
    assert error._render_traceback_() == ["PumphouseError: It failed. [request req-1]"]
