"""Files that must be whole, private or bound to a plan: atomic writing, one-time secrets, approvals."""

from __future__ import annotations

import getpass
import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.approval import account, approve, require_approval
from pumphouse.errors import ApprovalMissing, ApprovalRefused, SiteError
from pumphouse.fileio import write_atomic
from pumphouse.journal import PlanState
from pumphouse.plan.model import Plan
from pumphouse.secretstore import SecretStore
from tests.core.making import make_plan, make_step
from tests.core.processes import workers

FREE = [HealthCheck.function_scoped_fixture]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- atomic writing -----------------------------------------------------------------------------------


def test_a_file_is_written_whole_with_its_folder_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "plan.json"
    write_atomic(path, "ä\n", mode=0o640)
    assert path.read_text(encoding="utf-8") == "ä\n"
    assert mode(path) == 0o640
    write_atomic(path, "second")
    assert path.read_text() == "second"
    assert mode(path) == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("call", ["fsync", "fdopen"])
def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "plan.json"
    write_atomic(path, "first")

    def fail(*_args: Any, **_kw: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "second")
    monkeypatch.undo()
    assert path.read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_text_that_cannot_be_encoded_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "plan.json", "\udc80")
    assert list(tmp_path.iterdir()) == []


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    texts = {letter * 200_000 for letter in "ab"}
    write_atomic(path, "a" * 200_000)
    over = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        write_atomic(path, "ab"[number % 2] * 200_000)
    over.set()
    reader.join(20)
    assert seen <= texts
    assert seen


# --- one-time secrets ---------------------------------------------------------------------------------


def store(folder: Path) -> SecretStore:
    return SecretStore(folder / "work" / "handover-secrets.yaml")


def test_a_password_is_made_once_and_kept(tmp_path: Path) -> None:
    secrets = store(tmp_path)
    assert secrets.get("alice") is None
    assert not secrets.path.exists()
    password = secrets.ensure("alice")
    assert len(password) >= 32
    assert secrets.ensure("alice") == password
    assert SecretStore(secrets.path).get("alice") == password
    assert secrets.ensure("bob") != password
    assert secrets.get("alice") == password


def test_nobody_else_may_read_the_passwords_whatever_was_there_before(tmp_path: Path) -> None:
    secrets = store(tmp_path)
    old_umask = os.umask(0)
    try:
        secrets.path.parent.mkdir()
        for name in ("handover-secrets.tmp", "handover-secrets.yaml.tmp"):
            (secrets.path.parent / name).write_text("left by a crash")
        secrets.ensure("alice")
        assert mode(secrets.path) == 0o600
        secrets.path.chmod(0o644)
        secrets.ensure("bob")
        assert mode(secrets.path) == 0o600
    finally:
        os.umask(old_umask)
    password = secrets.ensure("alice")
    readable = [file for file in secrets.path.parent.iterdir() if mode(file) & 0o077]
    assert [file for file in readable if password in file.read_text()] == []


def test_processes_that_ask_at_once_get_one_password(tmp_path: Path) -> None:
    path = str(store(tmp_path).path)
    names = ("alice", "bob", "carol")
    with workers(*(("ensure_secrets", path, *names[n:], *names[:n]) for n in range(3))) as started:
        for worker in started:
            assert worker.answer() == {"ready": True}
        for worker in started:
            worker.go()
        answers = [worker.answer() for worker in started]
    assert answers[0] == answers[1] == answers[2]
    assert len(set(answers[0].values())) == 3
    assert {name: store(tmp_path).get(name) for name in names} == answers[0]


def test_threads_that_ask_at_once_get_one_password(tmp_path: Path) -> None:
    ready = threading.Barrier(8)

    def ask(number: int) -> tuple[str, str]:
        ready.wait(10)
        return f"user{number % 4}", store(tmp_path).ensure(f"user{number % 4}")

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8), timeout=60))
    assert len(answers) == 4


