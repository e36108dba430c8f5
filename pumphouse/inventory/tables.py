"""Tables of what runs and what it needs: flavors, images, networks, addresses, groups, servers.

Each function turns a snapshot into one DataFrame (no cloud is asked); those of
:mod:`pumphouse.inventory.identity_tables` and :mod:`pumphouse.inventory.host_tables` are re-exported, and
:data:`BUILDERS` has all of them by name.
Columns and dtypes are those of :data:`pumphouse.inventory.schema.SCHEMAS`; ``<NA>`` is what the cloud does
not tell. Values of metadata and of image properties stay out: users keep passwords there, and tables end
up in records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from pumphouse.inventory.host_tables import aggregates, availability_zones, hosts, services
from pumphouse.inventory.identity_tables import (
    assignments,
    joined,
    keypairs,
    name_of,
    projects,
    quotas,
    roles,
    users,
)
from pumphouse.inventory.schema import build_frame
from pumphouse.inventory.snapshot import Snapshot


def flavors(snapshot: Snapshot) -> pd.DataFrame:
    """One row per flavor, public and private.

    Index: ``flavor_id`` (string).

    * ``name`` (string): unique in a cloud
    * ``vcpus`` (Int64, count): of each server
    * ``ram_mib`` (Int64, MiB): of each server
    * ``disk_gib`` (Int64, GiB): root disk; 0 means the image's own size
    * ``ephemeral_gib`` (Int64, GiB): second disk
    * ``swap_mib`` (Int64, MiB): swap disk
    * ``rxtx_factor`` (Float64, ratio): bandwidth relative to the network's
    * ``is_public`` (boolean): whether every project may use it
    * ``access_projects`` (string): names of the projects that may use a private one, comma-separated
    * ``extra_specs`` (string): key=value, comma-separated
    * ``servers`` (Int64, count): of this flavor
    """
    used = Counter(server.flavor_id for server in snapshot.servers)
    return build_frame(
        "flavors",
        (
            {
                "flavor_id": flavor.id,
                "name": flavor.name,
                "vcpus": flavor.vcpus,
                "ram_mib": flavor.ram_mib,
                "disk_gib": flavor.disk_gib,
                "ephemeral_gib": flavor.ephemeral_gib,
                "swap_mib": flavor.swap_mib,
                "rxtx_factor": flavor.rxtx_factor,
                "is_public": flavor.is_public,
                "access_projects": _project_names(snapshot, flavor.access_project_ids),
                "extra_specs": joined(f"{key}={value}" for key, value in flavor.extra_specs.items()),
                "servers": used[flavor.id],
            }
            for flavor in snapshot.flavors
        ),
    )


def images(snapshot: Snapshot) -> pd.DataFrame:
    """One row per image of any project and in any status.

    Index: ``image_id`` (string).

    * ``name`` (string): not unique
    * ``owner_id`` (string): owning project
    * ``owner_name`` (string): its name
    * ``status`` (string): active, queued, saving, killed, deactivated ...
    * ``visibility`` (string): public, private, shared or community
    * ``members`` (string): names of the projects it is shared with, comma-separated
    * ``size_bytes`` (Int64, bytes): of its data; unknown until it is active
    * ``checksum`` (string): Glance's MD5 of the data
    * ``disk_format`` (string): qcow2, raw ...
    * ``container_format`` (string): bare, ami ...
    * ``min_disk_gib`` (Int64, GiB): smallest root disk that boots it
    * ``min_ram_mib`` (Int64, MiB): least RAM that boots it
    * ``protected`` (boolean): whether Glance refuses to delete it
    * ``property_keys`` (string): names of its custom properties, comma-separated
    * ``tags`` (string): comma-separated
    * ``servers`` (Int64, count): booted from it
    """
    used = Counter(server.image_id for server in snapshot.servers)
    return build_frame(
        "images",
        (
            {
                "image_id": image.id,
                "name": image.name,
                "owner_id": image.owner_id,
                "owner_name": name_of(snapshot.project(image.owner_id)),
                "status": image.status,
                "visibility": image.visibility,
                "members": _project_names(snapshot, image.member_ids),
                "size_bytes": image.size_bytes,
                "checksum": image.checksum,
                "disk_format": image.disk_format,
                "container_format": image.container_format,
                "min_disk_gib": image.min_disk_gib,
                "min_ram_mib": image.min_ram_mib,
                "protected": image.protected,
                "property_keys": joined(image.properties),
                "tags": joined(image.tags),
                "servers": used[image.id],
            }
            for image in snapshot.images
        ),
    )


def security_groups(snapshot: Snapshot) -> pd.DataFrame:
    """One row per security group.

    Index: ``security_group_id`` (string).

    * ``project_id`` (string): owner
    * ``project_name`` (string): its name
    * ``name`` (string): unique per project in nova-network, not in Neutron
    * ``description`` (string): as its owner wrote it
    * ``rules`` (Int64, count): of any direction
    * ``servers`` (Int64, count): servers of the project with a group of this name (Nova tells names only)
    """
    used = Counter((server.project_id, name) for server in snapshot.servers for name in set(server.security_groups))
    return build_frame(
        "security_groups",
        (
            {
                "security_group_id": group.id,
                "project_id": group.project_id,
                "project_name": name_of(snapshot.project(group.project_id)),
                "name": group.name,
                "description": group.description,
                "rules": len(group.rules),
                "servers": used[group.project_id, group.name],
            }
            for group in snapshot.security_groups
        ),
    )


def security_group_rules(snapshot: Snapshot) -> pd.DataFrame:
    """One row per rule of a security group.

    Index: ``rule_id`` (string).

    * ``project_id`` (string): owner of the group
    * ``project_name`` (string): its name
    * ``security_group_id`` (string): the group
    * ``security_group_name`` (string): its name
    * ``direction`` (string): ingress or egress
    * ``ethertype`` (string): IPv4 or IPv6
    * ``protocol`` (string): tcp, udp, icmp ...; missing means any
    * ``port_min`` (Int64, port or ICMP type): missing means any
    * ``port_max`` (Int64, port or ICMP code): missing means any
    * ``remote_cidr`` (string): peer addresses
    * ``remote_group_id`` (string): peer group; no CIDR and no group means any peer
    * ``remote_group_name`` (string): its name
    """
    return build_frame(
        "security_group_rules",
        (
            {
                "rule_id": rule.id,
                "project_id": group.project_id,
                "project_name": name_of(snapshot.project(group.project_id)),
                "security_group_id": group.id,
                "security_group_name": group.name,
                "direction": rule.direction,
                "ethertype": rule.ethertype,
                "protocol": rule.protocol,
                "port_min": rule.port_min,
                "port_max": rule.port_max,
                "remote_cidr": rule.remote_cidr,
                "remote_group_id": rule.remote_group_id,
                "remote_group_name": name_of(snapshot.security_group(rule.remote_group_id)),
            }
            for group in snapshot.security_groups
            for rule in group.rules
        ),
    )


def networks(snapshot: Snapshot) -> pd.DataFrame:
    """One row per network with its IPv4 subnet.

    Index: ``network_id`` (string).

    * ``name`` (string): nova-network's label
    * ``cidr`` (string): IPv4 range
    * ``gateway_ip`` (string): default route of its servers
    * ``dns`` (string): name servers, comma-separated
    * ``pools`` (string): ranges from which the cloud itself picks addresses, first-last, comma-separated
    * ``project_id`` (string): owner; missing means nobody's own
    * ``project_name`` (string): its name
    * ``shared`` (boolean): whether every project may use it
    * ``external`` (boolean): whether floating IPs come from it
    * ``dhcp`` (boolean): whether the cloud answers DHCP on it
    * ``subnet_id`` (string): Neutron's subnet
    * ``bridge`` (string): nova-network's bridge on the hosts
    * ``vlan_id`` (Int64, VLAN): where it has one
    * ``fixed_ips`` (Int64, count): addresses in use, by servers and by the cloud's own ports
    """
    used = Counter(row["network_name"] for row in _fixed_ip_rows(snapshot))
    return build_frame(
        "networks",
        (
            {
                "network_id": network.id,
                "name": network.name,
                "cidr": network.cidr,
                "gateway_ip": network.gateway_ip,
                "dns": ", ".join(network.dns),
                "pools": ", ".join(f"{first}-{last}" for first, last in network.pools),
                "project_id": network.project_id,
                "project_name": name_of(snapshot.project(network.project_id)),
                "shared": network.shared,
                "external": network.external,
                "dhcp": network.dhcp,
                "subnet_id": network.subnet_id,
                "bridge": network.bridge,
                "vlan_id": network.vlan_id,
                "fixed_ips": used[network.name],
            }
            for network in snapshot.networks
        ),
    )


def fixed_ips(snapshot: Snapshot) -> pd.DataFrame:
    """One row per fixed IP of a server, and per address of a Neutron port without a server.

    Index: row number.

    * ``address`` (string): IPv4 or IPv6
    * ``version`` (Int64, IP version): 4 or 6
    * ``mac`` (string): Grizzly does not tell it with the server
    * ``network_name`` (string): nova-network's label
    * ``server_id`` (string): who has it
    * ``server_name`` (string): its name
    * ``project_id`` (string): owner of the server or port
    * ``project_name`` (string): its name
    * ``port_id`` (string): Neutron's port
    * ``device_owner`` (string): what a port is for, e.g. network:dhcp
    """
    return build_frame("fixed_ips", _fixed_ip_rows(snapshot))


def floating_ips(snapshot: Snapshot) -> pd.DataFrame:
    """One row per allocated floating IP.

    Index: ``floating_ip_id`` (string).

    * ``address`` (string): IPv4
    * ``pool`` (string): nova-network's pool, or Neutron's external network
    * ``project_id`` (string): to whom it is allocated
    * ``project_name`` (string): its name
    * ``fixed_address`` (string): the fixed IP it is bound to
    * ``server_id`` (string): the server it is bound to
    * ``server_name`` (string): its name
    """
    return build_frame(
        "floating_ips",
        (
            {
                "floating_ip_id": item.id,
                "address": item.address,
                "pool": item.pool,
                "project_id": item.project_id,
                "project_name": name_of(snapshot.project(item.project_id)),
                "fixed_address": item.fixed_address,
                "server_id": item.server_id,
                "server_name": name_of(snapshot.server(item.server_id)),
            }
            for item in sorted(snapshot.floating_ips, key=lambda item: _address_order(item.address))
        ),
    )


def servers(snapshot: Snapshot) -> pd.DataFrame:
    """One row per server of any project and in any status. Sizes are missing where the flavor was deleted.

    Index: ``server_id`` (string).

    * ``name`` (string): not unique
    * ``project_id`` (string): owner
    * ``project_name`` (string): its name
    * ``user_id`` (string): who booted it
    * ``user_name`` (string): their name
    * ``status`` (string): ACTIVE, SHUTOFF, ERROR, BUILD ...
    * ``task_state`` (string): what Nova is doing with it; missing means nothing
    * ``vm_state`` (string): active, stopped, error ...
    * ``power_state`` (Int64, Nova's code): 0 unknown, 1 running, 3 paused, 4 shut down, 6 crashed, 7 suspended
    * ``host`` (string): compute host; missing when unscheduled or shelved
    * ``availability_zone`` (string): its host's
    * ``flavor_id`` (string): also of a deleted flavor
    * ``flavor_name`` (string): its name
    * ``vcpus`` (Int64, count): of the flavor
    * ``ram_mib`` (Int64, MiB): of the flavor
    * ``disk_gib`` (Int64, GiB): the flavor's root disk
    * ``ephemeral_gib`` (Int64, GiB): the flavor's second disk
    * ``swap_mib`` (Int64, MiB): the flavor's swap disk
    * ``image_id`` (string): booted from; also of a deleted image
    * ``image_name`` (string): its name
    * ``image_size_bytes`` (Int64, bytes): of the image's data
    * ``key_name`` (string): its user's keypair
    * ``security_groups`` (string): names, comma-separated
    * ``fixed_ips`` (string): addresses, comma-separated
    * ``floating_ips`` (string): addresses, comma-separated
    * ``volumes`` (Int64, count): attached
    * ``config_drive`` (boolean): whether it has one
    * ``metadata_keys`` (string): names of its metadata, comma-separated
    * ``created_at`` (datetime64[ns, UTC]): when it was asked for
    * ``fault`` (string): Nova's message for a server in ERROR
    * ``updated_at`` (datetime64[ns, UTC]): when Nova last changed it
    * ``locked`` (boolean): missing where the API does not tell (before microversion 2.9)
    """
    rows = []
    for server in snapshot.servers:
        flavor, image = snapshot.flavor(server.flavor_id), snapshot.image(server.image_id)
        rows.append(
            {
                "server_id": server.id,
                "name": server.name,
                "project_id": server.project_id,
                "project_name": name_of(snapshot.project(server.project_id)),
                "user_id": server.user_id,
                "user_name": name_of(snapshot.user(server.user_id)),
                "status": server.status,
                "task_state": server.task_state,
                "vm_state": server.vm_state,
                "power_state": server.power_state,
                "host": server.host,
                "availability_zone": server.availability_zone,
                "flavor_id": server.flavor_id,
                "flavor_name": name_of(flavor),
                "vcpus": None if flavor is None else flavor.vcpus,
                "ram_mib": None if flavor is None else flavor.ram_mib,
                "disk_gib": None if flavor is None else flavor.disk_gib,
                "ephemeral_gib": None if flavor is None else flavor.ephemeral_gib,
                "swap_mib": None if flavor is None else flavor.swap_mib,
                "image_id": server.image_id,
                "image_name": name_of(image),
                "image_size_bytes": None if image is None else image.size_bytes,
                "key_name": server.key_name,
                "security_groups": joined(server.security_groups),
                "fixed_ips": ", ".join(item.address for item in server.addresses),
                "floating_ips": ", ".join(server.floating_ips),
                "volumes": len(server.volume_ids),
                "config_drive": server.config_drive,
                "metadata_keys": joined(server.metadata),
                "created_at": server.created_at,
                "fault": server.fault,
                "updated_at": server.updated_at,
                "locked": server.locked,
            }
        )
    return build_frame("servers", rows)


BUILDERS: Mapping[str, Callable[[Snapshot], pd.DataFrame]] = {
    "projects": projects,
    "users": users,
    "roles": roles,
    "assignments": assignments,
    "flavors": flavors,
    "images": images,
    "keypairs": keypairs,
    "security_groups": security_groups,
    "security_group_rules": security_group_rules,
    "networks": networks,
    "fixed_ips": fixed_ips,
    "floating_ips": floating_ips,
    "servers": servers,
    "hosts": hosts,
    "services": services,
    "availability_zones": availability_zones,
    "aggregates": aggregates,
    "quotas": quotas,
}


def _fixed_ip_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    ports = {(port.server_id, port.address): port for port in snapshot.ports if port.server_id}
    rows = []
    for server in snapshot.servers:
        for item in server.addresses:
            port = ports.pop((server.id, item.address), None)
            rows.append(
                {
                    "address": item.address,
                    "version": item.version,
                    "mac": item.mac or (port.mac if port else None),
                    "network_name": item.network,
                    "server_id": server.id,
                    "server_name": server.name,
                    "project_id": server.project_id,
                    "project_name": name_of(snapshot.project(server.project_id)),
                    "port_id": port.id if port else None,
                    "device_owner": port.device_owner if port else None,
                }
            )
    # what is left: routers, DHCP, ports made ahead of their server, and devices that are no servers
    left = [port for port in snapshot.ports if not port.server_id] + list(ports.values())
    rows += [
        {
            "address": port.address,
            "version": 6 if ":" in port.address else 4,
            "mac": port.mac,
            "network_name": name_of(snapshot.network(port.network_id)),
            "server_id": port.server_id,
            "server_name": name_of(snapshot.server(port.server_id)),
            "project_id": port.project_id or None,
            "project_name": name_of(snapshot.project(port.project_id)),
            "port_id": port.id,
            "device_owner": port.device_owner,
        }
        for port in left
        if port.address
    ]
    return sorted(rows, key=lambda row: (str(row["network_name"]), _address_order(str(row["address"]))))


def _address_order(address: str) -> tuple[int, str]:
    parts = address.split(".")
    return (4, ".".join(part.zfill(3) for part in parts)) if len(parts) == 4 else (6, address)


def _project_names(snapshot: Snapshot, ids: Iterable[str]) -> str:
    return joined(name_of(snapshot.project(project_id)) or project_id for project_id in ids)
