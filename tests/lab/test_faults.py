"""Any request can be refused, slowed down, cut off, or carried out in vain."""

from __future__ import annotations

import time

import pytest
import requests

from pumphouse.lab.faults import Fault
from tests.lab.conftest import Connection
from tests.labsite import SDK_WARNS_OF_ITSELF, LabSite

pytestmark = SDK_WARNS_OF_ITSELF


def servers(connection: Connection) -> requests.Response:
    """A request that changes nothing, on a connection of its own."""
    url = f"{connection.compute.get_endpoint()}/servers"
    return requests.get(url, headers={"X-Auth-Token": connection.auth_token}, timeout=10)


def test_a_refusal_hits_the_nth_request_only(lab: LabSite, old: Connection) -> None:
    with lab.fault(service="source.compute", method="GET", path="/servers$", status=503, nth=2):
        assert [servers(old).status_code for _ in range(3)] == [200, 503, 200]
    assert servers(old).status_code == 200


def test_a_delay_only_delays(lab: LabSite, old: Connection) -> None:
    with lab.fault(service="source.*", path="/servers$", kind="delay", delay_s=0.3):
        begun = time.monotonic()
        assert servers(old).status_code == 200
        assert time.monotonic() - begun >= 0.3


def test_a_reset_leaves_nothing_done(lab: LabSite, acme: Connection) -> None:
    with (
        lab.fault(service="source.compute", method="POST", path="/os-keypairs", kind="reset"),
        pytest.raises(requests.ConnectionError),
    ):
        post_keypair(acme, "never")
    assert acme.compute.get("/os-keypairs/never").status_code == 404


def test_a_lost_answer_leaves_everything_done(lab: LabSite, acme: Connection) -> None:
    with (
        lab.fault(service="source.compute", method="POST", path="/os-keypairs", kind="lost"),
        pytest.raises(requests.ConnectionError),
    ):
        post_keypair(acme, "lost")
    assert acme.compute.get("/os-keypairs/lost").status_code == 200
    assert acme.compute.delete("/os-keypairs/lost").status_code == 202


def post_keypair(connection: Connection, name: str) -> requests.Response:
    """Ask for a generated keypair, without the SDK's retries."""
    url = f"{connection.compute.get_endpoint()}/os-keypairs"
    headers = {"X-Auth-Token": connection.auth_token}
    return requests.post(url, json={"keypair": {"name": name}}, headers=headers, timeout=10)


def test_a_fault_can_look_into_the_body(lab: LabSite, acme: Connection) -> None:
    with lab.fault(service="source.compute", body="the-one", status=500, times=0):
        assert post_keypair(acme, "the-other").status_code == 200
        assert post_keypair(acme, "the-one").status_code == 500
    assert acme.compute.delete("/os-keypairs/the-other").status_code == 202


def test_the_destination_has_faults_too(lab: LabSite) -> None:
    url = lab.facts["destination_auth_url"]
    with lab.fault(service="destination.identity", path="/v3$", status=500):
        assert requests.get(url, timeout=5).status_code == 500
    assert requests.get(url, timeout=5).status_code == 200


def test_requests_are_logged(lab: LabSite, old: Connection) -> None:
    servers(old)
    last = lab.requests(service="source.compute", method="GET")[-1]
    assert last["path"].endswith("/servers")
    assert last["status"] == 200


def test_wrong_faults_are_refused(lab: LabSite) -> None:
    for body in ({"kind": "meteorite"}, {"colour": "red"}):
        with pytest.raises(requests.HTTPError):
            lab.control("POST", "/faults", **body)


def test_timing_can_change(lab: LabSite) -> None:
    before = lab.control("GET", "/state")["timing"]
    try:
        assert lab.control("POST", "/timing", stop_s=3)["stop_s"] == 3
    finally:
        lab.control("POST", "/timing", stop_s=before["stop_s"])


def test_times_zero_hits_every_request() -> None:
    fault = Fault(times=0, nth=2)
    assert [fault.takes("x", "GET", "/", "") for _ in range(4)] == [False, True, True, True]
    assert fault.hits == 3
