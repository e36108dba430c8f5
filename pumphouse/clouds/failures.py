"""Why there was no HTTP answer at all: names, sockets, TLS and proxies, told apart and told with a remedy."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import requests
import urllib3
from keystoneauth1 import exceptions as ksa

_LOOK = "check the address (clouds.yaml, or the cloud's catalog), the network and the service itself."
_FOREIGN = (
    ksa.ConnectTimeout, ksa.ConnectFailure, ksa.DiscoveryFailure, ksa.ConnectionError, ksa.SSLError,
    requests.RequestException, urllib3.exceptions.HTTPError, OSError,
)  # fmt: skip


def cause_of(error: BaseException, url: str) -> tuple[str, str] | None:
    """(what happened, remedy) of a failure without an answer; None when it is something else.

    The first text goes after the service's name and may hold ``{place}`` (the address) and ``{words}``.
    """
    if not isinstance(error, _FOREIGN):
        return None
    # a TLS failure at the proxy is the proxy's, so it is asked for first
    if _any(error, requests.exceptions.ProxyError, urllib3.exceptions.ProxyError):
        return (
            "does not answer at {place}: the proxy between us fails: {words}",
            "correct http_proxy/https_proxy in the environment, or name this host in no_proxy.",
        )
    if _any(error, ksa.SSLError, requests.exceptions.SSLError, urllib3.exceptions.SSLError, ssl.SSLError):
        return _tls(error, url)
    if _any(error, urllib3.exceptions.NameResolutionError):
        return (
            "does not answer at {place}: its name cannot be resolved ({words})",
            "correct the host name in clouds.yaml (or in the cloud's catalog), or this machine's DNS.",
        )
    if timed_out(error):
        return (
            "does not answer at {place}: it stayed silent for too long ({words})",
            "check the network and firewalls between here and there, and the service itself.",
        )
    if _any(error, ConnectionRefusedError):
        return (
            "does not answer at {place}: {words}",
            "nothing listens there: check the port in clouds.yaml (or in the cloud's catalog) and start the service.",
        )
    return "does not answer at {place}: {words}", _LOOK


def _tls(error: BaseException, url: str) -> tuple[str, str]:
    words = " ".join(str(one) for one in _chain(error)).lower()
    said = "at {place} failed the TLS check: {words}"
    if "wrong_version_number" in words or "wrong version number" in words or "record layer failure" in words:
        return (
            said,
            f"that port speaks no TLS: write http:// instead of {url.partition(':')[0]}://, or correct the port.",
        )
    if "expired" in words:
        return said, "have the cloud's certificate renewed (or correct this machine's clock)."
    if "hostname mismatch" in words or "doesn't match" in words or "not valid for" in words:
        return said, "use the host name that is in the certificate."
    if "certificate required" in words or "handshake failure" in words or "alert" in words:
        return said, "the cloud wants a client certificate: give `cert` and `key` in clouds.yaml."
    return said, "give the cloud's CA as `cacert` in clouds.yaml, or correct the address."


def never_sent(error: BaseException) -> bool:
    """Whether the request cannot have arrived."""
    kinds = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError, ConnectionRefusedError)
    return _any(error, *kinds)


def timed_out(error: BaseException) -> bool:
    """Whether it was the wait that ended."""
    # urllib3 counts a refused connection among its timeouts
    refused = _any(error, urllib3.exceptions.NewConnectionError)
    return not refused and _any(error, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)


def unresolved(error: BaseException) -> bool:
    """Whether a name could not be resolved: nothing was sent."""
    return _any(error, urllib3.exceptions.NameResolutionError)


def hopeless(error: BaseException, *, names: bool = True) -> bool:
    """Whether trying again cannot help.

    :param names: whether that holds for names that cannot be resolved: not once they could, when the network is gone.
    """
    kinds = (
        ksa.SSLError, requests.exceptions.SSLError, requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema,
    )  # fmt: skip
    return _any(error, *kinds) or (names and unresolved(error))


def first_line(error: BaseException) -> str:
    """The innermost sentence, in the operating system's words where it has some."""
    for one in _chain(error):
        if isinstance(one, ssl.SSLError):
            return (getattr(one, "verify_message", "") or str(one.reason or one)).rstrip(".")
        if isinstance(one, OSError) and one.strerror and not isinstance(one, requests.RequestException):
            return one.strerror
    return " ".join((str(error) or type(error).__name__).split())[:200].rstrip(".")


def _any(error: BaseException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(one, kinds) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, getattr(one, "reason", None), *one.args]
            # only what keystoneauth translated: any other context may be an older error that is just being handled
            if isinstance(one, ksa.ClientException) and isinstance(one.__context__, requests.RequestException):
                todo.append(one.__context__)
