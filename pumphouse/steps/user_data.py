"""A server's ``user_data``: read from the old Nova's database when it is needed, compared with what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pumphouse.databases import UserData
from pumphouse.errors import PlanStale, StepError
from pumphouse.steps.base import Context


def user_data_of(ctx: Context, params: Mapping[str, Any]) -> str | None:
    """What to boot with (base64), or None when the plan says that there is none (reads the source's database).

    :param params: of a boot: ``user_data`` holds digest and length, ``source_id`` and ``name`` the server.
    :raises PlanStale: when it is not what was planned.
    :raises StepError: when the database is not named any more.
    """
    planned = params.get("user_data")
    if planned is None:
        return None
    nova = ctx.databases.source_nova
    if nova is None:
        raise StepError(
            f"Server {params['name']} ({params['source_id']}) has user_data, but site.yaml does not name "
            f"{ctx.source.name}'s Nova database any more.",
            remedy="put source.databases.nova back into site.yaml; then run again.",
        )
    found = nova.user_data([params["source_id"]]).get(params["source_id"])
    if found is None or UserData.of(found).sha256 != planned["sha256"]:
        raise PlanStale(
            f"The user_data of server {params['name']} ({params['source_id']}) of {ctx.source.name} is not what was "
            f"planned ({planned['size_bytes']} bytes, SHA-256 {planned['sha256'][:12]}…).",
            remedy="somebody changed it in Nova's database: make and approve the plan of that server again.",
        )
    return found


def compared_user_data(ctx: Context, params: Mapping[str, Any], server_id: str) -> dict[str, tuple[Any, Any]]:
    """Digests of a copy's ``user_data`` as ``expect`` takes them: planned and found; empty where Nova does not tell."""
    found = ctx.destination.compute.find_user_data(server_id)
    if found is None:
        return {}
    planned = params.get("user_data", {}).get("sha256")
    return {"SHA-256 of its user_data": (planned, UserData.of(found).sha256 if found else None)}
