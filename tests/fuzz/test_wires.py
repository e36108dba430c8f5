"""Wires that are cut, bent, flooded and silent at every point of a conversation: IPMI, SNMP and SSH on loopback.

Whatever arrives, a caller has a value or a NodeError in time, no secret is told, and what is said to be done is done.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from pumphouse.errors import NodeError, PumphouseError
from pumphouse.lab.hardware.fleet import Fleet, Machine, Port
from pumphouse.lab.hardware.switch_snmp import SnmpSwitch, start_snmp
from pumphouse.lab.hardware.switch_ssh import SshSwitch, serve, start_ssh
from pumphouse.nodes.api import PortState
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.spec import BmcSpec, Login, SwitchSpec
from pumphouse.nodes.switches import netmiko, snmp
from tests.fuzz.junk import CANARY, EXAMPLES, tame
from tests.nodes.rack import PASSWORD, Rack, rack
from tests.nodes.relay import relay
from tests.nodes.switchlab import event_loop

AT_ONCE = 6
ADMIN, PRIVATE = 10, 100
USER = "operator"
COMMUNITY = f"{CANARY}-rw"
SECRETS = (CANARY, PASSWORD)
PORTS = [f"GigabitEthernet1/0/{number}" for number in range(1, AT_ONCE + 1)]
BYSTANDER = "GigabitEthernet1/0/40"


def seeds(share: float) -> range:
    """So many conversations; ``share`` of what is asked for."""
    return range(max(AT_ONCE, int(EXAMPLES * share)))


def each(numbers: range, one: Callable[[int, int], None]) -> None:
    """``one(seed, place)`` for each seed, some at once, each place used by one of them at a time."""

    def row(place: int) -> None:
        for seed in numbers[place::AT_ONCE]:
            one(seed, place)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(row, place) for place in range(AT_ONCE)]:
            done.result()


def talked(what: str, timeout_s: float, call: Callable[[], Any]) -> tuple[Any, PumphouseError | None]:
    """What a conversation came to; late, foreign and indiscreet ends fail the test."""
    begun = time.monotonic()
    outcome = tame(what, call, secret=True)
    assert time.monotonic() - begun < timeout_s, outcome
    if outcome.error is not None:
        assert isinstance(outcome.error, NodeError), repr(outcome.error)
        assert not any(secret in str(outcome.error) for secret in SECRETS), outcome.error
        assert "Traceback" not in str(outcome.error)
    return outcome.value, outcome.error


class Bent:
    """Spoils datagrams from the ``start``-th on in a way of its own; ``bits`` only where flipped ones are caught."""

    def __init__(self, dice: random.Random, start: int, *, bits: bool) -> None:
        self.dice, self.start = dice, start
        self.kinds = ["cut", "longer", "junk", "twice", "lost", "late", *(["bits"] if bits else [])]
        self.kept: list[bytes] = []

    def __call__(self, number: int, data: bytes) -> list[bytes]:
        """What is passed on."""
        dice = self.dice
        if number < self.start or dice.random() < 0.5:
            return [data]
        match dice.choice(self.kinds):
            case "cut":
                return [data[: dice.randrange(len(data))]]
            case "longer":
                return [data + dice.randbytes(dice.randint(1, 200))]
            case "junk":
                return [data[: dice.choice([0, 2, 4])] + dice.randbytes(dice.randint(1, 80)), data]
            case "twice":
                return [data, data]
            case "lost":
                return []
            case "late":
                self.kept.append(data)
                return self.kept[:1]
            case _:
                spoiled = bytearray(data)
                for _ in range(dice.randint(1, 4)):
                    spoiled[dice.randrange(len(spoiled))] ^= 1 << dice.randrange(8)
                return [bytes(spoiled)]


# --- IPMI: RMCP+ has a digest over each message, so that nothing that was bent may count ---------------------------


@pytest.fixture(scope="module")
def machines() -> Iterator[Rack]:
    with rack(AT_ONCE) as made:
        yield made


def seen(machine: Machine) -> tuple[str, str]:
    """A machine's power, and where it would boot from."""
    return "on" if machine.power else "off", machine.boot_once or machine.boot_always


