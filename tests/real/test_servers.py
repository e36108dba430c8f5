"""Servers in odd states between real clouds: moved as the table of states says, or named; and all of it taken back.

A project of this file's own, so that nobody else's servers are touched; it is gone again afterwards.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pumphouse
from pumphouse.approval import approve
from pumphouse.findings import Finding, blocking
from pumphouse.selection import select_servers
from pumphouse.session import Run

from . import operate, tier
from .rest import ApiError, Session
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
WAIT_S = 120
#: name -> (what makes its source so, the source's state, the copy's state; "": it cannot move).
ODD: dict[str, tuple[tuple[str, ...], str, str]] = {
    "locked": (("lock",), "ACTIVE", "ACTIVE"),
    "stopped": (("os-stop",), "SHUTOFF", "SHUTOFF"),
    "paused": (("pause",), "PAUSED", "SHUTOFF"),
    "suspended": (("suspend",), "SUSPENDED", "SHUTOFF"),
    "shelved": (("shelve",), "SHELVED_OFFLOADED", "SHUTOFF"),
    "resized": (("migrate",), "VERIFY_RESIZE", ""),
}
MOVES = [name for name, (_, _, arrives) in ODD.items() if arrives]
LIMITS = {"instances": 7, "cores": 11, "ram": 20480}
NOVA_2_9 = {"X-OpenStack-Nova-API-Version": "2.9"}


def eventually(look: Callable[[], Any], what: str) -> Any:
    """Look until there is something."""
    end = time.monotonic() + WAIT_S
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: not within {WAIT_S} s"
        time.sleep(0.5)
    return found


@dataclass(frozen=True)
class Project:
    """A source project with one server in each odd state."""

    name: str
    id: str
    servers: dict[str, str]


def status_of(session: Session, server_id: str) -> str | None:
    """A server's status once nothing is under way; None when it is gone."""

    def look() -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = session.call("GET", "compute", f"/servers/{server_id}")["server"]
        except ApiError as error:
            if error.status != 404:
                raise
            return {"status": None}
        return found if found["OS-EXT-STS:task_state"] is None and found["status"] != "BUILD" else None

    status: str | None = eventually(look, f"server {server_id} at rest")["status"]
    return status


def becomes(session: Session, server_id: str, status: str | None) -> None:
    """Wait for a status."""
    eventually(lambda: status_of(session, server_id) == status, f"server {server_id} {status or 'gone'}")


def is_locked(session: Session, server_id: str) -> bool:
    """As Nova tells it since microversion 2.9."""
    url = session.endpoints["compute", "public"].replace("/v2/", "/v2.1/")
    return bool(session.call("GET", url, f"/servers/{server_id}", headers=NOVA_2_9)["server"]["locked"])


def _identity(clouds: Clouds, method: str, path: str, body: object = None) -> Any:
    return clouds.source.call(method, "identity", path, body, interface="admin")


@pytest.fixture(scope="module")
def odd(clouds: Clouds) -> Iterator[Project]:
    """The project, as its owner and an administrator made it."""
    name, password = f"odd-{secrets.token_hex(3)}", secrets.token_urlsafe(12)
    tenant = _identity(clouds, "POST", "/tenants", {"tenant": {"name": name, "enabled": True}})["tenant"]["id"]
    user = _identity(clouds, "POST", "/users", {"user": {"name": name, "password": password, "enabled": True}})["user"]
    made = Project(name, tenant, {})
    try:
        role = f"/tenants/{tenant}/users/{user['id']}/roles/OS-KSADM/{clouds.facts['roles']['Member']}"
        _identity(clouds, "PUT", role)
        clouds.source.call("PUT", "compute", f"/os-quota-sets/{tenant}", {"quota_set": LIMITS})
        owner = Session.v2(clouds.source.endpoints["identity", "public"], name, password, name)
        facts = clouds.facts
        for word in ODD:
            body = {
                "name": f"{name}-{word}",
                "imageRef": facts["images"]["cirros-0.3.4-x86_64"]["id"],
                "flavorRef": facts["flavors"]["m1.tiny"]["id"],
                "metadata": {"state": word},
            }
            made.servers[word] = owner.call("POST", "compute", "/servers", {"server": body})["server"]["id"]
        for word, (actions, status, _) in ODD.items():
            server_id = made.servers[word]
            assert status_of(clouds.source, server_id) == "ACTIVE"
            for action in actions:
                clouds.source.call("POST", "compute", f"/servers/{server_id}/action", {action: None})
            becomes(clouds.source, server_id, status)
        yield made
    finally:
        for server_id in made.servers.values():
            clouds.source.call("DELETE", "compute", f"/servers/{server_id}")
        for server_id in made.servers.values():
            becomes(clouds.source, server_id, None)
        _identity(clouds, "DELETE", f"/users/{user['id']}")
        _identity(clouds, "DELETE", f"/tenants/{tenant}")


