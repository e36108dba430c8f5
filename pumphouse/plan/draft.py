"""What a move plan is drafted from and grows into: two snapshots in, steps, notes and findings out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pumphouse.databases import DatabaseFacts
from pumphouse.findings import Finding
from pumphouse.inventory import Snapshot
from pumphouse.model import Server
from pumphouse.plan.model import Note, PlannedStep
from pumphouse.serving import ProbeSpec
from pumphouse.site import Site

if TYPE_CHECKING:
    from pumphouse.plan.clashes import Place


@dataclass
class Draft:
    """A plan in the making, for ``servers``.

    ``secrets`` are names of users whose one-time secret we hold from an earlier plan and can log in with, ``held`` of
    those whose secret we hold at all. ``databases`` is what Keystone's and Nova's databases told. ``places`` is where
    users go, by their source id. ``taken`` are addresses that the source cannot spare, beside those of its servers.
    ``probe``: how the selection wants all its servers to be asked whether they serve; None: as ``site.yaml`` says.
    """

    source: Snapshot
    destination: Snapshot
    site: Site
    secrets: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    databases: DatabaseFacts = field(default_factory=DatabaseFacts)
    servers: tuple[Server, ...] = ()
    steps: dict[str, PlannedStep] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    copy_bytes: int = 0
    probe: ProbeSpec | None = None

    def block(self, code: str, obj: str, message: str, remedy: str) -> None:
        """Note what keeps the plan from running."""
        self.findings.append(Finding("block", code, obj, message, remedy))

    def warn(self, code: str, obj: str, message: str, remedy: str = "") -> None:
        """Note what an operator should know."""
        self.findings.append(Finding("warn", code, obj, message, remedy))

    def add(self, key: str, **fields: Any) -> str:
        """Add a step, unless there is one of that key (its kind is the key's first part); returns the key."""
        if key not in self.steps:
            fields.setdefault("phase", "prepare")
            fields.setdefault("changes", "destination")
            fields.setdefault("kind", key.partition(":")[0])
            self.steps[key] = PlannedStep(key=key, **fields)
        return key
