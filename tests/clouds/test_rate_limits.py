"""Too many requests a minute: waited out, in turn, with a word to whoever looks on; a quota never is."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import openstack
import pytest
from click.testing import CliRunner

import pumphouse
from pumphouse.cli import main
from pumphouse.clouds import OpenStackCloud, connect
from pumphouse.errors import QuotaExceeded, RateLimited
from pumphouse.model import ServerSpec
from tests.clouds.conftest import Naps
from tests.clouds.labs import Old
from tests.clouds.stub import Answer, Stub
from tests.contract.test_compute import PUBLIC_KEY
from tests.labsite import SDK_WARNS_OF_ITSELF

pytestmark = SDK_WARNS_OF_ITSELF

SERVERS = "/compute/v2.1/servers"
SPEC = ServerSpec("web", "f", "i", ("port",))
MADE = Answer(202, {"server": {"id": "s1"}})


def limited(seconds: str | None, details: str = "", status: int = 413) -> Answer:
    """A refusal as Nova's middleware writes it; its header and body say the same."""
    told: dict[str, Any] = {"message": "This request was rate-limited.", "code": status, "details": details}
    headers = {} if seconds is None else {"Retry-After": seconds}
    return Answer(status, {"overLimit": told | ({} if seconds is None else {"retryAfter": seconds})}, headers)


GRIZZLY = "Only 10 POST request(s) can be made to * every minute."


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (limited("4", GRIZZLY), 4),
        (limited("0", GRIZZLY), 1),
        (limited(None, GRIZZLY), 1),
        (Answer(429, {"error": {"message": "Too Many Requests"}}, {"Retry-After": "7"}), 7),
        (Answer(429, "<html><body>Too Many Requests</body></html>", {"Retry-After": "2"}), 2),
        (Answer(429), 1),
    ],
    ids=["413", "413-zero", "413-untold", "429", "429-html", "429-bare"],
)
def test_a_write_that_was_refused_for_its_rate_is_repeated(
    cloud: OpenStackCloud, stub: Stub, naps: Naps, notices: list[str], answer: Answer, wait_s: float
) -> None:
    stub.on("POST", SERVERS, answer, MADE)
    assert cloud.compute.create_server(SPEC) == "s1"
    assert naps == [wait_s]
    [said] = notices
    assert f"Cloud 'stub' limits our rate: waiting {wait_s:.0f} s before we create server 'web'" in said
    if answer.status == 413:
        assert "Only 10 POST request(s) can be made to * every minute" in said


def test_a_date_is_understood(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    headers = {"Retry-After": format_datetime(now + timedelta(seconds=40), usegmt=True)}
    stub.on("GET", "/compute/v2.1/os-keypairs", Answer(429, b"", headers), Answer(200, {"keypairs": []}))
    assert cloud.compute.list_keypairs() == []
    assert len(naps) == 1
    assert 25 < naps[0] <= 40


@pytest.mark.parametrize("told", ["0", None])
def test_a_quota_is_raised_at_once_and_names_the_resource(
    cloud: OpenStackCloud, stub: Stub, naps: Naps, notices: list[str], told: str | None
) -> None:
    words = "Quota exceeded for cores: Requested 4, but already used 20 of 20 cores"
    answer = limited(told)
    body = json.loads(json.dumps(answer.body))
    body["overLimit"]["message"] = words
    stub.on("POST", SERVERS, Answer(413, body, answer.headers | {"x-compute-request-id": "req-q"}))
    with pytest.raises(QuotaExceeded) as refused:
        cloud.compute.create_server(SPEC)
    assert words in str(refused.value)
    assert "quota of cores" in str(refused.value.remedy)
    assert refused.value.request_id == "req-q"
    assert naps == notices == []
    assert len(stub.asked("POST", SERVERS)) == 1


def test_a_limit_of_the_day_is_not_waited_for(cloud: OpenStackCloud, stub: Stub, naps: Naps) -> None:
    stub.on("POST", SERVERS, limited("1728", "Only 50 POST request(s) can be made to */servers every day."))
    with pytest.raises(RateLimited, match="rate-limited") as refused:
        cloud.compute.create_server(SPEC)
    assert "wait 1728 s" in str(refused.value.remedy)
    assert refused.value.interval_s == 1728
    assert naps == []


def test_those_who_wait_queue_up(cloud: OpenStackCloud, stub: Stub) -> None:
    """All at once would be refused again: each waits for those before him, six seconds apart at ten a minute."""
    stub.on("POST", SERVERS, *[limited("6", GRIZZLY)] * 4, MADE)
    slept: list[float] = []
    together = threading.Barrier(4)

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        together.wait(20)

    cloud.wire.sleep = sleep
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: cloud.compute.create_server(SPEC), range(4))) == ["s1"] * 4
    assert sorted(slept) == [6, 12, 18, 24]


