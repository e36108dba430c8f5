"""Networks, routers, security groups and ports at the destination."""

from __future__ import annotations

from typing import Any

from pumphouse.clouds import rule_key
from pumphouse.errors import Conflict, NotFound, StepError
from pumphouse.model import Network, Port, SecurityGroup, SecurityGroupRule
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect

#: What makes two rules the same rule, beside the group that they point to.
RULE_FIELDS = ("direction", "ethertype", "protocol", "port_min", "port_max", "remote_cidr")


class EnsureNetwork(Step):
    """The Neutron network that shares the Private L2 with a nova-network network."""

    kind = "network"
    maps = "network"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the network of the planned name, if it has the source's CIDR."""
        named = [n for n in ctx.destination.neutron.list_networks() if n.name == step.params["name"] and not n.external]
        if not named:
            return None
        if len(named) > 1:
            raise StepError(
                f"{len(named)} networks are called {step.params['name']} at {ctx.destination.name}: "
                f"{', '.join(n.id for n in named)}.",
                remedy="rename all but one, or name another in site.yaml, destination.networks.",
            )
        if named[0].cidr is None and ctx.journal.made_by_us(step.key):
            return None
        if named[0].cidr != step.params["cidr"]:
            raise StepError(
                f"Network {named[0].name} ({named[0].id}) at {ctx.destination.name} has {named[0].cidr}, "
                f"the source network {step.params['source_name']} has {step.params['cidr']}.",
                remedy="map the source network to one of the same CIDR in site.yaml, destination.networks.",
            )
        return {"id": named[0].id, "subnet_id": named[0].subnet_id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the network and its subnet; one that a crash of ours left without subnet is removed first."""
        params = step.params
        for left in ctx.destination.neutron.list_networks():
            if left.name == params["name"] and left.cidr is None and not left.external:
                ctx.destination.neutron.delete_network(left.id)
        made = ctx.destination.neutron.create_network(
            Network(
                id="",
                name=params["name"],
                cidr=params["cidr"],
                gateway_ip=params["gateway_ip"],
                dns=tuple(params["dns"]),
                shared=params["shared"],
                project_id=ctx.mapped("project", params["project_id"]) if params["project_id"] else None,
                pools=tuple((first, last) for first, last in params["pools"]),
            )
        )
        return {"id": made.id, "subnet_id": made.subnet_id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The network is listed with the source's CIDR."""
        found = network_of(ctx, outcome["id"])
        expect(f"network {found.name} at {ctx.destination.name}", {"cidr": (step.params["cidr"], found.cidr)})
        return {"id": found.id, "cidr": found.cidr, "gateway_ip": found.gateway_ip}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a network that we made."""
        if not ours:
            return {"kept": True}
        params, gone = step.params, []
        for network in ctx.destination.neutron.list_networks():
            # without an outcome we died in between: it may have no subnet yet
            same = network.name == params["name"] and network.cidr in (None, params["cidr"]) and not network.external
            if network.id == outcome.get("id") or ("id" not in outcome and same):
                ctx.destination.neutron.delete_network(network.id)
                gone.append(network.id)
        return {"deleted": gone}


class EnsureRouter(Step):
    """A router between the private network and the external one, so that floating IPs work."""

    kind = "router"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt any router that joins the two."""
        found = ctx.destination.neutron.find_router(ctx.mapped("network", step.params["network_id"]))
        return {"id": found[0]} if found and found[1] == step.params["external_network_id"] else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the router, or finish one that was left incomplete."""
        network = network_of(ctx, ctx.mapped("network", step.params["network_id"]))
        made = ctx.destination.neutron.create_router(
            step.params["name"],
            external_network_id=step.params["external_network_id"],
            subnet_id=str(network.subnet_id),
        )
        return {"id": made}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The router joins the two networks."""
        expect(step.title, {"router": (outcome["id"], (self.look(ctx, step) or {}).get("id"))})
        return outcome

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a router that we made, unless servers stay on its network: it is their way out."""
        router_id = outcome.get("id") or ctx.destination.neutron.find_router_by_name(step.params["name"])
        if not ours or router_id is None:
            return {"kept": True}
        ports = ctx.destination.neutron.list_ports(network_id=ctx.mapped("network", step.params["network_id"]))
        if any(port.server_id and port.device_owner.startswith("compute:") for port in ports):
            return {"kept": router_id, "why": "servers stay on its network"}
        ctx.destination.neutron.delete_router(router_id)
        return {"deleted": router_id}


class EnsureSecurityGroup(Step):
    """A security group of that name in the project; its rules are a step of their own."""

    kind = "security-group"
    maps = "security_group"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the project's group of that name; asking makes Neutron give the project its ``default``."""
        project_id = ctx.mapped("project", step.params["project_id"])
        for group in ctx.destination.neutron.list_security_groups(project_id=project_id):
            if group.name == step.params["name"]:
                return {"id": group.id}
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the group."""
        project_id = ctx.mapped("project", step.params["project_id"])
        try:
            made = ctx.destination.neutron.create_security_group(
                project_id, step.params["name"], step.params["description"]
            )
        except Conflict:
            # Neutron made ``default`` by itself since we looked
            found = self.look(ctx, step)
            if found is None:
                raise
            return found
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The group is listed in its project."""
        expect(step.title, {"id": (outcome["id"], group_of(ctx, outcome["id"]).id)})
        return {"id": outcome["id"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a group that we made; ``default`` goes with its project."""
        found = self.look(ctx, step)
        if not ours or found is None or step.params["name"] == "default":
            return {"kept": found is not None}
        ctx.destination.neutron.delete_security_group(found["id"])
        return {"deleted": found["id"]}


class EnsureSecurityGroupRules(Step):
    """All rules of a source group; rules that the destination has besides stay."""

    kind = "security-group-rules"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In place when no rule is missing."""
        return None if self._missing(ctx, step) else {"rules": len(step.params["rules"])}

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """The rules that we are about to add: what undoing will remove."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("added", [])
        return {"added": begun + [list(rule_key(rule)) for rule in self._missing(ctx, step)]}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Add the missing ones."""
        group_id = ctx.mapped("security_group", step.params["source_id"])
        project_id = ctx.mapped("project", step.params["project_id"])
        for rule in self._missing(ctx, step):
            ctx.destination.neutron.add_security_group_rule(group_id, project_id, rule)
        return {"rules": len(step.params["rules"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Re-read the group: every source rule is there."""
        expect(step.title, {"missing rules": ([], [str(rule_key(rule)) for rule in self._missing(ctx, step)])})
        return {"rules": len(step.params["rules"])}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Remove the rules that we added."""
        added = [tuple(key) for key in outcome.get("added", ())]
        if not ours or not added:
            return {"kept": True}
        group = group_of(ctx, ctx.mapped("security_group", step.params["source_id"]))
        removed = [rule.id for rule in group.rules if rule_key(rule) in added]
        for rule_id in removed:
            ctx.destination.neutron.delete_security_group_rule(rule_id)
        return {"deleted": removed}

    def _missing(self, ctx: Context, step: PlannedStep) -> list[SecurityGroupRule]:
        group = group_of(ctx, ctx.mapped("security_group", step.params["source_id"]))
        have = {rule_key(rule) for rule in group.rules}
        wanted = []
        for raw in step.params["rules"]:
            remote = raw["remote_group_id"]
            rule = SecurityGroupRule(
                id="",
                **{name: raw[name] for name in RULE_FIELDS},
                remote_group_id=ctx.mapped("security_group", remote) if remote else None,
            )
            if rule_key(rule) not in have:
                wanted.append(rule)
        return wanted


class EnsurePort(Step):
    """An unbound port that holds the server's fixed IP and MAC until the server boots."""

    kind = "port"
    maps = "port"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the port that holds the address, if it is the one we would make."""
        network_id = ctx.mapped("network", step.params["network_id"])
        found = ctx.destination.neutron.find_port(network_id, step.params["address"])
        if found is None:
            return None
        if found.name != step.params["name"]:
            raise StepError(
                f"Address {step.params['address']} is taken at {ctx.destination.name} by port {found.id} "
                f"({found.name or 'no name'}, {found.device_owner or 'unbound'}, device {found.server_id or 'none'}).",
                remedy="free the address there (delete that port or give it another address), then run again.",
            )
        return {"id": found.id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the port."""
        params = step.params
        made = ctx.destination.neutron.create_port(
            name=params["name"],
            network=network_of(ctx, ctx.mapped("network", params["network_id"])),
            project_id=ctx.mapped("project", params["project_id"]),
            address=params["address"],
            mac=params["mac"],
            security_group_ids=[ctx.mapped("security_group", group) for group in params["security_group_ids"]],
        )
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Address, MAC, project and groups are as planned."""
        found = ctx.destination.neutron.get_port(outcome["id"])
        groups = sorted(ctx.mapped("security_group", group) for group in step.params["security_group_ids"])
        pairs: dict[str, tuple[Any, Any]] = {
            "address": (step.params["address"], found.address),
            "project": (ctx.mapped("project", step.params["project_id"]), found.project_id),
            "security groups": (groups, sorted(found.security_group_ids)),
        }
        if step.params["mac"]:
            pairs["MAC"] = (step.params["mac"].lower(), found.mac.lower())
        expect(f"port {found.name} at {ctx.destination.name}", pairs)
        return {"id": found.id, "address": found.address, "mac": found.mac}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a port that we made."""
        port = self._existing(ctx, step, outcome)
        if not ours or port is None:
            return {"kept": port is not None}
        ctx.destination.neutron.delete_port(port.id)
        return {"deleted": port.id}

    def _existing(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Port | None:
        try:
            if outcome.get("id"):
                return ctx.destination.neutron.get_port(outcome["id"])
        except NotFound:
            return None
        found = self.look(ctx, step)
        return ctx.destination.neutron.get_port(found["id"]) if found else None


def network_of(ctx: Context, network_id: str) -> Network:
    """A destination network by id, with its subnet."""
    for network in ctx.destination.neutron.list_networks():
        if network.id == network_id:
            return network
    raise StepError(
        f"Network {network_id} is gone from {ctx.destination.name}.",
        remedy="somebody deleted it after it was made: make the plan again.",
    )


def group_of(ctx: Context, group_id: str) -> SecurityGroup:
    """A destination security group by id, with its rules."""
    for group in ctx.destination.neutron.list_security_groups():
        if group.id == group_id:
            return group
    raise StepError(
        f"Security group {group_id} is gone from {ctx.destination.name}.",
        remedy="somebody deleted it after it was made: make the plan again.",
    )
