"""The lab answers recorded requests as the recorded Icehouse cloud did: status, form, headers, keys and types.

``data/icehouse.json`` is made by ``tools/derive_transcript_facts.py``. Each exchange meets a cloud rebuilt afresh, so
that no test depends on another; what has to be so before a request is in ``PREPARE``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.nova_network import add_floating_range
from pumphouse.lab.source.state import FixedIp, Project, SecurityGroup
from tests.lab.recorded import BEARERS, Recorded, Reply, running, send

FACTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data/icehouse.json").read_text(encoding="utf-8"))
HEADERS = (
    *("location", "retry-after", "etag", "content-md5", "vary", "www-authenticate", "x-subject-token"),
    *("x-compute-request-id", "x-openstack-request-id"),
)
UNLIKE: dict[int, str] = {404: "the refusal quotes the schema, whose descriptions are the lab's own"}
"""Exchanges replayed for status and headers only, with the reason why the answer's content differs."""

CALLERS: dict[int, tuple[str, str | None]] = {
    12: ("alice", "alpha"),
    39: ("admin", "beta"),
    153: ("carol", "gamma"),
    184: ("alice", "alpha"),
    410: ("carol", "gamma"),
}
BAD_TOKEN = (297, 370, 372)
PAGE_SIZE = {379: 3, 380: 3}

Prepare = Callable[[Recorded], None]


def rename(kind: str, name: str) -> Prepare:
    """Free the name that the request gives to something new."""

    def prepare(site: Recorded) -> None:
        tables = {
            "project": site.state.projects,
            "user": site.state.users,
            "role": site.state.roles,
            "flavor": site.state.flavors,
        }
        named: Any = tables[kind][site.id(kind, name)]
        named.name = "another"

    return prepare


def drop_server(name: str) -> Prepare:
    """Forget a server and its addresses, so that the request can boot it."""

    def prepare(site: Recorded) -> None:
        server = site.state.servers.pop(site.ids.pop(("server", name)))
        for address in server.addresses:
            del site.state.fixed_ips[address]

    return prepare


def server_is(name: str, **fields: Any) -> Prepare:
    """Put a server into a state."""

    def prepare(site: Recorded) -> None:
        for key, value in fields.items():
            setattr(site.server(name), key, value)

    return prepare


def image_is_queued(name: str) -> Prepare:
    """Take an image's data away."""

    def prepare(site: Recorded) -> None:
        site.image(name).status = "queued"
        site.image(name).checksum = None

    return prepare


def quota(**limits: int) -> Prepare:
    """Set the limits of project gamma."""

    def prepare(site: Recorded) -> None:
        site.state.quotas[site.id("project", "gamma")] = limits

    return prepare


def compute2_is_down(site: Recorded) -> None:
    """Its heartbeat stops."""
    for service in site.state.services:
        service.alive = service.host != "compute2"


def busy_on_a_dead_host(site: Recorded) -> None:
    """A server stuck while its host died."""
    compute2_is_down(site)
    site.server("other4").task_state = "powering-off"


def granted(site: Recorded) -> None:
    """tmp-u has tmp-r in alpha."""
    site.state.grant(site.id("project", "alpha"), site.id("user", "tmp-u"), site.id("role", "tmp-r"))


def not_granted(site: Recorded) -> None:
    """alice has no Member in alpha."""
    site.state.revoke(site.id("project", "alpha"), site.id("user", "alice"), site.id("role", "Member"))


def other_password(site: Recorded) -> None:
    """What the request sends is wrong."""
    site.state.users[site.id("user", "admin")].password = "something else"


def no_rules(site: Recorded) -> None:
    """The groups are empty."""
    for group in site.state.groups.values():
        group.rules.clear()


def group_eight(site: Recorded) -> None:
    """The group that was made for the deletion."""
    site.state.groups[8] = SecurityGroup(8, site.id("project", "alpha"), "sdk-group", "made by the SDK")


def second_address(site: Recorded) -> None:
    """mig1 has a second fixed address."""
    server = site.server("mig1")
    site.state.fixed_ips["10.10.0.10"] = FixedIp("10.10.0.10", str(server.network_id), server.id)
    server.addresses = ["10.10.0.10", *server.addresses]


def floating_on_mig1(site: Recorded) -> None:
    """mig1 holds the floating address."""
    Addresses(site.state).associate(site.state.floating_ips["172.24.4.228"], site.server("mig1"), "10.10.0.77")


