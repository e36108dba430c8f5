"""Runbooks: strict when read, stopping at the first failure when run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.errors import ParameterError, RunbookError
from pumphouse.journal import Journal
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.records import read_manifest, verify_manifest
from pumphouse.runner import RunOutcome, StopSwitch, load_runbook, run_runbook
from tests.runner.making import code, inventory, make_site, output_text, prose, read_record, write_template

PARAMETERS = {
    "servers": {"type": "list[str]", "default": [], "help": "names"},
    "wave": {"type": "int", "help": "number of the wave"},
}


def write_runbook(folder: Path, **changes: Any) -> Path:
    """A runbook of two steps with notebooks that take ``name`` and ``count``."""
    parameters = 'name: str = ""  # a name\ncount: int = 0  # how many\nsite: str = ""  # site file'
    parameters += '\noperator: str = ""  # who'
    write_template(folder / "notebooks" / "one.ipynb", *inventory("print('one', name, count)"), parameters=parameters)
    source = "assert name != 'bad'\nprint('two', name)"
    write_template(folder / "notebooks" / "two.ipynb", *inventory(source), parameters=parameters)
    raw: dict[str, Any] = {
        "schema": 1,
        "name": "tiny",
        "parameters": PARAMETERS,
        "steps": [
            {
                "notebook": "../notebooks/one.ipynb",
                "parameters": {"name": "wave {{ wave }} of {{ servers }}", "count": "{{ wave }}"},
            },
            {
                "notebook": "../notebooks/two.ipynb",
                "for_each": "servers",
                "as": "server",
                "parameters": {"name": "{{server}}"},
            },
        ],
    }
    file = folder / "runbooks" / "tiny.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump(raw | changes, sort_keys=False))
    return file


def test_calls_are_resolved_before_anything_runs(tmp_path: Path) -> None:
    runbook = load_runbook(write_runbook(tmp_path))
    calls = runbook.calls(runbook.resolve({"wave": 3, "servers": ["a", "b"]}), None)
    assert [(call.label, dict(call.parameters)) for call in calls] == [
        ("one", {"name": 'wave 3 of ["a", "b"]', "count": 3}),
        ("two a", {"name": "a"}),
        ("two b", {"name": "b"}),
    ]


def block(*steps: dict[str, Any], **loop: Any) -> dict[str, Any]:
    """A runbook's steps, of which the second is a block."""
    one = {"notebook": "../notebooks/one.ipynb"}
    return {"steps": [one, {"for_each": "servers", "as": "server", **loop, "steps": list(steps)}]}


