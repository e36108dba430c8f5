"""What all switch drivers share: the guard around a change, reading back, and one conversation at a time."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from pumphouse.errors import NodeRefused, NodeTimeout
from pumphouse.nodes.api import LearnedMacs, PortState
from pumphouse.nodes.spec import SwitchSpec
from pumphouse.trace import changing

#: How long a switch may take to show a change that it accepted, and how often it is asked meanwhile.
SETTLE_S = 5.0
POLL_S = 0.5


class Conversation(Protocol):
    """A switch while we are logged in. Each call is bounded by the spec's ``timeout_s``."""

    def read(self, port: str) -> PortState:
        """One port (read only).

        :raises NodeRefused: when the switch has no such port.
        """

    def move(self, before: PortState, vlan: int) -> None:
        """Put the untagged frames of the port that was read as ``before`` into a VLAN.

        :raises NodeRefused: when the switch says no; the port is as it was then.
        """

    def save(self) -> None:
        """Make what the port is now outlive a restart of the switch."""

    def heard(self, port: str) -> LearnedMacs:
        """Who is heard at a port (read only).

        :raises NodeRefused: when the switch has no such port: of one that it lacks, nobody is heard either.
        """


class GuardedSwitch(ABC):
    """A :class:`pumphouse.nodes.api.Switch` whose driver only has to read, move and save."""

    def __init__(
        self,
        spec: SwitchSpec,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._sleep = sleep
        self._clock = clock
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The switch's name in site.yaml."""
        return self.spec.name

    @abstractmethod
    def check_name(self, port: str) -> None:
        """Refuse what cannot be the name of a port, before anything is sent.

        :raises NodeRefused: when it cannot.
        """

    @abstractmethod
    def converse(self) -> AbstractContextManager[Conversation]:
        """Log in, and out again at the end."""

    def port(self, port: str) -> PortState:
        """One port (read only)."""
        return self.ports([port])[0]

    def ports(self, ports: Iterable[str]) -> tuple[PortState, ...]:
        """Several ports, in one conversation (read only)."""
        names = list(ports)
        for name in names:
            self.check_name(name)
        if not names:
            return ()
        with self._lock, self.converse() as talk:
            return self._read_all(talk, names)

    def macs(self, port: str) -> LearnedMacs:
        """Who is heard at a port (read only); a switch that cannot tell says so."""
        self.check_name(port)
        with self._lock, self.converse() as talk:
            return talk.heard(port)

    def set_vlan(self, port: str, vlan: int) -> PortState:
        """Put a port's untagged frames into a VLAN, read it back, save it, and return what was read.

        A port that is there already is only saved: whoever moved it may have been cut off before saving.

        :raises NodeRefused: when the port is a trunk, or is in, or is to go to, a VLAN that site.yaml does not allow;
            nothing is changed then. Also when the switch refuses the change.
        :raises NodeTimeout: when the switch accepts the change and does not show it.
        """
        self.check_name(port)
        where = f"switch {self.name}: port {port}"
        allowed = sorted(self.spec.vlans)
        if vlan not in allowed:
            raise NodeRefused(
                f"{where} is not put into VLAN {vlan}: switches.{self.name}.vlans allows {allowed} only.",
                remedy="add the VLAN there if ports may be moved into it.",
            )
        with self._lock, self.converse() as talk:
            before = talk.read(port)
            if before.trunk or before.tagged:
                carries = f" and carries VLANs {sorted(before.tagged)} tagged" if before.tagged else ""
                raise NodeRefused(
                    f"{where} is a trunk{carries}; only access ports are moved.",
                    remedy="correct the port in site.yaml, or make it an access port if no machine needs its tags.",
                )
            if before.vlan not in allowed:
                shown = f"in VLAN {before.vlan}" if before.vlan else "in no VLAN"
                raise NodeRefused(
                    f"{where} is {shown}, which switches.{self.name}.vlans does not allow to be left ({allowed}).",
                    remedy="check that the port is the node's; add its VLAN there if ports may be moved out of it.",
                )
            if before.vlan == vlan:
                talk.save()
                return before
            with changing(f"switch {self.name}", f"{port} to VLAN {vlan}"):
                talk.move(before, vlan)
            after = self._read_back(talk, PortState(port, vlan), where)
            talk.save()
            return after

    def close(self) -> None:  # noqa: B027 - a driver may, but need not, have something to close
        """Nothing to do: no login outlives its call."""

    def _read_all(self, talk: Conversation, names: list[str]) -> tuple[PortState, ...]:
        return tuple(talk.read(name) for name in names)

    def _read_back(self, talk: Conversation, wanted: PortState, where: str) -> PortState:
        end = self._clock() + min(SETTLE_S, self.spec.login.timeout_s)
        while True:
            shown = talk.read(wanted.port)
            if shown == wanted:
                return shown
            if self._clock() >= end:
                how = f"VLAN {shown.vlan}" if shown.vlan else "no VLAN"
                how += f" with {sorted(shown.tagged)} tagged" if shown.tagged else ""
                how += " as a trunk" if shown.trunk else ""
                raise NodeTimeout(
                    f"{where} was to go to VLAN {wanted.vlan}; the switch accepted that and still shows {how}.",
                    remedy="look at the port on the switch (port security, 802.1X, a profile that overrides it).",
                )
            self._sleep(POLL_S)
