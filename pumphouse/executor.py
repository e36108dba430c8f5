"""Doing planned steps: journalled, verified, in parallel where nothing depends, resumable after any crash."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pumphouse.clouds.failures import timed_out
from pumphouse.down import servers_down
from pumphouse.errors import (
    REFUSALS,
    ApiError,
    ClaimHeld,
    CloudUnreachable,
    NodeRefused,
    NodeUnreachable,
    PumphouseError,
    StepError,
    Stopped,
)
from pumphouse.holder import holder, is_gone
from pumphouse.journal import StepState
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.keeper import Keeper
from pumphouse.pausing import listening, pause
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.putback import Returns, half_way, taken_back
from pumphouse.site import Site
from pumphouse.steps import STEPS, Context
from pumphouse.steps.stale import stale_servers
from pumphouse.steps.user_data import user_data_of
from pumphouse.stopping import Ear, StopKind, StopRequest, note_stopped
from pumphouse.trace import Requests, changing_requests

#: Seconds that a claim on a server lasts without renewal.
LEASE_S = 900.0
#: Seconds to wait for another run that makes the same shared object (an image, a network, a project …).
SHARED_WAIT_S = 120.0
#: How often a step whose answer was lost looks by itself whether it happened.
LOST_ANSWERS = 2
#: Seconds before that: where the other end hung up, and where there was silence. A request that was never acknowledged
#: is sent again by our own kernel, up to ``tcp_orphan_retries`` times, after we gave it up: in about 100 s.
RESET_S, SILENCE_S = 1.0, 130.0
#: Seconds between two looks at a device that answered earlier in this run and does not now: at first, and at most.
DEVICE_S, DEVICE_MOST_S = 5.0, 60.0


@dataclass
class Execution:
    """What became of each step: ``verified``, ``skipped`` (verified before), ``failed`` or ``blocked``.

    Steps that were not begun because somebody asked to stop have no result, nor have those that were ``given_up`` for
    that reason while they waited.
    """

    results: dict[str, str] = field(default_factory=dict)
    errors: dict[str, PumphouseError] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)

    def raise_failures(self, steps: Mapping[str, PlannedStep]) -> None:
        """:raises StepError: naming every failed step, when there is one."""
        if not self.errors:
            return
        done = sum(result in ("verified", "skipped") for result in self.results.values())
        blocked = [key for key, result in self.results.items() if result == "blocked"]
        lines = "\n".join(f"  - {steps[key].title}: {_told(error)}" for key, error in self.errors.items())
        raise StepError(
            f"{len(self.errors)} of {len(self.results)} steps failed, {len(blocked)} were not begun because of that, "
            f"{done} are done and verified:\n{lines}",
            remedy="what is done stays done. Mend the causes and run the same notebook again, or roll back.",
        ) from next(iter(self.errors.values()))


def _told(error: PumphouseError) -> str:
    """An error among others: what mends it follows as a sentence, for the whole has a remedy of its own."""
    request = f" [request {error.request_id}]" if error.request_id else ""
    mend = f" {error.remedy[:1].upper()}{error.remedy[1:]}" if error.remedy else ""
    return f"{error.message}{request}{mend}"


def execute(ctx: Context, steps: Iterable[PlannedStep], *, workers: int | None = None) -> Execution:
    """Carry out steps in the order of their needs, independent ones side by side (changes what the steps change).

    A step that the journal knows as verified is skipped. One that fails keeps the steps that need it from
    beginning; the others go on. A server that fails after its stop goes back if its plan says so; one that went back
    earlier is left out. Before each step begins, and while one waits for what is gone, the journal is asked whether
    somebody wants us to stop. Whenever this does not end well, the servers that are down then are reported.

    :param workers: how many at a time; the site's ``limits.parallel`` by default.
    :raises StepError: at the end, when any step failed, naming all of them.
    :raises Stopped: when somebody asked to stop and steps are left; carrying out the same steps again goes on.
    """
    try:
        return _execute(ctx, steps, workers=workers)
    except BaseException:
        tell_down(ctx)
        raise


def tell_down(ctx: Context) -> None:
    """Report each server of the plan that is stopped or half-way: a line with where it is, and since when."""
    with suppress(PumphouseError):  # a journal that is gone is told of by what ended the execution
        for server in servers_down(ctx.journal, ctx.plan):
            ctx.report(f"{'DOWN' if server.ran else '':<8} {server}")


def _execute(ctx: Context, steps: Iterable[PlannedStep], *, workers: int | None) -> Execution:
    states = ctx.journal.step_states(ctx.plan.hash)
    gone = taken_back(ctx.plan, states) if half_way(ctx.plan, states) else frozenset[str]()
    asked = tuple(steps)
    todo = {step.key: step for step in asked if step.phase == "prepare" or step.server_id not in gone}
    ctx.journal.write(ctx.run_id, ctx.plan.hash, SCOPE_KEY, "scope", {"steps": sorted(step.key for step in asked)})
    if ctx.journal.plan_state(ctx.plan.hash) == "proposed":
        ctx.journal.set_plan_state(ctx.plan.hash, "started")
    execution = Execution()
    waiting = dict(todo)
    ear = Ear(ctx.journal, ctx.run_id, ctx.plan.hash)
    try:
        with listening(ear.of("looking whether servers changed", finishes=False)):
            stale = _leave_stale(ctx, execution, waiting)
    except Stopped:
        if (asked_for := ear.asked()) is not None:
            note_stopped(ctx.journal, asked_for)
        raise
    _check_outside_needs(ctx, ear, waiting, todo, states)
    named = claim_names(ctx.plan)
    keeper = Keeper(ctx.journal, ctx.run_id, lease_s=lease_s(ctx.site), report=ctx.report, named=named)
    returns = Returns(ctx, keeper)
    returns.take_up(states)
    running: dict[Future[tuple[str, float]], str] = {}
    places = workers or ctx.site.parallel
    stop: StopRequest | None = None
    with keeper, ThreadPoolExecutor(places, thread_name_prefix="step") as pool:
        try:
            while waiting or running or returns.pending:
                returns.block(waiting, execution.results)
                ready = _ready(waiting, todo, execution.results)
                stop = ear.asked()
                if stop is not None:
                    begun = _begun(ctx.plan.steps, states, {*execution.results, *running.values()})
                    ready = [step for step in ready if stop.kind is StopKind.AFTER_SERVER and step.owner in begun]
                    if not ready and not running and not returns.pending:
                        break
                for step in ready[: places - len(running)]:
                    del waiting[step.key]
                    running[pool.submit(_one, ctx, keeper, ear, step, states.get(step.key, StepState()))] = step.key
                going: set[Future[Any]] = {*running, *returns.begin(pool, (todo[key] for key in running.values()))}
                done, _ = wait(going, timeout=None if going else 0, return_when=FIRST_COMPLETED)
                returns.collect(done, execution.errors)
                for future in done & running.keys():
                    key = running.pop(future)
                    _collect(ctx, execution, todo, key, future)
                    if key in execution.errors:
                        returns.note(todo[key], execution.errors[key])
        except BaseException:
            # no new step begins; the ones under way end and journal their outcome, but nobody waits for what is gone
            ear.end()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if execution.given_up and stop is None:
        stop = ear.asked()  # it was asked for while the last steps were under way
    if stop is not None and (waiting or execution.given_up):
        note_stopped(ctx.journal, stop)
        execution.raise_failures(todo)
        touched = {*execution.results, *execution.given_up}
        raise _stopped(ctx, stop, execution, todo, _begun(ctx.plan.steps, states, touched))
    if execution.errors.keys() <= stale and all(step.phase == "prepare" for step in asked) and _others(ctx, stale):
        return execution  # what is stale fails the run at its end; until then the others go on
    execution.raise_failures(todo)
    if len(todo) < len(asked):
        raise _left_out(ctx, gone)
    states = ctx.journal.step_states(ctx.plan.hash)
    if all(states.get(step.key, StepState()).state == "verified" for step in ctx.plan.steps):
        ctx.journal.set_plan_state(ctx.plan.hash, "finished")
    return execution


def _leave_stale(ctx: Context, execution: Execution, waiting: dict[str, PlannedStep]) -> frozenset[str]:
    """Keep servers that changed since the plan was made out of it, whatever of theirs is still to do.

    Returns the key of the step of each that bears the error.
    """
    if not any(step.server_id for step in waiting.values()):
        return frozenset()
    failed = set()
    for server_id, error in stale_servers(ctx).items():
        own = [step for step in waiting.values() if step.server_id == server_id]
        for step in own:
            del waiting[step.key]
            execution.results[step.key] = "blocked"
        for step in own[:1]:
            _note_failure(ctx, execution, step, error)
            failed.add(step.key)
    return frozenset(failed)


def _others(ctx: Context, stale: Collection[str]) -> bool:
    """Whether the plan has servers beside those of these steps."""
    gone = {step.server_id for step in ctx.plan.steps if step.key in stale}
    return any(server.id not in gone for server in ctx.plan.servers)


def _left_out(ctx: Context, gone: Collection[str]) -> StepError:
    names = sorted(server.name for server in ctx.plan.servers if server.id in gone)
    return StepError(
        f"{', '.join(names)}: taken back to the source under this plan before, and left out; all others are done.",
        remedy="run the notebook again: it makes a plan of their own for them, which wants an approval.",
    )


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


def _begun(steps: Iterable[PlannedStep], states: Mapping[str, StepState], touched: Collection[str]) -> frozenset[str]:
    """Servers, nodes and hosts of which more than preparations was begun, by this execution or an earlier one."""
    return frozenset(
        step.owner
        for step in steps
        if step.owner and step.phase != "prepare"
        if step.key in touched or states.get(step.key, StepState()).in_effect
    )


def _stopped(
    ctx: Context, stop: StopRequest, execution: Execution, todo: Mapping[str, PlannedStep], begun: Collection[str]
) -> Stopped:
    """What to tell whoever asked: what is done, what is left, and which servers are half-way."""
    done = sum(result in ("verified", "skipped") for result in execution.results.values())
    left = [step for key, step in todo.items() if key not in execution.results]
    given_up = [todo[key].title for key in todo if key in execution.given_up]
    up = f" Given up while waiting, and gone on with next time: {', '.join(given_up)}." if given_up else ""
    halfway = {step.owner for step in left if step.phase != "prepare" and step.owner in begun}
    known = {server.id: server.name for server in ctx.plan.servers}
    down = {server.server_id: str(server) for server in servers_down(ctx.journal, ctx.plan)}
    names = sorted(known.get(owner, owner) for owner in halfway if owner and owner not in down)
    between = f" Half-way, and maybe down: {', '.join(names)}." if names else ""
    between += f" {'. '.join(down.values())}." if down else ""
    return Stopped(
        f"{stop.by} asked for it at {stop.asked_at:%H:%M:%S} UTC. {done} of {len(todo)} steps are done and verified, "
        f"{len(left) - len(given_up)} were not begun.{up}{between or ' Nothing is half-way.'}",
        remedy="run the same cell (or notebook) again to go on where it stopped, or roll back.",
    )


def _collect(
    ctx: Context, execution: Execution, todo: Mapping[str, PlannedStep], key: str, future: Future[tuple[str, float]]
) -> None:
    try:
        execution.results[key], execution.seconds[key] = future.result()
    except Stopped:
        execution.given_up.add(key)
        ctx.report(f"given up {todo[key].title}: somebody asked to stop while it waited")
    except Exception as caught:  # noqa: BLE001  a fault of ours in one step must not cut the others off half-way
        error = caught if isinstance(caught, PumphouseError) else _fault(todo[key], caught)
        _note_failure(ctx, execution, todo[key], error)


def _note_failure(ctx: Context, execution: Execution, step: PlannedStep, error: PumphouseError) -> None:
    execution.results[step.key] = "failed"
    execution.errors[step.key] = error
    data = {"error": str(error), "type": type(error).__name__}
    ctx.journal.write(ctx.run_id, ctx.plan.hash, step.key, "failed", data)
    ctx.report(f"FAILED   {step.title}: {error.message}")


def _fault(step: PlannedStep, caught: Exception) -> StepError:
    error = StepError(
        f"{step.title}: pumphouse itself failed: {type(caught).__name__}: {caught}.",
        remedy="this is a fault of pumphouse: report it with this record; the journal knows what was done.",
    )
    error.__cause__ = caught
    return error


def _one(ctx: Context, keeper: Keeper, ear: Ear, step: PlannedStep, before: StepState) -> tuple[str, float]:
    """Look, intend, act, journal, verify: the life of one step; returns its result and seconds."""
    with listening(ear.of(step.title, finishes=step.phase != "prepare" and step.owner is not None)):
        return _live(ctx, keeper, step, before)


def _live(ctx: Context, keeper: Keeper, step: PlannedStep, before: StepState) -> tuple[str, float]:
    begun = time.monotonic()
    if before.state == "verified" and _still_stands(ctx, step, before):
        ctx.journal.write(ctx.run_id, ctx.plan.hash, step.key, "skipped")
        return "skipped", time.monotonic() - begun
    _claim(ctx, step)
    keys = _owned(step) or [_shared_key(step)]
    keeper.claimed(keys)
    try:
        return "verified", _persist(ctx, step, begun, lambda: keeper.permit(keys))
    finally:
        if not _owned(step):
            keeper.released(_shared_key(step))
            ctx.journal.release(ctx.run_id, _shared_key(step))


def _persist(ctx: Context, step: PlannedStep, begun: float, permit: Callable[[], None]) -> float:
    """Do it; where an answer was lost on a way that has worked so far, look whether it happened, and go on.

    Clouds are waited for where they are asked. A BMC, a switch or Fuel that falls silent is waited for here: what was
    asked for may have happened, which only the step's own look can tell.
    """
    patience = LOST_ANSWERS if ctx.site.outage_s else 0
    gone: _Gone | None = None
    while True:
        try:
            return _do(ctx, step, begun, permit)
        except PumphouseError as error:
            silent = error if isinstance(error, NodeUnreachable) else error.__cause__
            if isinstance(silent, NodeUnreachable) and silent.known:
                gone = gone or _Gone(ctx.site.outage_s)
                if not gone.wait(ctx, step, silent):
                    raise
                continue
            cause = error if isinstance(error, CloudUnreachable) else error.__cause__
            if not isinstance(cause, CloudUnreachable) or patience == 0:
                raise
            patience -= 1
            pause_s = SILENCE_S if timed_out(cause) else RESET_S
            ctx.report(f"waiting  {step.title}: {cause.message} Looking in {pause_s:g} s whether it happened.")
            data = {"error": str(error), "pause_s": pause_s}
            ctx.journal.write(ctx.run_id, ctx.plan.hash, step.key, "waited", data)
            pause(pause_s)


class _Gone:
    """A device that is not there: how long it has not been, and how long until the next look."""

    def __init__(self, left_s: float) -> None:
        self._left_s, self._pause_s = left_s, DEVICE_S
        self._tried = time.monotonic()

    def wait(self, ctx: Context, step: PlannedStep, error: NodeUnreachable) -> bool:
        """Pause; False when it took too long.

        :raises Stopped: when somebody asked us to stop.
        """
        # a try that took longer than silence does was at work, maybe for an hour, before it fell silent again
        left_s = self._left_s - min(time.monotonic() - self._tried, DEVICE_MOST_S)
        if left_s <= 0:
            return False
        pause_s = min(self._pause_s, left_s)
        self._left_s, self._pause_s = left_s - pause_s, min(2 * self._pause_s, DEVICE_MOST_S)
        ctx.report(
            f"waiting  {step.title}: {error.message} Looking again in {pause_s:.0f} s, for {left_s:.0f} s at most."
        )
        data = {"error": str(error), "pause_s": pause_s}
        ctx.journal.write(ctx.run_id, ctx.plan.hash, step.key, "waited", data)
        pause(pause_s)
        self._tried = time.monotonic()
        return True


def _shared_key(step: PlannedStep) -> str:
    return f"step:{step.key}"


def _owned(step: PlannedStep) -> list[str]:
    """Claims that the step's run keeps until it ends; none: the step makes an object that plans share."""
    found = (("server", step.server_id), ("node", step.node), ("host", step.host))
    return [f"{word}:{name}" for word, name in found if name]


