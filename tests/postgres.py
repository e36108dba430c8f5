"""A PostgreSQL server of the tests' own: Debian's programs, a folder of its own, a socket in it and no network port."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from pumphouse.journal import Journal

USER = "pumphouse"
PASSWORD = "canary-journal-password"
#: No commit waits for a disk (``fsync``): no test cuts the power. ``synchronous_commit`` is a trap: left like that, a
#: server that crashes has forgotten what it said it had committed.
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=60")


def programs() -> Path | None:
    """The folder of the newest installed server's programs; Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(re.sub(r"\D", "", p.parts[4]) or 0)
    )
    return versions[-1].parent if versions else None


@dataclass
class Postgres:
    """A running server. Each :meth:`database` is a new, empty journal."""

    socket: Path
    _serve: Callable[[], subprocess.Popen[bytes]]
    _names: Iterator[int] = field(default_factory=itertools.count)
    _process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, *, password: bool = True) -> str:
        """The SQLAlchemy URL of a database."""
        user = f"{USER}:{PASSWORD}" if password else USER
        return f"postgresql://{user}@/{database}?host={self.socket}"

    def database(self, *, empty: bool = False) -> str:
        """The URL of a new database: a journal without entries, or with ``empty`` one without even tables."""
        name = f"journal{next(self._names)}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else 'made'}")
        return self.url(name)

    def ask(self, statement: str) -> None:
        """One statement, as the server's administrator."""
        with psycopg.connect(
            host=str(self.socket), user=USER, password=PASSWORD, dbname="postgres", autocommit=True
        ) as db:
            db.execute(statement.encode())

    def start(self) -> None:
        """Start the server, and wait until it lets us in."""
        self._process = self._serve()
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                return self.ask("SELECT 1")
            assert self._process.poll() is None, (self.socket / "log").read_text()
            assert time.monotonic() < end, "PostgreSQL does not come up"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT ends its sessions with a word, SIGQUIT cuts them off as a crash does."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server from initdb to a fast stop; as ``nobody`` where we are root, since PostgreSQL refuses to be root.

    Skips where PostgreSQL is not installed, which is a failure where ``CI`` is set.
    """
    found = programs()
    if found is None:
        words = "no PostgreSQL server is installed (Debian's package `postgresql`)"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    # a socket's path must be short, and nobody must be able to get there
    folder = Path(tempfile.mkdtemp(prefix="ph-pg-"))
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    environment = {"PATH": f"{found}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder)}

    def run(*command: str, **options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([found / command[0], *command[1:]], env=environment, cwd=folder, **as_user, **options)  # type: ignore[call-overload, no-any-return]

    secret = folder / "secret"
    secret.write_text(PASSWORD + "\n", encoding="utf-8")
    secret.chmod(0o644)
    data = folder / "data"
    made = run("initdb", "-D", str(data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-N", "-E", "UTF8",
               stdout=subprocess.DEVNULL)  # fmt: skip
    assert made.wait(60) == 0, "initdb failed"
    options = [word for setting in (*SETTINGS, f"unix_socket_directories={folder}") for word in ("-c", setting)]

    def serve() -> subprocess.Popen[bytes]:
        with (folder / "log").open("ab") as log:
            return run("postgres", "-D", str(data), *options, stdout=log, stderr=log)

    postgres = Postgres(folder, serve)
    try:
        postgres.start()
        postgres.ask("CREATE DATABASE made")
        Journal.open(postgres.url("made")).close()
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
