"""Disturbed at every request: each kind of fault in turn; the run converges, or says what is where and can go on.

One process walks through an undisturbed run. At each call to a cloud it stops, and the call meets every kind of fault:

- A reading call is made again with the fault armed in the lab. If it comes back with the same answer as without
  (repeated, logged in anew), then nothing else of the run can differ: the fault was *absorbed*. If it raises, a forked
  child goes on from here with that error.
- A changing call is made by a forked child, in the real world, with the fault armed. If it comes back and both clouds
  are as they are after an undisturbed call, it was absorbed, too; else the child goes on.

A child that goes on ends with the run's own end: it *converged* (the state is that of an undisturbed run) or *stopped*
(with a message that names a remedy; then the same command again, without a fault, has to converge). Two children whose
step fails while the world is the same (:meth:`Bench.gist`) and the same requests go on failing have the same future,
whatever they failed of: one of them has it, the other is counted as *same*. The command is run again from each world
that a child left, and once from those that are the same. A run that, in spite of the fault, sets out to carry out the
approved plan in an untouched world, or whose disturbed step ends well and leaves the world as it does undisturbed, has
the future of an undisturbed one: it *converged*. What no API of the services can tell (:meth:`Scenario.unseen`) is
counted as *unseen*: it is known, and no worse than that. After each child the world is put back.
"""

from __future__ import annotations

import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import requests
import sqlalchemy as sa
from sqlalchemy.engine import Engine

import pumphouse.clouds.http as http
import pumphouse.executor as executor
from pumphouse.clouds.http import Reply, Wire
from pumphouse.errors import PumphouseError
from pumphouse.nodes.fuel.wire import Wire as FuelWire
from pumphouse.nodes.ipmi import IpmiBmc
from pumphouse.session.run import Run
from tests.sweep import hooks, unwired
from tests.sweep.bench import Bench, Finding
from tests.sweep.children import Branch, Ended, branch, fork
from tests.sweep.hooks import Point
from tests.sweep.world import TOLD_APART

#: What can happen to one request; the lab's own words (:mod:`pumphouse.lab.faults`). ``times`` 0: for good.
KINDS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503": {"kind": "status", "status": 503},
    "401": {"kind": "status", "status": 401},
    "413": {"kind": "status", "status": 413},
    "429": {"kind": "status", "status": 429},
    "timeout": {"kind": "hang"},
    "timeout, done": {"kind": "late"},
    "reset": {"kind": "reset"},
    "reset, done": {"kind": "lost"},
    "slow": {"kind": "slow"},
    "truncated": {"kind": "truncate"},
    "corrupted": {"kind": "corrupt"},
    "not done": {"kind": "silent"},
    "503 for good": {"kind": "status", "status": 503, "times": 0},
    "reset for good": {"kind": "reset", "times": 0},
    "401 for good": {"kind": "status", "status": 401, "times": 0},
    "429 for good": {"kind": "status", "status": 429, "times": 0, "retry_after_s": 60},
}
#: Of a reading request nothing can be done or left undone, and it carries no image data.
NOT_FOR_READING = frozenset({"timeout, done", "reset, done", "not done", "corrupted"})
#: Image data in both directions; an upload's own answer is no larger than nothing.
FOR_DATA = ("truncated", "corrupted", "slow", "reset", "timeout", "503", "503 for good")
FOR_UPLOADS = tuple(kind for kind in KINDS if kind not in ("truncated", "slow"))
#: How much longer a call that changes something takes to be swept than one that reads.
CHANGING = 8
#: Seconds that a disturbed request may take.
IMPATIENT_S = 0.2
#: What is another in every answer: the request's id, and the clocks of services that report their life.
_PASSING = re.compile(rb"req-[0-9a-f-]{36}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?")
#: Seconds that a whole walk may take.
_WALK_S = 4 * 3600.0
#: So many calls, and a worker says how far it is.
_TOLD_EVERY = 10


