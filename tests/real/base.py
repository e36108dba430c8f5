"""What the launchers of both clouds have in common.

The source and the destination cloud differ in what they run, not in how it is run: both need packages, a
virtual environment, a folder, ports that stay the same for ever (service catalogs hold them), processes that
outlive the command that started them, and a way to end exactly those processes and no others.  All of that is
here; a cloud is a subclass of `Cloud` that fills in what it installs, sets up and starts.
"""

from __future__ import annotations

import abc
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from . import rest
from .errors import RealError, Unavailable
from .processes import Supervisor, write

HERE = Path(__file__).resolve().parent
REGION = "RegionOne"
POLICY = Path("/usr/sbin/policy-rc.d")
# Ports are looked for here: below Linux's range for outgoing connections, so that no client socket can sit on
# one of them while a cloud is down.
PORT_RANGE = range(20000, 26000)


class Reporter:
    """Prints progress lines that begin with the seconds since the command began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, who: str, text: str) -> None:
        with self._lock:
            print(f"[{time.monotonic() - self._began:6.1f}s] {who}: {text}", flush=True)


# -- files ---------------------------------------------------------------------------------------------------


def ini(sections: Mapping[str, Mapping[str, object]]) -> str:
    """The text of an oslo.config file; a list becomes a comma-separated value, True becomes `true`."""

    def value(v: object) -> str:
        if isinstance(v, bool):
            return str(v).lower()
        return ",".join(map(str, v)) if isinstance(v, (list, tuple)) else str(v)

    return "\n".join(
        f"[{name}]\n" + "".join(f"{k} = {value(v)}\n" for k, v in options.items()) for name, options in sections.items()
    )


def yaml_text(data: Mapping[str, Any], indent: int = 0) -> str:
    """Nested mappings of scalars as YAML; strings are quoted the JSON way, which YAML reads too."""
    lines = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines.append(" " * indent + f"{key}:\n" + yaml_text(value, indent + 2))
        else:
            lines.append(" " * indent + f"{key}: {json.dumps(value)}\n")
    return "".join(lines)


# -- ports ---------------------------------------------------------------------------------------------------


def choose_ports(count: int) -> list[int]:
    """Free loopback ports, picked at random so that two homes on one machine rarely want the same ones."""
    found: list[int] = []
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RealError(f"fewer than {count} free ports in {PORT_RANGE.start}-{PORT_RANGE.stop}")


# -- the home folder -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Home:
    """The folder that holds everything of both clouds: programs, data, logs, chosen ports and passwords."""

    path: Path

    @property
    def settings_file(self) -> Path:
        return self.path / "settings.json"

    @property
    def clouds_yaml(self) -> Path:
        return self.path / "clouds.yaml"

    @property
    def secure_yaml(self) -> Path:
        return self.path / "secure.yaml"

    @property
    def populated_json(self) -> Path:
        return self.path / "populated.json"

    def settings(self) -> dict[str, Any]:
        """Ports and passwords as chosen at the first `up`.

        Raises `RealError` when there was none yet.
        """
        try:
            loaded: dict[str, Any] = json.loads(self.settings_file.read_text())
        except FileNotFoundError:
            raise RealError(f"nothing has been set up in {self.path}: run `python -m tests.real up`") from None
        return loaded

    def prepare(self, port_names: Mapping[str, Sequence[str]]) -> None:
        """Makes the folder and chooses ports and passwords, once; later calls change nothing."""
        if self.settings_file.exists():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, *self.path.parents):
            if not folder.stat().st_mode & 0o001:
                # PostgreSQL refuses to run as root and must be able to walk down to its data.
                raise RealError(f"other users cannot enter {folder}: choose another home with --home")
        names = [(cloud, name) for cloud, own in port_names.items() for name in own]
        ports: dict[str, dict[str, int]] = {cloud: {} for cloud in port_names}
        for (cloud, name), port in zip(names, choose_ports(len(names)), strict=True):
            ports[cloud][name] = port
        passwords = {
            cloud: {who: secrets.token_hex(8) for who in ("admin", "service", "database", "tenants")}
            for cloud in port_names
        }
        write(self.settings_file, json.dumps({"ports": ports, "passwords": passwords}, indent=1), 0o600)

    @contextlib.contextmanager
    def locked(self, report: Reporter, timeout_s: float = 900) -> Iterator[None]:
        """Keeps two commands from working on one home at the same time; waits for the other one to finish."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as f:
            end, told = time.monotonic() + timeout_s, False
            while True:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise RealError(f"another command has held {f.name} for {timeout_s:.0f} s") from None
                    if not told:
                        report("home", "waiting for another command to finish")
                        told = True
                    time.sleep(0.5)
            yield


