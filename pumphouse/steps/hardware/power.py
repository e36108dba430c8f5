"""Power and boot device of a node, through its BMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pumphouse.errors import StepError
from pumphouse.nodes.api import BootDevice
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import (
    is_missed,
    overtaken,
    require_dark,
    require_empty,
    require_not_anothers,
    require_not_deployed,
    require_same_serial,
    serving_hosts,
    wait_settled,
)

#: How long Fuel may take to miss a node without power: three minutes as shipped, and some for a busy master.
MISSED_WITHIN_S = 600.0
#: What is said of a node that is not switched off, since the source has it again.
SERVES_AGAIN = "somebody brought it back to the source by hand"
#: What became of a node whose power-on nobody could write down any more; going on settles it.
CUT_OFF = "a run was cut off that switched it on"


class PowerOff(Step):
    """Switch a node off; Nova is asked again, right before that, whether a server is left on it."""

    kind = "node-off"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Off already; and the machine is the one that was meant."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            require_not_anothers(ctx, step.params, serial)
            power = bmc.power()
        self._may(ctx, step)
        if power != "off":
            return None
        require_missed(ctx, step, frozenset(), ours=ctx.journal.step_state(ctx.plan.hash, step.key).ours)
        return {"serial": serial}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, hard: there is nothing on it that could be shut down. Nova must miss its host then."""
        before = frozenset[str]()
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            if step.params["host"]:
                wait_settled(ctx, step.params["host"])
                before = serving_hosts(ctx)
            self._may(ctx, step)
            bmc.set_power("off")
        require_missed(ctx, step, before, ours=True)
        return {"serial": serial}

    def _may(self, ctx: Context, step: PlannedStep) -> None:
        require_not_deployed(ctx, step.params["node"])
        if step.params["host"]:
            require_empty(ctx, step.params["host"])

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, the BMC says that it has no power; unless we have switched it on since."""
        return verified_off(ctx, step, outcome)

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Boot it from its disk, and wait until the source sees its nova-compute again."""
        if not ours:
            return {"kept": True}
        return _back_on(ctx, step)


class FenceNode(Step):
    """Make sure that a host is dead before its servers are built anew elsewhere: its node loses power.

    A host that Nova calls down may still run its guests; each address would then have two of them.
    """

    kind = "node-fence"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Off, and Nova knows; a node with power keeps it while a server is on it that is not to be built anew."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            power = bmc.power()
        if power != "off":
            self._may(ctx, step)
        service = ctx.source.hosts.find_service(step.params["host"])
        return {"power": power} if power == "off" and service is not None and service.state == "down" else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Whether it had power before any run of ours: one that was the wrong machine gets it back."""
        said = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("had_power", False)
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            return {"had_power": said or bmc.power() != "off"}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, then wait for Nova to miss it."""
        before = serving_hosts(ctx)
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            has_power = bmc.power() != "off"
            if has_power:
                self._may(ctx, step)
                bmc.set_power("off")
        had_power = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("had_power", has_power)
        require_missed(ctx, step, before, ours=has_power or had_power)
        return {"power": "off"}

    def _may(self, ctx: Context, step: PlannedStep) -> None:
        require_not_deployed(ctx, step.params["node"])
        host = step.params["host"]
        planned = {one.params["server_id"] for one in ctx.plan.steps if step.key in one.needs and one.server_id}
        left = [server for server in ctx.source.hosts.list_servers(host) if server.id not in planned]
        if left:
            named = ", ".join(f"{server.name} ({server.id}, {server.status})" for server in left)
            raise StepError(
                f"Host {host} of {ctx.source.name} has servers that this plan does not build anew elsewhere: {named}. "
                "They would lose power with it; nothing was done to it.",
                remedy="plan again with the host as it is now; what cannot move is for its owner to bring to rest.",
            )

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """No power, and nova-compute down."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            power = bmc.power()
        service = ctx.source.hosts.find_service(step.params["host"])
        found: dict[str, tuple[Any, Any]] = {
            "power": ("off", power),
            "nova-compute": ("down", service.state if service is not None else "gone"),
        }
        expect(f"node {step.params['node']}", found)
        return {"power": power, "nova-compute": "down"}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Boot it from its disk; its nova-compute removes what was built anew elsewhere."""
        return _back_on(ctx, step) if ours else {"kept": True}


