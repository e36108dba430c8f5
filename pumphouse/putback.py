"""Servers that failed after their stop go back to the source by themselves, if their plan says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor, Future

from pumphouse.errors import ClaimHeld, PumphouseError
from pumphouse.holder import holder, is_gone
from pumphouse.journal import StepState
from pumphouse.keeper import Keeper
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.steps import STEPS, Context
from pumphouse.steps.undo import take_back
from pumphouse.trace import changing_requests

_TAKEN_BACK = ("undoing", "undone")


class Returns:
    """The servers of one execution that go back.

    A server goes back when one of its steps failed after its stop was verified, its plan says ``on_failure: back``,
    and none of its steps is under way any more. Each of its cutover steps is undone as a roll back would undo it; what
    servers share, and what was made ready, stays for the next attempt, which is a plan of its own.
    """

    def __init__(self, ctx: Context, keeper: Keeper) -> None:
        self._ctx, self._keeper = ctx, keeper
        self._own: dict[str, list[PlannedStep]] = {}
        for step in ctx.plan.steps:
            if ctx.plan.kind == "move" and step.phase == "cutover" and step.server_id:
                self._own.setdefault(step.server_id, []).append(step)
        self._failed: dict[str, PlannedStep] = {}
        self._under_way: dict[Future[str], str] = {}

    # -- what an earlier run left ------------------------------------------------------------
    def take_up(self, states: Mapping[str, StepState]) -> None:
        """Go on with servers that an earlier run was taking back when it was cut off."""
        for server_id, steps in self._own.items():
            if _wants(steps) and _half_back(steps, states):
                last = steps[-1]
                self._failed[server_id] = last
                self._ctx.report(f"{self._name(server_id)}: an earlier run was putting it back: that is finished first")

    # -- while steps run ---------------------------------------------------------------------
    def note(self, step: PlannedStep, error: PumphouseError) -> None:
        """That a step failed; its server goes back if it should."""
        own = self._own.get(step.server_id or "", [])
        # somebody else works on it: what he does with it is his
        if step.server_id and step.phase == "cutover" and _wants(own) and not isinstance(error, ClaimHeld):
            stop = self._ctx.journal.step_state(self._ctx.plan.hash, f"stop:{step.server_id}")
            if stop.state == "verified":
                self._failed.setdefault(step.server_id, step)

    def block(self, waiting: dict[str, PlannedStep], results: dict[str, str]) -> None:
        """No further step of a server that goes back begins."""
        for key, step in list(waiting.items()):
            if step.server_id in self._failed or step.server_id in self._under_way.values():
                results[key] = "blocked"
                del waiting[key]

    def begin(self, pool: Executor, running: Iterable[PlannedStep]) -> Collection[Future[str]]:
        """Begin with the servers of which nothing is under way any more; returns all that are being put back."""
        busy = {step.server_id for step in running}
        for server_id in [one for one in self._failed if one not in busy]:
            step = self._failed.pop(server_id)
            self._under_way[pool.submit(self._put_back, server_id, step)] = server_id
        return self._under_way.keys()

    @property
    def pending(self) -> bool:
        """Whether a server has yet to go back."""
        return bool(self._failed or self._under_way)

    def collect(self, done: Iterable[Future[object]], errors: dict[str, PumphouseError]) -> None:
        """What became of those that are done, added to the failed steps' errors."""
        for future in [one for one in self._under_way if one in set(done)]:
            server_id = self._under_way.pop(future)
            said = future.result()
            for key, error in errors.items():
                if key in {step.key for step in self._own[server_id]}:
                    error.message += said
                    error.args = (error.message,)

    def _put_back(self, server_id: str, failed: PlannedStep) -> str:
        ctx, name = self._ctx, self._name(server_id)
        states = ctx.journal.step_states(ctx.plan.hash)
        why = states.get(failed.key, StepState()).error or "the earlier run was cut off"
        claim = f"server:{server_id}"
        try:
            # an earlier run's claim may have been taken over since
            ctx.journal.claim(ctx.run_id, [claim], holder=holder(), lease_s=self._keeper.lease_s, is_gone=is_gone)
            self._keeper.claimed([claim])
            with changing_requests(lambda: self._keeper.permit([claim])):
                for step in reversed(self._own[server_id]):
                    if ctx.journal.step_state(ctx.plan.hash, step.key).in_effect:
                        take_back(ctx, ctx.plan, step, STEPS)
        except Exception as error:  # noqa: BLE001  whatever it is, the server is where it is, and that must be said
            told = error.message if isinstance(error, PumphouseError) else f"{type(error).__name__}: {error}"
            said = f" It could not be put back to the source: {told} Roll it back."
            ctx.report(f"FAILED   put {name} back to the source: {told}")
        else:
            said = f" {name} was put back: it is in service at the source again."
            ctx.report(f"put back {name}: it is in service at the source again")
        # last, so that the run cannot pass for one that did what it set out to do
        ctx.journal.write(
            ctx.run_id, ctx.plan.hash, failed.key, "failed", {"error": f"{why}{said}", "type": "StepError"}
        )
        return said

    def _name(self, server_id: str) -> str:
        return self._ctx.plan.server(server_id).name


def taken_back(plan: Plan, states: Mapping[str, StepState]) -> frozenset[str]:
    """Servers of which something was taken back under this plan: to move, they need another one."""
    return frozenset(
        step.server_id
        for step in plan.steps
        if step.server_id and states.get(step.key, StepState()).state in _TAKEN_BACK
    )


def half_way(plan: Plan, states: Mapping[str, StepState]) -> bool:
    """Whether a server of a move plan is down and can be finished only under this plan."""
    own: dict[str, list[PlannedStep]] = {}
    for step in plan.steps:
        if step.phase == "cutover" and step.server_id:
            own.setdefault(step.server_id, []).append(step)
    gone = taken_back(plan, states)
    for server_id, steps in own.items():
        stopped = states.get(f"stop:{server_id}", StepState()).in_effect
        settled = states.get(f"settle:{server_id}", StepState()).state == "verified"
        if server_id in gone:
            if _wants(steps) and _half_back(steps, states):
                return True
        elif stopped and not settled:
            return True
    return False


def _wants(steps: Iterable[PlannedStep]) -> bool:
    return any(step.kind == "stop" and step.params.get("on_failure") == "back" for step in steps)


def _half_back(steps: Iterable[PlannedStep], states: Mapping[str, StepState]) -> bool:
    own = [(step, states.get(step.key, StepState())) for step in steps]
    return any(state.state in _TAKEN_BACK for _, state in own) and any(
        step.kind == "stop" and state.in_effect for step, state in own
    )
