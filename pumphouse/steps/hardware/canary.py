"""A server of our own that proves a new compute host: it boots there, answers, and is deleted."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from pumphouse.clouds.api import Cloud
from pumphouse.errors import StepError, VerificationFailed
from pumphouse.model import MARKER, Flavor, Image, Network, SecurityGroupRule, Server, ServerSpec
from pumphouse.plan.model import PlannedStep
from pumphouse.probes import wait_answer
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of


class CanaryServer(Step):
    """Boot a server on one host of the destination, see it answer, and leave nothing of it."""

    kind = "canary"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Remove what an earlier run left, boot one on the host, ask it, delete it."""
        _sweep(ctx, step)
        up = ctx.journal.step_state(ctx.plan.hash, step.params["up"]).outcome
        try:
            return self._boot(ctx, step, str(up["host"]), str(up["zone"]))
        finally:
            _sweep(ctx, step)

    def _boot(self, ctx: Context, step: PlannedStep, host: str, zone: str) -> Outcome:
        cloud, spec = ctx.destination, ctx.site.probe
        # a source that is to end has no servers left, and may be dark
        taken = frozenset[str]() if ctx.plan.kind == "decommission" else taken_at(ctx.source)
        image, flavor, network = find_parts(cloud, step.params, taken=taken)
        server_id = cloud.compute.create_server(
            ServerSpec(
                name=_name(step),
                flavor_id=flavor.id,
                image_id=image.id,
                metadata={MARKER: _mark(step)},
                availability_zone=f"{zone}:{host}",
                fixed_ips=((network.id, ""),),
                security_groups=(_group(ctx, step, port=spec.port),),
            )
        )
        server = cloud.compute.wait_server(server_id, "ACTIVE", timeout_s=ctx.site.action_timeout_s)
        address = next((one.address for one in server.addresses if one.version == 4), "")
        if spec.kind != "none" and wait_answer(spec, address) is None:
            raise VerificationFailed(
                f"Canary {server.name} ({server.id}) is ACTIVE on {server.host} of {cloud.name}, but {address} does "
                f"not answer after {spec.timeout_s:g} s: servers on that host would not be reached.",
                remedy="look at the host's network; the canary is deleted. Run again when it is mended.",
            )
        return {
            "host": server.host,
            "wanted": host,
            "address": address,
            "answers": None if spec.kind == "none" else True,
            "image": image.name,
            "flavor": flavor.name,
            "network": network.name,
        }

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """It was on that host and nowhere else, and nothing of it is left."""
        expect(
            step.title,
            {
                "host": (outcome["wanted"], outcome["host"]),
                "left": ([], [server.id for server in _left(ctx, step)]),
                "left of its security groups": ([], _left_groups(ctx, step)),
            },
        )
        return {key: outcome[key] for key in ("host", "address", "answers", "image", "flavor", "network")}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete what may be left of it."""
        return {"deleted": _sweep(ctx, step)}


def _name(step: PlannedStep) -> str:
    return f"pumphouse-canary-{step.params['node']}"


def _mark(step: PlannedStep) -> str:
    return f"canary:{step.params['node']}"


def _left(ctx: Context, step: PlannedStep) -> list[Server]:
    found = ctx.destination.compute.list_servers(name=_name(step))
    return [server for server in found if server.metadata.get(MARKER) == _mark(step)]


def _sweep(ctx: Context, step: PlannedStep) -> list[str]:
    """Delete every canary of this node, and its group; returns the servers' ids."""
    gone = []
    for server in _left(ctx, step):
        ctx.destination.compute.delete_server(server.id)
        ctx.destination.compute.wait_server_gone(server.id, timeout_s=ctx.site.action_timeout_s)
        gone.append(server.id)
    for group_id in _left_groups(ctx, step):
        ground_of(ctx.destination).delete_security_group(group_id)
    return gone


