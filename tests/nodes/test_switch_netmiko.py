"""The netmiko driver against switches that are absent, silent, strange, untrusted, or say no."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from pumphouse.errors import NodeAuthError, NodeGarbled, NodeRefused, NodeUnreachable, SiteError
from pumphouse.lab.hardware.switch_shell import ShellLine
from pumphouse.lab.hardware.switch_ssh import serve, start_ssh
from pumphouse.nodes.api import PortState
from pumphouse.nodes.spec import Login, SwitchSpec
from pumphouse.nodes.switches import netmiko
from tests.nodes.switchlab import (
    ADMIN,
    ENABLE,
    NAMES,
    PASSWORD,
    PRIVATE,
    USER,
    SwitchLab,
    event_loop,
    make_fleet,
    switch_lab,
)

MINE, ETH = NAMES["mine"]
WRONG = "not-the-password-3377"


@pytest.fixture(scope="module")
def running() -> Iterator[SwitchLab]:
    with switch_lab() as lab:
        yield lab


@pytest.fixture
def lab(running: SwitchLab) -> SwitchLab:
    """The lab's switch as at the beginning."""
    running.reset()
    return running


def ios(lab: SwitchLab, password: str = PASSWORD, **changes: Any) -> netmiko.NetmikoSwitch:
    return netmiko.open_switch(lab.spec(lab.ios, "netmiko", "cisco_ios", **changes), password)


def shell(lab: SwitchLab, **changes: Any) -> netmiko.NetmikoSwitch:
    return netmiko.open_switch(lab.spec(lab.shell, "netmiko", "openvswitch", **changes), PASSWORD)


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP port of our own; ``serve`` gets each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    serve(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in kept:
                connection.close()


def test_wrong_passwords_are_told_apart_from_the_rest(lab: SwitchLab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NodeAuthError, match="refuses the login of operator") as login:
        ios(lab, WRONG).port(MINE)
    monkeypatch.setenv("OTHER_ENABLE", WRONG)
    with pytest.raises(NodeAuthError, match="privileged mode") as enable:
        ios(lab, enable_password_env="OTHER_ENABLE", timeout_s=4.0).port(MINE)
    for caught in (login, enable):
        assert WRONG not in f"{caught.value!r} {caught.value.__cause__!r}"
        assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_enable_takes_the_logins_password_unless_told_otherwise() -> None:
    with event_loop() as wait:
        fleet = make_fleet()
        face = wait(start_ssh(fleet, USER, PASSWORD))
        spec = SwitchSpec("rack1", "netmiko", (ADMIN, PRIVATE), "127.0.0.1", face.port, "cisco_ios", Login(USER))
        switch = netmiko.open_switch(replace(spec, options={"host_key": face.host_key}), PASSWORD)
        try:
            assert switch.set_vlan(MINE, ADMIN) == PortState(MINE, ADMIN)
        finally:
            wait(face.stop())


def test_a_port_where_nobody_listens_is_unreachable(lab: SwitchLab) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NodeUnreachable, match="cannot be reached: Connection refused"):
            ios(lab, port=unused.getsockname()[1]).port(MINE)
    spec = replace(lab.spec(lab.ios, "netmiko", "cisco_ios"), address="switch.invalid")
    with pytest.raises(NodeUnreachable, match=r"switch\.invalid:\d+ cannot be reached"):
        netmiko.open_switch(spec, PASSWORD).port(MINE)


