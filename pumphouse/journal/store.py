"""Reading and writing the journal."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pumphouse.errors import ClaimHeld, JournalError
from pumphouse.holder import holder_words
from pumphouse.journal import schema
from pumphouse.journal.engine import begin_writing, now_of, open_engine, safe_url
from pumphouse.journal.outage import Outage, passing
from pumphouse.journal.states import PlanState

Result = TypeVar("Result")

#: Step events, in the order in which a step that goes well has them. ``skipped``: verified by an earlier run.
#: ``refused``: the service said that it did nothing, so that what is found there later is somebody else's.
STEP_EVENTS = ("intent", "refused", "done", "verified", "failed", "skipped", "undo-intent", "undone")
#: Those of a run that set out to change something by the step, whatever it finds in place when it is asked again.
_ACTED = ("intent", "done", "verified", "undo-intent", "undone")
#: Key of the event that says which steps a run set out to do.
SCOPE_KEY = "@scope"


@dataclass(frozen=True)
class RunRow:
    """One execution of a notebook or runbook. ``result`` is None while it runs."""

    id: str
    notebook: str
    state: str
    result: str | None
    detail: str
    started_at: datetime
    ended_at: datetime | None
    operator: str
    parameters: Mapping[str, Any]
    record: str | None
    template_digest: str
    parent_id: str | None


@dataclass(frozen=True)
class Event:
    """One line of the journal."""

    id: int
    run_id: str
    plan_hash: str
    step_key: str
    event: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """Who holds what: a run, its process (see :mod:`pumphouse.holder`), and the seconds that its lease still lasts."""

    run_id: str
    holder: str
    left_s: float


#: Keys of what shared steps note before they act and when they are done; see :meth:`Journal.made_with`.
_FIRST_WORDS, _SUMS = ("before", "was", "free"), ("added", "removed", "granted")


@dataclass(frozen=True)
class StepState:
    """What the journal knows of one step of one plan.

    ``state``: ``new``, ``intent`` (may or may not have happened), ``done``, ``verified``, ``failed``,
    ``undoing`` or ``undone``. ``outcome`` is what the last ``done`` said; ``ours`` is true when the object
    was absent when we set out to make it, so that undoing may remove it; ``begun`` when anything was written of it
    but that it failed.
    """

    state: str = "new"
    outcome: Mapping[str, Any] = field(default_factory=dict)
    ours: bool = False
    error: str | None = None
    intent_data: Mapping[str, Any] = field(default_factory=dict)
    begun: bool = False
    error_type: str | None = None

    @property
    def in_effect(self) -> bool:
        """Whether the step may have changed something that has not been undone; one that failed unbegun has not."""
        if self.state == "failed":
            return self.begun
        return self.state not in ("new", "undone")


class Journal:
    """The journal of one site. Safe to use from several threads and processes at once.

    A database that is gone for a while is waited for where that was asked for (:class:`Outage`); every verb raises
    :class:`JournalError` when it cannot be read or written all the same.
    """

    def __init__(
        self, engine: Engine, *, now: Callable[[], datetime] | None = None, outage: Outage | None = None
    ) -> None:
        self._engine = engine
        self._now = now or (lambda: datetime.now(UTC))
        self._outage = outage or Outage()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        now: Callable[[], datetime] | None = None,
        outage_s: float = 0.0,
        notice: Callable[[str], None] = lambda _line: None,
    ) -> Journal:
        """Open (and create, if need be) the journal at a SQLAlchemy URL.

        :param outage_s: for how long a database that was opened here and is gone later is waited for.
        :param notice: takes a line when that begins, every minute, and when it is over.
        :raises JournalError: when the database cannot be opened or its tables not made.
        """
        return cls(open_engine(url), now=now, outage=Outage(outage_s, notice))

    def close(self) -> None:
        """Close the database connections."""
        self._engine.dispose()

    # -- runs ---------------------------------------------------------------------------------
    def new_run_id(self) -> str:
        """An id for a run that is about to be added (sortable by time)."""
        return f"{self._now():%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    def start_run(
        self,
        *,
        notebook: str,
        template_digest: str,
        parameters: Mapping[str, Any],
        operator: str,
        record: str | None,
        parent_id: str | None = None,
        run_id: str = "",
    ) -> str:
        """Add a run in state ``running``; returns its id (``run_id``, else a new one)."""
        run_id = run_id or self.new_run_id()
        row = {
            "id": run_id,
            "parent_id": parent_id,
            "notebook": notebook,
            "template_digest": template_digest,
            "parameters": dict(parameters),
            "operator": operator,
            "record": record,
            "state": "running",
            "detail": "",
            "started_at": self._now(),
        }

        def add(db: Connection, again: bool) -> None:
            if not (again and _is_there(db, schema.runs, row, "id")):
                db.execute(schema.runs.insert().values(**row))

        self._write(add)
        return run_id

    def end_run(self, run_id: str, result: str, detail: str = "") -> None:
        """Close a run with its result and give its claims back."""
        end = {"state": "ended", "result": result, "detail": _storable(detail), "ended_at": self._now()}
        self._do(
            schema.runs.update().where(schema.runs.c.id == run_id).values(**end),
            schema.claims.delete().where(schema.claims.c.run_id == run_id),
        )

    def get_run(self, run_id: str) -> RunRow:
        """One run.

        :raises JournalError: when there is no such run.
        """
        for row in self._read(sa.select(schema.runs).where(schema.runs.c.id == run_id)):
            return _run(row)
        raise JournalError(f"Journal: no run {run_id}.", remedy="list the runs with `pumphouse journal`.")

    def list_runs(self) -> list[RunRow]:
        """All runs, oldest first."""
        return [_run(row) for row in self._read(sa.select(schema.runs).order_by(schema.runs.c.started_at))]

    def run_result(self, run_id: str) -> str:
        """The result that the journalled steps alone allow.

        ``failed`` when a step failed and did not succeed later in the run; ``incomplete`` when a step that the
        run set out to do has no verified outcome; ``nothing-to-do`` when it set out to do steps and all were in
        place before it; else ``succeeded`` (also for runs that only read).

        :raises JournalError: when there is no such run: it may be another journal's.
        """
        self.get_run(run_id)
        last: dict[tuple[str, str], str] = {}
        scope: set[tuple[str, str]] = set()
        acted = False
        for event in self.events(run_id=run_id):
            if event.step_key == SCOPE_KEY:
                scope.update((event.plan_hash, key) for key in event.data["steps"])
            elif event.event in STEP_EVENTS:
                last[event.plan_hash, event.step_key] = event.event
                acted = acted or event.event in _ACTED
        if "failed" in last.values():
            return "failed"
        good = {"verified", "skipped", "undone"}
        if any(last.get(key) not in good for key in scope | last.keys()):
            return "incomplete"
        # a cell that is run twice finds in place what this very run did: that is no run that changed nothing
        if scope and not acted and all(last[key] == "skipped" for key in scope):
            return "nothing-to-do"
        return "succeeded"

    def set_out(self, run_id: str) -> bool:
        """Whether the run set out to do any step; one that did not only read."""
        return any(
            event.event in STEP_EVENTS or (event.step_key == SCOPE_KEY and event.data["steps"])
            for event in self.events(run_id=run_id)
        )

    # -- plans --------------------------------------------------------------------------------
    def save_plan(self, plan_hash: str, *, kind: str, selection_digest: str, document: Mapping[str, Any]) -> None:
        """Keep a plan; one that is kept already stays as it is."""
        row = {
            "hash": plan_hash,
            "kind": kind,
            "selection_digest": selection_digest,
            "state": PlanState.PROPOSED.value,
            "document": dict(document),
            "made_at": self._now(),
        }

        def keep(db: Connection, _again: bool) -> None:
            if not _is_there(db, schema.plans, row, "hash"):
                db.execute(schema.plans.insert().values(**row))

        self._write(keep)

    def set_plan_state(self, plan_hash: str, state: PlanState | str) -> None:
        """Note where a plan stands.

        :raises JournalError: when there is no such state.
        """
        word = _plan_state(state).value
        self._do(schema.plans.update().where(schema.plans.c.hash == plan_hash).values(state=word))

    def plan_documents(self, *, kind: str | None = None, states: Iterable[str] = ()) -> list[Mapping[str, Any]]:
        """Documents of the plans of a kind in these states (all when empty), oldest first."""
        query = sa.select(schema.plans.c.document).order_by(schema.plans.c.made_at)
        if kind is not None:
            query = query.where(schema.plans.c.kind == kind)
        if states:
            query = query.where(schema.plans.c.state.in_([_plan_state(state).value for state in states]))
        return [row.document for row in self._read(query)]

    def plan_document(self, plan_hash: str) -> Mapping[str, Any] | None:
        """Document of one plan, or None when the journal does not hold it."""
        for row in self._read(sa.select(schema.plans.c.document).where(schema.plans.c.hash == plan_hash)):
            return dict(row.document)
        return None

    def plan_state(self, plan_hash: str) -> PlanState | None:
        """State of a plan, or None when the journal does not hold it."""
        for row in self._read(sa.select(schema.plans.c.state).where(schema.plans.c.hash == plan_hash)):
            return _plan_state(row.state)
        return None

    # -- steps --------------------------------------------------------------------------------
    def write(
        self,
        run_id: str,
        plan_hash: str,
        step_key: str,
        event: str,
        data: Mapping[str, Any] | None = None,
        *,
        mapping: tuple[str, str, str] | None = None,
    ) -> None:
        """Append an event, and with it (in one transaction) a mapping ``(kind, source id, destination id)``."""
        now = self._now()
        row = {
            "run_id": run_id,
            "plan_hash": plan_hash,
            "step_key": step_key,
            "event": event,
            "at": now,
            "data": dict(data or {}),
        }

        def append(db: Connection, again: bool) -> None:
            if again and _is_there(db, schema.events, row, "run_id", "plan_hash", "step_key", "event", "at"):
                return
            db.execute(schema.events.insert().values(**row))
            if mapping is not None:
                kind, source_id, destination_id = mapping
                where = (schema.mappings.c.kind == kind) & (schema.mappings.c.source_id == source_id)
                db.execute(schema.mappings.delete().where(where))
                db.execute(
                    schema.mappings.insert().values(
                        kind=kind, source_id=source_id, destination_id=destination_id, made_at=now
                    )
                )

        self._write(append)

    def forget_mapping(self, kind: str, source_id: str) -> None:
        """Remove a mapping whose destination object was undone."""
        where = (schema.mappings.c.kind == kind) & (schema.mappings.c.source_id == source_id)
        self._do(schema.mappings.delete().where(where))

    def mapping(self, kind: str, source_id: str) -> str | None:
        """Destination id of a source object, or None."""
        where = (schema.mappings.c.kind == kind) & (schema.mappings.c.source_id == source_id)
        for row in self._read(sa.select(schema.mappings.c.destination_id).where(where)):
            return str(row.destination_id)
        return None

    def mappings(self) -> dict[tuple[str, str], str]:
        """All mappings: (kind, source id) -> destination id."""
        rows = self._read(sa.select(schema.mappings))
        return {(row.kind, row.source_id): str(row.destination_id) for row in rows}

    def events(
        self,
        *,
        run_id: str | None = None,
        plan_hash: str | None = None,
        step_key: str | None = None,
        after: int = 0,
    ) -> list[Event]:
        """Events, oldest first, narrowed by what is given; ``after``: only those with a greater id."""
        query = sa.select(schema.events).order_by(schema.events.c.id)
        if after:
            query = query.where(schema.events.c.id > after)
        for column, value in (("run_id", run_id), ("plan_hash", plan_hash), ("step_key", step_key)):
            if value is not None:
                query = query.where(schema.events.c[column] == value)
        return [
            Event(row.id, row.run_id, row.plan_hash, row.step_key, row.event, row.at, row.data)
            for row in self._read(query)
        ]

    def recent_events(self, *prefixes: str, limit: int = 3000) -> list[Event]:
        """The last events of all plans whose step key begins with one of these words, oldest first."""
        columns = schema.events.c
        like = sa.or_(*(columns.step_key.startswith(prefix, autoescape=True) for prefix in prefixes))
        query = sa.select(schema.events).where(like).order_by(columns.id.desc()).limit(limit)
        return [
            Event(row.id, row.run_id, row.plan_hash, row.step_key, row.event, row.at, row.data)
            for row in reversed(self._read(query))
        ]

    def step_state(self, plan_hash: str, step_key: str) -> StepState:
        """Where one step stands, over all runs."""
        return _fold(self.events(plan_hash=plan_hash, step_key=step_key)).get(step_key, StepState())

    def step_states(self, plan_hash: str) -> dict[str, StepState]:
        """Where every step of a plan that has events stands, over all runs."""
        return _fold(self.events(plan_hash=plan_hash))

    def made_by_us(self, step_key: str) -> bool:
        """Whether the object of a step was absent before some plan of ours made it, and was not undone since."""
        ours = False
        for event in self.events(step_key=step_key):
            if event.event == "intent":
                ours = ours or bool(event.data.get("absent"))
            elif event.event in ("undone", "refused"):
                ours = False
        return ours

    def made_with(self, step_key: str) -> dict[str, Any]:
        """What making the object of a shared step replaced, added and took away, over all plans that share it.

        A plan that found the object there, or changed it once more, may be the last to undo it. Of what was there
        before (``before``, ``was``, ``free``) the first word counts; what was ``added``, ``removed`` or ``granted``
        adds up. Begins anew when the step was undone.
        """
        noted: dict[str, Any] = {}
        for event in self.events(step_key=step_key):
            if event.event in ("undone", "refused"):
                noted = {}
            elif event.event in ("intent", "done"):
                noted = {**{name: event.data[name] for name in _FIRST_WORDS if name in event.data}, **noted}
                for name in _SUMS:
                    sum_of = [*noted.get(name, ()), *event.data.get(name, ())]
                    noted |= {name: [one for n, one in enumerate(sum_of) if one not in sum_of[:n]]} if sum_of else {}
        return noted

    # -- claims -------------------------------------------------------------------------------
    def claim(
        self,
        run_id: str,
        keys: Iterable[str],
        *,
        holder: str,
        lease_s: float,
        is_gone: Callable[[str], bool] = lambda _holder: False,
        named: Callable[[str], str] = str,
    ) -> None:
        """Take or renew claims, all or none.

        :param holder: who we are; the same holder may take a claim over from an earlier run of its own.
        :param is_gone: tells of a holder whether it is known to be dead, so that its lease need not be waited for.
        :param named: tells of a key in words what it is on.
        :raises ClaimHeld: when another run holds one whose lease has not ended, naming object and holder.
        """
        wanted = sorted(keys)

        def take(db: Connection, _again: bool) -> None:
            now = now_of(db)
            for key in wanted:
                where = schema.claims.c.object_key == key
                row = db.execute(sa.select(schema.claims).where(where)).first()
                mine = row is not None and (row.run_id == run_id or row.holder == holder)
                if row is not None and not mine and row.lease_until > now and not is_gone(row.holder):
                    raise ClaimHeld(
                        f"{named(key)} is being worked on by {holder_words(row.holder)} (run {row.run_id}); "
                        f"its lease ends in {int(row.lease_until - now) + 1} s.",
                        remedy="wait for that run to end (in an open notebook: run its last cell, or shut its kernel "
                        "down); if it died, its claim is free when the lease ends.",
                    )
                db.execute(schema.claims.delete().where(where))
                db.execute(
                    schema.claims.insert().values(
                        object_key=key, run_id=run_id, holder=holder, lease_until=now + lease_s
                    )
                )

        self._write(take)

    def claim_on(self, key: str) -> Claim | None:
        """Who holds the claim on an object, if its lease has not ended (read only); by the database's own clock."""

        def look(db: Connection, _again: bool) -> Claim | None:
            row = db.execute(sa.select(schema.claims).where(schema.claims.c.object_key == key)).first()
            left_s = row.lease_until - now_of(db) if row is not None else 0.0
            return Claim(row.run_id, row.holder, left_s) if row is not None and left_s > 0 else None

        return self._write(look)

    def renew(self, run_id: str, *, lease_s: float, wait: bool = True) -> frozenset[str]:
        """Prolong all claims of a run; returns the keys that it still holds.

        One that is missing was taken over by somebody else while this process slept or could not reach the journal.

        :param wait: whether a database that is gone is waited for.
        """
        mine = schema.claims.c.run_id == run_id

        def prolong(db: Connection, _again: bool) -> frozenset[str]:
            held = frozenset(row.object_key for row in db.execute(sa.select(schema.claims).where(mine)))
            if held:
                db.execute(schema.claims.update().where(mine).values(lease_until=now_of(db) + lease_s))
            return held

        return self._write(prolong, wait=wait)

    def release(self, run_id: str, *keys: str) -> None:
        """Give these claims of a run back; all of them where none is named."""
        where = schema.claims.c.run_id == run_id
        if keys:
            where &= schema.claims.c.object_key.in_(keys)
        self._do(schema.claims.delete().where(where))

    # -- plumbing -----------------------------------------------------------------------------
    def _do(self, *statements: sa.Executable) -> None:
        """Statements in one transaction, which may be carried out twice without harm."""

        def each(db: Connection, _again: bool) -> None:
            for statement in statements:
                db.execute(statement)

        self._write(each)

    def _write(self, work: Callable[[Connection, bool], Result], *, wait: bool = True) -> Result:
        """One transaction. ``work`` is told when it may have been committed before: a lost answer leaves that open."""

        def transaction(again: bool) -> Result:
            with self._engine.connect() as db:
                begin_writing(db)
                result = work(db, again)
                db.commit()
                return result

        try:
            return self._persist(transaction, wait=wait)
        except (SQLAlchemyError, TypeError, ValueError) as error:  # the latter: what is no JSON, or no text
            raise JournalError(
                f"Journal {self._where} cannot be written{self._outage.lasted()}: {type(error).__name__}: "
                f"{str(error).splitlines()[0]}.",
                remedy="without a journal nothing more is done: check disk space, rights and the database.",
            ) from error

    def _read(self, query: sa.Select[Any]) -> list[Any]:
        def ask(_again: bool) -> list[Any]:
            with self._engine.connect() as db:
                return list(db.execute(query))

        try:
            return self._persist(ask)
        except SQLAlchemyError as error:
            raise JournalError(
                f"Journal {self._where} cannot be read{self._outage.lasted()}: {type(error).__name__}.",
                remedy="check that the database is reachable and not damaged.",
            ) from error

    def _persist(self, once: Callable[[bool], Result], *, wait: bool = True) -> Result:
        again = False
        while True:
            try:
                result = once(again)
            except SQLAlchemyError as error:
                why = passing(error)
                if not (wait and why and self._outage.wait(self._where, why)):
                    raise
                again = True
            else:
                self._outage.over()
                return result

    @property
    def _where(self) -> str:
        return safe_url(self._engine.url.render_as_string())


