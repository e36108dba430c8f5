"""nova-network (FlatDHCP) over Nova's v2 extensions: networks, addresses and security groups of the source."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from http import HTTPStatus

from pumphouse.clouds.api import Compute
from pumphouse.clouds.http import Service
from pumphouse.clouds.network_api import NovaNetwork
from pumphouse.clouds.paging import endless
from pumphouse.clouds.parse import Doc, malformed, path
from pumphouse.errors import ApiError, Conflict, NotFound
from pumphouse.model import FloatingIp, Network, SecurityGroup, SecurityGroupRule, Server

_PAGE = 1000
_TRIES = 5
_FIXED_IP_MICROVERSION = "2.4"


class NovaNetworking(NovaNetwork):
    """nova-network's verbs.

    :param api: Nova as the catalog names it.
    :param compute: for the servers that floating IPs belong to.
    :param newer_api: Nova's v2.1 where it offers at least 2.4: the first to tell reserved addresses from free ones.
    """

    def __init__(self, api: Service, compute: Compute, newer_api: Callable[[], Service | None]) -> None:
        self._api = api
        self._compute = compute
        self._newer_api = newer_api
        self.allocating = threading.Lock()

    def list_networks(self) -> list[Network]:
        """All networks; whoever is no administrator is told of none or of fewer (read only)."""
        return [network_of(doc) for doc in self._api.get("/os-networks", "list networks").docs("networks")]

    def list_security_groups(self) -> list[SecurityGroup]:
        """All projects' groups; source groups, named by project and name, are resolved to ids (read only).

        A source group that is not in the list gets ``remote_group_id`` ``PROJECT/NAME``: never an open rule.
        """
        # a group that is made between two pages moves the next one by a place: such a listing is begun anew
        docs = next((found for _ in range(_TRIES) if (found := self._all_groups()) is not None), None)
        if docs is None:
            raise endless(self._api, "security groups")
        ids = {(doc.text("tenant_id"), doc.text("name")): group_id for group_id, doc in docs.items()}
        return [security_group_of(doc, ids) for doc in docs.values()]

    def _all_groups(self) -> dict[str, Doc] | None:
        """Page by page, by offset; None when a page repeats what came before."""
        docs: dict[str, Doc] = {}
        while True:
            offset = {"offset": str(len(docs))} if docs else {}
            params = {"all_tenants": "1", "limit": str(_PAGE), **offset}
            page = self._api.get("/os-security-groups", "list security groups", **params).docs("security_groups")
            if not page:
                return docs
            known = len(docs)
            docs |= {doc.text("id"): doc for doc in page}
            if len(docs) != known + len(page):
                return None

    def list_floating_ips(self) -> list[FloatingIp]:
        """Allocated floating IPs; their id is their address (read only).

        Taken from ``os-floating-ips-bulk`` and the servers' own addresses: Ocata's ``os-floating-ips`` list always
        says that nothing is bound.
        """
        bulk = self._bulk()
        servers = {address: server for server in self._compute.list_servers() for address in server.floating_ips}
        return [floating_ip_of(doc, servers) for doc in bulk if doc.maybe_text("project_id")]

    def floating_pools(self) -> dict[str, tuple[str, ...]]:
        """Pool name -> the fewest CIDRs that hold exactly its addresses (read only)."""
        doing = "list floating IP pools"
        names = [doc.text("name") for doc in self._api.get("/os-floating-ip-pools", doing).docs("floating_ip_pools")]
        addresses: dict[str, list[ipaddress.IPv4Network]] = {name: [] for name in names}
        for doc in self._bulk():
            pool = doc.maybe_text("pool")
            if pool is not None:
                addresses.setdefault(pool, []).append(ipaddress.IPv4Network(_ipv4(doc)))
        return {
            name: tuple(str(cidr) for cidr in ipaddress.collapse_addresses(found)) for name, found in addresses.items()
        }

    def fixed_ip_state(self, address: str) -> str:
        """``free``, ``used``, ``reserved`` or ``outside``; before microversion 2.4 never ``reserved`` (read only)."""
        api = self._newer_api()
        headers = {"X-OpenStack-Nova-API-Version": _FIXED_IP_MICROVERSION} if api is not None else {}
        place = path("os-fixed-ips", address)
        try:
            reply = (api or self._api).call(
                "GET", place, f"look at fixed IP {address}", repeatable=True, headers=headers
            )
        except NotFound:
            return "outside"
        except ApiError as error:
            if error.status == 400:
                return "outside"
            raise
        record = reply.doc().doc("fixed_ip")
        if "host" in record or "hostname" in record:
            return "used"
        return "reserved" if record.flag("reserved", False) else "free"

    def tells_reservations(self) -> bool:
        """Whether Nova offers microversion 2.4."""
        return self._newer_api() is not None

    def reserve_fixed_ip(self, address: str) -> None:
        """Keep an address from ever being handed out."""
        self._fixed_ip_action(address, "reserve")

    def unreserve_fixed_ip(self, address: str) -> None:
        """Undo :meth:`reserve_fixed_ip`."""
        self._fixed_ip_action(address, "unreserve")

    def associate_floating_ip(self, server_id: str, address: str, *, fixed_address: str | None = None) -> None:
        """Bind a floating IP; one that is bound to another server is refused, because Nova would just take it away.

        :raises Conflict: when it is bound to another server.
        """
        holder = self.floating_ip_holder(address)
        if holder is not None and holder != server_id:
            raise Conflict(
                f"Cloud '{self._api.wire.cloud}': floating IP {address} is bound to server {holder}, not {server_id}.",
                status=409,
                remedy="unbind it there first, if that is meant.",
            )
        body = {"address": address}
        if fixed_address is not None:
            body["fixed_address"] = fixed_address
        doing = f"bind floating IP {address} to server {server_id}"
        self._api.post(path("servers", server_id, "action"), {"addFloatingIp": body}, doing, repeatable=True)

    def disassociate_floating_ip(self, server_id: str, address: str) -> None:
        """Unbind a floating IP."""
        doing = f"unbind floating IP {address} from server {server_id}"
        body = {"removeFloatingIp": {"address": address}}
        try:
            self._api.post(path("servers", server_id, "action"), body, doing, repeatable=True)
        except ApiError as error:
            # not bound (any more): 422 until Icehouse, 409 or 404 later, also when the server is gone
            if error.status not in (404, 409, 422) or self._is_bound(server_id, address):
                raise

    def create_network(self, network: Network) -> Network:
        """Make a FlatDHCP network; the network host takes the gateway's address."""
        given = {
            "label": network.name, "cidr": network.cidr, "gateway": network.gateway_ip, "bridge": network.bridge,
            "project_id": network.project_id, **{f"dns{n}": dns for n, dns in enumerate(network.dns[:2], 1)},
        }  # fmt: skip
        body = {"network": {key: value for key, value in given.items() if value is not None}}
        return network_of(self._api.post("/os-networks", body, f"create network '{network.name}'").doc().doc("network"))

    def delete_network(self, network_id: str) -> None:
        """Delete a network; one that belongs to a project is taken from it first."""
        place = path("os-networks", network_id)
        if self._api.find(place, f"read network {network_id}") is None:
            return
        self._api.post(f"{place}/action", {"disassociate": None}, f"free network {network_id}", repeatable=True)
        self._api.delete(place, f"delete network {network_id}")

    def create_security_group(self, name: str, description: str) -> SecurityGroup:
        """Make a group in our project."""
        body = {"security_group": {"name": name, "description": description}}
        made = self._api.post("/os-security-groups", body, f"create security group '{name}'").doc()
        return security_group_of(made.doc("security_group"), {})

    def delete_security_group(self, group_id: str) -> None:
        """Delete a group of our project."""
        self._api.delete(path("os-security-groups", group_id), f"delete security group {group_id}")

    def add_security_group_rule(self, group_id: str, rule: SecurityGroupRule) -> None:
        """Add a rule in nova-network's words: -1 for any ICMP, all ports spelt out, no protocol only for a group."""
        icmp = rule.protocol in ("icmp", "ipv6-icmp")
        low, high = ((-1, -1) if icmp else (1, 65535)) if rule.port_min is None else (rule.port_min, rule.port_max)
        given = {"parent_group_id": group_id, "cidr": rule.remote_cidr, "group_id": rule.remote_group_id}
        if rule.protocol is not None:
            high = -1 if high is None else high
            given |= {"ip_protocol": "icmp" if icmp else rule.protocol, "from_port": str(low), "to_port": str(high)}
        body = {"security_group_rule": {key: value for key, value in given.items() if value is not None}}
        try:
            self._api.post("/os-security-group-rules", body, f"add a rule to security group {group_id}")
        except ApiError as error:
            if "already exists" not in error.message:
                raise

    def delete_security_group_rule(self, rule_id: str) -> None:
        """Delete a rule of our project."""
        self._api.delete(path("os-security-group-rules", rule_id), f"delete security group rule {rule_id}")

    def free_floating_ips(self, pool: str) -> list[str]:
        """Addresses of a pool without a project (read only)."""
        mine = (doc for doc in self._bulk() if doc.maybe_text("pool") == pool and not doc.maybe_text("project_id"))
        return [doc.text("address") for doc in mine]

    def add_floating_ip(self, pool: str, address: str) -> None:
        """Put one address into a pool; on which interface is the cloud's own setting."""
        body = {"floating_ips_bulk_create": {"ip_range": address, "pool": pool}}
        self._api.post("/os-floating-ips-bulk", body, f"put floating IP {address} into pool {pool}")

    def remove_floating_ip(self, address: str) -> None:
        """Take an address out of its pool; one that is in none is fine."""
        if any(doc.text("address") == address for doc in self._bulk()):
            body = {"ip_range": address}
            self._api.put("/os-floating-ips-bulk/delete", body, f"take floating IP {address} out of its pool")

    def allocate_floating_ip(self, pool: str) -> str:
        """Some free address of a pool."""
        made = self._api.post("/os-floating-ips", {"pool": pool}, f"allocate a floating IP of pool {pool}").doc()
        return made.doc("floating_ip").text("ip")

    def release_floating_ip(self, address: str) -> None:
        """Give an address of our project back."""
        listed = self._api.get("/os-floating-ips", "list our floating IPs").docs("floating_ips")
        for doc in listed:
            if doc.text("ip") == address:
                self._api.delete(path("os-floating-ips", doc.text("id")), f"release floating IP {address}")

    def _fixed_ip_action(self, address: str, action: str) -> None:
        doing = f"{action} fixed IP {address}"
        self._api.post(path("os-fixed-ips", address, "action"), {action: None}, doing, repeatable=True)

    def floating_ip_holder(self, address: str) -> str | None:
        """Id of the server that a floating IP is bound to; one request, however many servers there are (read only)."""
        try:
            bound = (doc.maybe_text("instance_uuid") for doc in self._bulk() if doc.text("address") == address)
            return next(bound, None)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            # only administrators see all of them; a project's own user can bind only the project's own
            return None

    def _bulk(self) -> list[Doc]:
        return self._api.get("/os-floating-ips-bulk", "list floating IPs").docs("floating_ip_info")

    def _is_bound(self, server_id: str, address: str) -> bool:
        server = self._compute.find_server(server_id)
        return server is not None and address in server.floating_ips


