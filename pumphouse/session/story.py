"""The story of a run, told from the journal: what a record's summary, its pages and comparisons are made of.

The same for a run that succeeded and for one that was cut off: as complete as the journal is (read only).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pumphouse.approval import other_ticket
from pumphouse.down import Down, servers_down
from pumphouse.errors import PlanError
from pumphouse.journal import Event, Journal, RunRow, StepState
from pumphouse.journal.store import STEP_EVENTS
from pumphouse.model import TLS_EVIDENCE
from pumphouse.plan.model import Plan, PlannedStep, PlanServer
from pumphouse.session.report import Report, make_report

STORY_SCHEMA = 1
#: Step keys of events that say something about the run itself.
BIND, PLAN, CHECK, APPROVAL, LEDGER = "@bind", "@plan", "@check", "@approval", "@ledger"
#: Likewise: which hosts or nodes were chosen, in which order.
ORDER = "@order"
_GOOD = ("verified", "skipped", "undone")
#: What a roll back writes under the plan that it takes back.
_TAKEN_BACK = ("undo-intent", "undone")


def change_of(journal: Journal, run_id: str) -> str:
    """The change ticket that a run was begun for; empty: none (read only)."""
    bound = [str(event.data.get("change") or "") for event in journal.events(run_id=run_id, step_key=BIND)]
    return next(filter(None, bound), "") or str(journal.get_run(run_id).parameters.get("change") or "")


def tell_story(journal: Journal, run_id: str) -> dict[str, Any]:
    """What the journal knows of a run, as JSON: who, for which change, plans, approvals, servers, steps, deviations.

    :raises JournalError: when there is no such run.
    """
    run = journal.get_run(run_id)
    events = journal.events(run_id=run_id)
    bound = _last(events, BIND)
    approvals = [_approval(event, run, events) for event in events if event.step_key == APPROVAL]
    plans = _plans(journal, events)
    reports = {plan.hash: make_report(journal, plan) for plan in plans}
    told = {
        "schema": STORY_SCHEMA,
        "change": change_of(journal, run_id),
        "operator": bound.get("operator") or run.operator,
        "clouds": bound.get("clouds", []),
        "approvals": approvals,
        "plans": [_plan(journal, plan, reports[plan.hash]) for plan in plans],
        "servers": [row for plan in plans for row in _servers(journal, plan, reports[plan.hash])],
        "steps": [row for plan in plans for row in _steps(plan, events)],
        "findings": _last(events, CHECK),
        "ledger": _last(events, LEDGER),
    }
    told["down"] = [
        _down(server, plan) for plan in plans if _acted(plan, events) for server in servers_down(journal, plan)
    ]
    told["projects"] = sorted({row["project"] for row in told["servers"]})
    told["deviations"] = _deviations(journal, run, events, told, plans)
    told["back_out"] = [_back_out(journal, plan) for plan in plans if _acted(plan, events)]
    return told


def _down(server: Down, plan: Plan) -> dict[str, Any]:
    """A server that is in service nowhere as the run ends, and what goes on with it or takes it back."""
    return {
        "plan": plan.hash,
        "name": server.name,
        "id": server.server_id,
        "where": server.where,
        "since": server.since.isoformat(),
        "sure": server.sure,
        "ran": server.ran,
        "said": str(server),
    }


def _last(events: Iterable[Event], key: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in events:
        if event.step_key == key:
            found = dict(event.data)
    return found


def _plans(journal: Journal, events: Iterable[Event]) -> list[Plan]:
    """Plans that the run made or carried out; not those whose steps it only took back for a roll back."""
    found = []
    for plan_hash in dict.fromkeys(e.plan_hash for e in events if e.plan_hash and e.event not in _TAKEN_BACK):
        document = journal.plan_document(plan_hash)
        if document is not None:
            try:
                found.append(Plan.from_document(document))
            except PlanError:
                continue  # of another schema: its steps are in the journal's slice all the same
    return found


def _plan(journal: Journal, plan: Plan, report: Report) -> dict[str, Any]:
    names = {server.id: server.name for server in plan.servers}
    return {
        "hash": plan.hash,
        "kind": plan.kind,
        "selection": plan.selection_digest,
        "state": journal.plan_state(plan.hash),
        "servers": len(plan.servers),
        "subject": plan.subject,
        "steps": report.steps,
        "verified": report.verified,
        "failed": report.failed,
        "copy_bytes": plan.copy_bytes,
        "planned": sorted(step_name(step.kind, names.get(step.server_id or ""), step.title) for step in plan.steps),
        "left": list(report.left),
    }


def _approval(event: Event, run: RunRow, events: Iterable[Event]) -> dict[str, Any]:
    """An approval, and whether it came in time: before the run's first step of that plan.

    In a notebook the plan is made by the very run that carries it out, so that its approval comes after the run began.
    Without any step the gate's own moment counts: what was approved later than that, was so by a wrong clock.
    """
    approved_at = _moment(event.data.get("approved_at"))
    of_plan = (one for one in events if one.plan_hash == event.plan_hash and one.event in STEP_EVENTS)
    first = next((one.at for one in of_plan), None)
    return {
        **event.data,
        "plan": event.plan_hash,
        "before_start": approved_at is not None and approved_at <= run.started_at,
        "before_change": approved_at is not None and approved_at <= (first or event.at),
        "first_change_at": first.isoformat() if first is not None else None,
        "gate_at": event.at.isoformat(),
    }


def _servers(journal: Journal, plan: Plan, report: Report) -> list[dict[str, Any]]:
    evidence: dict[str, dict[str, Any]] = {}
    for event in journal.events(plan_hash=plan.hash):
        if event.event in ("verified", "undone"):
            evidence[event.step_key] = dict(event.data.get("evidence") or event.data)
    before = {server.id: server for server in plan.servers}
    steps: dict[str, list[PlannedStep]] = {}
    for step in plan.steps:
        if step.server_id:
            steps.setdefault(step.server_id, []).append(step)
    return [
        {
            **{key: value for key, value in asdict(row).items() if key not in ("addresses", "floating_ips")},
            "plan": plan.hash,
            **_carried(plan, steps.get(row.id, [])),
            "before": _before(before[row.id]) | _as_of(plan),
            "after": _after(steps.get(row.id, []), evidence),
        }
        for row in report.servers
    ]


def _carried(plan: Plan, steps: Iterable[PlannedStep]) -> dict[str, Any]:
    """How a server is carried, and its project's name at the destination; nothing for what is not a move."""
    kinds = {step.kind: step for step in steps}
    if "boot" not in kinds:
        return {}
    place = f"project:{kinds['boot'].params.get('project_id')}"
    names = [step.params["name"] for step in plan.steps if step.key == place]
    way = "by a snapshot of its disk" if "snapshot" in kinds else "rebuilt from its image"
    return {"carried": way, "destination_project": names[0] if names else None}


