"""Checks of the gate between two clouds: probes that can be made, and downtime that servers can afford."""

from __future__ import annotations

from pumphouse.findings import Finding
from pumphouse.journal import Journal, StepState
from pumphouse.plan.downtime import check_downtime
from pumphouse.plan.model import Plan
from pumphouse.probes import unusable
from pumphouse.serving import ProbeSpec


def check_gate(plan: Plan, journal: Journal) -> list[Finding]:
    """What would make a plan's probes mean nothing, and servers that would be down for too long (read only).

    Servers that an earlier run has begun to stop are left out of the latter: no budget keeps them from coming up.
    """
    states = journal.step_states(plan.hash)
    down = [
        step.server_id
        for step in plan.steps
        if step.kind == "stop" and step.server_id and states.get(step.key, StepState()).in_effect
    ]
    return [*_probes(plan), *check_downtime(plan, journal, down=down)]


def _probes(plan: Plan) -> list[Finding]:
    wanted: dict[ProbeSpec, list[str]] = {}
    for step in plan.steps:
        if step.kind in ("stop", "delete-source") and "probe" in step.params:
            wanted.setdefault(ProbeSpec.of(step.params["probe"]), []).append(str(step.params["name"]))
    return [
        Finding(
            "block",
            "probe-unusable",
            f"server {name}",
            f"could not be asked whether it serves: {why}.",
            "install the program, or choose another probe in site.yaml.",
        )
        for spec, names in wanted.items()
        if (why := unusable(spec))
        for name in names
    ]