def lease_s(site: Site) -> float:
    """Seconds that a claim lasts without renewal."""
    return max(LEASE_S, 3 * site.action_timeout_s)


def claim_names(plan: Plan) -> Callable[[str], str]:
    """Tells of a claim's key in words what it is on."""
    servers = {server.id: f"server {server.name}" for server in plan.servers}
    titles = {step.key: step.title for step in plan.steps}

    def named(key: str) -> str:
        word, _, name = key.partition(":")
        known = {"server": servers, "step": titles}.get(word, {})
        return known.get(name, f"{word} {name}")

    return named


def _claim(ctx: Context, step: PlannedStep) -> None:
    """Take the step's server, node or host, or the shared object, which another plan may be making at this moment."""
    lasts_s = lease_s(ctx.site)
    if step.node and ctx.site.hardware.fuel is not None:
        lasts_s = max(lasts_s, 1.5 * ctx.site.hardware.fuel.task_timeout_s)
    keys, named = _owned(step), claim_names(ctx.plan)
    end = time.monotonic() + (0.0 if keys else SHARED_WAIT_S)
    while True:
        try:
            ctx.journal.claim(
                ctx.run_id,
                keys or [_shared_key(step)],
                holder=holder(),
                lease_s=lasts_s,
                is_gone=is_gone,
                named=named,
            )
        except ClaimHeld:
            if time.monotonic() >= end:
                raise
            pause(0.5)
        else:
            return


