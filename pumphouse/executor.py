"""Doing planned steps: journalled, verified, in parallel where nothing depends, resumable after any crash."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from pumphouse.clouds.trace import Requests, changing_requests
from pumphouse.errors import REFUSALS, ApiError, ClaimHeld, PumphouseError, StepError
from pumphouse.holder import holder, is_gone
from pumphouse.journal import StepState
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.plan.model import PlannedStep
from pumphouse.steps import STEPS, Context
from pumphouse.steps.user_data import user_data_of

#: Seconds that a claim on a server lasts without renewal.
LEASE_S = 900.0
#: Seconds to wait for another run that makes the same shared object (an image, a network, a project …).
SHARED_WAIT_S = 120.0


@dataclass
class Execution:
    """What became of each step: ``verified``, ``skipped`` (verified before), ``failed`` or ``blocked``."""

    results: dict[str, str] = field(default_factory=dict)
    errors: dict[str, PumphouseError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def raise_failures(self, steps: Mapping[str, PlannedStep]) -> None:
        """:raises StepError: naming every failed step, when there is one."""
        if not self.errors:
            return
        done = sum(result in ("verified", "skipped") for result in self.results.values())
        blocked = [key for key, result in self.results.items() if result == "blocked"]
        lines = "\n".join(f"  - {steps[key].title}: {error}" for key, error in self.errors.items())
        raise StepError(
            f"{len(self.errors)} of {len(self.results)} steps failed, {len(blocked)} were not begun because of that, "
            f"{done} are done and verified:\n{lines}",
            remedy="what is done stays done. Mend the causes and run the same notebook again, or roll back.",
        ) from next(iter(self.errors.values()))


def execute(ctx: Context, steps: Iterable[PlannedStep], *, workers: int | None = None) -> Execution:
    """Carry out steps in the order of their needs, independent ones side by side (changes what the steps change).

    A step that the journal knows as verified is skipped. One that fails keeps the steps that need it from
    beginning; the others go on.

    :param workers: how many at a time; the site's ``limits.parallel`` by default.
    :raises StepError: at the end, when any step failed, naming all of them.
    """
    todo = {step.key: step for step in steps}
    states = ctx.journal.step_states(ctx.plan.hash)
    ctx.journal.write(ctx.run_id, ctx.plan.hash, SCOPE_KEY, "scope", {"steps": sorted(todo)})
    if ctx.journal.plan_state(ctx.plan.hash) == "proposed":
        ctx.journal.set_plan_state(ctx.plan.hash, "started")
    execution = Execution()
    _check_outside_needs(todo, states)
    waiting = dict(todo)
    running: dict[Future[tuple[str, float]], str] = {}
    places = workers or ctx.site.parallel
    with ThreadPoolExecutor(places, thread_name_prefix="step") as pool:
        try:
            while waiting or running:
                for step in _ready(waiting, todo, execution.results)[: places - len(running)]:
                    del waiting[step.key]
                    running[pool.submit(_one, ctx, step, states.get(step.key, StepState()))] = step.key
                done, _ = wait(running, timeout=0 if not running else None, return_when=FIRST_COMPLETED)
                for future in done:
                    _collect(ctx, execution, todo, running.pop(future), future)
        except BaseException:
            # no new step begins; the ones under way end and journal their outcome
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    execution.raise_failures(todo)
    states = ctx.journal.step_states(ctx.plan.hash)
    if all(states.get(step.key, StepState()).state == "verified" for step in ctx.plan.steps):
        ctx.journal.set_plan_state(ctx.plan.hash, "finished")
    return execution


def _ready(
    waiting: dict[str, PlannedStep], todo: Mapping[str, PlannedStep], results: dict[str, str]
) -> list[PlannedStep]:
    """Steps whose needs are met, those of servers already begun first: what is down comes up before more goes down.

    Steps that can never begin, because one they need failed, leave ``waiting`` as blocked.
    """
    begun = {todo[key].server_id for key in results if todo[key].phase == "cutover"}
    ready = []
    for key, step in list(waiting.items()):
        needed = [results.get(need) for need in step.needs if need in todo]
        if "failed" in needed or "blocked" in needed:
            results[key] = "blocked"
            del waiting[key]
        elif all(result in ("verified", "skipped") for result in needed):
            ready.append(step)
    return sorted(ready, key=lambda step: step.server_id is None or step.server_id not in begun)


def _collect(
    ctx: Context, execution: Execution, todo: Mapping[str, PlannedStep], key: str, future: Future[tuple[str, float]]
) -> None:
    try:
        execution.results[key], execution.seconds[key] = future.result()
    except Exception as caught:  # noqa: BLE001  a fault of ours in one step must not cut the others off half-way
        error = caught if isinstance(caught, PumphouseError) else _fault(todo[key], caught)
        execution.results[key] = "failed"
        execution.errors[key] = error
        ctx.journal.write(ctx.run_id, ctx.plan.hash, key, "failed", {"error": str(error), "type": type(error).__name__})
        ctx.report(f"FAILED   {todo[key].title}: {error.message}")


def _fault(step: PlannedStep, caught: Exception) -> StepError:
    error = StepError(
        f"{step.title}: pumphouse itself failed: {type(caught).__name__}: {caught}.",
        remedy="this is a fault of pumphouse: report it with this record; the journal knows what was done.",
    )
    error.__cause__ = caught
    return error


def _one(ctx: Context, step: PlannedStep, before: StepState) -> tuple[str, float]:
    """Look, intend, act, journal, verify: the life of one step; returns its result and seconds."""
    begun = time.monotonic()
    if before.state == "verified" and _still_stands(ctx, step, before):
        ctx.journal.write(ctx.run_id, ctx.plan.hash, step.key, "skipped")
        return "skipped", time.monotonic() - begun
    _claim(ctx, step)
    try:
        return "verified", _do(ctx, step, begun)
    finally:
        if step.server_id is None:
            ctx.journal.release(ctx.run_id, _claim_key(step))


def _claim_key(step: PlannedStep) -> str:
    return f"server:{step.server_id}" if step.server_id else f"step:{step.key}"[:255]


def _claim(ctx: Context, step: PlannedStep) -> None:
    """Take the step's server, or the shared object itself, which another plan may be making at this moment."""
    lease_s = max(LEASE_S, 3 * ctx.site.action_timeout_s)
    end = time.monotonic() + (0.0 if step.server_id else SHARED_WAIT_S)
    while True:
        try:
            ctx.journal.claim(ctx.run_id, [_claim_key(step)], holder=holder(), lease_s=lease_s, is_gone=is_gone)
        except ClaimHeld:
            if time.monotonic() >= end:
                raise
            time.sleep(0.5)
        else:
            return


