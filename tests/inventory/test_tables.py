"""The tables: what is documented is what is there, and what is there is what the cloud holds."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from pumphouse.inventory import BUILDERS, SCHEMAS, Inventory, InventoryError, Snapshot
from pumphouse.model import Hypervisor, Port
from tests.factories import HOSTS, TAKEN_AT, kid, make_facts, make_server, make_snapshot, uid

EMPTY = Snapshot(make_facts(), TAKEN_AT)
UNITS = {"_mib": "MiB", "_gib": "GiB", "_bytes": "bytes"}


def documented(name: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """(index, column -> dtype, column -> unit) as the table's docstring has them."""
    words = BUILDERS[name].__doc__ or ""
    index = re.search(r"Index: (?:``(\w+)`` \(string\)|row number)\.", words)
    assert index, f"{name} documents no index"
    lines = re.findall(r"^ +\* ``(\w+)`` \((datetime64\[ns, UTC\]|\w+)(?:, ([^)]+))?\): \S", words, re.MULTILINE)
    assert len(lines) == words.count("* ``")
    return index[1] or "", {name: dtype for name, dtype, _ in lines}, {name: unit for name, _, unit in lines if unit}


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(
    "snapshot", [make_snapshot(), make_snapshot("destination"), EMPTY], ids=["old", "new", "empty"]
)
def test_documented_columns_are_the_schemas_and_the_tables(name: str, snapshot: Snapshot) -> None:
    schema = SCHEMAS[name]
    table = BUILDERS[name](snapshot)
    index, dtypes, _ = documented(name)
    assert list(dtypes.items()) == list(schema.columns.items())
    assert [(column, str(dtype)) for column, dtype in table.dtypes.items()] == list(schema.columns.items())
    assert index == schema.index == (table.index.name or "")
    assert str(table.index.dtype) == ("string" if schema.index else "int64")
    assert table.attrs["table"] == name


@pytest.mark.parametrize("name", BUILDERS)
def test_every_number_has_a_unit(name: str) -> None:
    _, dtypes, units = documented(name)
    assert [column for column, dtype in dtypes.items() if dtype in ("Int64", "Float64") and column not in units] == []
    for column, unit in units.items():
        expected = next((u for suffix, u in UNITS.items() if column.endswith(suffix)), unit)
        assert unit == expected, column


@pytest.mark.parametrize("name", SCHEMAS)
def test_brief_and_order_name_columns(name: str) -> None:
    schema = SCHEMAS[name]
    known = {*schema.columns, schema.index}
    assert schema.brief
    assert known.issuperset((*schema.brief, *schema.order))
    assert set(SCHEMAS) == set(BUILDERS)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_table_does_not_depend_on_the_order_of_lists_and_of_the_empty_cloud_is_empty(name: str) -> None:
    assert BUILDERS[name](EMPTY).empty
    assert not BUILDERS[name](make_snapshot()).empty
    pd.testing.assert_frame_equal(BUILDERS[name](make_snapshot()), BUILDERS[name](make_snapshot()))


def test_servers_carry_names_and_sizes() -> None:
    servers = Inventory(make_snapshot()).servers
    assert len(servers) == 10
    row = servers.loc[uid("acme-db1")]
    assert row["project_name"] == "acme"
    assert row["user_name"] == "alice"
    assert row["flavor_name"] == "m1.medium"
    assert (row["vcpus"], row["ram_mib"], row["disk_gib"], row["ephemeral_gib"]) == (2, 4096, 40, 0)
    assert (row["image_name"], row["image_size_bytes"]) == ("acme-web", 12 << 20)
    assert (row["fixed_ips"], row["security_groups"]) == ("10.10.0.13", "db, default")
    assert row["created_at"] == pd.Timestamp("2014-05-01T12:00Z")
    assert list(servers["name"])[:3] == ["acme-batch", "acme-cache", "acme-db1"]


def test_what_the_cloud_forgot_is_missing_and_not_zero() -> None:
    servers = Inventory(make_snapshot()).servers
    row = servers.loc[uid("twin-a")]
    assert row["flavor_id"] == "99"
    assert all(row[name] is pd.NA for name in ("flavor_name", "vcpus", "ram_mib", "image_name", "image_size_bytes"))
    assert servers.loc[uid("twin-b"), "host"] is pd.NA
    assert servers.loc[uid("twin-b"), "created_at"] is pd.NaT
    assert Inventory(make_snapshot()).images.loc[uid("half-made"), "size_bytes"] is pd.NA


def test_values_of_metadata_and_properties_stay_out_of_every_table(tmp_path: Path) -> None:
    secret = make_server("s", metadata={"db_password": "hunter2"})
    source = make_snapshot()
    images = [*source.images]
    images[0] = type(images[0])(**{**images[0].__dict__, "properties": {"admin_pass": "hunter2"}})
    inventory = Inventory(make_snapshot(servers=[secret], images=images))
    text = "".join(inventory.table(name).to_csv() for name in BUILDERS)
    assert "hunter2" not in text
    assert "db_password" in text
    assert "admin_pass" in text


def test_projects_and_quotas_add_up() -> None:
    inventory = Inventory(make_snapshot())
    acme = inventory.projects.loc[kid("acme")]
    assert (acme["users"], acme["servers"], acme["vcpus"], acme["ram_mib"], acme["disk_gib"]) == (2, 6, 8, 16384, 160)
    assert (acme["images"], acme["security_groups"], acme["floating_ips"]) == (1, 3, 2)
    quota = inventory.quotas.loc[kid("acme")]
    assert (quota["project_name"], quota["instances"], quota["instances_used"]) == ("acme", 10, 6)
    assert (quota["cores_used"], quota["ram_mib"], quota["ram_used_mib"]) == (8, 51200, 16384)
    assert quota["fixed_ips"] == -1


