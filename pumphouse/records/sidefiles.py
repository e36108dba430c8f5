"""What lies beside a record: plans, approvals, selections, snapshots, the journal's slice, long outputs.

Each is cleaned as the record is (secrets, paths of this machine) before it is written, and small enough to be mailed:
what is longer than a few hundred KiB is compressed with gzip.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pumphouse.records.seal import RunFiles
from pumphouse.records.store import WritePolicy, hide_in_value

COMPRESS_ABOVE_BYTES = 256 * 1024


def write_json(files: RunFiles, policy: WritePolicy, name: str, content: Any) -> None:
    """Write a JSON side file; its name gets ``.gz`` when it is long."""
    clean = hide_in_value(policy.redactor.value(content), policy.aliases)
    _write(files, name, json.dumps(clean, indent=1, ensure_ascii=False) + "\n")


def write_lines(files: RunFiles, policy: WritePolicy, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a side file of one JSON object a line."""
    clean = hide_in_value(policy.redactor.value(list(rows)), policy.aliases)
    _write(files, name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in clean))


def read_json(files: RunFiles, name: str) -> Any:
    """A JSON side file's content, None if there is none."""
    for suffix, opened in (("", lambda data: data), (".gz", gzip.decompress)):
        file = files.side_folder / f"{name}{suffix}"
        if file.exists():
            return json.loads(opened(file.read_bytes()))
    return None


def _write(files: RunFiles, name: str, text: str) -> None:
    data = text.encode("utf-8", "replace")
    if len(data) > COMPRESS_ABOVE_BYTES:
        files.write(f"{name}.gz", gzip.compress(data, mtime=0))
        (files.side_folder / name).unlink(missing_ok=True)
    else:
        files.write(name, data)
        (files.side_folder / f"{name}.gz").unlink(missing_ok=True)
