"""What Fuel leaves in a cloud that it deployed: an image, a flavor and a network with which its own health check boots.

Names are those of Fuel 7.0 and 8.0. Made through the services' own APIs, as Fuel does.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from aiohttp import ClientSession

from pumphouse.lab.newcloud import NewCloud
from pumphouse.lab.world import World

IMAGE, FLAVOR, NETWORK = "TestVM", "m1.micro", "admin_internal_net"
#: Second octets of loopback addresses that no lab claims for its own networks: the first of them, and how many.
_FIRST, _MANY = 240, 15


async def furnish(new: NewCloud, world: World) -> None:
    """Make them as the administrator of a current cloud."""
    async with ClientSession(raise_for_status=True) as session:
        endpoints, token = await _log_in(session, new)
        headers = {"X-Auth-Token": token}

        async def post(service: str, path: str, document: dict[str, Any]) -> Any:
            async with session.post(f"{endpoints[service]}{path}", json=document, headers=headers) as answer:
                return await answer.json()

        await post("compute", "/flavors", {"flavor": {"name": FLAVOR, "vcpus": 1, "ram": 64, "disk": 0}})
        wanted = {"name": IMAGE, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        image = await post("image", "/v2/images", wanted)
        place = f"{endpoints['image']}/v2/images/{image['id']}/file"
        async with session.put(
            place, data=b"cirros", headers={**headers, "Content-Type": "application/octet-stream"}
        ) as answer:
            await answer.read()
        made = await post("network", "/v2.0/networks", {"network": {"name": NETWORK}})
        subnet = {"name": f"{NETWORK}__subnet", "network_id": made["network"]["id"], "ip_version": 4}
        await post("network", "/v2.0/subnets", {"subnet": {**subnet, "cidr": _cidr(world.fixed_cidr)}})


async def _log_in(session: ClientSession, new: NewCloud) -> tuple[dict[str, str], str]:
    """Public endpoints by type, and a token."""
    auth = new.entry["auth"]
    user = {
        "name": auth["username"],
        "domain": {"id": "default"},
        "password": new.secret["auth"]["password"],
    }
    scope = {"project": {"name": auth["project_name"], "domain": {"id": "default"}}}
    document = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    async with session.post(f"{new.auth_url}/auth/tokens", json=document) as answer:
        catalog = (await answer.json())["token"]["catalog"]
        token = answer.headers["X-Subject-Token"]
    endpoints = {
        service["type"]: next(one["url"] for one in service["endpoints"] if one["interface"] == "public").rstrip("/")
        for service in catalog
    }
    return endpoints, token


def _cidr(fixed: str) -> str:
    """A network of this lab alone, as far as it can be: guests listen on their own addresses."""
    _, second, third, _ = ipaddress.ip_network(fixed).network_address.packed
    return f"127.{_FIRST + second % _MANY}.{(second + third) % 256}.0/24"
