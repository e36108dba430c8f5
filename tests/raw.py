"""Clouds asked through openstacksdk's proxies, never through pumphouse: what tests see and do by themselves."""

from __future__ import annotations

from typing import Any

import openstack


def ask(proxy: Any, path: str, method: str = "GET", **options: Any) -> Any:
    """A request through one of openstacksdk's proxies; its JSON (None when there is none)."""
    answer = proxy.request(path, method, **options)
    openstack.exceptions.raise_from_response(answer)
    return answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else None
