"""Talking to a cloud and writing down the shape of its answers.

Kept of every answer: status, content type, keys and types of the JSON body; of refusals the wording too, with ids,
addresses and times masked.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import requests

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDCzCwQZsQcbR9LQq4Jk4Qm0B4k2mB3R2oWlJ6dWJvJw labcmp"
IMAGE_BYTES = b"labcmp image bytes\n" * 1000
FIXED_CIDR, EXTERNAL_CIDR = "127.77.0.0/24", "127.78.0.0/24"
FIXED_IP, FLOATING_IP = "127.77.0.50", "127.78.0.50"
MAC = "fa:16:3e:77:00:50"

_MASKS = (
    (re.compile(r"req-[0-9a-f-]{36}"), "<request>"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z?"), "<time>"),
    (re.compile(r"127\.0\.0\.1:\d+"), "<endpoint>"),
    (re.compile(r"(?<=flavor )\d+(?= and project)|(?<=found for )\d+(?= /)"), "<number>"),
)


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in _MASKS:
        text = pattern.sub(word, text)
    return text


def wording(answer: requests.Response) -> str:
    """What a refusal says: JSON in one spelling; a page without its layout and without dumped schemas."""
    try:
        return masked(json.dumps(answer.json(), sort_keys=True))
    except ValueError:
        text = re.sub(r"Failed validating.*?(?=<br)", "", answer.text, flags=re.DOTALL)
        return masked(re.sub(r"\s+", " ", text)).replace(" <br", "<br").strip()


def shape(value: Any) -> Any:
    """Keys and types of a JSON value; a list's elements are merged into one."""
    if isinstance(value, dict):
        return {masked(key): shape(item) for key, item in sorted(value.items())}
    if isinstance(value, list):
        merged: Any = None
        for item in value:
            merged = shape(item) if merged is None else merge(merged, shape(item))
        return [] if merged is None else [merged]
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def merge(one: Any, two: Any) -> Any:
    """What two shapes have between them; differing scalars become ``a|b``."""
    if one == two:
        return one
    if isinstance(one, dict) and isinstance(two, dict):
        return {key: merge(one.get(key, two.get(key)), two.get(key, one.get(key))) for key in sorted({*one, *two})}
    if isinstance(one, list) and isinstance(two, list):
        return [merge(one[0], two[0])] if one and two else one or two
    if isinstance(one, str) and isinstance(two, str):
        return "|".join(sorted({*one.split("|"), *two.split("|")}))
    return one


@dataclass
class Exchange:
    """One answer, as it is kept."""

    status: int
    content_type: str
    headers: list[str]
    body: Any
    text: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        kept = {"status": self.status, "type": self.content_type, "headers": self.headers, "body": self.body}
        return kept | ({"text": self.text} if self.text is not None else {})


class Talker:
    """One user's requests to one cloud."""

    def __init__(self, book: Conversation, token: str, project_id: str, user_id: str, catalog: dict[str, str]) -> None:
        self.book, self.token, self.project_id, self.user_id, self.catalog = book, token, project_id, user_id, catalog

    def call(
        self,
        name: str,
        service: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = None,
        headers: dict[str, str] | None = None,
        data: bytes | None = None,
    ) -> Any:
        """Send one request; keep the answer under ``name`` (empty: not kept); return its body."""
        sent = {"X-Auth-Token": self.token} if self.token else {}
        if version:
            sent["OpenStack-API-Version"] = f"compute {version}"
        answer = requests.request(
            method,
            self.catalog[service] + path,
            json=body,
            data=data,
            headers=sent | (headers or {}),
            timeout=60,
            allow_redirects=False,
        )
        return self.book.keep(name, answer)


@dataclass
class Conversation:
    """The whole talk; ``exchanges`` by name, ``raw`` for a person's eyes."""

    auth_url: str
    username: str
    password: str
    project: str
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    watch: Callable[[str, requests.Response], None] | None = None
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def keep(self, name: str, answer: requests.Response) -> Any:
        """Write one answer down and return its JSON (or text)."""
        if self.watch is not None:
            self.watch(name, answer)
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        try:
            body = answer.json()
        except ValueError:
            body = None
        if name:
            assert name not in self.exchanges, name
            wanted = (
                "x-openstack-request-id",
                "openstack-api-version",
                "location",
                "www-authenticate",
                "x-subject-token",
            )
            self.exchanges[name] = Exchange(
                answer.status_code,
                kind,
                sorted(key.lower() for key in answer.headers if key.lower() in wanted),
                None if body is None else shape(body),
                wording(answer) if answer.status_code >= 400 else None,
            )
        return answer.text if body is None else body

    def login(self, username: str, password: str, project: str, name: str = "") -> Talker:
        """A token for one user in one project of the default domain."""
        domain = {"id": "default"}
        answer = requests.post(
            f"{self.auth_url}/auth/tokens",
            json={
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": username, "password": password, "domain": domain}},
                    },
                    "scope": {"project": {"name": project, "domain": domain}},
                }
            },
            timeout=60,
        )
        body = self.keep(name, answer)
        assert answer.status_code == 201, answer.text
        token = body["token"]
        catalog = {
            entry["type"]: next(e["url"] for e in entry["endpoints"] if e["interface"] == "public").rstrip("/")
            for entry in token["catalog"]
        }
        return Talker(self, answer.headers["X-Subject-Token"], token["project"]["id"], token["user"]["id"], catalog)