@pytest.mark.parametrize(
    ("serve", "error", "said"),
    [
        (lambda _: None, NodeUnreachable, "says nothing within 1 s"),
        (lambda c: c.close(), NodeUnreachable, "closes connections at once"),
        (lambda c: c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), NodeGarbled, "does not speak SSH: 'HTTP/1.1 400"),
        (lambda c: c.sendall(b"\xff\xfd\x18 login: " + bytes(range(256)) * 20), NodeGarbled, "does not speak SSH"),
        (lambda c: c.sendall(b"SSH-2.0-mute\r\n"), NodeUnreachable, "while logging in: it does not answer"),
        (
            lambda c: (c.sendall(b"SSH-2.0-odd\r\n" + b"\x00\x00\x00\x0c\x0a\x14" + b"\x7f" * 400), c.close()),
            NodeUnreachable,
            "while logging in",
        ),
    ],
)  # fmt: skip
def test_what_is_no_switch_is_told_apart_and_in_time(
    lab: SwitchLab, serve: Callable[[socket.socket], None], error: type[Exception], said: str
) -> None:
    started = time.monotonic()
    with listening(serve) as port, pytest.raises(error, match=said):
        ios(lab, port=port, timeout_s=1.0).port(MINE)
    assert time.monotonic() - started < 8


def test_another_platform_than_was_said_is_garbled(lab: SwitchLab) -> None:
    spec = replace(lab.spec(lab.shell, "netmiko", "cisco_ios"), login=Login("operator", timeout_s=4.0))
    with pytest.raises(NodeGarbled, match="no answer of platform cisco_ios"):
        netmiko.open_switch(spec, PASSWORD).port(MINE)


def test_a_host_key_is_checked_unless_it_is_said_not_to(
    lab: SwitchLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])
    with pytest.raises(NodeAuthError, match=r"shows a host key ssh-ed25519 SHA256:\S+ that is not the known one"):
        shell(lab, host_key=stranger).port(ETH)
    plain = lab.spec(lab.shell, "netmiko", "openvswitch")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{lab.ios.port} {lab.ios.host_key}\n")
    with pytest.raises(NodeAuthError, match="that is not known; nothing was said to it"):
        netmiko.open_switch(replace(plain, options={"known_hosts": str(known)}), PASSWORD).port(ETH)
    known.write_text(f"[127.0.0.1]:{lab.shell.port} {lab.shell.host_key}\n")
    assert netmiko.open_switch(replace(plain, options={"known_hosts": str(known)}), PASSWORD).port(ETH).vlan == PRIVATE
    with caplog.at_level(logging.WARNING, logger="pumphouse"):
        unchecked = yaml.safe_load("host_key_check: off")
        assert netmiko.open_switch(replace(plain, options=unchecked), PASSWORD).port(ETH).vlan == PRIVATE
    assert "taken without a check" in caplog.text
    assert "SHA256:" in caplog.text


# asyncssh's half of the key exchange
@pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
def test_what_is_no_longer_safe_is_spoken_only_where_site_yaml_says_so() -> None:
    fleet = make_fleet()
    with event_loop() as wait:
        old = ["diffie-hellman-group14-sha1"]
        face = wait(serve(lambda: ShellLine(fleet, USER, "old"), USER, PASSWORD, kex_algs=old))
        spec = SwitchSpec(
            "rack1", "netmiko", (ADMIN, PRIVATE), "127.0.0.1", face.port, "openvswitch", Login(USER, timeout_s=8.0)
        )
        options = {"host_key": face.host_key}
        with pytest.raises(NodeGarbled, match="no longer safe") as caught:
            netmiko.open_switch(replace(spec, options=options), PASSWORD).port(ETH)
        assert "old_algorithms" in str(caught.value)
        allowed = replace(spec, options={**options, "old_algorithms": True})
        assert netmiko.open_switch(allowed, PASSWORD).port(ETH).vlan == PRIVATE
        wait(face.stop())


def test_a_vlan_that_the_switch_lacks_is_not_made_by_accident(lab: SwitchLab) -> None:
    with pytest.raises(NodeRefused, match="has no VLAN 999"):
        ios(lab, vlans=(999, PRIVATE)).set_vlan(MINE, 999)
    assert 999 not in lab.fleet.vlans
    assert lab.vlan(MINE) == PRIVATE


