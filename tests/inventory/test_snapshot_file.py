"""A snapshot written to disk comes back exactly, and nothing else is taken for one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pumphouse.inventory import Gap, InventoryError, Snapshot
from pumphouse.model import Address, Quota
from tests.factories import make_flavor, make_image, make_server, make_snapshot

TEXTS = st.text(max_size=12)
TIMES = st.none() | st.datetimes(timezones=st.just(UTC))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    ids = draw(st.lists(TEXTS, max_size=4, unique=True))
    servers = [
        make_server(
            draw(TEXTS),
            id=server_id,
            metadata=draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
            host=draw(st.none() | TEXTS),
            security_groups=tuple(draw(st.lists(TEXTS, max_size=3))),
            addresses=tuple(draw(st.lists(st.builds(Address, TEXTS, TEXTS, st.none() | TEXTS), max_size=2))),
            config_drive=draw(st.booleans()),
            power_state=draw(st.none() | st.integers(0, 9)),
            created_at=draw(TIMES),
        )
        for server_id in ids
    ]
    factor = draw(st.floats(allow_nan=False, allow_infinity=False))
    return make_snapshot(
        draw(st.sampled_from(["source", "destination"])),
        servers=servers,
        flavors=(make_flavor(rxtx_factor=factor, extra_specs=draw(st.dictionaries(TEXTS, TEXTS, max_size=2))),),
        images=(make_image(size_bytes=draw(st.none() | st.integers(0, 1 << 50))),),
        taken_at=draw(st.datetimes(timezones=st.just(UTC))),
        default_quota=draw(st.none() | st.builds(Quota, TEXTS, st.dictionaries(TEXTS, st.integers(-1, 9), max_size=3))),
        gaps=tuple(draw(st.lists(st.builds(Gap, TEXTS, TEXTS, TEXTS), max_size=2))),
    )


@given(snapshots())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_json_round_trip(snapshot: Snapshot) -> None:
    text = snapshot.to_json()
    again = Snapshot.from_json(text)
    assert again == snapshot
    assert again.to_json() == text


@pytest.mark.parametrize("side", ["source", "destination"])
def test_save_and_load(tmp_path: Path, side: str) -> None:
    snapshot = make_snapshot(side)
    path = snapshot.save(tmp_path / "made" / "old.json")
    assert Snapshot.load(path) == snapshot
    # metadata of servers may hold secrets
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["old.json"]


def test_the_file_does_not_depend_on_the_order_of_lists(tmp_path: Path) -> None:
    snapshot = make_snapshot()
    turned = make_snapshot(servers=tuple(reversed(snapshot.servers)), images=tuple(reversed(snapshot.images)))
    assert turned.to_json() == snapshot.to_json()


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_snapshot().save(tmp_path / "old.json")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InventoryError, match="No space left"):
        make_snapshot("destination").save(path)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["old.json"]


def _set(*path: str | int) -> Callable[[Any, Any], None]:
    def change(document: Any, value: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        if value is ...:
            del document[path[-1]]
        else:
            document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        (_set("schema"), 1, "schema is 1"),
        (_set("schema"), "1", "not a number"),
        (_set("schema"), ..., "missing"),
        (_set("schema"), True, "schema is"),
        (_set("kind"), "pumphouse-selection", "not a pumphouse-snapshot"),
        (_set("more"), 1, "'more' is unknown"),
        (_set("snapshot"), ..., "'snapshot' is missing"),
        (_set("snapshot"), [], "dict expected"),
        (_set("snapshot", "servers"), ..., "'servers' is missing"),
        (_set("snapshot", "secret"), 1, "'secret' is unknown"),
        (_set("snapshot", "servers", 0, "id"), None, "servers[0].id: str expected, NoneType found"),
        (_set("snapshot", "servers", 0, "addresses", 0, "version"), True, "version: int expected, bool found"),
        (_set("snapshot", "servers", 0, "config_drive"), 1, "config_drive: bool expected, int found"),
        (_set("snapshot", "servers", 0, "created_at"), "2014-05-01", "created_at: a time without zone"),
        (_set("snapshot", "servers", 0, "created_at"), "soon", "not an ISO 8601 time"),
        (_set("snapshot", "servers", 0, "metadata"), {"role": 1}, "metadata.role: str expected"),
        (_set("snapshot", "networks", 0, "pools"), [["10.0.0.1"]], "pools[0]: 2 values expected, 1 found"),
        (_set("snapshot", "taken_at"), None, "taken_at: str expected"),
        (_set("snapshot", "security_groups", 0, "rules"), ..., "'rules' is missing"),
    ],
)
def test_a_changed_file_is_refused_with_the_place(
    tmp_path: Path, change: Callable[[Any, Any], None], value: Any, words: str
) -> None:
    path = tmp_path / "old.json"
    document = json.loads(make_snapshot().to_json())
    change(document, value)
    path.write_text(json.dumps(document))
    with pytest.raises(InventoryError) as caught:
        Snapshot.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "Remedy:" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"x"', "NaN", "[" * 100_000, '{"kind": "a", "kind": "b"}', '{"a": NaN}']
)
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InventoryError, match="cannot be read as a snapshot"):
        Snapshot.from_json(text)


def test_half_a_file_is_refused() -> None:
    text = make_snapshot().to_json()
    with pytest.raises(InventoryError):
        Snapshot.from_json(text[: len(text) // 2])


def test_a_value_is_never_echoed() -> None:
    document = json.loads(make_snapshot().to_json())
    document["snapshot"]["servers"][0]["metadata"] = "hunter2"
    with pytest.raises(InventoryError) as caught:
        Snapshot.from_json(json.dumps(document))
    assert "hunter2" not in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"gone\.json cannot be read: No such file"):
        Snapshot.load(tmp_path / "gone.json")
    (tmp_path / "old.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryError, match="not text"):
        Snapshot.load(tmp_path / "old.json")
