"""How much memory this process takes: Linux' own high-water mark, set back where a measure begins."""

from __future__ import annotations

import re
from pathlib import Path

MIB = 1 << 20

_PROCESS = Path("/proc/self")


class Meter:
    """Growth of the resident set since :meth:`start`, at its highest; exact, nothing is sampled."""

    def start(self) -> None:
        """Forget how much memory there was in use before."""
        (_PROCESS / "clear_refs").write_text("5")  # proc(5): resets VmHWM to what is resident now
        self.base_bytes = self._read("VmRSS")

    @property
    def growth_bytes(self) -> int:
        """Bytes over the base at the highest point so far."""
        return self._read("VmHWM") - self.base_bytes

    @staticmethod
    def _read(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+) kB$", (_PROCESS / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found.group(1)) << 10