@dataclass
class Tally:
    """What became of every fault: by kind, how many were absorbed, converged, stopped or have the same future.

    ``sound``: the world after each step of a run that was not disturbed.
    """

    ended: dict[str, Counter[str]] = field(default_factory=dict)
    requests: int = 0
    calls: list[str] = field(default_factory=list)
    sound: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def note(self, kind: str, how: str) -> None:
        """One more."""
        self.ended.setdefault(kind, Counter())[how] += 1

    def add(self, other: Tally) -> None:
        """Another worker's."""
        self.findings += other.findings
        if self.calls and self.calls != other.calls:
            pairs = zip_longest(self.calls, other.calls, fillvalue="nothing")
            n, (one, another) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
            said = f"two workers did not meet the same calls: {one} and {another}, after {n}"
            self.findings.append(Finding("walk", "faults", said))
        self.requests, self.calls = other.requests, other.calls
        for kind, counted in other.ended.items():
            self.ended.setdefault(kind, Counter()).update(counted)

    @property
    def swept(self) -> int:
        """Faults that were injected."""
        return sum(sum(counted.values()) for counted in self.ended.values())


def sweep(
    bench: Bench, *, share: tuple[int, int] = (0, 1), every: int = 1, tell: Callable[[str], None] = print
) -> Tally:
    """Disturb every request of the command.

    :param share: (which, of how many): the part of the calls that this process takes care of.
    :param every: 1 for a sweep; only every n-th call of that part otherwise.
    :param tell: takes a line for every fault that was not simply absorbed.
    """
    undisturbed = _walk(bench, frozenset(), {}, tell)
    if undisturbed.findings:
        return undisturbed
    weights = [CHANGING if call.startswith("!") else 1 for call in undisturbed.calls]
    which, parts = share
    # each part is a stretch, since calls that are near each other have futures in common
    mine = {n for n in range(len(weights)) if sum(weights[:n]) * parts // sum(weights) == which}
    return _walk(bench, frozenset(sorted(mine)[::every]), undisturbed.sound, tell)


def _walk(bench: Bench, mine: frozenset[int], sound: dict[str, str], tell: Callable[[str], None]) -> Tally:
    bench.start()

    def work() -> dict[str, Any]:
        walk = _Walk(bench, mine, sound, tell)
        walk.step_between()
        told = bench.scenario.command(bench.world)
        walk.end_of_child({"told": told})
        tally = walk.tally
        return {
            "ended": {kind: dict(counted) for kind, counted in tally.ended.items()},
            "requests": tally.requests,
            "calls": tally.calls,
            "sound": tally.sound,
            "findings": [[f.place, f.phase, f.what] for f in tally.findings]
            + ([["walk", "faults", told["error"]]] if told["error"] else []),
        }

    ended = fork(work, patience_s=_WALK_S)
    if ended.crash or ended.signal:
        return Tally(findings=[Finding("walk", "faults", f"crashed: {ended.crash or ended.signal}")])
    answer = ended.answer
    return Tally(
        {kind: Counter(counted) for kind, counted in answer["ended"].items()},
        answer["requests"],
        answer["calls"],
        answer["sound"],
        [Finding(*three) for three in answer["findings"]],
    )


class _Child(BaseException):
    """Raised in a child where it was forked: its call is to go on like this."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self.act = act


class _Walk:
    """The walking process, and each child that goes on from it (``branch`` is set there).

    ``sound``: worlds (:meth:`Bench.gist`) right after each step of an undisturbed run, none while they are collected.
    ``seen``: futures that a child has had; ``left``: worlds from which the command was run again. ``lasting``: where
    requests fail for good; ``gone``: devices that do, and how. ``busy``: calls are passed on as they are.
    """

    def __init__(self, bench: Bench, mine: frozenset[int], sound: dict[str, str], tell: Callable[[str], None]) -> None:
        self.bench, self.mine, self.sound, self.tell = bench, mine, sound, tell
        self.tally = Tally()
        self.seen: set[str] = set()
        self.left: set[str] = set()
        self.lasting = ""
        self.passed: list[str] = []
        self.unclear: list[str] = []
        self.branch: Branch | None = None
        self.busy = False
        self.sent: list[str] = []
        self.engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self.adapters: weakref.WeakSet[Any] = weakref.WeakSet()
        self.bmcs: weakref.WeakSet[IpmiBmc] = weakref.WeakSet()
        self.gone: dict[str, Callable[[], Any]] = {}

    # -- standing between the run and its clouds ------------------------------------------------
    def step_between(self) -> None:
        """From now on every call of this process passes through our hands."""
        walk = self
        send, access, log_in = Wire.send, Wire.access, Wire.log_in_once
        execute = Run._execute
        collect, leave, wire_send = executor._collect, Run.__exit__, requests.adapters.HTTPAdapter.send

        def sending(wire: Wire, method: str, url: str, **options: Any) -> Any:
            if walk.idle and not options.get("anonymous"):
                wire.access()  # a login is a call of its own
            reads = method in ("GET", "HEAD")
            return walk.call(wire, lambda: send(wire, method, url, **options), options["doing"], reads=reads)

        def accessing(wire: Wire) -> Any:
            return walk.call(wire, lambda: access(wire), "log in", reads=True)

        def logging_in(wire: Wire) -> Any:
            return walk.call(wire, lambda: log_in(wire), "log in once", reads=True)

        def collecting(ctx: Any, execution: Any, todo: Any, key: str, future: Any) -> None:
            error = future.exception()
            walk.cut_if_known(f"step {key}", error)
            if error is None:
                walk.cut_if_undisturbed(key)
            collect(ctx, execution, todo, key, future)

        def leaving(run: Any, kind: Any, error: Any, trace: Any) -> Any:
            walk.cut_if_known("the run", error)
            return leave(run, kind, error, trace)

        def executing(run: Any, plan: Any, *rest: Any, **options: Any) -> Any:
            # an approved plan and an untouched world: what follows is what follows undisturbed
            if walk.branch is not None and walk.bench.state() == walk.bench.was:
                walk.end_of_child({"cut": "converged"})
            return execute(run, plan, *rest, **options)

        def connecting(adapter: Any, *rest: Any, **options: Any) -> Any:
            walk.adapters.add(adapter)
            return wire_send(adapter, *rest, **options)

        Wire.send, Wire.access, Wire.log_in_once = sending, accessing, logging_in  # type: ignore[method-assign,assignment]
        executor._collect, Run.__exit__ = collecting, leaving  # type: ignore[method-assign]
        Run._execute = executing  # type: ignore[method-assign,assignment]
        requests.adapters.HTTPAdapter.send = connecting  # type: ignore[method-assign,assignment]
        self.bmcs = unwired.stand_between(self)
        http._UPLOAD_S = 2 * IMPATIENT_S
        sa.event.listen(Engine, "engine_connect", lambda connection: self.engines.add(connection.engine))
        self.bench.watch(self._see)

    def _see(self, point: Point) -> None:
        if point.when == "leaving":
            self.sent.append(point.what)
            if self.idle:
                self.tally.requests += 1
        if point.when == "unread" and not point.what.startswith("GET"):
            self.bench.world.control("GET", "/idle")

    @property
    def idle(self) -> bool:
        """Whether this is the walking process, between two calls."""
        return self.branch is None and not self.busy

    def call(self, wire: Wire | FuelWire, act: Callable[[], Any], doing: str, *, reads: bool) -> Any:
        """One call of the run, after it met every fault."""
        if not self.idle:
            return act()
        try:
            return self._reading(wire, act, doing) if reads else self._changing(wire, act, doing)
        except _Child as child:
            go_on = child.act
        return go_on()

    def device(self, name: str, act: Callable[[], Any], doing: str, *, reads: bool) -> Any:
        """One call of a BMC or a switch, after it met every fault of theirs."""
        if not self.idle:
            return self.gone.get(name, act)()
        if self._ours(f"!{name}: {doing}"):
            try:
                for kind, (_, done, lasts) in unwired.KINDS.items():
                    if not (reads and done):
                        self.lasting = f"{name} {kind}" if lasts else ""
                        self._go_on(f"{kind}: {name}: {doing}", kind, self._ended(name, act, kind))
            except _Child as child:
                return child.act()
        with self._as_it_is():
            return act()

    def _ended(self, name: str, act: Callable[[], Any], kind: str) -> Callable[[], Any]:
        go_on = unwired.disturbed(name, act, kind)

        def and_stay_so() -> Any:
            if unwired.KINDS[kind][2]:
                self.gone[name] = go_on
            return go_on()

        return and_stay_so

    def _ours(self, what: str) -> bool:
        self.tally.calls.append(hooks.without_ids(what))
        ours = len(self.tally.calls) - 1 in self.mine
        if ours and len(self.tally.calls) % _TOLD_EVERY == 0:
            self.tell(f"call {len(self.tally.calls)}, {self.tally.swept} faults so far")
        return ours

    # -- reading ------------------------------------------------------------------------------
    def _reading(self, wire: Wire | FuelWire, act: Callable[[], Any], doing: str) -> Any:
        mark = len(self.sent)
        answer = act()
        sent = self.sent[mark:]
        if not sent or not self._ours(f"{doing} {sent}"):
            return answer
        method, path = hooks.last_request()
        where = f"{doing} ({sent[-1]})"
        logs_in, stream = method == "POST", isinstance(answer, Reply) and not answer.response.raw.isclosed()
        if stream:
            answer.response.close()
        for kind in KINDS:
            if kind not in NOT_FOR_READING and not (stream and kind in FOR_DATA):
                self._read_again(wire, act, kind, where, (method, path), None if logs_in or stream else answer)
        if stream:
            for kind in FOR_DATA:
                self._go_on(f"{kind}: {where}, its data", kind, self._hurried(wire, act), arm=(method, path))
            for kind in FOR_UPLOADS:
                self._go_on(f"{kind}: the upload of what {where} gave", kind, act, arm=("PUT", ""))
        if logs_in:
            _forget_login(wire)
        with self._as_it_is():
            return act()

    def _read_again(
        self, wire: Wire | FuelWire, act: Callable[[], Any], kind: str, where: str, arm: tuple[str, str], want: Any
    ) -> None:
        if arm[0] == "POST":
            _forget_login(wire)
        self._arm(kind, *arm)
        try:
            with self._as_it_is(), self._impatient(wire):
                again = act()
        except Exception as error:  # noqa: BLE001  whatever it is: the run would meet it here
            self._go_on(f"{kind}: {where}", kind, _raiser(error))
        else:
            if isinstance(again, Reply) and want is None:
                again.response.close()
            if want is not None and _content(again) != _content(want):
                self.tally.findings.append(Finding(f"{kind}: {where}", "faults", "another answer than without it"))
            self.tally.note(kind, "absorbed")
        finally:
            if self.branch is None:
                self.bench.world.control("DELETE", "/faults")

    def _hurried(self, wire: Wire | FuelWire, act: Callable[[], Any]) -> Callable[[], Any]:
        def go_on() -> Any:
            with self._impatient(wire):
                return act()

        return go_on

    # -- changing -----------------------------------------------------------------------------
    def _changing(self, wire: Wire | FuelWire, act: Callable[[], Any], doing: str) -> Any:
        if not self._ours(f"!{doing}"):
            return act()

        def undisturbed() -> dict[str, Any]:
            mark = len(self.sent)
            with self._as_it_is():
                act()
            return {"sent": self.sent[mark:], "request": hooks.last_request(), "state": self.bench.state()}

        self._keep()
        ended = fork(undisturbed)
        self._back()
        if ended.crash:
            # refused even undisturbed, e.g. a conflict that the step knows how to take
            self.tally.note("none", "refused")
            return act()
        method, path = ended.answer["request"]
        for kind in KINDS:
            if kind != "corrupted":
                disturbed = self._disturbed(wire, act, ended.answer["state"])
                self._go_on(f"{kind}: {doing} ({ended.answer['sent'][-1]})", kind, disturbed, arm=(method, path))
        return act()

    def _disturbed(self, wire: Wire | FuelWire, act: Callable[[], Any], undisturbed: Any) -> Callable[[], Any]:
        def go_on() -> Any:
            result = self._hurried(wire, act)()
            if self.bench.state() == undisturbed:
                self.end_of_child({"cut": "absorbed"})
            return result

        return go_on

    # -- children -----------------------------------------------------------------------------
    def _go_on(self, place: str, kind: str, act: Callable[[], Any], *, arm: tuple[str, str] | None = None) -> None:
        """Let a child go on from here with ``act``; then judge what it left, and put the world back."""
        self._keep()
        if arm is not None:
            self._arm(kind, *arm)
        ended = branch()
        if isinstance(ended, Branch):
            self.branch = ended
            raise _Child(act)
        self.bench.world.control("DELETE", "/faults")
        before = len(self.tally.findings)
        with self._as_it_is():
            how = self._judge(place, ended)
        self.tally.note(kind, how)
        wrong = self.tally.findings[before:]
        if wrong or how not in ("absorbed", "same"):
            self.tell(f"{place}: {how if not wrong else wrong[0]}")
        self._back()

    def _judge(self, place: str, ended: Ended) -> str:
        findings, bench = self.tally.findings, self.bench
        if ended.crash or ended.signal:
            findings.append(Finding(place, "faults", f"crashed: {ended.crash or ended.signal}"))
            return "crashed"
        findings += [Finding(place, "faults", f"no message to go on with: {said}") for said in ended.answer["unclear"]]
        if "cut" in ended.answer:
            findings += bench.law(place, "faults")
            return str(ended.answer["cut"])
        self.seen.update(ended.answer["passed"])
        told = ended.answer["told"]
        findings += bench.law(place, "faults")
        if not told["error"] and bench.scenario.unseen(place):
            return "unseen"
        if not told["error"]:
            findings += bench.untrue(place, "faults", Ended(told))
            findings += bench.compared(place, "faults")
            return "converged"
        if told["result"] in ("succeeded", "nothing-to-do"):
            findings.append(Finding(place, "faults", f"counts as {told['result']}, but ended with {told['error']}"))
        left = bench.gist()
        if left not in self.left:
            self.left.add(left)
            findings += bench.converges(place)
        return "stopped"

    def cut_if_known(self, where: str, error: BaseException | None) -> None:
        """In a child: end if another one met the same error here, in the same world."""
        if error is None or self.branch is None:
            return
        said = str(error)
        if not isinstance(error, PumphouseError) or not self.bench.scenario.clear(said):
            self.unclear.append(f"{type(error).__name__}: {said}")
        kind = type(error).__name__ if type(error).__name__ in TOLD_APART else "fails"
        key = f"{where} {kind} {self.lasting} {self.bench.gist()}"
        if key in self.seen:
            self.end_of_child({"cut": "same"})
        self.passed.append(key)

    def cut_if_undisturbed(self, key: str) -> None:
        """In a child: end if this step ended well, and the world is the one that it makes undisturbed."""
        if self.branch is None:
            if not self.mine:
                self.tally.sound[key] = self.bench.gist()
        elif not self.lasting and not self.passed and self.bench.gist() == self.sound.get(key):
            self.end_of_child({"cut": "converged"})

    def end_of_child(self, answer: dict[str, Any]) -> None:
        """In a child: answer, and be gone."""
        if self.branch is not None:
            self.branch.end({"passed": self.passed, "unclear": self.unclear, **answer})

    # -- the world ----------------------------------------------------------------------------
    def _keep(self) -> None:
        # what is open belongs to one process: a child opens its own
        for engine in list(self.engines):
            engine.dispose()
        for adapter in list(self.adapters):
            adapter.poolmanager.clear()
        for bmc in list(self.bmcs):
            bmc.close()
        self.bench.world.keep("here")

    def _back(self) -> None:
        self.bench.world.restore("here")

    def _arm(self, kind: str, method: str, path: str) -> None:
        pattern = f"^{re.escape(path)}$" if path else "/file$"
        self.lasting = f"{method} {pattern}" if KINDS[kind].get("times") == 0 else ""
        self.bench.world.control("POST", "/faults", **{"method": method, "path": pattern, **KINDS[kind]})

    @contextmanager
    def _as_it_is(self) -> Iterator[None]:
        self.busy = True
        try:
            yield
        finally:
            self.busy = False

    @contextmanager
    def _impatient(self, wire: Wire | FuelWire) -> Iterator[None]:
        if isinstance(wire, FuelWire):
            before_s = unwired.impatient(wire, IMPATIENT_S)
            try:
                yield
            finally:
                unwired.impatient(wire, before_s)
            return
        patience_s = wire.timeout_s
        wire.timeout_s = wire.session.timeout = IMPATIENT_S
        try:
            yield
        finally:
            wire.timeout_s = wire.session.timeout = patience_s


def _raiser(error: Exception) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def _content(answer: Any) -> Any:
    if not isinstance(answer, Reply):
        return answer  # Fuel's, read already
    return answer.status, _PASSING.sub(b"", answer.response.content)


def _forget_login(wire: Wire | FuelWire) -> None:
    if isinstance(wire, FuelWire):
        unwired.forget_login(wire)
    else:
        wire.session.invalidate()
