"""Whether the destination takes what a plan's objects are called: old Nova took nearly any text, a new one does not.

A server's name and metadata are asked for when it boots, and that is after its source was stopped.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping

from pumphouse.findings import Finding
from pumphouse.inventory import Inventory, Snapshot
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.plan.resources import KEYPAIR_NAME

#: ``nova/api/validation/parameter_types.py``, the same from v2.1 (Kilo) on.
_KEY = re.compile(r"[a-zA-Z0-9\-_:. ]{1,255}")
_FLAVOR_ID = re.compile(r"(?! )[a-zA-Z0-9. _-]{1,255}(?<! )")
_LONGEST = 255
_BEYOND = 0xFFFF
_SHOWN = 3
#: Metadata that a copy carries for a while beside its source's: our marker.
_OURS = 1


def check_names(plan: Plan, inventory: Inventory) -> Iterator[Finding]:
    """Names and metadata that a current Nova refuses, and names that Keystone takes for one (read only; asks no cloud).

    On MySQL, Keystone's names differ in more than case; those of several domains, or on PostgreSQL, need not.
    """
    destination = inventory.destination
    if destination is None:
        return
    yield from _same_names(plan)
    if not destination.facts.compute_api.startswith("v2.1"):
        return
    for step in plan.steps:
        if step.kind == "boot":
            yield from _server(step, _limit(plan, step, destination))
        elif step.kind == "flavor":
            document = step.params["flavor"]
            if all(there.id != document["id"] for there in destination.flavors):
                yield from _flavor(document)
        elif step.kind == "keypair" and not KEYPAIR_NAME.fullmatch(step.params["name"]):
            yield _refused(
                f"keypair {step.params['name']}",
                f"of {step.params['user_name']} has characters in its name that Nova takes no more: only letters, "
                "digits, blank, - and _",
                "have its user import the key under another name; servers booted with it keep it in their disks only.",
            )


def _same_names(plan: Plan) -> Iterator[Finding]:
    called: dict[tuple[str, str], list[PlannedStep]] = defaultdict(list)
    for step in plan.steps:
        if step.kind in ("project", "user"):
            called[step.kind, step.params["name"].casefold()].append(step)
    for (kind, _), steps in sorted(called.items()):
        if len(steps) > 1:
            yield Finding(
                "block",
                "names-collide",
                f"{kind} {steps[0].params['name']}",
                f"is the name of {len(steps)} {kind}s that move ({', '.join(s.params['source_id'] for s in steps)}), "
                f"alike but for case at most; {plan.destination} can have one of them only.",
                "rename all but one of them in the source, then take the inventory again.",
            )


def _server(step: PlannedStep, limit: int) -> Iterator[Finding]:
    label, metadata = f"server {step.params['name']}", step.params["metadata"]
    if problem := _name_problem(step.params["name"]):
        yield _refused(label, f"({step.params['source_id']}) {problem}", "rename it in the source.")
    wrong = sorted(key for key in metadata if not _KEY.fullmatch(key))
    if wrong:
        yield _refused(
            label,
            f"({step.params['source_id']}) has metadata keys with characters that Nova takes no more, only letters, "
            f"digits, blank and -_:. : {_some(wrong)}",
            "rename these keys in the source, or delete them there.",
        )
    if 0 <= limit < len(metadata) + _OURS:
        yield Finding(
            "block",
            "metadata-quota",
            label,
            f"({step.params['source_id']}) has {len(metadata)} metadata items, and gets {_OURS} more while it moves; "
            f"the quota of its project at the destination is {limit}.",
            "raise the project's quota of metadata_items in the source (it is carried), or delete some items.",
        )


def _flavor(document: Mapping[str, object]) -> Iterator[Finding]:
    label, specs = f"flavor {document['name']}", document["extra_specs"]
    if not _FLAVOR_ID.fullmatch(str(document["id"])):
        yield _refused(
            label,
            f"has id {str(document['id'])!r}, which Nova takes no more: only letters, digits, blank and -_. inside",
            "make a flavor of another id in the source and resize its servers to it.",
        )
    if problem := _name_problem(str(document["name"])):
        yield _refused(label, problem, "make a flavor of another name in the source and resize its servers to it.")
    wrong = sorted(key for key in specs if not _KEY.fullmatch(key)) if isinstance(specs, Mapping) else []
    if wrong:
        yield _refused(
            label,
            f"has extra specs with characters in their keys that Nova takes no more: {_some(wrong)}",
            "delete them in the source, or name them as the destination's scheduler wants them.",
        )


def _name_problem(name: str) -> str:
    """What Nova's format ``name`` has against a text; empty: nothing."""
    if not 0 < len(name) <= _LONGEST:
        return f"has a name of {len(name)} characters: Nova takes 1 to {_LONGEST}"
    if name != name.strip():
        return "has a name that begins or ends with white space, which Nova takes no more"
    if wrong := sorted({f"U+{ord(one):04X}" for one in name if not _printable(one)}):
        return f"has a name with characters that Nova takes for unprintable: {_some(wrong)}"
    return ""


def _printable(one: str) -> bool:
    category = unicodedata.category(one)
    return ord(one) < _BEYOND and category[0] != "C" and (category[0] != "Z" or category == "Zs")


def _limit(plan: Plan, step: PlannedStep, destination: Snapshot) -> int:
    """How many metadata items a server of that project may have at the destination; -1: any number."""
    project_id = step.params["project_id"]
    for other in plan.steps:
        if other.key == f"quota:{project_id}" and "metadata_items" in other.params["limits"]:
            return int(other.params["limits"]["metadata_items"])
    named = [other.params["name"] for other in plan.steps if other.key == f"project:{project_id}"]
    there = destination.project_named(named[0]) if named else None
    quota = destination.quota(there.id) if there is not None else destination.default_quota
    return quota.limits.get("metadata_items", -1) if quota is not None else -1


def _some(words: list[str]) -> str:
    shown = ", ".join(repr(one) for one in words[:_SHOWN])
    return f"{shown} and {len(words) - _SHOWN} more" if len(words) > _SHOWN else shown


def _refused(label: str, problem: str, remedy: str) -> Finding:
    return Finding("block", "nova-refuses", label, f"{problem}.", remedy)