def clear(attribute: str, *keys: Any) -> Prepare:
    """Empty a table, or remove some of its rows."""

    def prepare(site: Recorded) -> None:
        table = getattr(site.state, attribute)
        for key in keys or list(table):
            del table[key]

    return prepare


def no_network(name: str) -> Prepare:
    """Forget a network."""

    def prepare(site: Recorded) -> None:
        del site.state.networks[site.ids.pop(("network", name))]

    return prepare


STOPPED = {"vm_state": "stopped", "power_state": 4}
PREPARE: dict[int, Prepare] = {
    2: rename("project", "alpha"),
    3: rename("user", "alice"),
    4: rename("user", "dave"),
    6: rename("role", "operator"),
    7: not_granted,
    11: image_is_queued("ubuntu-raw-v2"),
    13: rename("flavor", "p1.private"),
    15: lambda site: site.state.flavors[site.id("flavor", "p1.private")].access.clear(),
    16: clear("flavors", "42"),
    18: no_network("novanetwork"),
    20: clear("floating_ips"),
    23: clear("aggregates"),
    24: lambda site: site.state.aggregates[1].hosts.clear(),
    26: clear("keypairs"),
    28: clear("groups"),
    29: no_rules,
    30: no_rules,
    35: drop_server("db1"),
    42: server_is("app1", vm_state="building", addresses=[]),
    44: server_is("job1", vm_state="active", power_state=1),
    78: other_password,
    102: other_password,
    122: image_is_queued("sdk-up1"),
    170: lambda site: site.state.projects.update(x=Project("x", "tmp-t")),
    178: granted,
    179: granted,
    218: rename("flavor", "sdk.f"),
    292: group_eight,
    299: drop_server("mig1"),
    313: server_is("mig1", **STOPPED),
    314: server_is("mig1", **STOPPED),
    315: server_is("mig1", **STOPPED),
    316: server_is("mig1", **STOPPED),
    318: server_is("mig1", vm_state="suspended", power_state=4),
    320: server_is("mig1", vm_state="paused", power_state=3),
    327: server_is("mig1", task_state="image_snapshot_pending"),
    333: server_is("mig1", vm_state="resized"),
    334: server_is("mig1", vm_state="resized"),
    335: server_is("mig1", vm_state="resized"),
    337: server_is("mig1", flavor_id="2"),
    342: floating_on_mig1,
    347: second_address,
    350: server_is("mig1", security_groups=["default", "tmpsg"]),
    355: server_is("mig1", vm_state="shelved_offloaded", power_state=4),
    363: quota(instances=1),
    365: quota(floating_ips=0),
    366: quota(key_pairs=0),
    367: quota(metadata_items=1),
    368: quota(security_groups=1),
    375: compute2_is_down,
    376: compute2_is_down,
    378: busy_on_a_dead_host,
    394: lambda site: add_floating_range(site.state, "172.26.0.8/30", "tmp", "lo"),
    398: no_network("second"),
}


def caller_of(fact: dict[str, Any]) -> tuple[str, str | None]:
    """Whose token the request carried."""
    if fact["n"] in CALLERS:
        return CALLERS[fact["n"]]
    if fact["service"] == "compute":
        for project, user in BEARERS.items():
            if fact["path"].startswith(f"/v2/{{project:{project}}}"):
                return user, project
    return "admin", "admin"


async def replay(fact: dict[str, Any], directory: Path) -> list[str]:
    """Rebuild, prepare, send, compare; the differences."""
    limit = PAGE_SIZE.get(fact["n"], 1000)
    async with running(directory, mentions=json.dumps(fact), osapi_max_limit=limit) as site:
        PREPARE.get(fact["n"], lambda _site: None)(site)
        token = site.token(*caller_of(fact)) if fact["token"] and fact["n"] not in BAD_TOKEN else None
        if fact["n"] in BAD_TOKEN:
            token = "0" * 32
        text = json.dumps(fact)
        for mark in ("<token>", "***"):
            if mark in text:
                text = text.replace(mark, site.token("admin", "admin"))
        fact = json.loads(text)
        return differences(site, fact, await send(site, fact, token=token))


