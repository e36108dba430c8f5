"""The hardware's part of ``site.yaml``: nodes with BMC, MACs and switch ports; switches, VLANs, Fuel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pumphouse.errors import SiteError
from pumphouse.near import did_you_mean

ROLES = ("compute", "controller", "spare", "fuel")
_NAME = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f]*\Z"}
_MAC = {"type": "string", "pattern": r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}\Z"}
_VLAN = {"type": "integer", "minimum": 1, "maximum": 4094}
_TCP_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECONDS = {"type": "number", "exclusiveMinimum": 0}
#: Platforms on which ports are Linux interfaces: those have no abbreviations.
_LITERAL = frozenset({"cumulus_nclu", "cumulus_nvue", "linux_bridge", "openvswitch"})
_LOGIN = {"user": _NAME, "password_entry": _NAME, "password_env": _NAME, "timeout_s": _SECONDS}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


#: JSON schema of the keys ``vlans``, ``switches``, ``nodes`` and ``fuel``.
SCHEMA: dict[str, Any] = {
    "vlans": _object([], admin=_VLAN, private=_VLAN, public=_VLAN),
    "switches": {
        "type": "object",
        "additionalProperties": _object(
            ["driver", "vlans"],
            driver=_NAME,
            platform=_NAME,
            address=_NAME,
            port=_TCP_PORT,
            vlans={"type": "array", "items": _VLAN, "minItems": 2, "uniqueItems": True},
            options={"type": "object"},
            **_LOGIN,
        ),
    },
    "nodes": {
        "type": "object",
        "additionalProperties": _object(
            ["macs"],
            host=_NAME,
            role={"enum": list(ROLES)},
            serial=_NAME,
            macs={"type": "array", "items": _MAC, "minItems": 1, "uniqueItems": True},
            bmc=_object(["address"], driver=_NAME, address=_NAME, port=_TCP_PORT, options={"type": "object"}, **_LOGIN),
            ports={
                "type": "array",
                "items": _object(["switch", "port", "vlan"], switch=_NAME, port=_NAME, mac=_MAC, vlan=_VLAN),
            },
        ),
    },
    "fuel": _object(
        ["url"],
        url={"type": "string", "pattern": r"^https?://[^@\s]+\Z"},
        tenant=_NAME,
        environment=_NAME,
        template_node=_NAME,
        task_timeout_s=_SECONDS,
        ca_file=_NAME,
        **_LOGIN,
    ),
}


@dataclass(frozen=True)
class Login:
    """Who logs in, and where the password is: an entry of secure.yaml or an environment variable, never here.

    ``password_entry`` is a key of ``nodes`` in the ``secure.yaml`` beside ``clouds.yaml``
    (``nodes: {ENTRY: {password: …}}``).
    """

    user: str = ""
    password_entry: str | None = None
    password_env: str | None = None
    timeout_s: float = 15.0


@dataclass(frozen=True)
class BmcSpec:
    """A node's BMC. ``port`` is UDP 623 for IPMI."""

    node: str
    address: str
    driver: str = "ipmi"
    port: int = 623
    login: Login = field(default_factory=Login)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SwitchSpec:
    """A switch. ``vlans`` are the only ones that a port may leave or enter; ``port`` 0 is the driver's default."""

    name: str
    driver: str
    vlans: tuple[int, ...]
    address: str = ""
    port: int = 0
    platform: str = ""
    login: Login = field(default_factory=Login)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PortSpec:
    """Where one of a node's NICs is plugged in. ``vlan`` is the port's VLAN while the node serves a cloud.

    The port of the NIC that boots by PXE is the first of its node: it is the one that goes to the Admin VLAN.
    """

    switch: str
    port: str
    vlan: int
    mac: str = ""


@dataclass(frozen=True)
class NodeSpec:
    """A physical machine. ``host`` is its nova host name at the source; MACs are lower case."""

    name: str
    macs: tuple[str, ...]
    host: str = ""
    role: str = "spare"
    serial: str = ""
    bmc: BmcSpec | None = None
    ports: tuple[PortSpec, ...] = ()


