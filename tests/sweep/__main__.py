"""``python -m tests.sweep``; see :mod:`tests.sweep.sweeps`."""

from __future__ import annotations

import sys

from tests.sweep.sweeps import main

if __name__ == "__main__":
    sys.exit(main())
