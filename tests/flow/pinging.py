"""Servers that are probed by ping, in a network namespace of our own: ``python -m tests.flow.pinging FOLDER``.

On loopback the kernel answers every echo request to 127.0.0.0/8, whoever is alive. Here it answers none, and
:class:`Echo` does: for addresses where a guest of the lab is up at that moment, as real ones do for themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from pumphouse.lab import process
from pumphouse.lab.server import LabOptions
from pumphouse.probes import answers, unusable
from pumphouse.serving import ProbeSpec
from tests.flow.desk import Desk
from tests.labsite import LabSite

_REQUEST, _REPLY = 8, 0
_IGNORE = Path("/proc/sys/net/ipv4/icmp_echo_ignore_all")
_GET_FLAGS, _SET_FLAGS, _UP = 0x8913, 0x8914, 1  # linux/sockios.h


def lone_loopback() -> None:
    """Bring up the namespace's own loopback, whose kernel answers nobody's ping."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, _GET_FLAGS, asked))[1]
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sh22x", b"lo", flags | _UP))
    _IGNORE.write_text("1", encoding="ascii")


def checksum(data: bytes) -> int:
    """The Internet's (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = int(sum(struct.unpack(f"!{len(data) // 2}H", data)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Echo:
    """Answers echo requests to an address for which ``is_up`` is true."""

    def __init__(self, is_up: Callable[[str], bool]) -> None:
        self._is_up = is_up
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.answered = 0

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self._socket.recv(2048)
                head = (packet[0] & 15) * 4
                if packet[head] == _REQUEST:
                    self._answer(packet[12:16], packet[16:20], packet[head + 4 :])

    def _answer(self, asker: bytes, asked: bytes, rest: bytes) -> None:
        if not self._is_up(str(ipaddress.IPv4Address(asked))):
            return
        body = struct.pack("!BBH", _REPLY, 0, checksum(struct.pack("!BBH", _REPLY, 0, 0) + rest)) + rest
        # from the address that was asked, which is loopback's as all of them are
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as out:
            out.bind((str(ipaddress.IPv4Address(asked)), 0))
            out.sendto(body, (str(ipaddress.IPv4Address(asker)), 0))
        self.answered += 1


def main() -> None:
    """Move three servers that are probed by ping; one of them is up at the source only. Prints what came of it."""
    folder = Path(sys.argv[1])
    lone_loopback()
    info = process.up(folder, LabOptions(size=4, scale=0.02, owner_pid=os.getpid()))
    lab = LabSite(info.directory, info.facts)
    ping = {"kind": "ping", "timeout_s": 1.5, "each_s": 1}
    try:
        with Desk.open(lab) as desk:
            fleet = [i for i, server in desk.servers.items() if server["name"].startswith("fleet-")]
            victim, *others = fleet[:3]
            name = desk.servers[victim]["name"]

            def is_up(address: str) -> bool:
                if address == "127.0.0.1":
                    return True  # this machine
                said = desk.guest(address)
                return said is not None and not (said.startswith(f"{name} ") and said.endswith("destination"))

            site = yaml.safe_load(lab.site_file.read_text(encoding="utf-8"))
            rule = {"servers": [victim], "on_failure": "back"}
            limits = {**site.get("limits", {}), "hold_s": 0}
            chosen = {**site, "probe": ping, "rules": [rule], "limits": limits}
            lab.site_file.write_text(yaml.safe_dump(chosen), encoding="utf-8")
            silent = replace(ProbeSpec("ping"), each_s=1.0)
            with Echo(is_up) as echo:
                facts: dict[str, object] = {
                    "unusable": unusable(silent),
                    "nobody": answers(silent, desk.address(victim).rpartition(".")[0] + ".251"),
                    "guest": answers(silent, desk.address(victim)),
                }
                done = desk.do("move", ids=[victim, *others])
                facts["places"] = [asdict(desk.place(i)) for i in (victim, *others)]
                facts["error"] = str(done.error)
                with desk.run() as run:
                    report = run.report(done.plan)
                rows = {row.id: row for row in report.servers} if report is not None else {}
                facts["answers"] = [rows[i].answers for i in others]
                facts["downtimes"] = [rows[i].downtime_s for i in others]
                # where site.yaml names no probe, the selection may
                site["probe"] = {"kind": "none"}
                lab.site_file.write_text(yaml.safe_dump(site), encoding="utf-8")
                before = echo.answered
                chosen_by_hand = desk.do("move", ids=fleet[3:4], probe="ping")
                facts["by selection"] = [chosen_by_hand.result, echo.answered - before]
                facts["probe"] = chosen_by_hand.plan.step(f"settle:{fleet[3]}").params["probe"]
                # a finished move is finalised only while its copy answers
                gone = desk.do("finalise", ids=others[:1])
                facts["finalised"] = gone.result
            facts["violations"] = lab.violations()
            facts["ended_at"] = time.time()
    finally:
        lab.stop()
    print("FACTS", json.dumps(facts))


if __name__ == "__main__":
    main()
