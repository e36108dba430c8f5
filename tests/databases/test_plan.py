"""What a plan says and does about people: whose password is carried, what becomes of clashes, who stays behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.databases import DatabaseFacts, UserData, Verdict
from pumphouse.findings import blocking
from pumphouse.journal import Journal
from pumphouse.model import Assignment, Keypair, Project, Role, User
from pumphouse.plan.after import plan_rollback
from pumphouse.plan.model import Plan
from pumphouse.site import CLASHES
from tests.core.making import ACME, did, healthy, keep_plan, planned
from tests.factories import kid, make_snapshot, make_users, uid

READS = {
    "2b": Verdict(accepted=True, evidence="a bcrypt login works"),
    "6": Verdict(accepted=False, evidence="an sha512 login got no usable answer"),
}
ALICE, BOB = kid("alice"), kid("bob")
WEB1 = uid("acme-web1")


def facts(**changes: Any) -> DatabaseFacts:
    """Both Keystones' databases: alice's hash can be read at the destination, bob's cannot."""
    values: dict[str, Any] = {
        "schemes": {ALICE: "2b", BOB: "6"}, "verdicts": READS, "can_write": True, "user_data": {},
    }  # fmt: skip
    return DatabaseFacts(**values | changes)


def notes(plan: Plan, name: str) -> str:
    """All that the plan notes of a user, project or role."""
    return " | ".join(note.text for note in plan.notes if note.object.partition(" ")[2] == name)


def has(plan: Plan, *keys: str) -> list[bool]:
    held = {step.key for step in plan.steps}
    return [key in held for key in keys]


def known(*users: User) -> dict[str, Any]:
    """A destination that has these users."""
    empty = make_snapshot("destination")
    return {"destination": make_snapshot("destination", users=(*empty.users, *users))}


OURS = User("new-alice", "alice", "alice@example.org", source_id=ALICE)


def test_a_hash_that_the_destination_reads_is_put_in_place_after_the_last_server_serves(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path, databases=facts())
    assert blocking(findings) == ()
    secret, password = f"secret:{ALICE}", f"password:{ALICE}"
    for name in ACME:
        assert secret in plan.step(f"stop:{uid(name)}").needs
    assert set(plan.step(password).needs) == {f"user:{ALICE}", secret, *(f"settle:{uid(name)}" for name in ACME)}
    assert plan.step(password).params == {"user_id": ALICE, "name": "alice", "ident": "2b"}
    assert {plan.step(key).phase for key in (secret, password)} == {"cutover"}
    assert "keeps its password" in notes(plan, "alice")
    assert "a bcrypt login works" in notes(plan, "alice")


