"""The handlers of releases, environments and their tasks."""

from __future__ import annotations

import copy
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.nailgun import networks
from pumphouse.lab.hardware.nailgun.layout import join, leave
from pumphouse.lab.hardware.nailgun.release import attributes_of
from pumphouse.lab.hardware.nailgun.state import Cluster, Node, Refusal, State, Task, broken
from pumphouse.lab.hardware.nailgun.wire import Route, answer, nothing, read_json
from pumphouse.lab.hardware.nailgun.work import Work

_MODES = ("multinode", "ha_full", "ha_compact")
_SEGMENTS = ("vlan", "gre", "tun")
_CONTROLLER_CONFLICTS = ("compute",)


class Clusters:
    """The handlers."""

    def __init__(self, state: State, work: Work) -> None:
        self.state, self.work = state, work

    def routes(self) -> list[Route]:
        """What to mount."""
        found = [
            Route("GET", "/version", self.version),
            Route("GET", "/releases", self.releases),
            Route("GET", "/releases/N", self.release),
            Route("GET", "/notifications", self.notifications),
            Route("GET", "/clusters", self.all_clusters),
            Route("POST", "/clusters", self.create),
            Route("GET", "/clusters/N", self.show),
            Route("PUT", "/clusters/N", self.update),
            Route("DELETE", "/clusters/N", self.delete),
            Route("GET", "/clusters/N/attributes", self.attributes),
            Route("GET", "/clusters/N/attributes/defaults", self.default_attributes),
            Route("PUT", "/clusters/N/attributes", self.set_attributes),
            Route("PATCH", "/clusters/N/attributes", self.set_attributes),
            Route("GET", "/clusters/N/generated", self.generated),
            Route("POST", "/clusters/N/assignment", self.assign),
            Route("POST", "/clusters/N/unassignment", self.unassign),
            Route("PUT", "/clusters/N/changes", self.changes),
            Route("PUT", "/clusters/N/provision", self.provision),
            Route("PUT", "/clusters/N/deploy", self.deploy),
            Route("PUT", "/clusters/N/stop_deployment", self.stop),
            Route("PUT", "/clusters/N/reset", self.reset),
            Route("GET", "/tasks", self.tasks),
            Route("GET", "/tasks/N", self.task),
            Route("DELETE", "/tasks/N", self.delete_task),
        ]
        for provider in ("nova_network", "neutron"):
            path = f"/clusters/N/network_configuration/{provider}"
            found += [
                Route("GET", path, self.show_networks),
                Route("PUT", path, self.set_networks),
                Route("PUT", f"{path}/verify", self.verify),
            ]
        documents = self.state.traits.documents
        if documents.get("settings"):
            found.append(Route("GET", "/settings", self.settings))
        if documents.get("release_networks"):
            found.append(Route("GET", "/releases/N/networks", self.release_networks))
        if documents.get("release_roles"):
            found.append(Route("GET", "/releases/N/roles", self.release_roles))
        return found

    # --- what ships

    async def version(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /version``."""
        return answer(
            self.state.traits, self.state.traits.document("version") | {"auth_required": self.state.auth_required}
        )

    async def releases(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /releases``: the order is not by id."""
        return answer(self.state.traits, self.state.traits.document("releases")[::-1])

    async def release(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /releases/N``."""
        return answer(self.state.traits, self._release(ids[0]))

    def _release(self, release_id: int) -> dict[str, Any]:
        found = self.state.release(release_id)
        if found is None:
            raise Refusal(404, "Release not found")
        return copy.deepcopy(found)

    async def release_networks(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /releases/N/networks``."""
        self._release(ids[0])
        return answer(self.state.traits, self.state.traits.document("release_networks"))

    async def release_roles(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /releases/N/roles``."""
        self._release(ids[0])
        return answer(self.state.traits, self.state.traits.document("release_roles"))

    async def settings(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /settings``."""
        return answer(self.state.traits, self.state.traits.document("settings"))

    async def notifications(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /notifications``."""
        return answer(self.state.traits, self.state.notifications)

    # --- environments

    async def all_clusters(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /clusters``."""
        return answer(self.state.traits, [self.state.cluster_view(one) for one in self.state.clusters.values()])

    async def show(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /clusters/N``."""
        return answer(self.state.traits, self.state.cluster_view(self.state.cluster(ids[0])))

    async def create(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``POST /clusters``."""
        state, traits = self.state, self.state.traits
        body = await read_json(request)
        release_id = body.get("release", body.get("release_id"))
        if release_id is None:
            raise Refusal(400, "Release ID is required")
        if state.release(release_id) is None:
            raise Refusal(400, "Invalid release ID")
        name = body.get("name", "")
        self._free_name(name)
        mode = body.get("mode", "ha_compact")
        if mode not in _MODES:
            message = f"mode: u'{mode}' is not one of {list(_MODES)}"
            raise Refusal(400, message) if traits.json_errors else broken(traits, message)
        if mode not in traits.modes:
            raise Refusal(
                400, f"Cannot deploy in {mode} mode in current release. Need to be one of: {', '.join(traits.modes)}"
            )
        cluster_id = state.count("cluster")
        provider = body.get("net_provider", "nova_network" if traits.nova_network else "neutron")
        if provider == "nova_network" and not traits.nova_network:
            raise broken(traits, "Nova network is not supported in current release")
        segment = body.get("net_segment_type", "vlan")
        if segment not in _SEGMENTS or (segment == "tun" and not traits.documents["has_tun"]):
            raise broken(traits, f"invalid input value for enum segmentation_type: {segment}")
        cluster = Cluster(
            id=cluster_id,
            name=name,
            mode=mode,
            net_provider=provider,
            release_id=release_id,
            segment=segment,
            attributes=attributes_of(traits),
            networks=networks.default_networks(state, cluster_id, provider, segment),
            changes=traits.document("cluster")["changes"],
        )
        state.clusters[cluster_id] = cluster
        return answer(traits, state.cluster_view(cluster), 201)

    def _free_name(self, name: str, besides: int = 0) -> None:
        if any(one.name == name and one.id != besides for one in self.state.clusters.values()):
            raise Refusal(409, "Environment with this name already exists")

    async def update(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N``."""
        cluster = self.state.cluster(ids[0])
        body = await read_json(request)
        for key in ("net_provider", "net_segment_type"):
            held = cluster.net_provider if key == "net_provider" else cluster.segment
            if body.get(key, held) != held:
                raise Refusal(400, f"Changing '{key}' for environment is prohibited")
        if "name" in body:
            self._free_name(body["name"], cluster.id)
            cluster.name = body["name"]
        return answer(self.state.traits, self.state.cluster_view(cluster))

    async def delete(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``DELETE /clusters/N``."""
        if ids[0] not in self.state.clusters and self.state.traits.number < (8, 0):
            raise Refusal(400, f"Object 'Cluster' with UID={ids[0]} is not found in DB")
        self.work.delete(self.state.cluster(ids[0]))
        return answer(self.state.traits, {}, 202)

    # --- attributes

    async def attributes(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /clusters/N/attributes``."""
        return answer(self.state.traits, self.state.cluster(ids[0]).attributes)

    async def default_attributes(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /clusters/N/attributes/defaults``."""
        self.state.cluster(ids[0])
        return answer(self.state.traits, self.state.traits.document("attributes"))

    async def set_attributes(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT`` and ``PATCH /clusters/N/attributes``."""
        cluster = self.state.cluster(ids[0])
        body = await read_json(request)
        if "generated" in body:
            raise Refusal(400, "It is not allowed to update generated attributes")
        if not isinstance(body.get("editable"), dict):
            raise Refusal(400, "Editable attributes should be a dictionary")
        if cluster.is_locked:
            message = "Environment attributes can't be changed after, or in deploy."
            if self.state.traits.json_errors:
                first = min(body["editable"], default="")
                message = f"Environment attribute '{first}' couldn't be changed after or during deployment."
            raise Refusal(403, message)
        cluster.attributes["editable"].update(copy.deepcopy(body["editable"]))
        return answer(self.state.traits, cluster.attributes)

    async def generated(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /clusters/N/generated``."""
        self.state.cluster(ids[0])
        return answer(self.state.traits, self.state.traits.document("generated"))

    # --- networks

    def _of_provider(self, request: web.Request, ids: list[int]) -> Cluster:
        cluster = self.state.cluster(ids[0])
        if f"/network_configuration/{cluster.net_provider}" not in request.path:
            raise Refusal(400, f"Wrong net provider - environment uses '{cluster.net_provider}'")
        return cluster

    async def show_networks(self, request: web.Request, ids: list[int]) -> web.Response:
        """``GET /clusters/N/network_configuration/PROVIDER``."""
        return answer(self.state.traits, networks.view(self.state, self._of_provider(request, ids)))

    async def set_networks(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/network_configuration/PROVIDER``: a task up to 7.0, the document in 8.0."""
        state, traits = self.state, self.state.traits
        cluster = self._of_provider(request, ids)
        error = networks.locked(state, cluster)
        if error is not None:
            raise error
        try:
            document = await self._document(request)
            if cluster.is_locked:
                networks.nobody_without_address(state)
            networks.change(state, cluster, document)
        except networks.Wrong as wrong:
            if traits.number >= (8, 0):
                status = 500 if cluster.is_locked else 400
                raise Refusal(status, wrong.message, errors=wrong.result) from wrong
            return self._checked(cluster, wrong)
        if traits.number >= (8, 0):
            return answer(traits, networks.view(state, cluster))
        return self._checked(cluster)

    async def _document(self, request: web.Request) -> Any:
        traits = self.state.traits
        try:
            return await read_json(request)
        except Refusal as error:
            if traits.number < (7, 0):
                raise broken(traits, error.message) from error
            raise networks.Wrong(error.message) from error

    def _checked(self, cluster: Cluster, wrong: networks.Wrong | None = None) -> web.Response:
        self._forget_checks(cluster)
        task = self.state.task("check_networks", cluster.id)
        task.end("error" if wrong else "ready", wrong.message if wrong else None)
        task.result = (wrong and wrong.result) or {}
        return answer(self.state.traits, task.view(), self.state.traits.finished_code)

    def _forget_checks(self, cluster: Cluster) -> None:
        # a check takes the place of the one before it, up to 7.0
        state = self.state
        if state.traits.number < (8, 0):
            checks = ("check_networks", "verify_networks")
            old = {t.id for t in state.tasks.values() if t.cluster == cluster.id and t.name in checks and t.is_over}
            state.tasks = {key: t for key, t in state.tasks.items() if key not in old and t.parent not in old}

    async def verify(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/network_configuration/PROVIDER/verify``."""
        state, traits = self.state, self.state.traits
        cluster = self._of_provider(request, ids)
        if len([node for node in state.members(cluster.id) if node.online]) < 2:
            online = " online" if traits.json_errors else ""
            return self._checked(
                cluster,
                networks.Wrong(
                    f"At least two{online} nodes are required to be in the environment for network verification."
                ),
            )
        self._forget_checks(cluster)
        task = state.task("verify_networks", cluster.id)
        try:
            networks.nobody_without_address(state)
        except networks.Wrong as wrong:
            task.end("error", wrong.message)
            return answer(traits, task.view(), traits.finished_code)
        self.work.verify(cluster, task)
        return answer(traits, task.view(), 202)

    # --- membership

    async def assign(self, request: web.Request, ids: list[int]) -> web.Response:
        """``POST /clusters/N/assignment``: all or nothing."""
        state, traits = self.state, self.state.traits
        cluster = state.cluster(ids[0])
        body = await read_json(request)
        if not isinstance(body, list):
            raise Refusal(400, f"{body!r} is not of type 'array'")
        for entry in body:
            if "roles" not in entry:
                raise Refusal(400, "'roles' is a required property") if traits.json_errors else broken(traits, "roles")
        nodes = self._known(entry["id"] for entry in body)
        if taken := [node.id for node in nodes if node.cluster_id is not None]:
            raise Refusal(400, f"Nodes with ids {taken} already assigned to environments.")
        release = state.release(cluster.release_id) or {}
        roles = set(release["roles_metadata"])
        place = f"environment {cluster.id}" if traits.number >= (7, 0) else f"{release['name']} release"
        for entry in body:
            if wrong := [role for role in entry["roles"] if role not in roles]:
                raise Refusal(400, f"{', '.join(wrong)} are not valid roles for node in {place}")
            if "controller" in entry["roles"] and any(role in entry["roles"] for role in _CONTROLLER_CONFLICTS):
                raise Refusal(400, 'Role "controller" in conflict with role compute')
        for node, entry in zip(nodes, body, strict=True):
            join(state, node, cluster, entry["roles"])
        return nothing(traits)

    def _known(self, node_ids: Any) -> list[Node]:
        wanted = [int(node_id) for node_id in node_ids]
        unknown = [str(node_id) for node_id in wanted if node_id not in self.state.nodes]
        if unknown:
            raise Refusal(400, f"Nodes with ids {', '.join(unknown)} were not found.")
        return [self.state.nodes[node_id] for node_id in wanted]

    async def unassign(self, request: web.Request, ids: list[int]) -> web.Response:
        """``POST /clusters/N/unassignment``: what is not deployed leaves at once."""
        cluster = self.state.cluster(ids[0])
        nodes = self._known(entry["id"] for entry in await read_json(request))
        if strangers := [node.id for node in nodes if node.cluster_id != cluster.id]:
            raise Refusal(400, f"Nodes {strangers} are not members of environment {cluster.id}.")
        if again := [node.id for node in nodes if node.pending_deletion]:
            raise Refusal(400, f"Can't unassign nodes with ids {again} if they not assigned.")
        for node in nodes:
            if node.status == "discover":
                leave(self.state, node)
            else:
                node.pending_deletion = True
        return nothing(self.state.traits)

    # --- work

    def _begun(self, task: Task) -> web.Response:
        return answer(self.state.traits, task.view(), self.state.traits.finished_code if task.is_over else 202)

    async def changes(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/changes``."""
        state, traits = self.state, self.state.traits
        cluster = state.cluster(ids[0])
        leaving = [node for node in state.members(cluster.id) if node.pending_deletion]
        nodes = [
            n for n in state.members(cluster.id) if (n.pending_addition or n.status == "error") and n not in leaving
        ]
        busy = state.running(cluster.id)
        if busy and not (traits.number >= (8, 0) and any(task.status == "pending" for task in busy)):
            raise self._busy(cluster, busy)
        if not nodes and not leaving:
            raise Refusal(400, "No changes to deploy")
        state.forget_finished(cluster.id)
        task = state.task("deploy", cluster.id)
        controllers = [
            n for n in state.members(cluster.id) if "controller" in (*n.roles, *n.pending_roles) and n not in leaving
        ]
        if not controllers and traits.number < (8, 0):
            message = f"Not enough controllers, {cluster.mode} mode requires at least 1 controller"
            state.task("check_networks", cluster.id, task).end("ready")
            state.task("check_before_deployment", cluster.id, task).end("error", message)
            task.end("error", message)
            return self._begun(task)
        self.work.deploy(cluster, task, nodes, leaving)
        return self._begun(task)

    def _busy(self, cluster: Cluster, busy: list[Task]) -> Refusal:
        traits = self.state.traits
        if traits.number >= (7, 0):
            listed = ", ".join(f"<Task '{task.name}' {task.uuid} ({task.id}) {task.status}>" for task in busy)
            return broken(traits, f"Cannot perform the actions because there are running tasks [{listed}]")
        return broken(traits, "Deployment already started")

    def _some(self, request: web.Request, cluster: Cluster) -> list[Node]:
        text = request.query.get("nodes", "")
        try:
            wanted = [int(part) for part in text.split(",") if part]
        except ValueError as error:
            raise Refusal(400, "Provided id is not integer") from error
        if not wanted:
            return self.state.members(cluster.id)
        if any(node_id not in self.state.nodes for node_id in wanted):
            raise Refusal(404, "NodeCollection not found")
        return [self.state.nodes[node_id] for node_id in wanted]

    async def provision(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/provision?nodes=``: a stranger among them is refused, and broken all the same."""
        state = self.state
        cluster = state.cluster(ids[0])
        nodes = self._some(request, cluster)
        strangers = [node for node in nodes if node.cluster_id != cluster.id]
        task = state.task("provision", cluster.id)
        if strangers:
            for node in strangers:
                node.status, node.was_deployed = "provisioning", True
            cluster.status = "error"
            task.end("error", "'NoneType' object has no attribute 'attributes'")
            if state.traits.json_errors:
                raise broken(state.traits, "http() got an unexpected keyword argument 'message'")
            raise Refusal(400, "'NoneType' object has no attribute '__getitem__'")
        self.work.provision(cluster, task, nodes)
        return self._begun(task)

    async def deploy(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/deploy?nodes=``."""
        cluster = self.state.cluster(ids[0])
        nodes = self._some(request, cluster)
        raw = [node.id for node in nodes if node.status not in ("provisioned", "ready")]
        if raw and (6, 1) <= self.state.traits.number < (8, 0):
            raise Refusal(
                400, f"Deployment operation cannot be started. Nodes with uids {raw} are not provisioned yet. "
            )
        task = self.state.task("deployment", cluster.id)
        self.work.deploy_only(cluster, task, nodes)
        return self._begun(task)

    async def stop(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/stop_deployment``: of an idle environment as well."""
        cluster = self.state.cluster(ids[0])
        if self.state.traits.number >= (8, 0) and cluster.deployed_before:
            raise Refusal(400, "Stop action is forbidden for the cluster")
        if self.state.running(cluster.id, ("stop_deployment",)):
            raise Refusal(409, "Stopping deployment task is already launched")
        task = self.state.task("stop_deployment", cluster.id)
        for other in self.state.running(cluster.id, ("deploy",)):
            other.end("ready")
        self.work.stop(cluster, task)
        return self._begun(task)

    async def reset(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /clusters/N/reset``."""
        cluster = self.state.cluster(ids[0])
        if self.state.running(cluster.id):
            raise broken(self.state.traits, f"Can't reset environment '{cluster.id}' when deployment is running")
        self.state.forget_finished(cluster.id)
        task = self.state.task("reset_environment", cluster.id)
        self.work.reset(cluster, task)
        return self._begun(task)

    # --- tasks

    async def tasks(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /tasks``."""
        wanted = request.query.get("cluster_id", "")
        found = [t for t in self.state.tasks.values() if not wanted or t.cluster == int(wanted)]
        return answer(self.state.traits, [task.view() for task in found])

    def _task(self, task_id: int) -> Task:
        found = self.state.tasks.get(task_id)
        if found is None:
            raise Refusal(404, "Task not found")
        return found

    async def task(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /tasks/N``."""
        return answer(self.state.traits, self._task(ids[0]).view())

    async def delete_task(self, request: web.Request, ids: list[int]) -> web.Response:
        """``DELETE /tasks/N``."""
        task = self._task(ids[0])
        if not task.is_over and request.query.get("force") != "1":
            raise Refusal(400, "You cannot delete running task manually", bare=True)
        self.state.tasks = {
            key: one for key, one in self.state.tasks.items() if key != task.id and one.parent != task.id
        }
        return web.Response(status=204)
