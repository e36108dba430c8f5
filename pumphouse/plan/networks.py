"""Planning networks: which one at the destination stands for nova-network's, and which addresses it may use."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from pumphouse.clouds.network_api import NovaNetwork
from pumphouse.inventory import Snapshot
from pumphouse.model import Address, Network, Server
from pumphouse.plan.addresses import addresses, free_slice, inside
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note
from pumphouse.plan.nova_network import is_nova, keep_off
from pumphouse.site import Provider

#: What nova-network's bridges have where it does not say otherwise.
USUAL_MTU = 1500
#: Networks that share no segment with the outside.
TUNNELS = ("vxlan", "gre", "geneve", "local")
_SHARED_L2 = ("flat", "vlan")


@dataclass(frozen=True)
class Slice:
    """What the destination may use of a shared network: its gateway, and the range it hands out by itself."""

    gateway: str | None
    first: str
    last: str
    reserve: tuple[str, ...]


def networks_at(source: Snapshot, fixed: Address) -> list[Network]:
    """The source's networks that an address can be of: those of its label, or of these the ones with room for it.

    nova-network takes one label for several networks, tells servers' networks by label alone, and renames none.
    """
    named = [network for network in source.networks if network.name == fixed.network]
    return named if len(named) < 2 else [network for network in named if inside(fixed.address, network.cidr)]


def source_network(draft: Draft, fixed: Address, server: Server) -> Network | None:
    """The source's network that an address is of; None, and a finding, when there is not exactly one."""
    networks = networks_at(draft.source, fixed)
    if len(networks) == 1:
        return networks[0]
    draft.block(
        "network-unknown",
        f"server {server.name}",
        f"its network {fixed.network} is {'not known' if not networks else 'ambiguous'} in the source.",
        "correct the labels or CIDRs of the networks in Nova's database, then take the inventory again.",
    )
    return None


def add_network(draft: Draft, fixed: Address, server: Server) -> str | None:
    """The network that stands for the one that an address is of in the source; None when that is not known."""
    network = source_network(draft, fixed, server)
    if network is None:
        return None
    key, label = f"network:{network.id}", network.name
    if key in draft.steps:
        return key
    mapped = draft.site.networks.get(network.id, draft.site.networks.get(label))
    name = mapped or label
    _check_same_name(draft, network, name)
    existing = [n for n in draft.destination.networks if n.name == name and not n.external]
    owner = network.project_id if f"project:{network.project_id}" in draft.steps else None
    provider = draft.site.provider.get(label)
    part: Slice | None = None
    if existing:
        _check_existing(draft, network, existing, provider)
    elif mapped:
        draft.block(
            "network-missing",
            f"network {label}",
            f"site.yaml maps it to {name}, which {draft.destination.facts.cloud} does not have.",
            "correct destination.networks in site.yaml, or leave the entry out: pumphouse then makes the network.",
        )
    elif network.project_id != owner:
        draft.block(
            "network-foreign",
            f"network {label}",
            f"belongs to project {network.project_id}, which is not moved, so that nobody would own it at the "
            f"destination.",
            "move a server of that project as well, or make the network by hand and map it in site.yaml, "
            "destination.networks.",
        )
    else:
        part = _slice(draft, network, provider)
        _note_sharing(draft, network, provider, part)
    reserve = _reserve(draft, network, part)
    if part and is_nova(draft):
        keep_off(draft, network, key, part.reserve[0], part.reserve[-1])
    return draft.add(
        key,
        title=f"network {name} {network.cidr}",
        needs=(*((f"project:{owner}",) if owner else ()), *((reserve,) if reserve else ())),
        params={
            "source_id": network.id,
            "source_name": label,
            "name": name,
            "cidr": network.cidr,
            "gateway_ip": part.gateway if part else None,
            "dns": list(network.dns),
            "pools": [[part.first, part.last]] if part else [],
            "shared": network.project_id is None,
            "project_id": owner,
            "provider": None if is_nova(draft) else _provider_params(provider),
        },
        undo="deleted, if pumphouse made it",
    )


def _check_same_name(draft: Draft, network: Network, name: str) -> None:
    for step in draft.steps.values():
        if step.kind == "network" and step.params["name"] == name:
            draft.block(
                "network-ambiguous",
                f"network {network.name}",
                f"({network.cidr}) and {step.params['cidr']}, of label {step.params['source_name']}, would both be "
                f"{name} at {draft.destination.facts.cloud}.",
                f"make a network for one of them there and map that one by its id ({network.id} or "
                f"{step.params['source_id']}) in destination.networks of site.yaml.",
            )


