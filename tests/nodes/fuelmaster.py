"""A Fuel master of the lab in a thread of its own, with machines that it can discover."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pumphouse.lab.faults import Fault
from pumphouse.lab.hardware import nailgun
from pumphouse.lab.hardware.fleet import Deployment, Fleet, Machine, Nic, Port
from pumphouse.lab.world import Layer2, Timing, World
from pumphouse.nodes.fuel import Fuel
from pumphouse.nodes.spec import FuelSpec, Login

USER, PASSWORD = "admin", "fuel-Secret-77120"
ADMIN, PRIVATE = 100, 200
FAST = nailgun.Durations(agent_s=0.01, provision_s=0.08, deploy_s=0.08, verify_s=0.05, wipe_s=0.02, keepalive_s=0.05)
Result = TypeVar("Result")


@dataclass
class Pace:
    """How the master's time passes: not at all (``held``), or not without two looks at a task in each step."""

    held: bool = False
    looked_at: bool = False


@dataclass(frozen=True)
class Master:
    """A running master. ``opened`` holds the clouds that it deployed."""

    world: World
    fleet: Fleet
    server: nailgun.Nailgun
    loop: asyncio.AbstractEventLoop
    opened: list[Deployment]
    pace: Pace

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Nothing that is under way goes on."""
        self.pace.held = True
        try:
            yield
        finally:
            self.pace.held = False

    @contextlib.contextmanager
    def looked_at(self) -> Iterator[None]:
        """Work goes no faster than somebody who waits for it can see."""
        self.pace.looked_at = True
        try:
            yield
        finally:
            self.pace.looked_at = False

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Let something happen in the lab's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def spec(self, **changes: Any) -> FuelSpec:
        """What site.yaml would say of it."""
        login = Login(user=changes.pop("user", USER), timeout_s=changes.pop("timeout_s", 5.0))
        return FuelSpec(**({"url": self.server.url, "login": login, "task_timeout_s": 20.0} | changes))

    def fuel(self, password: str = PASSWORD, *, poll_s: float = 0.02, **changes: Any) -> Fuel:
        """Our client, which waits no longer than the lab makes it."""
        return Fuel(self.spec(**changes), password, poll_s=poll_s, sleep=lambda s: threading.Event().wait(min(s, 0.05)))

    def machine(self, name: str) -> Machine:
        """A machine's physics."""
        return self.fleet.machines[name]

    def boot(self, *names: str) -> None:
        """Switch machines on; they boot by PXE."""
        for name in names:
            machine = self.machine(name)
            machine.boot_always = "pxe"
            self.run(self.fleet.switch_on(machine))

    def macs(self, name: str) -> list[str]:
        """All MACs of a machine."""
        return [nic.mac for nic in self.machine(name).nics]

    @contextlib.contextmanager
    def fault(self, **values: Any) -> Iterator[Fault]:
        """A rule for a while."""
        rule = Fault(service="fuel", **values)
        self.world.faults.rules.append(rule)
        try:
            yield rule
        finally:
            self.world.faults.rules.remove(rule)

    def requests(self, method: str, path_end: str) -> int:
        """How many such requests arrived so far."""
        return sum(
            one["method"] == method and one["path"].partition("?")[0].rstrip("/").endswith(path_end)
            for one in self.world.faults.requests
        )


@contextlib.contextmanager
def master(release: str, *, machines: int = 4, durations: nailgun.Durations = FAST) -> Iterator[Master]:
    """A master with machines ``m1`` … that have no power yet, in the Admin VLAN."""
    fleet = Fleet(vlans={ADMIN: "admin", PRIVATE: "private"}, admin_vlan=ADMIN)
    for number in range(1, machines + 1):
        nics = []
        for index in range(2):
            port = Port(f"p{number}-{index}", ADMIN if index == 0 else PRIVATE)
            fleet.ports[port.name] = port
            nics.append(Nic(f"eth{index}", f"52:54:00:00:{number:02x}:{index:02x}", port.name))
        machine = Machine(f"m{number}", f"SN{number:04}", "R420", f"0000-{number:012}", nics)
        machine.power, machine.runs = False, None
        fleet.machines[machine.name] = machine
    opened: list[Deployment] = []

    async def remember(deployment: Deployment) -> None:
        opened.append(deployment)

    fleet.opened.append(remember)
    world = World(Timing(), Layer2(1, socket_cap=0), "10.10.0.0/24", "172.24.4.224/28")
    pace = Pace()

    def looks() -> int:
        return sum("/tasks/" in one["path"] for one in world.faults.requests)

    async def pause(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen, end = looks(), loop.time() + 5
        while pace.held or (pace.looked_at and looks() < seen + 2 and loop.time() < end):
            await asyncio.sleep(0.005)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fuel master", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, loop).result(20)

    try:
        server = run(nailgun.start(world, fleet, release=release, password=PASSWORD, durations=durations, pause=pause))
        try:
            yield Master(world, fleet, server, loop, opened, pace)
        finally:
            run(server.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def eventually(what: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something holds."""
    for _ in range(int(seconds / 0.02)):
        if what():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came to hold")
