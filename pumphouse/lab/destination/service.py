"""Starting and stopping the simulated destination: four HTTP services on ports of their own."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware

from pumphouse.lab.destination.glance import Images
from pumphouse.lab.destination.glance_data import ImageData as ImageFiles
from pumphouse.lab.destination.keystone import Tokens
from pumphouse.lab.destination.keystone_crud import Directory
from pumphouse.lab.destination.neutron import Service as NetworkService
from pumphouse.lab.destination.neutron_floating import FloatingIps
from pumphouse.lab.destination.neutron_groups import Rules, SecurityGroups
from pumphouse.lab.destination.neutron_networks import Networks, Subnets
from pumphouse.lab.destination.neutron_ports import Ports
from pumphouse.lab.destination.neutron_routers import Routers
from pumphouse.lab.destination.nova import Service as ComputeService
from pumphouse.lab.destination.nova import negotiate
from pumphouse.lab.destination.nova_actions import Actions
from pumphouse.lab.destination.nova_boot import Boot
from pumphouse.lab.destination.nova_flavors import Flavors
from pumphouse.lab.destination.nova_hosts import Hosts
from pumphouse.lab.destination.nova_keypairs import Keypairs
from pumphouse.lab.destination.nova_quotas import DEFAULTS, Quotas
from pumphouse.lab.destination.nova_servers import Servers
from pumphouse.lab.destination.state import (
    REGION,
    Cloud,
    ComputeData,
    Host,
    IdentityData,
    ImageData,
    NetworkData,
)
from pumphouse.lab.destination.web import AUTH_URL, Json, make_app, new_hex_id, new_id, now, stamp
from pumphouse.lab.world import World

ADMIN, PASSWORD, PROJECT = "admin", "destination-secret", "admin"
EXTERNAL_NETWORK = "public"
_HOSTS = 3
_FREE: Mapping[str, int] = {}
_EXTERNAL_POOL = 60  # addresses that Neutron may hand out by itself
_NAMES = {"identity": "keystone", "image": "glance", "compute": "nova", "network": "neutron"}
_PATHS = {"identity": "/v3", "image": "", "compute": "/v2.1", "network": ""}


@dataclass
class DestinationInfo:
    """A running simulated destination and how to get in."""

    auth_url: str
    admin_username: str
    admin_password: str
    admin_project: str
    region: str
    cloud: Cloud
    runners: list[web.AppRunner] = field(default_factory=list)

    async def stop(self) -> None:
        """Stop answering; what was under way is dropped, guests fall silent."""
        pending = list(self.cloud.tasks)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for server in self.cloud.compute.servers.values():
            server.epoch += 1
            await self.cloud.world.layer2.power_off("destination", server.id)
        for runner in self.runners:
            await runner.cleanup()


async def start(
    world: World,
    *,
    host: str = "127.0.0.1",
    middlewares: Sequence[Middleware] = (),
    ports: Mapping[str, int] = _FREE,
    hosts: int = _HOSTS,
    admin: tuple[str, str, str] = (ADMIN, PASSWORD, PROJECT),
    pool: tuple[str, str] | None = None,
    controller: str = "controller",
) -> DestinationInfo:
    """Start an empty current cloud: an administrator, the usual roles, its hosts and the external network ``public``.

    :param world: time and the shared network; image bytes are kept below ``world.dir`` (or a temporary folder).
    :param host: the address that the services listen on, each on a free port.
    :param middlewares: aiohttp middlewares run around every request of every service (fault injection).
    :param ports: ports that services shall have instead, by type (``identity`` …).
    :param hosts: how many compute hosts it has.
    :param admin: the administrator's name, password and project.
    :param controller: the host of Nova's control services.
    :param pool: first and last floating address that Neutron may hand out by itself; the end of the range otherwise.
    """
    folder = Path(world.dir or tempfile.mkdtemp(prefix="pumphouse-lab-")) / "destination-images"
    folder.mkdir(parents=True, exist_ok=True)
    cloud = Cloud(
        world=world,
        identity=IdentityData(),
        image=ImageData(folder=folder),
        compute=ComputeData(class_quotas=dict(DEFAULTS)),
        network=NetworkData(),
    )
    sockets: dict[str, socket.socket] = {}
    for name in _NAMES:
        sockets[name] = socket.create_server((host, ports.get(name, 0)))
        cloud.urls[name] = f"http://{host}:{sockets[name].getsockname()[1]}{_PATHS[name]}"
    _populate(cloud, hosts, admin, pool, controller)
    runners = []
    for name, listener in sockets.items():
        app = make_app(name, middlewares)
        app[AUTH_URL] = cloud.urls["identity"]
        if name == "compute":
            app.middlewares.append(negotiate)
        app.add_routes(_routes(name, cloud))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        runners.append(runner)
    return DestinationInfo(
        auth_url=cloud.urls["identity"],
        admin_username=admin[0],
        admin_password=admin[1],
        admin_project=admin[2],
        region=REGION,
        cloud=cloud,
        runners=runners,
    )


def _routes(name: str, cloud: Cloud) -> list[web.RouteDef]:
    if name == "identity":
        return [*Tokens(cloud).routes(), *Directory(cloud).routes()]
    if name == "image":
        images = Images(cloud)
        return [*images.routes(), *ImageFiles(cloud, images).routes()]
    if name == "compute":
        parts = (ComputeService, Flavors, Keypairs, Hosts, Quotas, Boot, Servers, Actions)
        return [route for part in parts for route in part(cloud).routes()]
    kinds = (NetworkService, Networks, Subnets, Ports, Routers, FloatingIps, SecurityGroups, Rules)
    return [route for kind in kinds for route in kind(cloud).routes()]


def _populate(
    cloud: Cloud, hosts: int, admin: tuple[str, str, str], pool: tuple[str, str] | None, controller: str
) -> None:
    user_name, password, project_name = admin
    identity = cloud.identity
    for name in ("admin", "manager", "member", "reader", "service"):
        role_id = new_hex_id()
        identity.roles[role_id] = {
            "id": role_id,
            "name": name,
            "domain_id": None,
            "description": None,
            "options": {"immutable": True},
        }
    admin_role = next(key for key, item in identity.roles.items() if item["name"] == "admin")
    for name, text in ((project_name, "Bootstrap project for initializing the cloud."), ("service", "")):
        project_id = new_hex_id()
        identity.projects[project_id] = {
            "id": project_id,
            "name": name,
            "domain_id": "default",
            "description": text,
            "enabled": True,
            "parent_id": "default",
            "is_domain": False,
            "tags": [],
            "options": {},
            "extra": {},
        }
    project_id = next(iter(identity.projects))
    user_id = new_hex_id()
    identity.users[user_id] = {
        "id": user_id,
        "name": user_name,
        "domain_id": "default",
        "enabled": True,
        "password_expires_at": None,
        "options": {},
        "extra": {},
    }
    identity.passwords[user_id] = password
    identity.grants |= {(project_id, user_id, admin_role), ("system", user_id, admin_role)}
    for kind, name in _NAMES.items():
        service_id = new_hex_id()
        identity.services[service_id] = {"id": service_id, "name": name, "type": kind, "enabled": True}
        for interface in ("public", "internal", "admin"):
            endpoint = {"id": new_hex_id(), "interface": interface, "region_id": REGION, "region": REGION}
            identity.endpoints.append(endpoint | {"url": cloud.urls[kind], "service_id": service_id})
    for number, binary in enumerate(("nova-conductor", "nova-scheduler"), start=1):
        cloud.compute.control.append({"binary": binary, "host": controller, "number": number, "id": new_id()})
    for number in range(1, hosts + 1):
        host = Host(f"node-{number}", number + 2, service_id=new_id(), hypervisor_id=new_id())
        cloud.compute.hosts.append(host)
    _external(cloud, project_id, pool)


def _external(cloud: Cloud, project_id: str, given: tuple[str, str] | None) -> None:
    """The external network: its pool is the end of the range, so that the rest is left to be chosen."""
    cidr = IPv4Network(cloud.world.floating_cidr)
    moment = stamp(now())
    standard: Json = {
        "description": "",
        "tags": [],
        "created_at": moment,
        "updated_at": moment,
        "revision_number": 1,
        "tenant_id": project_id,
    }
    network_id, subnet_id = new_id(), new_id()
    cloud.network.networks[network_id] = {
        "id": network_id,
        "name": EXTERNAL_NETWORK,
        "project_id": project_id,
        "admin_state_up": True,
        "mtu": 1500,
        "status": "ACTIVE",
        "shared": False,
        "availability_zone_hints": [],
        "availability_zones": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "router:external": True,
        "qinq": False,
        "vlan_transparent": False,
        "port_security_enabled": True,
        "is_default": False,
        "provider:network_type": "flat",
        "provider:physical_network": "public",
        "provider:segmentation_id": None,
    } | standard
    pool = min(_EXTERNAL_POOL, max(1, cidr.num_addresses - 3))
    first, last = given or (str(cidr[-1 - pool]), str(cidr[-2]))
    cloud.network.subnets[subnet_id] = (
        {
            "id": subnet_id,
            "name": EXTERNAL_NETWORK,
            "project_id": project_id,
            "network_id": network_id,
            "ip_version": 4,
            "subnetpool_id": None,
            "enable_dhcp": False,
            "ipv6_ra_mode": None,
            "ipv6_address_mode": None,
            "gateway_ip": str(cidr[1]),
            "cidr": str(cidr),
            "allocation_pools": [{"start": first, "end": last}],
            "host_routes": [],
            "dns_nameservers": [],
            "service_types": [],
        }
        | standard
        | {"revision_number": 0}
    )
