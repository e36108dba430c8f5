"""A lab whose new cloud is an older one with nova-network, on the same wires as the old cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab.conftest import Connection, Wait
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite, start_lab

pytestmark = SDK_WARNS_OF_ITSELF


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSite]:
    """A Havana cloud beside an empty older one."""
    made = start_lab(tmp_path_factory, name="older", release="havana", destination="nova-network")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def new(site: LabSite) -> Iterator[Connection]:
    """The new cloud's administrator."""
    with site.connect("new") as connection:
        yield connection


def server_of(connection: Connection, name: str) -> dict[str, Any]:
    """A server by name, of any project."""
    found = connection.compute.get(f"/servers/detail?all_tenants=1&name=^{name}$").json()["servers"]
    return next(iter(found), {})


def address_of(server: dict[str, Any]) -> str:
    """A server's fixed address."""
    found = [a["addr"] for group in server["addresses"].values() for a in group if a["OS-EXT-IPS:type"] == "fixed"]
    return str(found[0])


def test_it_is_empty_and_has_no_neutron(site: LabSite, new: Connection) -> None:
    access = new.session.auth.get_access(new.session)
    catalog = {entry["type"] for entry in access.service_catalog.catalog}
    assert catalog == {"compute", "identity", "image", "ec2"}
    for path, key in (
        ("/servers", "servers"),
        ("/os-networks", "networks"),
        ("/os-floating-ips-bulk", "floating_ip_info"),
    ):
        assert new.compute.get(f"{path}?all_tenants=1").json()[key] == []
    assert new.image.get("/images").json()["images"] == []
    assert {f["name"] for f in new.compute.get("/flavors").json()["flavors"]} >= {"m1.tiny", "m1.xlarge"}
    document = yaml.safe_load(site.site_file.read_text(encoding="utf-8"))
    assert document["destination"]["floating_pools"] == {"nova": "nova"}
    assert site.facts["destination"] == "nova-network"


def test_ids_differ_from_the_old_clouds(site: LabSite, new: Connection) -> None:
    with site.connect("old") as old:
        ids = [{p.id for p in c.identity.projects()} | {u.id for u in c.identity.users()} for c in (old, new)]
    assert not ids[0] & ids[1]


def test_an_address_alive_in_both_clouds_is_a_violation(site: LabSite, new: Connection, until: Wait) -> None:
    made = new.compute.post(
        "/os-networks", json={"network": {"label": "novanetwork", "cidr": site.facts["fixed_cidr"], "bridge": "br100"}}
    ).json()["network"]
    image = new.image.post("/images", json={"name": "i", "disk_format": "raw", "container_format": "bare"}).json()
    new.image.put(f"/images/{image['id']}/file", data=b"x", headers={"Content-Type": "application/octet-stream"})
    with site.connect("old") as old:
        source = server_of(old, "web1")
        address = address_of(source)
        given = {"name": "web1", "flavorRef": "1", "imageRef": image["id"]}
        given["networks"] = [{"uuid": made["id"], "fixed_ip": address}]
        assert new.compute.post("/servers", json={"server": given}).status_code == 202
        until(lambda: server_of(new, "web1").get("status") == "ACTIVE")
        until(site.violations)
        (violation,) = site.violations()
        assert (violation["kind"], violation["address"]) == ("duplicate-fixed-ip", address)
        old.compute.post(f"/servers/{source['id']}/action", json={"os-stop": None})
        until(lambda: server_of(old, "web1")["status"] == "SHUTOFF")
    copy = server_of(new, "web1")
    assert address_of(copy) == address
    assert any(r["service"] == "destination.compute" and r["method"] == "POST" for r in site.requests())
    assert site.control("GET", "/state")["guests"]["destination"] == 1
