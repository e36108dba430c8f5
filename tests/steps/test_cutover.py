"""What can go wrong with a server between its stop and its new life, one step at a time."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo

import openstack
import pytest

from pumphouse.clouds import OpenStackCloud
from pumphouse.errors import ActionTimeout, PlanStale, PumphouseError, StepError, VerificationFailed
from pumphouse.model import MARKER
from pumphouse.serving import ProbeSpec
from pumphouse.steps import copies, finalise
from tests.labsite import SDK_WARNS_OF_ITSELF
from tests.raw import ask
from tests.steps.bench import Bench, Killed, Scene, eventually, impatient, keep, make_plan, unique
from tests.steps.case import SetUp
from tests.steps.server_cases import (
    BootCase,
    DeleteSourceCase,
    FloatingIpCase,
    ReserveFixedIpCase,
    SettleCase,
    StopCase,
    make_copy,
    make_port,
)

pytestmark = SDK_WARNS_OF_ITSELF
SILENT = ProbeSpec("tcp", port=1, timeout_s=0.2)


def refused(one: Scene, kind: type[PumphouseError], *words: str) -> None:
    """The step fails with that error, which names the server (or what the words say) and a remedy."""
    error = one.refused()
    assert type(error) is kind, error
    assert all(word in error.message for word in words), error
    assert error.remedy


@contextlib.contextmanager
def no_host(bench: Bench) -> Iterator[None]:
    """No compute host of the destination takes new servers."""
    services = ask(bench.new.compute, "/os-services?binary=nova-compute")["services"]

    def tell(word: str) -> None:
        for service in services:
            body = {"host": service["host"], "binary": "nova-compute"}
            ask(bench.new.compute, f"/os-services/{word}", "PUT", json=body)

    tell("disable")
    try:
        yield
    finally:
        tell("enable")


@contextlib.contextmanager
def somebody_answers(address: str, port: int) -> Iterator[None]:
    """Another machine on the network has the address."""
    with socket.create_server((address, port)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nI am somebody else\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


# --- stop ---------------------------------------------------------------------------------------------


def test_stop_journals_whether_and_until_when_the_guest_answered(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    one.run()
    state = one.state()
    assert state.intent_data["answered_before"] is True
    assert state.outcome["last_answer_at"] is not None
    assert state.outcome["stop_s"] >= 0


def test_a_server_that_changed_since_the_plan_is_not_stopped(bench: Bench, scene: SetUp) -> None:
    case = StopCase()
    one = scene(case)
    server_id = one.step.params["server_id"]
    body = {"metadata": {"tier": "lead"}}
    ask(bench.owner.compute, f"/servers/{server_id}/metadata", "POST", json=body)
    refused(one, PlanStale, server_id, one.step.params["name"])
    assert case.seen(bench, one.step) == ("ACTIVE", True)


def test_a_server_that_somebody_else_stopped_since_the_plan(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    server_id = one.step.params["server_id"]
    bench.act_source(server_id, "os-stop", "SHUTOFF")
    refused(one, PlanStale, server_id, "status was ACTIVE, is SHUTOFF")


def test_a_busy_server_is_not_stopped(bench: Bench, scene: SetUp) -> None:
    case = StopCase()
    one = scene(case)
    server_id = one.step.params["server_id"]
    bench.lab.control("POST", "/timing", reboot_s=60.0)
    try:
        ask(bench.old.compute, f"/servers/{server_id}/action", "POST", json={"reboot": {"type": "HARD"}})
        refused(one, StepError, server_id, "busy")
    finally:
        bench.lab.control("POST", "/timing", reboot_s=0.8)
    ask(bench.old.compute, f"/servers/{server_id}/action", "POST", json={"os-resetState": {"state": "active"}})
    eventually(lambda: (bench.source_server(server_id) or {})["OS-EXT-STS:task_state"] is None, "idle")
    assert one.run().results == {one.step.key: "verified"}


def test_a_server_that_was_deleted_since_the_plan(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    server_id = one.step.params["server_id"]
    ask(bench.owner.compute, f"/servers/{server_id}", "DELETE")
    eventually(lambda: bench.source_server(server_id) is None, "deletion")
    refused(one, PlanStale, server_id, "it is gone")


def test_a_stop_that_takes_too_long_is_waited_for_by_the_next_run(bench: Bench, scene: SetUp) -> None:
    case = StopCase()
    one = scene(case)
    one.site = replace(bench.site, action_timeout_s=0.2)
    bench.lab.control("POST", "/timing", stop_s=40.0)
    try:
        refused(one, ActionTimeout, one.step.params["server_id"], "powering-off")
        refused(one, ActionTimeout, one.step.params["server_id"], "powering-off")
    finally:
        bench.lab.control("POST", "/timing", stop_s=0.8)
    one.site = bench.site
    assert one.run().results == {one.step.key: "verified"}
    assert one.state().ours
    assert one.state().intent_data["answered_before"] is True
    one.roll_back()
    assert case.seen(bench, one.step) == ("ACTIVE", True)


def test_a_source_that_starts_but_does_not_answer_is_not_called_back(bench: Bench, scene: SetUp) -> None:
    case = StopCase()
    one = scene(case)
    one.run()
    one.site = replace(bench.site, probe=SILENT)
    error = one.refused(one.roll_back)
    assert type(error) is VerificationFailed
    assert one.step.params["name"] in error.message
    one.site = bench.site
    one.roll_back()
    assert case.seen(bench, one.step) == ("ACTIVE", True)


def test_a_server_that_is_back_is_its_owners_again(bench: Bench, scene: SetUp) -> None:
    one = scene(StopCase())
    one.run()
    server_id = one.step.params["server_id"]
    bench.source.compute.lock_server(server_id)
    one.roll_back()
    ask(bench.owner.compute, f"/servers/{server_id}/action", "POST", json={"os-stop": None})
    bench.wait_source(server_id, "SHUTOFF")


# --- boot ---------------------------------------------------------------------------------------------


def test_a_source_that_was_started_again_is_not_doubled(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    source_id = one.step.params["source_id"]
    bench.act_source(source_id, "os-start", "ACTIVE")
    refused(one, StepError, source_id, "two live copies", one.step.params["addresses"][0]["address"])
    assert bench.copies(one.step.params["name"]) == []
    bench.act_source(source_id, "os-stop", "SHUTOFF")
    assert one.run().results == {one.step.key: "verified"}


def test_while_the_copy_lives_the_source_is_locked(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    source_id = one.step.params["source_id"]
    one.run()
    with pytest.raises(openstack.exceptions.ConflictException):
        ask(bench.owner.compute, f"/servers/{source_id}/action", "POST", json={"os-start": None})


def test_a_source_that_came_back_to_life_is_not_left_locked(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    source_id = one.step.params["source_id"]
    bench.act_source(source_id, "os-start", "ACTIVE")
    refused(one, StepError, source_id)
    ask(bench.owner.compute, f"/servers/{source_id}/action", "POST", json={"os-stop": None})
    bench.wait_source(source_id, "SHUTOFF")


def test_a_source_that_its_owner_changed_after_our_stop_is_not_booted_as_it_was(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    source_id = one.step.params["source_id"]
    body = {"metadata": {"tier": "canary-value"}}
    ask(bench.owner.compute, f"/servers/{source_id}/metadata", "POST", json=body)
    error = one.refused()
    assert isinstance(error, PlanStale)
    assert all(word in error.message for word in (source_id, "metadata tier changed", "no copy was booted"))
    assert "canary-value" not in str(error)
    assert bench.copies(one.step.params["name"]) == []
    # nor is it left locked
    ask(bench.owner.compute, f"/servers/{source_id}/action", "POST", json={"os-start": None})
    bench.wait_source(source_id, "ACTIVE")


@pytest.mark.parametrize("marked", [True, False], ids=["half-done", "settled"])
def test_no_source_starts_beside_a_copy_that_the_journal_does_not_know(
    marked: bool, bench: Bench, scene: SetUp
) -> None:
    """As when a backup of the journal was restored; a copy that has settled is known by its ports alone."""
    one = scene(StopCase())
    one.run()
    server = bench.source_server(one.step.params["server_id"])
    assert server is not None
    port = make_port(bench, server)
    copy = make_copy(bench, server, port[2], **({MARKER: server["id"]} if marked else {}))
    error = one.refused(one.roll_back)
    assert copy in error.message
    assert "still at new" in error.message
    assert StopCase().seen(bench, one.step)[0] == "SHUTOFF"
    ask(bench.new.compute, f"/servers/{copy}", "DELETE")
    eventually(lambda: bench.destination_server(copy) is None, "deletion")
    one.roll_back()
    assert StopCase().seen(bench, one.step) == ("ACTIVE", True)


def test_a_server_that_its_owner_booted_in_a_copys_place_is_not_deleted(bench: Bench, scene: SetUp) -> None:
    """The copy was deleted by its owner, who went on with its port and another image."""
    one = scene(BootCase())
    one.run()
    (copy,) = bench.copies(one.step.params["name"])
    ask(bench.new.compute, f"/servers/{copy['id']}", "DELETE")
    eventually(lambda: bench.destination_server(copy["id"]) is None, "deletion")
    (port,) = ask(bench.new.network, f"/ports?name=pumphouse {one.step.params['source_id']}")["ports"]
    used = copy["image"]["id"]
    other = next(
        i["id"] for i in ask(bench.new.image, "/images")["images"] if i["id"] != used and i["status"] == "active"
    )
    body = {
        "name": "owners-own",
        "flavorRef": copy["flavor"]["id"],
        "imageRef": other,
        "networks": [{"port": port["id"]}],
    }
    own = ask(bench.owner_there.compute, "/servers", "POST", json={"server": body})["server"]["id"]
    eventually(lambda: (bench.destination_server(own) or {}).get("status") == "ACTIVE", "owner's server")
    error = one.refused(one.roll_back)
    assert own in error.message
    assert "not deleted" in error.message
    assert bench.destination_server(own) is not None
    ask(bench.new.compute, f"/servers/{own}", "DELETE")
    eventually(lambda: bench.destination_server(own) is None, "deletion")
    one.roll_back()


def test_no_source_starts_while_somebody_else_answers_for_it(
    bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_SILENCE_S", 0.5)
    one = scene(StopCase())
    one.run()
    with somebody_answers(one.step.params["address"], bench.lab.guest_port):
        error = one.refused(one.roll_back)
    assert "somebody else answers" in error.message
    assert StopCase().seen(bench, one.step) == ("SHUTOFF", False)
    one.roll_back()
    assert StopCase().seen(bench, one.step) == ("ACTIVE", True)


def test_a_source_that_a_run_that_was_cut_off_has_started_is_nobody_else(
    bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at it and at its address it came up."""
    one = scene(StopCase())
    one.run()
    source_id = one.step.params["server_id"]
    asked = copies.answers

    def starting(spec: ProbeSpec, address: str) -> bool:
        if StopCase().seen(bench, one.step)[0] == "SHUTOFF":
            bench.act_source(source_id, "os-start", "ACTIVE")
            eventually(lambda: bench.answers(address), "guest")
        return asked(spec, address)

    monkeypatch.setattr(copies, "answers", starting)
    monkeypatch.setattr(copies, "_SILENCE_S", 0.5)
    one.roll_back()
    assert StopCase().seen(bench, one.step) == ("ACTIVE", True)


