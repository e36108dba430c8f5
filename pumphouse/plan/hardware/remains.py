"""What is left at a source that is to end, and whether each of it is accounted for. Pure: nobody is asked here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from pumphouse.clouds.hosts_api import COMPUTE
from pumphouse.model import FloatingIp, Image, Server, Service

#: States of images that have no data which could be lost.
_EMPTY_IMAGES = ("queued", "killed", "deleted", "pending_delete")
#: Nova's power states of servers whose guest does not run: no state, shut down, crashed.
_DEAD = (0, 4, 6)


@dataclass(frozen=True)
class SourceRemains:
    """What the source still holds, of all projects."""

    servers: tuple[Server, ...] = ()
    images: tuple[Image, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    services: tuple[Service, ...] = ()
    #: project id -> its name, as far as it is known
    projects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Accounts:
    """What speaks for things that are left.

    ``moved`` are servers that the journal's moves carried; ``images`` source ids of images whose copy the destination
    has now; ``addresses`` those floating IPs that the destination has now; ``retiring`` the hosts of the nodes that
    are to be taken; ``leave`` what the operator leaves behind knowingly: names or ids of servers and images, addresses,
    hosts.
    """

    moved: Collection[str] = ()
    images: Collection[str] = ()
    addresses: Collection[str] = ()
    retiring: Collection[str] = ()
    leave: Collection[str] = ()


@dataclass(frozen=True)
class Remnant:
    """One thing that is left. ``why`` it must not be, or on whose word it may; ``accounted``: it may.

    ``lost`` is the id (an address: itself) of what is lost on the operator's word.
    """

    code: str
    object: str
    why: str
    remedy: str = ""
    accounted: bool = False
    lost: str = ""


def account(remains: SourceRemains, accounts: Accounts) -> tuple[Remnant, ...]:
    """Everything that is left and has no account, and what is left on the operator's word.

    What was carried and is at the destination is not listed. Reservations of fixed IPs are not looked at: nova-network
    until Kilo shows none, and without a server nobody has the address.
    """
    found = [
        *(_server(server, accounts) for server in remains.servers),
        *_images(remains.images, accounts),
        *_addresses(remains, accounts),
        *_hosts(remains.services, accounts),
    ]
    return tuple(sorted(found, key=lambda one: (one.accounted, one.code, one.object)))


def unknown(remains: SourceRemains, leave: Iterable[str]) -> tuple[str, ...]:
    """Words of the operator's list that name nothing at the source."""
    known = {word for server in remains.servers for word in (server.id, server.name)}
    known |= {word for image in remains.images for word in (image.id, image.name)}
    known |= {one.address for one in remains.floating_ips} | {one.host for one in remains.services}
    return tuple(sorted(set(leave) - known))


def control_rank(services: Iterable[Service]) -> Mapping[str, int]:
    """How late each host may go: 0 it serves the network alone, 2 it runs Nova's control services.

    Hosts that Nova does not know are not in it: whatever they do, it is between the two.
    """
    binaries: dict[str, set[str]] = {}
    for service in services:
        binaries.setdefault(service.host, set()).add(service.binary)
    return {host: 0 if names <= _NETWORK else 2 for host, names in binaries.items()}


_NETWORK = {"nova-network", "nova-metadata", "nova-api-metadata", COMPUTE}


def _server(server: Server, accounts: Accounts) -> Remnant:
    label = f"server {server.name}"
    if {server.id, server.name} & set(accounts.leave):
        if server.status != "SHUTOFF" and server.power_state not in _DEAD:
            return Remnant(
                "left-alive",
                label,
                f"({server.id}, {server.status}) is to be left behind, but runs: it would go on with nobody to stop "
                "it, and its addresses could get a second owner.",
                "stop it, or move it.",
            )
        why = f"({server.id}, {server.status}) is lost, on the operator's word"
        return Remnant("left", label, why, accounted=True, lost=server.id)
    if server.id in accounts.moved:
        return Remnant(
            "not-finalised",
            label,
            f"({server.id}, {server.status}) was moved, but its source is still there.",
            "finalise the move after its hold (04-finalise-move.ipynb).",
        )
    return Remnant(
        "server-left",
        label,
        f"({server.id}, {server.status}) was not moved.",
        "move it; or stop it and name it among those that are left behind (leave).",
    )


def _images(images: Iterable[Image], accounts: Accounts) -> Iterable[Remnant]:
    for image in images:
        if image.status in _EMPTY_IMAGES or image.id in accounts.images:
            continue
        label = f"image {image.name}"
        if {image.id, image.name} & set(accounts.leave):
            why = f"({image.id}) is lost, on the operator's word"
            yield Remnant("left", label, why, accounted=True, lost=image.id)
        else:
            yield Remnant(
                "image-left",
                label,
                f"({image.id}, {image.status}) was not carried: the destination has no copy that the journal knows.",
                "copy it, or name it among those that are left behind (leave).",
            )


def _addresses(remains: SourceRemains, accounts: Accounts) -> Iterable[Remnant]:
    servers = {server.id: server.name for server in remains.servers}
    for one in remains.floating_ips:
        label = f"floating IP {one.address}"
        if one.server_id is not None or one.fixed_address is not None:
            yield Remnant(
                "address-bound",
                label,
                f"is bound at the source{f' to server {_named(one.server_id, servers)}' if one.server_id else ''}.",
                "move that server, or take the address off it.",
            )
        elif one.project_id is not None and one.address not in accounts.addresses:
            if one.address in accounts.leave:
                why = "is given up, on the operator's word"
                yield Remnant("left", label, why, accounted=True, lost=one.address)
            else:
                yield Remnant(
                    "address-left",
                    label,
                    f"belongs to project {_named(one.project_id, remains.projects)}, and the destination does not have "
                    "it.",
                    "allocate it there, release it at the source, or name it among those that are left behind (leave).",
                )


def _named(its_id: str, names: Mapping[str, str]) -> str:
    """Its name with the id behind it; what has none goes by its id."""
    name = names.get(its_id, "")
    return f"{name} ({its_id})" if name else its_id


def _hosts(services: Iterable[Service], accounts: Accounts) -> Iterable[Remnant]:
    for service in services:
        if service.binary != COMPUTE or service.host in accounts.retiring:
            continue
        label = f"host {service.host}"
        if service.host in accounts.leave:
            yield Remnant("left", label, "stays as it is, on the operator's word", accounted=True)
        elif service.state != "up" and service.status == "disabled":
            yield Remnant("left", label, "is disabled and down: nothing but its record is left", accounted=True)
        else:
            yield Remnant(
                "host-left",
                label,
                f"is a compute host of the source still ({service.status}, {service.state}).",
                "transfer its node (08-transfer-node.ipynb), or name the host among those that are left (leave).",
            )