def differences(site: Recorded, fact: dict[str, Any], reply: Reply) -> list[str]:
    """Where an answer is not as recorded."""
    found = []
    if reply.status != fact["status"]:
        return [f"status {reply.status} instead of {fact['status']}: {reply.body[:300]!r}"]
    if reply.headers.get("content-type") != fact["type"]:
        found.append(f"content-type {reply.headers.get('content-type')} instead of {fact['type']}")
    headers = [key for key in HEADERS if key in reply.headers]
    if headers != fact["headers"]:
        found.append(f"headers {headers} instead of {fact['headers']}")
    if fact["n"] in UNLIKE:
        return found
    if "page" in fact:
        page = site.resolve(fact["page"])
        if reply.body.decode() != page:
            found.append(f"page {reply.body.decode()!r} instead of {page!r}")
    elif "shape" in fact:
        found += unlike(fact["shape"], reply.json(), "$")
        if "message" in fact:
            message = next(iter(reply.json().values()))["message"]
            if message != site.resolve(fact["message"]):
                found.append(f"message {message!r} instead of {site.resolve(fact['message'])!r}")
    elif "binary" in fact:
        if not reply.body:
            found.append("no data")
    elif reply.body:
        found.append(f"a body {reply.body[:200]!r} where none was recorded")
    return found


def unlike(shape: Any, value: Any, where: str) -> list[str]:
    """Where a JSON value does not have a recorded structure. Null goes with everything."""
    if value is None or shape in ("any", "null"):
        return []
    if isinstance(shape, dict) and isinstance(value, dict):
        if "*" in shape:
            return [line for key, item in value.items() for line in unlike(shape["*"], item, f"{where}.{key}")]
        optional = {key.removesuffix("?"): item for key, item in shape.items()}
        found = [f"{where}.{key} is missing" for key in shape if not key.endswith("?") and key not in value]
        found += [f"{where}.{key} was not recorded" for key in value if key not in optional]
        for key in optional.keys() & value.keys():
            found += unlike(optional[key], value[key], f"{where}.{key}")
        return found
    if isinstance(shape, list) and isinstance(value, list):
        if not value and shape[0] != "any" and len(shape) == 1:
            return [f"{where} is empty"]
        return [line for n, item in enumerate(value) for line in unlike(shape[0], item, f"{where}[{n}]")]
    kind = {bool: "bool", int: "int", float: "float", str: "str"}.get(type(value), type(value).__name__)
    if isinstance(shape, str) and kind in shape.split("|"):
        return []
    return [f"{where} is {kind} instead of {shape if isinstance(shape, str) else type(shape).__name__}"]


@pytest.mark.parametrize("fact", FACTS, ids=lambda f: f"{f['n']:03d}-{f['service']}-{f['method']}-{f['status']}")
def test_a_recorded_exchange(fact: dict[str, Any], tmp_path: Path) -> None:
    assert not asyncio.run(replay(fact, tmp_path))


def test_most_answers_are_compared_in_full() -> None:
    assert len(FACTS) == 415
    assert set(UNLIKE) | set(PREPARE) <= {fact["n"] for fact in FACTS}
    compared = [f for f in FACTS if f["n"] not in UNLIKE and ("shape" in f or "page" in f or "binary" in f)]
    assert len(compared) >= 340


@pytest.mark.parametrize(
    ("shape", "value", "found"),
    [
        ({"a": "str"}, {"a": "x"}, []),
        ({"a": "str"}, {"a": 1}, ["$.a is int instead of str"]),
        ({"a": "int"}, {"a": True}, ["$.a is bool instead of int"]),
        ({"a": "str"}, {}, ["$.a is missing"]),
        ({"a?": "str"}, {}, []),
        ({}, {"a": 1}, ["$.a was not recorded"]),
        ({"a": ["str"]}, {"a": []}, ["$.a is empty"]),
        ({"a": ["str", "?"]}, {"a": []}, []),
        ({"a": ["any"]}, {"a": [1]}, []),
        ({"a": {"*": "str"}}, {"a": {"x": "y", "z": 1}}, ["$.a.z is int instead of str"]),
        ({"a": "null|str"}, {"a": None}, []),
        ({"a": {"b": "int"}}, {"a": "x"}, ["$.a is str instead of dict"]),
    ],
)
def test_the_comparison_itself(shape: Any, value: Any, found: list[str]) -> None:
    assert unlike(shape, value, "$") == found
