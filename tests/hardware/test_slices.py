"""Slices of a shared network: never an address that somebody has, whatever is used already."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import PlanError
from pumphouse.plan.hardware.slices import SharedPublic, choose_slices, overlaps, used_addresses

NET = ipaddress.ip_network("172.16.10.0/24")


def span(ends: tuple[str, str]) -> set[int]:
    low, high = (int(ipaddress.ip_address(one)) for one in ends)
    return set(range(low, high + 1))


@settings(max_examples=150, deadline=None)
@given(
    used=st.sets(st.integers(1, 254), max_size=200),
    reserved=st.integers(2, 250),
    hosts=st.integers(1, 40),
    floating=st.integers(1, 40),
)
def test_no_address_of_a_slice_is_anybodys(used: set[int], reserved: int, hosts: int, floating: int) -> None:
    public = SharedPublic(
        str(NET), str(NET[1]), reserved=(f"{NET[reserved]}-{NET[reserved + 3]}",), hosts=hosts, floating=floating
    )
    taken = {str(NET[number]) for number in used}
    try:
        found = choose_slices(public, taken)
    except PlanError:
        kept = {0, 1, 255, *used, *range(reserved, reserved + 4)}
        ends = sorted(kept)
        assert max(high - low - 1 for low, high in itertools.pairwise(ends)) < hosts + floating
        return
    mine, theirs = span(found.hosts), span(found.floating)
    assert (len(mine), len(theirs), mine & theirs) == (hosts, floating, set())
    bad = {int(ipaddress.ip_address(a)) for a in taken} | {int(NET[n]) for n in (0, 1, 255)}
    bad |= {int(NET[reserved + n]) for n in range(4)}
    assert not (mine | theirs) & bad


def test_what_is_given_is_kept_and_checked() -> None:
    public = SharedPublic(str(NET), str(NET[1]), ip_range="172.16.10.10-172.16.10.20", hosts=4, floating=4)
    assert choose_slices(public, []).hosts == ("172.16.10.10", "172.16.10.20")
    with pytest.raises(PlanError, match=r"addresses that are used: 172\.16\.10\.15"):
        choose_slices(public, ["172.16.10.15"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cidr": "nonsense"}, "is no IPv4 network"),
        ({"gateway": "172.16.11.1"}, "is not in the Public network"),
        ({"gateway": "x"}, "is no IPv4 address"),
        ({"hosts": 0}, "no addresses"),
        ({"ip_range": "172.16.10.9-172.16.10.3"}, "ends before it begins"),
        ({"floating_range": "10.0.0.1-10.0.0.9"}, "is not inside"),
        ({"reserved": ("soon",)}, "is no IPv4 address, range or CIDR"),
    ],
)
def test_what_makes_no_sense_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(PlanError) as caught:
        choose_slices(SharedPublic(**{"cidr": str(NET), "gateway": str(NET[1]), **changed}), [])  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert caught.value.remedy


def test_spans_are_cut_to_the_network() -> None:
    found = used_addresses(["172.16.10.16/30", "10.0.0.0/8", "172.16.10.250-172.16.11.9", "172.16.10.9"], str(NET))
    assert found == {
        "172.16.10.9",
        *(f"172.16.10.{n}" for n in (16, 17, 18, 19)),
        *(f"172.16.10.{n}" for n in range(250, 256)),
    }
    assert overlaps("10.0.0.0/8", ["10.1.0.0/16", "192.168.0.0/16"]) == ("10.1.0.0/16",)
