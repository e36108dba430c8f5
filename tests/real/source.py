"""The source cloud: nova 15 with nova-network, keystone 12, glance 15, on Python 2.7.

The youngest release that still has what a 2014 cloud had: nova-network with FlatDHCP, Keystone v2.0, Glance
v1 with its registry.  Its catalog is one of 2014 too: no network service, no placement.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from . import rest, source_config
from .base import HERE, REGION, Cloud, pip_env
from .errors import RealError, Unavailable
from .processes import write

POSTGRES = Path("/usr/lib/postgresql")
PYTHON27_VARIABLE = "PUMPHOUSE_PYTHON27"


def python27_candidates() -> Iterator[str]:
    if named := os.environ.get(PYTHON27_VARIABLE):
        yield named
        return
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(map(str, pyenv.glob("versions/2.7*/bin/python2.7")), reverse=True)
    if found := shutil.which("python2.7"):
        yield found


def find_python27() -> str:
    """The first Python 2.7 that runs; raises `Unavailable` when there is none."""
    tried = []
    for candidate in python27_candidates():
        tried.append(candidate)
        try:
            # A pyenv shim exists for every version ever installed, so being there says nothing.
            said = subprocess.run(
                [candidate, "-c", "import sys, ssl; print(sys.version_info[:2] == (2, 7))"],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except OSError:
            continue
        if said.stdout.strip() == "True":
            return candidate
    raise Unavailable(
        "the source cloud needs Python 2.7 and this machine has none (tried: "
        f"{', '.join(tried) or 'pyenv, python2.7 on PATH'}): install one, for example with "
        f"`pyenv install 2.7.18`, or name it in {PYTHON27_VARIABLE}"
    )


class SourceCloud(Cloud):
    name = "source"
    apt: ClassVar[Mapping[str, str]] = {
        "postgresql": str(POSTGRES),
        "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
        # Some packages for Python 2.7 exist as source only.
        "gcc": "/usr/bin/gcc",
        "libc6-dev": "/usr/include/stdio.h",
        "libssl-dev": "/usr/include/openssl/ssl.h",
    }
    port_names = (
        "keystone",
        "keystone_admin",
        "glance",
        "glance_registry",
        "nova",
        "placement",
        "postgres",
        "rabbit",
        "rabbit_dist",
        "epmd",
    )
    pins = HERE / "pins" / "source.txt"
    hosts = ("compute1", "compute2", "compute3")
    expected = (
        "postgres",
        "epmd",
        "rabbitmq",
        "keystone",
        "placement",
        "glance-registry",
        "glance-api",
        "nova-api",
        "nova-conductor",
        "nova-scheduler",
        "nova-network",
        *(f"nova-{host}" for host in hosts),
    )

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": f"{HERE / 'py27'}{os.pathsep}{HERE / 'plugin'}"}

    def api_ports(self) -> Mapping[str, str]:
        return {"keystone": "keystone", "placement": "placement", "glance-api": "glance", "nova-api": "nova"}

    @property
    def auth_url(self) -> str:
        return self.url("keystone", "/v2.0")

    def admin(self) -> rest.Session:
        return rest.Session.v2(self.auth_url, "admin", self.passwords["admin"], "admin")

    def client_entry(self) -> dict[str, Any]:
        return self.user_entry("admin", "admin")

    def user_entry(self, user: str, tenant: str) -> dict[str, Any]:
        """A clouds.yaml entry as such a cloud's users have it: Keystone v2.0, no domains."""
        return {
            "auth_type": "v2password",
            "auth": {"auth_url": self.auth_url, "username": user, "project_name": tenant},
            "region_name": REGION,
            "identity_api_version": "2.0",
        }

    # -- installation ----------------------------------------------------------------------------------------

    def check_machine(self) -> None:
        if not (self.venv / ".complete").exists():
            find_python27()

    def install(self) -> None:
        self.fresh_venv(self._make_venv)

    def _make_venv(self) -> None:
        python = find_python27()
        self.say(f"Python 2.7 packages, with {python}")

        def run(*argv: str) -> None:
            self.processes.run("install", argv, env=pip_env())

        # virtualenv carries the last pip and setuptools for 2.7 inside it.
        run(str(self.home.path / "tools/bin/virtualenv"), "-q", "--no-download", "-p", python, str(self.venv))
        pip = (self.bin("python"), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check")
        # Source packages import pbr when they are built, before pip would get round to installing it.
        run(*pip, next(line for line in self.pins.read_text().splitlines() if line.startswith("pbr==")))
        run(*pip, "-r", str(self.pins))

    # -- set-up ----------------------------------------------------------------------------------------------

    def configure(self) -> None:
        for folder in ("lock", "nova/networks", "glance/images", "keystone/fernet", "keystone/credential"):
            (self.data / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in source_config.files(self).items():
            write(self.etc / name, text, 0o600)

    def set_up(self) -> None:
        self._init_postgres()
        self._start_postgres()
        for database in ("keystone", "glance", "nova_api", "nova_cell0", "nova"):
            self._psql(f"create database {database}")
        self.together(self._set_up_nova, self._set_up_keystone, self._set_up_glance)

    def _set_up_nova(self) -> None:
        self.processes.run(
            "setup-nova",
            [
                self.bin("python"),
                str(HERE / "py27/nova_databases.py"),
                self.conf("nova.conf"),
                source_config.database_url(self, "nova_cell0"),
            ],
        )
        self.say("nova's databases and cell are ready")

    def _set_up_keystone(self) -> None:
        manage = [self.bin("keystone-manage"), "--config-file", self.conf("keystone.conf")]
        self.processes.run("setup-keystone", [*manage, "db_sync"])
        self.processes.run(
            "setup-keystone",
            [
                *manage,
                "bootstrap",
                "--bootstrap-password",
                self.passwords["admin"],
                "--bootstrap-region-id",
                REGION,
                "--bootstrap-public-url",
                self.auth_url,
                "--bootstrap-internal-url",
                self.auth_url,
                "--bootstrap-admin-url",
                self.url("keystone_admin", "/v2.0"),
            ],
        )
        self._start_keystone()
        self.processes.wait_for("keystone", lambda: rest.answers(self.url("keystone", "/")), ["keystone"])
        self._make_catalog()
        self.say("keystone's users and catalog are ready")

    def _set_up_glance(self) -> None:
        self.processes.run(
            "setup-glance", [self.bin("glance-manage"), "--config-file", self.conf("glance.conf"), "db_sync"]
        )
        self.say("glance's database is ready")

    def _make_catalog(self) -> None:
        admin, v3 = self.admin(), self.url("keystone", "/v3")
        for kind, service, target in (
            ("image", "glance", self.url("glance")),
            ("compute", "nova", self.url("nova", "/v2/%(tenant_id)s")),
            ("computev21", "novav21", self.url("nova", "/v2.1/%(tenant_id)s")),
        ):
            self.register(admin, v3, service, kind, target)
        role_id = next(r["id"] for r in admin.call("GET", v3, "/roles")["roles"] if r["name"] == "admin")
        project_id = admin.create(v3, "project", name="service", domain_id="default")
        for user in ("nova", "glance"):
            user_id = admin.create(v3, "user", name=user, password=self.passwords["service"], domain_id="default")
            admin.call("PUT", v3, f"/projects/{project_id}/users/{user_id}/roles/{role_id}")

    # -- running ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.start_rabbitmq()
        self._start_postgres()
        self._start_keystone()
        self.processes.wait_port("rabbitmq")
        self._gunicorn(
            "placement",
            "nova.api.openstack.placement.wsgi:init_application()",
            "placement",
            env={"OS_PLACEMENT_CONFIG_DIR": str(self.etc / "placement")},
        )
        for service, port in (("glance-registry", "glance_registry"), ("glance-api", "glance")):
            self.processes.spawn(
                service,
                [
                    self.bin(service),
                    "--config-file",
                    self.conf("glance.conf"),
                    "--config-file",
                    self.conf(f"{service}.conf"),
                ],
                stage=4,
                port=self.ports[port],
            )
        self._nova("nova-conductor", self.bin("nova-conductor"), stage=3)
        self._nova("nova-api", self.bin("nova-api"), port=self.ports["nova"])
        self._nova("nova-scheduler", self.bin("nova-scheduler"))
        self._nova("nova-network", str(HERE / "py27/nova_network.py"))
        for host in self.hosts:
            self._nova(
                f"nova-{host}",
                str(HERE / "plugin/nova_compute.py"),
                "--config-file",
                self.conf(f"{host}.conf"),
            )

    def wait_usable(self) -> None:
        for process in ("keystone", "placement", "glance-registry", "glance-api", "nova-api"):
            self.processes.wait_port(process)
        self.say("APIs listen")
        admin = self.admin()

        def services_up() -> bool:
            try:
                services = admin.call("GET", "compute", "/os-services")["services"]
            except (rest.ApiError, OSError):
                return False  # the API's own dependencies are still starting
            return len([s for s in services if s["state"] == "up"]) >= 3 + len(self.hosts)

        self.processes.wait_for("nova services", services_up, self.expected)
        self.once("hosts-mapped", self._map_hosts)

    def _map_hosts(self) -> None:
        """Tells nova's API which cell the computes are in, once these have reported their hypervisors."""
        admin = self.admin()
        end = time.monotonic() + 90
        while len(admin.call("GET", "compute", "/os-hypervisors")["hypervisors"]) < len(self.hosts):
            if time.monotonic() > end:
                raise RealError("the source's computes have not reported their hypervisors within 90 s")
            time.sleep(0.5)
        self.processes.run(
            "setup-nova",
            [self.bin("nova-manage"), "--config-file", self.conf("nova.conf"), "cell_v2", "discover_hosts"],
        )
        self.say("computes are mapped")

    def _nova(self, name: str, program: str, *options: str, stage: int = 4, port: int | None = None) -> None:
        argv = [self.bin("python"), program, "--config-file", self.conf("nova.conf"), *options]
        self.processes.spawn(name, argv, stage=stage, port=port)

    def _start_keystone(self) -> None:
        self._gunicorn(
            "keystone",
            "keystone_wsgi",
            "keystone",
            "keystone_admin",
            stage=3,
            env={
                "PUMPHOUSE_KEYSTONE_CONF": self.conf("keystone.conf"),
                "PUMPHOUSE_KEYSTONE_ADMIN_PORT": str(self.ports["keystone_admin"]),
            },
        )

    def _gunicorn(self, name: str, app: str, *ports: str, env: Mapping[str, str], stage: int = 4) -> None:
        argv = [self.bin("gunicorn"), "--worker-class", "gthread", "--threads", "4", "--timeout", "120"]
        for port in ports:
            argv += ["--bind", f"127.0.0.1:{self.ports[port]}"]
        self.processes.spawn(name, [*argv, app], stage=stage, port=self.ports[ports[0]], env=env)

    # -- PostgreSQL ------------------------------------------------------------------------------------------

    def _postgres(self, program: str) -> str:
        """A program of the newest PostgreSQL server: Debian keeps each version in a folder of its own."""
        versions = (p.parent.parent for p in POSTGRES.glob("*/bin/postgres"))
        newest = max(versions, key=lambda p: float(p.name), default=None)
        if newest is None:
            raise RealError(f"no PostgreSQL server below {POSTGRES}")
        return str(newest / "bin" / program)

    def _init_postgres(self) -> None:
        folder = self.data / "postgres"
        folder.mkdir()
        secret = folder / "password"
        write(secret, self.passwords["database"], 0o600)
        owner = pwd.getpwnam("postgres")
        for path in (folder, secret):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        self.processes.run(
            "setup-postgres",
            [
                self._postgres("initdb"),
                "-D",
                str(folder / "cluster"),
                "-U",
                "pumphouse",
                "-A",
                "md5",
                "-E",
                "UTF8",
                "--no-locale",
                "--no-sync",
                "--pwfile",
                str(secret),
            ],
            user="postgres",
            cwd=Path("/"),
        )
        secret.unlink()

    def _start_postgres(self) -> None:
        # Durability is given up for speed: this data is worth nothing after a crash of the machine.
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
            "shared_buffers": "48MB",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "jit": "off",
        }
        self.processes.spawn(
            "postgres",
            [
                self._postgres("postgres"),
                "-D",
                str(self.data / "postgres/cluster"),
                "-p",
                str(self.ports["postgres"]),
                *(f"--{key}={value}" for key, value in options.items()),
            ],
            stage=0,
            port=self.ports["postgres"],
            stop_signal=signal.SIGINT,
            user="postgres",
        )
        self.processes.wait_port("postgres", 60)

    def _psql(self, sql: str) -> None:
        address = ["-h", "127.0.0.1", "-p", str(self.ports["postgres"]), "-U", "pumphouse", "-d", "postgres"]
        self.processes.run(
            "setup-postgres",
            [self._postgres("psql"), "-Xq", *address, "-c", sql],
            env={**self.environment(), "PGPASSWORD": self.passwords["database"]},
        )
