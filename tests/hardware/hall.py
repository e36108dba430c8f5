"""A lab with machines: real conversations with BMCs, a switch and Fuel, and buttons to break them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pumphouse.approval import approve
from pumphouse.plan.model import Plan
from pumphouse.session import Run, begin
from tests.labsite import LabSite
from tests.raw import ask

ROOT = Path(__file__).resolve().parents[2]
PHASES = {
    "acquire": ("evacuate", "release"),
    "fuel-master": ("release", "create", "discover", "install", "prove"),
    "transfer": ("release", "discover", "install", "prove"),
    "decommission": ("archive", "retire"),
}


@dataclass
class LabHall:
    """A lab, and what tests do with its nodes. ``lines`` is what runs reported."""

    lab: LabSite
    lines: list[str] = field(default_factory=list)

    def hurry(self) -> None:
        """Devices that are broken on purpose need not be waited for as long as real ones."""
        site = yaml.safe_load(self.lab.site_file.read_text(encoding="utf-8"))
        for node in site["nodes"].values():
            node["bmc"]["timeout_s"] = 4
        self.lab.site_file.write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")

    # -- looking, never through pumphouse -----------------------------------------------------
    def machine(self, name: str) -> dict[str, Any]:
        """A machine as the lab's physics have it."""
        return self.lab.control("GET", f"/hardware/machines/{name}")

    def vlan(self, name: str) -> int:
        """The VLAN of a machine's PXE NIC."""
        port = self.machine(name)["nics"][0]["port"]
        return int(self.lab.control("GET", f"/hardware/ports/{port}")["vlan"])

    def servers(self) -> dict[str, tuple[str, str]]:
        """The source's servers: name -> (host, status)."""
        with self.lab.connect("old") as old:
            found = ask(old.compute, "/servers/detail?all_tenants=1")["servers"]
        return {one["name"]: (one["OS-EXT-SRV-ATTR:host"], one["status"]) for one in found}

    def compute_host(self, host: str) -> dict[str, Any] | None:
        """A nova-compute of the source, or None."""
        with self.lab.connect("old") as old:
            found = ask(old.compute, "/os-services?binary=nova-compute")["services"]
        return next((one for one in found if one["host"] == host), None)

    def canaries(self) -> list[str]:
        """Servers at the destination that we booted for a look."""
        with self.lab.connect("new") as new:
            found = ask(new.compute, "/servers/detail?all_tenants=1")["servers"]
        return [one["name"] for one in found if "canary" in one["name"]]

    def conscience(self) -> None:
        """No law of the site is broken: no two live servers had one address, no host was lost under its servers."""
        assert self.lab.violations() == []

    @contextlib.contextmanager
    def staged(self, name: str, fault: str) -> Iterator[None]:
        """A machine is broken while the block runs."""
        self.lab.control("POST", f"/hardware/machines/{name}/stage", fault=fault, on=True)
        try:
            yield
        finally:
            self.lab.control("POST", f"/hardware/machines/{name}/stage", fault=fault, on=False)

    def ground(self) -> None:
        """Give the empty destination what a canary is made of."""
        with self.lab.connect("new") as new:
            if any(one["name"] == "m1.canary" for one in ask(new.compute, "/flavors")["flavors"]):
                return  # another module did
            flavor = {"flavor": {"name": "m1.canary", "vcpus": 1, "ram": 512, "disk": 1}}
            ask(new.compute, "/flavors", "POST", json=flavor)
            made = new.image.create_image(
                name="canary", disk_format="raw", container_format="bare", data=b"boot me", visibility="public"
            )
            assert made.id
            network = ask(new.network, "/networks", "POST", json={"network": {"name": "lan", "shared": True}})[
                "network"
            ]
            cidr = str(self.lab.facts["fixed_cidr"])
            first = f"{cidr.rpartition('.')[0]}.240"
            last = f"{cidr.rpartition('.')[0]}.250"
            subnet = {
                "network_id": network["id"], "ip_version": 4, "cidr": cidr, "gateway_ip": None,
                "allocation_pools": [{"start": first, "end": last}],
            }  # fmt: skip
            ask(new.network, "/subnets", "POST", json={"subnet": subnet})

    # -- acting -------------------------------------------------------------------------------
    @contextlib.contextmanager
    def run(self, site: Path | None = None) -> Iterator[Run]:
        """A run on nodes, ended and closed afterwards; by another site file where one is given."""
        run = begin(
            site or self.lab.site_file, operator="olga", notebook="test", hardware=True, report=self.lines.append
        )
        try:
            yield run
        finally:
            if run.journal.get_run(run.id).state == "running":
                run.end()
            run.close()

    def carry_out(self, run: Run, plan: Plan, *phases: str, accepted: str = "") -> None:
        """Everything that its notebook does with a plan."""
        run.require_clean(run.check(plan, accepted=accepted))
        approve(plan, run.site.work_dir / "approvals", by="rita", reason="tested", replace=True)
        run.require_approval(plan)
        for phase in phases or PHASES.get(plan.kind, ()):
            getattr(run.hardware, phase)(plan)
            run.verify(plan, phase)

    def give_back(self, node: str) -> None:
        """Give a node back."""
        with self.run() as run:
            plan = run.hardware.plan_give_back(node)
            run.require_clean(run.check(plan))
            approve(plan, run.site.work_dir / "approvals", by="rita", reason="tested", replace=True)
            run.require_approval(plan)
            run.hardware.give_back(plan)
            run.verify(plan, "undo")

    def approve(self, kind: str, node: str, **choice: Any) -> None:
        """Plan with the library, approve; the notebook makes the same plan, or it will not be approved."""
        with self.run() as run:
            plan = getattr(run.hardware, f"plan_{kind}")(node, **choice)
            approve(plan, run.site.work_dir / "approvals", by="rita", reason="tested")

    def headless(self, what: str, **parameters: Any) -> tuple[int, dict[str, Any]]:
        """``pumphouse run``: exit code and outcome."""
        given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in parameters.items()}
        words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
        command = [sys.executable, "-m", "pumphouse", "run", "--json", str(ROOT / what), *words]
        command += ["--site", str(self.lab.site_file), "--operator", "olga"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, outcome
