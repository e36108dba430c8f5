"""Compute hosts: out of service at the source, in service at the destination."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from pumphouse.clouds.hosts_api import COMPUTE
from pumphouse.errors import StepError, VerificationFailed
from pumphouse.model import Service
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.hardware.guards import overtaken, require_empty, same_machine

#: Seconds between two looks for a service that has yet to register.
POLL_S = 1.0


class DisableHost(Step):
    """Keep the source's scheduler from giving the host servers."""

    kind = "host-disable"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Disabled already."""
        service = self._service(ctx, step)
        return {"status": service.status} if service.status == "disabled" else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Disable it; since Havana Nova keeps the reason."""
        reason = f"pumphouse: {ctx.plan.kind} plan {ctx.plan.hash[:12]}"
        return {"status": ctx.source.hosts.disable_service(step.params["host"], reason=reason).status}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read again, while the source has it."""
        if overtaken(ctx, step, f"host-forget:{step.params['host']}"):
            return {"status": "was disabled; gone from the source since"}
        forgetting = overtaken(ctx, step, f"host-forget:{step.params['host']}", begun=True)
        if forgetting and ctx.source.hosts.find_service(step.params["host"]) is None:
            return {"status": "was disabled; gone from the source since: a run was cut off that removed it"}
        service = self._service(ctx, step)
        expect(f"nova-compute of {service.host} at {ctx.source.name}", {"status": ("disabled", service.status)})
        return {"status": service.status, "state": service.state}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Enable it again, unless somebody had disabled it before us."""
        if not ours:
            return {"kept": "disabled before pumphouse"}
        return {"status": ctx.source.hosts.enable_service(step.params["host"]).status}

    @staticmethod
    def _service(ctx: Context, step: PlannedStep) -> Service:
        found = ctx.source.hosts.find_service(step.params["host"])
        if found is None:
            raise StepError(
                f"{ctx.source.name} has no nova-compute on {step.params['host']}.",
                remedy="compare nodes.NAME.host in site.yaml with the inventory's services.",
            )
        return found


class EmptyHost(Step):
    """No server is left on a host; changes nothing."""

    kind = "host-empty"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Always asked anew."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Ask Nova."""
        require_empty(ctx, step.params["host"])
        return {"servers": 0}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Asked again: none."""
        require_empty(ctx, step.params["host"])
        return {"servers": outcome["servers"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {}


class _InService(Step):
    """What Fuel deployed on a node is up at the destination; changes nothing."""

    what: ClassVar[str]
    #: Where to look when it is not.
    remedy: ClassVar[str]

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Always asked anew."""
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Wait for it; Fuel names the host after the node."""
        names = names_of(ctx, step.params)
        end = time.monotonic() + ctx.site.action_timeout_s
        while True:
            outcome, missing = self._found(ctx, names)
            if outcome is not None:
                return outcome
            if time.monotonic() > end:
                raise VerificationFailed(
                    f"{self.what} of {step.params['node']} ({', '.join(sorted(names))}) {missing} at "
                    f"{ctx.destination.name} after {ctx.site.action_timeout_s:g} s, though Fuel calls the node ready.",
                    remedy=self.remedy,
                )
            time.sleep(POLL_S)

    def _found(self, ctx: Context, names: Collection[str]) -> tuple[Outcome | None, str]:
        """What is up; or None, and how it is instead."""
        raise NotImplementedError

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Nothing was changed."""
        return {}


class HostUp(_InService):
    """The node's nova-compute is up at the destination, and its hypervisor is listed; changes nothing."""

    kind = "host-up"
    what = "nova-compute"
    remedy = "look at its log on the node; run again when it is up."

    def _found(self, ctx: Context, names: Collection[str]) -> tuple[Outcome | None, str]:
        found = [s for s in ctx.destination.compute.list_services() if s.binary == COMPUTE and s.host in names]
        for service in found:
            if service.state == "up":
                return {"host": service.host, "zone": service.zone}, ""
        return None, f"is {found[0].state if found else 'not there'}"

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Up, enabled, and a hypervisor."""
        host = outcome["host"]
        service = ctx.destination.hosts.find_service(host)
        mine = [
            h for h in ctx.destination.compute.list_hypervisors() if host in (h.host, h.hostname, _short(h.hostname))
        ]
        expect(
            f"host {host} at {ctx.destination.name}",
            {
                "state": ("up", service.state if service else "gone"),
                "status": ("enabled", service.status if service else "gone"),
                "hypervisors": (1, len(mine)),
            },
        )
        return {"host": host, "state": "up", "vcpus": mine[0].vcpus, "ram_mib": mine[0].ram_mib}


class ControllerUp(_InService):
    """Nova's control services on the node are up at the destination; changes nothing."""

    kind = "controller-up"
    what = "Nova's control services"
    remedy = "look at their logs on the node, and at its cluster; run again when they are up."

    def _found(self, ctx: Context, names: Collection[str]) -> tuple[Outcome | None, str]:
        # each controller runs its own scheduler and conductor
        found = _control_services(ctx, names)
        down = ", ".join(service.binary for service in found if service.state != "up")
        if found and not down:
            return {"host": found[0].host}, ""
        return None, f"are not up ({f'{down} down' if down else 'there are none'})"

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """There are some, and all are up."""
        found = _control_services(ctx, {outcome["host"]})
        expect(
            f"controller {outcome['host']} at {ctx.destination.name}",
            {
                "there": (True, bool(found)),
                "down": ([], [service.binary for service in found if service.state != "up"]),
            },
        )
        return {"host": outcome["host"], "up": sorted(service.binary for service in found)}


class ForgetHost(Step):
    """Remove the record of a nova-compute that is gone for good from the source."""

    kind = "host-forget"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Gone already."""
        return {"gone": True} if ctx.source.hosts.find_service(step.params["host"]) is None else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Wait until Nova misses it, then delete its record."""
        host = step.params["host"]
        require_empty(ctx, host)
        ctx.source.hosts.wait_service(host, "down", timeout_s=ctx.site.action_timeout_s)
        ctx.source.hosts.delete_service(host)
        return {"gone": True}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The source lists it no more."""
        service = ctx.source.hosts.find_service(step.params["host"])
        expect(f"nova-compute of {step.params['host']} at {ctx.source.name}", {"there": (False, service is not None)})
        return {"gone": True}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """A nova-compute that starts under that name registers itself."""
        return {}


def names_of(ctx: Context, params: Mapping[str, Any]) -> set[str]:
    """What the destination may call a node: Fuel names the host after it (read only).

    :param params: the node's ``node``, ``macs`` and ``serial``.
    """
    with ctx.nodes.fuel() as fuel:
        node = same_machine(fuel, params)
    return {node.fqdn, node.hostname, node.fqdn.partition(".")[0], f"node-{node.id}"} - {""}


def _control_services(ctx: Context, names: Collection[str]) -> list[Service]:
    services = ctx.destination.compute.list_services()
    return [service for service in services if service.binary != COMPUTE and service.host in names]


def _short(name: str) -> str:
    return name.partition(".")[0]
