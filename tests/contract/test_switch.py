"""What a Switch must do: the lab's faces by each driver, a real Open vSwitch, and any switch of a real site.

A real one: ``PUMPHOUSE_REAL_SITE`` names its ``site.yaml``, and ``PUMPHOUSE_REAL_SWITCH`` is ``SWITCH PORT VLAN VLAN``,
a spare access port and two VLANs that it may be moved between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.errors import NodeRefused, NodeTimeout
from pumphouse.nodes.api import LearnedMacs, PortState, Switch
from pumphouse.nodes.connect import SWITCH_GROUP, driver
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.nodes.switches import base, manual, netmiko, snmp
from pumphouse.passwords import PasswordRef, read_password
from pumphouse.site import load_site
from tests.nodes.switchlab import (
    ADMIN,
    COMMUNITY,
    ENABLE,
    NAMES,
    PASSWORD,
    PRIVATE,
    SPEAKER,
    RealOpenVSwitch,
    SwitchLab,
    give_up,
    lacking,
    real_open_vswitch,
    switch_lab,
)

REAL_SITE, REAL_SWITCH = "PUMPHOUSE_REAL_SITE", "PUMPHOUSE_REAL_SWITCH"
NO_PORTS = ("", " ", "p1; reload", "p1\nreload", "p1 && reboot", "$(reboot)", "`reboot`", "--help", "eth1|x", "x" * 300)


@dataclass(frozen=True)
class Bench:
    """A switch under test. ``open`` takes changes of its spec; ports by kind; ``look`` tells a port's VLAN otherwise.

    ``bad_names`` are what it takes for no port without asking the switch. ``speak`` lets :data:`SPEAKER` be heard at
    the port of kind ``mine``, and says whether the switch can tell; None: somebody else may be there.
    """

    open: Callable[..., Switch]
    ports: dict[str, str]
    vlans: tuple[int, int]
    look: Callable[[str], int]
    reset: Callable[[], None]
    bad_names: tuple[str, ...] = NO_PORTS
    speak: Callable[[], bool] | None = None

    def __getitem__(self, kind: str) -> str:
        if kind not in self.ports:
            pytest.skip(f"this switch has no port of kind {kind}")
        return self.ports[kind]


@pytest.fixture(scope="module")
def lab() -> Iterator[SwitchLab]:
    """The lab's switch."""
    with switch_lab() as lab:
        yield lab


