"""Planning what a server has on its networks: ports with its addresses and MACs, floating IPs with their routers."""

from __future__ import annotations

from pumphouse.model import Address, FloatingIp, Network, Project, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note
from pumphouse.plan.networks import add_network, gateway_is_sources, networks_at
from pumphouse.plan.nova_network import add_fixed_ip, is_nova, operator_needs, pool_of

#: The addresses of one interface, the first one first.
Nic = tuple[Address, ...]


def fixed_ips(server: Server) -> tuple[Address, ...]:
    """The addresses that a move carries: nova-network makes IPv6 ones from the MAC, and we keep IPv4 alone."""
    return tuple(address for address in server.addresses if address.version == 4)


def nics(server: Server) -> tuple[Nic, ...]:
    """The server's interfaces in Nova's order: addresses with one MAC on one network belong to one interface."""
    found: dict[tuple[str, str], list[Address]] = {}
    for number, address in enumerate(fixed_ips(server)):
        found.setdefault((address.network, address.mac or f"#{number}"), []).append(address)
    return tuple(tuple(addresses) for addresses in found.values())


def networks_of(draft: Draft, server: Server) -> tuple[Network, ...]:
    """The source's networks that the server is on."""
    ids = {network.id for address in fixed_ips(server) for network in networks_at(draft.source, address)}
    return tuple(network for network in draft.source.networks if network.id in ids)


def add_port(draft: Draft, server: Server, nic: Nic, groups: list[str]) -> str | None:
    """The port that holds one interface of the server; None when its network is not known."""
    network = add_network(draft, nic[0], server)
    if network is None:
        return None
    address, name = nic[0].address, port_name(server.id)
    step = draft.steps[network]
    _check_nics(draft, server, nic)
    if is_nova(draft):
        return add_fixed_ip(draft, server, address, f"port:{port_id(server, address)}", network, groups)
    here = {n.id for n in draft.destination.networks if n.name == step.params["name"] and not n.external}
    held = {a.address for a in nic}
    for port in draft.destination.ports:
        taken = held & {port.address, *port.addresses}
        if taken and port.name != name and port.network_id in here:
            draft.block(
                "fixed-ip-taken",
                f"server {server.name}",
                f"its address {', '.join(sorted(map(str, taken)))} is held at {draft.destination.facts.cloud} by port "
                f"{port.id} ({port.name or port.device_owner or 'no name'}).",
                "free the address at the destination.",
            )
    return draft.add(
        f"port:{port_id(server, address)}",
        title=f"port {', '.join(a.address for a in nic)} for {server.name}",
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
            "more": [a.address for a in nic[1:]],
            "mac": nic[0].mac,
            "security_group_ids": groups,
        },
        server_id=server.id,
        undo="deleted",
    )


def _check_nics(draft: Draft, server: Server, nic: Nic) -> None:
    label = f"server {server.name}"
    if len(nics(server)) > len({a.network for a in fixed_ips(server)}) and nic[0].mac is None:
        draft.block(
            "nics-unclear",
            label,
            f"has several addresses on {nic[0].network} and the source tells no MACs: nobody knows which of them share "
            f"an interface.",
            "leave the server out.",
        )
    elif len(nic) > 1 and is_nova(draft):
        draft.block(
            "second-address",
            label,
            f"has {', '.join(a.address for a in nic)} on one interface; nova-network boots a server with one address "
            f"each and picks others by itself.",
            "leave the server out, or move it to a cloud with Neutron.",
        )


def add_floating_ips(draft: Draft, server: Server, stop: str) -> list[str]:
    """The server's floating IPs, with the routers that they need; returns the keys of their steps."""
    return [
        key for floating in draft.source.floating_ips_of(server.id) if (key := _floating(draft, server, floating, stop))
    ]


