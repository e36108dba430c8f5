"""acme's six servers after the runbook: everything that identifies them is at the destination, the sources are down."""

from __future__ import annotations

from typing import Any

import pytest

from . import operate
from .conftest import Moved, views
from .observe import (
    View,
    action_times,
    addresses,
    destination_rules,
    differences,
    fixed_ip,
    image_sha256,
    named,
    new_in,
    only,
    source_rules,
)
from .operate import Site
from .populate import SERVERS
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
ACME = [server.name for server in SERVERS if server.tenant == "acme"]
GROUPS = {"default", "web"}


def test_without_approval_nothing_happens(acme: Moved) -> None:
    assert acme.refused.exit_code == 3, acme.refused
    assert [step["result"] for step in acme.refused.outcome["steps"]] == ["succeeded", "succeeded", "refused"]
    for old, new in zip(acme.before, acme.refused_changed, strict=True):
        assert differences(old, new) == []


def test_approved_it_succeeds(acme: Moved) -> None:
    assert acme.done.exit_code == 0, acme.done
    assert acme.done.outcome["result"] == "succeeded"
    assert [step["result"] for step in acme.done.outcome["steps"]] == ["succeeded", "succeeded", "succeeded"]


@pytest.mark.parametrize("name", ACME)
def test_the_server_is_at_the_destination(clouds: Clouds, acme: Moved, name: str) -> None:
    was, view = clouds.facts["servers"][name], acme.after[1]
    server = named(view, "servers", name)
    assert server["status"] == was["status"]
    assert server["OS-EXT-STS:task_state"] is None
    assert server["tenant_id"] == named(view, "projects", "acme")["id"]
    assert server["user_id"] == named(view, "users", was["user"])["id"]
    assert server["metadata"] == was["metadata"]
    assert server["key_name"] == was["key_name"]
    assert {group["name"] for group in server["security_groups"]} == GROUPS
    assert addresses(server, "fixed") == {was["fixed_ip"]: was["mac"]}
    assert view["flavors"][server["flavor"]["id"]]["name"] == was["flavor"]
    assert view["images"][server["image"]["id"]]["name"] == was["image"]


@pytest.mark.parametrize("name", ACME)
def test_its_port_carries_its_identity(clouds: Clouds, acme: Moved, name: str) -> None:
    was, view = clouds.facts["servers"][name], acme.after[1]
    server, project = named(view, "servers", name), named(view, "projects", "acme")
    ports = [port for port in view["ports"].values() if port["device_id"] == server["id"]]
    assert [(p["mac_address"], p["project_id"]) for p in ports] == [(was["mac"], project["id"])]
    assert [ip["ip_address"] for ip in ports[0]["fixed_ips"]] == [was["fixed_ip"]]
    groups = [view["security_groups"][group] for group in ports[0]["security_groups"]]
    assert {(group["name"], group["project_id"]) for group in groups} == {(group, project["id"]) for group in GROUPS}
    bound = [ip for ip in view["floating_ips"].values() if ip["port_id"] == ports[0]["id"]]
    wanted = [(was["floating_ip"], was["fixed_ip"], project["id"])] if was["floating_ip"] else []
    assert [(ip["floating_ip_address"], ip["fixed_ip_address"], ip["project_id"]) for ip in bound] == wanted


@pytest.mark.parametrize("name", ACME)
def test_the_source_is_stopped_and_kept(clouds: Clouds, acme: Moved, name: str) -> None:
    was = clouds.facts["servers"][name]
    before, after = acme.before[0]["servers"][was["id"]], acme.after[0]["servers"][was["id"]]
    assert after["status"] == "SHUTOFF"
    assert after["OS-EXT-STS:task_state"] is None
    assert after["OS-EXT-STS:power_state"] == 4
    assert addresses(after, "fixed") == {was["fixed_ip"]: was["mac"]}
    assert addresses(after, "floating") == {}
    states = ("OS-EXT-STS:power_state", "OS-EXT-STS:vm_state", "status", "addresses")
    assert {k: v for k, v in after.items() if k not in states} == {k: v for k, v in before.items() if k not in states}


