"""Who holds a claim: user, machine and process, so that a dead process on this machine is known as such."""

from __future__ import annotations

import getpass
import os
import re
import socket
from pathlib import Path

_HOLDER = re.compile(r"(.+)@(.+) pid (\d+) started (\S+) in (\S+)")


def holder() -> str:
    """Who we are. The process's start time keeps a reused process id apart."""
    pid = os.getpid()
    return f"{getpass.getuser()}@{socket.gethostname()} pid {pid} started {_started(pid)} in {_namespace()}"


def holder_words(other: str) -> str:
    """A holder for people: who on which machine, and the process; anything else as it is."""
    match = _HOLDER.fullmatch(other)
    return other if match is None else f"{match[1]} on {match[2]} (pid {match[3]})"


def is_gone(other: str) -> bool:
    """Whether that holder was a process of this machine that has ended; False where we cannot know."""
    match = _HOLDER.fullmatch(other)
    if match is None or (match[2], match[5]) != (socket.gethostname(), _namespace()):
        return False
    return _started(int(match[3])) != match[4]


def _namespace() -> str:
    """Our process namespace: containers may share a host's name, but do not see its processes."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "-"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot (proc(5), field 22); ``-`` when there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "-"
    return "-" if fields[0] == "Z" else fields[19]
