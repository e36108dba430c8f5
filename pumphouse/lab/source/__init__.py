"""The simulated old cloud: Keystone v2.0 and v3, Glance v1 and v2, Nova v2 with nova-network, on loopback.

``start(world, …)`` brings the services up on free ports and returns a :class:`Source`; what it does not do is listed
in :data:`NOT_IMPLEMENTED`. Differences between releases live in :mod:`pumphouse.lab.source.release` only. The same
application, started a second time under another name, is an older cloud with nova-network as a destination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from pumphouse.lab.source import glance, keystone, nova
from pumphouse.lab.source.release import RELEASES, Release
from pumphouse.lab.source.state import State
from pumphouse.lab.world import World

__all__ = ["NOT_IMPLEMENTED", "RELEASES", "Release", "Source", "State", "start"]

_FREE: Mapping[str, int] = {}
NOT_IMPLEMENTED: dict[str, tuple[str, ...]] = {
    "keystone": keystone.NOT_IMPLEMENTED,
    "glance": glance.NOT_IMPLEMENTED,
    "nova": nova.NOT_IMPLEMENTED,
}
"""What the real services have and this lab answers like an unknown path (or as each line says)."""


@dataclass
class Source:
    """The running old cloud."""

    state: State
    runners: list[web.AppRunner] = field(default_factory=list)

    async def stop(self) -> None:
        """Close the ports and end the background work; guests stay on the network."""
        await self.state.close()
        for runner in self.runners:
            await runner.cleanup()


async def start(
    world: World,
    *,
    release: str = "icehouse",
    host: str = "127.0.0.1",
    osapi_max_limit: int = 1000,
    cloud: str = "source",
    seed: int | None = None,
    ports: Mapping[str, int] = _FREE,
) -> Source:
    """Start all services on free ports of ``host``; the cloud is empty.

    :param cloud: its name on the shared network and in the lab's log of requests.
    :param seed: where its ids come from; two clouds of one site need different ones.
    :param ports: ports that services shall have instead, by the names of :class:`.state.Endpoints`.
    """
    state = State(world, RELEASES[release], cloud, osapi_max_limit=osapi_max_limit)
    if seed is not None:
        state.reseed(seed)
    source = Source(state)
    apps = {
        "keystone": keystone.Keystone(state, admin=False).app(),
        "keystone_admin": keystone.Keystone(state, admin=True).app(),
        "glance": glance.Glance(state).app(),
        "nova": nova.Nova(state).app(),
    }
    for name, app in apps.items():
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        source.runners.append(runner)
        site = web.TCPSite(runner, host, ports.get(name, 0))
        await site.start()
        port = runner.addresses[0][1]
        setattr(state.endpoints, name, f"http://{host}:{port}")
    return source
