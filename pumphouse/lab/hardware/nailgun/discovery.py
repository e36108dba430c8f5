"""The agents: a machine that runs the bootstrap image (or what Fuel installed) tells Nailgun about itself."""

from __future__ import annotations

import re
import time
from typing import Any

from pumphouse.lab.hardware.fleet import Fleet, Machine, Port
from pumphouse.lab.hardware.nailgun.layout import from_agent, untitled
from pumphouse.lab.hardware.nailgun.state import Node, Refusal, State
from pumphouse.lab.hardware.nailgun.work import Work

_MAC = re.compile(r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2})$")
_TELLS = ("mac", "ip", "meta", "manufacturer", "platform_name", "os_platform")
_REPORTING = ("bootstrap", "destination")
_BYTES_OF_GB = 1_000_000_000


class Discovery:
    """Follows the fleet, and takes the reports of agents.

    :param keepalive_s: how long a silent node still counts as online, in seconds of real time.
    """

    def __init__(self, state: State, fleet: Fleet, work: Work, keepalive_s: float) -> None:
        self.state, self.fleet, self.work, self.keepalive_s = state, fleet, work, keepalive_s

    def start(self) -> None:
        """Listen to machines; those that run the bootstrap image already report as well."""
        self.fleet.followers.append(self._changed)
        self.fleet.wire_followers.append(self._rewired)
        for machine in self.fleet.machines.values():
            if machine.runs == "bootstrap":
                self.expect(machine)

    def stop(self) -> None:
        """Listen no more."""
        if self._changed in self.fleet.followers:
            self.fleet.followers.remove(self._changed)
            self.fleet.wire_followers.remove(self._rewired)

    async def _changed(self, machine: Machine, ran: str | None, runs: str | None) -> None:
        if runs in _REPORTING:
            self.expect(machine)
        elif ran in _REPORTING:
            self._falls_silent(machine)

    def _rewired(self, port: Port, _was: int) -> None:
        for machine in self.fleet.machines.values():
            if machine.nics[0].port != port.name or machine.runs not in _REPORTING:
                continue
            if self.fleet.in_admin_vlan(machine):
                self.expect(machine)
            else:
                self._falls_silent(machine)

    def _falls_silent(self, machine: Machine) -> None:
        node = self.state.node_with(nic.mac for nic in machine.nics)
        if node is not None:
            node.silent_since = time.monotonic()

    def expect(self, machine: Machine) -> None:
        """A machine's agent is going to report."""
        self.work.begin(self._report(machine))

    async def _report(self, machine: Machine) -> None:
        await self.work.pause(self.work.durations.agent_s)
        if not self.fleet.in_admin_vlan(machine):
            return
        if machine.runs == "bootstrap":
            body = report_of(machine, 100 + list(self.fleet.machines).index(machine.name))
            known = self.state.node_with(nic.mac for nic in machine.nics)
            node = self.update(known, body) if known else self.register(body)
            node.machine, node.online, node.silent_since = machine, True, None
        elif machine.runs == "destination":
            node_there = self.state.node_with(nic.mac for nic in machine.nics)
            if node_there is not None:
                node_there.online, node_there.silent_since = True, None

    def notice(self) -> None:
        """Nodes that have been silent for too long are offline; one that is being installed is not missed."""
        now = time.monotonic()
        for node in self.state.nodes.values():
            long = node.silent_since is not None and now - node.silent_since > self.keepalive_s
            if long and node.status != "provisioning":
                node.online = False

    # --- what agents send

    def register(self, body: Any) -> Node:
        """``POST /nodes``."""
        state = self.state
        if not isinstance(body, dict) or body.get("status", "") != "discover":
            raise Refusal(403, "Only bootstrap nodes are allowed to be registered.")
        if not body.get("mac"):
            raise Refusal(400, "No mac address specified")
        mac = str(body["mac"])
        if not _MAC.match(mac):
            named = "mac: " if state.traits.json_errors else ""
            raise Refusal(400, f"{named}u'{mac}' does not match '{_MAC.pattern}'")
        meta = body.get("meta")
        if meta is not None and not isinstance(meta.get("interfaces"), list):
            raise Refusal(400, "Failed to discover node: invalid interfaces info")
        macs = [mac, *(str(nic.get("mac", "")) for nic in (meta or {}).get("interfaces", []))]
        if state.node_with(macs):
            raise Refusal(409, f"Node with mac {mac.lower()} already exists - doing nothing")
        node = Node(state.count("node"), mac.lower(), meta or {"interfaces": []}, untitled(mac.lower()))
        state.nodes[node.id] = node
        self._tell(node, body)
        state.notify("discover", f"New node is discovered: {node.name}", node=node.id)
        return node

    def by_agent(self, body: Any) -> tuple[Node, bool]:
        """``PUT /nodes/agent``: the node, and whether nothing is new."""
        body = body if isinstance(body, dict) else {}
        if "id" not in body and "mac" not in body:
            raise Refusal(400, "Neither MAC nor ID is specified")
        node = self.state.nodes.get(int(body["id"])) if "id" in body else self.state.node_with([str(body["mac"])])
        if node is None:
            raise Refusal(400, "Invalid MAC is specified" if "mac" in body else "Invalid ID is specified")
        checksum = str(body.get("agent_checksum", ""))
        if checksum and checksum == node.checksum:
            return node, True
        node.checksum = checksum
        return self.update(node, body), False

    def update(self, node: Node, body: dict[str, Any]) -> Node:
        """What the agent of a known node tells. Nodes in the hands of Astute, and failed ones, keep their status."""
        if body.get("status") == "discover" and node.status not in (
            "provisioning",
            "provisioned",
            "deploying",
            "error",
        ):
            node.status = "discover"
        self._tell(node, body)
        node.online = True
        return node

    def _tell(self, node: Node, body: dict[str, Any]) -> None:
        for key in _TELLS:
            if body.get(key) is not None:
                setattr(node, key, str(body[key]).lower() if key == "mac" else body[key])
        node.checksum = str(body.get("agent_checksum", node.checksum))
        from_agent(self.state, node)


