"""Nova's quotas and limits."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pumphouse.lab.source.nova import Nova
from pumphouse.lab.source.state import DEFAULT_QUOTA, Flavor, State, now
from pumphouse.lab.source.wire import ApiFault, json_answer, stamp


def used(state: State, project_id: str) -> dict[str, int]:
    """What a project uses of its countable quotas, as far as Nova's own count of it is right."""
    servers = [s for s in state.live_servers() if s.project_id == project_id]
    flavors = [state.flavors[s.flavor_id] for s in servers if s.flavor_id in state.flavors]
    counted = {
        "instances": len(servers),
        "cores": sum(f.vcpus for f in flavors),
        "ram": sum(f.ram for f in flavors),
        "floating_ips": sum(1 for f in state.floating_ips.values() if f.project_id == project_id),
        "security_groups": sum(1 for g in state.groups.values() if g.project_id == project_id),
    }
    drift = state.quota_drift.get(project_id, {})
    return {key: max(value + drift.get(key, 0), 0) for key, value in counted.items()}


def check_server_quota(state: State, project_id: str, flavor: Flavor, metadata: dict[str, Any], count: int) -> None:
    """413 when the servers do not fit."""
    limits, held = state.quota(project_id), used(state, project_id)
    if 0 <= limits["metadata_items"] < len(metadata):
        raise ApiFault(413, f"Maximum number of metadata items exceeds {limits['metadata_items']}", retry_after="0")
    wanted = {"instances": count, "cores": count * flavor.vcpus, "ram": count * flavor.ram}
    for kind, amount in wanted.items():
        if 0 <= limits[kind] < held[kind] + amount:
            raise ApiFault(
                413,
                f"Quota exceeded for {kind}: Requested {amount}, "
                f"but already used {held[kind]} of {limits[kind]} {kind}",
                retry_after="0",
            )


def add_routes(app: web.Application, nova: Nova) -> None:
    """Mount the quotas."""
    api = Quotas(nova)
    get, put = app.router.add_get, app.router.add_put
    get("/v2/{project}/os-quota-sets/{id}", api.show)
    get("/v2/{project}/os-quota-sets/{id}/defaults", api.defaults)
    put("/v2/{project}/os-quota-sets/{id}", api.update)
    app.router.add_delete("/v2/{project}/os-quota-sets/{id}", api.delete)
    get("/v2/{project}/os-quota-class-sets/{id}", api.quota_class)
    get("/v2/{project}/limits", api.limits)


class Quotas:
    """The handlers."""

    def __init__(self, nova: Nova) -> None:
        self.nova = nova
        self.state = nova.state

    async def show(self, request: web.Request) -> web.Response:
        """GET /os-quota-sets/PROJECT, for the project itself and administrators; any id has quotas."""
        project_id = request.match_info["id"]
        if project_id != self.nova.caller(request).project_id:
            self.nova.require_admin(request, "compute_extension:quotas:show")
        return json_answer({"quota_set": {"id": project_id, **self.state.quota(project_id)}})

    async def defaults(self, request: web.Request) -> web.Response:
        """GET /os-quota-sets/PROJECT/defaults"""
        return json_answer({"quota_set": {"id": request.match_info["id"], **DEFAULT_QUOTA}})

    async def update(self, request: web.Request) -> web.Response:
        """PUT /os-quota-sets/PROJECT; a limit below what is used needs ``force``."""
        self.nova.require_admin(request, "compute_extension:quotas:update")
        project_id = request.match_info["id"]
        given = await self.nova.body(request, "quota_set")
        force = str(given.pop("force", "")).lower() == "true"
        given.pop("tenant_id", None)
        unknown = sorted(set(given) - set(DEFAULT_QUOTA))
        if unknown:
            raise ApiFault(400, f"Bad key(s) in quota set: {','.join(unknown)}")
        held, limits = used(self.state, project_id), {}
        for key, value in given.items():
            if value is None:
                continue
            try:
                limits[key] = int(value)
            except (TypeError, ValueError):
                raise ApiFault(400, f"Quota '{value}' for {key} should be integer.") from None
            if limits[key] < -1:
                raise ApiFault(400, "Quota limit must be -1 or greater.")
            if not force and 0 <= limits[key] < held.get(key, 0):
                raise ApiFault(
                    400, f"Quota value {limits[key]} for {key} are greater than already used and reserved {held[key]}"
                )
        self.state.quotas.setdefault(project_id, {}).update(limits)
        return json_answer({"quota_set": self.state.quota(project_id)})

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /os-quota-sets/PROJECT: back to the defaults."""
        self.nova.require_admin(request, "compute_extension:quotas:delete")
        self.state.quotas.pop(request.match_info["id"], None)
        return web.Response(status=202, headers={"Content-Type": "text/html; charset=UTF-8"})

    async def quota_class(self, request: web.Request) -> web.Response:
        """GET /os-quota-class-sets/NAME"""
        return json_answer({"quota_class_set": {"id": request.match_info["id"], **DEFAULT_QUOTA}})

    async def limits(self, request: web.Request) -> web.Response:
        """GET /limits: the caller's project's limits and use; since Havana administrators ask for any."""
        project_id = self.nova.caller(request).project_id
        asked = request.query.get("tenant_id")
        if asked is None or self.state.release.name == "grizzly":
            asked = project_id
        elif asked != project_id:
            self.nova.require_admin(request, "compute_extension:used_limits_for_admin")
        limits, held = self.state.quota(project_id), used(self.state, asked)
        absolute = {
            "maxImageMeta": limits["metadata_items"],
            "maxPersonality": limits["injected_files"],
            "maxPersonalitySize": limits["injected_file_content_bytes"],
            "maxSecurityGroupRules": limits["security_group_rules"],
            "maxSecurityGroups": limits["security_groups"],
            "maxServerMeta": limits["metadata_items"],
            "maxTotalCores": limits["cores"],
            "maxTotalFloatingIps": limits["floating_ips"],
            "maxTotalInstances": limits["instances"],
            "maxTotalKeypairs": limits["key_pairs"],
            "maxTotalRAMSize": limits["ram"],
            "totalCoresUsed": held["cores"],
            "totalFloatingIpsUsed": held["floating_ips"],
            "totalInstancesUsed": held["instances"],
            "totalRAMUsed": held["ram"],
            "totalSecurityGroupsUsed": held["security_groups"],
        }
        return json_answer({"limits": {"rate": self._rates(self.nova.caller(request).user_id), "absolute": absolute}})

    def _rates(self, user_id: str) -> list[dict[str, Any]]:
        limiter = self.state.limiter
        if not limiter.active:
            return []
        rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for limit in limiter.limits:
            rows.setdefault((limit.uri, limit.regex), []).append(
                {
                    "verb": limit.verb,
                    "value": limit.value,
                    "remaining": limiter.remaining(user_id, limit),
                    "unit": limit.unit.upper(),
                    "next-available": stamp(now()),
                }
            )
        return [{"uri": uri, "regex": regex, "limit": limits} for (uri, regex), limits in rows.items()]
