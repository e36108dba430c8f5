"""Planning a move: from a selection and two snapshots to ordered steps, notes and findings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pumphouse.errors import SelectionError
from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.model import Image, Network, Project, SecurityGroup, Server, User
from pumphouse.plan.addresses import free_slice
from pumphouse.plan.fingerprint import fingerprint
from pumphouse.plan.model import Note, Plan, PlannedStep, PlanServer, order
from pumphouse.selection import Selection
from pumphouse.site import Site

#: Roles that current policies let boot servers (compared without case).
BOOTING_ROLES = frozenset({"member", "admin"})
#: Source roles with another name at the destination, unless ``destination.roles`` in site.yaml says otherwise.
ROLE_NAMES = {"_member_": "member"}
#: Pseudo source id of the role with which the operator boots where the owner cannot.
OPERATOR_ROLE = "@operator"
#: States in which a server can be moved.
MOVABLE = ("ACTIVE", "SHUTOFF")


def plan_move(
    inventory: Inventory, selection: Selection, site: Site, *, secrets_known: frozenset[str] = frozenset()
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan moving the selected servers and all they need (read only; asks no cloud).

    :param secrets_known: names of users whose one-time secret we hold from an earlier plan.
    :returns: the plan, and what stands in its way as findings; a plan with blocking findings must not run.
    :raises SelectionError: when a selected server is not in the source's snapshot.
    """
    planner = _MovePlanner(inventory, selection, site, secrets_known)
    return planner.plan()


