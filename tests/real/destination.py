"""The destination cloud: keystone 30, glance 33, placement 16, nova 34 and neutron 29, on the Python that
runs this.

It comes up empty but for the external network `public`: both clouds stand on the same public segment, so the
destination knows that range from the start.  Everything else there is for pumphouse to make.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from . import destination_config, rest
from .base import HERE, REGION, Cloud, pip_env
from .processes import write

PUBLIC_CIDR = "172.24.4.0/27"
# The destination's own share of the public segment: a few addresses at its end, which the source hands back
# when it is populated.  The rest are the source's floating IPs, to be created here one by one when their
# servers move.
PUBLIC_POOL = ("172.24.4.27", "172.24.4.29")
PUBLIC_GATEWAY = "172.24.4.30"

# catalog: service -> (type, what follows the port in its URL)
SERVICES = {
    "glance": ("image", ""),
    "placement": ("placement", ""),
    "nova": ("compute", "/v2.1"),
    "neutron": ("network", ""),
}

PLUGIN_ENTRY_POINTS = (
    "[neutron.ml2.mechanism_drivers]\n"
    "pumphouse_agentless = agentless:AgentlessMechanism\n"
    "[neutron.service_plugins]\n"
    "pumphouse_agentless = agentless:AgentlessRouters\n"
)


class DestinationCloud(Cloud):
    name = "destination"
    apt: ClassVar[Mapping[str, str]] = {
        "mariadb-server-core": "/usr/sbin/mariadbd",
        "mariadb-client-core": "/usr/bin/my_print_defaults",  # mariadb-install-db calls it
        "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    }
    port_names = (
        "keystone",
        "glance",
        "placement",
        "nova",
        "neutron",
        "mariadb",
        "rabbit",
        "rabbit_dist",
        "epmd",
    )
    pins = HERE / "pins" / "destination.txt"
    hosts = ("node-1", "node-2", "node-3")
    expected = (
        "mariadb",
        "epmd",
        "rabbitmq",
        "keystone",
        "placement",
        "glance",
        "neutron",
        "nova",
        "nova-conductor",
        "nova-scheduler",
        *(f"nova-{host}" for host in hosts),
    )

    def environment(self) -> dict[str, str]:
        # The plugins are found by entry points, so a distribution must seem to be installed: see configure().
        path = os.pathsep.join((str(HERE / "plugin"), str(self.etc / "plugin")))
        return {**super().environment(), "PYTHONPATH": path}

    def api_ports(self) -> Mapping[str, str]:
        return {name: name for name in ("keystone", *SERVICES)}

    @property
    def auth_url(self) -> str:
        return self.url("keystone", "/v3")

    def admin(self) -> rest.Session:
        return rest.Session.v3(self.auth_url, "admin", self.passwords["admin"], "admin")

    def client_entry(self) -> dict[str, Any]:
        return {
            "auth": {
                "auth_url": self.auth_url,
                "username": "admin",
                "project_name": "admin",
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
        }

    # -- installation ----------------------------------------------------------------------------------------

    def install(self) -> None:
        self.fresh_venv(self._make_venv)

    def _make_venv(self) -> None:
        self.say(f"Python {sys.version_info.major}.{sys.version_info.minor} packages")
        uv = str(self.home.path / "tools/bin/uv")
        for argv in (
            [uv, "venv", "-q", "--python", sys.executable, str(self.venv)],
            [uv, "pip", "install", "-q", "--python", self.bin("python"), "-r", str(self.pins)],
            # Byte code now, on all cores: a dozen services start at once later, and none may write it then.
            [
                self.bin("python"),
                "-m",
                "compileall",
                "-q",
                "-j",
                "0",
                "-x",
                r"/(tests?|locale)/",
                str(self.venv / "lib"),
            ],
        ):
            self.processes.run("install", argv, env=pip_env())

    # -- set-up ----------------------------------------------------------------------------------------------

    def configure(self) -> None:
        for folder in (
            "keystone/fernet",
            "keystone/credential",
            "glance/images",
            "glance/staging",
            "glance/tasks",
        ):
            (self.data / folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in destination_config.files(self).items():
            write(self.etc / name, text, 0o600)
        metadata = self.etc / "plugin" / "pumphouse_agentless-1.dist-info"
        write(metadata / "METADATA", "Metadata-Version: 2.1\nName: pumphouse-agentless\nVersion: 1\n")
        write(metadata / "entry_points.txt", PLUGIN_ENTRY_POINTS)

    def set_up(self) -> None:
        self.processes.run(
            "setup-mariadb",
            [
                "/usr/bin/mariadb-install-db",
                "--no-defaults",
                "--user=root",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
                f"--datadir={self.data / 'mariadb'}",
            ],
        )
        password = self.passwords["database"]
        databases = ("keystone", "glance", "placement", "nova_api", "nova_cell0", "nova_cell1", "neutron")
        statements = [
            f"CREATE USER 'pumphouse'@'127.0.0.1' IDENTIFIED BY '{password}';",
            "GRANT ALL ON *.* TO 'pumphouse'@'127.0.0.1';",
            *(f"CREATE DATABASE {name};" for name in databases),
        ]
        first = self.etc / "first-start.sql"
        write(first, "\n".join(statements) + "\n", 0o600)
        self._start_mariadb(f"--init-file={first}")
        self.together(self._set_up_nova, self._set_up_keystone, self._set_up_neutron, self._set_up_small)

    def _set_up_nova(self) -> None:
        for step in (
            ["api_db", "sync"],
            [
                "cell_v2",
                "map_cell0",
                "--database_connection",
                destination_config.database_url(self, "nova_cell0"),
            ],
            ["db", "sync"],
            ["cell_v2", "create_cell", "--name", "cell1"],
        ):
            self._manage("nova", self.conf("nova/nova.conf"), *step)
        self.say("nova's databases and cells are ready")

    def _set_up_keystone(self) -> None:
        conf = self.conf("keystone/keystone.conf")
        self._manage("keystone", conf, "db_sync")
        for keys in ("fernet_setup", "credential_setup"):
            self._manage("keystone", conf, keys, "--keystone-user", "root", "--keystone-group", "root")
        self._manage(
            "keystone",
            conf,
            "bootstrap",
            "--bootstrap-password",
            self.passwords["admin"],
            "--bootstrap-region-id",
            REGION,
            "--bootstrap-admin-url",
            self.auth_url,
            "--bootstrap-public-url",
            self.auth_url,
            "--bootstrap-internal-url",
            self.auth_url,
        )
        self._start_keystone()
        self._wait_answers("keystone")
        self._make_catalog()
        self.say("keystone's users and catalog are ready")

    def _set_up_neutron(self) -> None:
        self.processes.run(
            "setup-neutron",
            [
                self.bin("neutron-db-manage"),
                "--config-file",
                self.conf("neutron/neutron.conf"),
                "upgrade",
                "heads",
            ],
        )
        self.say("neutron's database is ready")

    def _set_up_small(self) -> None:
        self._manage("glance", self.conf("glance/glance-api.conf"), "db_sync")
        self._manage("placement", self.conf("placement/placement.conf"), "db", "sync")
        self.say("glance's and placement's databases are ready")

    def _manage(self, service: str, conf: str, *arguments: str) -> None:
        self.processes.run(f"setup-{service}", [self.bin(f"{service}-manage"), "--config-file", conf, *arguments])

    def _make_catalog(self) -> None:
        admin = self.admin()
        roles = {r["name"]: r["id"] for r in admin.call("GET", self.auth_url, "/roles")["roles"]}
        service_role = roles.get("service") or admin.create(self.auth_url, "role", name="service")
        project_id = admin.create(self.auth_url, "project", name="service", domain_id="default")
        for service, (kind, suffix) in SERVICES.items():
            user_id = admin.create(
                self.auth_url, "user", name=service, password=self.passwords["service"], domain_id="default"
            )
            for role_id in (service_role, roles["admin"]):
                admin.call("PUT", self.auth_url, f"/projects/{project_id}/users/{user_id}/roles/{role_id}")
            self.register(admin, self.auth_url, service, kind, self.url(service, suffix))

    # -- running ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.start_rabbitmq()
        self._start_mariadb()
        self._start_keystone()
        self._uwsgi("placement", "placement.wsgi.api", OS_PLACEMENT_CONFIG_DIR=self.conf("placement"))
        self.processes.wait_port("rabbitmq")
        nova_conf = ["--config-file", self.conf("nova/nova.conf")]
        self.processes.spawn("nova-conductor", [self.bin("nova-conductor"), *nova_conf], stage=3)
        self._wait_answers("keystone")  # a nova-compute that finds no Keystone when it starts gives up
        self._uwsgi(
            "nova",
            "nova.wsgi.osapi_compute",
            OS_NOVA_CONFIG_DIR=self.conf("nova"),
            # Absolute names stay what they are; nova takes the first file for its pipelines.
            OS_NOVA_CONFIG_FILES=f"{self.venv}/etc/nova/api-paste.ini;nova.conf",
        )
        self._uwsgi(
            "neutron",
            "neutron.wsgi.api",
            OS_NEUTRON_CONFIG_DIR=self.conf("neutron"),
            OS_NEUTRON_CONFIG_FILES="neutron.conf",
        )
        self.processes.spawn("nova-scheduler", [self.bin("nova-scheduler"), *nova_conf], stage=4)
        for host in self.hosts:
            (self.data / "nova" / host / "lock").mkdir(parents=True, exist_ok=True)
            self.processes.spawn(
                f"nova-{host}",
                [
                    self.bin("python"),
                    str(HERE / "plugin/nova_compute.py"),
                    *nova_conf,
                    "--config-file",
                    self.conf(f"nova/{host}.conf"),
                ],
                stage=4,
            )
        self._uwsgi("glance", "glance.wsgi.api", OS_GLANCE_CONFIG_DIR=self.conf("glance"))

    def wait_usable(self) -> None:
        for name in self.api_ports():
            self._wait_answers(name)
        self.say("APIs answer")
        admin = self.admin()

        def computes_up() -> bool:
            try:
                services = admin.call("GET", "compute", "/os-services")["services"]
                providers = admin.call("GET", "placement", "/resource_providers")["resource_providers"]
            except (rest.ApiError, OSError):
                return False  # the APIs' own dependencies are still starting
            up = {(s["binary"], s["host"]) for s in services if s["state"] == "up"}
            needed = {("nova-compute", host) for host in self.hosts}
            return (
                needed <= up
                and {"nova-conductor", "nova-scheduler"} <= {binary for binary, _ in up}
                and set(self.hosts) <= {p["name"] for p in providers}
            )

        self.processes.wait_for("computes", computes_up, self.expected)
        self.once(
            "hosts-mapped",
            lambda: self._manage("nova", self.conf("nova/nova.conf"), "cell_v2", "discover_hosts", "--by-service"),
        )
        self.once("public-network", self._make_public_network)

    def _make_public_network(self) -> None:
        admin = self.admin()
        network = admin.call(
            "POST",
            "network",
            "/v2.0/networks",
            {
                "network": {
                    "name": "public",
                    "router:external": True,
                    "provider:network_type": "flat",
                    "provider:physical_network": "public",
                }
            },
        )["network"]
        admin.call(
            "POST",
            "network",
            "/v2.0/subnets",
            {
                "subnet": {
                    "name": "public",
                    "network_id": network["id"],
                    "ip_version": 4,
                    "cidr": PUBLIC_CIDR,
                    "enable_dhcp": False,
                    "gateway_ip": PUBLIC_GATEWAY,
                    "allocation_pools": [dict(zip(("start", "end"), PUBLIC_POOL, strict=True))],
                }
            },
        )
        self.say(f"external network `public` {PUBLIC_CIDR}")

    def _wait_answers(self, name: str) -> None:
        self.processes.wait_for(f"answer from {name}", lambda: rest.answers(self.url(name, "/")), [name])

    def _start_keystone(self) -> None:
        self._uwsgi("keystone", "keystone.wsgi.api", stage=3, OS_KEYSTONE_CONFIG_DIR=self.conf("keystone"))

    def _uwsgi(self, name: str, module: str, stage: int = 4, **env: str) -> None:
        options: dict[str, object] = {
            "http-socket": f"127.0.0.1:{self.ports[name]}",
            "module": f"{module}:application",
            "processes": 1,
            "threads": 6,
            "buffer-size": 65535,
            # uWSGI closes after each answer; clients that pool connections must know, or they write into a
            # closed one.
            "add-header": "Connection: close",
            # Its defaults (1 MiB, 4 s) break uploads of images.
            "chunked-input-limit": 64 * 1024 * 1024,
            "chunked-input-timeout": 120,
            "socket-timeout": 120,
        }
        argv = [
            self.bin("uwsgi"),
            "--enable-threads",
            "--lazy-apps",
            "--need-app",
            "--die-on-term",
            "--disable-logging",
        ]
        for option, value in options.items():
            argv += [f"--{option}", str(value)]
        self.processes.spawn(name, argv, stage=stage, port=self.ports[name], env=env)

    def _start_mariadb(self, *options: str) -> None:
        self.processes.spawn(
            "mariadb",
            ["/usr/sbin/mariadbd", f"--defaults-file={self.etc / 'my.cnf'}", *options],
            stage=0,
            port=self.ports["mariadb"],
            stop_signal=signal.SIGTERM,
        )
        self.processes.wait_port("mariadb", 60)
