"""Nova's keypairs: everybody sees and changes only his own, administrators too."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import Keypair, State, now
from pumphouse.lab.source.wire import ApiFault, empty_answer, json_answer, stamp_micro


def fingerprint(public_key: str) -> str:
    """The MD5 fingerprint of an OpenSSH public key; ValueError when it is none."""
    parts = public_key.split()
    if len(parts) < 2 or not parts[0].startswith(("ssh-", "ecdsa-")):
        raise ValueError("not an OpenSSH public key")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    if len(blob) < 32 or not blob[4:].startswith(parts[0].encode()):
        raise ValueError("key blob does not match its type")
    digest = hashlib.md5(blob).hexdigest()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def add_keypair(state: State, user_id: str, name: str, public_key: str) -> Keypair:
    """Store a keypair."""
    keypair = Keypair(state.count("keypair"), user_id, name, public_key, fingerprint(public_key), now())
    state.keypairs[user_id, name] = keypair
    return keypair


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the keypairs."""
    api = Keypairs(nova)
    app.router.add_get("/v2/{project}/os-keypairs", api.keypairs)
    app.router.add_post("/v2/{project}/os-keypairs", api.create)
    app.router.add_get("/v2/{project}/os-keypairs/{name}", api.show)
    app.router.add_delete("/v2/{project}/os-keypairs/{name}", api.delete)


class Keypairs:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state

    def _get(self, request: web.Request) -> Keypair:
        name = request.match_info["name"]
        caller = self.nova.caller(request)
        keypair = self.state.keypairs.get((caller.user_id, name))
        if keypair is None:
            raise ApiFault(404, f"Keypair {name} not found for user {caller.user_id}")
        return keypair

    async def keypairs(self, request: web.Request) -> web.Response:
        """GET /os-keypairs; ``user_id`` is ignored."""
        user_id = self.nova.caller(request).user_id
        views = [
            {"keypair": {"name": k.name, "public_key": k.public_key, "fingerprint": k.fingerprint}}
            for k in self.state.keypairs.values()
            if k.user_id == user_id
        ]
        return json_answer({"keypairs": views})

    async def show(self, request: web.Request) -> web.Response:
        """GET /os-keypairs/NAME: the whole database row, in Grizzly as in the list."""
        keypair = self._get(request)
        view: dict[str, Any] = {
            "name": keypair.name,
            "public_key": keypair.public_key,
            "fingerprint": keypair.fingerprint,
        }
        if self.state.release.keypair_row:
            view |= {
                "id": keypair.number,
                "user_id": keypair.user_id,
                "created_at": stamp_micro(keypair.created_at),
                "updated_at": None,
                "deleted": False,
                "deleted_at": None,
            }
        return json_answer({"keypair": view})

    async def create(self, request: web.Request) -> web.Response:
        """POST /os-keypairs: import, or generate when no public key is given. Always the caller's own."""
        caller = self.nova.caller(request)
        given = await self.nova.body(request, "keypair")
        name = given.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise ApiFault(400, "Keypair data is invalid: Keypair name must be between 1 and 255 characters long")
        limit = self.state.quota(caller.project_id)["key_pairs"]
        if 0 <= limit <= sum(1 for k in self.state.keypairs.values() if k.user_id == caller.user_id):
            raise ApiFault(413, "Quota exceeded, too many key pairs.", retry_after="0")
        if (caller.user_id, name) in self.state.keypairs:
            raise ApiFault(409, f"Key pair '{name}' already exists.")
        private_key = None
        public_key = given.get("public_key")
        if public_key is None:
            public_key, private_key = _generate()
        try:
            keypair = add_keypair(self.state, caller.user_id, name, str(public_key))
        except ValueError:
            raise ApiFault(400, self.state.release.words["keypair-data"]) from None
        view: dict[str, Any] = {
            "name": keypair.name,
            "public_key": keypair.public_key,
            "fingerprint": keypair.fingerprint,
            "user_id": keypair.user_id,
        }
        if private_key is not None:
            view["private_key"] = private_key
        return json_answer({"keypair": view})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /os-keypairs/NAME"""
        keypair = self._get(request)
        del self.state.keypairs[keypair.user_id, keypair.name]
        return empty_answer(202)


def _generate() -> tuple[str, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode() + " Generated-by-Nova", private.decode()
