"""Nodes: finding a machine among what Fuel discovered, its role, its disks and its interfaces."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pumphouse.errors import NodeRefused, NodeTimeout
from pumphouse.nodes.fuel import parse
from pumphouse.nodes.fuel.model import FuelNode
from pumphouse.nodes.fuel.reading import Doc, docs
from pumphouse.nodes.fuel.verbs import Report, Verbs, silent

#: The template's layout does not fit.
_DISKS_BY_HAND = (
    "run again with `copy_disks=false`, which leaves the disks to Fuel, or give their layout (`disks`); until the "
    "node is deployed, 10-give-back-node returns it to the source."
)


class Nodes(Verbs):
    """The verbs for nodes."""

    def list_nodes(self, environment_id: int | None = None) -> list[FuelNode]:
        """All nodes, or those of one environment (read only), by id."""
        query: dict[str, str | int] = {} if environment_id is None else {"cluster_id": environment_id}
        return sorted(map(parse.node, self.wire.get_list("/nodes/", "list nodes", **query)), key=lambda n: n.id)

    def get_node(self, node_id: int) -> FuelNode:
        """A node (read only).

        :raises NodeRefused: 404, when there is none.
        """
        return parse.node(self.wire.get(f"/nodes/{node_id}/", f"show node {node_id}"))

    def find_node(self, macs: Iterable[str], serial: str = "") -> FuelNode | None:
        """The node with any of these MACs (read only); None where Fuel knows none of them.

        :param macs: all that the machine is known to have, in any case; each of them has to be the node's.
        :param serial: its serial number; empty: not compared.
        :raises NodeRefused: when the MACs belong to several nodes, or a node has only some of them or another serial:
            that is not the machine that was meant.
        """
        return self._pick(self.list_nodes(), macs, serial)

    def _pick(self, nodes: Sequence[FuelNode], macs: Iterable[str], serial: str) -> FuelNode | None:
        wanted = {mac.lower().replace("-", ":") for mac in macs}
        found = [node for node in nodes if wanted & set(node.macs)]
        if not found:
            return None
        listed = ", ".join(sorted(wanted))
        if len(found) > 1:
            names = ", ".join(f"{node.id} ({node.name})" for node in found)
            raise self._refuse(
                f"MACs {listed} belong to several nodes: {names}", "correct the node's MACs in site.yaml."
            )
        node = found[0]
        missing = wanted - set(node.macs)
        if missing:
            raise self._refuse(
                f"node {node.id} ({node.name}) has MACs {', '.join(node.macs)}, but not {', '.join(sorted(missing))}: "
                "it is not the machine that was meant",
                "compare the machine with its MACs in site.yaml.",
            )
        if serial and node.serial.strip().lower() != serial.strip().lower():
            raise self._refuse(
                f"node {node.id} ({node.name}) has MACs {listed}, but serial {node.serial!r} instead of {serial!r}: it "
                "is not the machine that was meant",
                "compare the machine with its serial in site.yaml.",
            )
        return node

    def wait_discovered(
        self, macs: Iterable[str], serial: str = "", *, timeout_s: float, report: Report = silent
    ) -> FuelNode:
        """Wait until a machine runs Fuel's bootstrap image, is online, told all about itself, and is free.

        That it is online means that it booted just now only if it was missed before (:meth:`wait_missed`).

        :raises NodeRefused: when it is another machine (see :meth:`find_node`), or it belongs to an environment.
        :raises NodeTimeout: when it does not show in time.
        """
        macs = tuple(macs)
        said = ""

        def look() -> FuelNode | None:
            nonlocal said
            node = self.find_node(macs, serial)
            if node is not None and node.environment_id is not None:
                raise self._refuse(
                    f"node {node.id} ({node.name}) belongs to environment {node.environment_id} already "
                    f"({node.status}{'' if node.online else ', offline'})",
                    "a record of an earlier deployment: take it out of that environment in Fuel first.",
                )
            if node is not None and node.is_free and node.is_complete:
                return node
            seen = "it is not there yet" if node is None else _lack(node)
            if seen != said:
                said = seen
                report(f"Waiting for Fuel to discover {', '.join(macs)}: {said}.")
            return None

        found = self._wait(timeout_s, report, look)
        if found is not None:
            report(f"Fuel discovered {', '.join(macs)} as node {found.id} ({found.name}, serial {found.serial}).")
            return found
        raise NodeTimeout(
            f"{self.name} did not discover a machine with MACs {', '.join(macs)} in {timeout_s:.0f} s: {said}.",
            remedy="check that it has power, boots by PXE first, and that its first port is in the Admin VLAN.",
        )

    def wait_missed(
        self, macs: Iterable[str], serial: str = "", *, timeout_s: float, report: Report = silent
    ) -> FuelNode | None:
        """Wait until a machine that has no power is offline, or unknown (None).

        No release tells when it last heard of a node, and each calls one online for a while after its last word
        (``KEEPALIVE``, 180 s as shipped). So what is to be seen coming has to be missed first: ``online`` then says
        that the machine spoke since.

        :raises NodeRefused: when it is another machine (see :meth:`find_node`).
        :raises NodeTimeout: when it is online still: it has power, or Fuel does not look.
        """
        macs = tuple(macs)
        found: FuelNode | None = None
        told = False

        def look() -> bool | None:
            nonlocal found, told
            found = self.find_node(macs, serial)
            if found is None or not found.online:
                return True
            if not told:
                report(
                    f"{self.name} calls node {found.id} ({found.name}) online still: it is waited until it is missed."
                )
                told = True
            return None

        if self._wait(timeout_s, report, look):
            return found
        name = f"node {found.id} ({found.name})" if found is not None else f"the node with MACs {', '.join(macs)}"
        raise NodeTimeout(
            f"{self.name} calls {name} online still, {timeout_s:.0f} s after it was last seen without power.",
            remedy="see that its BMC is the machine's own, and that Fuel's assassind runs on the master.",
        )

    # --- membership

    def assign(self, environment_id: int, roles: Mapping[int, Sequence[str]]) -> list[FuelNode]:
        """Give free nodes to an environment, all or none, and read them again; effective with the next deployment.

        Nodes that are there with these roles stay as they are.

        :param roles: node id -> roles.
        :raises NodeRefused: when a node is not free, not fully discovered, has other roles there, or is to get none
            (for which 5.1 and 6.0 have a 500 that says nothing).
        """
        if bare := [str(node_id) for node_id, wanted in roles.items() if not wanted]:
            raise self._refuse(f"nodes {', '.join(bare)} are to be assigned without a role", "give each one.")
        todo: list[dict[str, Any]] = []
        for node_id, wanted in roles.items():
            node = self.get_node(node_id)
            if node.environment_id == environment_id and not node.pending_deletion:
                if set(node.roles) | set(node.pending_roles) != set(wanted):
                    raise self._refuse(
                        f"node {node_id} ({node.name}) is in environment {environment_id} with roles "
                        f"{', '.join((*node.roles, *node.pending_roles))}",
                        "unassign it first.",
                    )
                continue
            if not node.is_free or not node.is_complete:
                raise self._refuse(
                    f"node {node_id} ({node.name}) cannot be assigned: {_lack(node)}", "wait until it is discovered."
                )
            todo.append({"id": node_id, "roles": list(wanted)})
        if todo:
            names = ", ".join(str(one["id"]) for one in todo)
            path = f"/clusters/{environment_id}/assignment/"
            self.wire.change("POST", path, f"assign nodes {names} to environment {environment_id}", todo)
        after = [self.get_node(node_id) for node_id in roles]
        for node in after:
            if node.environment_id != environment_id or set(node.roles) | set(node.pending_roles) != set(
                roles[node.id]
            ):
                raise self._refuse(
                    f"it took the assignment of node {node.id} and does not show it", "look at it in Fuel."
                )
        return after

    def unassign(self, environment_id: int, node_ids: Iterable[int]) -> list[FuelNode]:
        """Take nodes out of an environment, and read them again. Undeployed ones leave at once and lose their name;
        deployed ones are wiped by the next deployment (``pending_deletion``).
        """
        node_ids = list(node_ids)
        before = [self.get_node(node_id) for node_id in node_ids]
        todo = [n.id for n in before if n.environment_id == environment_id and not n.pending_deletion]
        if todo:
            self.wire.change(
                "POST",
                f"/clusters/{environment_id}/unassignment/",
                f"take nodes {', '.join(map(str, todo))} out of environment {environment_id}",
                [{"id": node_id} for node_id in todo],
            )
        after = [self.get_node(node_id) for node_id in node_ids]
        for node in after:
            if node.environment_id == environment_id and not node.pending_deletion:
                raise self._refuse(f"it took node {node.id} out and still shows it there", "look at it in Fuel.")
        return after

    def set_node_name(self, node_id: int, name: str) -> FuelNode:
        """Name a node (Fuel forgets it when the node is unassigned: name it after the final assignment)."""
        return self._set_node(node_id, name=name)

    def set_hostname(self, node_id: int, hostname: str) -> FuelNode:
        """Choose the host name that nova will show.

        :raises NodeRefused: before 7.0, which ignores it silently and calls the node ``node-ID``.
        """
        if self.version().number < (7, 0):
            raise self._refuse(f"release {self.version().release} chooses host names itself", f"expect node-{node_id}.")
        return self._set_node(node_id, hostname=hostname)

    def _set_node(self, node_id: int, **values: str) -> FuelNode:
        [(key, value)] = values.items()
        if getattr(self.get_node(node_id), key) != value:
            self.wire.change("PUT", f"/nodes/{node_id}/", f"set the {key} of node {node_id}", values)
        node = self.get_node(node_id)
        if getattr(node, key) != value:
            raise self._refuse(f"it took the {key} {value!r} of node {node_id} and shows another", "set it in Fuel.")
        return node

    def delete_node(self, node_id: int, *, timeout_s: float = 600.0) -> None:
        """Forget a node that belongs to no environment, and wait until it is gone. It comes back with a new id as
        soon as its bootstrap image reports again.

        :raises NodeRefused: when it belongs to an environment: unassign it and deploy instead, which wipes it.
        """
        try:
            node = self.get_node(node_id)
        except NodeRefused as error:
            if error.status == 404:
                return
            raise
        if node.environment_id is not None:
            raise self._refuse(
                f"node {node_id} ({node.name}) belongs to environment {node.environment_id}",
                "unassign it and deploy instead of deleting it.",
            )
        raw = self.wire.change("DELETE", f"/nodes/{node_id}/", f"delete node {node_id}")
        if parse.is_task(raw):
            task = parse.task(Doc(raw, self.name))
            if task.status == "error":
                raise self._task_failed(task, [])
        for _ in self._until(timeout_s):
            if all(one.id != node_id for one in self.list_nodes()):
                return
        raise NodeTimeout(
            f"{self.name}: node {node_id} is still there {timeout_s:.0f} s after its deletion.",
            remedy="look at its tasks in Fuel.",
        )

    # --- layout

    def disks(self, node_id: int) -> list[dict[str, Any]]:
        """Disks with their volumes, sizes in MiB (read only), as Fuel has them; empty before an assignment."""
        found = self.wire.get_list(f"/nodes/{node_id}/disks/", f"show disks of node {node_id}")
        for disk in found:
            disk.whole("size")
            for volume in _named(disk, "volumes"):
                volume.whole("size")
        return [disk.raw for disk in found]

    def set_disks(self, node_id: int, layout: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Set disks and volumes, and read them again.

        :raises NodeRefused: when they do not fit, when the node is past ``discover`` (Fuel would take the layout and
            never apply it), or when Fuel shows another layout afterwards.
        """
        self._still_layable(node_id)
        self.wire.change("PUT", f"/nodes/{node_id}/disks/", f"set disks of node {node_id}", list(layout))
        after = self.disks(node_id)
        if _volumes(after) != _volumes(layout):
            raise self._refuse(f"it took the disks of node {node_id} and shows another layout", "set them in Fuel.")
        return after

    def interfaces(self, node_id: int) -> list[dict[str, Any]]:
        """Interfaces with the networks assigned to them (read only), as Fuel has them."""
        path = f"/nodes/{node_id}/interfaces/"
        found = self.wire.get_list(path, f"show interfaces of node {node_id}")
        for nic in found:
            _named(nic, "assigned_networks")
        return [nic.raw for nic in found]

    def set_interfaces(self, node_id: int, layout: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Set which networks each interface carries, and read them again.

        :raises NodeRefused: when a network is left out, when the node is past ``discover``, or when Fuel shows another
            layout afterwards.
        """
        self._still_layable(node_id)
        path = f"/nodes/{node_id}/interfaces/"
        self.wire.change("PUT", path, f"set interfaces of node {node_id}", list(layout))
        after = self.interfaces(node_id)
        if _carried(after) != _carried(layout):
            raise self._refuse(
                f"it took the interfaces of node {node_id} and shows another layout", "set them in Fuel."
            )
        return after

    def copy_layout(self, template_id: int, node_id: int, *, disks: bool = True) -> None:
        """Give a node the interfaces and disks of another one of its environment and roles, by their names.

        :param disks: False: the interfaces only; Fuel's own proposal for the disks stays.
        :raises NodeRefused: when the two do not correspond: environment, roles, names, or a disk that is too small;
            or when the template bonds interfaces, which only a person can lay out for other hardware.
        """
        template, node = self.get_node(template_id), self.get_node(node_id)
        both = f"node {node_id} ({node.name}) and template {template_id} ({template.name})"
        if node.environment_id is None or node.environment_id != template.environment_id:
            raise self._refuse(f"{both} are not in one environment", "assign the node first.")
        if {*node.roles, *node.pending_roles} != {*template.roles, *template.pending_roles}:
            raise self._refuse(f"{both} have different roles, which have different volumes", "choose another template.")
        interfaces = self._interfaces_like(both, self.interfaces(template_id), self.interfaces(node_id))
        volumes = self._disks_like(both, self.disks(template_id), self.disks(node_id)) if disks else None
        self.set_interfaces(node_id, interfaces)
        if volumes is not None:
            self.set_disks(node_id, volumes)

    def _interfaces_like(
        self, both: str, template: list[dict[str, Any]], mine: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if any(one.get("type") == "bond" for one in (*template, *mine)):
            raise self._refuse(f"{both}: bonded interfaces are not copied", "lay the node out in Fuel by hand.")
        pattern = {str(one["name"]): one for one in template}
        needed = {name for name, one in pattern.items() if one.get("assigned_networks")}
        lacking = needed - {str(one["name"]) for one in mine}
        if lacking:
            raise self._refuse(
                f"{both}: the node has no interface {', '.join(sorted(lacking))}", "lay it out in Fuel by hand."
            )
        found = copy.deepcopy(mine)
        for one in found:
            like = pattern.get(str(one["name"]), {})
            one["assigned_networks"] = copy.deepcopy(like.get("assigned_networks", []))
            if "interface_properties" in one and "interface_properties" in like:
                one["interface_properties"] = copy.deepcopy(like["interface_properties"])
        return found

    def _disks_like(
        self, both: str, template: list[dict[str, Any]], mine: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        pattern = {str(one["name"]): one for one in template}
        found = copy.deepcopy(mine)
        if pattern.keys() != {str(one["name"]) for one in found}:
            raise self._refuse(f"{both} have different disks", _DISKS_BY_HAND)
        for disk in found:
            volumes = copy.deepcopy(pattern[str(disk["name"])]["volumes"])
            used_mib = sum(int(volume["size"]) for volume in volumes)
            if used_mib > int(disk["size"]):
                raise self._refuse(
                    f"{both}: disk {disk['name']} has {disk['size']} MiB, and the template uses {used_mib}",
                    _DISKS_BY_HAND,
                )
            disk["volumes"] = volumes
        return found

    def _still_layable(self, node_id: int) -> None:
        node = self.get_node(node_id)
        if node.status != "discover" or node.environment_id is None:
            raise self._refuse(
                f"node {node_id} ({node.name}) is {node.status} in "
                f"{f'environment {node.environment_id}' if node.environment_id else 'no environment'}: its layout "
                "has no effect now",
                "lay it out between assignment and deployment.",
            )


def _named(doc: Doc, key: str) -> list[Doc]:
    """The objects inside a named one, which have to have names as well."""
    doc.text("name")
    found = doc.docs(key)
    for one in found:
        one.text("name")
    return found


def _lack(node: FuelNode) -> str:
    if node.environment_id is not None:
        return f"node {node.id} belongs to environment {node.environment_id}"
    if node.pending_deletion:
        return f"node {node.id} is to be deleted"
    if node.status != "discover":
        return f"node {node.id} is {node.status}, not discover"
    if not node.online:
        return f"node {node.id} is offline"
    lacking = [what for what, has in (("address", node.ip), ("disks", node.disks), ("NICs", node.nics)) if not has]
    return f"node {node.id} told no {', no '.join(lacking)}" if lacking else f"node {node.id} is there"


def _volumes(layout: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        str(disk["name"]): {str(v["name"]): int(v["size"]) for v in disk.get("volumes", []) if int(v["size"])}
        for disk in layout
    }


def _carried(layout: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    return {
        one.text("name"): {network.text("name") for network in one.docs("assigned_networks")}
        for one in docs([dict(entry) for entry in layout], "interfaces")
    }
