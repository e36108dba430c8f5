"""Planning a move of servers that can move: what is planned, in which order, and what it is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.errors import SelectionError
from pumphouse.findings import blocking
from pumphouse.inventory import Inventory
from pumphouse.model import Assignment, FloatingIp, Keypair, Network, Project, Role, User
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.plan.move import plan_move
from pumphouse.plan.ports import port_id
from tests.core.making import ACME, acme_servers, chosen, healthy, make_site, planned
from tests.factories import (
    MIB,
    kid,
    make_facts,
    make_flavor,
    make_image,
    make_security_groups,
    make_server,
    make_snapshot,
    make_users,
    uid,
)

WEB1 = uid("acme-web1")


def codes(findings: tuple[Any, ...]) -> set[str]:
    return {finding.code for finding in findings}


def all_needs(plan: Plan, key: str) -> set[str]:
    """Everything that a step needs, directly or not."""
    found: set[str] = set()
    waiting = [key]
    while waiting:
        for need in plan.step(waiting.pop()).needs:
            if need not in found:
                found.add(need)
                waiting.append(need)
    return found


def of_kind(plan: Plan, kind: str) -> list[PlannedStep]:
    return [step for step in plan.steps if step.kind == kind]


# --- a whole project ----------------------------------------------------------------------------------


def test_a_healthy_project_moves_without_anything_in_its_way(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path)
    assert blocking(findings) == ()
    assert plan.kind == "move"
    assert (plan.source, plan.destination) == ("old", "new")
    assert {server.name for server in plan.servers} == set(ACME)
    assert plan.copy_bytes == 2 * 12 * MIB
    for kind in ("stop", "boot", "settle"):
        assert {step.server_id for step in of_kind(plan, kind)} == {uid(name) for name in ACME}
    assert len(of_kind(plan, "port")) == len(ACME)
    assert [step.key for step in of_kind(plan, "floating-ip")] == ["floating-ip:172.24.4.11"]
    assert {step.params["name"] for step in of_kind(plan, "project")} == {"acme"}
    assert {step.params["name"] for step in of_kind(plan, "user")} == {"alice", "bob"}
    assert {step.params["name"] for step in of_kind(plan, "security-group")} == {"default", "web", "db"}
    assert {step.params["source_id"] for step in of_kind(plan, "flavor")} == {"2", "3"}


def test_everything_is_made_ready_before_a_server_stops(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    assert {step.kind for step in plan.phase("cutover")} == {"stop", "boot", "floating-ip", "settle"}
    assert {step.kind for step in plan.steps if step.changes == "source"} == {"reserve-slice", "stop"}
    assert {step.kind for step in plan.steps if step.changes == "both"} == {"floating-ip"}
    for step in plan.phase("prepare"):
        assert not {need for need in all_needs(plan, step.key) if plan.step(need).phase == "cutover"}


@pytest.mark.parametrize("name", ACME)
def test_a_stop_needs_all_that_its_boot_will_need(tmp_path: Path, name: str) -> None:
    plan, _ = planned(tmp_path)
    source = healthy()
    server = source.server(uid(name))
    assert server is not None
    stop = all_needs(plan, f"stop:{server.id}")
    groups = [source.security_groups_named(server.project_id, group)[0].id for group in server.security_groups]
    assert stop >= {
        f"project:{server.project_id}",
        f"flavor:{server.flavor_id}",
        f"image:{server.image_id}",
        f"network:{uid('net')}",
        f"port:{port_id(server, server.addresses[0].address)}",
        f"user:{server.user_id}",
        f"assignment:{server.project_id}:{server.user_id}:{kid('r-member')}",
        f"keypair:{server.user_id}:{server.key_name}",
        *(f"security-group:{group}" for group in groups),
        *(f"security-group-rules:{group}" for group in groups),
    }
    boot = plan.step(f"boot:{server.id}")
    assert set(boot.needs) == {f"stop:{server.id}"} | set(plan.step(f"stop:{server.id}").needs)
    assert f"boot:{server.id}" in plan.step(f"settle:{server.id}").needs


def test_one_servers_cutover_waits_for_no_other_server(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    for server in plan.servers:
        of_others = {
            need
            for need in all_needs(plan, f"settle:{server.id}")
            if plan.step(need).server_id not in (None, server.id)
        }
        assert of_others == set()


def test_a_boot_carries_the_servers_identity(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    params = plan.step(f"boot:{WEB1}").params
    assert params["name"] == "acme-web1"
    assert params["metadata"] == {"role": "web"}
    assert params["key_name"] == "alice-key"
    assert params["addresses"] == [{"address": "10.10.0.11", "mac": "fa:16:3e:00:00:0b"}]
    assert (params["as"], params["user_name"]) == ("owner", "alice")
    port = plan.step(f"port:{WEB1}/10.10.0.11")
    assert (port.params["address"], port.params["mac"]) == ("10.10.0.11", "fa:16:3e:00:00:0b")
    assert port.params["security_group_ids"] == ["1", "2"]


def test_a_stopped_server_moves_and_its_end_state_is_planned(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, "acme-batch")
    assert blocking(findings) == ()
    assert plan.step(f"settle:{uid('acme-batch')}").params["arrives"] == "SHUTOFF"
    assert plan.step(f"settle:{uid('acme-batch')}").params["address"] == "10.10.0.16"


def test_a_stopped_server_on_a_dead_host_moves(tmp_path: Path) -> None:
    source = make_snapshot(servers=acme_servers(make_server("acme-batch", host="node-3", status="SHUTOFF")))
    _, findings = planned(tmp_path, "acme-batch", source=source)
    assert blocking(findings) == ()


def test_a_server_without_key_boots_without_one(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, "acme-web1", source=healthy(servers=(make_server(key_name=None),)))
    assert blocking(findings) == ()
    assert plan.step(f"boot:{WEB1}").params["key_name"] is None
    assert not any(need.startswith("keypair:") for need in plan.step(f"boot:{WEB1}").needs)


def test_several_addresses_make_several_ports_in_order(tmp_path: Path) -> None:
    server = make_server()
    second = replace(server.addresses[0], network="back", address="10.20.0.5", mac="fa:16:3e:00:00:99")
    networks = (*healthy().networks, Network(uid("back"), "back", "10.20.0.0/24", "10.20.0.1"))
    source = healthy(servers=(replace(server, addresses=(*server.addresses, second)),), networks=networks)
    plan, findings = planned(tmp_path, "acme-web1", source=source)
    assert blocking(findings) == ()
    ports = [f"{WEB1}/10.10.0.11", f"{WEB1}/10.20.0.5"]
    assert plan.step(f"boot:{WEB1}").params["port_ids"] == ports
    assert {f"port:{port}" for port in ports} <= set(plan.step(f"stop:{WEB1}").needs)
    assert plan.step(f"port:{ports[1]}").params["network_id"] == uid("back")


# --- the same again -----------------------------------------------------------------------------------


def _turned_round(snapshot: Any, random: Any) -> Any:
    def mixed(row: Any) -> Any:
        changes: dict[str, Any] = {}
        for name in ("rules", "member_ids", "access_project_ids", "tags", "floating_ips", "security_groups"):
            if hasattr(row, name):
                changes[name] = tuple(random.sample(getattr(row, name), len(getattr(row, name))))
        for name in ("metadata", "properties", "extra_specs"):
            if hasattr(row, name):
                changes[name] = dict(random.sample(sorted(getattr(row, name).items()), len(getattr(row, name))))
        return replace(row, **changes)

    tables = ("projects", "users", "roles", "assignments", "flavors", "images", "servers", "security_groups")
    others = ("networks", "floating_ips", "keypairs", "ports", "services")
    rows = {name: [mixed(row) for row in getattr(snapshot, name)] for name in (*tables, *others)}
    for table in rows.values():
        random.shuffle(table)
    return replace(snapshot, **{name: tuple(table) for name, table in rows.items()})


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False))
def test_the_same_clouds_listed_in_another_order_give_the_same_hash(tmp_path: Path, random: Any) -> None:
    group = make_security_groups()[0]
    rules = tuple(replace(group.rules[0], id=str(n), port_min=n, port_max=n) for n in range(5))
    image = make_image(properties={"os": "linux", "hw": "b"}, tags=("b", "a"), member_ids=(kid("beta"), kid("closed")))
    source = healthy(
        security_groups=(replace(group, rules=rules), *make_security_groups()[1:]),
        images=(image, *(i for i in healthy().images if i.id != image.id)),
        servers=acme_servers(make_server(metadata={"a": "1", "b": "2"}, floating_ips=("172.24.4.11",))),
    )
    names = list(ACME)
    first, _ = planned(tmp_path, *names, source=source)
    random.shuffle(names)
    again, _ = planned(
        tmp_path,
        *names,
        source=_turned_round(source, random),
        destination=_turned_round(make_snapshot("destination"), random),
    )
    assert again.hash == first.hash


def test_snapshots_that_were_saved_and_loaded_give_the_same_hash(tmp_path: Path) -> None:
    source, destination = healthy(), make_snapshot("destination")
    first, _ = planned(tmp_path, source=source, destination=destination)
    again, _ = planned(
        tmp_path,
        source=type(source).from_json(source.to_json()),
        destination=type(source).from_json(destination.to_json()),
    )
    assert again.hash == first.hash


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"metadata": {"role": "db"}},
        {"flavor_id": "1"},
        {"image_id": uid("cirros")},
        {"key_name": None},
        {"security_groups": ("default",)},
        {"address": "10.10.0.99"},
        {"status": "SHUTOFF"},
        {"config_drive": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_at_the_source_changes_the_hash(tmp_path: Path, change: dict[str, Any]) -> None:
    before, _ = planned(tmp_path, "acme-web1", source=healthy(servers=(make_server(),), floating_ips=()))
    changed = healthy(servers=(make_server(**{"id": WEB1} | change),), floating_ips=())
    after, _ = planned(tmp_path, "acme-web1", source=changed)
    assert after.hash != before.hash


def test_a_plan_of_a_real_selection_reads_back(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    assert Plan.from_document(json.loads(json.dumps(plan.document))) == plan


# --- who boots ----------------------------------------------------------------------------------------


def by_operator(tmp_path: Path, **tables: Any) -> str:
    """Why the operator boots acme-web1; also that the plan is whole."""
    secrets = tables.pop("secrets", frozenset())
    destination = tables.pop("destination", None)
    tables.setdefault("keypairs", (Keypair(tables.pop("owner", kid("alice")), "alice-key", "ssh-rsa AAAA", "aa"),))
    source = healthy(**{"servers": (make_server(),), "floating_ips": ()} | tables)
    plan, findings = planned(tmp_path, "acme-web1", source=source, destination=destination, secrets=secrets)
    assert blocking(findings) == ()
    params = plan.step(f"boot:{WEB1}").params
    assert params["as"] == "operator"
    assert f"assignment:{kid('acme')}:@operator" in plan.step(f"stop:{WEB1}").needs
    assert {"role:@operator"} <= all_needs(plan, f"stop:{WEB1}")
    assert plan.step(f"assignment:{kid('acme')}:@operator").params["operator"] is True
    assert f"keypair:@operator:{kid('acme')}:alice-key" in plan.step(f"boot:{WEB1}").needs
    (why,) = [finding.message for finding in findings if finding.code == "owner-not-kept"]
    return str(why)


def test_the_operator_boots_for_an_owner_that_is_gone(tmp_path: Path) -> None:
    users = tuple(user for user in make_users() if user.name != "alice")
    assert "gone from the source's Keystone" in by_operator(tmp_path, users=users)


def test_the_operator_boots_for_a_disabled_owner(tmp_path: Path) -> None:
    users = tuple(replace(user, enabled=user.name != "alice") for user in make_users())
    assert "alice is disabled" in by_operator(tmp_path, users=users)


def test_the_operator_boots_what_is_the_operators(tmp_path: Path) -> None:
    why = by_operator(tmp_path, servers=(make_server(user_id=kid("root")),), owner=kid("root"))
    assert "the migrating administrator" in why


def test_the_operator_boots_for_an_owner_without_a_role_that_may(tmp_path: Path) -> None:
    roles = (Role(kid("r-admin"), "admin"), Role(kid("r-member"), "auditor"))
    assert "no role in the project that may boot" in by_operator(tmp_path, roles=roles)


def test_the_operator_boots_for_an_owner_whose_password_we_do_not_know(tmp_path: Path) -> None:
    there = make_snapshot("destination", users=(*make_snapshot("destination").users, User("u1", "alice")))
    why = by_operator(tmp_path, destination=there, secrets=frozenset({"alice"}))
    assert "password that pumphouse does not know" in why
    ours = User("u1", "alice", source_id=kid("alice"))
    there = make_snapshot("destination", users=(*make_snapshot("destination").users, ours))
    assert "password that pumphouse does not know" in by_operator(tmp_path, destination=there)


def test_an_owner_that_an_earlier_plan_made_boots(tmp_path: Path) -> None:
    ours = User("u1", "alice", source_id=kid("alice"))
    there = make_snapshot("destination", users=(*make_snapshot("destination").users, ours))
    plan, findings = planned(tmp_path, "acme-web1", destination=there, secrets=frozenset({"alice"}))
    assert plan.step(f"boot:{WEB1}").params["as"] == "owner"
    assert not codes(findings) & {"owner-not-kept", "user-exists"}


def test_a_stranger_of_the_same_name_at_the_destination_is_told(tmp_path: Path) -> None:
    there = make_snapshot("destination", users=(*make_snapshot("destination").users, User("u1", "bob")))
    _, findings = planned(tmp_path, "acme-web1", destination=there)
    (told,) = [finding for finding in findings if finding.code == "user-exists"]
    assert (told.severity, told.object) == ("warn", "user bob")


def test_the_migrating_administrator_is_not_carried(tmp_path: Path) -> None:
    assignments = (*healthy().assignments, Assignment(kid("root"), kid("acme"), kid("r-admin")))
    plan, findings = planned(tmp_path, source=healthy(assignments=assignments))
    assert f"user:{kid('root')}" not in {step.key for step in plan.steps}
    assert "admin-role" not in codes(findings)


def test_an_assignment_of_a_user_that_is_gone_is_left_out(tmp_path: Path) -> None:
    assignments = (*healthy().assignments, Assignment(kid("nobody"), kid("acme"), kid("r-member")))
    plan, findings = planned(tmp_path, source=healthy(assignments=assignments))
    assert blocking(findings) == ()
    assert kid("nobody") not in json.dumps(plan.document)


# --- roles --------------------------------------------------------------------------------------------


def role_names(plan: Plan) -> set[str]:
    return {step.params["name"] for step in of_kind(plan, "role")}


def test_member_with_underscores_becomes_the_destinations_member(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    assert role_names(plan) == {"member"}
    assert any(note.object == "role _member_" and "member" in note.text for note in plan.notes)


def test_member_with_underscores_stays_where_the_destination_has_no_member(tmp_path: Path) -> None:
    there = make_snapshot("destination", roles=(Role("r1", "admin"),))
    plan, findings = planned(tmp_path, "acme-web1", destination=there)
    assert role_names(plan) == {"_member_", "admin"}
    assert plan.step(f"boot:{WEB1}").params["as"] == "operator"
    assert "owner-not-kept" in codes(findings)


def test_a_role_takes_the_destinations_spelling(tmp_path: Path) -> None:
    there = make_snapshot("destination", roles=(Role("r1", "admin"), Role("r2", "Member")))
    source = healthy(roles=(Role(kid("r-admin"), "admin"), Role(kid("r-member"), "member")))
    plan, _ = planned(tmp_path, "acme-web1", source=source, destination=there)
    assert role_names(plan) == {"Member"}
    assert plan.step(f"boot:{WEB1}").params["as"] == "owner"


def test_the_site_may_name_roles_otherwise(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1", roles={"_member_": "tenant-user"})
    assert role_names(plan) == {"tenant-user", "admin"}
    assert plan.step(f"boot:{WEB1}").params["as"] == "operator"


def test_an_administrator_of_the_project_is_told(tmp_path: Path) -> None:
    assignments = (*healthy().assignments, Assignment(kid("bob"), kid("acme"), kid("r-admin")))
    _, findings = planned(tmp_path, source=healthy(assignments=assignments))
    (told,) = [finding for finding in findings if finding.code == "admin-role"]
    assert (told.severity, told.object) == ("warn", "user bob")
    assert "acme" in told.message


# --- projects -----------------------------------------------------------------------------------------


def two_projects(**tables: Any) -> Any:
    mine = make_server(floating_ips=("172.24.4.11",))
    theirs = make_server("beta-1", address="10.10.0.31", project_id=kid("beta"), user_id=kid("bob"), key_name=None)
    theirs = replace(theirs, security_groups=("default",), image_id=uid("cirros"))
    return healthy(**{"servers": (mine, theirs)} | tables)


def test_a_users_default_project_is_kept_when_it_moves_too(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1", source=two_projects())
    assert plan.step(f"user:{kid('bob')}").params["default_project_id"] is None
    plan, _ = planned(tmp_path, "acme-web1", "beta-1", source=two_projects())
    assert plan.step(f"user:{kid('bob')}").params["default_project_id"] == kid("beta")
    assert f"project:{kid('beta')}" in plan.step(f"user:{kid('bob')}").needs
    assert plan.step(f"user:{kid('alice')}").params["default_project_id"] == kid("acme")


def test_a_flavors_access_is_carried_for_the_projects_that_move(tmp_path: Path) -> None:
    private = make_flavor("2", is_public=False, access_project_ids=(kid("beta"), kid("acme"), kid("closed")))
    flavors = (private, *(f for f in healthy().flavors if f.id != "2"))
    plan, _ = planned(tmp_path, "acme-web1", "beta-1", source=two_projects(flavors=flavors))
    step = plan.step("flavor:2")
    assert step.params["flavor"]["access_project_ids"] == sorted([kid("acme"), kid("beta")])
    assert set(step.needs) == {f"project:{kid('acme')}", f"project:{kid('beta')}"}
    assert any(note.object == "flavor m1.small" and "closed" in note.text for note in plan.notes)


def test_a_project_that_an_earlier_plan_made_is_no_stranger(tmp_path: Path) -> None:
    ours = Project("p1", "acme", source_id=kid("acme"))
    there = make_snapshot("destination", projects=(*make_snapshot("destination").projects, ours))
    _, findings = planned(tmp_path, destination=there)
    assert "project-exists" not in codes(findings)


def test_a_network_of_a_project_that_moves_is_made_after_it_and_not_shared(tmp_path: Path) -> None:
    networks = (replace(healthy().networks[0], project_id=kid("acme")),)
    plan, findings = planned(tmp_path, source=healthy(networks=networks))
    assert blocking(findings) == ()
    step = plan.step(f"network:{uid('net')}")
    assert step.needs == (f"project:{kid('acme')}", f"reserve-slice:{uid('net')}:10.10.0.238-10.10.0.254")
    assert (step.params["project_id"], step.params["shared"]) == (kid("acme"), False)


# --- images -------------------------------------------------------------------------------------------


def images(**changes: Any) -> tuple[Any, ...]:
    return (make_image(**changes), make_image("cirros", visibility="public", owner_id=kid("admin"), protected=True))


def test_a_public_image_of_another_project_stays_public_and_the_operators(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-cache")
    step = plan.step(f"image:{uid('cirros')}")
    assert (step.params["image"]["visibility"], step.params["image"]["owner_id"]) == ("public", None)
    assert step.params["image"]["protected"] is True
    assert step.needs == ()


def test_a_private_image_of_the_project_stays_its_own(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    step = plan.step(f"image:{uid('acme-web')}")
    assert (step.params["image"]["visibility"], step.params["image"]["owner_id"]) == ("private", kid("acme"))
    assert step.params["image"]["member_ids"] == []
    assert step.needs == (f"project:{kid('acme')}",)


def test_a_private_image_of_a_project_that_stays_is_shared_with_whoever_boots_from_it(tmp_path: Path) -> None:
    source = two_projects(images=images(owner_id=kid("closed")))
    servers = tuple(replace(s, image_id=uid("acme-web")) for s in source.servers)
    plan, findings = planned(tmp_path, "acme-web1", "beta-1", source=replace(source, servers=servers))
    assert blocking(findings) == ()
    step = plan.step(f"image:{uid('acme-web')}")
    assert (step.params["image"]["visibility"], step.params["image"]["owner_id"]) == ("shared", None)
    assert step.params["image"]["member_ids"] == sorted([kid("acme"), kid("beta")])
    assert set(step.needs) == {f"project:{kid('acme')}", f"project:{kid('beta')}"}
    assert any(note.object == "image acme-web" and "its owner is not moved" in note.text for note in plan.notes)


def test_a_private_image_that_another_moving_project_boots_from_is_shared_with_it(tmp_path: Path) -> None:
    source = two_projects(images=images())
    servers = tuple(replace(s, image_id=uid("acme-web")) for s in source.servers)
    plan, _ = planned(tmp_path, "acme-web1", "beta-1", source=replace(source, servers=servers))
    document = plan.step(f"image:{uid('acme-web')}").params["image"]
    assert (document["visibility"], document["owner_id"]) == ("shared", kid("acme"))
    assert document["member_ids"] == [kid("beta")]


def test_a_sharing_is_carried_for_the_projects_that_move(tmp_path: Path) -> None:
    source = two_projects(images=images(member_ids=(kid("beta"), kid("closed"))))
    plan, _ = planned(tmp_path, "acme-web1", "beta-1", source=source)
    document = plan.step(f"image:{uid('acme-web')}").params["image"]
    assert (document["visibility"], document["member_ids"]) == ("shared", [kid("beta")])


def three_part_image(**changes: Any) -> Any:
    parts = {"kernel_id": uid("aki"), "ramdisk_id": uid("ari")}
    return (
        make_image("ami", disk_format="ami", container_format="ami", properties=parts, **changes),
        make_image("aki", disk_format="aki", container_format="aki", size_bytes=5 * MIB, owner_id=kid("closed")),
        make_image("ari", disk_format="ari", container_format="ari", size_bytes=3 * MIB, visibility="public"),
    )


def test_a_three_part_image_comes_after_its_kernel_and_ramdisk(tmp_path: Path) -> None:
    source = healthy(servers=(make_server(image_id=uid("ami")),), images=three_part_image(), floating_ips=())
    plan, findings = planned(tmp_path, "acme-web1", source=source)
    assert blocking(findings) == ()
    assert {f"image:{uid('aki')}", f"image:{uid('ari')}"} <= set(plan.step(f"image:{uid('ami')}").needs)
    keys = [step.key for step in plan.steps]
    assert keys.index(f"image:{uid('ami')}") > max(keys.index(f"image:{uid(n)}") for n in ("aki", "ari"))
    assert plan.copy_bytes == (12 + 5 + 3) * MIB
    assert plan.step(f"image:{uid('aki')}").params["image"]["member_ids"] == [kid("acme")]


def test_an_image_without_its_kernel_blocks(tmp_path: Path) -> None:
    ami, aki, ari = three_part_image()
    server = make_server(image_id=uid("ami"))
    _, findings = planned(tmp_path, "acme-web1", source=healthy(servers=(server,), images=(ami, ari), floating_ips=()))
    assert [f.code for f in blocking(findings)] == ["image-missing"]
    broken = (ami, replace(aki, status="killed"), ari)
    _, findings = planned(tmp_path, "acme-web1", source=healthy(servers=(server,), images=broken, floating_ips=()))
    assert [f.code for f in blocking(findings)] == ["image-not-active"]


def test_an_image_is_copied_once_for_all_its_servers(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    assert len(of_kind(plan, "image")) == 2
    assert len([s for s in of_kind(plan, "stop") if f"image:{uid('acme-web')}" in s.needs]) == len(ACME) - 1


# --- security groups ----------------------------------------------------------------------------------


def test_rules_wait_for_the_groups_that_they_admit(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    rules = plan.step("security-group-rules:3")
    assert set(rules.needs) == {"security-group:2", "security-group:3"}
    (rule,) = [rule for rule in rules.params["rules"] if rule["direction"] == "ingress"]
    assert (rule["remote_group_id"], rule["remote_cidr"], rule["port_min"]) == ("2", None, 3306)
    assert "id" not in rule


def test_groups_that_admit_each_other_are_no_cycle(tmp_path: Path) -> None:
    default, web, db, *rest = make_security_groups()
    web = replace(
        web, rules=(replace(db.rules[0], id="99", remote_group_id="3"), replace(web.rules[0], remote_group_id="2"))
    )
    plan, findings = planned(tmp_path, source=healthy(security_groups=(default, web, db, *rest)))
    assert blocking(findings) == ()
    assert set(plan.step("security-group-rules:2").needs) == {"security-group:2", "security-group:3"}


# --- networks and floating IPs ------------------------------------------------------------------------


def test_the_destination_gets_a_slice_of_the_shared_network_that_nobody_uses(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    params = plan.step(f"network:{uid('net')}").params
    used = {a.address for server in healthy().servers for a in server.addresses} | {"10.10.0.1"}
    assert params["gateway_ip"] not in used
    (pool,) = params["pools"]
    assert params["gateway_ip"] not in pool
    assert params["shared"] is True
    (note,) = [n for n in plan.notes if n.object == "network private"]
    assert params["gateway_ip"] in note.text
    assert pool[0] in note.text


def test_addresses_of_servers_that_stay_are_not_given_away(tmp_path: Path) -> None:
    busy = [make_server(f"s{n}", address=f"10.10.0.{n}") for n in range(2, 250)]
    plan, _ = planned(tmp_path, "s2", source=healthy(servers=tuple(busy), floating_ips=()))
    params = plan.step(f"network:{uid('net')}").params
    assert (params["gateway_ip"], params["pools"]) == ("10.10.0.254", [["10.10.0.250", "10.10.0.253"]])


def test_a_network_that_exists_at_the_destination_is_taken(tmp_path: Path) -> None:
    existing = Network("n1", "flat", "10.10.0.0/24", "10.10.0.254", subnet_id="s1")
    there = make_snapshot("destination", networks=(*make_snapshot("destination").networks, existing))
    plan, findings = planned(tmp_path, destination=there, networks={"private": "flat"})
    assert blocking(findings) == ()
    params = plan.step(f"network:{uid('net')}").params
    assert (params["name"], params["source_name"], params["pools"]) == ("flat", "private", [])


def test_a_floating_ip_waits_for_stop_router_and_port_and_settle_for_it(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    step = plan.step("floating-ip:172.24.4.11")
    router = f"router:{uid('net')}:public"
    assert set(step.needs) == {f"stop:{WEB1}", router, f"port:{WEB1}/10.10.0.11"}
    assert step.params["external_network_id"] == uid("public")
    assert plan.step(router).needs == (f"network:{uid('net')}",)
    assert plan.step(router).phase == "prepare"
    assert step.key in plan.step(f"settle:{WEB1}").needs


def test_a_floating_ip_may_be_mapped_to_a_pool_of_another_name(tmp_path: Path) -> None:
    external = replace(make_snapshot("destination").networks[0], id=uid("ext"), name="ext-net")
    there = make_snapshot("destination", networks=(external,))
    plan, findings = planned(tmp_path, "acme-web1", destination=there, floating_pools={"public": "ext-net"})
    assert blocking(findings) == ()
    assert plan.step("floating-ip:172.24.4.11").params["external_network_id"] == uid("ext")


def test_a_floating_ip_that_waits_unbound_in_the_same_project_is_taken(tmp_path: Path) -> None:
    ours = Project("p1", "acme", source_id=kid("acme"))
    there = make_snapshot(
        "destination",
        projects=(*make_snapshot("destination").projects, ours),
        floating_ips=(FloatingIp("f1", "172.24.4.11", "public", "p1"),),
    )
    _, findings = planned(tmp_path, "acme-web1", destination=there)
    assert blocking(findings) == ()


def test_a_floating_ip_without_a_fixed_address_goes_to_the_first(tmp_path: Path) -> None:
    floating = (FloatingIp("1", "172.24.4.11", "public", kid("acme"), None, WEB1),)
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(floating_ips=floating))
    assert plan.step("floating-ip:172.24.4.11").params["fixed_address"] == "10.10.0.11"


# --- what cannot be planned at all --------------------------------------------------------------------


def test_a_server_that_the_source_does_not_have_cannot_be_planned(tmp_path: Path) -> None:
    inventory = Inventory(healthy(), make_snapshot("destination"))
    with pytest.raises(SelectionError, match="Server nobody is selected, but old does not have it"):
        plan_move(inventory, chosen("nobody"), make_site(tmp_path))


def test_without_the_destinations_inventory_nothing_can_be_planned(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="both clouds"):
        plan_move(Inventory(healthy()), chosen(WEB1), make_site(tmp_path))


def test_planning_asks_no_cloud_and_changes_no_snapshot(tmp_path: Path) -> None:
    source, destination = healthy(), make_snapshot("destination", facts=make_facts("destination"))
    before = source.to_json(), destination.to_json()
    planned(tmp_path, source=source, destination=destination)
    assert (source.to_json(), destination.to_json()) == before
