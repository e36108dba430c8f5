"""Environments: releases, attributes, networks, and where a deployed one answers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pumphouse.errors import NodeRefused, NodeTimeout
from pumphouse.nodes.fuel import parse
from pumphouse.nodes.fuel.model import (
    AccessCredentials,
    FuelEndpoint,
    FuelEnvironment,
    FuelRelease,
    FuelTask,
    NetworkConfiguration,
)
from pumphouse.nodes.fuel.reading import Doc, garbled
from pumphouse.nodes.fuel.verbs import Verbs

_MODES = ("ha_compact", "multinode")
_SHARED_KEYS = ("cidr", "gateway", "ip_ranges", "vlan_start")
_SHARED_PARAMETERS = (
    *("floating_ranges", "fixed_networks_cidr", "fixed_networks_vlan_start", "net_manager", "dns_nameservers"),
    *("internal_cidr", "internal_gateway", "vlan_range"),
)


class Environments(Verbs):
    """The verbs for environments."""

    def list_releases(self) -> list[FuelRelease]:
        """What can be deployed (read only), by id."""
        return sorted(map(parse.release, self.wire.get_list("/releases/", "list releases")), key=lambda r: r.id)

    def find_release(self, operating_system: str = "Ubuntu") -> FuelRelease | None:
        """The newest available release of an operating system (read only); None where there is none."""
        fitting = [
            one
            for one in self.list_releases()
            if one.available and one.operating_system.lower() == operating_system.lower()
        ]
        return fitting[-1] if fitting else None

    def list_environments(self) -> list[FuelEnvironment]:
        """All environments (read only), by id."""
        found = self.wire.get_list("/clusters/", "list environments")
        return sorted(map(parse.environment, found), key=lambda e: e.id)

    def find_environment(self, name: str) -> FuelEnvironment | None:
        """An environment by name (read only); None where there is none."""
        return next((one for one in self.list_environments() if one.name == name), None)

    def get_environment(self, environment_id: int) -> FuelEnvironment:
        """An environment (read only).

        :raises NodeRefused: 404, when there is none.
        """
        return parse.environment(self.wire.get(f"/clusters/{environment_id}/", f"show environment {environment_id}"))

    def create_environment(
        self,
        name: str,
        release_id: int,
        *,
        mode: str = "ha_compact",
        net_provider: str = "neutron",
        net_segment_type: str = "vlan",
    ) -> FuelEnvironment:
        """Make an environment; one of that name that is as wanted is returned as it is.

        :param mode: ``ha_compact`` (one controller suffices), or ``multinode`` up to 6.0.
        :param net_provider: ``neutron``, or ``nova_network`` up to 7.0.
        :param net_segment_type: of Neutron: ``vlan``, ``gre``, or ``tun`` from 7.0 on.
        :raises NodeRefused: when this Fuel cannot make such an environment, or another one has that name.
        """
        self._can_make(mode, net_provider, net_segment_type)
        found = self.find_environment(name)
        if found is not None:
            differences = self.differences(found, release_id, mode, net_provider, net_segment_type)
            if not differences:
                return found
            raise self._refuse(
                f"environment {name!r} exists, and {'; '.join(differences)}",
                "choose another name, or what it has; or delete it in Fuel.",
            )
        body: dict[str, Any] = {"name": name, "release": release_id, "mode": mode, "net_provider": net_provider}
        if net_provider == "neutron":
            body["net_segment_type"] = net_segment_type
        doing = f"make environment {name!r}"
        raw = self.wire.change("POST", "/clusters/", doing, body)
        return parse.environment(Doc(raw, f"{self.name}, asked to {doing},"))

    def differences(
        self, found: FuelEnvironment, release_id: int, mode: str, net_provider: str, net_segment_type: str
    ) -> list[str]:
        """What an environment has other than wanted, of all that cannot be changed once it is made (read only)."""
        pairs = {
            "release": (release_id, found.release_id),
            "mode": (mode, found.mode),
            "network provider": (net_provider, found.net_provider),
        }
        if net_provider == found.net_provider == "neutron":
            told = self.network_configuration(found.id).parameters.get("segmentation_type")
            pairs["segmentation"] = (net_segment_type, str(told))
        return [f"its {what} is {has} instead of {wanted}" for what, (wanted, has) in pairs.items() if wanted != has]

    def _can_make(self, mode: str, net_provider: str, net_segment_type: str) -> None:
        self._tried()
        number, release = self.version().number, self.version().release
        # what it would answer is a 500, and 6.0 keeps half an environment behind
        if mode not in _MODES:
            raise self._refuse(f"no release has a mode {mode}", f"use mode {_MODES[0]}.")
        if mode == "multinode" and number > (6, 0):
            raise self._refuse(f"release {release} has no mode multinode", "use mode ha_compact.")
        if net_provider == "nova_network" and number >= (8, 0):
            raise self._refuse(f"release {release} has no nova-network", "use net_provider neutron.")
        if net_provider == "neutron" and net_segment_type == "tun" and number < (7, 0):
            raise self._refuse(f"release {release} has no segmentation tun", "use gre or vlan.")

    def delete_environment(self, environment_id: int, *, timeout_s: float = 600.0) -> None:
        """Delete an environment and wait until it is gone; its nodes are wiped and go back to discovery.

        :raises NodeRefused: when something runs in it, or nodes of it serve: take them out first.
        """
        if self._gone(environment_id):
            return
        self._idle(environment_id, "deleted")
        serving = [node.name for node in self.list_nodes(environment_id) if node.status == "ready"]
        if serving:
            raise self._refuse(
                f"environment {environment_id} has nodes that serve: {', '.join(serving)}",
                "unassign them and deploy first.",
            )
        self.wire.change("DELETE", f"/clusters/{environment_id}/", f"delete environment {environment_id}")
        for _ in self._until(timeout_s):
            if self._gone(environment_id):
                return
        raise NodeTimeout(
            f"{self.name}: environment {environment_id} is still there {timeout_s:.0f} s after its deletion.",
            remedy="look at its tasks in Fuel.",
        )

    def _gone(self, environment_id: int) -> bool:
        try:
            self.get_environment(environment_id)
        except NodeRefused as error:
            if error.status == 404:
                return True
            raise
        return False

    # --- attributes

    def attributes(self, environment_id: int) -> Mapping[str, Any]:
        """The editable attributes: group -> name -> ``{"value": …}`` (read only). They hold secrets."""
        doc = self.wire.get(
            f"/clusters/{environment_id}/attributes/", f"show attributes of environment {environment_id}"
        )
        return doc.doc("editable").raw

    def set_attributes(self, environment_id: int, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Set attributes and read them again; whole groups are sent back, as Fuel wants it.

        :param values: group -> name -> value.
        :raises NodeRefused: when it has no such attribute, when it is locked (deploying or deployed: 403), or when
            Fuel took it and shows something else.
        """
        now = self.attributes(environment_id)
        wanted: dict[str, Any] = {}
        for group, entries in values.items():
            for key, value in entries.items():
                held = now.get(group, {}).get(key)
                if not isinstance(held, dict) or "value" not in held:
                    raise self._refuse(
                        f"environment {environment_id} has no attribute {group}.{key}", "look at `attributes`."
                    )
                if held["value"] != value:
                    wanted.setdefault(group, copy.deepcopy(now[group]))[key]["value"] = value
        if not wanted:
            return
        named = ", ".join(f"{group}.{key}" for group, entries in values.items() for key in entries)
        self.wire.change(
            "PUT",
            f"/clusters/{environment_id}/attributes/",
            f"set {named} of environment {environment_id}",
            {"editable": wanted},
        )
        after = self.attributes(environment_id)
        for group, entries in values.items():
            if wrong := [
                key for key, value in entries.items() if after.get(group, {}).get(key, {}).get("value") != value
            ]:
                raise self._refuse(f"it took {group}.{', '.join(wrong)} and shows another value", "set it in Fuel.")

    def credentials(self, environment_id: int) -> AccessCredentials:
        """The administrator that the new cloud has or will have (read only)."""
        raw = self.attributes(environment_id).get("access")
        where = f"{self.name}, access of environment {environment_id},"
        access = Doc(raw, where)
        found = AccessCredentials(
            user=access.doc("user").text("value"),
            tenant=access.doc("tenant").text("value"),
            password=access.doc("password").text("value"),
            email=access.doc("email").maybe_text("value"),
        )
        self.wire.hide(found.password)
        return found

    def set_credentials(self, environment_id: int, credentials: AccessCredentials) -> None:
        """Set the administrator of a cloud that is not deployed yet."""
        self.wire.hide(credentials.password)
        values = {"user": credentials.user, "tenant": credentials.tenant, "password": credentials.password}
        if credentials.email:
            values["email"] = credentials.email
        self.set_attributes(environment_id, {"access": values})

    # --- networks

    def network_configuration(self, environment_id: int) -> NetworkConfiguration:
        """The environment's networks (read only)."""
        provider = self.get_environment(environment_id).net_provider
        return parse.networks(self._networks_doc(environment_id, provider), provider)

    def _networks_doc(self, environment_id: int, provider: str) -> Doc:
        path = f"/clusters/{environment_id}/network_configuration/{provider}"
        return self.wire.get(path, f"show networks of environment {environment_id}")

    def set_network_configuration(self, environment_id: int, document: Mapping[str, Any]) -> NetworkConfiguration:
        """Set networks and read them again.

        :param document: from :meth:`NetworkConfiguration.edited`.
        :returns: what Fuel shows afterwards.
        :raises NodeRefused: when Fuel finds it wrong (releases up to 7.0 say so in a task, with status 200), when it
            is locked, or when Fuel took it and shows something else.
        """
        provider = self.get_environment(environment_id).net_provider
        doing = f"set networks of environment {environment_id}"
        path = f"/clusters/{environment_id}/network_configuration/{provider}"
        raw = self.wire.change("PUT", path, doing, document)
        if parse.is_task(raw):
            task = parse.task(Doc(raw, f"{self.name}, asked to {doing},"))
            if task.status == "error":
                named = _networks_of(task, document)
                raise self._refuse(
                    f"it finds the networks of environment {environment_id} wrong"
                    f"{f' ({named})' if named else ''}: {task.message}",
                    "correct what it names, then repeat.",
                )
            if not task.is_over:
                self.wait_task(task.id, timeout_s=self.wire.spec.task_timeout_s)
        elif raw is None:
            raise garbled(f"{self.name}, asked to {doing},", "nothing, where a task or the networks belong")
        after = self.network_configuration(environment_id)
        if wrong := _unlike(document, after.document):
            raise self._refuse(
                f"it took the networks of environment {environment_id} and shows other values of {', '.join(wrong)}",
                "look at them in Fuel; nothing may be deployed before they are right.",
            )
        return after

    def verify_networks(self, environment_id: int, *, timeout_s: float | None = None) -> FuelTask:
        """Have Fuel check that all nodes reach each other in all networks; changes nothing.

        :raises FuelTaskFailed: when they do not, or when fewer than two nodes are there to try.
        """
        configuration = self.network_configuration(environment_id)
        doing = f"verify networks of environment {environment_id}"
        path = f"/clusters/{environment_id}/network_configuration/{configuration.provider}/verify/"
        raw = self.wire.change("PUT", path, doing, configuration.document)
        task = parse.task(Doc(raw, f"{self.name}, asked to {doing},"))
        if task.status == "error":
            raise self._task_failed(task, [])
        return self.wait_task(task.id, timeout_s=timeout_s)

    def endpoint(self, environment_id: int) -> FuelEndpoint:
        """Where the deployed environment answers (read only). Addresses change while networks do: ask afterwards.

        :raises NodeRefused: when it is not deployed.
        """
        environment = self.get_environment(environment_id)
        if environment.status != "operational":
            raise self._refuse(
                f"environment {environment.name!r} is {environment.status}, not operational",
                "deploy it first: its addresses may change until then.",
            )
        doc = self._networks_doc(environment_id, environment.net_provider)
        public, management = parse.vip(doc, "public"), parse.vip(doc, "management")
        if environment.mode == "multinode":
            controller = next((n for n in self.list_nodes(environment_id) if "controller" in n.roles), None)
            public = controller.addresses.get("public", "") if controller else ""
            management = controller.addresses.get("management", "") if controller else ""
        if not public:
            raise garbled(doc.where, "no public virtual address of a deployed environment")
        ssl = Doc(self.attributes(environment_id), doc.where).doc("public_ssl")
        return FuelEndpoint(
            public_vip=public,
            management_vip=management,
            tls=ssl.doc("services").flag("value"),
            hostname=ssl.doc("hostname").maybe_text("value"),
        )


def _networks_of(task: FuelTask, document: Mapping[str, Any]) -> str:
    """Which networks a failed check names: ``result`` is ``[{"ids": […], "errors": […]}]``."""
    names = {network.get("id"): str(network.get("name")) for network in document.get("networks", [])}
    found: list[str] = []
    for entry in task.result if isinstance(task.result, list) else []:
        fields = "/".join(str(error) for error in entry.get("errors", []))
        found += [f"{names.get(network_id, network_id)}: {fields}" for network_id in entry.get("ids", [])]
    return "; ".join(found)


def _unlike(wanted: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """Which values of a sent document are shown differently; what Fuel computes itself is left out."""
    by_id = {network.get("id"): network for network in shown.get("networks", [])}
    found = []
    for network in wanted.get("networks", []):
        now = by_id.get(network.get("id"), {})
        if not network.get("cidr") or network.get("name") == "fuelweb_admin":
            continue
        found += [
            f"{network.get('name')}.{key}" for key in _SHARED_KEYS if key in network and network[key] != now.get(key)
        ]
    parameters = wanted.get("networking_parameters", {})
    held = shown.get("networking_parameters", {})
    return found + [key for key in _SHARED_PARAMETERS if key in parameters and parameters[key] != held.get(key)]
