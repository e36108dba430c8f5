"""The notebooks and the runbook, executed headlessly by ``pumphouse run`` in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from pumphouse.cli import main
from pumphouse.ledger.cases import LATER
from pumphouse.records import read_manifest, verify_manifest
from pumphouse.selection import select_servers
from tests.flow.desk import AT_SOURCE, FINALISED, MOVED, STOPPED, Desk
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = SDK_WARNS_OF_ITSELF
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What ``pumphouse run --json`` said."""

    exit_code: int
    outcome: dict[str, Any]
    said: str


def run(desk: Desk, what: str, **parameters: Any) -> Ran:
    """Run a notebook or the runbook in a process of its own."""
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
    words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    command = [sys.executable, "-m", "pumphouse", "run", "--json", str(ROOT / what), *words]
    command += ["--site", str(desk.lab.site_file), "--operator", "olga"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    outcome = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return Ran(done.returncode, outcome, done.stdout + done.stderr)


def record(desk: Desk, outcome: dict[str, Any]) -> str:
    """A record's text, after looking whether it tells the result."""
    file = desk.lab.directory / "records" / outcome["record"]
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert notebook["metadata"]["pumphouse"]["result"] == outcome["result"]
    assert notebook["cells"][0]["source"][0].startswith(f"# Result: {outcome['result']}")
    entry = next(e for e in read_manifest(file.parent) if e.run_id == outcome["run_id"])
    assert (entry.result, entry.record) == (outcome["result"], outcome["record"])
    return str(file.read_text(encoding="utf-8"))


def approve(desk: Desk, kind: str, **choice: Any) -> str:
    """Plan with the library, approve; the notebook makes the same plan, or it will not be approved. Its hash."""
    with desk.run() as planned:
        plan = getattr(planned, f"plan_{kind}")(select_servers(planned.inventory().servers, **choice))
        desk.approve(plan, planned)
    return str(plan.hash)


@pytest.fixture(scope="module")
def ids(fleet: Iterator[str]) -> list[str]:
    """Two servers that the tests of this module pass on."""
    return list(islice(fleet, 2))


def names(desk: Desk, ids: list[str]) -> list[str]:
    """Names of servers."""
    return [desk.servers[server_id]["name"] for server_id in ids]


@pytest.mark.parametrize("notebook", sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_a_parameter_that_the_notebook_does_not_know(notebook: str, desk: Desk) -> None:
    records = desk.lab.directory / "records"
    before = sorted(records.glob("*"))
    words = ["run", str(ROOT / "notebooks" / notebook), "--site", str(desk.lab.site_file), "-p", "severs=[]"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert notebook in done.output
    assert "severs" in done.output
    assert sorted(records.glob("*")) == before
    assert desk.changes() == []


def test_a_move_that_nobody_approved(desk: Desk, ids: list[str]) -> None:
    ran = run(desk, "notebooks/03-move-servers.ipynb", servers=names(desk, ids))
    assert (ran.exit_code, ran.outcome["result"]) == (3, "refused")
    assert "pumphouse approve" in ran.outcome["detail"]
    assert "pumphouse approve" in record(desk, ran.outcome)
    assert desk.changes() == []
    assert desk.places(ids) == [AT_SOURCE, AT_SOURCE]


def test_the_runbook_moves_part_of_a_project(desk: Desk, ids: list[str]) -> None:
    """With a probe of its own, where site.yaml names another one: without it the approval would be of another plan."""
    probe = f"http:{desk.lab.guest_port}/"
    approve(desk, "move", ids=ids, probe=probe)
    part = {"projects": ["fleet"], "query": f"name in {names(desk, ids)}"}
    ran = run(desk, "runbooks/move-project.yaml", **part, probe=probe, change="C-1")
    assert (ran.exit_code, ran.outcome["result"]) == (0, "succeeded"), ran.said
    steps = ran.outcome["steps"]
    assert [Path(step["notebook"]).stem for step in steps] == ["01-inventory", "02-check", "03-move-servers"]
    assert [step["result"] for step in steps] == ["succeeded"] * 3
    assert desk.places(ids) == [MOVED, MOVED]
    text = record(desk, steps[-1])
    for word in (*names(desk, ids), *ids, "rita", "olga", "C-1", probe):
        assert word in text, word
    for step in steps[:2]:
        record(desk, step)
    assert "Fidelity ledger" in text
    # by now the destination has given its ids
    assert LATER not in text
    for step in steps[1:]:
        name = Path(step["record"]).stem
        assert list((desk.lab.directory / "records").rglob(f"*{name}*/ledger-*.json*")), f"no ledger beside {name}"


def test_one_server_is_finalised(desk: Desk, ids: list[str]) -> None:
    approve(desk, "finalise", ids=ids[:1])
    ran = run(desk, "notebooks/04-finalise-move.ipynb", ids=ids[:1])
    assert (ran.exit_code, ran.outcome["result"]) == (0, "succeeded"), ran.said
    record(desk, ran.outcome)
    assert desk.places(ids) == [FINALISED, MOVED]


def test_the_other_one_is_rolled_back(desk: Desk, ids: list[str]) -> None:
    approve(desk, "rollback", ids=ids[1:])
    ran = run(desk, "notebooks/05-roll-back-move.ipynb", ids=ids[1:])
    assert (ran.exit_code, ran.outcome["result"]) == (0, "succeeded"), ran.said
    record(desk, ran.outcome)
    assert desk.places(ids) == [FINALISED, AT_SOURCE]


def test_a_step_that_fails_fails_the_run(desk: Desk, fleet: Iterator[str]) -> None:
    victim = next(fleet)
    name = desk.servers[victim]["name"]
    approve(desk, "move", ids=[victim])
    with desk.lab.fault(service="destination.compute", method="POST", path="/servers$", body=f'"{name}"', times=0):
        ran = run(desk, "notebooks/03-move-servers.ipynb", ids=[victim])
    assert (ran.exit_code, ran.outcome["result"]) == (1, "failed")
    assert name in record(desk, ran.outcome)
    assert desk.place(victim) == STOPPED
    assert desk.do("rollback", ids=[victim]).result == "succeeded"


def test_no_secret_is_written_down(desk: Desk) -> None:
    folder = desk.lab.directory
    secure = yaml.safe_load((folder / "secure.yaml").read_text(encoding="utf-8"))["clouds"]
    # it is not there where every user was at the destination already, from another test's moves
    file = folder / "work" / "handover-secrets.yaml"
    handed = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    secrets = [str(entry["auth"]["password"]) for entry in secure.values()]
    secrets += [str(entry["password"]) for entry in handed.values()]
    assert len(secrets) > 5
    written = [*(folder / "records").rglob("*"), *folder.glob("journal.db*")]
    written += [file for file in (folder / "work").rglob("*") if file.name != "handover-secrets.yaml"]
    files = [file for file in written if file.is_file()]
    assert {".ipynb", ".db", ".json"} <= {file.suffix for file in files}
    for file in files:
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], file
    assert verify_manifest(folder / "records") == []
