"""What must hold before a machine loses power, its network or its disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pumphouse.clouds.hosts_api import COMPUTE
from pumphouse.errors import NodeUnreachable, StepError
from pumphouse.nodes.api import Bmc
from pumphouse.nodes.fuel import Fuel, FuelEnvironment, FuelNode
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context

#: Seconds between two looks at what Nova takes for up: it takes a minute as shipped.
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
#: Statuses of servers between two hosts (a resize counts: it moves like a cold migration).
_MOVING = ("MIGRATING", "RESIZE")
#: Two hosts that fell silent in one moment are missed within one report's interval of each other; Nova's has 10 s.
REPORT_S = 15.0
#: Nova takes a host for down that has not reported for ``service_down_time``: 60 s as shipped.
MISSED_S = 60.0


def require_same_serial(params: Mapping[str, Any], bmc: Bmc) -> str:
    """The BMC is that of the machine that site.yaml means; returns its serial (read only).

    :raises StepError: when it tells another serial, or none where site.yaml has one.
    """
    said = bmc.identity().serial.strip()
    wanted = str(params["serial"]).strip()
    if wanted and said.casefold() != wanted.casefold():
        raise StepError(
            f"{bmc.name}: its serial is {said or 'not told'}, but site.yaml says {wanted} for node {params['node']}: "
            "this is not the machine that was meant, and nothing was done to it.",
            remedy="compare the BMC's address and the serial in site.yaml with the machine.",
        )
    return said


def require_not_anothers(ctx: Context, params: Mapping[str, Any], said: str) -> None:
    """A BMC of a node without a serial in site.yaml does not tell that of another node (read only).

    :raises StepError: when it does.
    """
    if params["serial"] or not said:
        return
    others = [one for one in ctx.site.hardware.nodes.values() if one.name != params["node"]]
    other = next((one for one in others if one.serial.strip().casefold() == said.casefold()), None)
    if other is not None:
        raise StepError(
            f"The BMC that site.yaml gives to node {params['node']} tells serial {said}, which is node {other.name}'s: "
            "nothing was done to it.",
            remedy="correct the BMC's address in site.yaml, and add the serial of each node.",
        )


def require_empty(ctx: Context, host: str) -> None:
    """Nova is asked again: the host takes no new servers and holds none, not even a stopped one (read only).

    :raises StepError: naming what is left.
    """
    service = ctx.source.hosts.find_service(host)
    if service is not None and service.status != "disabled":
        raise StepError(
            f"Host {host} of {ctx.source.name} is enabled: the scheduler may give it a server at any moment.",
            remedy="run the step that disables it again, and find out who enabled it.",
        )
    left = [*ctx.source.hosts.list_servers(host), *ctx.source.hosts.list_unconfirmed(host)]
    if left:
        named = ", ".join(f"{server.name} ({server.id}, {server.status})" for server in left)
        raise StepError(
            f"Host {host} of {ctx.source.name} still holds {len(left)} server(s): {named}. Nothing was done to it.",
            remedy="move them, or finalise the moves of those that are stopped there, then run again.",
        )


def require_dark(ctx: Context, host: str) -> None:
    """Nothing is left on a host, and Nova misses it: the machine that runs no source any more is the one that ran it.

    Which machine a host of Nova's runs on is site.yaml's word alone, until one of them loses power (read only).

    :raises StepError: naming what is left, or that the host goes on.
    """
    require_empty(ctx, host)
    service = ctx.source.hosts.find_service(host)
    if service is not None and service.state == "up":
        raise StepError(
            f"nova-compute of {host} at {ctx.source.name} is up, though its node does not run it: {host} runs on "
            "another machine, and this node may have servers of its true host on its disk. Nothing was overwritten.",
            remedy=f"find out which machine is {host}, and correct nodes.NAME.host in site.yaml.",
        )


def wait_settled(ctx: Context, host: str) -> None:
    """No server is on its way between two other hosts of the source: it may be coming here, which no API of that time
    tells of a live migration before it is over (read only).

    :raises StepError: when one is still, after the site's action timeout.
    """
    end, pause_s, told = time.monotonic() + ctx.site.action_timeout_s, FIRST_PAUSE_S, False
    while True:
        servers = ctx.source.compute.list_servers()
        moving = [
            f"{one.name} ({one.id}, {one.status})" for one in servers if one.status in _MOVING and one.host != host
        ]
        if not moving:
            return
        if time.monotonic() >= end:
            raise StepError(
                f"{ctx.source.name} is moving {len(moving)} server(s), and {host} may be where they go: "
                f"{', '.join(moving)}. Its node keeps its power.",
                remedy="wait until Nova has moved them, or see why it does not; then run again.",
            )
        if not told:
            ctx.report(f"Waiting until {', '.join(moving)} arrived, maybe on {host}.")
            told = True
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_PAUSE_S)


def serving_hosts(ctx: Context) -> frozenset[str]:
    """Compute hosts of the source that are up and take servers (read only)."""
    services = ctx.source.compute.list_services()
    return frozenset(s.host for s in services if s.binary == COMPUTE and s.state == "up" and s.status == "enabled")


def is_missed(ctx: Context, host: str, before: frozenset[str] = frozenset()) -> bool:
    """Wait until Nova takes a host for down whose node has lost power (read only); False: it goes on, elsewhere.

    :param before: hosts that served until then; that one of them falls silent instead shortens the wait, though not
        to less than Nova takes: that one may have died before.
    """
    begun, pause_s = time.monotonic(), FIRST_PAUSE_S
    end, instead = begun + ctx.site.action_timeout_s, False
    while True:
        services = [one for one in ctx.source.compute.list_services() if one.binary == COMPUTE]
        if all(one.state != "up" for one in services if one.host == host):
            return True
        if not instead and any(one.state == "down" and one.host in before for one in services):
            end, instead = min(end, max(time.monotonic(), begun + MISSED_S) + REPORT_S), True
        if time.monotonic() >= end:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LAST_PAUSE_S)


def require_not_deployed(ctx: Context, node: str) -> None:
    """Fuel is asked as well: the machine is none that it deployed, and which serves the destination now (read only).

    A Fuel master that does not answer may not exist yet; one that was given this node does, and so does one to which a
    plan hands its nodes.

    :raises StepError: when it is, or NodeError: when Fuel cannot be asked and must be.
    """
    spec = ctx.nodes.node(node)
    if ctx.site.hardware.fuel is None:
        return
    exists = ctx.plan.kind in ("transfer", "decommission") or ctx.journal.made_by_us(f"node-assign:{spec.name}")
    try:
        with ctx.nodes.fuel(patient=exists) as fuel:
            known = [one for one in fuel.list_nodes() if set(spec.macs) & set(one.macs)]
    except NodeUnreachable:
        if exists:
            raise
        return
    for one in known:
        if one.environment_id is not None and one.status != "discover":
            raise StepError(
                f"Node {spec.name} is node {one.id} ({one.name}) of environment {one.environment_id} in Fuel, and "
                f"{one.status}: it belongs to the destination, and may hold its servers. Nothing was done to it.",
                remedy="if it is to be installed anew, empty it there and take it out of its environment in Fuel.",
            )


def require_off(ctx: Context, params: Mapping[str, Any]) -> None:
    """The node's own BMC says that it has no power (read only).

    :raises StepError: when it has, or the BMC is another machine's.
    """
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        if bmc.power() != "off":
            raise StepError(
                f"Node {params['node']} has power, and must not have any now.",
                remedy="find out who switched it on; switch it off, then run again.",
            )


def overtaken(ctx: Context, step: PlannedStep, later_key: str, *, begun: bool = False) -> bool:
    """Whether another step changed since what this one made so (read only): then only the journal can tell of it.

    :param begun: one that was cut off, so that nobody knows whether it took effect, counts as well.
    """
    mine = [e.id for e in ctx.journal.events(plan_hash=ctx.plan.hash, step_key=step.key) if e.event == "done"]
    events = ("intent", "done") if begun else ("done",)
    return any(e.event in events and e.id > max(mine, default=0) for e in ctx.journal.events(step_key=later_key))


def same_machine(fuel: Fuel, params: Mapping[str, Any]) -> FuelNode:
    """The wrong-host guard: the node of Fuel's that has all MACs and the serial of site.yaml (read only).

    :raises NodeRefused: when Fuel's node differs in any of them.
    :raises StepError: when Fuel knows no such node.
    """
    found = fuel.find_node(params["macs"], params["serial"])
    if found is None:
        raise StepError(
            f"{fuel.name} knows no machine with MACs {', '.join(params['macs'])} ({params['node']}).",
            remedy="run the discovery again.",
        )
    return found


def environment_of(fuel: Fuel, name: str) -> FuelEnvironment:
    """An environment by name (read only).

    :raises StepError: when Fuel has none of that name.
    """
    found = fuel.find_environment(name)
    if found is None:
        known = ", ".join(one.name for one in fuel.list_environments()) or "none"
        raise StepError(f"{fuel.name} has no environment {name}.", remedy=f"use one of: {known}.")
    return found
