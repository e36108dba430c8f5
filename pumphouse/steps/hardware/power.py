"""Power and boot device of a node, through its BMC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pumphouse.errors import StepError
from pumphouse.nodes.api import BootDevice
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import overtaken, require_empty, require_not_deployed, require_same_serial

#: What became of a node whose power-on nobody could write down any more; going on settles it.
CUT_OFF = "a run was cut off that switched it on"


class PowerOff(Step):
    """Switch a node off; Nova is asked again, right before that, whether a server is left on it."""

    kind = "node-off"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Off already; and the machine is the one that was meant."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            power = bmc.power()
        self._may(ctx, step)
        return {"serial": serial} if power == "off" else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, hard: there is nothing on it that could be shut down."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            self._may(ctx, step)
            bmc.set_power("off")
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

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, then wait for Nova to miss it."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            if bmc.power() != "off":
                self._may(ctx, step)
                bmc.set_power("off")
        ctx.source.hosts.wait_service(step.params["host"], "down", timeout_s=ctx.site.action_timeout_s)
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
                require_empty(ctx, step.params["host"])
            return None
        if ctx.journal.step_state(ctx.plan.hash, step.key).ours:
            return {"power": power}
        raise StepError(
            f"Node {step.params['node']} has power, though it was switched off and nobody here switched it on.",
            remedy="find out who uses it; switch it off by its BMC, then run again.",
        )

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it on; a boot device that the BMC forgot since (IPMI 2.0, 28.12: after 60 s) is chosen again."""
        chosen = [device for need in step.needs if (device := _chosen(ctx.plan.step(need)))]
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            for device in chosen:
                if bmc.boot_device() != device:
                    bmc.set_boot_device(device)
            bmc.set_power("on")
        return {"power": "on"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The BMC says that it has power."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            expect(f"node {step.params['node']}", {"power": ("on", bmc.power())})
        return {"power": "on"}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Switch it off again: it runs nothing but the bootstrap image, from memory, and may have told Fuel of it."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            bmc.set_power("off")
            power = bmc.power()
        booted_by_pxe = any(ctx.plan.step(need).kind == "node-pxe" for need in step.needs)
        return {"power": power, **(forget_in_fuel(ctx, step.params["node"]) if booted_by_pxe else {})}


def _chosen(step: PlannedStep) -> BootDevice | None:
    """The boot device that a step chooses."""
    if step.kind == "node-medium":
        medium: BootDevice = step.params["device"]
        return medium
    return "pxe" if step.kind == "node-pxe" else None


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


def boot_by_pxe(ctx: Context, params: dict[str, Any]) -> None:
    """Once more from the network, as a node is that did not come up: off, PXE, on (changes the node)."""
    if params["host"]:
        require_empty(ctx, params["host"])
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        bmc.set_power("off")
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
