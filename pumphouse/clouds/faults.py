"""Error answers of OpenStack services, of every age and dialect, as our own errors."""

from __future__ import annotations

import html
import http
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from pumphouse.errors import ApiError, CloudAuthError, CloudError, Conflict, NotFound, QuotaExceeded, RateLimited

_LIMIT = 300
_RATE = re.compile(r"rate.?limit|request\(s\) can be made|too many requests", re.IGNORECASE)
_QUOTA = re.compile(
    r"quota\b.*\bexceed|exceed\w*\b.*\bquota|over.?quota|maximum number of|too many (?!requests)|limit exceeded",
    re.IGNORECASE,
)
_RESOURCE = re.compile(
    r"quota exceeded for (?:resources: )?\[?'?(\w+(?:'?, ?'?\w+)*)|(?:maximum number of|too many) ([a-z ]{3,30})",
    re.IGNORECASE,
)
_LIMIT_WORDS = re.compile(rb"Only (\d{1,9}) (\w+) request\(s\) can be made to (.{1,80}?) every (\w+)\.")
_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_POLICY = re.compile(r"policy|not authorized|not permitted", re.IGNORECASE)


def fault_text(body: bytes, status: int) -> str:
    """The sentence for people in an error body: JSON of any service, HTML, plain text, or the status' own name."""
    text = body[:65536].decode("utf-8", "replace").strip()
    try:
        found = (_from_json(json.loads(text)) or "") if text[:1] in ("{", "[", '"') else None
    except (ValueError, RecursionError):
        found = None
    if found is None:
        found = _from_html(text) if text[:1] == "<" else text
    found = " ".join(found.split())
    if not found:
        return _phrase(status)
    return found if len(found) <= _LIMIT else f"{found[:_LIMIT]}…"


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id under which the service logged the request."""
    return headers.get("x-openstack-request-id") or headers.get("x-compute-request-id")


def retry_after_s(headers: Mapping[str, str], body: bytes = b"", *, now: datetime | None = None) -> float | None:
    """Seconds to wait, from ``Retry-After`` (RFC 9110: seconds or a date) or old Nova's ``retryAfter``; None: not told.

    :param now: the time to compare a date with where the answer has no ``Date`` of its own.
    """
    told: Any = headers.get("retry-after")
    if told is None and b"retryAfter" in body:
        match = re.search(rb'"retryAfter"\s*:\s*"?(\d{1,9})', body)
        told = match.group(1).decode() if match else None
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        then = _date(told)
        if then is None:
            return None
        # the service's own clock, which may be wrong, is what its date is counted from
        seconds = max(0.0, (then - (_date(headers.get("date")) or now or datetime.now(UTC))).total_seconds())
    return seconds if 0 <= seconds < 1e9 else None


def _date(text: Any) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def api_error(
    status: int, headers: Mapping[str, str], body: bytes, *, intro: str, text: str | None = None
) -> CloudError:
    """Our error for an HTTP error status.

    :param intro: the sentence up to the service's own words, e.g. ``Cloud 'old' could not read server 1: compute``.
    :param text: the service's words, when they were cleaned already.
    """
    words = fault_text(body, status) if text is None else text
    message = f"{intro} answered {status}: {words.rstrip('.')}."
    rid = request_id(headers)
    if status == 401:
        return CloudAuthError(
            message,
            request_id=rid,
            remedy="check user, password and project in clouds.yaml, and that they are enabled.",
        )
    if status in (413, 429) or (status in (403, 409) and _QUOTA.search(words) and not _POLICY.search(words)):
        wait_s = retry_after_s(headers, body)
        if status in (413, 429) and _is_rate(status, words, body, wait_s):
            reason, interval_s = _limit(body)
            return RateLimited(
                message,
                status=status,
                retry_after_s=wait_s or 0.0,
                interval_s=interval_s,
                reason=reason or words.rstrip("."),
                request_id=rid,
                remedy=f"wait {wait_s or 0:.0f} s, then repeat; or raise that limit (api-paste.ini of Nova).",
            )
        if status == 413 and body.lstrip()[:1] == b"<" and not _QUOTA.search(words):
            return ApiError(
                message,
                status=status,
                request_id=rid,
                remedy="the request is too large for the service or for a proxy before it: raise the limit there.",
            )
        resource = _RESOURCE.search(words)
        which = (
            f"the project's quota of {resource.group(1) or resource.group(2)}"
            if resource
            else "that quota of the project"
        )
        return QuotaExceeded(message, status=status, request_id=rid, remedy=f"raise {which}, or free some of it.")
    if status == 404:
        return NotFound(
            message, status=status, request_id=rid, remedy="check the id, and that this user may see the object."
        )
    if status == 409:
        return Conflict(
            message, status=status, request_id=rid, remedy="look at the object: it exists, is in use or is busy."
        )
    return ApiError(message, status=status, request_id=rid, remedy=_remedy(status))


def _is_rate(status: int, words: str, body: bytes, wait_s: float | None) -> bool:
    # a quota refusal has the same status and key; only its words, or a wait of zero or none, tell it apart
    if _RATE.search(words) or _RATE.search(body[:65536].decode("utf-8", "replace")):
        return True
    return not _QUOTA.search(words) and (status == 429 or bool(wait_s))


def _limit(body: bytes) -> tuple[str, float]:
    """Nova's sentence on the limit, and how far apart it lets requests be (0: it does not say)."""
    match = _LIMIT_WORDS.search(body[:65536])
    if match is None:
        return "", 0.0
    number, unit = int(match.group(1)), _UNITS_S.get(match.group(4).decode().lower(), 0)
    return match.group(0).decode("utf-8", "replace").rstrip("."), unit / number if number else 0.0


def _remedy(status: int) -> str:
    if status == 403:
        return "use the credentials of an administrator of this cloud, or mend the policy that forbids it."
    if status == 400:
        return "the service refuses these values; compare them with what the message says."
    if status >= 500:
        return "the service failed; look for the request id in its log, then repeat the call."
    return "look for the request id in the service's log."


def _from_json(raw: Any) -> str | None:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, list):
        return next((found for found in map(_from_json, raw) if found), None)
    if not isinstance(raw, dict):
        return None
    for key in ("message", "faultstring", "detail", "error_message", "title"):
        value = raw.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, dict):
            return _from_json(value)
    return next((found for found in map(_from_json, raw.values()) if found), None)


def _from_html(text: str) -> str:
    text = re.sub(r"(?is)<(head|script|style)\b.*?</\1\s*>", " ", text)
    text = re.sub(r"(?s)<[^>]*>", " ", text)
    return re.sub(r"^\s*\d{3} [A-Z][A-Za-z ]*\n", "", html.unescape(text)).strip()


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "no explanation"
