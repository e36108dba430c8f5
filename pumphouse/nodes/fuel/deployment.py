"""Work of Fuel's: deployments, tasks and waiting for them."""

from __future__ import annotations

from collections.abc import Iterable

from pumphouse.errors import NodeTimeout, NodeUnreachable
from pumphouse.nodes.fuel import parse
from pumphouse.nodes.fuel.model import FuelNode, FuelTask
from pumphouse.nodes.fuel.reading import Doc
from pumphouse.nodes.fuel.verbs import Report, Verbs, silent

_BUSY = ("pending", "running")
_ENVIRONMENT_WORK = frozenset({"deploy", "deployment", "provision", "stop_deployment", "reset_environment", "update"})
_DEPLOYING = ("deploy", "deployment", "provision")
_ADOPT_LOOKS = 5
_STEP = 20


class Deployment(Verbs):
    """The verbs for tasks."""

    def task(self, task_id: int) -> FuelTask:
        """A task (read only).

        :raises NodeRefused: 404, when there is none: a new deployment deletes the finished tasks before it.
        """
        return parse.task(self.wire.get(f"/tasks/{task_id}/", f"show task {task_id}"))

    def tasks(self, environment_id: int) -> list[FuelTask]:
        """An environment's tasks (read only), by id."""
        found = self.wire.get_list("/tasks/", f"list tasks of environment {environment_id}", cluster_id=environment_id)
        return sorted(map(parse.task, found), key=lambda task: task.id)

    def running_task(self, environment_id: int) -> FuelTask | None:
        """The deployment, stop or reset that is going on in an environment (read only), or None.

        Of a task and its parts it is the task: the one that was begun first.
        """
        busy = [t for t in self.tasks(environment_id) if t.status in _BUSY and t.name in _ENVIRONMENT_WORK]
        return busy[0] if busy else None

    def deploy_changes(self, environment_id: int) -> int:
        """Deploy everything that is pending in an environment: new nodes are installed (**their disks are
        overwritten**), leaving ones are wiped. Returns the id of the task to wait for.

        When the answer is lost, the task that it began is looked for and returned; a deployment is never begun twice.

        :raises NodeRefused: when something runs in the environment already, nothing is pending, or no node would be a
            controller (8.0 does not look for one, and calls the result operational).
        :raises FuelTaskFailed: when Fuel refuses it in a task at once (networks that clash).
        """
        self._tried()
        self._idle(environment_id, "deployed")
        staying = [node for node in self.list_nodes(environment_id) if not node.pending_deletion]
        if staying and not any("controller" in (*node.roles, *node.pending_roles) for node in staying):
            raise self._refuse(f"environment {environment_id} has no controller", "assign one first.")
        before = max((task.id for task in self.tasks(environment_id)), default=0)
        doing = f"deploy environment {environment_id}"
        try:
            raw = self.wire.change("PUT", f"/clusters/{environment_id}/changes/", doing)
        except NodeUnreachable as error:
            return self._begun_unheard(environment_id, before, error)
        return self._begun(raw, doing)

    def _begun_unheard(self, environment_id: int, before: int, error: NodeUnreachable) -> int:
        for look in range(_ADOPT_LOOKS):
            if look:
                self.wire.sleep(self._poll_s)
            begun = [t for t in self.tasks(environment_id) if t.id > before and t.name == "deploy"]
            if begun:
                return begun[-1].id
        raise error

    def _begun(self, raw: object, doing: str) -> int:
        task = parse.task(Doc(raw, f"{self.name}, asked to {doing},"))
        # the code tells nothing: 5.1 and 6.0 answer 202 to what failed already
        if task.status == "error":
            raise self._task_failed(task, [])
        return task.id

    def provision(self, environment_id: int, node_ids: Iterable[int]) -> int:
        """Install the operating system on some nodes (**their disks are overwritten**); returns the task's id.
        :meth:`deploy_changes` is simpler and alike in all releases.

        :raises NodeRefused: when one of them is not in this environment: Fuel would refuse, and yet leave the node in
            ``provisioning`` and the environment in error.
        """
        return self._some(environment_id, node_ids, "provision")

    def deploy_nodes(self, environment_id: int, node_ids: Iterable[int]) -> int:
        """Deploy provisioned nodes; returns the task's id. See :meth:`provision`.

        :raises NodeRefused: also when one of them is not provisioned: 6.1 and 7.0 look at that, the others begin.
        """
        return self._some(environment_id, node_ids, "deploy")

    def _some(self, environment_id: int, node_ids: Iterable[int], verb: str) -> int:
        wanted = sorted(set(node_ids))
        members = {node.id: node.status for node in self.list_nodes(environment_id) if not node.pending_deletion}
        strangers = [str(node_id) for node_id in wanted if node_id not in members]
        if strangers or not wanted:
            raise self._refuse(
                f"cannot {verb} nodes {', '.join(strangers) or '(none)'}: they are not in environment {environment_id}",
                "assign them first.",
            )
        early = [str(node_id) for node_id in wanted if members[node_id] in ("discover", "provisioning")]
        if early and verb == "deploy":
            raise self._refuse(f"cannot deploy nodes {', '.join(early)}: they are not provisioned", "provision them.")
        self._idle(environment_id, f"told to {verb} nodes")
        doing = f"{verb} nodes {', '.join(map(str, wanted))} of environment {environment_id}"
        path = f"/clusters/{environment_id}/{verb}/"
        return self._begun(self.wire.change("PUT", path, doing, nodes=",".join(map(str, wanted))), doing)

    def stop(self, environment_id: int) -> int:
        """Stop the deployment that is running; its nodes go back to discovery. Returns the stopping task's id.

        :raises NodeRefused: when none is running: an idle environment would be ``stopped`` by it, with all its nodes;
            or (8.0) when the environment was deployed before.
        """
        running = self.running_task(environment_id)
        if running is None or running.name not in _DEPLOYING:
            raise self._refuse(
                f"environment {environment_id} has no deployment to stop",
                "nothing is to be done: never stop an idle one.",
            )
        doing = f"stop the deployment of environment {environment_id}"
        return self._begun(self.wire.change("PUT", f"/clusters/{environment_id}/stop_deployment/", doing), doing)

    def reset(self, environment_id: int) -> int:
        """Put all nodes of an environment back to discovery: **the cloud on them is destroyed**. Returns the task's id.

        :raises NodeRefused: when something runs in it.
        """
        self._idle(environment_id, "reset")
        doing = f"reset environment {environment_id}"
        return self._begun(self.wire.change("PUT", f"/clusters/{environment_id}/reset/", doing), doing)

    # --- waiting

    def wait_task(
        self, task_id: int, *, node_ids: Iterable[int] = (), timeout_s: float | None = None, report: Report = silent
    ) -> FuelTask:
        """Wait until a task is over *and* the nodes that it was for are ready.

        The task's status decides, never its progress; those of nodes and environment may lag behind it, so they are
        waited for as well.

        :param node_ids: nodes that have to be ``ready`` in the task's environment; none: a task that is about no nodes.
        :param timeout_s: bound of it all; the site's ``fuel.task_timeout_s`` when None.
        :param report: told each change of status, in a sentence.
        :raises FuelTaskFailed: when it ended in error, naming the nodes in error.
        :raises NodeTimeout: when it is not over in time; it goes on at the master.
        :raises NodeRefused: 404, when the task vanished: nobody can say any more how it ended.
        """
        wanted = set(node_ids)
        bound_s = self.wire.spec.task_timeout_s if timeout_s is None else timeout_s
        said = ""

        def look() -> FuelTask | None:
            nonlocal said
            task = self.task(task_id)
            nodes = self._watched(task, wanted)
            if task.status == "error":
                everybody = self.list_nodes(task.environment_id) if task.environment_id is not None else []
                raise self._task_failed(task, [node for node in everybody if node.status == "error"])
            state = _story(task, nodes)
            if state != said:
                said = state
                report(said)
            if task.status != "ready":
                return None
            if broken := [node for node in nodes if node.status == "error"]:
                raise self._task_failed(task, broken)
            if {node.id for node in nodes if node.status == "ready"} != wanted or self._lags(task):
                return None
            return task

        over = self._wait(bound_s, report, look)
        if over is not None:
            return over
        raise NodeTimeout(
            f"{self.name}: task {task_id} is not over after {bound_s:.0f} s: {said or 'it was never seen'}.",
            remedy="look at it in Fuel; it goes on there. Run the same step again to go on waiting, or raise "
            "`fuel.task_timeout_s` in site.yaml.",
        )

    def _lags(self, task: FuelTask) -> bool:
        """Whether the environment's status is still that of the deployment that is over."""
        if task.environment_id is None or task.name not in _DEPLOYING:
            return False
        return self.get_environment(task.environment_id).status == "deployment"

    def _watched(self, task: FuelTask, wanted: set[int]) -> list[FuelNode]:
        if not wanted or task.environment_id is None:
            return []
        return [node for node in self.list_nodes(task.environment_id) if node.id in wanted]


def _share(node: FuelNode) -> str:
    """How far the phase is, in steps that are worth a line."""
    return f" {node.progress // _STEP * _STEP} %" if node.progress >= _STEP else ""


def _story(task: FuelTask, nodes: Iterable[FuelNode]) -> str:
    line = f"Fuel task {task.id} ({task.name}) is {task.status}"
    parts = [f"{node.name} {node.status}{_share(node)}{'' if node.online else ' (offline)'}" for node in nodes]
    return f"{line}: {', '.join(parts)}." if parts else f"{line}."
