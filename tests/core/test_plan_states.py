"""Every state that Nova knows of a server has one treatment, and the plan follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pumphouse
from pumphouse.findings import Finding, accept, blocking
from pumphouse.model import Image, Server
from pumphouse.plan.model import Plan
from pumphouse.plan.states import SHELVED, STATES, treatment
from tests.core.making import healthy, planned
from tests.factories import make_image, make_server, uid

WEB1 = uid("acme-web1")
#: All that ``nova/api/openstack/common.py`` makes of vm_state and task_state since Havana.
NOVAS = [
    "ACTIVE",
    "BUILD",
    "DELETED",
    "ERROR",
    "HARD_REBOOT",
    "MIGRATING",
    "PASSWORD",
    "PAUSED",
    "REBOOT",
    "REBUILD",
    "RESCUE",
    "RESIZE",
    "REVERT_RESIZE",
    "SHELVED",
    "SHELVED_OFFLOADED",
    "SHUTOFF",
    "SOFT_DELETED",
    "SUSPENDED",
    "VERIFY_RESIZE",
]


def test_the_documentation_shows_what_becomes_of_each_state() -> None:
    document = (Path(pumphouse.__file__).parent.parent / "doc" / "moving.md").read_text(encoding="utf-8")
    table = document.partition("## Servers in every state")[2].partition("\n\n##")[0]
    rows = [row.split("|")[1].split(",") for row in table.splitlines() if row.startswith("| ")]
    shown = [word.strip() for row in rows for word in row if word.strip().replace("_", "").isupper()]
    assert sorted(shown) == NOVAS


def of(tmp_path: Path, server: Server, *images: Image) -> tuple[Plan, tuple[Finding, ...]]:
    usual = healthy().images
    return planned(tmp_path, "acme-web1", source=healthy(servers=(server,), floating_ips=(), images=(*usual, *images)))


def of_status(tmp_path: Path, status: str, **changes: Any) -> tuple[Plan, tuple[Finding, ...]]:
    return of(tmp_path, make_server(**{"id": WEB1, "status": status} | changes))


def test_no_state_of_novas_is_forgotten() -> None:
    assert sorted(STATES) == NOVAS


@pytest.mark.parametrize(
    ("status", "code", "rests", "arrives"),
    [
        ("ACTIVE", "", ["SHUTOFF"], "ACTIVE"),
        ("SHUTOFF", "", ["SHUTOFF"], "SHUTOFF"),
        ("PAUSED", "state-not-kept", ["PAUSED"], "SHUTOFF"),
        ("SUSPENDED", "state-not-kept", ["SUSPENDED"], "SHUTOFF"),
        ("SHELVED", "state-not-kept", list(SHELVED), "SHUTOFF"),
        ("SHELVED_OFFLOADED", "state-not-kept", list(SHELVED), "SHUTOFF"),
    ],
)
def test_what_can_move_rests_and_arrives_as_the_table_says(
    tmp_path: Path, status: str, code: str, rests: list[str], arrives: str
) -> None:
    plan, findings = of_status(tmp_path, status)
    assert {finding.code for finding in blocking(findings)} == ({code} if code else set())
    assert blocking(accept(findings, ["state-not-kept"])) == ()
    assert [plan.step(f"{kind}:{WEB1}").params["rests"] for kind in ("stop", "boot", "settle")] == [rests] * 3
    assert plan.step(f"settle:{WEB1}").params["arrives"] == arrives
    told = any("runs until verified" in note.text for note in plan.notes)
    assert told == (arrives == "SHUTOFF")


@pytest.mark.parametrize("status", [*(name for name, fate in STATES.items() if not fate.moves), "UNKNOWN", "NEW"])
def test_what_cannot_move_is_named_with_a_remedy_and_gets_no_step_of_its_own(tmp_path: Path, status: str) -> None:
    plan, findings = of_status(tmp_path, status)
    (finding,) = blocking(findings)
    assert finding.code in ("server-state", "server-busy")
    assert finding.object == "server acme-web1"
    assert len(finding.remedy) > 10
    assert [step.key for step in plan.steps if step.server_id == WEB1] == []


def test_every_treatment_is_complete() -> None:
    for status, fate in STATES.items():
        assert fate.moves == bool(fate.arrives), status
        assert bool(fate.code) == bool(fate.why) == bool(fate.remedy), status
        assert fate.code or fate.moves, status
    assert treatment("anything else").code == "server-state"


def shelf(**changes: Any) -> Image:
    values: dict[str, Any] = {"name": "acme-web1-shelved", "properties": {"instance_uuid": WEB1}}
    return make_image(**values | changes)


@pytest.mark.parametrize("status", SHELVED)
def test_a_shelved_server_boots_from_the_image_of_its_disk(tmp_path: Path, status: str) -> None:
    plan, findings = of(tmp_path, make_server(id=WEB1, status=status, host=None), shelf())
    assert blocking(findings) == ()
    assert plan.step(f"boot:{WEB1}").params["image_id"] == shelf().id
    assert plan.server(WEB1).image == "acme-web1-shelved"
    assert f"image:{shelf().id}" in plan.step(f"boot:{WEB1}").needs


@pytest.mark.parametrize(
    "images",
    [
        (shelf(status="queued"),),
        (shelf(properties={"instance_uuid": uid("another")}),),
        (shelf(name="backup"),),
        (shelf(), shelf(id=uid("second"))),
    ],
    ids=["queued", "anothers", "backup", "two"],
)
def test_the_image_of_a_shelved_disk_is_not_guessed(tmp_path: Path, images: tuple[Image, ...]) -> None:
    plan, findings = of(tmp_path, make_server(id=WEB1, status="SHELVED"), *images)
    assert {finding.code for finding in blocking(findings)} == {"state-not-kept"}
    assert plan.step(f"boot:{WEB1}").params["image_id"] == make_server().image_id


@pytest.mark.parametrize("locked", [True, False, None])
def test_a_lock_is_carried_where_it_is_known(tmp_path: Path, locked: bool | None) -> None:
    plan, _ = of_status(tmp_path, "ACTIVE", locked=locked)
    assert {plan.step(f"{kind}:{WEB1}").params["locked"] for kind in ("stop", "boot", "settle")} == {locked}
    assert any(note.object == "locks" for note in plan.notes) == (locked is None)
