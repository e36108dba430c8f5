"""Networks, routers and ports at the destination; the addresses that the source leaves to them."""

from __future__ import annotations

from typing import Any

from pumphouse.errors import NotFound, PlanStale, StepError
from pumphouse.model import Network, Port
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.ground import ground_of


class ReserveSlice(Step):
    """Addresses of a source network that the source must not hand out: the destination does from now on."""

    kind = "reserve-slice"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """All reserved already; until Nova 2.4 only the journal tells a reserved address from a free one."""
        network = ctx.source.nova_network
        if not network.tells_reservations():
            said = [e.event for e in ctx.journal.events(step_key=step.key) if e.event in ("verified", "undone")]
            return {"reserved": len(step.params["addresses"])} if said[-1:] == ["verified"] else None
        states = {address: network.fixed_ip_state(address) for address in step.params["addresses"]}
        return {"reserved": len(states)} if set(states.values()) == {"reserved"} else None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Which of them nobody had reserved: undoing gives these back."""
        begun = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data.get("free", [])
        return {"free": sorted({*begun, *self._states(ctx, step, "free")})}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Reserve them; none when one of them is in use."""
        self._unused(ctx, step)
        for address in step.params["addresses"]:
            ctx.source.nova_network.reserve_fixed_ip(address)
        return {"reserved": len(step.params["addresses"])}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again, the source gave none of them away meanwhile, and calls none free (where it tells)."""
        self._unused(ctx, step)
        if ctx.source.nova_network.tells_reservations():
            expect(step.title, {"free": ([], self._states(ctx, step, "free"))})
        return {"reserved": [step.params["addresses"][0], step.params["addresses"][-1]]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Let the source hand out again what it could before."""
        if not ours:
            return {"kept": True}
        for address in outcome.get("free", ()):
            ctx.source.nova_network.unreserve_fixed_ip(address)
        return {"unreserved": len(outcome.get("free", ()))}

    def _unused(self, ctx: Context, step: PlannedStep) -> None:
        if taken := self._states(ctx, step, "used", "outside"):
            raise PlanStale(
                f"Network {step.params['source_name']} of {ctx.source.name} cannot spare {', '.join(taken)} for the "
                f"destination: in use there, or not its own.",
                remedy="name a free range in site.yaml, destination.provider, or make the plan again.",
            )

    def _states(self, ctx: Context, step: PlannedStep, *wanted: str) -> list[str]:
        look = ctx.source.nova_network.fixed_ip_state
        return [address for address in step.params["addresses"] if look(address) in wanted]


class EnsureNetwork(Step):
    """The Neutron network that shares the Private L2 with a nova-network network."""

    kind = "network"
    maps = "network"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt the network of the planned name, if it has the source's CIDR."""
        named = [n for n in ground_of(ctx.destination).networks_named(step.params["name"]) if not n.external]
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
        _require_segment(ctx, step, named[0])
        return {"id": named[0].id, "subnet_id": named[0].subnet_id}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Make the network and its subnet; one that a crash of ours left without subnet is removed first."""
        params = step.params
        for left in ground_of(ctx.destination).networks_named(params["name"]):
            if left.cidr is None and not left.external:
                ground_of(ctx.destination).delete_network(left.id)
        made = ground_of(ctx.destination).create_network(
            Network(
                id="",
                name=params["name"],
                cidr=params["cidr"],
                gateway_ip=params["gateway_ip"],
                dns=tuple(params["dns"]),
                shared=params["shared"],
                project_id=ctx.mapped("project", params["project_id"]) if params["project_id"] else None,
                pools=tuple((first, last) for first, last in params["pools"]),
                **(params["provider"] or {}),
            )
        )
        return {"id": made.id, "subnet_id": made.subnet_id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The network is there, with the source's CIDR and on the planned segment."""
        found = network_of(ctx, outcome["id"])
        expect(f"network {found.name} at {ctx.destination.name}", {"cidr": (step.params["cidr"], found.cidr)})
        _require_segment(ctx, step, found)
        return {
            "id": found.id,
            "cidr": found.cidr,
            "gateway_ip": found.gateway_ip,
            "mtu": found.mtu,
            "segment": [found.network_type, found.physical_network, found.segment],
        }

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a network that we made."""
        if not ours:
            return {"kept": True}
        params, gone = step.params, []
        for network in ground_of(ctx.destination).networks_named(params["name"]):
            # without an outcome we died in between: it may have no subnet yet
            same = network.cidr in (None, params["cidr"]) and not network.external
            if network.id == outcome.get("id") or ("id" not in outcome and same):
                ground_of(ctx.destination).delete_network(network.id)
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
            more=params["more"],
        )
        return {"id": made.id}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Address, MAC, project and groups are as planned."""
        found = ctx.destination.neutron.get_port(outcome["id"])
        groups = sorted(ctx.mapped("security_group", group) for group in step.params["security_group_ids"])
        pairs: dict[str, tuple[Any, Any]] = {
            "addresses": (sorted([step.params["address"], *step.params["more"]]), sorted(found.addresses)),
            "project": (ctx.mapped("project", step.params["project_id"]), found.project_id),
            "security groups": (groups, sorted(found.security_group_ids)),
        }
        if step.params["mac"]:
            pairs["MAC"] = (step.params["mac"].lower(), found.mac.lower())
        expect(f"port {found.name} at {ctx.destination.name}", pairs)
        return {"id": found.id, "address": found.address, "addresses": list(found.addresses), "mac": found.mac}

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
    try:
        return ground_of(ctx.destination).get_network(network_id)
    except NotFound as error:
        raise StepError(
            f"Network {network_id} is gone from {ctx.destination.name}.",
            remedy="somebody deleted it after it was made: make the plan again.",
        ) from error


def _require_segment(ctx: Context, step: PlannedStep, found: Network) -> None:
    want = step.params["provider"]
    if want is None or found.network_type is None:
        return
    have = {"network_type": found.network_type, "physical_network": found.physical_network, "segment": found.segment}
    differs = {name: (value, have[name]) for name, value in want.items() if value != have[name]}
    if differs:
        shown = ", ".join(f"{name} {there} instead of {planned}" for name, (planned, there) in differs.items())
        raise StepError(
            f"Network {found.name} ({found.id}) at {ctx.destination.name} is not on the planned segment: {shown}.",
            remedy="correct destination.provider in site.yaml, or map the source's network to another one.",
        )