def test_ipmi(machines: Rack) -> None:
    timeout_s = 2.5

    def one(seed: int, place: int) -> None:
        dice, name = random.Random(f"ipmi {seed}"), f"node{place + 1}"
        machine = machines.machine(name)
        # a login and a command are about 8 datagrams each way: each seed begins at one of them
        bends = {"back": Bent(dice, seed % 9, bits=True)}
        if dice.random() < 0.3:
            bends["there"] = Bent(dice, dice.randrange(9), bits=True)
        wanted = dice.choice(["on", "off"])
        device = dice.choice(["disk", "pxe"])
        with relay(machines.process.ports[name], **bends) as port:
            spec = BmcSpec(name, "127.0.0.1", port=port, login=Login(user="ADMIN", timeout_s=timeout_s))
            bmc = IpmiBmc(spec, PASSWORD)
            verb = dice.choice(["power", "set_power", "boot_device", "set_boot_device"])
            calls: dict[str, Callable[[], Any]] = {
                "power": bmc.power,
                "set_power": lambda: bmc.set_power(wanted),  # type: ignore[arg-type]
                "boot_device": bmc.boot_device,
                "set_boot_device": lambda: bmc.set_boot_device(device),  # type: ignore[arg-type]
            }
            before = seen(machine)
            try:
                value, error = talked("IPMI conversation", timeout_s + 2.0, calls[verb])
            finally:
                bmc.close()
            after = seen(machine)
        if verb in ("power", "boot_device"):
            assert after == before, f"seed {seed}: reading changed something"
        if error is None:
            shown = {"power": after[0], "boot_device": after[1]}
            want = {"set_power": ("power", wanted), "set_boot_device": ("boot_device", device)}.get(verb, (verb, value))
            if value == "default":  # no override, and the disk is what it then boots
                want = ("boot_device", "disk")
            assert shown[want[0]] == want[1], f"seed {seed}: {verb} said {want[1]}"

    each(seeds(0.3), one)


# --- a switch, over SNMP and SSH ---------------------------------------------------------------------------------


@dataclass
class Rig:
    """A switch with a port for each of those who talk to it at once, and one that nobody may touch."""

    fleet: Fleet
    ios: SshSwitch
    shell: SshSwitch
    snmp: SnmpSwitch
    wait: Callable[[Any], Any]

    def spec(self, face: SshSwitch | SnmpSwitch, driver: str, port: int, timeout_s: float, platform: str) -> SwitchSpec:
        """What site.yaml would say."""
        options: dict[str, Any] = {"host_key": face.host_key} if isinstance(face, SshSwitch) else {}
        login = Login(USER if driver == "netmiko" else "", timeout_s=timeout_s)
        return SwitchSpec("rack7", driver, (ADMIN, PRIVATE), "127.0.0.1", port, platform, login, options)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    fleet = Fleet(
        ports={name: Port(name, PRIVATE) for name in (*PORTS, BYSTANDER)}, vlans={ADMIN: "admin", PRIVATE: "private"}
    )
    with event_loop() as wait:
        made = Rig(
            fleet,
            wait(start_ssh(fleet, USER, CANARY, privileged=True)),
            wait(start_ssh(fleet, USER, CANARY, style="shell")),
            wait(start_snmp(fleet, COMMUNITY)),
            wait,
        )
        yield made
        for face in (made.ios, made.shell, made.snmp):
            wait(face.stop())


