"""What a step is, and what it works with."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pumphouse.clouds import connect
from pumphouse.clouds.api import Cloud
from pumphouse.databases import Databases
from pumphouse.errors import CloudError, NotCarried, PlanError, StepError, VerificationFailed
from pumphouse.journal import Journal
from pumphouse.nodes.connect import Nodes
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.secretstore import SecretStore
from pumphouse.site import Site

Outcome = Mapping[str, Any]


@dataclass
class Context:
    """Both clouds, the journal and the plan; what every step is given."""

    source: Cloud
    destination: Cloud
    site: Site
    journal: Journal
    secrets: SecretStore
    plan: Plan
    run_id: str
    report: Callable[[str], None] = lambda _line: None
    _owners: dict[tuple[str, str], Cloud] = field(default_factory=dict)
    _plans: dict[str, Plan] = field(default_factory=dict)
    _databases: list[Databases] = field(default_factory=list)
    _nodes: list[Nodes] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan_of(self, plan_hash: str) -> Plan:
        """Another plan of this journal.

        :raises PlanError: when the journal does not hold it.
        """
        with self._lock:
            if plan_hash not in self._plans:
                document = self.journal.plan_document(plan_hash)
                if document is None:
                    raise PlanError(
                        f"The journal does not hold plan {plan_hash[:12]}.", remedy="use the journal of the move."
                    )
                self._plans[plan_hash] = Plan.from_document(document)
            return self._plans[plan_hash]

    @property
    def databases(self) -> Databases:
        """The databases that the site names; opened when they are asked something."""
        with self._lock:
            if not self._databases:
                self._databases.append(Databases(self.site))
            return self._databases[0]

    @property
    def nodes(self) -> Nodes:
        """The hardware that the site describes; opened when it is asked something."""
        with self._lock:
            if not self._nodes:
                self._nodes.append(Nodes(self.site))
            return self._nodes[0]

    def mapped(self, kind: str, source_id: str) -> str:
        """Destination id of a source object.

        :raises NotCarried: when no step has carried it yet.
        """
        found = self.journal.mapping(kind, source_id)
        if found is None:
            raise NotCarried(
                f"{kind} {source_id} of {self.source.name} has no counterpart in {self.destination.name} yet.",
                remedy="run the prepare steps of this plan first.",
            )
        return found

    def acting(self, params: Mapping[str, Any]) -> Cloud:
        """The destination as whoever boots: the server's owner, or the operator in the owner's project.

        ``params`` holds ``as`` ("owner" or "operator"), ``user_id``, ``user_name`` and ``project_id`` (source ids).
        """
        project_id = self.mapped("project", params["project_id"])
        key = (params["user_id"] if params["as"] == "owner" else "", project_id)
        with self._lock:
            if key not in self._owners:
                self._owners[key] = self._connect(params, project_id)
            return self._owners[key]

    def _connect(self, params: Mapping[str, Any], project_id: str) -> Cloud:
        if params["as"] != "owner":
            return self.destination.in_project(project_id)
        password = self.secrets.get(params["user_name"])
        if password is None:
            raise StepError(
                f"No one-time secret for user {params['user_name']} in {self.secrets.path}.",
                remedy="restore the hand-over file, or make the plan again: the operator will boot instead.",
            )
        user_id = self.mapped("user", params["user_id"])
        return self.destination.as_user(user_id=user_id, password=password, project_id=project_id)

    def sources_in(self, project_id: str) -> Generator[Cloud]:
        """The source as us, then as each of the site's owners who belongs to that project (closed afterwards)."""
        yield self.source
        for entry in self.site.owners.values():
            try:
                owner = connect(entry, side="source", clouds_yaml=self.site.clouds_yaml, notice=self.report)
            except CloudError as error:
                self.report(f"clouds.yaml entry {entry} cannot be used: {error.message}")
                continue
            try:
                if owner.project_id == project_id:
                    yield owner
            finally:
                owner.close()

    def close(self) -> None:
        """Close the connections made for owners."""
        with self._lock:
            for cloud in self._owners.values():
                cloud.close()
            self._owners.clear()


class Step(ABC):
    """One kind of change: look, act, re-read; and how to take it back.

    ``maps`` names the mapping that the outcome's ``id`` belongs to (with ``params["source_id"]``), if any.
    """

    kind: ClassVar[str]
    maps: ClassVar[str | None] = None

    @abstractmethod
    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """The outcome if it is in place already, else None (read only).

        :raises StepError: when something else is in its place.
        """

    def stands(self, ctx: Context, step: PlannedStep) -> bool:
        """Whether a step that an earlier run verified is left as it is (read only); else it is done once more.

        Only what does no harm when it is done again may say no.
        """
        return True

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """What the journal's intent should hold beside the intent: a state that acting will destroy (read only)."""
        return {}

    @abstractmethod
    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make it so; called only when :meth:`look` found nothing."""

    def told(self, step: PlannedStep, outcome: Outcome) -> str:
        """What is said of it once :meth:`act` is through and verified."""
        return f"{'done':8} {step.title}"

    @abstractmethod
    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read the cloud again; returns evidence.

        :raises VerificationFailed: when the cloud does not show the outcome.
        """

    def in_words(self, step: PlannedStep, evidence: Outcome) -> str:
        """Evidence as a sentence, where its names and values would be none to people; empty: they are as they stand."""
        return ""

    @abstractmethod
    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Take it back and verify that; ``ours`` is false for what was there before us, which stays.

        ``outcome`` holds what :meth:`before` and the step itself said; a crash between the call and the journal
        leaves only the former. Returns evidence.
        """


def expect(what: str, differences: Mapping[str, tuple[Any, Any]]) -> None:
    """Raise VerificationFailed when ``differences`` (name -> (expected, found)) holds any."""
    wrong = {name: pair for name, pair in differences.items() if pair[0] != pair[1]}
    if wrong:
        text = "; ".join(f"{name} should be {want!r} but is {have!r}" for name, (want, have) in wrong.items())
        raise VerificationFailed(
            f"{what}: {text}.", remedy="look at the object in the cloud; then run again, or roll back."
        )


def begun_by_us(ctx: Context, step: PlannedStep, kind: str) -> bool:
    """Whether we set out to make it and never got as far as noting that it is made."""
    return ctx.journal.made_by_us(step.key) and ctx.journal.mapping(kind, step.params["source_id"]) is None