def _floating(draft: Draft, server: Server, floating: FloatingIp, stop: str) -> str | None:
    external = _external(draft, floating, f"of server {server.name} ")
    if external is None:
        return None
    project = draft.source.project(server.project_id) or Project(server.project_id, server.project_id)
    _check_taken(draft, floating, project, server)
    own = fixed_ips(server)
    fixed = next((a for a in own if a.address == (floating.fixed_address or own[0].address)), None)
    if fixed is None:
        draft.block(
            "floating-ip-unclear",
            f"floating IP {floating.address}",
            f"of server {server.name} is bound to {floating.fixed_address}, which is not one of its fixed IPs.",
            "take the inventory again; if it stays so, associate it anew in the source.",
        )
        return None
    key = add_network(draft, fixed, server)
    network = draft.source.network(draft.steps[key].params["source_id"]) if key else None
    if key is None or network is None:
        return None
    nic = next(nic for nic in nics(server) if fixed in nic)
    port = port_id(server, nic[0].address)
    params = {
        "address": floating.address,
        "server_id": server.id,
        "fixed_address": fixed.address,
        "project_id": server.project_id,
        "port_id": port,
        "external_network_id": external.id,
    }
    if is_nova(draft):
        # bound to servers, not to ports: there must be one
        return _floating_step(draft, server, floating, params, (stop, f"boot:{server.id}"))
    if gateway_is_sources(draft, network):
        draft.block(
            "gateway-is-sources",
            f"floating IP {floating.address}",
            f"of server {server.name} would not work: the guests of {network.name} leave through {network.gateway_ip}, "
            f"the source's gateway, which knows nothing of connections to it; and a router made there would take that "
            f"address.",
            f"set `gateway: own` in site.yaml, destination.provider.{network.name}, or give the destination's subnet a "
            f"gateway of its own.",
        )
    name = draft.steps[key].params["name"]
    router = draft.add(
        f"router:{network.id}:{external.name}",
        title=f"router between {name} and {external.name}",
        needs=(key,),
        params={
            "name": f"pumphouse {name} {external.name}",
            "network_id": network.id,
            "external_network_id": external.id,
        },
        undo="deleted, if pumphouse made it",
    )
    return _floating_step(draft, server, floating, params, (stop, router, f"port:{port}"))


def _floating_step(
    draft: Draft, server: Server, floating: FloatingIp, params: dict[str, str], needs: tuple[str, ...]
) -> str:
    return draft.add(
        f"floating-ip:{floating.address}",
        phase="cutover",
        changes="both",
        title=f"floating IP {floating.address} of {server.name}",
        needs=needs,
        params=params,
        server_id=server.id,
        undo="given back to the source's server",
    )


def add_spare_floating_ips(draft: Draft, project: Project) -> None:
    """Floating IPs that the project holds without a server: kept for it when the whole project moves, else listed."""
    spare = [f for f in draft.source.floating_ips if f.project_id == project.id and f.server_id is None]
    going = {server.id for server in draft.servers}
    there = {port.name for port in draft.destination.ports if port.server_id}
    whole = all(s.id in going or port_name(s.id) in there for s in draft.source.servers_of(project.id))
    for floating in spare:
        label = f"floating IP {floating.address}"
        if not whole:
            text = f"is held by {project.name} without a server: it stays at the source until the whole project moves"
            draft.notes.append(Note(label, text))
            continue
        external = _external(draft, floating, f"of project {project.name} ")
        if external is None:
            continue
        _check_taken(draft, floating, project, None)
        quota = f"network-quota:{project.id}"
        draft.add(
            f"spare-floating-ip:{floating.address}",
            title=f"floating IP {floating.address} kept for {project.name}",
            needs=(
                f"project:{project.id}",
                *((quota,) if quota in draft.steps else ()),
                *operator_needs(draft, project.id),
            ),
            params={
                "address": floating.address,
                "project_id": project.id,
                "external_network_id": external.id,
            },
            undo="released, if pumphouse allocated it",
        )
        draft.notes.append(
            Note(
                label, f"has no server; it is allocated to {project.name} at the destination and stays so at the source"
            )
        )


def _external(draft: Draft, floating: FloatingIp, whose: str) -> Network | None:
    if is_nova(draft):
        pool = pool_of(draft, floating)
        return Network(id=pool, name=pool, cidr=None, external=True)
    pool = draft.site.floating_pools.get(floating.pool, floating.pool)
    external = [n for n in draft.destination.networks if n.external and n.name == pool]
    if len(external) == 1:
        return external[0]
    draft.block(
        "floating-pool-unknown",
        f"floating IP {floating.address}",
        f"{whose}comes from pool {floating.pool}; {draft.destination.facts.cloud} has "
        f"{len(external) or 'no'} external network(s) called {pool}.",
        "map the pool to an external network in site.yaml, destination.floating_pools.",
    )
    return None


def _check_taken(draft: Draft, floating: FloatingIp, project: Project, server: Server | None) -> None:
    taken = draft.destination.floating_ip(floating.address)
    planned = draft.steps.get(f"project:{project.id}")
    there = draft.destination.project_named(planned.params["name"] if planned else project.name)
    if taken is None or (there is not None and taken.project_id == there.id and not (server and taken.fixed_address)):
        return
    whose = f"server {server.name}" if server else f"project {project.name}"
    draft.block(
        "floating-ip-taken",
        f"floating IP {floating.address}",
        f"of {whose} is held at {draft.destination.facts.cloud} by project {taken.project_id}.",
        "release it at the destination.",
    )


def port_name(server_id: str) -> str:
    """Name of the ports that hold a source server's addresses at the destination: how we know them as ours."""
    return f"pumphouse {server_id}"


def port_id(server: Server, address: str) -> str:
    """Our own id of a server's presence on an address (nova-network has no ports)."""
    return f"{server.id}/{address}"