def test_a_block_does_all_its_notebooks_for_one_item_before_the_next(tmp_path: Path) -> None:
    steps = [
        {"notebook": "../notebooks/one.ipynb", "parameters": {"name": "{{ server }}"}},
        {"notebook": "../notebooks/two.ipynb", "parameters": {"name": "{{ server }}", "count": "{{ wave }}"}},
    ]
    runbook = load_runbook(write_runbook(tmp_path, **block(*steps)))
    calls = runbook.calls(runbook.resolve({"wave": 3, "servers": ["a", "b"]}), None)
    assert [(call.label, dict(call.parameters)) for call in calls] == [
        ("one", {}),
        ("one a", {"name": "a"}),
        ("two a", {"name": "a", "count": 3}),
        ("one b", {"name": "b"}),
        ("two b", {"name": "b", "count": 3}),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": [{"for_each": "servers", "steps": []}]}, "step 1, key steps: must not be empty"),
        (
            {"steps": [{"steps": [{"notebook": "../notebooks/one.ipynb"}]}]},
            "step 1: required key 'for_each' is missing",
        ),
        (block({"notebook": "../notebooks/one.ipynb", "for_each": "servers"}), "step 2, key steps.0: unknown key"),
        (block({"notebook": "../notebooks/none.ipynb"}), r"step 2\.1, key notebook"),
        (
            block({"notebook": "../notebooks/one.ipynb"}, for_each="wave"),
            r"step 2\.1, key for_each: .*'wave' is no list",
        ),
        (
            block({"notebook": "../notebooks/one.ipynb", "parameters": {"name": "{{ svr }}"}}),
            r"step 2\.1, key parameters\.name: no parameter 'svr'",
        ),
        ({"schema": 2}, "schema: must be 1"),
        ({"extra": 1}, r"top level: unknown key 'extra' \(known: description, name"),
        ({"steps": []}, "steps: must not be empty"),
        ({"steps": [{"notebok": "x"}]}, "step 1: unknown key 'notebok'.*'notebook' is missing"),
        ({"steps": [{"notebook": "x.txt"}]}, "step 1, key notebook"),
        ({"steps": [{"notebook": "x.ipynb"}]}, r"step 1, key notebook: Notebook .*x\.ipynb cannot be read"),
        ({"steps": [{"notebook": "../notebooks/one.ipynb", "as": "x"}]}, "'as' needs key 'for_each'"),
        ({"steps": [{"notebook": "../notebooks/one.ipynb", "gate": "maybe"}]}, "step 1, key gate: must be approval"),
        ({"steps": [{"notebook": "../notebooks/one.ipynb", "gate": "approval"}]}, "key gate: .*no 'ph-gate' cell"),
        ({"steps": [{"notebook": "../notebooks/one.ipynb", "for_each": "hosts"}]}, "no parameter 'hosts'"),
        ({"steps": [{"notebook": "../notebooks/one.ipynb", "for_each": "wave"}]}, "'wave' is no list but int"),
        (
            {"steps": [{"notebook": "../notebooks/one.ipynb", "parameters": {"name": "{{ wvae }}"}}]},
            r"step 1, key parameters\.name: no parameter 'wvae' \(known: servers, wave\)",
        ),
        (
            {"parameters": {"wave": {"type": "int", "default": "x", "help": "h"}}},
            r"parameters\.wave: the default is not",
        ),
        ({"parameters": {"wave": {"type": "int"}}}, r"parameters\.wave: required key 'help' is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    file = write_runbook(tmp_path, **changes)
    with pytest.raises(RunbookError, match=said) as caught:
        load_runbook(file)
    assert "tiny.yaml" in str(caught.value)
    assert caught.value.remedy


def test_no_yaml_and_no_file(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("steps:\n  - notebook: {{ x }}\n bad")
    with pytest.raises(RunbookError, match=r"r\.yaml is not YAML at line \d"):
        load_runbook(file)
    with pytest.raises(RunbookError, match="cannot be read"):
        load_runbook(tmp_path / "none.yaml")
    file.write_text("- a list")
    with pytest.raises(RunbookError, match="top level: must be of type object"):
        load_runbook(file)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no value for wave.*number of the wave"),
        ({"wave": "x"}, "'wave': must be int"),
        ({"wave": 1, "size": 2}, "unknown parameter 'size'"),
    ],
)
def test_parameters_of_a_runbook(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    site = make_site(tmp_path / "site")
    with pytest.raises(ParameterError, match=said):
        run_runbook(write_runbook(tmp_path), given, site)
    assert not site.records_dir.exists()


def test_a_step_whose_parameters_do_not_fit_is_found_beforehand(tmp_path: Path) -> None:
    steps = [
        {"notebook": "../notebooks/one.ipynb"},
        {"notebook": "../notebooks/two.ipynb", "parameters": {"count": "{{ servers }}"}},
    ]
    site = make_site(tmp_path / "site")
    with pytest.raises(ParameterError, match=r"tiny\.yaml: step 2: .*'count': must be int"):
        run_runbook(write_runbook(tmp_path, steps=steps), {"wave": 1}, site)
    assert not site.records_dir.exists()


def test_a_gate_that_has_its_cell(tmp_path: Path) -> None:
    file = write_runbook(tmp_path, steps=[{"notebook": "../notebooks/gated.ipynb", "gate": "approval"}])
    write_template(tmp_path / "notebooks" / "gated.ipynb", prose("## Gate"), code("run.require()", "ph-gate"))
    assert load_runbook(file).steps[0].template.has_tag("ph-gate")


def test_stops_at_the_first_failure(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    told: list[tuple[int, int, str, str | None]] = []

    def hear(number: int, count: int, label: str, outcome: RunOutcome | None) -> None:
        told.append((number, count, label, outcome.result if outcome else None))

    given = {"wave": 2, "servers": ["bad", "never"]}
    outcome = run_runbook(write_runbook(tmp_path), given, site, operator="Ada", step_reporter=hear)
    assert outcome.result == "failed"
    assert outcome.exit_code == 1
    assert [step.result for step in outcome.steps] == ["succeeded", "failed"]
    assert "AssertionError" in outcome.detail
    assert "1 of 3 notebooks were not run." in outcome.detail
    assert told == [
        (1, 3, "one", None),
        (1, 3, "one", "succeeded"),
        (2, 3, "two bad", None),
        (2, 3, "two bad", "failed"),
    ]
    assert 'one wave 2 of ["bad", "never"] 2' in output_text(read_record(outcome.steps[0].record))
    entries = read_manifest(site.records_dir)
    assert [entry.result for entry in entries] == ["succeeded", "failed", "failed"]
    assert [entry.parent_id for entry in entries] == [outcome.run_id, outcome.run_id, None]
    assert {entry.operator for entry in entries} == {"Ada"}
    assert verify_manifest(site.records_dir) == []
    journal = Journal.open(site.journal_url)
    rows = {row.id: row for row in journal.list_runs()}
    journal.close()
    assert rows[outcome.run_id].result == "failed"
    assert [row.parent_id for row in rows.values()].count(outcome.run_id) == 2
    told.clear()
    again = run_runbook(write_runbook(tmp_path), given, site, operator="Ada", step_reporter=hear, go_on=True)
    assert [label for _, _, label, _ in told] == ["two bad", "two bad"]
    assert (again.result, [step.result for step in again.steps]) == ("failed", ["failed"])
    assert again.detail.startswith("1 of 3 notebooks succeeded in earlier runs.")
    told.clear()
    run_runbook(write_runbook(tmp_path), {**given, "wave": 3}, site, step_reporter=hear, go_on=True)
    assert told[0][:3] == (1, 3, "one")


def test_a_list_whose_end_was_corrected_goes_on_where_it_was(tmp_path: Path) -> None:
    """What was done of it may be nothing that its notebooks could begin with again: an emptied host, say."""
    site = make_site(tmp_path / "site")
    two = {"notebook": "../notebooks/two.ipynb", "parameters": {"name": "{{ server }}"}}
    steps = [{**two, "for_each": "servers", "as": "server"}]
    labels: list[str] = []

    def hear(_number: int, _count: int, label: str, outcome: RunOutcome | None) -> None:
        labels.extend([label] if outcome is not None else [])

    for servers in (["good", "bad"], ["good", "better"]):
        given = {"wave": 1, "servers": servers}
        run_runbook(write_runbook(tmp_path, steps=steps), given, site, step_reporter=hear, go_on=True)
    assert labels == ["two good", "two bad", "two better"]


def test_what_is_named_twice_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """At its second turn nothing would be left to do with it, and nothing after it would ever be done."""
    site = make_site(tmp_path / "site")
    with pytest.raises(ParameterError, match="step 2: servers names 'a' twice"):
        run_runbook(write_runbook(tmp_path), {"wave": 1, "servers": ["a", "b", "a"]}, site)
    assert not site.records_dir.exists() or read_manifest(site.records_dir) == []


def test_a_stop_between_notebooks_aborts(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    switch = StopSwitch()

    def hear(_number: int, _count: int, _label: str, outcome: RunOutcome | None) -> None:
        if outcome is not None:
            switch.throw("SIGTERM")

    outcome = run_runbook(
        write_runbook(tmp_path), {"wave": 1, "servers": ["a"]}, site, step_reporter=hear, switch=switch
    )
    assert (outcome.result, outcome.exit_code) == ("aborted", 4)
    assert outcome.detail == "Stopped by SIGTERM after 1 of 2 notebooks."


def test_empty_lists_leave_nothing_to_do(tmp_path: Path) -> None:
    steps = [{"notebook": "../notebooks/two.ipynb", "for_each": "servers"}]
    site = make_site(tmp_path / "site")
    outcome = run_runbook(write_runbook(tmp_path, steps=steps), {"wave": 1}, site)
    assert (outcome.result, outcome.exit_code, outcome.steps) == ("nothing-to-do", 0, ())


def test_a_node_or_host_that_the_site_does_not_have_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A slip in the third host's name would stop the runbook when its turn comes, days later."""
    node = NodeSpec("cmp-01", ("52:54:00:00:00:01",), host="compute1")
    site = replace(make_site(tmp_path / "site"), hardware=Hardware(nodes={"cmp-01": node}))
    named = {"servers": {"type": "list[str]", "of": "hosts", "help": "hosts"}, "wave": PARAMETERS["wave"]}
    book = write_runbook(tmp_path, parameters=named)
    with pytest.raises(ParameterError, match=r"'servers' names 'cmp-01', and .* no nova host of") as caught:
        run_runbook(book, {"wave": 1, "servers": ["compute1", "cmp-01"]}, site)
    assert "compute1" in str(caught.value.remedy)
    load_runbook(book).require_known({"servers": ["compute1"]}, site.hardware)
    named["servers"]["of"] = "nodes"
    load_runbook(write_runbook(tmp_path, parameters=named)).require_known(
        {"servers": ["compute1", "cmp-01"]}, site.hardware
    )
