from __future__ import annotations

import pytest

from tests.fuzz.junk import EXAMPLES, TRIED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much was tried; with several processes only they know."""
    if TRIED:
        terminalreporter.section("fuzz")
        for what, count in sorted(TRIED.items()):
            terminalreporter.write_line(f"{count:8d}  {what}")
        terminalreporter.write_line(
            f"{sum(TRIED.values()):8d}  inputs tried in all ({EXAMPLES} of each kind asked for)"
        )
