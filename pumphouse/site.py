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

import jsonschema
import yaml

from pumphouse.errors import SiteError

SCHEMA_VERSION = 1
#: Environment variable that names the site file where none is given.
SITE_VARIABLE = "PUMPHOUSE_SITE"

_KEY = re.compile(r"[A-Za-z_-]{1,24}")
_NAME = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f]*\Z"}  # no control characters
_PROBE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind"],
    "properties": {
        "kind": {"enum": ["none", "tcp", "http"]},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "path": {"type": "string", "pattern": "^/"},
        "timeout_s": {"type": "number", "exclusiveMinimum": 0},
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
        "journal": _NAME,
        "records": _NAME,
        "work": _NAME,
        "source": {
            "type": "object",
            "additionalProperties": False,
            "required": ["cloud"],
            "properties": {
                "cloud": _NAME,
                "owners": {"type": "object", "additionalProperties": _NAME},
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
                "roles": {"type": "object", "additionalProperties": _NAME},
            },
        },
        "probe": _PROBE,
        "probes": {"type": "object", "additionalProperties": _PROBE},
        "limits": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "parallel": {"type": "integer", "minimum": 1, "maximum": 64},
                "hold_s": {"type": "number", "minimum": 0},
                "action_timeout_s": {"type": "number", "exclusiveMinimum": 0},
            },
        },
    },
}


@dataclass(frozen=True)
class ProbeSpec:
    """How to ask a guest whether it serves: ``tcp`` connects, ``http`` wants a status below 500."""

    kind: str = "none"
    port: int = 22
    path: str = "/"
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Site:
    """A validated ``site.yaml``. Paths are absolute; cloud names are entries of ``clouds_yaml``."""

    path: Path
    name: str
    clouds_yaml: Path | None
    source_cloud: str
    destination_cloud: str
    owners: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    floating_pools: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    journal_url: str = ""
    records_dir: Path = Path("records")
    work_dir: Path = Path("work")
    probe: ProbeSpec = field(default_factory=ProbeSpec)
    probes: Mapping[str, ProbeSpec] = field(default_factory=dict)
    parallel: int = 4
    hold_s: float = 3600.0
    action_timeout_s: float = 600.0

    def probe_for(self, server_name: str, server_id: str) -> ProbeSpec:
        """The probe of one server: by id, else by name, else the site's default."""
        return self.probes.get(server_id) or self.probes.get(server_name) or self.probe

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
            remedy="give --site PATH, or start a simulated site with `pumphouse lab up`.",
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
    journal = raw.get("journal", "sqlite:///journal.db")
    if journal.startswith("sqlite:///") and not journal.startswith("sqlite:////"):
        journal = f"sqlite:///{base / journal.removeprefix('sqlite:///')}"
    return Site(
        path=file,
        name=raw.get("name", base.name),
        clouds_yaml=clouds_yaml,
        source_cloud=source["cloud"],
        destination_cloud=destination["cloud"],
        owners=dict(source.get("owners", {})),
        networks=dict(destination.get("networks", {})),
        floating_pools=dict(destination.get("floating_pools", {})),
        roles=dict(destination.get("roles", {})),
        journal_url=journal,
        records_dir=base / raw.get("records", "records"),
        work_dir=work,
        probe=_probe(raw.get("probe", {})),
        probes={name: _probe(spec) for name, spec in raw.get("probes", {}).items()},
        parallel=int(limits.get("parallel", 4)),
        hold_s=float(limits.get("hold_s", 3600.0)),
        action_timeout_s=float(limits.get("action_timeout_s", 600.0)),
    )


def _probe(raw: dict[str, Any]) -> ProbeSpec:
    spec = ProbeSpec(**raw)
    return replace(spec, port=int(spec.port))  # 80.0 is an integer to JSON schema, but no port to a socket


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
        extra = [repr(key) if _KEY.fullmatch(str(key)) else "(not shown)" for key in value if key not in known]
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
