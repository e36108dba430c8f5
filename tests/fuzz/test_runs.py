"""What starts a run: runbooks, parameters, queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.errors import ParameterError, RunbookError, SelectionError
from pumphouse.inventory import Inventory
from pumphouse.runner.parameters import CommandLineText, check_parameters, read_parameters, resolve_parameters
from pumphouse.runner.runbook import load_runbook
from pumphouse.selection import select_servers
from tests.factories import make_snapshot
from tests.fuzz.junk import JSON, ODD, broken, dumped, fuzzed, tame, torn

pytestmark = pytest.mark.slow

BOOK: dict[str, Any] = {
    "schema": 1,
    "name": "move",
    "parameters": {
        "projects": {"type": "list[str]", "help": "which"},
        "change": {"type": "str", "default": "", "help": "why"},
    },
    "steps": [
        {"notebook": "t.ipynb", "parameters": {"projects": "{{ projects }}"}},
        {
            "for_each": "projects",
            "as": "project",
            "steps": [{"notebook": "t.ipynb", "parameters": {"c": "{{ change }}"}}],
        },
    ],
}
CELL = """projects: list[str] = []  # which
change: str = "x"  # why
count: int = 1  # how many
loud: bool = False  # or not
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fuzz")
    nbformat.write(_notebook(CELL), path / "t.ipynb")
    return path


def _notebook(source: str) -> Any:
    cell = nbformat.v4.new_code_cell(source, id="p", metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    return nbformat.v4.new_notebook(cells=[cell], metadata=kernel)


@fuzzed(3)
@given(document=broken(BOOK), given_values=broken({"projects": ["a"], "change": "c"}), data=torn(yaml.safe_dump(BOOK)),
       whole=st.booleans())  # fmt: skip
def test_runbooks(folder: Path, document: Any, given_values: Any, data: bytes, whole: bool) -> None:
    file = folder / "book.yaml"
    file.write_bytes(dumped(document).encode("utf-8", "surrogatepass") if whole else data)

    def read() -> Any:
        book = load_runbook(file)
        values = book.resolve(given_values if isinstance(given_values, dict) else {})
        return book.calls(values, None)

    outcome = tame("runbook", read)
    if outcome.error is not None:
        assert isinstance(outcome.error, RunbookError)


@fuzzed(3)
@given(values=st.dictionaries(st.sampled_from(["projects", "change", "count", "loud", "other"]),
                              JSON | ODD.map(str).map(CommandLineText) | st.text().map(CommandLineText)))  # fmt: skip
def test_parameters(values: dict[str, Any]) -> None:
    known = read_parameters(_notebook(CELL), "t.ipynb")

    def resolve() -> Any:
        return resolve_parameters(known, check_parameters(known, values, "t.ipynb"))

    outcome = tame("parameters", resolve)
    if outcome.error is not None:
        assert isinstance(outcome.error, ParameterError)
    else:
        assert set(outcome.value) == set(known)
        assert isinstance(outcome.value["change"], str)
        assert all(isinstance(one, str) for one in outcome.value["projects"])


@fuzzed()
@given(source=torn(CELL).map(lambda data: data.decode("utf-8", "replace")))
def test_parameter_cells(source: str) -> None:
    outcome = tame("parameter cell", lambda: read_parameters(_notebook(source), "t.ipynb"))
    if outcome.error is not None:
        assert isinstance(outcome.error, RunbookError)


@pytest.fixture(scope="module")
def servers() -> pd.DataFrame:
    return Inventory(make_snapshot("source"), None).servers


WORDS = st.sampled_from(
    ["status", "name", "ram_mib", "==", "<", "in", "and", "not", "(", ")", "'ACTIVE'", "1", "[", "]", ".str",
     ".contains", "'(a+)+$'", "@x", "__class__", "lambda:0", "*" * 9, "**", "1/0", "None", "server_id", "`", "\n", ",",
     "created_at"]
)  # fmt: skip


@fuzzed(4)
@given(query=st.lists(WORDS, max_size=9).map(" ".join) | st.text(max_size=30))
def test_queries(servers: pd.DataFrame, query: str) -> None:
    outcome = tame("query", lambda: select_servers(servers, query=query))
    if outcome.error is not None:
        assert isinstance(outcome.error, SelectionError)


@fuzzed(2)
@given(choice=st.fixed_dictionaries({}, optional=dict.fromkeys(("names", "ids", "hosts", "projects", "probe"), JSON)))
def test_choices(servers: pd.DataFrame, choice: dict[str, Any]) -> None:
    outcome = tame("choice", lambda: select_servers(servers, **choice))
    if outcome.error is not None:
        assert isinstance(outcome.error, SelectionError)
