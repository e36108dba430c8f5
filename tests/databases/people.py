"""A source user whose hash is to be carried, and plans of its own for carrying it; asked and changed from outside."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from passlib.hash import pbkdf2_sha512

from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.executor import execute
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan, PlannedStep, order
from pumphouse.secretstore import SecretStore
from pumphouse.site import Site, load_site
from pumphouse.steps import Context
from tests.labsite import LabSite
from tests.steps.bench import MortalJournal, keep, make_plan, start


def cheap_hash(password: str) -> str:
    """A hash that the new Keystone reads."""
    return str(pbkdf2_sha512.using(rounds=10).hash(password))


@dataclass
class Person:
    """One user: at the source with a password of its own, at the destination as the steps make it."""

    people: People
    name: str
    source_id: str
    password: str

    def opens(self, password: str) -> bool:
        """Whether a password logs the user in at the destination."""
        there = self.people.new.identity.find_user(self.name)
        return there is not None and self.people.new.accepts_password(there.id, password)

    @property
    def secret(self) -> str:
        """The one-time secret, empty when there is none."""
        return self.people.secrets.get(self.name) or ""

    @property
    def state(self) -> str:
        """Which of the two passwords is in force."""
        found = [word for word, value in (("own", self.password), ("secret", self.secret)) if self.opens(value)]
        return "+".join(found) or "neither"

    def changes_password(self, password: str) -> None:
        """The user, or an administrator, sets another one at the destination."""
        there = self.people.new.identity.find_user(self.name)
        assert there is not None
        self.people.new.identity.set_user_password(there.id, password)

    def steps(self, *, ident: str | None = "pbkdf2-sha512") -> tuple[PlannedStep, PlannedStep, PlannedStep]:
        """user, secret and password, as a plan of a server of this user has them."""
        user = PlannedStep(
            f"user:{self.source_id}", "user", "prepare", f"user {self.name}", "destination",
            params={
                "source_id": self.source_id, "name": self.name, "email": None, "enabled": True,
                "default_project_id": None, "description": "", "adopts": None,
            },
        )  # fmt: skip
        whose = {"user_id": self.source_id, "name": self.name}
        secret = PlannedStep(
            f"secret:{self.source_id}", "secret", "cutover", f"secret of {self.name}", "destination", params=whose,
            needs=(user.key,),
        )  # fmt: skip
        password = PlannedStep(
            f"password:{self.source_id}", "password", "cutover", f"own password of {self.name}", "destination",
            params={**whose, "ident": ident}, needs=(user.key, secret.key),
        )  # fmt: skip
        return user, secret, password

    def plan(self, *, ident: str | None = "pbkdf2-sha512") -> Plan:
        """A plan of its own, kept in the journal."""
        plan = make_plan(*self.steps(ident=ident))
        keep(self.people.journal, plan)
        return plan


@dataclass
class People:
    """The lab's two clouds with a journal."""

    lab: LabSite
    site: Site
    old: OpenStackCloud
    new: OpenStackCloud
    journal: MortalJournal
    secrets: SecretStore = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = SecretStore(self.site.secrets_file)

    @classmethod
    def open(cls, lab: LabSite) -> People:
        """Connect."""
        site = load_site(lab.directory / "site-databases.yaml")
        site = replace(site, work_dir=lab.directory / f"work-{secrets.token_hex(4)}")
        old, new = (
            connect(name, side=side, clouds_yaml=site.clouds_yaml)
            for name, side in (("old", "source"), ("new", "destination"))
        )
        journal = MortalJournal.open(f"sqlite:///{site.work_dir / 'journal.db'}")
        assert isinstance(journal, MortalJournal)
        return cls(lab, site, old, new, journal)

    def close(self) -> None:
        """Disconnect."""
        for thing in (self.old, self.new, self.journal):
            thing.close()

    def file(self, name: str) -> Path:
        """A database's file."""
        return self.lab.directory / "databases" / f"{name}.db"

    def sql(self, name: str, statement: str, *values: Any) -> list[Any]:
        """Do something in a database as its administrator would."""
        with closing(sqlite3.connect(self.file(name), timeout=10)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def person(self, stored: str | None = None) -> Person:
        """A new user of the source; ``stored`` is its hash, one that the destination reads by default."""
        name, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(8)
        made = self.old.identity.create_user(name, password=password)
        self.sql("old-keystone", "UPDATE user SET password = ? WHERE id = ?", stored or cheap_hash(password), made.id)
        return Person(self, name, made.id, password)

    def run(self, plan: Plan, *kinds: str) -> None:
        """Carry out a plan's steps of these kinds (all by default), in a run of its own."""
        steps = [step for step in plan.steps if not kinds or step.kind in kinds]
        ctx = self.context(plan)
        try:
            execute(ctx, steps, workers=1)
        finally:
            ctx.close()

    def context(self, plan: Plan, site: Site | None = None) -> Context:
        """What a step is given."""
        run_id = start(self.journal)
        return Context(self.old, self.new, site or self.site, self.journal, self.secrets, plan, run_id)

    def undo(self, plan: Plan, *kinds: str) -> None:
        """Take steps back through a roll-back plan, the last first."""
        steps: list[PlannedStep] = []
        for step in reversed(plan.steps):
            if step.kind in kinds:
                steps.append(
                    PlannedStep(
                        f"undo:{step.key}", "undo", "undo", f"undo: {step.title}", "destination",
                        params={"plan_hash": plan.hash, "step_key": step.key},
                        needs=tuple(before.key for before in steps[-1:]),
                    )
                )  # fmt: skip
        back = Plan("rollback", "old", "new", secrets.token_hex(32), (), order(steps))
        keep(self.journal, back)
        self.run(back)

    def outcome(self, plan: Plan, kind: str) -> dict[str, Any]:
        """What the journal says of a step."""
        (key,) = (step.key for step in plan.steps if step.kind == kind)
        return dict(self.journal.step_state(plan.hash, key).outcome)

    def evidence(self, plan: Plan, kind: str) -> dict[str, Any]:
        """What undoing a step said."""
        (key,) = (step.key for step in plan.steps if step.kind == kind)
        events = [e for e in self.journal.events(plan_hash=plan.hash, step_key=key) if e.event == "undone"]
        return dict(events[-1].data["evidence"])


@contextmanager
def dying(journal: Journal, **when: str) -> Iterator[None]:
    """The process ends where it writes that event."""
    assert isinstance(journal, MortalJournal)
    for name, event in when.items():
        setattr(journal, name, event)
    try:
        yield
    finally:
        journal.dies_before = journal.dies_after = ""
