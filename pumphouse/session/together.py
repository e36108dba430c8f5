"""Two runs and one plan: who is carrying it out keeps the other off the whole of it, and not off single servers."""

from __future__ import annotations

from pumphouse.errors import ClaimHeld, JournalError, PlanHeld
from pumphouse.executor import lease_s
from pumphouse.findings import Finding
from pumphouse.holder import holder, holder_words, is_gone
from pumphouse.journal import Journal
from pumphouse.journal.store import Claim
from pumphouse.plan.model import Plan
from pumphouse.site import Site


def plan_key(plan_hash: str) -> str:
    """The claim on a plan as a whole."""
    return f"plan:{plan_hash}"


def plan_keys(plan: Plan) -> list[str]:
    """The claims of whoever carries it out: on the plan, and on the moves that it takes back."""
    hashes = {plan.hash, *(str(step.params["plan_hash"]) for step in plan.steps if "plan_hash" in step.params)}
    return [plan_key(one) for one in sorted(hashes)]


def claim_plan(journal: Journal, run_id: str, plan: Plan, site: Site) -> None:
    """Take the plan for this run until it ends; a holder that died gives it up at once, or after its lease.

    :raises PlanHeld: when another run, in another process that may be alive, has it. Nothing was begun then.
    """
    try:
        journal.claim(run_id, plan_keys(plan), holder=holder(), lease_s=lease_s(site), is_gone=is_gone)
    except ClaimHeld as error:
        claim = next((one for key in plan_keys(plan) if (one := journal.claim_on(key)) is not None), None)
        said = f"plan {plan.hash[:12]} {words(journal, claim)}" if claim is not None else error.message
        raise PlanHeld(f"{said[:1].upper()}{said[1:]}", remedy=remedy(plan)) from error


def check_under_way(journal: Journal, run_id: str, plan: Plan) -> list[Finding]:
    """A plan that another run is carrying out at this moment (read only)."""
    for key in plan_keys(plan):
        claim = journal.claim_on(key)
        if claim is not None and claim.run_id != run_id and claim.holder != holder() and not is_gone(claim.holder):
            said = words(journal, claim)
            return [Finding("block", "plan-under-way", f"plan {plan.hash[:12]}", said, remedy(plan))]
    return []


def words(journal: Journal, claim: Claim) -> str:
    """Who carries a plan out, as a sentence without its subject."""
    try:
        operator = f" by {journal.get_run(claim.run_id).operator}"
    except JournalError:
        operator = ""
    return (
        f"is being carried out by run {claim.run_id}{operator}: {holder_words(claim.holder)}. "
        f"Two runs of it would take its servers from each other."
    )


def remedy(plan: Plan) -> str:
    """What to do instead."""
    return (
        f"watch it with `pumphouse show {plan.hash[:12]} --follow`, and run this again when it has ended. A run that "
        f"died without a word gives its plan up at once on the same machine, elsewhere when its lease has ended."
    )


def is_carried_out(journal: Journal, plan: Plan) -> bool:
    """Whether a run that may be alive has the plan (read only)."""
    claim = journal.claim_on(plan_key(plan.hash))
    return claim is not None and not is_gone(claim.holder)
