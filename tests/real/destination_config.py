"""The destination services' configuration files: a pure function of ports, passwords and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .base import REGION, ini

if TYPE_CHECKING:
    from .destination import DestinationCloud

Sections = dict[str, Mapping[str, object]]


def database_url(cloud: DestinationCloud, name: str) -> str:
    return f"mysql+pymysql://pumphouse:{cloud.passwords['database']}@127.0.0.1:{cloud.ports['mariadb']}/{name}"


def files(cloud: DestinationCloud) -> dict[str, str]:
    """{file name below etc/: text}"""
    sections: dict[str, Sections] = {
        "keystone/keystone.conf": keystone(cloud),
        "placement/placement.conf": placement(cloud),
        "glance/glance-api.conf": glance(cloud),
        "neutron/neutron.conf": neutron(cloud),
        "nova/nova.conf": nova(cloud),
        **{f"nova/{host}.conf": compute(cloud, host) for host in cloud.hosts},
        "my.cnf": mariadb(cloud),
    }
    return {name: ini(body) for name, body in sections.items()}


def _database(cloud: DestinationCloud, name: str) -> dict[str, object]:
    return {"connection": database_url(cloud, name), "max_pool_size": 4}


def _service_user(cloud: DestinationCloud, user: str) -> dict[str, object]:
    return {
        "auth_type": "password",
        "auth_url": cloud.url("keystone", "/v3"),
        "username": user,
        "password": cloud.passwords["service"],
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
        "region_name": REGION,
    }


def _common(cloud: DestinationCloud, service: str) -> Sections:
    """Sections that every service but keystone has."""
    return {
        "oslo_concurrency": {"lock_path": cloud.data / service / "lock"},
        # One broker that loses its messages at a stop: replicated queues would only be slower.
        "oslo_messaging_rabbit": {"rabbit_quorum_queue": False},
        "keystone_authtoken": {
            "www_authenticate_uri": cloud.url("keystone", "/v3"),
            "service_token_roles": "service",
            "service_token_roles_required": True,
            **_service_user(cloud, service),
        },
    }


def _transport(cloud: DestinationCloud) -> str:
    return f"rabbit://guest:guest@127.0.0.1:{cloud.ports['rabbit']}/"


def keystone(cloud: DestinationCloud) -> Sections:
    return {
        "DEFAULT": {"use_stderr": True},
        "database": _database(cloud, "keystone"),
        "token": {"provider": "fernet", "expiration": 14400},
        "fernet_tokens": {"key_repository": cloud.data / "keystone/fernet"},
        "credential": {"key_repository": cloud.data / "keystone/credential"},
        # The stock algorithm with its cheapest rounds.
        "identity": {"password_hash_rounds": 4},
        # In the memory of the one process there is, so it cannot go stale.
        "cache": {"enabled": True, "backend": "oslo_cache.dict"},
    }


def placement(cloud: DestinationCloud) -> Sections:
    return {
        "DEFAULT": {"use_stderr": True},
        "api": {"auth_strategy": "keystone"},
        "placement_database": _database(cloud, "placement"),
        **_common(cloud, "placement"),
    }


def glance(cloud: DestinationCloud) -> Sections:
    def store(folder: str) -> dict[str, object]:
        return {"filesystem_store_datadir": cloud.data / "glance" / folder}

    return {
        "DEFAULT": {
            "use_stderr": True,
            "enabled_backends": "file:file",
            "worker_self_reference_url": cloud.url("glance"),
            "enabled_import_methods": "[glance-direct,web-download,copy-image]",
            "node_staging_uri": f"file://{cloud.data}/glance/staging",
        },
        "glance_store": {"default_backend": "file"},
        "file": store("images"),
        "os_glance_staging_store": store("staging"),
        "os_glance_tasks_store": store("tasks"),
        "database": _database(cloud, "glance"),
        "paste_deploy": {"flavor": "keystone", "config_file": cloud.venv / "etc/glance/glance-api-paste.ini"},
        **_common(cloud, "glance"),
    }


def neutron(cloud: DestinationCloud) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": True,
            "api_paste_config": cloud.venv / "etc/neutron/api-paste.ini",
            "auth_strategy": "keystone",
            "core_plugin": "ml2",
            "service_plugins": "pumphouse_agentless",
            "state_path": cloud.data / "neutron",
            "transport_url": _transport(cloud),
            "notify_nova_on_port_status_changes": True,
            "notify_nova_on_port_data_changes": True,
            "send_events_interval": 1,
            "dns_domain": "destination.test.",
        },
        "database": _database(cloud, "neutron"),
        "ml2": {
            "type_drivers": ("flat", "vlan", "local", "vxlan"),
            "tenant_network_types": ("vxlan", "local"),
            "mechanism_drivers": "pumphouse_agentless",
            "extension_drivers": "port_security",
        },
        "ml2_type_flat": {"flat_networks": "*"},
        "ml2_type_vlan": {"network_vlan_ranges": "physnet1:100:300"},
        "ml2_type_vxlan": {"vni_ranges": "1:1000"},
        "securitygroup": {"enable_security_group": True},
        "quotas": {"quota_network": 100, "quota_subnet": 100, "quota_port": 500},
        "nova": _service_user(cloud, "neutron"),
        "placement": _service_user(cloud, "neutron"),
        **_common(cloud, "neutron"),
    }


def nova(cloud: DestinationCloud) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": True,
            "my_ip": "127.0.0.1",
            "state_path": cloud.data / "nova",
            "transport_url": _transport(cloud),
            # The hypervisor is pretended: see plugin/kept_guests.py.
            "compute_driver": "current_driver.Driver",
            "report_interval": 5,
            "service_down_time": 30,
            "allow_resize_to_same_host": True,
            "default_schedule_zone": "nova",
            "resume_guests_state_on_host_boot": False,
        },
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": cloud.venv / "etc/nova/api-paste.ini"},
        "database": _database(cloud, "nova_cell1"),
        "api_database": _database(cloud, "nova_api"),
        "conductor": {"workers": 1},
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 15},
        # Nobody plugs an interface on the target host, so nobody would tell.
        "compute": {"live_migration_wait_for_vif_plug": False},
        "vnc": {"enabled": False},
        "placement": _service_user(cloud, "nova"),
        "neutron": {**_service_user(cloud, "nova"), "service_metadata_proxy": False},
        "glance": {"region_name": REGION},
        "service_user": {"send_service_user_token": True, **_service_user(cloud, "nova")},
        **_common(cloud, "nova"),
    }


def compute(cloud: DestinationCloud, host: str) -> Sections:
    folder = cloud.data / "nova" / host
    return {
        "DEFAULT": {"host": host, "state_path": folder},
        "oslo_concurrency": {"lock_path": folder / "lock"},
    }


def mariadb(cloud: DestinationCloud) -> Sections:
    # Durability is given up for speed: this data is worth nothing after a crash of the machine.
    return {
        "mariadbd": {
            "user": "root",
            "datadir": cloud.data / "mariadb",
            "socket": cloud.tmp / "mariadb.sock",
            "pid-file": cloud.tmp / "mariadb.pid",
            "bind-address": "127.0.0.1",
            "port": cloud.ports["mariadb"],
            "skip-name-resolve": 1,
            "skip-log-bin": 1,
            "character-set-server": "utf8mb3",
            "collation-server": "utf8mb3_general_ci",
            "max_connections": 400,
            "innodb_buffer_pool_size": "96M",
            "innodb_log_file_size": "32M",
            "innodb_flush_log_at_trx_commit": 0,
            "innodb_doublewrite": 0,
            "innodb_file_per_table": 0,
            "sync_binlog": 0,
            "performance_schema": "OFF",
            "plugin-load-add": "",
        }
    }
