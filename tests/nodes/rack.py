"""A rack without clouds: a fleet of machines, the lab's control port for them, and their BMCs."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.bmc_process import BmcDoor, BmcProcess, start
from pumphouse.lab.hardware.control import HardwareControl
from pumphouse.lab.hardware.fleet import Fleet, Machine, Nic, Port
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.spec import BmcSpec, Login

USER, PASSWORD = "ADMIN", "rack-Secret-20-bytes"


@dataclass(frozen=True)
class Rack:
    """Machines ``node1`` … that nobody else uses, each with a BMC on loopback."""

    fleet: Fleet
    process: BmcProcess

    def spec(self, name: str, *, user: str = USER, timeout_s: float = 20.0, **options: Any) -> BmcSpec:
        """What site.yaml would say of a machine's BMC."""
        login = Login(user=user, timeout_s=timeout_s)
        return BmcSpec(name, "127.0.0.1", port=self.process.ports[name], login=login, options=options)

    def bmc(self, name: str, password: str = PASSWORD, **changes: Any) -> IpmiBmc:
        """Our driver for a machine's BMC."""
        return IpmiBmc(self.spec(name, **changes), password)

    def machine(self, name: str) -> Machine:
        """The physics of a machine."""
        return self.fleet.machines[name]

    @contextlib.contextmanager
    def staged(self, name: str, fault: str) -> Iterator[None]:
        """A fault for a while."""
        self.machine(name).staged.add(fault)
        try:
            yield
        finally:
            self.machine(name).staged.discard(fault)


def make_fleet(count: int) -> Fleet:
    """Machines with power, on their disks, in VLAN 20."""
    machines = {}
    for number in range(1, count + 1):
        name = f"node{number}"
        nic = Nic("eth0", f"52:54:00:00:00:{number:02x}", f"p{number}")
        guid = str(uuid.uuid5(uuid.NAMESPACE_OID, name))
        machines[name] = Machine(name, f"SN-{number:04}", "R420", guid, [nic])
    ports = {m.nics[0].port: Port(m.nics[0].port, 20) for m in machines.values()}
    return Fleet(machines=machines, ports=ports, vlans={10: "admin", 20: "source"}, admin_vlan=10)


@contextlib.contextmanager
def rack(count: int) -> Iterator[Rack]:
    """A rack, and its end."""
    fleet, token = make_fleet(count), secrets.token_urlsafe(8)
    doors = {name: BmcDoor(machine.guid, USER, PASSWORD) for name, machine in fleet.machines.items()}
    with control_port(HardwareControl(fleet).routes(), token) as url:
        process = start(url, token, doors)
        try:
            yield Rack(fleet, process)
        finally:
            process.stop()


@contextlib.contextmanager
def control_port(routes: list[web.RouteDef], token: str) -> Iterator[str]:
    """Serve routes as the lab does, in a thread; its URL."""

    @web.middleware
    async def guard(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("X-Lab-Token", ""), token):
            return web.Response(status=401)
        try:
            answer: web.StreamResponse = await handler(request)
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return answer

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control", daemon=True)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    app = web.Application(middlewares=[guard])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    try:
        wait(runner.setup())
        wait(web.TCPSite(runner, "127.0.0.1", 0).start())
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        wait(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
