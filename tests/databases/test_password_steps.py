"""A user's own password and its one-time secret: which of the two is in force, whatever happens in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pumphouse.databases import Databases
from pumphouse.errors import PlanStale, StepError
from pumphouse.steps import STEPS
from tests.databases.people import People, Person, cheap_hash, dying
from tests.steps.bench import Killed


@pytest.fixture
def moved(people: People) -> Person:
    """A user whose first move is over."""
    person = people.person()
    people.run(person.plan())
    return person


def digest(person: Person) -> str:
    """The digest of the hash that the new Keystone's database holds."""
    there = person.people.new.identity.find_user(person.name)
    database = Databases(person.people.site).destination_keystone
    assert there is not None
    assert database is not None
    found = database.hash_of(there.id)
    assert found is not None
    return found.digest


def test_the_secret_opens_while_servers_boot_and_the_own_password_afterwards(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user")
    assert person.state == "secret"
    people.run(plan, "secret")
    assert person.state == "secret"
    people.run(plan, "password")
    assert person.state == "own"
    source = Databases(people.site).source_keystone
    assert source is not None
    there = source.hash_of(person.source_id)
    assert there is not None
    outcome = people.outcome(plan, "password")
    assert outcome["digest"] == there.digest == digest(person)
    assert "not in force" in people.secrets.path.read_text(encoding="utf-8")


def test_no_hash_and_no_secret_is_in_the_journal(people: People, moved: Person) -> None:
    again = moved.plan(ident=None)
    people.run(again)
    text = (people.site.work_dir / "journal.db").read_bytes() + repr(people.journal.events()).encode()
    for word in (b"$pbkdf2-sha512$1", moved.password.encode(), moved.secret.encode()):
        assert word not in text


def test_doing_it_again_changes_nothing(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan)
    before = digest(person)
    people.run(plan)
    assert (person.state, digest(person)) == ("own", before)
    assert people.journal.events()[-1].event == "skipped"


@pytest.mark.parametrize("kind", ["secret", "password"])
@pytest.mark.parametrize("moment", [{"dies_before": "done"}, {"dies_after": "intent"}, {"dies_before": "verified"}])
def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(people: People, kind: str, moment: dict[str, str]) -> None:
    person = people.person()
    first, second = person.plan(), person.plan(ident=None)
    people.run(first)
    people.run(second, "user", *(["secret"] if kind == "password" else []))
    with dying(people.journal, **moment), pytest.raises(Killed):
        people.run(second, kind)
    people.run(second)
    assert person.state == "own"
    assert people.secrets.borrowers(person.name) == []


@pytest.mark.parametrize("moment", [{"dies_before": "done"}, {"dies_before": "verified"}])
def test_killed_while_the_sources_hash_is_put_in_place(people: People, moment: dict[str, str]) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user", "secret")
    with dying(people.journal, **moment), pytest.raises(Killed):
        people.run(plan, "password")
    people.run(plan)
    assert person.state == "own"
    assert people.outcome(plan, "password")["origin"] == "source"
    people.undo(plan, "password")
    assert person.state == "secret"


def test_a_later_move_borrows_the_secret_and_gives_the_own_password_back(people: People, moved: Person) -> None:
    later = moved.plan(ident=None)
    people.run(later, "user", "secret")
    assert moved.state == "secret"
    people.run(later, "password")
    assert moved.state == "own"
    assert people.outcome(later, "password")["origin"] == "set aside"


def test_a_password_that_the_user_chose_since_is_the_one_given_back(people: People, moved: Person) -> None:
    moved.changes_password("chosen at the destination")
    later = moved.plan(ident=None)
    people.run(later)
    assert moved.opens("chosen at the destination")
    people.undo(later, "password", "secret")
    assert moved.opens("chosen at the destination")


def test_of_two_moves_at_once_the_last_gives_the_own_password_back(people: People) -> None:
    person = people.person()
    one, other = person.plan(), person.plan()
    people.run(one, "user", "secret")
    people.run(other, "user", "secret")
    people.run(one, "password")
    assert person.state == "secret"
    assert people.outcome(one, "password")["left_to"] == [other.hash[:12]]
    people.run(other, "password")
    assert person.state == "own"


def test_a_password_changed_during_the_move_is_left_alone(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user", "secret")
    person.changes_password("changed meanwhile")
    people.run(plan, "password")
    assert person.opens("changed meanwhile")
    assert "another password" in people.outcome(plan, "password")["why"]
    people.undo(plan, "password")
    assert person.opens("changed meanwhile")


def test_a_move_rolled_back_before_its_end_gives_the_own_password_back(people: People, moved: Person) -> None:
    later = moved.plan(ident=None)
    people.run(later, "user", "secret")
    people.undo(later, "secret")
    assert moved.state == "own"


def test_undoing_puts_the_secret_in_force_and_then_forgets_it_with_its_user(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan)
    people.undo(plan, "password")
    assert person.state == "secret"
    people.undo(plan, "secret", "user")
    assert people.new.identity.find_user(person.name) is None
    assert people.secrets.get(person.name) is None
    assert person.name not in people.secrets.path.read_text(encoding="utf-8")


def test_undoing_leaves_a_password_that_was_changed_since(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan)
    person.changes_password("changed since")
    people.undo(plan, "password")
    assert person.opens("changed since")
    assert "another password" in people.evidence(plan, "password")["why"]


def test_a_hash_of_another_scheme_than_planned_is_not_carried(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user", "secret")
    people.sql("old-keystone", "UPDATE user SET password = ? WHERE id = ?", "$6$rounds=1000$x$y", person.source_id)
    with pytest.raises(StepError) as caught:
        people.run(plan, "password")
    assert isinstance(caught.value.__cause__, PlanStale)
    assert person.name in str(caught.value)
    assert "$y" not in str(caught.value)
    assert person.state == "secret"


def test_a_login_that_is_refused_in_passing_sets_no_secret_aside_as_the_own_password(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user")
    refused = {"service": "destination.identity", "method": "POST", "path": "auth/tokens", "status": 401, "times": 0}
    with people.lab.fault(**refused), pytest.raises(StepError, match="in force should be True"):
        people.run(plan, "secret")
    people.run(plan)
    assert person.state == "own"


def test_a_refusal_by_the_api_leaves_the_own_password_recoverable(people: People, moved: Person) -> None:
    later = moved.plan(ident=None)
    people.run(later, "user")
    refusal = {"service": "destination.identity", "method": "PATCH", "path": "/v3/users/", "times": 0, "status": 403}
    with people.lab.fault(**refusal), pytest.raises(StepError):
        people.run(later, "secret")
    assert moved.state == "own"
    people.run(later)
    assert moved.state == "own"


def test_without_the_database_the_step_says_what_to_name(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user", "secret")
    step = plan.step(f"password:{person.source_id}")
    ctx = people.context(plan, site=replace(people.site, destination_databases={}))
    with pytest.raises(StepError, match="does not name new's Keystone database"):
        STEPS["password"].act(ctx, step)
    assert person.state == "secret"


def test_a_disabled_user_gets_its_hash_too(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user")
    there = people.new.identity.find_user(person.name)
    assert there is not None
    people.new.identity.set_user_enabled(there.id, enabled=False)
    ctx = people.context(plan)
    outcome = STEPS["password"].act(ctx, plan.step(f"password:{person.source_id}"))
    assert outcome["origin"] == "source"
    people.new.identity.set_user_enabled(there.id, enabled=True)
    assert person.state == "own"


def test_a_hash_written_by_somebody_else_in_between_is_not_overwritten(people: People) -> None:
    person = people.person()
    plan = person.plan()
    people.run(plan, "user", "secret")
    there = people.new.identity.find_user(person.name)
    assert there is not None
    people.sql(
        "new-keystone",
        "UPDATE password SET password_hash = ? WHERE local_user_id = (SELECT id FROM local_user WHERE user_id = ?)",
        cheap_hash("theirs"),
        there.id,
    )
    people.run(plan, "password")
    assert person.opens("theirs")


def test_a_plan_that_was_rolled_back_keeps_no_password_from_being_given_back(people: People) -> None:
    person = people.person()
    given_up, plan = person.plan(), person.plan()
    people.run(given_up, "user", "secret")
    people.journal.set_plan_state(given_up.hash, "undone")
    people.run(plan)
    assert person.state == "own"
