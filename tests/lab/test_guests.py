"""Running servers answer on their own addresses; two live copies of one address are a violation."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import requests

from pumphouse.lab import siteblock
from pumphouse.lab.world import Guest, Layer2
from tests.lab.conftest import Connection, Wait
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


def fixed(server: Any) -> str:
    """A server's fixed address."""
    (entries,) = server.addresses.values()
    return str(entries[0]["addr"])


def answers(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        return requests.get(f"http://{address}:{port}/", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def test_a_guest_tells_who_it_is(lab: LabSite, old: Connection) -> None:
    web1 = next(s for s in old.compute.servers(all_projects=True) if s.name == "web1")
    text = requests.get(f"http://{fixed(web1)}:{lab.guest_port}/", timeout=2).text
    assert text == f"web1 {web1.id} source\n"


def test_stopped_and_broken_servers_are_silent(lab: LabSite, old: Connection) -> None:
    worker2 = next(s for s in old.compute.servers(all_projects=True) if s.name == "worker2")
    assert worker2.status == "SHUTOFF"
    assert not answers(fixed(worker2), lab.guest_port)


def test_a_guest_follows_its_server(lab: LabSite, acme: Connection, server: Any, until: Wait) -> None:
    address = fixed(acme.compute.get_server(server.id))
    until(lambda: answers(address, lab.guest_port))
    acme.compute.stop_server(server)
    until(lambda: acme.compute.get_server(server.id).status == "SHUTOFF")
    assert not answers(address, lab.guest_port)
    acme.compute.start_server(server)
    until(lambda: acme.compute.get_server(server.id).status == "ACTIVE")
    until(lambda: answers(address, lab.guest_port))
    events = [row["event"] for row in lab.history() if row["server_id"] == server.id]
    assert events == ["on", "off", "on"]


@asynccontextmanager
async def layer2(**options: Any) -> AsyncIterator[tuple[Layer2, str]]:
    """A network of its own and the prefix of its addresses."""
    block = siteblock.claim()
    network = Layer2(block.guest_port, **options)
    try:
        yield network, block.fixed_cidr.rpartition(".")[0]
    finally:
        await network.close()
        block.free()


async def ask(address: str, port: int) -> str:
    """A guest's answer."""
    reader, writer = await asyncio.open_connection(address, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return text.rpartition("\r\n")[2]


def test_two_live_copies_are_recorded_and_the_second_takes_over() -> None:
    async def scene() -> None:
        async with layer2() as (network, prefix):
            address = f"{prefix}.9"
            await network.power_on(Guest("source", "s1", "one", address, "m1"))
            assert network.violations == []
            await network.power_on(Guest("destination", "d1", "one", address, "m1"))
            assert [(v.kind, v.address) for v in network.violations] == [("duplicate-fixed-ip", address)]
            assert "destination/d1" in network.violations[0].detail
            assert await ask(address, network.guest_port) == "one s1 source\n"
            await network.power_off("source", "s1")
            assert await ask(address, network.guest_port) == "one d1 destination\n"
            await network.power_off("destination", "d1")
            with pytest.raises(OSError, match="Connect"):
                await ask(address, network.guest_port)

    asyncio.run(scene())


def test_one_after_the_other_is_fine() -> None:
    async def scene() -> None:
        async with layer2() as (network, prefix):
            for cloud in ("source", "destination"):
                await network.power_on(Guest(cloud, "x", "one", f"{prefix}.9", "m1"))
                await network.power_off(cloud, "x")
            assert network.violations == []

    asyncio.run(scene())


def test_powering_off_cuts_open_connections() -> None:
    async def scene() -> None:
        async with layer2() as (network, prefix):
            await network.power_on(Guest("source", "s1", "one", f"{prefix}.9", "m1"))
            reader, writer = await asyncio.open_connection(f"{prefix}.9", network.guest_port)
            while not next(iter(network.guests.values())).connections:
                await asyncio.sleep(0)
            await network.power_off("source", "s1")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 2)
            writer.transport.abort()
            await asyncio.sleep(0)

    asyncio.run(scene())


def test_a_floating_address_in_both_clouds_is_a_violation() -> None:
    network = Layer2(1)
    network.bind_floating("f", "source", "s1")
    network.bind_floating("f", "source", "s1")
    assert network.violations == []
    network.bind_floating("f", "destination", "d1")
    assert [v.kind for v in network.violations] == ["duplicate-floating-ip"]
    network.unbind_floating("f", "source")
    network.unbind_floating("f", "destination")
    assert network.floating["f"] == set()


def test_guests_beyond_the_cap_live_without_a_socket() -> None:
    async def scene() -> None:
        async with layer2(socket_cap=2) as (network, prefix):
            for n in range(2, 6):
                await network.power_on(Guest("source", f"s{n}", f"n{n}", f"{prefix}.{n}", "m"))
            assert sum(1 for g in network.guests.values() if g.server is not None) == 2
            await network.power_on(Guest("destination", "d", "n5", f"{prefix}.5", "m"))
            assert len(network.violations) == 1

    asyncio.run(scene())


def test_blocks_of_two_labs_never_meet() -> None:
    blocks = [siteblock.claim() for _ in range(5)]
    try:
        assert len({b.fixed_cidr for b in blocks}) == 5
        taken = blocks[0]
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((taken.fixed_cidr.replace(".0/24", ".1"), taken.guest_port))
    finally:
        for block in blocks:
            block.free()
