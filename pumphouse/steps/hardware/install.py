"""A node in Fuel: discovered, given its role, deployed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pumphouse.errors import NodeTimeout, StepError
from pumphouse.nodes.fuel import Fuel, FuelNode
from pumphouse.nodes.spec import Hardware
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import environment_of, require_dark, require_same_serial, same_machine
from pumphouse.steps.hardware.power import boot_by_pxe, forget_in_fuel, serves_again, switched_back_on

#: Seconds between two looks at a node that boots.
POLL_S = 1.0
#: States of a node whose disks Fuel has begun to overwrite, or has overwritten.
_TAKEN = ("provisioning", "provisioned", "deploying", "ready")


class DiscoverNode(Step):
    """Wait until Fuel has discovered the machine that was meant: all its MACs and its serial."""

    kind = "node-discovered"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself: a record of Fuel's may be older than the machine's boot."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Wait; a node that did not show the last time is booted by PXE once more."""
        with ctx.nodes.fuel() as fuel:
            known = fuel.find_node(step.params["macs"], step.params["serial"])
            taken = known is not None and known.environment_id is not None  # by somebody else, and it may serve by now
            if not taken and _waited_before(ctx, step) and not (_is_there(known) and _has_power(ctx, step.params)):
                ctx.report(f"{step.params['node']} was not discovered the last time: it boots by PXE once more.")
                boot_by_pxe(ctx, dict(step.params))
            node = fuel.wait_discovered(
                step.params["macs"], step.params["serial"], timeout_s=step.params["timeout_s"], report=ctx.report
            )
        if not _has_power(ctx, step.params):
            raise StepError(
                f"Fuel calls node {step.params['node']} online, but its BMC says that it has no power: it lost it "
                "after it had booted.",
                remedy="find out who switched it off; run again, which boots it once more.",
            )
        return {"fuel_id": node.id}

    def stands(self, ctx: Context, step: PlannedStep) -> bool:
        """Unless Fuel forgot it, or misses it before an environment has it."""
        with ctx.nodes.fuel() as fuel:
            node = fuel.find_node(step.params["macs"], step.params["serial"])
        return node is not None and (node.online or _is_in_hand(node))

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """All MACs and the serial, read again; one that an environment has, or had, may be silent."""
        with ctx.nodes.fuel() as fuel:
            node = same_machine(fuel, step.params)
        if not _is_in_hand(node):
            expect(f"node {step.params['node']} in Fuel", {"online": (True, node.online)})
        found = {"fuel_id": node.id, "macs": list(node.macs), "serial": node.serial, "status": node.status}
        return {**found, "online": node.online}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Switch it off and forget the record, which belongs to no environment any more."""
        with ctx.nodes.fuel() as fuel:
            node = fuel.find_node(step.params["macs"], step.params["serial"])
        if node is None:
            return {"gone": True}
        if node.environment_id is None and not serves_again(ctx, step.params["node"]):
            with ctx.nodes.bmc(step.params["node"]) as bmc:
                require_same_serial(step.params, bmc)
                bmc.set_power("off")
        return forget_in_fuel(ctx, step.params["node"])


def _waited_before(ctx: Context, step: PlannedStep) -> bool:
    """Whether an earlier run waited for this very boot."""
    mine = [e.id for e in ctx.journal.events(plan_hash=ctx.plan.hash, step_key=step.key) if e.event == "intent"]
    on = ctx.journal.events(plan_hash=ctx.plan.hash, step_key=f"node-on:{step.params['node']}")
    return len(mine) > 1 and max((e.id for e in on if e.event == "done"), default=0) < mine[-2]


def _is_there(node: FuelNode | None) -> bool:
    return node is not None and node.is_free and node.is_complete


def _is_in_hand(node: FuelNode) -> bool:
    """Whether an environment has it, or Fuel began to install it: what it runs then is not for us to say."""
    return node.environment_id is not None or node.status != "discover"


def _has_power(ctx: Context, params: Mapping[str, Any]) -> bool:
    with ctx.nodes.bmc(params["node"]) as bmc:
        require_same_serial(params, bmc)
        return bmc.power() == "on"


class AssignNode(Step):
    """Give the node its role in the environment, and its interfaces and disks."""

    kind = "node-assign"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place only when it is deployed already; before that the layout is set (again)."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            node = same_machine(fuel, step.params)
        if node.environment_id not in (None, environment.id):
            raise StepError(
                f"Node {step.params['node']} is node {node.id} of environment {node.environment_id} in Fuel, not of "
                f"{environment.name}.",
                remedy="take it out of that environment in Fuel, or correct the environment's name.",
            )
        done = node.environment_id == environment.id and node.status in _TAKEN
        return {"fuel_id": node.id, "environment_id": environment.id} if done else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Assign, name, lay out: each is read back by Fuel's client."""
        params = step.params
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, params["environment"])
            node = same_machine(fuel, params)
            fuel.assign(environment.id, {node.id: params["roles"]})
            fuel.set_node_name(node.id, params["node"])
            if params["template"]:
                template = find_template(fuel, ctx.site.hardware, params["template"])
                fuel.copy_layout(template.id, node.id, disks=params["copy_disks"])
            if params["interfaces"]:
                fuel.set_interfaces(node.id, _interfaces(fuel.interfaces(node.id), params["interfaces"]))
            if params["disks"]:
                fuel.set_disks(node.id, _disks(fuel.disks(node.id), params["disks"]))
        return {"fuel_id": node.id, "environment_id": environment.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Environment, roles and layout, read again."""
        with ctx.nodes.fuel() as fuel:
            node = same_machine(fuel, step.params)
            layout = _told(fuel.interfaces(node.id), fuel.disks(node.id))
        roles = sorted({*node.roles, *node.pending_roles})
        expect(
            f"node {step.params['node']} in Fuel",
            {
                "environment": (outcome["environment_id"], node.environment_id),
                "roles": (sorted(step.params["roles"]), roles),
            },
        )
        return {"fuel_id": node.id, "roles": roles, **layout}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Take it out of the environment, while nothing was installed on it."""
        if not ours:
            return {"kept": True}
        with ctx.nodes.fuel() as fuel:
            node = fuel.find_node(step.params["macs"], step.params["serial"])
            if node is None or node.environment_id is None:
                return {"gone": True}
            if node.status in _TAKEN:
                raise StepError(
                    f"Node {step.params['node']} is {node.status} in Fuel: its disks were overwritten.",
                    remedy="finish its transfer; it cannot be given back any more.",
                )
            fuel.unassign(node.environment_id, [node.id])
        return {"unassigned": node.id}


class DeployNode(Step):
    """Deploy the environment's pending changes, which are this node's and nobody else's: its disks are overwritten.

    Everything is asked once more: the machine is the one that was meant, and the source holds nothing on it.
    """

    kind = "node-deploy"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Ready already; or refuse, while nothing was overwritten."""
        params = step.params
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, params["environment"])
            node = same_machine(fuel, params)
            if node.environment_id != environment.id:
                raise StepError(
                    f"Node {params['node']} (node {node.id} of Fuel) is not in environment {environment.name} now.",
                    remedy="find out who took it out; then transfer it with a new plan.",
                )
            if node.status == "ready":
                return {"fuel_id": node.id, "environment_id": environment.id, "task_id": None}
            if node.status not in _TAKEN:
                _alone(fuel, environment.id, node)
        if params["host"] and node.status not in _TAKEN:
            require_dark(ctx, params["host"])
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Deploy, or take up the deployment that an earlier run began; wait for its task and the node."""
        with ctx.nodes.fuel() as fuel:
            environment = environment_of(fuel, step.params["environment"])
            node = same_machine(fuel, step.params)
            running = fuel.running_task(environment.id)
            # Fuel checks for a while before it touches the node, which is no longer pending then
            taken_up = node.status in _TAKEN or (node.status == "discover" and not node.pending_addition)
            if running is not None and taken_up:
                task_id = running.id
                ctx.report(f"Fuel deploys {step.params['node']} already (task {task_id}): it is waited for.")
            else:
                awaken(ctx, fuel, [(step.params, node)])
                if node.status not in _TAKEN:
                    _alone(fuel, environment.id, node)  # that may have taken minutes
                task_id = fuel.deploy_changes(environment.id)
            fuel.wait_task(task_id, node_ids=[node.id], report=ctx.report)
        return {"fuel_id": node.id, "environment_id": environment.id, "task_id": task_id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The node is ready with its roles, and the environment works."""
        with ctx.nodes.fuel() as fuel:
            node = same_machine(fuel, step.params)
            environment = environment_of(fuel, step.params["environment"])
        expect(
            f"node {step.params['node']} in Fuel",
            {
                "status": ("ready", node.status),
                "roles": (sorted(step.params["roles"]), sorted(node.roles)),
                "environment": ("operational", environment.status),
            },
        )
        return {"status": node.status, "fqdn": node.fqdn, "task_id": outcome["task_id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Cannot be undone."""
        raise StepError(
            f"Node {step.params['node']} was deployed: its disk does not hold the source's system any more.",
            remedy="install it at the source anew, if it is to go back.",
        )


def awaken(ctx: Context, fuel: Fuel, nodes: Sequence[tuple[Mapping[str, Any], FuelNode]]) -> None:
    """See that all nodes can be deployed: nothing is, without power, or after a provisioning that failed (changes the
    nodes).

    What Fuel has not begun to install boots the bootstrap image again, and so does what it failed to provision;
    anything else has Fuel's system on its disk.

    :param nodes: as for :func:`bootstrap_again`, each with what Fuel says of it.
    """
    dark = [known.id for params, known in nodes if not _has_power(ctx, params)]
    again, off = [], []
    for params, known in nodes:
        if _lost_provisioning(known) or (known.id in dark and known.status == "discover"):
            again.append(params)
        elif known.id in dark:
            off.append(params)
    if again:
        bootstrap_again(ctx, fuel, again)
    for params in off:
        ctx.report(f"{params['node']} has no power: it boots from the disk that Fuel installed.")
        switched_back_on(ctx, params)
    for params in off:
        _wait_online(fuel, params)


def _lost_provisioning(node: FuelNode) -> bool:
    return node.status == "error" and node.error_type == "provision"


def bootstrap_again(ctx: Context, fuel: Fuel, nodes: Sequence[Mapping[str, Any]]) -> None:
    """A node on which provisioning failed, or that has no power, must be in the bootstrap image to be installed.

    :param nodes: of each ``node``, ``macs``, ``serial``, ``host``, and ``timeout_s`` for its boot.
    """
    for params in nodes:
        ctx.report(f"{params['node']} boots Fuel's bootstrap image again.")
        with ctx.nodes.bmc(params["node"]) as bmc:
            require_same_serial(params, bmc)
            bmc.set_power("off")
    for params in nodes:
        boot_by_pxe(ctx, dict(params))
    for params in nodes:
        _wait_online(fuel, params)


def _wait_online(fuel: Fuel, params: Mapping[str, Any]) -> None:
    end = time.monotonic() + params["timeout_s"]
    while not same_machine(fuel, params).online:
        if time.monotonic() > end:
            raise NodeTimeout(
                f"{fuel.name} calls node {params['node']} offline still, {params['timeout_s']:g} s after it was "
                "switched on.",
                remedy="look at its console; run again when it is mended.",
            )
        time.sleep(POLL_S)


def is_pending(node: FuelNode) -> bool:
    """Whether deploying its environment installs or removes it: one on which provisioning failed is installed again."""
    return node.pending_addition or node.pending_deletion or _lost_provisioning(node)


def _alone(fuel: Fuel, environment_id: int, node: FuelNode) -> None:
    """Deploying is for everything that is pending in the environment: somebody else's changes are none of ours."""
    others = [other.name for other in fuel.list_nodes(environment_id) if other.id != node.id and is_pending(other)]
    if others:
        raise StepError(
            f"Environment {environment_id} of {fuel.name} has pending changes of other nodes: {', '.join(others)}. "
            "Deploying would carry them out as well.",
            remedy="let their owner deploy or discard them in Fuel, then run again.",
        )


def find_template(fuel: Fuel, hardware: Hardware, name: str) -> FuelNode:
    """A node to copy a layout from: by its name in Fuel, else in site.yaml (read only).

    :raises StepError: when that names none, or several.
    """
    found = [node for node in fuel.list_nodes() if name in (node.name, node.fqdn, node.hostname)]
    if not found and name in hardware.nodes:
        spec = hardware.nodes[name]
        known = fuel.find_node(spec.macs, spec.serial)
        found = [known] if known is not None else []
    if len(found) != 1:
        raise StepError(
            f"{fuel.name} has {len(found)} nodes called {name}, which is to be copied from.",
            remedy="name one node as Fuel or site.yaml does (fuel.template_node), or give a layout.",
        )
    return found[0]


def _interfaces(now: list[dict[str, Any]], wanted: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    networks = {str(net["name"]): net for nic in now for net in nic.get("assigned_networks", [])}
    known = {str(nic["name"]) for nic in now}
    unknown = [*(set(wanted) - known), *({name for names in wanted.values() for name in names} - networks.keys())]
    if unknown:
        raise StepError(
            f"The layout names interfaces or networks that Fuel does not show: {', '.join(sorted(unknown))}.",
            remedy=f"use interfaces {', '.join(sorted(known))} and networks {', '.join(sorted(networks))}.",
        )
    return [{**nic, "assigned_networks": [networks[n] for n in wanted.get(str(nic["name"]), [])]} for nic in now]


def _disks(now: list[dict[str, Any]], wanted: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    unknown = set(wanted) - {str(disk["name"]) for disk in now}
    if unknown:
        raise StepError(
            f"The layout names disks that Fuel does not show: {', '.join(sorted(unknown))}.",
            remedy=f"use {', '.join(sorted(str(disk['name']) for disk in now))}.",
        )
    return [
        {
            **disk,
            "volumes": [
                {**volume, "size": wanted.get(str(disk["name"]), {}).get(str(volume["name"]), volume["size"])}
                for volume in disk["volumes"]
            ],
        }
        for disk in now
    ]


def _told(nics: list[dict[str, Any]], disks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "interfaces": {
            str(nic["name"]): sorted(str(net["name"]) for net in nic.get("assigned_networks", [])) for nic in nics
        },
        "disks": {
            str(disk["name"]): {str(v["name"]): v["size"] for v in disk["volumes"] if v["size"]} for disk in disks
        },
    }