@dataclass(frozen=True)
class FuelSpec:
    """The Fuel master: API root ``url`` (``http://HOST:8000``), environment by name, and the node to copy from."""

    url: str
    login: Login = field(default_factory=Login)
    tenant: str = "admin"
    environment: str = ""
    template_node: str = ""
    task_timeout_s: float = 7200.0
    ca_file: str = ""


@dataclass(frozen=True)
class Hardware:
    """All hardware that ``site.yaml`` describes."""

    nodes: Mapping[str, NodeSpec] = field(default_factory=dict)
    switches: Mapping[str, SwitchSpec] = field(default_factory=dict)
    fuel: FuelSpec | None = None
    admin_vlan: int | None = None
    private_vlan: int | None = None
    public_vlan: int | None = None

    @property
    def logins(self) -> tuple[Login, ...]:
        """Everybody we log in as: at BMCs, switches and Fuel; a driver's further passwords (``…_password_env``) too."""
        found = [node.bmc.login for node in self.nodes.values() if node.bmc is not None]
        found += [switch.login for switch in self.switches.values()]
        for options in (switch.options for switch in self.switches.values()):
            found += [Login(password_env=str(options[key])) for key in options if key.endswith("_password_env")]
        return (*found, *((self.fuel.login,) if self.fuel is not None else ()))

    def node(self, name: str) -> NodeSpec:
        """One node by its name in site.yaml, else by its nova host name.

        :raises SiteError: when there is none.
        """
        found = self.nodes.get(name) or next((n for n in self.nodes.values() if name and n.host == name), None)
        if found is None:
            raise SiteError(
                f"site.yaml describes no node {name or 'without a name'}{did_you_mean(name, self.nodes)}.",
                remedy=f"use one of: {', '.join(sorted(self.nodes)) or 'none'}.",
            )
        return found


def build(where: str, raw: Mapping[str, Any]) -> Hardware:
    """The hardware of a validated ``site.yaml``; ``where`` names the file in messages.

    :raises SiteError: when parts of it contradict each other.
    """
    vlans = raw.get("vlans", {})
    switches = {
        name: SwitchSpec(
            name=name,
            driver=entry["driver"],
            vlans=tuple(int(vlan) for vlan in entry["vlans"]),
            address=entry.get("address", ""),
            port=int(entry.get("port", 0)),
            platform=entry.get("platform", ""),
            login=_login(f"{where}: switches.{name}", entry),
            options=dict(entry.get("options", {})),
        )
        for name, entry in raw.get("switches", {}).items()
    }
    nodes = {name: _node(where, name, entry) for name, entry in raw.get("nodes", {}).items()}
    hardware = Hardware(
        nodes=nodes,
        switches=switches,
        fuel=_fuel(where, raw["fuel"]) if "fuel" in raw else None,
        admin_vlan=_whole(vlans.get("admin")),
        private_vlan=_whole(vlans.get("private")),
        public_vlan=_whole(vlans.get("public")),
    )
    _check(where, hardware)
    return hardware


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)  # 80.0 is an integer to JSON schema


def _node(where: str, name: str, entry: Mapping[str, Any]) -> NodeSpec:
    bmc = entry.get("bmc")
    return NodeSpec(
        name=name,
        macs=tuple(mac.lower() for mac in entry["macs"]),
        host=entry.get("host", ""),
        role=entry.get("role", "spare"),
        serial=entry.get("serial", ""),
        bmc=None
        if bmc is None
        else BmcSpec(
            node=name,
            address=bmc["address"],
            driver=bmc.get("driver", "ipmi"),
            port=int(bmc.get("port", 623)),
            login=_login(f"{where}: nodes.{name}.bmc", bmc),
            options=dict(bmc.get("options", {})),
        ),
        ports=tuple(
            PortSpec(p["switch"], p["port"], int(p["vlan"]), p.get("mac", "").lower()) for p in entry.get("ports", [])
        ),
    )


def _fuel(where: str, entry: Mapping[str, Any]) -> FuelSpec:
    return FuelSpec(
        url=entry["url"].rstrip("/"),
        login=_login(f"{where}: fuel", entry),
        tenant=entry.get("tenant", "admin"),
        environment=entry.get("environment", ""),
        template_node=entry.get("template_node", ""),
        task_timeout_s=float(entry.get("task_timeout_s", 7200.0)),
        ca_file=entry.get("ca_file", ""),
    )


