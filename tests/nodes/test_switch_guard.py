"""The guard that all drivers share: what moves a port, whatever the switch behind it says and does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumphouse.errors import NodeError, NodeRefused, NodeTimeout, NodeUnreachable
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.spec import Login, SwitchSpec
from pumphouse.nodes.switches.base import SETTLE_S, Conversation, GuardedSwitch


@dataclass
class Scripted(GuardedSwitch):
    """A switch in memory. ``shows`` is what it tells after each move, in turn; it is slow by that many readings."""

    state: PortState
    allowed: tuple[int, ...]
    shows: list[PortState] = field(default_factory=list)
    breaks: str = ""
    calls: list[str] = field(default_factory=list)
    at_s: float = 0.0

    def __post_init__(self) -> None:
        spec = SwitchSpec("rack7", "scripted", self.allowed, login=Login(timeout_s=60))
        super().__init__(spec, sleep=self._sleeps, clock=lambda: self.at_s)

    def _sleeps(self, seconds: float) -> None:
        self.at_s += seconds

    def check_name(self, port: str) -> None:
        if port != "p1":
            raise NodeRefused("no such name")

    @contextmanager
    def converse(self) -> Iterator[Conversation]:
        self.calls.append("login")
        yield self
        self.calls.append("logout")

    def read(self, port: str) -> PortState:
        self.calls.append("read")
        if "move" in self.calls and self.shows:
            self.state = self.shows.pop(0)
        return self.state

    def heard(self, port: str) -> LearnedMacs:
        self.calls.append("hear")
        return LearnedMacs(port)

    def move(self, before: PortState, vlan: int) -> None:
        assert before == self.state
        self.calls.append("move")
        if self.breaks == "move":
            raise NodeUnreachable("cut off")
        if not self.shows:
            self.state = PortState(before.port, vlan)

    def save(self) -> None:
        self.calls.append("save")
        if self.breaks == "save":
            raise NodeRefused("disk full")


VLANS = st.sampled_from([0, 1, 10, 100, 200])
STATES = st.builds(
    PortState, st.just("p1"), VLANS, st.lists(VLANS, max_size=2).map(tuple), st.booleans()
)  # fmt: skip


@given(STATES, st.sets(VLANS.filter(bool), min_size=2).map(tuple), VLANS, st.lists(STATES, max_size=4))
def test_a_port_moves_from_an_allowed_vlan_to_an_allowed_one_or_not_at_all(
    before: PortState, allowed: tuple[int, ...], vlan: int, shows: list[PortState]
) -> None:
    switch = Scripted(before, allowed, list(shows))
    try:
        after = switch.set_vlan("p1", vlan)
    except NodeRefused:
        after = None
        assert "move" not in switch.calls
        assert "save" not in switch.calls
        assert vlan not in allowed or before.vlan not in allowed or before.trunk or before.tagged
    except NodeTimeout:
        after = None
        assert shows
        assert shows[-1] != PortState("p1", vlan)
        assert switch.calls.count("move") == 1
        assert "save" not in switch.calls
    if after is not None:
        assert after == PortState("p1", vlan) == switch.state
        assert {before.vlan, vlan} <= set(allowed)
        assert switch.calls.count("move") == (before.vlan != vlan)
        assert switch.calls[-2:] == ["save", "logout"]


def test_a_slow_switch_is_given_time_and_no_more() -> None:
    old, new = PortState("p1", 100), PortState("p1", 10)
    assert Scripted(old, (10, 100), [old, old, new]).set_vlan("p1", 10) == new
    deaf = Scripted(old, (10, 100), [old])
    with pytest.raises(NodeTimeout, match="still shows VLAN 100"):
        deaf.set_vlan("p1", 10)
    assert SETTLE_S <= deaf.at_s <= SETTLE_S + 1


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (PortState("p1", 10, (20,)), r"VLAN 10 with \[20\] tagged"),
        (PortState("p1", 10, (), trunk=True), "VLAN 10 as a trunk"),
        (PortState("p1", 0), "no VLAN"),
    ],
)
def test_the_right_vlan_in_the_wrong_way_is_not_taken_for_done(shown: PortState, said: str) -> None:
    with pytest.raises(NodeTimeout, match=said):
        Scripted(PortState("p1", 100), (10, 100), [shown]).set_vlan("p1", 10)


@pytest.mark.parametrize("breaks", ["move", "save"])
def test_who_was_cut_off_finishes_by_repeating(breaks: str) -> None:
    switch = Scripted(PortState("p1", 100), (10, 100), breaks=breaks)
    with pytest.raises(NodeError):
        switch.set_vlan("p1", 10)
    switch.breaks = ""
    assert switch.set_vlan("p1", 10) == PortState("p1", 10)
    assert switch.calls[-2:] == ["save", "logout"]


def test_no_name_and_no_ports_need_no_login() -> None:
    switch = Scripted(PortState("p1", 100), (10, 100))
    assert switch.ports([]) == ()
    with pytest.raises(NodeRefused):
        switch.ports(["p1", "p2"])
    with pytest.raises(NodeRefused):
        switch.set_vlan("p2", 10)
    with pytest.raises(NodeRefused):
        switch.macs("p2")
    assert switch.calls == []
    assert switch.macs("p1") == LearnedMacs("p1")
    assert switch.calls == ["login", "hear", "logout"]
