"""Two runs compared: a rehearsal and the real one, by names, without times and ids."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pumphouse.errors import RunbookError
from pumphouse.records.compare import compare, load_run
from pumphouse.runner.records_cli import records_group
from tests.records.sealing import seal
from tests.runner.making import make_site


def server(name: str, number: int, **more: Any) -> dict[str, Any]:
    before = {"status": "ACTIVE", "host": "node-1", "addresses": [f"10.0.0.{number}"], "floating_ips": []}
    after = {"status": "ACTIVE", "host": "new-1", "addresses": [f"10.0.0.{number}"], "id": f"there-{number}"}
    facts = {"id": f"id-{number}", "name": name, "project": "acme", "result": "moved", "problem": None}
    return {**facts, "before": before, "after": after, "downtime_s": 2.5, "answers": True, "plan": "aa" * 32, **more}


def step(kind: str, name: str | None, result: str = "verified", title: str = "t") -> dict[str, Any]:
    return {"kind": kind, "server": name, "title": title, "result": result, "seconds": 1.5, "requests": ["req-1"]}


def summary() -> dict[str, Any]:
    servers = [server("web1", 1), server("web2", 2)]
    steps = [step("boot", "web1"), step("boot", "web2"), step("flavor", None, title="flavor m1.tiny")]
    planned = ["boot: web1", "boot: web2", "flavor: flavor m1.tiny"]
    return {
        "run_id": "20310405T060708-aa",
        "result": "succeeded",
        "detail": "",
        "started_at": "2031-04-05T06:07:08+00:00",
        "template": {"path": "notebooks/03.ipynb", "sha256": "ab" * 32, "commit": "cd" * 20, "dirty": False},
        "parameters": {"site": "site.yaml", "operator": "ada", "projects": ["acme"]},
        "story": {
            "servers": servers,
            "steps": steps,
            "plans": [{"hash": "aa" * 32, "kind": "move", "planned": planned}],
            "deviations": [],
        },
    }


def elsewhere(told: dict[str, Any]) -> dict[str, Any]:
    """The same run, somewhere else and some other time."""
    other = copy.deepcopy(told)
    other |= {"run_id": "20320101T000000-bb", "started_at": "2032-01-01T00:00:00+00:00"}
    other["parameters"] |= {"site": "real.yaml", "operator": "bert"}
    other["story"]["plans"][0]["hash"] = "bb" * 32
    for number, row in enumerate(other["story"]["servers"]):
        row |= {"id": f"other-{number}", "downtime_s": 9.0, "plan": "bb" * 32}
        row["after"]["id"] = f"made-{number}"
    for row in other["story"]["steps"]:
        row |= {"seconds": 20.0, "requests": ["req-2"]}
    return other


def test_times_and_ids_are_no_difference() -> None:
    assert compare(summary(), elsewhere(summary())) == []


def changed(path: str, value: Any) -> dict[str, Any]:
    other = elsewhere(summary())
    node: Any = other
    *way, last = path.split(".")
    for key in way:
        node = node[int(key)] if isinstance(node, list) else node[key]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return other


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("template.path", "notebooks/04.ipynb", ("template", "path")),
        ("template.sha256", "ef" * 32, ("template", "content")),
        ("parameters.projects", ["other"], ("parameter", "projects")),
        ("parameters.accept", "code", ("parameter", "accept")),
        ("story.plans.0.kind", "rollback", ("plan", "kind")),
        ("story.plans.0.planned", ["boot: web1", "boot: web2"], ("plan", "step flavor: flavor m1.tiny")),
        ("story.servers.0.before.host", "node-9", ("plan", "server acme/web1, before: host")),
        ("story.servers.1", server("web3", 3), ("plan", "server acme/web2")),
        ("result", "failed", ("outcome", "result")),
        ("story.servers.0.result", "failed", ("outcome", "server acme/web1: result")),
        ("story.servers.0.answers", False, ("outcome", "server acme/web1: answers")),
        ("story.servers.0.after.status", "ERROR", ("outcome", "server acme/web1, after: status")),
        ("story.steps.0.result", "failed", ("outcome", "step boot: web1")),
        ("story.deviations", ["retried"], ("outcome", "deviations")),
    ],
)
def test_differences(path: str, value: Any, said: tuple[str, str]) -> None:
    found = compare(summary(), changed(path, value))
    assert said in [(row.part, row.what) for row in found]
    assert compare(changed(path, value), changed(path, value)) == []


def keep(folder: Path, stem: str, told: dict[str, Any]) -> Path:
    (folder / f"{stem}.files").mkdir(parents=True)
    (folder / f"{stem}.files" / "summary.json").write_text(json.dumps(told))
    (folder / f"{stem}.ipynb").write_text("{}")
    seal(folder, told["run_id"], stem=stem)
    return folder / f"{stem}.ipynb"


def test_a_rehearsal_in_the_lab_and_the_real_run(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    rehearsal = keep(tmp_path / "lab", "r1", summary())
    keep(site.records_dir, "r2", elsewhere(summary()))
    same = CliRunner().invoke(records_group, ["diff", str(rehearsal), "20320101T000000-bb", "--site", str(site.path)])
    assert (same.exit_code, same.stdout) == (0, "No difference in template, parameters, plan and outcome.\n")
    keep(site.records_dir, "r3", changed("result", "failed") | {"run_id": "third"})
    other = CliRunner().invoke(records_group, ["diff", str(rehearsal), "r3.ipynb", "--site", str(site.path), "--json"])
    assert other.exit_code == 1
    assert json.loads(other.stdout) == [{"part": "outcome", "what": "result", "first": "succeeded", "second": "failed"}]


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    with pytest.raises(RunbookError, match="neither a record nor a run"):
        load_run("none", str(site.path))
    seal(site.records_dir, "bare")
    with pytest.raises(RunbookError, match=r"has no summary\.json"):
        load_run("bare", str(site.path))
