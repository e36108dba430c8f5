"""Planning to give a node back to the source: in reverse, all that was done to it, while its disk is what it was."""

from __future__ import annotations

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.journal import Journal, StepState
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware.draft import NOTHING, HardwareDraft
from pumphouse.plan.model import Plan, PlannedStep

#: Plans that take a node away from the source.
TAKING = ("acquire", "transfer", "fuel-master", "decommission")


def plan_give_back(
    journal: Journal, node: NodeSpec, *, digest: str, source: str, destination: str
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan giving a node back (read only, asks the journal alone).

    Its servers do not come back by this: they serve where they went.

    :raises PlanError: when nothing that was done to the node is in effect.
    """
    draft = HardwareDraft("give-back", source, destination, digest)
    before: tuple[str, ...] = ()
    for plan in reversed(taking_plans(journal, node)):
        states = journal.step_states(plan.hash)
        for step in reversed(plan.steps):
            overwrites = _overwrites(plan, step, node)
            mine = overwrites or step.node == node.name or (node.host and step.host == node.host)
            if not mine or not states.get(step.key, StepState()).in_effect:
                continue
            if overwrites:
                draft.block(
                    "disk-overwritten",
                    f"node {node.name}",
                    f"was deployed by plan {plan.hash[:12]}, or that was begun: its disk does not hold the source's "
                    "system any more, or may lose it at any moment.",
                    "install it at the source anew, or finish its transfer.",
                )
            if step.undo in (None, NOTHING):
                continue
            # one after the other: what a step stands on may be a step that has nothing to undo
            key = draft.add(
                f"undo:{plan.hash[:12]}:{step.key}",
                title=f"undo: {step.title}",
                phase="undo",
                changes=step.changes,
                needs=before,
                params={"plan_hash": plan.hash, "step_key": step.key},
                node=node.name,
                host=node.host or None,
            )
            before = (key,)
    if not draft.steps and not draft.findings:
        raise PlanError(
            f"The journal knows nothing that was done to node {node.name} and is still in effect.",
            remedy="there is nothing to give back; `pumphouse journal` lists the plans.",
        )
    return draft.finish()


def _overwrites(plan: Plan, step: PlannedStep, node: NodeSpec) -> bool:
    """Whether nothing brings this node back after that step."""
    if step.kind == "fuel-deploy":
        return any(one["node"] == node.name for one in step.params["nodes"])
    if step.node != node.name:
        return False
    installs = step.kind == "node-on" and any(plan.step(need).kind == "node-medium" for need in step.needs)
    return installs or step.kind == "node-deploy"


def taking_plans(journal: Journal, node: NodeSpec) -> list[Plan]:
    """Begun plans that took this node, oldest first (read only)."""
    found = []
    for kind in TAKING:
        for document in journal.plan_documents(kind=kind, states=("started", "finished")):
            plan = Plan.from_document(document)
            if any(step.node == node.name for step in plan.steps):
                found.append((_begun_at(journal, plan), plan))
    return [plan for _, plan in sorted(found, key=lambda item: item[0])]


def _begun_at(journal: Journal, plan: Plan) -> int:
    return min((event.id for event in journal.events(plan_hash=plan.hash)), default=0)
