"""The snmp driver: lists of ports as bits, SNMPv3, and agents that are absent, strange, or say no."""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import socket
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysnmp.proto.rfc1902 import Integer32, OctetString

from pumphouse.errors import NodeAuthError, NodeError, NodeGarbled, NodeRefused, NodeUnreachable, SiteError
from pumphouse.nodes.api import PortState
from pumphouse.nodes.spec import Login, SwitchSpec
from pumphouse.nodes.switches import snmp
from pumphouse.nodes.switches.qbridge import (
    BASE_PORT_IF_INDEX,
    EGRESS,
    FDB_PORT,
    FDB_STATUS,
    IF_DESCR,
    IF_NAME,
    PVID,
    Q_FDB_PORT,
    Q_FDB_STATUS,
    UNTAGGED,
    Membership,
    changed,
    has,
)
from tests.nodes.switchlab import (
    ADMIN,
    COMMUNITY,
    NAMES,
    OFFICE,
    PRIVATE,
    READ_COMMUNITY,
    V3,
    SwitchLab,
    give_up,
    switch_lab,
)

MINE, OTHER = NAMES["mine"][0], NAMES["other"][0]
PRIVACY = "PUMPHOUSE_TEST_PRIVACY"


@pytest.fixture(scope="module")
def running() -> Iterator[SwitchLab]:
    with switch_lab() as lab:
        yield lab


@pytest.fixture
def lab(running: SwitchLab) -> SwitchLab:
    """The lab's switch as at the beginning."""
    running.reset()
    return running


def v2c(lab: SwitchLab, community: str = COMMUNITY, **changes: Any) -> snmp.SnmpSwitch:
    return snmp.open_switch(lab.spec(lab.snmp, "snmp", **changes), community)


def v3(lab: SwitchLab, password: str = V3.auth_password, **changes: Any) -> snmp.SnmpSwitch:
    options = {"user": V3.name, "version": 3, "privacy_password_env": PRIVACY, **changes}
    return snmp.open_switch(lab.spec(lab.snmp, "snmp", **options), password)


