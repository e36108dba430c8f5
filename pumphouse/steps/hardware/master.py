"""The Fuel master: booted from the operator's medium, until its API answers."""

from __future__ import annotations

import time

from pumphouse.errors import NodeError, NodeGarbled, NodeTimeout, NodeUnreachable
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import overtaken, require_same_serial
from pumphouse.steps.hardware.power import CUT_OFF

#: Seconds between two looks at a master that installs itself.
POLL_S = 2.0


class MediumNext(Step):
    """The next boot comes from the operator's medium."""

    kind = "node-medium"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Chosen already."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            require_same_serial(step.params, bmc)
            return {"device": step.params["device"]} if bmc.boot_device() == step.params["device"] else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Choose it for one boot: what is installed must come up from the disk."""
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            bmc.set_boot_device(step.params["device"])
        return {"device": step.params["device"]}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again; the boot that it was chosen for uses it up."""
        if overtaken(ctx, step, f"node-on:{step.params['node']}"):
            return {"boot device": f"{step.params['device']}, used since"}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            device = bmc.boot_device()
        if device != step.params["device"] and overtaken(ctx, step, f"node-on:{step.params['node']}", begun=True):
            return {"boot device": f"was {step.params['device']}; {CUT_OFF}"}
        expect(f"node {step.params['node']}", {"boot device": (step.params["device"], device)})
        return {"boot device": device}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Forget the choice."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.bmc(step.params["node"]) as bmc:
            bmc.set_boot_device("default")
            return {"boot device": bmc.boot_device()}


class FuelUp(Step):
    """Wait until the Fuel master's API answers and lets us in."""

    kind = "fuel-up"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Whether it answers; wrong credentials are a refusal, not a reason to wait."""
        try:
            return {"release": _asked(ctx)}
        except (NodeUnreachable, NodeGarbled):
            return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Ask again and again; while a master installs itself, half of it answers anything."""
        end = time.monotonic() + step.params["timeout_s"]
        while True:
            try:
                return {"release": _asked(ctx)}
            except NodeError as error:
                if time.monotonic() > end:
                    raise NodeTimeout(
                        f"The Fuel master does not answer {step.params['timeout_s']:g} s after its node was switched "
                        f"on: {error.message}",
                        remedy="look at its console; run again when its API answers.",
                    ) from error
            time.sleep(POLL_S)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked once more, with our credentials."""
        return {"release": _asked(ctx)}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {"kept": True}


def _asked(ctx: Context) -> str:
    """The master's release; logging in is part of it."""
    with ctx.nodes.fuel() as fuel:
        release = fuel.version().release
        fuel.list_releases()
    return release
