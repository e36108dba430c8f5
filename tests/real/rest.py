"""The HTTP calls that launching and populating make; the standard library is enough for them.

Not openstacksdk: what the library under test uses must not also be what prepares its test.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import RealError

# Loopback is never reached through a proxy, whatever the environment says.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ApiError(RealError):
    """A service refused a request."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        super().__init__(f"{method} {url}: {status} {text[:600]}")
        self.status = status


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content) if self.content.strip() else None


def send(
    method: str,
    url: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 90,
) -> Reply:
    """One request; a body of bytes is sent as it is, any other as JSON.  Raises `ApiError` from 400 on."""
    sent = {"Accept": "application/json", **(headers or {})}
    data = body if isinstance(body, bytes) else None
    if body is not None and data is None:
        data = json.dumps(body).encode()
        sent["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=sent, method=method)
    try:
        with _opener.open(request, timeout=timeout_s) as response:
            return Reply(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as e:
        raise ApiError(method, url, e.code, e.read().decode("utf-8", "replace")) from None


def answers(url: str) -> bool:
    """Does a service answer there at all?  Being refused (401, 404) is an answer."""
    try:
        send("GET", url, timeout_s=10)
    except ApiError as e:
        return e.status < 500
    except OSError:
        return False
    return True


class Session:
    """One user in one project, with the endpoints that the catalog names."""

    def __init__(self, token: str, project_id: str, user_id: str, endpoints: Mapping[tuple[str, str], str]) -> None:
        self.token, self.project_id, self.user_id = token, project_id, user_id
        self.endpoints = dict(endpoints)

    @classmethod
    def v2(cls, auth_url: str, user: str, password: str, tenant: str) -> Session:
        """Authenticates through Keystone v2.0; `auth_url` ends in /v2.0."""
        auth = {"tenantName": tenant, "passwordCredentials": {"username": user, "password": password}}
        access = send("POST", auth_url + "/tokens", {"auth": auth}).json()["access"]
        endpoints = {
            (service["type"], interface): service["endpoints"][0][interface + "URL"]
            for service in access["serviceCatalog"]
            for interface in ("public", "admin")
            if service["endpoints"]
        }
        return cls(access["token"]["id"], access["token"]["tenant"]["id"], access["user"]["id"], endpoints)

    @classmethod
    def v3(cls, auth_url: str, user: str, password: str, project: str) -> Session:
        """Authenticates through Keystone v3 in the domain `default`; `auth_url` ends in /v3."""
        domain = {"id": "default"}
        reply = send(
            "POST",
            auth_url + "/auth/tokens",
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": user, "domain": domain, "password": password}},
                    },
                    "scope": {"project": {"name": project, "domain": domain}},
                }
            },
        )
        token = reply.json()["token"]
        endpoints = {
            (service["type"], endpoint["interface"]): endpoint["url"]
            for service in token["catalog"]
            for endpoint in service["endpoints"]
        }
        by_lower = {k.lower(): v for k, v in reply.headers.items()}
        return cls(by_lower["x-subject-token"], token["project"]["id"], token["user"]["id"], endpoints)

    def reply(
        self,
        method: str,
        service: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        interface: str = "public",
    ) -> Reply:
        """Calls a service by its catalog type, or by a full URL in `service`."""
        base = service if service.startswith("http") else self.endpoints[service, interface]
        return send(method, base + path, body, {**(headers or {}), "X-Auth-Token": self.token})

    def call(
        self,
        method: str,
        service: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        interface: str = "public",
    ) -> Any:
        """As `reply`, but returns the decoded JSON."""
        return self.reply(method, service, path, body, headers, interface).json()

    def create(self, base: str, kind: str, **values: object) -> str:
        """Makes an object the way Keystone v3 takes it (POST /KINDs {KIND: ...}); returns its id."""
        made = self.call("POST", base, f"/{kind}s", {kind: values})[kind]["id"]
        assert isinstance(made, str)
        return made
