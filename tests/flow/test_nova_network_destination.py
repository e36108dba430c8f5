"""A whole move into an older cloud that has nova-network itself, and all of it back again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pumphouse import approval
from pumphouse.findings import blocking
from pumphouse.plan.model import Plan
from pumphouse.selection import select_servers
from pumphouse.session import Run, begin
from tests.flow.conftest import set_limits
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab
from tests.raw import ask

pytestmark = SDK_WARNS_OF_ITSELF


@dataclass
class Site:
    """A lab whose destination has nova-network."""

    lab: LabSite
    old: Any
    new: Any

    def approved(self, run: Run, plan: Plan) -> Plan:
        """Approve a plan that nothing stands in the way of."""
        findings = run.check(plan, accepted="project-exists")
        assert blocking(findings) == ()
        text = run.site.work_dir / "approvals"
        approval.approve(plan, text, by="rita", reason="test")
        run.require_approval(plan)
        return plan

    def server(self, conn: Any, server_id: str) -> dict[str, Any]:
        """One server, as Nova shows it."""
        found: dict[str, Any] = ask(conn.compute, f"/servers/{server_id}")["server"]
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    lab = start_lab(tmp_path_factory, name="older", scale=0.02, destination="nova-network")
    set_limits(lab.site_file, hold_s=0)
    try:
        with lab.connect("old") as old, lab.connect("new") as new:
            yield Site(lab, old, new)
    finally:
        lab.stop()


def fixed(server: dict[str, Any], kind: str = "fixed") -> list[str]:
    """A server's addresses of a kind."""
    rows = [row for group in server["addresses"].values() for row in group]
    return sorted(row["addr"] for row in rows if row["OS-EXT-IPS:type"] == kind)


def test_servers_move_into_nova_network_and_back(site: Site) -> None:
    run = begin(site.lab.site_file, operator="olga", report=lambda _line: None)
    inventory = run.inventory()
    assert inventory.destination is not None
    assert inventory.destination.facts.network_service == "nova-network"
    selection = select_servers(inventory.servers, projects=["acme"])
    was = {server_id: site.server(site.old, server_id) for server_id in selection.server_ids}
    plan = site.approved(run, run.plan_move(selection))
    run.prepare(plan)
    run.cut_over(plan)
    run.verify(plan, "prepare")
    run.verify(plan, "cutover")
    for server_id, before in was.items():
        moved = run.journal.mapping("server", server_id)
        assert moved is not None
        there = site.server(site.new, moved)
        assert fixed(there) == fixed(before)
        assert fixed(there, "floating") == fixed(before, "floating")
        assert there["status"] == before["status"]
        names = sorted(group["name"] for group in before["security_groups"])
        assert sorted(group["name"] for group in there["security_groups"]) == names
        assert site.server(site.old, server_id)["status"] == "SHUTOFF"
        assert fixed(site.server(site.old, server_id), "floating") == []
    assert rules(site.new) == rules(site.old)
    assert site.lab.violations() == []

    back = site.approved(run, run.plan_rollback(selection))
    run.roll_back(back)
    for server_id, before in was.items():
        again = site.server(site.old, server_id)
        assert (again["status"], again["addresses"]) == (before["status"], before["addresses"])
    assert ask(site.new.compute, "/servers/detail?all_tenants=1")["servers"] == []
    assert ask(site.new.compute, "/os-networks")["networks"] == []
    assert ask(site.new.compute, "/os-floating-ips-bulk")["floating_ip_info"] == []
    assert site.lab.violations() == []
    run.end()


def rules(conn: Any) -> dict[str, list[Any]]:
    """acme's groups and what they let in."""
    projects = {project["name"]: project["id"] for project in ask(conn.identity, "/projects")["projects"]}
    groups = ask(conn.compute, "/os-security-groups?all_tenants=1")["security_groups"]
    return {
        group["name"]: sorted(
            [rule["ip_protocol"], rule["from_port"], rule["to_port"], rule["ip_range"], rule["group"].get("name")]
            for rule in group["rules"]
        )
        for group in groups
        if group["tenant_id"] == projects["acme"]
    }
