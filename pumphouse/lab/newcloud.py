"""Starting the new cloud of a site: beside the old one from the beginning, or when Fuel has deployed it."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumphouse.lab import bootstrap, database, destination, parts, sitefiles, source
from pumphouse.lab.destination.web import SERVICE
from pumphouse.lab.hardware.fleet import Deployment
from pumphouse.lab.hardware.tenants import NewTenants, OldTenants, Tenants
from pumphouse.lab.world import World

#: Where the services of a cloud that Fuel deployed listen, at its VIP.
PORTS = {"identity": 5000, "image": 9292, "compute": 8774, "network": 9696}
_OLD_PORTS = {"keystone": 5000, "keystone_admin": 35357, "glance": 9292, "nova": 8774}


@dataclass(frozen=True)
class NewCloud:
    """The running new cloud: the administrator's entries of ``clouds.yaml`` and ``secure.yaml``, and its auth URL.

    ``hosts`` are its compute hosts with vCPUs, MiB and GiB.
    """

    entry: dict[str, Any]
    secret: dict[str, Any]
    auth_url: str
    tenants: Tenants
    hosts: dict[str, tuple[int, int, int]]


async def start_older(
    stack: contextlib.AsyncExitStack,
    world: World,
    directory: Path,
    deployment: Deployment | None = None,
    controller: str = "controller",
) -> NewCloud:
    """An older cloud with nova-network.

    :param deployment: what Fuel deployed; it has no compute hosts yet then.
    :param controller: the host of its control services.
    """
    place: dict[str, Any] = {} if deployment is None else {"host": deployment.vip, "ports": _OLD_PORTS}
    older = await source.start(world, cloud="destination", seed=bootstrap.SEED, **place)
    stack.push_async_callback(older.stop)
    user, password = ("admin", secrets.token_urlsafe(18))
    if deployment is not None:
        user, password = deployment.username, deployment.password
    hosts = bootstrap.HOSTS if deployment is None else ()
    bootstrap.bootstrap(older.state, password, user=user, hosts=hosts, controller=controller)
    databases = database.OldDatabases(directory / "databases", older.state, "new")
    world.faults.followers.append(lambda name: databases.follow() if name.startswith("destination.") else None)
    hidden = ("_sets", "_written")
    follows = parts.Fields("destination followers", [(databases, hidden)], hidden=hidden)
    world.checkpoints.parts += [*parts.parts_of_source(older.state), follows]
    keystone = older.state.endpoints.keystone
    clouds, secure = sitefiles.source_entries(keystone, older.state.region, {"admin": (user, password)})
    sizes = {host.name: (host.vcpus, host.memory_mb, host.disk_gb) for host in older.state.hosts.values()}
    return NewCloud(clouds["old"], secure["old"], f"{keystone}/v2.0", OldTenants(older.state), sizes)


async def start_current(
    stack: contextlib.AsyncExitStack,
    world: World,
    directory: Path,
    deployment: Deployment | None = None,
    controller: str = "controller",
) -> NewCloud:
    """A current cloud with Neutron; ``deployment`` and ``controller`` as above."""
    named = world.faults.middleware(lambda request: f"destination.{request.app[SERVICE]}")
    place: dict[str, Any] = {"controller": controller}
    if deployment is not None:
        admin = (deployment.username, deployment.password, deployment.tenant)
        place |= {"host": deployment.vip, "ports": PORTS, "hosts": 0, "admin": admin, "pool": deployment.floating}
    new = await destination.start(world, middlewares=[named], **place)
    stack.push_async_callback(new.stop)
    keystone_database = database.DestinationKeystone(directory / "databases", new.cloud.identity)
    world.faults.followers.append(lambda name: keystone_database.follow() if name == "destination.identity" else None)
    hidden = ("_set", "_known")
    follows = parts.Fields("destination followers", [(keystone_database, hidden)], hidden=hidden)
    world.checkpoints.parts += [*parts.parts_of_destination(new.cloud), follows]
    world.faults.silences = (database.UnreadableHash,)
    cloud, secret = sitefiles.destination_entries(
        new.auth_url, new.admin_username, new.admin_password, new.admin_project, new.region
    )
    hosts = {host.name: (host.vcpus, host.ram_mib, host.disk_gib) for host in new.cloud.compute.hosts}
    return NewCloud(cloud["new"], secret["new"], new.auth_url, NewTenants(new.cloud), hosts)
