"""Which addresses of a network that both clouds share the destination may have: those that the source does not use."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pumphouse.errors import PlanError

Range = tuple[str, str]


@dataclass(frozen=True)
class SharedPublic:
    """The Public network as both clouds see it.

    ``reserved``: addresses and ranges (``first-last``, CIDR) that somebody else has: routers, appliances, a DHCP pool.
    ``ip_range`` and ``floating_range`` may be given; what is empty is chosen: ``hosts`` addresses for controllers,
    computes and the environment's virtual addresses, ``floating`` ones for floating IPs that the destination picks.
    """

    cidr: str
    gateway: str
    vlan: int | None = None
    reserved: tuple[str, ...] = ()
    ip_range: str = ""
    floating_range: str = ""
    hosts: int = 16
    floating: int = 32

    def __post_init__(self) -> None:
        network = _network(self.cidr)
        if _address(self.gateway) not in network:
            raise PlanError(
                f"Gateway {self.gateway} is not in the Public network {self.cidr}.", remedy="correct one of the two."
            )
        if self.hosts < 1 or self.floating < 1:
            raise PlanError("A slice of no addresses is asked for.", remedy="ask for one address at least.")


@dataclass(frozen=True)
class Slices:
    """What the destination gets of the Public network: both ends inclusive."""

    hosts: Range
    floating: Range


def used_addresses(spans: Iterable[str], cidr: str) -> frozenset[str]:
    """All IPv4 addresses of a CIDR that are in single addresses, ranges (``first-last``) or CIDRs.

    :raises PlanError: when one of them is none of these.
    """
    network = _network(cidr)
    found: set[str] = set()
    for span in spans:
        low, high = _span(span)
        low, high = max(low, int(network[0])), min(high, int(network[-1]))
        found |= {str(ipaddress.IPv4Address(number)) for number in range(low, high + 1)}
    return frozenset(found)


def choose_slices(public: SharedPublic, used: Iterable[str]) -> Slices:
    """The destination's two slices, disjoint, and with no address that is used.

    What is chosen lies as high as it can: the source hands out from the bottom.

    :param used: addresses in the CIDR that the source has, or may give out.
    :raises PlanError: when a given range is not free, or there is no room for one that is to be chosen.
    """
    network = _network(public.cidr)
    taken = {int(_address(a)) for a in used}
    taken |= {int(network[0]), int(network[-1]), int(_address(public.gateway))}
    taken |= {int(_address(a)) for a in used_addresses(public.reserved, public.cidr)}
    given: dict[str, Range] = {}
    for name, text in (("ip_range", public.ip_range), ("floating_range", public.floating_range)):
        if text:
            given[name] = _given(name, text, network, taken)
            taken |= set(range(int(_address(given[name][0])), int(_address(given[name][1])) + 1))
    chosen = dict(given)
    for name, size in (("floating_range", public.floating), ("ip_range", public.hosts)):
        if name not in chosen:
            chosen[name] = _choose(name, size, network, taken)
            taken |= set(range(int(_address(chosen[name][0])), int(_address(chosen[name][1])) + 1))
    return Slices(chosen["ip_range"], chosen["floating_range"])


def in_words(spans: Iterable[str], most: int = 3) -> str:
    """Addresses, ranges and CIDRs as few ranges, in their order; what is beyond ``most`` is counted.

    :raises PlanError: when one of them is none of these.
    """
    runs: list[list[int]] = []
    for low, high in sorted(map(_span, spans)):
        if runs and low <= runs[-1][1] + 1:
            runs[-1][1] = max(runs[-1][1], high)
        else:
            runs.append([low, high])
    told = ["-".join(str(ipaddress.IPv4Address(end)) for end in dict.fromkeys(run)) for run in runs[:most]]
    return ", ".join(told) + (f" and {len(runs) - most} more" if len(runs) > most else "")


def overlaps(cidr: str, others: Iterable[str]) -> tuple[str, ...]:
    """Those of the other networks that share an address with this one."""
    network = _network(cidr)
    return tuple(other for other in others if network.overlaps(_network(other)))


def _choose(name: str, size: int, network: ipaddress.IPv4Network, taken: set[int]) -> Range:
    run = 0
    for number in range(int(network[-1]), int(network[0]) - 1, -1):
        run = 0 if number in taken else run + 1
        if run == size:
            return str(ipaddress.IPv4Address(number)), str(ipaddress.IPv4Address(number + size - 1))
    raise PlanError(
        f"The Public network {network} has no {size} addresses in a row that the source does not use: no {name}.",
        remedy=f"give the range yourself (public.{name}), or ask for fewer addresses.",
    )


def _given(name: str, text: str, network: ipaddress.IPv4Network, taken: Sequence[int] | set[int]) -> Range:
    low, high = _span(text)
    if not int(network[0]) < low <= high < int(network[-1]):
        raise PlanError(f"public.{name} {text} is not inside {network}.", remedy="correct it.")
    clashing = [str(ipaddress.IPv4Address(number)) for number in range(low, high + 1) if number in taken]
    if clashing:
        more = f" and {len(clashing) - 3} more" if len(clashing) > 3 else ""
        raise PlanError(
            f"public.{name} {text} holds addresses that are used: {', '.join(clashing[:3])}{more}.",
            remedy="give a range that nobody uses, or leave it out: then one is chosen.",
        )
    return str(ipaddress.IPv4Address(low)), str(ipaddress.IPv4Address(high))


def _span(text: str) -> tuple[int, int]:
    try:
        if "/" in text:
            block = ipaddress.IPv4Network(text, strict=False)
            return int(block[0]), int(block[-1])
        first, _, last = text.partition("-")
        low, high = int(ipaddress.IPv4Address(first.strip())), int(ipaddress.IPv4Address((last or first).strip()))
    except ValueError:
        raise PlanError(
            f"{text!r} is no IPv4 address, range or CIDR.", remedy="write it as ADDRESS, FIRST-LAST or CIDR."
        ) from None
    if low > high:
        raise PlanError(f"Range {text} ends before it begins.", remedy="write it as FIRST-LAST.")
    return low, high


def _network(cidr: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        raise PlanError(f"{cidr!r} is no IPv4 network.", remedy="write it like 172.16.0.0/24.") from None


def _address(text: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise PlanError(f"{text!r} is no IPv4 address.", remedy="write it like 172.16.0.1.") from None
