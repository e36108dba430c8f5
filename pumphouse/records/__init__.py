"""Records: executed notebooks as evidence.

``engine`` runs a notebook under papermill and writes down what really happened, ``sheet`` and ``summary`` are the cover
sheet, ``store`` writes atomically through ``redact``, ``sidefiles`` keeps what belongs to a record beside it. ``scan``,
``seal``, ``envelope`` and ``keys`` close it, ``manifest`` chains every run, ``archive`` and ``objectstore`` are where
that lies, ``verify`` and ``anchor`` prove it later; ``html`` and ``pages`` show it, ``compare`` tells two runs apart.
The truth of a run is the journal; nothing here reads it. Whoever runs a notebook passes the result in
(:mod:`pumphouse.session.closing`).
"""

from pumphouse.records.archive import open_archive, read_manifest
from pumphouse.records.manifest import Entry
from pumphouse.records.redact import Redactor
from pumphouse.records.secrets import collect_secrets
from pumphouse.records.verify import verify_archive, verify_manifest

__all__ = [
    "Entry",
    "Redactor",
    "collect_secrets",
    "open_archive",
    "read_manifest",
    "verify_archive",
    "verify_manifest",
]