def network_of(doc: Doc) -> Network:
    """A nova-network network. Its pool runs from ``dhcp_start`` to the last host address."""
    cidr = doc.maybe_text("cidr")
    start = doc.maybe_text("dhcp_start")
    pools: tuple[tuple[str, str], ...] = ()
    if cidr and start:
        try:
            network = ipaddress.IPv4Network(cidr, strict=False)
            first, last = ipaddress.IPv4Address(start), network.broadcast_address - 1
        except ValueError:
            network = None
        if network is not None and first in network and first <= last:
            pools = ((str(first), str(last)),)
    return Network(
        id=doc.text("id"),
        name=doc.maybe_text("label") or "",
        cidr=cidr,
        gateway_ip=doc.maybe_text("gateway"),
        dns=tuple(dns for key in ("dns1", "dns2") if (dns := doc.maybe_text(key))),
        project_id=doc.maybe_text("project_id") or None,
        shared=not doc.maybe_text("project_id"),
        pools=pools,
        dhcp=doc.flag("enable_dhcp", True),
        bridge=doc.maybe_text("bridge"),
        vlan_id=doc.maybe_whole("vlan"),
        mtu=doc.maybe_whole("mtu"),
        dhcp_server=doc.maybe_text("dhcp_server"),
        multi_host=doc.flag("multi_host", False),
    )


