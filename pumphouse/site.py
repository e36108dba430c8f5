"""The site: two clouds and where things are kept, from ``clouds.yaml`` and ``site.yaml``.

``clouds.yaml``/``secure.yaml`` are openstacksdk's own files; ``site.yaml`` says which of their entries is
the source and which the destination, and everything that they have no place for. Secrets are never read
from ``site.yaml``.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pumphouse.errors import SiteError
from pumphouse.near import did_you_mean
from pumphouse.nodes import spec as hardware_spec
from pumphouse.nodes.spec import Hardware
from pumphouse.passwords import PasswordRef, read_password
from pumphouse.schemas import jsonschema
from pumphouse.serving import ON_FAILURE, PROBE_SCHEMA, RULE_SCHEMA, Expected, ProbeSpec, Rule

SCHEMA_VERSION = 1
#: Environment variable that names the site file where none is given.
SITE_VARIABLE = "PUMPHOUSE_SITE"

_KEY = re.compile(r"[A-Za-z_-]{1,24}")
_NAME = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f]*\Z"}  # no control characters
_DATABASE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {"url": _NAME, "password_entry": _NAME, "password_env": _NAME},
}
_POLICY = {"enum": ["refuse", "adopt", "rename"]}
_WAY = {"enum": ["rebuild", "snapshot"]}
_PROVIDER = {
    "type": "object",
    "additionalProperties": False,
    "required": ["physical_network"],
    "properties": {
        "physical_network": _NAME,
        "type": {"enum": ["flat", "vlan"]},
        "segment": {"type": "integer", "minimum": 1, "maximum": 4094},
        "gateway": {"enum": ["own", "source"]},
        "dhcp": {"enum": ["both", "filtered"]},
        "pool": {"type": "string", "pattern": r"^[0-9.]+-[0-9.]+\Z"},
    },
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "source", "destination"],
    "properties": {
        "schema": {"const": SCHEMA_VERSION},
        "name": _NAME,
        "clouds_yaml": _NAME,
        "journal": {"anyOf": [_NAME, _DATABASE]},
        "records": _NAME,
        "signing_key": _NAME,
        "work": _NAME,
        "source": {
            "type": "object",
            "additionalProperties": False,
            "required": ["cloud"],
            "properties": {
                "cloud": _NAME,
                "release": {"enum": ["grizzly", "havana", "icehouse"]},
                "owners": {"type": "object", "additionalProperties": _NAME},
                "databases": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"keystone": _DATABASE, "nova": _DATABASE, "nova_api": _DATABASE},
                },
            },
        },
        "destination": {
            "type": "object",
            "additionalProperties": False,
            "required": ["cloud"],
            "properties": {
                "cloud": _NAME,
                "networks": {"type": "object", "additionalProperties": _NAME},
                "floating_pools": {"type": "object", "additionalProperties": _NAME},
                "provider": {"type": "object", "additionalProperties": _PROVIDER},
                "same_net_traffic": {"enum": ["keep", "drop"]},
                "roles": {"type": "object", "additionalProperties": _NAME},
                "availability_zones": {
                    "type": "object",
                    "additionalProperties": {**_NAME, "type": ["string", "null"]},
                },
                "quotas": {"enum": ["made", "all", "none"]},
                "databases": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"keystone": _DATABASE},
                },
                "clashes": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"projects": _POLICY, "users": _POLICY, "roles": _POLICY, "flavors": _POLICY},
                },
                "rename": {"type": "string", "pattern": r"^[^\x00-\x1f\x7f{}]*\{name\}[^\x00-\x1f\x7f{}]*\Z"},
            },
        },
        "carry": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "default": _WAY,
                "projects": {"type": "object", "additionalProperties": _WAY},
                "servers": {"type": "object", "additionalProperties": _WAY},
            },
        },
        **hardware_spec.SCHEMA,
        "probe": PROBE_SCHEMA,
        "probes": {"type": "object", "additionalProperties": PROBE_SCHEMA},
        "rules": {"type": "array", "items": RULE_SCHEMA},
        "on_failure": {"enum": list(ON_FAILURE)},
        "limits": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "parallel": {"type": "integer", "minimum": 1, "maximum": 64},
                "hold_s": {"type": "number", "minimum": 0},
                "action_timeout_s": {"type": "number", "exclusiveMinimum": 0},
                "downtime_budget_s": {"type": "number", "exclusiveMinimum": 0},
                "outage_s": {"type": "number", "minimum": 0},
            },
        },
    },
}


@dataclass(frozen=True)
class DatabaseRef:
    """Where a service's database is: a SQLAlchemy URL without password, and where the password is kept.

    ``password_entry`` is a key of ``databases`` in the ``secure.yaml`` beside ``clouds.yaml``
    (``databases: {ENTRY: {password: …}}``), ``password_env`` an environment variable; neither: no password.
    """

    key: str
    url: str
    password_entry: str | None = None
    password_env: str | None = None


#: What is done about an object of the destination that has the name of one to carry, unless site.yaml decides.
CLASHES = {"projects": "refuse", "users": "adopt", "roles": "adopt", "flavors": "refuse"}


@dataclass(frozen=True)
class Provider:
    """How a network of the source is to be joined at the destination: a provider network on the shared segment.

    ``type`` is ``flat`` or ``vlan`` (with ``segment``, the VLAN id). ``gateway``: ``source`` gives guests the router
    that they had, ``own`` an address of the destination's; empty: whichever suits the network's floating IPs. ``dhcp``:
    ``filtered`` says that DHCP does not pass between the two clouds' halves of the segment. ``pool`` is the range
    (``first-last``) from which the destination takes addresses; empty: chosen by the plan.
    """

    physical_network: str
    type: str = "flat"
    segment: int | None = None
    gateway: str = ""
    dhcp: str = "both"
    pool: str = ""


@dataclass(frozen=True)
class Carry:
    """How servers are carried: ``rebuild`` from their image, or by ``snapshot`` of their root disk."""

    default: str = "rebuild"
    projects: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)

    def way_of(self, server_name: str, server_id: str, project_name: str) -> str:
        """The way of one server: by its id, else its name, else its project's name, else the default."""
        own = self.servers.get(server_id) or self.servers.get(server_name)
        return own or self.projects.get(project_name) or self.default


