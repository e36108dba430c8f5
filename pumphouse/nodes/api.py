"""What pumphouse asks of a BMC and of a switch, whatever stands behind it.

Drivers are found by entry points: group ``pumphouse.bmc`` for callables ``(BmcSpec, password) -> Bmc``, group
``pumphouse.switch`` for callables ``(SwitchSpec, password) -> Switch``. Every call is bounded by the spec's
``timeout_s`` and raises only :class:`pumphouse.errors.NodeError`'s children: unreachable, credentials refused,
garbled and refused are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Power = Literal["on", "off"]
BootDevice = Literal["disk", "pxe", "cdrom", "default"]


@dataclass(frozen=True)
class BmcIdentity:
    """Who a BMC says its machine is; empty where it does not say. ``guid`` is the system GUID, lower case."""

    serial: str = ""
    product: str = ""
    manufacturer: str = ""
    guid: str = ""


@runtime_checkable
class Bmc(Protocol):
    """A node's baseboard management controller."""

    @property
    def name(self) -> str:
        """For messages: node and address, never a credential."""

    def power(self) -> Power:
        """Whether the chassis has power (read only)."""

    def set_power(self, state: Power) -> None:
        """Switch the power (hard), and wait until the BMC shows it; nothing happens where it is so already.

        :raises NodeTimeout: when the chassis accepts it and stays as it was.
        """

    def boot_device(self) -> BootDevice:
        """Where the next boot comes from (read only)."""

    def set_boot_device(self, device: BootDevice, *, persistent: bool = False) -> None:
        """Choose where the next boot (``persistent``: every one) comes from, and read it back."""

    def identity(self) -> BmcIdentity:
        """Serial number, product and GUID from FRU and system GUID (read only)."""

    def close(self) -> None:
        """Log out; safe to call twice."""


@dataclass(frozen=True)
class PortState:
    """A switch port as the switch tells it: the VLAN of its untagged frames (0: none), and the VLANs it carries tagged.

    ``trunk``: the switch counts it as a trunk, whatever it lists (``all`` is no list).
    """

    port: str
    vlan: int
    tagged: tuple[int, ...] = ()
    trunk: bool = False


@dataclass(frozen=True)
class LearnedMacs:
    """The MAC addresses from which a switch has heard frames at a port, lower case with colons, sorted.

    ``untold``: why it cannot be told; no address then means nothing. Without it, none means that nobody spoke there
    lately (a switch forgets after some minutes, five as shipped, and at once when the link goes down).
    """

    port: str
    macs: tuple[str, ...] = ()
    untold: str = ""


@runtime_checkable
class Switch(Protocol):
    """A switch whose access ports we move between VLANs.

    Logging in, each reading, setting and saving are bounded by ``timeout_s`` each; a driver that asks a person waits.
    """

    @property
    def name(self) -> str:
        """For messages: the switch's name in site.yaml."""

    def port(self, port: str) -> PortState:
        """One port (read only).

        :raises NodeRefused: when the switch has no such port.
        """

    def set_vlan(self, port: str, vlan: int) -> PortState:
        """Put a port's untagged frames into a VLAN, read it back, and return what was read.

        Only VLANs of the switch's ``vlans`` in site.yaml are ever left or entered.

        :raises NodeRefused: when the port is in, or is to go to, a VLAN outside of them, or is a trunk; nothing is
            changed then.
        :raises NodeTimeout: when the switch accepts the change and does not show it.
        """

    def ports(self, ports: Iterable[str]) -> tuple[PortState, ...]:
        """Several ports, in one conversation where the driver can (read only)."""

    def macs(self, port: str) -> LearnedMacs:
        """Who is heard at a port (read only); a switch that cannot tell says so.

        :raises NodeRefused: when the switch has no such port.
        """

    def close(self) -> None:
        """Log out; safe to call twice."""
