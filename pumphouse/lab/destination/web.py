"""HTTP frame of the simulated services: applications, request ids, and each service's way of refusing.

A handler raises :class:`Fault`; the frame turns it into the service's own kind of error body: Keystone's
``{"error": …}``, Nova's ``{"badRequest": …}``, Neutron's ``{"NeutronError": …}``, Glance's HTML page.
"""

from __future__ import annotations

import html
import json
import secrets
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import jsonschema
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

Json = dict[str, Any]
SERVICE: web.AppKey[str] = web.AppKey("service", str)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
MICROVERSION: web.RequestKey[int] = web.RequestKey("microversion", int)

NAME: Json = {"type": "string", "format": "name", "minLength": 1, "maxLength": 255}
"""A name of Nova v2.1."""
KEY_PATTERN = "^[a-zA-Z0-9-_:. ]{1,255}$"
"""A key of a server's metadata or of a flavor's extra specs."""
_FORMATS = jsonschema.FormatChecker()
_MAX_JSON_BYTES = 16 * 1024 * 1024
_REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    409: "Conflict",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
_NOVA_FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_MALFORMED = {
    "identity": "Expecting to find valid JSON in request body. The server could not comply with the request since it "
    "is either malformed or otherwise incorrect. The client is assumed to be in error.",
    "image": "Malformed JSON in request body.",
    "compute": "Malformed request body",
    "network": "Body contains invalid data",
}
NOT_FOUND = "The resource could not be found."
UNAUTHENTICATED = "The request you have made requires authentication."
_GLANCE_UNAUTHENTICATED = (
    "This server could not verify that you are authorized to access the document you requested. "
    "Either you supplied the wrong credentials (e.g., bad password), or your browser does not understand "
    "how to supply the credentials required."
)