def _do(ctx: Context, step: PlannedStep, begun: float, permit: Callable[[], None]) -> float:
    if step.kind == "stop":
        _ground_stands(ctx, step)
    primitive = STEPS[step.kind]
    write = ctx.journal.write
    outcome: Mapping[str, Any] | None = primitive.look(ctx, step)
    told, requests = f"in place {step.title}", Requests()
    if outcome is None:
        before = ctx.journal.step_state(ctx.plan.hash, step.key).ours or ctx.journal.made_by_us(step.key)
        write(ctx.run_id, ctx.plan.hash, step.key, "intent", {"absent": True, **primitive.before(ctx, step)})
        with changing_requests(permit) as requests:
            try:
                outcome = primitive.act(ctx, step)
            except PumphouseError as error:
                if not before and _did_nothing(error, requests):
                    write(ctx.run_id, ctx.plan.hash, step.key, "refused")
                raise
        told = primitive.told(step, outcome)
    mapping = None
    if primitive.maps is not None:
        mapping = (primitive.maps, step.params["source_id"], str(outcome["id"]))
    done = {**outcome, "requests": requests.ids} if requests.ids else outcome
    write(ctx.run_id, ctx.plan.hash, step.key, "done", done, mapping=mapping)
    evidence = primitive.verify(ctx, step, outcome)
    write(ctx.run_id, ctx.plan.hash, step.key, "verified", {"evidence": dict(evidence)})
    seconds = time.monotonic() - begun
    ctx.report(f"{told} ({seconds:.1f} s)")
    return seconds