@dataclass(frozen=True)
class Site:
    """A validated ``site.yaml``. Paths are absolute; cloud names are entries of ``clouds_yaml``."""

    path: Path
    name: str
    clouds_yaml: Path | None
    source_cloud: str
    destination_cloud: str
    source_release: str = ""
    owners: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    floating_pools: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    availability_zones: Mapping[str, str | None] = field(default_factory=dict)
    quotas: str = "made"
    hardware: Hardware = field(default_factory=Hardware)
    provider: Mapping[str, Provider] = field(default_factory=dict)
    same_net_traffic: str = ""
    source_databases: Mapping[str, DatabaseRef] = field(default_factory=dict)
    destination_databases: Mapping[str, DatabaseRef] = field(default_factory=dict)
    clashes: Mapping[str, str] = field(default_factory=lambda: dict(CLASHES))
    rename: str = "{name}-old"
    journal_url: str = field(default="", repr=False)  # with its password
    records_dir: Path = Path("records")  # where records are written; with records_url, on their way to it
    records_url: str | None = None  # s3://bucket/prefix
    signing_key: Path | None = None
    work_dir: Path = Path("work")
    carry: Carry = field(default_factory=Carry)
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    probes: Mapping[str, ProbeSpec] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    on_failure: str = "stay"
    downtime_budget_s: float | None = None
    outage_s: float = 1800.0
    parallel: int = 4
    hold_s: float = 3600.0
    action_timeout_s: float = 600.0

    def expected(self, server_name: str, server_id: str, project_name: str = "") -> Expected:
        """What is expected of one server: its own probe, else the first rule that says something, else the default."""
        rules = [rule for rule in self.rules if rule.matches(server_name, server_id, project_name)]
        own = self.probes.get(server_id) or self.probes.get(server_name)
        return Expected(
            probe=own or next((rule.probe for rule in rules if rule.probe), self.probe),
            downtime_budget_s=next(
                (rule.downtime_budget_s for rule in rules if rule.downtime_budget_s), self.downtime_budget_s
            ),
            on_failure=next((rule.on_failure for rule in rules if rule.on_failure), self.on_failure),
        )

    @property
    def secrets_file(self) -> Path:
        """Where one-time secrets of users made at the destination are handed over (mode 0600)."""
        return self.work_dir / "handover-secrets.yaml"