def _do(ctx: Context, step: PlannedStep, begun: float) -> float:
    if step.kind == "stop":
        _ground_stands(ctx, step)
    primitive = STEPS[step.kind]
    write = ctx.journal.write
    outcome: Mapping[str, Any] | None = primitive.look(ctx, step)
    verb, requests = "in place", Requests()
    if outcome is None:
        before = ctx.journal.step_state(ctx.plan.hash, step.key).ours or ctx.journal.made_by_us(step.key)
        write(ctx.run_id, ctx.plan.hash, step.key, "intent", {"absent": True, **primitive.before(ctx, step)})
        with changing_requests() as requests:
            try:
                outcome = primitive.act(ctx, step)
            except PumphouseError as error:
                if not before and _did_nothing(error, requests):
                    write(ctx.run_id, ctx.plan.hash, step.key, "refused")
                raise
        verb = "done"
    mapping = None
    if primitive.maps is not None:
        mapping = (primitive.maps, step.params["source_id"], str(outcome["id"]))
    done = {**outcome, "requests": requests.ids} if requests.ids else outcome
    write(ctx.run_id, ctx.plan.hash, step.key, "done", done, mapping=mapping)
    evidence = primitive.verify(ctx, step, outcome)
    write(ctx.run_id, ctx.plan.hash, step.key, "verified", {"evidence": dict(evidence)})
    seconds = time.monotonic() - begun
    ctx.report(f"{verb:8} {step.title} ({seconds:.1f} s)")
    return seconds


def _did_nothing(error: PumphouseError, requests: Requests) -> bool:
    """Whether every request that could have changed anything was refused, and that is what ended the step."""
    cause = error if isinstance(error, ApiError) else error.__cause__
    refused = bool(requests.statuses) and all(status in REFUSALS for status in requests.statuses)
    return isinstance(cause, ApiError) and cause.refused and refused


def _ground_stands(ctx: Context, stop: PlannedStep) -> None:
    """Before anything goes down: all that its boot will need is there, whatever happened since it was made."""
    states = ctx.journal.step_states(ctx.plan.hash)
    for boot in ctx.plan.steps:
        if boot.kind == "boot" and boot.server_id == stop.server_id:
            ctx.acting(boot.params).compute.list_keypairs()  # whoever will boot it can log in
            user_data_of(ctx, boot.params)
    for need in stop.needs:
        step = ctx.plan.step(need)
        if step.phase == "prepare" and not _still_stands(ctx, step, states.get(need, StepState())):
            raise StepError(
                f"{stop.title}: not begun, since {step.title} is not there any more as it was made ready.",
                remedy="run the notebook again: what is missing is made ready first.",
            )


def _still_stands(ctx: Context, step: PlannedStep, before: StepState) -> bool:
    """Whether what an earlier run verified is still there; only what was made ready can be made again unasked."""
    if step.phase == "undo":
        # the servers may have been moved once more since it was undone
        return STEPS[step.kind].look(ctx, step) is not None
    if step.phase != "prepare":
        return True
    found = STEPS[step.kind].look(ctx, step)
    return found is not None and found.get("id") == before.outcome.get("id")


def _check_outside_needs(todo: Mapping[str, PlannedStep], states: Mapping[str, StepState]) -> None:
    unmet = {
        need: step
        for step in todo.values()
        for need in step.needs
        if need not in todo and states.get(need, StepState()).state != "verified"
    }
    if unmet:
        need, step = next(iter(unmet.items()))
        raise StepError(
            f"{step.title} needs {len(unmet)} step(s) that are not done and verified yet, first: {need}.",
            remedy="run the earlier cells of the notebook first (prepare, then cut over).",
        )
