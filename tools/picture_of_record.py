"""Make the README's picture: the first screen of the demo's move record, in headless Chromium.

Run ``make demo`` first, then ``.venv/bin/python tools/picture_of_record.py``. Needs Debian's chromium.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1200, 1000


def main() -> int:
    """Take the picture; 1 when there is no record of the demo."""
    pages = sorted((ROOT / "demo" / "records").glob("*-03-move-servers-*.html"))
    if not pages:
        sys.stderr.write("There is no record page in demo/records: run `make demo` first.\n")
        return 1
    out = ROOT / "doc" / "record-page.png"
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={profile}", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--screenshot={out}", pages[-1].resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    sys.stdout.write(f"{out.relative_to(ROOT)} shows {pages[-1].name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
