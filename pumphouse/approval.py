"""Approvals: a file bound to a plan's hash, written by a person, read by every run of that plan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pumphouse.errors import ApprovalMissing
from pumphouse.fileio import write_atomic
from pumphouse.plan.model import Plan

APPROVAL_SCHEMA = 1


@dataclass(frozen=True)
class Approval:
    """Who said yes to exactly which plan, when and why."""

    plan_hash: str
    approved_by: str
    reason: str
    ticket: str
    approved_at: str
    schema: int = APPROVAL_SCHEMA


def approve(plan: Plan, folder: Path, *, by: str, reason: str, ticket: str = "") -> Path:
    """Write the approval of a plan into ``folder`` (changes no cloud); returns the file.

    :raises ApprovalMissing: when name or reason is empty.
    """
    if not by.strip() or not reason.strip():
        raise ApprovalMissing(
            f"The approval of plan {plan.hash[:12]} names no person or no reason.", remedy="give both."
        )
    approval = Approval(plan.hash, by.strip(), reason.strip(), ticket.strip(), datetime.now(UTC).isoformat())
    path = folder / f"{plan.hash}.json"
    write_atomic(path, json.dumps(asdict(approval), indent=2) + "\n")
    return path


def require_approval(plan: Plan, folder: Path, *, file: str = "") -> Approval:
    """The approval of this very plan (read only).

    :param file: where to look; ``folder`` by default.
    :raises ApprovalMissing: when there is none, or it is bound to another plan or unreadable.
    """
    path = Path(file) if file else folder / f"{plan.hash}.json"
    remedy = f"let somebody read the plan and run: pumphouse approve {plan.hash[:12]} --by NAME --reason WHY"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        approval = Approval(**raw)
    except FileNotFoundError as error:
        raise ApprovalMissing(f"Plan {plan.hash[:12]} is not approved: no file {path.name}.", remedy=remedy) from error
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
