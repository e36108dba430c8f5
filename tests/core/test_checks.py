"""Checks say everything at once, before anything is touched; findings decide whether a run may go on."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pumphouse.checks import check_plan, check_site
from pumphouse.checks.images import check_images
from pumphouse.clouds.api import Images
from pumphouse.errors import ApiError, ChecksFailed
from pumphouse.findings import ACCEPTABLE, SEVERITIES, Finding, accept, blocking, ordered, require_none_blocking
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.inventory.snapshot import Gap
from pumphouse.model import Hypervisor, Project, Quota
from pumphouse.plan.model import Plan
from tests.core.making import healthy, make_plan, make_step, planned
from tests.factories import LIMITS, kid, make_facts, make_server, make_snapshot


def found(findings: tuple[Finding, ...], code: str) -> list[Finding]:
    return [finding for finding in findings if finding.code == code]


def of_site(source: Snapshot | None = None, destination: Snapshot | None = None) -> tuple[Finding, ...]:
    return check_site(Inventory(source or healthy(), destination or make_snapshot("destination")))


# --- the site -----------------------------------------------------------------------------------------


def test_a_clean_site_has_nothing_that_blocks() -> None:
    assert blocking(of_site()) == ()


def test_what_is_dirty_is_listed_and_blocks_nothing() -> None:
    findings = of_site(make_snapshot())
    listed = {code for f in findings if (code := f.code) in ("server-in-error", "server-stuck", "image-not-active")}
    assert listed == {"server-in-error", "server-stuck", "image-not-active"}
    assert blocking(findings) == ()


@pytest.mark.parametrize("table", ["users", "roles", "assignments", "security_groups", "floating_ips", "ports"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_gap_in_what_plans_stand_on_blocks(table: str, side: str) -> None:
    gaps = (Gap(table, "403 Forbidden", "use an administrator"),)
    snapshots = {
        "source": healthy(gaps=gaps if side == "source" else ()),
        "destination": make_snapshot("destination", gaps=gaps if side == "destination" else ()),
    }
    (gap,) = found(of_site(**snapshots), "inventory-gap")
    assert gap.severity == "block"
    assert gap.object == f"{table} of {'old' if side == 'source' else 'new'}"
    assert "403 Forbidden" in gap.message
    assert gap.remedy == "use an administrator"


@pytest.mark.parametrize("table", ["quotas", "keypairs", "hypervisors", "services"])
def test_any_other_gap_is_told(table: str) -> None:
    (gap,) = found(of_site(healthy(gaps=(Gap(table, "no answer", "ask again"),))), "inventory-gap")
    assert gap.severity == "warn"


def test_clouds_of_the_wrong_kind_block() -> None:
    swapped = of_site(
        healthy(facts=make_facts("source", network_service="neutron")),
        make_snapshot("destination", facts=make_facts("destination", network_service="nova-network")),
    )
    assert {f.code for f in blocking(swapped)} == {"source-network"}
    vlan = healthy(networks=(replace(healthy().networks[0], vlan_id=100),))
    (finding,) = blocking(of_site(vlan))
    assert (finding.code, finding.object) == ("network-manager", "network private")
    assert "VLAN 100" in finding.message


def test_unverified_tls_is_told_for_either_side() -> None:
    destination = make_snapshot("destination", facts=make_facts("destination", tls_verified=False))
    assert [f.object for f in found(of_site(destination=destination), "tls-off")] == ["cloud old", "cloud new"]
    secure = healthy(facts=make_facts("source", tls_verified=True))
    assert found(of_site(secure), "tls-off") == []


def test_without_a_destination_the_source_is_checked_alone() -> None:
    assert blocking(check_site(Inventory(healthy()))) == ()


# --- the plan -----------------------------------------------------------------------------------------


def of_plan(
    tmp_path: Path, *names: str, source: Snapshot | None = None, **destination: Any
) -> tuple[Plan, tuple[Finding, ...]]:
    source = source or healthy()
    target = make_snapshot("destination", **destination)
    plan, _ = planned(tmp_path, *names, source=source, destination=target)
    return plan, check_plan(plan, Inventory(source, target))


def test_a_plan_that_fits_has_no_findings(tmp_path: Path) -> None:
    assert of_plan(tmp_path)[1] == ()


@pytest.mark.parametrize(
    ("limit", "allowed", "blocks"),
    [
        ("instances", 6, False),
        ("instances", 5, True),
        ("cores", 8, False),
        ("cores", 7, True),
        ("ram", 16384, False),
        ("ram", 16383, True),
        ("ram", -1, False),
        ("instances", 0, True),
    ],
)
def test_a_new_projects_quota_is_measured_exactly(tmp_path: Path, limit: str, allowed: int, blocks: bool) -> None:
    """Six servers of acme: four of 1 core and 2048 MiB, two of 2 cores and 4096 MiB."""
    _, findings = of_plan(tmp_path, default_quota=Quota("", {**LIMITS, limit: allowed}))
    assert [(f.code, f.object) for f in findings] == ([("quota", "project acme")] if blocks else [])
    if blocks:
        assert limit in findings[0].message
        assert str(allowed) in findings[0].message


def existing(name: str, **changes: Any) -> dict[str, Any]:
    """A destination where acme exists, made by us, with one server and room for six servers in all."""
    project = Project("p1", "acme", source_id=kid("acme"))
    server = make_server(name, project_id="p1", flavor_id="1", host="new-1", **changes)
    return {
        "projects": (*make_snapshot("destination").projects, project),
        "servers": (server,),
        "quotas": (Quota("p1", {**LIMITS, "instances": 6}),),
    }


@pytest.mark.parametrize("name", ["other", "acme-web1"])
def test_what_the_project_has_at_the_destination_counts(tmp_path: Path, name: str) -> None:
    _, findings = of_plan(tmp_path, **existing(name, id="there"))
    assert [(f.severity, f.code) for f in findings if f.code == "quota"] == [("block", "quota")]
    assert "7 instances" in next(f.message for f in findings if f.code == "quota")


def test_every_quota_that_is_too_small_is_named(tmp_path: Path) -> None:
    _, findings = of_plan(tmp_path, default_quota=Quota("", {"instances": 1, "cores": 1, "ram": 1}))
    assert len(blocking(findings)) == 3


def test_an_unknown_quota_is_told_not_guessed(tmp_path: Path) -> None:
    _, findings = of_plan(tmp_path, default_quota=None)
    assert [(f.severity, f.code) for f in findings] == [("warn", "quota-unknown")]


def test_a_name_that_is_taken_at_the_destination_is_told(tmp_path: Path) -> None:
    room = {"quotas": (Quota("p1", LIMITS),)}
    _, findings = of_plan(tmp_path, **existing("acme-db1", id="there") | room)
    assert [(f.severity, f.code, f.object) for f in findings] == [("warn", "name-taken", "server acme-db1")]


def test_a_name_that_repeats_in_the_plan_is_told(tmp_path: Path) -> None:
    twins = (make_server(id="a"), make_server(id="b", address="10.10.0.12"))
    source = healthy(servers=twins, floating_ips=())
    plan, _ = planned(tmp_path, source=healthy())
    target = make_snapshot("destination")
    plan = replace(plan, servers=tuple(replace(plan.servers[0], id=twin.id) for twin in twins))
    findings = check_plan(plan, Inventory(source, target))
    assert [(f.severity, f.code) for f in findings] == [("info", "name-repeats")]
    assert "2 servers" in findings[0].message


def test_memory_that_is_not_there_is_told_where_it_can_be_known(tmp_path: Path) -> None:
    def hypervisor(free: int) -> Hypervisor:
        return Hypervisor("1", "new-1", "new-1", ram_mib=20000, ram_used_mib=20000 - free)

    assert of_plan(tmp_path, hypervisors=(hypervisor(16384),))[1] == ()
    (finding,) = of_plan(tmp_path, hypervisors=(hypervisor(16383),))[1]
    assert (finding.severity, finding.code) == ("warn", "capacity")
    assert "16383" in finding.message
    assert "16384" in finding.message
    assert of_plan(tmp_path, hypervisors=(hypervisor(1), Hypervisor("2", "new-2", "new-2")))[1] == ()


def test_other_plans_and_a_missing_destination_are_not_checked(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path)
    assert check_plan(plan, Inventory(healthy())) == ()
    tight = make_snapshot("destination", default_quota=Quota("", {"instances": 0}))
    assert check_plan(replace(plan, kind="rollback"), Inventory(healthy(), tight)) == ()
    assert check_plan(plan, Inventory(healthy(), tight)) != ()


# --- images -------------------------------------------------------------------------------------------


class Glance:
    """Image bytes by id; an error in their place is raised."""

    def __init__(self, **contents: bytes | Exception) -> None:
        self.contents = contents

    def download(self, image_id: str, *, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        content = self.contents[image_id]
        if isinstance(content, Exception):
            raise content
        assert chunk_bytes <= 1 << 16, "the whole image is not read for its first bytes"
        yield from (content[n : n + chunk_bytes] for n in range(0, len(content), chunk_bytes))


def of_image(content: bytes | Exception, disk_format: str) -> list[tuple[str, str]]:
    image = {"name": "web", "disk_format": disk_format}
    plan = make_plan(make_step("image:i", params={"source_id": "i", "image": image}), make_step("project:p"))
    findings = check_images(plan, cast(Images, Glance(i=content)))
    return [(finding.severity, finding.code) for finding in findings]


@pytest.mark.parametrize(
    ("content", "disk_format", "codes"),
    [
        (b"QFI\xfb" + b"\0" * 3000, "qcow2", []),
        (b"\0" * 3000, "raw", []),
        (b"\0" * 3000, "qcow2", [("block", "image-format")]),
        (b"QFI\xfb" + b"\0" * 3000, "raw", [("block", "image-format")]),
        (b"", "qcow2", [("block", "image-format")]),
        (b"", "raw", []),
        (b"anything", "ami", []),
        (ApiError("gone", status=404), "qcow2", [("block", "image-unreadable")]),
    ],
)
def test_an_images_first_bytes_must_be_those_of_its_format(
    content: bytes | Exception, disk_format: str, codes: list[tuple[str, str]]
) -> None:
    assert of_image(content, disk_format) == codes


# --- findings -----------------------------------------------------------------------------------------


def finding(severity: str = "block", code: str = "quota", obj: str = "project a", message: str = "is full.") -> Finding:
    return Finding(severity, code, obj, message, "make room.")


def test_findings_are_ordered_and_said_once() -> None:
    mixed = [finding("info"), finding("warn"), finding("block", "z"), finding("block", "a"), finding("info")]
    assert [(f.severity, f.code) for f in ordered(mixed)] == [
        ("block", "a"),
        ("block", "z"),
        ("warn", "quota"),
        ("info", "quota"),
    ]
    assert ordered(reversed(mixed)) == ordered(mixed)


@pytest.mark.parametrize("code", sorted(ACCEPTABLE))
def test_what_may_be_accepted_becomes_a_warning_that_says_so(code: str) -> None:
    (accepted,) = accept([finding(code=code)], [code])
    assert accepted.severity == "warn"
    assert "accepted by the operator" in accepted.message
    require_none_blocking([accepted])


def test_accepting_touches_only_blocking_findings_of_that_code() -> None:
    others = [finding("warn", "keypair-unknown"), finding("block", "project-exists"), finding("info")]
    assert accept(others, ["keypair-unknown"]) == tuple(others)
    assert accept(others, []) == tuple(others)


@pytest.mark.parametrize("code", ["quota", "server-state", "fixed-ip-taken", "already-moved", "hold-time", "nonsense"])
def test_what_endangers_something_cannot_be_accepted(code: str) -> None:
    with pytest.raises(ChecksFailed, match=f"{code} cannot be accepted.*acceptable are"):
        accept([finding(code=code)], ["keypair-unknown", code])


def test_nothing_that_endangers_a_server_is_acceptable() -> None:
    assert not ACCEPTABLE & {
        "already-moved",
        "fixed-ip-taken",
        "floating-ip-taken",
        "server-state",
        "server-busy",
        "image-missing",
        "image-unreadable",
        "hold-time",
        "not-verified",
        "finalised",
        "inventory-gap",
        "quota",
    }


def test_a_run_with_blocking_findings_stops_and_names_all_of_them() -> None:
    findings = [finding(obj="project a"), finding("warn", obj="project w"), finding(obj="project b")]
    with pytest.raises(ChecksFailed, match="2 findings block this run; nothing was changed") as caught:
        require_none_blocking(findings)
    text = str(caught.value)
    assert "project a" in text
    assert "project b" in text
    assert "project w" not in text
    assert "make room." in text
    assert caught.value.findings == (findings[0], findings[2])
    assert pickle.loads(pickle.dumps(caught.value)).findings == caught.value.findings
    with pytest.raises(ChecksFailed, match="1 finding blocks this run"):
        require_none_blocking(findings[:2])


def test_a_run_without_blocking_findings_goes_on() -> None:
    require_none_blocking([])
    require_none_blocking([finding(severity) for severity in SEVERITIES[1:]])