def gateway_is_sources(draft: Draft, network: Network) -> bool:
    """Whether guests of the destination's network would leave through nova-network's gateway, on a shared segment."""
    step = draft.steps[f"network:{network.id}"]
    existing = [n for n in draft.destination.networks if n.name == step.params["name"] and not n.external]
    if not existing:
        shared = step.params["provider"] is not None
        return shared and network.gateway_ip is not None and step.params["gateway_ip"] == network.gateway_ip
    found = existing[0]
    held = any(
        p.network_id == found.id and found.gateway_ip in (p.address, *p.addresses) for p in draft.destination.ports
    )
    return found.network_type in _SHARED_L2 and found.gateway_ip == network.gateway_ip and not held


def _provider_params(provider: Provider | None) -> dict[str, object] | None:
    if provider is None:
        return None
    return {
        "network_type": provider.type,
        "physical_network": provider.physical_network,
        "segment": provider.segment,
    }


def taken_addresses(source: Snapshot, nova: NovaNetwork, *, ours: frozenset[str] = frozenset()) -> frozenset[str]:
    """Addresses that a plan would choose for the destination, but that the source has in use or reserved (read only).

    No list tells them: compute hosts of a multi-host network have addresses too, and so have servers that nobody sees
    any more. They are asked for one by one, until a slice is found that is free.

    :param ours: addresses that pumphouse itself has reserved for the destination.
    """
    taken: set[str] = set()
    for network in source.networks:
        used = _used(source, network)
        while network.cidr is not None:
            found = free_slice(network.cidr, used | taken, within=_within(network))
            chosen = addresses(found[1], found[0]) if found else []
            bad = [a for a in chosen if a not in ours and nova.fixed_ip_state(a) != "free"]
            if not bad:
                break
            taken.update(bad)
    return frozenset(taken)


def _within(network: Network) -> tuple[str, str] | None:
    return network.pools[0] if network.pools else None


def _used(source: Snapshot, network: Network) -> set[str]:
    """Addresses that somebody has, or that the source may give to somebody who is not a server."""
    servers = (a.address for s in source.servers for a in s.addresses if a.network == network.name)
    used = {address for address in servers if ":" not in address}
    used |= {address for address in (network.gateway_ip, network.dhcp_server) if address}
    floating = {one.address for one in source.floating_ips}
    for cidrs in source.floating_pools.values():
        # a pool may be cut out of the same network; one that is far larger is another network
        floating |= {a for cidr in cidrs if inside(cidr.partition("/")[0], network.cidr) for a in _hosts(cidr)}
    return used | {address for address in floating if inside(address, network.cidr)}


def _hosts(cidr: str) -> list[str]:
    block = ipaddress.ip_network(cidr, strict=False)
    return addresses(str(block[0]), str(block[-1]))


def _wants_own_gateway(draft: Draft, network: Network, provider: Provider | None) -> bool:
    if provider is None or network.gateway_ip is None or is_nova(draft):
        return True  # nova-network's own host takes the gateway's address
    if provider.gateway:
        return provider.gateway == "own"
    on_it = {s.id for s in draft.source.servers if any(a.network == network.name for a in s.addresses)}
    # replies to a floating IP must leave through the router that has it
    return any(floating.server_id in on_it for floating in draft.source.floating_ips)


def _slice(draft: Draft, network: Network, provider: Provider | None) -> Slice | None:
    used, own = _used(draft.source, network) | draft.taken, _wants_own_gateway(draft, network, provider)
    if provider is not None and provider.pool:
        first, last = provider.pool.split("-")
        wanted = addresses(first, last)
        wrong = [a for a in wanted if a in used or not inside(a, network.cidr)]
        if wrong or len(wanted) < 3:
            draft.block(
                "pool-unusable",
                f"network {network.name}",
                f"cannot give {provider.pool} to the destination: "
                + (f"{', '.join(wrong[:5])} is in use or not of {network.cidr}." if wrong else "it is too small."),
                f"correct destination.provider.{network.name}.pool in site.yaml.",
            )
            return None
        found: tuple[str, str, str] | None = (wanted[-1], wanted[0], wanted[-2])
    else:
        found = free_slice(network.cidr, used, within=_within(network)) if network.cidr else None
    if found is None:
        draft.block(
            "network-full",
            f"network {network.name}",
            f"has no free run of addresses in {network.cidr or 'IPv4'} for the destination's gateway and DHCP.",
            "make the destination's network by hand and map it in site.yaml, destination.networks.",
        )
        return None
    top, first, last = found
    reserve = tuple(addresses(first, top))
    if own:
        text = (
            f"its gateway at the destination is {top}, since {network.gateway_ip} stays the source's while both clouds "
            f"share the network"
        )
        part = Slice(top, first, last, reserve)
    else:
        text = f"its gateway stays the source's, {network.gateway_ip}: switch it when the source is switched off"
        part = Slice(network.gateway_ip, first, top, reserve)
    text += f"; the destination picks addresses only from {part.first}-{part.last}, which are reserved at the source"
    draft.notes.append(Note(f"network {network.name}", text))
    return part