def test_users_roles_assignments_and_keypairs_name_each_other() -> None:
    inventory = Inventory(make_snapshot())
    bob = inventory.users.loc[kid("bob")]
    assert (bob["projects"], bob["servers"], bob["default_project_name"]) == ("acme, beta", 4, "beta")
    assert inventory.roles.loc[kid("r-member"), "assignments"] == 3
    assert inventory.assignments[["project_name", "user_name", "role_name"]].to_numpy().tolist() == [
        ["acme", "alice", "_member_"],
        ["acme", "bob", "_member_"],
        ["admin", "admin", "admin"],
        ["beta", "bob", "_member_"],
    ]
    (keypair,) = inventory.keypairs.to_dict("records")
    assert (keypair["user_name"], keypair["name"], keypair["servers"]) == ("alice", "alice-key", 6)


def test_images_flavors_and_groups_count_their_servers() -> None:
    inventory = Inventory(make_snapshot())
    assert inventory.images.loc[uid("acme-web"), "servers"] == 8
    assert inventory.images.loc[uid("acme-web"), "members"] == "beta"
    assert inventory.flavors.loc["3", "servers"] == 2
    assert inventory.flavors.loc["3", "extra_specs"] == "quota:cpu=2"
    assert inventory.flavors.loc["acme-1", "access_projects"] == "acme"
    groups = inventory.security_groups
    assert list(groups.loc[["1", "2", "3"], "servers"]) == [6, 4, 2]
    assert list(groups["rules"]) == [1, 1, 2, 1, 0]
    rule = inventory.security_group_rules.loc["14"]
    assert (rule["security_group_name"], rule["remote_group_name"], rule["port_min"]) == ("db", "web", 3306)
    assert rule["remote_cidr"] is pd.NA


def test_networks_and_addresses() -> None:
    inventory = Inventory(make_snapshot(), make_snapshot("destination"))
    assert inventory.networks.loc[uid("net"), "fixed_ips"] == 10
    assert inventory.networks.loc[uid("net"), "pools"] == "10.10.0.2-10.10.0.254"
    assert list(inventory.fixed_ips["address"])[:3] == ["10.10.0.11", "10.10.0.12", "10.10.0.13"]
    floating = inventory.floating_ips.set_index("address")
    assert floating.loc["172.24.4.11", "server_name"] == "acme-web1"
    assert floating.loc["172.24.4.12", "server_name"] is pd.NA
    (port,) = inventory.table("fixed_ips", "destination").to_dict("records")
    assert (port["address"], port["device_owner"]) == ("172.24.4.100", "network:router_gateway")


def test_a_neutron_servers_address_and_its_port_are_one_row() -> None:
    server = make_server("moved", address="172.24.4.50")
    port = Port(uid("port"), "", uid("public"), kid("acme"), "172.24.4.50", "fa:16:3e:00:00:01", "ACTIVE", server.id)
    stray = Port(uid("stray"), "", uid("public"), "", "172.24.4.9", "fa:16:3e:00:00:02", "DOWN", "no-server")
    table = Inventory(make_snapshot("destination", servers=[server], ports=[port, stray])).fixed_ips
    rows = {row["address"]: row for row in table.to_dict("records")}
    assert len(table) == 2
    assert (rows["172.24.4.50"]["server_name"], rows["172.24.4.50"]["port_id"]) == ("moved", uid("port"))
    assert rows["172.24.4.9"]["server_id"] == "no-server"
    assert pd.isna(rows["172.24.4.9"]["project_id"])


def test_hosts_are_known_from_services_hypervisors_and_servers() -> None:
    hosts = Inventory(make_snapshot()).hosts
    assert list(hosts.index) == list(HOSTS)
    assert list(hosts["servers"]) == [4, 3, 2]
    assert list(hosts["state"]) == ["up", "up", "down"]
    assert hosts.loc["node-3", "disabled_reason"] == "bad disk"
    assert list(hosts["servers_vcpus"]) == [3, 4, 3]

    odd = make_snapshot(
        services=(),
        hypervisors=[
            Hypervisor("1", "a", "rack", vcpus=4),
            Hypervisor("2", "b", "rack", vcpus=8),
            Hypervisor("3", "c", None),
        ],
        servers=[make_server(host="ghost")],
    )
    hosts = Inventory(odd).hosts
    assert list(hosts.index) == ["c", "ghost", "rack"]
    assert hosts.loc["rack", "vcpus"] == 12
    assert hosts.loc["rack", "hypervisors"] == "a, b"
    assert hosts.loc["c", "vcpus"] is pd.NA
    assert hosts.loc["ghost", "state"] is pd.NA


@pytest.mark.parametrize("name", BUILDERS)
def test_inventory_gives_every_table_by_attribute_and_name(name: str) -> None:
    inventory = Inventory(make_snapshot(), make_snapshot("destination"))
    pd.testing.assert_frame_equal(getattr(inventory, name), inventory.table(name))
    assert len(inventory.table(name, "destination")) == len(BUILDERS[name](make_snapshot("destination")))


def test_changing_a_table_changes_nothing_else() -> None:
    inventory = Inventory(make_snapshot())
    servers = inventory.servers
    servers["name"] = "gone"
    assert "gone" not in set(inventory.servers["name"])


def test_unknown_tables_and_sides_are_named() -> None:
    inventory = Inventory(make_snapshot())
    with pytest.raises(InventoryError, match=r"'server' \(did you mean 'servers'"):
        inventory.table("server")
    with pytest.raises(InventoryError, match="no side 'left'"):
        inventory.table("servers", "left")
    with pytest.raises(InventoryError, match="no snapshot of the destination"):
        inventory.table("servers", "destination")
