"""Planning of moves, of their ends and of their ways back: anew, or what was begun and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from pumphouse import approval as approvals
from pumphouse.clouds.api import Cloud
from pumphouse.databases import Databases, Verdict, read_facts, remove_left_behind
from pumphouse.errors import ApprovalMissing, CloudError, PlanError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.journal import Journal, StepState
from pumphouse.plan.after import cut_over_by, plan_finalise, plan_rollback
from pumphouse.plan.behind import gone_with, unknown_copies
from pumphouse.plan.group_changes import changed_groups
from pumphouse.plan.model import Plan
from pumphouse.plan.move import plan_move
from pumphouse.plan.networks import taken_addresses
from pumphouse.putback import half_way
from pumphouse.secretstore import SecretStore
from pumphouse.selection import Selection
from pumphouse.session.takeup import approved_before, as_then, left_over
from pumphouse.site import Site


class Planning:
    """Makes the plans about servers for one run. Reads both clouds; what it writes is said with each plan."""

    def __init__(
        self,
        site: Site,
        source: Cloud,
        destination: Cloud,
        journal: Journal,
        secrets: SecretStore,
        databases: Databases,
        *,
        inventory: Callable[[], Inventory],
        keep: Callable[[Plan, tuple[Finding, ...]], Plan],
        resume: Callable[[str, str, Iterable[str]], Plan | None],
        take_up: Callable[[Plan], Plan],
    ) -> None:
        self._site, self._source, self._destination, self._journal = site, source, destination, journal
        self._secrets, self._databases = secrets, databases
        self._inventory, self._keep, self._resume, self._take_up = inventory, keep, resume, take_up
        self._verdicts: dict[str, Verdict] = {}

    def move(self, selection: Selection) -> Plan:
        """See :meth:`pumphouse.session.run.Run.plan_move`."""
        return self._resume_move(selection) or self._plan_move(selection)

    def _resume_move(self, selection: Selection) -> Plan | None:
        """A begun move of this selection, unless some of it was undone, or nothing is down yet and it is stale."""
        plan = self._resume("move", selection.digest, ("started", "finished"))
        left = None if plan else left_over(self._journal, selection.server_ids, self._inventory().source)
        if left is not None:
            plan = self._take_up(left)
        if plan is None:
            return None
        states = self._journal.step_states(plan.hash)
        if self._was_undone(plan):
            return plan if half_way(plan, states) else None
        cut_over = any(states.get(step.key, StepState()).in_effect for step in plan.phase("cutover"))
        return plan if cut_over or not self._is_stale(plan) else None

    def _plan_move(self, selection: Selection) -> Plan:
        inventory = self._inventory()
        users = self._users_of(selection)
        plan, findings = plan_move(
            inventory,
            selection,
            self._site,
            secrets_known=frozenset(name for name in self._secrets.names() if self._can_log_in(name, users)),
            secrets_held=self._secrets.names(),
            databases=read_facts(
                self._databases,
                self._destination,
                user_ids=users,
                server_ids=selection.server_ids,
                verdicts=self._verdicts,
            ),
            moved={server_id: plan_hash for server_id, (plan_hash, _) in cut_over_by(self._journal).items()},
            taken=self._taken(inventory.source),
        )
        while self._was_undone(plan):
            plan = replace(plan, sequence=plan.sequence + 1)
        taken = approved_before(self._journal, plan, findings, self._is_approved, self._inventory().source)
        return self._keep(*(taken or (plan, findings)))

    def _is_approved(self, plan: Plan) -> bool:
        try:
            approvals.require_approval(plan, self._site.work_dir / "approvals")
        except ApprovalMissing:
            return False
        return True

    def _users_of(self, selection: Selection) -> frozenset[str]:
        """Source ids of everybody whom a move of these servers may carry: their owners and projects' members."""
        source = self._inventory().source
        servers = [server for i in selection.server_ids if (server := source.server(i)) is not None]
        members = (a.user_id for project in {s.project_id for s in servers} for a in source.assignments_of(project))
        return frozenset((*members, *(server.user_id for server in servers)))

    def _can_log_in(self, name: str, users: frozenset[str]) -> bool:
        """Whether a one-time secret opens: its user may have changed it, or have its own password. One whose user has
        yet to be made will."""
        password = self._secrets.get(name)
        there = self._inventory().destination
        made = there.user_named(name) if there is not None else None
        if password is None or made is None:
            return password is not None
        try:
            return made.source_id in users and self._destination.accepts_password(made.id, password)
        except CloudError:
            return False

    def _taken(self, source: Snapshot) -> frozenset[str]:
        """Addresses that the source cannot spare for the destination, though none of its servers shows them."""
        if source.facts.network_service != "nova-network":
            return frozenset()
        ours: set[str] = set()
        for document in self._journal.plan_documents(kind="move", states=("started", "finished")):
            plan = Plan.from_document(document)
            states = self._journal.step_states(plan.hash)
            steps = [step for step in plan.steps if step.kind == "reserve-slice" and step.key in states]
            ours |= {a for step in steps if states[step.key].in_effect for a in step.params["addresses"]}
        return taken_addresses(source, self._source.nova_network, ours=frozenset(ours))

    def _was_undone(self, plan: Plan) -> bool:
        return any(state.state in ("undone", "undoing") for state in self._journal.step_states(plan.hash).values())

    def _is_stale(self, plan: Plan) -> bool:
        """Whether none of its servers is as it was: as long as one is, that one can move."""
        source = self._inventory().source
        there = {server.id: server for server in source.servers}
        regrouped = changed_groups(plan, source.security_groups)
        left = (planned for planned in plan.servers if planned.id not in regrouped)
        return not any(as_then(planned, there.get(planned.id)) for planned in left)

    def finalise(self, selection: Selection) -> Plan:
        """See :meth:`pumphouse.session.run.Run.plan_finalise`."""
        plan, findings = plan_finalise(self._journal, selection.digest, selection.server_ids, hold_s=self._site.hold_s)
        return self._keep(plan, findings)

    def rollback(self, selection: Selection) -> Plan:
        """See :meth:`pumphouse.session.run.Run.plan_rollback`."""
        begun = self._resume("rollback", selection.digest, ("started",))
        if begun is not None:
            return begun
        if self._site.destination_databases.get("keystone"):
            remove_left_behind(self._destination)
        try:
            inventory = self._inventory()
            gone = gone_with(self._journal, selection.server_ids, inventory)
            plan, findings = plan_rollback(self._journal, selection.digest, selection.server_ids, gone=gone)
            findings += unknown_copies(plan, inventory.destination)
        except PlanError:
            finished = self._resume("rollback", selection.digest, ("finished",))
            if finished is None:
                raise
            return finished
        return self._keep(plan, findings)