def _reserve(draft: Draft, network: Network, part: Slice | None) -> str | None:
    if part is None:
        return None
    return draft.add(
        f"reserve-slice:{network.id}:{part.reserve[0]}-{part.reserve[-1]}",
        title=f"{len(part.reserve)} addresses of {network.name} reserved at the source ({part.reserve[0]} and on)",
        changes="source",
        params={"source_name": network.name, "addresses": list(part.reserve)},
        undo="those that were free are unreserved",
    )


def _note_sharing(draft: Draft, network: Network, provider: Provider | None, part: Slice | None) -> None:
    label = f"network {network.name}"
    if is_nova(draft):
        text = "both clouds' dnsmasq serve it, each the MACs that it gave out: servers that move get new ones"
        draft.notes.append(Note(label, text))
        return
    if provider is None:
        draft.warn(
            "l2-not-shared",
            label,
            "is made as a project network of the destination: unless its project networks lie on the source's segment, "
            "servers that moved and servers that stay do not reach each other, and its MTU may be smaller.",
            f"name the shared segment in site.yaml, destination.provider.{network.name}, or make the network by hand "
            f"and map it in destination.networks.",
        )
        return
    if part is None:
        return
    draft.notes.append(
        Note(
            label,
            f"guests had nova-network's dnsmasq ({network.dhcp_server or network.gateway_ip}) as DNS server; "
            f"the destination tells them {', '.join(network.dns) or 'its own'}",
        )
    )
    if provider.dhcp == "filtered":
        text = "site.yaml says that DHCP does not pass between the clouds, so that only one answers each server"
        draft.notes.append(Note(label, text))
    elif part.gateway != network.gateway_ip:
        draft.warn(
            "two-dhcp-servers",
            label,
            f"until a server's source is deleted, nova-network's dnsmasq still answers its MAC: with the same address, "
            f"but {network.gateway_ip} as router, where the destination says {part.gateway}. Whichever answers first "
            f"wins.",
            f"drop UDP ports 67-68 where the clouds' halves of the segment meet and say so with `dhcp: filtered`, or "
            f"give guests the source's router with `gateway: source` in destination.provider.{network.name}.",
        )
    else:
        draft.notes.append(
            Note(
                label, "both clouds' DHCP answer a moved server until its source is deleted: same address, same router"
            )
        )


def _check_existing(draft: Draft, source: Network, existing: list[Network], provider: Provider | None) -> None:
    name, cloud, label = existing[0].name, draft.destination.facts.cloud, f"network {source.name}"
    if len(existing) > 1:
        draft.block(
            "network-ambiguous",
            label,
            f"{len(existing)} networks are called {name} at {cloud}: {', '.join(n.id for n in existing)}.",
            "rename all but one, or map it to another name in site.yaml, destination.networks.",
        )
        return
    found = existing[0]
    if found.cidr != source.cidr:
        draft.block(
            "network-differs",
            label,
            f"{name} at {cloud} has {found.cidr}, the source has {source.cidr}.",
            "map it to a network of the same CIDR in site.yaml, destination.networks.",
        )
    have = {"network_type": found.network_type, "physical_network": found.physical_network, "segment": found.segment}
    want = _provider_params(provider)
    if want is not None and found.network_type is not None and {**have, **want} != have and provider is not None:
        differs = ", ".join(f"{key} {have[key]} instead of {want[key]}" for key in want if want[key] != have[key])
        draft.block(
            "provider-differs",
            label,
            f"{name} at {cloud} is not on the segment that site.yaml names: {differs}.",
            f"correct destination.provider.{source.name} in site.yaml, or map it to another network.",
        )
    elif found.network_type in TUNNELS:
        draft.warn(
            "l2-not-shared",
            label,
            f"{name} at {cloud} is a {found.network_type} network: servers that moved and servers that stay do not "
            f"reach each other on it.",
            "map it to a provider network on the shared segment, or move all servers of the network together.",
        )
    mtu = source.mtu or USUAL_MTU
    if found.mtu is not None and found.mtu < mtu:
        draft.warn(
            "mtu-smaller",
            label,
            f"{name} at {cloud} has an MTU of {found.mtu}, the source {'has' if source.mtu else 'probably has'} {mtu}: "
            f"guests with a fixed MTU lose large packets.",
            "raise the network's MTU at the destination, or lower the guests'.",
        )