class Fault(Exception):
    """A refusal: HTTP status, the service's message, and where the service has one a type name.

    ``lead`` is the sentence that Glance puts before the message for some statuses.
    """

    def __init__(self, status: int, message: str, *, kind: str = "", lead: str = "", bare: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.lead = lead
        self.bare = bare  # an answer of the web framework below the service, not of the service


def make_app(service_name: str, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """An empty application of one service ("identity", "image", "compute", "network").

    :param middlewares: run around every request, inside the request id and outside the service's own error
        handling: what they raise or return reaches the client as it is.
    """

    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = f"req-{uuid.uuid4()}"
        return await handler(request)

    @web.middleware
    async def render(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Fault as fault:
            return _RENDERERS[service_name](request, fault)
        except web.HTTPMethodNotAllowed:
            return _RENDERERS[service_name](request, Fault(405, "The method is not allowed for this resource."))
        except web.HTTPNotFound:
            return _RENDERERS[service_name](request, Fault(404, NOT_FOUND, kind="HTTPNotFound", bare=True))

    app = web.Application(middlewares=[identify, *middlewares, render], client_max_size=_MAX_JSON_BYTES)
    app[SERVICE] = service_name
    app.on_response_prepare.append(_stamp)
    return app


async def _stamp(request: web.Request, response: web.StreamResponse) -> None:
    # answered before the service's own request-id filter: version documents at the root, and Glance's 401
    if request.path == "/" and request.app[SERVICE] != "identity":
        return
    if request.app[SERVICE] == "image" and response.status == 401:
        return
    response.headers["x-openstack-request-id"] = request.get(REQUEST_ID, "")
    if request.app[SERVICE] == "identity":
        response.headers["Vary"] = "X-Auth-Token"
    if request.app[SERVICE] == "compute":
        response.headers["x-compute-request-id"] = request.get(REQUEST_ID, "")
        if MICROVERSION in request and response.status != 401:
            version = f"2.{request[MICROVERSION]}"
            response.headers["OpenStack-API-Version"] = f"compute {version}"
            response.headers["X-OpenStack-Nova-API-Version"] = version
            response.headers["Vary"] = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


def empty(status: int, kind: str) -> web.Response:
    """An answer without a body that names a content type all the same, as some services do."""
    return web.Response(status=status, content_type=kind)


def answer(
    body: Json | list[Any] | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer; without a body an empty one."""
    if body is None:
        return web.Response(status=status, headers=headers)
    return web.json_response(body, status=status, headers=headers)


async def read_json(request: web.Request) -> Json:
    """The request's JSON object; 400 for anything else."""
    try:
        body = json.loads(await request.read() or b"{}")
    except (ValueError, UnicodeDecodeError) as error:
        raise Fault(400, _MALFORMED[request.app[SERVICE]]) from error
    if not isinstance(body, dict):
        raise Fault(400, _MALFORMED[request.app[SERVICE]])
    return body


def validate(body: Any, schema: Json) -> None:
    """Refuse a body as Nova and Keystone do, with their wording: 400 naming field, value and rule."""
    found = jsonschema.Draft202012Validator(schema, format_checker=_FORMATS).iter_errors(body)
    # not best_match: what it finds inside a oneOf is not what the services report
    error = max(found, key=jsonschema.exceptions.relevance, default=None)
    if error is not None:
        if isinstance(error.cause, _NoName):
            raise Fault(400, str(error.cause))
        path = [str(part) for part in error.absolute_path]
        where = f"Invalid input for field/attribute {path[-1]}. Value: {error.instance}. " if path else ""
        raise Fault(400, f"{where}{error.message}")


class _NoName(Exception):
    """What Nova says of a name in words of its own, without the field."""


@_FORMATS.checks("name", _NoName)
def _is_name(text: object) -> bool:
    """Nova's format: printable characters of the basic plane, no white space at either end."""
    if not isinstance(text, str):
        return True
    categories = [unicodedata.category(one) for one in text]
    printable = all(kind[0] != "C" and (kind[0] != "Z" or kind == "Zs") for kind in categories)
    if not printable or any(ord(one) >= 0xFFFF for one in text) or "Zs" in (*categories[:1], *categories[-1:]):
        raise _NoName(
            "An invalid 'name' value was provided. The name must be: printable characters. "
            "Can not start or end with whitespace."
        )
    return True


def is_uuid(text: Any) -> bool:
    """Whether Nova takes something for an id."""
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True


def new_id() -> str:
    """An id as Nova, Neutron and Glance make them."""
    return str(uuid.uuid4())


def new_hex_id() -> str:
    """An id as Keystone makes them."""
    return uuid.uuid4().hex


def new_secret() -> str:
    """An unguessable string."""
    return secrets.token_urlsafe(120)


def now() -> datetime:
    """The time, aware, UTC."""
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """``2026-11-23T09:29:30Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp(moment: datetime) -> str:
    """``2026-11-23T09:29:30.000000``, as Nova's older fields have it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000")


def truthy(value: object) -> bool:
    """What the services take for true in a query string."""
    return str(value).strip().lower() in {"1", "t", "true", "on", "y", "yes"}


def page_link(base: str, query: Iterable[tuple[str, str]], marker: str) -> str:
    """A link to the next page: the same query with another marker."""
    kept = [f"{key}={value}" for key, value in query if key != "marker"]
    return f"{base}?{'&'.join([*kept, f'marker={marker}'])}"


def _error(request: web.Request, fault: Fault) -> web.Response:
    if fault.bare:
        text = (
            "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested "
            "URL was not found on the server. If you entered the URL manually please check your spelling and try "
            "again.</p>\n"
        )
        return web.Response(text=text, status=404, content_type="text/html")
    body = {"error": {"code": fault.status, "message": fault.message, "title": _REASONS.get(fault.status, "Error")}}
    return web.json_response(body, status=fault.status, headers=_challenge(request, fault))


def _challenge(request: web.Request, fault: Fault) -> dict[str, str]:
    return {"WWW-Authenticate": f'Keystone uri="{request.app[AUTH_URL]}"'} if fault.status == 401 else {}


AUTH_URL: web.AppKey[str] = web.AppKey("auth_url", str)


def _keystone(request: web.Request, fault: Fault) -> web.Response:
    return _error(request, fault)


def _nova(request: web.Request, fault: Fault) -> web.Response:
    if fault.status == 401:
        return _error(request, fault)
    if fault.bare:
        return _page(request, fault)
    name = fault.kind or _NOVA_FAULTS.get(fault.status, "computeFault")
    return web.json_response({name: {"code": fault.status, "message": fault.message}}, status=fault.status)


def _neutron(request: web.Request, fault: Fault) -> web.Response:
    if fault.status == 401:
        return _error(request, fault)
    if fault.bare and request.path != "/v2.0" and not request.path.startswith("/v2.0/"):
        return _page(request, fault)
    kind = fault.kind or {400: "HTTPBadRequest", 404: "HTTPNotFound", 405: "HTTPMethodNotAllowed"}.get(fault.status, "")
    body = {"NeutronError": {"type": kind, "message": fault.message, "detail": ""}}
    return web.json_response(body, status=fault.status)


def _page(request: web.Request, fault: Fault) -> web.Response:
    """The HTML error page of the webob library, which Glance (and Nova's router) answer with."""
    message = _GLANCE_UNAUTHENTICATED if fault.status == 401 else html.escape(fault.message)
    title = f"{fault.status} {_REASONS.get(fault.status, 'Error')}"
    first = fault.lead or message
    second = message if fault.lead else ""
    text = (
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n"
        f"  {first}<br /><br />\n{second}\n\n\n </body>\n</html>"
    )
    return web.Response(text=text, status=fault.status, content_type="text/html", headers=_challenge(request, fault))


_RENDERERS: dict[str, Callable[[web.Request, Fault], web.Response]] = {
    "identity": _keystone,
    "image": _page,
    "compute": _nova,
    "network": _neutron,
}