def security_group_of(doc: Doc, ids: dict[tuple[str, str], str]) -> SecurityGroup:
    """A nova-network group; ``ids`` maps (project id, group name) to group id."""
    return SecurityGroup(
        id=doc.text("id"),
        project_id=doc.text("tenant_id"),
        name=doc.text("name"),
        description=doc.maybe_text("description") or "",
        rules=tuple(rule_of(rule, ids) for rule in doc.docs("rules")),
    )


def rule_of(doc: Doc, ids: dict[tuple[str, str], str]) -> SecurityGroupRule:
    """A nova-network rule: always ingress, -1 for "any"."""
    cidr = doc.maybe_doc("ip_range").maybe_text("cidr")
    source = doc.maybe_doc("group")
    remote_group_id = None
    if "name" in source:
        key = (source.maybe_text("tenant_id") or "", source.text("name"))
        remote_group_id = ids.get(key, "/".join(key))
    return SecurityGroupRule(
        id=doc.text("id"),
        direction="ingress",
        ethertype="IPv6" if cidr is not None and ":" in cidr else "IPv4",
        protocol=(doc.maybe_text("ip_protocol") or "").lower() or None,
        port_min=_port(doc, "from_port"),
        port_max=_port(doc, "to_port"),
        remote_cidr=cidr,
        remote_group_id=remote_group_id,
    )


def floating_ip_of(doc: Doc, servers: dict[str, Server]) -> FloatingIp:
    """A floating IP from the bulk list and the server that shows it."""
    address = doc.text("address")
    server = servers.get(address)
    fixed = doc.maybe_text("fixed_ip")
    if fixed is None and server is not None:
        own = [one.address for one in server.addresses if one.version == 4]
        fixed = own[0] if len(own) == 1 else None
    return FloatingIp(
        id=address,
        address=address,
        pool=doc.maybe_text("pool") or "",
        project_id=doc.maybe_text("project_id") or None,
        fixed_address=fixed,
        server_id=doc.maybe_text("instance_uuid") or (server.id if server is not None else None),
    )


def _port(doc: Doc, key: str) -> int | None:
    port = doc.maybe_whole(key)
    return None if port == -1 else port


def _ipv4(doc: Doc) -> str:
    address = doc.text("address")
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError as error:
        raise malformed(doc.where, "text as 'address', where an IPv4 address belongs") from error