def _login(where: str, entry: Mapping[str, Any]) -> Login:
    if {"password_entry", "password_env"} <= entry.keys():
        raise SiteError(
            f"{where} names two places for its password.", remedy="keep `password_entry` or `password_env`, not both."
        )
    return Login(
        user=entry.get("user", ""),
        password_entry=entry.get("password_entry"),
        password_env=entry.get("password_env"),
        timeout_s=float(entry.get("timeout_s", 15.0)),
    )


def _check(where: str, hardware: Hardware) -> None:
    seen: dict[str, str] = {}

    def once(what: str, owner: str) -> None:
        if seen.setdefault(what, owner) != owner:
            raise SiteError(
                f"{where}: {what} belongs to {seen[what]} and to {owner}.", remedy="correct the wrong one of the two."
            )

    for node in hardware.nodes.values():
        for mac in node.macs:
            once(f"MAC {mac}", f"node {node.name}")
        if node.host:
            once(f"host {node.host}", f"node {node.name}")
            if node.host != node.name and node.host in hardware.nodes:
                raise SiteError(
                    f"{where}: {node.host} is the host of node {node.name}, and another node's name: whoever names it "
                    "may mean either machine.",
                    remedy="call that other node something else.",
                )
        if node.bmc is not None:
            once(f"BMC {node.bmc.address}:{node.bmc.port}", f"node {node.name}")
        for port in node.ports:
            switch = hardware.switches.get(port.switch)
            if switch is None:
                raise SiteError(
                    f"{where}: nodes.{node.name}.ports names switch {port.switch}, which `switches` does not describe.",
                    remedy="describe it there, or correct its name.",
                )
            wanted = {port.vlan} | ({hardware.admin_vlan} if hardware.admin_vlan and port is node.ports[0] else set())
            if not wanted <= set(switch.vlans):
                raise SiteError(
                    f"{where}: port {port.port} of switch {switch.name} needs VLANs {sorted(wanted)}, but "
                    f"switches.{switch.name}.vlans allows {sorted(switch.vlans)} only.",
                    remedy="add the VLAN there if ports may be moved into it.",
                )
            if port.mac and port.mac not in node.macs:
                raise SiteError(
                    f"{where}: nodes.{node.name}.ports names MAC {port.mac}, which is none of the node's.",
                    remedy="correct the MAC.",
                )
    _check_ports(where, hardware)


def _check_ports(where: str, hardware: Hardware) -> None:
    """No port is two nodes', in whatever spelling: moving it for one of them would cut off the other."""
    taken: dict[str, list[tuple[str, str]]] = {}
    for node in hardware.nodes.values():
        for port in node.ports:
            others = taken.setdefault(port.switch, [])
            literal = _is_literal(hardware.switches[port.switch])
            for other, name in others:
                same = name == port.port if literal else is_same_port(name, port.port)
                if same and other != node.name:
                    spelt = f", there spelt {name}," if name != port.port else ""
                    raise SiteError(
                        f"{where}: port {port.port} of switch {port.switch}{spelt} belongs to node {other} and to node "
                        f"{node.name}.",
                        remedy="correct the wrong one of the two.",
                    )
            others.append((node.name, port.port))


def _is_literal(switch: SwitchSpec) -> bool:
    """Whether a port has one name on that switch: a Linux interface has, and what nobody but a person looks up."""
    return switch.platform in _LITERAL or switch.driver == "manual" or "templates" in switch.options


def is_same_port(one: str, other: str) -> bool:
    """Whether two names mean one port of a network system: ``Gi0/1`` is ``GigabitEthernet0/1``."""
    first, second = (re.fullmatch(r"([^\d]*)(.*?)(?:\.0)?", name.replace(" ", "")) for name in (one, other))
    if first is None or second is None or first[2] != second[2]:
        return False
    short, long = sorted((first[1].lower(), second[1].lower()), key=len)
    return long.startswith(short) and bool(short or not long)


def is_same_mac(one: str, other: str) -> bool:
    """Whether two spellings (colons, dashes, dots, case) name one MAC."""
    return re.sub(r"[^0-9a-f]", "", one.lower()) == re.sub(r"[^0-9a-f]", "", other.lower())
