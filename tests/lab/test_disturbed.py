"""What disturbs a request half-way, and a site that is kept and put back."""

from __future__ import annotations

import time

import pytest
import requests

from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


def post_keypair(connection: Connection, name: str, timeout_s: float = 10) -> requests.Response:
    url = f"{connection.compute.get_endpoint()}/os-keypairs"
    headers = {"X-Auth-Token": connection.auth_token}
    return requests.post(url, json={"keypair": {"name": name}}, headers=headers, timeout=timeout_s)


def is_there(connection: Connection, name: str) -> bool:
    return bool(connection.compute.get(f"/os-keypairs/{name}").status_code == 200)


@pytest.mark.parametrize(("kind", "done"), [("hang", False), ("late", True)])
def test_an_answer_never_comes(lab: LabSite, acme: Connection, kind: str, done: bool) -> None:
    with (
        lab.fault(service="source.compute", method="POST", path="/os-keypairs", kind=kind),
        pytest.raises(requests.Timeout),
    ):
        post_keypair(acme, kind, timeout_s=0.2)
    assert is_there(acme, kind) == done
    acme.compute.delete(f"/os-keypairs/{kind}")


def test_what_is_accepted_is_silently_not_done(lab: LabSite, acme: Connection) -> None:
    with lab.fault(service="source.compute", method="POST", path="/os-keypairs", kind="silent"):
        assert post_keypair(acme, "vain").json()["keypair"]["name"] == "vain"
    assert not is_there(acme, "vain")
    assert post_keypair(acme, "vain").status_code == 200
    acme.compute.delete("/os-keypairs/vain")


def test_an_answer_is_cut_off_in_its_middle(lab: LabSite, acme: Connection) -> None:
    url, headers = f"{acme.compute.get_endpoint()}/servers/detail", {"X-Auth-Token": acme.auth_token}
    with (
        lab.fault(service="source.compute", path="/servers/detail", kind="truncate"),
        pytest.raises(requests.RequestException),
    ):
        requests.get(url, headers=headers, timeout=10)
    assert requests.get(url, headers=headers, timeout=10).json()["servers"]


def test_an_answer_is_slow(lab: LabSite, acme: Connection) -> None:
    url, headers = f"{acme.compute.get_endpoint()}/servers/detail", {"X-Auth-Token": acme.auth_token}
    whole = requests.get(url, headers=headers, timeout=10).json()
    with lab.fault(service="source.compute", path="/servers/detail", kind="slow"):
        begun = time.monotonic()
        assert requests.get(url, headers=headers, timeout=10).json() == whole
        assert time.monotonic() - begun > 0.05


def test_image_data_is_corrupted_in_both_directions(lab: LabSite, old: Connection) -> None:
    image = old.image.find_image("golden-protected")
    url, headers = f"{old.image.get_endpoint()}/images/{image.id}/file", {"X-Auth-Token": old.auth_token}
    right = requests.get(url, headers=headers, timeout=10).content
    with lab.fault(service="source.*", path="/file$", kind="corrupt"):
        wrong = requests.get(url, headers=headers, timeout=10).content
    assert len(wrong) == len(right)
    assert sum(a != b for a, b in zip(wrong, right, strict=True)) == 1
    with lab.connect("new") as new:
        made = new.image.create_image(
            name="corrupted", disk_format="raw", container_format="bare", allow_duplicates=True
        )
        url = f"{str(new.image.get_endpoint()).rstrip('/').removesuffix('/v2')}/v2/images/{made.id}/file"
        url = url if "/v2/" in url else url.replace("/images/", "/v2/images/")
        headers = {"X-Auth-Token": new.auth_token, "Content-Type": "application/octet-stream"}
        with lab.fault(service="destination.image", method="PUT", path="/file$", kind="corrupt"):
            assert requests.put(url, data=right, headers=headers, timeout=10).status_code == 204
        stored = requests.get(url, headers=headers, timeout=10).content
        assert sum(a != b for a, b in zip(stored, right, strict=True)) == 1
        new.image.delete_image(made.id)


def test_a_site_is_kept_and_put_back(lab: LabSite, acme: Connection, old: Connection) -> None:
    before, digest = lab.control("GET", "/site"), lab.control("GET", "/site/digest")
    lab.control("POST", "/checkpoints/here")
    image = acme.image.find_image("cirros-0.3.2-x86_64")
    made = acme.compute.create_server(name="passing", flavor_id="1", image_id=image.id)
    lab.control("GET", "/idle")
    assert old.compute.get(f"/servers/{made.id}").json()["server"]["status"] == "ACTIVE"
    victim = next(i for i, server in before["source"]["servers"].items() if server["name"] == "web2")
    guest = next(row for row in before["network"]["alive"] if row[1] == victim)
    assert old.compute.post(f"/servers/{victim}/action", json={"os-stop": None}).status_code == 202
    lab.control("GET", "/idle")
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{guest[2]}:{lab.guest_port}/", timeout=5)
    assert lab.control("GET", "/site/digest") != digest
    lab.control("PUT", "/checkpoints/here")
    assert lab.control("GET", "/site") == before
    assert lab.control("GET", "/site/digest") == digest
    assert old.compute.get(f"/servers/{made.id}").status_code == 404
    assert old.compute.get(f"/servers/{victim}").json()["server"]["status"] == "ACTIVE"
    assert requests.get(f"http://{guest[2]}:{lab.guest_port}/", timeout=5).ok
    lab.control("DELETE", "/checkpoints/here")
    with pytest.raises(requests.HTTPError):
        lab.control("PUT", "/checkpoints/here")
