"""Nova v2.1: keypairs, which belong to a user."""

from __future__ import annotations

import base64
import binascii
import hashlib

from aiohttp import web

from pumphouse.lab.destination.nova import denied, minor
from pumphouse.lab.destination.state import Caller, Cloud
from pumphouse.lab.destination.web import Fault, Json, answer, empty, micro_stamp, now, read_json, validate

_NAME = r"^[_\- a-zA-Z0-9]+$"
_NEW_NAME = r"^[_\-\@\. a-zA-Z0-9]+$"


def _schema(version: int) -> Json:
    properties: Json = {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _NEW_NAME if version >= 92 else _NAME},
        "public_key": {"type": "string"},
    }
    if version >= 2:
        properties["type"] = {"type": "string", "enum": ["ssh", "x509"]}
    if version >= 10:
        properties["user_id"] = {"type": "string"}
    required = ["public_key", "name"] if version >= 92 else ["name"]
    keypair = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"keypair": keypair},
        "required": ["keypair"],
        "additionalProperties": False,
    }


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint of an OpenSSH public key."""
    parts = public_key.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (IndexError, binascii.Error) as error:
        raise Fault(400, "Keypair data is invalid: failed to generate fingerprint") from error
    if not blob[4:].startswith(parts[0].encode()):
        raise Fault(400, "Keypair data is invalid: failed to generate fingerprint")
    digest = hashlib.md5(blob, usedforsecurity=False).hexdigest()
    return ":".join(digest[place : place + 2] for place in range(0, len(digest), 2))


class Keypairs:
    """Handlers of ``/os-keypairs``."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.table = cloud.compute.keypairs

    def routes(self) -> list[web.RouteDef]:
        """What this class answers."""
        return [
            web.get("/v2.1/os-keypairs", self.index),
            web.post("/v2.1/os-keypairs", self.create),
            web.get("/v2.1/os-keypairs/{name}", self.show),
            web.delete("/v2.1/os-keypairs/{name}", self.delete),
        ]

    def _owner(self, request: web.Request, caller: Caller, action: str) -> str:
        """Whose keypairs are meant: one's own, or with 2.10 somebody else's for an administrator."""
        wanted = request.query.get("user_id", caller.user_id) if minor(request) >= 10 else caller.user_id
        if wanted != caller.user_id and not caller.is_admin:
            raise denied(f"os-keypairs:{action}")
        return wanted

    def _get(self, owner: str, name: str) -> Json:
        keypair = self.table.get((owner, name))
        if keypair is None:
            raise Fault(404, f"Keypair {name} not found for user {owner}")
        return keypair

    async def index(self, request: web.Request) -> web.Response:
        """``GET /os-keypairs``."""
        owner = self._owner(request, self.cloud.authenticate(request), "index")
        names = ["name", "public_key", "fingerprint", *(["type"] if minor(request) >= 2 else [])]
        found = sorted(
            (item for key, item in self.table.items() if key[0] == owner), key=lambda item: str(item["name"])
        )
        return answer({"keypairs": [{"keypair": {name: item[name] for name in names}} for item in found]})

    async def show(self, request: web.Request) -> web.Response:
        """``GET /os-keypairs/{name}``."""
        owner = self._owner(request, self.cloud.authenticate(request), "show")
        shown = dict(self._get(owner, request.match_info["name"]))
        if minor(request) < 2:
            del shown["type"]
        return answer({"keypair": shown})

    async def create(self, request: web.Request) -> web.Response:
        """``POST /os-keypairs``: imports a public key; the lab generates none."""
        caller = self.cloud.authenticate(request)
        body = await read_json(request)
        validate(body, _schema(minor(request)))
        given = body["keypair"]
        owner = given.get("user_id", caller.user_id)
        if owner != caller.user_id and not caller.is_admin:
            raise denied("os-keypairs:create")
        if "public_key" not in given:
            raise Fault(501, "The simulated destination imports public keys, it does not generate key pairs.")
        mark = fingerprint(given["public_key"])
        if (owner, given["name"]) in self.table:
            raise Fault(409, f"Key pair '{given['name']}' already exists.")
        if sum(key[0] == owner for key in self.table) >= self.cloud.compute.class_quotas["key_pairs"]:
            raise Fault(403, "Quota exceeded, too many key pairs.")
        self.cloud.compute.counter += 1
        keypair: Json = {
            "name": given["name"],
            "public_key": given["public_key"],
            "fingerprint": mark,
            "user_id": owner,
            "created_at": micro_stamp(now()),
            "deleted": False,
            "deleted_at": None,
            "id": self.cloud.compute.counter,
            "updated_at": None,
            "type": given.get("type", "ssh"),
        }
        self.table[(owner, given["name"])] = keypair
        names = ["name", "public_key", "fingerprint", "user_id", *(["type"] if minor(request) >= 2 else [])]
        return answer({"keypair": {name: keypair[name] for name in names}}, 201 if minor(request) >= 2 else 200)

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /os-keypairs/{name}``."""
        owner = self._owner(request, self.cloud.authenticate(request), "delete")
        self._get(owner, request.match_info["name"])
        del self.table[(owner, request.match_info["name"])]
        return empty(204 if minor(request) >= 2 else 202, "application/json")
