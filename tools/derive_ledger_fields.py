"""Derive from recorded HTTP exchanges which fields a 2014 cloud's objects have: the fidelity ledger accounts for each.

Of every answer below status 400 the fields' names and JSON types are kept, with the number of records that had them:
no values. Havana was not recorded: ``--havana`` derives its fields from Icehouse's by what is known to differ.

Example::

    python tools/derive_ledger_fields.py icehouse.jsonl tests/ledger/data/icehouse.json
    python tools/derive_ledger_fields.py icehouse.jsonl tests/ledger/data/havana.json --havana
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.ledger.typed import Fields, add, objects  # noqa: E402 - found through the line above

#: What Icehouse shows and Havana does not: (type, first key of the field).
NOT_IN_HAVANA = {
    ("image", "owner"),
    ("image", "virtual_size"),
    ("region", ""),
    ("server_group", ""),
}
#: Types that Havana has under the same names, but of which only Icehouse's recording shows a key.
NOT_IN_HAVANA_SERVICES = "id"


def main() -> None:
    """Read the arguments, write the data file, and say what is in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--havana", action="store_true", help="leave out what Havana does not have")
    given = parser.parse_args()
    fields: dict[str, Fields] = {}
    answers = 0
    for line in given.recording.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["status"] < 400:
            answers += 1
            for kind, record in objects(row["service"], row["path"], row["response_body"]):
                add(fields, kind, record)
    if given.havana:
        fields = {kind: _havana(kind, known) for kind, known in fields.items()}
    document = {
        kind: [[list(path), json_type, number] for (path, json_type), number in sorted(known.items())]
        for kind, known in sorted(fields.items())
        if known
    }
    lines = ",\n".join(f"{json.dumps(kind)}: {json.dumps(rows)}" for kind, rows in document.items())
    given.output.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    total = sum(map(len, document.values()))
    sys.stdout.write(f"{answers} answers, {len(document)} types, {total} fields in {given.output}\n")


def _havana(kind: str, known: Fields) -> Fields:
    def there(path: tuple[str, ...]) -> bool:
        if (kind, "") in NOT_IN_HAVANA or (kind, path[0] if path else "") in NOT_IN_HAVANA:
            return False
        return not (kind == "service" and path == (NOT_IN_HAVANA_SERVICES,))

    return {(path, json_type): number for (path, json_type), number in known.items() if there(path)}


if __name__ == "__main__":
    main()
