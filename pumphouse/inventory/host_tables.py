"""Tables of Nova's own parts: compute hosts, services, availability zones, aggregates."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import pandas as pd

from pumphouse.inventory.identity_tables import joined, sizes
from pumphouse.inventory.schema import build_frame
from pumphouse.inventory.snapshot import Snapshot
from pumphouse.model import Hypervisor


def hosts(snapshot: Snapshot) -> pd.DataFrame:
    """One row per compute host: one with a nova-compute service, a hypervisor or a server.

    Index: ``host`` (string).

    * ``zone`` (string): availability zone of its nova-compute
    * ``status`` (string): enabled or disabled, the operator's word
    * ``state`` (string): up or down, what Nova sees
    * ``disabled_reason`` (string): where one was given
    * ``hypervisors`` (string): hypervisor host names, comma-separated
    * ``hypervisor_type`` (string): QEMU ...
    * ``vcpus`` (Int64, count): physical, all hypervisors of the host
    * ``vcpus_used`` (Int64, count): Nova's own account
    * ``ram_mib`` (Int64, MiB): physical
    * ``ram_used_mib`` (Int64, MiB): Nova's own account, reserve included
    * ``disk_gib`` (Int64, GiB): physical
    * ``disk_used_gib`` (Int64, GiB): Nova's own account
    * ``servers`` (Int64, count): on it, in any status
    * ``servers_vcpus`` (Int64, count): of their flavors
    * ``servers_ram_mib`` (Int64, MiB): of their flavors
    * ``servers_disk_gib`` (Int64, GiB): root and ephemeral, of their flavors
    """
    hypervisors_by_host: dict[str, list[Hypervisor]] = defaultdict(list)
    for item in snapshot.hypervisors:
        hypervisors_by_host[item.host or item.hostname].append(item)
    services_by_host = {item.host: item for item in snapshot.services if item.binary == "nova-compute"}
    names = {
        *services_by_host,
        *hypervisors_by_host,
        *(server.host for server in snapshot.servers if server.host),
    }
    rows = []
    for name in sorted(names):
        service = services_by_host.get(name)
        hypervisors = hypervisors_by_host[name]
        on_it = snapshot.servers_on(name)
        vcpus, ram_mib, disk_gib = sizes(snapshot, on_it)
        rows.append(
            {
                "host": name,
                "zone": None if service is None else service.zone,
                "status": None if service is None else service.status,
                "state": None if service is None else service.state,
                "disabled_reason": None if service is None else service.disabled_reason,
                "hypervisors": joined(item.hostname for item in hypervisors),
                "hypervisor_type": joined({item.type for item in hypervisors}) or None,
                "vcpus": _total(item.vcpus for item in hypervisors),
                "vcpus_used": _total(item.vcpus_used for item in hypervisors),
                "ram_mib": _total(item.ram_mib for item in hypervisors),
                "ram_used_mib": _total(item.ram_used_mib for item in hypervisors),
                "disk_gib": _total(item.disk_gib for item in hypervisors),
                "disk_used_gib": _total(item.disk_used_gib for item in hypervisors),
                "servers": len(on_it),
                "servers_vcpus": vcpus,
                "servers_ram_mib": ram_mib,
                "servers_disk_gib": disk_gib,
            }
        )
    return build_frame("hosts", rows)


def services(snapshot: Snapshot) -> pd.DataFrame:
    """One row per Nova service on a host.

    Index: row number.

    * ``host`` (string): where it runs
    * ``binary`` (string): nova-compute, nova-network ...
    * ``zone`` (string): availability zone
    * ``status`` (string): enabled or disabled, the operator's word
    * ``state`` (string): up or down, what Nova sees
    * ``disabled_reason`` (string): where one was given
    * ``service_id`` (string): Icehouse and later
    """
    return build_frame(
        "services",
        (
            {
                "host": item.host,
                "binary": item.binary,
                "zone": item.zone,
                "status": item.status,
                "state": item.state,
                "disabled_reason": item.disabled_reason,
                "service_id": item.id,
            }
            for item in snapshot.services
        ),
    )


def availability_zones(snapshot: Snapshot) -> pd.DataFrame:
    """One row per availability zone that servers can be booted into.

    Index: ``zone`` (string).

    * ``available`` (boolean): whether one of its hosts is up
    * ``aggregates`` (string): names of the aggregates that make it, comma-separated
    * ``servers`` (Int64, count): in it, in any status
    """
    used = Counter(server.availability_zone for server in snapshot.servers)
    made_of: dict[str | None, list[str]] = defaultdict(list)
    for item in snapshot.aggregates:
        made_of[item.availability_zone].append(item.name)
    return build_frame(
        "availability_zones",
        (
            {
                "zone": zone.name,
                "available": zone.available,
                "aggregates": joined(made_of[zone.name]),
                "servers": used[zone.name],
            }
            for zone in snapshot.availability_zones
        ),
    )


def aggregates(snapshot: Snapshot) -> pd.DataFrame:
    """One row per host aggregate.

    Index: ``aggregate_id`` (string).

    * ``name`` (string): unique in a cloud
    * ``zone`` (string): the availability zone that it makes, if any
    * ``hosts`` (string): comma-separated
    * ``metadata`` (string): key=value, comma-separated; flavors' extra specs are matched with it
    * ``flavors`` (string): names of flavors with an extra spec of one of these keys, comma-separated
    * ``servers`` (Int64, count): on its hosts, in any status
    """
    keys = {flavor.name: {spec_key(key) for key in flavor.extra_specs} for flavor in snapshot.flavors}
    return build_frame(
        "aggregates",
        (
            {
                "aggregate_id": item.id,
                "name": item.name,
                "zone": item.availability_zone,
                "hosts": joined(item.hosts),
                "metadata": joined(f"{key}={value}" for key, value in item.metadata.items()),
                "flavors": joined(name for name, asked in keys.items() if asked & set(item.metadata)),
                "servers": sum(len(snapshot.servers_on(host)) for host in item.hosts),
            }
            for item in snapshot.aggregates
        ),
    )


def spec_key(key: str) -> str:
    """The aggregate's metadata key that a flavor's extra spec asks for (AggregateInstanceExtraSpecsFilter)."""
    return key.removeprefix("aggregate_instance_extra_specs:")


def _total(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
