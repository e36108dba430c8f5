"""What cannot be done is refused with object, cause and remedy, and neither cloud is touched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from . import operate
from .conftest import views
from .observe import differences
from .operate import Site
from .tier import Clouds

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.fixture
def untouched(clouds: Clouds) -> Iterator[None]:
    """Both clouds are the same after the test as before it."""
    before = views(clouds)
    yield
    for name, old, new in zip(("source", "destination"), before, views(clouds), strict=True):
        assert differences(old, new) == [], name


@pytest.mark.usefixtures("untouched")
def test_a_wrong_password_is_named_with_its_cloud(clouds: Clouds, spare_site: Site) -> None:
    here = spare_site.folder
    (here / "clouds.yaml").write_text(clouds.home.clouds_yaml.read_text(encoding="utf-8"), encoding="utf-8")
    secrets = yaml.safe_load(clouds.home.secure_yaml.read_text(encoding="utf-8"))
    secrets["clouds"]["source"]["auth"]["password"] = wrong = "not-the-password-8431"
    (here / "secure.yaml").write_text(yaml.safe_dump(secrets), encoding="utf-8")
    described = yaml.safe_load(spare_site.file.read_text(encoding="utf-8")) | {"clouds_yaml": "clouds.yaml"}
    spare_site.file.write_text(yaml.safe_dump(described), encoding="utf-8")

    typed = spare_site.pumphouse("inventory")
    assert typed.exit_code == 2, typed
    assert "'source'" in typed.stderr, typed
    assert "Remedy: " in typed.stderr, typed
    ran = spare_site.run(operate.MOVE, projects="acme")
    assert ran.exit_code == 1, ran
    assert ran.outcome["result"] == "failed"
    assert "'source'" in ran.outcome["detail"], ran
    assert wrong not in typed.said + ran.said


@pytest.mark.usefixtures("untouched")
def test_an_unknown_server_is_named(spare_site: Site) -> None:
    ran = spare_site.run(operate.MOVE, servers="acme-web1,acme-nought")
    assert ran.exit_code in (1, 3), ran
    assert "acme-nought" in ran.outcome["detail"], ran
    assert "Remedy: " in ran.outcome["detail"], ran


@pytest.fixture
def small_quota(clouds: Clouds) -> Iterator[int]:
    """Room for three servers in each project of the destination."""
    path, name = "/os-quota-class-sets/default", "quota_class_set"
    before = clouds.destination.call("GET", "compute", path)[name]["instances"]
    clouds.destination.call("PUT", "compute", path, {name: {"instances": 3}})
    yield 3
    clouds.destination.call("PUT", "compute", path, {name: {"instances": before}})


@pytest.mark.usefixtures("untouched")
def test_too_small_a_quota_blocks(small_quota: int, spare_site: Site) -> None:
    # else the project is given the quota that it has at the source
    described = yaml.safe_load(spare_site.file.read_text(encoding="utf-8"))
    described["destination"]["quotas"] = "none"
    spare_site.file.write_text(yaml.safe_dump(described), encoding="utf-8")
    ran = spare_site.run(operate.MOVE, projects="acme")
    assert ran.exit_code == 3, ran
    for words in ("project acme: would use 6 instances", f"its quota is {small_quota}", "raise the quota"):
        assert words in ran.obstacles, ran


@pytest.fixture
def foreign_port(clouds: Clouds) -> Iterator[tuple[str, str]]:
    """(address of acme-db, id of a port of somebody else's that holds it) in the shared network at the destination."""
    address = clouds.facts["servers"]["acme-db"]["fixed_ip"]
    there = clouds.destination
    network = clouds.facts["networks"]["novanetwork"]
    made = there.call("POST", "network", "/v2.0/networks", {"network": {"name": "novanetwork"}})["network"]["id"]
    try:
        subnet = {
            "network_id": made, "ip_version": 4, "cidr": network["cidr"], "gateway_ip": None, "enable_dhcp": False,
        }  # fmt: skip
        there.call("POST", "network", "/v2.0/subnets", {"subnet": subnet})
        port = {"network_id": made, "name": "appliance", "fixed_ips": [{"ip_address": address}]}
        port_id = there.call("POST", "network", "/v2.0/ports", {"port": port})["port"]["id"]
        yield address, port_id
        there.call("DELETE", "network", f"/v2.0/ports/{port_id}")
    finally:
        there.call("DELETE", "network", f"/v2.0/networks/{made}")


@pytest.mark.usefixtures("untouched")
def test_an_address_that_is_taken_blocks(foreign_port: tuple[str, str], spare_site: Site) -> None:
    address, port_id = foreign_port
    ran = spare_site.run(operate.MOVE, projects="acme")
    assert ran.exit_code == 3, ran
    for word in ("acme-db", address, port_id, "free the address at the destination"):
        assert word in ran.obstacles, ran