def report_of(machine: Machine, number: int) -> dict[str, Any]:
    """What the bootstrap image finds on a machine."""
    ip = f"10.20.{number // 250}.{number % 250 + 1}"
    interfaces = [
        {
            "name": nic.name,
            "mac": nic.mac,
            "state": "up",
            "driver": "igb",
            "bus_info": f"0000:0{index + 1}:00.0",
            "max_speed": 1000,
            "current_speed": 1000,
            **({"ip": ip, "netmask": "255.255.0.0"} if index == 0 else {}),
        }
        for index, nic in enumerate(machine.nics)
    ]
    disk = {
        "name": "sda",
        "disk": "disk/by-path/pci-0000:00:1f.2-scsi-0:0:0:0",
        "extra": [f"disk/by-id/wwn-0x5000{machine.guid[-12:]}"],
        "model": "Lab disk",
        "removable": "0",
        "size": machine.disk_gb * _BYTES_OF_GB,
    }
    return {
        "mac": machine.nics[0].mac,
        "ip": ip,
        "status": "discover",
        "is_agent": True,
        "manufacturer": "Lab",
        "platform_name": machine.product,
        "os_platform": "ubuntu",
        "meta": {
            "system": {
                "serial": machine.serial,
                "uuid": machine.guid,
                "product": machine.product,
                "manufacturer": "Lab",
                "family": "",
                "version": "",
                "fqdn": "bootstrap",
            },
            "interfaces": interfaces,
            "disks": [disk],
            "memory": {
                "total": machine.memory_mb * 1024 * 1024,
                "maximum_capacity": 2 * machine.memory_mb * 1024 * 1024,
                "slots": 2,
                "devices": [{"size": machine.memory_mb * 1024 * 1024, "type": "DDR3", "frequency": 1333}],
            },
            "cpu": {
                "real": 1,
                "total": machine.vcpus,
                "spec": [{"model": "Lab CPU", "frequency": 2001} for _ in range(machine.vcpus)],
            },
        },
    }
