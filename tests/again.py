"""Run once more what failed last: whole modules, since a module's tests may build on one another.

``python -m tests.again MARK``: exits as pytest does; 5 when it is known of no test that it failed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
LAST_FAILED = PROJECT / ".pytest_cache" / "v" / "cache" / "lastfailed"


def modules(last_failed: Path = LAST_FAILED) -> list[str]:
    """The modules of the tests that failed last, as far as they still exist."""
    if not last_failed.exists():
        return []
    names = json.loads(last_failed.read_text(encoding="utf-8"))
    return sorted({module for module in (name.split("::")[0] for name in names) if (PROJECT / module).exists()})


def main() -> int:
    """See the module's words."""
    found = modules()
    if not found:
        print("No test is known to have failed: whatever failed was something else.")
        return pytest.ExitCode.NO_TESTS_COLLECTED
    return pytest.main(["-m", sys.argv[1], *found])


if __name__ == "__main__":
    sys.exit(main())
