"""What cannot be done is said before anything is changed, with object, cause and remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pumphouse.errors import (
    ApprovalMissing,
    ChecksFailed,
    CloudAuthError,
    CloudUnreachable,
    PlanError,
    PumphouseError,
    SelectionError,
    SiteError,
    StepError,
)
from pumphouse.findings import Finding
from pumphouse.selection import select_servers
from pumphouse.session import begin
from tests.flow.desk import AT_SOURCE, Desk, eventually
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask

pytestmark = SDK_WARNS_OF_ITSELF


@contextlib.contextmanager
def refused(desk: Desk, kind: type[PumphouseError], *words: str) -> Iterator[None]:
    """The block is refused with that error, which says these words and a remedy, and no cloud is changed."""
    changes = desk.changes()
    with pytest.raises(kind) as caught:
        yield
    said = str(caught.value)
    assert all(word in said for word in words), said
    assert "Remedy:" in said
    assert desk.changes() == changes


# --- selections ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({}, ["Nothing was selected"]),
        ({"ids": [], "query": "vcpus > 1000"}, ["No server matches", "vcpus > 1000"]),
        ({"names": ["fleet-99999"]}, ["fleet-99999", "did you mean", "fleet-000"]),
        ({"projects": ["acmee"]}, ["acmee", "acme"]),
        ({"hosts": ["compute9"]}, ["compute9"]),
        ({"query": "__import__('os')"}, ["query"]),
    ],
    ids=["nothing", "empty", "unknown-server", "unknown-project", "unknown-host", "no-query"],
)
def test_selections(choice: dict[str, Any], words: list[str], desk: Desk) -> None:
    with refused(desk, SelectionError, *words):
        desk.do("move", **choice)


def test_a_name_that_two_servers_have(desk: Desk, fleet: Iterator[str]) -> None:
    server_id = next(fleet)
    was = desk.servers[server_id]
    body = {"name": was["name"], "imageRef": was["image"]["id"], "flavorRef": "1"}
    twin = ask(desk.old.compute, "/servers", "POST", json={"server": body})["server"]["id"]
    eventually(lambda: (desk.source(twin) or {}).get("status") == "ACTIVE", "twin")
    with refused(desk, SelectionError, was["name"], server_id, twin):
        desk.do("move", names=[was["name"]])
    ask(desk.old.compute, f"/servers/{twin}", "DELETE")
    eventually(lambda: desk.source(twin) is None, "deletion")


# --- what checks find ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("printer", ["server-state", "ERROR", "No valid host was found"]),
        ("stapler", ["server-busy", "powering-off"]),
        ("basement", ["image-missing"]),
    ],
)
def test_servers_that_cannot_move(name: str, words: list[str], desk: Desk) -> None:
    with refused(desk, ChecksFailed, name, *words):
        desk.do("move", names=[name])


def test_a_finding_that_cannot_be_accepted(desk: Desk) -> None:
    with refused(desk, ChecksFailed, "server-state", "cannot be accepted"):
        desk.do("move", names=["printer"], accepted="server-state")


def test_a_quota_that_is_too_small(desk: Desk, fleet: Iterator[str]) -> None:
    ids = [next(fleet), next(fleet)]
    there = [p["id"] for p in ask(desk.new.identity, "/projects")["projects"] if p["name"] == "fleet"]
    here = [p["id"] for p in ask(desk.old.identity, "/projects")["projects"] if p["name"] == "fleet"]
    # a project that is not there yet brings the source's quota with it
    conn, project = (desk.new, there[0]) if there else (desk.old, here[0])
    place = f"/os-quota-sets/{project}"
    ask(conn.compute, place, "PUT", json={"quota_set": {"cores": 1, "force": True}})  # less than is used
    try:
        with refused(desk, ChecksFailed, "quota", "cores", "fleet"):
            desk.do("move", ids=ids)
    finally:
        ask(conn.compute, place, "PUT", json={"quota_set": {"cores": 200 if there else -1}})
    assert desk.places(ids) == [AT_SOURCE, AT_SOURCE]


def test_a_fixed_ip_that_is_used_at_the_destination(desk: Desk, fleet: Iterator[str]) -> None:
    first, second = next(fleet), next(fleet)
    assert desk.do("move", ids=[first]).result == "succeeded"
    network = next(n for n in ask(desk.new.network, "/networks")["networks"] if not n["router:external"])
    port = {"network_id": network["id"], "name": "a printer", "fixed_ips": [{"ip_address": desk.address(second)}]}
    made = ask(desk.new.network, "/ports", "POST", json={"port": port})["port"]["id"]
    with refused(desk, ChecksFailed, "fixed-ip-taken", desk.address(second), "a printer"):
        desk.do("move", ids=[second])
    ask(desk.new.network, f"/ports/{made}", "DELETE")
    assert desk.do("move", ids=[second]).result == "succeeded"


def test_a_floating_ip_that_is_taken_at_the_destination(desk: Desk) -> None:
    (tps,) = desk.ids("tps-reports")
    owner = desk.lab.connect("old-initech-user")
    free = ask(owner.compute, "/os-floating-ips")["floating_ips"][0]["ip"]
    ask(owner.compute, f"/servers/{tps}/action", "POST", json={"addFloatingIp": {"address": free}})
    external = next(n["id"] for n in ask(desk.new.network, "/networks")["networks"] if n["router:external"])
    body = {"floatingip": {"floating_network_id": external, "floating_ip_address": free}}
    taken = ask(desk.new.network, "/floatingips", "POST", json=body)["floatingip"]["id"]
    try:
        with refused(desk, ChecksFailed, "floating-ip-taken", free, "tps-reports"):
            desk.do("move", ids=[tps])
    finally:
        ask(desk.new.network, f"/floatingips/{taken}", "DELETE")
        ask(owner.compute, f"/servers/{tps}/action", "POST", json={"removeFloatingIp": {"address": free}})
        owner.close()


# --- gates and plans ----------------------------------------------------------------------------------


def test_a_plan_without_approval(desk: Desk, fleet: Iterator[str]) -> None:
    with refused(desk, ApprovalMissing, "pumphouse approve"):
        desk.do("move", ids=[next(fleet)], approved=False)


def test_a_script_that_a_gate_refuses_ends_as_refused(desk: Desk, fleet: Iterator[str]) -> None:
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=[next(fleet)]))
        first = run.id
        with refused(desk, ApprovalMissing, plan.hash[:12]):
            run.require_approval(plan)
        ended = run.journal.get_run(first)
        assert (ended.state, ended.result) == ("ended", "refused")
        assert "is not approved" in ended.detail
        # a person goes on from the gate: that is another run, and the refused one stays refused
        desk.approve(plan, run)
        run.require_approval(plan)
        assert run.id != first
        assert run.journal.get_run(run.id).state == "running"
        with refused(desk, ChecksFailed, "blocks"):
            run.require_clean([Finding("block", "test", "server x", "is in the way.", "leave it out.")])
        assert run.journal.get_run(run.id).result == "refused"
        assert run.journal.get_run(first).result == "refused"


def test_a_run_is_closed_behind_a_script(desk: Desk) -> None:
    with begin(desk.lab.site_file, operator="olga", report=lambda _line: None) as run:
        run_id = run.id
    with desk.run() as later:
        assert later.journal.get_run(run_id).result == "succeeded"


def test_a_script_that_breaks_off_did_not_succeed(desk: Desk) -> None:
    def script() -> None:
        with begin(desk.lab.site_file, operator="olga", report=lambda _line: None) as run:
            told.append(run.id)
            raise SiteError("The script went wrong.")

    told: list[str] = []
    with pytest.raises(SiteError):
        script()
    with desk.run() as later:
        row = later.journal.get_run(told[0])
        assert (row.result, row.detail) == ("failed", "The script went wrong.")


def test_an_approval_of_another_plan(desk: Desk, fleet: Iterator[str]) -> None:
    first, second = next(fleet), next(fleet)
    with desk.run() as run:
        servers = run.inventory().servers
        one, other = (run.plan_move(select_servers(servers, ids=[i])) for i in (first, second))
        desk.approve(one, run)
        file = run.site.work_dir / "approvals" / f"{one.hash}.json"
        with refused(desk, ApprovalMissing, one.hash[:12], other.hash[:12]):
            run.require_approval(other, file=str(file))


def test_acting_without_passing_the_gate(desk: Desk, fleet: Iterator[str]) -> None:
    with desk.run() as run:
        plan = run.plan_move(select_servers(run.inventory().servers, ids=[next(fleet)]))
        desk.approve(plan, run)
        with refused(desk, StepError, plan.hash[:12], "not approved in this run"):
            run.prepare(plan)
        with refused(desk, PlanError, plan.hash[:12], "move plan"):
            run.roll_back(plan)
        run.require_approval(plan)
        with refused(desk, StepError, "not done and verified yet"):
            run.cut_over(plan)


@pytest.mark.parametrize("kind", ["finalise", "rollback"])
def test_servers_that_were_never_moved(kind: str, desk: Desk, fleet: Iterator[str]) -> None:
    server_id = next(fleet)
    with refused(desk, PlanError, server_id):
        desk.do(kind, ids=[server_id])


# --- clouds -------------------------------------------------------------------------------------------


def other_site(desk: Desk, folder: Path, file: str, entry: str, **auth: str) -> Path:
    """The lab's site with another word in one entry of ``clouds.yaml`` or ``secure.yaml``."""
    for name in ("clouds.yaml", "secure.yaml", "site.yaml"):
        document = yaml.safe_load((desk.lab.directory / name).read_text(encoding="utf-8"))
        if name == file:
            document["clouds"][entry]["auth"] |= auth
        (folder / name).write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder / "site.yaml"