def test_a_change_is_saved_also_by_who_finds_it_made(lab: SwitchLab) -> None:
    lab.fleet.set_vlan(MINE, ADMIN)  # as somebody leaves it who is cut off before saving
    lab.ios.saved[MINE] = PRIVATE
    assert ios(lab).set_vlan(MINE, ADMIN) == PortState(MINE, ADMIN)
    assert lab.ios.saved[MINE] == ADMIN


def with_templates(lab: SwitchLab, tmp_path: Path, base: str, **parts: Any) -> SwitchSpec:
    """A spec whose platform is one of ours with parts of it changed."""
    face = lab.spec(lab.shell if base == "openvswitch" else lab.ios, "netmiko", base)
    ours = Path(netmiko.__file__).parent / "templates" / f"{base}.yaml"
    raw = yaml.safe_load(ours.read_text("utf-8"))
    for key, value in parts.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) and key in raw else value
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return replace(face, options={**face.options, "templates": str(file)})


@pytest.mark.parametrize(
    ("base", "port", "parts", "said"),
    [
        (
            "cisco_ios",
            MINE,
            {"set": {"commands": ["interface {port}", "switchport colour {vlan}"]}},
            "refuses a change",
        ),
        (
            "openvswitch",
            ETH,
            {"set": {"commands": ["ovs-vsctl set port {port} colour={vlan}"]}},
            r"status 1\): .*colour",
        ),
        ("openvswitch", ETH, {"set": {"commands": ["ovs-vsctk set port {port}"]}}, "status 127"),
        ("cisco_ios", MINE, {"save": {"command": "write floppy", "saved": "OK"}}, "did not save .* falls back"),
    ],
)
def test_a_switch_that_says_no_is_heard(
    lab: SwitchLab, tmp_path: Path, base: str, port: str, parts: dict[str, Any], said: str
) -> None:
    with pytest.raises(NodeRefused, match=said):
        netmiko.open_switch(with_templates(lab, tmp_path, base, **parts), PASSWORD).set_vlan(port, ADMIN)
    assert lab.vlan(port) == (ADMIN if "save" in parts else PRIVATE)


def test_a_switch_that_repeats_a_password_does_not_get_it_into_a_message(lab: SwitchLab, tmp_path: Path) -> None:
    parts = {"set": {"commands": [f"ovs-vsctl set port {{port}} {PASSWORD}={{vlan}}"]}}
    with pytest.raises(NodeRefused, match="status 1") as caught:
        netmiko.open_switch(with_templates(lab, tmp_path, "openvswitch", **parts), PASSWORD).set_vlan(ETH, ADMIN)
    assert PASSWORD not in str(caught.value)


def test_several_threads_share_a_switch(lab: SwitchLab) -> None:
    switch = shell(lab)
    ports = [ETH, NAMES["other"][1]]
    threads = [threading.Thread(target=switch.set_vlan, args=(port, ADMIN)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [lab.vlan(port) for port in ports] == [ADMIN, ADMIN]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": {"hostkey": "x"}}, "hostkey"),
        ({"options": {"host_key": "x"}}, "TYPE KEY"),
        ({"options": {"known_hosts": "/nowhere/known_hosts"}}, "no file"),
        ({"options": {"host_key_check": "maybe"}}, "neither strict nor off"),
        ({"options": {"enable_password_env": "PUMPHOUSE_NOT_SET"}}, "is not set"),
        ({"address": ""}, "address"),
        ({"login": Login("")}, "user"),
        ({"platform": "vax"}, "vax"),
    ],
)
def test_what_is_missing_in_site_yaml_is_said_before_anything_is_sent(change: dict[str, Any], said: str) -> None:
    spec = SwitchSpec("rack7", "netmiko", (1, 2), "127.0.0.1", 1, "cisco_ios", Login("operator"))
    with pytest.raises(SiteError, match=said) as caught:
        netmiko.open_switch(replace(spec, **change), ENABLE)
    assert "switches.rack7" in str(caught.value)
    assert ENABLE not in str(caught.value)
