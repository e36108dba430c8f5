"""Planning keypairs."""

from __future__ import annotations

import re
from typing import Any

from pumphouse.model import Keypair, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: What Nova takes as the name of a keypair from Folsom on (below microversion 2.92).
KEYPAIR_NAME = re.compile(r"[_\- a-zA-Z0-9]{1,255}")


def add_keypair(
    draft: Draft, server: Server, acting: dict[str, Any], needs: tuple[str, ...]
) -> tuple[str | None, str | None]:
    """(key of the step, name to boot with); (None, None) for a server without key."""
    if server.key_name is None:
        return None, None
    found = draft.source.keypair(server.user_id, server.key_name)
    if found is None:
        draft.block(
            "keypair-unknown",
            f"server {server.name}",
            f"its keypair {server.key_name} of {acting['user_name']} cannot be read: Nova shows it to its owner.",
            "name that user's credentials in site.yaml, source.owners; or accept `keypair-unknown`: no key then.",
        )
        return None, None
    operator = acting["as"] == "operator"
    if operator:
        for other in draft.steps.values():
            same = other.kind == "keypair" and other.params["as"] == "operator" and other.params["name"] == found.name
            if same and other.params["public_key"] != found.public_key:
                draft.block(
                    "keypair-clash",
                    f"server {server.name}",
                    f"its keypair {found.name} and another of that name, of {other.params['user_name']}, would both "
                    f"become the operator's.",
                    "see `owner-not-kept`: let one of the two users boot at the destination, or leave the server out.",
                )
                return None, None
    who = f"@operator:{acting['project_id']}" if operator else acting["user_id"]
    key = draft.add(
        f"keypair:{who}:{found.name}",
        title=f"keypair {found.name} of {acting['user_name']}",
        needs=needs,
        params={**acting, "name": found.name, "public_key": found.public_key},
        undo="deleted, if pumphouse imported it",
    )
    return key, found.name


def add_other_keypairs(draft: Draft) -> None:
    """All known keypairs of the users that go along, beside those that servers boot with; call it after these.

    One that cannot be imported is noted: nothing that moves needs it.
    """
    older = draft.destination.facts.network_service != "neutron"
    for step in [step for step in draft.steps.values() if step.kind == "user" and step.params["adopts"] is None]:
        user_id, name = step.params["source_id"], step.params["name"]
        granted = [s for s in draft.steps.values() if s.kind == "assignment" and s.params["user_id"] == user_id]
        for found in draft.source.keypairs_of(user_id):
            why = _unfit(found, only_its_user_could=older and not step.params["enabled"])
            if why:
                draft.notes.append(Note(f"keypair {found.name} of {name}", f"is not carried: {why}"))
                continue
            project_id = granted[0].params["project_id"]
            acting = {"user_id": user_id, "user_name": name, "project_id": project_id, "as": "owner"}
            draft.add(
                f"keypair:{user_id}:{found.name}",
                title=f"keypair {found.name} of {name}",
                needs=tuple(s.key for s in granted if s.params["project_id"] == project_id),
                params={**acting, "name": found.name, "public_key": found.public_key},
                undo="deleted, if pumphouse imported it",
            )


def _unfit(found: Keypair, *, only_its_user_could: bool) -> str:
    if found.type != "ssh":
        return "it is no SSH key"
    if not KEYPAIR_NAME.fullmatch(found.name):
        return "Nova takes only letters, digits, blank, - and _ in such names since 2012"
    return "its user is disabled, and only it could import it" if only_its_user_could else ""
