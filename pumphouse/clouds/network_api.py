"""The verbs of a cloud's network service: what nova-network and Neutron both can do, and what only one of them can.

They follow the rules of :mod:`pumphouse.clouds.api`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from threading import Lock

from pumphouse.model import FloatingIp, Network, Port, Quota, SecurityGroup, SecurityGroupRule


class Networking(ABC):
    """What nova-network and Neutron both can do."""

    @abstractmethod
    def list_networks(self) -> list[Network]:
        """All networks (read only)."""

    @abstractmethod
    def list_security_groups(self) -> list[SecurityGroup]:
        """All projects' security groups with their rules (read only)."""

    @abstractmethod
    def list_floating_ips(self) -> list[FloatingIp]:
        """Every allocated floating IP of every project, with the server it is bound to (read only)."""

    @abstractmethod
    def floating_pools(self) -> dict[str, tuple[str, ...]]:
        """Pool name (or external network name) -> its CIDRs, where known (read only)."""


class NovaNetwork(Networking):
    """nova-network's own verbs.

    ``allocating`` is held while an address is put into a pool and taken out of it: a pool gives any that is free.
    """

    allocating: Lock

    @abstractmethod
    def fixed_ip_state(self, address: str) -> str:
        """``free``, ``used``, ``reserved`` or ``outside`` (not of any network) (read only).

        Until Nova 2.4 (Kilo) no API tells a reserved address from a free one: there it counts as ``free``;
        :meth:`tells_reservations` says which it is.
        """

    def tells_reservations(self) -> bool:
        """Whether :meth:`fixed_ip_state` can say ``reserved``."""
        return False

    @abstractmethod
    def reserve_fixed_ip(self, address: str) -> None:
        """Keep the source from ever handing that address out; repeating is harmless."""

    @abstractmethod
    def unreserve_fixed_ip(self, address: str) -> None:
        """Undo :meth:`reserve_fixed_ip`; repeating is harmless."""

    @abstractmethod
    def floating_ip_holder(self, address: str) -> str | None:
        """Id of the server that a floating IP is bound to; None: nobody, or we may not know (read only)."""

    @abstractmethod
    def associate_floating_ip(self, server_id: str, address: str, *, fixed_address: str | None = None) -> None:
        """Bind an allocated floating IP to a server; repeating is harmless."""

    @abstractmethod
    def disassociate_floating_ip(self, server_id: str, address: str) -> None:
        """Unbind; it stays allocated to its project. Unbinding what is not bound changes nothing."""

    # as a destination: an older Mirantis cloud

    @abstractmethod
    def create_network(self, network: Network) -> Network:
        """Make a FlatDHCP network (name, cidr, gateway_ip, dns, bridge, project_id). Raises Conflict on an overlap."""

    @abstractmethod
    def delete_network(self, network_id: str) -> None:
        """Delete a network that no server uses."""

    @abstractmethod
    def create_security_group(self, name: str, description: str) -> SecurityGroup:
        """Make a group in the caller's project."""

    @abstractmethod
    def delete_security_group(self, group_id: str) -> None:
        """Delete a group of the caller's project."""

    @abstractmethod
    def add_security_group_rule(self, group_id: str, rule: SecurityGroupRule) -> None:
        """Add an ingress rule to a group of the caller's project; one that exists already changes nothing."""

    @abstractmethod
    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule of the caller's project."""

    @abstractmethod
    def free_floating_ips(self, pool: str) -> list[str]:
        """Addresses of a pool that no project holds (read only, administrator)."""

    @abstractmethod
    def add_floating_ip(self, pool: str, address: str) -> None:
        """Put one address into a pool, which comes into being with its first (administrator)."""

    @abstractmethod
    def remove_floating_ip(self, address: str) -> None:
        """Take an address out of its pool (administrator)."""

    @abstractmethod
    def allocate_floating_ip(self, pool: str) -> str:
        """Give the caller's project some free address of a pool: nobody can choose which."""

    @abstractmethod
    def release_floating_ip(self, address: str) -> None:
        """Give an address of the caller's project back to its pool."""


