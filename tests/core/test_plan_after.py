"""What comes after a move, planned from the journal alone: deleting the sources, or going back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import PlanError
from pumphouse.findings import blocking
from pumphouse.journal import Journal, schema
from pumphouse.model import Network
from pumphouse.plan.after import moves_of, plan_finalise, plan_rollback
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.site import Provider
from tests.core.making import ACME, did, keep_plan, make_plan, make_step, plan_server, planned
from tests.core.making_runs import start_run
from tests.factories import kid, make_snapshot, uid

PROJECT = f"project:{kid('acme')}"
DIGEST = "e" * 64


class Site:
    """A journal whose clock the test sets, and moves that were done with it."""

    def __init__(self, journal: Journal) -> None:
        self.now = datetime(2024, 5, 1, 22, 0, tzinfo=UTC)
        # shares the fixture's connections, which do not wait for the disk
        self.engine = journal._engine
        self.journal = Journal(self.engine, now=lambda: self.now)
        self.run = start_run(self.journal)

    def move(self, folder: Path, *names: str, state: str = "finished") -> Plan:
        """Plan a move of these servers and keep it; nothing of it is done."""
        plan, _ = planned(folder, *names)
        self.now += timedelta(minutes=1)
        keep_plan(self.journal, plan, state)
        return plan

    def moved(self, folder: Path, *names: str) -> Plan:
        """Plan a move, and do all of it."""
        plan = self.move(folder, *names)
        self.do(plan, *plan.steps)
        return plan

    def do(self, plan: Plan, *steps: PlannedStep, absent: bool = True) -> None:
        """Journal these steps as done and verified, in one go; ``absent`` False: they were in place."""
        rows: list[dict[str, Any]] = []
        for step in steps:
            outcome = {"id": f"copy-of-{step.server_id}", "answers": True}
            events = [("intent", {"absent": True})] if absent else []
            for event, data in [*events, ("done", outcome), ("verified", {})]:
                rows.append({"step_key": step.key, "event": event, "data": data})
            if step.kind == "boot":
                self.map_server(str(step.server_id), outcome["id"])
        common = {"run_id": self.run, "plan_hash": plan.hash, "at": self.now}
        with self.engine.begin() as db:
            db.execute(schema.events.insert(), [{**common, **row} for row in rows])

    def map_server(self, source_id: str, destination_id: object) -> None:
        row = {"kind": "server", "source_id": source_id, "destination_id": destination_id, "made_at": self.now}
        with self.engine.begin() as db:
            db.execute(schema.mappings.insert(), [row])

    def undo(self, plan: Plan, keys: Iterable[str]) -> None:
        for key in keys:
            self.journal.write(self.run, plan.hash, key, "undo-intent", {})
            self.journal.write(self.run, plan.hash, key, "undone", {})

    def finalise(self, *names: str, hold_s: float = 0.0) -> tuple[Plan, list[str]]:
        plan, findings = plan_finalise(self.journal, DIGEST, map(uid, names), hold_s=hold_s, now=self.now)
        return plan, [finding.code for finding in blocking(findings)]

    def rollback(self, *names: str) -> tuple[Plan, list[str]]:
        plan, findings = plan_rollback(self.journal, DIGEST, map(uid, names))
        return plan, [finding.code for finding in blocking(findings)]


@pytest.fixture
def site(journal: Journal) -> Site:
    return Site(journal)


def undone_keys(plan: Plan) -> set[str]:
    """Keys of the moves' steps that a roll back undoes."""
    return {step.params["step_key"] for step in plan.steps}


def position(plan: Plan, key: str, move: Plan) -> int:
    """Where a roll back undoes a step of a move."""
    found = [(step.params["plan_hash"], step.params["step_key"]) for step in plan.steps]
    return found.index((move.hash, key))


# --- which moves --------------------------------------------------------------------------------------


