"""From a name in clouds.yaml to a cloud that we are logged in to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumphouse.clouds.cloud import OpenStackCloud, new_session
from pumphouse.clouds.config import check_auth, load_region, tls_of
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
    region, where = load_region(cloud_name, clouds_yaml)
    auth: dict[str, Any] = region.config.get("auth") or {}
    check_auth(auth, str(region.config.get("auth_type") or "password"), cloud_name, where)
    tls = tls_of(region, cloud_name, where)
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


def _require_project(wire: Wire, where: str) -> None:
    if not wire.access().project_id:
        raise SiteError(
            f"{where}: cloud '{wire.cloud}' logs in to no project.",
            remedy=f"add clouds.{wire.cloud}.auth.project_name (an administrator's own project).",
        )
