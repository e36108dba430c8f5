"""A first ``site.yaml``: what both clouds tell is filled in, what they cannot tell stands there as a question."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pumphouse.inventory import Snapshot

#: Roles that the move maps by itself; see the README.
_USUAL_ROLES = frozenset({"_member_", "member", "admin"})
_OPEN = "# TO DECIDE:"
#: Owners without an entry that are listed at most.
_SHOWN = 20


def draft_site(
    source: Snapshot,
    destination: Snapshot,
    *,
    name: str,
    clouds_yaml: Path | None,
    logins: Iterable[tuple[str, str, str]] = (),
) -> str:
    """The text of a site file for two clouds as they are now; it can be loaded as it stands.

    :param clouds_yaml: as it shall be named there; None: where openstacksdk looks.
    :param logins: entries of clouds.yaml, each with the user's name and Keystone's address.
    """
    return "\n".join(
        [
            "# Written by `pumphouse init` from what both clouds said of themselves. Read it once from top to bottom:",
            "# lines with TO DECIDE are what no API tells. `pumphouse check` reads it and names what nobody has.",
            "schema: 1",
            f"name: {_word(name)}",
            *([f"clouds_yaml: {_word(str(clouds_yaml))}"] if clouds_yaml is not None else []),
            "",
            *_source(source, logins),
            "",
            *_destination(source, destination),
            "",
            *_REST,
            "",
        ]
    )


def _source(source: Snapshot, logins: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    facts = source.facts
    yield f"source:  # {_told(source)}"
    yield f"  cloud: {_word(facts.cloud)}"
    if not facts.release:
        yield f"  {_OPEN} the cloud does not tell what it is; its package versions do"
        yield "  # release: icehouse"
    yield "  # Nova shows a keypair only to its owner: who logs in with which entry of clouds.yaml (or see `databases`)"
    yield from _owners(source, logins)
    yield "  # what no API shows: password hashes, everybody's keypairs, user_data"
    yield "  # databases: {keystone: {url: mysql://keystone@HOST/keystone, password_entry: keystone-old}}"


def _owners(source: Snapshot, logins: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    here = urlsplit(source.facts.auth_url).netloc.rpartition("@")[2]
    entries: dict[str, str] = {}
    for entry, user, url in logins:
        if urlsplit(url).netloc.rpartition("@")[2] == here:
            entries.setdefault(user, entry)
    owners = Counter(server.user_id for server in source.servers)
    names = {user.id: user.name for user in source.users}
    known = [(names[user_id], count) for user_id, count in owners.most_common() if user_id in names]
    proposed = {name: entries[name] for name, _count in known if name in entries}
    yield "  owners:  # the entries that log in as them" if proposed else "  owners: {}"
    for number, (name, count) in enumerate(known):
        servers = f"{count} server{'s' if count > 1 else ''}"
        if name in proposed:
            yield f"    {_word(name)}: {_word(proposed[name])}   # {servers}"
        elif number < _SHOWN:
            yield f"    # {_word(name)}: ENTRY   # {servers}"
    gone = sum(count for user_id, count in owners.items() if user_id not in names)
    if gone:
        servers = f"{gone} server{'s' if gone > 1 else ''}"
        yield f"    # {servers} of users whom Keystone does not have any more: nobody logs in as them"


def _told(cloud: Snapshot) -> str:
    facts = cloud.facts
    return f"{facts.release or 'release not told'}, {facts.network_service}, {len(cloud.servers)} servers"


def _destination(source: Snapshot, destination: Snapshot) -> Iterator[str]:
    facts = destination.facts
    yield f"destination:  # {_told(destination)}"
    yield f"  cloud: {_word(facts.cloud)}"
    yield from _networks(source, destination)
    yield from _pools(source, destination)
    yield from _roles(source, destination)
    yield from _zones(source, destination)
    yield f"  {_OPEN} may servers of one network reach each other whatever their groups say? nova-network's setting"
    yield "  # allow_same_net_traffic is in nova.conf: True is keep, False is drop"
    yield "  # same_net_traffic: keep"
    yield "  # quotas: made                      # compute quotas of projects that pumphouse made; or all, none"
    yield "  # clashes: {projects: refuse, users: adopt, roles: adopt, flavors: refuse}   # names that are taken there"


def _networks(source: Snapshot, destination: Snapshot) -> Iterator[str]:
    there = {network.cidr: network.name for network in destination.networks if network.cidr and not network.external}
    known = {one.name: there[one.cidr] for one in source.networks if one.cidr in there}
    yield from _mapping("networks", known, "old label: network there with the same addresses")
    physical = sorted({one.physical_network for one in destination.networks if one.physical_network})
    for network in source.networks:
        if network.name in known:
            continue
        told = f"it knows {', '.join(map(_word, physical))}" if physical else "it shows none"
        label, first = _word(network.name), _word(physical[0]) if physical else "physnet1"
        yield f"  {_OPEN} network {label} ({network.cidr}) has no counterpart. Which physical network there is the"
        yield f"  # same segment? {told}. Without an answer it becomes a project network, cut off from the old one."
        yield f"  # provider: {{{label}: {{physical_network: {first}}}}}"


def _pools(source: Snapshot, destination: Snapshot) -> Iterator[str]:
    pools = sorted({*source.floating_pools, *(ip.pool for ip in source.floating_ips if ip.pool)})
    external = sorted(network.name for network in destination.networks if network.external)
    known = {
        pool: pool if pool in external else external[0] for pool in pools if pool in external or len(external) == 1
    }
    yield from _mapping("floating_pools", known, "old pool: external network there")
    for pool in pools:
        if pool not in known:
            choice = ", ".join(map(_word, external)) or "there is none"
            yield f"  {_OPEN} pool {_word(pool)}: which external network ({choice})?"


def _roles(source: Snapshot, destination: Snapshot) -> Iterator[str]:
    there = {role.name.casefold() for role in destination.roles}
    used = {assignment.role_id for assignment in source.assignments}
    known = there | _USUAL_ROLES
    missing = sorted(role.name for role in source.roles if role.id in used and role.name.casefold() not in known)
    if missing:
        names = ", ".join(map(_word, missing))
        yield f"  # roles that the destination lacks are made under their own name, or mapped: {names}"
        yield f"  # roles: {{{_word(missing[0])}: member}}"


def _zones(source: Snapshot, destination: Snapshot) -> Iterator[str]:
    there = {zone.name for zone in destination.availability_zones}
    used = {server.availability_zone for server in source.servers if server.availability_zone} - {"nova"}
    missing = sorted(used - there)
    yield from _mapping("availability_zones", dict.fromkeys(missing), "old zone: zone there; null is any")


def _mapping(key: str, values: dict[str, str | None] | dict[str, str], what: str) -> Iterator[str]:
    if not values:
        yield f"  {key}: {{}}  # {what}"
        return
    yield f"  {key}:  # {what}"
    for old, new in sorted(values.items()):
        yield f"    {_word(old)}: {'null' if new is None else _word(new)}"


_REST: Iterable[str] = (
    "# How to ask a guest whether it serves: none, tcp or http. A moved server must answer as it did before.",
    "probe: {kind: tcp, port: 22}",
    "# probes: {web1: {kind: http, port: 80, path: /health}}   # by server name or id",
    "# carry: {default: rebuild, projects: {acme: snapshot}}   # rebuild from the image, or snapshot the root disk",
    "# parallel: steps at a time; hold_s: seconds a moved server serves before its source may be deleted",
    "limits: {parallel: 4, hold_s: 86400, action_timeout_s: 600}",
    "",
    "# The truth about every run: a file, or a PostgreSQL URL where several operators work.",
    "journal: sqlite:///journal.db",
    "records: records                     # or s3://bucket/prefix",
    "# signing_key: ~/.config/pumphouse/signing-key.pem   # `pumphouse records key new FILE` makes it",
    "work: work                           # snapshots, selections, plans, approvals, one-time secrets (0600)",
)


def _word(text: str) -> str:
    """A text as YAML takes it, whatever is in it: JSON strings are YAML."""
    plain = text.isascii() and text.replace("-", "").replace("_", "").isalnum() and not text[0].isdigit()
    return (
        text if plain and text.lower() not in ("null", "true", "false", "yes", "no", "on", "off") else json.dumps(text)
    )
