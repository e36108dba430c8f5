"""The ledger as a table: what depends on the plan is computed from it, secrets are not shown, and it stays small."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pumphouse.inventory import Inventory, Snapshot
from pumphouse.ledger import COLUMNS, Treatment, entries, gather, ledger, summary
from pumphouse.ledger.cases import MAKERS
from pumphouse.model import Address, Network, Project, User
from pumphouse.plan.model import Plan
from pumphouse.steps import STEPS
from pumphouse.steps.hardware import HARDWARE
from tests.core.making import ACME, acme_servers, healthy, planned
from tests.factories import kid, make_image, make_server, make_snapshot, uid


def made(
    folder: Path, *names: str, source: Snapshot | None = None, destination: Snapshot | None = None, **site: Any
) -> tuple[Plan, Inventory]:
    """A plan of the sample source with the inventory that it was made from."""
    source, destination = source or healthy(), destination or make_snapshot("destination")
    plan, _ = planned(folder, *names, source=source, destination=destination, **site)
    return plan, Inventory(source, destination)


def lines(plan: Plan, inventory: Inventory, kind: str, field: str, **mapped: str) -> list[tuple[str, Any, Any]]:
    """(treatment, source value, destination value) of a field."""
    found = entries(plan, inventory, mapped=lambda what, key: mapped.get(f"{what}_{key}"))
    return [(str(e.treatment), e.source, e.destination) for e in found if (e.type, e.field) == (kind, field)]


def test_every_row_is_whole(tmp_path: Path) -> None:
    table = ledger(*made(tmp_path))
    assert list(table.columns) == list(COLUMNS)
    assert set(table["treatment"]) == {str(treatment) for treatment in Treatment}
    assert str(table["objects"].dtype) == "Int64"
    assert not table[["type", "object", "field", "treatment", "destination_field", "reason"]].isna().any().any()
    assert (table["objects"] > 0).all()
    assert (table["reason"].str.len() > 0).all()


def test_what_is_alike_is_one_row(tmp_path: Path) -> None:
    table = ledger(*made(tmp_path)).query("type == 'server'")
    zone = table[table["field"] == "OS-EXT-AZ:availability_zone"]
    assert list(zone["objects"]) == [len(ACME)]
    assert zone["object"].iloc[0].endswith("and 3 more")
    assert list(table[table["field"] == "hostId"]["object"]) == ["all"]
    assert len(table[table["field"] == "name"]) == len(ACME)


def test_different_values_are_counted_when_there_are_many(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path)
    table = gather(plan, inventory).table(each=3).query("type == 'server' and field == 'name'")
    assert table[["objects", "source_value"]].to_numpy().tolist() == [[6, "(6 different)"]]
    assert len(gather(plan, inventory).table(each=None).query("type == 'server' and field == 'name'")) == len(ACME)


def test_the_summary_counts_fields_by_treatment(tmp_path: Path) -> None:
    table = ledger(*made(tmp_path))
    counted = summary(table)
    assert counted.loc["server", "objects"] == len(ACME)
    assert list(counted.columns) == ["objects", *map(str, Treatment)]
    copied = table.query("type == 'network' and treatment == 'copied'")["field"].nunique()
    assert counted.loc["network", "copied"] == copied > 0


def test_five_thousand_servers_make_a_small_table_in_two_seconds(tmp_path: Path) -> None:
    servers = tuple(make_server(f"s{n}", address=f"10.{20 + n // 60000}.{n // 250}.{n % 250 + 2}") for n in range(5000))
    network = replace(make_snapshot().networks[0], cidr="10.0.0.0/8", gateway_ip="10.0.0.1")
    source = healthy(servers=servers, networks=(network,), floating_ips=())
    plan, inventory = made(tmp_path, *(server.name for server in servers), source=source)
    assert len(plan.servers) == 5000
    # time of this process alone: others may keep the machine busy
    begun = time.process_time()
    gathered = gather(plan, inventory)
    table, rows = gathered.table(), gathered.rows(each=200)
    seconds = time.process_time() - begun
    assert seconds < 2
    assert len(table) == len(rows) < 500
    assert summary(table).loc["server", "objects"] == 5000


# --- what depends on the plan -------------------------------------------------------------------------


def test_ids_are_told_as_soon_as_they_are_known(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    web1 = uid("acme-web1")
    assert lines(plan, inventory, "server", "id") == [("mapped", web1, "(given by the destination)")]
    assert lines(plan, inventory, "server", "id", **{f"server_{web1}": "new"}) == [("mapped", web1, "new")]


def test_an_image_keeps_its_id_or_not(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    image = uid("acme-web")
    assert lines(plan, inventory, "image", "id") == [("copied", image, image)]
    taken = {f"image_{image}": "other"}
    assert lines(plan, inventory, "image", "id", **taken) == [("mapped", image, "other")]
    assert lines(plan, inventory, "server", "image.id", **taken) == [("mapped", image, "other")]


def test_an_image_that_is_there_keeps_its_record(tmp_path: Path) -> None:
    there = replace(make_image("acme-web"), name="renamed", properties={}, owner_id=kid("new-admin"))
    plan, inventory = made(tmp_path, "acme-web1", destination=make_snapshot("destination", images=(there,)))
    assert lines(plan, inventory, "image", "name") == [("dropped", "acme-web", None)]
    assert lines(plan, inventory, "image", "checksum")[0][0] == "copied"
    assert lines(plan, inventory, "image", "os") == [("dropped", "linux", None)]


def test_a_project_that_is_there_keeps_its_description(tmp_path: Path) -> None:
    there = (*make_snapshot("destination").projects, Project(kid("there"), "acme", "older"))
    plan, inventory = made(tmp_path, "acme-web1", destination=make_snapshot("destination", projects=there))
    assert lines(plan, inventory, "project", "description") == [("dropped", "Acme Ltd., shop", None)]
    plan, inventory = made(tmp_path, "acme-web1")
    assert lines(plan, inventory, "project", "description") == [("copied", "Acme Ltd., shop", "Acme Ltd., shop")]


def test_a_role_with_another_name_is_mapped(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    assert ("mapped", "_member_", "member") in lines(plan, inventory, "role", "name")
    plan, inventory = made(tmp_path, "acme-web1", roles={"_member_": "reader"})
    assert ("mapped", "_member_", "reader") in lines(plan, inventory, "role", "name")


def test_a_network_is_mapped_by_the_sites_table(tmp_path: Path) -> None:
    net = Network(uid("flat"), "flat", "10.10.0.0/24", "10.10.0.254", subnet_id="s", pools=(("10.10.0.200",) * 2,))
    there = make_snapshot("destination", networks=(*make_snapshot("destination").networks, net))
    plan, inventory = made(tmp_path, "acme-web1", destination=there, networks={"private": "flat"})
    assert lines(plan, inventory, "network", "label") == [("mapped", "private", "flat")]
    assert lines(plan, inventory, "server", "addresses") == [("mapped", "private", "flat")]
    assert lines(plan, inventory, "network", "gateway") == [("dropped", "10.10.0.1", None)]
    plan, inventory = made(tmp_path, "acme-web1")
    assert lines(plan, inventory, "network", "gateway")[0][0] == "mapped"


def test_passwords_are_carried_only_once_or_not_at_all_and_never_shown(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    hidden = "(not shown)"
    assert lines(plan, inventory, "user", "db:user.password") == [("derived", hidden, hidden)] * 2
    alice = User(kid("theirs"), "alice", "alice@example.org", default_project_id=None)
    there = make_snapshot("destination", users=(*make_snapshot("destination").users, alice))
    plan, inventory = made(tmp_path, "acme-web1", destination=there)
    assert ("dropped", hidden, None) in lines(plan, inventory, "user", "db:user.password")
    # whoever keeps a password of its own cannot boot: the operator does
    assert lines(plan, inventory, "server", "user_id") == [("mapped", kid("alice"), "(the operator's user)")]


def test_a_key_that_nobody_can_read_is_dropped(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    assert lines(plan, inventory, "server", "key_name") == [("copied", "alice-key", "alice-key")]
    plan, inventory = made(tmp_path, "acme-web1", source=healthy(keypairs=()))
    assert lines(plan, inventory, "server", "key_name") == [("dropped", "alice-key", None)]
    assert lines(plan, inventory, "keypair", "name") == []


def test_a_state_that_is_not_kept_is_mapped_as_planned(tmp_path: Path) -> None:
    frozen = make_server("acme-web1", status="PAUSED")
    plan, inventory = made(tmp_path, "acme-web1", source=healthy(servers=acme_servers(frozen)))
    assert lines(plan, inventory, "server", "status") == [("mapped", "PAUSED", "SHUTOFF")]
    plan, inventory = made(tmp_path, "acme-web1")
    moved = replace(inventory, source=healthy(servers=acme_servers(make_server("acme-web1", status="SHUTOFF"))))
    # its source is down by now because we stopped it
    assert lines(plan, moved, "server", "status") == [("copied", "ACTIVE", "ACTIVE")]


def test_a_server_that_was_finalised_is_still_told_from_the_plan(tmp_path: Path) -> None:
    plan, inventory = made(tmp_path, "acme-web1")
    gone = replace(inventory, source=healthy(servers=(), floating_ips=()))
    assert lines(plan, gone, "server", "status") == [("copied", "ACTIVE", "ACTIVE")]
    assert ("copied", "10.10.0.11", "10.10.0.11") in lines(plan, gone, "fixed_ip", "address")


def test_a_zone_is_mapped_by_the_sites_table(tmp_path: Path) -> None:
    east = make_server("acme-web1", availability_zone="east")
    source = healthy(servers=acme_servers(east))
    plan, inventory = made(tmp_path, "acme-web1", source=source, availability_zones={"east": "west"})
    assert lines(plan, inventory, "server", "OS-EXT-AZ:availability_zone") == [("mapped", "east", "west")]
    plan, inventory = made(tmp_path, "acme-web1")
    assert lines(plan, inventory, "server", "OS-EXT-AZ:availability_zone") == [("derived", "nova", None)]


def test_ipv6_addresses_are_dropped_and_said_to_be(tmp_path: Path) -> None:
    both = (Address("private", "10.10.0.11", "fa:16:3e:00:00:0b"), Address("private", "fd00::b", None, 6))
    plan, inventory = made(
        tmp_path, "acme-web1", source=healthy(servers=acme_servers(make_server("acme-web1", addresses=both)))
    )
    found = lines(plan, inventory, "server", "addresses.*[].addr")
    assert found == [("copied", "10.10.0.11", "10.10.0.11"), ("dropped", "fd00::b", None)]


def test_another_nova_network_takes_what_it_can(tmp_path: Path) -> None:
    facts = replace(make_snapshot("destination").facts, network_service="nova-network")
    there = make_snapshot(
        "destination", facts=facts, networks=(), ports=(), floating_pools={"public": ("172.24.4.11/32",)}
    )
    plan, inventory = made(tmp_path, "acme-web1", destination=there)
    assert lines(plan, inventory, "fixed_ip", "address") == [("copied", "10.10.0.11", "10.10.0.11")]
    assert lines(plan, inventory, "virtual_interface", "mac_address") == [("dropped", "fa:16:3e:00:00:0b", None)]
    mac = lines(plan, inventory, "server", "addresses.*[].OS-EXT-IPS-MAC:mac_addr")
    assert mac == [("dropped", "fa:16:3e:00:00:0b", None)]
    assert {treatment for treatment, _, _ in lines(plan, inventory, "security_group_rule", "from_port")} == {"copied"}
    fields = {entry.field: entry.to for entry in entries(plan, inventory) if entry.type == "network"}
    assert fields["label"] == "label"


def test_every_kind_of_step_is_an_object_or_known_to_be_none() -> None:
    """A step that carries something new must get its rules."""
    without = {
        # steps of objects that others stand for, and of the move itself
        *("stop", "settle", "snapshot", "secret", "password", "quota", "network-quota", "router", "undo"),
        *("reserve-slice", "keep-off", "reserve-fixed-ip", "delete-source"),
    }
    of_nodes = {step.kind for step in HARDWARE}
    assert STEPS.keys() - MAKERS.keys() - of_nodes == without


@pytest.mark.parametrize("secret", ["hunter2-in-metadata", "hunter3-in-image", "AAAAB3Nza"])
def test_secrets_are_not_shown(tmp_path: Path, secret: str) -> None:
    server = make_server("acme-web1", metadata={"admin_password": "hunter2-in-metadata"})
    image = make_image("acme-web", properties={"root_passwd": "hunter3-in-image", "os": "linux"})
    source = healthy(servers=acme_servers(server), images=(image,))
    plan, inventory = made(tmp_path, "acme-web1", source=source)
    table = ledger(plan, inventory, each=None)
    assert {"metadata.admin_password", "root_passwd", "os"} <= set(table["field"])
    text = pd.DataFrame(table).to_csv()
    assert secret not in text
