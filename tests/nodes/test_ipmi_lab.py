"""The lab's BMCs: what they let in, what they keep, and how they end."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumphouse.lab.hardware import bmc_records
from pumphouse.lab.hardware.bmc_process import BmcDoor, start
from tests.nodes.rack import PASSWORD, USER, Rack, make_fleet, rack
from tests.nodes.relay import relay
from tests.nodes.tool import ipmitool

GUID = next(iter(make_fleet(1).machines.values())).guid


@pytest.fixture(scope="module")
def machines() -> Iterator[Rack]:
    """Two machines for the tests of this module."""
    with rack(2) as made:
        yield made


def ask(machines: Rack, *arguments: str, port: int = 0, name: str = "node1") -> str:
    """ipmitool's answer."""
    return ipmitool(port or machines.process.ports[name], USER, PASSWORD, *arguments)


def is_bound(port: int) -> bool:
    """Whether somebody listens on a UDP port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        try:
            mine.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def gone(port: int, patience_s: float = 10.0) -> bool:
    """Whether nobody listens on a port any more, before long."""
    deadline = time.monotonic() + patience_s
    while is_bound(port) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_bound(port)


def test_only_sha1_is_spoken(machines: Rack) -> None:
    with pytest.raises(AssertionError, match="no matching cipher suite"):
        ask(machines, "-C", "17", "mc", "guid")
    assert GUID in ask(machines, "-C", "3", "mc", "guid")


def test_a_command_that_arrives_twice_is_carried_out_once(machines: Rack) -> None:
    machines.fleet.history.clear()

    def twice(_number: int, data: bytes) -> list[bytes]:
        # commands of a session; ipmitool itself stumbles over a login that is answered twice
        return [data, data] if data[4:6] == b"\x06\xc0" else [data]

    with relay(machines.process.ports["node1"], there=twice) as port:
        ask(machines, "chassis", "power", "cycle", port=port)
    assert [event["event"] for event in machines.fleet.history].count("power-off") == 1


def test_noise_does_not_take_a_bmc_away(machines: Rack) -> None:
    dice = random.Random(7)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noisy:
        noisy.connect(("127.0.0.1", machines.process.ports["node2"]))
        for number in range(60):
            head = (b"", b"\x06\x00\xff\x07", b"\x06\x00\xff\x07\x06\x10", b"\x06\x00\xff\x07\x06\x12")[number % 4]
            noisy.send(head + dice.randbytes(dice.randint(0, 80)))
            # one that opens a session is followed by noise within it
            time.sleep(0.002)
    assert GUID in ask(machines, "mc", "guid")
    assert "is on" in ask(machines, "chassis", "power", "status", name="node2")


def test_what_makes_no_sense_is_refused(machines: Rack) -> None:
    for raw in (("0", "2", "0x0f"), ("0", "8", "5", "0x80", "0x3c"), ("0", "9"), ("0x0a", "0x11", "9", "0", "0", "1")):
        with pytest.raises(AssertionError, match="rsp="):
            ask(machines, "raw", *raw)
    machines.machine("node1").power = False
    with pytest.raises(AssertionError, match=r"rsp=0xd5|not supported in present state"):
        ask(machines, "chassis", "power", "reset")
    machines.machine("node1").power = True


def test_a_fru_adds_up() -> None:
    data = bmc_records.fru("S" * 200, "R")
    assert sum(data[:8]) % 256 == 0
    for offset in data[2:5]:
        start_at, length = offset * 8, data[offset * 8 + 1] * 8
        assert sum(data[start_at : start_at + length]) % 256 == 0
    assert b"S" * 63 in data


def test_a_port_that_is_taken_is_said(machines: Rack) -> None:
    taken = BmcDoor(GUID, USER, PASSWORD, port=machines.process.ports["node1"])
    with pytest.raises(RuntimeError, match=r"did not come up: .*in use"):
        start("http://127.0.0.1:1", "token", {"node1": taken})


def test_without_the_lab_a_bmc_is_silent_and_it_ends_when_told() -> None:
    process = start("http://127.0.0.1:1", "token", {"node1": BmcDoor(GUID, USER, PASSWORD)})
    port = process.ports["node1"]
    assert is_bound(port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        asking.settimeout(0.3)
        asking.send(b"\x06\x00\xff\x07")
        with pytest.raises(TimeoutError):
            asking.recv(100)
    assert process.running
    process.stop()
    process.stop()
    assert not process.running
    assert not is_bound(port)


def test_it_does_not_outlive_who_started_it_and_shows_no_secret() -> None:
    code = (
        "import json, sys, time\n"
        "from pumphouse.lab.hardware.bmc_process import BmcDoor, start\n"
        f"made = start('http://127.0.0.1:1', 'the-token', {{'n': BmcDoor({GUID!r}, {USER!r}, {PASSWORD!r})}})\n"
        "print(json.dumps([made.pid, made.ports['n']]), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, port = json.loads(parent.stdout.readline())
        told = b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(port)
    assert b"the-token" not in told
    assert PASSWORD.encode() not in told