def test_a_hash_that_would_lock_its_user_out_stays_behind(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, databases=facts())
    assert has(plan, f"secret:{BOB}", f"password:{BOB}") == [False, False]
    assert notes(plan, "bob").startswith("gets a one-time password (hand-over file): it would be locked out")
    assert "an sha512 login got no usable answer" in notes(plan, "bob")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schemes": None}, "site.yaml names no usable source.databases.keystone"),
        ({"can_write": False}, "site.yaml names no usable destination.databases.keystone"),
        ({"schemes": {}}, "no password in the old Keystone's database"),
        ({"schemes": {ALICE: ""}}, "unknown scheme, with which new could not be tried"),
        ({"verdicts": {}}, "bcrypt ($2b$), with which new could not be tried"),
    ],
)
def test_why_a_hash_is_not_carried_is_said(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    plan, _ = planned(tmp_path, databases=facts(**changes))
    assert words in notes(plan, "alice")
    assert not any(step.kind in ("secret", "password") for step in plan.steps)


def test_without_databases_everybody_gets_a_one_time_secret(tmp_path: Path) -> None:
    plan, findings = planned(tmp_path)
    assert "one-time password" in notes(plan, "alice")
    assert {f.object for f in findings if f.code == "user-data-unknown"} == {"user_data"}
    assert not any(step.kind in ("secret", "password") for step in plan.steps)


def test_a_member_without_servers_gets_its_hash_without_any_secret_step(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, databases=facts(schemes={ALICE: "6", BOB: "2b"}))
    assert has(plan, f"secret:{BOB}", f"password:{BOB}") == [False, True]
    assert plan.step(f"password:{BOB}").needs == (f"user:{BOB}",)


@pytest.mark.parametrize(
    ("secrets", "held", "can_write", "boots_as", "steps", "ident"),
    [
        # the secret of an earlier move still opens: as for a new user
        ({"alice"}, {"alice"}, True, "owner", [True, True], "2b"),
        # its own password was put in place, or chosen: the secret stands in for it while its servers boot
        (set(), {"alice"}, True, "owner", [True, True], None),
        # nothing can be put in force again without the database
        (set(), {"alice"}, False, "operator", [False, False], None),
        # made by a pumphouse whose hand-over file is gone
        (set(), set(), True, "operator", [False, False], None),
    ],
)
def test_a_later_move_of_the_same_user(
    tmp_path: Path,
    secrets: set[str],
    held: set[str],
    can_write: bool,
    boots_as: str,
    steps: list[bool],
    ident: str | None,
) -> None:
    plan, _ = planned(
        tmp_path,
        "acme-web1",
        secrets=frozenset(secrets),
        held=frozenset(held),
        databases=facts(can_write=can_write),
        **known(OURS),
    )
    assert plan.step(f"boot:{WEB1}").params["as"] == boots_as
    assert has(plan, f"secret:{ALICE}", f"password:{ALICE}") == steps
    if steps[1]:
        assert plan.step(f"password:{ALICE}").params["ident"] == ident
    lent = "cannot log in at the destination from the first stop" in notes(plan, "alice")
    assert lent is (steps[0] and ident is None)


def test_a_user_who_is_somebody_elses_keeps_its_password(tmp_path: Path) -> None:
    plan, findings = planned(
        tmp_path, "acme-web1", databases=facts(), held=frozenset({"alice"}), **known(replace(OURS, source_id=None))
    )
    assert {f.severity for f in findings if f.code == "user-exists"} == {"warn"}
    assert plan.step(f"user:{ALICE}").params["adopts"] == "new-alice"
    assert plan.step(f"boot:{WEB1}").params["as"] == "operator"
    assert has(plan, f"secret:{ALICE}", f"password:{ALICE}") == [False, False]


# --- clashes -------------------------------------------------------------------------------------------


def policy(**changes: str) -> dict[str, Any]:
    return {"clashes": CLASHES | changes}


@pytest.mark.parametrize(
    ("there", "site", "severity", "name", "adopts"),
    [
        (Project("p1", "acme"), {}, "block", "acme", "p1"),
        (Project("p1", "ACME"), {}, "block", "ACME", "p1"),
        (Project("p1", "acme"), policy(projects="adopt"), "warn", "acme", "p1"),
        (Project("p1", "acme", enabled=False), policy(projects="adopt"), "block", "acme", "p1"),
        (Project("p1", "acme", source_id="other"), policy(projects="adopt"), "block", "acme", "p1"),
        (Project("p1", "acme"), policy(projects="rename"), None, "acme-old", None),
        (Project("p1", "acme"), policy(projects="rename") | {"rename": "old {name}"}, None, "old acme", None),
        (Project("p1", "acme", source_id=kid("acme")), policy(projects="refuse"), None, "acme", None),
        (Project("p1", "acme-old", source_id=kid("acme")), policy(projects="rename"), None, "acme-old", None),
    ],
)
def test_a_project_whose_name_is_taken(
    tmp_path: Path, there: Project, site: dict[str, Any], severity: str | None, name: str, adopts: str | None
) -> None:
    empty = make_snapshot("destination")
    destination = make_snapshot("destination", projects=(*empty.projects, there))
    plan, findings = planned(tmp_path, "acme-web1", destination=destination, **site)
    said = {f.severity for f in findings if f.code in ("project-exists", "project-differs")}
    assert said == ({severity} if severity else set())
    assert plan.step(f"project:{kid('acme')}").params["name"] == name
    assert plan.step(f"project:{kid('acme')}").params["adopts"] == adopts
    if name != "acme":
        assert name in plan.step(f"project:{kid('acme')}").title


def test_a_new_name_that_is_taken_too_blocks(tmp_path: Path) -> None:
    empty = make_snapshot("destination")
    both = (*empty.projects, Project("p1", "acme"), Project("p2", "acme-old"))
    _, findings = planned(
        tmp_path, "acme-web1", destination=make_snapshot("destination", projects=both), **policy(projects="rename")
    )
    assert {f.code for f in blocking(findings)} == {"project-exists"}


def test_a_renamed_user_boots_and_is_handed_over_under_its_new_name(tmp_path: Path) -> None:
    plan, findings = planned(
        tmp_path, "acme-web1", databases=facts(), **policy(users="rename"), **known(replace(OURS, source_id=None))
    )
    assert blocking(findings) == ()
    assert plan.step(f"user:{ALICE}").params["name"] == "alice-old"
    boot = plan.step(f"boot:{WEB1}").params
    assert (boot["as"], boot["user_name"]) == ("owner", "alice-old")
    assert plan.step(f"password:{ALICE}").params["name"] == "alice-old"


@pytest.mark.parametrize(("how", "name"), [("adopt", "auditor"), ("rename", "auditor-old"), ("refuse", "auditor")])
def test_a_role_whose_name_is_taken(tmp_path: Path, how: str, name: str) -> None:
    source = healthy(
        roles=(*make_snapshot().roles, Role("r9", "Auditor")),
        assignments=(*make_snapshot().assignments, Assignment(ALICE, kid("acme"), "r9")),
    )
    empty = make_snapshot("destination")
    destination = make_snapshot("destination", roles=(*empty.roles, Role("r1", "auditor")))
    plan, findings = planned(tmp_path, "acme-web1", source=source, destination=destination, **policy(roles=how))
    assert plan.step("role:r9").params["name"].casefold() == name
    assert ({f.code for f in blocking(findings)} == {"role-exists"}) is (how == "refuse")


# --- who and what stays behind -------------------------------------------------------------------------


def test_service_users_and_the_operator_are_left_out_and_noted(tmp_path: Path) -> None:
    nova, person = User("svc", "nova"), User("person", "heat")
    source = healthy(
        users=(*make_users(), nova, person),
        assignments=(
            *make_snapshot().assignments,
            *(Assignment(user, kid("acme"), kid("r-member")) for user in ("svc", "person", kid("root"))),
            Assignment("svc", kid("services"), kid("r-member")),
        ),
    )
    plan, _ = planned(tmp_path, "acme-web1", source=source)
    assert has(plan, "user:svc", f"user:{kid('root')}", "user:person") == [False, False, True]
    assert "the cloud's own services" in notes(plan, "nova")
    assert "the migrating administrator" in notes(plan, "admin")


def test_a_disabled_member_stays_disabled(tmp_path: Path) -> None:
    source = healthy(assignments=(*make_snapshot().assignments, Assignment(kid("carol"), kid("acme"), kid("r-member"))))
    plan, _ = planned(tmp_path, "acme-web1", source=source)
    assert plan.step(f"user:{kid('carol')}").params["enabled"] is False
    assert "disabled in the source and stays so" in notes(plan, "carol")


def test_a_default_project_that_does_not_move_is_said(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "acme-web1")
    assert "beta does not move with it" in notes(plan, "bob")
    assert plan.step(f"user:{ALICE}").params["default_project_id"] == kid("acme")


def test_the_role_that_keystone_gave_by_itself_is_explained(tmp_path: Path) -> None:
    source = healthy(
        roles=(*make_snapshot().roles, Role("m", "_member_")),
        assignments=(*make_snapshot().assignments, Assignment(ALICE, kid("acme"), "m")),
    )
    plan, _ = planned(tmp_path, "acme-web1", source=source)
    assert "Keystone itself gave it to users with that default project" in notes(plan, "_member_")


# --- user_data -----------------------------------------------------------------------------------------


def test_user_data_is_planned_by_digest(tmp_path: Path) -> None:
    found = UserData.of("aHVudGVyMg==")
    plan, findings = planned(tmp_path, "acme-web1", "acme-web2", databases=facts(user_data={WEB1: found}))
    assert plan.step(f"boot:{WEB1}").params["user_data"] == {"sha256": found.sha256, "size_bytes": 7}
    assert "user_data" not in plan.step(f"boot:{uid('acme-web2')}").params
    assert "hunter2" not in str(plan.document)
    assert "user-data-unknown" not in {f.code for f in findings}


# --- keypairs ------------------------------------------------------------------------------------------


def test_all_known_keypairs_of_everybody_who_goes_along_are_carried(tmp_path: Path) -> None:
    keys = (
        *make_snapshot().keypairs,
        Keypair(ALICE, "spare", "ssh-rsa B", "f"),
        Keypair(BOB, "bob-key", "ssh-rsa C", "f"),
        Keypair(BOB, "bob-cert", "cert", "f", type="x509"),
        Keypair(kid("carol"), "carol-key", "ssh-rsa D", "f"),
    )
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(keypairs=keys))
    keypairs = {step.key for step in plan.steps if step.kind == "keypair"}
    assert keypairs == {f"keypair:{ALICE}:alice-key", f"keypair:{ALICE}:spare", f"keypair:{BOB}:bob-key"}
    assert plan.step(f"keypair:{ALICE}:spare").params["as"] == "owner"
    assert f"assignment:{kid('acme')}:{ALICE}:{kid('r-member')}" in plan.step(f"keypair:{ALICE}:spare").needs
    assert {note.object for note in plan.notes if "no SSH key" in note.text} == {"keypair bob-cert of bob"}