def _did_nothing(error: PumphouseError, requests: Requests) -> bool:
    """Whether every request that could have changed anything was refused, and that is what ended the step."""
    cause = error if isinstance(error, ApiError | NodeRefused) else error.__cause__
    refused = bool(requests.statuses) and all(status in REFUSALS for status in requests.statuses)
    return isinstance(cause, ApiError | NodeRefused) and cause.refused and refused


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
        return STEPS[step.kind].stands(ctx, step)
    found = STEPS[step.kind].look(ctx, step)
    return found is not None and found.get("id") == before.outcome.get("id")


def _check_outside_needs(
    ctx: Context,
    ear: Ear,
    waiting: Mapping[str, PlannedStep],
    todo: Mapping[str, PlannedStep],
    states: Mapping[str, StepState],
) -> None:
    """:raises StepError: when a step needs one that is neither here nor verified; what is under way is waited for."""
    end = time.monotonic() + SHARED_WAIT_S
    while True:
        unmet = {
            need: step
            for step in waiting.values()
            for need in step.needs
            if need not in todo and states.get(need, StepState()).state != "verified"
        }
        if not unmet:
            return
        # another run that has the same plan is just looking whether it still stands
        under_way = all(states.get(need, StepState()).state in ("intent", "done") for need in unmet)
        if not under_way or time.monotonic() > end:
            break
        stop = ear.asked()
        if stop is not None and stop.kind is StopKind.NOW:
            return  # nothing of it begins
        time.sleep(0.5)
        states = ctx.journal.step_states(ctx.plan.hash)
    need, step = next(iter(unmet.items()))
    titles = {known.key: known.title for known in ctx.plan.steps}
    raise StepError(
        f"{step.title} needs {len(unmet)} step(s) that are not done and verified yet, first: {titles.get(need, need)}.",
        remedy="run the action cells above this one first, in their order.",
    )
