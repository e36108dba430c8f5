"""The source services' configuration files: a pure function of ports, passwords and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .base import HERE, REGION, ini

if TYPE_CHECKING:
    from .source import SourceCloud

Sections = dict[str, Mapping[str, object]]

# What nova asks of a host: the stock choice of that release, less what needs NUMA or PCI data.
SCHEDULER_FILTERS = (
    "RetryFilter",
    "AvailabilityZoneFilter",
    "RamFilter",
    "DiskFilter",
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
)


def database_url(cloud: SourceCloud, name: str) -> str:
    return f"postgresql+psycopg2://pumphouse:{cloud.passwords['database']}@127.0.0.1:{cloud.ports['postgres']}/{name}"


def files(cloud: SourceCloud) -> dict[str, str]:
    """{file name below etc/: text}"""
    sections: dict[str, Sections] = {
        "keystone.conf": keystone(cloud),
        "glance.conf": glance(cloud),
        "glance-api.conf": glance_process(cloud, "glance-api", "glance"),
        "glance-registry.conf": glance_process(cloud, "glance-registry", "glance_registry"),
        "nova.conf": nova(cloud),
        "placement/nova.conf": placement(cloud),
        **{f"{host}.conf": compute(cloud, host) for host in cloud.hosts},
    }
    return {name: ini(body) for name, body in sections.items()}


def _database(cloud: SourceCloud, name: str) -> dict[str, object]:
    return {"connection": database_url(cloud, name), "max_pool_size": 8}


def _service_user(cloud: SourceCloud, user: str) -> dict[str, object]:
    return {
        "auth_uri": cloud.url("keystone"),
        "auth_url": cloud.url("keystone_admin"),
        "auth_type": "password",
        "project_domain_id": "default",
        "user_domain_id": "default",
        "project_name": "service",
        "username": user,
        "password": cloud.passwords["service"],
    }


def keystone(cloud: SourceCloud) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": True,
            "public_endpoint": cloud.url("keystone", "/"),
            "admin_endpoint": cloud.url("keystone_admin", "/"),
        },
        "paste_deploy": {"config_file": HERE / "paste/keystone.ini"},
        "database": _database(cloud, "keystone"),
        # 32 hexadecimal digits kept in a table, as every cloud of 2014 had them.
        "token": {"provider": "uuid", "expiration": 86400},
        "cache": {"enabled": False},
        # The cheapest rounds that bcrypt takes: logins are many, secrets are none.
        "identity": {"password_hash_algorithm": "bcrypt", "password_hash_rounds": 4},
        "fernet_tokens": {"key_repository": cloud.data / "keystone/fernet"},
        "credential": {"key_repository": cloud.data / "keystone/credential"},
    }


def glance(cloud: SourceCloud) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": True,
            "bind_host": "127.0.0.1",
            "workers": 0,
            "enable_v1_api": True,
            "enable_v2_api": True,
            "enable_v1_registry": True,
            "registry_host": "127.0.0.1",
            "registry_port": cloud.ports["glance_registry"],
            "show_multiple_locations": False,
        },
        "database": _database(cloud, "glance"),
        "glance_store": {
            "stores": "file",
            "default_store": "file",
            "filesystem_store_datadir": cloud.data / "glance/images",
        },
        "oslo_policy": {"policy_file": HERE / "paste/glance-policy.json"},
        "oslo_concurrency": {"lock_path": cloud.data / "lock"},
        "keystone_authtoken": _service_user(cloud, "glance"),
    }


def glance_process(cloud: SourceCloud, service: str, port: str) -> Sections:
    return {
        "DEFAULT": {"bind_port": cloud.ports[port]},
        "paste_deploy": {"flavor": "keystone", "config_file": HERE / f"paste/{service}.ini"},
    }


def _placement_client(cloud: SourceCloud) -> dict[str, object]:
    # No Keystone user and above all no catalog entry: a 2014 cloud had no such service to list.
    return {
        "auth_type": "admin_token",
        "token": "admin",
        "endpoint": cloud.url("placement"),
        "os_region_name": REGION,
    }


def placement(cloud: SourceCloud) -> Sections:
    return {
        "DEFAULT": {"use_stderr": True},
        "api": {"auth_strategy": "noauth2"},
        "database": _database(cloud, "nova"),
        "api_database": _database(cloud, "nova_api"),
        "placement": _placement_client(cloud),
        "oslo_concurrency": {"lock_path": cloud.data / "lock"},
    }


def nova(cloud: SourceCloud) -> Sections:
    return {
        "DEFAULT": {
            "use_stderr": True,
            "host": "controller",
            "my_ip": "127.0.0.1",
            "state_path": cloud.data / "nova",
            "transport_url": f"rabbit://guest:guest@127.0.0.1:{cloud.ports['rabbit']}/",
            "rpc_response_timeout": 60,
            "enabled_apis": "osapi_compute",
            "osapi_compute_listen": "127.0.0.1",
            "osapi_compute_listen_port": cloud.ports["nova"],
            "osapi_compute_workers": 1,
            "allow_resize_to_same_host": True,
            "instance_usage_audit": False,
            # A dead compute is noticed within 20 s, so that evacuation can be tried without a coffee break.
            "report_interval": 5,
            "service_down_time": 20,
            # nova-network, FlatDHCP, one network host.
            "use_neutron": False,
            "network_manager": "nova.network.manager.FlatDHCPManager",
            "firewall_driver": "nova.virt.firewall.NoopFirewallDriver",
            "flat_network_bridge": "br100",
            "flat_interface": "eth1",
            "public_interface": "eth0",
            "default_floating_pool": "public",
            "multi_host": False,
            # Every ip, iptables, brctl and dnsmasq command is logged instead of run.
            "fake_network": True,
            "networks_path": cloud.data / "nova/networks",
            # The hypervisor is pretended: see plugin/kept_guests.py.
            "compute_driver": "legacy_driver.Driver",
            "sync_power_state_interval": -1,
            "resume_guests_state_on_host_boot": False,
            "block_device_allocate_retries": 1,
            "scheduler_max_attempts": 3,
        },
        "api": {"auth_strategy": "keystone"},
        "wsgi": {"api_paste_config": HERE / "paste/nova-api.ini"},
        "database": _database(cloud, "nova"),
        "api_database": _database(cloud, "nova_api"),
        "conductor": {"workers": 1},
        # From 1.17 on, nova-network asks the guest's compute host to release the DHCP lease; with one network
        # host nobody listens there, and each delete would wait 60 s and end in ERROR.  1.16 releases it
        # itself.
        "upgrade_levels": {"network": "1.16"},
        "scheduler": {
            "driver": "filter_scheduler",
            "host_manager": "host_manager",
            "discover_hosts_in_cells_interval": 60,
        },
        "filter_scheduler": {"enabled_filters": SCHEDULER_FILTERS},
        "glance": {"api_servers": cloud.url("glance"), "num_retries": 1},
        "placement": _placement_client(cloud),
        "vnc": {"enabled": False},
        "spice": {"enabled": False},
        "oslo_concurrency": {"lock_path": cloud.data / "lock"},
        "keystone_authtoken": _service_user(cloud, "nova"),
    }


def compute(cloud: SourceCloud, host: str) -> Sections:
    return {"DEFAULT": {"host": host, "state_path": cloud.data / "nova" / host}}