class PxeNext(Step):
    """The next boot comes from the network."""

    kind = "node-pxe"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Chosen already."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            return {"device": "pxe"} if bmc.boot_device() == "pxe" else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Choose it for one boot: what Fuel installs must come up from the disk."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            bmc.set_boot_device("pxe")
        return {"device": "pxe"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again; the boot that it was chosen for uses it up."""
        if overtaken(ctx, step, f"node-on:{step.params['node']}"):
            return {"boot device": "pxe, used since"}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            device = bmc.boot_device()
        if device != "pxe" and overtaken(ctx, step, f"node-on:{step.params['node']}", begun=True):
            return {"boot device": f"was pxe; {CUT_OFF}"}
        expect(f"node {step.params['node']}", {"boot device": ("pxe", device)})
        return {"boot device": device}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Forget the choice."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            bmc.set_boot_device("default")
            return {"boot device": bmc.boot_device()}


class PowerOn(Step):
    """Switch a node on; it boots what was chosen."""

    kind = "node-on"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """On already, by us; a node that somebody else switched on has booted nobody knows what."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            power = bmc.power()
        if power == "off":
            if step.params.get("host"):
                require_dark(ctx, step.params["host"])
            return None
        if ctx.journal.step_state(ctx.plan.hash, step.key).ours:
            return {"power": power}
        raise StepError(
            f"Node {step.params['node']} has power, though it was switched off and nobody here switched it on.",
            remedy="find out who uses it; switch it off by its BMC, then run again.",
        )

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it on, once Fuel misses what is to be discovered; a boot device that the BMC forgot since (IPMI 2.0,
        28.12: after 60 s) is chosen again.
        """
        chosen = [device for need in step.needs if (device := _chosen(ctx.plan.step(need)))]
        if _boots_by_pxe(ctx, step):
            wait_missed(ctx, step.params["node"])
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            for device in chosen:
                if bmc.boot_device() != device:
                    bmc.set_boot_device(device)
            bmc.set_power("on")
        return {"power": "on"}

    def stands(self, ctx: Context, step: PlannedStep) -> bool:
        """A node that booted by PXE and was switched off since boots once more, unless an environment has it by now:
        its deployment sees to that then.
        """
        if not _boots_by_pxe(ctx, step) or _is_assigned(ctx, step):
            return True
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            return bmc.power() == "on"

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The BMC says that it has power; or that it lost it after its node was assigned, which deploying mends."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            power = bmc.power()
        if power == "off" and _boots_by_pxe(ctx, step) and _is_assigned(ctx, step):
            return {"power": "was on; off since the node was assigned in Fuel"}
        expect(f"node {step.params['node']}", {"power": ("on", power)})
        return {"power": power}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Switch it off again, if it runs but the bootstrap image, from memory; it may have told Fuel of it."""
        if not ours:
            return {"kept": True}
        if serves_again(ctx, step.params["node"]):
            return {"kept": SERVES_AGAIN}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            bmc.set_power("off")
            power = bmc.power()
        return {"power": power, **(forget_in_fuel(ctx, step.params["node"]) if _boots_by_pxe(ctx, step) else {})}


def _is_assigned(ctx: Context, step: PlannedStep) -> bool:
    return overtaken(ctx, step, f"node-assign:{step.params['node']}", begun=True)


def _boots_by_pxe(ctx: Context, step: PlannedStep) -> bool:
    return any(ctx.plan.step(need).kind == "node-pxe" for need in step.needs)


def _chosen(step: PlannedStep) -> BootDevice | None:
    """The boot device that a step chooses."""
    if step.kind == "node-medium":
        medium: BootDevice = step.params["device"]
        return medium
    return "pxe" if step.kind == "node-pxe" else None


def serves_again(ctx: Context, node: str) -> bool:
    """Whether somebody brought a node back to the source by hand: its port is back, or Nova sees its host (read only).

    :raises StepError: when it belongs to the destination by now, or its host holds servers.
    """
    require_not_deployed(ctx, node)
    moved = next((one for one in ctx.plan.steps if one.key == f"node-vlan:{node}"), None)
    if moved is not None and moved.params["home"] != moved.params["vlan"]:
        with ctx.nodes.switch(moved.params["switch"]) as switch:
            if switch.port(moved.params["port"]).vlan == moved.params["home"]:
                return True
    host = next((one.host for one in ctx.plan.steps if one.node == node and one.host), None)
    if host is None:
        return False
    service = ctx.source.hosts.find_service(host)
    if service is not None and service.state == "up":
        return True
    left = ctx.source.hosts.list_servers(host)
    if left:
        raise StepError(
            f"Host {host} of {ctx.source.name} is down and holds {len(left)} server(s) again, first {left[0].name} "
            f"({left[0].id}): what its node {node} runs is for a person to see. It keeps its power.",
            remedy="look at its console; switch it off by its BMC if it runs nothing of the source's, then run again.",
        )
    return False


def forget_in_fuel(ctx: Context, node: str) -> Outcome:
    """Have Fuel forget a node without power that belongs to no environment, lest its record be taken for the machine
    later (changes destination).

    While the node has power, its bootstrap image tells Fuel of it again.
    """
    spec = ctx.nodes.node(node)
    with ctx.nodes.fuel() as fuel:
        known = fuel.find_node(spec.macs, spec.serial)
        if known is None:
            return {"gone": True}
        fuel.delete_node(known.id, timeout_s=ctx.site.action_timeout_s)
    return {"deleted": known.id}


def wait_missed(ctx: Context, node: str) -> None:
    """Wait until Fuel takes a node without power for offline, or does not know it: whatever it says of it later, it
    heard after the power came back (read only).
    """
    spec = ctx.nodes.node(node)
    with ctx.nodes.fuel() as fuel:
        fuel.wait_missed(spec.macs, spec.serial, timeout_s=MISSED_WITHIN_S, report=ctx.report)


def boot_by_pxe(ctx: Context, params: dict[str, Any]) -> None:
    """Once more from the network, as a node is that did not come up: off, missed, PXE, on (changes the node)."""
    if params["host"]:
        require_dark(ctx, params["host"])
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        bmc.set_power("off")
    wait_missed(ctx, params["node"])
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        bmc.set_boot_device("pxe")
        bmc.set_power("on")


def verified_off(ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
    """The node's BMC says that it has no power, unless we have switched it on since (read only)."""
    if overtaken(ctx, step, f"node-on:{step.params['node']}"):
        return {"power": "was off; on again since, by pumphouse", "serial": outcome.get("serial") or None}
    with ctx.nodes.bmc(step.params["node"]) as bmc:
        power = bmc.power()
    if power == "on" and overtaken(ctx, step, f"node-on:{step.params['node']}", begun=True):
        return {"power": f"was off; {CUT_OFF}", "serial": outcome.get("serial") or None}
    expect(f"node {step.params['node']}", {"power": ("off", power)})
    return {"power": "off", "serial": outcome.get("serial") or None}


def require_missed(ctx: Context, step: PlannedStep, before: frozenset[str], *, ours: bool) -> None:
    """Nova misses the host of a node without power (read only, unless it does not).

    :param before: hosts that served until then.
    :param ours: we switched it off, and switch it on again where that was the wrong machine.
    :raises StepError: when the host goes on, so that it runs elsewhere.
    """
    node, host = step.params["node"], step.params["host"]
    if not host or is_missed(ctx, host, before):
        return
    if ours:
        switched_back_on(ctx, step.params)
    raise StepError(
        f"Node {node} was without power, and nova-compute of {host} at {ctx.source.name} went on: {host} runs on "
        f"another machine, and {node} may be that of another host, with its servers."
        + (" It was switched on again; nothing else was done to it." if ours else ""),
        remedy=f"find out which machine is {host}; see whether servers of the host that {node} truly is have to be "
        "started. Give the node back (10-give-back-node.ipynb), then correct nodes.NAME.host in site.yaml.",
    )


def switched_back_on(ctx: Context, params: Mapping[str, Any]) -> Outcome:
    """Boot a node from its disk, if it has no power (changes the node)."""
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        if bmc.power() == "off":
            bmc.set_boot_device("disk")
            bmc.set_power("on")
        power = bmc.power()
    expect(f"node {params['node']}", {"power": ("on", power)})
    return {"power": power}


def _back_on(ctx: Context, step: PlannedStep) -> Outcome:
    on = switched_back_on(ctx, step.params)
    if not step.params["host"]:
        return on
    service = ctx.source.hosts.wait_service(step.params["host"], "up", timeout_s=ctx.site.action_timeout_s)
    return {**on, "nova-compute": service.state}
