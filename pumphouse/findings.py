"""Findings: what checks say about a site or a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pumphouse.errors import ChecksFailed

SEVERITIES = ("block", "warn", "info")


@dataclass(frozen=True)
class Finding:
    """One thing worth saying. ``block`` keeps a plan from running; ``code`` names the rule."""

    severity: str
    code: str
    object: str
    message: str
    remedy: str = ""


def blocking(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The ones that block."""
    return tuple(finding for finding in findings if finding.severity == "block")


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Without repetitions, blocking first, then by code and object."""
    return tuple(sorted(set(findings), key=lambda f: (SEVERITIES.index(f.severity), f.code, f.object, f.message)))


def accept(findings: Iterable[Finding], codes: Iterable[str]) -> tuple[Finding, ...]:
    """Turn blocking findings of these codes into warnings that say so.

    :raises ChecksFailed: when a code is not acceptable: it is not a matter of opinion.
    """
    wanted = set(codes)
    refused = wanted - ACCEPTABLE
    if refused:
        raise ChecksFailed(
            f"Findings of code {', '.join(sorted(refused))} cannot be accepted.",
            remedy=f"acceptable are: {', '.join(sorted(ACCEPTABLE))}.",
        )
    return tuple(
        replace(f, severity="warn", message=f"{f.message} (accepted by the operator)")
        if f.severity == "block" and f.code in wanted
        else f
        for f in findings
    )


#: Codes that an operator may accept: something is lost or unknown, but nothing is endangered.
ACCEPTABLE = frozenset(
    {
        "database-unusable",
        "disk-lost",
        "no-canary-yet",
        "no-environment-yet",
        "no-fuel-yet",
        "no-template-yet",
        "template-larger",
        "image-format",
        "ipv6-not-carried",
        "keypair-unknown",
        "master-begun",
        "project-exists",
        "public-not-shared",
        "release-untried",
        "role-exists",
        "rules-unresolved",
        "server-stuck",
        "state-not-kept",
        "stopped-by-us",
        "user-data-damaged",
        "user-exists",
    }
)


def require_none_blocking(findings: Iterable[Finding]) -> None:
    """:raises ChecksFailed: naming every blocking finding."""
    bad = blocking(findings)
    if bad:
        lines = "\n".join(f"  - [{f.code}] {f.object}: {f.message} Remedy: {f.remedy}" for f in bad)
        raise ChecksFailed(
            f"{len(bad)} finding{'s' if len(bad) > 1 else ''} block{'' if len(bad) > 1 else 's'} this run; "
            f"nothing was changed:\n{lines}\n",
            findings=bad,
            remedy="mend each of them, or leave the objects out of the selection; then run again.",
        )
