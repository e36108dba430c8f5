"""Processes that outlive the command that started them, and a way to end exactly those and no others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import RealError


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file in one step, so that a reader or a crash never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as f:
        f.write(text)
    fresh.replace(path)


def listening(port: int) -> bool:
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def _stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def started_at(pid: int) -> int | None:
    """A process's start time in clock ticks since boot; None when it is gone or a zombie."""
    fields = _stat_fields(pid)
    return None if not fields or fields[0] == "Z" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Record:
    """One started process, as kept in the run folder.

    A pid alone may by now belong to somebody else; pid, start time and boot together cannot.  `stage` orders
    the stop: the highest goes first, databases (0) last.
    """

    name: str
    pid: int
    started: int
    boot: str
    stage: int
    stop_signal: int
    port: int | None
    log: str

    def alive(self) -> bool:
        return self.boot == _boot_id() and started_at(self.pid) == self.started

    def tail(self, lines: int = 25) -> str:
        try:
            return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def family(pid: int) -> dict[int, int]:
    """A process, its descendants and the members of its session: {pid: start time}."""
    parents: dict[int, int] = {}
    members: set[int] = {pid}
    for entry in Path("/proc").glob("[0-9]*"):
        if fields := _stat_fields(int(entry.name)):
            parents[int(entry.name)] = int(fields[1])
            if int(fields[3]) == pid:
                members.add(int(entry.name))
    while more := {p for p, parent in parents.items() if parent in members} - members:
        members |= more
    return {p: started for p in members if (started := started_at(p)) is not None}


def memory_mib(pids: Iterable[int]) -> float:
    """Proportional set size: pages that processes share are counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


class Supervisor:
    """Starts processes that outlive this one, and ends only those.

    There is one record file a process, so threads and later commands need no common state.
    """

    def __init__(self, run: Path, log: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self.run_dir, self.log_dir, self.cwd, self.env = run, log, cwd, dict(env)
        self._children: list[subprocess.Popen[bytes]] = []

    def records(self) -> dict[str, Record]:
        found = (Record(**json.loads(path.read_text())) for path in sorted(self.run_dir.glob("*.json")))
        return {record.name: record for record in found}

    def alive(self, name: str) -> bool:
        record = self.records().get(name)
        return record is not None and record.alive()

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        stage: int,
        port: int | None = None,
        stop_signal: int = signal.SIGTERM,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Starts a process in a session of its own unless it runs already; does not wait for readiness."""
        if self.alive(name):
            return
        if port is not None and listening(port):
            raise RealError(
                f"port {port}, which {name} was given at the first set-up, is now used by somebody else: "
                "end that program, or `destroy` this home to choose other ports"
            )
        log = self.log_dir / f"{name}.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self.cwd,
                env={**self.env, **(env or {})},
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self._children.append(child)
        started = started_at(child.pid)
        if started is None:
            raise RealError(f"{name} ended at once, see {log}")
        record = Record(name, child.pid, started, _boot_id(), stage, int(stop_signal), port, str(log))
        write(self.run_dir / f"{name}.json", json.dumps(asdict(record), indent=1))

    def wait_for(self, what: str, probe: Callable[[], bool], names: Sequence[str], timeout_s: float = 150) -> None:
        """Polls until `probe` is true; gives up early, with the log's end, when one of `names` has died."""
        end = time.monotonic() + timeout_s
        while not probe():
            records = self.records()
            for name in names:
                if name not in records or not records[name].alive():
                    tail = records[name].tail() if name in records else "(never started)"
                    raise RealError(f"{name} is gone while waiting for {what}:\n{tail}")
            if time.monotonic() > end:
                tails = "\n".join(f"-- {name}\n{records[name].tail(12)}" for name in names)
                raise RealError(f"no {what} after {timeout_s:.0f} s:\n{tails}")
            time.sleep(0.2)

    def wait_port(self, name: str, timeout_s: float = 90) -> None:
        """Waits until the process that is known by `name` accepts connections on its port."""
        port = self.records()[name].port
        assert port is not None, name
        self.wait_for(f"{name} on port {port}", lambda: listening(port), [name], timeout_s)

    def stop(self, names: Iterable[str] | None = None, patience_s: float = 15) -> list[str]:
        """Ends the named processes (default: all), highest stage first; returns those that had to be killed.

        Whoever is left of a process's family once its leader is gone is killed: each was seen as its
        offspring while the leader still lived, and is recognised by its start time.
        """
        wanted = None if names is None else set(names)
        records = [r for r in self.records().values() if wanted is None or r.name in wanted]
        killed: list[str] = []
        for stage in sorted({r.stage for r in records}, reverse=True):
            batch = [r for r in records if r.stage == stage]
            running = [r for r in batch if r.alive()]
            families = {r.name: family(r.pid) for r in running}
            for r in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(r.pid, r.stop_signal)
            end = time.monotonic() + patience_s
            while time.monotonic() < end and any(self._still(r) for r in running):
                time.sleep(0.1)
            for r in running:
                if r.alive():
                    killed.append(r.name)
                for pid, started in families[r.name].items():
                    if started_at(pid) == started:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
            for r in batch:
                (self.run_dir / f"{r.name}.json").unlink(missing_ok=True)
        return killed

    def _still(self, record: Record) -> bool:
        for child in self._children:
            child.poll()  # collects our own child, which would stay a zombie otherwise
        return record.alive()

    def run(
        self,
        log_name: str,
        argv: Sequence[str],
        *,
        user: str | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 900,
    ) -> None:
        """Runs a command to its end; raises with the end of its output when it fails."""
        log = self.log_dir / f"{log_name}.log"
        with log.open("a") as out:
            out.write(f"$ {' '.join(argv)}\n")
            out.flush()
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                check=False,
                timeout=timeout_s,
                cwd=cwd or self.cwd,
                env=dict(env) if env is not None else self.env,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise RealError(f"`{' '.join(argv)}` ended with {done.returncode}, see {log}:\n{tail}")