@pytest.mark.parametrize("name", [server.name for server in SERVERS if server.tenant == "acme" and not server.stopped])
def test_its_source_was_down_before_its_copy_began(clouds: Clouds, acme: Moved, name: str) -> None:
    _, stopped = action_times(clouds.source, clouds.facts["servers"][name]["id"], "stop")
    began, _ = action_times(clouds.destination, named(acme.after[1], "servers", name)["id"], "create")
    assert stopped <= began


def test_floating_ips_stay_allocated_at_the_source(clouds: Clouds, acme: Moved) -> None:
    tenant = clouds.facts["tenants"]["acme"]
    held = {address for address, ip in clouds.facts["floating_ips"].items() if ip["tenant"] == "acme"}
    assert len(held) == 3  # one of them is spare
    for address in held:
        found = acme.after[0]["floating_ips"][address]
        assert (found["project_id"], found["instance_uuid"]) == (tenant, None)


def test_security_groups_have_the_same_rules(clouds: Clouds, acme: Moved) -> None:
    tenant, view = clouds.facts["tenants"]["acme"], acme.after[1]
    project_id = named(view, "projects", "acme")["id"]
    there = {g["name"]: g for g in view["security_groups"].values() if g["project_id"] == project_id}
    here = {g["name"]: g for g in acme.after[0]["security_groups"].values() if g["tenant_id"] == tenant}
    assert there.keys() == here.keys() == GROUPS
    web = source_rules(here["web"])
    assert web == {
        ("tcp", 22, 22, "0.0.0.0/0"),
        ("tcp", 80, 443, "192.0.2.0/24"),
        ("icmp", None, None, "0.0.0.0/0"),
        ("tcp", 5432, 5432, "default"),
    }
    assert destination_rules(there["web"], view, "ingress") == web
    assert there["web"]["description"] == here["web"]["description"]
    # Neutron's own default group admits its members; nova-network's had no rule, and so has ours
    assert source_rules(here["default"]) == destination_rules(there["default"], view, "ingress") == set()
    for group in there.values():
        assert destination_rules(group, view, "egress") == {(None, None, None, cidr) for cidr in ("0.0.0.0/0", "::/0")}


def test_the_keypair_is_its_owners(clouds: Clouds, acme: Moved) -> None:
    was = clouds.facts["keypairs"]["acme-key"]
    found = acme.after[1]["keypairs"]["acme-user/acme-key"]
    assert found["public_key"].split()[:2] == was["public_key"].split()[:2]
    assert found["fingerprint"] == was["fingerprint"]


def test_flavors_are_equal(clouds: Clouds, acme: Moved) -> None:
    view = acme.after[1]
    used = {facts["flavor"] for facts in clouds.servers_of("acme").values()}
    assert {flavor["name"] for flavor in view["flavors"].values()} == used
    for name in used:
        was, found = clouds.facts["flavors"][name], named(view, "flavors", name)
        assert found["id"] == was["id"]
        sizes = ("vcpus", "ram", "disk", "OS-FLV-EXT-DATA:ephemeral", "os-flavor-access:is_public", "extra_specs")
        facts = ("vcpus", "ram_mib", "disk_gib", "ephemeral_gib", "public", "extra_specs")
        assert {key: found[key] for key in sizes} == dict(zip(sizes, (was[key] for key in facts), strict=True))
        assert int(found["swap"] or 0) == was["swap_mib"]
        access = [named(view, "projects", project)["id"] for project in was["access"]]
        assert found.get("access", []) == access


def test_image_bytes_are_identical(clouds: Clouds, acme: Moved) -> None:
    view, project = acme.after[1], named(acme.after[1], "projects", "acme")
    used = {facts["image"] for facts in clouds.servers_of("acme").values()} | {"legacy-kernel", "legacy-initrd"}
    assert {image["name"] for image in view["images"].values()} == used
    for name in used:
        was, found = clouds.facts["images"][name], named(view, "images", name)
        assert found["status"] == "active"
        assert (found["size"], image_sha256(clouds.destination, found["id"])) == (was["size_bytes"], was["sha256"])
        for key in ("disk_format", "container_format"):
            assert found[key] == was[key]
        assert found["visibility"] == ("public" if was["public"] else "private")
        if not was["public"]:
            assert found["owner"] == project["id"]
        plain = {key: value for key, value in was["properties"].items() if key not in ("kernel_id", "ramdisk_id")}
        assert {key: found.get(key) for key in plain} == plain


