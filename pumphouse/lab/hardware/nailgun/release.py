"""What tells the releases of Nailgun apart, and the documents that each ships with."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

RELEASES = ("5.1", "6.0", "6.1", "7.0", "8.0")
#: What a real master answers and the lab's does not: as to an unknown path, or as said.
NOT_IMPLEMENTED = (
    "/clusters/N/orchestrator/{provisioning,deployment}: what Astute is told",
    "VMware attributes, network templates, node groups, plugins, deployment tasks, logs, health checks",
    "releases and master settings can be read, not changed",
    "TLS: clouds that it deploys speak none, and new environments of 7.0 do not ask for it",
    "bonded interfaces: told and laid out as single ones only",
    "changes to networks or attributes of a deployed environment are no changes to deploy",
)
#: 5.1 answers as 6.0 does, but for what :func:`documents_of` takes away.
_SHIPS_AS = {"5.1": "6.0"}


@dataclass(frozen=True)
class Traits:
    """One release."""

    name: str
    documents: dict[str, Any]

    @property
    def number(self) -> tuple[int, int]:
        """(major, minor)."""
        major, minor = self.name.split(".")[:2]
        return int(major), int(minor)

    @property
    def json_errors(self) -> bool:
        """Refusals are JSON; plain text before."""
        return self.number >= (6, 1)

    @property
    def null_bodies(self) -> bool:
        """An assignment answers ``null``; the word ``None`` before."""
        return self.number >= (7, 0)

    @property
    def hostnames(self) -> bool:
        """Nodes have a host name from discovery on, and labels."""
        return self.number >= (7, 0)

    @property
    def begun(self) -> str:
        """The first status of a task that begins."""
        return "pending" if self.number >= (8, 0) else "running"

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes that a new environment may have."""
        return ("multinode", "ha_compact") if self.number <= (6, 0) else ("ha_compact",)

    @property
    def nova_network(self) -> bool:
        """Whether environments with nova-network can be made."""
        return self.number < (8, 0)

    @property
    def finished_code(self) -> int:
        """HTTP status of a task that is over already."""
        return 202 if self.number <= (6, 0) else 200

    def document(self, name: str) -> Any:
        """A copy of a document that this release ships with; None where it has none."""
        return copy.deepcopy(self.documents.get(name))


def attributes_of(traits: Traits) -> dict[str, Any]:
    """The attributes of a new environment. 7.0 would give it TLS, which the lab's clouds do not speak."""
    found: dict[str, Any] = traits.document("attributes")
    if "public_ssl" in found["editable"]:
        found["editable"]["public_ssl"]["services"]["value"] = False
    return found


def documents_of(name: str) -> dict[str, Any]:
    """The documents of a release.

    :raises ValueError: for a release that the lab does not simulate.
    """
    if name not in RELEASES:
        raise ValueError(f"the lab simulates Fuel {', '.join(RELEASES)}, not {name}")
    file = resources.files(__package__).joinpath("data", f"{_SHIPS_AS.get(name, name)}.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if name == "5.1":
        found["version"]["release"] = found["cluster"]["fuel_version"] = "5.1.1"
        found["settings"] = found["release_networks"] = None
        for release in found["releases"]:
            release["name"] = release["name"].replace("Juno", "Icehouse")
            release["version"] = "2014.1.3-5.1.1"
            del release["is_deployable"]
        del found["node"]["group_id"]
        for provider in ("nova_network", "neutron"):
            for network in found[provider]["networks"]:
                network["cluster_id"] = network.pop("group_id")
    return found


def traits_of(name: str) -> Traits:
    """A release by its name."""
    return Traits(name, documents_of(name))