@pytest.mark.parametrize("entry", ["old", "new"])
def test_a_cloud_that_does_not_answer(entry: str, desk: Desk, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/v3"
    site = other_site(desk, tmp_path, "clouds.yaml", entry, auth_url=nobody)
    with refused(desk, CloudUnreachable, f"'{entry}'", "127.0.0.1:9"), desk.run(site):
        pass


@pytest.mark.parametrize("entry", ["old", "new"])
def test_a_cloud_that_refuses_us(entry: str, desk: Desk, tmp_path: Path) -> None:
    site = other_site(desk, tmp_path, "secure.yaml", entry, password="wr0ng-and-never-shown")
    with pytest.raises(CloudAuthError) as caught, desk.run(site):
        pass
    said = str(caught.value)
    assert f"'{entry}'" in said
    assert "clouds.yaml" in said
    assert "wr0ng" not in said


def test_an_owner_who_cannot_log_in_is_a_warning(desk: Desk, tmp_path: Path) -> None:
    site = other_site(desk, tmp_path, "secure.yaml", "old-globex-user", password="changed-since")
    with desk.run(site) as run:
        run.inventory()
        found = [f for f in run.check() if f.code == "owner-refused"]
    assert [(f.severity, f.object) for f in found] == [("warn", "user globex-user")]
    assert "changed-since" not in repr(found)
