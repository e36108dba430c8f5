"""Passwords of BMCs, the switch and Fuel are told nowhere: not in records, rows, output, arguments or environments."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.approval import approve
from pumphouse.errors import NodeError
from pumphouse.nodes.connect import Nodes
from pumphouse.session import begin
from pumphouse.site import load_site
from tests.canaries import Canaries, open_to_others, seen_in_file, seen_in_rows, watched
from tests.hardware.hall import LabHall
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = [*SDK_WARNS_OF_ITSELF, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
NODE = "spare-02"
NOTEBOOK = ROOT / "notebooks" / "08-transfer-node.ipynb"
ASKED: dict[str, Any] = {"discovery_s": 2.0, "copy_disks": False}
#: Files that are made to hold secrets.
KEEPERS = {"secure.yaml", "handover-secrets.yaml"}


@dataclass
class Planted:
    """A site of the lab in a folder of its own, with its secrets, and what its runs said."""

    hall: LabHall
    folder: Path
    canaries: Canaries
    said: list[str] = field(default_factory=list)

    def change(self, entry: str, password: str) -> None:
        """Another password in secure.yaml, which is a canary, too."""
        file = self.folder / "secure.yaml"
        secure = yaml.safe_load(file.read_text(encoding="utf-8"))
        secure["nodes"][entry]["password"] = password
        file.write_text(yaml.safe_dump(secure), encoding="utf-8")
        self.canaries.add(f"wrong {entry}", password)

    def transfer(self) -> tuple[int, dict[str, Any]]:
        """The transfer's notebook, headless, with a careless umask: exit code and outcome."""
        site = self.folder / "site.yaml"
        words = [
            word for name, value in {"node": NODE, **ASKED}.items() for word in ("-p", f"{name}={json.dumps(value)}")
        ]
        words[1] = f"node={NODE}"
        command = [sys.executable, "-m", "pumphouse", "run", "--json", str(NOTEBOOK), *words]
        command += ["--site", str(site), "--operator", "olga"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False, umask=0
        )  # fmt: skip
        self.said += [done.stdout, done.stderr]
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, outcome

    def approve(self) -> None:
        """Approve the plan that the notebook will make."""
        with begin(self.folder / "site.yaml", operator="olga", hardware=True, report=self.said.append) as run:
            plan = run.hardware.plan_transfer(NODE, **ASKED)
            approve(plan, run.site.work_dir / "approvals", by="rita", reason="tested", replace=True)


@pytest.fixture
def planted(hardware_lab: LabHall, tmp_path: Path) -> Planted:
    hardware_lab.ground()
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("clouds.yaml", "secure.yaml", "site.yaml"):
        shutil.copy(hardware_lab.lab.directory / name, folder / name)
    (folder / "secure.yaml").chmod(0o600)
    canaries = Canaries()
    secure = yaml.safe_load((folder / "secure.yaml").read_text(encoding="utf-8"))
    canaries.add_all("secure", secure)
    return Planted(hardware_lab, folder, canaries)


def talk(nodes: Nodes) -> list[Callable[[], Any]]:
    """One question to each kind of device."""

    def bmc() -> Any:
        with nodes.bmc(NODE) as opened:
            return opened.power()

    def switch(name: str) -> Any:
        with nodes.switch(name) as opened:
            return opened.port(nodes.node(NODE).ports[0].port)

    def fuel() -> Any:
        with nodes.fuel(patient=False) as opened:
            return opened.list_nodes()

    return [bmc, lambda: switch("sw1"), lambda: switch("sw1-snmp"), fuel]


@pytest.mark.timeout(400)
def test_no_secret_of_hardware_is_told_anywhere(planted: Planted) -> None:
    hall, folder, canaries = planted.hall, planted.folder, planted.canaries
    document = yaml.safe_load((folder / "site.yaml").read_text(encoding="utf-8"))
    document["switches"]["sw1-snmp"]["timeout_s"] = 2
    (folder / "site.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    entries = [
        document["nodes"][NODE]["bmc"]["password_entry"],
        *(document["switches"][name]["password_entry"] for name in ("sw1", "sw1-snmp")),
        document["fuel"]["password_entry"],
    ]
    assert {f"secure.nodes.{entry}.password" for entry in entries} <= canaries.secrets.keys()
    with watched(canaries, environments=True, every_s=0.1) as seen:
        planted.approve()
        # everything is spoken to, until the node boots something that Fuel does not know
        with hall.staged(NODE, "wrong-image"):
            code, outcome = planted.transfer()
        assert (code, outcome["result"]) == (1, "failed"), outcome
        # and everybody refuses us in turn, which is where passwords like to be quoted
        for entry in entries:
            planted.change(entry, f"canary/{entry}+wrong"[:20])
        site = load_site(folder / "site.yaml")
        for ask in talk(Nodes(site)):
            with pytest.raises(NodeError) as refused:
                ask()
            planted.said.append("".join(traceback.format_exception(refused.value)))
        code, outcome = planted.transfer()
        assert (code, outcome["result"]) == (1, "failed"), outcome
        assert "refuses" in outcome["detail"]
    assert seen == []
    assert canaries.seen_in("\n".join(planted.said).encode()) == []
    files = [file for file in folder.rglob("*") if file.is_file() and file.name not in KEEPERS]
    assert len(files) > 12
    assert {str(file): found for file in files if (found := seen_in_file(canaries, file))} == {}
    assert seen_in_rows(canaries, folder / "journal.db") == {}
    private = ("journal.db", "journal.db-wal", "secure.yaml", "work/plans", "work/snapshots")
    assert open_to_others(folder, *private) == []
    assert len(list((folder / "records").glob("*.ipynb"))) == 3  # whoever approved, and both that failed
    shutil.copy(hall.lab.directory / "secure.yaml", folder / "secure.yaml")
    with begin(folder / "site.yaml", operator="olga", hardware=True, report=planted.said.append) as run:
        back = run.hardware.plan_give_back(NODE)
        approve(back, run.site.work_dir / "approvals", by="rita", reason="tested", replace=True)
        run.require_approval(back)
        run.hardware.give_back(back)
    assert (hall.machine(NODE)["power"], hall.machine(NODE)["disk"]) == ("off", "blank")
    hall.conscience()