def _left_groups(ctx: Context, step: PlannedStep) -> list[str]:
    found = ground_of(ctx.destination).list_security_groups(project_id=ctx.destination.project_id)
    return [group.id for group in found if group.name == _name(step)]


def _group(ctx: Context, step: PlannedStep, *, port: int) -> str:
    """A group that lets the probe in; the project's default may not."""
    ground, project_id = ground_of(ctx.destination), ctx.destination.project_id
    made = ground.create_security_group(project_id, _name(step), "lets the canary of a new host be asked")
    for rule in (
        SecurityGroupRule("", "ingress", "IPv4", "tcp", port, port, remote_cidr="0.0.0.0/0"),
        SecurityGroupRule("", "ingress", "IPv4", "icmp", None, None, remote_cidr="0.0.0.0/0"),
    ):
        ground.add_security_group_rule(made.id, project_id, rule)
    return made.name


def taken_at(source: Cloud) -> frozenset[str]:
    """Addresses of the source's servers, running or not: a canary must never come to have one (read only)."""
    return frozenset(one.address for server in source.compute.list_servers() for one in server.addresses)


def _gives_out(network: Network, taken: Iterable[str]) -> bool:
    """Whether a network may pick one of these addresses for a server."""
    known = [ipaddress.ip_address(address) for address in taken]
    pools = [(ipaddress.ip_address(low), ipaddress.ip_address(high)) for low, high in network.pools]
    return any(one.version == low.version and int(low) <= int(one) <= int(high) for low, high in pools for one in known)


def find_parts(cloud: Cloud, said: Mapping[str, Any], *, taken: Collection[str] = ()) -> tuple[Image, Flavor, Network]:
    """What a canary is made of (read only): what was named, else the smallest that everybody may use, else any.

    :param taken: addresses of the source's servers; a network that may pick one of them is none for a canary.
    :raises StepError: when the cloud has none.
    """
    name = said["image"]
    images = [
        image
        for image in cloud.images.list_images()
        if image.status == "active" and image.container_format in ("bare", "ovf") and not image.hidden
        if not name or name in (image.name, image.id)
    ]
    image = _best(cloud, "image", name, images, key=lambda one: (one.visibility != "public", one.size_bytes or 0))
    name = said["flavor"]
    flavors = [
        flavor
        for flavor in cloud.compute.list_flavors()
        if (not name and not flavor.disabled) or name in (flavor.name, flavor.id)
        if flavor.ram_mib >= image.min_ram_mib and (flavor.disk_gib or image.min_disk_gib) >= image.min_disk_gib
    ]
    flavor = _best(cloud, "flavor", name, flavors, key=lambda one: (not one.is_public, one.ram_mib))
    name = said["network"]
    networks = [
        network
        for network in cloud.network.list_networks()
        if network.cidr and not network.external
        if not name or name in (network.name, network.id)
    ]
    safe = [network for network in networks if not _gives_out(network, taken)]
    if networks and not safe:
        raise StepError(
            f"{cloud.name}: network {', '.join(one.name for one in networks)} picks addresses that servers of the "
            "source have: a canary there could be the second owner of one.",
            remedy="name another network with the parameter canary, or cut its allocation pools to a slice of its own.",
        )
    network = _best(cloud, "network", name, safe, key=lambda one: (not one.shared, 0))
    return image, flavor, network


class _Named(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def name(self) -> str: ...


_Thing = TypeVar("_Thing", bound=_Named)


def _best(
    cloud: Cloud, what: str, name: str, able: Iterable[_Thing], *, key: Callable[[_Thing], tuple[bool, int]]
) -> _Thing:
    found = sorted(able, key=lambda one: (key(one), one.name, one.id))
    if not found:
        raise StepError(
            f"{cloud.name} has no {what} {f'{name} ' if name else ''}that a canary could be made of.",
            remedy=f"make one there, or name another with the parameter canary ({what}).",
        )
    return found[0]