@contextlib.contextmanager
def limits_on(old: Old) -> Iterator[None]:
    """Rate limits as the release ships them, by the wall's clock; switching them on again forgets what was counted."""
    old.site.control("POST", "/rate-limit", on=True, scale=1.0)
    try:
        yield
    finally:
        old.site.control("POST", "/rate-limit", on=False)


def test_grizzlys_ten_posts_a_minute_are_waited_out(labs: Callable[[str], Old]) -> None:
    old, keys = labs("grizzly"), 24
    assert old.sdk.current_project_id
    said: list[str] = []
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        old.site.control("POST", "/rate-limit", on=True)  # a minute has passed

    def make(number: int) -> str:
        return cloud.compute.create_keypair(f"rate-{number}", PUBLIC_KEY).name

    cloud = connect("old", side="source", clouds_yaml=old.site.clouds_file, notice=said.append, sleep=sleep)
    with limits_on(old), pytest.raises(openstack.exceptions.HttpException, match="413"):
        _naive(old, 11)
    with limits_on(old):
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(make, range(keys))) == [f"rate-{number}" for number in range(keys)]
        assert "POST 10/minute" in cloud.facts.abilities["rate limits"]
    assert len(said) == len(slept) >= 2
    assert all("Cloud 'old' limits our rate: waiting" in one and "10 POST request(s)" in one for one in said)
    # six seconds apart is what ten a minute leave; five others may be in the queue
    assert all(1 <= seconds <= 6 + 5 * 6 for seconds in slept)
    names = [one.name for one in cloud.compute.list_keypairs()]
    assert len([one for one in names if one.startswith("rate-")]) == keys  # none twice, none lost
    for name in names:
        if name.startswith(("rate-", "naive-")):
            cloud.compute.delete_keypair(name)
    cloud.close()


def _naive(old: Old, calls: int) -> None:
    for number in range(calls):
        old.sdk.compute.create_keypair(name=f"naive-{number}", public_key=PUBLIC_KEY)


def test_the_wait_is_visible_to_whoever_runs_it(labs: Callable[[str], Old]) -> None:
    """``report`` is what a notebook prints, and so what its record and ``pumphouse run`` show."""
    old, lines = labs("havana"), []
    run = pumphouse.begin(old.site.site_file, report=lines.append)
    for cloud, service in ((run.source, "source.compute"), (run.destination, "destination.compute")):
        with old.site.fault(service=service, method="GET", path="os-services", kind="status", status=429):
            cloud.compute.list_services()
        assert [one for one in lines if f"Cloud '{cloud.name}' limits our rate: waiting 1 s" in one]
    run.end()
    with old.site.fault(service="source.compute", method="GET", path="os-hypervisors", kind="status", status=413):
        done = CliRunner().invoke(main, ["inventory", "--json", "--site", str(old.site.site_file)])
    assert done.exit_code == 0, done.output
    assert "Cloud 'old' limits our rate: waiting 1 s before we list hypervisors" in done.stderr
    told = json.loads(done.stdout)
    assert told["clouds"]["source"]["release"] == "havana"
    assert told["clouds"]["source"]["abilities"]["shelve"] == "yes"