def test_an_address_that_still_answers_is_not_doubled(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    address = one.step.params["addresses"][0]["address"]
    with somebody_answers(address, bench.lab.guest_port):
        refused(one, StepError, one.step.params["source_id"], address, "still answers")
    assert bench.copies(one.step.params["name"]) == []
    assert one.run().results == {one.step.key: "verified"}


def test_a_failed_build_is_replaced_by_the_next_run(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    with no_host(bench):
        refused(one, StepError, one.step.params["name"], "No valid host", "not lost")
        (failed,) = bench.copies(one.step.params["name"])
        assert failed["status"] == "ERROR"
        refused(one, StepError, one.step.params["name"])
        assert len(bench.copies(one.step.params["name"])) == 1
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    assert bench.copies(one.step.params["name"])[0]["id"] != failed["id"]


def test_a_failed_build_is_taken_back(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    was = case.seen(bench, one.step)
    with no_host(bench):
        refused(one, StepError, one.step.params["name"])
        one.roll_back()
    assert case.seen(bench, one.step) == was


def test_a_build_that_takes_too_long_is_adopted_by_the_next_run(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    one.site = replace(bench.site, action_timeout_s=0.2)
    bench.lab.control("POST", "/timing", boot_s=60.0)
    try:
        refused(one, StepError, one.step.params["name"], "BUILD")
    finally:
        bench.lab.control("POST", "/timing", boot_s=1.5)
    one.site = bench.site
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_boot_whose_request_arrives_after_the_next_run_has_begun(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    write = case.writes[0]
    with impatient(write), bench.fault(write, kind="delay", delay_s=0.6):
        assert one.refused().remedy
    one.run()
    bench.idle()
    copies = bench.copies(one.step.params["name"])
    assert [copy["status"] for copy in copies] == ["ACTIVE"]
    assert copies[0]["metadata"] == {"tier": "gold", MARKER: one.step.params["source_id"]}


@contextlib.contextmanager
def operators(bench: Bench, *names: str) -> Iterator[list[OpenStackCloud]]:
    """The destination as each of these administrators, who may work in acme as well."""
    identity, password = bench.new.identity, unique("secret")
    (role,) = ask(identity, "/roles?name=admin")["roles"]
    users = [
        ask(identity, "/users", "POST", json={"user": {"name": unique(name), "password": password}})["user"]["id"]
        for name in names
    ]
    home = bench.destination.project_id
    for user, project in itertools.product(users, (home, bench.acme)):
        ask(identity, f"/projects/{project}/users/{user}/roles/{role['id']}", "PUT")
    clouds = [bench.destination.as_user(user_id=user, password=password, project_id=home) for user in users]
    try:
        yield clouds
    finally:
        for cloud in clouds:
            cloud.close()
            ask(identity, f"/users/{cloud.user_id}", "DELETE")


@pytest.mark.parametrize("event", ["before done", "after done"])
def test_what_one_operator_booted_another_one_may_finish(
    event: str, bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers whose owner has no secret are booted as the operator, who may be another one after a crash."""
    one = scene(BootCase())
    one.step = replace(one.step, params={**one.step.params, "as": "operator", "key_name": None})
    one.plan = replace(one.plan, steps=(one.step,))
    keep(one.journal, one.plan)
    when, _, name = event.partition(" ")
    with operators(bench, "first", "second") as (first, second):
        monkeypatch.setattr(bench, "destination", first)
        setattr(one.journal, f"dies_{when}", name)
        with pytest.raises(Killed):
            one.run()
        setattr(one.journal, f"dies_{when}", "")
        monkeypatch.setattr(bench, "destination", second)
        assert one.run().results == {one.step.key: "verified"}
        (copy,) = bench.copies(one.step.params["name"])
        assert (copy["user_id"], one.verify()["user_id"]) == (first.user_id, first.user_id)


def test_a_quota_that_is_used_up(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    path = f"/os-quota-sets/{bench.acme}"
    used = len(ask(bench.new.compute, "/servers/detail?all_tenants=1")["servers"])
    ask(bench.new.compute, path, "PUT", json={"quota_set": {"instances": used, "force": True}})
    try:
        error = one.refused()
    finally:
        ask(bench.new.compute, path, "PUT", json={"quota_set": {"instances": -1}})
    assert "quota" in error.message.lower()
    assert one.step.params["name"] in error.message
    assert "quota" in str(error.remedy)
    assert one.run().results == {one.step.key: "verified"}


def test_a_copy_whose_project_was_made_anew_is_taken_back_from_the_old_one(bench: Bench, scene: SetUp) -> None:
    case = BootCase()
    one = scene(case)
    one.run()
    project_id = one.step.params["project_id"]
    there = one.journal.mapping("project", project_id)
    one.know("project", project_id, "f" * 32)
    one.roll_back()
    one.know("project", project_id, str(there))
    assert case.seen(bench, one.step) == ([], "SHUTOFF")


def test_a_copy_stays_when_its_source_is_gone(bench: Bench, scene: SetUp) -> None:
    one = scene(BootCase())
    one.run()
    source_id = one.step.params["source_id"]
    ask(bench.old.compute, f"/servers/{source_id}", "DELETE")
    eventually(lambda: bench.source_server(source_id) is None, "deletion")
    error = one.refused(one.roll_back)
    assert type(error) is StepError
    assert source_id in error.message
    assert [copy["status"] for copy in bench.copies(one.step.params["name"])] == ["ACTIVE"]


# --- floating IP --------------------------------------------------------------------------------------


def test_a_floating_ip_that_another_project_has_is_given_back(bench: Bench, scene: SetUp) -> None:
    case = FloatingIpCase()
    one = scene(case)
    taken = case.allocate(bench, one.step, bench.destination.project_id)
    refused(one, StepError, one.step.params["address"], taken, bench.destination.project_id)
    assert case.seen(bench, one.step) == (True, [(bench.destination.project_id, None)])
    ask(bench.new.network, f"/floatingips/{taken}", "DELETE")
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_floating_ip_that_was_allocated_beforehand_stays_allocated(bench: Bench, scene: SetUp) -> None:
    case = FloatingIpCase()
    one = scene(case)
    case.allocate(bench, one.step, bench.acme)
    one.run()
    assert case.seen(bench, one.step) == case.want(bench, one.step)
    one.roll_back()
    assert case.seen(bench, one.step) == (True, [(bench.acme, None)])


# --- settle -------------------------------------------------------------------------------------------


def test_settling_measures_the_downtime(bench: Bench, scene: SetUp) -> None:
    one = scene(SettleCase())
    one.run()
    outcome = one.state().outcome
    assert outcome["answers"] is True
    assert 0 < outcome["downtime_s"] < 60


def test_a_guest_that_falls_silent_by_moving_is_not_called_moved(bench: Bench, scene: SetUp) -> None:
    case = SettleCase()
    one = scene(case)
    one.site = replace(bench.site, probe=SILENT)
    refused(one, VerificationFailed, one.step.params["name"], "does not answer")
    (copy,) = bench.copies(one.step.params["name"])
    assert MARKER in copy["metadata"]
    one.site = bench.site
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_guest_that_never_answered_need_not(bench: Bench, scene: SetUp) -> None:
    one = scene(SettleCase())
    fresh = make_plan(one.step, servers=one.plan.servers)  # knows of no answer before the stop
    one.site = replace(bench.site, probe=SILENT)
    one.journal.save_plan(fresh.hash, kind="move", selection_digest=fresh.selection_digest, document=fresh.document)
    assert one.run(one.step, plan=fresh).results == {one.step.key: "verified"}
    assert one.journal.step_state(fresh.hash, one.step.key).outcome["answers"] is False


def test_a_source_that_runs_again_is_noticed(bench: Bench, scene: SetUp) -> None:
    one = scene(SettleCase())
    (copy,) = bench.copies(one.step.params["name"])
    bench.act_destination(copy["id"], "os-stop", "SHUTOFF")
    bench.act_source(one.step.params["source_id"], "os-start", "ACTIVE")
    error = one.refused()
    assert type(error) is VerificationFailed
    assert "source's status" in error.message
    bench.act_source(one.step.params["source_id"], "os-stop", "SHUTOFF")


def test_a_floating_ip_that_the_source_was_given_meanwhile_is_not_left_with_it(bench: Bench, scene: SetUp) -> None:
    one = scene(SettleCase())
    source_id = one.step.params["source_id"]
    floating = ask(bench.owner.compute, "/os-floating-ips", "POST", json={"pool": "nova"})["floating_ip"]["ip"]
    path = f"/servers/{source_id}/action"
    ask(bench.owner.compute, path, "POST", json={"addFloatingIp": {"address": floating}})
    error = one.refused()
    assert type(error) is VerificationFailed
    assert f"floating IPs left at the source should be [] but is ['{floating}']" in error.message
    ask(bench.owner.compute, path, "POST", json={"removeFloatingIp": {"address": floating}})
    assert one.run().results == {one.step.key: "verified"}


# --- finalise -----------------------------------------------------------------------------------------


def test_a_source_is_kept_while_its_copy_does_not_run(bench: Bench, scene: SetUp) -> None:
    case = DeleteSourceCase()
    one = scene(case)
    bench.act_destination(one.step.params["destination_id"], "os-stop", "SHUTOFF")
    refused(one, StepError, one.step.params["name"], "not deleted")
    assert bench.source_server(one.step.params["source_id"]) is not None
    bench.act_destination(one.step.params["destination_id"], "os-start", "ACTIVE")
    eventually(lambda: bench.answers(one.step.params["address"]), "guest")
    assert one.run().results == {one.step.key: "verified"}
    assert case.seen(bench, one.step) == case.want(bench, one.step)


def test_a_source_is_kept_while_its_copy_does_not_answer(bench: Bench, scene: SetUp) -> None:
    one = scene(DeleteSourceCase())
    one.site = replace(bench.site, probe=SILENT)
    refused(one, StepError, one.step.params["name"], one.step.params["address"], "not deleted")
    assert bench.source_server(one.step.params["source_id"]) is not None


def test_a_source_is_kept_when_its_copy_is_gone(bench: Bench, scene: SetUp) -> None:
    one = scene(DeleteSourceCase())
    copy = one.step.params["destination_id"]
    ask(bench.new.compute, f"/servers/{copy}", "DELETE")
    eventually(lambda: bench.destination_server(copy) is None, "deletion")
    refused(one, StepError, copy, one.step.params["source_id"], "is not deleted")
    assert bench.source_server(one.step.params["source_id"]) is not None


def test_a_source_that_somebody_uses_again_is_kept(bench: Bench, scene: SetUp) -> None:
    one = scene(DeleteSourceCase())
    bench.act_destination(one.step.params["destination_id"], "os-stop", "SHUTOFF")
    bench.act_source(one.step.params["source_id"], "os-start", "ACTIVE")
    params = {**one.step.params, "arrives": "SHUTOFF", "answered": False}
    step = replace(one.step, params=params)
    one.plan, one.step = replace(one.plan, steps=(step,)), step
    refused(one, StepError, one.step.params["name"], "ACTIVE", "it stays")
    assert bench.source_server(one.step.params["source_id"]) is not None


def test_an_address_in_use_is_reserved_all_the_same(bench: Bench, scene: SetUp) -> None:
    case = ReserveFixedIpCase()
    one = scene(case)
    network = {"uuid": bench.network, "fixed_ip": one.step.params["address"]}
    server = bench.boot_source(networks=[network])
    assert one.run().results == {one.step.key: "verified"}
    ask(bench.old.compute, f"/servers/{server['id']}", "DELETE")
    assert case.seen(bench, one.step) == "reserved"


def test_an_address_outside_every_network(bench: Bench, scene: SetUp) -> None:
    one = scene(ReserveFixedIpCase())
    step = replace(one.step, params={"address": "198.51.100.9"})
    one.plan, one.step = replace(one.plan, steps=(step,)), step
    error = one.refused()
    assert "198.51.100.9" in error.message
    assert error.remedy


@pytest.mark.parametrize("wrong", ["ours", "when it settled"])
def test_a_clock_that_was_set_wrong_does_not_end_the_hold(
    wrong: str, bench: Bench, scene: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours is two days ahead now, or was two days behind when the server was seen to serve."""
    one = scene(DeleteSourceCase())
    day_s, ahead = 86400.0, timedelta(days=2)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + ahead

    until = datetime.now(UTC) + timedelta(seconds=day_s)
    if wrong == "ours":
        monkeypatch.setattr(finalise, "datetime", Ahead)
        for cloud in (bench.source, bench.destination):
            monkeypatch.setattr(type(cloud), "clock_ahead_s", -ahead.total_seconds())
    else:
        until -= ahead
    step = replace(one.step, params={**one.step.params, "held_until": until.isoformat(), "hold_s": day_s})
    one.plan, one.step = replace(one.plan, steps=(step,)), step
    refused(one, StepError, one.step.params["name"], "is held until", "not deleted")
    assert bench.source_server(one.step.params["source_id"]) is not None


def test_a_cloud_tells_its_clock_with_each_answer(bench: Bench, scene: SetUp) -> None:
    for cloud in (bench.source, bench.destination):
        cloud.identity.list_projects()
        assert cloud.clock_ahead_s is not None
        assert abs(cloud.clock_ahead_s) < 60
