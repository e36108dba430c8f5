"""Approvals: a file bound to a plan's hash, written by a person, read by every run of that plan."""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pumphouse.errors import ApprovalMissing, ApprovalRefused
from pumphouse.fileio import write_atomic
from pumphouse.journal import PlanState
from pumphouse.plan.model import Plan

APPROVAL_SCHEMA = 1


@dataclass(frozen=True)
class Approval:
    """Who said yes to exactly which plan, when and why.

    ``approved_by`` is the name that was given, ``account`` the login under which it was typed (empty: an approval of
    an older version), ``second`` who else said yes, where two have to.
    """

    plan_hash: str
    approved_by: str
    reason: str
    ticket: str
    approved_at: str
    account: str = ""
    second: str = ""
    schema: int = APPROVAL_SCHEMA


def approve(
    plan: Plan,
    folder: Path,
    *,
    by: str,
    reason: str,
    ticket: str = "",
    second: str = "",
    state: PlanState | None = None,
    replace: bool = False,
) -> Path:
    """Write the approval of a plan into ``folder`` (changes no cloud); returns the file.

    :param second: a second person who read the plan, too; somebody else than ``by``.
    :param state: where the plan stands, as the journal says.
    :param replace: put this approval in the place of one that is there.
    :raises ApprovalMissing: when name or reason is empty.
    :raises ApprovalRefused: when the plan is over, or was approved already and ``replace`` is not set.
    """
    if not by.strip() or not reason.strip():
        raise ApprovalMissing(
            f"The approval of plan {plan.hash[:12]} names no person or no reason.", remedy="give both."
        )
    if second.strip().casefold() == by.strip().casefold():
        raise ApprovalMissing(
            f"The approval of plan {plan.hash[:12]} names {by.strip()} twice.",
            remedy="let somebody else be the second person, or leave the second one out.",
        )
    if state is not None and state.is_over:
        raise ApprovalRefused(
            f"The {plan.kind} plan {plan.hash[:12]} is {state}: there is nothing left of it to approve.",
            remedy="run the notebook again: it makes a plan of what is to be done now, with a hash of its own.",
        )
    path = folder / f"{plan.hash}.json"
    if path.exists() and not replace:
        raise ApprovalRefused(
            f"Plan {plan.hash[:12]} is approved already{_by_whom(path)}.",
            remedy="run the notebook with it; or approve again with --replace, if that approval is to be overruled.",
        )
    now = datetime.now(UTC).isoformat()
    approval = Approval(plan.hash, by.strip(), reason.strip(), ticket.strip(), now, account(), second.strip())
    write_atomic(path, json.dumps(asdict(approval), indent=2) + "\n")
    return path


def account() -> str:
    """The login that runs this process: ``name@host``, as far as they can be told."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user id without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{os.uname().nodename}"


def doubt(approval: Approval, operator: str) -> str:
    """What the record of a run in this process will say against an approval, in its own words; empty: nothing."""
    if approval.approved_by == operator and approval.second in ("", operator):
        return "BY THE OPERATOR"
    return "FROM THE OPERATOR'S ACCOUNT" if approval.account == account() else ""


def _by_whom(path: Path) -> str:
    try:
        found = Approval(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return f", by a file that cannot be read ({path.name})"
    ticket = f", ticket {found.ticket}" if found.ticket else ""
    return f", by {found.approved_by} at {found.approved_at}{ticket} ({found.reason})"


def other_ticket(plan_hash: str, ticket: str, change: str) -> str:
    """Whether a plan was approved for another change than the one it is carried out for, in words; empty: it was not.

    :param change: the change ticket of the run.
    """
    if ticket.strip().casefold() == change.strip().casefold():
        return ""
    plan = f"Plan {plan_hash[:12]}"
    if not ticket:
        return f"{plan} was approved without a ticket; the request was made for change {change}."
    if not change:
        return f"{plan} was approved for ticket {ticket}; the request named no change ticket."
    return f"{plan} was approved for ticket {ticket}, not for the request's change {change}."


def require_approval(plan: Plan, folder: Path, *, file: str = "") -> Approval:
    """The approval of this very plan (read only).

    :param file: where to look; ``folder`` by default.
    :raises ApprovalMissing: when there is none, or it is bound to another plan or unreadable.
    """
    path = Path(file) if file else folder / f"{plan.hash}.json"
    remedy = (
        f"let somebody read the plan and approve it, in the form of the notebook or with: "
        f"pumphouse approve {plan.hash[:12]} --by NAME --reason WHY"
    )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        approval = Approval(**raw)
    except FileNotFoundError as error:
        where = path if file else "the site's work folder"
        raise ApprovalMissing(
            f"Plan {plan.hash[:12]} is not approved: there is no approval of it in {where}.", remedy=remedy
        ) from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ApprovalMissing(f"Approval file {path} cannot be read: {error}.", remedy=remedy) from error
    if not all(isinstance(said, str) and said.strip() for said in (approval.approved_by, approval.reason)):
        raise ApprovalMissing(f"Approval file {path} names no person or no reason.", remedy=remedy)
    if approval.schema != APPROVAL_SCHEMA or approval.plan_hash != plan.hash:
        raise ApprovalMissing(
            f"Approval file {path} is bound to plan {str(approval.plan_hash)[:12]}, this is plan {plan.hash[:12]}: "
            f"the source or the selection changed since.",
            remedy=remedy,
        )
    return approval
