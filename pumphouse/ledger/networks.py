"""The ledger's rules for nova-network: security groups and rules, networks, fixed and floating IPs, NICs."""

from __future__ import annotations

from dataclasses import asdict

from pumphouse.ledger.cases import Case
from pumphouse.ledger.rules import Rule, Treatment, Verdict, follows, same, shown, stays, turned
from pumphouse.model import SecurityGroupRule
from pumphouse.plan.rules import Untranslatable, translate

IPV6 = "IPv6 is not carried"
VPN = "of cloudpipe, which FlatDHCP does not use"
HOSTS = "how the source's hosts are wired; the destination's physical network does that there"
OWN = "the destination's own network of that name stays so"
TIMES = "the copy has its own time"


def _id(kind: str, mapping: str) -> Rule:
    def decide(case: Case) -> Verdict:
        return Verdict(Treatment.MAPPED, case.key, case.world.became(mapping, case.key))

    return turned("id", f"Neutron gives ids itself; the journal keeps which {kind} became which", decide=decide)


def _group_project(case: Case) -> Verdict:
    project_id = case.params["project_id"]
    return Verdict(Treatment.MAPPED, project_id, case.world.became("project", project_id))


def _group_name(case: Case) -> Verdict:
    return Verdict(Treatment.COPIED, case.params["name"], case.params["name"])


def _group_description(case: Case) -> Verdict:
    source = case.params["description"] if case.record is None else case.record.description
    if case.params["name"] == "default":
        return Verdict(Treatment.DROPPED, source, reason="Neutron made this group itself and describes it itself")
    return Verdict(Treatment.COPIED, source, source)


GROUP = (
    _id("group", "security_group"),
    same("name", "as at the source", decide=_group_name),
    same("description", "as at the source", decide=_group_description),
    turned("tenant_id", "the destination's project", decide=_group_project),
    follows("rules", "a group without rules: Neutron adds its own two, for egress"),
)


_UNCLEAR = "the plan leaves it out: a group of a project that does not move, or nobody can tell what it admits"
_NOTHING = "names neither addresses nor a group, and so lets nothing through at the source either"
_ANY = "any: Neutron writes nothing there"


def _became(case: Case) -> SecurityGroupRule | str:
    """The rule in Neutron's words; or why the plan leaves it out."""
    try:
        rule = translate(case.record)
    except Untranslatable:
        return _UNCLEAR
    if rule is None:
        return _NOTHING
    wanted = {name: value for name, value in asdict(rule).items() if name != "id"}
    return rule if any(wanted == dict(one) for one in case.params["rules"]) else _UNCLEAR


def _rule_field(name: str, attribute: str, to: str, reason: str, anything: str = "") -> Rule:
    def decide(case: Case) -> Verdict | tuple[()]:
        value = shown(getattr(case.record, attribute))
        if value is None and not anything:
            return ()
        source, rule = value or anything, _became(case)
        if isinstance(rule, str):
            return Verdict(Treatment.DROPPED, source, reason=rule)
        if case.world.is_nova:
            return Verdict(Treatment.COPIED, source, source)
        there = _as_kept(rule, attribute)
        if there is None:
            return Verdict(Treatment.MAPPED, source, None, _ANY)
        if there == source:
            return Verdict(Treatment.COPIED, source, there)
        return Verdict(Treatment.MAPPED, source, there, "what nova-network makes of it, in Neutron's words")

    return same(name, reason, to=to, decide=decide)


def _as_kept(rule: SecurityGroupRule, attribute: str) -> str | None:
    """Current Neutron writes nothing for all ports."""
    if attribute in ("port_min", "port_max") and (rule.port_min, rule.port_max) == (1, 65535):
        return None
    return shown(getattr(rule, attribute))


def _remote_group(case: Case) -> Verdict | tuple[()]:
    remote = case.record.remote_group_id
    if remote is None:
        return ()
    found = case.world.source.security_group(remote)
    name, rule = found.name if found is not None else remote.rpartition("/")[2], _became(case)
    if isinstance(rule, str):
        return Verdict(Treatment.DROPPED, name, reason=rule)
    return Verdict(Treatment.MAPPED, name, case.world.became("security_group", remote))


