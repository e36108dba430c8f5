"""The columns, dtypes and index of every inventory table, and the one place where rows become a DataFrame.

Nullable dtypes throughout, so that an empty table looks like a full one and "the cloud does not tell" is
``<NA>``, never 0 or an empty string.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

STRING = "string"
INT = "Int64"
FLOAT = "Float64"
BOOL = "boolean"
TIME = "datetime64[ns, UTC]"


@dataclass(frozen=True)
class TableSchema:
    """``index``: name of the (string) index, or empty for a row number. ``brief``: columns that a person sees first.

    ``order``: columns that rows are sorted by (the index last); empty: the table's function sorts them.
    """

    index: str
    columns: Mapping[str, str]
    brief: tuple[str, ...]
    order: tuple[str, ...]


def _table(index: str, brief: str, order: str = "name", **columns: str) -> TableSchema:
    return TableSchema(index, columns, tuple(brief.split()), tuple(order.split()))


SCHEMAS: Mapping[str, TableSchema] = {
    "projects": _table(
        "project_id",
        "name description enabled users servers vcpus ram_mib disk_gib images floating_ips project_id",
        name=STRING,
        description=STRING,
        enabled=BOOL,
        source_id=STRING,
        users=INT,
        servers=INT,
        vcpus=INT,
        ram_mib=INT,
        disk_gib=INT,
        images=INT,
        security_groups=INT,
        floating_ips=INT,
    ),
    "users": _table(
        "user_id",
        "name email enabled default_project_name projects servers user_id",
        name=STRING,
        email=STRING,
        enabled=BOOL,
        default_project_id=STRING,
        default_project_name=STRING,
        description=STRING,
        source_id=STRING,
        projects=STRING,
        servers=INT,
        keypairs=INT,
    ),
    "roles": _table("role_id", "name assignments role_id", name=STRING, assignments=INT),
    "assignments": _table(
        "",
        "project_name user_name role_name",
        order="project_name user_name role_name",
        project_id=STRING,
        project_name=STRING,
        user_id=STRING,
        user_name=STRING,
        role_id=STRING,
        role_name=STRING,
    ),
    "flavors": _table(
        "flavor_id",
        "name vcpus ram_mib disk_gib ephemeral_gib swap_mib is_public access_projects servers flavor_id",
        name=STRING,
        vcpus=INT,
        ram_mib=INT,
        disk_gib=INT,
        ephemeral_gib=INT,
        swap_mib=INT,
        rxtx_factor=FLOAT,
        is_public=BOOL,
        access_projects=STRING,
        extra_specs=STRING,
        servers=INT,
    ),
    "images": _table(
        "image_id",
        "name owner_name status visibility size_bytes disk_format protected servers image_id",
        order="owner_name name",
        name=STRING,
        owner_id=STRING,
        owner_name=STRING,
        status=STRING,
        visibility=STRING,
        members=STRING,
        size_bytes=INT,
        checksum=STRING,
        disk_format=STRING,
        container_format=STRING,
        min_disk_gib=INT,
        min_ram_mib=INT,
        protected=BOOL,
        property_keys=STRING,
        tags=STRING,
        servers=INT,
    ),
    "keypairs": _table(
        "",
        "user_name name type fingerprint servers",
        order="user_name name",
        user_id=STRING,
        user_name=STRING,
        name=STRING,
        type=STRING,
        fingerprint=STRING,
        servers=INT,
    ),
    "security_groups": _table(
        "security_group_id",
        "project_name name description rules servers security_group_id",
        order="project_name name",
        project_id=STRING,
        project_name=STRING,
        name=STRING,
        description=STRING,
        rules=INT,
        servers=INT,
    ),
    "security_group_rules": _table(
        "rule_id",
        "project_name security_group_name direction protocol port_min port_max remote_cidr remote_group_name",
        order="project_name security_group_name",
        project_id=STRING,
        project_name=STRING,
        security_group_id=STRING,
        security_group_name=STRING,
        direction=STRING,
        ethertype=STRING,
        protocol=STRING,
        port_min=INT,
        port_max=INT,
        remote_cidr=STRING,
        remote_group_id=STRING,
        remote_group_name=STRING,
    ),
    "networks": _table(
        "network_id",
        "name cidr gateway_ip project_name shared external dhcp fixed_ips network_id",
        name=STRING,
        cidr=STRING,
        gateway_ip=STRING,
        dns=STRING,
        pools=STRING,
        project_id=STRING,
        project_name=STRING,
        shared=BOOL,
        external=BOOL,
        dhcp=BOOL,
        subnet_id=STRING,
        bridge=STRING,
        vlan_id=INT,
        fixed_ips=INT,
    ),
    "fixed_ips": _table(
        "",
        "address network_name mac server_name project_name device_owner",
        order="",
        address=STRING,
        version=INT,
        mac=STRING,
        network_name=STRING,
        server_id=STRING,
        server_name=STRING,
        project_id=STRING,
        project_name=STRING,
        port_id=STRING,
        device_owner=STRING,
    ),
    "floating_ips": _table(
        "floating_ip_id",
        "address pool project_name fixed_address server_name",
        order="",
        address=STRING,
        pool=STRING,
        project_id=STRING,
        project_name=STRING,
        fixed_address=STRING,
        server_id=STRING,
        server_name=STRING,
    ),
    "servers": _table(
        "server_id",
        "name project_name status task_state host flavor_name vcpus ram_mib disk_gib image_name fixed_ips floating_ips"
        " server_id",
        order="project_name name",
        name=STRING,
        project_id=STRING,
        project_name=STRING,
        user_id=STRING,
        user_name=STRING,
        status=STRING,
        task_state=STRING,
        vm_state=STRING,
        power_state=INT,
        host=STRING,
        availability_zone=STRING,
        flavor_id=STRING,
        flavor_name=STRING,
        vcpus=INT,
        ram_mib=INT,
        disk_gib=INT,
        ephemeral_gib=INT,
        swap_mib=INT,
        image_id=STRING,
        image_name=STRING,
        image_size_bytes=INT,
        key_name=STRING,
        security_groups=STRING,
        fixed_ips=STRING,
        floating_ips=STRING,
        volumes=INT,
        config_drive=BOOL,
        metadata_keys=STRING,
        created_at=TIME,
        fault=STRING,
        updated_at=TIME,
        locked=BOOL,
    ),
    "hosts": _table(
        "host",
        "host zone status state servers vcpus servers_vcpus ram_mib servers_ram_mib disk_gib servers_disk_gib",
        order="",
        zone=STRING,
        status=STRING,
        state=STRING,
        disabled_reason=STRING,
        hypervisors=STRING,
        hypervisor_type=STRING,
        vcpus=INT,
        vcpus_used=INT,
        ram_mib=INT,
        ram_used_mib=INT,
        disk_gib=INT,
        disk_used_gib=INT,
        servers=INT,
        servers_vcpus=INT,
        servers_ram_mib=INT,
        servers_disk_gib=INT,
    ),
    "services": _table(
        "",
        "host binary zone status state disabled_reason",
        order="host binary",
        host=STRING,
        binary=STRING,
        zone=STRING,
        status=STRING,
        state=STRING,
        disabled_reason=STRING,
        service_id=STRING,
    ),
    "availability_zones": _table(
        "zone", "zone available aggregates servers", order="", available=BOOL, aggregates=STRING, servers=INT
    ),
    "aggregates": _table(
        "aggregate_id",
        "name zone hosts metadata flavors servers",
        name=STRING,
        zone=STRING,
        hosts=STRING,
        metadata=STRING,
        flavors=STRING,
        servers=INT,
    ),
    "quotas": _table(
        "project_id",
        "project_name instances instances_used cores cores_used ram_mib ram_used_mib floating_ips floating_ips_used",
        order="project_name",
        project_name=STRING,
        instances=INT,
        instances_used=INT,
        cores=INT,
        cores_used=INT,
        ram_mib=INT,
        ram_used_mib=INT,
        floating_ips=INT,
        floating_ips_used=INT,
        fixed_ips=INT,
        security_groups=INT,
        security_groups_used=INT,
        security_group_rules=INT,
        key_pairs=INT,
        metadata_items=INT,
    ),
}


def build_frame(table: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as that table's DataFrame; ``attrs["table"]`` keeps its name, for display.

    Each row has every column of the schema and its index; ``None`` means that the cloud does not tell.
    """
    schema, rows = SCHEMAS[table], list(rows)
    if schema.order:
        keys = [*schema.order, schema.index] if schema.index else schema.order
        rows.sort(key=lambda row: [str(row[name] or "") for name in keys])
    data = {name: _column([row[name] for row in rows], dtype) for name, dtype in schema.columns.items()}
    index = (
        pd.Index([row[schema.index] for row in rows], dtype=STRING, name=schema.index)
        if schema.index
        else pd.RangeIndex(len(rows))
    )
    frame = pd.DataFrame({name: pd.Series(column, index=index) for name, column in data.items()}, index=index)
    frame.attrs["table"] = table
    return frame


def _column(values: list[Any], dtype: Any) -> Any:
    if dtype == TIME:
        return pd.DatetimeIndex(pd.to_datetime(values, utc=True)).as_unit("ns").array
    return pd.array(values, dtype=dtype)
