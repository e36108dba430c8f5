"""Who holds a claim: user, machine and process, so that a dead process on this machine is known as such."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path


def holder() -> str:
    """Who we are. The process's start time keeps a reused process id apart."""
    return f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()} started {_started(os.getpid())}"


def is_gone(other: str) -> bool:
    """Whether that holder was a process of this machine that has ended; False where we cannot know."""
    match = re.fullmatch(r".+@(.+) pid (\d+) started (\S+)", other)
    if match is None or match[1] != socket.gethostname():
        return False
    return _started(int(match[2])) != match[3]


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot (proc(5), field 22); ``-`` when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "-"
    return "-" if fields[0] == "Z" else fields[19]
