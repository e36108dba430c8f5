"""The frame around the services: fault injection, and an orderly end."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest
import requests
from aiohttp import web
from aiohttp.typedefs import Handler

from pumphouse.lab.destination import make_app

from .running import SDK_WARNINGS, Running, running

pytestmark = SDK_WARNINGS


def test_a_middleware_sees_every_service_and_its_answer_goes_out_as_it_is(tmp_path: Path) -> None:
    seen = []

    @web.middleware
    async def spy(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(request.method + " " + request.path)
        if request.path.startswith("/v2.1/flavors"):
            return web.json_response({"computeFault": {"code": 503, "message": "injected"}}, status=503)
        return await handler(request)

    for lab in running(tmp_path, middlewares=[spy]):
        conn = lab.connect()
        answer = conn.compute.get("/flavors")
        assert (answer.status_code, answer.json()["computeFault"]["message"]) == (503, "injected")
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        assert conn.image.get("/images").status_code == 200
        assert conn.network.get("/networks").status_code == 200
    assert {"POST /v3/auth/tokens", "GET /v2.1/flavors", "GET /v2/images", "GET /v2.0/networks"} <= set(seen)


def test_a_lost_answer_leaves_the_change_behind(tmp_path: Path) -> None:
    @web.middleware
    async def lose(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method == "POST" and request.path == "/v3/projects":
            assert request.transport is not None
            request.transport.close()
        return answer

    for lab in running(tmp_path, middlewares=[lose]):
        conn = lab.connect()
        url, headers = f"{lab.info.auth_url}/projects", {"X-Auth-Token": conn.auth_token}
        with pytest.raises(requests.ConnectionError):
            requests.post(url, json={"project": {"name": "lost"}}, headers=headers, timeout=10)
        assert conn.identity.find_project("lost").name == "lost"


def test_make_app_names_its_service() -> None:
    app = make_app("image")
    assert isinstance(app, web.Application)


def test_after_the_end_nobody_answers(tmp_path: Path) -> None:
    for lab in running(tmp_path):
        stopped: Running = lab
    host, port = stopped.info.auth_url.removeprefix("http://").removesuffix("/v3").split(":")
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection(host, int(port), timeout=5).request("GET", "/")
    assert not stopped.info.cloud.tasks