# -- installation --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _no_daemon_starts() -> Iterator[None]:
    """Keeps packages from starting what they install: Debian asks policy-rc.d first, and it says no here."""
    if POLICY.exists():
        yield
        return
    write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def apt_install(packages: Mapping[str, str], log: Path, report: Reporter) -> None:
    """Installs those Debian packages whose telltale file (the mapping's value) is missing."""
    missing = [name for name, telltale in packages.items() if not Path(telltale).exists()]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(f"needs root and apt-get to install {' '.join(missing)}")
    report("apt", "installing " + " ".join(missing))
    command = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    with log.open("ab") as out, _no_daemon_starts():
        for step in (["update"], ["install", "--no-install-recommends", *missing]):
            done = subprocess.run(
                command + step,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=900,
            )
            if done.returncode:
                raise RealError(f"`{' '.join(command + step)}` failed, see {log}")
    report("apt", "installed")


def pip_env() -> dict[str, str]:
    """The caller's environment and its package index settings, less what would misdirect an installer."""
    drop = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PIP_TARGET", "PIP_PREFIX")
    env = {k: v for k, v in os.environ.items() if k not in drop}
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.exists():
        env.setdefault("SSL_CERT_FILE", str(bundle))  # uv brings its own certificates and knows no local ones
    return env


def install_tools(folder: Path, log: Path, report: Reporter) -> None:
    """A small environment with the installers: uv, and the last virtualenv that can make a Python 2.7 one."""
    wanted = ["uv", "virtualenv==20.21.1"]
    stamp = folder / ".complete"
    if stamp.exists() and stamp.read_text() == repr(wanted):
        return
    shutil.rmtree(folder, ignore_errors=True)
    with log.open("ab") as out:
        for argv in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin/python"), "-m", "pip", "-q", "install", *wanted],
        ):
            if subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=pip_env(),
                check=False,
                timeout=600,
            ).returncode:
                raise RealError(f"`{' '.join(argv)}` failed, see {log}")
    write(stamp, repr(wanted))
    report("tools", "uv and virtualenv ready")


# -- a cloud -------------------------------------------------------------------------------------------------


