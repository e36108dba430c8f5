"""Which release a cloud is, told by positive evidence only: a release is never concluded from what is absent alone.

Marks are extensions that appeared with a release (seen on 2013.1.5, 2013.2.4 and 2014.1.5; Juno's in its source) and
the last microversion of each release between Kilo and Ocata, the last one that has nova-network.
"""

from __future__ import annotations

Version = tuple[int, int]

_MARKS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    (
        "juno", 1,
        ("os-server-group-quotas", "os-extended-networks", "os-hypervisor-status", "os-server-list-multi-status",
         "os-extended-evacuate-find-host"),
    ),
    (
        "icehouse", 1,
        ("os-server-external-events", "os-server-groups", "os-extended-hypervisors", "os-preserve-ephemeral-rebuild"),
    ),
    ("havana", 1, ("os-migrations", "os-shelve", "OS-EXT-IPS-MAC", "OS-SRV-USG", "os-extended-volumes")),
    # all of them are younger than Folsom (27 September 2012); one alone may have been carried back by a distribution
    (
        "grizzly", 3,
        ("os-instance-actions", "os-evacuate", "os-services", "os-fixed-ips", "os-floating-ips-bulk", "OS-EXT-IPS",
         "OS-EXT-AZ", "OS-EXT-IMG-SIZE", "os-security-group-default-rules", "os-server-password"),
    ),
)  # fmt: skip
"""Release, how many of its marks must be there, its marks; the newest first."""
_LAST_MICROVERSION = {3: "kilo", 12: "liberty", 25: "mitaka", 38: "newton", 42: "ocata"}
_LAST_WITH_NOVA_NETWORK = 42

#: What ``source.release`` in site.yaml may say where the API does not tell.
NAMEABLE = ("grizzly", "havana", "icehouse")


def release_by_extensions(aliases: frozenset[str]) -> tuple[str | None, str]:
    """(release, evidence) of a Nova without microversions, from what it announces; None: older, or not to be told."""
    for release, enough, marks in _MARKS:
        found = [mark for mark in marks if mark in aliases]
        if len(found) >= enough:
            return release, f"nova announces {', '.join(found)}, which came with {release.capitalize()}"
    wanted = _MARKS[-1][2]
    few = [mark for mark in wanted if mark in aliases]
    which = f" ({', '.join(few)})" if few else ""
    return None, (
        f"nova announces {len(aliases)} extensions, but only {len(few)} of the {len(wanted)} that came with Grizzly"
        f"{which}: it is older, or its extensions were cut down"
    )


def release_by_microversion(maximum: Version) -> tuple[str, str]:
    """(release, evidence) of a Nova with microversions; a release between or after the known ones gets its number."""
    number = f"{maximum[0]}.{maximum[1]}"
    name = _LAST_MICROVERSION.get(maximum[1]) if maximum[0] == 2 else None
    return name or f"nova {number}", f"nova offers microversions to {number}"


def may_have_nova_network(maximum: Version | None) -> bool:
    """Whether a Nova that offers microversions up to there can still have nova-network at all."""
    return maximum is None or maximum <= (2, _LAST_WITH_NOVA_NETWORK)
