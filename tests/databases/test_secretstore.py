"""The hand-over file beyond making secrets: what is set aside in it, and what leaves it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import yaml

from pumphouse.errors import SiteError
from pumphouse.secretstore import NOT_IN_FORCE, SecretStore


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    made = SecretStore(tmp_path / "work" / "handover-secrets.yaml")
    made.ensure("alice")
    return made


def written(store: SecretStore) -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load(store.path.read_text(encoding="utf-8"))
    return found


def test_what_is_set_aside_is_written_at_once_and_for_us_alone(store: SecretStore) -> None:
    with store.entry("alice") as entry:
        entry.change(borrowers=["b", "a", "b"])
        entry.change(set_aside="$2b$04$hash")
        assert store.borrowers("alice") == ["a", "b"]
        assert written(store)["alice"]["set_aside_secret"] == "$2b$04$hash"  # type: ignore[index]
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    with store.entry("alice") as entry:
        assert (entry.borrowers, entry.set_aside, entry.password) == (["a", "b"], "$2b$04$hash", store.get("alice"))


def test_the_file_says_of_a_secret_whether_it_opens(store: SecretStore) -> None:
    with store.entry("alice") as entry:
        entry.change(set_aside="$2b$04$hash", in_force=True)
        entry.change(in_force=False)
    assert written(store)["alice"]["note"] == NOT_IN_FORCE  # type: ignore[index]
    assert "$2b$" not in store.path.read_text(encoding="utf-8")
    with store.entry("alice") as entry:
        entry.change(in_force=True)
    assert written(store) == {"alice": {"password": store.get("alice")}}


def test_what_a_block_did_not_change_is_not_written(store: SecretStore) -> None:
    before = store.path.stat().st_mtime_ns
    with store.entry("alice") as entry:
        assert entry.set_aside is None
    assert store.path.stat().st_mtime_ns == before


def test_a_user_that_is_forgotten_leaves_the_file_and_the_others_stay(store: SecretStore) -> None:
    bob = store.ensure("bob")
    store.forget("alice")
    store.forget("alice")
    store.forget("nobody")
    assert written(store) == {"bob": {"password": bob}}
    assert (store.names(), store.get("alice"), store.borrowers("alice")) == (frozenset({"bob"}), None, [])


def test_an_entry_of_somebody_who_is_not_in_the_file(store: SecretStore) -> None:
    with pytest.raises(SiteError, match="does not know user bob") as caught, store.entry("bob"):
        pytest.fail("there is no such entry")
    assert "restore" in str(caught.value.remedy)
