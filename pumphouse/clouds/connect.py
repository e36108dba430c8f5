"""From a name in clouds.yaml to a cloud that we are logged in to."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import exceptions as ksa
from openstack import exceptions as sdk
from openstack.config import OpenStackConfig
from openstack.config.cloud_region import CloudRegion

from pumphouse.clouds.cloud import OpenStackCloud, Tls, new_session
from pumphouse.clouds.discovery import explore
from pumphouse.clouds.http import Notice, Secrets, Wire
from pumphouse.errors import SiteError
from pumphouse.site import Site

_SIDES = ("source", "destination")
_SERVICES = ("compute", "image", "network")


def connect(
    cloud_name: str,
    *,
    side: str,
    clouds_yaml: Path | None = None,
    timeout_s: float = 60,
    notice: Notice | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> OpenStackCloud:
    """Log in to a cloud of clouds.yaml and find out what it is (read only).

    :param side: ``source`` or ``destination``.
    :param clouds_yaml: the file; ``secure.yaml`` beside it is read too. None: where openstacksdk looks.
    :param timeout_s: bound of each HTTP call, in seconds.
    :param notice: told, in a sentence, when a call waits for a rate limit or is repeated; else it is logged.
    :raises SiteError: the file, the cloud or one of its keys is missing or wrong.
    :raises CloudUnreachable: no answer; names the address.
    :raises CloudAuthError: the credentials are refused.
    """
    if side not in _SIDES:
        raise ValueError(f"side must be one of {_SIDES}, not {side!r}")
    region, where = _load(cloud_name, clouds_yaml)
    auth: dict[str, Any] = region.config.get("auth") or {}
    _check_auth(auth, str(region.config.get("auth_type") or "password"), cloud_name, where)
    tls = _tls(region, cloud_name, where)
    secrets = Secrets()
    for key in ("password", "token", "application_credential_secret", "passcode"):
        secrets.add(str(auth[key]) if auth.get(key) else None)
    overrides = {service: url for service in _SERVICES if (url := region.get_endpoint(service))}
    wire = Wire(
        cloud=cloud_name,
        session=new_session(region.get_auth(), tls),
        auth_url=str(auth["auth_url"]),
        region=region.region_name or None,
        interface=str(region.get_interface() or "public"),
        overrides=overrides,
        timeout_s=timeout_s,
        secrets=secrets,
        notice=notice,
        sleep=sleep,
    )
    try:
        _require_project(wire, where)
        image_api = region.get_api_version("image")
        layout = explore(wire, image_api=image_api.partition(".")[0] if image_api else None)
    except BaseException:
        wire.close()
        raise
    password = auth.get("password")
    return OpenStackCloud(wire, layout, side=side, tls=tls, password=str(password) if password else None)


def connect_site(
    site: Site, *, timeout_s: float = 60, notice: Notice | None = None
) -> tuple[OpenStackCloud, OpenStackCloud]:
    """Log in to a site's source and destination (read only). Raises what :func:`connect` raises."""
    source = connect(site.source_cloud, side="source", clouds_yaml=site.clouds_yaml, timeout_s=timeout_s, notice=notice)
    try:
        destination = connect(
            site.destination_cloud, side="destination", clouds_yaml=site.clouds_yaml, timeout_s=timeout_s, notice=notice
        )
    except BaseException:
        source.close()
        raise
    return source, destination


def _load(cloud_name: str, clouds_yaml: Path | None) -> tuple[CloudRegion, str]:
    """The cloud's merged configuration and the name of the file it is in."""
    try:
        if clouds_yaml is not None:
            where = str(clouds_yaml)
            clouds_yaml.read_bytes()
            secure = [str(clouds_yaml.with_name(name)) for name in ("secure.yaml", "secure.yml")]
            config = OpenStackConfig(
                config_files=[where], secure_files=secure, vendor_files=[], load_envvars=False, app_name="pumphouse"
            )
        else:
            config = OpenStackConfig(app_name="pumphouse")
            where = str(config.config_filename or "clouds.yaml")
        names = config.get_cloud_names()
        if cloud_name not in names:
            raise SiteError(
                f"{where}: no cloud '{cloud_name}' (there: {', '.join(sorted(names)) or 'none'}).",
                remedy="correct `source.cloud` or `destination.cloud` in site.yaml, or add the cloud to that file.",
            )
        raw = (config.cloud_config or {}).get("clouds", {}).get(cloud_name)
        if not isinstance(raw, dict) or not isinstance(raw.get("auth", {}), dict):
            raise SiteError(
                f"{where}: clouds.{cloud_name} must be a mapping, with a mapping `auth` in it.",
                remedy="compare with the example in the README, section 'Real clouds'.",
            )
        with warnings.catch_warnings():
            # openstacksdk 4 warns of its own InfluxDB option on every load, used or not
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            return config.get_one(cloud=cloud_name), where
    except FileNotFoundError as error:
        raise SiteError(
            f"{clouds_yaml} does not exist.", remedy="correct `clouds_yaml` in site.yaml, or create the file."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError(
            f"{clouds_yaml} cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}.",
            remedy="check the path and its rights.",
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise SiteError(
            f"{clouds_yaml or 'clouds.yaml'} is not YAML{line}: {getattr(error, 'problem', None) or 'unreadable'}.",
            remedy="mend the syntax there.",
        ) from error
    except ksa.MissingRequiredOptions as error:
        missing = ", ".join(f"auth.{option.dest}" for option in error.options)
        raise SiteError(
            f"{clouds_yaml or 'clouds.yaml'}: clouds.{cloud_name} lacks {missing}.",
            remedy="add the key there; secrets go to secure.yaml beside it.",
        ) from error
    except (sdk.ConfigException, ksa.ClientException, TypeError, ValueError, KeyError, AttributeError) as error:
        raise SiteError(
            f"{clouds_yaml or 'clouds.yaml'}: clouds.{cloud_name} cannot be used ({type(error).__name__}).",
            remedy="check its `auth_type`, `auth`, `region_name` and `profile`.",
        ) from error


def _require_project(wire: Wire, where: str) -> None:
    if not wire.access().project_id:
        raise SiteError(
            f"{where}: cloud '{wire.cloud}' logs in to no project.",
            remedy=f"add clouds.{wire.cloud}.auth.project_name (an administrator's own project).",
        )


def _check_auth(auth: dict[str, Any], kind: str, cloud_name: str, where: str) -> None:
    wanted: list[tuple[str, tuple[str, ...]]] = [("auth_url", ("auth_url",))]
    if kind in ("password", "v2password", "v3password"):
        wanted += [
            ("username", ("username", "user_id", "user_name")),
            ("password", ("password",)),
            ("project_name", ("project_name", "project_id", "tenant_name", "tenant_id")),
        ]
    missing = [f"auth.{name}" for name, keys in wanted if not any(auth.get(key) for key in keys)]
    if missing:
        raise SiteError(
            f"{where}: clouds.{cloud_name} lacks {', '.join(missing)}.",
            remedy="add what is missing there; secrets go to secure.yaml beside it.",
        )
    if not str(auth["auth_url"]).startswith(("http://", "https://")):
        raise SiteError(
            f"{where}: clouds.{cloud_name}.auth.auth_url is no http(s) address.",
            remedy="give Keystone's address, e.g. https://cloud.example:5000/v3.",
        )


def _tls(region: CloudRegion, cloud_name: str, where: str) -> Tls:
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
