"""How long servers will be down: foretold from what earlier cutovers took, and held against their budgets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pumphouse.findings import Finding
from pumphouse.journal import Event, Journal
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.plan.snapshot import RECKONED_MIB_PER_S

#: What is reckoned with for a cutover before any was measured: a minute to stop, one to boot and serve again.
ASSUMED_S = 120.0
#: How many of the last cutovers count: what was measured on last year's hardware says little.
LAST = 50
_OF_TEN = 9  # nine cutovers of ten took no longer


@dataclass(frozen=True)
class Rates:
    """What cutovers took, oldest first.

    ``cutovers_s``: seconds from asking for a stop to the copy's being seen to serve, without carrying its disk;
    ``disks_bytes_per_s``: root disks carried by snapshot while their server was down, both its making and its copying.
    """

    cutovers_s: tuple[float, ...] = ()
    disks_bytes_per_s: tuple[float, ...] = ()

    @property
    def cutover_s(self) -> float:
        """What nine of ten cutovers stayed below, or the assumption."""
        return _low_nine(self.cutovers_s) if self.cutovers_s else ASSUMED_S

    @property
    def disk_bytes_per_s(self) -> float:
        """What nine of ten disks were faster than, or the assumption."""
        slow = _low_nine([-rate for rate in self.disks_bytes_per_s]) if self.disks_bytes_per_s else 0.0
        return -slow or float(RECKONED_MIB_PER_S << 20)

    @property
    def basis(self) -> str:
        """Where the figures come from, for people."""
        if not self.cutovers_s:
            return f"assumed: {ASSUMED_S:g} s a cutover, since the journal holds no measured one yet"
        return f"measured: 9 in 10 of the last {len(self.cutovers_s)} cutovers took up to {self.cutover_s:.0f} s"


@dataclass(frozen=True)
class Prediction:
    """How long one server will be down. ``seconds`` None: it cannot be told, which no budget allows."""

    server_id: str
    name: str
    seconds: float | None
    budget_s: float | None

    @property
    def over(self) -> bool:
        """Whether it is too long for the server's budget."""
        return self.budget_s is not None and (self.seconds is None or self.seconds > self.budget_s)

    def __str__(self) -> str:
        return f"server {self.name} ({self.server_id}) {_words(self)}"


def measured_rates(journal: Journal) -> Rates:
    """What the last cutovers took that went through in one run without a failure (read only)."""
    of_server: dict[tuple[str, str], list[Event]] = {}
    for event in journal.recent_events("stop:", "snapshot:", "boot:", "settle:"):
        of_server.setdefault((event.plan_hash, event.step_key.partition(":")[2]), []).append(event)
    cutovers: list[tuple[int, float]] = []
    disks: list[float] = []
    for events in of_server.values():
        done = {e.step_key.partition(":")[0]: e for e in events if e.event == "done"}
        begun = next((e for e in events if e.step_key.startswith("stop:") and e.event == "intent"), None)
        smooth = len({e.run_id for e in events}) == 1 and all(e.event != "failed" for e in events)
        if begun is None or not smooth or not {"stop", "boot", "settle"} <= done.keys():
            continue
        if done["stop"].data.get("stop_s") is None or done["settle"].data.get("answers") is False:
            continue
        took_s = (done["settle"].at - begun.at).total_seconds()
        if "snapshot" in done:
            spent_s = sum(float(done["snapshot"].data.get(name) or 0) for name in ("snapshot_s", "copy_s"))
            size = float(done["snapshot"].data.get("size_bytes") or 0)
            took_s -= spent_s
            if spent_s > 0 and size > 0:
                disks.append(size / spent_s)
        if took_s > 0:
            cutovers.append((done["settle"].id, took_s))
    return Rates(tuple(took_s for _, took_s in sorted(cutovers)[-LAST:]), tuple(disks[-LAST:]))


def predict(plan: Plan, server_id: str, rates: Rates) -> Prediction | None:
    """How long a server of a move plan will be down; None for one that does not serve anyway (read only)."""
    own = {step.kind: step for step in plan.steps if step.server_id == server_id}
    return _predict(plan, server_id, own, rates)


def _predict(plan: Plan, server_id: str, own: dict[str, PlannedStep], rates: Rates) -> Prediction | None:
    if "stop" not in own or own.get("settle", own["stop"]).params.get("arrives", "ACTIVE") != "ACTIVE":
        return None
    seconds: float | None = rates.cutover_s
    if "snapshot" in own:
        disk_gib = own["snapshot"].params.get("disk_gib")
        seconds = rates.cutover_s + (disk_gib << 30) / rates.disk_bytes_per_s if disk_gib else None
    return Prediction(server_id, plan.server(server_id).name, seconds, own["stop"].params.get("downtime_budget_s"))


def predictions(plan: Plan, rates: Rates) -> tuple[Prediction, ...]:
    """One for each server of a move plan that serves (read only)."""
    own: dict[str, dict[str, PlannedStep]] = {}
    for step in plan.steps:
        if step.server_id is not None:
            own.setdefault(step.server_id, {})[step.kind] = step
    found = (_predict(plan, server.id, own.get(server.id, {}), rates) for server in plan.servers)
    return tuple(one for one in found if one is not None)


def check_downtime(plan: Plan, journal: Journal, *, down: Iterable[str] = ()) -> list[Finding]:
    """What is foretold for a move plan, and which servers have no budget for that (read only).

    :param down: ids of servers that are down already: no budget keeps them from coming up.
    """
    if plan.kind != "move":
        return []
    rates, already = measured_rates(journal), set(down)
    told = [one for one in predictions(plan, rates) if one.server_id not in already]
    if not told:
        return []
    longest = max(told, key=lambda one: math.inf if one.seconds is None else one.seconds)
    most = "not foretold for" if longest.seconds is None else f"{longest.seconds:.0f} s, the most for"
    findings = [
        Finding(
            "info", "downtime-foretold", f"plan {plan.hash[:12]}",
            f"each of {len(told)} servers will be down for some time: {most} {longest.name} ({rates.basis}).",
        )
    ]  # fmt: skip
    findings += [
        Finding(
            "block", "downtime-budget", f"server {one.name}", f"({one.server_id}) {_words(one)} ({rates.basis}).",
            "leave it out, raise its downtime_budget_s in site.yaml, or carry it by rebuild.",
        )
        for one in told
        if one.over
    ]  # fmt: skip
    return findings


def _words(one: Prediction) -> str:
    how_long = "for nobody knows how long" if one.seconds is None else f"for {one.seconds:.0f} s"
    budget = "has no budget for that" if one.budget_s is None else f"its budget is {one.budget_s:g} s"
    return f"will be down {how_long}, and {budget}"


def _low_nine(values: Iterable[float]) -> float:
    ranked = sorted(values)
    return ranked[math.ceil(len(ranked) * _OF_TEN / 10) - 1]
