"""Servers that change between plan and move: they are left alone, with the difference, and the others go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import yaml

from pumphouse.errors import ApprovalMissing, PlanStale, StepError
from pumphouse.selection import select_servers
from pumphouse.session.together import plan_keys
from tests.flow.desk import AT_SOURCE, MOVED, STOPPED, Desk, eventually
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask

pytestmark = SDK_WARNS_OF_ITSELF
LATE = {"name": "late", "description": "of one server"}


def reboot(desk: Desk, server_id: str) -> None:
    """Its owner reboots a server; wait until it runs again."""
    ask(desk.old.compute, f"/servers/{server_id}/action", "POST", json={"reboot": {"type": "SOFT"}})
    eventually(lambda: desk.source(server_id)["OS-EXT-STS:task_state"] is None, "reboot")  # type: ignore[index]


def tag(desk: Desk, server_id: str) -> None:
    """Its owner changes a server's metadata."""
    ask(desk.old.compute, f"/servers/{server_id}/metadata", "POST", json={"metadata": {"role": "canary-value"}})


def remove(desk: Desk, server_id: str) -> None:
    """Its owner deletes a server."""
    ask(desk.old.compute, f"/servers/{server_id}", "DELETE")
    eventually(lambda: desk.source(server_id) is None, "deletion")
    desk.servers.pop(server_id)


def test_what_changed_since_the_approval_is_left_alone_and_the_others_move(desk: Desk, fleet: Iterator[str]) -> None:
    tagged, rebooted, removed, same = islice(fleet, 4)
    names = {server_id: desk.servers[server_id]["name"] for server_id in (tagged, rebooted, removed, same)}
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=list(names)))
        desk.approve(plan, run)
    tag(desk, tagged)
    reboot(desk, rebooted)
    remove(desk, removed)
    done = desk.do("move", ids=[tagged, rebooted, same], approved=False)
    assert done.plan.hash == plan.hash
    assert done.result == "failed"
    said = str(done.error)
    assert f"{names[tagged]} ({tagged}) of old changed since the plan was made: metadata role changed" in said
    assert f"{names[rebooted]} ({rebooted}) of old changed since the plan was made: reboot at " in said
    assert f"{names[removed]} ({removed}) of old changed since the plan was made: it is gone" in said
    assert "canary-value" not in said
    assert desk.places([tagged, rebooted, same]) == [AT_SOURCE, AT_SOURCE, MOVED]
    # nothing was made for those that were left alone
    ports = {ip["ip_address"] for port in ask(desk.new.network, "/ports")["ports"] for ip in port["fixed_ips"]}
    assert desk.address(same) in ports
    assert not ports & {desk.address(tagged), desk.address(rebooted)}
    # each of them can be planned anew on its own
    again = desk.do("move", ids=[rebooted])
    assert (again.error, again.result) == (None, "succeeded")


def test_a_change_between_preparing_and_stopping(desk: Desk, fleet: Iterator[str]) -> None:
    stopped, same = islice(fleet, 2)
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=[stopped, same]))
        desk.approve(plan, run)
        run.require_approval(plan)
        run.prepare(plan)
        desk.act(stopped, "os-stop", "SHUTOFF")
        with pytest.raises(StepError, match="status was ACTIVE, is SHUTOFF") as caught:
            run.cut_over(plan)
        assert isinstance(caught.value.__cause__, PlanStale)
    assert run.journal.get_run(run.id).result == "failed"
    assert desk.place(same) == MOVED
    desk.act(stopped, "os-start", "ACTIVE")
    assert desk.place(stopped) == AT_SOURCE


def test_a_rule_that_its_owner_adds_after_preparing_is_seen_before_the_stop_and_carried_by_a_new_plan(
    desk: Desk,
) -> None:
    (like,) = desk.ids("web1")
    with desk.lab.connect("old-acme-user") as owner:
        group = ask(owner.compute, "/os-security-groups", "POST", json={"security_group": LATE})["security_group"]
        server_id = desk.boot("old-acme-user", like, "changed-late", security_groups=[{"name": LATE["name"]}])
        with desk.run() as run:
            plan = run.plan_move(select_servers(run.inventory().servers, ids=[server_id]))
            desk.approve(plan, run)
            run.require_approval(plan)
            run.prepare(plan)
            rule = {"ip_protocol": "tcp", "from_port": 8080, "to_port": 8080, "cidr": "10.0.0.0/8"}
            body = {"security_group_rule": {**rule, "parent_group_id": group["id"]}}
            ask(owner.compute, "/os-security-group-rules", "POST", json=body)
            with pytest.raises(StepError, match=r"security group late: tcp 8080 from .* was added") as caught:
                run.cut_over(plan)
            assert isinstance(caught.value.__cause__, PlanStale)
            # a notebook that is left open keeps nobody off
            assert [run.journal.claim_on(key) for key in (f"server:{server_id}", *plan_keys(plan))] == [None, None]
    assert run.journal.get_run(run.id).result == "failed"
    assert desk.place(server_id) == AT_SOURCE
    done = desk.do("move", ids=[server_id])
    assert (done.error, done.result) == (None, "succeeded")
    assert done.plan.hash != plan.hash
    assert desk.place(server_id) == MOVED
    (there,) = ask(desk.new.network, f"/security-groups?name={LATE['name']}")["security_groups"]
    assert [r["port_range_min"] for r in there["security_group_rules"] if r["direction"] == "ingress"] == [8080]
    assert desk.do("rollback", ids=[server_id]).result == "succeeded"


def test_a_change_while_others_are_cut_over(desk: Desk, fleet: Iterator[str], tmp_path: Path) -> None:
    """What was unchanged when the cutover began is looked at once more before its own stop."""
    ids = list(islice(fleet, 2))
    names = {desk.servers[server_id]["name"]: server_id for server_id in ids}
    for name in ("clouds.yaml", "secure.yaml"):
        shutil.copy(desk.lab.directory / name, tmp_path / name)
    site = yaml.safe_load(desk.lab.site_file.read_text(encoding="utf-8"))
    site["limits"] |= {"parallel": 1}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    stopped: list[str] = []

    def at_the_first_stop(line: str) -> None:
        if " stop " in line and not stopped:
            stopped.extend(server_id for name, server_id in names.items() if f" {name} " not in line)
            desk.act(stopped[0], "os-stop", "SHUTOFF")

    desk.on_line = at_the_first_stop
    done = desk.do("move", ids=ids, site_file=tmp_path / "site.yaml")
    desk.on_line = lambda _line: None
    assert len(stopped) == 1
    assert "status was ACTIVE, is SHUTOFF" in str(done.error)
    assert done.result == "failed"
    (other,) = stopped
    assert {i: desk.place(i) for i in ids} == {i: STOPPED if i == other else MOVED for i in ids}
    desk.act(other, "os-start", "ACTIVE")


def test_an_approval_does_not_cover_what_else_changed(desk: Desk, fleet: Iterator[str]) -> None:
    first, second, third = islice(fleet, 3)
    with desk.run() as run:
        servers = run.inventory().servers
        plan = run.plan_move(select_servers(servers, ids=[first, second]))
        desk.approve(plan, run)
    for ids in ([first], [first, second, third]):  # left out on purpose, and added
        with pytest.raises(ApprovalMissing):
            desk.do("move", ids=ids, approved=False)
    tag(desk, first)
    tag(desk, second)
    with pytest.raises(ApprovalMissing):
        desk.do("move", ids=[first, second], approved=False)
    assert desk.places([first, second, third]) == [AT_SOURCE] * 3
