"""An environment of Fuel's: made or adopted, given its slice of the Public network, deployed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from pumphouse.errors import StepError
from pumphouse.nodes.fuel import Fuel, FuelEnvironment, FuelNode, NetworkConfiguration
from pumphouse.plan.hardware.fuel_master import PROVIDER
from pumphouse.plan.hardware.slices import overlaps, used_addresses
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import environment_of, require_dark, same_machine
from pumphouse.steps.hardware.install import awaken, is_pending
from pumphouse.steps.hardware.usage import networks_of

#: Networks of Fuel's that carry its own traffic, on the same wires as the source's.
_OWN = ("management", "storage")
_TAKEN = ("provisioning", "provisioned", "deploying", "ready")


class MakeEnvironment(Step):
    """Make the environment; one of that name that is as wanted is adopted."""

    kind = "fuel-environment"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """There already, with that system, mode, provider and segmentation; another one of that name is refused."""
        with ctx.nodes.fuel() as fuel:
            found = fuel.find_environment(step.params["name"])
            if found is None:
                return None
            release = _release(fuel, step)
            _require(fuel, found, step, release)
        return {"environment_id": found.id, "release_id": found.release_id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make it of the newest available release for that operating system."""
        with ctx.nodes.fuel() as fuel:
            made = fuel.create_environment(
                step.params["name"],
                _release(fuel, step),
                mode=step.params["mode"],
                net_provider=PROVIDER,
                net_segment_type=step.params["segment"],
            )
        return {"environment_id": made.id, "release_id": made.release_id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again: it is as wanted, of the release of which it was made or adopted."""
        with ctx.nodes.fuel() as fuel:
            found = environment_of(fuel, step.params["name"])
            differences = _differences(fuel, found, step, outcome["release_id"])
        expect(f"environment {found.name}", {"differences": ([], differences)})
        return {"environment_id": found.id, "status": found.status, "release_id": found.release_id}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete it, unless something is deployed in it."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.fuel() as fuel:
            found = fuel.find_environment(step.params["name"])
            if found is None:
                return {"gone": True}
            fuel.delete_environment(found.id, timeout_s=ctx.site.action_timeout_s)
        return {"deleted": found.id}


def _release(fuel: Fuel, step: PlannedStep) -> int:
    system = step.params["operating_system"]
    found = fuel.find_release(system)
    if found is None:
        known = sorted({one.operating_system for one in fuel.list_releases() if one.available})
        raise StepError(
            f"{fuel.name} has no release for {system} that can be deployed.",
            remedy=f"choose another operating system: {', '.join(known) or 'none is available'}.",
        )
    return found.id


def _differences(fuel: Fuel, found: FuelEnvironment, step: PlannedStep, release_id: int) -> list[str]:
    return fuel.differences(found, release_id, step.params["mode"], PROVIDER, step.params["segment"])


def _require(fuel: Fuel, found: FuelEnvironment, step: PlannedStep, release_id: int) -> None:
    differences = _differences(fuel, found, step, release_id)
    if differences:
        raise StepError(
            f"Environment {found.name} of {fuel.name} exists, and {'; '.join(differences)}.",
            remedy="choose another name for the environment, or what that one has.",
        )


class ShareNetworks(Step):
    """Give the environment its slice of the Public network, which the source is asked about once more before."""

    kind = "fuel-networks"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """As wanted already."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            now = fuel.network_configuration(environment.id)
            if _shown(now) == _wanted(step):
                return {"environment_id": environment.id}
            if environment.status in ("operational", "deployment"):
                raise StepError(
                    f"Environment {environment.name} is {environment.status} with other networks: "
                    f"{_told(_shown(now))} instead of {_told(_wanted(step))}.",
                    remedy="give the slices that it has (public.ip_range, public.floating_range), or another name.",
                )
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Set them, if the source uses none of these addresses at this moment."""
        params = step.params
        _still_free(ctx, step)
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, params["environment"])
            now = fuel.network_configuration(environment.id)
            _apart(now, params["private"])
            internal = ipaddress.IPv4Network(params["internal_cidr"])
            public = {
                "cidr": params["cidr"],
                "gateway": params["gateway"],
                "vlan_start": params["vlan"],
                "ip_ranges": [params["ip_range"]],
            }
            parameters = {
                "floating_ranges": [params["floating_range"]],
                "internal_cidr": str(internal),
                "internal_gateway": str(internal[1]),
            }
            fuel.set_network_configuration(environment.id, now.edited({"public": public}, parameters))
        return {"environment_id": environment.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again."""
        with ctx.nodes.fuel() as fuel:
            now = _shown(fuel.network_configuration(environment_of(fuel, step.params["environment"]).id))
        wanted = _wanted(step)
        expect(f"networks of {step.params['environment']}", {name: (wanted[name], now[name]) for name in wanted})
        return {name: str(value) for name, value in now.items()}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """They go with their environment."""
        return {"kept": "until the environment is deleted"}


def _wanted(step: PlannedStep) -> dict[str, Any]:
    params = step.params
    return {
        "cidr": params["cidr"],
        "gateway": params["gateway"],
        "vlan": params["vlan"],
        "ip_ranges": [tuple(params["ip_range"])],
        "floating_ranges": [tuple(params["floating_range"])],
        "internal_cidr": params["internal_cidr"],
    }


def _shown(now: NetworkConfiguration) -> dict[str, Any]:
    public = now.network("public")
    return {
        "cidr": public.cidr if public else "",
        "gateway": public.gateway if public else "",
        "vlan": public.vlan if public else None,
        "ip_ranges": [tuple(one) for one in public.ip_ranges] if public else [],
        "floating_ranges": [tuple(one) for one in now.parameters.get("floating_ranges") or ()],
        "internal_cidr": now.parameters.get("internal_cidr"),
    }


def _told(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _still_free(ctx: Context, step: PlannedStep) -> None:
    params = step.params
    used = used_addresses(networks_of(ctx.source, ctx.site.hardware).used, params["cidr"])
    ours = used_addresses(["-".join(params["ip_range"]), "-".join(params["floating_range"])], params["cidr"])
    if used & ours:
        named = ", ".join(sorted(used & ours)[:3])
        raise StepError(
            f"{ctx.source.name} uses addresses of the slice that Fuel was to get: {named}.",
            remedy="make the plan again: it chooses another slice.",
        )


def _apart(now: NetworkConfiguration, private: dict[str, str]) -> None:
    for name in _OWN:
        network = now.network(name)
        clashing = overlaps(network.cidr, private.values()) if network is not None and network.cidr else ()
        if clashing and network is not None:
            raise StepError(
                f"Fuel's {name} network {network.cidr} overlaps the source's {', '.join(clashing)}.",
                remedy=f"change the environment's {name} network in Fuel, then run again.",
            )


class DeployEnvironment(Step):
    """Deploy the environment with exactly the nodes of the plan: their disks are overwritten."""

    kind = "fuel-deploy"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Deployed already; or refuse, while nothing was overwritten."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            nodes = [same_machine(fuel, node) for node in step.params["nodes"]]
            if environment.status == "operational" and all(node.status == "ready" for node in nodes):
                return {"environment_id": environment.id, "task_id": None}
            _exactly(fuel, environment, nodes)
        for node, known in zip(step.params["nodes"], nodes, strict=True):
            if node["host"] and known.status not in _TAKEN:
                require_dark(ctx, node["host"])
        if not any(known.status in _TAKEN for known in nodes):
            # it gives these addresses out, and days may have gone by since they were free
            for need in ctx.plan.steps:
                if need.kind == ShareNetworks.kind and need.params["environment"] == environment.name:
                    _still_free(ctx, need)
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Deploy, or take up the deployment that an earlier run began; wait for its task and all nodes."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            known = [same_machine(fuel, node) for node in step.params["nodes"]]
            ids = [node.id for node in known]
            running = fuel.running_task(environment.id)
            if running is not None:
                task_id = running.id
                ctx.report(f"Fuel deploys {environment.name} already (task {task_id}): it is waited for.")
            else:
                pairs = zip(step.params["nodes"], known, strict=True)
                awaken(ctx, fuel, [(_bootable(ctx, node), one) for node, one in pairs if one.status != "ready"])
                _exactly(fuel, environment, known)  # that may have taken minutes
                task_id = fuel.deploy_changes(environment.id)
            fuel.wait_task(task_id, node_ids=ids, report=ctx.report)
        return {"environment_id": environment.id, "task_id": task_id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The environment works, every node is ready."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            states = {node["node"]: same_machine(fuel, node).status for node in step.params["nodes"]}
            endpoint = fuel.endpoint(environment.id) if environment.status == "operational" else None
        expect(
            f"environment {environment.name}",
            {"status": ("operational", environment.status), **{name: ("ready", s) for name, s in states.items()}},
        )
        return {"status": environment.status, "nodes": states, "auth_url": endpoint.auth_url if endpoint else None}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Cannot be undone."""
        raise StepError(
            f"Environment {step.params['environment']} was deployed: its nodes' disks were overwritten.",
            remedy="reset or delete it in Fuel by hand if it is not wanted.",
        )


def _exactly(fuel: Fuel, environment: FuelEnvironment, nodes: Sequence[FuelNode]) -> None:
    """Deploying the environment is for these nodes, for all of them, and for nobody else's (read only)."""
    ids = {node.id for node in nodes}
    members = fuel.list_nodes(environment.id)
    strangers = [n.name for n in members if n.pending_deletion or (n.id not in ids and is_pending(n))]
    absent = [node.name for node in nodes if node.environment_id != environment.id]
    for what, names in (("would be deployed or removed as well", strangers), ("is not in it now", absent)):
        if names:
            raise StepError(
                f"Environment {environment.name}: {', '.join(names)} {what}.",
                remedy="find out who changed it in Fuel, then run again.",
            )


def _bootable(ctx: Context, node: dict[str, Any]) -> dict[str, Any]:
    """A node with the time that it has for its boot."""
    return {**node, "timeout_s": ctx.plan.step(f"node-discovered:{node['node']}").params["timeout_s"]}
