"""Password hashes: which scheme they are of, their digest, and new ones for trying a Keystone out."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from pumphouse.errors import DatabaseError

_IDENT = re.compile(r"\$([a-z0-9-]{1,20})\$")
_NAMES = {
    "1": "md5_crypt",
    "5": "sha256_crypt",
    "6": "sha512_crypt",
    **dict.fromkeys(("2", "2a", "2b", "2x", "2y"), "bcrypt"),
    "bcrypt-sha256": "bcrypt_sha256",
    "pbkdf2-sha512": "pbkdf2_sha512",
    "scrypt": "scrypt",
}


@dataclass(frozen=True)
class PasswordHash:
    """A hash as Keystone stores it. It shows itself as scheme and digest only."""

    value: str = field(repr=False)

    @property
    def ident(self) -> str:
        """What Keystone tells schemes apart by (``6`` of ``$6$…``); empty for what has no such prefix."""
        found = _IDENT.match(self.value)
        return found[1] if found else ""

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256: enough to compare, useless to log in with or to guess from."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{scheme_name(self.ident)} hash {self.digest}"


def scheme_name(ident: str) -> str:
    """A scheme's name for people, e.g. ``sha512_crypt ($6$)``."""
    return f"{_NAMES.get(ident, 'unknown scheme')} (${ident}$)" if ident else "unknown scheme"


def new_hash(ident: str, password: str) -> PasswordHash:
    """A cheap hash of a throw-away password in that scheme.

    :raises DatabaseError: when this machine cannot make such a hash.
    """
    from passlib import hash as schemes

    makers: dict[str, Any] = {
        "1": schemes.md5_crypt,
        "5": schemes.sha256_crypt.using(rounds=1000),
        "6": schemes.sha512_crypt.using(rounds=1000),
        "pbkdf2-sha512": schemes.pbkdf2_sha512.using(rounds=1000),
        "scrypt": schemes.scrypt.using(rounds=4),
    }
    try:
        if ident in ("2a", "2b", "2y"):
            makers[ident] = schemes.bcrypt.using(rounds=4, ident=ident)
        if ident == "bcrypt-sha256":
            # keystone 30 misreads a number of rounds below ten (password_hashers/bcrypt.py: no leading zero)
            makers[ident] = schemes.bcrypt_sha256.using(rounds=10)
        return PasswordHash(str(makers[ident].hash(password)))
    except (KeyError, ImportError, RuntimeError) as error:
        raise DatabaseError(
            f"A password hash of {scheme_name(ident)} cannot be made here, so no Keystone can be tried with one.",
            remedy="install pumphouse with its extra `databases`; hashes of this scheme are not carried until then.",
        ) from error


def matches(value: PasswordHash, password: str) -> bool:
    """Whether this is a hash of that password; False too for schemes that this machine does not know."""
    return _verified(value, password) is True


def differs(value: PasswordHash, password: str) -> bool:
    """Whether this is a hash of another password; False too for schemes that this machine does not know."""
    return _verified(value, password) is False


def _verified(value: PasswordHash, password: str) -> bool | None:
    from passlib.context import CryptContext

    known = ["sha512_crypt", "sha256_crypt", "md5_crypt", "pbkdf2_sha512", "scrypt", "bcrypt", "bcrypt_sha256"]
    try:
        return bool(CryptContext(schemes=known).verify(password, value.value))
    except (ValueError, ImportError, RuntimeError):
        return None
