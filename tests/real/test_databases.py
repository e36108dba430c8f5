"""Passwords, keypairs and user_data through the databases of real services: keystone 30's MariaDB, keystone 12's and
nova 15's PostgreSQL. Users are made for the occasion and removed again."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from passlib.hash import sha512_crypt

import pumphouse
from pumphouse.clouds import connect
from pumphouse.databases import Databases, try_schemes
from pumphouse.databases.abilities import PREFIX
from pumphouse.databases.facts import read_facts
from pumphouse.databases.hashes import new_hash
from pumphouse.errors import CloudUnreachable
from pumphouse.model import Assignment
from pumphouse.selection import select_servers
from pumphouse.site import load_site
from tests.databases.people import People, Person
from tests.steps.bench import MortalJournal

from . import cloud

pytestmark = pytest.mark.real

VARIABLES = {"source": "PUMPHOUSE_TEST_SOURCE_PASSWORD", "destination": "PUMPHOUSE_TEST_DESTINATION_PASSWORD"}


class RealPeople(People):
    """Source users of the real cloud, with hashes that its keystone made."""

    made: list[tuple[str, str]]

    def person(self, stored: str | None = None) -> Person:
        """A user; ``stored`` replaces its hash, as 2014's keystone would have written it."""
        name, password = f"dbtest-{secrets.token_hex(4)}", secrets.token_hex(8)
        made = self.old.identity.create_user(name, password=password)
        self.made.append((made.id, name))
        if stored is not None:
            self.write(made.id, stored)
        return Person(self, name, made.id, password)

    def write(self, user_id: str, value: str) -> None:
        """Write a hash into the old keystone's database."""
        engine = sa.create_engine(
            self.site.source_databases["keystone"].url.replace("postgresql:", "postgresql+psycopg:"),
            connect_args={"password": cloud.launcher("source").passwords["database"]},
            poolclass=sa.NullPool,
        )
        change = sa.text(
            "UPDATE password SET password_hash = :value WHERE local_user_id = "
            "(SELECT id FROM local_user WHERE user_id = :user_id)"
        )
        with engine.begin() as connection:
            connection.execute(change, {"value": value, "user_id": user_id})


