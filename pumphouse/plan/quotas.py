"""Planning compute quotas: limits that somebody gave a project in the source."""

from __future__ import annotations

from collections.abc import Mapping

from pumphouse.model import Project
from pumphouse.plan.draft import Draft
from pumphouse.plan.model import Note

#: Quotas that Nova keeps on either side, by the same names. The network's are Neutron's at the destination.
COMPUTE = (
    "instances",
    "cores",
    "ram",
    "metadata_items",
    "key_pairs",
    "injected_files",
    "injected_file_content_bytes",
    "injected_file_path_bytes",
    "server_groups",
    "server_group_members",
)


def given_limits(draft: Draft, project: Project) -> dict[str, int]:
    """A project's compute limits that are not the source's defaults."""
    quota, default = draft.source.quota(project.id), draft.source.default_quota
    if quota is None or default is None:
        return {}
    return {
        name: quota.limits[name]
        for name in COMPUTE
        if name in quota.limits and quota.limits[name] != default.limits.get(name)
    }


def add_quota(draft: Draft, project: Project) -> str | None:
    """The step that gives a project its limits; None when it has the defaults, or stays as it is at the destination.

    ``destination.quotas`` in site.yaml says whose are set: of projects that pumphouse ``made`` (by default), of
    ``all``, of ``none``.
    """
    limits = given_limits(draft, project)
    if not limits:
        return None
    name = draft.steps[f"project:{project.id}"].params["name"]
    there = draft.destination.project_named(name)
    ours = there is None or there.source_id == project.id
    if draft.site.quotas == "none" or (draft.site.quotas == "made" and not ours):
        why = "site.yaml says so" if draft.site.quotas == "none" else "the project was there before"
        draft.notes.append(Note(f"project {project.name}", f"keeps the destination's compute quota, because {why}"))
        return None
    by_hand = _set_by_hand(draft, there, limits) if there is not None else {}
    if by_hand:
        text = f"keeps the {_words(by_hand)} that it was given at the destination; the source's {_words(limits)}"
        draft.notes.append(Note(f"project {project.name}", text))
        limits = {key: value for key, value in limits.items() if key not in by_hand}
    if not limits:
        return None
    return draft.add(
        f"quota:{project.id}",
        title=f"quota of {name}: {_words(limits)}",
        needs=(f"project:{project.id}",),
        params={"source_id": project.id, "name": name, "limits": limits},
        undo="set back to what it was",
    )


def _set_by_hand(draft: Draft, there: Project, limits: Mapping[str, int]) -> dict[str, int]:
    """Limits that neither are the destination's defaults nor ours: somebody decided about them."""
    quota, default = draft.destination.quota(there.id), draft.destination.default_quota
    if quota is None or default is None:
        return {}
    return {
        key: quota.limits[key]
        for key, value in limits.items()
        if key in quota.limits and quota.limits[key] not in (value, default.limits.get(key))
    }


def _words(limits: Mapping[str, int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in limits.items())
