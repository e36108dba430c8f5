"""The site that a lab is born with."""

from __future__ import annotations

from collections import Counter

import pytest

from pumphouse.lab import populate, umbrella
from pumphouse.lab.source.nova_keypairs import fingerprint
from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab

pytestmark = SDK_WARNS_OF_ITSELF
BORN = len(populate.SERVERS) + len(umbrella.SERVERS)
ALIVE = 29  # guest addresses that answer
ADDRESSES = BORN - 1  # ERROR has none and BUILD shows none, one has two


def test_acme_is_fit_to_move(old: Connection, acme: Connection) -> None:
    project_id = acme.current_project_id
    servers = old.compute.get(f"/servers/detail?all_tenants=1&project_id={project_id}").json()["servers"]
    born = [s for s in servers if s["name"] in {row["name"] for row in populate.SERVERS}]
    assert Counter(s["status"] for s in born) == {"ACTIVE": 6, "SHUTOFF": 1}
    assert {s["OS-EXT-SRV-ATTR:host"] for s in born} == {"compute1", "compute2", "compute3"}
    assert all(s["metadata"] and s["key_name"] and s["OS-EXT-STS:task_state"] is None for s in born)
    floating = [e for s in born for v in s["addresses"].values() for e in v if e["OS-EXT-IPS:type"] == "floating"]
    assert len(floating) == 3
    assert {s["user_id"] for s in born} == {acme.current_user_id, old.identity.find_user("acme-ops", False).id}


def test_initech_is_dirty(old: Connection) -> None:
    servers = {s["name"]: s for s in old.compute.get("/servers/detail?all_tenants=1").json()["servers"]}
    assert servers["printer"]["status"] == "ERROR"
    assert servers["printer"]["fault"]["code"] == 500
    assert servers["stapler"]["OS-EXT-STS:task_state"] == "powering-off"
    assert old.image.get(f"/images/{servers['basement']['image']['id']}").status_code == 404
    assert servers["tps-reports"]["status"] == "ACTIVE"


def test_every_project_has_its_web_group(old: Connection) -> None:
    groups = old.compute.get("/os-security-groups?all_tenants=1").json()["security_groups"]
    web = [g for g in groups if g["name"] == "web"]
    assert len(web) == 3
    assert all({r["ip_protocol"] for r in g["rules"]} == {"tcp", "icmp"} for g in web)
    database = next(g for g in groups if g["name"] == "db")
    assert database["rules"][0]["group"] == {"name": "web", "tenant_id": database["tenant_id"]}


def test_flavors(old: Connection) -> None:
    flavors = {f["name"]: f for f in old.compute.get("/flavors/detail?is_public=None").json()["flavors"]}
    assert {"m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"} <= set(flavors)
    private = flavors["acme.db"]
    assert not private["os-flavor-access:is_public"]
    assert len(old.compute.get(f"/flavors/{private['id']}/os-flavor-access").json()["flavor_access"]) == 1
    assert old.compute.get("/flavors/42/os-extra_specs").json()["extra_specs"]


def test_two_labs_hold_the_same_objects(lab: LabSite, small_pages: LabSite) -> None:
    def names(site: LabSite) -> list[tuple[str, str]]:
        connection = site.connect("old")
        found = connection.image.get("/images?limit=100&visibility=public").json()["images"]
        connection.close()
        return sorted((i["id"], i["checksum"]) for i in found)

    assert names(lab) == names(small_pages)
    assert lab.password("old") != small_pages.password("old")


def test_public_keys_are_well_formed() -> None:
    key = populate.public_key("x")
    assert len(fingerprint(key).split(":")) == 16
    assert populate.public_key("x") == key != populate.public_key("y")


@pytest.mark.parametrize("size", [250])
def test_many_servers_are_cheap(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    site = start_lab(tmp_path_factory, name="fleet", size=size)
    try:
        state = site.control("GET", "/state")
        assert state["source"]["servers"] == BORN + size
        assert state["violations"] == 0
        assert state["guests"]["source"] == ALIVE + size
        connection = site.connect("old")
        assert len(connection.compute.get("/servers/detail?all_tenants=1").json()["servers"]) == BORN + size
        addresses = {
            e["addr"]
            for s in connection.compute.get("/servers/detail?all_tenants=1").json()["servers"]
            for v in s["addresses"].values()
            for e in v
            if e["OS-EXT-IPS:type"] == "fixed"
        }
        assert len(addresses) == ADDRESSES + size
        connection.close()
    finally:
        site.stop()
