"""Names and metadata that old clouds took and current ones refuse are found before anything is stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumphouse.checks import check_plan
from pumphouse.findings import ACCEPTABLE, Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import Assignment, Keypair, Project, Quota, User
from tests.core.making import healthy, planned
from tests.factories import LIMITS, kid, make_facts, make_flavor, make_projects, make_server, make_snapshot, uid

WEB1 = uid("acme-web1")
EMOJI = chr(0x1F680)


def findings_of(tmp_path: Path, source: Snapshot, *names: str, **destination: Any) -> list[Finding]:
    target = make_snapshot("destination", **destination)
    plan, _ = planned(tmp_path, *names or ("acme-web1",), source=source, destination=target)
    wanted = ("nova-refuses", "names-collide", "metadata-quota")
    return [found for found in check_plan(plan, Inventory(source, target)) if found.code in wanted]


def one(**changes: Any) -> Snapshot:
    return healthy(servers=(make_server(**{"id": WEB1} | changes),), floating_ips=())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "web 1 – ünïcödé ☃", "metadata": {"a-b_c:d.e f": "v", "k" * 255: ""}}, []),
        ({"name": "n" * 255}, []),
        ({"name": ""}, ["0 characters"]),
        ({"name": " web"}, ["white space"]),
        ({"name": "web\t1\u200b"}, ["'U+0009', 'U+200B'"]),
        ({"name": f"web{EMOJI}"}, ["U+1F680"]),
        ({"metadata": {"owner/team": "x", "ok": "y"}}, ["'owner/team'"]),
        ({"metadata": {f"ключ{n}": "x" for n in range(5)}}, ["'ключ0'", "and 2 more"]),
        ({"metadata": {"": "x"}}, ["''"]),
    ],
)
def test_a_servers_name_and_metadata(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    found = findings_of(tmp_path, one(**changes))
    assert [(f.severity, f.code) for f in found] == [("block", "nova-refuses")] * bool(words)
    for finding in found:
        assert all(word in finding.message for word in [*words, WEB1])
        assert finding.remedy


def test_values_of_metadata_are_not_told(tmp_path: Path) -> None:
    (found,) = findings_of(tmp_path, one(metadata={"pass/word": "hunter2"}))
    assert "hunter2" not in found.message + found.remedy


def test_an_older_destination_takes_them_as_the_source_did(tmp_path: Path) -> None:
    facts = make_facts("destination", compute_api="v2")
    assert findings_of(tmp_path, one(name=" web", metadata={"a/b": ""}), facts=facts) == []


@pytest.mark.parametrize(
    ("items", "given", "there", "blocks"),
    [(127, {}, 128, False), (128, {}, 128, True), (128, {"metadata_items": 200}, 128, False), (200, {}, -1, False)],
)
def test_room_for_our_own_metadata_item(
    tmp_path: Path, items: int, given: dict[str, int], there: int, blocks: bool
) -> None:
    quotas = tuple(Quota(p.id, {**LIMITS, **(given if p.name == "acme" else {})}) for p in make_projects())
    source = replace(one(metadata={f"k{n}": "v" for n in range(items)}), quotas=quotas)
    default = Quota("", {**LIMITS, "metadata_items": there})
    found = findings_of(tmp_path, source, default_quota=default)
    assert [f.code for f in found] == ["metadata-quota"] * blocks
    assert not {f.code for f in found} & ACCEPTABLE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "2.small_a-b", "name": "m1 small"}, []),
        ({"id": "m1/small"}, ["'m1/small'"]),
        ({"id": " 2"}, ["' 2'"]),
        ({"name": "m1\u00a0small "}, ["white space"]),
        ({"extra_specs": {"capabilities:cpu=arch": "x", "quota:cpu_shares": "1"}}, ["'capabilities:cpu=arch'"]),
    ],
)
def test_a_flavor(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    flavor = make_flavor(**{"flavor_id": changes.pop("id", "2")} | changes)
    source = replace(one(flavor_id=flavor.id), flavors=(flavor,))
    found = findings_of(tmp_path, source)
    assert [f.code for f in found] == ["nova-refuses"] * bool(words)
    assert all(word in finding.message for finding in found for word in words)
    assert findings_of(tmp_path, source, flavors=(flavor,)) == []


def test_a_keypairs_name(tmp_path: Path) -> None:
    pairs = [Keypair(kid("alice"), name, "ssh-rsa A", "f") for name in ("alice@laptop", "old.one", "alice-key")]
    source = replace(one(key_name="alice@laptop"), keypairs=tuple(pairs))
    (found,) = findings_of(tmp_path, source)
    assert (found.code, found.object) == ("nova-refuses", "keypair alice@laptop")
    plan, _ = planned(tmp_path, "acme-web1", source=source)
    assert "keypair old.one of alice" in {note.object for note in plan.notes}
    assert {step.params["name"] for step in plan.steps if step.kind == "keypair"} == {"alice@laptop", "alice-key"}


@pytest.mark.parametrize("name", ["acme", "ACME"])
def test_two_domains_projects_and_people_of_one_name(tmp_path: Path, name: str) -> None:
    usual = healthy()
    odd = make_server("odd", address="10.10.0.77", project_id="p2", user_id="u2", key_name=None, security_groups=())
    source = healthy(
        projects=(*usual.projects, Project("p2", name)),
        users=(*usual.users, User("u2", "Alice")),
        servers=(*usual.servers, odd),
        assignments=(*usual.assignments, Assignment("u2", "p2", usual.roles[0].id)),
    )
    found = findings_of(tmp_path, source, "acme-web1", "odd")
    assert {(f.code, f.object.casefold()) for f in found} == {
        ("names-collide", "project acme"),
        ("names-collide", "user alice"),
    }
    assert all(f.severity == "block" for f in found)
    assert findings_of(tmp_path, source, "acme-web1") == []


def test_a_role_that_keystone_no_longer_has_is_not_made_anew(tmp_path: Path) -> None:
    usual = healthy()
    stale = Assignment(kid("alice"), kid("acme"), "4f0c")
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(assignments=(*usual.assignments, stale)))
    assert not any("4f0c" in step.key or any("4f0c" in need for need in step.needs) for step in plan.steps)
    assert plan.step(f"boot:{WEB1}").params["as"] == "owner"
    assert any("4f0c" in note.text and note.object == "user alice" for note in plan.notes)