@pytest.fixture(scope="module")
def run(clouds: Clouds, odd: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of a site of this file's own."""
    site = operate.write_site(tmp_path_factory.mktemp("odd"), clouds.home, [])
    made = pumphouse.begin(site.file, operator=operate.OPERATOR, report=lambda _line: None)
    yield made
    made.report()


def plan_of(run: Run, odd: Project, *words: str) -> tuple[Any, tuple[Finding, ...]]:
    """The plan of these servers, approved, and what stands in its way."""
    selection = select_servers(run.inventory().servers, ids=[odd.servers[word] for word in words])
    plan = run.plan_move(selection)
    findings = run.check(plan, accepted="state-not-kept")
    return plan, findings


def approved(run: Run, plan: Any) -> Any:
    """The plan, approved by somebody else."""
    folder: Path = run.site.work_dir / "approvals"
    approve(plan, folder, by=operate.APPROVER, reason="test of the real tier")
    run.require_approval(plan)
    return plan


def test_the_survey_names_them_and_blocks_nothing(run: Run, odd: Project) -> None:
    run.inventory()
    findings = run.check()
    named = {f.object for f in findings if f.code == "server-state" and odd.name in f.object}
    assert named == {f"server {odd.name}-{word}" for word in ("paused", "suspended", "shelved", "resized")}
    assert {f.code for f in blocking(findings)} <= {"release-untried"}


def test_what_cannot_move_is_blocked_by_its_plan_alone(run: Run, odd: Project) -> None:
    _, findings = plan_of(run, odd, *ODD)
    assert {(f.code, f.object) for f in blocking(findings)} == {("server-state", f"server {odd.name}-resized")}


def test_moved_as_the_table_says_and_taken_back(clouds: Clouds, run: Run, odd: Project) -> None:
    tier.soil(clouds.home)
    plan, findings = plan_of(run, odd, *MOVES)
    assert blocking(findings) == ()
    try:
        approved(run, plan)
        run.prepare(plan)
        run.cut_over(plan)
        moved(clouds, odd)
        run.verify(plan, "prepare")
        run.verify(plan, "cutover")
    finally:
        back = run.plan_rollback(select_servers(run.inventory().servers, ids=[odd.servers[word] for word in MOVES]))
        approved(run, back)
        run.roll_back(back)
    for word in MOVES:
        assert status_of(clouds.source, odd.servers[word]) == ODD[word][1], word
        assert is_locked(clouds.source, odd.servers[word]) == (word == "locked"), word
    there = clouds.destination_view()
    assert not [p for p in there["projects"].values() if p["name"] == odd.name]
    assert not [s for s in there["servers"].values() if s["name"].startswith(odd.name)]


def moved(clouds: Clouds, odd: Project) -> None:
    """What both clouds show after the cutover."""
    there = clouds.destination_view()
    (project,) = [p["id"] for p in there["projects"].values() if p["name"] == odd.name]
    (owner,) = [u["id"] for u in there["users"].values() if u["name"] == odd.name]
    quota = clouds.destination.call("GET", "compute", f"/os-quota-sets/{project}")["quota_set"]
    assert {name: quota[name] for name in LIMITS} == LIMITS
    for word in MOVES:
        _, status, arrives = ODD[word]
        (copy,) = [s for s in there["servers"].values() if s["name"] == f"{odd.name}-{word}"]
        assert (copy["status"], copy["tenant_id"], copy["user_id"]) == (arrives, project, owner), word
        assert copy["metadata"] == {"state": word}
        assert is_locked(clouds.destination, copy["id"]) == (word == "locked"), word
        source = odd.servers[word]
        assert status_of(clouds.source, source) == ("SHUTOFF" if status == "ACTIVE" else status), word
        assert is_locked(clouds.source, source), word
    shelf = [i["name"] for i in there["images"].values() if i["name"] == f"{odd.name}-shelved-shelved"]
    assert shelf, "the shelved server's copy boots from the image of its disk"