def load_site(path: str | Path = "") -> Site:
    """Read and validate a ``site.yaml`` (read only, no network).

    :param path: empty: the file that the environment variable ``PUMPHOUSE_SITE`` names, else ``site.yaml`` here.
    :raises SiteError: naming file, key and remedy.
    """
    named = path or os.environ.get(SITE_VARIABLE) or "site.yaml"
    try:
        file = Path(named).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise SiteError(f"Site file {str(named)!r} is no usable path: {error}.", remedy="correct the path.") from error
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SiteError(
            f"Site file {file} does not exist.",
            remedy="write one with `pumphouse init`, give --site PATH, or simulate one with `pumphouse lab up`.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(
            f"Site file {file} cannot be read: {error}.", remedy="check the path and its rights."
        ) from error
    except (
        yaml.YAMLError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        # PyYAML's constructors let any of these through; none is shown as the cause, since they quote the file
        raise SiteError(
            f"Site file {file} is not YAML: {_first_line(error)}.", remedy="mend the syntax there."
        ) from None
    validator = jsonschema.Draft202012Validator(_SCHEMA)
    problems = sorted(validator.iter_errors(raw), key=lambda e: list(map(str, e.absolute_path)))
    if problems:
        lines = "; ".join(_explain(problem) for problem in problems)
        raise SiteError(
            f"Site file {file}: {lines}.",
            remedy="compare with the commented example in the README, section 'Real clouds'.",
        )
    endless = [where for where, value in _numbers(raw) if not math.isfinite(value)]
    if endless:
        raise SiteError(f"Site file {file}: {', '.join(endless)}: must be finite.", remedy="give a number of seconds.")
    return _build(file, raw)


def _numbers(value: Any, where: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield where, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _numbers(item, f"{where}.{place}")


def _build(file: Path, raw: dict[str, Any]) -> Site:
    base = file.parent
    source, destination, limits = raw["source"], raw["destination"], raw.get("limits", {})
    if source["cloud"] == destination["cloud"]:
        raise SiteError(
            f"Site file {file}: source.cloud and destination.cloud are the same.",
            remedy="name two different entries of clouds.yaml: moving a cloud into itself would delete servers.",
        )
    clouds_yaml = base / raw["clouds_yaml"] if "clouds_yaml" in raw else None
    if clouds_yaml is None and _exists(base / "clouds.yaml"):
        clouds_yaml = base / "clouds.yaml"
    if clouds_yaml is not None and not _exists(clouds_yaml):
        raise SiteError(
            f"Site file {file}: clouds_yaml names a file that does not exist or cannot be reached.",
            remedy=f"correct the path (it starts at {base}), or leave the key out: openstacksdk then searches.",
        )
    work = base / raw.get("work", "work")
    records_url = raw["records"] if raw.get("records", "").startswith("s3://") else None
    site = Site(
        path=file,
        name=raw.get("name", base.name),
        clouds_yaml=clouds_yaml,
        source_cloud=source["cloud"],
        destination_cloud=destination["cloud"],
        source_release=source.get("release", ""),
        owners=dict(source.get("owners", {})),
        networks=dict(destination.get("networks", {})),
        floating_pools=dict(destination.get("floating_pools", {})),
        roles=dict(destination.get("roles", {})),
        availability_zones=dict(destination.get("availability_zones", {})),
        quotas=destination.get("quotas", "made"),
        hardware=hardware_spec.build(f"Site file {file}", raw),
        provider={label: _provider(file, label, spec) for label, spec in destination.get("provider", {}).items()},
        same_net_traffic=destination.get("same_net_traffic", ""),
        source_databases=_databases(file, "source", source),
        destination_databases=_databases(file, "destination", destination),
        clashes={**CLASHES, **destination.get("clashes", {})},
        rename=destination.get("rename", "{name}-old"),
        records_dir=work / "outgoing-records" if records_url else base / raw.get("records", "records"),
        records_url=records_url,
        signing_key=base / Path(raw["signing_key"]).expanduser() if "signing_key" in raw else None,
        work_dir=work,
        carry=Carry(**raw.get("carry", {})),
        probe=ProbeSpec.of(raw.get("probe", {})),
        probes={name: ProbeSpec.of(spec) for name, spec in raw.get("probes", {}).items()},
        rules=tuple(map(Rule.of, raw.get("rules", ()))),
        on_failure=raw.get("on_failure", "stay"),
        downtime_budget_s=float(limits["downtime_budget_s"]) if "downtime_budget_s" in limits else None,
        outage_s=float(limits.get("outage_s", 1800.0)),
        parallel=int(limits.get("parallel", 4)),
        hold_s=float(limits.get("hold_s", 3600.0)),
        action_timeout_s=float(limits.get("action_timeout_s", 600.0)),
    )
    return _with_journal(site, raw.get("journal", "sqlite:///journal.db"))


def _with_journal(site: Site, raw: str | dict[str, str]) -> Site:
    """The site with its journal's URL, and in it the password from where the site says that it is kept."""
    told = {"url": raw} if isinstance(raw, str) else raw
    if told["url"].startswith("sqlite:"):
        path = told["url"].removeprefix("sqlite:///")
        relative = path != told["url"] and not path.startswith("/")
        return replace(site, journal_url=f"sqlite:///{site.path.parent / path}" if relative else told["url"])
    ref = _reference(site.path, "journal", told)
    place = PasswordRef(ref.key, "databases", entry=ref.password_entry, variable=ref.password_env)
    password = read_password(site, place)
    url = make_url(ref.url) if password is None else make_url(ref.url).set(password=password)
    return replace(site, journal_url=url.render_as_string(hide_password=False))


def _databases(file: Path, side: str, raw: dict[str, Any]) -> dict[str, DatabaseRef]:
    entries = raw.get("databases", {})
    return {name: _reference(file, f"{side}.databases.{name}", entry) for name, entry in entries.items()}


def _reference(file: Path, key: str, entry: dict[str, str]) -> DatabaseRef:
    try:
        url = make_url(entry["url"])
    except (ArgumentError, ValueError):
        # not shown, nor as the cause: what does not parse as a URL may hold a password
        raise SiteError(
            f"Site file {file}: {key}.url is not a database URL.",
            remedy="write it like postgresql://user@host/keystone, mysql://user@host/keystone or sqlite:///FILE.",
        ) from None
    if url.password or "password" in url.query or {"password_entry", "password_env"} <= entry.keys():
        raise SiteError(
            f"Site file {file}: {key} holds a password, or names two places for it.",
            remedy="take it out of the URL and name one place: `password_entry` (a key of `databases` in "
            "secure.yaml) or `password_env` (an environment variable).",
        )
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(file.parent / url.database))
    return DatabaseRef(key=key, **{**entry, "url": url.render_as_string(hide_password=False)})


def _provider(file: Path, label: str, raw: dict[str, Any]) -> Provider:
    spec = Provider(**raw)
    where = f"Site file {file}: destination.provider.{label}"
    if (spec.type == "vlan") != (spec.segment is not None):
        raise SiteError(
            f"{where}: a vlan network needs a segment, a flat one has none.",
            remedy="give `type: vlan` with `segment: ID`, or leave both out for an untagged segment.",
        )
    if spec.pool:
        try:
            first, last = map(ipaddress.IPv4Address, spec.pool.split("-"))
        except ValueError:
            first, last = ipaddress.IPv4Address(1), ipaddress.IPv4Address(0)
        if first > last:
            raise SiteError(f"{where}.pool is no range of IPv4 addresses.", remedy="write it as FIRST-LAST.")
    return spec if spec.segment is None else replace(spec, segment=int(spec.segment))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _explain(problem: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in problem.absolute_path) or "top level"
    rule: Any = problem.validator_value
    schema: Any = problem.schema
    value: Any = problem.instance
    if problem.validator == "required":
        missing = [key for key in rule if key not in value]
        return f"{where}: required key {', '.join(map(repr, missing))} is missing"
    if problem.validator == "additionalProperties" and isinstance(value, dict):
        known = schema.get("properties", {})
        # what does not look like a misspelt key may be a value that slipped out of its place
        extra = [
            f"{key!r}{did_you_mean(str(key), known)}" if _KEY.fullmatch(str(key)) else "(not shown)"
            for key in value
            if key not in known
        ]
        return f"{where}: unknown key {', '.join(extra)} (known: {', '.join(sorted(known))})"
    # the value itself is never echoed: somebody may have put a secret here
    if problem.validator == "type":
        return f"{where}: must be of type {rule}"
    if problem.validator == "const":
        return f"{where}: must be {rule}"
    if problem.validator == "enum":
        return f"{where}: must be one of {', '.join(map(str, rule))}"
    return f"{where}: violates {problem.validator} {rule}"


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    # what stands in quotes comes from the file: an alias or a tag may be half of a password
    what = re.sub(r"'.*'", "(…)", getattr(error, "problem", None) or type(error).__name__, flags=re.DOTALL)
    return f"{what} at line {mark.line + 1}" if mark is not None else str(what)


def contains(cidr: str | None, address: str) -> bool:
    """Whether an address lies in a CIDR; an unknown CIDR contains nothing."""
    return cidr is not None and ipaddress.ip_address(address) in ipaddress.ip_network(cidr, strict=False)
