"""Retries, waiting, bounds, secrets: what happens between a verb and its answer."""

from __future__ import annotations

import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pumphouse.clouds import LaterCloud, OpenStackCloud
from pumphouse.clouds.api import Cloud
from pumphouse.errors import (
    ApiError,
    CloudAuthError,
    CloudError,
    CloudUnreachable,
    Conflict,
    NotFound,
    QuotaExceeded,
    RateLimited,
    Stopped,
)
from pumphouse.model import ServerSpec
from pumphouse.pausing import EAR_S, listening, pause
from tests.clouds.conftest import Naps
from tests.clouds.stub import PASSWORD, TOKEN, Answer, Call, Stub

KEYS = "/compute/v2.1/os-keypairs"
SERVERS = "/compute/v2.1/servers"
EMPTY = Answer(200, {"keypairs": []})
SPEC = ServerSpec("web", "f", "i", ("port",))


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_reading_is_repeated_on_a_passing_failure(
    cloud: OpenStackCloud, stub: Stub, naps: Naps, notices: list[str], status: int
) -> None:
    stub.on("GET", KEYS, Answer(status), Answer(status), EMPTY)
    assert cloud.compute.list_keypairs() == []
    assert len(stub.asked("GET", KEYS)) == 3
    assert len(naps) == 2
    assert str(status) in notices[0]