class Neutron(Networking):
    """Neutron's own verbs (destination side)."""

    @abstractmethod
    def list_security_groups(self, *, project_id: str | None = None) -> list[SecurityGroup]:
        """All groups, or one project's; asked for one, Neutron makes its ``default`` group if need be."""

    @abstractmethod
    def get_security_group(self, group_id: str) -> SecurityGroup:
        """One group with its rules (read only)."""

    @abstractmethod
    def get_network(self, network_id: str) -> Network:
        """One network by id, with its IPv4 subnet (read only)."""

    @abstractmethod
    def networks_named(self, name: str) -> list[Network]:
        """All networks of that name, external ones too (read only)."""

    @abstractmethod
    def create_network(self, network: Network) -> Network:
        """Make a network and its subnet (name, cidr, gateway, dns, pools, shared, dhcp, project_id).

        With ``network_type`` it is a provider network on ``physical_network`` (and ``segment``), which Neutron's policy
        leaves to administrators. A network without its subnet is removed again when the subnet is refused.
        """

    @abstractmethod
    def delete_network(self, network_id: str) -> None:
        """Delete a network and its subnets."""

    @abstractmethod
    def find_router(self, network_id: str) -> tuple[str, str] | None:
        """(router id, external network id) of a router that joins this network to an external one, or None."""

    @abstractmethod
    def find_router_by_name(self, name: str) -> str | None:
        """A router's id by name, or None (read only)."""

    @abstractmethod
    def create_router(self, name: str, *, external_network_id: str, subnet_id: str) -> str:
        """Make a router with a gateway in the external network and an interface in the subnet; returns its id.

        Finishes a router of that name that an earlier, interrupted call left incomplete.
        """

    @abstractmethod
    def delete_router(self, router_id: str) -> None:
        """Remove a router's interfaces and gateway, then the router."""

    @abstractmethod
    def list_ports(
        self, *, network_id: str | None = None, server_id: str | None = None, name: str | None = None
    ) -> list[Port]:
        """Ports of all projects (read only)."""

    @abstractmethod
    def find_port(self, network_id: str, address: str) -> Port | None:
        """The port that holds that address, or None (read only)."""

    @abstractmethod
    def get_port(self, port_id: str) -> Port:
        """One port by id (read only)."""

    @abstractmethod
    def create_port(
        self,
        *,
        name: str,
        network: Network,
        project_id: str,
        address: str,
        mac: str | None,
        security_group_ids: Sequence[str],
        more: Sequence[str] = (),
    ) -> Port:
        """Make an unbound port with that fixed IP and MAC. Raises Conflict if either is taken.

        :param more: further addresses of the same interface.
        """

    @abstractmethod
    def delete_port(self, port_id: str) -> None:
        """Delete a port."""

    @abstractmethod
    def create_security_group(self, project_id: str, name: str, description: str) -> SecurityGroup:
        """Make a group in a project (Neutron adds its two egress rules by itself)."""

    @abstractmethod
    def delete_security_group(self, group_id: str) -> None:
        """Delete a group."""

    @abstractmethod
    def add_security_group_rule(self, group_id: str, project_id: str, rule: SecurityGroupRule) -> None:
        """Add a rule (``rule.id`` is ignored); one that exists already changes nothing."""

    @abstractmethod
    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule."""

    @abstractmethod
    def find_floating_ip(self, address: str) -> FloatingIp | None:
        """The floating IP with that address, or None (read only)."""

    @abstractmethod
    def create_floating_ip(self, *, external_network_id: str, project_id: str, address: str) -> FloatingIp:
        """Allocate that very address to a project. Raises Conflict if it is taken."""

    @abstractmethod
    def bind_floating_ip(self, floating_ip_id: str, port_id: str | None, *, fixed_address: str | None = None) -> None:
        """Bind to a port (None: unbind), and to that one of its addresses; repeating is harmless."""

    @abstractmethod
    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Release a floating IP."""

    @abstractmethod
    def quota_use(self, project_id: str) -> dict[str, tuple[int, int]]:
        """Per resource (``port``, ``floatingip`` …): a project's limit (-1: none) and what it uses (read only)."""

    @abstractmethod
    def default_quota(self) -> Quota:
        """The limits that a new project gets (read only; ``project_id`` is empty)."""

    @abstractmethod
    def own_quota(self, project_id: str) -> Quota | None:
        """The limits that somebody set for this project, None when it has the defaults (read only)."""

    @abstractmethod
    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some of a project's limits; the others stay."""

    @abstractmethod
    def reset_quota(self, project_id: str) -> None:
        """Give a project the default limits again; one that has them stays as it is."""
