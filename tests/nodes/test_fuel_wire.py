"""What goes wrong between us and a Fuel master, and what is made of it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pumphouse.errors import NodeAuthError, NodeGarbled, NodeRefused, NodeTimeout, NodeUnreachable
from pumphouse.nodes.fuel import Fuel
from pumphouse.nodes.fuel.wire import error_text
from pumphouse.nodes.spec import FuelSpec, Login
from pumphouse.trace import changing_requests
from tests.nodes.fuelmaster import PASSWORD, USER, Master, master

WAIT_S = 20.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Master]:
    """A master that every test of this module gives back as it was."""
    with master("7.0") as made:
        yield made


@contextmanager
def server(status: int, body: str, content_type: str = "application/json") -> Iterator[str]:
    """Something that answers everything alike."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_PUT = do_GET  # noqa: N815  the names are http.server's

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()
        thread.join(5)


def client(url: str, timeout_s: float = 5.0) -> Fuel:
    return Fuel(FuelSpec(url, Login(user=USER, timeout_s=timeout_s)), PASSWORD, sleep=lambda _s: None)


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (200, "<html>welcome</html>", NodeGarbled, "no JSON: '<html>welcome</html>'"),
        (200, "[]", NodeGarbled, "a list where a JSON object belongs"),
        (200, "", NodeGarbled, "nothing where a JSON object belongs"),
        (200, '{"release": 7}', NodeGarbled, "a number as 'release', where a text belongs"),
        (200, '{"release": "7.0", "auth_required": "yes"}', NodeGarbled, "'auth_required'"),
        (302, "", NodeGarbled, "a redirect"),
        (404, "not found", NodeRefused, r"not found \(HTTP 404\)"),
        (400, '{"message": "so\\nwrong", "errors": []}', NodeRefused, "so wrong"),
        (503, "<html>Bad gateway</html>", NodeRefused, "an HTML page instead of a reason"),
    ],
)
def test_answers_that_are_not_fuels(status: int, body: str, error: type[Exception], words: str) -> None:
    with server(status, body) as url, pytest.raises(error, match=words):
        client(url).version()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("Cluster not found", "Cluster not found"),
        ('{"message": "Cluster not found", "errors": []}', "Cluster not found"),
        ('{"message": null}', ""),
        ("None", ""),
        ("", ""),
        (
            "Traceback (most recent call last):\n  File\nDeploymentAlreadyStarted: already",
            "DeploymentAlreadyStarted: already",
        ),
        ('{"errors": 1}', '{"errors": 1}'),
    ],
)
def test_what_a_refusal_says(body: str, said: str) -> None:
    assert error_text(body) == said


def test_a_release_that_nobody_tried_is_looked_at_and_not_changed() -> None:
    with server(200, '{"release": "9.0", "auth_required": false}') as url:
        fuel = client(url)
        assert fuel.version().number == (9, 0)
        for begin in (lambda: fuel.create_environment("new", 1), lambda: fuel.deploy_changes(1)):
            with pytest.raises(NodeRefused, match=r"release 9\.0, and only 5\.1 to 8\.0"):
                begin()


def test_secrets_that_a_refusal_quotes_are_blotted_out() -> None:
    fuel = client("http://127.0.0.1:9")
    fuel.wire.hide("s3cret-Access-1")
    with server(400, f"{{'password': '{PASSWORD}', 'access': 's3cret-Access-1'}} is not valid") as url:
        other = client(url)
        other.wire.hide("s3cret-Access-1")
        with pytest.raises(NodeRefused, match=r"'password': '\*\*\*', 'access': '\*\*\*'") as caught:
            other.version()
    assert PASSWORD not in f"{caught.value!r} {other!r} {other.wire!r}"
    assert set(fuel.known_secrets()) == {PASSWORD, "s3cret-Access-1"}


def test_silence_is_bounded_and_a_closed_port_is_told(lab: Master) -> None:
    with (
        lab.fault(kind="delay", delay_s=0.6, path="/version", times=0),
        pytest.raises(NodeUnreachable, match="too long"),
    ):
        client(lab.server.url, timeout_s=0.1).version()


def test_reads_are_repeated(lab: Master) -> None:
    fuel = lab.fuel()
    there = fuel.list_nodes()
    for kind in ("status", "reset", "lost"):
        with lab.fault(kind=kind, method="GET", path="/nodes", times=3) as rule:
            assert fuel.list_nodes() == there
        assert rule.hits == 3
    with (
        lab.fault(kind="status", status=500, method="GET", path="/nodes", times=0) as rule,
        pytest.raises(NodeRefused, match="HTTP 500"),
    ):
        fuel.list_nodes()
    assert rule.hits == 4
    with (
        lab.fault(kind="status", status=400, method="GET", path="/nodes", times=0) as rule,
        pytest.raises(NodeRefused, match="HTTP 400"),
    ):
        fuel.list_nodes()
    assert rule.hits == 1, "what is refused is not asked for again"


@pytest.mark.parametrize("kind", ["status", "reset", "lost"])
def test_writes_are_never_repeated_and_the_journal_hears_of_them(lab: Master, kind: str) -> None:
    fuel = lab.fuel()
    release = fuel.find_release()
    assert release is not None
    made = kind == "lost"
    error = NodeRefused if kind == "status" else NodeUnreachable
    with (
        changing_requests() as seen,
        lab.fault(kind=kind, status=500, method="POST", path="/clusters", times=0) as rule,
        pytest.raises(error),
    ):
        fuel.create_environment(f"env-{kind}", release.id)
    assert rule.hits == 1
    assert seen.statuses == [500 if kind == "status" else None]
    found = fuel.find_environment(f"env-{kind}")
    assert (found is not None) == made
    if found is not None:
        assert fuel.create_environment(f"env-{kind}", release.id) == found, "what was made unheard is found again"
        fuel.delete_environment(found.id)


