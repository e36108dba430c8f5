"""Which machines stand in the lab's racks, how they are cabled, and how ``site.yaml`` describes them.

Each machine has two NICs on the one switch: the first boots by PXE and carries the old cloud's Private network, the
second the Public network and, tagged, the new cloud's Private network. Only the first one's port is ever moved.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pumphouse.lab.hardware.fleet import Fleet, Machine, Nic, Port
from pumphouse.lab.source.state import State

ADMIN_VLAN, PRIVATE_VLAN, PUBLIC_VLAN, PARKING_VLAN = 100, 200, 300, 999
VLANS = {ADMIN_VLAN: "admin", PRIVATE_VLAN: "private", PUBLIC_VLAN: "public", PARKING_VLAN: "parking"}
SWITCH, SNMP_SWITCH = "sw1", "sw1-snmp"  # one switch, asked in two ways
PRODUCT = "Lab R210"
#: Hosts of the old cloud that hold its control services, and what its nodes are called.
CONTROLLERS = {"controller": "ctl-01", "network1": "net-01"}
MASTER, NEW_CONTROLLER = "fuel-01", "new-00"
SPARES = ("spare-01", "spare-02")
BMC_USER, SWITCH_USER, FUEL_USER = "operator", "netops", "admin"


@dataclass(frozen=True)
class Face:
    """Where a device listens on 127.0.0.1 and who may log in; ``entry`` is its password's name in ``secure.yaml``."""

    port: int
    user: str
    entry: str


def build(old: State, destination_hosts: Mapping[str, tuple[int, int, int]] | None) -> Fleet:
    """The machines of a site.

    :param old: the old cloud, whose services' hosts each are a machine.
    :param destination_hosts: the new cloud's compute hosts with vCPUs, MiB and GiB, each a machine, beside a controller
        and a Fuel master. None: there is no new cloud yet, and no Fuel master.
    """
    fleet = Fleet(vlans=dict(VLANS), admin_vlan=ADMIN_VLAN, pxe=False)
    for host, name in CONTROLLERS.items():
        add_machine(fleet, name, host=host)
    dead = {service.host for service in old.services if not service.alive}
    for number, compute in enumerate(old.hosts.values(), start=1):
        machine = add_machine(fleet, f"cmp-{number:02d}", host=compute.name)
        machine.vcpus, machine.memory_mb, machine.disk_gb = compute.vcpus, compute.memory_mb, compute.disk_gb
        if compute.name in dead:
            machine.power, machine.runs = False, None
    for name in SPARES:
        machine = add_machine(fleet, name, vlan=PARKING_VLAN)
        machine.power, machine.disk, machine.runs = False, "blank", None
    if destination_hosts is None:
        # what the operator's own PXE server gives to whoever asks in the Admin VLAN
        fleet.medium = "fuel"
        return fleet
    master = add_machine(fleet, MASTER, vlan=ADMIN_VLAN)
    master.disk = master.runs = "fuel"
    fleet.pxe = True
    _deployed(add_machine(fleet, NEW_CONTROLLER, vlan=ADMIN_VLAN), "controller", ("controller",))
    for number, (hostname, sizes) in enumerate(destination_hosts.items(), start=1):
        machine = add_machine(fleet, f"new-{number:02d}", vlan=ADMIN_VLAN)
        # what Nova shows there of disks is storage that all hosts share; Fuel lays out the machine's own
        machine.vcpus, machine.memory_mb = sizes[:2]
        _deployed(machine, hostname, ("compute",))
    return fleet


def add_machine(fleet: Fleet, name: str, *, host: str = "", vlan: int = PRIVATE_VLAN) -> Machine:
    """Rack a machine that runs the source, and cable it; its first NIC's port is in ``vlan``."""
    number = len(fleet.machines) + 1
    digest = hashlib.sha256(f"machine {name}".encode()).digest()
    nics = []
    for index in range(2):
        port = Port(f"Ethernet{2 * number - 1 + index}", vlan if index == 0 else PUBLIC_VLAN)
        if index == 1:
            port.tagged.add(PRIVATE_VLAN)
        fleet.ports[port.name] = port
        mac = f"52:54:00:{number >> 8:02x}:{number & 255:02x}:{index:02x}"
        nics.append(Nic(f"eth{index}", mac, port.name))
    serial = f"LAB{number:03d}{digest[:3].hex().upper()}"
    machine = Machine(name, serial, PRODUCT, str(uuid.UUID(bytes=digest[3:19], version=4)), nics, host=host)
    fleet.machines[name] = machine
    return machine


def _deployed(machine: Machine, hostname: str, roles: tuple[str, ...]) -> None:
    machine.disk = machine.runs = "destination"
    machine.hostname, machine.roles = hostname, roles


def role_of(machine: Machine) -> str:
    """A machine's ``role`` in site.yaml."""
    if machine.host in CONTROLLERS or "controller" in machine.roles:
        return "controller"
    if machine.disk == "fuel":
        return "fuel"
    return "compute" if machine.host or machine.roles else "spare"


def describe(
    fleet: Fleet, *, bmcs: Mapping[str, Face], switches: Mapping[str, Mapping[str, Any]], fuel: Mapping[str, Any]
) -> dict[str, Any]:
    """The hardware's part of ``site.yaml``.

    :param bmcs: machine name -> its BMC.
    :param switches: what ``switches`` says besides the VLANs.
    :param fuel: what ``fuel`` says besides how long its tasks may take.
    """
    nodes: dict[str, Any] = {}
    for name, machine in fleet.machines.items():
        node: dict[str, Any] = {"host": machine.host} if machine.host else {}
        node |= {"role": role_of(machine), "serial": machine.serial, "macs": [nic.mac for nic in machine.nics]}
        if name in bmcs:
            face = bmcs[name]
            where = {"driver": "ipmi", "address": "127.0.0.1", "port": face.port}
            node["bmc"] = where | {"user": face.user, "password_entry": face.entry, "timeout_s": 10}
        node["ports"] = [
            {"switch": SWITCH, "port": nic.port, "vlan": fleet.ports[nic.port].vlan, "mac": nic.mac}
            for nic in machine.nics
        ]
        nodes[name] = node
    return {
        "vlans": {"admin": ADMIN_VLAN, "private": PRIVATE_VLAN, "public": PUBLIC_VLAN},
        "switches": {name: {**switch, "vlans": sorted(VLANS)} for name, switch in switches.items()},
        "nodes": nodes,
        "fuel": {**fuel, "task_timeout_s": 600},
    }
