"""What an operator does: writes a site.yaml, types commands, approves plans; the commands run as a person's would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .base import HERE, Home

REPOSITORY = HERE.parent.parent
RUNBOOK = "runbooks/move-project.yaml"
CHECK, MOVE = "notebooks/02-check.ipynb", "notebooks/03-move-servers.ipynb"
FINALISE, ROLL_BACK = "notebooks/04-finalise-move.ipynb", "notebooks/05-roll-back-move.ipynb"
SEGMENT = "private-l2"
OPERATOR, APPROVER = "otto", "ada"


@dataclass(frozen=True)
class Done:
    """An ended command."""

    command: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def outcome(self) -> dict[str, Any]:
        """What `--json` printed."""
        try:
            printed: dict[str, Any] = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"{self} printed no JSON") from None
        return printed

    @property
    def obstacles(self) -> str:
        """The findings that refused it, a line each."""
        blocking = [finding for finding in self.outcome["findings"] if finding["severity"] == "block"]
        return "\n".join(f"{one['object']}: {one['message']} {one['remedy']}" for one in blocking)

    @property
    def said(self) -> str:
        """All of it, for reading."""
        return f"{self.stdout}\n{self.stderr}"

    def __str__(self) -> str:
        return f"`pumphouse {' '.join(self.command)}` ended with {self.exit_code}: {self.said.strip()[-3000:]}"


@dataclass
class Site:
    """A folder with a site.yaml, and all that was typed there."""

    folder: Path
    typed: list[Done] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "site.yaml"

    def pumphouse(self, *command: str, timeout_s: float = 400) -> Done:
        """Types a command and waits for its end; nothing of the caller's OS_* or PUMPHOUSE_* settings reaches it."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "PUMPHOUSE_", "COV_"))}
        ended = subprocess.run(
            [str(Path(sys.executable).with_name("pumphouse")), *command],
            cwd=REPOSITORY,
            env=environment | {"PUMPHOUSE_SITE": str(self.file), "PUMPHOUSE_OPERATOR": OPERATOR},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        done = Done(command, ended.returncode, ended.stdout, ended.stderr)
        self.typed.append(done)
        return done

    def run(self, what: str, **parameters: str) -> Done:
        """Runs a runbook or a notebook headlessly."""
        given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        return self.pumphouse("run", what, *given, "--json")

    def approve(self, refused: Done) -> Done:
        """Approves the plan for want of whose approval a run was refused, by the hash that its message tells."""
        told = re.search(r"pumphouse approve ([0-9a-f]{12,})", refused.outcome["detail"])
        assert told, f"no plan to approve: {refused}"
        done = self.pumphouse("approve", told[1], "--by", APPROVER, "--reason", "test of the real tier")
        assert done.exit_code == 0, done
        return done

    def run_approved(self, what: str, **parameters: str) -> Done:
        """Runs what needs an approval: refused, approved, run again."""
        refused = self.run(what, **parameters)
        assert refused.exit_code == 3, refused
        self.approve(refused)
        return self.run(what, **parameters)


def write_site(folder: Path, home: Home, users: list[str]) -> Site:
    """A site.yaml for the clouds of a home; `users` are those of the source whose own entries clouds.yaml has."""
    folder.mkdir(parents=True, exist_ok=True)
    site = {
        "schema": 1,
        "name": "real",
        "clouds_yaml": str(home.clouds_yaml),
        "source": {"cloud": "source", "owners": {user: f"source-{user}" for user in users}},
        "destination": {
            "cloud": "destination",
            "floating_pools": {"public": "public"},
            # Neutron takes any name of a flat segment here; no DHCP agent runs
            "provider": {"novanetwork": {"physical_network": SEGMENT, "dhcp": "filtered"}},
            "same_net_traffic": "drop",
        },
        # no guest runs here, so none can answer
        "probe": {"kind": "none"},
        "limits": {"parallel": 3, "hold_s": 1, "action_timeout_s": 180},
    }
    made = Site(folder)
    made.file.write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")
    return made
