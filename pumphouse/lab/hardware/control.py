"""The hardware's part of the lab's control port: look at machines and ports, press buttons, stage faults.

====== =============================== =============================================================================
GET    /hardware                       machines, ports, VLANs, Fuel's delays, and what happened to them, in order
GET    /hardware/machines[/NAME]       all machines, or one
POST   /hardware/machines/NAME/power   ``{"power": "on|off|cycle|reset"}``: what a BMC does; the machine boots
POST   /hardware/machines/NAME/boot    ``{"device": "pxe|disk|cdrom|default", "persistent": bool}``
POST   /hardware/machines/NAME/stage   ``{"fault", "on"}``: one of :data:`pumphouse.lab.hardware.fleet.STAGED`
GET    /hardware/ports/PORT            one port (its name is the rest of the path: it may hold slashes)
POST   /hardware/ports/PORT            ``{"vlan"}``: untagged frames go to another VLAN
====== =============================== =============================================================================

An unknown machine or port is 404, a value that cannot be is 400. Faces that run in processes of their own (BMCs) use
this, too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.fleet import BOOT_DEVICES, STAGED, Fleet, Machine, Port


def machine_view(fleet: Fleet, machine: Machine) -> dict[str, Any]:
    """A machine as JSON; ``power`` is ``on`` or ``off``, ``boot_device`` where its next boot comes from."""
    return {
        **dataclasses.asdict(machine),
        "power": "on" if machine.power else "off",
        "boot_device": machine.boot_once or machine.boot_always,
        "staged": sorted(machine.staged),
        "in_admin_vlan": fleet.in_admin_vlan(machine),
    }


def port_view(port: Port) -> dict[str, Any]:
    """A switch port as JSON."""
    return {"name": port.name, "vlan": port.vlan, "tagged": sorted(port.tagged)}


class HardwareControl:
    """The handlers."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def routes(self) -> list[web.RouteDef]:
        """What to mount."""
        return [
            web.get("/hardware", self.everything),
            web.get("/hardware/machines", self.machines),
            web.get("/hardware/machines/{name}", self.machine),
            web.post("/hardware/machines/{name}/power", self.power),
            web.post("/hardware/machines/{name}/boot", self.boot),
            web.post("/hardware/machines/{name}/stage", self.stage),
            web.get("/hardware/ports/{port:.+}", self.port),
            web.post("/hardware/ports/{port:.+}", self.set_vlan),
        ]

    def _machine(self, request: web.Request) -> Machine:
        name = request.match_info["name"]
        if name not in self.fleet.machines:
            raise web.HTTPNotFound(text=f"no machine {name}")
        return self.fleet.machines[name]

    def _port(self, request: web.Request) -> Port:
        name = request.match_info["port"]
        if name not in self.fleet.ports:
            raise web.HTTPNotFound(text=f"no port {name}")
        return self.fleet.ports[name]

    async def everything(self, _request: web.Request) -> web.Response:
        """GET /hardware"""
        fleet = self.fleet
        return web.json_response(
            {
                "machines": {name: machine_view(fleet, machine) for name, machine in fleet.machines.items()},
                "ports": {name: port_view(port) for name, port in fleet.ports.items()},
                "vlans": {str(vlan): name for vlan, name in fleet.vlans.items()},
                "admin_vlan": fleet.admin_vlan,
                "pxe": fleet.pxe,
                "delays": fleet.delays,
                "history": fleet.history,
            }
        )

    async def machines(self, _request: web.Request) -> web.Response:
        """GET /hardware/machines"""
        views = [machine_view(self.fleet, machine) for machine in self.fleet.machines.values()]
        return web.json_response({"machines": views})

    async def machine(self, request: web.Request) -> web.Response:
        """GET /hardware/machines/NAME"""
        return web.json_response(machine_view(self.fleet, self._machine(request)))

    async def power(self, request: web.Request) -> web.Response:
        """POST /hardware/machines/NAME/power"""
        machine = self._machine(request)
        wanted = (await request.json()).get("power")
        if wanted == "on":
            await self.fleet.switch_on(machine)
        elif wanted == "off":
            await self.fleet.switch_off(machine)
        elif wanted == "cycle":
            await self.fleet.cycle(machine)
        elif wanted == "reset":
            await self.fleet.reset(machine)
        else:
            raise ValueError("power must be one of on, off, cycle, reset")
        return web.json_response(machine_view(self.fleet, machine))

    async def boot(self, request: web.Request) -> web.Response:
        """POST /hardware/machines/NAME/boot"""
        machine = self._machine(request)
        given = await request.json()
        device = str(given.get("device"))
        if device not in BOOT_DEVICES:
            raise ValueError(f"device must be one of {', '.join(BOOT_DEVICES)}")
        self.fleet.choose_boot(machine, device, persistent=bool(given.get("persistent")))
        return web.json_response(machine_view(self.fleet, machine))

    async def stage(self, request: web.Request) -> web.Response:
        """POST /hardware/machines/NAME/stage"""
        machine = self._machine(request)
        given = await request.json()
        fault = str(given.get("fault"))
        if fault not in STAGED:
            raise ValueError(f"fault must be one of {', '.join(STAGED)}")
        if given.get("on", True):
            machine.staged.add(fault)
        else:
            machine.staged.discard(fault)
        return web.json_response(machine_view(self.fleet, machine))

    async def port(self, request: web.Request) -> web.Response:
        """GET /hardware/ports/PORT"""
        return web.json_response(port_view(self._port(request)))

    async def set_vlan(self, request: web.Request) -> web.Response:
        """POST /hardware/ports/PORT"""
        port = self._port(request)
        self.fleet.set_vlan(port.name, int((await request.json())["vlan"]))
        return web.json_response(port_view(port))