def test_a_three_part_image_names_its_parts_at_the_destination(clouds: Clouds, acme: Moved) -> None:
    view = acme.after[1]
    root = named(view, "images", "legacy-root")
    for key, part in (("kernel_id", "legacy-kernel"), ("ramdisk_id", "legacy-initrd")):
        assert root[key] == named(view, "images", part)["id"]
    assert named(view, "servers", "acme-db")["image"]["id"] == root["id"]


def test_people_keep_their_roles(clouds: Clouds, acme: Moved) -> None:
    view = acme.after[1]
    project_id = named(view, "projects", "acme")["id"]
    for name, was in clouds.facts["users"].items():
        if was["tenant"] != "acme":
            continue
        user = named(view, "users", name)
        assert user["email"] == f"{name}@example.com"
        held = {
            view["roles"][one["role"]["id"]]["name"].lower()
            for one in view["assignments"].values()
            if one["scope"].get("project", {}).get("id") == project_id and one["user"]["id"] == user["id"]
        }
        # a current Keystone's own `member` takes the place of both `Member` and `_member_`
        assert held == {"member" if role in ("Member", "_member_") else role for role in was["roles"]}


def test_nothing_else_was_touched(clouds: Clouds, acme: Moved) -> None:
    tenant = clouds.facts["tenants"]["acme"]
    (source, destination), (source_after, destination_after) = acme.before, acme.after

    def not_acmes(kind: str, facts: Any) -> bool:
        mine = kind in ("servers", "floating_ips") and tenant in (facts.get("tenant_id"), facts.get("project_id"))
        return not mine

    assert differences(only(source, not_acmes), only(source_after, not_acmes)) == []
    new = new_in(destination, destination_after)
    assert [line for line in differences(destination, destination_after) if " is new: " not in line] == []
    assert _owners(new, destination_after) == {"acme", "the operator"}
    assert {project["name"] for project in new["projects"].values()} == {"acme"}
    assert {user["name"] for user in new["users"].values()} == {"acme-user", "acme-ops"}
    assert {server["name"] for server in new["servers"].values()} == set(ACME)
    assert {network["name"] for network in new["networks"].values()} == {"novanetwork"}
    (network,) = new["networks"].values()
    segment = [network[f"provider:{key}"] for key in ("network_type", "physical_network", "segmentation_id")]
    assert segment == ["flat", operate.SEGMENT, None]
    # with the spare one, since the whole project moved
    assert {ip["floating_ip_address"] for ip in new["floating_ips"].values()} == {
        address for address, ip in clouds.facts["floating_ips"].items() if ip["tenant"] == "acme"
    }


def test_what_the_destination_hands_out_is_reserved_at_the_source(clouds: Clouds, acme: Moved) -> None:
    (subnet,) = new_in(acme.before[1], acme.after[1])["subnets"].values()
    (pool,) = subnet["allocation_pools"]
    for address in (pool["start"], pool["end"], subnet["gateway_ip"]):
        assert fixed_ip(clouds.source, address)["reserved"] is True


def test_running_it_again_changes_nothing(clouds: Clouds, site: Site, acme: Moved) -> None:
    before = views(clouds)
    again = site.run(operate.RUNBOOK, projects="acme")
    assert again.exit_code == 0, again
    assert again.outcome["steps"][-1]["notebook"] == operate.MOVE
    assert again.outcome["steps"][-1]["result"] == "nothing-to-do"
    for old, new in zip(before, views(clouds), strict=True):
        assert differences(old, new) == []


def _owners(new: View, view: View) -> set[str]:
    """Names of the projects that own the new objects; network, router and public images are the operator's."""
    owners = set()
    for items in new.values():
        for facts in items.values():
            keys = [facts[key] for key in ("project_id", "tenant_id", "owner") if facts.get(key)]
            project = view["projects"].get(keys[0]) if keys else None
            if project is not None:
                owners.add("the operator" if project["name"] == "admin" else project["name"])
    return owners
