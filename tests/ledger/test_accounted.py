"""Every field of every recorded object has a rule: copied, mapped, derived or dropped, and why."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pumphouse.ledger import RULES, Treatment, join, split
from tests.ledger.typed import Fields, add, add_shape, objects

HERE = Path(__file__).parent
LAB = HERE.parent / "lab"
RELEASES = ("grizzly", "havana", "icehouse")
#: Answers of the current cloud by the first word of their name; Neutron's own objects are no source's.
SERVICES = {
    **dict.fromkeys(("assignment", "domain", "endpoint", "grant", "group", "project", "region", "role"), "identity"),
    **dict.fromkeys(("service", "user", "auth"), "identity"),
    **dict.fromkeys(("image", "member"), "image"),
    **dict.fromkeys(("compute", "flavor", "hypervisor", "keypair", "reader", "server"), "compute"),
    **dict.fromkeys(("reader.project", "reader.user"), "identity"),
}
NOT_A_SOURCE = {"network", "port", "subnet", "router", "rule", "secgroup", "floating", "policy", "quota", "unknown"}
#: Answers that hold no object of a tenant: what the API can do.
NO_OBJECTS = {"discovery"}


def recorded(release: str) -> dict[str, Fields]:
    document = json.loads((HERE / "data" / f"{release}.json").read_text(encoding="utf-8"))
    return {kind: {(tuple(path), json_type): n for path, json_type, n in rows} for kind, rows in document.items()}


def unaccounted(fields: dict[str, Fields]) -> list[str]:
    """``type: field`` for every field without a rule."""
    return [f"{kind}: {name}" for kind, known in fields.items() for name in RULES.unaccounted(kind, known)]


@pytest.mark.parametrize("release", RELEASES)
def test_every_recorded_field_is_accounted_for(release: str, capsys: pytest.CaptureFixture[str]) -> None:
    fields = recorded(release)
    missing = unaccounted(fields)
    seen = sum(map(len, fields.values()))
    with capsys.disabled():
        print(f"\nledger, {release}: {seen - len(missing)} of {seen} fields of {len(fields)} types accounted for")
    assert missing == []
    assert seen > 600
    carried = {kind for kind in fields if len(RULES.of(kind)) > 1}
    assert carried >= {
        *("project", "user", "role", "image", "image_member", "server", "flavor", "flavor_access", "keypair"),
        *("security_group", "security_group_rule", "network", "fixed_ip", "floating_ip", "quota_set"),
        "virtual_interface",
    }


def test_the_releases_differ_as_they_really_do() -> None:
    fields = {release: recorded(release) for release in RELEASES}
    names = {release: {join(path) for path, _ in fields[release]["server"]} for release in RELEASES}
    assert "OS-SRV-USG:launched_at" in names["icehouse"] & names["havana"] - names["grizzly"]
    images = {release: {join(path) for path, _ in fields[release]["image"]} for release in RELEASES}
    assert "virtual_size" in images["icehouse"] - images["havana"] - images["grizzly"]


def test_the_labs_own_recording_is_accounted_for() -> None:
    fields: dict[str, Fields] = {}
    for file in sorted((LAB / "data").glob("*.json")):
        if file.name.startswith("fuel-"):
            continue  # Fuel's: nothing of it is carried
        for row in json.loads(file.read_text(encoding="utf-8")):
            if row["status"] < 400 and "shape" in row:
                for kind, shape in objects(row["service"], row["path"], row["shape"]):
                    add_shape(fields, kind, shape)
    assert unaccounted(fields) == []
    assert len(fields) > 30


def test_a_current_clouds_objects_are_accounted_for() -> None:
    """Not a source today; but a field that a later release adds must not pass unseen."""
    fields: dict[str, Fields] = {}
    answers = json.loads((LAB / "destination" / "data" / "current.json").read_text(encoding="utf-8"))
    good = {name: answer["body"] for name, answer in answers.items() if answer["status"] < 400 and answer["body"]}
    words = {name.partition(".")[0] for name in good}
    assert words == {name for name in SERVICES if "." not in name} | NOT_A_SOURCE | NO_OBJECTS
    for name, body in good.items():
        service = SERVICES.get(name) or SERVICES.get(name.partition(".")[0])
        if service is not None:
            for kind, shape in objects(service, name, body):
                add_shape(fields, kind, shape)
    # what the recording invented itself, to see that Keystone keeps anything
    assert unaccounted(fields) == ["project: colour"]
    assert {"server", "flavor", "image", "user", "project"} <= fields.keys()


@pytest.mark.parametrize("kind", sorted(kind for kind in RULES.types if len(RULES.of(kind)) > 1))
def test_an_invented_field_is_not(kind: str) -> None:
    invented: Any = 7 if kind == "image" else "x"  # texts that Glance does not know are custom properties
    fields: dict[str, Fields] = {}
    add(fields, kind, {"invented": invented, "links": {"invented": {}} if kind == "image" else {}, "nested": {"a": 1}})
    found = unaccounted(fields)
    assert f"{kind}: invented" in found
    assert f"{kind}: nested.a" in found


def test_a_type_nobody_thought_of_is_not() -> None:
    assert [kind for kind, _ in objects("compute", "/os-news", {"news": [{"id": 1}]})] == ["?news"]
    assert RULES.unaccounted("?news", [(("id",), "int")]) == ["id"]


def test_custom_names_are_met_by_patterns() -> None:
    for kind, record in (
        ("server", {"metadata": {"any.key: at all": "x"}}),
        ("flavor", {"extra_specs": {"hw:cpu_policy": "dedicated"}}),
        ("image", {"os.distro": "x"}),
        ("image", {"properties": {"os.distro": "x"}}),
        ("server", {"addresses": {"a net": [{"addr": "10.0.0.2", "version": 4}]}}),
    ):
        fields: dict[str, Fields] = {}
        add(fields, kind, record)
        assert unaccounted(fields) == []


def test_every_rule_gives_a_reason_and_says_its_field_once() -> None:
    for kind, rules in RULES.types.items():
        again = [name for name, n in Counter(rule.field for rule in rules).items() if n > 1]
        assert again == [], kind
        for rule in rules:
            assert rule.reason.strip() == rule.reason != "", (kind, rule.field)
            assert not rule.reason.endswith("."), (kind, rule.field)
            assert split(rule.field) == rule.path


def test_what_only_a_database_has_is_in_the_ledger() -> None:
    rules = {(kind, rule.field): rule for kind in RULES.types for rule in RULES.of(kind)}
    assert rules["server", "db:instances.user_data"].decide is not None
    assert rules["user", "db:user.password"].decide is not None
    assert rules["keypair", "private_key"].treatment is Treatment.DROPPED
    assert rules["server", "root disk"].treatment is Treatment.DROPPED
