"""What a plan needs to know from the databases: schemes, verdicts, digests; never a hash or a byte of ``user_data``."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pumphouse.databases.abilities import Verdict, try_schemes
from pumphouse.databases.access import Databases
from pumphouse.errors import CloudError, DatabaseError

if TYPE_CHECKING:
    from pumphouse.clouds.api import Cloud


@dataclass(frozen=True)
class UserData:
    """A server's ``user_data`` by reference: SHA-256 of the decoded bytes, and how many there are."""

    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, encoded: str) -> UserData:
        """The reference of what Nova keeps as base64.

        :raises ValueError: when it is no base64.
        """
        try:
            decoded = base64.b64decode("".join(encoded.split()), validate=True)
        except binascii.Error as error:
            raise ValueError("user_data is no base64") from error
        return cls(hashlib.sha256(decoded).hexdigest(), len(decoded))


@dataclass(frozen=True)
class DatabaseFacts:
    """What the databases told when a plan was made.

    :param schemes: source user id to the scheme of its hash, of all local users (``""``: a hash of no known form; users
        without a password are left out); None: the old Keystone's database is not named or cannot be read.
    :param verdicts: scheme to whether the destination reads it; empty when that could not be tried.
    :param can_write: whether the destination's Keystone database is at hand.
    :param user_data: source server id to its ``user_data``; None: Nova's database is not named or cannot be read.
    :param unreadable: ids of servers whose ``user_data`` is damaged.
    :param problems: databases that are named but cannot be used, with the reason and the remedy.
    """

    schemes: Mapping[str, str] | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    can_write: bool = False
    user_data: Mapping[str, UserData] | None = None
    unreadable: frozenset[str] = frozenset()
    problems: tuple[tuple[str, str, str], ...] = ()


def read_facts(
    databases: Databases,
    destination: Cloud,
    *,
    user_ids: Collection[str],
    server_ids: Iterable[str],
    verdicts: dict[str, Verdict],
) -> DatabaseFacts:
    """Ask the databases of a site; tries the destination out when there are hashes to carry (see ``try_schemes``).

    :param user_ids: source users whose hashes matter.
    :param server_ids: source servers whose ``user_data`` matters.
    :param verdicts: what was tried before; what is tried now is added.
    """
    schemes, can_write, user_data = None, False, None
    problems: list[tuple[str, str, str]] = []
    unreadable: set[str] = set()
    try:
        source = databases.source_keystone
        if source is not None:
            schemes = {user_id: found.ident for user_id, found in source.hashes().items() if found is not None}
    except DatabaseError as error:
        problems.append(_problem("source.databases.keystone", error))
    try:
        target = databases.destination_keystone
        if target is not None:
            if schemes is not None:
                idents = {ident for user_id, ident in schemes.items() if user_id in user_ids and ident}
                verdicts.update(try_schemes(destination, target, idents - verdicts.keys()))
            can_write = True
    except CloudError as error:
        problems.append(_problem("destination.databases.keystone", error))
    try:
        nova = databases.source_nova
        if nova is not None:
            stored = nova.user_data(server_ids)
            user_data = {}
            for server_id, encoded in stored.items():
                try:
                    user_data[server_id] = UserData.of(encoded)
                except ValueError:
                    unreadable.add(server_id)
    except DatabaseError as error:
        problems.append(_problem("source.databases.nova", error))
    return DatabaseFacts(schemes, dict(verdicts), can_write, user_data, frozenset(unreadable), tuple(problems))


def unusable(databases: Databases) -> tuple[tuple[str, str, str], ...]:
    """Which named databases cannot be used, with the reason and the remedy (reads only, asks no cloud)."""
    asked: dict[str, Callable[[], object]] = {
        "source.databases.keystone": lambda: (there := databases.source_keystone) and there.hashes(),
        "source.databases.nova": lambda: (there := databases.source_nova) and there.user_data(()),
        "destination.databases.keystone": lambda: (there := databases.destination_keystone) and there.hash_of(""),
    }
    problems = []
    for key, ask in asked.items():
        try:
            ask()
        except DatabaseError as error:
            problems.append(_problem(key, error))
    return tuple(problems)


def _problem(key: str, error: CloudError) -> tuple[str, str, str]:
    return key, error.message, error.remedy or "correct that entry of site.yaml, or take it out."
