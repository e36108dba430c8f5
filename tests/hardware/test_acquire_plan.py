"""How a host is emptied inside the source: the method of each server, and what keeps the plan from running."""

from __future__ import annotations

from typing import Any

import pytest

from pumphouse.errors import PlanError
from pumphouse.findings import Finding, blocking
from pumphouse.model import Server
from pumphouse.plan.hardware import NodeFacts, plan_acquire
from pumphouse.plan.hardware.acquire import Wishes
from pumphouse.plan.model import Plan
from tests.hardware.making import DIGEST, NAMES, make_facts, make_node, make_service, on_host

DEAD: dict[str, Any] = {
    "services": (make_service("host-n1", state="down"), make_service("host-n2"), make_service("host-n3"))
}


def plan(facts: NodeFacts, **wishes: Any) -> tuple[Plan, tuple[Finding, ...]]:
    return plan_acquire(facts, Wishes(**wishes), digest=DIGEST, **NAMES)


def method(made: Plan, server: Server) -> str:
    return str(made.step(f"leave-host:{server.id}").params["method"])


def codes(findings: tuple[Finding, ...]) -> set[str]:
    return {finding.code for finding in blocking(findings)}


@pytest.mark.parametrize(
    ("status", "wishes", "host", "expected"),
    [
        ("ACTIVE", {}, {}, "block"),
        ("ACTIVE", {"shared_storage": True}, {}, "live"),
        ("SHUTOFF", {}, {}, "cold"),
        ("SHUTOFF", {"shared_storage": True}, {}, "cold"),
        ("ACTIVE", {}, DEAD, "rebuild"),
        ("SHUTOFF", {"shared_storage": True}, DEAD, "evacuate"),
        ("ACTIVE", {"method": "cold"}, {}, "cold"),
        ("ACTIVE", {"method": "live"}, {}, "live"),
        ("SHUTOFF", {"method": "live"}, {}, "cold"),  # only a running server migrates live
        ("ACTIVE", {"methods": {"web": "cold"}}, {}, "cold"),
        ("ACTIVE", {"method": "rebuild"}, {}, "rebuild"),
    ],
)
def test_the_method_follows_host_state_and_the_operators_word(
    status: str, wishes: dict[str, Any], host: dict[str, Any], expected: str
) -> None:
    server = on_host("web", status=status)
    made, findings = plan(make_facts(server, **host), **wishes)
    assert method(made, server) == expected
    assert codes(findings) == ({"disk-lost"} if expected == "rebuild" else set())
    assert any(expected in step.title for step in made.steps)
    assert [note.object for note in made.notes] == ["server web"]


def test_everything_is_done_in_order_and_the_node_loses_power_only_when_nothing_is_left() -> None:
    servers = on_host("web"), on_host("db", status="SHUTOFF")
    made, findings = plan(make_facts(*servers))
    assert blocking(findings) == ()
    kinds = [step.kind for step in made.steps]
    assert kinds == ["node-port", "host-disable", "leave-host", "leave-host", "host-empty", "node-off", "node-vlan"]
    assert made.step("host-disable:host-n1").needs == ("node-port:n1",)
    assert {*made.step("host-empty:host-n1").needs} == {
        "host-disable:host-n1",
        *(f"leave-host:{server.id}" for server in servers),
    }
    assert made.step("node-off:n1").needs == ("host-empty:host-n1",)
    assert made.step("node-vlan:n1").needs == ("node-off:n1",)
    assert made.step("node-vlan:n1").params["vlan"] == 100
    assert {step.host for step in made.steps if step.kind not in ("node-port", "node-vlan")} == {"host-n1"}


@pytest.mark.parametrize("host", [DEAD, {}])
def test_a_host_whose_servers_are_built_anew_elsewhere_loses_power_first(host: dict[str, Any]) -> None:
    server = on_host("web")
    made, _ = plan(make_facts(server, **host), method="rebuild")
    assert made.step(f"leave-host:{server.id}").needs == ("host-disable:host-n1", "node-fence:n1")


