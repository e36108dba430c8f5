"""Plans that change hardware: acquire a node inside the source, transfer it to the destination, give it back …

A kind of hardware plan is added like this. A planner here, ``plan_KIND(facts …) -> (Plan, findings)``, asks nobody: the
session gathers what it needs to know. It fills a :class:`~pumphouse.plan.hardware.draft.HardwareDraft`, whose ``add``
takes one step: its key (``STEP:NODE``; the same key in every plan that makes the same thing so, then undoing knows who
made it), its phase, what it needs, ``node`` and ``host`` (nobody else may touch them meanwhile), and either ``undo`` or
what cannot be undone as ``cost``. New phases go into :data:`pumphouse.plan.model.PHASES` in their order; an action cell
carries out one phase. Each kind of step is a class in :mod:`pumphouse.steps.hardware`, named in its ``HARDWARE``. The
session's verbs are in :mod:`pumphouse.session.hardware`: ``plan_KIND`` gathers facts and takes a begun plan up again
(:func:`~pumphouse.plan.hardware.draft.target_digest` tells which one that is), one verb per phase carries it out.
Whatever is irreversible asks everything once more right before it acts: see :mod:`pumphouse.steps.hardware.guards`.
"""

from pumphouse.plan.hardware.acquire import plan_acquire
from pumphouse.plan.hardware.draft import HardwareDraft, target_digest
from pumphouse.plan.hardware.facts import HostFacts, NodeFacts
from pumphouse.plan.hardware.give_back import plan_give_back
from pumphouse.plan.hardware.transfer import Canary, Layout, plan_transfer

__all__ = [
    "Canary",
    "HardwareDraft",
    "HostFacts",
    "Layout",
    "NodeFacts",
    "plan_acquire",
    "plan_give_back",
    "plan_transfer",
    "target_digest",
]
