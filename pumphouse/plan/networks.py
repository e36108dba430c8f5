"""Planning security groups, networks, ports, routers and floating IPs."""

from __future__ import annotations

from dataclasses import asdict

from pumphouse.model import Address, Network, Project, SecurityGroup, Server
from pumphouse.plan.addresses import free_slice
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note


def add_security_group(draft: Draft, project: Project, group: SecurityGroup) -> None:
    """A security group, and its rules as a step of their own."""
    key = draft.add(
        f"security-group:{group.id}",
        title=f"security group {group.name} of {project.name}",
        needs=(f"project:{project.id}",),
        params={
            "source_id": group.id,
            "project_id": project.id,
            "name": group.name,
            "description": group.description or "",
        },
        undo="deleted, if pumphouse made it",
    )
    if group.name == "default":
        text = "Neutron's own rules stay beside the source's: its members reach each other, and all may send anywhere"
        draft.notes.append(Note(f"security group default of {project.name}", text))
    rules, needs = [], [key]
    for rule in group.rules:
        remote = draft.source.security_group(rule.remote_group_id) if rule.remote_group_id else None
        if rule.remote_group_id and (remote is None or remote.project_id != project.id):
            draft.block(
                "rules-unresolved",
                f"security group {group.name} of {project.name}",
                f"rule {rule.id} admits a group that is not of this project ({rule.remote_group_id}).",
                "accept `rules-unresolved` to leave that rule out, or change it in the source.",
            )
            continue
        if remote is not None:
            needs.append(f"security-group:{remote.id}")
        rules.append({name: value for name, value in asdict(rule).items() if name != "id"})
    rules.sort(key=lambda rule: sorted((name, str(value)) for name, value in rule.items()))
    draft.add(
        f"security-group-rules:{group.id}",
        title=f"{len(rules)} rules of security group {group.name} of {project.name}",
        needs=tuple(needs),
        params={"source_id": group.id, "project_id": project.id, "name": group.name, "rules": rules},
        undo="added rules are removed",
    )


def groups_of(draft: Draft, server: Server) -> list[str]:
    """Ids of the server's security groups, which the plan carries with its project."""
    found = []
    for name in sorted(set(server.security_groups)):
        groups = draft.source.security_groups_named(server.project_id, name)
        if len(groups) == 1 and f"security-group:{groups[0].id}" in draft.steps:
            found.append(groups[0].id)
        else:
            draft.block(
                "security-group-unknown",
                f"server {server.name}",
                f"its security group {name} is not among the project's groups.",
                "take the inventory again; if it stays so, leave the server out.",
            )
    return found


def _network(draft: Draft, label: str, server: Server) -> str | None:
    networks = [n for n in draft.source.networks if n.name == label]
    if len(networks) != 1:
        draft.block(
            "network-unknown",
            f"server {server.name}",
            f"its network {label} is {'not known' if not networks else 'ambiguous'} in the source.",
            "rename networks so that each label is used once.",
        )
        return None
    network = networks[0]
    key = f"network:{network.id}"
    if key in draft.steps:
        return key
    name = draft.site.networks.get(label, label)
    existing = [n for n in draft.destination.networks if n.name == name and not n.external]
    owner = network.project_id if f"project:{network.project_id}" in draft.steps else None
    gateway, pool = None, None
    if existing:
        _check_existing(draft, network, existing)
    elif label in draft.site.networks:
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
        gateway, pool = _slice(draft, network)
    return draft.add(
        key,
        title=f"network {name} {network.cidr}",
        needs=(f"project:{owner}",) if owner else (),
        params={
            "source_id": network.id,
            "source_name": label,
            "name": name,
            "cidr": network.cidr,
            "gateway_ip": gateway,
            "dns": list(network.dns),
            "pools": [list(pool)] if pool else [],
            "shared": network.project_id is None,
            "project_id": owner,
        },
        undo="deleted, if pumphouse made it",
    )


def _used(draft: Draft, network: Network) -> set[str]:
    used = {a.address for s in draft.source.servers for a in fixed_ips(s) if a.network == network.name}
    return used | ({network.gateway_ip} if network.gateway_ip else set())


def _slice(draft: Draft, network: Network) -> tuple[str | None, tuple[str, str] | None]:
    found = free_slice(network.cidr, _used(draft, network)) if network.cidr else None
    if found is None:
        draft.block(
            "network-full",
            f"network {network.name}",
            f"has no free run of addresses in {network.cidr or 'IPv4'} for the destination's gateway and DHCP.",
            "make the destination's network by hand and map it in site.yaml, destination.networks.",
        )
        return None, None
    gateway, first, last = found
    draft.notes.append(
        Note(
            f"network {network.name}",
            f"its gateway at the destination is {gateway}, since {network.gateway_ip} stays the source's while "
            f"both clouds share the network; the destination picks addresses by itself only from {first}-{last}. "
            f"Keep the source from using these",
        )
    )
    return gateway, (first, last)


