"""Probes against real sockets on loopback: who answers, who only seems to, and when an answer was the last."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pumphouse import probes
from pumphouse.errors import StepError
from pumphouse.holder import holder, is_gone
from pumphouse.probes import answers, wait_answer, watch
from pumphouse.serving import ProbeSpec

HERE = "127.0.0.1"


class Guest:
    """A socket on a free port that can begin and cease to listen; ``serve`` handles each connection."""

    def __init__(self, serve: Callable[[socket.socket], None] | None = None) -> None:
        self.serve = serve
        self.over = threading.Event()
        self.server = socket.create_server((HERE, 0))
        self.server.settimeout(0.02)
        self.port: int = self.server.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self.server.accept()
            except TimeoutError:
                continue
            self.connections.append(connection)
            if self.serve is not None:
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        assert self.serve is not None
        with contextlib.suppress(OSError):
            self.serve(connection)

    def stop(self) -> None:
        self.over.set()
        self.thread.join(10)
        self.server.close()
        for connection in self.connections:
            connection.close()


@contextlib.contextmanager
def guest(serve: Callable[[socket.socket], None] | None = None) -> Iterator[Guest]:
    made = Guest(serve)
    try:
        yield made
    finally:
        made.stop()


def http(status: str, body: str = "hello", **headers: str) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(4096)
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
        connection.sendall("\r\n".join([*lines, "", body]).encode())
        connection.close()

    return serve


@pytest.fixture
def free_port() -> int:
    with socket.create_server((HERE, 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe of these tests gives up sooner, so that hanging guests cost less."""
    monkeypatch.setattr(probes, "ONE_PROBE_S", 0.3)


# --- one probe ----------------------------------------------------------------------------------------


def test_tcp_answers_when_it_connects(free_port: int) -> None:
    with guest() as up:
        assert answers(ProbeSpec("tcp", up.port), HERE)
    assert not answers(ProbeSpec("tcp", free_port), HERE)


@pytest.mark.parametrize(
    ("status", "serves"),
    [
        ("200 OK", True),
        ("204 No Content", True),
        ("301 Moved Permanently", True),
        ("401 Unauthorized", True),
        ("404 Not Found", True),
        ("500 Internal Server Error", False),
        ("502 Bad Gateway", False),
        ("503 Service Unavailable", False),
    ],
)
def test_http_answers_below_500(status: str, serves: bool) -> None:
    body = "" if status.startswith("204") else "hello"
    with guest(http(status, body)) as up:
        assert answers(ProbeSpec("http", up.port), HERE) is serves


def test_http_asks_for_its_path_and_follows_no_redirect(free_port: int) -> None:
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(4096).split(b"\r\n")[0])
        head = f"HTTP/1.1 302 Found\r\nLocation: http://{HERE}:{free_port}/\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())
        connection.close()

    with guest(serve) as up:
        assert answers(ProbeSpec("http", up.port, "/health?deep=1"), HERE)
    assert asked == [b"GET /health?deep=1 HTTP/1.1"]


