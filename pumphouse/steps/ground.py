"""Making networks, groups and floating IPs at a destination, whichever network service it has.

Current clouds have Neutron. An older Mirantis cloud (Fuel deploys nova-network up to 7.0) has nova-network, whose API
works in the caller's project only and knows no ports: there the verbs that steps use are made of what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError, Conflict, NotFound
from pumphouse.model import FloatingIp, Network, Quota, SecurityGroup, SecurityGroupRule
from pumphouse.plan.rules import Untranslatable, egress, translate


class Ground(Protocol):
    """What both network services can make, by the names of :class:`pumphouse.clouds.api.Neutron`."""

    def networks_named(self, name: str) -> list[Network]:
        """Networks of that name (read only)."""

    def get_network(self, network_id: str) -> Network:
        """One network (read only); raises NotFound."""

    def create_network(self, network: Network) -> Network:
        """Make a network."""

    def delete_network(self, network_id: str) -> None:
        """Delete a network."""

    def list_security_groups(self, *, project_id: str | None = None) -> list[SecurityGroup]:
        """A project's groups, with its ``default`` (read only)."""

    def get_security_group(self, group_id: str) -> SecurityGroup:
        """One group (read only); raises NotFound."""

    def create_security_group(self, project_id: str, name: str, description: str) -> SecurityGroup:
        """Make a group in a project."""

    def delete_security_group(self, group_id: str) -> None:
        """Delete a group."""

    def add_security_group_rule(self, group_id: str, project_id: str, rule: SecurityGroupRule) -> None:
        """Add a rule."""

    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule."""

    def list_floating_ips(self) -> list[FloatingIp]:
        """Every allocated floating IP (read only)."""

    def find_floating_ip(self, address: str) -> FloatingIp | None:
        """An allocated floating IP (read only)."""

    def create_floating_ip(self, *, external_network_id: str, project_id: str, address: str) -> FloatingIp:
        """Allocate that very address."""

    def bind_floating_ip(self, floating_ip_id: str, port_id: str | None, *, fixed_address: str | None = None) -> None:
        """Bind or unbind."""

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Release."""

    def quota_use(self, project_id: str) -> dict[str, tuple[int, int]]:
        """Limit and use per resource (read only)."""

    def own_quota(self, project_id: str) -> Quota | None:
        """Limits that were set for a project (read only)."""

    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some limits."""

    def reset_quota(self, project_id: str) -> None:
        """Back to the defaults."""


def ground_of(cloud: Cloud) -> Ground:
    """The destination's network service as steps use it."""
    return NovaGround(cloud) if cloud.facts.network_service == "nova-network" else cloud.neutron


