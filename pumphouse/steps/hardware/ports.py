"""The switch port of a node's PXE NIC: whose it is, and the VLAN that it is in."""

from __future__ import annotations

from dataclasses import asdict

from pumphouse.errors import StepError
from pumphouse.nodes.sight import PortSight, see
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import overtaken, require_off

#: Kinds of steps that take a node's power.
_OFF = ("node-off", "node-fence", "controller-off")


class SeePort(Step):
    """Ask the switch who is heard at the node's port, while the node has power: later nobody can tell any more."""

    kind = "node-port"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself: what was heard an hour ago may be plugged in elsewhere."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Hear; another machine there is a refusal, the node itself proof, and silence neither."""
        sight = require_not_of_another(ctx, step)
        found = {**asdict(sight), "own": list(sight.own), "strangers": list(sight.strangers)}
        del found["proved"]
        if not sight.is_proof:
            where = f"Port {sight.port} of switch {sight.switch}"
            ctx.report(f"{where}: {sight.told}; nothing proves that it is {step.node}'s.")
        return {**found, "proof": sight.is_proof, "told": sight.told}

    def stands(self, ctx: Context, step: PlannedStep) -> bool:
        """What was proved is; what was not is asked once more, unless the node was switched off since."""
        proved = ctx.journal.step_state(ctx.plan.hash, step.key).outcome.get("proof")
        taken = [f"{kind}:{step.params['node']}" for kind in _OFF]
        return bool(proved) or any(overtaken(ctx, step, key, begun=True) for key in taken)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """What was heard is the evidence; there is nothing that could be read again in its place."""
        return {key: outcome[key] for key in ("switch", "port", "own", "strangers", "untold", "proof", "told")}

    def in_words(self, step: PlannedStep, evidence: Outcome) -> str:
        """Which port it is, who is heard there, and whether that proves whose it is."""
        proof = f"that proves that it is {step.node}'s" if evidence["proof"] else f"no proof that it is {step.node}'s"
        return f"port {evidence['port']} of switch {evidence['switch']}: {evidence['told']}; {proof}"

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {"kept": True}


def require_not_of_another(ctx: Context, step: PlannedStep) -> PortSight:
    """No machine but the node is heard at the port that is to be moved for it (read only).

    :raises StepError: when another one is, naming it and whose it is.
    """
    node = ctx.nodes.node(step.params["node"])
    sight = see(ctx.nodes, ctx.site.hardware, node)
    if sight is None:
        raise StepError(f"site.yaml names no port of node {node.name}.", remedy=f"add nodes.{node.name}.ports.")
    if sight.foreign:
        raise StepError(
            f"Port {sight.port} of switch {sight.switch} is node {node.name}'s in site.yaml, but {sight.told}: moving "
            "it would cut off another machine. Nothing was done to it.",
            remedy=f"compare the cabling with nodes.{node.name}.ports in site.yaml, and correct it. If a machine was "
            "plugged in elsewhere just now, wait until the switch has forgotten it (five minutes as shipped).",
        )
    return sight


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
        require_not_of_another(ctx, step)  # the node is silent now: whoever speaks there is not the node
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
