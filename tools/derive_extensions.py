"""Derive the lab's list of Nova extensions from recorded answers of Grizzly and Icehouse.

Both lists are as recorded (names, namespaces and dates; descriptions are not kept). Havana's was not recorded: what
both others have it has, with Icehouse's dates; of the rest it has what ``ICEHOUSE_ONLY`` does not name, and
``os-coverage``, which Icehouse dropped. That gives the 77 that a Havana cloud was counted to have.

Example::

    python tools/derive_extensions.py grizzly.jsonl icehouse.jsonl pumphouse/lab/source/extensions.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

KNOWN_ICEHOUSE_ONLY = (
    *("os-server-external-events", "os-server-groups", "os-extended-hypervisors"),
    "os-preserve-ephemeral-rebuild",
)
"""Their presence tells Icehouse from Havana: probed."""
INFERRED_ICEHOUSE_ONLY = ("os-extended-services-delete", "os-console-auth-tokens", "os-baremetal-ext-status")
"""The first is dated after Havana's release; the others came with features of Icehouse (RDP consoles, bare metal)."""
ICEHOUSE_ONLY = (*KNOWN_ICEHOUSE_ONLY, *INFERRED_ICEHOUSE_ONLY)
HAVANA_COUNT = 77
KEYS = ("alias", "name", "namespace", "updated")


def main() -> None:
    """Read the arguments, write the data file, and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("grizzly", type=Path)
    parser.add_argument("icehouse", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    grizzly, icehouse = recorded(given.grizzly), recorded(given.icehouse)
    havana = {alias: icehouse.get(alias, row) for alias, row in grizzly.items()}
    havana |= {alias: row for alias, row in icehouse.items() if alias not in ICEHOUSE_ONLY}
    if len(havana) != HAVANA_COUNT:
        sys.exit(f"Havana would have {len(havana)} extensions instead of {HAVANA_COUNT}")
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, found in (("grizzly", grizzly), ("havana", havana), ("icehouse", icehouse)):
        for row in found.values():
            rows.setdefault(tuple(row[key] for key in KEYS), []).append(name)
    document = {
        "grizzly": "as recorded",
        "havana": "inferred: Icehouse's without " + ", ".join(ICEHOUSE_ONLY) + "; with os-coverage",
        "icehouse": "as recorded",
        "extensions": "",
    }
    entries = [{**dict(zip(KEYS, row, strict=True)), "releases": names} for row, names in sorted(rows.items())]
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    head = json.dumps(document, indent=1).replace('"extensions": ""\n}', f'"extensions": [\n{lines}\n ]\n}}')
    given.output.write_text(head + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(grizzly)} Grizzly, {len(havana)} Havana, {len(icehouse)} Icehouse\n")


def recorded(path: Path) -> dict[str, dict[str, Any]]:
    """Alias -> extension of the last recorded answer of Nova's ``/extensions``."""
    found: dict[str, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["service"] == "compute" and row["path"].endswith("/extensions") and row["status"] == 200:
            found = {entry["alias"]: entry for entry in row["response_body"]["extensions"]}
    return found


if __name__ == "__main__":
    main()
