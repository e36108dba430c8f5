"""How a booting server gets its addresses: one strategy per kind of network at the destination."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pumphouse.clouds.api import Cloud
from pumphouse.errors import StepError
from pumphouse.model import Server
from pumphouse.steps.base import Context
from pumphouse.steps.ground import ground_of


@dataclass(frozen=True)
class Nics:
    """What a server has at the destination: address -> MAC, and its security groups by destination id."""

    addresses: Mapping[str, str | None]
    group_ids: tuple[str, ...]


class Attachment(ABC):
    """One way to attach servers. ``params`` are those of the boot step."""

    @abstractmethod
    def ask(self, ctx: Context, cloud: Cloud, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of :class:`pumphouse.model.ServerSpec` that attach the server (read only)."""

    @abstractmethod
    def seen(self, ctx: Context, server: Server) -> Nics:
        """What the server has (read only)."""

    @abstractmethod
    def floating(self, ctx: Context, server: Server, wanted: Iterable[str]) -> list[str]:
        """Which of these floating IPs are bound to the server (read only)."""


class PreparedPorts(Attachment):
    """Neutron: the ports were made ahead, with addresses, MACs and security groups."""

    def ask(self, ctx: Context, cloud: Cloud, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """The ports of this server."""
        return {"port_ids": tuple(ctx.mapped("port", port) for port in params["port_ids"])}

    def seen(self, ctx: Context, server: Server) -> Nics:
        """As its ports say."""
        ports = ctx.destination.neutron.list_ports(server_id=server.id)
        return Nics(
            {address: port.mac.lower() for port in ports for address in port.addresses or (port.address,) if address},
            tuple(sorted({group for port in ports for group in port.security_group_ids})),
        )

    def floating(self, ctx: Context, server: Server, wanted: Iterable[str]) -> list[str]:
        """As Neutron says: Nova learns it a moment later."""
        neutron = ctx.destination.neutron
        ports = neutron.list_ports(server_id=server.id)
        own = {address for port in ports for address in (port.address, *port.addresses)}
        known = ((address, neutron.find_floating_ip(address)) for address in wanted)
        return [address for address, found in known if found is not None and found.fixed_address in own]


class OpenedAddresses(Attachment):
    """nova-network: the boot asks for the addresses, which were kept back until now, and names its groups."""

    def ask(self, ctx: Context, cloud: Cloud, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """(network id, address) of each interface, and names of groups."""
        steps = [ctx.plan.step(f"port:{port}") for port in params["port_ids"]]
        held = [ctx.mapped("port", port).partition("/") for port in params["port_ids"]]
        return {
            "fixed_ips": tuple((network_id, address) for network_id, _, address in held),
            "security_groups": tuple(steps[0].params["security_groups"]) if steps else (),
        }

    def seen(self, ctx: Context, server: Server) -> Nics:
        """As Nova says; it tells its groups by name."""
        groups = ground_of(ctx.destination).list_security_groups(project_id=server.project_id)
        return Nics(
            {one.address: one.mac for one in server.addresses if one.version == 4},
            tuple(sorted(group.id for group in groups if group.name in server.security_groups)),
        )

    def floating(self, ctx: Context, server: Server, wanted: Iterable[str]) -> list[str]:
        """As Nova says."""
        return [address for address in wanted if address in server.floating_ips]


#: Network service of the destination -> how servers are attached there.
ATTACHMENTS: dict[str, Attachment] = {"neutron": PreparedPorts(), "nova-network": OpenedAddresses()}


def attachment(ctx: Context) -> Attachment:
    """The destination's way.

    :raises StepError: when it has a network service that nothing here knows.
    """
    service = ctx.destination.facts.network_service
    if service not in ATTACHMENTS:
        raise StepError(
            f"Servers cannot be attached at {ctx.destination.name}: its network service is {service}.",
            remedy=f"use a destination with {' or '.join(ATTACHMENTS)}.",
        )
    return ATTACHMENTS[service]
