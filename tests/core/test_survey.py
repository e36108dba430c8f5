"""What is dirty in a source is listed with a remedy, and only that; none of it blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import pumphouse.checks.survey
from pumphouse.checks.survey import survey, survey_files
from pumphouse.clouds.api import Images
from pumphouse.errors import ApiError
from pumphouse.inventory import Snapshot
from pumphouse.inventory.snapshot import Gap
from pumphouse.model import (
    Address,
    FloatingIp,
    Keypair,
    Network,
    Project,
    Quota,
    Service,
    Usage,
    User,
)
from tests.core.making import healthy
from tests.factories import LIMITS, TAKEN_AT, kid, make_image, make_server, make_snapshot, make_usage, uid

ACME = [server for server in make_snapshot().servers if server.project_id == kid("acme")]
LATE = TAKEN_AT - timedelta(hours=3)
JUST_NOW = TAKEN_AT - timedelta(minutes=3)


def clean(**changes: Any) -> Snapshot:
    """A source in which there is nothing to find; tables can be replaced."""
    tables: dict[str, Any] = {
        "projects": tuple(p for p in healthy().projects if p.enabled),
        "users": tuple(u for u in healthy().users if u.name != "carol"),
        "images": tuple(i for i in healthy().images if i.status == "active"),
        "servers": tuple(ACME),
        "floating_ips": (FloatingIp("1", "172.24.4.11", "public", kid("acme"), "10.10.0.11", uid("acme-web1")),),
        "services": tuple(replace(s, status="enabled") for s in healthy().services),
        "usages": (),
    }
    return healthy(**{**tables, **changes})


def one(**changes: Any) -> dict[str, Any]:
    """A server with these changes beside the clean ones."""
    return {"servers": (*ACME, make_server(**{"name": "odd", "address": "10.10.0.99"} | changes))}


def more(table: str, *rows: Any) -> dict[str, Any]:
    return {table: (*getattr(clean(), table), *rows)}


def test_a_clean_source_has_nothing_to_list() -> None:
    assert survey(clean()) == ()


#: Code, what is wrong, the object, words of the message.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("server-in-error", one(status="ERROR", fault="No valid host"), "server odd", "No valid host"),
    ("server-in-error", one(status="ERROR"), "server odd", "Nova tells no fault"),
    ("server-stuck", one(task_state="powering-off", updated_at=LATE), "server odd", "powering-off under way since"),
    ("server-stuck", one(task_state="powering-off"), "server odd", "most likely stuck"),
    ("server-under-way", one(task_state="powering-off", updated_at=JUST_NOW), "server odd", "under way since"),
    ("server-under-way", one(status="BUILD"), "server odd", "being built"),
    ("server-state", one(status="VERIFY_RESIZE"), "server odd", "confirmed or reverted"),
    ("server-state", one(status="RESCUE"), "server odd", "rescued"),
    ("server-state", one(status="PAUSED"), "server odd", "RAM"),
    ("server-state", one(status="SHELVED"), "server odd", "cannot be told"),
    (
        "server-state",
        {
            **one(status="SHELVED_OFFLOADED"),
            **more("images", make_image("odd-shelved", properties={"instance_uuid": uid("odd")})),
        },
        "server odd",
        "is shelved.",
    ),
    ("server-not-running", one(power_state=4), "server odd", "shut down"),
    ("server-not-running", one(power_state=6), "server odd", "crashed"),
    ("image-deleted", one(image_id=uid("gone")), "server odd", uid("gone")),
    ("flavor-deleted", one(flavor_id="99"), "server odd", "flavor 99"),
    ("flavor-deleted", one(flavor_id=""), "server odd", "no flavor any more"),
    ("server-without-host", one(host=None), "server odd", "ACTIVE on no host"),
    ("server-without-host", one(host="n9", status="SHUTOFF", power_state=4), "server odd", "n9, where Nova knows"),
    ("project-gone", one(project_id=kid("gone"), security_groups=()), "server odd", kid("gone")),
    ("owner-gone", one(user_id=kid("gone")), "server odd", kid("gone")),
    ("server-volumes", one(volume_ids=("vol-1",)), "server odd", "vol-1"),
    ("security-group-gone", one(security_groups=("dmz",)), "server odd", "dmz"),
    ("address-twice", one(address="10.10.0.11"), "server ", "10.10.0.11"),
    (
        "service-down",
        more("services", Service("nova-compute", "n9", "nova", "enabled", "down")),
        "nova-compute on n9",
        "",
    ),
    ("service-disabled", more("services", Service("nova-cert", "c", "x", "disabled", "up", "x1")), "nova-cert", "x1"),
    (
        "server-on-dead-host",
        {**one(host="n9"), **more("services", Service("nova-compute", "n9", "nova", "enabled", "down"))},
        "server odd",
        "n9",
    ),
    ("image-not-active", more("images", make_image("half", status="queued")), "image half", "queued"),
    ("image-not-active", more("images", make_image("dead", status="killed")), "image dead", "killed"),
    ("image-empty", more("images", make_image("nothing", size_bytes=0)), "image nothing", "0 bytes"),
    (
        "image-part-gone",
        more("images", make_image("ami", properties={"kernel_id": uid("gone")})),
        "image ami",
        "kernel_id",
    ),
    ("image-owner-gone", more("images", make_image("left", owner_id=kid("gone"))), "image left", kid("gone")),
    ("user-without-role", more("users", User(kid("zoe"), "zoe")), "user zoe", "no role"),
    ("keypair-orphan", more("keypairs", Keypair(kid("gone"), "old", "ssh-rsa A", "a")), "keypair old", kid("gone")),
    ("keypair-orphan", {"gaps": (Gap("keypairs", "shown to owners", "x"),)}, "keypairs", "not known"),
    (
        "project-disabled",
        {"projects": tuple(replace(p, enabled=p.name != "acme") for p in clean().projects)},
        "project acme",
        "6 server(s)",
    ),
    ("floating-ip-unused", more("floating_ips", FloatingIp("2", "172.24.4.12", "public", kid("acme"))), "floating", ""),
    (
        "floating-ip-orphan",
        more("floating_ips", FloatingIp("2", "172.24.4.12", "public", kid("acme"), "10.10.0.5", uid("gone"))),
        "floating IP 172.24.4.12",
        uid("gone"),
    ),
    ("name-repeats", one(name="acme-web1", id=uid("other")), "server acme-web1", "2 servers of project acme"),
    ("name-repeats", more("images", make_image("acme-web", id=uid("i2"))), "image acme-web", "2 images"),
    ("name-repeats", more("networks", Network(uid("n2"), "private", "10.9.0.0/24")), "network private", "2 networks"),
    ("name-repeats", more("projects", Project(kid("p2"), "acme")), "project acme", "2 projects"),
    ("quota-exceeded", {"quotas": (Quota(kid("acme"), {**LIMITS, "instances": 5}),)}, "project acme", "6 instances"),
    ("quota-exceeded", {"quotas": (Quota(kid("acme"), {**LIMITS, "floating_ips": 0}),)}, "project acme", "1 floating"),
    (
        "quota-drift",
        {"usages": (Usage(kid("acme"), {**make_usage(kid("acme")).used, "instances": 9, "floating_ips": 1}),)},
        "project acme",
        "9 instances (there are 6)",
    ),
]


@pytest.mark.parametrize(("code", "wrong", "obj", "words"), CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)])
def test_what_is_wrong_is_listed_with_a_remedy_and_blocks_nothing(
    code: str, wrong: dict[str, Any], obj: str, words: str
) -> None:
    findings = survey(clean(**wrong))
    mine = [finding for finding in findings if finding.code == code]
    assert mine, f"found only {[f.code for f in findings]}"
    assert all(finding.object.startswith(obj) for finding in mine)
    assert any(words in finding.message for finding in mine)
    assert all(finding.severity in ("info", "warn") and len(finding.remedy) > 5 for finding in findings)
    # a dead host is three findings by nature: the service, the server on it; the others stand alone
    extra = {finding.code for finding in findings} - {code, "service-down", "server-on-dead-host"}
    assert extra == set()


def test_every_code_is_provoked_here() -> None:
    text = Path(pumphouse.checks.survey.__file__).read_text()
    codes = set(re.findall(r'(?:_info\(|Finding\(\s*"warn",)\s*"([a-z-]+)"', text))
    codes |= {"server-stuck", "server-under-way"}
    known = {code for code, *_ in CASES} | {"image-without-file"}
    assert codes <= known


def test_what_was_not_read_is_not_taken_for_gone() -> None:
    gaps = tuple(Gap(table, "403", "ask") for table in ("users", "assignments", "security_groups"))
    assert survey(clean(users=(), assignments=(), security_groups=(), gaps=gaps)) == ()


def test_a_servers_second_address_is_no_double() -> None:
    two = make_server("two", addresses=(Address("private", "10.10.0.90"), Address("private", "10.10.0.91")))
    assert survey(clean(servers=(*ACME, two))) == ()


class Glance:
    """Images by id; an error is raised in the place of bytes."""

    def __init__(self, **contents: bytes | Exception) -> None:
        self.contents = contents
        self.asked: list[str] = []

    def download(self, image_id: str, *, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        self.asked.append(image_id)
        content = self.contents[image_id]
        if isinstance(content, Exception):
            raise content
        yield content[:chunk_bytes]


def test_an_active_image_without_its_file_is_found_by_asking_for_it() -> None:
    images = (
        make_image("good", id="a"),
        make_image("lost", id="b"),
        make_image("queued", id="c", status="queued"),
        make_image("nothing", id="d", size_bytes=0),
    )
    users = (make_server("s1", image_id="b"), make_server("s2", image_id="b", address="10.10.0.2"))
    glance = Glance(a=b"QFI", b=ApiError("HTTP 404: file missing", status=404))
    (finding,) = survey_files(clean(images=images, servers=users), cast(Images, glance))
    assert (finding.severity, finding.code, finding.object) == ("info", "image-without-file", "image lost")
    assert "file missing" in finding.message
    assert "2 server(s)" in finding.message
    assert sorted(glance.asked) == ["a", "b"]
