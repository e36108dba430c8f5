"""The switch port of a node's PXE NIC."""

from __future__ import annotations

from pumphouse.errors import StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import require_off


class MovePort(Step):
    """Put a port into another VLAN; the node on it must not have power."""

    kind = "node-vlan"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """There already; a port that is in neither of its VLANs is somebody else's."""
        wanted, home = step.params["vlan"], step.params["home"]
        now = self._vlan(ctx, step)
        if now == wanted:
            begun = ctx.journal.step_state(ctx.plan.hash, step.key)
            # we moved it, and may have been cut off before the switch saved it: it is told once more
            return None if begun.ours and not begun.outcome else {"vlan": now}
        if now != home:
            raise StepError(
                f"Port {step.params['port']} of switch {step.params['switch']} is in VLAN {now}, neither in {home}, "
                f"where site.yaml has it, nor in {wanted}: it may be another machine's.",
                remedy="compare the port with the cabling, and correct nodes.NAME.ports in site.yaml.",
            )
        require_off(ctx, {**step.params, "serial": self._serial(ctx, step)})
        return None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """The VLAN to go back to."""
        now = self._vlan(ctx, step)
        return {"was": step.params["home"] if now == step.params["vlan"] else now}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Move it; the switch reads it back."""
        with ctx.nodes.switch(step.params["switch"]) as switch:
            return {"vlan": switch.set_vlan(step.params["port"], step.params["vlan"]).vlan}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read in another conversation."""
        now = self._vlan(ctx, step)
        expect(f"port {step.params['port']} of {step.params['switch']}", {"VLAN": (step.params["vlan"], now)})
        return {"VLAN": now}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Back to where it was, while the node has no power."""
        if not ours:
            return {"kept": True}
        home = int(outcome.get("was", step.params["home"]))
        if self._vlan(ctx, step) != home:
            require_off(ctx, {**step.params, "serial": self._serial(ctx, step)})
            with ctx.nodes.switch(step.params["switch"]) as switch:
                switch.set_vlan(step.params["port"], home)
        now = self._vlan(ctx, step)
        expect(f"port {step.params['port']} of {step.params['switch']}", {"VLAN": (home, now)})
        return {"VLAN": now}

    @staticmethod
    def _vlan(ctx: Context, step: PlannedStep) -> int:
        with ctx.nodes.switch(step.params["switch"]) as switch:
            return switch.port(step.params["port"]).vlan

    @staticmethod
    def _serial(ctx: Context, step: PlannedStep) -> str:
        return ctx.nodes.node(step.params["node"]).serial