@pytest.fixture(
    scope="module",
    params=["ios", "shell", "snmp", "manual", "open-vswitch", pytest.param("real", marks=pytest.mark.real)],
)
def anybody(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Each switch in turn."""
    if request.param == "real":
        yield _real()
        return
    if request.param == "open-vswitch":
        if missing := lacking():
            give_up(missing)
        with real_open_vswitch(tmp_path_factory.mktemp("ovs")) as real:
            yield _open_vswitch(real)
        return
    lab: SwitchLab = request.getfixturevalue("lab")
    evidence = tmp_path_factory.mktemp("evidence")

    def opened(**changes: Any) -> Switch:
        if request.param == "ios":
            return netmiko.open_switch(replace(lab.spec(lab.ios, "netmiko", "cisco_ios"), **changes), PASSWORD)
        if request.param == "shell":
            return netmiko.open_switch(replace(lab.spec(lab.shell, "netmiko", "openvswitch"), **changes), PASSWORD)
        if request.param == "snmp":
            return snmp.open_switch(replace(lab.spec(lab.snmp, "snmp"), **changes), COMMUNITY)
        return _manual(lab, evidence, changes)

    names = {kind: both[request.param == "shell"] for kind, both in NAMES.items()}
    if request.param == "manual":
        del names["trunk"]  # evidence has no word for it: the operator is to refuse

    def back() -> None:
        lab.reset()
        for file in evidence.iterdir():
            file.unlink()

    plain = {"snmp": NO_PORTS[:2], "manual": NO_PORTS[:2]}  # nothing that they put into a command line
    yield Bench(
        opened,
        names,
        (ADMIN, PRIVATE),
        lab.vlan,
        back,
        bad_names=plain.get(request.param, NO_PORTS),
        speak=lambda: request.param != "manual",
    )


def _open_vswitch(real: RealOpenVSwitch) -> Bench:
    names = {kind: both[1] for kind, both in NAMES.items() if kind != "deaf"}

    def back() -> None:
        for kind in ("mine", "other"):
            real.ask("set", "port", names[kind], f"tag={PRIVATE}")

    def speak() -> bool:
        real.receive(names["mine"], SPEAKER)
        return True

    return Bench(
        lambda **changes: netmiko.open_switch(replace(real.spec(), **changes), ""),
        names,
        (ADMIN, PRIVATE),
        real.vlan,
        back,
        speak=speak,
    )


def _manual(lab: SwitchLab, evidence: Path, changes: dict[str, Any]) -> Switch:
    spec = replace(SwitchSpec("rack7", "manual", (ADMIN, PRIVATE), options={"evidence": str(evidence)}), **changes)

    def operator(question: str) -> str:
        if "Who" in question:
            return "Ann Example"
        if "What" in question:
            return "show interfaces switchport"
        port = next(port for port in lab.fleet.ports if f"port {port} of" in question or f" {port} " in question)
        if "Put" in question:
            lab.fleet.set_vlan(port, int(question.split("VLAN ")[1].split()[0]))
        return str(lab.vlan(port))

    return manual.ManualSwitch(spec, ask=operator)


def _real() -> Bench:
    if not os.environ.get(REAL_SITE) or not os.environ.get(REAL_SWITCH):
        pytest.skip(f"{REAL_SITE} and {REAL_SWITCH} name no real switch")
    site = load_site(Path(os.environ[REAL_SITE]))
    name, port, first, second = os.environ[REAL_SWITCH].split()
    spec = site.hardware.switches[name]
    where = PasswordRef(f"switches.{name}", "nodes", entry=spec.login.password_entry, variable=spec.login.password_env)

    def opened(**changes: Any) -> Switch:
        switch: Switch = driver(SWITCH_GROUP, spec.driver, name)(replace(spec, **changes), read_password(site, where))
        return switch

    def back() -> None:
        opened().set_vlan(port, int(second))

    return Bench(
        opened,
        {"mine": port},
        (int(first), int(second)),
        lambda asked: opened().port(asked).vlan,
        back,
        bad_names=NO_PORTS[:2],
    )


@pytest.fixture
def bench(anybody: Bench) -> Bench:
    """A switch whose ports are as at the beginning."""
    anybody.reset()
    return anybody


def test_a_port_is_moved_and_read_back_and_moving_it_again_changes_nothing(bench: Bench) -> None:
    admin, private = bench.vlans
    switch = bench.open()
    assert isinstance(switch, Switch)
    mine = bench["mine"]
    assert switch.port(mine) == PortState(mine, private)
    assert switch.set_vlan(mine, admin) == PortState(mine, admin)
    assert bench.look(mine) == admin
    assert switch.set_vlan(mine, admin) == PortState(mine, admin)
    assert bench.look(mine) == admin
    switch.close()
    switch.close()


def test_several_ports_are_read_in_the_order_asked_and_others_stay(bench: Bench) -> None:
    admin, private = bench.vlans
    mine, other = bench["mine"], bench["other"]
    switch = bench.open()
    switch.set_vlan(mine, admin)
    assert switch.ports([other, mine]) == (PortState(other, private), PortState(mine, admin))
    assert switch.ports([]) == ()
    assert bench.look(other) == private


def test_who_is_heard_at_a_port_is_told_or_that_it_cannot_be(bench: Bench) -> None:
    mine, switch = bench["mine"], bench.open()
    tells = bench.speak() if bench.speak is not None else None
    told = switch.macs(mine)
    if tells is None:
        assert told.port == mine
    elif tells:
        assert told == LearnedMacs(mine, (SPEAKER,))
        assert switch.macs(bench["other"]) == LearnedMacs(bench["other"])
    else:
        assert not told.macs
        assert "by hand" in told.untold


@pytest.mark.parametrize("anybody", ["ios", "shell", "snmp", "open-vswitch"], indirect=True, scope="module")
def test_nobody_is_said_to_be_heard_at_a_port_that_is_none(bench: Bench) -> None:
    with pytest.raises(NodeRefused, match="port"):
        bench.open().macs(bench["mine"][:-1] + "7")
    with pytest.raises(NodeRefused, match="cannot be a port"):
        bench.open().macs(bench.bad_names[0])


def test_only_allowed_vlans_are_entered_and_left(bench: Bench) -> None:
    admin, private = bench.vlans
    mine = bench["mine"]
    with pytest.raises(NodeRefused, match=r"VLAN 4000: .* allows \["):
        bench.open().set_vlan(mine, 4000)
    with pytest.raises(NodeRefused, match=f"in VLAN {private}, which"):
        bench.open(vlans=(admin, 4000)).set_vlan(mine, admin)
    assert bench.look(mine) == private


@pytest.mark.parametrize("anybody", ["ios", "shell", "snmp", "open-vswitch"], indirect=True, scope="module")
def test_a_trunk_is_shown_and_refused(bench: Bench) -> None:
    trunk = bench["trunk"]
    switch = bench.open()
    shown = switch.port(trunk)
    assert shown == PortState(trunk, PRIVATE, (ADMIN,), trunk=True)
    with pytest.raises(NodeRefused, match="is a trunk"):
        switch.set_vlan(trunk, bench.vlans[0])
    assert switch.port(trunk) == shown


def test_what_is_no_port_is_refused_before_anything_is_sent(bench: Bench) -> None:
    closed = bench.open(address="127.0.0.1", port=1)
    for name in bench.bad_names:
        with pytest.raises(NodeRefused, match="cannot be a port"):
            closed.port(name)
        with pytest.raises(NodeRefused, match="cannot be a port"):
            closed.set_vlan(name, bench.vlans[0])


@pytest.mark.parametrize("anybody", ["ios", "shell", "snmp", "open-vswitch"], indirect=True, scope="module")
def test_a_port_that_the_switch_lacks_is_refused(bench: Bench) -> None:
    with pytest.raises(NodeRefused, match="port") as caught:
        bench.open().port(bench["mine"][:-1] + "7")
    said = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert not any(secret in said for secret in (PASSWORD, ENABLE, COMMUNITY))


@pytest.mark.parametrize("anybody", ["ios", "shell", "snmp", "manual"], indirect=True, scope="module")
def test_a_port_that_stays_where_it_is_is_found_out(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "SETTLE_S", 0.3)
    deaf = bench["deaf"]
    with pytest.raises(NodeTimeout, match=f"port {deaf} was to go to VLAN {bench.vlans[0]}"):
        bench.open().set_vlan(deaf, bench.vlans[0])
    assert bench.look(deaf) == bench.vlans[1]