@contextlib.contextmanager
def answering(reply: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A UDP port of our own that answers each datagram with ``reply``'s."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    data, peer = sock.recvfrom(4096)
                    if (answer := reply(data)) is not None:
                        sock.sendto(answer, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            over.set()
            thread.join(5)


@given(st.binary(max_size=8), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_one_port_of_a_list_changes_and_no_other(ports: bytes, port: int, other: int, member: bool) -> None:
    after = changed(ports, port, member=member)
    assert has(after, port) is member
    assert len(after) >= len(ports)
    if other != port:
        assert has(after, other) == has(ports, other)


@given(st.lists(st.tuples(st.sampled_from([10, 100, 200]), st.integers(1, 20)), max_size=30), st.integers(1, 20))
def test_a_move_makes_an_access_port_and_leaves_others_alone(members: list[tuple[int, int]], port: int) -> None:
    lists = dict.fromkeys((10, 100, 200), b"\x00\x00")
    for vlan, member in [*((v, m) for v, m in members if m != port), (100, port)]:
        lists[vlan] = changed(lists[vlan], member, member=True)
    before = Membership(port, 100, lists, dict(lists))
    assert before.state("p") == PortState("p", 100)
    writes = dict(before.moved(10))
    egress = {vlan: writes.get(f"{EGRESS}.{vlan}", ports) for vlan, ports in lists.items()}
    bare = {vlan: writes.get(f"{UNTAGGED}.{vlan}", ports) for vlan, ports in lists.items()}
    after = Membership(port, writes[f"{PVID}.{port}"], egress, bare)  # type: ignore[arg-type]
    assert after.state("p") == PortState("p", 10)
    for vlan in lists:
        assert all(has(egress[vlan], m) == has(lists[vlan], m) for m in range(1, 25) if m != port)  # type: ignore[arg-type]


def test_a_port_that_sends_other_vlans_or_not_its_own_is_no_access_port() -> None:
    bit = changed(b"", 3, member=True)
    assert Membership(3, 10, {10: bit, 20: bit}, {10: bit}).state("p") == PortState("p", 10, (20,), trunk=True)
    assert Membership(3, 10, {10: bit, 20: bit}, {10: bit, 20: bit}).state("p").trunk
    assert Membership(3, 10, {10: bit}, {}).state("p") == PortState("p", 0)
    assert Membership(3, 10, {20: bit}, {20: bit}).state("p") == PortState("p", 0, (20,), trunk=True)


def test_version_3_moves_a_port_and_refuses_who_is_somebody_else(
    lab: SwitchLab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv(PRIVACY, V3.privacy_password)
    assert v3(lab).set_vlan(MINE, ADMIN) == PortState(MINE, ADMIN)
    assert lab.vlan(MINE) == ADMIN
    wrong: list[dict[str, Any]] = [{"password": "wrong-pw-100"}, {"user": "nobody"}, {"privacy": "none"}]
    monkeypatch.setenv("OTHER", "wrong-pw-200")
    for changes in [*wrong, {"privacy_password_env": "OTHER", "timeout_s": 1.5}]:
        with pytest.raises(NodeError, match="SNMP") as caught:
            v3(lab, **changes).port(MINE)
        # what it cannot decrypt an agent may leave unanswered
        expected = (NodeAuthError, NodeUnreachable) if "timeout_s" in changes else NodeAuthError
        assert isinstance(caught.value, expected)
        said = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert not any(secret in said for secret in (V3.auth_password, V3.privacy_password, "wrong-pw"))


def test_communities_read_write_or_neither(lab: SwitchLab) -> None:
    assert v2c(lab, READ_COMMUNITY).port(MINE) == PortState(MINE, PRIVATE)
    with pytest.raises(NodeAuthError, match="does not let this user or community write"):
        v2c(lab, READ_COMMUNITY).set_vlan(MINE, ADMIN)
    with pytest.raises(NodeUnreachable, match="does not answer SNMP v2c within 1 s") as caught:
        v2c(lab, "wrong-community-9", timeout_s=1.0).port(MINE)
    assert "community" in str(caught.value.remedy)
    assert "wrong-community-9" not in str(caught.value)
    assert lab.vlan(MINE) == PRIVATE


def test_silence_and_noise_are_told_apart(lab: SwitchLab) -> None:
    with answering(lambda _: None) as port, pytest.raises(NodeUnreachable):
        v2c(lab, port=port, timeout_s=0.7).port(MINE)
    noises = itertools.cycle([b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\x01\x01", bytes(range(7, 67)), b""])
    with answering(lambda data: next(noises) or data[:20]) as port, pytest.raises(NodeGarbled, match="is no SNMP"):
        v2c(lab, port=port, timeout_s=3.5).port(MINE)


def test_net_snmps_tools_read_and_set_the_labs_switch_too(lab: SwitchLab) -> None:
    if shutil.which("snmpset") is None:
        give_up("Debian's snmp is not installed")
    index = list(lab.fleet.ports).index(MINE) + 1
    port = f"udp:127.0.0.1:{lab.snmp.port}"

    def tool(name: str, *words: str, community: str = COMMUNITY) -> subprocess.CompletedProcess[str]:
        who = [name, "-v2c", "-c", community, "-On", "-OQ", "-t", "5", "-r", "0", port]
        return subprocess.run([*who, *words], capture_output=True, text=True, timeout=30, check=False)

    assert f".{PVID}.{index} = {PRIVATE}" in tool("snmpwalk", PVID).stdout.splitlines()
    half = tool("snmpset", f"{PVID}.{index}", "u", str(ADMIN))
    assert "inconsistentValue" in half.stderr
    assert "noAccess" in tool("snmpset", f"{PVID}.{index}", "u", str(ADMIN), community=READ_COMMUNITY).stderr
    assert lab.vlan(MINE) == PRIVATE
    lists = {v: [i for i, p in enumerate(lab.fleet.ports.values(), 1) if p.vlan == v] for v in (ADMIN, PRIVATE)}
    trunks = [i for i, p in enumerate(lab.fleet.ports.values(), 1) if ADMIN in p.tagged]

    def octets(*members: int) -> str:
        octets = bytes(len(lab.fleet.ports) // 8 + 1)
        for member in members:
            octets = changed(octets, member, member=True)
        return octets.hex()

    stay = [i for i in lists[PRIVATE] if i != index]
    words = [f"{PVID}.{index}", "u", str(ADMIN)]
    words += [f"{EGRESS}.{ADMIN}", "x", octets(index, *trunks), f"{UNTAGGED}.{ADMIN}", "x", octets(index)]
    words += [f"{EGRESS}.{PRIVATE}", "x", octets(*stay), f"{UNTAGGED}.{PRIVATE}", "x", octets(*stay)]
    assert tool("snmpset", *words).returncode == 0
    assert lab.vlan(MINE) == ADMIN
    assert v2c(lab).port(MINE) == PortState(MINE, ADMIN)
    version_3 = ["-v3", "-l", "authPriv", "-u", V3.name, "-a", "SHA-256", "-A", V3.auth_password]
    version_3 += ["-x", "AES", "-X", V3.privacy_password, "-OQv", port, f"{PVID}.{index}"]
    done = subprocess.run(["snmpget", *version_3], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == str(ADMIN), done.stderr


class Table:
    """A wire in memory: what an agent might say."""

    def __init__(self, columns: dict[str, dict[tuple[int, ...], Any]]) -> None:
        self.columns = columns
        self.writes: list[tuple[str, int | bytes]] = []

    def get(self, *oids: str) -> list[Any]:
        return [self.columns.get(oid.rpartition(".")[0], {}).get((int(oid.rpartition(".")[2]),)) for oid in oids]

    def walk(self, oid: str) -> dict[tuple[int, ...], Any]:
        return self.columns.get(oid, {})

    def set(self, writes: list[tuple[str, int | bytes]]) -> None:
        self.writes += writes


VALUES = st.one_of(
    st.none(),
    st.integers(-1, 5000).map(Integer32),
    st.binary(max_size=4).map(OctetString),
    st.sampled_from(["p1", "p2"]).map(OctetString),
)
COLUMN = st.dictionaries(st.lists(st.integers(1, 4), min_size=1, max_size=2).map(tuple), VALUES, max_size=4)


@given(st.dictionaries(st.sampled_from([IF_NAME, IF_DESCR, BASE_PORT_IF_INDEX, PVID, EGRESS, UNTAGGED]), COLUMN))
def test_whatever_an_agent_says_is_a_port_or_an_error_of_ours(columns: dict[str, dict[tuple[int, ...], Any]]) -> None:
    talk = snmp.Asking("rack7", Table(columns), None)  # type: ignore[arg-type]
    try:
        state = talk.read("p1")
    except (NodeGarbled, NodeRefused):
        return
    assert state.port == "p1"
    assert 0 <= state.vlan <= 4094


MAC, ROW = "52:54:00:00:04:00", (0x52, 0x54, 0, 0, 4, 0)
GROUP = (0x33, 0x33, 0, 0, 0, 1)
NAMED = {IF_NAME: {(7,): OctetString("p1"), (8,): OctetString("p2")},
         BASE_PORT_IF_INDEX: {(1,): Integer32(7), (2,): Integer32(8)}}  # fmt: skip


@pytest.mark.parametrize(
    ("tables", "heard"),
    [
        ({Q_FDB_PORT: {(1, *ROW): Integer32(1), (1, *GROUP): Integer32(1), (2, *ROW[:5], 9): Integer32(2)}}, (MAC,)),
        ({Q_FDB_PORT: {(1, *ROW): Integer32(1)}, Q_FDB_STATUS: {(1, *ROW): Integer32(4)}}, ()),  # the switch itself
        ({FDB_PORT: {ROW: Integer32(1)}, FDB_STATUS: {ROW: Integer32(3)}}, (MAC,)),
        ({FDB_PORT: {ROW: Integer32(0)}}, ()),  # learned, nobody knows where
        ({}, None),
        ({Q_FDB_PORT: {(1, 2): Integer32(1), (1, *ROW[:5], 999): Integer32(1), (3, *ROW): None}}, ()),
    ],
)
def test_who_is_heard_is_read_from_either_table_and_no_table_cannot_tell(
    tables: dict[str, dict[tuple[int, ...], Any]], heard: tuple[str, ...] | None
) -> None:
    columns: dict[str, Any] = {**NAMED, **tables}
    told = snmp.Asking("rack7", Table(columns), None).heard("p1")  # type: ignore[arg-type]
    assert told.macs == (heard or ())
    assert bool(told.untold) == (heard is None)


def test_a_vlan_that_the_switch_lacks_is_refused(lab: SwitchLab) -> None:
    with pytest.raises(NodeRefused, match="has no static VLAN 999"):
        v2c(lab, vlans=(999, PRIVATE)).set_vlan(MINE, 999)
    assert lab.vlan(MINE) == PRIVATE


def test_writers_at_the_same_time_do_not_undo_each_other(lab: SwitchLab) -> None:
    ports = [MINE, OTHER, NAMES["mine"][1], NAMES["other"][1]]
    with ThreadPoolExecutor(len(ports)) as pool:
        moved = list(pool.map(lambda port: v2c(lab, timeout_s=20.0).set_vlan(port, ADMIN), ports))
    assert moved == [PortState(port, ADMIN) for port in ports]
    assert [lab.vlan(port) for port in ports] == [ADMIN] * 4
    assert lab.vlan(NAMES["office"][0]) == OFFICE


def test_what_saves_the_configuration_is_the_makes_own(lab: SwitchLab) -> None:
    index = list(lab.fleet.ports).index(OTHER) + 1
    # any integer will do to see it written: here the PVID that another port has anyway
    switch = v2c(lab, save={"oid": f"{PVID}.{index}", "value": PRIVATE})
    assert switch.set_vlan(MINE, ADMIN).vlan == ADMIN
    refused = v2c(lab, save={"oid": "1.3.6.1.4.1.9.9.1.0", "value": 1})
    with pytest.raises(NodeRefused, match="did not save its configuration"):
        refused.set_vlan(MINE, PRIVATE)


@pytest.mark.parametrize(
    ("changes", "password", "said"),
    [
        ({"options": {"version": 1}}, "x", "version 1"),
        ({"options": {"community": "x"}}, "x", "community"),
        ({}, "", "no community"),
        ({"options": {"version": 3}}, "long-enough", "`user`"),
        ({"options": {"version": "v3"}, "login": Login("u")}, "short", "shorter than 8"),
        (
            {"options": {"version": 3, "privacy_password_env": "PUMPHOUSE_NOT_SET"}, "login": Login("u")},
            "long-enough",
            "8",
        ),
        ({"options": {"version": 3, "auth": "none"}, "login": Login("u")}, "long-enough", "no privacy without auth"),
        ({"options": {"auth": "rot13"}}, "x", "rot13"),
        ({"options": {"save": {"oid": "one", "value": 1}}}, "x", "options.save"),
        ({"options": {"save": {"oid": "1.3", "value": "1"}}}, "x", "options.save"),
        ({"address": ""}, "x", "address"),
    ],
)
def test_what_is_wrong_in_site_yaml_is_said_before_anything_is_sent(
    changes: dict[str, Any], password: str, said: str
) -> None:
    with pytest.raises(SiteError, match=said) as caught:
        snmp.open_switch(replace(SwitchSpec("rack7", "snmp", (1, 2), "127.0.0.1", 1), **changes), password)
    assert "switches.rack7" in str(caught.value)