def _parent(case: Case) -> Verdict:
    group_id = case.params["source_id"]
    return Verdict(Treatment.MAPPED, group_id, case.world.became("security_group", group_id))


GROUP_RULE = (
    follows("id", "Neutron gives ids itself; a rule is known by what it admits"),
    turned("parent_group_id", "the destination's group", to="security_group_id", decide=_parent),
    _rule_field("ip_protocol", "protocol", "protocol", "the same protocol"),
    _rule_field("from_port", "port_min", "port_range_min", "the same ports (for ICMP: type)", "-1"),
    _rule_field("to_port", "port_max", "port_range_max", "the same ports (for ICMP: code)", "-1"),
    _rule_field("ip_range.cidr", "remote_cidr", "remote_ip_prefix", "the same addresses"),
    follows("ip_range", "the rule admits a group instead"),
    follows("ip_range.**", "the rule admits a group instead"),
    turned("group.name", "the destination's group of that name", to="remote_group_id", decide=_remote_group),
    follows("group.tenant_id", "the admitted group's project"),
    follows("group", "the rule admits addresses instead"),
)


def _adopted(case: Case) -> bool:
    """Whether the destination's network was there before: then it keeps gateway, DNS and pools of its own."""
    return not case.params["pools"]


def _label(case: Case) -> Verdict:
    source, there = case.params["source_name"], case.params["name"]
    if source == there:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, "by the table in site.yaml")


def _net_cidr(case: Case) -> Verdict:
    return Verdict(Treatment.COPIED, case.params["cidr"], case.params["cidr"])


def _gateway(case: Case) -> Verdict:
    source = case.told("gateway_ip")
    if _adopted(case):
        return Verdict(Treatment.DROPPED, source, reason=OWN)
    there = case.params["gateway_ip"]
    if there == source:
        return Verdict(Treatment.COPIED, source, there)
    why = "the source's gateway stays in use on the same layer 2, so the destination needs another"
    return Verdict(Treatment.MAPPED, source, there, why)


def _dns(number: int) -> Rule:
    def decide(case: Case) -> Verdict | tuple[()]:
        found = case.told("dns") or ()
        if len(found) < number:
            return ()
        if _adopted(case):
            return Verdict(Treatment.DROPPED, found[number - 1], reason=OWN)
        return Verdict(Treatment.COPIED, found[number - 1], found[number - 1])

    return same(f"dns{number}", "the same name server", to="subnet.dns_nameservers[]", decide=decide)


def _pool(case: Case) -> Verdict:
    pools = case.told("pools") or ()
    source = pools[0][0] if pools else None
    if _adopted(case):
        return Verdict(Treatment.DROPPED, source, reason=OWN)
    why = "the destination picks addresses by itself only where the source has none in use"
    return Verdict(Treatment.MAPPED, source, case.params["pools"][0][0], why)


def _net_project(case: Case) -> Verdict:
    source, owner = case.told("project_id"), case.params["project_id"]
    if _adopted(case):
        return Verdict(Treatment.DROPPED, source, reason=OWN)
    if owner is None:
        return Verdict(Treatment.MAPPED, source, "(the operator's project)", "nobody's own: it is shared with all")
    return Verdict(Treatment.MAPPED, source, case.world.became("project", owner))


NETWORK = (
    _id("network", "network"),
    same("label", "the network's name", to="name", decide=_label),
    same("cidr", "the same addresses", to="subnet.cidr", decide=_net_cidr),
    follows("netmask", "follows from the CIDR"),
    follows("broadcast", "follows from the CIDR"),
    turned("gateway", "another gateway", to="subnet.gateway_ip", decide=_gateway),
    turned("dhcp_start", "another range", to="subnet.allocation_pools[].start", decide=_pool),
    follows("dhcp_server", "Neutron's DHCP server takes addresses of its pool"),
    follows("enable_dhcp", "Neutron serves DHCP for the ports that it has"),
    _dns(1),
    _dns(2),
    turned("project_id", "whose it is", decide=_net_project),
    stays("bridge", HOSTS),
    stays("bridge_interface", HOSTS),
    stays("vlan", HOSTS),
    stays("multi_host", HOSTS),
    stays("host", HOSTS),
    stays("share_address", HOSTS),
    stays("injected", "addresses come by DHCP there, never by files put into the guest"),
    stays("priority", "the order of NICs is kept server by server"),
    stays("rxtx_base", "Neutron has no such limit"),
    follows("mtu", "the destination's physical network has its own"),
    stays("cidr_v6", IPV6),
    stays("gateway_v6", IPV6),
    stays("netmask_v6", IPV6),
    stays("vpn_private_address", VPN),
    stays("vpn_public_address", VPN),
    stays("vpn_public_port", VPN),
    stays("created_at", TIMES),
    stays("updated_at", TIMES),
    stays("deleted", "deleted networks are not listed"),
    stays("deleted_at", "deleted networks are not listed"),
)


