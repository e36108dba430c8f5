"""What hardware planners are told: a node, and what Nova says of its host and of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pumphouse.clouds.hosts_api import COMPUTE
from pumphouse.model import Hypervisor, Server, Service
from pumphouse.nodes.sight import PortSight
from pumphouse.nodes.spec import NodeSpec


@dataclass(frozen=True)
class HostFacts:
    """A compute host of the source. ``ram_mib`` is what each of its servers takes (by server id).

    ``unconfirmed`` are servers whose old disk is still on it; ``multi_host`` whether every nova-network runs on each
    host that needs it, so that none depends on this one.
    """

    host: str
    services: tuple[Service, ...] = ()
    servers: tuple[Server, ...] = ()
    unconfirmed: tuple[Server, ...] = ()
    hypervisors: tuple[Hypervisor, ...] = ()
    ram_mib: Mapping[str, int] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    multi_host: bool = False

    @property
    def service(self) -> Service | None:
        """Its nova-compute."""
        return next((s for s in self.services if s.host == self.host and s.binary == COMPUTE), None)

    @property
    def is_up(self) -> bool:
        """Whether its nova-compute gives signs of life."""
        return self.service is not None and self.service.state == "up"

    @property
    def serves_more(self) -> tuple[str, ...]:
        """Services on this host that others depend on."""
        own = {COMPUTE, *(("nova-network", "nova-metadata", "nova-api-metadata") if self.multi_host else ())}
        return tuple(sorted(s.binary for s in self.services if s.host == self.host and s.binary not in own))

    def zone_of(self, host: str) -> str:
        """The availability zone of a compute host."""
        return next((s.zone for s in self.services if s.binary == COMPUTE and s.host == host), "")

    @property
    def room(self) -> dict[str, int | None]:
        """Other hosts that take servers -> their free RAM in MiB (None: not told), the roomiest first."""
        able = [
            s.host
            for s in self.services
            if s.binary == COMPUTE and s.host != self.host and s.status == "enabled" and s.state == "up"
        ]
        free: dict[str, int | None] = dict.fromkeys(able)
        for hypervisor in self.hypervisors:
            # the hypervisor of a host is named after the machine, which may be a longer name
            mine = [h for h in able if h in (hypervisor.host, hypervisor.hostname, hypervisor.hostname.split(".")[0])]
            if mine and hypervisor.ram_mib is not None and hypervisor.ram_used_mib is not None:
                free[mine[0]] = hypervisor.ram_mib - hypervisor.ram_used_mib
        return dict(sorted(free.items(), key=lambda item: (-(item[1] or 0), item[0])))


@dataclass(frozen=True)
class NodeFacts:
    """A node of site.yaml and what the source says of its host; None: it is no compute host there.

    ``port`` is who is heard at its switch port; None: nobody asked.
    """

    node: NodeSpec
    admin_vlan: int | None
    host: HostFacts | None = None
    port: PortSight | None = None
