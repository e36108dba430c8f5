"""The slice of a shared network that the destination may hand out by itself."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.plan.addresses import SLICE_SIZE, free_slice


def number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


@settings(deadline=None)
@given(st.data())
def test_a_slice_is_free_and_inside_and_its_gateway_is_not_in_the_pool(data: st.DataObject) -> None:
    network = ipaddress.IPv4Network(
        (data.draw(st.integers(0, 2**32 - 1)), data.draw(st.integers(20, 32))), strict=False
    )
    low, high = int(network.network_address), int(network.broadcast_address)
    inside = st.integers(low, high)
    used = data.draw(st.sets(inside | st.integers(0, 2**32 - 1), max_size=60))
    if data.draw(st.booleans()):
        used |= set(range(low, high + 1, data.draw(st.integers(1, 5))))
    size = data.draw(st.integers(2, 100))
    found = free_slice(str(network), [str(ipaddress.IPv4Address(u)) for u in used], size=size)
    free = sorted(set(range(low + 1, high)) - used)
    runs = [address for n, address in enumerate(free) if free[n + 2 : n + 3] == [address + 2]]
    if found is None:
        assert not runs
        return
    gateway, first, last = map(number, found)
    assert first <= last < gateway
    assert gateway == last + 1
    assert last - first + 1 <= size
    assert set(range(first, gateway + 1)) <= set(free)


@settings(deadline=None)
@given(st.sets(st.integers(1, 254), max_size=250))
def test_the_longest_run_is_taken_from_its_top(used: set[int]) -> None:
    found = free_slice("10.0.0.0/24", [f"10.0.0.{u}" for u in used])
    lengths, run = [0], 0
    for last in range(1, 256):
        run = 0 if last in used or last == 255 else run + 1
        lengths.append(run)
    if found is None:
        assert max(lengths) < 3
        return
    gateway, first, _ = (number(address) & 255 for address in found)
    assert lengths[gateway] == max(lengths)
    assert gateway + 1 in used or gateway == 254
    assert gateway - first == min(max(lengths) - 1, SLICE_SIZE)


def test_an_empty_network_gives_its_top() -> None:
    assert free_slice("10.10.0.0/24", ["10.10.0.1"]) == ("10.10.0.254", "10.10.0.238", "10.10.0.253")


def test_of_equal_runs_the_highest_is_taken() -> None:
    assert free_slice("10.10.0.0/28", ["10.10.0.5", "10.10.0.10"]) == ("10.10.0.14", "10.10.0.11", "10.10.0.13")


def test_only_the_range_that_the_source_hands_out_is_cut() -> None:
    within = ("10.10.0.10", "10.10.0.20")
    assert free_slice("10.10.0.0/24", [], within=within) == ("10.10.0.20", "10.10.0.10", "10.10.0.19")
    assert free_slice("10.10.0.0/24", ["10.10.0.19"], within=within) == ("10.10.0.18", "10.10.0.10", "10.10.0.17")
    assert free_slice("10.10.0.0/24", [], within=("10.10.0.10", "10.10.0.11")) is None


def test_what_lies_outside_does_not_matter() -> None:
    assert free_slice("10.10.0.0/29", ["10.9.0.1", "192.0.2.1"]) == ("10.10.0.6", "10.10.0.1", "10.10.0.5")


@pytest.mark.parametrize("cidr", ["10.0.0.0/30", "10.0.0.0/31", "10.0.0.1/32"])
def test_a_network_without_room_for_gateway_and_two_others_gives_nothing(cidr: str) -> None:
    assert free_slice(cidr, []) is None


def test_a_full_network_gives_nothing() -> None:
    assert free_slice("10.10.0.0/24", [f"10.10.0.{n}" for n in range(2, 255, 3)] + ["10.10.0.1"]) is None
