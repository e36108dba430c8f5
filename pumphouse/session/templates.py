"""Which node of Fuel's a new one is laid out like: one that is what the new one becomes."""

from __future__ import annotations

from dataclasses import replace

from pumphouse.errors import NodeUnreachable, PlanError, StepError
from pumphouse.nodes.connect import Nodes
from pumphouse.nodes.fuel import Fuel, FuelNode
from pumphouse.nodes.spec import Hardware
from pumphouse.plan.hardware import Layout
from pumphouse.steps.hardware.install import find_template


def fitting(layout: Layout, nodes: Nodes, hardware: Hardware, *, named: bool) -> Layout:
    """A layout whose template has the roles that it gives (read only).

    Volumes belong to roles, and networks often do. Where site.yaml's template is something else than what the node
    becomes, another node of the environment that is in service is copied, and where there is none, Fuel proposes.

    :param named: the operator named the template for this very plan: another one is not chosen.
    :raises PlanError: when the template that was named has other roles, or is no single node.
    """
    if not layout.template or hardware.fuel is None:
        return layout
    try:
        with nodes.fuel(patient=False) as fuel:
            return _fitting(layout, fuel, hardware, named=named)
    except NodeUnreachable:
        return layout  # the step finds out


def _fitting(layout: Layout, fuel: Fuel, hardware: Hardware, *, named: bool) -> Layout:
    try:
        told = find_template(fuel, hardware, layout.template)
    except StepError as error:
        raise PlanError(error.message, remedy=error.remedy) from error
    if _becomes(told, layout):
        return layout
    if named:
        raise PlanError(
            f"Template {layout.template} is {', '.join(_roles(told))} in {fuel.name}, and what is to be laid out like "
            f"it becomes {', '.join(layout.roles)}: their volumes differ.",
            remedy="name a node with these roles, or none: then one is chosen.",
        )
    environment = fuel.find_environment(layout.environment)
    members = fuel.list_nodes(environment.id) if environment is not None else []
    like = next((one for one in members if one.status == "ready" and _becomes(one, layout)), None)
    # a name may be given to several nodes, its full one is Fuel's own
    return replace(layout, template=(like.fqdn or like.name) if like is not None else "")


def _becomes(node: FuelNode, layout: Layout) -> bool:
    return _roles(node) == sorted(layout.roles)


def _roles(node: FuelNode) -> list[str]:
    return sorted({*node.roles, *node.pending_roles})
