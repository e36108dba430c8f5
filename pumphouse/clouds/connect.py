"""From a name in clouds.yaml to a cloud that we are logged in to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from pumphouse.clouds.api import Cloud
from pumphouse.clouds.cloud import OpenStackCloud, new_session
from pumphouse.clouds.config import check_auth, load_region, tls_of
from pumphouse.clouds.discovery import explore, identity_versions
from pumphouse.clouds.http import Notice, Secrets, Wire
from pumphouse.clouds.later import LaterCloud
from pumphouse.clouds.login import AUTH_KEYS, KINDS, Login
from pumphouse.clouds.pairing import require_two_clouds
from pumphouse.errors import CloudUnreachable, SiteError
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
    release: str = "",
    sleep: Callable[[float], None] = time.sleep,
    outage_s: float = 0.0,
) -> OpenStackCloud:
    """Log in to a cloud of clouds.yaml and find out what it is (read only).

    :param side: ``source`` or ``destination``.
    :param clouds_yaml: the file; ``secure.yaml`` beside it is read too. None: where openstacksdk looks.
    :param timeout_s: bound of each HTTP call, in seconds.
    :param notice: told, in a sentence, when a call waits for a rate limit or is repeated; else it is logged.
    :param release: what site.yaml calls a source whose release the API does not tell.
    :param outage_s: for how long a call waits for a cloud that answered here and cannot be reached any more.
    :raises SiteError: the file, the cloud or one of its keys is missing or wrong.
    :raises CloudUnreachable: no answer; names the address.
    :raises CloudAuthError: the credentials are refused.
    """
    if side not in _SIDES:
        raise ValueError(f"side must be one of {_SIDES}, not {side!r}")
    region, where = load_region(cloud_name, clouds_yaml)
    # before `auth` had a section of its own these keys stood beside it, and openstacksdk still reads them there
    auth: dict[str, Any] = {key: region.config[key] for key in AUTH_KEYS if region.config.get(key)}
    auth |= region.config.get("auth") or {}
    kind = str(region.config.get("auth_type") or "password")
    check_auth(auth, kind, cloud_name, where)
    tls = tls_of(region, cloud_name, where)
    if tls.verify is False:
        # said once, as the finding `tls-off`, instead of at every call on stderr
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    secrets = Secrets()
    for key in ("password", "token", "application_credential_secret", "passcode"):
        secrets.add(str(auth[key]) if auth.get(key) else None)
    overrides = {service: str(url) for service in _SERVICES if (url := region.get_endpoint(service))}
    # asked of the file and not of get_endpoint(), which makes auth_url an override wherever it knows no project_name
    if identity_url := region.config.get("identity_endpoint_override"):
        overrides["identity"] = str(identity_url)
    session = new_session(None, tls)
    wire = Wire(
        cloud=cloud_name,
        session=session,
        auth_url=str(auth["auth_url"]),
        region=region.region_name or None,
        interface=str(region.get_interface() or "public"),
        interfaces={service: str(region.get_interface(service) or "public") for service in _SERVICES},
        overrides=overrides,
        timeout_s=timeout_s,
        secrets=secrets,
        notice=notice,
        sleep=sleep,
    )
    try:
        identity = identity_versions(wire)
        if kind in KINDS:
            login = Login(cloud_name, kind, auth, str(region.config.get("identity_api_version") or ""))
            session.auth = login.plugin(login.version(identity))
        else:
            session.auth = region.get_auth()
        _require_project(wire, where)
        image_api = region.get_api_version("image")
        image_api = str(image_api).partition(".")[0] if image_api else None
        layout = explore(wire, image_api=image_api, identity=identity, release=release)
    except BaseException:
        wire.close()
        raise
    wire.outage_s = outage_s
    password = auth.get("password")
    return OpenStackCloud(wire, layout, side=side, tls=tls, password=str(password) if password else None)


def connect_site(
    site: Site, *, timeout_s: float = 60, notice: Notice | None = None
) -> tuple[OpenStackCloud, OpenStackCloud]:
    """Log in to a site's source and destination (read only). Raises what :func:`connect` raises.

    :raises CloudError: when the two are one and the same cloud, or one of them has no network service.
    """
    source = connect(
        site.source_cloud, side="source", clouds_yaml=site.clouds_yaml, timeout_s=timeout_s, notice=notice,
        release=site.source_release, outage_s=site.outage_s,
    )  # fmt: skip
    destination = None
    try:
        destination = connect(
            site.destination_cloud, side="destination", clouds_yaml=site.clouds_yaml, timeout_s=timeout_s,
            notice=notice, outage_s=site.outage_s,
        )  # fmt: skip
        require_two_clouds(source, destination)
    except BaseException:
        for cloud in (source, destination):
            if cloud is not None:
                cloud.close()
        raise
    return source, destination


def connect_source(site: Site, *, timeout_s: float = 60, notice: Notice | None = None) -> tuple[Cloud, LaterCloud]:
    """Log in to a site's source now, and to its destination by its first verb: it may not have been made yet.

    A source that cannot be reached is tried again by its first verb: it may have ended, and nothing be asked of it.

    :raises SiteError, CloudError: as :func:`connect`; the destination raises what :func:`connect_site` does, later.
    """
    source, destination = connect_later(site, timeout_s=timeout_s, notice=notice)
    try:
        return source.cloud, destination
    except CloudUnreachable:
        return source, destination


def connect_later(site: Site, *, timeout_s: float = 60, notice: Notice | None = None) -> tuple[LaterCloud, LaterCloud]:
    """A site's two clouds, each logged in to by its first verb, which raises what :func:`connect_site` does."""
    known: dict[str, OpenStackCloud] = {}
    guard = threading.Lock()

    def log_in(name: str, side: str, release: str = "") -> OpenStackCloud:
        cloud = connect(
            name, side=side, clouds_yaml=site.clouds_yaml, timeout_s=timeout_s, notice=notice, release=release,
            outage_s=site.outage_s,
        )  # fmt: skip
        try:
            with guard:
                both = known | {side: cloud}
                if len(both) == len(_SIDES):
                    require_two_clouds(both["source"], both["destination"])
                known[side] = cloud
        except BaseException:
            cloud.close()
            raise
        return cloud

    return (
        LaterCloud(site.source_cloud, "source", lambda: log_in(site.source_cloud, "source", site.source_release)),
        LaterCloud(site.destination_cloud, "destination", lambda: log_in(site.destination_cloud, "destination")),
    )


def _require_project(wire: Wire, where: str) -> None:
    if not wire.access().project_id:
        raise SiteError(
            f"{where}: cloud '{wire.cloud}' logs in to no project.",
            remedy=f"add clouds.{wire.cloud}.auth.project_name (an administrator's own project).",
        )