class NovaGround:
    """nova-network as a destination; an administrator with a role in the projects that it works in."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._nova = cloud.nova_network

    def networks_named(self, name: str) -> list[Network]:
        """Networks of that label (read only)."""
        return [network for network in self._nova.list_networks() if network.name == name]

    def get_network(self, network_id: str) -> Network:
        """One network (read only)."""
        for network in self._nova.list_networks():
            if network.id == network_id:
                return network
        raise NotFound(f"Cloud '{self._cloud.name}' has no network {network_id}.", status=404)

    def create_network(self, network: Network) -> Network:
        """Make a network; nova-network cuts no pool out of it: its other addresses have to be reserved."""
        return self._nova.create_network(network)

    def delete_network(self, network_id: str) -> None:
        """Delete a network that nobody uses."""
        self._nova.delete_network(network_id)

    def list_security_groups(self, *, project_id: str | None = None) -> list[SecurityGroup]:
        """All groups, or one project's, with ``default``, which asking as the project makes."""
        if project_id is None:
            return [_seen(group) for group in self._nova.list_security_groups()]
        with _Scoped(self._cloud, project_id) as there:
            groups = there.nova_network.list_security_groups()
        return [_seen(group) for group in groups if group.project_id == project_id]

    def get_security_group(self, group_id: str) -> SecurityGroup:
        """One group (read only)."""
        for group in self._nova.list_security_groups():
            if group.id == group_id:
                return _seen(group)
        raise NotFound(f"Cloud '{self._cloud.name}' has no security group {group_id}.", status=404)

    def create_security_group(self, project_id: str, name: str, description: str) -> SecurityGroup:
        """Make a group as the project; nova-network wants a description."""
        with _Scoped(self._cloud, project_id) as there:
            return _seen(there.nova_network.create_security_group(name, description.strip() or name))

    def delete_security_group(self, group_id: str) -> None:
        """Delete a group; ``default`` cannot be deleted here and goes unused."""
        group = next((one for one in self._nova.list_security_groups() if one.id == group_id), None)
        if group is not None and group.name != "default":
            with _Scoped(self._cloud, group.project_id) as there:
                there.nova_network.delete_security_group(group_id)

    def add_security_group_rule(self, group_id: str, project_id: str, rule: SecurityGroupRule) -> None:
        """Add a rule; what servers send is never filtered, so that egress rules need none."""
        if rule.direction == "ingress":
            with _Scoped(self._cloud, project_id) as there:
                there.nova_network.add_security_group_rule(group_id, rule)

    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule as the project that it belongs to."""
        for group in self._nova.list_security_groups():
            if any(rule.id == rule_id for rule in group.rules):
                with _Scoped(self._cloud, group.project_id) as there:
                    there.nova_network.delete_security_group_rule(rule_id)

    def list_floating_ips(self) -> list[FloatingIp]:
        """Every allocated floating IP (read only)."""
        return self._nova.list_floating_ips()

    def find_floating_ip(self, address: str) -> FloatingIp | None:
        """An allocated floating IP (read only)."""
        return next((one for one in self._nova.list_floating_ips() if one.address == address), None)

    def create_floating_ip(self, *, external_network_id: str, project_id: str, address: str) -> FloatingIp:
        """Put the address into a pool of that name and allocate it: the only way to get that very one.

        nova-network gives a project any free address of a pool, so that there must be no other.

        :param external_network_id: the pool's name.
        :raises Conflict: when the pool has other free addresses.
        """
        with self._nova.allocating:  # a pool gives its free address to whoever asks first
            return self._create_floating_ip(external_network_id, project_id, address)

    def _create_floating_ip(self, pool: str, project_id: str, address: str) -> FloatingIp:
        free = self._nova.free_floating_ips(pool)
        if set(free) - {address}:
            raise Conflict(
                f"Cloud '{self._cloud.name}': pool {pool} has free floating IPs beside {address} "
                f"({', '.join(sorted(set(free) - {address})[:5])}), and nova-network does not let anybody choose.",
                status=409,
                remedy="take the free ones out of the pool (nova floating-ip-bulk-delete) until the move is over.",
            )
        if address not in free:
            self._nova.add_floating_ip(pool, address)
        with _Scoped(self._cloud, project_id) as there:
            given = there.nova_network.allocate_floating_ip(pool)
        if given != address:
            raise Conflict(
                f"Cloud '{self._cloud.name}' gave project {project_id} floating IP {given} instead of {address}.",
                status=409,
                remedy=f"release {given} there: somebody changed pool {pool} at that very moment; then run again.",
            )
        return FloatingIp(address, address, pool, project_id)

    def bind_floating_ip(self, floating_ip_id: str, port_id: str | None, *, fixed_address: str | None = None) -> None:
        """Bind to the server that has the fixed address, or unbind (an id is an address here)."""
        found = self.find_floating_ip(floating_ip_id)
        if found is None or found.project_id is None:
            raise NotFound(f"Cloud '{self._cloud.name}' has no floating IP {floating_ip_id}.", status=404)
        with _Scoped(self._cloud, found.project_id) as there:
            if port_id is None:
                if found.server_id is not None:
                    there.nova_network.disassociate_floating_ip(found.server_id, found.address)
                return
            for server in self._cloud.compute.list_servers(project_id=found.project_id):
                if any(one.address == fixed_address for one in server.addresses):
                    there.nova_network.associate_floating_ip(server.id, found.address, fixed_address=fixed_address)
                    return
        raise CloudError(
            f"Cloud '{self._cloud.name}': no server of project {found.project_id} has {fixed_address}, for floating IP "
            f"{found.address} to be bound to.",
            remedy="boot the server first.",
        )

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Release an address and take it out of its pool."""
        found = self.find_floating_ip(floating_ip_id)
        if found is not None and found.project_id is not None:
            with _Scoped(self._cloud, found.project_id) as there:
                there.nova_network.release_floating_ip(found.address)
        self._nova.remove_floating_ip(floating_ip_id)

    def quota_use(self, project_id: str) -> dict[str, tuple[int, int]]:
        """Limits out of Nova's quota set; what is used it does not tell others than the project."""
        return {name: (limit, 0) for name, limit in self._cloud.compute.get_quota(project_id).limits.items()}

    def own_quota(self, project_id: str) -> Quota | None:
        """The project's limits: Nova does not tell its own from the defaults."""
        return self._cloud.compute.get_quota(project_id)

    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some limits."""
        self._cloud.compute.set_quota(project_id, limits)

    def reset_quota(self, project_id: str) -> None:
        """The default limits."""
        self._cloud.compute.set_quota(project_id, self._cloud.compute.get_default_quota().limits)


class _Scoped:
    """The cloud in another project, for as long as a ``with`` lasts."""

    def __init__(self, cloud: Cloud, project_id: str) -> None:
        self._cloud = cloud.in_project(project_id)

    def __enter__(self) -> Cloud:
        return self._cloud

    def __exit__(self, *_: object) -> None:
        self._cloud.close()


def _seen(group: SecurityGroup) -> SecurityGroup:
    """A group with its rules in Neutron's words, and the egress that nobody filters, so that both sides compare."""
    rules = []
    for rule in group.rules:
        try:
            meant = translate(rule)
        except Untranslatable:
            meant = None
        rules.append(rule if meant is None else replace(meant, id=rule.id))
    return replace(group, rules=(*rules, *egress()))
