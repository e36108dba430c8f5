"""Cutting an address slice for the destination out of a network that the source still uses."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable

#: At most this many addresses go to the destination's own pool: DHCP, routers, a few servers made there meanwhile. Each
#: is reserved at the source by a request of its own, and Grizzly lets ten pass in a minute.
SLICE_SIZE = 16


def free_slice(
    cidr: str, used: Iterable[str], *, size: int = SLICE_SIZE, within: tuple[str, str] | None = None
) -> tuple[str, str, str] | None:
    """(gateway, first, last): the top of the longest free run, its highest address as gateway, the rest as pool.

    None when no run of at least three free addresses exists. Addresses outside the CIDR are ignored.

    :param within: only addresses of this range (inclusive): what the source hands out, and so may be told to keep.
    """
    network = ipaddress.IPv4Network(cidr, strict=False)
    low, high = int(network.network_address), int(network.broadcast_address)
    if within is not None:
        low = max(low, int(ipaddress.IPv4Address(within[0])) - 1)
        high = min(high, int(ipaddress.IPv4Address(within[1])) + 1)
    taken = sorted({low, high, *(i for a in used if low <= (i := int(ipaddress.IPv4Address(a))) <= high)})
    runs = [(b - a - 1, a + 1, b - 1) for a, b in itertools.pairwise(taken)]
    # of equally long runs the highest: nova-network hands addresses out from the bottom
    length, first, last = max(runs, key=lambda run: (run[0], run[1]), default=(0, 0, 0))
    if length < 3:
        return None
    first = max(first, last - size)
    return str(ipaddress.IPv4Address(last)), str(ipaddress.IPv4Address(first)), str(ipaddress.IPv4Address(last - 1))


def addresses(first: str, last: str) -> list[str]:
    """All addresses from first to last, both included."""
    low, high = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    return [str(ipaddress.IPv4Address(number)) for number in range(low, high + 1)]


def inside(address: str, cidr: str | None) -> bool:
    """Whether an IPv4 address lies in a CIDR; an unknown CIDR contains nothing."""
    return cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)
