"""Dirty sources: whatever stands in a move's way is found when it is planned, named, and given a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pumphouse.plan
from pumphouse.databases import DatabaseFacts
from pumphouse.findings import ACCEPTABLE, blocking
from pumphouse.inventory import Snapshot
from pumphouse.model import Address, Assignment, FloatingIp, Keypair, Network, Port, Project, Role, SecurityGroup, User
from pumphouse.plan.states import STATES
from pumphouse.site import CLASHES, Provider
from tests.core.making import ACME, healthy, planned
from tests.factories import (
    kid,
    make_facts,
    make_flavor,
    make_image,
    make_projects,
    make_security_groups,
    make_server,
    make_snapshot,
    make_users,
    uid,
)

WEB1 = uid("acme-web1")
#: Code -> (what is wrong, object, words of the message).
Case = tuple[Callable[[], dict[str, Any]], str, str]


def one(**changes: Any) -> dict[str, Any]:
    """A source of one server, changed."""
    return {"source": healthy(servers=(make_server(**{"id": WEB1} | changes),), floating_ips=())}


def there(**tables: Any) -> dict[str, Any]:
    """The usual source, and a destination that holds something more."""
    empty = make_snapshot("destination")
    merged = {table: (*getattr(empty, table), *rows) for table, rows in tables.items()}
    return {"destination": make_snapshot("destination", **merged)}


def port(**changes: Any) -> Port:
    values: dict[str, Any] = {
        "id": "p1",
        "name": "somebody's",
        "network_id": "n1",
        "project_id": "x",
        "address": "10.10.0.11",
        "mac": "fa:16:3e:aa:aa:aa",
        "status": "ACTIVE",
    }
    return Port(**values | changes)


PRIVATE = Network("n1", "private", "10.10.0.0/24", "10.10.0.254", subnet_id="s1")


def full_network() -> dict[str, Any]:
    servers = [make_server(f"s{n}", address=f"10.10.0.{n}") for n in range(2, 255, 2)]
    return {"source": healthy(servers=(make_server(), *servers), floating_ips=())}


def foreign_rule() -> dict[str, Any]:
    default, *others = make_security_groups()
    rule = replace(default.rules[0], id="77", remote_cidr=None, remote_group_id="4")
    return {"source": healthy(security_groups=(replace(default, rules=(rule,)), *others))}


def two_keys() -> dict[str, Any]:
    """Two users, neither of whom can boot, with a keypair of the same name each."""
    users = tuple(replace(user, enabled=user.name == "admin") for user in make_users())
    keys = (Keypair(kid("alice"), "key", "ssh-rsa AAAA", "a"), Keypair(kid("bob"), "key", "ssh-rsa BBBB", "b"))
    servers = (
        make_server(key_name="key"),
        make_server("acme-web2", address="10.10.0.12", key_name="key", user_id=kid("bob")),
    )
    return {"source": healthy(users=users, keypairs=keys, servers=servers, floating_ips=())}


def in_network(network: Network, *more: Network) -> dict[str, Any]:
    return {"source": healthy(networks=(network, *more))}


def older(source: dict[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    """A destination that has nova-network itself."""
    facts = make_facts("destination", network_service="nova-network")
    values = {"facts": facts, "networks": (), "ports": (), "floating_pools": {}, **tables}
    return {**(source or {}), "destination": make_snapshot("destination", **values)}


def groups(*more: SecurityGroup) -> dict[str, Any]:
    return {"source": healthy(security_groups=(*make_security_groups(), *more))}


NET = healthy().networks[0]

CASES: dict[str, Case] = {
    "project-missing": (lambda: one(project_id=kid("gone")), f"project {kid('gone')}", "no longer has"),
    "project-disabled": (
        lambda: {"source": healthy(projects=tuple(replace(p, enabled=p.name != "acme") for p in make_projects()))},
        "project acme",
        "cannot boot",
    ),
    "project-exists": (lambda: there(projects=(Project("p1", "acme"),)), "project acme", "p1"),
    "project-differs": (
        lambda: there(projects=(Project("p1", "Acme", enabled=False),)) | {"clashes": CLASHES | {"projects": "adopt"}},
        "project acme",
        "name acme here, Acme there; enabled here, disabled there",
    ),
    "user-exists": (
        lambda: there(users=(User("u1", "alice"),)) | {"clashes": CLASHES | {"users": "refuse"}},
        "user alice",
        "u1",
    ),
    "user-differs": (
        lambda: there(users=(User("u1", "alice", "alice@example.com"),)),
        "user alice",
        "e-mail alice@example.org here, alice@example.com there",
    ),
    "role-exists": (
        lambda: (
            there(roles=(Role("r1", "auditor"),))
            | {
                "source": healthy(
                    roles=(*make_snapshot().roles, Role("old", "auditor")),
                    assignments=(*make_snapshot().assignments, Assignment(kid("alice"), kid("acme"), "old")),
                ),
                "clashes": CLASHES | {"roles": "refuse"},
            }
        ),
        "role auditor",
        "r1",
    ),
    "service-project": (
        lambda: one(project_id=kid("services"), security_groups=(), key_name=None),
        "project services",
        "own services",
    ),
    "database-unusable": (
        lambda: {
            "databases": DatabaseFacts(
                user_data={}, problems=(("source.databases.keystone", "cannot be read: Gone.", "mend it."),)
            )
        },
        "source.databases.keystone",
        "cannot be read: Gone.",
    ),
    "user-data-damaged": (
        lambda: {"databases": DatabaseFacts(user_data={}, unreadable=frozenset({WEB1}))},
        "server acme-web1",
        "no base64",
    ),
    "server-state": (
        lambda: one(status="ERROR", fault="No valid host"),
        "server acme-web1",
        "ERROR. Nova says: No valid host",
    ),
    "zone-missing": (lambda: one(availability_zone="ssd"), "server acme-web1", "has no zone ssd"),
    "state-not-kept": (lambda: one(status="PAUSED"), "server acme-web1", "PAUSED: what it holds in RAM"),
    "server-busy": (lambda: one(task_state="powering-off"), "server acme-web1", "powering-off"),
    "server-volumes": (lambda: one(volume_ids=("vol-1",)), "server acme-web1", "vol-1"),
    "already-moved": (
        lambda: there(ports=(port(name=f"pumphouse {WEB1}", server_id="copy-1"),)),
        "server acme-web1",
        "copy-1",
    ),
    "host-down": (lambda: {"source": make_snapshot(), "names": ("acme-db1",)}, "server acme-db1", "node-3"),
    "no-address": (lambda: one(addresses=()), "server acme-web1", "no fixed IP"),
    "ipv6-not-carried": (
        lambda: one(addresses=(*make_server().addresses, Address("private", "2001:db8::11", None, 6))),
        "server acme-web1",
        "2001:db8::11",
    ),
    "flavor-missing": (lambda: one(flavor_id="99"), "server acme-web1", "flavor 99"),
    "flavor-name-taken": (lambda: there(flavors=(make_flavor("77"),)), "flavor m1.small", "77"),
    "flavor-id-taken": (lambda: there(flavors=(make_flavor(ram_mib=4096),)), "flavor m1.small", "other ram_mib"),
    "image-missing": (lambda: one(image_id=uid("gone")), "server acme-web1", uid("gone")),
    "image-not-active": (lambda: one(image_id=uid("half-made")), "server acme-web1", "queued"),
    "image-empty": (
        lambda: {"source": healthy(images=(make_image(size_bytes=0),))},
        "server acme-web1",
        "0 bytes, and nothing boots",
    ),
    "keypair-unknown": (lambda: {"source": healthy(keypairs=())}, "server acme-web1", "alice-key of alice"),
    "keypair-clash": (lambda: {**two_keys(), "names": ("acme-web1", "acme-web2")}, "server acme-web", "key"),
    "security-group-unknown": (lambda: one(security_groups=("dmz",)), "server acme-web1", "dmz"),
    "rules-unresolved": (foreign_rule, "security group default of acme", "rule 77"),
    "network-unknown": (
        lambda: one(addresses=(Address("dmz", "10.9.0.1"),)),
        "server acme-web1",
        "dmz is not known",
    ),
    "network-missing": (lambda: {"networks": {"private": "flat"}}, "network private", "flat"),
    "network-differs": (
        lambda: there(networks=(replace(PRIVATE, cidr="10.10.0.0/16"),)),
        "network private",
        "10.10.0.0/16",
    ),
    "network-ambiguous": (lambda: there(networks=(PRIVATE, replace(PRIVATE, id="n2"))), "network private", "n1, n2"),
    "network-foreign": (lambda: in_network(replace(NET, project_id=kid("beta"))), "network private", kid("beta")),
    "network-full": (full_network, "network private", "10.10.0.0/24"),
    "security-group-name": (
        lambda: groups(SecurityGroup("9", kid("acme"), "Default")),
        "security group Default of acme",
        "Neutron keeps",
    ),
    "security-group-ambiguous": (
        lambda: there(
            projects=(Project("p1", "acme", source_id=kid("acme")),),
            security_groups=(SecurityGroup("g1", "p1", "web"), SecurityGroup("g2", "p1", "web")),
        ),
        "security group web of acme",
        "g1, g2",
    ),
    "provider-differs": (
        lambda: {
            **there(networks=(replace(PRIVATE, network_type="vlan", physical_network="physnet1", segment=7),)),
            "provider": {"private": Provider("physnet1", "vlan", 8)},
        },
        "network private",
        "segment 7 instead of 8",
    ),
    "pool-unusable": (
        lambda: {"provider": {"private": Provider("physnet1", pool="10.10.0.9-10.10.0.20")}},
        "network private",
        "10.10.0.11",
    ),
    "gateway-is-sources": (
        lambda: {"provider": {"private": Provider("physnet1", gateway="source")}},
        "floating IP 172.24.4.11",
        "10.10.0.1",
    ),
    "network-too-large": (
        lambda: older(in_network(replace(NET, cidr="10.10.0.0/19"))),
        "network private",
        "8192 addresses",
    ),
    "second-address": (
        lambda: older(one(addresses=(Address("private", "10.10.0.11", "m"), Address("private", "10.10.0.12", "m")))),
        "server acme-web1",
        "10.10.0.11, 10.10.0.12 on one interface",
    ),
    "floating-pool-shared": (
        lambda: older(floating_pools={"public": ("172.24.4.11/32", "172.24.4.99/32")}),
        "floating IP 172.24.4.11",
        "1 others (172.24.4.99",
    ),
    "nics-unclear": (
        lambda: one(addresses=(Address("private", "10.10.0.11"), Address("private", "10.10.0.12"))),
        "server acme-web1",
        "several addresses on private",
    ),
    "fixed-ip-taken": (lambda: there(networks=(PRIVATE,), ports=(port(),)), "server acme-web1", "port p1"),
    "floating-pool-unknown": (
        lambda: {"floating_pools": {"public": "nowhere"}},
        "floating IP 172.24.4.11",
        "no external network(s) called nowhere",
    ),
    "floating-ip-taken": (
        lambda: there(floating_ips=(FloatingIp("f1", "172.24.4.11", "public", "stranger"),)),
        "floating IP 172.24.4.11",
        "stranger",
    ),
    "floating-ip-unclear": (
        lambda: {
            "source": healthy(floating_ips=(FloatingIp("1", "172.24.4.11", "public", kid("acme"), "10.10.0.77", WEB1),))
        },
        "floating IP 172.24.4.11",
        "10.10.0.77",
    ),
}


def found(tmp_path: Path, case: dict[str, Any]) -> tuple[Any, Any]:
    names = case.pop("names", ("acme-web1",))
    return planned(tmp_path, *names, **case)


@pytest.mark.parametrize("code", CASES)
def test_what_is_in_the_way_is_found(tmp_path: Path, code: str) -> None:
    make, obj, words = CASES[code]
    plan, findings = found(tmp_path, make())
    mine = [finding for finding in blocking(findings) if finding.code == code]
    assert mine, f"found only {sorted({f.code for f in findings})}"
    assert all(finding.object.startswith(obj) for finding in mine)
    assert any(words in finding.message for finding in mine)
    assert all(len(finding.remedy) > 10 for finding in mine)
    assert len(plan.servers) >= 1


@pytest.mark.parametrize("code", sorted(set(CASES) - {"project-missing"}))
def test_nothing_else_blocks_than_what_was_broken(tmp_path: Path, code: str) -> None:
    _, findings = found(tmp_path, CASES[code][0]())
    assert {finding.code for finding in blocking(findings)} == {code}


def test_every_blocking_code_of_the_planner_is_provoked_here() -> None:
    folder = Path(pumphouse.plan.__file__).parent
    text = "".join(file.read_text() for file in folder.glob("*.py") if file.name != "after.py")
    by_state = {treatment.code for treatment in STATES.values() if treatment.code}
    by_policy = {f"{kind}-{how}" for kind in ("project", "user") for how in ("exists", "differs")}
    assert set(re.findall(r'\.block\(\s*"([a-z0-9-]+)"', text)) | by_state | by_policy == set(CASES)


def test_what_may_be_accepted_still_makes_a_plan_that_can_run(tmp_path: Path) -> None:
    """The others may leave steps out; an accepted finding must not."""
    for code in ACCEPTABLE & set(CASES):
        plan, findings = found(tmp_path, CASES[code][0]())
        assert {finding.code for finding in blocking(findings)} == {code}
        assert {f"{kind}:{WEB1}" for kind in ("stop", "boot", "settle")} <= {step.key for step in plan.steps}


def test_a_clean_server_is_not_held_up_by_a_dirty_one(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, *ACME, "beta-broken")
    assert {finding.object for finding in blocking(findings)} == {"server beta-broken"}
    assert {f"stop:{uid(name)}" for name in ACME} <= {step.key for step in plan.steps}


def test_the_sample_site_says_all_that_is_wrong_with_it_at_once(tmp_path: Path) -> None:
    source = make_snapshot()
    names = {server.name for server in source.servers} - {"twin"}
    _, findings = planned(tmp_path, *names, source=source)
    assert {(finding.code, finding.object) for finding in blocking(findings)} == {
        ("host-down", "server acme-cache"),
        ("host-down", "server acme-db1"),
        ("server-busy", "server beta-stuck"),
        ("server-state", "server beta-broken"),
        ("security-group-unknown", "server beta-stuck"),
    }


@pytest.mark.parametrize(
    ("host", "words"), [(None, "is on no host"), ("gone", "gone, where Nova knows of no nova-compute")]
)
def test_a_running_server_needs_a_host_that_stops_it(tmp_path: Path, host: str | None, words: str) -> None:
    _, findings = planned(tmp_path, "acme-web1", **one(host=host))
    (found,) = [f for f in blocking(findings) if f.code == "host-down"]
    assert words in found.message
    stopped = one(host=host, status="SHUTOFF", vm_state="stopped", power_state=4)
    assert "host-down" not in {f.code for f in planned(tmp_path, "acme-web1", **stopped)[1]}


def test_two_networks_of_one_label_are_told_apart_by_their_addresses(tmp_path: Path) -> None:
    second = replace(NET, id="n2", cidr="10.20.0.0/24", pools=(("10.20.0.2", "10.20.0.254"),), gateway_ip="10.20.0.1")
    source = healthy(
        networks=(NET, second),
        servers=(make_server(), make_server("acme-web2", address="10.20.0.12")),
        floating_ips=(),
    )
    plan, findings = planned(tmp_path, "acme-web2", source=source)
    assert not [f for f in blocking(findings) if f.code.startswith("network")]
    (step,) = [step for step in plan.steps if step.kind == "network"]
    assert (step.params["source_id"], step.params["cidr"]) == ("n2", "10.20.0.0/24")
    (port,) = [step for step in plan.steps if step.kind == "port"]
    assert port.params["network_id"] == "n2"
    _, findings = planned(tmp_path, "acme-web1", "acme-web2", source=source)
    (found,) = [f for f in blocking(findings) if f.code == "network-ambiguous"]
    assert all(word in found.message + found.remedy for word in ("10.10.0.0/24", "10.20.0.0/24", NET.id, "n2"))
    made = make_snapshot("destination", networks=(*make_snapshot("destination").networks, replace(second, name="two")))
    plan, findings = planned(
        tmp_path, "acme-web1", "acme-web2", source=source, destination=made, networks={"n2": "two"}
    )
    assert not [f for f in blocking(findings) if f.code.startswith("network")]
    names = {s.params["source_id"]: s.params["name"] for s in plan.steps if s.kind == "network"}
    assert names == {NET.id: NET.name, "n2": "two"}


def test_an_ambiguous_network_label_or_group_name_is_not_guessed(tmp_path: Path) -> None:
    twice = healthy(networks=(NET, replace(NET, id="other")))
    _, findings = planned(tmp_path, "acme-web1", source=twice)
    assert any(f.code == "network-unknown" and "ambiguous" in f.message for f in blocking(findings))
    groups = (*make_security_groups(), SecurityGroup("9", kid("acme"), "web"))
    _, findings = planned(tmp_path, "acme-web1", source=healthy(security_groups=groups))
    assert {f.code for f in blocking(findings)} == {"security-group-unknown"}


def test_a_network_without_ipv4_cannot_be_shared(tmp_path: Path) -> None:
    _, findings = planned(tmp_path, "acme-web1", **in_network(replace(NET, cidr=None)))
    assert {f.code for f in blocking(findings)} == {"network-full"}


def test_ipv6_addresses_of_others_do_not_disturb(tmp_path: Path) -> None:
    other = make_server("other", address="10.10.0.12")
    other = replace(other, addresses=(*other.addresses, Address("private", "2001:db8::12", None, 6)))
    plan, findings = planned(tmp_path, "acme-web1", source=healthy(servers=(make_server(), other), floating_ips=()))
    assert blocking(findings) == ()
    assert plan.server(WEB1).addresses == ("10.10.0.11",)


def test_a_server_of_ipv6_alone_cannot_move(tmp_path: Path) -> None:
    _, findings = planned(tmp_path, "acme-web1", **one(addresses=(Address("private", "2001:db8::12", None, 6),)))
    assert "no-address" in {f.code for f in blocking(findings)}


def test_a_server_without_address_but_with_a_floating_ip_is_no_crash(tmp_path: Path) -> None:
    broken = healthy(servers=(make_server(addresses=()),))
    _, findings = planned(tmp_path, "acme-web1", source=broken)
    assert {f.code for f in blocking(findings)} == {"no-address"}


def test_the_same_address_in_another_network_is_free(tmp_path: Path) -> None:
    elsewhere = replace(PRIVATE, id="n2", name="other")
    _, findings = planned(tmp_path, "acme-web1", **there(networks=(PRIVATE, elsewhere), ports=(port(network_id="n2"),)))
    assert blocking(findings) == ()


def test_our_own_port_that_waits_for_its_server_is_in_nobodys_way(tmp_path: Path) -> None:
    ours = port(name=f"pumphouse {WEB1}", status="DOWN")
    _, findings = planned(tmp_path, "acme-web1", **there(networks=(PRIVATE,), ports=(ours,)))
    assert blocking(findings) == ()


def test_a_floating_ip_that_is_bound_at_the_destination_is_taken_even_by_the_same_project(tmp_path: Path) -> None:
    bound = FloatingIp("f1", "172.24.4.11", "public", "p1", "10.10.0.99")
    case = there(projects=(Project("p1", "acme", source_id=kid("acme")),), floating_ips=(bound,))
    _, findings = planned(tmp_path, "acme-web1", **case)
    assert {f.code for f in blocking(findings)} == {"floating-ip-taken"}


def test_a_pool_of_two_external_networks_is_not_guessed(tmp_path: Path) -> None:
    external = make_snapshot("destination").networks[0]
    _, findings = planned(tmp_path, "acme-web1", **there(networks=(replace(external, id="ext2"),)))
    assert any("2 external network(s)" in f.message for f in blocking(findings))


def test_the_same_key_under_the_same_name_is_no_clash(tmp_path: Path) -> None:
    case = two_keys()
    same = tuple(replace(key, public_key="ssh-rsa AAAA") for key in case["source"].keypairs)
    _, findings = planned(tmp_path, "acme-web1", "acme-web2", source=replace(case["source"], keypairs=same))
    assert blocking(findings) == ()


def test_two_owners_that_boot_themselves_may_call_their_keys_the_same(tmp_path: Path) -> None:
    case = two_keys()
    source = replace(case["source"], users=make_users())
    plan, findings = planned(tmp_path, "acme-web1", "acme-web2", source=source)
    assert blocking(findings) == ()
    keys = {step.key: step.params["public_key"] for step in plan.steps if step.kind == "keypair"}
    assert keys == {f"keypair:{kid('alice')}:key": "ssh-rsa AAAA", f"keypair:{kid('bob')}:key": "ssh-rsa BBBB"}


def test_every_field_that_is_unknown_at_once_is_no_crash(tmp_path: Path) -> None:
    bare = make_server(
        project_id="gone",
        user_id="gone",
        flavor_id="gone",
        image_id=None,
        host=None,
        addresses=(),
        security_groups=(),
        created_at=None,
        availability_zone=None,
    )
    empty = Snapshot(facts=healthy().facts, taken_at=healthy().taken_at, servers=(bare,))
    plan, findings = planned(tmp_path, "acme-web1", source=empty)
    codes = {f.code for f in blocking(findings)}
    assert codes == {"project-missing", "flavor-missing", "image-missing", "keypair-unknown", "no-address"}
    assert plan.server(WEB1).image == "None"


def test_an_image_of_unknown_size_is_planned(tmp_path: Path) -> None:
    image = make_image(size_bytes=None, checksum=None)
    plan, findings = planned(tmp_path, "acme-web1", source=healthy(images=(image,)))
    assert blocking(findings) == ()
    assert plan.copy_bytes == 0
    assert "size unknown" in plan.step(f"image:{image.id}").title
