"""What the tier itself stands on, checked without any cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import tier
from .base import Home
from .errors import RealError, Unavailable
from .observe import destination_rules, differences, source_rules

WEB = {"id": "s1", "name": "web", "status": "ACTIVE"}


def test_two_equal_views_do_not_differ() -> None:
    assert differences({"servers": {"s1": WEB}}, {"servers": {"s1": dict(WEB)}}) == []


def test_what_is_new_gone_or_changed_is_told() -> None:
    before = {"servers": {"s1": WEB, "s2": {"name": "db"}}}
    after = {"servers": {"s1": WEB | {"status": "SHUTOFF"}}, "ports": {"p1": {"name": ""}}}
    assert differences(before, after) == [
        "ports p1 is new: no name",
        "servers s2 is gone: db",
        "servers s1 (web) changed: status 'ACTIVE' -> 'SHUTOFF'",
    ]


def test_rules_of_both_services_compare() -> None:
    def old(protocol: str, low: int, high: int, **whom: str) -> dict[str, object]:
        group, cidr = ({"name": whom["group"]}, {}) if "group" in whom else ({}, {"cidr": whom["cidr"]})
        return {"ip_protocol": protocol, "from_port": low, "to_port": high, "group": group, "ip_range": cidr}

    def new(protocol: str, low: int | None, high: int | None, **whom: str | None) -> dict[str, object]:
        return {
            "direction": "ingress", "ethertype": "IPv4", "protocol": protocol, "port_range_min": low,
            "port_range_max": high, "remote_group_id": None, "remote_ip_prefix": None, **whom,
        }  # fmt: skip

    here = {"rules": [old("icmp", -1, -1, cidr="0.0.0.0/0"), old("tcp", 22, 22, group="default")]}
    there = {"security_group_rules": [new("icmp", None, None), new("tcp", 22, 22, remote_group_id="g1")]}
    view = {"security_groups": {"g1": {"name": "default"}}}
    assert source_rules(here) == destination_rules(there, view, "ingress")
    there["security_group_rules"][1]["port_range_max"] = 23
    assert source_rules(here) != destination_rules(there, view, "ingress")


def test_a_machine_that_cannot_run_the_clouds_skips_but_fails_in_ci() -> None:
    missing = Unavailable("no Python 2.7")
    with pytest.raises(pytest.skip.Exception, match=r"no Python 2\.7"):
        tier.give_up(missing, ci="")
    with pytest.raises(pytest.fail.Exception, match=r"CI has to run the real tier, but no Python 2\.7"):
        tier.give_up(missing, ci="true")


def test_two_runs_do_not_share_clouds(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with tier.alone(home), pytest.raises(RealError, match="another run of these tests"), tier.alone(home):
        pass
    with tier.alone(home):
        pass
