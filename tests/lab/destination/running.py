"""A running simulated destination, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from openstack.connection import Connection

from pumphouse.lab.destination import DestinationInfo, start
from pumphouse.lab.world import Layer2, Timing, World

QUICK = Timing(
    boot_s=0.3, stop_s=0.1, start_s=0.1, delete_s=0.05, reboot_s=0.1, guest_boot_s=0.05, image_mib_per_s=20000.0
)

# openstacksdk warns about its own use of what it is going to remove
SDK_WARNINGS = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


@dataclass
class Running:
    """The destination, its world and the loop that both live in."""

    info: DestinationInfo
    world: World
    loop: asyncio.AbstractEventLoop

    def connect(self, username: str = "", password: str = "", project: str = "") -> Connection:
        """openstacksdk as somebody (the administrator by default)."""
        auth = v3.Password(
            self.info.auth_url,
            username=username or self.info.admin_username,
            password=password or self.info.admin_password,
            project_name=project or self.info.admin_project,
            user_domain_id="default",
            project_domain_id="default",
        )
        return Connection(session=Session(auth=auth), region_name=self.info.region)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something in the lab's own thread and return what it returned."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def until(self, ready: Callable[[], Any]) -> None:
        """Wait for something of the lab's own state."""
        wait_until(lambda: bool(self.inside(ready)))

    def inside(self, function: Callable[[], Any]) -> Any:
        """Call something in the lab's own thread and return what it returned."""
        result: Future[Any] = Future()
        self.loop.call_soon_threadsafe(lambda: result.set_result(function()))
        return result.result(10)


def wait_until(ready: Callable[[], bool], *, timeout_s: float = 15.0) -> None:
    """Look again and again until something is so; fails when it does not come."""
    end = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def running(folder: Path, *, middlewares: Any = (), timing: Timing = QUICK) -> Iterator[Running]:
    """Start a destination; stop it afterwards."""
    world = World(
        timing=timing,
        layer2=Layer2(guest_port=free_port()),
        fixed_cidr="127.77.0.0/24",
        floating_cidr="127.78.0.0/24",
        dir=str(folder),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    info = asyncio.run_coroutine_threadsafe(start(world, middlewares=middlewares), loop).result(30)
    try:
        yield Running(info, world, loop)
    finally:
        asyncio.run_coroutine_threadsafe(info.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
