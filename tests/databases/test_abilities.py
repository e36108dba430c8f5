"""Trying which hashes a Keystone reads, against the lab's: no trace is left, and no verdict is guessed."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from passlib.hash import sha512_crypt

from pumphouse.databases import Databases, KeystoneDatabase, remove_left_behind, try_schemes
from pumphouse.databases.abilities import PREFIX
from pumphouse.databases.engine import Database
from pumphouse.databases.facts import read_facts, unusable
from pumphouse.errors import CloudError, CloudUnreachable, DatabaseError
from pumphouse.site import DatabaseRef
from tests.databases.people import People, cheap_hash
from tests.labsite import start_lab


@pytest.fixture
def database(people: People) -> KeystoneDatabase:
    """The new Keystone's."""
    found = Databases(people.site).destination_keystone
    assert found is not None
    return found


def probes(people: People) -> list[str]:
    """Throw-away users that are there."""
    return [user.name for user in people.new.identity.list_users() if user.name.startswith(PREFIX)]


def test_what_the_destination_reads_is_tried_and_nothing_stays(people: People, database: KeystoneDatabase) -> None:
    verdicts = try_schemes(people.new, database, ["6", "2b", "pbkdf2-sha512", "scrypt", "1", "9"])
    assert {ident: verdict.accepted for ident, verdict in verdicts.items()} == {
        "6": False, "2b": True, "pbkdf2-sha512": True, "scrypt": True, "1": False, "9": False,
    }  # fmt: skip
    assert "got no usable answer (CloudUnreachable)" in verdicts["6"].evidence
    assert "cannot be made here" in verdicts["9"].evidence
    assert probes(people) == []


def test_a_hash_that_keystone_cannot_read_ends_the_login_without_an_answer(people: People) -> None:
    person = people.person()
    people.run(person.plan(), "user")
    there = people.new.identity.find_user(person.name)
    assert there is not None
    people.sql(
        "new-keystone",
        "UPDATE password SET password_hash = ? WHERE local_user_id = (SELECT id FROM local_user WHERE user_id = ?)",
        "$6$rounds=1000$x$y",
        there.id,
    )
    with pytest.raises(CloudUnreachable):
        person.opens(person.secret)


@pytest.mark.parametrize("status", [403, 503])
def test_a_keystone_that_lets_no_user_be_made(people: People, database: KeystoneDatabase, status: int) -> None:
    fault = {"service": "destination.identity", "method": "POST", "path": "/v3/users$", "times": 0, "status": status}
    with people.lab.fault(**fault), pytest.raises(CloudError):
        try_schemes(people.new, database, ["2b"])


def test_a_keystone_that_answers_no_login_gives_no_verdict(people: People, database: KeystoneDatabase) -> None:
    people.new.identity.list_roles()
    fault = {"service": "destination.identity", "method": "POST", "path": "auth/tokens", "times": 0, "kind": "reset"}
    with people.lab.fault(**fault), pytest.raises(CloudUnreachable):
        try_schemes(people.new, database, ["2b"])
    assert probes(people) == []


def test_another_keystones_database_is_noticed(people: People) -> None:
    facts = read_facts(
        Databases(people.site), people.new, user_ids=[person.source_id for person in [people.person()]],
        server_ids=[], verdicts={},
    )  # fmt: skip
    assert facts.verdicts["pbkdf2-sha512"].accepted
    wrong = people.site.destination_databases["keystone"]
    mixed_up = DatabaseRef(wrong.key, people.site.source_databases["keystone"].url)
    with pytest.raises(DatabaseError, match="does not know user"):
        try_schemes(people.new, KeystoneDatabase(Database(mixed_up)), ["2b"])
    assert probes(people) == []


def test_what_an_interrupted_trial_left_behind_is_removed_later(people: People, database: KeystoneDatabase) -> None:
    now = time.time()
    for age_s in (60, 7200):
        people.new.identity.create_user(f"{PREFIX}{int(now - age_s)}-abcd", password="x" * 20)
    try_schemes(people.new, database, ["2b"])
    assert probes(people) == [f"{PREFIX}{int(now - 60)}-abcd"]
    try_schemes(people.new, database, ["2b"], now=lambda: now + 7200)
    assert probes(people) == []


