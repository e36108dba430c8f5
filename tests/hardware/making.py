"""Nodes, hosts and what Nova says of them, made by hand."""

from __future__ import annotations

from typing import Any

from pumphouse.model import Hypervisor, Server, Service
from pumphouse.nodes.spec import BmcSpec, NodeSpec, PortSpec
from pumphouse.plan.hardware import HostFacts, NodeFacts
from tests.factories import make_server

NAMES = {"source": "old", "destination": "new"}
DIGEST = "d" * 64
ADMIN_VLAN = 100


def make_node(name: str = "n1", **overrides: Any) -> NodeSpec:
    values: dict[str, Any] = {
        "name": name,
        "macs": (f"52:54:00:00:00:{int(name[1:]):02x}", f"52:54:00:00:01:{int(name[1:]):02x}"),
        "host": f"host-{name}",
        "role": "compute",
        "serial": f"SN-{name}",
        "bmc": BmcSpec(name, "192.0.2.1"),
        "ports": (PortSpec("sw1", f"p-{name}", 200), PortSpec("sw1", f"q-{name}", 300)),
    }
    return NodeSpec(**values | overrides)


def make_service(host: str, binary: str = "nova-compute", **overrides: Any) -> Service:
    values: dict[str, Any] = {"binary": binary, "host": host, "zone": "nova", "status": "enabled", "state": "up"}
    return Service(**values | overrides)


def make_hypervisor(host: str, ram_mib: int, used_mib: int) -> Hypervisor:
    return Hypervisor(host, f"{host}.example", host, ram_mib=ram_mib, ram_used_mib=used_mib)


def on_host(name: str, **overrides: Any) -> Server:
    return make_server(name, **{"host": "host-n1", "task_state": None, **overrides})


def make_host(*servers: Server, **overrides: Any) -> HostFacts:
    """Host ``host-n1`` with two others beside it, of which ``host-n3`` has more room."""
    values: dict[str, Any] = {
        "host": "host-n1",
        "services": tuple(make_service(f"host-n{number}") for number in (1, 2, 3)),
        "servers": servers,
        "hypervisors": (make_hypervisor("host-n2", 8192, 4096), make_hypervisor("host-n3", 8192, 2048)),
        "ram_mib": {server.id: 1024 for server in servers},
    }
    return HostFacts(**values | overrides)


def make_facts(*servers: Server, node: NodeSpec | None = None, **host: Any) -> NodeFacts:
    return NodeFacts(node or make_node(), ADMIN_VLAN, make_host(*servers, **host))
