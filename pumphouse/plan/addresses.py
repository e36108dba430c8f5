"""Cutting an address slice for the destination out of a network that the source still uses."""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable

#: At most this many addresses go to the destination's own pool.
SLICE_SIZE = 64


def free_slice(cidr: str, used: Iterable[str], *, size: int = SLICE_SIZE) -> tuple[str, str, str] | None:
    """(gateway, first, last): the top of the longest free run, its highest address as gateway, the rest as pool.

    None when no run of at least three free addresses exists. Addresses outside the CIDR are ignored.
    """
    network = ipaddress.IPv4Network(cidr, strict=False)
    low, high = int(network.network_address), int(network.broadcast_address)
    taken = sorted({low, high, *(i for a in used if low <= (i := int(ipaddress.IPv4Address(a))) <= high)})
    runs = [(b - a - 1, a + 1, b - 1) for a, b in itertools.pairwise(taken)]
    # of equally long runs the highest: nova-network hands addresses out from the bottom
    length, first, last = max(runs, key=lambda run: (run[0], run[1]), default=(0, 0, 0))
    if length < 3:
        return None
    first = max(first, last - size)
    return str(ipaddress.IPv4Address(last)), str(ipaddress.IPv4Address(first)), str(ipaddress.IPv4Address(last - 1))
