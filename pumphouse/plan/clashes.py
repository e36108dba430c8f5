"""What is done about a project or user of the destination that has the name of one to carry: the site's policy.

``refuse`` blocks (an operator may accept it and move into what is there), ``adopt`` takes what is there if it is equal
in what matters and refuses it otherwise, ``rename`` makes ours under another name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from pumphouse.model import Project, User
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

Named = TypeVar("Named", Project, User)


@dataclass(frozen=True)
class Place:
    """Where an object goes: its name there, and the id of what has that name and is not ours (adopted), if any."""

    name: str
    adopts: str | None = None
    ours: bool = False

    @property
    def is_new(self) -> bool:
        """Whether it has yet to be made."""
        return self.adopts is None and not self.ours


def project_place(draft: Draft, project: Project) -> Place:
    """Where a project goes; says what is in the way."""
    return _place(draft, "project", project, draft.destination.projects, _projects_differ)


def user_place(draft: Draft, user: User) -> Place:
    """Where a user goes; says what is in the way."""
    return _place(draft, "user", user, draft.destination.users, _users_differ)


def new_name(draft: Draft, name: str) -> str:
    """The name that the site's rule makes of one that is taken."""
    return draft.site.rename.replace("{name}", name)


def _place(
    draft: Draft, kind: str, mine: Named, there: Iterable[Named], differ: Callable[[Named, Named], list[str]]
) -> Place:
    by_source = [found for found in there if found.source_id == mine.id]
    if by_source:
        return Place(by_source[0].name, ours=True)
    known = _named(there, mine.name)
    if known is None:
        return Place(mine.name)
    label, cloud, policy = f"{kind} {mine.name}", draft.destination.facts.cloud, draft.site.clashes[f"{kind}s"]
    if policy == "rename":
        name = new_name(draft, mine.name)
        if _named(there, name) is None:
            draft.notes.append(
                Note(label, f"is called {name} at the destination, as site.yaml has it: its name is taken ({known.id})")
            )
            return Place(name)
        draft.block(
            f"{kind}-exists",
            label,
            f"{cloud} has {kind}s {known.name} ({known.id}) and {name} that pumphouse did not make.",
            "rename them there, or change destination.rename in site.yaml.",
        )
        return Place(mine.name, adopts=known.id)
    differs = differ(mine, known)
    if policy == "adopt" and differs:
        draft.block(
            f"{kind}-differs",
            label,
            f"{cloud} has a {kind} of that name ({known.id}) that pumphouse did not make and that differs: "
            f"{'; '.join(differs)}.",
            f"make the two equal, or let site.yaml say destination.clashes.{kind}s: rename (or refuse).",
        )
    elif policy == "adopt":
        stays = "; it stays, with its own password" if kind == "user" else "; the servers move into it"
        draft.warn(
            f"{kind}-exists",
            label,
            f"{cloud} has a {kind} of that name ({known.id}) that is not ours, but equal in what matters{stays}.",
        )
    else:
        said = f", differing in {'; '.join(differs)}" if differs else ""
        draft.block(
            f"{kind}-exists",
            label,
            f"{cloud} has a {kind} of that name ({known.id}) that pumphouse did not make{said}.",
            f"accept `{kind}-exists` to {'move into it' if kind == 'project' else 'give it the roles'}, or rename one "
            f"of the two; or set destination.clashes.{kind}s in site.yaml to adopt or rename.",
        )
    return Place(known.name, adopts=known.id)


def _named(there: Iterable[Named], name: str) -> Named | None:
    """The one of exactly that name, else one that differs in case only: a current Keystone takes both for the same."""
    exact = [found for found in there if found.name == name]
    folded = [found for found in there if found.name.casefold() == name.casefold()]
    return next(iter(exact + folded), None)


def _projects_differ(mine: Project, known: Project) -> list[str]:
    return [*_common(mine, known), *_made_from_another(known)]


def _users_differ(mine: User, known: User) -> list[str]:
    differs = [*_common(mine, known), *_made_from_another(known)]
    if mine.email and known.email and mine.email.casefold() != known.email.casefold():
        differs.append(f"e-mail {mine.email} here, {known.email} there")
    return differs


def _common(mine: Project | User, known: Project | User) -> list[str]:
    differs = []
    if mine.name != known.name:
        differs.append(f"name {mine.name} here, {known.name} there")
    if mine.enabled != known.enabled:
        differs.append(f"{_state(mine)} here, {_state(known)} there")
    return differs


def _made_from_another(known: Project | User) -> list[str]:
    return [f"made from {known.source_id} of a source"] if known.source_id is not None else []


def _state(one: Project | User) -> str:
    return "enabled" if one.enabled else "disabled"