def test_changing_requests_are_noted_and_reading_and_logging_in_are_not(lab: Master) -> None:
    fuel = lab.fuel()
    with changing_requests() as seen:
        release = fuel.find_release()
        assert release is not None
        made = fuel.create_environment("noted", release.id)
        fuel.delete_environment(made.id)
    assert seen.ids == ["fuel POST no id", "fuel DELETE no id"]
    assert seen.statuses == [201, 202]


def test_a_token_that_expired_is_replaced_once_also_for_writes(lab: Master) -> None:
    fuel = lab.fuel()
    release = fuel.find_release()
    assert release is not None
    lab.server.expire_tokens()
    before = lab.requests("POST", "/tokens")
    made = fuel.create_environment("expired", release.id)
    assert lab.requests("POST", "/tokens") == before + 1
    fuel.delete_environment(made.id)
    with lab.fault(kind="status", status=401, path="/nodes", times=0) as rule, pytest.raises(NodeAuthError) as caught:
        fuel.list_nodes()
    assert rule.hits == 2
    assert PASSWORD not in str(caught.value)
    assert {PASSWORD} < set(fuel.known_secrets())


def test_several_threads_share_one_login(lab: Master) -> None:
    fuel = lab.fuel()
    fuel.list_nodes()
    lab.server.expire_tokens()
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            fuel.list_nodes()
        except BaseException as error:  # noqa: BLE001  told to the test
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert failed == []


def test_before_5_1_nobody_logs_in(lab: Master) -> None:
    lab.server.state.auth_required = False
    try:
        before = lab.requests("POST", "/tokens")
        assert lab.fuel("no matter").list_environments() == []
        assert lab.requests("POST", "/tokens") == before
    finally:
        lab.server.state.auth_required = True


# --- in the middle of a deployment


@pytest.fixture
def node_id(lab: Master) -> Iterator[int]:
    """A discovered node that is a controller to be."""
    fuel = lab.fuel()
    lab.boot("m1")
    node = fuel.wait_discovered(lab.macs("m1"), timeout_s=WAIT_S)
    release = fuel.find_release()
    assert release is not None
    made = fuel.create_environment("wire", release.id)
    fuel.assign(made.id, {node.id: ["controller"]})
    yield node.id
    lab.run(lab.server.work.idle())
    lab.server.state.nodes[node.id].status = "discover"
    fuel.delete_environment(made.id)
    lab.run(lab.server.work.idle())


def environment_id(fuel: Fuel) -> int:
    found = fuel.find_environment("wire")
    assert found is not None
    return found.id


def test_a_deployment_whose_answer_was_lost_is_found_and_not_begun_twice(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    with changing_requests() as seen, lab.fault(kind="lost", method="PUT", path="/changes"):
        task_id = fuel.deploy_changes(environment_id(fuel))
    assert seen.statuses == [None]
    fuel.wait_task(task_id, node_ids=[node_id], timeout_s=WAIT_S)
    assert [task.name for task in fuel.tasks(environment_id(fuel))].count("deploy") == 1


def test_a_deployment_that_never_arrived_is_not_claimed(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    with lab.fault(kind="reset", method="PUT", path="/changes"), pytest.raises(NodeUnreachable):
        fuel.deploy_changes(environment_id(fuel))
    assert fuel.running_task(environment_id(fuel)) is None
    assert fuel.get_node(node_id).status == "discover"


def test_tokens_and_the_master_may_go_away_during_a_deployment(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    lines: list[str] = []

    def expire(line: str) -> None:
        lines.append(line)
        lab.server.expire_tokens()

    with lab.looked_at(), lab.fault(kind="reset", method="GET", path=r"/tasks/\d", nth=2, times=6):
        task_id = fuel.deploy_changes(environment_id(fuel))
        task = fuel.wait_task(task_id, node_ids=[node_id], timeout_s=WAIT_S, report=expire)
    assert task.status == "ready"
    assert any("come back" in line for line in lines), lines


def test_waiting_is_bounded(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    with lab.held():
        task_id = fuel.deploy_changes(environment_id(fuel))
        waiting = rf"task {task_id} is not over after 0 s: Fuel task {task_id} \(deploy\)"
        with pytest.raises(NodeTimeout, match=waiting):
            fuel.wait_task(task_id, node_ids=[node_id], timeout_s=0)
    with pytest.raises(NodeTimeout, match="ready"):
        fuel.wait_task(task_id, node_ids=[999], timeout_s=0.6)


def test_a_task_that_vanished_is_no_success(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    task_id = fuel.deploy_changes(environment_id(fuel))
    lab.run(lab.server.work.idle())
    del lab.server.state.tasks[task_id]
    with pytest.raises(NodeRefused, match="Task not found"):
        fuel.wait_task(task_id, node_ids=[node_id], timeout_s=WAIT_S)


def test_a_status_that_nobody_knows_is_not_waited_for(lab: Master, node_id: int) -> None:
    fuel = lab.fuel()
    task_id = fuel.deploy_changes(environment_id(fuel))
    lab.run(lab.server.work.idle())
    task = lab.server.state.tasks[task_id]
    task.status = "paused"
    with pytest.raises(NodeGarbled, match="'paused'"):
        fuel.wait_task(task_id, node_ids=[node_id], timeout_s=WAIT_S)
    task.status = "ready"
