"""The simulated site's Fuel master: Nailgun 5.1 to 8.0 over HTTP, with Fuel's Keystone before it.

Its answers are those of recorded masters; what it does to machines follows the fleet's physics: a machine is discovered
while it runs the bootstrap image, a deployment needs it to go on running it, and overwrites its disk.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.fleet import Fleet, Machine
from pumphouse.lab.hardware.nailgun.clusters import Clusters
from pumphouse.lab.hardware.nailgun.discovery import Discovery, report_of
from pumphouse.lab.hardware.nailgun.layout import join
from pumphouse.lab.hardware.nailgun.networks import change, default_networks, give_addresses
from pumphouse.lab.hardware.nailgun.nodes import Nodes
from pumphouse.lab.hardware.nailgun.release import RELEASES, attributes_of, traits_of
from pumphouse.lab.hardware.nailgun.state import Cluster, State
from pumphouse.lab.hardware.nailgun.wire import Front
from pumphouse.lab.hardware.nailgun.work import Durations, Pause, Work
from pumphouse.lab.world import World

__all__ = ["RELEASES", "Durations", "Nailgun", "start"]

_MAX_BYTES = 4 * 1024 * 1024
_KEPT = ("auth_required", "clusters", "tasks", "notifications", "tokens", "counters")


@dataclass
class Nailgun:
    """A running Fuel master. ``url`` is its API root, as ``fuel.url`` in site.yaml wants it."""

    url: str
    user: str
    password: str
    tenant: str
    state: State
    fleet: Fleet
    work: Work
    discovery: Discovery
    _runner: web.AppRunner

    def expire_tokens(self) -> None:
        """All tokens end now, as they do in the middle of a long deployment."""
        self.state.tokens.clear()

    def adopt(
        self,
        name: str,
        machines: Iterable[Machine],
        *,
        public: tuple[str, str, str, str] | None = None,
        access: tuple[str, str, str] | None = None,
    ) -> Cluster:
        """An environment that was deployed long ago, with the machines that run it.

        :param machines: those that run ``destination``; their ``hostname`` and ``roles`` become the nodes'.
        :param public: CIDR, gateway, first and last address of the public network; the release's own otherwise.
        :param access: user, password and tenant of its administrator; the release's own otherwise.
        """
        state = self.state
        traits = state.traits
        cluster_id = state.count("cluster")
        release_id = next(one["id"] for one in traits.documents["releases"] if "Ubuntu" in one["name"])
        cluster = Cluster(
            id=cluster_id,
            name=name,
            mode="ha_compact",
            net_provider="neutron",
            release_id=release_id,
            segment="vlan",
            attributes=attributes_of(traits),
            networks=default_networks(state, cluster_id, "neutron", "vlan"),
            changes=[],
            deployed_before=True,
        )
        state.clusters[cluster_id] = cluster
        editable = cluster.attributes["editable"]
        for key, value in zip(("user", "password", "tenant"), access or (), strict=False):
            editable["access"][key]["value"] = value
        if public is not None:
            cidr, gateway, first, last = public
            network = cluster.network("public")
            assert network is not None
            network |= {"cidr": cidr, "gateway": gateway, "ip_ranges": [[first, last]]}
            cluster.networks["networking_parameters"]["floating_ranges"] = []
            change(state, cluster, {})
        places = list(self.fleet.machines)
        nodes = []
        for machine in machines:
            node = self.discovery.register(report_of(machine, 100 + places.index(machine.name)))
            node.machine = machine
            join(state, node, cluster, list(machine.roles))
            node.name = machine.name
            node.roles, node.pending_roles, node.pending_addition = list(machine.roles), [], False
            node.status, node.progress, node.was_deployed = "ready", 100, True
            node.hostname = machine.hostname if traits.hostnames else ""
            nodes.append(node)
        give_addresses(state, cluster, nodes)
        cluster.status, cluster.changes = "operational", []
        return cluster

    # --- for checkpoints

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self.work.busy

    def save(self) -> bytes:
        """What :meth:`load` puts back."""
        state = {key: getattr(self.state, key) for key in _KEPT}
        nodes = [
            (replace(node, machine=None), node.machine and node.machine.name) for node in self.state.nodes.values()
        ]
        return pickle.dumps((state, nodes))

    async def load(self, saved: bytes) -> None:
        """Be again as it was; what is under way is dropped."""
        await self.work.close()
        state, nodes = pickle.loads(saved)
        for key, value in state.items():
            setattr(self.state, key, value)
        self.state.nodes = {
            node.id: replace(node, machine=self.fleet.machines.get(machine or "")) for node, machine in nodes
        }

    def show(self) -> dict[str, Any]:
        """Environments, nodes and tasks as Nailgun shows them, and the nodes' layouts."""
        nodes = list(self.state.nodes.values())
        return {
            "clusters": [self.state.cluster_view(one) for one in self.state.clusters.values()],
            "nodes": [self.state.node_view(one) for one in nodes],
            "layouts": [{"node": one.name, "interfaces": one.interfaces, "disks": one.disks} for one in nodes],
            "tasks": [one.view() for one in self.state.tasks.values()],
        }

    async def stop(self) -> None:
        """Switch the master off; its machines stay as they are."""
        self.discovery.stop()
        await self.work.close()
        await self._runner.cleanup()


async def start(
    world: World,
    fleet: Fleet,
    *,
    release: str = "8.0",
    user: str = "admin",
    password: str = "admin",
    tenant: str = "admin",
    token_ttl_s: float = 86400.0,
    durations: Durations | None = None,
    pause: Pause | None = None,
    host: str = "127.0.0.1",
    door: socket.socket | None = None,
) -> Nailgun:
    """Start a Fuel master of a release on loopback.

    :param token_ttl_s: how long a token is valid, in seconds of real time.
    :param durations: how long things take before the world's scale.
    :param pause: what waits instead of the clock, for tests that decide themselves when time passes.
    :param door: a bound socket to listen on; None: a free port of the host.
    """
    state = State(traits_of(release), user=user, password=password, tenant=tenant, token_ttl_s=token_ttl_s)

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds * world.timing.scale)

    lengths = durations or Durations()
    work = Work(state, fleet, lengths, pause or wait)
    discovery = Discovery(state, fleet, work, lengths.keepalive_s * world.timing.scale)
    routes = [*Clusters(state, work).routes(), *Nodes(state, work, discovery).routes()]
    front = Front(state, routes, discovery.notice)
    app = web.Application(middlewares=[world.faults.middleware("fuel")], client_max_size=_MAX_BYTES)
    app.router.add_route("*", "/{path:.*}", front.respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, host, 0) if door is None else web.SockSite(runner, door)
    await site.start()
    address = runner.addresses[0]
    discovery.start()
    return Nailgun(f"http://{address[0]}:{address[1]}", user, password, tenant, state, fleet, work, discovery, runner)
