"""The old Nova's rate limits, with a clock of the test's own, and how a lab's are switched."""

from __future__ import annotations

import pytest

from pumphouse.lab.source.ratelimit import RateLimiter
from pumphouse.lab.source.release import RELEASES
from tests.labsite import LabSite


class Clock:
    """A clock that stands until it is moved."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def limiter(clock: Clock, scale: float = 1.0) -> RateLimiter:
    return RateLimiter(RELEASES["grizzly"].rate_limits, scale=scale, clock=clock)


def passing(limits: RateLimiter, verb: str, path: str, user: str = "u") -> int:
    """How many requests pass before one is refused (at most 200)."""
    return next((n for n in range(200) if limits.check(user, verb, path) is not None), 200)


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("POST", "/os-keypairs", 10),
        ("PUT", "/os-quota-sets/x", 10),
        ("DELETE", "/servers/x", 100),
        ("GET", "/servers?changes-since=2014", 3),
        ("GET", "/servers/detail", 200),
    ],
)
def test_so_many_pass_at_once(verb: str, path: str, allowed: int) -> None:
    assert passing(limiter(Clock()), verb, path) == allowed


def test_a_refusal_says_when_there_is_room_again() -> None:
    clock = Clock()
    limits = limiter(clock)
    assert passing(limits, "POST", "/os-keypairs") == 10
    refusal = limits.check("u", "POST", "/os-keypairs")
    assert refusal is not None
    assert (refusal.wait_s, refusal.retry_after) == (6.0, "6")
    assert refusal.details == "Only 10 POST request(s) can be made to * every minute."
    clock.now_s += 4.5
    refusal = limits.check("u", "POST", "/os-keypairs")
    assert refusal is not None
    assert refusal.retry_after == "2"
    clock.now_s += 1.5
    assert limits.check("u", "POST", "/os-keypairs") is None
    assert limits.check("u", "POST", "/os-keypairs") is not None
    clock.now_s += 60
    assert passing(limits, "POST", "/os-keypairs") == 10


def test_each_user_and_each_method_is_counted_on_its_own() -> None:
    limits = limiter(Clock())
    assert passing(limits, "POST", "/x", "one") == 10
    assert passing(limits, "POST", "/x", "two") == 10
    assert passing(limits, "PUT", "/x", "one") == 10


def test_servers_are_limited_by_the_day_besides() -> None:
    clock = Clock()
    limits = limiter(clock)
    made = 0
    for _ in range(120):
        clock.now_s += 7
        refusal = limits.check("u", "POST", "/servers")
        if refusal is not None:
            break
        made += 1
    assert made == 50
    assert refusal is not None
    assert refusal.limit.unit == "day"
    assert limits.check("u", "POST", "/servers/x/action") is None


def test_the_clock_can_run_faster() -> None:
    clock = Clock()
    limits = limiter(clock, scale=0.1)
    assert passing(limits, "POST", "/x") == 10
    refusal = limits.check("u", "POST", "/x")
    assert refusal is not None
    assert refusal.wait_s == pytest.approx(0.6)
    clock.now_s += 0.61
    assert limits.check("u", "POST", "/x") is None


@pytest.mark.parametrize("change", [{"on": False}, {"scale": 0.0}])
def test_switched_off_everything_passes(change: dict[str, float]) -> None:
    limits = limiter(Clock())
    for key, value in change.items():
        setattr(limits, key, value)
    assert passing(limits, "POST", "/x") == 200


def test_what_remains_is_told() -> None:
    clock = Clock()
    limits = limiter(clock)
    (posts,) = [limit for limit in limits.limits if (limit.verb, limit.uri) == ("POST", "*")]
    assert limits.remaining("u", posts) == 10
    for _ in range(4):
        limits.check("u", "POST", "/x")
    assert limits.remaining("u", posts) == 6
    clock.now_s += 12
    assert limits.remaining("u", posts) == 8
    limits.reset()
    assert limits.remaining("u", posts) == 10


def test_a_lab_switches_its_limits(lab: LabSite) -> None:
    before = lab.control("GET", "/state")["source"]["rate_limit"]
    assert before["on"] is False
    try:
        assert lab.control("POST", "/rate-limit", on=True, scale=0.5) == {"on": True, "scale": 0.5}
        assert lab.control("GET", "/state")["source"]["rate_limit"] == {"on": True, "scale": 0.5}
    finally:
        assert lab.control("POST", "/rate-limit", **before) == before