def _is_there(db: Connection, table: sa.Table, row: Mapping[str, Any], *columns: str) -> bool:
    same = [table.c[name] == row[name] for name in columns]
    return db.execute(sa.select(sa.literal(1)).select_from(table).where(*same)).first() is not None


def _storable(text: str) -> str:
    """No database's text takes half a character, and PostgreSQL's no NUL either."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")


def _plan_state(word: str) -> PlanState:
    try:
        return PlanState(word)
    except ValueError as error:
        raise JournalError(
            f"Journal: {word!r} is no state of a plan.",
            remedy=f"a plan is {', '.join(PlanState)}; a newer version of pumphouse may know more.",
        ) from error


def _fold(events: Iterable[Event]) -> dict[str, StepState]:
    found: dict[str, StepState] = {}
    for event in events:
        if event.event in STEP_EVENTS:
            found[event.step_key] = _advance(found.get(event.step_key, StepState()), event)
    return found


def _advance(state: StepState, event: Event) -> StepState:
    match event.event:
        case "intent":
            ours = state.ours or bool(event.data.get("absent"))
            return StepState("intent", state.outcome, ours, None, event.data, begun=True)
        case "refused":
            return StepState("failed", state.outcome, begun=bool(state.outcome))
        case "done":
            return StepState("done", event.data, state.ours, None, state.intent_data, begun=True)
        case "verified" | "skipped":
            return replace(state, state="verified", error=None, error_type=None, begun=True)
        case "failed" if event.data.get("type") == ClaimHeld.__name__:
            return state  # another run has this step: what it journals stands
        case "failed":
            why, kind = str(event.data.get("error", "")), event.data.get("type")
            return replace(state, state="failed", error=why, error_type=str(kind) if kind else None)
        case "undo-intent":
            return replace(state, state="undoing", error=None, error_type=None, begun=True)
        case _:
            return StepState("undone")


def _run(row: Any) -> RunRow:
    return RunRow(
        id=row.id,
        notebook=row.notebook,
        state=row.state,
        result=row.result,
        detail=row.detail,
        started_at=row.started_at,
        ended_at=row.ended_at,
        operator=row.operator,
        parameters=row.parameters,
        record=row.record,
        template_digest=row.template_digest,
        parent_id=row.parent_id,
    )
