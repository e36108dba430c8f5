"""The lab's process: both clouds, the shared network and the control port in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from pumphouse.lab import database, parts, populate, siteblock, sitefiles, source
from pumphouse.lab.control import Control
from pumphouse.lab.hardware.furnish import furnish
from pumphouse.lab.hardware.wiring import put_together, show_faces
from pumphouse.lab.newcloud import NewCloud, start_current, start_older
from pumphouse.lab.process import start_stamp
from pumphouse.lab.world import Layer2, Timing, World

DESTINATIONS = ("neutron", "nova-network", "fuel")
RATE_LIMITS = ("release", "on", "off")
CONTENTS = ("usual", "plain")
FUEL_RELEASES = ("5.1", "6.0", "6.1", "7.0", "8.0")


@dataclass(frozen=True)
class LabOptions:
    """How a lab is to be.

    :param size: servers more than the usual ones, in a project ``fleet``.
    :param scale: factor on all durations (0.1: ten times faster).
    :param osapi_max_limit: the old Nova's largest page.
    :param owner_pid: the lab ends when this process is gone (0: it lives until it is stopped).
    :param destination: ``neutron`` for a current cloud, ``nova-network`` for an older one without Neutron; ``fuel``:
        there is none until Fuel has deployed it, all hardware is in the old cloud.
    :param rate_limit: the old Nova's rate limits: ``release`` (as shipped), ``on`` or ``off``.
    :param rate_scale: factor on their periods, on top of ``scale``.
    :param hardware: BMCs, the switch and Fuel can be spoken to, too (with ``fuel`` as destination: always).
    :param fuel_release: the Fuel master's, one of :data:`FUEL_RELEASES`.
    :param content: ``usual``: a site of 2014 with all that went wrong in it; ``plain``: only what can be moved as it
        is, and two empty hosts more.
    """

    size: int = 0
    scale: float = 1.0
    release: str = "icehouse"
    osapi_max_limit: int = 1000
    owner_pid: int = 0
    destination: str = "neutron"
    rate_limit: str = "release"
    rate_scale: float = 1.0
    hardware: bool = False
    fuel_release: str = "8.0"
    content: str = "usual"


async def serve(directory: Path, options: LabOptions) -> None:
    """Run a lab until SIGTERM or SIGINT; writes the site's files into ``directory`` when it is ready."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "lab-data"
    shutil.rmtree(data, ignore_errors=True)
    block = siteblock.claim(options.size)
    world = World(
        timing=Timing(scale=options.scale),
        layer2=Layer2(guest_port=block.guest_port),
        fixed_cidr=block.fixed_cidr,
        floating_cidr=block.floating_cidr,
        dir=str(data),
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        stack.callback(block.free)
        stack.push_async_callback(world.layer2.close)
        info = await _start(stack, world, directory, options)
        stack.callback((directory / "lab.json").unlink, missing_ok=True)
        sitefiles.write_info(directory, info)
        await _until(stop, options.owner_pid)


async def _until(stop: asyncio.Event, owner_pid: int) -> None:
    stamp = start_stamp(owner_pid) if owner_pid else None
    while not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), timeout=None if stamp is None else 1.0)
        except TimeoutError:
            if start_stamp(owner_pid) != stamp:
                return


async def _start(
    stack: contextlib.AsyncExitStack, world: World, directory: Path, options: LabOptions
) -> dict[str, Any]:
    old = await source.start(world, release=options.release, osapi_max_limit=options.osapi_max_limit)
    stack.push_async_callback(old.stop)
    limiter = old.state.limiter
    limiter.scale = options.scale * options.rate_scale
    if options.rate_limit != "release":
        limiter.on = options.rate_limit == "on"
    passwords: dict[str, str] = {}

    def password(name: str) -> str:
        return passwords.setdefault(name, secrets.token_urlsafe(18))

    plain = options.content == "plain"
    await populate.Filler(old.state, password).fill(size=options.size, plain=plain)
    users = {"admin": ("admin", passwords["admin"])}
    users |= {n: (populate.project_of(n), passwords[n]) for n in populate.user_names(plain=plain)}
    clouds, secure = sitefiles.source_entries(old.state.endpoints.keystone, old.state.region, users)
    old_databases = database.OldDatabases(directory / "databases", old.state)
    world.faults.followers.append(lambda name: old_databases.follow() if name.startswith("source.") else None)
    follows = parts.Fields("source followers", [(old_databases, ("_sets", "_written"))], hidden=("_sets", "_written"))
    world.checkpoints.parts += [parts.Network(world.layer2), *parts.parts_of_source(old.state), follows]
    new: NewCloud | None = None
    if options.destination != "fuel":
        start = start_current if options.destination == "neutron" else start_older
        new = await start(stack, world, directory)
        clouds["new"], secure["new"] = new.entry, new.secret
    wiring = put_together(stack, world, old.state, new, directory, fuel_release=options.fuel_release)
    world.checkpoints.parts.append(parts.Files("databases", directory / "databases", rows=True))
    token = secrets.token_urlsafe(24)
    control_url = await _start_control(stack, Control(world, old, token, wiring.fleet))
    sitefiles.write_private(directory / "control.token", token + "\n")
    hardware: dict[str, Any] = {}
    logins: dict[str, Any] = {}
    if options.hardware or options.destination == "fuel":
        hardware, logins = await show_faces(wiring, control_url=control_url, token=token)
    if options.hardware and new is not None and options.destination == "neutron":
        await furnish(new, world)
    pools = {populate.POOL: populate.POOL if options.destination == "nova-network" else "public"}
    owners = {name: f"old-{name}" for name in populate.user_names(plain=plain)}
    databases = {"source": {"keystone": old_databases.keystone, "nova": old_databases.nova}}
    databases["destination"] = {"keystone": directory / "databases" / database.NEW_KEYSTONE}
    sitefiles.write_site(
        directory, clouds, secure, owners, pools=pools, port=world.layer2.guest_port, databases=databases,
        hardware=hardware, logins=logins,
    )  # fmt: skip
    return {
        "schema": 1,
        "pid": os.getpid(),
        "process_start": start_stamp(os.getpid()),
        "release": options.release,
        "size": options.size,
        "scale": options.scale,
        "control_url": control_url,
        "source_auth_url": f"{old.state.endpoints.keystone}/v2.0",
        "destination": options.destination,
        "destination_auth_url": "" if new is None else new.auth_url,
        "hardware": bool(hardware),
        "fuel_release": options.fuel_release if hardware else "",
        "fixed_cidr": world.fixed_cidr,
        "floating_cidr": world.floating_cidr,
        "guest_port": world.layer2.guest_port,
        "servers": len(old.state.live_servers()),
    }


async def _start_control(stack: contextlib.AsyncExitStack, control: Control) -> str:
    runner = web.AppRunner(control.app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"