@settings(deadline=None, max_examples=20, suppress_health_check=FREE)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), unique=True, max_size=4))
def test_any_name_keeps_its_own_password(tmp_path: Path, names: list[str]) -> None:
    secrets = store(tmp_path)
    made = {name: secrets.ensure(name) for name in names}
    assert {name: SecretStore(secrets.path).get(name) for name in names} == made
    assert len(set(made.values())) == len(names)


DAMAGE = [
    b"",
    b"\n# nothing\n",
    b"[]",
    b"false",
    b"alice",
    b"alice: s3cret-canary",
    b"alice: {pass: s3cret-canary}",
    b"alice: {password: 5}",
    b"alice: {password: null}",
    b"alice: {password: 's3cret-canary",
    b"alice: *s3cret-canary",
    b"alice: 2014-13-45",
    b"\xff\xfe\x00s3cret-canary",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_an_error_and_is_never_written_over(tmp_path: Path, damage: bytes) -> None:
    secrets = store(tmp_path)
    secrets.path.parent.mkdir()
    secrets.path.write_bytes(damage)
    for ask in (secrets.get, secrets.ensure):
        with pytest.raises(SiteError, match=r"handover-secrets\.yaml .*Remedy: restore it") as caught:
            ask("bob")
        assert "canary" not in str(caught.value)
        assert caught.value.__cause__ is None
    assert secrets.path.read_bytes() == damage


def test_an_entry_that_was_handed_over_and_removed_is_no_damage(tmp_path: Path) -> None:
    secrets = store(tmp_path)
    secrets.ensure("alice")
    secrets.path.write_text(yaml.safe_dump({}))
    assert secrets.get("alice") is None


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder should be")
    with pytest.raises(SiteError, match=r"cannot be written: .*Remedy: check the work folder"):
        store(tmp_path).ensure("alice")


def test_a_full_disk_is_an_error_and_no_password_is_given_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = store(tmp_path)
    before = secrets.ensure("alice")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SiteError, match="No space left"):
        secrets.ensure("bob")
    assert secrets.ensure("alice") == before
    monkeypatch.undo()
    assert secrets.get("bob") is None


# --- approvals ----------------------------------------------------------------------------------------

PLAN = make_plan(make_step("project:1"))
OTHER = make_plan(make_step("project:2"))


def refused(plan: Plan, folder: Path, file: str = "") -> str:
    with pytest.raises(ApprovalMissing) as caught:
        require_approval(plan, folder, file=file)
    assert f"pumphouse approve {plan.hash[:12]} --by NAME --reason WHY" in str(caught.value)
    return str(caught.value)


def test_an_approval_says_who_when_and_why(tmp_path: Path) -> None:
    path = approve(PLAN, tmp_path / "approvals", by=" Ann ", reason=" window tonight ", ticket=" CHG-7 ")
    found = require_approval(PLAN, tmp_path / "approvals")
    assert (found.approved_by, found.reason, found.ticket) == ("Ann", "window tonight", "CHG-7")
    assert found.plan_hash == PLAN.hash
    assert datetime.fromisoformat(found.approved_at).utcoffset() is not None
    assert require_approval(PLAN, tmp_path / "nowhere", file=str(path)) == found


def test_an_approval_names_the_account_that_typed_it(tmp_path: Path) -> None:
    approve(PLAN, tmp_path, by="Ann", reason="yes")
    found = require_approval(PLAN, tmp_path)
    assert found.account == account()
    assert found.account.startswith(getpass.getuser())
    older = json.loads((tmp_path / f"{PLAN.hash}.json").read_text())
    del older["account"]
    (tmp_path / f"{PLAN.hash}.json").write_text(json.dumps(older))
    assert require_approval(PLAN, tmp_path).account == ""