def test_a_proxy_never_answers_for_the_guest(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    with guest(http("200 OK")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{HERE}:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        assert not answers(ProbeSpec("http", free_port), HERE)


def silent(connection: socket.socket) -> None:
    connection.recv(4096)
    time.sleep(5)


def no_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"SSH-2.0-OpenSSH_6.0\r\n")
    connection.close()


def hung_up(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("serve", [silent, no_http, hung_up])
def test_a_guest_that_connects_but_does_not_speak_http_does_not_serve(serve: Callable[[socket.socket], None]) -> None:
    with guest(serve) as up:
        begun = time.monotonic()
        assert not answers(ProbeSpec("http", up.port), HERE)
        assert time.monotonic() - begun < 5
        assert answers(ProbeSpec("tcp", up.port), HERE)


def test_a_body_without_end_is_not_waited_for() -> None:
    over = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not over.wait(0.02):
            connection.sendall(b"1\r\nx\r\n")

    with guest(endless) as up:
        result: list[bool] = []
        probe = threading.Thread(target=lambda: result.append(answers(ProbeSpec("http", up.port), HERE)), daemon=True)
        probe.start()
        probe.join(10)
        over.set()
    assert result == [True]


@pytest.mark.usefixtures("hasty")
def test_an_address_where_nobody_is_does_not_answer() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): no such host, whatever the network does with it
    for kind in ("tcp", "http"):
        assert not answers(ProbeSpec(kind, 9), "192.0.2.1")


def test_no_probe_is_no_answer() -> None:
    with guest() as up:
        assert not answers(ProbeSpec("none", up.port), HERE)


# --- waiting ------------------------------------------------------------------------------------------


def test_waiting_ends_with_the_first_answer() -> None:
    with guest() as up:
        before = time.time()
        at = wait_answer(ProbeSpec("tcp", up.port, timeout_s=20), HERE)
        assert at is not None
        assert before <= at <= time.time()


def test_waiting_ends_when_the_guest_comes_up_late(free_port: int) -> None:
    late: list[socket.socket] = []
    timer = threading.Timer(0.3, lambda: late.append(socket.create_server((HERE, free_port))))
    begun = time.time()
    timer.start()
    at = wait_answer(ProbeSpec("tcp", free_port, timeout_s=20), HERE)
    timer.join(10)
    late[0].close()
    assert at is not None
    assert at - begun >= 0.3


def test_waiting_gives_up_after_its_time_but_asks_at_least_once(free_port: int) -> None:
    begun = time.monotonic()
    assert wait_answer(ProbeSpec("tcp", free_port, timeout_s=0.25), HERE) is None
    assert time.monotonic() - begun >= 0.25
    with guest() as up:
        assert wait_answer(ProbeSpec("tcp", up.port, timeout_s=1e-9), HERE) is not None


# --- watching a stop ----------------------------------------------------------------------------------


def test_watching_tells_the_last_answer_before_a_stop() -> None:
    up = Guest()
    with watch(ProbeSpec("tcp", up.port), HERE) as last:
        first = last.at
        assert first is not None
        end = time.monotonic() + 20
        while last.at == first and time.monotonic() < end:
            time.sleep(0.01)
        stopping = time.time()
        up.stop()
        stopped = time.time()
        time.sleep(3 * probes.INTERVAL_S)
    assert last.at is not None
    assert first < last.at
    # the last good probe began before the stop was over; that it is noted takes a moment more
    assert last.at <= stopped + probes.INTERVAL_S
    assert last.at >= stopping - 20


def test_watching_does_not_go_on_after_its_block() -> None:
    with guest() as up:
        with watch(ProbeSpec("tcp", up.port), HERE) as last:
            pass
        at = last.at
        time.sleep(3 * probes.INTERVAL_S)
        assert last.at == at
    assert not [thread for thread in threading.enumerate() if thread.name == f"probe {HERE}"]


def test_watching_ends_with_its_block_even_when_that_fails() -> None:
    with guest() as up:
        with pytest.raises(ZeroDivisionError), watch(ProbeSpec("tcp", up.port), HERE):
            _ = 1 / 0
        assert not [thread for thread in threading.enumerate() if thread.name == f"probe {HERE}"]


def test_a_guest_that_never_answered_has_no_last_answer(free_port: int) -> None:
    with watch(ProbeSpec("tcp", free_port), HERE) as last:
        time.sleep(2 * probes.INTERVAL_S)
    assert last.at is None


@pytest.mark.parametrize(("kind", "address"), [("none", HERE), ("tcp", None)])
def test_without_probe_or_address_nothing_is_watched(kind: str, address: str | None) -> None:
    with guest() as up, watch(ProbeSpec(kind, up.port), address) as last:
        assert last.at is None
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("probe ")]


# --- who holds a claim --------------------------------------------------------------------------------


def test_we_are_alive_to_ourselves() -> None:
    assert f" pid {os.getpid()} " in holder()
    assert holder() == holder()
    assert not is_gone(holder())


def test_an_ended_process_of_this_machine_is_gone() -> None:
    code = "from pumphouse.holder import holder; print(holder())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert is_gone(child.stdout.strip())


