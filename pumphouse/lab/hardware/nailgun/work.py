"""What takes time: deployments, removals, stops, resets and network checks, and what they do to machines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pumphouse.lab.hardware.fleet import Deployment, Fleet
from pumphouse.lab.hardware.nailgun.layout import leave
from pumphouse.lab.hardware.nailgun.networks import give_addresses
from pumphouse.lab.hardware.nailgun.state import Cluster, Node, State, Task

Pause = Callable[[float], Awaitable[None]]
_STEPS = 4


@dataclass(frozen=True)
class Durations:
    """Seconds, before the world's scale. ``keepalive_s`` is how long a silent node still counts as online."""

    agent_s: float = 2.0
    provision_s: float = 4.0
    deploy_s: float = 4.0
    verify_s: float = 0.5
    wipe_s: float = 1.0
    keepalive_s: float = 20.0


class Failure(Exception):
    """What Astute reports when work on nodes fails.

    :param error_type: ``provision`` or ``deploy``.
    """

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message


class Work:
    """Runs what was asked for, in the background.

    :param pause: waits that many seconds, however long those are.
    """

    def __init__(self, state: State, fleet: Fleet, durations: Durations, pause: Pause) -> None:
        self.state, self.fleet, self.durations, self.pause = state, fleet, durations, pause
        self._under_way: dict[asyncio.Task[None], Task | None] = {}

    # --- running things

    def begin(self, work: Coroutine[Any, Any, None], task: Task | None = None) -> None:
        """Run in the background; ``task`` is what a stop finds it by."""
        running = asyncio.get_running_loop().create_task(work)
        self._under_way[running] = task
        running.add_done_callback(lambda done: self._under_way.pop(done, None))

    def cancel(self, cluster_id: int) -> None:
        """End what is under way for an environment."""
        for running, task in list(self._under_way.items()):
            if task is not None and task.cluster == cluster_id:
                running.cancel()

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._under_way)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(list(self._under_way))

    async def close(self) -> None:
        """End everything."""
        running = list(self._under_way)
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- deployments

    def deploy(self, cluster: Cluster, task: Task, nodes: list[Node], leaving: list[Node]) -> None:
        """Begin what ``changes`` asks for: remove, provision, deploy. Nailgun shows the new roles at once."""
        self.state.task("check_networks", cluster.id, task).end("ready")
        removal = self.state.task("node_deletion", cluster.id, task) if leaving else None
        parts = [self.state.task(name, cluster.id, task) for name in (("provision", "deployment") if nodes else ())]
        cluster.status = "deployment" if nodes or self.state.traits.number >= (8, 0) else cluster.status
        # an error of the deployment leaves the operating system in place: such a node is not provisioned again
        blank = [node for node in nodes if (node.status, node.error_type) != ("error", "deploy")]
        for node in nodes:
            node.roles = [*node.roles, *(role for role in node.pending_roles if role not in node.roles)]
            node.pending_roles, node.pending_addition = [], False
            node.status, node.progress = "provisioning" if node in blank else "provisioned", 0
            node.was_deployed = True
        give_addresses(self.state, cluster, nodes)
        self.begin(self._changes(cluster, task, parts, nodes, blank, leaving, removal), task)

    async def _changes(
        self,
        cluster: Cluster,
        task: Task,
        parts: list[Task],
        nodes: list[Node],
        blank: list[Node],
        leaving: list[Node],
        removal: Task | None,
    ) -> None:
        await self.pause(0)
        for one in (task, *parts):
            one.status = "running"
        said = []
        if removal is not None:
            await self._remove(leaving)
            removal.end("ready", _removed(len(leaving)))
            said.append(_removed(len(leaving)))
        try:
            if parts:
                provision, deployment = parts
                await self._provision(blank)
                provision.end("ready", self._done("Provision", cluster) if self.state.traits.number >= (8, 0) else None)
                said += [provision.message] if provision.message else []
                task.progress = 100
                await self._deploy(cluster, nodes)
                deployment.end("ready", self._done("Deployment", cluster))
                said.append(str(deployment.message))
        except Failure as failure:
            self._fail(cluster, task, parts, nodes, failure)
            return
        cluster.status = "operational"
        cluster.deployed_before = True
        cluster.changes = []
        task.end("ready", "\n".join(said))
        if nodes:
            self.state.notify("done", str(task.message), cluster=cluster.id)

    def _fail(self, cluster: Cluster, task: Task, parts: list[Task], nodes: list[Node], failure: Failure) -> None:
        """One failed node takes all nodes of the task with it, those too that 8.0 merely goes through again."""
        message = failure.message
        if failure.error_type == "deploy" or self.state.traits.number >= (8, 0):
            message = f"{'Deployment' if failure.error_type == 'deploy' else 'Provision'} has failed. {message}"
        again = [node for node in self.state.members(cluster.id) if node.status == "deploying" and node not in nodes]
        for node in nodes + again:
            node.status, node.error_type = "error", failure.error_type
        for part in parts:
            if not part.is_over:
                is_it = part.name == ("deployment" if failure.error_type == "deploy" else "provision")
                part.end("error", message if is_it else "Task aborted")
        cluster.status = "error"
        task.end("error", message)
        self.state.notify("error", message, cluster=cluster.id)

    async def _provision(self, nodes: list[Node]) -> None:
        for step in range(1, _STEPS + 1):
            await self.pause(self.durations.provision_s / _STEPS)
            for node in nodes:
                node.progress = 100 * step // _STEPS
                if step == 1:
                    self._answers(node, "bootstrap", "provision")
        for node in nodes:
            if node.machine is not None:
                self._answers(node, "bootstrap", "provision")
                await self.fleet.install(node.machine, "destination")
            node.status, node.progress = "provisioned", 100

    async def _deploy(self, cluster: Cluster, nodes: list[Node]) -> None:
        # 8.0 sends all nodes of the environment through the deployment again
        others = [n for n in self.state.members(cluster.id) if n.status == "ready" and n not in nodes]
        everybody = nodes + (others if self.state.traits.number >= (8, 0) else [])
        for node in everybody:
            node.status, node.progress = "deploying", 0
        for step in range(1, _STEPS + 1):
            await self.pause(self.durations.deploy_s / _STEPS)
            for node in everybody:
                node.progress = 100 * step // _STEPS
            for node in nodes:
                if node.machine is not None and step == 2 and "deploy-error" in node.machine.staged:
                    raise Failure("deploy", f"Method granular_deploy. Deployment failed on {node.slug}")
                self._answers(node, "destination", "deploy")
        for node in everybody:
            node.status, node.progress = "ready", 100
        first = cluster.status == "deployment" and not cluster.deployed_before
        for node in nodes:
            if node.machine is not None:
                await self.fleet.serve(node.machine, node.hostname or node.slug, tuple(node.roles))
        if first and any("controller" in node.roles for node in nodes):
            await self.fleet.open(self._opened(cluster))

    def _opened(self, cluster: Cluster) -> Deployment:
        access = cluster.attributes["editable"]["access"]
        ranges = cluster.networks["networking_parameters"].get("floating_ranges") or []
        return Deployment(
            environment=cluster.name,
            vip=self.public_address(cluster),
            username=access["user"]["value"],
            password=access["password"]["value"],
            tenant=access["tenant"]["value"],
            net_provider=cluster.net_provider,
            floating=(ranges[0][0], ranges[-1][1]) if ranges else None,
        )

    def public_address(self, cluster: Cluster) -> str:
        """Where the environment answers: its virtual address, or its only controller's own."""
        if cluster.mode == "multinode":
            controllers = [node for node in self.state.members(cluster.id) if "controller" in node.roles]
            return next((node.addresses.get("public", "") for node in controllers), "")
        return cluster.vips.get("public", "")

    def _done(self, what: str, cluster: Cluster) -> str:
        text = f"{what} of environment '{cluster.name}' is done. "
        if self.state.traits.number <= (6, 1):
            text += f"Access the OpenStack dashboard (Horizon) at http://{self.public_address(cluster)}/"
        return text

    def _answers(self, node: Node, runs: str, error_type: str) -> None:
        machine = node.machine
        if machine is not None and (machine.runs != runs or not self.fleet.in_admin_vlan(machine)):
            failed = (
                "Method provision. Failed to provision"
                if error_type == "provision"
                else "Method granular_deploy. Deployment failed on"
            )
            raise Failure(error_type, f"{failed} {node.slug}: it does not answer")

    # --- single phases

    def provision(self, cluster: Cluster, task: Task, nodes: list[Node]) -> None:
        """Begin ``provision?nodes=``; pending roles stay until the deployment."""
        for node in nodes:
            node.status, node.progress, node.pending_addition, node.was_deployed = "provisioning", 0, False, True
        give_addresses(self.state, cluster, nodes)
        self.begin(self._phase(cluster, task, nodes, self._provision(nodes), "Provision"), task)

    def deploy_only(self, cluster: Cluster, task: Task, nodes: list[Node]) -> None:
        """Begin ``deploy?nodes=``."""
        for node in nodes:
            node.roles = [*node.roles, *(role for role in node.pending_roles if role not in node.roles)]
            node.pending_roles, node.pending_addition, node.was_deployed = [], False, True
        give_addresses(self.state, cluster, nodes)
        self.begin(self._phase(cluster, task, nodes, self._deploy(cluster, nodes), "Deployment"), task)

    async def _phase(
        self, cluster: Cluster, task: Task, nodes: list[Node], work: Coroutine[Any, Any, None], what: str
    ) -> None:
        task.status = "running"
        try:
            await work
        except Failure as failure:
            self._fail(cluster, task, [], nodes, failure)
            return
        says = what == "Deployment" or self.state.traits.number >= (8, 0)
        task.end("ready", self._done(what, cluster) if says else None)

    # --- the way back

    def stop(self, cluster: Cluster, task: Task) -> None:
        """Begin ``stop_deployment``: its nodes go back to discovery; an idle environment becomes stopped as well."""
        self.cancel(cluster.id)
        self.begin(self._stop(cluster, task), task)

    async def _stop(self, cluster: Cluster, task: Task) -> None:
        await self.pause(self.durations.wipe_s)
        for node in self.state.members(cluster.id):
            if node.status in ("provisioning", "provisioned", "deploying"):
                await self._back(node)
        cluster.status = "stopped"
        unfinished = {t.id for t in self.state.tasks.values() if t.cluster == cluster.id and t.name == "deploy"}
        self.state.tasks = {
            key: t for key, t in self.state.tasks.items() if key not in unfinished and t.parent not in unfinished
        }
        task.end(
            "ready",
            f"Deployment of environment '{cluster.name}' was successfully stopped. "
            "Please reset the environment if you want to redeploy it.",
        )

    def reset(self, cluster: Cluster, task: Task) -> None:
        """Begin ``reset``: all nodes go back to discovery."""
        parts = []
        if self.state.traits.number >= (8, 0):
            parts = [self.state.task("reset_environment", cluster.id, task) for _ in range(2)]
        self.begin(self._reset(cluster, task, parts), task)

    async def _reset(self, cluster: Cluster, task: Task, parts: list[Task]) -> None:
        await self.pause(self.durations.wipe_s)
        for node in self.state.members(cluster.id):
            await self._back(node)
        cluster.status = "new"
        fresh = self.state.traits.document("cluster")["changes"]
        cluster.changes += [entry for entry in fresh if entry not in cluster.changes]
        for one in (*parts, task):
            one.end("ready", f"Environment '{cluster.name}' was successfully reset")

    async def _back(self, node: Node) -> None:
        """A node of an environment goes back to discovery, and stays in it."""
        node.pending_roles = [*node.pending_roles, *(role for role in node.roles if role not in node.pending_roles)]
        node.roles, node.pending_addition, node.pending_deletion = [], True, False
        node.status, node.online = "discover", node.machine is None
        node.addresses.clear()
        await self._wipe(node)

    async def _remove(self, nodes: list[Node]) -> None:
        await self.pause(self.durations.wipe_s)
        for node in nodes:
            await self.forget(node)

    async def forget(self, node: Node) -> None:
        """A node is erased and forgotten; its agent tells of it again from the bootstrap image, under a new id."""
        leave(self.state, node)
        self.state.nodes.pop(node.id, None)
        if node.was_deployed:
            await self._wipe(node)

    async def _wipe(self, node: Node) -> None:
        machine = node.machine
        if machine is not None and machine.runs in ("bootstrap", "destination"):
            # Astute erases the boot sector and reboots; Cobbler's PXE server then takes the machine
            await self.fleet.install(machine, "blank")
            self.fleet.choose_boot(machine, "pxe")
            await self.fleet.reset(machine)

    def remove_now(self, nodes: list[Node], task: Task | None) -> None:
        """Begin the removal of single nodes."""

        async def work() -> None:
            await self._remove(nodes)
            if task is not None:
                task.end("ready", _removed(len(nodes)))

        self.begin(work(), task)

    def delete(self, cluster: Cluster) -> None:
        """Begin the deletion of an environment, and of what was installed for it."""
        self.cancel(cluster.id)
        cluster.status = "remove"

        async def work() -> None:
            await self.pause(self.durations.wipe_s)
            await self._remove([node for node in self.state.members(cluster.id) if node.was_deployed])
            for node in self.state.members(cluster.id):
                leave(self.state, node)
            self.state.clusters.pop(cluster.id, None)
            self.state.tasks = {key: t for key, t in self.state.tasks.items() if t.cluster != cluster.id}

        self.begin(work())

    def verify(self, cluster: Cluster, task: Task) -> None:
        """Begin a check of the networks; every online node reaches the others in the lab."""
        names = ["check_dhcp"]
        if self.state.traits.number >= (6, 1):
            names += ["check_repo_availability", "check_repo_availability_with_setup"]
        parts = [self.state.task(name, cluster.id, task) for name in names]

        async def work() -> None:
            if self.state.traits.number <= (6, 0):
                task.result = []
            await self.pause(self.durations.verify_s)
            silent = [node.name for node in self.state.members(cluster.id) if not node.online]
            for part in parts:
                part.end("ready")
            if silent:
                task.end("error", f"Node(s) {', '.join(silent)} did not return data.")
            else:
                task.end("ready")

        self.begin(work(), task)


def _removed(count: int) -> str:
    return f"Successfully removed {count} node(s). No errors occurred"