class Cloud(abc.ABC):
    """One of the two clouds: where it lives, and the order in which it comes up."""

    name: ClassVar[str]
    apt: ClassVar[Mapping[str, str]]  # Debian package -> a file that shows it is there
    port_names: ClassVar[tuple[str, ...]]
    pins: ClassVar[Path]
    hosts: ClassVar[tuple[str, ...]]
    expected: ClassVar[tuple[str, ...]]  # every process of a healthy cloud

    def __init__(self, home: Home, report: Reporter) -> None:
        settings = home.settings()
        self.home = home
        self.root = home.path / self.name
        self.venv, self.etc, self.data = self.root / "venv", self.root / "etc", self.root / "data"
        self.log, self.tmp = self.root / "log", self.root / "tmp"
        self.ports: dict[str, int] = settings["ports"][self.name]
        self.passwords: dict[str, str] = settings["passwords"][self.name]
        self._report = report
        self.processes = Supervisor(self.root / "run", self.log, self.root, self.environment())

    def say(self, text: str) -> None:
        self._report(self.name, text)

    def url(self, port_name: str, tail: str = "") -> str:
        return f"http://127.0.0.1:{self.ports[port_name]}{tail}"

    def bin(self, program: str) -> str:
        return str(self.venv / "bin" / program)

    def conf(self, name: str) -> str:
        return str(self.etc / name)

    def register(self, admin: rest.Session, v3: str, service: str, kind: str, url: str) -> None:
        """Adds a service to the catalog at the Keystone whose v3 URL is given."""
        service_id = admin.create(v3, "service", name=service, type=kind)
        for interface in ("public", "internal", "admin"):
            admin.create(v3, "endpoint", service_id=service_id, interface=interface, region_id=REGION, url=url)

    def environment(self) -> dict[str, str]:
        """What a service gets: nothing of the caller's OS_*, proxy or Python settings reaches it."""
        return {
            "PATH": f"{self.venv}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.tmp),
            "TMPDIR": str(self.tmp),
            "LC_ALL": "C.UTF-8",
            "no_proxy": "127.0.0.1,localhost",
            "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1",  # else the launcher's own folder would fill with caches
            "MALLOC_ARENA_MAX": "2",
        }

    # What a subclass provides.

    def check_machine(self) -> None:  # noqa: B027 -- most clouds need nothing special
        """Raises `Unavailable` for what neither apt nor PyPI can bring; nothing has been touched yet then."""

    @abc.abstractmethod
    def install(self) -> None:
        """Makes the virtual environment in `self.venv`."""

    @abc.abstractmethod
    def configure(self) -> None:
        """Writes every configuration file; runs before each start."""

    @abc.abstractmethod
    def set_up(self) -> None:
        """Once: databases, schemas, first users, catalog.  Starts from an empty data folder."""

    @abc.abstractmethod
    def start(self) -> None:
        """Starts whatever is not running, without waiting for all of it."""

    @abc.abstractmethod
    def wait_usable(self) -> None:
        """Waits until a user could work with the cloud; the first time, adds what needs running services."""

    @abc.abstractmethod
    def admin(self) -> rest.Session:
        """A session of the administrator."""

    @abc.abstractmethod
    def api_ports(self) -> Mapping[str, str]:
        """Process name -> port name, for those that answer HTTP."""

    @abc.abstractmethod
    def client_entry(self) -> dict[str, Any]:
        """The administrator's entry in clouds.yaml, password left out."""

    # What all clouds do.

    @property
    def is_set_up(self) -> bool:
        return (self.data / ".complete").exists()

    def once(self, what: str, action: Callable[[], None]) -> None:
        """Runs `action` unless it has succeeded before on this data."""
        mark = self.data / f".{what}"
        if not mark.exists():
            action()
            write(mark, "")

    def together(self, *jobs: Callable[[], None]) -> None:
        """Runs jobs at the same time, no more than three; raises the first failure when all have ended."""
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            running = [pool.submit(job) for job in jobs]
        for job in running:
            job.result()

    def fresh_venv(self, make: Callable[[], None]) -> None:
        """Calls `make` for an empty venv folder, unless the one there was made from the same pins."""
        wanted = hashlib.sha256(self.pins.read_bytes() + sys.version.encode()).hexdigest()
        stamp = self.venv / ".complete"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        began = time.monotonic()
        shutil.rmtree(self.venv, ignore_errors=True)
        make()
        write(stamp, wanted)
        self.say(f"packages installed in {time.monotonic() - began:.0f} s")

    def up(self) -> None:
        """Install if needed, set up once, start, wait until usable; safe to repeat."""
        for folder in (self.log, self.tmp, self.root / "run"):
            folder.mkdir(parents=True, exist_ok=True)
        self.etc.mkdir(mode=0o700, exist_ok=True)
        self.install()
        if not self.is_set_up:
            self.processes.stop()
            shutil.rmtree(self.data, ignore_errors=True)  # what an interrupted set-up left
            self.data.mkdir()
            self.configure()
            began = time.monotonic()
            self.set_up()
            write(self.data / ".complete", "")
            self.say(f"set up in {time.monotonic() - began:.0f} s")
        self.configure()
        began = time.monotonic()
        self.start()
        self.wait_usable()
        self.say(f"usable, {time.monotonic() - began:.0f} s after the start")

    def down(self) -> None:
        began = time.monotonic()
        killed = self.processes.stop()
        self.say(f"down in {time.monotonic() - began:.0f} s" + (f", killed: {' '.join(killed)}" if killed else ""))

    def problems(self) -> list[str]:
        """Why the cloud cannot be used now; empty when every process lives and every API answers."""
        if not self.is_set_up:
            return [f"{self.name}: not set up"]
        records = self.processes.records()
        found = [
            f"{self.name}: {name} is not running"
            for name in self.expected
            if name not in records or not records[name].alive()
        ]
        if not found:
            found = [
                f"{self.name}: {process} does not answer at {self.url(port)}"
                for process, port in self.api_ports().items()
                if not rest.answers(self.url(port, "/"))
            ]
        return found

    def start_rabbitmq(self) -> None:
        """RabbitMQ and its port mapper; waits for neither's readiness.

        The port mapper is our own: Erlang would otherwise leave one behind that nobody ends.
        """
        folder = self.data / "rabbit"
        folder.mkdir(exist_ok=True)
        env = {
            "HOME": str(folder),  # holds the Erlang cookie
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "RABBITMQ_NODENAME": f"pumphouse{self.ports['rabbit']}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports["rabbit_dist"]),
            "RABBITMQ_CONFIG_FILE": str(self.etc / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.etc / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.etc / "rabbitmq-plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.log),
            # One scheduler that sleeps when idle: the machine has few cores and many services.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        write(
            self.etc / "rabbitmq.conf",
            f"listeners.tcp.local = 127.0.0.1:{self.ports['rabbit']}\n"
            "disk_free_limit.absolute = 50MB\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "log.file = false\nlog.console = true\nlog.console.level = warning\n",
        )
        write(self.etc / "rabbitmq-env.conf", "")
        write(self.etc / "rabbitmq-plugins", "[].\n")
        self.processes.spawn(
            "epmd",
            ["/usr/bin/epmd", "-address", "127.0.0.1", "-port", env["ERL_EPMD_PORT"]],
            stage=1,
            port=self.ports["epmd"],
            env=env,
        )
        self.processes.wait_port("epmd", 30)
        self.processes.spawn(
            "rabbitmq", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], stage=2, port=self.ports["rabbit"], env=env
        )
