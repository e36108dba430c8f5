"""Planning the end of the source: nothing is left there, what its controllers know is archived, they become nodes of
the destination one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pumphouse.errors import PlanError
from pumphouse.findings import Finding
from pumphouse.nodes.sight import PortSight
from pumphouse.nodes.spec import NodeSpec
from pumphouse.plan.hardware.draft import NOTHING, HardwareDraft
from pumphouse.plan.hardware.remains import Remnant
from pumphouse.plan.hardware.transfer import Canary, Layout, discover_node, install_node, prove_node
from pumphouse.plan.model import Plan

_SPENT = "source-spent"


@dataclass(frozen=True)
class Archive:
    """How what the controllers know is kept: a command of the operator's (words, no shell) that writes ``file``.

    It must have written it anew, and it may take ``timeout_s``; when the first controller loses power, the archive must
    not be older than ``fresh_s``. ``problem`` says why the command cannot work, as far as can be told beforehand.
    """

    command: tuple[str, ...] = ()
    file: str = ""
    timeout_s: float = 3600.0
    fresh_s: float = 86400.0
    problem: str = ""

    def __post_init__(self) -> None:
        if not self.command or not all(self.command) or not self.file:
            raise PlanError(
                "It is not said how databases and configuration of the source's controllers are archived.",
                remedy="give the command as a list of words (archive), and the file that it writes (archive_file).",
            )
        if self.timeout_s <= 0 or self.fresh_s <= 0:
            raise PlanError("An archive that may take no time, or be of no age.", remedy="give seconds above 0.")


@dataclass(frozen=True)
class Ending:
    """The source as it is about to end: its controllers in their order, and what is left.

    ``ports``: node -> who is heard at its switch port.
    """

    controllers: tuple[NodeSpec, ...]
    remnants: tuple[Remnant, ...]
    leave: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ranks: Mapping[str, int] | None = None
    admin_vlan: int | None = None
    ports: Mapping[str, PortSight | None] = field(default_factory=dict)


def order_of(nodes: Sequence[NodeSpec], ranks: Mapping[str, int]) -> tuple[NodeSpec, ...]:
    """Controllers in a safe order: hosts of the network first, those with Nova's control services last."""
    return tuple(sorted(nodes, key=lambda node: (ranks.get(node.host, 1), node.name)))


def plan_decommission(
    ending: Ending,
    layouts: Mapping[str, Layout],
    canary: Canary,
    archive: Archive,
    *,
    digest: str,
    source: str,
    destination: str,
) -> tuple[Plan, tuple[Finding, ...]]:
    """Plan the end of the source (asks nobody).

    :param layouts: node name -> what becomes of it.
    :returns: the plan, and what stands in its way as findings.
    :raises PlanError: when no controller is named.
    """
    if not ending.controllers:
        raise PlanError(
            f"site.yaml names no controller of {source}.",
            remedy="give its nodes a host and the role controller, or name the nodes that are to be taken.",
        )
    draft = HardwareDraft("decommission", source, destination, digest)
    _say_what_is_left(draft, ending, source)
    if archive.problem:
        draft.block("archive-command", "archive", archive.problem, "correct archive and archive_file.")
    needs = (_archive(draft, ending, archive, source),)
    steps_before = set(draft.steps)
    for number, node in enumerate(ending.controllers, 1):
        last = _retire(draft, node, layouts[node.name], canary, ending, needs, source, number=number)
        needs = (last,)
    for key in draft.steps.keys() - steps_before:
        draft.steps[key] = replace(draft.steps[key], phase="retire")
    return draft.finish()


def _say_what_is_left(draft: HardwareDraft, ending: Ending, source: str) -> None:
    for one in ending.remnants:
        if one.accounted:
            draft.note(one.object, one.why)
        else:
            draft.block(one.code, one.object, one.why, one.remedy)
    for word in ending.unknown:
        draft.warn("leave-unknown", word, f"is to be left behind, but {source} has nothing of that name or id.")
    ranks = [(ending.ranks or {}).get(node.host, 1) for node in ending.controllers]
    if ranks != sorted(ranks):
        draft.warn(
            "order-unusual",
            "controllers",
            "go in an order in which Nova's control services go before others: what is asked of the source right "
            "before each of the later ones loses power cannot be asked then.",
        )
    for node in ending.controllers:
        if not node.serial:
            draft.warn(
                "no-serial",
                f"node {node.name}",
                "has no serial number in site.yaml: the guard against taking the wrong machine knows its MACs only.",
                "add nodes.NAME.serial.",
            )
        if node.bmc is None:
            draft.block("no-bmc", f"node {node.name}", "has no BMC in site.yaml.", "describe it: nodes.NAME.bmc.")


def _archive(draft: HardwareDraft, ending: Ending, archive: Archive, source: str) -> str:
    params = {
        "leave": list(ending.leave),
        "lost": sorted(one.lost for one in ending.remnants if one.lost),
        "retiring": [node.host for node in ending.controllers],
    }
    spent = draft.add(
        f"{_SPENT}:{source}",
        title=f"no server, image or address is left at {source} that is not accounted for",
        phase="archive",
        changes="source",
        params=params,
        undo=NOTHING,
    )
    return draft.add(
        f"archive:{source}",
        title=f"archive what the controllers know, into {archive.file}",
        phase="archive",
        changes="source",
        needs=(spent,),
        params={
            "command": list(archive.command),
            "file": archive.file,
            "timeout_s": archive.timeout_s,
            "fresh_s": archive.fresh_s,
        },
        undo="the archive stays",
    )


def _retire(
    draft: HardwareDraft,
    node: NodeSpec,
    layout: Layout,
    canary: Canary,
    ending: Ending,
    needs: tuple[str, ...],
    source: str,
    *,
    number: int,
) -> str:
    # the source cannot be asked for its host any more, once its controllers go
    bare = replace(node, host="")
    seen = draft.see_port(node, ending.ports.get(node.name), phase="retire", needs=needs)
    off = draft.add(
        f"controller-off:{node.name}",
        title=f"power off {node.name}, controller {number} of {len(ending.controllers)} of {source}",
        phase="retire",
        changes="source",
        needs=seen or needs,
        params={
            "node": node.name,
            "serial": node.serial,
            "spent": f"{_SPENT}:{source}",
            "archive": f"archive:{source}",
            "before": [f"controller-off:{other.name}" for other in ending.controllers[: number - 1]],
        },
        undo=f"powered on, booting from disk: what {source} ran there starts again",
        node=node.name,
    )
    vlan = draft.admin_vlan(bare, ending.admin_vlan, phase="retire", needs=(off,))
    discovered = discover_node(draft, bare, layout, vlan)
    deployed = install_node(draft, bare, layout, discovered)
    draft.steps[deployed] = replace(
        draft.steps[deployed],
        cost=f"what {source} kept on {node.name} is gone, but for the archive; bringing {source} back means installing "
        "its controllers anew and restoring it from there",
    )
    return prove_node(draft, bare, layout, canary, deployed)
