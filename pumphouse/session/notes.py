"""What a run writes into the journal about itself, so that its record can tell who, where, what and on whose word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pumphouse.clouds.api import Cloud
from pumphouse.findings import Finding
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.session.story import BIND, CHECK, PLAN


def note_binding(journal: Journal, run_id: str, *, change: str, operator: str, clouds: Iterable[Cloud]) -> None:
    """Which clouds (as they described themselves), for which change, by whom."""
    facts = [{**asdict(cloud.facts), "auth_url": without_user(cloud.facts.auth_url)} for cloud in clouds]
    journal.write(run_id, "", BIND, "bound", {"change": change, "operator": operator, "clouds": facts})


def note_plan(journal: Journal, run_id: str, plan: Plan) -> None:
    """That the run made or took up this plan."""
    journal.write(run_id, plan.hash, PLAN, "planned", {"kind": plan.kind, "servers": len(plan.servers)})


def note_findings(
    journal: Journal, run_id: str, plan: Plan | None, findings: Iterable[Finding], accepted: Iterable[str]
) -> None:
    """What the checks found, and what the operator accepted of it."""
    found = list(findings)
    codes = sorted({finding.code for finding in found} & set(accepted))
    data: dict[str, Any] = {
        "counts": dict(Counter(finding.severity for finding in found)),
        "accepted": codes,
        "findings": [asdict(finding) for finding in found if finding.severity != "info"],
    }
    journal.write(run_id, plan.hash if plan else "", CHECK, "checked", data)


def without_user(url: str) -> str:
    """An address as it may be kept: a user and password in it are left out."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
