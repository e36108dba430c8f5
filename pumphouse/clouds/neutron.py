"""Neutron's v2.0 API: networks, ports, security groups and floating IPs of the destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pumphouse.clouds.http import Service
from pumphouse.clouds.network_api import Neutron
from pumphouse.clouds.network_quotas import NetworkQuotas
from pumphouse.clouds.neutron_records import (
    floating_ip_of,
    network_of,
    port_of,
    rule_of,
    same_rule,
    security_group_of,
)
from pumphouse.clouds.paging import list_all
from pumphouse.clouds.parse import Doc, path
from pumphouse.clouds.routers import Routers
from pumphouse.errors import CloudError, Conflict
from pumphouse.model import FloatingIp, Network, Port, Quota, SecurityGroup, SecurityGroupRule


class NeutronNetworking(Neutron):
    """Neutron's verbs, as an administrator."""

    def __init__(self, api: Service) -> None:
        self._api = api
        self._routers = Routers(api)
        self._quotas = NetworkQuotas(api)

    def list_networks(self) -> list[Network]:
        """All networks with their IPv4 subnets (read only)."""
        subnets = list_all(self._api, "subnets")
        return [network_of(doc, subnets) for doc in list_all(self._api, "networks")]

    def get_network(self, network_id: str) -> Network:
        """One network by id, with its IPv4 subnet (read only)."""
        doc = self._api.get(path("networks", network_id), f"read network {network_id}").doc("network")
        return network_of(doc, list_all(self._api, "subnets", network_id=network_id))

    def networks_named(self, name: str) -> list[Network]:
        """All networks of that name (read only)."""
        docs = [doc for doc in list_all(self._api, "networks", name=name) if doc.maybe_text("name") == name]
        return [network_of(doc, list_all(self._api, "subnets", network_id=doc.text("id"))) for doc in docs]

    def create_network(self, network: Network) -> Network:
        """Make a network and its subnet."""
        doing = f"create network '{network.name}'"
        body: dict[str, object] = {"name": network.name, "admin_state_up": True, "shared": network.shared}
        if network.external:
            body["router:external"] = True
        if network.network_type is not None:
            provider = {
                "network_type": network.network_type, "physical_network": network.physical_network,
                "segmentation_id": network.segment,
            }  # fmt: skip
            body |= {f"provider:{key}": value for key, value in provider.items() if value is not None}
        owner = {"tenant_id": network.project_id} if network.project_id is not None else {}
        made = self._api.post("/networks", {"network": body | owner}, doing).doc().doc("network")
        network_id = made.text("id")
        subnet: dict[str, object] = {
            "network_id": network_id, "name": network.name, "ip_version": 4, "cidr": network.cidr,
            "gateway_ip": network.gateway_ip, "dns_nameservers": list(network.dns), "enable_dhcp": network.dhcp,
        }  # fmt: skip
        if network.pools:
            subnet["allocation_pools"] = [{"start": start, "end": end} for start, end in network.pools]
        try:
            answer = self._api.post("/subnets", {"subnet": subnet | owner}, f"create the subnet of {network.name}")
        except CloudError:
            self._api.delete(path("networks", network_id), f"remove network {network_id} again")
            raise
        return network_of(made, [answer.doc().doc("subnet")])

    def delete_network(self, network_id: str) -> None:
        """Delete a network; Neutron deletes its subnets with it."""
        self._api.delete(path("networks", network_id), f"delete network {network_id}")

    def find_router(self, network_id: str) -> tuple[str, str] | None:
        """(router id, external network id) of a router that joins this network to an external one, or None."""
        return self._routers.joining(network_id)

    def find_router_by_name(self, name: str) -> str | None:
        """A router's id by name, or None (read only)."""
        return self._routers.named(name)

    def create_router(self, name: str, *, external_network_id: str, subnet_id: str) -> str:
        """Make or finish a router; its interface takes the subnet's gateway address if that is free."""
        return self._routers.create(name, external_network_id, subnet_id)

    def delete_router(self, router_id: str) -> None:
        """Take a router apart and delete it."""
        self._routers.delete(router_id)

    def list_ports(
        self, *, network_id: str | None = None, server_id: str | None = None, name: str | None = None
    ) -> list[Port]:
        """Ports of all projects (read only)."""
        filters = {"network_id": network_id, "device_id": server_id, "name": name}
        wanted = {key: value for key, value in filters.items() if value is not None}
        ports = [port_of(doc) for doc in list_all(self._api, "ports", **wanted)]
        ports = [one for one in ports if name in (None, one.name)]
        return [one for one in ports if network_id in (None, one.network_id) and server_id in (None, one.server_id)]

    def find_port(self, network_id: str, address: str) -> Port | None:
        """The port that holds that address, or None (read only)."""
        docs = list_all(self._api, "ports", network_id=network_id, fixed_ips=f"ip_address={address}")
        for doc in docs:
            held = [one.maybe_text("ip_address") for one in doc.maybe_docs("fixed_ips")]
            if address in held and doc.text("network_id") == network_id:
                return replace(port_of(doc), address=address)
        return None

    def get_port(self, port_id: str) -> Port:
        """One port by id (read only)."""
        return port_of(self._api.get(path("ports", port_id), f"read port {port_id}").doc("port"))

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
        """Make an unbound port with that address and MAC."""
        subnet = {"subnet_id": network.subnet_id} if network.subnet_id else {}
        body: dict[str, object] = {
            "name": name, "network_id": network.id, "tenant_id": project_id,
            "fixed_ips": [{"ip_address": one} | subnet for one in (address, *more)],
            "security_groups": list(security_group_ids), "admin_state_up": True,
        }  # fmt: skip
        if mac is not None:
            body["mac_address"] = mac
        doing = f"create port '{name}' with {address} ({mac or 'any MAC'}) in network '{network.name}'"
        return port_of(self._api.post("/ports", {"port": body}, doing).doc().doc("port"))

    def delete_port(self, port_id: str) -> None:
        """Delete a port."""
        self._api.delete(path("ports", port_id), f"delete port {port_id}")

    def list_security_groups(self, *, project_id: str | None = None) -> list[SecurityGroup]:
        """All projects' groups (read only, but Neutron makes a project's ``default`` group when it is asked for it).

        :param project_id: only that project's, including the ``default`` group that it has from then on.
        """
        filters = {"tenant_id": project_id} if project_id is not None else {}
        groups = [security_group_of(doc) for doc in list_all(self._api, "security-groups", **filters)]
        return [group for group in groups if project_id in (None, group.project_id)]

    def get_security_group(self, group_id: str) -> SecurityGroup:
        """One group with its rules (read only)."""
        doc = self._api.get(path("security-groups", group_id), f"read security group {group_id}")
        return security_group_of(doc.doc("security_group"))

    def create_security_group(self, project_id: str, name: str, description: str) -> SecurityGroup:
        """Make a group in a project."""
        body = {"security_group": {"name": name, "description": description, "tenant_id": project_id}}
        doing = f"create security group '{name}' in project {project_id}"
        return security_group_of(self._api.post("/security-groups", body, doing).doc().doc("security_group"))

    def delete_security_group(self, group_id: str) -> None:
        """Delete a group."""
        self._api.delete(path("security-groups", group_id), f"delete security group {group_id}")

    def add_security_group_rule(self, group_id: str, project_id: str, rule: SecurityGroupRule) -> None:
        """Add a rule unless one like it is there."""
        if self._has_rule(group_id, rule):
            return
        body = {
            "security_group_id": group_id, "tenant_id": project_id, "direction": rule.direction,
            "ethertype": rule.ethertype, "protocol": rule.protocol, "port_range_min": rule.port_min,
            "port_range_max": rule.port_max, "remote_ip_prefix": rule.remote_cidr,
            "remote_group_id": rule.remote_group_id,
        }  # fmt: skip
        try:
            doing = f"add a rule to security group {group_id}"
            self._api.post("/security-group-rules", {"security_group_rule": body}, doing)
        except Conflict:
            if not self._has_rule(group_id, rule):
                raise

    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule."""
        self._api.delete(path("security-group-rules", rule_id), f"delete security group rule {rule_id}")

    def list_floating_ips(self) -> list[FloatingIp]:
        """All floating IPs with the server behind their port (read only)."""
        return self._floating_ips(list_all(self._api, "floatingips"))

    def find_floating_ip(self, address: str) -> FloatingIp | None:
        """The floating IP with that address, or None (read only)."""
        docs = list_all(self._api, "floatingips", floating_ip_address=address)
        return next(iter(self._floating_ips([one for one in docs if one.text("floating_ip_address") == address])), None)

    def create_floating_ip(self, *, external_network_id: str, project_id: str, address: str) -> FloatingIp:
        """Allocate that very address (Neutron's policy wants an administrator)."""
        body = {
            "floating_network_id": external_network_id, "tenant_id": project_id, "floating_ip_address": address,
        }  # fmt: skip
        doing = f"allocate floating IP {address} to project {project_id}"
        answer = self._api.post("/floatingips", {"floatingip": body}, doing).doc()
        return self._floating_ips([answer.doc("floatingip")])[0]

    def bind_floating_ip(self, floating_ip_id: str, port_id: str | None, *, fixed_address: str | None = None) -> None:
        """Bind to a port, or unbind; Neutron takes a port's first address unless it is told which."""
        doing = f"{'unbind' if port_id is None else 'bind'} floating IP {floating_ip_id}"
        body: dict[str, str | None] = {"port_id": port_id}
        if fixed_address is not None:
            body["fixed_ip_address"] = fixed_address
        self._api.put(path("floatingips", floating_ip_id), {"floatingip": body}, doing)

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Release a floating IP."""
        self._api.delete(path("floatingips", floating_ip_id), f"delete floating IP {floating_ip_id}")

    def floating_pools(self) -> dict[str, tuple[str, ...]]:
        """External network name -> its IPv4 subnets' CIDRs (read only)."""
        external = list_all(self._api, "networks", **{"router:external": "True"})
        subnets = list_all(self._api, "subnets")
        pools: dict[str, tuple[str, ...]] = {}
        for network in external:
            own = [one for one in subnets if one.text("network_id") == network.text("id")]
            cidrs = tuple(one.text("cidr") for one in own if one.whole("ip_version", 4) == 4)
            name = network.maybe_text("name") or network.text("id")
            pools[name] = pools.get(name, ()) + cidrs
        return pools

    def quota_use(self, project_id: str) -> dict[str, tuple[int, int]]:
        """Limit and use per resource (read only)."""
        return self._quotas.use(project_id)

    def default_quota(self) -> Quota:
        """The limits that a new project gets (read only)."""
        return self._quotas.default()

    def own_quota(self, project_id: str) -> Quota | None:
        """The limits that somebody set for this project, or None (read only)."""
        return self._quotas.own(project_id)

    def set_quota(self, project_id: str, limits: Mapping[str, int]) -> None:
        """Set some limits."""
        self._quotas.set(project_id, limits)

    def reset_quota(self, project_id: str) -> None:
        """Back to the default limits."""
        self._quotas.reset(project_id)

    def _floating_ips(self, docs: list[Doc]) -> list[FloatingIp]:
        external = {"router:external": "True"}
        networks = {
            one.text("id"): one.maybe_text("name") or one.text("id")
            for one in (list_all(self._api, "networks", **external) if docs else [])
        }
        bound = {port_id for doc in docs if (port_id := doc.maybe_text("port_id"))}
        # one port is asked for by its id; many are cheaper in one list
        ports = (
            [port_of(doc) for one in bound for doc in list_all(self._api, "ports", id=one)]
            if len(bound) < 4
            else [port_of(doc) for doc in list_all(self._api, "ports")]
        )
        servers = {port.id: port.server_id for port in ports if port.device_owner.startswith("compute:")}
        return [floating_ip_of(doc, networks, servers) for doc in docs]

    def _has_rule(self, group_id: str, rule: SecurityGroupRule) -> bool:
        there = list_all(self._api, "security-group-rules", security_group_id=group_id)
        return any(same_rule(rule_of(doc), rule) for doc in there if doc.text("security_group_id") == group_id)
