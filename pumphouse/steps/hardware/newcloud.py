"""The cloud that Fuel deployed becomes the destination: its credentials are written down, and it is looked at."""

from __future__ import annotations

import hmac
import time
from pathlib import Path
from typing import Any

from pumphouse.cloudsyaml import find_entry, remove_entry, write_entry
from pumphouse.errors import CloudError, StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import environment_of
from pumphouse.steps.hardware.hosts import names_of

POLL_S = 1.0
REGION = "RegionOne"
COMPUTE = "nova-compute"


class WriteDestination(Step):
    """Write the new cloud's endpoint and administrator into ``clouds.yaml`` and ``secure.yaml``."""

    kind = "destination-entry"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """There already and the same; another cloud of that name is refused."""
        cloud = step.params["cloud"]
        entry, secret = find_entry(_file(ctx), cloud)
        if entry is None and secret is None:
            return None
        wanted, hidden = _told(ctx, step)
        if entry is not None and secret is not None and _same(entry, wanted) and _same_secret(secret, hidden):
            return {"cloud": cloud, "auth_url": wanted["auth"]["auth_url"]}
        if ctx.journal.made_by_us(step.key):
            return None  # a crash between the two files
        there = (entry or {}).get("auth", {}).get("auth_url", "no address")
        raise StepError(
            f"clouds.yaml has an entry {cloud} already, for {there}; Fuel tells {wanted['auth']['auth_url']}, or the "
            "credentials differ.",
            remedy=f"rename or remove that entry, or let site.yaml name another one (destination.cloud: {cloud}).",
        )

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Read them from Fuel, write both files."""
        entry, secret = _told(ctx, step)
        write_entry(_file(ctx), step.params["cloud"], entry, secret)
        return {"cloud": step.params["cloud"], "auth_url": entry["auth"]["auth_url"]}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The file says what Fuel told; log in with it."""
        entry, _ = find_entry(_file(ctx), step.params["cloud"])
        there = ((entry or {}).get("auth") or {}).get("auth_url")
        expect(f"entry {step.params['cloud']} of clouds.yaml", {"auth_url": (outcome["auth_url"], there)})
        facts = ctx.destination.facts
        return {"auth_url": outcome["auth_url"], "user": facts.user_name, "network service": facts.network_service}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Remove the entries."""
        if not ours:
            return {"kept": True}
        return {"removed": remove_entry(_file(ctx), step.params["cloud"])}


def _file(ctx: Context) -> Path:
    if ctx.site.clouds_yaml is None:
        raise StepError(
            "site.yaml does not say which clouds.yaml the destination is to be written into.",
            remedy="name it there (clouds_yaml).",
        )
    return ctx.site.clouds_yaml


def _told(ctx: Context, step: PlannedStep) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entries of clouds.yaml and secure.yaml, from Fuel (read only)."""
    with ctx.nodes.fuel() as fuel:
        environment = environment_of(fuel, step.params["environment"])
        endpoint, access = fuel.endpoint(environment.id), fuel.credentials(environment.id)
    auth = {
        "auth_url": endpoint.auth_url,
        "username": access.user,
        "project_name": access.tenant,
        "user_domain_id": "default",
        "project_domain_id": "default",
    }
    entry: dict[str, Any] = {"auth_type": "password", "auth": auth, "region_name": REGION}
    if step.params["cacert"]:
        entry["cacert"] = step.params["cacert"]
    return entry, {"auth": {"password": access.password}}


def _same(entry: Any, wanted: dict[str, Any]) -> bool:
    auth = entry.get("auth") or {}
    return all(auth.get(key) == wanted["auth"][key] for key in ("auth_url", "username", "project_name"))


def _same_secret(secret: Any, wanted: dict[str, Any]) -> bool:
    known = str((secret.get("auth") or {}).get("password", ""))
    return hmac.compare_digest(known.encode(), str(wanted["auth"]["password"]).encode())


class ProveDestination(Step):
    """See the new cloud work: its services are up, and every node that became a compute host is one."""

    kind = "destination-proved"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Always looked at anew."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Wait until its compute hosts have reported."""
        names = {node["node"]: names_of(ctx, node) for node in step.params["nodes"]}
        end = time.monotonic() + ctx.site.action_timeout_s
        while True:
            up = _computes(ctx)
            hosts = {node: known & {*up} for node, known in names.items()}
            if all(hosts.values()):
                return {"computes": up, "nodes": {node: min(found) for node, found in hosts.items()}}
            if time.monotonic() > end:
                lacking = ", ".join(node for node, found in hosts.items() if not found)
                raise StepError(
                    f"{ctx.destination.name} has no nova-compute that is up and enabled on {lacking}; it has those of "
                    f"{', '.join(up) or 'no host'}.",
                    remedy="look at nova-compute on the new nodes; run again when it is up.",
                )
            time.sleep(POLL_S)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """An inventory in short: services, hosts, networks, projects, images."""
        try:
            networks = [network.name for network in ctx.destination.network.list_networks()]
            found = {
                "services": sorted({s.binary for s in ctx.destination.compute.list_services() if s.state == "up"}),
                "hosts": _computes(ctx),
                "networks": sorted(networks),
                "projects": len(ctx.destination.identity.list_projects()),
                "images": len(ctx.destination.images.list_images()),
            }
        except CloudError as error:
            raise StepError(
                f"{ctx.destination.name} does not answer as a cloud: {error.message}", remedy=error.remedy
            ) from error
        down = sorted({*outcome["nodes"].values()} - {*_computes(ctx)})
        expect(ctx.destination.name, {"new compute hosts that are down": ([], down)})
        return found

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {"kept": True}


def _computes(ctx: Context) -> list[str]:
    services = ctx.destination.compute.list_services()
    return sorted(s.host for s in services if s.binary == COMPUTE and s.state == "up" and s.status == "enabled")
