"""Guards of single steps that need no cloud: nothing is taken away before there is something to go back to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PlanStale, StepError
from pumphouse.journal import Journal
from pumphouse.model import FloatingIp, Server
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.model import Plan
from pumphouse.secretstore import SecretStore
from pumphouse.steps import STEPS, Context
from tests.core.making import keep_plan, make_plan, make_site, make_step, plan_server
from tests.core.making_runs import start_run
from tests.factories import make_server

SERVER = make_server(status="SHUTOFF", floating_ips=())
COPY = replace(SERVER, id="copy", project_id="p1", status="ACTIVE", metadata={"pumphouse_source_id": SERVER.id})
BOOT = make_step(
    f"boot:{SERVER.id}",
    phase="cutover",
    server_id=SERVER.id,
    params={
        "as": "operator",
        "user_id": "",
        "user_name": "",
        "project_id": "acme",
        "source_id": SERVER.id,
        "name": SERVER.name,
        "addresses": [{"address": "10.10.0.11", "mac": None}],
    },
)
FLOATING = make_step(
    "floating-ip:172.24.4.11",
    phase="cutover",
    changes="both",
    server_id=SERVER.id,
    params={
        "address": "172.24.4.11",
        "server_id": SERVER.id,
        "fixed_address": "10.10.0.11",
        "project_id": "acme",
        "port_id": "x",
        "external_network_id": "ext",
    },
)
STOP = make_step(
    f"stop:{SERVER.id}",
    phase="cutover",
    changes="source",
    server_id=SERVER.id,
    params={
        "server_id": SERVER.id,
        "name": SERVER.name,
        "address": "10.10.0.11",
        "rests": ["SHUTOFF"],
        "locked": None,
    },
)


class FakeCloud:
    """Just enough of a cloud: its servers by id, a floating IP, and a log of what was changed."""

    def __init__(self, name: str, *servers: Server) -> None:
        self.name, self.project_id = name, "p1"
        self.facts = SimpleNamespace(network_service="neutron")
        self.servers = {server.id: server for server in servers}
        self.changes: list[str] = []
        self.floating: FloatingIp | None = FloatingIp("f1", "172.24.4.11", "public", "p1", "10.10.0.11", "copy")
        self.compute = SimpleNamespace(
            find_server=self.servers.get,
            get_server=self.servers.__getitem__,
            list_servers=lambda **_k: list(self.servers.values()),
            delete_server=self._delete,
            wait_server_gone=lambda *_a, **_k: None,
        )
        self.neutron = SimpleNamespace(
            list_ports=lambda **_k: [],
            find_floating_ip=lambda _address: self.floating,
            bind_floating_ip=lambda *_a: self.changes.append("unbind"),
            delete_floating_ip=lambda *_a: self.changes.append("release"),
        )
        self.nova_network = SimpleNamespace(associate_floating_ip=self._associate)

    def in_project(self, _project_id: str) -> FakeCloud:
        return self

    def close(self) -> None:
        pass

    def _delete(self, server_id: str) -> None:
        self.changes.append(f"delete {server_id}")
        del self.servers[server_id]

    def _associate(self, server_id: str, address: str, **_kw: Any) -> None:
        self.changes.append("associate")
        self.servers[server_id] = replace(self.servers[server_id], floating_ips=(address,))


def context(journal: Journal, folder: Path, source: FakeCloud, destination: FakeCloud, **plan: Any) -> Context:
    planned = plan_server(SERVER.name, id=SERVER.id, fingerprint=fingerprint(SERVER), **plan)
    made: Plan = make_plan(STOP, replace(BOOT, needs=(STOP.key,)), FLOATING, servers=(planned,))
    keep_plan(journal, made)
    run_id = start_run(journal)
    journal.write(run_id, made.hash, "project:acme", "done", {}, mapping=("project", "acme", "p1"))
    site = replace(make_site(folder), action_timeout_s=0.1)
    clouds = cast(Cloud, source), cast(Cloud, destination)
    return Context(*clouds, site, journal, SecretStore(site.secrets_file), made, run_id)


GONE_OR_GOING = [None, replace(SERVER, task_state="deleting"), replace(SERVER, task_state="powering-on")]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("source", GONE_OR_GOING, ids=["gone", "being-deleted", "busy"])
def test_the_only_copy_of_a_server_is_never_deleted(
    journal: Journal, tmp_path: Path, source: Server | None, ours: bool
) -> None:
    old, new = FakeCloud("old", *([source] if source else [])), FakeCloud("new", COPY)
    ctx = context(journal, tmp_path, old, new)
    with pytest.raises(StepError, match=f"{SERVER.id} of old is (gone|busy .*): its copy at new stays as it is"):
        STEPS["boot"].undo(ctx, BOOT, {"id": "copy"}, ours=ours)
    assert new.changes == []
    assert "copy" in new.servers


def test_a_copy_whose_source_waits_is_deleted(journal: Journal, tmp_path: Path) -> None:
    old, new = FakeCloud("old", SERVER), FakeCloud("new", COPY)
    STEPS["boot"].undo(context(journal, tmp_path, old, new), BOOT, {"id": "copy"}, ours=True)
    assert new.changes == ["delete copy"]
    assert old.changes == []


@pytest.mark.parametrize("source", GONE_OR_GOING, ids=["gone", "being-deleted", "busy"])
def test_a_floating_ip_stays_with_the_only_copy(journal: Journal, tmp_path: Path, source: Server | None) -> None:
    old, new = FakeCloud("old", *([source] if source else [])), FakeCloud("new", COPY)
    ctx = context(journal, tmp_path, old, new)
    with pytest.raises(StepError, match="stays as it is"):
        STEPS["floating-ip"].undo(ctx, FLOATING, {"id": "f1", "made": True}, ours=True)
    assert (old.changes, new.changes) == ([], [])


def test_a_source_that_another_step_just_starts_is_waited_for(journal: Journal, tmp_path: Path) -> None:
    old, new = FakeCloud("old", SERVER), FakeCloud("new", COPY)
    looks = iter([replace(SERVER, task_state="powering-on")])
    old.compute.find_server = lambda server_id: next(looks, old.servers[server_id])
    ctx = context(journal, tmp_path, old, new)
    ctx = replace(ctx, site=replace(ctx.site, action_timeout_s=30.0))
    STEPS["floating-ip"].undo(ctx, FLOATING, {"id": "f1", "made": True}, ours=True)
    assert old.changes == ["associate"]


def test_a_floating_ip_goes_back_to_a_source_that_waits(journal: Journal, tmp_path: Path) -> None:
    old, new = FakeCloud("old", SERVER), FakeCloud("new", COPY)
    ctx = context(journal, tmp_path, old, new)
    STEPS["floating-ip"].undo(ctx, FLOATING, {"id": "f1", "made": True}, ours=True)
    assert new.changes == ["unbind", "release"]
    assert old.changes == ["associate"]


def test_a_server_that_somebody_else_stopped_is_refused_however_often_we_ask(journal: Journal, tmp_path: Path) -> None:
    ctx = context(journal, tmp_path, FakeCloud("old", SERVER), FakeCloud("new"), status="ACTIVE")
    for _ in range(2):
        with pytest.raises(PlanStale, match="changed since the plan was made: status was ACTIVE, is SHUTOFF") as caught:
            STEPS["stop"].look(ctx, STOP)
        data = {"error": str(caught.value), "type": "PlanStale"}
        journal.write(ctx.run_id, ctx.plan.hash, STOP.key, "failed", data)


def test_a_server_that_we_set_out_to_stop_is_found_stopped(journal: Journal, tmp_path: Path) -> None:
    ctx = context(journal, tmp_path, FakeCloud("old", SERVER), FakeCloud("new"), status="ACTIVE")
    journal.write(ctx.run_id, ctx.plan.hash, STOP.key, "intent", {"absent": True})
    assert STEPS["stop"].look(ctx, STOP) == {"stop_s": None, "last_answer_at": None}


def test_a_server_that_was_planned_stopped_is_found_stopped(journal: Journal, tmp_path: Path) -> None:
    ctx = context(journal, tmp_path, FakeCloud("old", SERVER), FakeCloud("new"), status="SHUTOFF")
    assert STEPS["stop"].look(ctx, STOP) is not None


@pytest.mark.parametrize("change", [{"name": "x"}, {"metadata": {}}, {"flavor_id": "9"}, {"security_groups": ()}])
def test_a_server_that_changed_since_the_plan_is_not_stopped(
    journal: Journal, tmp_path: Path, change: dict[str, Any]
) -> None:
    ctx = context(journal, tmp_path, FakeCloud("old", replace(SERVER, **change)), FakeCloud("new"))
    with pytest.raises(PlanStale, match="changed since the plan was made"):
        STEPS["stop"].look(ctx, STOP)


def test_the_fingerprint_leaves_out_what_moving_itself_changes() -> None:
    moved = replace(SERVER, status="ACTIVE", host="elsewhere", floating_ips=("1.2.3.4",), task_state="x", power_state=4)
    assert fingerprint(moved) == fingerprint(SERVER)