def _before(server: PlanServer) -> dict[str, Any]:
    return {
        "status": server.status,
        "host": server.host,
        "addresses": list(server.addresses),
        "floating_ips": list(server.floating_ips),
        "flavor": server.flavor,
        "image": server.image,
    }


def _as_of(plan: Plan) -> dict[str, str]:
    """What comes after a move knows its servers as the move's plan did."""
    return {"when": "before the move"} if plan.kind in ("finalise", "rollback") else {}


def _after(steps: Iterable[PlannedStep], evidence: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What verified steps read back from both clouds; what no step read is left out."""
    after: dict[str, Any] = {}
    for step in steps:
        seen = evidence.get(step.key)
        if not seen:
            continue
        if step.kind == "boot":
            addresses = seen.get("addresses") or {}
            after |= {"id": seen.get("id"), "host": seen.get("host"), "addresses": sorted(addresses)}
        elif step.kind in ("settle", "leave-host"):
            after |= {"status": seen.get("status"), "host": seen.get("host")}
        elif step.kind == "stop":
            after["source"] = seen.get("status")
        elif step.kind == "delete-source":
            after |= {"source": "deleted", "id": seen.get("destination_id"), "status": seen.get("status")}
        elif step.kind == "floating-ip" and seen.get("address"):
            after.setdefault("floating_ips", []).append(seen["address"])
        elif step.kind == "undo" and str(step.params["step_key"]).startswith("stop:"):
            after["source"] = seen.get("status") or seen.get("kept")
    return {key: value for key, value in after.items() if value is not None}


def _steps(plan: Plan, events: Iterable[Event]) -> list[dict[str, Any]]:
    mine: dict[str, list[Event]] = {}
    for event in events:
        if event.plan_hash == plan.hash and event.event in STEP_EVENTS:
            mine.setdefault(event.step_key, []).append(event)
    names = {server.id: server.name for server in plan.servers}
    return [_step(plan, step, mine[step.key], names) for step in plan.steps if step.key in mine]


def _step(plan: Plan, step: PlannedStep, events: list[Event], names: Mapping[str, str]) -> dict[str, Any]:
    own = [event for event in events if event.event != "skipped"]
    if own and own[-1].event in _GOOD:  # a cell that was run twice found in place what this run had done
        events = own
    first, last = events[0], events[-1]
    requests = [request for event in events for request in event.data.get("requests", [])]
    failures = [str(event.data.get("error", "")) for event in events if event.event == "failed"]
    return {
        "plan": plan.hash,
        "key": step.key,
        "kind": step.kind,
        "phase": step.phase,
        "title": step.title,
        "changes": step.changes,
        "server": names.get(step.server_id or ""),
        "result": last.event,
        "started_at": first.at.isoformat(),
        "ended_at": last.at.isoformat(),
        "seconds": round((last.at - first.at).total_seconds(), 3),
        "requests": requests,
        "attempts": max(1, sum(event.event == "intent" for event in events)),
        "errors": failures,
    }


def _acted(plan: Plan, events: Iterable[Event]) -> bool:
    return any(event.plan_hash == plan.hash and event.event in STEP_EVENTS for event in events)


def _deviations(
    journal: Journal, run: RunRow, events: Iterable[Event], told: Mapping[str, Any], plans: Iterable[Plan]
) -> list[str]:
    found = []
    for approval in told["approvals"]:
        other = other_ticket(str(approval["plan"]), str(approval.get("ticket") or ""), told["change"])
        found += [other] if other else []
        if approval.get("same_person"):
            found.append(f"{approval['approved_by']} approved the plan and ran it: nobody else looked at it.")
        elif approval.get("same_account"):
            found.append(f"The plan was approved as {approval['approved_by']} from the account that ran it.")
        if not approval["before_change"]:
            begun = approval["first_change_at"]
            why = (
                f"its first step began at {begun}, before that"
                if begun
                else f"the run's gate found that at {approval['gate_at']}, so one of two clocks is wrong"
            )
            found.append(f"Plan {approval['plan'][:12]} was approved at {approval['approved_at']}: {why}.")
    found += [
        f"Cloud {cloud.get('cloud')}: TLS {line.removeprefix(TLS_EVIDENCE)}."
        for cloud in told["clouds"]
        for line in cloud.get("evidence", ())
        if line.startswith(f"{TLS_EVIDENCE}not verified")
    ]
    accepted = told["findings"].get("accepted") or []
    if accepted:
        found.append(f"Findings accepted by the operator: {', '.join(accepted)}.")
    for plan in plans:
        earlier = {event.run_id for event in journal.events(plan_hash=plan.hash) if event.event in STEP_EVENTS}
        before = sorted(earlier - {run.id})
        if before and _acted(plan, events) and before[0] < run.id:
            found.append(f"Plan {plan.hash[:12]} was begun by run {before[0]} and taken up again.")
    found += [line for plan in plans if _acted(plan, events) for line in _too_long(journal, plan)]
    for step in told["steps"]:
        if step["errors"] and step["result"] in _GOOD:
            found.append(f"{step['title']}: failed first ({step['errors'][0]}), then done.")
        elif step["attempts"] > 1:
            found.append(f"{step['title']}: tried {step['attempts']} times.")
    return found


def _too_long(journal: Journal, plan: Plan) -> list[str]:
    """Servers that were down for longer than their budget, whatever had been foretold."""
    states, found = journal.step_states(plan.hash), []
    for server in plan.servers:
        stop = states.get(f"stop:{server.id}", StepState()).intent_data
        down_s = states.get(f"settle:{server.id}", StepState()).outcome.get("downtime_s")
        budget_s = stop.get("downtime_budget_s")
        if budget_s is not None and down_s is not None and down_s > budget_s:
            foretold = f"{stop['predicted_s']:.0f} s" if stop.get("predicted_s") is not None else "nothing"
            found.append(
                f"{server.name} was down for {down_s:.0f} s: its budget was {budget_s:g} s, foretold was {foretold}."
            )
    return found


def _back_out(journal: Journal, plan: Plan) -> str:
    """How to take back what this plan did, as things stand when the run ends."""
    states = journal.step_states(plan.hash)
    done = [step for step in plan.steps if states.get(step.key, StepState()).in_effect]
    undoable = sum(step.undo is not None for step in done)
    name = f"{plan.kind} plan {plan.hash[:12]}"
    if plan.kind == "rollback":
        return f"{name}: move the servers again with a new plan."
    if not done:
        return f"{name}: nothing of it is in effect."
    if plan.kind != "move":
        costs = "; ".join(dict.fromkeys(step.cost for step in done if step.undo is None and step.cost))
        return (
            f"{name}: {len(done) - undoable} of {len(done)} steps cannot be taken back{f' ({costs})' if costs else ''}."
        )
    return (
        f"{name}: {undoable} of {len(done)} steps in effect can be undone. Run 05-roll-back-move.ipynb with "
        f"selection {plan.selection_digest[:16]}; possible until the move is finalised."
    )


def step_name(kind: str, server: str | None, title: str) -> str:
    """What a step is called in comparisons: it holds no id."""
    return f"{kind}: {server or title}"


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None
