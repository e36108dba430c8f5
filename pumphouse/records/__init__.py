"""Records: executed notebooks as evidence.

``engine`` runs a notebook under papermill and writes down what really happened, ``sheet`` is the cover sheet,
``store`` writes atomically through ``redact``, ``manifest`` lists every run, ``html`` makes pages of it all. The
truth of a run is the journal; nothing here reads it. Whoever runs a notebook (:mod:`pumphouse.runner`) passes the
result in.
"""

from pumphouse.records.manifest import Entry, append_entry, read_manifest, verify_manifest
from pumphouse.records.redact import Redactor
from pumphouse.records.secrets import collect_secrets

__all__ = ["Entry", "Redactor", "append_entry", "collect_secrets", "read_manifest", "verify_manifest"]
