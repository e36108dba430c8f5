"""What all devices say of the site's nodes at this moment: BMC, switch, Fuel and the source's Nova, side by side.

A device that does not answer is a sentence in ``problems``, never an error: the table must show the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

from pumphouse.clouds.api import Cloud
from pumphouse.clouds.hosts_api import COMPUTE
from pumphouse.errors import PumphouseError
from pumphouse.model import Service
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import FuelNode
from pumphouse.nodes.spec import Hardware, NodeSpec

#: Devices that are asked at the same time.
_PARALLEL = 8
_NOVA, _FUEL, _SWITCH, _BMC = "nova", "fuel", "switch", "bmc"


@dataclass(frozen=True)
class NodeState:
    """One node as its devices describe it; empty or None where nobody could tell.

    ``owner``: ``source`` (Nova there has its host), ``destination`` (Fuel deployed it), ``fuel`` (the master itself, or
    a node that Fuel discovered and has not deployed) or empty. ``vlan`` is that of its PXE NIC's port, ``service`` its
    nova-compute at the source (``enabled, up``), ``fuel`` its status in Fuel.
    """

    node: str
    role: str
    host: str
    owner: str = ""
    serial: str = ""
    power: str = ""
    vlan: int | None = None
    service: str = ""
    servers: int | None = None
    fuel: str = ""
    fuel_name: str = ""
    roles: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    #: whether its BMC was asked; else its power and serial are not known, which is no answer
    asked: bool = True


@dataclass
class _Looked:
    services: dict[str, Service] = field(default_factory=dict)
    servers: Counter[str] = field(default_factory=Counter)
    fuel: list[FuelNode] = field(default_factory=list)
    vlans: dict[tuple[str, str], int] = field(default_factory=dict)
    powers: dict[str, tuple[str, str]] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def look_at_nodes(
    hardware: Hardware, nodes: Nodes, source: Cloud | None, *, names: Iterable[str] = (), rest: bool = False
) -> tuple[NodeState, ...]:
    """Ask every device about these nodes (all by default), several at a time (read only).

    :param source: None where the source is no more.
    :param rest: all other nodes as well, but their BMCs are not asked: each takes longer than all the rest.
    """
    asked = [nodes.node(name) for name in names] or list(hardware.nodes.values())
    wanted = list(hardware.nodes.values()) if rest else asked
    looked = _Looked()
    asking: dict[str, Callable[[], None]] = {}
    if source is not None:
        asking[_NOVA] = lambda: _ask_nova(source, looked)
    if hardware.fuel is not None:
        asking[_FUEL] = lambda: _ask_fuel(nodes, looked)
    for name in sorted({spec.ports[0].switch for spec in wanted if spec.ports}):
        asking[f"{_SWITCH} {name}"] = partial(_ask_switch, nodes, name, wanted, looked)
    for spec in asked:
        if spec.bmc is not None:
            asking[f"{_BMC} {spec.name}"] = partial(_ask_bmc, nodes, spec.name, looked)
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="rack") as pool:
        list(pool.map(lambda what: _try(what, asking[what], looked), asking))
    names_asked = {spec.name for spec in asked}
    return tuple(replace(_described(spec, looked), asked=spec.name in names_asked) for spec in wanted)


def _try(what: str, ask: Callable[[], None], looked: _Looked) -> None:
    try:
        ask()
    except PumphouseError as error:
        looked.silent[what] = error.message


def _ask_nova(source: Cloud, looked: _Looked) -> None:
    looked.services.update({s.host: s for s in source.compute.list_services() if s.binary == COMPUTE})
    looked.servers.update(Counter(server.host for server in source.compute.list_servers() if server.host))


def _ask_fuel(nodes: Nodes, looked: _Looked) -> None:
    with nodes.fuel(patient=False) as fuel:
        looked.fuel.extend(fuel.list_nodes())


def _ask_switch(nodes: Nodes, name: str, wanted: Iterable[NodeSpec], looked: _Looked) -> None:
    """All ports in one conversation: logging in takes longer than asking."""
    ports = [spec.ports[0].port for spec in wanted if spec.ports and spec.ports[0].switch == name]
    with nodes.switch(name) as switch:
        looked.vlans.update({(name, state.port): state.vlan for state in switch.ports(ports)})


def _ask_bmc(nodes: Nodes, name: str, looked: _Looked) -> None:
    with nodes.bmc(name) as bmc:
        looked.powers[name] = (bmc.power(), bmc.identity().serial)


def _described(spec: NodeSpec, looked: _Looked) -> NodeState:
    port = spec.ports[0] if spec.ports else None
    power, serial = looked.powers.get(spec.name, ("", ""))
    service = looked.services.get(spec.host)
    known = next((node for node in looked.fuel if set(node.macs) & set(spec.macs)), None)
    of_it = [_NOVA, _FUEL, f"{_BMC} {spec.name}", *([f"{_SWITCH} {port.switch}"] if port is not None else [])]
    return NodeState(
        node=spec.name,
        role=spec.role,
        host=spec.host,
        owner=_owner(spec, service, known),
        serial=serial,
        power=power,
        vlan=looked.vlans.get((port.switch, port.port)) if port is not None else None,
        service=f"{service.status}, {service.state}" if service is not None else "",
        servers=looked.servers[spec.host] if service is not None else None,
        fuel=known.status if known is not None else "",
        fuel_name=(known.fqdn or known.hostname or known.name) if known is not None else "",
        roles=known.roles if known is not None else (),
        problems=tuple(looked.silent[what] for what in of_it if what in looked.silent),
    )


def _owner(spec: NodeSpec, service: Service | None, known: FuelNode | None) -> str:
    if known is not None and known.status == "ready":
        return "destination"
    if known is not None or spec.role == "fuel":
        return "fuel"
    return "source" if service is not None or (spec.host and spec.role in ("compute", "controller")) else ""
