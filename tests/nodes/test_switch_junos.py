"""A platform with candidate and commit, typed to by netmiko: Junos, as far as one port goes (Juniper's wordings)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pumphouse.errors import NodeRefused
from pumphouse.lab.hardware.switch_ssh import serve
from pumphouse.nodes.api import PortState
from pumphouse.nodes.spec import Login, SwitchSpec
from pumphouse.nodes.switches import netmiko
from tests.nodes.switchlab import event_loop

PASSWORD = "junos-pw-58213"
PORT = "ge-0/0/7"
UNIT = f"interfaces {PORT} unit 0 family ethernet-switching vlan members"


@dataclass
class Junos:
    """One switch with one port. ``refuses`` is what its commit answers instead of committing."""

    vlan: int = 100
    candidate: int | None = None
    configuring: bool = False
    refuses: str = ""
    locked: str = ""
    typed: list[str] = field(default_factory=list)
    over: bool = False
    status: int = 0
    echo: bool = True

    @property
    def prompt(self) -> str:
        return "\n[edit]\noperator@rack9# " if self.configuring else "\noperator@rack9> "

    def answer(self, line: str) -> str:
        self.typed.append(line)
        self.over = line == "exit"
        return self._said(line) + "\n" if line else ""

    def _said(self, line: str) -> str:
        if line.startswith("set cli "):
            said = {"width": "Screen width set to 511", "length": "Screen length set to 0", "space": ""}
            return next((text for word, text in said.items() if word in line), "") or "Disabling complete-on-space"
        if line == f"show ethernet-switching interface {PORT}.0":
            return (
                "Routing Instance Name : default-switch\n"
                f"{PORT}.0                                   65536  0                                   untagged\n"
                f"                v{self.vlan}               {self.vlan}   65536  0      Forwarding         untagged"
            )
        if line.startswith("show ethernet-switching interface"):
            return "error: interface not found: ge-0/0/99.0"
        if line == "configure private":
            self.configuring = not self.locked
            return self.locked or "warning: uncommitted changes will be discarded on exit\nEntering configuration mode"
        if not self.configuring:
            return "" if not line else "                ^\nunknown command."
        return self._configure(line)

    def _configure(self, line: str) -> str:
        if line == f"delete {UNIT}":
            self.candidate = 0
        elif line.startswith(f"set {UNIT} "):
            self.candidate = int(line.split()[-1])
        elif line == "rollback 0":
            self.candidate = None
            return "load complete"
        elif line == "commit":
            if self.refuses:
                return self.refuses
            self.vlan, self.candidate = self.candidate or self.vlan, None
            return "commit complete"
        elif line == "exit configuration-mode":
            self.configuring = False
            return "Exiting configuration mode"
        elif line:
            return "                ^\nsyntax error."
        return ""


@pytest.fixture
def junos() -> Iterator[tuple[Junos, SwitchSpec]]:
    """A switch that listens, and site.yaml's word on it."""
    switch = Junos()
    with event_loop() as wait:
        listening = wait(serve(lambda: switch, "operator", PASSWORD))
        yield (
            switch,
            SwitchSpec(
                name="rack9",
                driver="netmiko",
                vlans=(80, 100),
                address="127.0.0.1",
                port=listening.port,
                platform="juniper_junos",
                login=Login("operator", timeout_s=10.0),
                options={"host_key": listening.host_key},
            ),
        )
        wait(listening.stop())


def test_a_port_is_moved_by_a_commit_of_our_own_candidate(junos: tuple[Junos, SwitchSpec]) -> None:
    switch, spec = junos
    assert netmiko.open_switch(spec, PASSWORD).set_vlan(PORT, 80) == PortState(PORT, 80)
    assert (switch.vlan, switch.configuring) == (80, False)
    assert [line for line in switch.typed if line not in {"", "exit"} and not line.startswith("set cli")] == [
        f"show ethernet-switching interface {PORT}.0",
        "configure private",
        f"delete {UNIT}",
        f"set {UNIT} 80",
        "commit",
        "exit configuration-mode",
        f"show ethernet-switching interface {PORT}.0",
    ]


@pytest.mark.parametrize(
    ("part", "text", "said"),
    [
        ("refuses", "error: configuration check-out failed", "refuses to commit: .*check-out failed"),
        ("locked", "error: configuration database modified", "database modified"),
    ],
)
def test_what_cannot_be_committed_is_rolled_back(
    junos: tuple[Junos, SwitchSpec], part: str, text: str, said: str
) -> None:
    switch, spec = junos
    setattr(switch, part, text)
    with pytest.raises(NodeRefused, match=said):
        netmiko.open_switch(spec, PASSWORD).set_vlan(PORT, 80)
    assert (switch.vlan, switch.candidate, switch.configuring) == (100, None, False)


def test_an_interface_that_is_none_is_refused(junos: tuple[Junos, SwitchSpec]) -> None:
    _, spec = junos
    with pytest.raises(NodeRefused, match="interface not found"):
        netmiko.open_switch(spec, PASSWORD).port("ge-0/0/99")
