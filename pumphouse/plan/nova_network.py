"""Planning for a destination that has nova-network itself: an older Mirantis cloud (Fuel deploys it up to 7.0).

It knows no ports: an address is kept by reserving it, and given up to the server that boots with it at the last moment.
Its floating IPs are bound to servers, and it hands out whichever address of a pool is free.
"""

from __future__ import annotations

import ipaddress

from pumphouse.model import FloatingIp, Network, Project, Server
from pumphouse.plan.addresses import addresses, inside
from pumphouse.plan.draft import Draft
from pumphouse.plan.identity import OPERATOR_ROLE, operator_in
from pumphouse.plan.model import Note

#: Networks with more addresses than this are not made here: each address is reserved by a request of its own.
MOST_ADDRESSES = 4096


def is_nova(draft: Draft) -> bool:
    """Whether the destination has nova-network."""
    return draft.destination.facts.network_service == "nova-network"


def add_operator(draft: Draft, project: Project) -> None:
    """nova-network makes groups and floating IPs in the caller's own project: the operator needs a role there."""
    if is_nova(draft):
        operator_in(draft, project.id)


def operator_needs(draft: Draft, project_id: str) -> tuple[str, ...]:
    """The step that lets the operator work in a project, where there is one."""
    key = f"assignment:{project_id}:{OPERATOR_ROLE}"
    return (key,) if is_nova(draft) and key in draft.steps else ()


def keep_off(draft: Draft, network: Network, step: str, first: str, last: str) -> None:
    """Reserve at the destination whatever the source may still use of the network that it is about to get."""
    block = ipaddress.IPv4Network(network.cidr or "0.0.0.0/32", strict=False)
    if block.num_addresses > MOST_ADDRESSES:
        draft.block(
            "network-too-large",
            f"network {network.name}",
            f"{block} has {block.num_addresses} addresses, almost all of which would have to be reserved one by one at "
            f"{draft.destination.facts.cloud}, lest it gives them out while the source does.",
            "make the destination's network by hand, cut down to what it may use, and map it in site.yaml, "
            "destination.networks.",
        )
        return
    own = set(addresses(first, last))
    draft.add(
        f"keep-off:{network.id}",
        title=f"{block.num_addresses - len(own)} addresses of {network.name} that stay the source's",
        needs=(step,),
        params={
            "source_name": network.name,
            "addresses": [str(one) for one in block.hosts() if str(one) not in own],
        },
        undo="unreserved, if pumphouse reserved them",
    )


def add_fixed_ip(draft: Draft, server: Server, address: str, key: str, network: str, groups: list[str]) -> str:
    """The step that gives an address free at the destination, once its server is down at the source."""
    params = draft.steps[network].params
    taken = [s for s in draft.destination.servers if any(a.address == address for a in s.addresses)]
    if taken and inside(address, params["cidr"]):
        draft.block(
            "fixed-ip-taken",
            f"server {server.name}",
            f"its address {address} is held at {draft.destination.facts.cloud} by server {taken[0].name} "
            f"({taken[0].id}).",
            "free the address at the destination.",
        )
    draft.notes.append(Note(f"server {server.name}", "gets another MAC: nova-network does not let anybody choose it"))
    keep = f"keep-off:{params['source_id']}"
    return draft.add(
        key,
        kind="open-fixed-ip",
        phase="cutover",
        title=f"address {address} for {server.name}",
        needs=(
            network,
            f"stop:{server.id}",
            f"project:{server.project_id}",
            *(f"security-group:{group}" for group in groups),
            *((keep,) if keep in draft.steps else ()),
        ),
        params={
            "source_id": key.removeprefix("port:"),
            "network_id": params["source_id"],
            "project_id": server.project_id,
            "address": address,
            "security_groups": [draft.steps[f"security-group:{group}"].params["name"] for group in groups],
        },
        server_id=server.id,
        undo="reserved again",
    )


def pool_of(draft: Draft, floating: FloatingIp) -> str:
    """Name of the pool at the destination; one that has other free addresses is a finding."""
    pool = draft.site.floating_pools.get(floating.pool, floating.pool)
    held = {one.address for one in draft.destination.floating_ips}
    there = {
        str(address)
        for cidr in draft.destination.floating_pools.get(pool, ())
        for address in ipaddress.ip_network(cidr, strict=False)
    }
    free = there - held - {floating.address}
    if free:
        draft.block(
            "floating-pool-shared",
            f"floating IP {floating.address}",
            f"cannot be asked for at {draft.destination.facts.cloud}: nova-network gives out any free address of a "
            f"pool, and {pool} has {len(free)} others ({min(free)} …).",
            f"take the free addresses out of pool {pool} there until the move is over.",
        )
    return pool