def about_a_port(rig: Rig, what: str, seed: int, place: int, timeout_s: float, switch: Any) -> None:
    """Read a port, or move it; what was said of it is so, and nothing else has moved."""
    name, dice = PORTS[place], random.Random(f"{what} {seed}")
    before = rig.fleet.ports[name].vlan
    wanted = ADMIN if before == PRIVATE else PRIVATE
    moves, hears = dice.random() < 0.6, dice.random() < 0.3
    if hears and not moves:
        heard, _ = talked(what, timeout_s, lambda: switch.macs(name))
        assert heard is None or (heard.port == name and not (heard.macs and heard.untold)), f"{what} {seed}"
    value, error = talked(what, timeout_s, lambda: switch.set_vlan(name, wanted) if moves else switch.port(name))
    after = rig.fleet.ports[name].vlan
    assert after in ((before, wanted) if moves else (before,)), f"{what} {seed}"
    if error is None:
        assert value == PortState(name, after), f"{what} {seed}"
        assert after == (wanted if moves else before)
    assert rig.fleet.ports[BYSTANDER].vlan == PRIVATE


def test_snmp(rig: Rig) -> None:
    """Version 2c has no digest: bits that flip are UDP's to catch, and are left out here."""
    timeout_s = 1.2

    def one(seed: int, place: int) -> None:
        dice = random.Random(f"snmp {seed}")
        bends = {"back": Bent(dice, seed % 12, bits=False)}
        if dice.random() < 0.4:
            bends["there"] = Bent(dice, dice.randrange(12), bits=False)
        with relay(rig.snmp.port, **bends) as port:
            spec = rig.spec(rig.snmp, "snmp", port, timeout_s, "")
            # each request is bounded; a move is about a dozen of them, and waits for what it moved to show
            about_a_port(rig, "SNMP conversation", seed, place, 12 * timeout_s, snmp.open_switch(spec, COMMUNITY))

    each(seeds(0.3), one)


#: What begins like BER and is none: truncated lengths, lengths beyond the end, endless nesting, wrong types.
BER = [
    b"", b"\x30", b"\x30\x82", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80" * 300, b"\x30\x02\x02\x01", b"\x02\x01\x01",
    b"\x30\x0b\x02\x01\x01\x04\x06public", b"\x30\x03\x02\x01\x09", b"\xff" * 1400, b"\x30\x05\x02\x81\x80\x00\x00",
]  # fmt: skip


def test_snmp_of_no_sense(rig: Rig) -> None:
    def one(seed: int, place: int) -> None:
        dice = random.Random(f"ber {seed}")

        def answer(_number: int, data: bytes) -> list[bytes]:
            start = dice.choice(BER)
            # now and then with the head of a true answer
            return [data[: dice.randrange(len(data))] + start if dice.random() < 0.5 else start] * dice.randint(1, 3)

        with relay(rig.snmp.port, back=answer) as port:
            switch = snmp.open_switch(rig.spec(rig.snmp, "snmp", port, 0.6, ""), COMMUNITY)
            _, error = talked("SNMP answer", 5.0, lambda: switch.port(PORTS[place]))
            assert error is not None

    each(seeds(0.3), one)


