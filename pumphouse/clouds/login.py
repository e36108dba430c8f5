"""How we log in: the ``auth`` section of clouds.yaml, however people wrote it, as a keystoneauth plugin.

openstacksdk's own ways differ by the form of ``auth_url`` and by the links in Keystone's version document, which an old
Keystone behind a proxy gets wrong; and its ``v2password`` sends every identity call to ``auth_url``. Here the version
is decided once, and the address is always the one that was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1.identity import v2, v3

from pumphouse.clouds.discovery import ApiVersion
from pumphouse.clouds.parse import root_of
from pumphouse.errors import CloudError

#: The values of ``auth_type`` that are understood here; any other one is left to openstacksdk.
KINDS = ("password", "v2password", "v3password", "token", "v2token", "v3token")
_DOMAINS = ("user_domain_id", "user_domain_name", "project_domain_id", "project_domain_name", "default_domain_id",
            "default_domain_name", "domain_id", "domain_name")  # fmt: skip
_DEFAULT = "default"
AUTH_KEYS = ("auth_url", "username", "user_id", "password", "token", "project_name", "project_id", "tenant_name",
             "tenant_id", *_DOMAINS)  # fmt: skip


@dataclass(frozen=True)
class Login:
    """What clouds.yaml says about logging in.

    :param kind: ``auth_type``, one of :data:`KINDS`.
    :param auth: the ``auth`` section with secure.yaml's part of it.
    :param identity_api: ``identity_api_version``, as written.
    """

    cloud: str
    kind: str
    auth: Mapping[str, Any] = field(repr=False)
    identity_api: str

    def wants(self) -> str:
        """The Keystone version that this entry asks for: ``v3``, ``v2.0``, or nothing in particular."""
        if self.kind.startswith(("v2", "v3")):
            return "v3" if self.kind.startswith("v3") else "v2.0"
        url = str(self.auth["auth_url"]).rstrip("/")
        if any(self.auth.get(key) for key in _DOMAINS) or url.endswith("/v3"):
            return "v3"
        if url.endswith("/v2.0"):
            return "v2.0"
        return {"3": "v3", "2": "v2.0"}.get(self.identity_api[:1], "")

    def version(self, offered: list[ApiVersion]) -> str:
        """``v3`` or ``v2.0``, given what Keystone offers; an empty list: it does not say.

        :raises CloudError: when it offers neither, or not the one that ``auth_type`` insists on.
        """
        majors = {one.number[0] for one in offered}
        wanted = self.wants()
        there = {"v3": 3 in majors, "v2.0": 2 in majors}
        if not offered:
            return wanted or "v2.0"
        if wanted and there[wanted]:
            return wanted
        other = "v2.0" if wanted == "v3" else "v3"
        insists = self.kind.startswith(("v2", "v3")) or (other == "v2.0" and not self._domains_are_default())
        if wanted and (insists or not there[other]):
            raise CloudError(
                f"Cloud '{self.cloud}': clouds.yaml logs in with Keystone {wanted}, but the one at "
                f"{root_of(str(self.auth['auth_url']))} offers {', '.join(one.id for one in offered)} only.",
                remedy="use `auth_type: password`; leave the domains out for v2.0, name them for v3.",
            )
        if wanted:
            return other
        return "v2.0" if there["v2.0"] else "v3"

    def plugin(self, version: str) -> object:
        """The keystoneauth plugin for that version."""
        auth, root = self.auth, root_of(str(self.auth["auth_url"]))
        project_id, project = _first(auth, "project_id", "tenant_id"), _first(auth, "project_name", "tenant_name")
        token = self.kind.endswith("token")
        if version == "v2.0":
            where = {"tenant_id": project_id} if project_id else {"tenant_name": project}
            url = f"{root}/v2.0"
            if token:
                return v2.Token(url, str(auth["token"]), **where)
            user_id = _first(auth, "user_id")
            who = {"user_id": user_id} if user_id else {"username": _first(auth, "username", "user_name")}
            return v2.Password(url, password=str(auth["password"]), **who, **where)
        scope: dict[str, str | None] = {"project_id": project_id} if project_id else {"project_name": project}
        if not project_id:
            scope |= _domain(auth, "project")
        if token:
            return v3.Token(f"{root}/v3", str(auth["token"]), **scope)
        user_id = _first(auth, "user_id")
        user: dict[str, str | None] = {"user_id": user_id} if user_id else {
            "username": _first(auth, "username", "user_name"), **_domain(auth, "user"),
        }  # fmt: skip
        return v3.Password(f"{root}/v3", password=str(auth["password"]), **user, **scope)

    def _domains_are_default(self) -> bool:
        named = (str(self.auth[key]) for key in _DOMAINS if self.auth.get(key))
        return all(name.casefold() == _DEFAULT for name in named)


def _first(auth: Mapping[str, Any], *keys: str) -> str | None:
    return next((str(auth[key]) for key in keys if auth.get(key)), None)


def _domain(auth: Mapping[str, Any], whose: str) -> dict[str, str | None]:
    for start in (f"{whose}_domain", "default_domain", "domain"):
        for key in ("id", "name"):
            value = _first(auth, f"{start}_{key}")
            if value is not None:
                return {f"{whose}_domain_{key}": value}
    # every Keystone since Grizzly has the domain of that id, and keeps v2.0's users in it
    return {f"{whose}_domain_id": _DEFAULT}
