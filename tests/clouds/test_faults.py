"""Error bodies of every age and dialect."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from pumphouse.clouds.faults import api_error, fault_text, request_id, retry_after_s
from pumphouse.errors import ApiError, CloudAuthError, CloudError, Conflict, NotFound, QuotaExceeded, RateLimited

HTML = b"""<html>
 <head>
  <title>404 Not Found</title>
 </head>
 <body>
  <h1>404 Not Found</h1>
  No image with ID &lt;abc&gt; found.<br /><br />

 </body>
</html>"""

PATIENT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For noisy machines."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"itemNotFound": {"message": "Instance could not be found", "code": 404}}, "Instance could not be found"),
        ({"error": {"message": "No such project.", "code": 404, "title": "Not Found"}}, "No such project."),
        ({"NeutronError": {"type": "X", "message": "IP in use.", "detail": ""}}, "IP in use."),
        ({"NeutronError": "just text"}, "just text"),
        ({"errors": [{"status": 404, "title": "Not Found", "detail": "No provider"}]}, "No provider"),
        ({"faultstring": "old pecan"}, "old pecan"),
        ({"message": "plain"}, "plain"),
        ({"error_message": {"faultstring": "ironic"}}, "ironic"),
    ],
)  # fmt: skip
def test_the_services_words_are_found(body: Any, said: str) -> None:
    assert fault_text(json.dumps(body).encode(), 404) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (HTML, "No image with ID <abc> found."),
        (b"Authentication required", "Authentication required"),
        (b"", "Not Found"),
        (b"   \n", "Not Found"),
        (b"{}", "Not Found"),
        (b"[]", "Not Found"),
        (b"<html></html>", "Not Found"),
        (b'{"broken": ', '{"broken":'),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_other_bodies_too(body: bytes, said: str) -> None:
    assert fault_text(body, 404) == said


def test_an_endless_body_is_cut() -> None:
    assert len(fault_text(b"x" * 1_000_000, 500)) < 400
    assert fault_text(b"[" * 100_000, 500)
    assert fault_text(b"", 799) == "no explanation"


RATE = b'{"overLimit": {"message": "This request was rate-limited.", "code": 413, "retryAfter": "4", "details": "x"}}'
RATE_V21 = b'{"overLimit": {"message": "x", "retryAfter": "9", "details": "Only 10 POST request(s) can be made to * every minute."}}'  # noqa: E501


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (413, {"Retry-After": "4"}, RATE, RateLimited),
        (413, {}, RATE, RateLimited),
        (413, {}, RATE_V21, RateLimited),
        (429, {}, b"", RateLimited),
        (413, {"Retry-After": "3"}, b"", RateLimited),
        (413, {"Retry-After": "0"}, b'{"overLimit": {"message": "Quota exceeded for cores"}}', QuotaExceeded),
        (413, {}, b'{"overLimit": {"message": "Maximum number of metadata items exceeds 1"}}', QuotaExceeded),
        (413, {}, b'{"overLimit": {"message": "Quota exceeded, too many key pairs."}}', QuotaExceeded),
        (413, {}, b"", QuotaExceeded),
        (403, {}, b'{"forbidden": {"message": "Quota exceeded for ram: Requested 1"}}', QuotaExceeded),
        (403, {}, b'{"forbidden": {"message": "Quota exceeded, too many key pairs."}}', QuotaExceeded),
        (409, {}, b'{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded for resources: [\'port\']."}}',
         QuotaExceeded),
        (403, {}, b'{"forbidden": {"message": "Policy doesn\'t allow os-quota-sets:update to be performed."}}',
         ApiError),
        (403, {}, b"", ApiError),
        (401, {}, b"", CloudAuthError),
        (404, {}, HTML, NotFound),
        (409, {}, b'{"conflictingRequest": {"message": "busy"}}', Conflict),
        (422, {}, b"", ApiError),
        (500, {}, b"", ApiError),
    ],
)  # fmt: skip
def test_status_and_words_make_the_kind(status: int, headers: dict[str, str], body: bytes, kind: type) -> None:
    error = api_error(status, CaseInsensitiveDict(headers), body, intro="Cloud 'old' could not try: compute")
    assert type(error) is kind
    assert str(error).startswith(f"Cloud 'old' could not try: compute answered {status}: ")
    assert error.remedy


def test_waiting_time_and_request_id_are_read_from_either_place() -> None:
    assert retry_after_s({"retry-after": "7"}) == 7
    assert retry_after_s({}, RATE) == 4
    date = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after_s(date | {"date": "Wed, 21 Oct 2015 07:27:20 GMT"}) == 40
    assert retry_after_s(date, now=datetime(2015, 10, 21, 7, 27, 50, tzinfo=UTC)) == 10
    assert retry_after_s(date | {"date": "never"}) == 0  # it is over, by our own clock
    assert retry_after_s({"retry-after": "Someday"}) is None
    assert retry_after_s({"retry-after": "-1"}) is None
    assert retry_after_s({"retry-after": "nan"}) is None
    assert request_id(CaseInsensitiveDict({"X-Compute-Request-Id": "req-1"})) == "req-1"
    assert request_id(CaseInsensitiveDict({"X-Openstack-Request-Id": "req-2"})) == "req-2"


@pytest.mark.parametrize(
    ("words", "resource"),
    [
        ("Quota exceeded for instances: Requested 1, but already used 10 of 10 instances", "quota of instances"),
        ("Quota exceeded for cores,ram: Requested 4, but already used 20 of 20 cores", "quota of cores,ram"),
        ("Quota exceeded for resources: ['floatingip'].", "quota of floatingip"),
        ("Maximum number of floating ips exceeded", "quota of floating ips"),
        ("Quota exceeded, too many key pairs.", "quota of key pairs"),
        ("Quota exceeded, too many security groups.", "quota of security groups"),
    ],
)
def test_a_quota_names_its_resource(words: str, resource: str) -> None:
    body = json.dumps({"overLimit": {"message": words, "code": 413, "retryAfter": "0"}}).encode()
    error = api_error(413, {"retry-after": "0"}, body, intro="Cloud 'old' could not try: compute")
    assert type(error) is QuotaExceeded
    assert resource in str(error.remedy)
    assert words.rstrip(".") in str(error)


def test_a_rate_names_its_limit_and_how_far_apart_requests_may_be() -> None:
    error = api_error(413, {"retry-after": "9"}, RATE_V21, intro="Cloud 'old' could not try: compute")
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.interval_s) == (9, 6)
    assert error.reason == "Only 10 POST request(s) can be made to * every minute"
    plain = api_error(429, {}, b'{"error": "Too many requests"}', intro="Cloud 'new' could not try: network")
    assert isinstance(plain, RateLimited)
    assert (plain.interval_s, plain.reason) == (0, "Too many requests")


def test_a_body_that_is_too_large_for_a_proxy_is_no_quota() -> None:
    page = b"<html><head><title>413 Request Entity Too Large</title></head><body><center>nginx</center></body></html>"
    error = api_error(413, {}, page, intro="Cloud 'new' could not upload image 1: image")
    assert type(error) is ApiError
    assert "proxy" in str(error.remedy)


@PATIENT
@given(st.integers(400, 599), st.binary(max_size=300) | JSON.map(lambda raw: json.dumps(raw).encode()))
def test_any_body_makes_an_error(status: int, body: bytes) -> None:
    error = api_error(status, {}, body, intro="Cloud 'x' could not y: z")
    assert isinstance(error, CloudError)
    assert len(str(error)) < 1000
    assert "\n" not in str(error)
