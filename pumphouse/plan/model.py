"""What a plan is: ordered steps with their needs, notes on what is not carried, and a hash of all that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pumphouse.errors import PlanError

PLAN_SCHEMA = 1

#: Phases in the order in which they run: those of servers, those of hardware (see :mod:`pumphouse.plan.hardware`).
PHASES = (
    "prepare", "cutover", "finalise",
    "evacuate", "archive", "release", "create", "discover", "install", "prove", "retire",
    "undo",
)  # fmt: skip

_LATER_FIELDS = ("node", "host")


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan.

    ``key`` is unique in the plan (``boot:<server id>``); ``kind`` names the :class:`pumphouse.steps.base.Step`
    that does it; ``title`` is for people; ``changes`` is ``source``, ``destination`` or ``both``; ``needs`` are
    keys of steps that must be verified before; ``params`` is JSON. ``undo`` says how it is undone and what that
    costs; ``None`` means irreversible, and then ``cost`` says what is lost. ``server_id``, ``node`` (its name in
    site.yaml) and ``host`` (a compute host of the source) are what the step has for itself while its run lasts.
    """

    key: str
    kind: str
    phase: str
    title: str
    changes: str
    needs: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    undo: str | None = None
    cost: str = ""
    server_id: str | None = None
    node: str | None = None
    host: str | None = None

    @property
    def owner(self) -> str | None:
        """The server, node or host that it is about; None: several share it."""
        return self.server_id or self.node or self.host


@dataclass(frozen=True)
class Note:
    """Something that the plan carries differently, or not at all, and why."""

    object: str
    text: str


@dataclass(frozen=True)
class PlanServer:
    """A server of the plan as it was when the plan was made; ``fingerprint`` detects later changes.

    ``updated_at`` is when Nova last changed its record then (ISO 8601): what was done to it since is later.
    """

    id: str
    name: str
    project: str
    host: str | None
    status: str
    addresses: tuple[str, ...]
    floating_ips: tuple[str, ...]
    fingerprint: str
    flavor: str = ""
    image: str = ""
    updated_at: str | None = None


@dataclass(frozen=True)
class Plan:
    """Ordered steps for a selection; the hash binds approvals to exactly this plan."""

    kind: str  # move, finalise, rollback; acquire, fuel, transfer, decommission, give-back
    source: str
    destination: str
    selection_digest: str
    servers: tuple[PlanServer, ...]
    steps: tuple[PlannedStep, ...]
    notes: tuple[Note, ...] = ()
    copy_bytes: int = 0
    sequence: int = 0  # how many equal plans were rolled back before: each wants an approval of its own
    schema: int = PLAN_SCHEMA

    @property
    def document(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        for step in document["steps"]:
            for name in _LATER_FIELDS:
                if step[name] is None:
                    del step[name]  # as plans were before there was hardware: their hashes stay what they were
        for server in document["servers"]:
            if server["updated_at"] is None:
                del server["updated_at"]
        return document

    @cached_property
    def hash(self) -> str:
        """SHA-256 over the canonical JSON of the whole plan (64 hex digits)."""
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Plan:
        """Read :attr:`document` back.

        :raises PlanError: when it is not a plan of this schema.
        """
        if not isinstance(document, Mapping) or document.get("schema") != PLAN_SCHEMA:
            raise PlanError(
                f"Not a plan of schema {PLAN_SCHEMA}.", remedy="make the plan again with this version of pumphouse."
            )
        try:
            fields = dict(document)
            fields["servers"] = tuple(
                PlanServer(**{**s, "addresses": tuple(s["addresses"]), "floating_ips": tuple(s["floating_ips"])})
                for s in document["servers"]
            )
            fields["steps"] = tuple(PlannedStep(**{**s, "needs": tuple(s["needs"])}) for s in document["steps"])
            fields["notes"] = tuple(Note(**n) for n in document["notes"])
            plan = cls(**fields)
            whole = plan.document == document and all(step.phase in PHASES for step in plan.steps)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(f"A damaged plan document: {error!r}.", remedy="make the plan again.") from error
        if not whole:
            # its hash would be another than the one under which its approval and its steps are known
            raise PlanError("A plan document that reads back as another plan.", remedy="make the plan again.")
        return plan

    @property
    def subject(self) -> str:
        """What it is about, for a line: its nodes with their hosts, or its number of servers."""
        nodes = dict.fromkeys(
            f"{step.node} ({step.host})" if step.host and step.host != step.node else step.node
            for step in self.steps
            if step.node
        )
        names = {name.partition(" ")[0]: name for name in sorted(nodes)}  # the longer one, where a host is known
        count = len(self.servers)
        return ", ".join(names.values()) or f"{count} server{'' if count == 1 else 's'}"

    @property
    def lost_for_ever(self) -> dict[str, int]:
        """What it destroys without return, in words -> by how many steps."""
        found: dict[str, int] = {}
        for step in filter(self.is_irreversible, self.steps):
            words = step.cost or "cannot be undone"
            found[words] = found.get(words, 0) + 1
        return found

    def is_irreversible(self, step: PlannedStep) -> bool:
        """Whether one of its steps destroys something without return. What only takes back can be done again: such a
        step does so at a cost alone.
        """
        return step.undo is None and bool(step.cost or self.kind not in ("give-back", "rollback"))

    def step(self, key: str) -> PlannedStep:
        """One step by key."""
        for step in self.steps:
            if step.key == key:
                return step
        raise PlanError(f"Plan {self.hash[:12]}: no step {key}.", remedy="use a key that the plan shows.")

    def phase(self, *phases: str) -> tuple[PlannedStep, ...]:
        """Steps of these phases, in plan order."""
        return tuple(step for step in self.steps if step.phase in phases)

    def server(self, server_id: str) -> PlanServer:
        """One server of the plan."""
        for server in self.servers:
            if server.id == server_id:
                return server
        raise PlanError(f"Plan {self.hash[:12]}: no server {server_id}.", remedy="use an id that the plan shows.")


def order(steps: Iterable[PlannedStep]) -> tuple[PlannedStep, ...]:
    """Sort steps so that each comes after its needs, stable by phase and key.

    :raises PlanError: on a cycle or a need that no step meets.
    """
    by_key: dict[str, PlannedStep] = {}
    for step in steps:
        if step.key in by_key:
            raise PlanError(f"Two steps {step.key} in one plan.", remedy="report this: it is a fault of the planner.")
        by_key[step.key] = replace(step, needs=tuple(sorted(set(step.needs))))
    for step in by_key.values():
        missing = [need for need in step.needs if need not in by_key]
        if missing:
            raise PlanError(
                f"Step {step.key} needs {', '.join(missing)}, which the plan does not hold.",
                remedy="report this: it is a fault of the planner.",
            )
    sorter = TopologicalSorter({step.key: step.needs for step in by_key.values()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise PlanError(f"The plan's steps wait for each other: {error.args[1]}.", remedy="report this.") from error
    done: list[PlannedStep] = []
    while sorter.is_active():
        ready = sorted((by_key[key] for key in sorter.get_ready()), key=lambda s: (PHASES.index(s.phase), s.key))
        done.extend(ready)
        sorter.done(*(step.key for step in ready))
    return tuple(done)