def test_a_disabled_users_keypairs_need_a_current_nova(tmp_path: Path) -> None:
    carol = kid("carol")
    source = healthy(
        keypairs=(*make_snapshot().keypairs, Keypair(carol, "carol-key", "ssh-rsa D", "f")),
        assignments=(*make_snapshot().assignments, Assignment(carol, kid("acme"), kid("r-member"))),
    )
    plan, _ = planned(tmp_path, "acme-web1", source=source)
    assert has(plan, f"keypair:{carol}:carol-key") == [True]


# --- going back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("back", "undone"), [(("acme-web1",), False), (("acme-web1", "acme-web2"), True)])
def test_a_user_of_whom_servers_stay_keeps_its_password(tmp_path: Path, back: tuple[str, ...], undone: bool) -> None:
    plan, _ = planned(tmp_path, "acme-web1", "acme-web2", databases=facts())
    journal = Journal.open(f"sqlite:///{tmp_path / 'journal.db'}")
    keep_plan(journal, plan)
    did(journal, "run", plan, *(step.key for step in plan.steps))
    rollback, _ = plan_rollback(journal, "d" * 64, [uid(name) for name in back])
    keys = {step.params["step_key"] for step in rollback.steps}
    assert ({f"password:{ALICE}", f"user:{ALICE}"} <= keys) is undone
    assert (f"password:{ALICE}" in keys) is undone
    if undone:
        order = [step.params["step_key"] for step in rollback.steps]
        assert order.index(f"password:{ALICE}") < min(order.index(f"settle:{uid(name)}") for name in back)
        assert order.index(f"secret:{ALICE}") < order.index(f"user:{ALICE}")
    journal.close()
