"""What a node's transfer will need, looked at while the node still serves the source and has its power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pumphouse.clouds.api import Cloud
from pumphouse.errors import CloudError, NodeError, PlanError, StepError
from pumphouse.findings import Finding
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import Fuel
from pumphouse.nodes.spec import Hardware, NodeSpec
from pumphouse.plan.hardware import HostFacts, Layout
from pumphouse.session.canary import choose_canary
from pumphouse.session.templates import fitting
from pumphouse.steps.hardware.install import find_template

#: How much more a template may use than the disk that Nova shows of the node: systems and swap are not in that.
_MORE = 1.25
_LATER = "mend it now: after this notebook the node has no power; or accept `{code}` if it will be mended by then."
_DISKS = (
    "transfer it with `copy_disks=false`, which leaves the disks to Fuel, give their layout (`disks`), or name another "
    "template; accept `template-larger` if you know that they fit."
)


@dataclass(frozen=True)
class Ahead:
    """A transfer that follows: the node, where it goes, and what its canary is said to be made of."""

    node: NodeSpec
    layout: Layout
    canary: Mapping[str, str]
    template_named: bool


def look_ahead(
    ahead: Ahead, nodes: Nodes, hardware: Hardware, host: HostFacts | None, source: Cloud, destination: Cloud
) -> tuple[Finding, ...]:
    """What would keep a transfer from ending well, by what Fuel and the destination say now (read only)."""
    obj = f"node {ahead.node.name}"
    found: list[Finding] = []

    def block(code: str, message: str, remedy: str | None = "") -> None:
        then = _LATER.format(code=code)
        found.append(Finding("block", code, obj, f"is to be transferred afterwards: {message}", f"{remedy} {then}"))

    try:
        layout = fitting(ahead.layout, nodes, hardware, named=ahead.template_named)
        with nodes.fuel(patient=False) as fuel:
            environment = fuel.find_environment(layout.environment)
            if environment is None:
                block("no-environment-yet", f"{fuel.name} has no environment {layout.environment}.")
        found += check_disks(layout, ahead.node, nodes, hardware, host)
    except PlanError as error:
        block("no-template-yet", error.message, error.remedy)
    except NodeError as error:
        block("no-fuel-yet", error.message, error.remedy)
    if not ahead.layout.is_compute:
        return tuple(found)
    try:
        canary = choose_canary(destination, ahead.canary, source=source)
    except CloudError as error:
        block("no-canary-yet", error.message, error.remedy)
    else:
        if canary.problem:
            block("no-canary-yet", canary.problem, canary.remedy)
    return tuple(found)


def check_disks(
    layout: Layout, node: NodeSpec, nodes: Nodes, hardware: Hardware, host: HostFacts | None
) -> tuple[Finding, ...]:
    """Whether what the template uses of its disks fits the node's, as far as Fuel or Nova tells (read only).

    :raises NodeError: when Fuel does not answer, or knows another machine with one of the node's MACs.
    """
    if not layout.template or not layout.copy_disks:
        return ()
    with nodes.fuel(patient=False) as fuel:
        try:
            template = find_template(fuel, hardware, layout.template)
        except StepError as error:
            raise PlanError(error.message, remedy=error.remedy) from error
        used_mib = sum(int(volume["size"]) for disk in fuel.disks(template.id) for volume in disk["volumes"])
        told = _size_told(fuel, node, host)
    if told is None or used_mib <= told[0]:
        return ()
    return (
        Finding(
            "block",
            "template-larger",
            f"node {node.name}",
            f"would be laid out like {template.name}, which uses {used_mib} MiB of its disks; {told[1]}.",
            _DISKS,
        ),
    )


def _size_told(fuel: Fuel, node: NodeSpec, host: HostFacts | None) -> tuple[float, str] | None:
    """MiB that the node's disks may hold, and who says so; None: nobody does."""
    known = fuel.find_node(node.macs, node.serial)
    sizes = [int(disk["size"]) for disk in fuel.disks(known.id)] if known is not None else []
    if sizes:
        return sum(sizes), f"Fuel knows {sum(sizes)} MiB of its own"
    for one in host.hypervisors if host is not None else ():
        if host is not None and host.host in (one.host, one.hostname, one.hostname.split(".")[0]) and one.disk_gib:
            return one.disk_gib * 1024 * _MORE, f"Nova shows {one.disk_gib} GiB of its own, so that is too much"
    return None
