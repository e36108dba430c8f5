"""``pumphouse plans`` and ``pumphouse show``: a plan as notebooks show it, for whoever approves it in a terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from pumphouse import approval as approvals
from pumphouse.down import servers_down
from pumphouse.errors import ApprovalMissing, PlanError
from pumphouse.journal import Journal, PlanState, StepState
from pumphouse.journal.engine import safe_url
from pumphouse.plan.model import PHASES, Plan, PlannedStep
from pumphouse.runner.options import json_option, one_paragraph, site_option
from pumphouse.session.report import make_report
from pumphouse.session.standing import Follower, Standing
from pumphouse.session.story import change_of
from pumphouse.session.together import is_carried_out
from pumphouse.session.ways import Places, from_here, ways_on
from pumphouse.site import Site, load_site

#: Digits of a plan's hash that have to be named at least.
HASH_DIGITS = 6
#: Seconds between two looks of ``show --follow``.
FOLLOW_S = 1.0
_MIB = 1024 * 1024
_WORDS = {"new": "", "intent": "begun", "done": "done, not verified", "undoing": "being undone"}


@click.command("plans")
@click.option("--all", "everything", is_flag=True, help="Also plans that are over: finished, undone, superseded.")
@site_option
@json_option
@one_paragraph
def plans_command(everything: bool, site_file: str, as_json: bool) -> None:
    """List the plans that can be approved or gone on with, oldest first. Changes nothing.

    \b
    Example:
      pumphouse plans --site lab/site.yaml
    """
    site = load_site(site_file)
    with closing(Journal.open(site.journal_url)) as journal:
        found = [Plan.from_document(document) for document in journal.plan_documents()]
        rows = [
            {
                "hash": plan.hash,
                "kind": plan.kind,
                "state": str(state),
                "subject": plan.subject,
                "steps": len(plan.steps),
                "irreversible": sum(plan.lost_for_ever.values()),
                "approved_by": _approved_by(plan, site),
                "down": [str(server) for server in servers_down(journal, plan) if server.ran],
                "under_way": is_carried_out(journal, plan),
            }
            for plan in found
            if (state := journal.plan_state(plan.hash)) is not None and (everything or not state.is_over)
        ]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for row in rows:
        lost = f", {row['irreversible']} irreversible" if row["irreversible"] else ""
        approved = f"approved by {row['approved_by']}" if row["approved_by"] else "not approved"
        click.echo(
            f"{str(row['hash'])[:12]}  {row['kind']:<12}{row['state']:<11}{row['steps']} steps{lost}, "
            f"{approved}  {row['subject']}{_standing(row)}"
        )
    if rows:
        click.echo("Read one, and how to go on with it: pumphouse show HASH")
    else:
        click.echo("No plan waits for anything." + ("" if everything else " Those that are over: --all."))


@click.command("show")
@click.argument("plan_hash")
@click.option("--follow", is_flag=True, help="Then tell how it is carried out, until that ends.")
@site_option
@json_option
@one_paragraph
def show_command(plan_hash: str, follow: bool, site_file: str, as_json: bool) -> None:
    """Show a plan by (the first digits of) its hash: servers, steps, what is irreversible, approval. Changes nothing.

    \b
    Example:
      pumphouse show 3f2a9c
      pumphouse show 3f2a9c --follow
    """
    site = load_site(site_file)
    with closing(Journal.open(site.journal_url)) as journal:
        plan = find_plan(journal, plan_hash, site)
        if as_json:
            click.echo(json.dumps(_facts(journal, plan, site), indent=2, ensure_ascii=False))
            return
        for line in _lines(journal, plan, site):
            click.echo(line)
        if follow:
            _follow(journal, plan)
        else:
            for line in _onwards(journal, plan, site):
                click.echo(line)


def _standing(row: Mapping[str, Any]) -> str:
    """Whether somebody is at it, and who is down for it; nothing for what was not begun."""
    down = click.style(f", {len(row['down'])} DOWN", fg="red", bold=True) if row["down"] else ""
    if row["under_way"]:
        return f", being carried out{down}"
    return f", no run is at it{down}" if row["state"] == PlanState.STARTED else down


def find_plan(journal: Journal, start: str, site: Site) -> Plan:
    """The one plan of a site whose hash begins so (read only).

    :raises PlanError: when there is none, or more than one, or too little of it is named.
    """
    if len(start) < HASH_DIGITS:
        raise PlanError(
            f"{start!r} is too short for a plan's hash: it takes at least {HASH_DIGITS} digits.",
            remedy="copy the hash that the plan cell, or `pumphouse plans`, shows.",
        )
    found = [plan for plan in map(Plan.from_document, journal.plan_documents()) if plan.hash.startswith(start)]
    where = f"journal {safe_url(site.journal_url)}"
    if not found:
        raise PlanError(
            f"No plan of site {site.name} has a hash that begins with {start!r} ({where}).",
            remedy="name the plan's own site with --site; `pumphouse plans --all` lists the plans of a site.",
        )
    if len(found) > 1:
        hashes = ", ".join(plan.hash for plan in found)
        raise PlanError(
            f"{len(found)} plans of site {site.name} have a hash that begins with {start!r}: {hashes} ({where}).",
            remedy="give more digits of the one that is meant.",
        )
    return found[0]


def _approval(plan: Plan, site: Site) -> approvals.Approval | None:
    try:
        return approvals.require_approval(plan, site.work_dir / "approvals")
    except ApprovalMissing:
        return None


def _approved_by(plan: Plan, site: Site) -> str:
    found = _approval(plan, site)
    if found is None:
        return ""
    ticket = f" (ticket {found.ticket})" if found.ticket else ""
    return " and ".join(name for name in (found.approved_by, found.second) if name) + ticket


def _facts(journal: Journal, plan: Plan, site: Site) -> dict[str, object]:
    found, report = _approval(plan, site), make_report(journal, plan)
    return {
        "hash": plan.hash,
        "state": journal.plan_state(plan.hash),
        "verified": report.verified,
        "failed": report.failed,
        "irreversible": plan.lost_for_ever,
        "approval": None if found is None else dict(found.__dict__),
        "down": [str(server) for server in servers_down(journal, plan)],
        "plan": plan.document,
    }


def _lines(journal: Journal, plan: Plan, site: Site) -> Iterator[str]:
    states, report = journal.step_states(plan.hash), make_report(journal, plan)
    yield f"{plan.kind} plan {plan.hash}"
    size = f", {plan.copy_bytes / _MIB:,.1f} MiB of images to copy" if plan.copy_bytes else ""
    yield f"  {plan.source} → {plan.destination}: {plan.subject}, {len(plan.steps)} steps{size}"
    failed = f", {report.failed} failed" if report.failed else ""
    yield f"  {journal.plan_state(plan.hash)}: {report.verified} of {report.steps} steps verified{failed}"
    yield f"  {_of_approval(plan, site)}"
    file = site.work_dir / "plans" / f"{plan.hash}.json"
    if file.is_file():
        yield f"  kept in {file}"
    for words, count in plan.lost_for_ever.items():
        yield click.style(f"  irreversible: {words}{f' ({count} steps)' if count > 1 else ''}", fg="yellow")
    for server in servers_down(journal, plan):
        yield click.style(f"  DOWN {server}", fg="red", bold=True) if server.ran else f"  {server}"
    if plan.servers:
        yield "servers:"
        width = max(len(server.name) for server in plan.servers)
        results = {server.id: server.result for server in report.servers}
        for one in plan.servers:
            addresses = ", ".join((*one.addresses, *one.floating_ips))
            yield f"  {one.name:<{width}}  {one.project}  was {one.status}  {addresses}  {results[one.id]}"
    phase = ""
    for step in sorted(plan.steps, key=lambda step: PHASES.index(step.phase)):
        if step.phase != phase:
            phase = step.phase
            yield f"{phase}:"
        yield f"  {_of_step(plan, step, states.get(step.key, StepState()))}"
    if plan.notes:
        yield "carried differently, or not:"
        for note in plan.notes:
            yield f"  {note.object}: {note.text}"


def change_asked(journal: Journal, plan: Plan) -> str:
    """The change ticket of the run that was at this plan last; empty: none, or no run was (read only)."""
    runs = [event.run_id for event in journal.events(plan_hash=plan.hash)]
    return change_of(journal, runs[-1]) if runs else ""


def _onwards(journal: Journal, plan: Plan, site: Site) -> Iterator[str]:
    if is_carried_out(journal, plan):
        yield f"being carried out now; watch it with: pumphouse show {plan.hash[:12]} --follow"
        return
    change = change_asked(journal, plan)
    places = Places("notebooks", from_here(site.work_dir), site.work_dir, from_here(site.path), change)
    ways = ways_on(journal, plan, places)
    if ways:
        yield "to go on:"
    for way in ways:
        yield f"  {way.words}:"
        yield f"    {way.command}"


def _of_approval(plan: Plan, site: Site) -> str:
    found = _approval(plan, site)
    if found is None:
        return f"not approved: pumphouse approve {plan.hash[:12]} --by NAME --reason WHY"
    who = " and ".join(name for name in (found.approved_by, found.second) if name)
    ticket = f", ticket {found.ticket}" if found.ticket else ""
    return f"approved by {who} at {found.approved_at[:19]} UTC{ticket}: {found.reason}"


def _of_step(plan: Plan, step: PlannedStep, state: StepState) -> str:
    word = _WORDS.get(state.state, state.state)
    lost = plan.is_irreversible(step)
    irreversible = f" — IRREVERSIBLE{f': {step.cost}' if step.cost else ''}" if lost else ""
    error = f": {state.error}" if state.state == "failed" and state.error else ""
    return f"{step.title} (changes {step.changes}){irreversible}{f' [{word}{error}]' if word else ''}"


def _follow(journal: Journal, plan: Plan) -> None:
    """A line whenever something changed, until the plan is over or no run has it any more."""
    follower, before = Follower(journal, plan, ""), ""
    while True:
        found = follower.look(datetime.now(UTC))
        said = _stands(found)
        if said != before:
            click.echo(f"{datetime.now(UTC):%H:%M:%S}Z  {said}")
            before = said
        if found.complete:
            return
        if not is_carried_out(journal, plan):
            click.echo("No run is carrying it out.")
            return
        time.sleep(FOLLOW_S)


def _stands(found: Standing) -> str:
    failed = f", {found.failed} failed" if found.failed else ""
    now = f"; now: {', '.join(found.under_way[:3])}" if found.under_way else ""
    more = f" and {len(found.under_way) - 3} more" if len(found.under_way) > 3 else ""
    return f"{found.verified} of {found.steps} steps verified{failed}{now}{more}"
