"""Progress: one event, one line, whoever reports it."""

from __future__ import annotations

import io
import re
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pumphouse.notebook import Reporter


def test_one_event_is_one_line_with_the_time_in_utc() -> None:
    stream = io.StringIO()
    east = datetime(2014, 11, 3, 23, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    Reporter(stream, now=lambda: east)("old: 10 servers")
    assert stream.getvalue() == "21:30:05Z  old: 10 servers\n"


def test_a_message_cannot_forge_a_second_line_or_colour() -> None:
    stream = io.StringIO()
    Reporter(stream, now=lambda: datetime(2014, 1, 1, tzinfo=UTC))("a\n21:00:00Z  all done\r\x1b[31mb\u2028c")
    assert stream.getvalue() == "00:00:00Z  a 21:00:00Z all done \ufffd[31mb c\n"


def test_lines_of_many_threads_never_mix() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream)
    start = threading.Barrier(8, timeout=20)

    def work(number: int) -> None:
        start.wait()
        for event in range(50):
            reporter(f"worker {number} event {event}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 400
    assert all(re.fullmatch(r"\d\d:\d\d:\d\dZ  worker \d event \d+", line) for line in lines)


def test_it_prints_to_where_stdout_is_now(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reporter = Reporter()
    reporter("one")
    later = io.StringIO()
    monkeypatch.setattr("sys.stdout", later)
    reporter("two")
    assert later.getvalue().endswith("two\n")
    monkeypatch.undo()
    assert capsys.readouterr().out.endswith("one\n")