@pytest.mark.parametrize("state", [PlanState.FINISHED, PlanState.UNDONE, PlanState.SUPERSEDED])
def test_a_plan_that_is_over_cannot_be_approved(tmp_path: Path, state: PlanState) -> None:
    with pytest.raises(ApprovalRefused, match=f"is {state}: there is nothing left"):
        approve(PLAN, tmp_path, by="Ann", reason="yes", state=state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("state", [None, PlanState.PROPOSED, PlanState.STARTED])
def test_a_plan_that_is_not_over_can(tmp_path: Path, state: PlanState | None) -> None:
    approve(PLAN, tmp_path, by="Ann", reason="yes", state=state)
    assert require_approval(PLAN, tmp_path).approved_by == "Ann"


def test_an_approval_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    approve(PLAN, tmp_path, by="Ann", reason="window tonight")
    with pytest.raises(ApprovalRefused, match=r"by Ann at .* \(window tonight\)"):
        approve(PLAN, tmp_path, by="Bob", reason="me too")
    assert require_approval(PLAN, tmp_path).approved_by == "Ann"
    approve(PLAN, tmp_path, by="Bob", reason="me too", replace=True)
    assert require_approval(PLAN, tmp_path).approved_by == "Bob"
    (tmp_path / f"{PLAN.hash}.json").write_text("{")
    with pytest.raises(ApprovalRefused, match="cannot be read"):
        approve(PLAN, tmp_path, by="Ann", reason="yes")


def test_a_plan_without_an_approval_is_refused(tmp_path: Path) -> None:
    assert f"Plan {PLAN.hash[:12]} is not approved: there is no approval of it" in refused(PLAN, tmp_path)
    approve(OTHER, tmp_path, by="Ann", reason="yes")
    refused(PLAN, tmp_path)


def test_an_approval_of_another_plan_is_refused_and_says_which(tmp_path: Path) -> None:
    path = approve(OTHER, tmp_path, by="Ann", reason="yes")
    text = refused(PLAN, tmp_path, file=str(path))
    assert OTHER.hash[:12] in text
    assert PLAN.hash[:12] in text
    path.rename(tmp_path / f"{PLAN.hash}.json")
    refused(PLAN, tmp_path)


@pytest.mark.parametrize("change", [{"sequence": 1}, {"source": "elsewhere"}, {"copy_bytes": 1}])
def test_the_least_change_of_a_plan_wants_an_approval_of_its_own(tmp_path: Path, change: dict[str, Any]) -> None:
    path = approve(PLAN, tmp_path, by="Ann", reason="yes")
    refused(replace(PLAN, **change), tmp_path, file=str(path))


@pytest.mark.parametrize(("by", "reason"), [("", "yes"), ("Ann", ""), ("  ", "yes"), ("Ann", "\n")])
def test_nobody_and_no_reason_approve_nothing(tmp_path: Path, by: str, reason: str) -> None:
    with pytest.raises(ApprovalMissing, match="names no person or no reason"):
        approve(PLAN, tmp_path, by=by, reason=reason)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"approved_by": ""},
        {"approved_by": None},
        {"approved_by": ["Ann"]},
        {"reason": "  "},
        {"schema": 2},
        {"schema": None},
        {"plan_hash": None},
        {"plan_hash": PLAN.hash[:12]},
        {"extra": 1},
    ],
)
def test_an_approval_file_that_was_changed_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = approve(PLAN, tmp_path, by="Ann", reason="yes")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    refused(PLAN, tmp_path)


@pytest.mark.parametrize("missing", ["plan_hash", "approved_by", "reason", "approved_at"])
def test_an_approval_file_that_lacks_something_is_refused(tmp_path: Path, missing: str) -> None:
    path = approve(PLAN, tmp_path, by="Ann", reason="yes")
    document = json.loads(path.read_text())
    del document[missing]
    path.write_text(json.dumps(document))
    refused(PLAN, tmp_path)


@pytest.mark.parametrize("content", [b"", b"yes", b"[]", b"{", b"\xff\xfe", b"null", b"[" * 100_000, b"{}"])
def test_garbage_approves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{PLAN.hash}.json").write_bytes(content)
    refused(PLAN, tmp_path)


def test_a_folder_approves_nothing(tmp_path: Path) -> None:
    refused(PLAN, tmp_path, file=str(tmp_path))


@settings(deadline=None, max_examples=60, suppress_health_check=FREE)
@given(st.binary(max_size=60) | st.text('{}[]":,1a', max_size=40).map(str.encode))
def test_any_garbage_approves_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{PLAN.hash}.json").write_bytes(content)
    refused(PLAN, tmp_path)