def test_without_a_bmc_no_server_is_built_anew_beside_its_living_twin() -> None:
    node = make_node(bmc=None)
    _, findings = plan(make_facts(on_host("web"), node=node, **DEAD))
    assert {"no-fence", "no-bmc"} <= codes(findings)


def test_servers_that_need_a_host_are_spread_over_the_roomiest() -> None:
    servers = [on_host(f"web{number}") for number in range(4)]
    made, _ = plan(make_facts(*servers, **DEAD))
    targets = [made.step(f"leave-host:{server.id}").params["target"] for server in servers]
    assert sorted(targets) == ["host-n2", "host-n3", "host-n3", "host-n3"]


@pytest.mark.parametrize(
    ("server", "host", "wishes", "code"),
    [
        (on_host("web", status="PAUSED"), {}, {}, "server-stuck"),
        (on_host("web", status="SUSPENDED"), DEAD, {}, "server-stuck"),
        (on_host("web", status="VERIFY_RESIZE"), {}, {}, "server-stuck"),
        (on_host("web", task_state="image_uploading"), {}, {}, "server-stuck"),
        (on_host("web"), {"services": (make_service("host-n1"),)}, {}, "no-other-host"),
        (
            on_host("web"),
            {"services": (make_service("host-n1"), make_service("host-n2", status="disabled"))},
            {},
            "no-other-host",
        ),
        (
            on_host("web"),
            {"services": (make_service("host-n1"), make_service("host-n2", state="down"))},
            {},
            "no-other-host",
        ),
        (on_host("web", availability_zone="west"), {}, {}, "no-host-in-zone"),
        (on_host("web"), {}, {"target": "host-n1"}, "no-such-target"),
        (on_host("web"), {}, {"target": "host-n9"}, "no-such-target"),
        (on_host("web"), {"unconfirmed": (on_host("db", host="host-n2"),)}, {}, "resize-unconfirmed"),
        (
            on_host("web"),
            {"services": (*make_facts().host.services, make_service("host-n1", "nova-network"))},  # type: ignore[union-attr]
            {},
            "host-serves-more",
        ),
    ],
)
def test_what_keeps_the_plan_from_running_is_named(
    server: Server, host: dict[str, Any], wishes: dict[str, Any], code: str
) -> None:
    _, findings = plan(make_facts(server, **host), **wishes)
    assert codes(findings) == {code}
    assert all(finding.remedy for finding in findings)


def test_a_target_that_is_named_asks_no_scheduler_for_a_zone() -> None:
    server = on_host("web", availability_zone="west")
    made, findings = plan(make_facts(server), target="host-n2")
    assert blocking(findings) == ()
    assert made.step(f"leave-host:{server.id}").params["target"] == "host-n2"


def test_a_network_service_that_every_host_has_does_not_matter() -> None:
    services = (*make_facts().host.services, make_service("host-n1", "nova-network"))  # type: ignore[union-attr]
    _, findings = plan(make_facts(on_host("web"), services=services, multi_host=True))
    assert blocking(findings) == ()


def test_little_room_is_a_warning_since_nova_may_overcommit() -> None:
    server = on_host("web")
    _, findings = plan(make_facts(server, ram_mib={server.id: 16384}))
    assert [(f.severity, f.code) for f in findings] == [("warn", "little-room")]


def test_a_node_that_is_no_compute_host_cannot_be_acquired() -> None:
    with pytest.raises(PlanError, match="no compute host"):
        plan(NodeFacts(make_node(), 100, None))


@pytest.mark.parametrize("wishes", [{"method": "teleport"}, {"methods": {"web": "magic"}}, {"stuck": "panic"}])
def test_words_that_nobody_knows_are_refused(wishes: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        Wishes(**wishes)