def test_reading_is_repeated_after_a_lost_connection(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", KEYS, Answer(act="reset"), Answer(200, {"keypairs": []}, act="cut"), EMPTY)
    assert cloud.compute.list_keypairs() == []
    assert len(stub.asked("GET", KEYS)) == 3


def test_reading_gives_up_in_the_end(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", KEYS, Answer(503, "<html><body>gone fishing</body></html>", {"x-compute-request-id": "req-9"}))
    with pytest.raises(ApiError) as failed:
        cloud.compute.list_keypairs()
    assert len(stub.asked("GET", KEYS)) == 4
    assert (failed.value.status, failed.value.request_id) == (503, "req-9")
    assert "gone fishing" in str(failed.value)
    assert "'stub'" in str(failed.value)


@pytest.mark.parametrize("answer", [Answer(500), Answer(503), Answer(act="reset")], ids=["500", "503", "reset"])
def test_writing_is_never_repeated(cloud: OpenStackCloud, stub: Stub, answer: Answer) -> None:
    stub.on("POST", SERVERS, answer)
    with pytest.raises(CloudError, match="web"):
        cloud.compute.create_server(SPEC)
    assert len(stub.asked("POST", SERVERS)) == 1


def test_writing_waits_out_a_rate_limit(cloud: OpenStackCloud, stub: Stub, naps: Naps, notices: list[str]) -> None:
    told = {"message": "This request was rate-limited.", "code": 413, "retryAfter": "4"}
    limited = Answer(413, {"overLimit": told}, {"Retry-After": "4"})
    stub.on("POST", SERVERS, limited, Answer(202, {"server": {"id": "s1"}}))
    assert cloud.compute.create_server(SPEC) == "s1"
    assert naps == [4.0]
    assert "limits our rate: waiting 4 s" in notices[0]


def test_a_rate_limit_that_lasts_is_an_error(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    stub.on("GET", KEYS, Answer(429, {"error": "Too many requests"}, {"Retry-After": "7200"}))
    with pytest.raises(RateLimited) as limited:
        cloud.compute.list_keypairs()
    assert limited.value.retry_after_s == 7200
    assert naps == []
    stub.on("GET", KEYS, Answer(429, {"error": "Too many requests"}, {"Retry-After": "70"}))
    with pytest.raises(RateLimited):
        cloud.compute.list_keypairs()
    assert 500 < sum(naps) <= 600


def test_a_quota_is_no_rate_limit(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    told = {"message": "Quota exceeded for instances: Requested 1, but already used 1 of 1 instances", "code": 413}
    stub.on("POST", SERVERS, Answer(413, {"overLimit": {**told, "retryAfter": "0"}}, {"Retry-After": "0"}))
    with pytest.raises(QuotaExceeded, match="instances"):
        cloud.compute.create_server(SPEC)
    assert naps == []


def test_a_silent_service_is_given_up(cloud: OpenStackCloud, stub: Stub) -> None:
    cloud.wire.timeout_s = 0.3
    stub.on("GET", KEYS, Answer(act="hang"))
    begun = time.monotonic()
    with pytest.raises(CloudUnreachable) as silent:
        cloud.compute.list_keypairs()
    assert time.monotonic() - begun < 5
    assert stub.url in str(silent.value)
    assert len(stub.asked("GET", KEYS)) == 2


def test_a_service_that_is_down_is_named(cloud: OpenStackCloud, stub: Stub) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cloud.wire.overrides["compute"] = f"http://127.0.0.1:{port}"
    with pytest.raises(CloudUnreachable, match=rf"compute does not answer at http://127\.0\.0\.1:{port}/os-keypairs"):
        cloud.compute.list_keypairs()


@pytest.mark.parametrize("later", [False, True], ids=["logged in", "later"])
def test_a_cloud_that_is_being_taken_apart_is_not_waited_for(
    cloud: OpenStackCloud, stub: Stub, naps: Naps, *, later: bool
) -> None:
    stub.on("GET", KEYS, *[Answer(act="reset")] * 6, EMPTY)
    cloud.wire.outage_s = 1800.0
    asked: Cloud = LaterCloud("stub", "source", lambda: cloud) if later else cloud
    asked.expect_end()
    with pytest.raises(CloudUnreachable):
        asked.compute.list_keypairs()
    assert sum(naps) < 60
    cloud.wire.outage_s = 1800.0
    assert cloud.compute.list_keypairs() == [], "one that was not to end is waited for"


def test_a_cloud_that_is_gone_is_not_waited_for_when_nobody_wants_it_any_more(
    cloud: OpenStackCloud, stub: Stub, naps: Naps
) -> None:
    class Impatient:
        def ended(self) -> bool:
            return False

        def require_going_on(self) -> None:
            if sum(naps) > 3:
                raise Stopped("somebody asked", remedy="go on later.")

    stub.on("GET", KEYS, *[Answer(act="reset")] * 50, EMPTY)
    cloud.wire.outage_s = 1800.0
    with listening(Impatient()), pytest.raises(Stopped):
        cloud.compute.list_keypairs()
    assert 3 < sum(naps) <= 3 + EAR_S
    assert max(naps) <= EAR_S


@pytest.mark.parametrize("number", [1, 3])
def test_who_listens_for_a_stop_hears_it_in_every_part_of_a_listing(cloud: OpenStackCloud, number: int) -> None:
    class Ended:
        def ended(self) -> bool:
            return True

        def require_going_on(self) -> None:
            raise Stopped("Stopped.", remedy="go on.")

    with listening(Ended()), pytest.raises(Stopped):
        cloud.wire.each(lambda _: pause(30), range(number))


def test_a_write_that_never_left_is_repeated(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    good = cloud.wire.catalog_url("compute")
    assert good is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cloud.wire.overrides["compute"] = f"http://127.0.0.1:{port}"
    stub.on("POST", SERVERS, Answer(202, {"server": {"id": "s1"}}))

    def up_again(seconds: float) -> None:
        naps.append(seconds)
        cloud.wire.overrides["compute"] = good

    cloud.wire.sleep = up_again
    with pytest.raises(CloudUnreachable):
        cloud.compute.create_server(SPEC)  # the address was taken before: all attempts go to the dead one
    assert len(naps) == 3
    assert cloud.compute.create_server(SPEC) == "s1"


def test_a_refused_token_is_renewed(cloud: OpenStackCloud, stub: Stub) -> None:
    before = stub.logins
    stub.on("POST", SERVERS, Answer(401, "Authentication required"), Answer(202, {"server": {"id": "s1"}}))
    assert cloud.compute.create_server(SPEC) == "s1"
    assert stub.logins == before + 1
    assert {f"{TOKEN}-{one}" for one in (before, before + 1)} <= set(cloud.known_secrets())
    first, second = (call.headers["x-auth-token"] for call in stub.asked("POST", SERVERS))
    assert first != second


def test_a_token_that_stays_refused_is_an_error(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", KEYS, Answer(401, "Authentication required"))
    with pytest.raises(CloudAuthError, match="'stub' could not list keypairs: compute answered 401"):
        cloud.compute.list_keypairs()


def test_an_unexpected_redirect_of_a_write_is_an_error(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("POST", SERVERS, Answer(302, b"", {"Location": f"{stub.url}/elsewhere"}))
    with pytest.raises(ApiError) as moved:
        cloud.compute.create_server(SPEC)
    assert moved.value.status == 302
    assert stub.asked("POST", "/elsewhere") == []


def test_secrets_stay_out_of_messages_and_logs(
    cloud: OpenStackCloud, stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "Tell-nobody-77"

    def refuse(call: Call) -> Answer:
        assert call.json()["user"]["password"] == secret
        return Answer(400, {"error": {"message": f"'{secret}' and '{PASSWORD}' are too short", "code": 400}})

    stub.on("POST", "/v3/users", refuse)
    with caplog.at_level(logging.DEBUG), pytest.raises(ApiError) as refused:
        cloud.identity.create_user("bob", password=secret)
    assert "*** and" in str(refused.value).replace("'", "")
    assert secret not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert secret not in caplog.text
    assert PASSWORD not in caplog.text
    assert TOKEN not in caplog.text
    assert {secret, PASSWORD} <= set(cloud.known_secrets())
    assert any(one.startswith(TOKEN) for one in cloud.known_secrets())


def test_the_request_id_is_kept_for_the_journal(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", KEYS, Answer(200, {"keypairs": []}, {"x-openstack-request-id": "req-1"}))
    cloud.compute.list_keypairs()
    assert cloud.last_request_id == "req-1"
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: cloud.last_request_id).result() is None


def test_a_proxys_404_never_means_that_a_server_is_gone(cloud: OpenStackCloud, stub: Stub) -> None:
    gone = Answer(404, {"itemNotFound": {"message": "Instance could not be found", "code": 404}})
    stub.on("GET", f"{SERVERS}/s1", Answer(404, "<html><body><h1>Not Found</h1>nginx</body></html>"))
    stub.on("DELETE", f"{SERVERS}/s1", Answer(404, "no backend"))
    with pytest.raises(ApiError, match="not in its own words") as odd:
        cloud.compute.find_server("s1")
    assert not isinstance(odd.value, NotFound)
    with pytest.raises(ApiError, match="not in its own words"):
        cloud.compute.wait_server_gone("s1", timeout_s=1)
    with pytest.raises(ApiError, match="not in its own words"):
        cloud.compute.delete_server("s1")
    stub.on("GET", f"{SERVERS}/s1", gone)
    stub.on("DELETE", f"{SERVERS}/s1", gone)
    assert cloud.compute.find_server("s1") is None
    cloud.compute.wait_server_gone("s1", timeout_s=1)
    cloud.compute.delete_server("s1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ApiError), (401, CloudAuthError), (403, ApiError), (404, NotFound), (409, Conflict), (418, ApiError)],
)
def test_each_status_has_its_error(cloud: OpenStackCloud, stub: Stub, status: int, kind: type[CloudError]) -> None:
    stub.on("POST", SERVERS, Answer(status, {"badThing": {"message": "No, because.", "code": status}}))
    with pytest.raises(kind) as refused:
        cloud.compute.create_server(SPEC)
    assert f"'stub' could not create server 'web': compute answered {status}: No, because." in str(refused.value)
    assert refused.value.remedy


def test_many_threads_share_a_cloud(cloud: OpenStackCloud, stub: Stub) -> None:
    stub.on("GET", KEYS, EMPTY)
    there = cloud.in_project("q" * 32)
    logins = stub.logins

    def work(number: int) -> int:
        chosen = there if number % 2 else cloud
        return len(chosen.compute.list_keypairs())

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(work, range(120))) == 0
    assert stub.logins == logins + 1
    assert len(stub.asked("GET", KEYS)) == 120
    there.close()