def test_another_process_with_the_same_id_is_not_the_holder() -> None:
    name, _, rest = holder().partition(" started ")
    assert is_gone(f"{name} started 1 {rest.partition(' ')[2]}")


@pytest.mark.parametrize("other", ["machine", "container"])
def test_of_what_we_cannot_see_nothing_is_known(other: str) -> None:
    """Another machine, or another container that shares this one's host name but not its processes."""
    dead = holder().replace(f" pid {os.getpid()} ", " pid 999999999 ")
    assert is_gone(dead)
    if other == "machine":
        elsewhere = dead.replace(f"@{socket.gethostname()} ", "@elsewhere ")
    else:
        elsewhere = dead.rpartition(" in ")[0] + " in pid:[1]"
    assert elsewhere != dead
    assert not is_gone(elsewhere)


@pytest.mark.parametrize("other", ["", "somebody", "a@b pid x started 1 in y", "a@b pid 1"])
def test_a_holder_that_we_did_not_write_is_not_called_dead(other: str) -> None:
    assert not is_gone(other)


# --- programs -----------------------------------------------------------------------------------------


def command(*words: str, **more: float) -> ProbeSpec:
    return ProbeSpec("command", command=words, **more)  # type: ignore[arg-type]


def test_a_command_answers_by_its_exit_status_without_a_shell() -> None:
    assert answers(
        command("sh", "-c", 'test "$PUMPHOUSE_ADDRESS" = "$1" -a "$2" = "*; false"', "-", "{address}", "*; false"), HERE
    )
    assert not answers(command("sh", "-c", "exit 3"), HERE)


def test_a_command_gets_none_of_our_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_PASSWORD", "canary")
    assert answers(command("sh", "-c", 'test -z "$OS_PASSWORD" -a -n "$PATH"'), HERE)


def test_a_command_that_does_not_end_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! >{tmp_path}/child; wait"
    begun = time.monotonic()
    assert not answers(command("sh", "-c", script, each_s=0.5), HERE)
    assert time.monotonic() - begun < 10
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split(")")[1][:3]:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("word", ["no-such-program-at-all", "/etc/passwd", "nul\0byte"])
def test_a_program_that_is_not_there_says_nothing_about_the_guest(word: str) -> None:
    with pytest.raises(StepError, match="cannot be started"):
        answers(command(word), HERE)
    begun = time.monotonic()
    with pytest.raises(StepError, match="cannot be started"):
        wait_answer(command(word, timeout_s=0.2), HERE)
    assert time.monotonic() - begun >= 0.2
    with pytest.raises(StepError), watch(command(word), HERE):
        pass


def test_probes_that_cannot_be_made_are_told_beforehand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "no-such-program" in probes.unusable(command("no-such-program"))
    assert probes.unusable(command("sh")) == ""
    for kind in ("none", "tcp", "http"):
        assert probes.unusable(ProbeSpec(kind)) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ping" in probes.unusable(ProbeSpec("ping"))
    fake = tmp_path / "ping"
    fake.write_text("#!/bin/sh\nexit 2\n", encoding="utf-8")
    fake.chmod(0o755)
    assert "could not try" in probes.unusable(ProbeSpec("ping"))
    with pytest.raises(StepError, match="could not try"):
        answers(ProbeSpec("ping"), HERE)


@pytest.mark.parametrize(("status", "serves"), [(0, True), (1, False)])
def test_ping_asks_once_for_that_address(
    status: int, serves: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "ping"
    fake.write_text(f'#!/bin/sh\nprintf "%s " "$@" >{tmp_path}/asked\nexit {status}\n', encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert answers(ProbeSpec("ping"), "192.0.2.7") is serves
    assert (tmp_path / "asked").read_text().split() == ["-n", "-q", "-c", "1", "-W", "2", "192.0.2.7"]


def test_a_real_ping() -> None:
    if shutil.which("ping") is None:
        words = "no ping is installed (Debian's package `iputils-ping`)"
        pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)
    if probes.unusable(ProbeSpec("ping")):
        pytest.skip("this user may not send ICMP")
    assert answers(ProbeSpec("ping"), HERE)
