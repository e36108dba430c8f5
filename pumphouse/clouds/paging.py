"""Going through long lists, and waiting for a state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

from pumphouse.clouds.http import Service, Sleep
from pumphouse.clouds.parse import Doc
from pumphouse.errors import ApiError, CloudError

Found = TypeVar("Found")

_PAGE = "200"
"""Nova of 2013 takes a minute and more for a thousand servers with their addresses: as long as we wait at all."""
_TRIES = 5
_GONE = re.compile(r"marker|no image (?:was )?found|image \S{1,64} could not be found", re.IGNORECASE)
"""How services refuse a marker: Nova and Glance v1 by that word, Glance v2 since Havana by the image."""
_NEUTRON_PAGE = "500"


def all_pages(api: Service, what: str, filters: Mapping[str, str], *, page: str = _PAGE) -> list[Doc]:
    """Everything of ``/{what}/detail`` in Nova or Glance v1, by markers until an empty page (read only).

    Nova's own ``next`` links point at the list without details, and a page shorter than asked for is not the
    last one: Nova caps pages at ``osapi_max_limit``.
    """
    return from_the_start(lambda: _once(api, what, {**filters, "limit": page}))


def from_the_start(listing: Callable[[], Found]) -> Found:
    """A paged listing, begun anew when somebody deletes the very object at which its next page should begin.

    :raises ApiError: when that happens again and again.
    """
    tries = 1
    while True:
        try:
            return listing()
        except ApiError as error:
            if tries == _TRIES or error.status not in (400, 404) or not _GONE.search(error.message):
                raise
            tries += 1


def _once(api: Service, what: str, filters: Mapping[str, str]) -> list[Doc]:
    docs: dict[str, Doc] = {}
    marker: dict[str, str] = {}
    passed: set[str] = set()
    while True:
        try:
            page = api.get(f"/{what}/detail", f"list {what}", **filters, **marker).docs(what)
        except ApiError as error:
            if error.status != HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            raise _located(error, api, what, {**filters, **marker}, list(docs.values())) from error
        if not page:
            return list(docs.values())
        last = page[-1].text("id")
        # a page may repeat what was there before; a marker that repeats itself leads nowhere
        if last in passed:
            raise endless(api, what)
        passed.add(last)
        for doc in page:
            docs.setdefault(doc.text("id"), doc)
        marker = {"marker": last}


def _located(error: ApiError, api: Service, what: str, params: Mapping[str, str], before: list[Doc]) -> ApiError:
    """The error of a page that a service cannot make, with the place of the record that it stumbles over.

    One row that is not as the service's code has it (a NULL, a lost flavor) takes all others away with it. Its id is in
    no answer, but its neighbours' are: a shorter page, one that ends before it, is answered.

    :param before: what the pages before this one held.
    """

    def page(length: int) -> list[Doc] | None:
        shorter = {**params, "limit": str(length)}
        try:
            # not repeated: that it fails is what is asked
            reply = api.call("GET", f"/{what}/detail", f"list {what}", repeatable=False, params=shorter)
        except ApiError:
            return None
        return reply.doc().docs(what)

    read = page(0)
    if read is None:
        return error
    good, bad = 0, int(params["limit"])
    while bad - good > 1:
        middle = (good + bad) // 2
        found = page(middle)
        if found is None:
            bad = middle
        else:
            good, read = middle, found
    last = [*before, *read][-1:]
    where = "the first one listed"
    if last:
        where = f"the one listed next after {last[0].text('id')} ('{last[0].maybe_text('name') or ''}')"
    error.message += f" One record breaks the list: {where}."
    error.remedy = (
        f"find that row in the service's database (it lists the newest first) and mend or delete it; all {what} before "
        "it can be read, so it is not the service itself."
    )
    return error


def list_all(api: Service, what: str, **filters: str) -> list[Doc]:
    """Everything of a Neutron collection (read only).

    A server without pagination ignores ``limit`` and sends all at once, without a ``next`` link.
    """
    key = what.replace("-", "_")
    docs: dict[str, Doc] = {}
    marker: dict[str, str] = {}
    while True:
        params = {**filters, "limit": _NEUTRON_PAGE, **marker}
        answer = api.get(f"/{what}", f"list {what}", **params)
        page = answer.docs(key)
        fresh = {doc.text("id"): doc for doc in page if doc.text("id") not in docs}
        docs |= fresh
        links = answer.maybe_docs(f"{key}_links")
        if not page or not any(link.maybe_text("rel") == "next" for link in links):
            return list(docs.values())
        if not fresh:
            raise endless(api, what)
        marker = {"marker": page[-1].text("id")}


def endless(api: Service, what: str) -> CloudError:
    """The error for a list whose next page repeats what came before."""
    return CloudError(
        f"Cloud '{api.wire.cloud}' could not list {what}: a page brought nothing new, so the list would never end.",
        remedy="look for a proxy or cache before the service that drops the query string.",
        request_id=api.wire.last_request_id,
    )


def poll(
    look: Callable[[], Found | None], timeout_s: float, *, clock: Callable[[], float], sleep: Sleep
) -> Found | None:
    """What ``look`` returns first that is not None; None when ``timeout_s`` seconds are over."""
    end = clock() + timeout_s
    pause_s = 0.2
    while True:
        found = look()
        if found is not None:
            return found
        left_s = end - clock()
        if left_s <= 0:
            return None
        sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, 2.0)
