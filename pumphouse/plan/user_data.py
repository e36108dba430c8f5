"""Planning ``user_data``, which only Nova's database tells; and what databases could not be asked."""

from __future__ import annotations

from typing import Any

from pumphouse.model import Server
from pumphouse.plan.draft import Draft


def user_data_param(draft: Draft, server: Server) -> dict[str, Any]:
    """The boot's parameter: digest and length only, since ``user_data`` may hold secrets; empty when there is none."""
    found = (draft.databases.user_data or {}).get(server.id)
    if server.id in draft.databases.unreadable:
        draft.block(
            "user-data-damaged",
            f"server {server.name}",
            f"({server.id}) has user_data in Nova's database that is no base64: no guest can have understood it.",
            "accept `user-data-damaged` to boot it without, or leave it out.",
        )
    if found is None:
        return {}
    return {"user_data": {"sha256": found.sha256, "size_bytes": found.size_bytes}}


def note_databases(draft: Draft) -> None:
    """Say once per plan what is not known for want of a database, and which named ones could not be asked."""
    for key, message, remedy in draft.databases.problems:
        draft.block(
            "database-unusable",
            key,
            f"is named in site.yaml, but of no use: {message}",
            f"{remedy} Or accept `database-unusable`: what it would have told is lost then.",
        )
    booted = sorted(server.name for server in draft.servers if f"boot:{server.id}" in draft.steps)
    if draft.databases.user_data is None and booted:
        some = ", ".join(booted[:5]) + (f" and {len(booted) - 5} more" if len(booted) > 5 else "")
        draft.warn(
            "user-data-unknown",
            "user_data",
            f"that these servers may have been booted with is not carried, since no API shows it: {some}.",
            "name Nova's database in site.yaml (source.databases.nova), if their images read user_data at first boot.",
        )
