"""Planning flavors: an equal one is adopted, and a clash is decided by site.yaml, never by accident."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from pumphouse.model import Flavor, Server
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Fields in which two flavors must agree, beside their extra specs, for one to stand for the other.
SAME = ("vcpus", "ram_mib", "disk_gib", "ephemeral_gib", "swap_mib", "rxtx_factor", "is_public", "extra_specs")


def add_flavor(draft: Draft, server: Server) -> str | None:
    """The server's flavor; None when it is gone, or when another is in its place and may not be passed by."""
    flavor = draft.source.flavor(server.flavor_id)
    if flavor is None:
        draft.block(
            "flavor-missing",
            f"server {server.name}",
            f"its flavor {server.flavor_id or '(Nova tells none)'} was deleted in the source, so that its size is "
            f"unknown.",
            "leave the server out, or make a flavor of that id again in the source.",
        )
        return None
    key = f"flavor:{flavor.id}"
    if key in draft.steps:
        return key
    access = [p for p in flavor.access_project_ids if f"project:{p}" in draft.steps]
    if not flavor.is_public and server.project_id not in access and f"project:{server.project_id}" in draft.steps:
        # access was taken away since the server was booted: its copy has to be booted all the same
        access.append(server.project_id)
        draft.notes.append(
            Note(f"flavor {flavor.name}", f"is opened to the project of {server.name}, which has lost its access since")
        )
    _say_what_is_left_out(draft, flavor, access)
    placed = _place(draft, flavor)
    if placed is None:
        return None
    flavor_id, name = placed
    document: dict[str, Any] = {
        **asdict(flavor),
        "id": flavor_id,
        "name": name,
        "access_project_ids": sorted(access),
        "extra_specs": dict(sorted(flavor.extra_specs.items())),
    }
    return draft.add(
        key,
        title=f"flavor {name}",
        needs=tuple(f"project:{p}" for p in access),
        params={"source_id": flavor.id, "flavor": document},
        undo="deleted, if pumphouse made it",
    )


def _say_what_is_left_out(draft: Draft, flavor: Flavor, access: list[str]) -> None:
    label = f"flavor {flavor.name}"
    dropped = sorted(set(flavor.access_project_ids) - set(access))
    if dropped:
        names = ", ".join(p.name if (p := draft.source.project(i)) else i for i in dropped)
        draft.notes.append(Note(label, f"access of projects that are not moved is left out: {names}"))
    if flavor.disabled:
        draft.notes.append(Note(label, "is disabled in the source; its copy is not, since no API can disable one"))


def _place(draft: Draft, flavor: Flavor) -> tuple[str, str] | None:
    """Id and name at the destination; None when what is there is in the way and site.yaml says to refuse."""
    there = draft.destination
    same_id = next((f for f in there.flavors if f.id == flavor.id), None)
    # the databases of most clouds take names that differ in case for one
    alike = [f for f in there.flavors if f.name.casefold() == flavor.name.casefold() and f.id != flavor.id]
    same_name = next((f for f in alike if f.name == flavor.name), next(iter(alike), None))
    if same_id is not None and same_id.name == flavor.name and _alike(flavor, same_id):
        return flavor.id, flavor.name
    if same_id is None and same_name is None:
        return flavor.id, flavor.name
    label, policy = f"flavor {flavor.name}", draft.site.clashes.get("flavors", "refuse")
    if policy == "adopt" and same_name is not None and _alike(flavor, same_name):
        draft.notes.append(
            Note(
                label, f"is not made: {there.facts.cloud} has an equal one of that name, {same_name.id}, which is used"
            )
        )
        return same_name.id, same_name.name
    if policy == "rename":
        return _renamed(draft, flavor, taken=same_id is not None)
    if same_id is not None:
        differs = ", ".join(_differences(flavor, same_id))
        draft.block(
            "flavor-id-taken",
            label,
            f"{there.facts.cloud} has a flavor of its id {flavor.id} with other {differs}.",
            "change the one at the destination, or set destination.clashes.flavors in site.yaml to `rename`: the copy "
            "gets an id and a name of its own then.",
        )
    else:
        differs = ", ".join(_differences(flavor, same_name)) if same_name else ""
        draft.block(
            "flavor-name-taken",
            label,
            f"{there.facts.cloud} has a flavor of that name with another id, {same_name.id if same_name else ''}"
            f"{f', and other {differs}' if differs else ', otherwise equal'}.",
            "rename the one at the destination, or set destination.clashes.flavors in site.yaml: `adopt` uses an equal "
            "one, `rename` gives the copy another name.",
        )
    return None


def _renamed(draft: Draft, flavor: Flavor, *, taken: bool) -> tuple[str, str] | None:
    """Another name by site.yaml's rule, and another id if the source's is taken; always the same for one flavor."""
    facts = draft.source.facts
    name = draft.site.rename.format(name=flavor.name)
    flavor_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{facts.cloud}/flavors/{flavor.id}")) if taken else flavor.id
    for found in draft.destination.flavors:
        if (found.id == flavor_id or found.name == name) and not (
            found.id == flavor_id and found.name == name and _alike(flavor, found)
        ):
            draft.block(
                "flavor-name-taken",
                f"flavor {flavor.name}",
                f"{draft.destination.facts.cloud} has a flavor {found.name} ({found.id}) in the renamed copy's place.",
                "rename the one at the destination, or change destination.rename in site.yaml.",
            )
            return None
    draft.notes.append(
        Note(f"flavor {flavor.name}", f"becomes {name} ({flavor_id}): another flavor has its place at the destination")
    )
    return flavor_id, name


def _alike(one: Flavor, other: Flavor) -> bool:
    return not _differences(one, other, names=False)


def _differences(one: Flavor, other: Flavor, *, names: bool = True) -> list[str]:
    fields = (*(("name",) if names and one.id == other.id else ()), *SAME)
    return [name for name in fields if getattr(one, name) != getattr(other, name)]
