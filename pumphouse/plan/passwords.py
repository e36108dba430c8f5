"""Planning passwords: whose hash is carried, who gets a one-time secret and why, and when which of them is in force."""

from __future__ import annotations

from dataclasses import dataclass

from pumphouse.databases import scheme_name
from pumphouse.model import Server, User
from pumphouse.plan.clashes import Place
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note


@dataclass(frozen=True)
class Fate:
    """What happens to a user's password.

    ``ident`` is the scheme of the hash that is put in place at the end, None when it is none of the source's.
    ``secret``: the one-time secret can be in force while its servers boot. ``lent``: its own hash is set aside then.
    """

    secret: bool
    ident: str | None = None
    lent: bool = False


def fate_of(draft: Draft, user: User, place: Place) -> Fate:
    """What happens to the password of a user (asks no cloud)."""
    if place.adopts is not None:
        return Fate(secret=False)
    if place.is_new or place.name in draft.secrets:
        ident, _ = _carried(draft, user)
        return Fate(secret=True, ident=ident)
    lent = place.name in draft.held and draft.databases.can_write
    return Fate(secret=lent, lent=lent)


def note_password(draft: Draft, user: User, place: Place) -> None:
    """Say in the plan what happens to it."""
    fate = fate_of(draft, user, place)
    label = f"user {user.name}"
    if fate.ident is not None:
        _, why = _carried(draft, user)
        draft.notes.append(
            Note(label, f"keeps its password: the hash is carried ({why}); a one-time secret until its servers serve")
        )
    elif place.is_new:
        _, why = _carried(draft, user)
        draft.notes.append(Note(label, f"gets a one-time password (hand-over file): {why}"))


def add_secret(draft: Draft, server: Server, acting: dict[str, object]) -> tuple[str, ...]:
    """The step that puts its owner's secret in force before a server stops, where it will not stay in force."""
    user = draft.source.user(server.user_id)
    if acting["as"] != "owner" or user is None:
        return ()
    place = draft.places[user.id]
    fate = fate_of(draft, user, place)
    if not fate.lent and fate.ident is None:
        return ()
    if fate.lent:
        draft.notes.append(
            Note(
                f"user {user.name}",
                "cannot log in at the destination from the first stop until its servers of this plan serve: its "
                "password is set aside for that time",
            )
        )
    key = draft.add(
        f"secret:{user.id}",
        phase="cutover",
        title=f"one-time secret of {place.name} in force while its servers boot",
        needs=(f"user:{user.id}",),
        params={"user_id": user.id, "name": place.name},
        undo="the user's own password again",
    )
    return (key,)


def add_passwords(draft: Draft) -> None:
    """The steps that put users' own passwords in place; call it when all servers are planned."""
    for key in [key for key in draft.steps if key.startswith("user:")]:
        user = draft.source.user(key.partition(":")[2])
        if user is None:
            continue
        place = draft.places[user.id]
        fate = fate_of(draft, user, place)
        lent = f"secret:{user.id}" in draft.steps
        if fate.ident is None and not lent:
            continue
        served = [
            settle
            for server in draft.servers
            if server.user_id == user.id and (settle := f"settle:{server.id}") in draft.steps
        ]
        draft.add(
            f"password:{user.id}",
            phase="cutover",
            title=f"own password of {place.name} in place",
            needs=(key, *served, *((f"secret:{user.id}",) if lent else ())),
            params={"user_id": user.id, "name": place.name, "ident": fate.ident},
            undo="the one-time secret again, unless the user has another password by then",
        )


def _carried(draft: Draft, user: User) -> tuple[str | None, str]:
    """The scheme in which the user's hash can be carried, or None; and why."""
    facts, cloud = draft.databases, draft.destination.facts.cloud
    if facts.schemes is None:
        return None, "no API carries password hashes, and site.yaml names no usable source.databases.keystone"
    if not facts.can_write:
        return None, "no API carries password hashes, and site.yaml names no usable destination.databases.keystone"
    if user.id not in facts.schemes:
        return None, "it has no password in the old Keystone's database (another identity backend keeps it, if any)"
    ident = facts.schemes[user.id]
    verdict = facts.verdicts.get(ident)
    if verdict is None:
        return None, f"its hash is of {scheme_name(ident)}, with which {cloud} could not be tried"
    if not verdict.accepted:
        return None, f"it would be locked out with its old hash: {verdict.evidence}"
    return ident, verdict.evidence
