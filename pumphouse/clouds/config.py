"""clouds.yaml and secure.yaml, read by openstacksdk; every mistake in them names file and key, never a value."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from pumphouse.clouds.cloud import Tls
from pumphouse.clouds.login import KINDS
from pumphouse.errors import SiteError
from pumphouse.near import did_you_mean

_EXAMPLE = "compare with the example in the README, section 'Real clouds'."


#: Where a site names its clouds.
_NAMED_BY = "`source.cloud` or `destination.cloud` in site.yaml"


def load_region(cloud_name: str, clouds_yaml: Path | None, *, named_by: str = _NAMED_BY) -> tuple[CloudRegion, str]:
    """A cloud's merged configuration, and the name of the file it is in.

    :param clouds_yaml: None searches where openstacksdk does.
    :param named_by: what gave the name, as a remedy says it.
    :raises SiteError: naming file, key and remedy.
    """
    if clouds_yaml is not None:
        where = str(clouds_yaml)
        # openstacksdk skips a file that it cannot parse, and would then not find the cloud
        _read(clouds_yaml)
        secure = [clouds_yaml.with_name(name) for name in ("secure.yaml", "secure.yml")]
        for file in filter(Path.exists, secure):
            _read(file)
        options: dict[str, Any] = {
            "config_files": [where], "secure_files": [str(file) for file in secure], "vendor_files": [],
            "load_envvars": False,
        }  # fmt: skip
    else:
        where = "clouds.yaml"
        options = {}
    try:
        config = OpenStackConfig(app_name="pumphouse", **options)
        where = str(config.config_filename or where)
        _check_entry((config.cloud_config or {}).get("clouds"), cloud_name, where, named_by)
        with warnings.catch_warnings():
            # openstacksdk 4 warns of its own InfluxDB option on every load, used or not; what matters raises
            warnings.simplefilter("ignore")
            # its own plugins for these want what no clouds.yaml of an old cloud has (a domain for v3password), or
            # refuse what each of them has (a project_name for v2token); ours are made in `login`
            region = config.get_one(cloud=cloud_name, validate=False)
            if str(region.config.get("auth_type") or "password") in KINDS:
                return region, where
            return config.get_one(cloud=cloud_name), where
    except ksa.MissingRequiredOptions as error:
        missing = ", ".join(f"auth.{option.dest}" for option in error.options)
        raise SiteError(
            f"{where}: clouds.{cloud_name} lacks {missing}.",
            remedy="add the key there; secrets go to secure.yaml beside it.",
        ) from error
    except (sdk.ConfigException, ksa.ClientException, TypeError, ValueError, KeyError, AttributeError) as error:
        raise SiteError(
            f"{where}: clouds.{cloud_name} cannot be used ({type(error).__name__}).",
            remedy="check its `auth_type`, `auth`, `region_name` and `profile`.",
        ) from error


def _read(file: Path) -> None:
    try:
        raw = yaml.safe_load(file.read_bytes())
    except FileNotFoundError as error:
        raise SiteError(
            f"{file} does not exist.", remedy="correct `clouds_yaml` in site.yaml, or create the file."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}.",
            remedy="check the path and its rights.",
        ) from error
    except yaml.YAMLError as error:
        # the parser's own words may hold a piece of a secret
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise SiteError(f"{file} is not YAML{line}.", remedy="mend the syntax there.") from None
    if raw is not None and not (isinstance(raw, dict) and isinstance(raw.get("clouds", {}), dict)):
        raise SiteError(f"{file} must hold a mapping with a mapping `clouds` in it.", remedy=_EXAMPLE)


def logins(clouds_yaml: Path | None) -> list[tuple[str, str, str]]:
    """Of every cloud that logs in by a user's name: its entry, that name, and Keystone's address (read only)."""
    files = {} if clouds_yaml is None else {"config_files": [str(clouds_yaml)], "load_envvars": False}
    config = OpenStackConfig(app_name="pumphouse", vendor_files=[], **files)
    clouds = (config.cloud_config or {}).get("clouds") or {}
    described = [(str(name), entry) for name, entry in clouds.items() if isinstance(entry, dict)]
    auths = [(name, entry["auth"]) for name, entry in described if isinstance(entry.get("auth"), dict)]
    return [
        (name, auth["username"], auth["auth_url"])
        for name, auth in auths
        if isinstance(auth.get("username"), str) and isinstance(auth.get("auth_url"), str)
    ]


def _check_entry(clouds: object, cloud_name: str, where: str, named_by: str) -> None:
    if not isinstance(clouds, dict) or cloud_name not in clouds or cloud_name == "defaults":
        names = sorted(str(one) for one in clouds if one != "defaults") if isinstance(clouds, dict) else []
        raise SiteError(
            f"{where}: no cloud '{cloud_name}' in `clouds`{did_you_mean(cloud_name, names)} "
            f"(there: {', '.join(names) or 'none'}).",
            remedy=f"correct {named_by}, or add the cloud to that file.",
        )
    entry = clouds[cloud_name]
    if not isinstance(entry, dict) or not isinstance(entry.get("auth", {}), dict):
        raise SiteError(
            f"{where}: clouds.{cloud_name} must be a mapping, with a mapping `auth` in it.",
            remedy=_EXAMPLE,
        )
    url = entry.get("auth", {}).get("auth_url", "http://")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise SiteError(
            f"{where}: clouds.{cloud_name}.auth.auth_url is no http(s) address.",
            remedy="give Keystone's address, e.g. https://cloud.example:5000/v3.",
        )


def check_auth(auth: dict[str, Any], kind: str, cloud_name: str, where: str) -> None:
    """Refuse a login that lacks a key.

    :raises SiteError: naming all that is missing.
    """
    wanted: list[tuple[str, tuple[str, ...]]] = [("auth_url", ("auth_url",))]
    if kind in ("password", "v2password", "v3password"):
        wanted += [
            ("username", ("username", "user_id", "user_name")),
            ("password", ("password",)),
            ("project_name", ("project_name", "project_id", "tenant_name", "tenant_id")),
        ]
    elif kind in KINDS:
        wanted += [("token", ("token",)), ("project_name", ("project_name", "project_id", "tenant_name", "tenant_id"))]
    missing = [f"auth.{name}" for name, keys in wanted if not any(auth.get(key) for key in keys)]
    if missing:
        raise SiteError(
            f"{where}: clouds.{cloud_name} lacks {', '.join(missing)}.",
            remedy="add what is missing there; secrets go to secure.yaml beside it.",
        )


def tls_of(region: CloudRegion, cloud_name: str, where: str) -> Tls:
    """How clouds.yaml wants TLS to be checked.

    :raises SiteError: when a certificate file does not exist.
    """
    verify, cert = region.get_requests_verify_args()
    files = [("cacert", verify)] if isinstance(verify, str) else []
    files += [("cert", one) for one in ((cert,) if isinstance(cert, str) else cert or ())]
    for key, file in files:
        readable = False
        with contextlib.suppress(OSError):
            readable = Path(file).exists()
        if not readable:
            raise SiteError(
                f"{where}: clouds.{cloud_name}.{key} names {file}, which does not exist.",
                remedy="correct the path; TLS checks need that file.",
            )
    return Tls(verify=verify, cert=cert)