@pytest.fixture(scope="module")
def site_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site.yaml that names all databases; passwords come from the environment."""
    if cloud.why_unusable(populated=True):
        request.getfixturevalue("clouds")
    home = cloud.home()
    old, new = cloud.launcher("source"), cloud.launcher("destination")
    postgres = f"postgresql://pumphouse@127.0.0.1:{old.ports['postgres']}"
    mariadb = f"mysql://pumphouse@127.0.0.1:{new.ports['mariadb']}"
    from_old, from_new = ({"password_env": VARIABLES[side]} for side in ("source", "destination"))
    site: dict[str, Any] = {
        "schema": 1,
        "name": "real",
        "clouds_yaml": str(home.clouds_yaml),
        "source": {
            "cloud": "source",
            "databases": {name: {"url": f"{postgres}/{name}", **from_old} for name in ("keystone", "nova", "nova_api")},
        },
        "destination": {
            "cloud": "destination",
            "floating_pools": {"public": "public"},
            "databases": {"keystone": {"url": f"{mariadb}/keystone", **from_new}},
        },
        "probe": {"kind": "none"},
    }
    file = tmp_path_factory.mktemp("databases") / "site.yaml"
    file.write_text(yaml.safe_dump(site), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for side, launcher in (("source", old), ("destination", new)):
            patch.setenv(VARIABLES[side], launcher.passwords["database"])
        yield file


@pytest.fixture
def people(site_file: Path) -> Iterator[RealPeople]:
    """Both clouds; users made by the test go when it ends."""
    site = load_site(site_file)
    with ExitStack() as stack:
        old, new = (connect(side, side=side, clouds_yaml=site.clouds_yaml) for side in ("source", "destination"))
        journal = MortalJournal.open(f"sqlite:///{site.work_dir / secrets.token_hex(4)}.db")
        assert isinstance(journal, MortalJournal)
        for thing in (old, new, journal):
            stack.callback(thing.close)
        made = RealPeople(None, site, old, new, journal)  # type: ignore[arg-type]
        made.made = []
        stack.callback(_remove, made)
        yield made


def _remove(people: RealPeople) -> None:
    for source_id, name in people.made:
        people.old.identity.delete_user(source_id)
        there = people.new.identity.find_user(name)
        if there is not None:
            people.new.identity.delete_user(there.id)


def test_what_keystone_30_reads_is_tried_on_it(people: RealPeople) -> None:
    database = Databases(people.site).destination_keystone
    assert database is not None
    tried = ("1", "5", "6", "2b", "2y", "bcrypt-sha256", "scrypt", "pbkdf2-sha512")
    verdicts = try_schemes(people.new, database, tried)
    assert {ident for ident, verdict in verdicts.items() if verdict.accepted} == set(tried) - {"1", "5", "6"}
    for ident in ("1", "5", "6"):
        assert "no usable answer (CloudUnreachable)" in verdicts[ident].evidence
    assert not [user for user in people.new.identity.list_users() if user.name.startswith(PREFIX)]


def test_keystone_12s_hash_is_carried_and_the_old_password_logs_in(people: RealPeople) -> None:
    person = people.person()
    plan = person.plan(ident="2b")
    people.run(plan, "user", "secret")
    assert person.state == "secret"
    people.run(plan, "password")
    assert person.state == "own"
    later = person.plan(ident=None)
    people.run(later, "user", "secret")
    assert person.state == "secret"
    people.run(later, "password")
    assert person.state == "own"
    people.undo(later, "password", "secret")
    people.journal.set_plan_state(later.hash, "undone")
    people.undo(plan, "password")
    assert person.state == "secret"
    people.undo(plan, "secret", "user")
    assert people.new.identity.find_user(person.name) is None


def test_2014s_hash_is_refused_before_it_can_lock_anybody_out(people: RealPeople, site_file: Path) -> None:
    password = secrets.token_hex(8)
    locked, kept = people.person(stored=sha512_crypt.using(rounds=40000).hash(password)), people.person()
    identity = people.old.identity
    project = identity.find_project("acme")
    role = identity.find_role("Member") or identity.find_role("_member_")
    assert project is not None
    assert role is not None
    for person in (locked, kept):
        identity.grant_role(Assignment(person.source_id, project.id, role.id))
    run = pumphouse.begin(site_file, change="test", operator="tester", report=lambda _line: None)
    servers = run.inventory().servers
    names = list(servers[servers["project_name"] == "acme"]["name"])[:1]
    plan = run.plan_move(select_servers(servers, names=names, projects=[]))
    run.end()
    notes = {note.object: note.text for note in plan.notes}
    assert "would be locked out with its old hash: a login with a sha512_crypt ($6$)" in notes[f"user {locked.name}"]
    assert "keeps its password: the hash is carried (a login with a bcrypt ($2b$)" in notes[f"user {kept.name}"]
    held = {step.key for step in plan.steps}
    assert f"password:{locked.source_id}" not in held
    assert f"password:{kept.source_id}" in held


def test_such_a_hash_does_end_logins_without_an_answer(people: RealPeople) -> None:
    person = people.person()
    people.run(person.plan(ident="2b"), "user")
    there = people.new.identity.find_user(person.name)
    database = Databases(people.site).destination_keystone
    assert there is not None
    assert database is not None
    present = database.hash_of(there.id)
    assert present is not None
    database.replace_hash(there.id, new_hash("6", "right"), instead_of=present.digest)
    with pytest.raises(CloudUnreachable):
        people.new.accepts_password(there.id, "right")


def test_keypairs_and_user_data_are_read_from_nova_15(people: RealPeople) -> None:
    facts = cloud.populated()
    nova = Databases(people.site).source_nova
    assert nova is not None
    known = {(pair.name, pair.public_key.split()[1]) for pair in nova.keypairs()}
    shown = {(pair.name, pair.public_key.split()[1]) for pair in people.old.compute.list_keypairs()}
    assert known >= shown
    assert {name for name, _ in known} >= {name.partition("/")[2] or name for name in facts["keypairs"]}
    ids = [server["id"] for server in facts["servers"].values()]
    stored = nova.user_data(ids)
    assert stored
    assert all(base64.b64decode(value).startswith(b"#!") for value in stored.values())
    read = read_facts(Databases(people.site), people.new, user_ids=[], server_ids=ids, verdicts={})
    assert read.user_data is not None
    assert read.user_data.keys() == stored.keys()
    assert read.problems == ()
