"""Taking a step of another plan back; the steps of a roll-back plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pumphouse.errors import NotCarried, PlanError
from pumphouse.plan.after import still_needed
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect
from pumphouse.steps.guards import one_of


def take_back(ctx: Context, move: Plan, done: PlannedStep, primitives: Mapping[str, Step]) -> dict[str, Any]:
    """Undo one step of a move plan in the light of that plan, journalled under it; returns its evidence."""
    key, primitive = done.key, primitives[done.kind]
    state = ctx.journal.step_state(move.hash, key)
    ours = ctx.journal.made_by_us(key) if done.server_id is None else state.ours
    known = {**state.intent_data, **state.outcome}
    if done.server_id is None:
        known |= ctx.journal.made_with(key)
    ctx.journal.write(ctx.run_id, move.hash, key, "undo-intent", {"ours": ours})
    there = replace(ctx, plan=move)
    try:
        evidence = dict(primitive.undo(there, done, known, ours=ours))
    except NotCarried as missing:
        if done.changes != "destination":
            raise
        # what it hung on is gone from the destination, so it is gone as well
        evidence = {"gone": missing.message}
    if primitive.maps is not None and (ours or evidence.get("deleted")):
        # first: once it is undone, nobody comes back to forget it
        ctx.journal.forget_mapping(primitive.maps, done.params["source_id"])
    ctx.journal.write(ctx.run_id, move.hash, key, "undone", {"evidence": evidence})
    return evidence


class Undo(Step):
    """Undo one step of a move plan, as that step knows how."""

    kind = "undo"

    def __init__(self, primitives: dict[str, Step]) -> None:
        self._primitives = primitives

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Undone when the journal says so."""
        plan_hash, key = step.params["plan_hash"], step.params["step_key"]
        if ctx.journal.step_state(plan_hash, key).state != "undone":
            return None
        undone = [event for event in ctx.journal.events(plan_hash=plan_hash, step_key=key) if event.event == "undone"]
        return {"undone": True, "evidence": dict(undone[-1].data.get("evidence", {}))}

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Undo it, in the light of the plan that did it."""
        move = ctx.plan_of(step.params["plan_hash"])
        done = move.step(step.params["step_key"])
        if done.server_id is None and done.key in self._needed(ctx):
            return {"undone": False, "evidence": {"kept": "another move has come to need it since"}}
        return {"undone": True, "evidence": take_back(ctx, move, done, self._primitives)}

    def told(self, step: PlannedStep, outcome: Outcome) -> str:
        """What was there before us, or is needed by others, stays: nobody is to read that it was taken back."""
        stays = outcome["evidence"].get("kept") and not str(step.params["step_key"]).startswith("stop:")
        title = step.title.removeprefix("undo: ")
        return f"left in place: {title}" if stays else super().told(step, outcome)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """A server that went back must run at the source as it did, and its copy be gone; evidence is passed on.

        :raises VerificationFailed: when the clouds show anything else.
        """
        done = ctx.plan_of(step.params["plan_hash"]).step(step.params["step_key"])
        evidence = dict(outcome.get("evidence", {}))
        if done.kind == "stop" and "gone" not in evidence:
            source = ctx.source.compute.get_server(done.params["server_id"])
            back = (evidence["kept"],) if "kept" in evidence else ("ACTIVE",)
            expect(f"server {source.name} at {ctx.source.name}", {"status": one_of(back, source.status)})
        if done.kind == "boot":
            left = [i for i in evidence.get("deleted", ()) if ctx.destination.compute.find_server(i) is not None]
            expect(f"copy of {done.params['name']} at {ctx.destination.name}", {"still there": ([], left)})
        return evidence

    @staticmethod
    def _needed(ctx: Context) -> set[str]:
        ids = {server.id for server in ctx.plan.servers}
        return still_needed(ctx.journal, {step.params["plan_hash"]: ids for step in ctx.plan.steps})

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """A roll back is not rolled back: move the server again instead."""
        raise PlanError("A roll back cannot be undone.", remedy="make a new plan and move the servers again.")
