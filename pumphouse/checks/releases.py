"""Which clouds pumphouse moves between: the releases it knows, and what it says of the others."""

from __future__ import annotations

from pumphouse.clouds.releases import NAMEABLE
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory
from pumphouse.model import CloudFacts

#: Sources that pumphouse is tested against: the seed's three, and the last release that had nova-network.
SOURCES = (*NAMEABLE, "ocata")


def check_clouds(inventory: Inventory) -> list[Finding]:
    """Refuse a source of an unknown or untried release, and two names for one cloud (read only; asks no cloud).

    An unknown release blocks and cannot be accepted, since nobody knows what its answers mean; one between those that
    are tried blocks until an operator accepts ``release-untried``.
    """
    facts = inventory.source.facts
    evidence = "; ".join(facts.evidence) or "nothing"
    findings = []
    if facts.release is None:
        findings.append(
            Finding(
                "block",
                "release-unknown",
                f"cloud {facts.cloud}",
                f"does not tell which release it is. What it tells: {evidence}.",
                f"if you know that it is one of {', '.join(NAMEABLE)}, say so as `source.release` in site.yaml; other "
                "releases are no source for pumphouse.",
            )
        )
    elif facts.release not in SOURCES:
        findings.append(
            Finding(
                "block",
                "release-untried",
                f"cloud {facts.cloud}",
                f"is {facts.release}, which pumphouse was never tried with ({evidence}).",
                f"sources are {', '.join(SOURCES)}; accept `release-untried` after a rehearsal with a server that "
                "may be lost.",
            )
        )
    if inventory.destination is not None:
        ours = {server.id: server.name for server in inventory.source.servers}
        twice = sorted(ours[server.id] for server in inventory.destination.servers if server.id in ours)
        if twice:
            findings.append(
                Finding(
                    "block",
                    "same-cloud",
                    f"cloud {inventory.destination.facts.cloud}",
                    f"holds the very servers of {facts.cloud} ({', '.join(twice[:3])}{'…' if len(twice) > 3 else ''}): "
                    "both names lead to one cloud.",
                    "correct `destination.cloud` in site.yaml, or that entry of clouds.yaml.",
                )
            )
    return findings


def describe(facts: CloudFacts) -> str:
    """A cloud in a paragraph, for a terminal: what it is, what tells so, and its abilities."""
    apis = f"Keystone {facts.identity_api}, Glance {facts.image_api}, Nova {facts.compute_api}"
    lines = [
        f"{facts.cloud}: {facts.release or 'release unknown'}, {facts.network_service}, {apis}",
        f"    as {facts.user_name} in {facts.project_name}",
        f"    because {'; '.join(facts.evidence) or 'it says so'}",
    ]
    lines += [f"    {name}: {value}" for name, value in facts.abilities.items()]
    return "\n".join(lines)
