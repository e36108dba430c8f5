"""Replays recorded exchanges against the lab's old cloud and says where an answer is not as recorded.

``data/RELEASE.json`` is made by ``tools/derive_transcript_facts.py``. Each exchange meets a cloud rebuilt afresh, so
that no exchange depends on another; what has to be so before a request is in the recording's ``prepare``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumphouse.lab.source.nova_ips import Addresses
from pumphouse.lab.source.state import FixedIp, SecurityGroup
from tests.lab.recorded import BEARERS, Recorded, Reply, running, send

HEADERS = (
    *("location", "retry-after", "etag", "content-md5", "vary", "www-authenticate", "x-subject-token"),
    *("x-compute-request-id", "x-openstack-request-id"),
)
Caller = tuple[str, str | None]
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


def exhausted(verb: str, path: str) -> Prepare:
    """The administrator has used up the rate limit for such requests."""

    def prepare(site: Recorded) -> None:
        limiter = site.state.limiter
        limiter.scale = 1.0
        while limiter.check(site.id("user", "admin"), verb, path) is None:
            pass

    return prepare


def small_disk(site: Recorded) -> None:
    """m1.tiny has no root disk, as the release makes it, and the image wants one."""
    site.state.flavors["1"].disk = site.state.release.tiny_disk_gib
    site.image("cirros-0.3.2-x86_64").min_disk = 1


STOPPED: dict[str, Any] = {"vm_state": "stopped", "power_state": 4}


@dataclass(frozen=True)
class Recording:
    """One release's recording and how to replay it.

    :param callers: whose token a request carried, where its path does not tell.
    :param bad_tokens: exchanges with a token that nothing knows.
    :param page_size: ``osapi_max_limit`` of exchanges that had a small one.
    :param prepare: what has to be so before a request.
    :param unlike: exchanges replayed for status and headers only, with the reason why the content differs.
    """

    release: str
    callers: Mapping[int, Caller]
    bad_tokens: tuple[int, ...]
    prepare: Mapping[int, Prepare]
    page_size: Mapping[int, int] = field(default_factory=dict)
    unlike: Mapping[int, str] = field(default_factory=dict)

    @property
    def facts(self) -> list[dict[str, Any]]:
        """The exchanges."""
        path = Path(__file__).parent / f"data/{self.release}.json"
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def caller_of(self, fact: dict[str, Any]) -> Caller:
        """Whose token the request carried."""
        if fact["n"] in self.callers:
            return self.callers[fact["n"]]
        if fact["service"] == "compute":
            for project, user in BEARERS.items():
                if fact["path"].startswith(f"/v2/{{project:{project}}}"):
                    return user, project
        return "admin", "admin"


async def replay(recording: Recording, fact: dict[str, Any], directory: Path) -> list[str]:
    """Rebuild, prepare, send, compare; the differences."""
    number = fact["n"]
    limit = recording.page_size.get(number, 1000)
    mentions = json.dumps(fact)
    async with running(directory, release=recording.release, mentions=mentions, osapi_max_limit=limit) as site:
        recording.prepare.get(number, lambda _site: None)(site)
        token = site.token(*recording.caller_of(fact)) if fact["token"] else None
        if number in recording.bad_tokens:
            token = "0" * 32
        for mark in ("<token>", "***"):
            if mark in mentions:
                mentions = mentions.replace(mark, site.token("admin", "admin"))
        fact = json.loads(mentions)
        reply = await send(site, fact, token=token)
        return differences(site, fact, reply, in_full=number not in recording.unlike)


def differences(site: Recorded, fact: dict[str, Any], reply: Reply, *, in_full: bool = True) -> list[str]:
    """Where an answer is not as recorded."""
    found = []
    if reply.status != fact["status"]:
        return [f"status {reply.status} instead of {fact['status']}: {reply.body[:300]!r}"]
    if reply.headers.get("content-type") != fact["type"]:
        found.append(f"content-type {reply.headers.get('content-type')} instead of {fact['type']}")
    headers = [key for key in HEADERS if key in reply.headers]
    if headers != fact["headers"]:
        found.append(f"headers {headers} instead of {fact['headers']}")
    if not in_full:
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
