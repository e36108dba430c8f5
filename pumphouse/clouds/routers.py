"""Neutron's routers: what joins a project network to an external one."""

from __future__ import annotations

from pumphouse.clouds.http import Service
from pumphouse.clouds.paging import list_all
from pumphouse.clouds.parse import Doc, path
from pumphouse.errors import CloudError, Conflict

_INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)


class Routers:
    """Routers of one cloud. Each step looks first, so that an interrupted making is finished by the next."""

    def __init__(self, api: Service) -> None:
        self._api = api

    def joining(self, network_id: str) -> tuple[str, str] | None:
        """(router id, external network id) of the first router that joins the two, or None (read only)."""
        for port in self._ports(network_id=network_id):
            if port.maybe_text("device_owner") in _INTERFACES:
                router_id = port.text("device_id")
                external = _gateway(self._read(router_id))
                if external is not None:
                    return router_id, external
        return None

    def named(self, name: str) -> str | None:
        """The id of the router of that name, or None (read only).

        :raises CloudError: when several have it.
        """
        docs = list_all(self._api, "routers", name=name)
        ids = [doc.text("id") for doc in docs if doc.maybe_text("name") == name]
        if len(ids) > 1:
            raise CloudError(
                f"Cloud '{self._api.wire.cloud}' has {len(ids)} routers named '{name}': {', '.join(ids)}.",
                remedy="rename or delete all but one of them.",
            )
        return ids[0] if ids else None

    def create(self, name: str, external_network_id: str, subnet_id: str) -> str:
        """Make or finish a router with a gateway and one interface.

        :raises Conflict: when a router of that name has its gateway in another network.
        """
        subnet = self._api.get(path("subnets", subnet_id), f"read subnet {subnet_id}").doc("subnet")
        owner = subnet.maybe_text("project_id", "tenant_id")
        router_id = self.named(name)
        if router_id is None:
            body = {"name": name, "admin_state_up": True, "external_gateway_info": {"network_id": external_network_id}}
            body |= {"tenant_id": owner} if owner else {}
            made = self._api.post("/routers", {"router": body}, f"create router '{name}'").doc()
            router_id = made.doc("router").text("id")
        self._ensure_gateway(router_id, name, external_network_id)
        self._ensure_interface(router_id, name, subnet, owner)
        return router_id

    def delete(self, router_id: str) -> None:
        """Remove interfaces and gateway, then the router; what is gone already is fine."""
        if self._api.find(path("routers", router_id), f"read router {router_id}") is None:
            return
        for port in self._ports(device_id=router_id):
            if port.maybe_text("device_owner") in _INTERFACES:
                body = {"port_id": port.text("id")}
                doing = f"take an interface off router {router_id}"
                self._api.put(path("routers", router_id, "remove_router_interface"), body, doing)
        self._api.put(
            path("routers", router_id), {"router": {"external_gateway_info": {}}}, f"clear the gateway of {router_id}"
        )
        self._api.delete(path("routers", router_id), f"delete router {router_id}")

    def _ensure_gateway(self, router_id: str, name: str, external_network_id: str) -> None:
        there = _gateway(self._read(router_id))
        if there == external_network_id:
            return
        if there is not None:
            raise Conflict(
                f"Cloud '{self._api.wire.cloud}': router '{name}' ({router_id}) has its gateway in network {there}, "
                f"not in {external_network_id}.",
                status=409,
                remedy="rename that router, or map the floating pool to its external network in site.yaml.",
            )
        body = {"router": {"external_gateway_info": {"network_id": external_network_id}}}
        self._api.put(path("routers", router_id), body, f"set the gateway of router '{name}'")

    def _ensure_interface(self, router_id: str, name: str, subnet: Doc, owner: str | None) -> None:
        network_id, subnet_id = subnet.text("network_id"), subnet.text("id")
        ports = self._ports(network_id=network_id)
        if any(port.maybe_text("device_id") == router_id and subnet_id in _subnets(port) for port in ports):
            return
        gateway = subnet.maybe_text("gateway_ip")
        if gateway is not None and not any(gateway in _addresses(port) for port in ports):
            body = {"subnet_id": subnet_id}
        else:
            body = {"port_id": self._own_port(ports, name, network_id, subnet_id, owner)}
        doing = f"join subnet {subnet_id} to router '{name}'"
        self._api.call("PUT", path("routers", router_id, "add_router_interface"), doing, repeatable=False, json=body)

    def _own_port(self, ports: list[Doc], name: str, network_id: str, subnet_id: str, owner: str | None) -> str:
        port_name = f"{name}-interface"
        for port in ports:
            if port.maybe_text("name") == port_name and not port.maybe_text("device_id"):
                return port.text("id")
        body: dict[str, object] = {
            "name": port_name, "network_id": network_id, "fixed_ips": [{"subnet_id": subnet_id}],
            "admin_state_up": True,
        }  # fmt: skip
        body |= {"tenant_id": owner} if owner else {}
        return self._api.post("/ports", {"port": body}, f"create port '{port_name}'").doc().doc("port").text("id")

    def _read(self, router_id: str) -> Doc:
        return self._api.get(path("routers", router_id), f"read router {router_id}").doc("router")

    def _ports(self, **filters: str) -> list[Doc]:
        docs = list_all(self._api, "ports", **filters)
        return [doc for doc in docs if all(doc.maybe_text(key) == value for key, value in filters.items())]


def _gateway(router: Doc) -> str | None:
    return router.maybe_doc("external_gateway_info").maybe_text("network_id")


def _addresses(port: Doc) -> list[str | None]:
    return [one.maybe_text("ip_address") for one in port.maybe_docs("fixed_ips")]


def _subnets(port: Doc) -> list[str | None]:
    return [one.maybe_text("subnet_id") for one in port.maybe_docs("fixed_ips")]
