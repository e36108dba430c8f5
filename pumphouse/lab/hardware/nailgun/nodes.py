"""The handlers of nodes, their interfaces and disks, and of the bootstrap agents."""

from __future__ import annotations

import copy
from typing import Any

from aiohttp import web

from pumphouse.lab.hardware.nailgun import layout
from pumphouse.lab.hardware.nailgun.discovery import Discovery
from pumphouse.lab.hardware.nailgun.state import Node, Refusal, State
from pumphouse.lab.hardware.nailgun.wire import Route, answer, read_json
from pumphouse.lab.hardware.nailgun.work import Work

_SETTABLE = ("name", "online", "pending_deletion", "status", "pending_addition", "pending_roles", "error_type")


class Nodes:
    """The handlers."""

    def __init__(self, state: State, work: Work, discovery: Discovery) -> None:
        self.state, self.work, self.discovery = state, work, discovery

    def routes(self) -> list[Route]:
        """What to mount."""
        return [
            Route("GET", "/nodes", self.all_nodes),
            Route("POST", "/nodes", self.register),
            Route("PUT", "/nodes", self.update_many),
            *([Route("DELETE", "/nodes", self.delete_many)] if self.state.traits.json_errors else []),
            Route("PUT", "/nodes/agent", self.agent),
            Route("GET", "/nodes/allocation/stats", self.stats),
            Route("PUT", "/nodes/interfaces", self.set_interfaces_of_many),
            Route("GET", "/nodes/N", self.show),
            Route("PUT", "/nodes/N", self.update),
            Route("DELETE", "/nodes/N", self.delete),
            Route("GET", "/nodes/N/interfaces", self.interfaces),
            Route("GET", "/nodes/N/interfaces/default_assignment", self.default_interfaces),
            Route("PUT", "/nodes/N/interfaces", self.set_interfaces),
            Route("GET", "/nodes/N/disks", self.disks),
            Route("GET", "/nodes/N/disks/defaults", self.default_disks),
            Route("PUT", "/nodes/N/disks", self.set_disks),
            Route("GET", "/nodes/N/volumes", self.volumes),
        ]

    async def all_nodes(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /nodes``; an empty ``cluster_id`` means those of no environment; no order is promised."""
        nodes = list(self.state.nodes.values())
        if "cluster_id" in request.query:
            text = request.query["cluster_id"]
            wanted = int(text) if text else None
            nodes = [node for node in nodes if node.cluster_id == wanted]
        return answer(self.state.traits, [self.state.node_view(node) for node in nodes])

    async def stats(self, _request: web.Request, _ids: list[int]) -> web.Response:
        """``GET /nodes/allocation/stats``."""
        nodes = self.state.nodes.values()
        free = sum(node.cluster_id is None for node in nodes)
        return answer(self.state.traits, {"total": len(nodes), "unallocated": free})

    async def show(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N``."""
        return answer(self.state.traits, self.state.node_view(self.state.node(ids[0])))

    async def register(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``POST /nodes``: an agent's first word."""
        node = self.discovery.register(await read_json(request))
        return answer(self.state.traits, self.state.node_view(node), 201)

    async def agent(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``PUT /nodes/agent``: an agent's further words."""
        node, cached = self.discovery.by_agent(await read_json(request))
        return answer(self.state.traits, {"id": node.id, "cached": True} if cached else {"id": node.id})

    # --- changing

    async def update(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /nodes/N``."""
        node = self.state.node(ids[0])
        self._change(node, await read_json(request))
        return answer(self.state.traits, self.state.node_view(node))

    async def update_many(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``PUT /nodes``."""
        body = await read_json(request)
        nodes = [self.state.nodes.get(int(entry["id"])) for entry in body]
        if None in nodes:
            raise Refusal(400, "Invalid ID specified")
        for node, entry in zip(nodes, body, strict=True):
            assert node is not None
            self._change(node, entry)
        return answer(self.state.traits, [self.state.node_view(node) for node in nodes if node])

    def _change(self, node: Node, body: dict[str, Any]) -> None:
        if "cluster_id" in body and body["cluster_id"] != node.cluster_id:
            if body["cluster_id"] is None:
                layout.leave(self.state, node)
            else:
                cluster = self.state.cluster(int(body["cluster_id"]))
                layout.join(self.state, node, cluster, body.get("pending_roles", []))
        for key in _SETTABLE:
            if key in body:
                setattr(node, key, copy.deepcopy(body[key]))
        if "hostname" in body and self.state.traits.hostnames:
            node.hostname = str(body["hostname"])

    async def delete(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``DELETE /nodes/N``: at once and without a task up to 6.0."""
        node = self.state.nodes.get(ids[0])
        if node is None:
            raise Refusal(404, "Node not found", bare=True)
        if not self.state.traits.json_errors:
            self.state.nodes.pop(node.id)
            self.work.begin(self.work.forget(node))
            self._report_again(node)
            return web.Response(status=204)
        return self._remove([node])

    async def delete_many(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``DELETE /nodes?ids=``."""
        wanted = [int(part) for part in request.query.get("ids", "").split(",") if part]
        return self._remove([self.state.node(node_id) for node_id in wanted])

    def _remove(self, nodes: list[Node]) -> web.Response:
        members = [node for node in nodes if node.cluster_id is not None]
        task = self.state.task("node_deletion", members[0].cluster_id if members else None)
        if not members:
            for node in nodes:
                self.state.nodes.pop(node.id, None)
                self._report_again(node)
            task.end("ready")
            return answer(self.state.traits, task.view())
        for node in members:
            node.pending_deletion = True
        self.work.remove_now(nodes, task)
        return answer(self.state.traits, task.view(), 202)

    def _report_again(self, node: Node) -> None:
        # the bootstrap image goes on running, and its agent finds that nobody knows it
        if node.machine is not None and node.machine.runs == "bootstrap":
            self.discovery.expect(node.machine)

    # --- layout

    async def interfaces(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N/interfaces``."""
        return answer(self.state.traits, self.state.node(ids[0]).interfaces)

    async def default_interfaces(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N/interfaces/default_assignment``."""
        node = self.state.node(ids[0])
        cluster = self.state.clusters.get(node.cluster_id or 0)
        found = layout.default_interfaces(self.state, node, cluster) if cluster else node.interfaces
        if self.state.traits.number <= (6, 0):
            found = [{key: value for key, value in nic.items() if key != "state" and value != []} for nic in found]
        return answer(self.state.traits, found)

    async def set_interfaces(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /nodes/N/interfaces``."""
        node = self.state.node(ids[0])
        return answer(self.state.traits, layout.set_interfaces(self.state, node, await read_json(request)))

    async def set_interfaces_of_many(self, request: web.Request, _ids: list[int]) -> web.Response:
        """``PUT /nodes/interfaces``."""
        found = []
        for entry in await read_json(request):
            node = self.state.node(int(entry["id"]))
            found.append({"id": node.id, "interfaces": layout.set_interfaces(self.state, node, entry["interfaces"])})
        return answer(self.state.traits, found)

    async def disks(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N/disks``."""
        return answer(self.state.traits, self.state.node(ids[0]).disks)

    async def default_disks(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N/disks/defaults``."""
        return answer(self.state.traits, layout.default_disks(self.state, self.state.node(ids[0])))

    async def set_disks(self, request: web.Request, ids: list[int]) -> web.Response:
        """``PUT /nodes/N/disks``."""
        node = self.state.node(ids[0])
        return answer(self.state.traits, layout.set_disks(node, await read_json(request)))

    async def volumes(self, _request: web.Request, ids: list[int]) -> web.Response:
        """``GET /nodes/N/volumes``."""
        return answer(self.state.traits, layout.volumes_info(self.state.node(ids[0])))