def test_a_server_that_was_never_moved_is_left_out_and_named(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1")
    for make in (plan_rollback, lambda *a: plan_finalise(*a, hold_s=0)):
        plan, findings = make(site.journal, DIGEST, [uid("acme-web1"), uid("acme-web2")])
        assert [server.id for server in plan.servers] == [uid("acme-web1")]
        assert [(f.severity, f.object) for f in findings if f.code == "not-moved"] == [
            ("info", f"server {uid('acme-web2')}")
        ]
        with pytest.raises(PlanError, match=f"no move of server.* {uid('acme-web2')}"):
            make(site.journal, DIGEST, [uid("acme-web2")])


def test_no_server_is_an_error_not_everything(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1")
    with pytest.raises(PlanError, match="No server is named"):
        site.finalise()
    with pytest.raises(PlanError, match="No server is named"):
        site.rollback()


def test_a_plan_that_was_only_proposed_or_taken_back_is_no_move(site: Site, tmp_path: Path) -> None:
    site.move(tmp_path, "acme-web1", state="proposed")
    undone = site.moved(tmp_path, "acme-web2")
    site.journal.set_plan_state(undone.hash, "undone")
    for name in ("acme-web1", "acme-web2"):
        with pytest.raises(PlanError):
            site.rollback(name)


def test_moves_come_oldest_first_with_the_servers_that_are_asked_for(site: Site, tmp_path: Path) -> None:
    first = site.moved(tmp_path, "acme-web1", "acme-web2", "acme-db1")
    second = site.moved(tmp_path, "acme-db2")
    found = moves_of(site.journal, [uid("acme-db2"), uid("acme-web2")])
    assert [(plan.hash, ids) for plan, ids in found] == [
        (first.hash, (uid("acme-web2"),)),
        (second.hash, (uid("acme-db2"),)),
    ]


def test_a_move_of_which_only_the_ground_was_made_ready_can_be_taken_back(site: Site, tmp_path: Path) -> None:
    move = site.move(tmp_path, "acme-web1", state="started")
    site.do(move, move.step(PROJECT))
    plan, blocks = site.rollback("acme-web1")
    assert (undone_keys(plan), blocks) == ({PROJECT}, [])
    with pytest.raises(PlanError):
        site.finalise("acme-web1")


def test_a_damaged_plan_in_the_journal_is_an_error(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, "acme-web1")
    site.journal.save_plan("f" * 64, kind="move", selection_digest=DIGEST, document={**move.document, "steps": None})
    site.journal.set_plan_state("f" * 64, "started")
    with pytest.raises(PlanError, match="damaged"):
        site.rollback("acme-web1")


# --- finalise -----------------------------------------------------------------------------------------


def test_finalising_reserves_each_address_before_it_deletes_the_source(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, *ACME)
    plan, blocks = site.finalise(*ACME)
    assert blocks == []
    assert (plan.kind, plan.source, plan.destination) == ("finalise", "old", "new")
    assert {step.phase for step in plan.steps} == {"finalise"}
    assert {step.changes for step in plan.steps} == {"source"}
    for server in move.servers:
        delete = plan.step(f"delete-source:{server.id}")
        assert delete.needs == tuple(f"reserve-fixed-ip:{address}" for address in server.addresses)
        assert delete.undo is None
        assert delete.cost
        assert delete.params["destination_id"] == f"copy-of-{server.id}"
        assert delete.params["answered"] is True
        assert delete.params["arrives"] == server.status
        assert delete.params["rests"] == ["SHUTOFF"]
    assert len(plan.steps) == 2 * len(ACME)


def test_only_the_chosen_servers_are_finalised(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, *ACME)
    plan, _ = site.finalise("acme-web1")
    assert {step.server_id for step in plan.steps} == {uid("acme-web1")}
    assert [server.name for server in plan.servers] == ["acme-web1"]
    assert [note.object for note in plan.notes] == ["floating IP 172.24.4.11"]
    assert site.finalise("acme-web2")[0].notes == ()


@pytest.mark.parametrize(("waited_s", "blocks"), [(0, ["hold-time"]), (3599, ["hold-time"]), (3600, []), (7200, [])])
def test_the_hold_is_kept_to_the_second(site: Site, tmp_path: Path, waited_s: int, blocks: list[str]) -> None:
    site.moved(tmp_path, "acme-web1")
    site.now += timedelta(seconds=waited_s)
    assert site.finalise("acme-web1", hold_s=3600)[1] == blocks


def test_the_hold_says_how_long_it_still_is(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1")
    site.now += timedelta(seconds=600)
    _, (finding,) = plan_finalise(site.journal, DIGEST, [uid("acme-web1")], hold_s=3600, now=site.now)
    assert "600 s" in finding.message
    assert "3000 s" in finding.remedy
    assert finding.object == "server acme-web1"


def test_the_hold_counts_from_the_last_time_it_was_seen_to_serve(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, "acme-web1")
    key = f"settle:{uid('acme-web1')}"
    site.now += timedelta(hours=2)
    site.journal.write(site.run, move.hash, key, "skipped")
    assert site.finalise("acme-web1", hold_s=3600)[1] == []
    site.journal.write(site.run, move.hash, key, "verified")
    assert site.finalise("acme-web1", hold_s=3600)[1] == ["hold-time"]


@pytest.mark.parametrize("last", ["intent", "done", "failed", "undo-intent", "undone"])
def test_a_server_that_is_not_verified_keeps_its_source(site: Site, tmp_path: Path, last: str) -> None:
    move = site.moved(tmp_path, "acme-web1", "acme-web2")
    site.journal.write(site.run, move.hash, f"settle:{uid('acme-web1')}", last, {})
    plan, blocks = site.finalise("acme-web1", "acme-web2")
    assert blocks == ["not-verified"]
    assert {step.server_id for step in plan.steps} == {uid("acme-web2")}


def test_a_server_that_was_booted_but_never_settled_keeps_its_source(site: Site, tmp_path: Path) -> None:
    move = site.move(tmp_path, "acme-web1", state="started")
    site.do(move, *(step for step in move.steps if step.kind != "settle"))
    plan, blocks = site.finalise("acme-web1")
    assert (plan.steps, blocks) == ((), ["not-verified"])


def test_a_server_that_one_plan_prepared_and_another_moved_can_be_finalised(site: Site, tmp_path: Path) -> None:
    prepared = site.move(tmp_path, "acme-web1", "acme-web2", state="started")
    site.do(prepared, *prepared.phase("prepare"))
    moved = site.moved(tmp_path, "acme-web1")
    plan, blocks = site.finalise("acme-web1")
    assert blocks == []
    assert [step.key for step in plan.steps if step.kind == "delete-source"] == [f"delete-source:{uid('acme-web1')}"]
    assert moved.server(uid("acme-web1")) in plan.servers


def test_the_same_finalisation_has_the_same_hash(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, *ACME)
    assert site.finalise(*ACME)[0].hash == site.finalise(*reversed(ACME))[0].hash


# --- roll back ----------------------------------------------------------------------------------------


def test_rolling_a_whole_move_back_undoes_all_of_it(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, *ACME)
    plan, blocks = site.rollback(*ACME)
    assert blocks == []
    assert undone_keys(plan) == {step.key for step in move.steps}
    assert {step.phase for step in plan.steps} == {"undo"}
    assert {step.params["plan_hash"] for step in plan.steps} == {move.hash}
    assert plan.kind == "rollback"


def test_undoing_goes_against_the_needs(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, *ACME)
    plan, _ = site.rollback(*ACME)
    for step in move.steps:
        for need in step.needs:
            if not (need.startswith("stop:") and step.kind == "floating-ip"):
                assert position(plan, step.key, move) < position(plan, need, move), (step.key, need)


def test_a_source_starts_without_waiting_for_its_floating_ips(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, "acme-web1")
    plan, _ = site.rollback("acme-web1")
    stop = next(s for s in plan.steps if s.params["step_key"] == f"stop:{uid('acme-web1')}")
    waits_for = {plan.step(need).params["step_key"] for need in stop.needs}
    assert waits_for == {f"boot:{uid('acme-web1')}"}
    assert any(step.kind == "floating-ip" for step in move.steps)


def test_only_what_was_done_is_undone(site: Site, tmp_path: Path) -> None:
    move = site.move(tmp_path, "acme-web1", state="started")
    done = [step for step in move.steps if step.kind in ("project", "role", "user", "flavor")]
    site.do(move, *done)
    site.journal.write(site.run, move.hash, f"port:{uid('acme-web1')}/10.10.0.11", "intent", {"absent": True})
    plan, _ = site.rollback("acme-web1")
    assert undone_keys(plan) == {*(step.key for step in done), f"port:{uid('acme-web1')}/10.10.0.11"}


@pytest.mark.parametrize("event", ["intent", "done", "failed", "undo-intent"])
def test_what_may_have_happened_is_undone_too(site: Site, tmp_path: Path, event: str) -> None:
    move = site.move(tmp_path, "acme-web1", state="started")
    boot = f"boot:{uid('acme-web1')}"
    if event == "failed":
        site.journal.write(site.run, move.hash, boot, "intent", {"absent": True})
    site.journal.write(site.run, move.hash, boot, event, {})
    plan, _ = site.rollback("acme-web1")
    assert undone_keys(plan) == {boot}


def test_what_failed_before_it_was_begun_is_not_undone(site: Site, tmp_path: Path) -> None:
    move = site.move(tmp_path, "acme-web1", state="started")
    site.journal.write(site.run, move.hash, f"boot:{uid('acme-web1')}", "failed", {"error": "changed since"})
    with pytest.raises(PlanError):
        site.rollback("acme-web1")


def test_losing_what_was_written_at_the_destination_is_said(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1")
    plan, _ = site.rollback("acme-web1")
    assert [step.params["step_key"] for step in plan.steps if step.cost] == [f"boot:{uid('acme-web1')}"]


def test_shared_ground_stays_while_another_server_of_the_plan_stands_on_it(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, "acme-web1", "acme-cache")
    plan, _ = site.rollback("acme-web1")
    undone = undone_keys(plan)
    assert {f"stop:{uid('acme-web1')}", f"image:{uid('acme-web')}", "router:" + f"{uid('net')}:public"} <= undone
    kept = {step.key for step in move.steps} - undone
    assert {PROJECT, f"image:{uid('cirros')}", f"network:{uid('net')}", "flavor:2", "security-group:1"} <= kept
    assert not any(uid("acme-cache") in key for key in undone)


def test_shared_ground_stays_while_another_plan_needs_it(site: Site, tmp_path: Path) -> None:
    first = site.moved(tmp_path, "acme-web1")
    second = site.move(tmp_path, "acme-cache", state="started")
    site.do(second, *second.steps, absent=False)
    plan, _ = site.rollback("acme-web1")
    undone = undone_keys(plan)
    assert {step.params["plan_hash"] for step in plan.steps} == {first.hash}
    assert {step.server_id for step in plan.steps} <= {uid("acme-web1"), None}
    assert PROJECT not in undone
    assert f"image:{uid('acme-web')}" in undone


def test_shared_ground_stays_for_a_plan_that_is_prepared_but_not_cut_over(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1")
    second = site.move(tmp_path, "acme-cache", state="started")
    site.do(second, second.step(PROJECT), absent=False)
    assert PROJECT not in undone_keys(site.rollback("acme-web1")[0])


def test_shared_ground_goes_when_the_last_of_two_plans_goes(site: Site, tmp_path: Path) -> None:
    first = site.moved(tmp_path, "acme-web1")
    second = site.move(tmp_path, "acme-cache")
    site.do(second, *second.steps, absent=False)
    plan, _ = site.rollback("acme-web1")
    site.undo(first, undone_keys(plan))
    site.journal.set_plan_state(first.hash, "undone")
    plan, _ = site.rollback("acme-cache")
    assert PROJECT in undone_keys(plan)
    assert site.journal.made_by_us(PROJECT)


def test_two_plans_that_go_back_together_take_their_ground_away_last(site: Site, tmp_path: Path) -> None:
    first = site.moved(tmp_path, "acme-web1")
    second = site.move(tmp_path, "acme-cache")
    site.do(second, *second.steps, absent=False)
    plan, blocks = site.rollback("acme-web1", "acme-cache")
    assert blocks == []
    for move in (first, second):
        for ground in (PROJECT, f"network:{uid('net')}"):
            for name, owner in (("acme-web1", first), ("acme-cache", second)):
                assert position(plan, f"boot:{uid(name)}", owner) < position(plan, ground, move)


def test_a_finalised_server_cannot_go_back(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, "acme-web1", "acme-web2")
    final, _ = site.finalise("acme-web1")
    keep_plan(site.journal, final)
    site.do(final, *final.steps)
    _, findings = plan_rollback(site.journal, DIGEST, [uid("acme-web1"), uid("acme-web2")])
    assert [(f.severity, f.code, f.object) for f in findings] == [("block", "finalised", "server acme-web1")]
    assert site.rollback("acme-web2")[1] == []


@pytest.mark.parametrize("last", ["intent", "failed"])
def test_a_finalisation_that_failed_does_not_stand_in_the_way(site: Site, tmp_path: Path, last: str) -> None:
    """Undoing looks at the source itself before it takes the copy away (tests/core/test_guards.py)."""
    site.moved(tmp_path, "acme-web1")
    final, _ = site.finalise("acme-web1")
    keep_plan(site.journal, final)
    site.journal.write(site.run, final.hash, f"delete-source:{uid('acme-web1')}", last, {})
    assert site.rollback("acme-web1")[1] == []


def test_what_was_there_before_us_is_planned_for_undoing_as_not_ours(site: Site, tmp_path: Path) -> None:
    move = site.move(tmp_path, "acme-web1")
    site.do(move, move.step(PROJECT), absent=False)
    plan, _ = site.rollback("acme-web1")
    assert undone_keys(plan) == {PROJECT}
    assert not site.journal.step_state(move.hash, PROJECT).ours


def test_a_rollback_says_what_goes_and_what_stays_and_why(site: Site, tmp_path: Path) -> None:
    first = site.move(tmp_path, "acme-web1")
    network = f"network:{uid('net')}"
    site.do(first, *(step for step in first.steps if step.key != network))
    site.do(first, first.step(network), absent=False)
    second = site.move(tmp_path, "acme-cache", state="started")
    site.do(second, second.step(PROJECT), absent=False)
    plan, _ = site.rollback("acme-web1")
    notes = {note.object: note.text for note in plan.notes}
    assert notes[first.step(PROJECT).title] == "stays: servers that do not go back stand on it"
    assert notes[first.step(network).title] == "stays: it was there before pumphouse"
    assert notes[first.step(f"image:{uid('acme-web')}").title].startswith("deleted: pumphouse made it")
    shared = [step.title for step in first.steps if step.server_id is None]
    assert list(notes) == list(dict.fromkeys(shared))


def test_a_rollback_that_was_done_leaves_nothing_to_roll_back(site: Site, tmp_path: Path) -> None:
    move = site.moved(tmp_path, "acme-web1")
    plan, _ = site.rollback("acme-web1")
    site.undo(move, undone_keys(plan))
    with pytest.raises(PlanError, match="rolled back"):
        site.rollback("acme-web1")


def test_a_rollback_reads_back_from_the_journal_as_itself(site: Site, tmp_path: Path) -> None:
    site.moved(tmp_path, *ACME)
    plan, _ = site.rollback(*ACME)
    keep_plan(site.journal, plan)
    (document,) = site.journal.plan_documents(kind="rollback")
    assert Plan.from_document(document) == plan


def test_a_servers_own_steps_alone_make_a_move(site: Site) -> None:
    plan = make_plan(
        make_step("stop:1", phase="cutover", server_id="1"), servers=(plan_server("x", id="1", addresses=()),)
    )
    keep_plan(site.journal, plan)
    site.do(plan, *plan.steps)
    undo, _ = plan_rollback(site.journal, DIGEST, ["1"])
    assert undone_keys(undo) == {"stop:1"}


def test_a_slice_stays_reserved_while_a_later_plans_network_hands_it_out(journal: Journal, tmp_path: Path) -> None:
    provider = {"private": Provider("physnet1", "flat", None)}
    run_id = start_run(journal)
    first, _ = planned(tmp_path, "acme-web1", provider=provider)
    params = next(step for step in first.steps if step.kind == "network").params
    destination = make_snapshot("destination")
    made = Network(
        id="new-net",
        name=params["name"],
        cidr=params["cidr"],
        network_type="flat",
        physical_network="physnet1",
        gateway_ip=params["gateway_ip"],
        pools=tuple((low, high) for low, high in params["pools"]),
        shared=True,
    )
    external = [network for network in destination.networks if network.external]
    second, _ = planned(
        tmp_path, "acme-web2", destination=replace(destination, networks=(*external, made)), provider=provider
    )
    for plan in (first, second):
        keep_plan(journal, plan, "finished")
        for step in plan.steps:
            did(journal, run_id, plan, step.key, absent=plan is first or step.server_id is not None)
    back, _ = plan_rollback(journal, "e" * 64, [uid("acme-web1")])
    assert [step.key for step in first.steps if step.kind == "reserve-slice"]
    assert not [step.key for step in back.steps if "reserve-slice" in step.key]


def test_a_secret_stays_while_a_server_of_the_plan_waits_for_its_boot(journal: Journal, tmp_path: Path) -> None:
    def plan(tag: str, *servers: str) -> Plan:
        who = {"user_id": "u", "name": "u"}
        steps = [
            make_step("user:u", params=who),
            make_step("secret:u", "user:u", phase="cutover", params=who),
        ]
        for server in servers:
            stop = {"server_id": server, "rests": ["SHUTOFF"]}
            steps.append(make_step(f"stop:{server}", "secret:u", phase="cutover", server_id=server, params=stop))
            needs = (f"stop:{server}", "secret:u")
            steps.append(make_step(f"boot:{server}", *needs, phase="cutover", server_id=server, params=stop))
        return make_plan(*steps, servers=tuple(plan_server(s, id=s) for s in servers), selection_digest=tag * 64)

    run_id = start_run(journal)
    first, second = plan("a", "s1", "s2"), plan("b", "s3")
    for each in (first, second):
        keep_plan(journal, each)
    did(journal, run_id, first, "user:u", "secret:u", "stop:s1", "boot:s1", "stop:s2")
    did(journal, run_id, second, "user:u", "secret:u", "stop:s3", absent=False)
    back, _ = plan_rollback(journal, "e" * 64, ["s1"])
    assert not [step.key for step in back.steps if step.key.endswith("secret:u")]
