"""A lab from outside its process: start it detached, ask whether it lives, end it.

A process is only ever ended when its id *and* its start time are those that the lab wrote down.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pumphouse.errors import PumphouseError

if TYPE_CHECKING:
    from pumphouse.lab.server import LabOptions

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class LabInfo:
    """A lab as its directory tells.

    ``running`` is checked against the process table; ``facts`` is the content of ``lab.json`` (empty when there is
    none): pid, release, size, scale, source_auth_url, destination_auth_url, fixed_cidr, floating_cidr, guest_port,
    servers, control_url, hardware, fuel_release.
    """

    directory: Path
    running: bool
    facts: dict[str, Any]

    @property
    def site_file(self) -> Path:
        """The ``site.yaml`` to give to pumphouse."""
        return self.directory / "site.yaml"

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints; no secret is in it."""
        return {**asdict(self), "directory": str(self.directory), "site": str(self.site_file)}


def start_stamp(pid: int) -> str | None:
    """When a process started, as the system tells it; None when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    done = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout.strip() or None


def status(directory: str | Path) -> LabInfo:
    """What is known about the lab of a directory (read only)."""
    path = Path(directory).expanduser().resolve()
    try:
        facts = json.loads((path / "lab.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return LabInfo(path, running=False, facts={})
    except (OSError, ValueError) as error:
        raise PumphouseError(
            f"{path / 'lab.json'} cannot be read: {error}.", remedy="remove it if no lab runs in that directory."
        ) from error
    stamp = start_stamp(int(facts["pid"]))
    return LabInfo(path, running=stamp is not None and stamp == facts["process_start"], facts=facts)


def up(directory: str | Path, options: LabOptions | None = None) -> LabInfo:
    """Start a lab in a directory and wait until it serves; one that runs there already is left as it is.

    Journal, records and work of an earlier lab in that directory are moved to ``earlier/TIME/``: its clouds are gone.

    :raises PumphouseError: when it does not come up, with the end of its log.
    """
    from pumphouse.lab.server import LabOptions

    options = options or LabOptions()
    info = status(directory)
    if info.running:
        return info
    path = info.directory
    path.mkdir(parents=True, exist_ok=True)
    (path / "lab.json").unlink(missing_ok=True)
    _set_aside(path)
    command = [sys.executable, "-m", "pumphouse.lab", "serve", "--dir", str(path)]
    for name, value in asdict(options).items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    log = path / "lab.log"
    pid = _spawn(command, log)
    stamp = start_stamp(pid)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and not _has_ended(pid):
        info = status(path)
        if info.running:
            return info
        time.sleep(0.05)
    _end(pid, stamp)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
    raise PumphouseError(
        f"The lab in {path} did not come up. Its log ends with:\n{tail}",
        remedy=f"read {log}; if ports or addresses are the trouble, stop other labs first.",
    )


def _set_aside(path: Path) -> None:
    # a journal of clouds that are gone would be believed: ids are the same in every lab
    kept = [path / name for name in ("journal.db", "journal.db-wal", "journal.db-shm", "records", "work")]
    kept = [item for item in kept if item.exists()]
    if kept:
        folder = path / "earlier" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        folder.mkdir(parents=True)
        for item in kept:
            item.rename(folder / item.name)


def _spawn(command: list[str], log: Path) -> int:
    # posix_spawn, as a Popen object that is let go while its process lives is a ResourceWarning
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return start_stamp(pid) is None


def down(directory: str | Path) -> LabInfo:
    """End the lab of a directory (nothing happens when none runs); its files stay, its clouds are gone.

    :raises PumphouseError: when it does not end.
    """
    info = status(directory)
    if info.running and not _end(int(info.facts["pid"]), str(info.facts["process_start"])):
        raise PumphouseError(
            f"The lab in {info.directory} (process {info.facts['pid']}) does not end.",
            remedy="end that process by hand.",
        )
    (info.directory / "lab.json").unlink(missing_ok=True)
    return LabInfo(info.directory, running=False, facts=info.facts)


def _end(pid: int, stamp: str | None) -> bool:
    for number, patience_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience_s
        if stamp is None or start_stamp(pid) != stamp:
            return True
        os.kill(pid, number)
        while time.monotonic() < deadline:
            if _has_ended(pid) or start_stamp(pid) != stamp:
                return True
            time.sleep(0.02)
    return False
