"""A project's whole life between two clouds: moved, moved again, finalised and rolled back in part and in full."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from itertools import islice

import pytest

from pumphouse.errors import ApprovalMissing, ChecksFailed
from pumphouse.journal import Journal
from pumphouse.selection import Choice, Selection
from pumphouse.session.story import tell_story
from tests.flow.conftest import set_limits
from tests.flow.desk import AT_SOURCE, FINALISED, MOVED, OPERATOR, Desk, Place
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask

pytestmark = SDK_WARNS_OF_ITSELF
ACME = ("web1", "web2", "db", "cache", "worker1", "bastion")
GLOBEX = ("shop", "erp", "mail")
WAS_OFF = Place("SHUTOFF", ("SHUTOFF",), None)


def test_a_project_arrives_as_it_was(desk: Desk) -> None:
    done = desk.do("move", projects=["acme"])
    assert done.error is None
    assert done.result == "succeeded"
    assert done.report is not None
    assert done.report.complete
    assert {server.result for server in done.report.servers} == {"moved"}
    assert desk.places(desk.ids(*ACME)) == [MOVED] * len(ACME)
    assert desk.place(desk.ids("worker2")[0]) == WAS_OFF
    for server_id in desk.ids(*ACME, "worker2"):
        _is_the_same(desk, server_id)
    _images_are_the_same(desk)
    journal = Journal.open(f"sqlite:///{desk.lab.directory / 'journal.db'}")
    (approved,) = journal.events(run_id=done.run_id, step_key="@approval")
    assert (approved.data["approved_by"], approved.data["operator"]) == ("rita", OPERATOR)
    assert approved.data["same_person"] is False
    assert journal.get_run(done.run_id).operator == OPERATOR
    journal.close()


def _is_the_same(desk: Desk, server_id: str) -> None:
    was = desk.servers[server_id]
    (copy,) = desk.copies(server_id)
    users = {u["id"]: u["name"] for u in ask(desk.new.identity, "/users")["users"]}
    sources = {u["id"]: u["name"] for u in ask(desk.old.identity, "/users")["users"]}
    assert users[copy["user_id"]] == sources[was["user_id"]]
    assert ask(desk.new.identity, f"/projects/{copy['tenant_id']}")["project"]["name"] == "acme"
    for same in ("name", "metadata", "key_name"):
        assert copy[same] == was[same], same
    assert copy["flavor"]["id"] == was["flavor"]["id"]

    def addresses(server: dict[str, object]) -> list[tuple[str, str, str]]:
        found = server["addresses"]
        assert isinstance(found, dict)
        rows = [a for group in found.values() for a in group]
        return sorted((a["OS-EXT-IPS:type"], a["addr"], a["OS-EXT-IPS-MAC:mac_addr"]) for a in rows)

    assert [row for row in addresses(copy) if row[0] == "fixed"] == [r for r in addresses(was) if r[0] == "fixed"]
    assert [row[1] for row in addresses(copy)] == [row[1] for row in addresses(was)]
    (port,) = ask(desk.new.network, f"/ports?device_id={copy['id']}")["ports"]
    groups = {g["id"]: g["name"] for g in ask(desk.new.network, "/security-groups")["security_groups"]}
    assert sorted(groups[g] for g in port["security_groups"]) == sorted(g["name"] for g in was["security_groups"])
    floating = [row[1] for row in addresses(was) if row[0] == "floating"]
    left = (desk.source(server_id) or {"addresses": {}})["addresses"]
    assert not [a for group in left.values() for a in group if a["OS-EXT-IPS:type"] == "floating"]
    found = ask(desk.new.network, f"/floatingips?port_id={port['id']}")["floatingips"]
    assert [f["floating_ip_address"] for f in found] == floating


def _images_are_the_same(desk: Desk) -> None:
    there = ask(desk.new.image, "/images")["images"]
    assert {image["name"] for image in there} >= {"cirros-0.3.2-x86_64", "acme-appliance", "cirros-uec-kernel"}
    ids = {image["id"] for image in there}
    for image in there:
        # one that was moved, rolled back and moved again has another id
        was = image.get("pumphouse_source_id", image["id"])
        old, new = (
            conn.image.get(f"/images/{image_id}/file") for conn, image_id in ((desk.old, was), (desk.new, image["id"]))
        )
        assert old.status_code == new.status_code == 200
        assert hashlib.sha256(old.content).digest() == hashlib.sha256(new.content).digest(), image["name"]
        assert {image[key] for key in ("kernel_id", "ramdisk_id") if image.get(key)} <= ids


def test_moved_again_there_is_nothing_to_do(desk: Desk) -> None:
    first = desk.do("move", projects=["acme"])
    changes = desk.changes()
    again = desk.do("move", projects=["acme"], approved=False)
    assert again.plan.hash == first.plan.hash
    assert again.result == "nothing-to-do"
    assert again.report is not None
    assert again.report.complete
    assert desk.changes() == changes


def test_finalised_in_part_the_rest_can_still_go_back(desk: Desk) -> None:
    desk.do("move", projects=["acme"])
    gone, kept = desk.ids("web1", "db"), desk.ids("web2", "cache", "worker1", "bastion")
    held = desk.lab.directory / "held.yaml"
    shutil.copy(desk.lab.site_file, held)
    set_limits(held, hold_s=3600)
    with pytest.raises(ChecksFailed, match="hold-time"):
        desk.do("finalise", ids=gone, site_file=held)
    assert desk.places(gone) == [MOVED, MOVED]
    done = desk.do("finalise", ids=gone)
    assert (done.error, done.result) == (None, "succeeded")
    assert desk.places(gone) == [FINALISED, FINALISED]
    assert desk.places(kept) == [MOVED] * 4
    with pytest.raises(ChecksFailed, match="finalised"):
        desk.do("rollback", chosen=Selection((*gone, *kept), Choice()))
    assert desk.places(kept) == [MOVED] * 4
    assert desk.do("rollback", ids=kept).result == "succeeded"
    assert desk.places(kept) == [AT_SOURCE] * 4
    assert desk.places(gone) == [FINALISED, FINALISED]
    for server_id in gone:
        _is_the_same(desk, server_id)


def test_rolled_back_in_full_and_moved_again(desk: Desk) -> None:
    ids = desk.ids(*GLOBEX)
    first = desk.do("move", projects=["globex"], accepted="project-exists")
    assert first.result == "succeeded"
    back = desk.do("rollback", projects=["globex"])
    assert (back.error, back.result) == (None, "succeeded")
    assert desk.places(ids) == [AT_SOURCE] * 3
    with desk.run() as run:
        told = tell_story(run.journal, back.run_id)
    assert sorted(row["name"] for row in told["servers"]) == sorted(GLOBEX)
    assert {row["after"]["source"] for row in told["servers"]} == {"ACTIVE"}
    assert [plan["kind"] for plan in told["plans"]] == ["rollback"]
    assert not [line for plan in told["plans"] for line in plan["left"] if "not done" in line]
    assert not [line for line in told["deviations"] if "taken up again" in line]
    assert "globex" not in {p["name"] for p in ask(desk.new.identity, "/projects")["projects"]}
    assert not {u["name"] for u in ask(desk.new.identity, "/users")["users"]} & {"globex-user", "globex-ops"}
    assert "globex-shop" not in {i["name"] for i in ask(desk.new.image, "/images")["images"]}
    with pytest.raises(ApprovalMissing):
        desk.do("move", projects=["globex"], approved=False)
    assert desk.places(ids) == [AT_SOURCE] * 3
    again = desk.do("move", projects=["globex"])
    assert again.plan.hash != first.plan.hash
    assert again.result == "succeeded"
    assert desk.places(ids) == [MOVED] * 3
    with pytest.raises(ApprovalMissing):
        desk.do("rollback", projects=["globex"], approved=False)
    assert desk.places(ids) == [MOVED] * 3


def test_one_server_goes_back_and_forth(desk: Desk, fleet: Iterator[str]) -> None:
    ids = list(islice(fleet, 2))
    assert desk.do("move", ids=ids).result == "succeeded"
    for _ in range(2):
        with pytest.raises(ApprovalMissing):
            desk.do("rollback", ids=ids[:1], approved=False)
        back = desk.do("rollback", ids=ids[:1])
        assert back.result == "succeeded"
        assert desk.places(ids) == [AT_SOURCE, MOVED]
        again = desk.do("move", ids=ids)
        assert again.result == "succeeded"
        assert desk.places(ids) == [MOVED, MOVED]