class _MovePlanner:
    def __init__(self, inventory: Inventory, selection: Selection, site: Site, secrets: frozenset[str]) -> None:
        if inventory.destination is None:
            raise SelectionError("A move needs both clouds' inventories.", remedy="take the destination's too.")
        self.source: Snapshot = inventory.source
        self.destination: Snapshot = inventory.destination
        self.selection, self.site, self.secrets = selection, site, secrets
        self.steps: dict[str, PlannedStep] = {}
        self.findings: list[Finding] = []
        self.notes: list[Note] = []
        self.copy_bytes = 0
        self.servers = [self._server(server_id) for server_id in selection.server_ids]

    def plan(self) -> tuple[Plan, tuple[Finding, ...]]:
        for project_id in sorted({server.project_id for server in self.servers}):
            self._project(project_id)
        for server in self.servers:
            self._move(server)
        plan = Plan(
            kind="move",
            source=self.source.facts.cloud,
            destination=self.destination.facts.cloud,
            selection_digest=self.selection.digest,
            servers=tuple(self._plan_server(server) for server in self.servers),
            steps=order(self.steps.values()),
            notes=tuple(sorted(set(self.notes), key=lambda note: (note.object, note.text))),
            copy_bytes=self.copy_bytes,
        )
        return plan, tuple(self.findings)

    # -- small helpers ------------------------------------------------------------------------
    def _server(self, server_id: str) -> Server:
        found = self.source.server(server_id)
        if found is None:
            raise SelectionError(
                f"Server {server_id} is selected, but {self.source.facts.cloud} does not have it.",
                remedy="take the inventory again and choose from that.",
            )
        return found

    def _plan_server(self, server: Server) -> PlanServer:
        project, image, flavor = (
            self.source.project(server.project_id),
            self.source.image(server.image_id),
            self.source.flavor(server.flavor_id),
        )
        return PlanServer(
            id=server.id,
            name=server.name,
            project=project.name if project else server.project_id,
            host=server.host,
            status=server.status,
            addresses=tuple(address.address for address in server.addresses),
            floating_ips=tuple(sorted(server.floating_ips)),
            fingerprint=fingerprint(server),
            flavor=flavor.name if flavor else server.flavor_id,
            image=image.name if image else str(server.image_id),
        )

    def _block(self, code: str, obj: str, message: str, remedy: str) -> None:
        self.findings.append(Finding("block", code, obj, message, remedy))

    def _warn(self, code: str, obj: str, message: str, remedy: str = "") -> None:
        self.findings.append(Finding("warn", code, obj, message, remedy))

    def _add(self, key: str, **fields: Any) -> str:
        if key not in self.steps:
            fields.setdefault("phase", "prepare")
            fields.setdefault("changes", "destination")
            fields.setdefault("kind", key.partition(":")[0])
            self.steps[key] = PlannedStep(key=key, **fields)
        return key

    # -- projects, people ---------------------------------------------------------------------
    def _project(self, project_id: str) -> None:
        project = self.source.project(project_id)
        if project is None:
            self._block(
                "project-missing",
                f"project {project_id}",
                "Servers are selected whose project Keystone no longer has.",
                "leave these servers out, or make the project again in the source.",
            )
            project = Project(project_id, project_id)
        if not project.enabled:
            self._block(
                "project-disabled",
                f"project {project.name}",
                "A disabled project cannot boot servers at the destination.",
                "enable it for the time of the move, or leave its servers out.",
            )
        known = self.destination.project_named(project.name)
        if known is not None and known.source_id != project.id:
            self._block(
                "project-exists",
                f"project {project.name}",
                f"{self.destination.facts.cloud} has a project of that name ({known.id}) that pumphouse did not make.",
                "accept `project-exists` to move into it, or rename one of the two.",
            )
        self._add(
            f"project:{project.id}",
            title=f"project {project.name}",
            params={
                "source_id": project.id,
                "name": project.name,
                "description": project.description or "",
                "enabled": project.enabled,
            },
            undo="deleted, if pumphouse made it",
        )
        for assignment in self.source.assignments_of(project.id):
            user = self.source.user(assignment.user_id)
            if user is None or self._is_operator(user):
                continue
            self._assignment(project, user, assignment.role_id)
        for group in self.source.security_groups_of(project.id):
            self._security_group(project, group)

    def _is_operator(self, user: User) -> bool:
        return user.name == self.source.facts.user_name

    def _user(self, user: User) -> str:
        known = self.destination.user_named(user.name)
        if known is not None and known.source_id != user.id:
            self._warn(
                "user-exists",
                f"user {user.name}",
                f"{self.destination.facts.cloud} has a user of that name that pumphouse did not make; it stays.",
            )
        elif known is None:
            self.notes.append(
                Note(f"user {user.name}", "gets a one-time password (hand-over file): no API carries password hashes")
            )
        default = user.default_project_id
        carried = default if default and f"project:{default}" in self.steps else None
        return self._add(
            f"user:{user.id}",
            title=f"user {user.name}",
            needs=(f"project:{carried}",) if carried else (),
            params={
                "source_id": user.id,
                "name": user.name,
                "email": user.email,
                "enabled": user.enabled,
                "default_project_id": carried,
                "description": user.description or "",
            },
            undo="deleted, if pumphouse made it",
        )

    def _role_name(self, role_id: str) -> str:
        role = self.source.role(role_id)
        name = role.name if role else role_id
        if name in self.site.roles:
            return self.site.roles[name]
        known = self.destination.role_named(ROLE_NAMES.get(name, name))
        return known.name if known else name

    def _role(self, role_id: str, name: str) -> str:
        return self._add(
            f"role:{role_id}",
            title=f"role {name}",
            params={"source_id": role_id, "name": name},
            undo="deleted, if pumphouse made it",
        )

    def _assignment(self, project: Project, user: User, role_id: str) -> None:
        name = self._role_name(role_id)
        source_name = self.source.role(role_id)
        if source_name is not None and source_name.name != name:
            self.notes.append(Note(f"role {source_name.name}", f"is called {name} at the destination"))
        if name.casefold() == "admin":
            self._warn(
                "admin-role",
                f"user {user.name}",
                f"has the admin role in {project.name}, which makes it an administrator of the whole destination too.",
                "revoke it in the source first if that is not wanted.",
            )
        self._add(
            f"assignment:{project.id}:{user.id}:{role_id}",
            title=f"role {name} for {user.name} in {project.name}",
            needs=(f"project:{project.id}", self._user(user), self._role(role_id, name)),
            params={"user_id": user.id, "project_id": project.id, "role_id": role_id},
            undo="revoked, if pumphouse granted it",
        )

    def _acting(self, server: Server) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Who boots this server (parameters for ``Context.acting``) and the steps that this needs."""
        user = self.source.user(server.user_id)
        name = user.name if user else server.user_id
        roles = [a.role_id for a in self.source.assignments_of(server.project_id) if a.user_id == server.user_id]
        base = {"user_id": server.user_id, "user_name": name, "project_id": server.project_id}
        known = self.destination.user_named(name) if user else None
        reason = None
        if user is None:
            reason = "its owner is gone from the source's Keystone"
        elif self._is_operator(user):
            reason = "it belongs to the migrating administrator"
        elif not user.enabled:
            reason = f"its owner {name} is disabled"
        elif known is not None and (known.source_id != user.id or name not in self.secrets):
            reason = f"its owner {name} exists at the destination with a password that pumphouse does not know"
        elif not any(self._role_name(role).casefold() in BOOTING_ROLES for role in roles):
            reason = f"its owner {name} has no role in the project that may boot servers"
        if reason is None:
            needs = tuple(f"assignment:{server.project_id}:{server.user_id}:{role}" for role in roles)
            return {**base, "as": "owner"}, needs
        self._warn("owner-not-kept", f"server {server.name}", f"will belong to the operator's user, because {reason}.")
        key = self._add(
            f"assignment:{server.project_id}:{OPERATOR_ROLE}",
            title=f"role admin for the operator in project {server.project_id}",
            needs=(f"project:{server.project_id}", self._role(OPERATOR_ROLE, "admin")),
            params={"operator": True, "user_id": None, "project_id": server.project_id, "role_id": OPERATOR_ROLE},
            undo="revoked, if pumphouse granted it",
        )
        return {**base, "as": "operator"}, (key,)

    # -- what servers are made of -------------------------------------------------------------
    def _security_group(self, project: Project, group: SecurityGroup) -> None:
        key = self._add(
            f"security-group:{group.id}",
            title=f"security group {group.name} of {project.name}",
            needs=(f"project:{project.id}",),
            params={
                "source_id": group.id,
                "project_id": project.id,
                "name": group.name,
                "description": group.description or "",
            },
            undo="deleted, if pumphouse made it",
        )
        rules, needs = [], [key]
        for rule in group.rules:
            remote = self.source.security_group(rule.remote_group_id) if rule.remote_group_id else None
            if rule.remote_group_id and (remote is None or remote.project_id != project.id):
                self._block(
                    "rules-unresolved",
                    f"security group {group.name} of {project.name}",
                    f"rule {rule.id} admits a group that is not of this project ({rule.remote_group_id}).",
                    "accept `rules-unresolved` to leave that rule out, or change it in the source.",
                )
                continue
            if remote is not None:
                needs.append(f"security-group:{remote.id}")
            rules.append({name: value for name, value in asdict(rule).items() if name != "id"})
        rules.sort(key=lambda rule: sorted((name, str(value)) for name, value in rule.items()))
        self._add(
            f"security-group-rules:{group.id}",
            title=f"{len(rules)} rules of security group {group.name} of {project.name}",
            needs=tuple(needs),
            params={"source_id": group.id, "project_id": project.id, "name": group.name, "rules": rules},
            undo="added rules are removed",
        )

    def _flavor(self, server: Server) -> str | None:
        flavor = self.source.flavor(server.flavor_id)
        if flavor is None:
            self._block(
                "flavor-missing",
                f"server {server.name}",
                f"its flavor {server.flavor_id} was deleted in the source, so that its size is unknown.",
                "leave the server out, or make a flavor of that id again in the source.",
            )
            return None
        access = [p for p in flavor.access_project_ids if f"project:{p}" in self.steps]
        dropped = sorted(set(flavor.access_project_ids) - set(access))
        if dropped:
            names = ", ".join(p.name if (p := self.source.project(i)) else i for i in dropped)
            self.notes.append(
                Note(f"flavor {flavor.name}", f"access of projects that are not moved is left out: {names}")
            )
        clash = next((f for f in self.destination.flavors if f.name == flavor.name and f.id != flavor.id), None)
        if clash is not None:
            self._block(
                "flavor-name-taken",
                f"flavor {flavor.name}",
                f"{self.destination.facts.cloud} has a flavor of that name with another id, {clash.id}.",
                "rename the one at the destination.",
            )
        document = asdict(flavor)
        document["access_project_ids"] = sorted(access)
        document["extra_specs"] = dict(sorted(flavor.extra_specs.items()))
        return self._add(
            f"flavor:{flavor.id}",
            title=f"flavor {flavor.name}",
            needs=tuple(f"project:{p}" for p in access),
            params={"source_id": flavor.id, "flavor": document},
            undo="deleted, if pumphouse made it",
        )

    def _image(self, image_id: str | None, server: Server) -> str | None:
        image = self.source.image(image_id)
        label = f"server {server.name}"
        if image is None:
            self._block(
                "image-missing",
                label,
                f"its image {image_id or '(none: a volume?)'} is gone from the source, so it cannot be rebuilt.",
                "leave the server out, or put its image back.",
            )
            return None
        if image.status != "active":
            self._block(
                "image-not-active",
                label,
                f"its image {image.name} ({image.id}) is {image.status}: it has no data to copy.",
                "leave the server out, or upload the image again.",
            )
            return None
        key = f"image:{image.id}"
        if key not in self.steps:
            self._image_step(key, image, server)
        return key

    def _image_step(self, key: str, image: Image, server: Server) -> None:
        needs = []
        for name in ("kernel_id", "ramdisk_id"):
            part = image.properties.get(name)
            if part:
                needed = self._image(part, server)
                if needed:
                    needs.append(needed)
        owner = image.owner_id if f"project:{image.owner_id}" in self.steps else None
        members = {m for m in image.member_ids if f"project:{m}" in self.steps}
        visibility = image.visibility
        if visibility == "private" and owner is None:
            # its owner is not moved: the operator's project keeps it, the server's project sees it
            members.add(server.project_id)
            visibility = "shared"
            self.notes.append(
                Note(f"image {image.name}", "belongs to the operator's project, shared: its owner is not moved")
            )
        needs += [f"project:{p}" for p in sorted(members | ({owner} if owner else set()))]
        document = {
            "name": image.name,
            "visibility": "shared" if members and visibility == "private" else visibility,
            "owner_id": owner,
            "size_bytes": image.size_bytes,
            "checksum": image.checksum,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
            "min_disk_gib": image.min_disk_gib,
            "min_ram_mib": image.min_ram_mib,
            "protected": image.protected,
            "properties": dict(sorted(image.properties.items())),
            "tags": sorted(image.tags),
            "member_ids": sorted(members),
        }
        self.copy_bytes += image.size_bytes or 0
        self._add(
            key,
            title=f"image {image.name} ({_mib(image.size_bytes)})",
            needs=tuple(needs),
            params={"source_id": image.id, "image": document},
            undo="deleted, if pumphouse made it",
        )

    def _keypair(self, server: Server, acting: dict[str, Any], needs: tuple[str, ...]) -> tuple[str | None, str | None]:
        """(key of the step, name to boot with); (None, None) for a server without key."""
        if server.key_name is None:
            return None, None
        found = self.source.keypair(server.user_id, server.key_name)
        if found is None:
            self._block(
                "keypair-unknown",
                f"server {server.name}",
                f"its keypair {server.key_name} of {acting['user_name']} cannot be read: Nova shows it to its owner.",
                "name that user's credentials in site.yaml, source.owners; or accept `keypair-unknown`: no key then.",
            )
            return None, None
        who = acting["user_id"] if acting["as"] == "owner" else f"@operator:{acting['project_id']}"
        key = self._add(
            f"keypair:{who}:{found.name}",
            title=f"keypair {found.name} of {acting['user_name']}",
            needs=needs,
            params={**acting, "name": found.name, "public_key": found.public_key},
            undo="deleted, if pumphouse imported it",
        )
        return key, found.name

    # -- networks -----------------------------------------------------------------------------
    def _network(self, label: str, server: Server) -> str | None:
        networks = [n for n in self.source.networks if n.name == label]
        if len(networks) != 1:
            self._block(
                "network-unknown",
                f"server {server.name}",
                f"its network {label} is {'not known' if not networks else 'ambiguous'} in the source.",
                "rename networks so that each label is used once.",
            )
            return None
        network = networks[0]
        name = self.site.networks.get(label, label)
        existing = [n for n in self.destination.networks if n.name == name and not n.external]
        gateway, pool = None, None
        if existing:
            self._check_existing(network, existing[0])
        elif label in self.site.networks:
            self._block(
                "network-missing",
                f"network {label}",
                f"site.yaml maps it to {name}, which {self.destination.facts.cloud} does not have.",
                "correct destination.networks in site.yaml, or leave the entry out: pumphouse then makes the network.",
            )
        else:
            gateway, pool = self._slice(network)
        return self._add(
            f"network:{network.id}",
            title=f"network {name} {network.cidr}",
            needs=(f"project:{network.project_id}",) if network.project_id else (),
            params={
                "source_id": network.id,
                "source_name": label,
                "name": name,
                "cidr": network.cidr,
                "gateway_ip": gateway,
                "dns": list(network.dns),
                "pools": [list(pool)] if pool else [],
                "shared": network.project_id is None,
                "project_id": network.project_id,
            },
            undo="deleted, if pumphouse made it",
        )

    def _used(self, network: Network) -> set[str]:
        used = {a.address for s in self.source.servers for a in s.addresses if a.network == network.name}
        return used | ({network.gateway_ip} if network.gateway_ip else set())

    def _slice(self, network: Network) -> tuple[str | None, tuple[str, str] | None]:
        found = free_slice(str(network.cidr), self._used(network))
        if found is None:
            self._block(
                "network-full",
                f"network {network.name}",
                f"{network.cidr} has no free run of addresses for the destination's gateway and DHCP.",
                "make the destination's network by hand and map it in site.yaml, destination.networks.",
            )
            return None, None
        gateway, first, last = found
        self.notes.append(
            Note(
                f"network {network.name}",
                f"its gateway at the destination is {gateway}, since {network.gateway_ip} stays the source's while "
                f"both clouds share the network; the destination picks addresses by itself only from {first}-{last}. "
                f"Keep the source from using these",
            )
        )
        return gateway, (first, last)

    def _check_existing(self, source: Network, existing: Network) -> None:
        if existing.cidr != source.cidr:
            self._block(
                "network-differs",
                f"network {source.name}",
                f"{existing.name} at {self.destination.facts.cloud} has {existing.cidr}, the source has {source.cidr}.",
                "map it to a network of the same CIDR in site.yaml, destination.networks.",
            )

    # -- the server ---------------------------------------------------------------------------
    def _move(self, server: Server) -> None:
        label = f"server {server.name}"
        self._check_state(server)
        acting, acting_needs = self._acting(server)
        flavor = self._flavor(server)
        image = self._image(server.image_id, server)
        keypair, key_name = self._keypair(server, acting, acting_needs)
        groups = self._groups(server)
        ports = [port for a in server.addresses if (port := self._port(server, a.network, a.address, a.mac, groups))]
        if not server.addresses:
            self._block(
                "no-address",
                label,
                "it has no fixed IP, so its identity on the network cannot be kept.",
                "leave it out.",
            )
        if flavor is None or image is None or len(ports) != len(server.addresses):
            return
        address = server.addresses[0].address if server.addresses else None
        self.notes.append(
            Note(
                label, f"is rebuilt from image {self.steps[image].params['image']['name']}: root-disk changes are lost"
            )
        )
        ready = [flavor, image, *ports, *acting_needs, *([keypair] if keypair else [])]
        ready += [f"security-group-rules:{group}" for group in groups]
        stop = self._add(
            f"stop:{server.id}",
            phase="cutover",
            changes="source",
            title=f"stop {server.name} at the source",
            needs=tuple(ready),
            params={"server_id": server.id, "name": server.name, "address": address},
            server_id=server.id,
            undo="started again",
        )
        boot = self._add(
            f"boot:{server.id}",
            phase="cutover",
            title=f"boot {server.name} at the destination",
            needs=(stop, *ready),
            params={
                **acting,
                "source_id": server.id,
                "name": server.name,
                "flavor_id": server.flavor_id,
                "image_id": server.image_id,
                "port_ids": [_port_id(server, a.address) for a in server.addresses],
                "addresses": [{"address": a.address, "mac": a.mac} for a in server.addresses],
                "key_name": key_name,
                "metadata": dict(sorted(server.metadata.items())),
                "config_drive": server.config_drive,
            },
            server_id=server.id,
            undo="deleted",
        )
        floating = self._floating_ips(server, stop)
        self._add(
            f"settle:{server.id}",
            phase="cutover",
            title=f"{server.name} serves at the destination",
            needs=(boot, *floating),
            params={
                **acting,
                "source_id": server.id,
                "name": server.name,
                "was": server.status,
                "address": address,
                "metadata": dict(sorted(server.metadata.items())),
            },
            server_id=server.id,
            undo="nothing of its own",
        )

    def _check_state(self, server: Server) -> None:
        label = f"server {server.name}"
        if server.status not in MOVABLE:
            why = f" ({server.fault})" if server.fault else ""
            self._block(
                "server-state",
                label,
                f"({server.id}) is {server.status}{why}; only {' and '.join(MOVABLE)} servers move.",
                "repair it in the source, or leave it out, e.g. with the query `status in ['ACTIVE', 'SHUTOFF']`.",
            )
        if server.task_state is not None:
            self._block(
                "server-busy",
                label,
                f"({server.id}) has task {server.task_state} under way, or is stuck in it.",
                "wait for it, or reset its state in the source; then take the inventory again.",
            )
        if server.volume_ids:
            self._block(
                "server-volumes",
                label,
                f"({server.id}) has volumes attached ({', '.join(server.volume_ids)}): only ephemeral servers move.",
                "detach the volumes, or leave the server out.",
            )
        down = [
            s for s in self.source.services if s.binary == "nova-compute" and s.host == server.host and s.state != "up"
        ]
        if down and server.status == "ACTIVE":
            self._block(
                "host-down",
                label,
                f"({server.id}) is on {server.host}, whose nova-compute is down: a stop would never end.",
                "bring the host's nova-compute back, or evacuate the server first.",
            )

    def _groups(self, server: Server) -> list[str]:
        found = []
        for name in sorted(set(server.security_groups)):
            groups = self.source.security_groups_named(server.project_id, name)
            if len(groups) == 1 and f"security-group:{groups[0].id}" in self.steps:
                found.append(groups[0].id)
            else:
                self._block(
                    "security-group-unknown",
                    f"server {server.name}",
                    f"its security group {name} is not among the project's groups.",
                    "take the inventory again; if it stays so, leave the server out.",
                )
        return found

    def _port(self, server: Server, label: str, address: str, mac: str | None, groups: list[str]) -> str | None:
        network = self._network(label, server)
        if network is None:
            return None
        step = self.steps[network]
        name = f"pumphouse {server.id}"
        taken = [p for p in self.destination.ports if p.address == address and p.name != name]
        here = [n.id for n in self.destination.networks if n.name == step.params["name"] and not n.external]
        taken = [p for p in taken if p.network_id in here]
        if taken:
            self._block(
                "fixed-ip-taken",
                f"server {server.name}",
                f"its address {address} is held at {self.destination.facts.cloud} by port {taken[0].id} "
                f"({taken[0].name or taken[0].device_owner or 'no name'}).",
                "free the address at the destination.",
            )
        return self._add(
            f"port:{_port_id(server, address)}",
            title=f"port {address} for {server.name}",
            needs=(
                network,
                f"project:{server.project_id}",
                *(f"security-group:{group}" for group in groups),
            ),
            params={
                "source_id": _port_id(server, address),
                "name": name,
                "network_id": step.params["source_id"],
                "project_id": server.project_id,
                "address": address,
                "mac": mac,
                "security_group_ids": groups,
            },
            server_id=server.id,
            undo="deleted",
        )

    def _floating_ips(self, server: Server, stop: str) -> list[str]:
        steps = []
        for floating in self.source.floating_ips_of(server.id):
            pool = self.site.floating_pools.get(floating.pool, floating.pool)
            external = [n for n in self.destination.networks if n.external and n.name == pool]
            if len(external) != 1:
                self._block(
                    "floating-pool-unknown",
                    f"floating IP {floating.address}",
                    f"of server {server.name} comes from pool {floating.pool}; {self.destination.facts.cloud} has "
                    f"{len(external) or 'no'} external network(s) called {pool}.",
                    "map the pool to an external network in site.yaml, destination.floating_pools.",
                )
                continue
            taken = self.destination.floating_ip(floating.address)
            own = self.destination.project_named(self._plan_server(server).project)
            if taken is not None and (own is None or taken.project_id != own.id or taken.fixed_address is not None):
                self._block(
                    "floating-ip-taken",
                    f"floating IP {floating.address}",
                    f"of server {server.name} is held at {self.destination.facts.cloud} by project {taken.project_id}.",
                    "release it at the destination.",
                )
            fixed = floating.fixed_address or server.addresses[0].address
            label = next((a.network for a in server.addresses if a.address == fixed), server.addresses[0].network)
            network = self._network(label, server)
            if network is None:
                continue
            router = self._add(
                f"router:{self.steps[network].params['source_id']}:{pool}",
                title=f"router between {self.steps[network].params['name']} and {pool}",
                needs=(network,),
                params={
                    "name": f"pumphouse {self.steps[network].params['name']} {pool}",
                    "network_id": self.steps[network].params["source_id"],
                    "external_network_id": external[0].id,
                },
                undo="deleted, if pumphouse made it",
            )
            port = _port_id(server, fixed)
            steps.append(
                self._add(
                    f"floating-ip:{floating.address}",
                    phase="cutover",
                    changes="both",
                    title=f"floating IP {floating.address} of {server.name}",
                    needs=(stop, router, f"port:{port}"),
                    params={
                        "address": floating.address,
                        "server_id": server.id,
                        "fixed_address": fixed,
                        "project_id": server.project_id,
                        "port_id": port,
                        "external_network_id": external[0].id,
                    },
                    server_id=server.id,
                    undo="given back to the source's server",
                )
            )
        return steps


def _port_id(server: Server, address: str) -> str:
    """Our own id of a server's presence on an address (nova-network has no ports)."""
    return f"{server.id}/{address}"


def _mib(size_bytes: int | None) -> str:
    return "size unknown" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"
