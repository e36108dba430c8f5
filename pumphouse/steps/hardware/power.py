"""Power and boot device of a node, through its BMC."""

from __future__ import annotations

from typing import Any

from pumphouse.errors import StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import overtaken, require_empty, require_same_serial


class PowerOff(Step):
    """Switch a node off; Nova is asked again, right before that, whether a server is left on it."""

    kind = "node-off"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Off already; and the machine is the one that was meant."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            if bmc.power() == "off":
                return {"serial": serial}
        self._may(ctx, step)
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, hard: there is nothing on it that could be shut down."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            serial = require_same_serial(step.params, bmc)
            self._may(ctx, step)
            bmc.set_power("off")
        return {"serial": serial}

    def _may(self, ctx: Context, step: PlannedStep) -> None:
        if step.params["host"]:
            require_empty(ctx, step.params["host"])

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, the BMC says that it has no power; unless we have switched it on since."""
        if overtaken(ctx, step, f"node-on:{step.params['node']}"):
            return {"power": "was off; on again since, by pumphouse", "serial": outcome.get("serial") or None}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            expect(f"node {step.params['node']}", {"power": ("off", bmc.power())})
        return {"power": "off", "serial": outcome.get("serial") or None}

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
        """Off, and Nova knows."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            power = bmc.power()
        service = ctx.source.hosts.find_service(step.params["host"])
        return {"power": power} if power == "off" and service is not None and service.state == "down" else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it off, then wait for Nova to miss it."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            bmc.set_power("off")
        ctx.source.hosts.wait_service(step.params["host"], "down", timeout_s=ctx.site.action_timeout_s)
        return {"power": "off"}

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
            return None
        if ctx.journal.step_state(ctx.plan.hash, step.key).ours:
            return {"power": power}
        raise StepError(
            f"Node {step.params['node']} has power, though it was switched off and nobody here switched it on.",
            remedy="find out who uses it; switch it off by its BMC, then run again.",
        )

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Switch it on."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            bmc.set_power("on")
        return {"power": "on"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The BMC says that it has power."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            expect(f"node {step.params['node']}", {"power": ("on", bmc.power())})
        return {"power": "on"}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Switch it off again: it runs nothing but the bootstrap image, from memory."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            bmc.set_power("off")
            return {"power": bmc.power()}


def boot_by_pxe(ctx: Context, params: dict[str, Any]) -> None:
    """Once more from the network, as a node is that did not come up: off, PXE, on (changes the node)."""
    if params["host"]:
        require_empty(ctx, params["host"])
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        bmc.set_power("off")
        bmc.set_boot_device("pxe")
        bmc.set_power("on")


def _back_on(ctx: Context, step: PlannedStep) -> Outcome:
    with ctx.nodes.bmc(step.params["node"]) as bmc:
        require_same_serial(step.params, bmc)
        if bmc.power() == "off":
            bmc.set_boot_device("disk")
            bmc.set_power("on")
        power = bmc.power()
    expect(f"node {step.params['node']}", {"power": ("on", power)})
    if not step.params["host"]:
        return {"power": power}
    service = ctx.source.hosts.wait_service(step.params["host"], "up", timeout_s=ctx.site.action_timeout_s)
    return {"power": power, "nova-compute": service.state}
