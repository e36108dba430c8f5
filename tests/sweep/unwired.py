"""Faults of what a node's steps ask besides the clouds: Fuel, over HTTP as well, and BMCs and switches, which are not.

Fuel's requests meet the kinds of :mod:`tests.sweep.faults`. A BMC or a switch is disturbed where its driver answers:
every call ends once with each of the errors that a driver may raise (:mod:`pumphouse.nodes.api`), before anything was
done and, where it changes something, after it was done. A driver reads back what it changed, so that a change which is
silently not done is one of these errors already.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from pumphouse.errors import NodeAuthError, NodeError, NodeGarbled, NodeRefused, NodeTimeout, NodeUnreachable
from pumphouse.nodes.fuel.wire import Wire as FuelWire
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.nodes.switches.base import GuardedSwitch

_REMEDY = "look at the device, and at the way to it; then run again."
#: What can happen to a call of a device: the error that ends it, whether the call was carried out, whether it stays so.
KINDS: dict[str, tuple[type[NodeError], bool, bool]] = {
    "device silent": (NodeUnreachable, False, False),
    "device silent, done": (NodeUnreachable, True, False),
    "device garbled": (NodeGarbled, False, False),
    "device garbled, done": (NodeGarbled, True, False),
    "device timeout": (NodeTimeout, False, False),
    "device timeout, done": (NodeTimeout, True, False),
    "device refuses": (NodeRefused, False, False),
    "device refuses us": (NodeAuthError, False, False),
    "device silent for good": (NodeUnreachable, False, True),
    "device refuses us for good": (NodeAuthError, False, True),
}


class Walk(Protocol):
    """As much of the walking process as stands between the run and its devices."""

    @property
    def idle(self) -> bool:
        """Whether this is the walking process, between two calls."""

    def call(self, wire: Any, act: Callable[[], Any], doing: str, *, reads: bool) -> Any:
        """One call over HTTP, after it met every fault."""

    def device(self, name: str, act: Callable[[], Any], doing: str, *, reads: bool) -> Any:
        """One call of a device, after it met every fault."""


def stand_between(walk: Walk) -> weakref.WeakSet[IpmiBmc]:
    """Pass every call of this process to Fuel, a BMC or a switch through the walk's hands.

    :returns: the BMCs that are asked; each has a process of its own that no two of ours may share.
    """
    _fuel(walk)
    return _devices(walk)


def _fuel(walk: Walk) -> None:
    read, change, log_in = FuelWire.read, FuelWire.change, FuelWire.log_in

    def let_in(wire: FuelWire) -> None:
        # a login is a call of its own
        if walk.idle and wire._auth_required is None:
            wire.version()
        if walk.idle and wire._auth_required and not wire._token:
            wire.log_in()

    def reading(wire: FuelWire, path: str, doing: str, **query: Any) -> Any:
        if path != "/version/":
            let_in(wire)
        return walk.call(wire, lambda: read(wire, path, doing, **query), f"Fuel: {doing}", reads=True)

    def changing(wire: FuelWire, method: str, path: str, doing: str, *rest: Any, **query: Any) -> Any:
        let_in(wire)
        act = lambda: change(wire, method, path, doing, *rest, **query)  # noqa: E731
        return walk.call(wire, act, f"Fuel: {doing}", reads=False)

    def logging_in(wire: FuelWire) -> None:
        walk.call(wire, lambda: log_in(wire), "Fuel: log in", reads=True)

    FuelWire.read, FuelWire.change, FuelWire.log_in = reading, changing, logging_in  # type: ignore[method-assign,assignment]


def _devices(walk: Walk) -> weakref.WeakSet[IpmiBmc]:
    ask, ports, set_vlan = IpmiBmc._ask, GuardedSwitch.ports, GuardedSwitch.set_vlan
    macs = GuardedSwitch.macs
    asked: weakref.WeakSet[IpmiBmc] = weakref.WeakSet()

    def asking(bmc: IpmiBmc, do: str, **what: Any) -> Any:
        asked.add(bmc)
        doing = " ".join([do, *(str(value) for value in what.values())])
        name = f"BMC of {bmc._spec.node}"  # its address is another in each worker's lab
        return walk.device(name, lambda: ask(bmc, do, **what), doing, reads=not do.startswith("set_"))

    def looking(switch: GuardedSwitch, names: Any) -> Any:
        wanted = list(names)
        return walk.device(switch.name, lambda: ports(switch, wanted), f"look at {', '.join(wanted)}", reads=True)

    def hearing(switch: GuardedSwitch, port: str) -> Any:
        return walk.device(switch.name, lambda: macs(switch, port), f"hear {port}", reads=True)

    def moving(switch: GuardedSwitch, port: str, vlan: int) -> Any:
        return walk.device(switch.name, lambda: set_vlan(switch, port, vlan), f"{port} to VLAN {vlan}", reads=False)

    IpmiBmc._ask = asking  # type: ignore[method-assign,assignment]
    GuardedSwitch.ports, GuardedSwitch.set_vlan = looking, moving  # type: ignore[method-assign,assignment]
    GuardedSwitch.macs = hearing  # type: ignore[method-assign,assignment]
    return asked


def disturbed(name: str, act: Callable[[], Any], kind: str) -> Callable[[], Any]:
    """The call as it goes under that fault."""
    error, done, _ = KINDS[kind]

    def go_on() -> Any:
        if done:
            act()
        raise error(f"{name}: the sweep lets this call end so ({kind}).", remedy=_REMEDY)

    return go_on


def impatient(wire: FuelWire, patience_s: float) -> float:
    """Let requests of that wire take so many seconds; returns what they could take before."""
    before_s = wire.spec.login.timeout_s
    wire.spec = dataclasses.replace(wire.spec, login=dataclasses.replace(wire.spec.login, timeout_s=patience_s))
    return before_s


def forget_login(wire: FuelWire) -> None:
    """The next request logs in anew."""
    wire._token = ""


__all__ = ["KINDS", "Walk", "disturbed", "forget_login", "impatient", "stand_between"]
