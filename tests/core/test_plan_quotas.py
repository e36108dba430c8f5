"""Quotas and availability zones in a plan: what is carried, under which name, and what is only said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumphouse.checks import check_plan
from pumphouse.findings import Finding, blocking
from pumphouse.inventory import Inventory
from pumphouse.inventory.snapshot import Gap
from pumphouse.model import AvailabilityZone, Project, Quota
from pumphouse.plan.model import Plan
from tests.core.making import healthy, planned
from tests.factories import LIMITS, kid, make_projects, make_server, make_snapshot, uid

WEB1 = uid("acme-web1")
KEY = f"quota:{kid('acme')}"


def quotas(**limits: int) -> tuple[Quota, ...]:
    """The sample projects' quotas, acme's with these limits."""
    return tuple(Quota(p.id, {**LIMITS, **(limits if p.name == "acme" else {})}) for p in make_projects())


def there(name: str = "acme", source_id: str | None = None, *more: Quota) -> dict[str, Any]:
    """A destination that has the project."""
    usual = make_snapshot("destination")
    projects = (*usual.projects, Project("p1", name, source_id=source_id))
    return {"destination": make_snapshot("destination", projects=projects, quotas=(*usual.quotas, *more))}


def limits_of(plan: Plan) -> dict[str, int] | None:
    steps = [step for step in plan.steps if step.key == KEY]
    return dict(steps[0].params["limits"]) if steps else None


@pytest.mark.parametrize(
    ("given", "carried"),
    [
        ({}, None),
        ({"instances": 30}, {"instances": 30}),
        ({"ram": -1, "cores": 4, "key_pairs": 1}, {"cores": 4, "key_pairs": 1, "ram": -1}),
        ({"floating_ips": 3, "security_groups": 99}, None),  # Neutron's at the destination
        ({"surprises": 1}, None),
    ],
)
def test_limits_that_somebody_gave_are_carried(
    tmp_path: Path, given: dict[str, int], carried: dict[str, int] | None
) -> None:
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(quotas=quotas(**given)))
    assert limits_of(plan) == carried
    if carried:
        assert plan.step(KEY).needs == (f"project:{kid('acme')}",)
        assert KEY in plan.step(f"boot:{WEB1}").needs


def test_without_the_sources_defaults_nobody_knows_what_was_given(tmp_path: Path) -> None:
    for unknown in ({"default_quota": None}, {"quotas": ()}):
        plan, _ = planned(tmp_path, "acme-web1", source=healthy(**{"quotas": quotas(cores=1)} | unknown))
        assert limits_of(plan) is None


@pytest.mark.parametrize(
    ("policy", "destination", "sets"),
    [
        ("made", {}, True),
        ("made", there(source_id=kid("acme")), True),
        ("made", there(), False),
        ("all", there(), True),
        ("none", {}, False),
    ],
    ids=["new", "ours", "theirs", "all", "none"],
)
def test_whose_quota_is_set_is_the_sites_decision(
    tmp_path: Path, policy: str, destination: dict[str, Any], sets: bool
) -> None:
    source = healthy(quotas=quotas(instances=30))
    plan, _ = planned(tmp_path, "acme-web1", source=source, quotas=policy, **destination)
    assert (limits_of(plan) is not None) == sets
    assert any("compute quota" in note.text for note in plan.notes) != sets


def test_a_limit_that_somebody_set_at_the_destination_stays(tmp_path: Path) -> None:
    """Ours from an earlier plan, the default, and one set by hand since."""
    given = {"instances": 30, "cores": 60, "ram": 70000}
    now = Quota("p1", {**LIMITS, "instances": 30, "ram": 5})
    plan, _ = planned(tmp_path, "acme-web1", source=healthy(quotas=quotas(**given)), **there("acme", kid("acme"), now))
    assert limits_of(plan) == {"instances": 30, "cores": 60}
    assert any("keeps the ram 5 that it was given at the destination" in note.text for note in plan.notes)


@pytest.mark.parametrize(("instances", "blocks"), [(1, False), (0, True), (-1, False)])
def test_a_plan_is_measured_with_the_quota_that_it_carries(tmp_path: Path, instances: int, blocks: bool) -> None:
    source = healthy(quotas=quotas(instances=instances))
    destination = make_snapshot("destination", default_quota=Quota("", {**LIMITS, "instances": 0}))
    plan, _ = planned(tmp_path, "acme-web1", source=source, destination=destination)
    found = [f for f in check_plan(plan, Inventory(source, destination)) if f.code == "quota"]
    assert bool(found) == blocks
    assert all("in the source" in finding.remedy for finding in found)


# --- availability zones -------------------------------------------------------------------------------


def zone(tmp_path: Path, here: str | None, destination: Any = None, **mapping: Any) -> tuple[Plan, Any]:
    source = healthy(servers=(make_server(id=WEB1, availability_zone=here),), floating_ips=())
    return planned(tmp_path, "acme-web1", source=source, destination=destination, availability_zones=mapping)


@pytest.mark.parametrize(
    ("here", "mapping", "asked"),
    [
        (None, {}, None),
        ("nova", {}, None),  # Nova's own zone: asking for it would pin the server
        ("nova", {"nova": "nova"}, "nova"),
        ("nova", {"nova": "fast"}, "fast"),
        ("fast", {}, "fast"),
        ("ssd", {"ssd": "fast"}, "fast"),
        ("ssd", {"ssd": None}, None),
    ],
)
def test_a_zone_is_kept_or_mapped(tmp_path: Path, here: str | None, mapping: dict[str, Any], asked: str | None) -> None:
    plan, findings = zone(tmp_path, here, **mapping)
    assert blocking(findings) == ()
    assert plan.step(f"boot:{WEB1}").params["availability_zone"] == asked


def test_a_zone_without_a_host_is_no_zone(tmp_path: Path) -> None:
    dead = make_snapshot("destination", availability_zones=(AvailabilityZone("fast", available=False),))
    _, findings = zone(tmp_path, "fast", dead)
    (finding,) = blocking(findings)
    assert (finding.code, finding.object) == ("zone-missing", "server acme-web1")
    assert "no host of zone fast is up" in finding.message
    assert "availability_zones" in finding.remedy


def test_zones_that_could_not_be_read_are_not_judged(tmp_path: Path) -> None:
    unread = make_snapshot("destination", availability_zones=(), gaps=(Gap("availability_zones", "403", "ask"),))
    plan, findings = zone(tmp_path, "elsewhere", unread)
    assert [f for f in findings if isinstance(f, Finding) and f.code == "zone-missing"] == []
    assert plan.step(f"boot:{WEB1}").params["availability_zone"] == "elsewhere"
