"""What a template accepts, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import ParameterError, RunbookError, SelectionError
from pumphouse.journal import Journal
from pumphouse.order import Order
from pumphouse.records import read_manifest
from pumphouse.runner import CommandLineText, load_template, run_notebook
from pumphouse.runner.parameters import Parameter, accepts, check_parameters, read_parameters, resolve_parameters
from tests.runner.making import code, inventory, make_site, notebook, template_cells, write_template

PARAMETERS = """site: str = ""  # path of site.yaml
names: list[str] = []  # servers
count: int = 1  # how many
ratio: float = 0.5  # share, 0 to 1
deep: dict = {}  # anything
limit: int = 0  # at most; 0: no limit
force: bool = False  # really"""


def known() -> Any:
    return read_parameters(notebook(*template_cells(parameters=PARAMETERS)), "t.ipynb")


def test_parameters_are_read_with_type_default_and_help() -> None:
    found = known()
    assert list(found) == ["site", "names", "count", "ratio", "deep", "limit", "force"]
    assert (found["count"].type, found["count"].default, found["count"].help) == ("int", 1, "how many")
    assert str(found["names"]) == "names: list[str] = []  (servers)"


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("names", ("a", "b"), ["a", "b"]),
        ("names", CommandLineText('["a", "b"]'), ["a", "b"]),
        ("names", CommandLineText("a, b"), ["a", "b"]),
        ("names", CommandLineText("a"), ["a"]),
        ("count", CommandLineText("7"), 7),
        ("site", CommandLineText("7"), "7"),
        ("site", CommandLineText("null"), "null"),
        ("ratio", 1, 1),
        ("deep", CommandLineText('{"a": [1]}'), {"a": [1]}),
        ("force", CommandLineText("true"), True),
    ],
)
def test_values_become_json(name: str, value: Any, becomes: Any) -> None:
    assert check_parameters(known(), {name: value}, "t.ipynb") == {name: becomes}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cuont", 1, "unknown parameter 'cuont'"),
        ("count", "7", "parameter 'count': must be int, not str"),
        ("count", True, "must be int"),
        ("force", 1, "must be bool"),
        ("names", ["a", 1], r"must be list\[str\]"),
        ("names", CommandLineText("[a"), r"must be list\[str\]"),
        ("count", CommandLineText("seven"), "'seven' is not"),
        ("site", Path("/x"), "cannot be written as JSON"),
        ("deep", {"a": {1, 2}}, "cannot be written as JSON"),
        ("ratio", float("nan"), "cannot be written as JSON"),
        ("names", ["x" * 40_000], "are too many"),
    ],
)
def test_values_that_do_not_fit(name: str, value: Any, said: str) -> None:
    with pytest.raises(ParameterError, match=said) as caught:
        check_parameters(known(), {name: value}, "t.ipynb")
    assert "count: int = 1  (how many)" in str(caught.value)


def test_a_list_may_be_an_order_that_a_picker_kept(tmp_path: Path) -> None:
    file = Order("hosts", ("node-3", "node-1")).save(tmp_path / "order.json")
    given = {"names": CommandLineText(f"@{file}"), "site": CommandLineText(f"@{file}")}
    assert check_parameters(known(), given, "t.ipynb") == {"names": ["node-3", "node-1"], "site": f"@{file}"}
    with pytest.raises(SelectionError, match="cannot be read"):
        check_parameters(known(), {"names": CommandLineText("@gone.json")}, "t.ipynb")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(ParameterError, match=r"unknown parameter 'a'; .*'count'"):
        check_parameters(known(), {"a": 1, "count": "x"}, "t.ipynb")


def test_defaults_are_resolved_in_the_templates_order() -> None:
    assert list(resolve_parameters(known(), {"force": True}).items())[-2:] == [("limit", 0), ("force", True)]


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        ("dict[str, int]", {"a": 1}, True),
        ("dict[str, int]", {"a": "1"}, False),
        ("list[int] | None", None, True),
        ("list[int] | str", [1.5], False),
        ("float", 1, True),
        ("int", 1.5, False),
    ],
)
def test_types(annotation: str, value: Any, fits: bool) -> None:
    assert accepts(annotation, value) is fits


def test_nothing_is_journalled_when_parameters_are_wrong(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "t.ipynb")
    for given, said in (
        ({"nmae": 1}, "unknown parameter 'nmae'"),
        ({"site": str(tmp_path / "other.yaml")}, "names another site"),
    ):
        with pytest.raises(ParameterError, match=said):
            run_notebook(template, given, site)
    assert not site.records_dir.exists()


def test_a_secret_is_no_parameter(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "t.ipynb", parameters='note: str = ""  # free text')
    with pytest.raises(ParameterError, match="'note' contains a secret") as caught:
        run_notebook(template, {"note": "it is correct-horse-battery"}, site)
    assert "correct-horse" not in str(caught.value)


def test_templates_that_are_refused(tmp_path: Path) -> None:
    record = write_template(tmp_path / "r.ipynb", code("x = 1", "injected-parameters"))
    with pytest.raises(RunbookError, match="is an executed record"):
        load_template(record)
    careless = write_template(tmp_path / "c.ipynb", *inventory("import sys\nsys.exit(0)"))
    with pytest.raises(RunbookError, match=r"cell 6 .*\[leaving\].*pumphouse lint"):
        load_template(careless)
    with pytest.raises(RunbookError, match=r"missing\.ipynb cannot be read"):
        load_template(tmp_path / "missing.ipynb")


def test_no_kernel_of_that_name(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    template = write_template(tmp_path / "t.ipynb")
    template.write_text(template.read_text().replace('"name": "python3"', '"name": "no-such-kernel"'))
    outcome = run_notebook(template, {}, site)
    assert outcome.result == "interrupted"
    assert "no-such-kernel" in outcome.detail
    assert read_manifest(site.records_dir)[0].result == "interrupted"
    journal = Journal.open(site.journal_url)
    assert journal.get_run(outcome.run_id).result == "interrupted"
    journal.close()


def test_a_near_name_is_offered_and_a_runbook_is_called_one() -> None:
    known = {"projects": Parameter("projects", "list", [], "all their servers")}
    with pytest.raises(ParameterError) as refused:
        check_parameters(known, {"project": "acme"}, "move-project.yaml", what="Runbook")
    assert refused.value.message == (
        "Runbook move-project.yaml: unknown parameter 'project' (did you mean 'projects'?)."
    )
    assert "runbook knows these" in str(refused.value.remedy)