def _address(case: Case) -> Verdict:
    return Verdict(Treatment.COPIED, case.params["address"], case.params["address"])


def _mac(case: Case) -> Verdict:
    mac = case.params.get("mac")
    if case.world.is_nova:
        why = "the destination's nova-network lets nobody choose a MAC: it gives another"
        return Verdict(Treatment.DROPPED, case.told("mac"), reason=why)
    if mac is None:
        return Verdict(Treatment.DERIVED, None, None, "Grizzly does not tell it with the address: Neutron gives one")
    return Verdict(Treatment.COPIED, mac, mac)


def _on_network(case: Case) -> Verdict:
    network_id = case.params["network_id"]
    return Verdict(Treatment.MAPPED, network_id, case.world.became("network", network_id))


FIXED_IP = (
    same("address", "the same address", to="fixed_ips[].ip_address", decide=_address),
    follows("cidr", "the network's"),
    stays("host", "where its server ran in the source"),
    follows("hostname", "its server's name"),
    follows("reserved", "an address in use is not reserved; at the source it is once the move is finalised"),
)

VIRTUAL_INTERFACE = (
    stays("id", "the source's own number for a NIC; Neutron's port has its own"),
    same("mac_address", "the same MAC", decide=_mac),
    turned("OS-EXT-VIF-NET:net_id", "the destination's network", to="network_id", decide=_on_network),
)


def _pool_name(case: Case) -> Verdict:
    source, there = case.told("pool"), _external(case)
    if source == there:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, "by the table in site.yaml")


def _external(case: Case) -> str | None:
    wanted, there = case.params["external_network_id"], case.world.destination
    found = there.network(wanted) if there is not None else None
    return found.name if found is not None else str(wanted)


def _float_project(case: Case) -> Verdict:
    project_id = case.params["project_id"]
    return Verdict(Treatment.MAPPED, project_id, case.world.became("project", project_id))


def _bound(case: Case) -> Verdict | tuple[()]:
    if "server_id" not in case.params:  # a spare one
        return ()
    if case.world.is_nova:
        server_id = case.params["server_id"]
        return Verdict(Treatment.MAPPED, server_id, case.world.became("server", server_id), "its server")
    return Verdict(Treatment.MAPPED, case.params["server_id"], case.world.became("port", case.params.get("port_id")))


def _fixed(case: Case) -> Verdict | tuple[()]:
    if "fixed_address" not in case.params:
        return ()
    return Verdict(Treatment.COPIED, case.params["fixed_address"], case.params["fixed_address"])


FLOATING_IP = (
    same("address", "the same address", to="floating_ip_address", decide=_address),
    same("ip", "the same address", to="floating_ip_address", decide=_address),
    same("pool", "the external network of that name", to="pool", decide=_pool_name),
    turned("project_id", "the destination's project", decide=_float_project),
    turned("instance_uuid", "the port of its server", to="port_id", decide=_bound),
    turned("instance_id", "the port of its server", to="port_id", decide=_bound),
    same("fixed_ip", "the same fixed IP", to="fixed_ip_address", decide=_fixed),
    follows("id", "Neutron gives ids itself; it is known by its address"),
    stays("interface", HOSTS),
)

RULES: dict[str, tuple[Rule, ...]] = {
    "security_group": GROUP,
    "security_group_rule": GROUP_RULE,
    "network": NETWORK,
    "fixed_ip": FIXED_IP,
    "virtual_interface": VIRTUAL_INTERFACE,
    "floating_ip": FLOATING_IP,
}