def test_what_a_dead_process_left_behind_is_removed_at_once(people: People, database: KeystoneDatabase) -> None:
    said = [sys.executable, "-c", "from pumphouse.holder import holder; print(holder(), flush=True); input()"]
    purpose = "tries which password hashes this Keystone reads; removed at once by "
    name = f"{PREFIX}{int(time.time())}-0"
    with subprocess.Popen(said, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        who = other.stdout.readline().strip()
        people.new.identity.create_user(name, password="x" * 20, description=f"{purpose}{who}")
        assert remove_left_behind(people.new) == []
        assert probes(people) == [name]
        other.communicate("\n")
    assert remove_left_behind(people.new) == [name]


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "POST", "path": "/v3/users$", "kind": "lost"},  # was made: nobody knows its id
        {"method": "DELETE", "path": "/v3/users/", "status": 503, "times": 0},
    ],
)
def test_what_a_failed_trial_of_this_process_left_is_removed(
    people: People, database: KeystoneDatabase, fault: dict[str, object]
) -> None:
    with people.lab.fault(service="destination.identity", **fault), pytest.raises(CloudError):
        try_schemes(people.new, database, ["2b"])
    if fault["method"] == "DELETE":
        assert len(probes(people)) == 1
        try_schemes(people.new, database, ["2b"])
    assert probes(people) == []


def test_facts_hold_schemes_and_verdicts_and_no_hash(people: People) -> None:
    mine = people.person()
    strange = people.person(stored="plain text")
    verdicts: dict[str, object] = {}
    facts = read_facts(
        Databases(people.site), people.new, user_ids=[mine.source_id, strange.source_id],
        server_ids=[], verdicts=verdicts,  # type: ignore[arg-type]
    )  # fmt: skip
    assert facts.schemes is not None
    assert (facts.schemes[mine.source_id], facts.schemes[strange.source_id]) == ("pbkdf2-sha512", "")
    assert set(facts.verdicts) == set(verdicts) == {"pbkdf2-sha512"}
    assert (facts.can_write, facts.user_data, facts.problems) == (True, {}, ())
    assert cheap_hash("x")[:20] not in repr(facts)


def test_a_database_that_cannot_be_read_is_a_problem_and_not_the_end(people: People) -> None:
    site = people.site
    gone = {name: DatabaseRef(ref.key, "sqlite:///missing/gone.db") for name, ref in site.source_databases.items()}
    facts = read_facts(
        Databases(replace(site, source_databases=gone)), people.new, user_ids=["a"], server_ids=["s"], verdicts={}
    )
    assert [key for key, _, _ in facts.problems] == ["source.databases.keystone", "source.databases.nova"]
    assert (facts.schemes, facts.user_data, facts.can_write) == (None, None, True)
    assert [key for key, _, _ in unusable(Databases(replace(site, source_databases=gone)))] == [
        "source.databases.keystone",
        "source.databases.nova",
    ]
    assert unusable(Databases(site)) == ()


def test_an_older_keystone_reads_2014s_hashes_and_they_are_carried(tmp_path_factory: pytest.TempPathFactory) -> None:
    lab = start_lab(tmp_path_factory, name="older", scale=0.02, destination="nova-network")
    try:
        people = People.open(lab)
        database = Databases(people.site).destination_keystone
        assert database is not None
        verdicts = try_schemes(people.new, database, ["6", "2b"])
        assert {ident: verdict.accepted for ident, verdict in verdicts.items()} == {"6": True, "2b": False}
        assert probes(people) == []
        person = people.person(stored=sha512_crypt.using(rounds=1000).hash("of old"))
        plan, later = person.plan(ident="6"), person.plan(ident=None)
        people.run(plan)
        assert person.opens("of old")
        people.run(later, "user", "secret")
        assert person.state == "secret"
        people.run(later, "password")
        assert person.opens("of old")
        people.close()
    finally:
        lab.stop()
