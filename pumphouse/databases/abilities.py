"""Which password hashes a Keystone can read: tried out on it, since no API and no version number tells.

A current Keystone reads bcrypt, scrypt and pbkdf2, and dies on anything else in the middle of a login: the connection
ends without an answer (seen on Keystone 30), so that a user with such a hash is locked out for good. One of before
Rocky reads 2014's sha512_crypt as well.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pumphouse.databases.hashes import new_hash, scheme_name
from pumphouse.databases.keystone import KeystoneDatabase
from pumphouse.errors import CloudAuthError, CloudError, DatabaseError
from pumphouse.holder import holder, is_gone

if TYPE_CHECKING:
    from pumphouse.clouds.api import Cloud

#: What the throw-away users' names begin with; the time of their making follows.
PREFIX = "pumphouse-probe-"
_LEFT_BEHIND_AFTER_S = 3600
_PURPOSE = "tries which password hashes this Keystone reads; removed at once by "
#: One trial at a time in this process: what it finds of its own is left behind.
_TRIAL = threading.RLock()


@dataclass(frozen=True)
class Verdict:
    """Whether a Keystone reads hashes of one scheme, and what was seen."""

    accepted: bool
    evidence: str


def try_schemes(
    cloud: Cloud, database: KeystoneDatabase, idents: Iterable[str], *, now: Callable[[], float] = time.time
) -> dict[str, Verdict]:
    """Make a user without any role, give it a hash of each scheme in turn, log in, remove it (changes destination).

    Throw-away users that an interrupted trial left behind are removed too.

    :param idents: schemes as :attr:`PasswordHash.ident` names them.
    :raises CloudError: when no user can be made, or one with a password that Keystone itself has hashed cannot log in.
    :raises DatabaseError: when the database cannot be written, or is not this Keystone's.
    """
    with _TRIAL:
        remove_left_behind(cloud, now=now)
        wanted = sorted(set(idents))
        return _try_all(cloud, database, wanted, now) if wanted else {}


def _try_all(
    cloud: Cloud, database: KeystoneDatabase, wanted: list[str], now: Callable[[], float]
) -> dict[str, Verdict]:
    password = secrets.token_urlsafe(24)
    try:
        user_id = cloud.identity.create_user(
            f"{PREFIX}{int(now())}-{secrets.token_hex(4)}",
            password=password,
            description=f"{_PURPOSE}{holder()}",
        ).id
    except CloudError:
        with suppress(CloudError):
            remove_left_behind(cloud, now=now)  # made, although the answer was lost
        raise
    try:
        if not cloud.accepts_password(user_id, password):
            raise CloudError(
                f"Cloud '{cloud.name}': a new user cannot log in, even with a password set through the API.",
                remedy="look into Keystone's log; until then no password hash is carried.",
            )
        present = database.hash_of(user_id)
        if present is None:
            raise DatabaseError(
                f"Database {database} does not know user {user_id}, which cloud '{cloud.name}' has just made.",
                remedy="correct destination.databases.keystone in site.yaml: it is another Keystone's.",
            )
        verdicts = {}
        for ident in wanted:
            try:
                tried = new_hash(ident, password)
            except DatabaseError as error:
                verdicts[ident] = Verdict(accepted=False, evidence=error.message)
                continue
            database.replace_hash(user_id, tried, instead_of=present.digest)
            present = tried
            verdicts[ident] = _try(cloud, user_id, password, ident)
        return verdicts
    finally:
        _remove(cloud, user_id)


def _remove(cloud: Cloud, user_id: str) -> None:
    for _ in range(2):
        cloud.identity.delete_user(user_id)
        if not any(user.id == user_id for user in cloud.identity.list_users()):
            return
    raise CloudError(
        f"Cloud '{cloud.name}' accepts that user {user_id}, whose name begins with {PREFIX}, is deleted, and keeps it.",
        remedy="delete that user by hand; it has no role anywhere.",
    )


def remove_left_behind(cloud: Cloud, *, now: Callable[[], float] = time.time) -> list[str]:
    """Remove throw-away users whose maker is known to be dead, our own, or that are an hour old (changes destination).

    :returns: their names.
    """
    removed = []
    with _TRIAL:
        for user in cloud.identity.list_users():
            made_at = user.name.removeprefix(PREFIX).partition("-")[0]
            if not user.name.startswith(PREFIX) or not made_at.isdecimal():
                continue
            maker = user.description.removeprefix(_PURPOSE)
            if maker == holder() or is_gone(maker) or now() - int(made_at) > _LEFT_BEHIND_AFTER_S:
                cloud.identity.delete_user(user.id)
                removed.append(user.name)
    return removed


def _try(cloud: Cloud, user_id: str, password: str, ident: str) -> Verdict:
    with_it = f"a login with a {scheme_name(ident)} hash at {cloud.name}"
    try:
        right = cloud.accepts_password(user_id, password)
        wrong = right and cloud.accepts_password(user_id, secrets.token_urlsafe(24))
    except CloudAuthError as error:
        return Verdict(accepted=False, evidence=f"{with_it} was refused: {error.message}")
    except CloudError as error:
        return Verdict(accepted=False, evidence=f"{with_it} got no usable answer ({type(error).__name__})")
    if wrong:
        return Verdict(accepted=False, evidence=f"{with_it} works with any password")
    return Verdict(accepted=right, evidence=f"{with_it} {'works' if right else 'was refused'}")