# --- SSH -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tcp(serve_one: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """A TCP port; each connection is served in a thread of its own until the block ends."""
    over, kept, threads = threading.Event(), list[socket.socket](), list[threading.Thread]()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def handle(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                serve_one(connection, over)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
                    threads[-1].start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            server.shutdown(socket.SHUT_RDWR)
            for connection in kept:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join(5)
            for connection in kept:
                connection.close()


def cut_after(port: int, count: int, *, hang: bool) -> Callable[[socket.socket, threading.Event], None]:
    """Pass a connection on to a port; after so many bytes of its answers hang up, or pass nothing on any more."""

    def serve_one(front: socket.socket, over: threading.Event) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as behind:

            def there() -> None:
                with contextlib.suppress(OSError):
                    while data := front.recv(65536):
                        behind.sendall(data)

            thread = threading.Thread(target=there, daemon=True)
            thread.start()
            left = count
            with contextlib.suppress(OSError):
                while left > 0 and (data := behind.recv(min(left, 4096))):
                    front.sendall(data)
                    left -= len(data)
            if hang:
                over.wait(30)
            with contextlib.suppress(OSError):
                front.shutdown(socket.SHUT_RDWR)
            behind.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    return serve_one


def test_ssh_that_breaks_off_anywhere(rig: Rig) -> None:
    """A whole move says about 4 kB; each seed is cut at another of them."""

    def one(seed: int, place: int) -> None:
        dice = random.Random(f"ssh {seed}")
        face, platform = (rig.ios, "cisco_ios") if dice.random() < 0.7 else (rig.shell, "openvswitch")
        timeout_s = 2.0
        with tcp(cut_after(face.port, dice.randrange(5500), hang=dice.random() < 0.3)) as port:
            spec = rig.spec(face, "netmiko", port, timeout_s, platform)
            about_a_port(rig, "SSH conversation", seed, place, 6 * timeout_s + 5, netmiko.open_switch(spec, CANARY))

    each(seeds(0.3), one)


def flood(start: bytes, piece: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Begin with some bytes, then say something for ever."""

    def serve_one(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(start)
        while piece and not over.is_set():
            connection.sendall(piece)
        over.wait(30)

    return serve_one


def test_ssh_of_no_sense(rig: Rig) -> None:
    """Banners without end, with control characters, of another protocol; packets of impossible lengths."""

    def one(seed: int, place: int) -> None:
        dice = random.Random(f"banner {seed}")
        start = dice.choice([
            b"", b"SSH-", b"SSH-2.0-x\r\n", b"SSH-1.5-old\r\n", b"SSH-9.9-new\r\n", b"\x1b]0;x\x07login: ",
            b"SSH-2.0-" + b"x" * 300 + b"\r\n", b"welcome\r\n" * 50 + b"SSH-2.0-x\r\n", b"\x00" * 10,
            b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14", b"SSH-2.0-x\r\n\xff\xff\xff\xff",
            b"SSH-2.0-\xff\xfe\r\n",
        ])  # fmt: skip
        piece = dice.choice([b"", b"", b"no banner yet\r\n", b"x" * 1000, dice.randbytes(500), b"\x00" * 64])
        with tcp(flood(start + dice.randbytes(dice.choice([0, 0, 7, 300])), piece)) as port:
            switch = netmiko.open_switch(rig.spec(rig.ios, "netmiko", port, 1.0, "cisco_ios"), CANARY)
            _, error = talked("SSH banner", 9.0, lambda: switch.port(PORTS[place]))
            assert error is not None

    each(seeds(0.3), one)


class Rambling:
    """A command line that takes the login and then says what no switch says: nothing, or anything without end."""

    over, status, echo = False, 0, True

    def __init__(self, prompt: str, answer: str) -> None:
        self.prompt, self._answer = prompt, answer

    def answer(self, typed: str) -> str:
        """The same, whatever is typed."""
        return self._answer


#: A prompt, and what follows each typed line.
RAMBLINGS = [
    ("", ""),
    ("", "x" * 500),
    ("\x1b[2J\x1b[H", "\x1b[31m" * 50),
    ("sw> ", "sw> sw> sw> "),
    ("sw#", f"% Bad secrets {CANARY}\nsw#"),
    ("sw#", "--More-- "),
    ("$ ", "sh: not found\n"),
    ("Password: ", f"{CANARY}\nPassword: "),
    ("Continue? [y/n]", "Please answer y or n"),
    ("é\u202e#", "\x00\ufffd"),
]


def test_prompts_that_never_come_or_mean_nothing(rig: Rig) -> None:
    def one(number: int, _place: int) -> None:
        platform = ("cisco_ios", "openvswitch")[number % 2]
        face = rig.wait(serve(lambda: Rambling(*RAMBLINGS[number // 2]), USER, CANARY))
        try:
            switch = netmiko.open_switch(rig.spec(face, "netmiko", face.port, 1.0, platform), CANARY)
            _, error = talked("SSH prompt", 9.0, lambda: switch.set_vlan(BYSTANDER, ADMIN))
            assert error is not None
        finally:
            rig.wait(face.stop())

    each(range(2 * len(RAMBLINGS)), one)
    assert rig.fleet.ports[BYSTANDER].vlan == PRIVATE