def _check_existing(draft: Draft, source: Network, existing: list[Network]) -> None:
    name, cloud = existing[0].name, draft.destination.facts.cloud
    if len(existing) > 1:
        draft.block(
            "network-ambiguous",
            f"network {source.name}",
            f"{len(existing)} networks are called {name} at {cloud}: {', '.join(n.id for n in existing)}.",
            "rename all but one, or map it to another name in site.yaml, destination.networks.",
        )
    elif existing[0].cidr != source.cidr:
        draft.block(
            "network-differs",
            f"network {source.name}",
            f"{name} at {cloud} has {existing[0].cidr}, the source has {source.cidr}.",
            "map it to a network of the same CIDR in site.yaml, destination.networks.",
        )


def add_port(draft: Draft, server: Server, fixed: Address, groups: list[str]) -> str | None:
    """The port that holds one address of the server; None when its network is not known."""
    network = _network(draft, fixed.network, server)
    if network is None:
        return None
    address, name = fixed.address, port_name(server)
    step = draft.steps[network]
    taken = [p for p in draft.destination.ports if p.address == address and p.name != name]
    here = [n.id for n in draft.destination.networks if n.name == step.params["name"] and not n.external]
    taken = [p for p in taken if p.network_id in here]
    if taken:
        draft.block(
            "fixed-ip-taken",
            f"server {server.name}",
            f"its address {address} is held at {draft.destination.facts.cloud} by port {taken[0].id} "
            f"({taken[0].name or taken[0].device_owner or 'no name'}).",
            "free the address at the destination.",
        )
    return draft.add(
        f"port:{port_id(server, address)}",
        title=f"port {address} for {server.name}",
        needs=(
            network,
            f"project:{server.project_id}",
            *(f"security-group:{group}" for group in groups),
        ),
        params={
            "source_id": port_id(server, address),
            "name": name,
            "network_id": step.params["source_id"],
            "project_id": server.project_id,
            "address": address,
            "mac": fixed.mac,
            "security_group_ids": groups,
        },
        server_id=server.id,
        undo="deleted",
    )


def add_floating_ips(draft: Draft, server: Server, stop: str) -> list[str]:
    """The server's floating IPs, with the routers that they need; returns the keys of their steps."""
    steps = []
    for floating in draft.source.floating_ips_of(server.id):
        pool = draft.site.floating_pools.get(floating.pool, floating.pool)
        external = [n for n in draft.destination.networks if n.external and n.name == pool]
        if len(external) != 1:
            draft.block(
                "floating-pool-unknown",
                f"floating IP {floating.address}",
                f"of server {server.name} comes from pool {floating.pool}; {draft.destination.facts.cloud} has "
                f"{len(external) or 'no'} external network(s) called {pool}.",
                "map the pool to an external network in site.yaml, destination.floating_pools.",
            )
            continue
        taken = draft.destination.floating_ip(floating.address)
        project = draft.source.project(server.project_id)
        there = draft.destination.project_named(project.name if project else server.project_id)
        if taken is not None and (there is None or taken.project_id != there.id or taken.fixed_address is not None):
            draft.block(
                "floating-ip-taken",
                f"floating IP {floating.address}",
                f"of server {server.name} is held at {draft.destination.facts.cloud} by project {taken.project_id}.",
                "release it at the destination.",
            )
        own = fixed_ips(server)
        fixed = next((a for a in own if a.address == (floating.fixed_address or own[0].address)), None)
        if fixed is None:
            draft.block(
                "floating-ip-unclear",
                f"floating IP {floating.address}",
                f"of server {server.name} is bound to {floating.fixed_address}, which is not one of its fixed IPs.",
                "take the inventory again; if it stays so, associate it anew in the source.",
            )
            continue
        network = _network(draft, fixed.network, server)
        if network is None:
            continue
        router = draft.add(
            f"router:{draft.steps[network].params['source_id']}:{pool}",
            title=f"router between {draft.steps[network].params['name']} and {pool}",
            needs=(network,),
            params={
                "name": f"pumphouse {draft.steps[network].params['name']} {pool}",
                "network_id": draft.steps[network].params["source_id"],
                "external_network_id": external[0].id,
            },
            undo="deleted, if pumphouse made it",
        )
        port = port_id(server, fixed.address)
        steps.append(
            draft.add(
                f"floating-ip:{floating.address}",
                phase="cutover",
                changes="both",
                title=f"floating IP {floating.address} of {server.name}",
                needs=(stop, router, f"port:{port}"),
                params={
                    "address": floating.address,
                    "server_id": server.id,
                    "fixed_address": fixed.address,
                    "project_id": server.project_id,
                    "port_id": port,
                    "external_network_id": external[0].id,
                },
                server_id=server.id,
                undo="given back to the source's server",
            )
        )
    return steps


def fixed_ips(server: Server) -> tuple[Address, ...]:
    """The addresses that a move carries: nova-network makes IPv6 ones from the MAC, and we keep IPv4 alone."""
    return tuple(address for address in server.addresses if address.version == 4)


def port_name(server: Server) -> str:
    """Name of the ports that hold a server's addresses at the destination: how we know them as ours."""
    return f"pumphouse {server.id}"


def port_id(server: Server, address: str) -> str:
    """Our own id of a server's presence on an address (nova-network has no ports)."""
    return f"{server.id}/{address}"
