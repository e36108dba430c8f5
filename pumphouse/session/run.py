"""The run: who, where, which change; and the verbs that notebooks call."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from pumphouse import approval as approvals
from pumphouse.checks import check_plan, check_site
from pumphouse.checks.gate import check_gate
from pumphouse.checks.images import check_images, check_records
from pumphouse.checks.network_quotas import check_network_quotas
from pumphouse.checks.stopped import check_stopped
from pumphouse.checks.survey import survey_files
from pumphouse.clouds import LaterCloud, connect, connect_later, connect_site, connect_source
from pumphouse.clouds.api import Cloud
from pumphouse.databases import Databases, unusable
from pumphouse.errors import (
    ApprovalMissing,
    ChecksFailed,
    CloudError,
    JournalError,
    PlanError,
    PlanHeld,
    PumphouseError,
    StepError,
)
from pumphouse.executor import Execution, execute
from pumphouse.fileio import write_atomic
from pumphouse.findings import Finding, accept, ordered, require_none_blocking
from pumphouse.inventory import Inventory, Snapshot, take_snapshot
from pumphouse.journal import Journal, PlanState, StepState
from pumphouse.model import Keypair
from pumphouse.order import Order
from pumphouse.plan.model import Plan
from pumphouse.records.sheet import FAILED
from pumphouse.secretstore import SecretStore
from pumphouse.selection import Selection
from pumphouse.session.byhand import RunByHand
from pumphouse.session.fidelity import Fidelity, take_ledger
from pumphouse.session.hardware import HardwareWork
from pumphouse.session.looking import Seen, look_around
from pumphouse.session.notes import note_binding, note_findings, note_plan
from pumphouse.session.planning import Planning
from pumphouse.session.report import Report, make_report
from pumphouse.session.samecloud import require_same_destination
from pumphouse.session.story import change_of
from pumphouse.session.takeup import resumed
from pumphouse.session.together import check_under_way, claim_plan, plan_keys
from pumphouse.site import Site, load_site
from pumphouse.steps import STEPS, Context
from pumphouse.stopping import was_stopped

#: Environment variable by which the runner hands its run to the notebook that it executes.
RUN_ID_VARIABLE = "PUMPHOUSE_RUN_ID"

#: Bound of each HTTP call of a run that only looks, in seconds: a cloud that is down must not keep anybody waiting.
_LOOK_S = 15.0
#: Shows a run how far the phase of a plan has come, for as long as it is entered.
Watch = Callable[["Run", Plan, str], AbstractContextManager[object]]


def begin(
    site: str | Path = "",
    *,
    change: str = "",
    operator: str = "",
    notebook: str = "",
    hardware: bool = False,
    look: bool = False,
    report: Callable[[str], None] = print,
    notice: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> Run:
    """Open a run: read the site, connect both clouds, open the journal (read only on both clouds).

    :param site: the site file; empty: what ``PUMPHOUSE_SITE`` names, else ``site.yaml`` in this folder.
    :param change: the change ticket that this run belongs to.
    :param operator: who runs it; the login name by default.
    :param notebook: what is run, for the journal.
    :param hardware: the run works on nodes; the destination, which may not have been made yet, is connected when it is
        first needed, and so is a source that cannot be reached: it may have ended.
    :param look: the run only looks: what is wrong with a cloud is told by :attr:`Run.unreached` and not raised.
    :param report: takes one line per event.
    :param notice: takes one line when a call to a cloud waits for its rate limit or is repeated; else ``report`` does.
    :param watch: entered with the run, the plan and the phase while steps are carried out; shows how far they are.
    :raises SiteError: when the site's files are wrong.
    :raises CloudError: when a cloud cannot be reached or refuses us.
    :raises JournalError: when the journal cannot be opened.
    """
    described = load_site(site)
    notice = notice or report
    journal = Journal.open(described.journal_url, outage_s=described.outage_s, notice=notice)
    operator = operator or getpass.getuser()
    run_id = os.environ.get(RUN_ID_VARIABLE, "")
    by_hand = None
    if not run_id:
        by_hand = RunByHand.start(journal, described, notebook=notebook, change=change, operator=operator)
        run_id = by_hand.id
    else:
        journal.get_run(run_id)  # a run of another journal would let every step land where nobody looks
    source: Cloud
    destination: Cloud
    try:
        if look:
            source, destination = both = connect_later(described, timeout_s=_LOOK_S, notice=lambda _line: None)
            for cloud in both:
                cloud.try_now()
        elif hardware:
            source, destination = connect_source(described, notice=notice)
        else:
            source, destination = connect_site(described, notice=notice)
    except PumphouseError as error:
        if by_hand is not None:
            # what is wrong with the clouds is told; a run that cannot be closed now is closed by the next one
            with suppress(PumphouseError):
                by_hand.end(FAILED, error.message)
        raise
    return Run(
        described, source, destination, journal, run_id,
        by_hand=by_hand, change=change, operator=operator, report=report, notice=notice, watch=watch,
    )  # fmt: skip


class Run:
    """One execution of a notebook against one site. Make it with :func:`begin`."""

    def __init__(
        self,
        site: Site,
        source: Cloud,
        destination: Cloud,
        journal: Journal,
        run_id: str,
        *,
        by_hand: RunByHand | None,
        change: str,
        operator: str,
        report: Callable[[str], None],
        notice: Callable[[str], None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.site, self.source, self.destination, self.journal = site, source, destination, journal
        self.id, self.change, self.operator = run_id, change, operator
        self._by_hand, self._report, self._on_notice = by_hand, report, notice or report
        self._watch = watch
        self._secrets = SecretStore(site.secrets_file)
        self._databases = Databases(site)
        self._inventory: Inventory | None = None
        self._findings: dict[str, tuple[Finding, ...]] = {}
        self._notices: list[Finding] = []
        # why a run by hand did not succeed, though all its steps did: what could not be verified again, what ended it
        self._ended_by: dict[str, str] = {}
        self._bound: tuple[Cloud, ...] = ()
        self._bind()

    def __repr__(self) -> str:
        return (
            f"run {self.id} by {self.operator}{f' for change {self.change}' if self.change else ''}: "
            f"{self.source.name} → {self.destination.name} (site {self.site.name})"
        )

    @property
    def clouds(self) -> tuple[Cloud, ...]:
        """Those we are logged in to: a destination as soon as there is one, a source as long as there is one."""
        both = (self.source, self.destination)
        return tuple(cloud for cloud in both if not isinstance(cloud, LaterCloud) or cloud.connected)

    @property
    def unreached(self) -> tuple[LaterCloud, ...]:
        """Clouds that we tried to log in to, and could not."""
        both = (self.source, self.destination)
        return tuple(cloud for cloud in both if isinstance(cloud, LaterCloud) and cloud.problem is not None)

    def _bind(self) -> None:
        """Note which clouds this run works on, and again when the destination was reached only now."""
        if self._bound != self.clouds:
            self._bound = self.clouds
            note_binding(self.journal, self.id, change=self.change, operator=self.operator, clouds=self._bound)

    @cached_property
    def hardware(self) -> HardwareWork:
        """What is done with nodes: acquire them, transfer them, give them back."""
        return HardwareWork(
            self.site, self.source, self.destination, self.journal,
            keep=self._keep_plan, resume=self._resume, carry_out=self._execute, run_id=lambda: self.id,
            report=self._report,
        )  # fmt: skip

    @cached_property
    def _planning(self) -> Planning:
        return Planning(
            self.site, self.source, self.destination, self.journal, self._secrets, self._databases,
            inventory=self._inventory_now, keep=self._keep_plan, resume=self._resume, take_up=self._take_up,
        )  # fmt: skip

    # -- reading ------------------------------------------------------------------------------
    def inventory(self) -> Inventory:
        """Everything both clouds hold (read only); the snapshots are also saved under ``work/snapshots``."""
        self._inventory = Inventory(self._take(self.source), self._take(self.destination))
        return self._inventory

    def look(self) -> Seen:
        """What both clouds hold (read only); of one that cannot be read, what was read of it last."""
        seen = look_around((self.source, self.destination), self._snapshots, self._take)
        self._bind()
        return seen

    @property
    def _snapshots(self) -> Path:
        return self.site.work_dir / "snapshots"

    def _take(self, cloud: Cloud) -> Snapshot:
        if cloud is self.source:
            owners = self._owners()
            try:
                taken = take_snapshot(cloud, owners=owners, all_keypairs=self._all_keypairs, progress=None)
            finally:
                for owner in owners:
                    owner.close()
        else:
            taken = take_snapshot(cloud, progress=None)
        taken.save(self._snapshots / f"{self.id}-{taken.facts.side}.json")
        return taken

    def _owners(self) -> list[Cloud]:
        owners: list[Cloud] = []
        self._notices.clear()
        for user, cloud in self.site.owners.items():
            try:
                owners.append(connect(cloud, side="source", clouds_yaml=self.site.clouds_yaml, notice=self._on_notice))
            except CloudError as error:
                self._notices.append(
                    Finding(
                        "warn",
                        "owner-refused",
                        f"user {user}",
                        f"could not be logged in as (clouds.yaml entry {cloud}): {error.message}",
                        "correct its entry in clouds.yaml; until then its keypairs are not known.",
                    )
                )
        return owners

    def _inventory_now(self) -> Inventory:
        return self._inventory if self._inventory is not None else self.inventory()

    def keep(self, selection: Selection | Order) -> Path:
        """Write the canonical file of servers, or of hosts or nodes in order: what repeats the choice headlessly."""
        path = self.site.work_dir / "selections" / f"{selection.digest[:16]}.json"
        selection.save(path)
        return path

    # -- planning -----------------------------------------------------------------------------
    def plan_move(self, selection: Selection) -> Plan:
        """Plan moving the selection, or take up the plan of it that was begun (read only).

        Where ``site.yaml`` names both Keystones' databases, a throw-away user without any role is made at the
        destination and removed again, once per run and kind of hash: nothing else tells which ones it can read.
        """
        return self._planning.move(selection)

    @property
    def _all_keypairs(self) -> Callable[[], list[Keypair]] | None:
        """Where everybody's keypairs can be read: Nova's database, if the site names it."""
        if "nova" not in self.site.source_databases:
            return None

        def read() -> list[Keypair]:
            nova = self._databases.source_nova
            return nova.keypairs() if nova is not None else []

        return read

    def plan_finalise(self, selection: Selection) -> Plan:
        """Plan deleting the sources of moved servers, after the site's hold (read only)."""
        return self._planning.finalise(selection)

    def plan_rollback(self, selection: Selection) -> Plan:
        """Plan taking moved servers back to the source, or take up such a plan that was begun.

        Read only, but for throw-away users that a planning run left at the destination when it was killed.
        """
        return self._planning.rollback(selection)

    def _resume(self, kind: str, digest: str, states: Iterable[str]) -> Plan | None:
        for document in reversed(self.journal.plan_documents(kind=kind, states=states)):
            plan = Plan.from_document(document)
            if plan.selection_digest == digest:
                return self._take_up(plan)
        return None

    def _take_up(self, plan: Plan) -> Plan:
        self._findings[plan.hash] = (resumed(self.journal, plan),)
        self._go_on()
        note_plan(self.journal, self.id, plan)
        return plan

    def _keep_plan(self, plan: Plan, findings: tuple[Finding, ...]) -> Plan:
        self.journal.save_plan(
            plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document
        )
        self._findings[plan.hash] = findings
        self._go_on()
        note_plan(self.journal, self.id, plan)
        return plan

    # -- gates --------------------------------------------------------------------------------
    def check(self, plan: Plan | None = None, *, accepted: str = "") -> tuple[Finding, ...]:
        """Every finding on the site with a survey of the source; or on a plan, when one is given (read only).

        :param accepted: comma-separated codes of findings that the operator accepts.
        :raises ChecksFailed: when a code may not be accepted.
        """
        found = list(self._notices)
        if plan is None:
            found += check_site(self._inventory_now(), self.site)
            found += survey_files(self._inventory_now().source, self.source.images)
            found += [
                Finding("warn", "database-unusable", key, f"is named in site.yaml, but of no use: {message}", remedy)
                for key, message, remedy in unusable(self._databases)
            ]
        else:
            found += self._findings.get(plan.hash, ())
            fresh = self.journal.plan_state(plan.hash) in ("proposed", None)
            if plan.kind == "move" and fresh:
                site = check_site(self._inventory_now(), self.site)
                found += [f for f in site if f.severity != "info"]
                found += check_plan(plan, self._inventory_now())
                found += check_stopped(plan, self.source, self._inventory_now())
                found += check_images(plan, self.source.images)
                found += check_network_quotas(plan, self.destination, self._inventory_now())
                found += check_records(plan, self.destination.images)
            found += check_gate(plan, self.journal)
            found += check_under_way(self.journal, self.id, plan)
        codes = [code.strip() for code in accepted.split(",") if code.strip()]
        findings = ordered(accept(found, codes))
        self._go_on()
        note_findings(self.journal, self.id, plan, findings, codes)
        return findings

    def require_clean(self, findings: Iterable[Finding]) -> None:
        """:raises ChecksFailed: when a finding blocks; nothing has been changed then, and a run by hand ends."""
        with self._gate():
            require_none_blocking(findings)

    def require_approval(self, plan: Plan, *, file: str = "") -> approvals.Approval:
        """The approval of this very plan; who approved is journalled, and whether it was the operator.

        :raises ApprovalMissing: when there is none; a run by hand ends then, refused.
        """
        self._go_on()
        path = self.site.work_dir / "plans" / f"{plan.hash}.json"
        write_atomic(path, plan_text(plan), mode=0o600)
        with self._gate():
            found = approvals.require_approval(plan, self.site.work_dir / "approvals", file=file)
        self.journal.write(
            self.id,
            plan.hash,
            "@approval",
            "approved",
            {
                "approved_by": found.approved_by,
                "approved_at": found.approved_at,
                "reason": found.reason,
                "ticket": found.ticket,
                "operator": self.operator,
                "second": found.second,
                "same_person": found.approved_by == self.operator and found.second in ("", self.operator),
                "account": found.account,
                "same_account": found.account == approvals.account(),
            },
        )
        other = approvals.other_ticket(plan.hash, found.ticket, change_of(self.journal, self.id))
        if other:
            self._report(f"note     {other} The record will say so.")
        return found

    @contextmanager
    def _gate(self) -> Iterator[None]:
        """A run by hand that is refused here ends so: a script goes no further, a person goes on in another run."""
        try:
            yield
        except (ChecksFailed, ApprovalMissing, PlanHeld) as refusal:
            if self._by_hand is not None:
                try:
                    self._by_hand.end("refused", refusal.message)
                except JournalError as problem:
                    refusal.add_note(str(problem))
            raise

    # -- acting -------------------------------------------------------------------------------
    def prepare(self, plan: Plan) -> Execution:
        """Make everything that can be made before anything stops (changes destination).

        :raises StepError: when a step failed; what is done stays done.
        """
        return self._execute(plan, "move", "prepare")

    def cut_over(self, plan: Plan) -> Execution:
        """Stop at the source, boot at the destination, move floating IPs, see it serve (changes both clouds).

        :raises StepError: when a step failed; what is done stays done.
        """
        return self._execute(plan, "move", "cutover")

    def finalise(self, plan: Plan) -> Execution:
        """Reserve the addresses and delete the stopped sources (changes source, irreversible).

        :raises StepError: when a step failed.
        """
        return self._execute(plan, "finalise", "finalise")

    def roll_back(self, plan: Plan) -> Execution:
        """Undo a move in reverse and start the sources again (changes both clouds).

        :raises StepError: when a step failed; running it again goes on.
        """
        try:
            return self._execute(plan, "rollback", "undo")
        finally:
            self._note_undone_moves()

    def _note_undone_moves(self) -> None:
        for document in self.journal.plan_documents(kind="move", states=("started", "finished")):
            move = Plan.from_document(document)
            states = self.journal.step_states(move.hash)
            mine = [states.get(step.key, StepState()) for step in move.steps if step.server_id]
            undone = any(state.state == "undone" for state in states.values())
            if undone:
                back = not any(state.in_effect for state in mine)
                self.journal.set_plan_state(move.hash, "undone" if back else "started")

    def _execute(self, plan: Plan, kind: str, phase: str, *, workers: int | None = None) -> Execution:
        if plan.kind != kind:
            raise PlanError(
                f"Plan {plan.hash[:12]} is a {plan.kind} plan, not a {kind} plan.", remedy="use its notebook."
            )
        if not self.journal.events(plan_hash=plan.hash, run_id=self.id, step_key="@approval"):
            raise StepError(
                f"Plan {plan.hash[:12]} is not approved in this run.", remedy="run the gate cell before this one."
            )
        if kind in ("move", "finalise", "rollback"):
            try:
                require_same_destination(self.journal, self.destination, self.id)
            except PlanError as error:
                self._ended_by["destination"] = str(error)
                raise
            self._ended_by.pop("destination", None)
        with self._gate():
            claim_plan(self.journal, self.id, plan, self.site)
        if kind == "move":
            self._supersede_rollbacks(plan)
        ctx = self._context(plan)
        try:
            with self._watch(self, plan, phase) if self._watch is not None else nullcontext():
                done = execute(ctx, plan.phase(phase), workers=workers)
        except PumphouseError:
            self._let_go()
            raise
        except BaseException:  # what was cut off may have left steps behind that are still at work
            self._let_go(*plan_keys(plan))
            raise
        else:
            if self.journal.plan_state(plan.hash) == PlanState.FINISHED:
                self._let_go()
            return done
        finally:
            ctx.close()
            self._bind()

    def _let_go(self, *keys: str) -> None:
        """Give claims back, all by default: nothing is at work, and whoever goes on takes them anew.

        A notebook that is left open must not keep another from taking back what it did, or from going on with it.
        """
        with suppress(JournalError):  # their leases end by themselves
            self.journal.release(self.id, *keys)

    def _go_on(self) -> None:
        """Whoever goes on by hand after the report begins another run: the first one's record is sealed."""
        if self._by_hand is not None and self._by_hand.ended:
            ended = self.journal.get_run(self.id)
            self._by_hand = RunByHand.start(
                self.journal, self.site, notebook=ended.notebook, change=self.change, operator=self.operator
            )
            self.id, self._bound = self._by_hand.id, ()
            self._bind()

    def _supersede_rollbacks(self, move: Plan) -> None:
        """A roll back that was begun and given up must not be taken up after the servers moved again."""
        for document in self.journal.plan_documents(kind="rollback", states=("started",)):
            begun = Plan.from_document(document)
            if any(step.params["plan_hash"] == move.hash for step in begun.steps):
                self.journal.set_plan_state(begun.hash, "superseded")

    def _context(self, plan: Plan) -> Context:
        return Context(
            self.source, self.destination, self.site, self.journal, self._secrets, plan, self.id, report=self._report,
            _nodes=[self.hardware.nodes],
        )  # fmt: skip

    # -- what becomes of what -----------------------------------------------------------------
    def ledger(self, plan: Plan) -> Fidelity:
        """What becomes of every field of every object in a move plan: copied, mapped, derived or dropped (read only).

        The whole table is also written to ``work/ledgers`` and kept beside the record; the journal keeps its counts.

        :raises PlanError: when it is not a move plan.
        """
        self._go_on()
        made = take_ledger(plan, self._inventory_now(), self.journal, self.site.work_dir / "ledgers")
        self.journal.write(self.id, plan.hash, "@ledger", "ledger", {"summary": made.sentence, "counts": made.counts})
        return made

    # -- afterwards ---------------------------------------------------------------------------
    def verify(self, plan: Plan, phase: str) -> list[dict[str, object]]:
        """Read both clouds again and compare with what each step of a phase promised (read only).

        :returns: one row per step: ``step``, ``what``, ``evidence``; ``words``, where these say it better.
        :raises VerificationFailed: at the first step whose outcome the clouds do not show.
        :raises StepError: when a step of the phase was not done.
        """
        try:
            rows = self._verify(plan, phase)
        except PumphouseError as error:
            self._ended_by[phase] = str(error)
            raise
        self._ended_by.pop(phase, None)
        return rows

    def _verify(self, plan: Plan, phase: str) -> list[dict[str, object]]:
        states = self.journal.step_states(plan.hash)
        rows: list[dict[str, object]] = []
        ctx = self._context(plan)
        try:
            stale = {s.server_id for s in plan.steps if s.key in states and states[s.key].error_type == "PlanStale"}
            for step in plan.phase(phase):
                state = states.get(step.key, StepState())
                if phase == "prepare" and state.state != "verified" and step.server_id and step.server_id in stale:
                    rows.append({"step": step.kind, "what": step.title, "evidence": {"left out": state.error or ""}})
                    continue
                if state.state != "verified":
                    raise StepError(
                        f"{step.title} is {state.state}, not verified.",
                        remedy="run the action cell before this one again.",
                    )
                evidence = STEPS[step.kind].verify(ctx, step, state.outcome)
                words = STEPS[step.kind].in_words(step, evidence)
                rows.append({"step": step.kind, "what": step.title, "evidence": dict(evidence), "words": words})
        finally:
            ctx.close()
        return rows

    def report(self, plan: Plan | None = None) -> Report | None:
        """What the plan came to, from the journal; ends the run when it was begun by a person."""
        made = make_report(self.journal, plan) if plan is not None else None
        if self._by_hand is not None:
            self.end()
        return made

    @property
    def by_hand(self) -> bool:
        """Whether a person began it, and not the runner."""
        return self._by_hand is not None

    @property
    def ended(self) -> bool:
        """Whether its record is sealed; going on begins another run."""
        return self._by_hand is not None and self._by_hand.ended

    def end(self) -> str:
        """Close a run that a person began, and seal its record; returns the result that the journal shows.

        A run of the runner is closed by the runner, which alone sees how the notebook ends.

        :raises JournalError: when the record could not be sealed.
        """
        result = self.journal.get_run(self.id).result or self.journal.run_result(self.id)
        if self._by_hand is not None:
            stopped = was_stopped(self.journal.events(run_id=self.id))
            if self._ended_by and result in ("succeeded", "nothing-to-do"):
                result = "failed"
                self._by_hand.end(result, " ".join(self._ended_by.values()))
            else:
                self._by_hand.end(("aborted" if stopped else "failed") if result == "incomplete" else result)
        return result

    def close(self) -> None:
        """Close the connections to both clouds and to the journal."""
        self.source.close()
        self.destination.close()
        self.journal.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, BaseException):
            # what the journal shows may all be well, and yet the block did not come to its end
            self._ended_by["block"] = str(error) or type(error).__name__
        if self._by_hand is not None:
            self.end()
        self.close()


def plan_text(plan: Plan) -> str:
    """A plan as it is written for the approver: JSON with its hash."""
    return json.dumps({"hash": plan.hash, "made_at": datetime.now(UTC).isoformat(), **plan.document}, indent=2) + "\n"
