"""Checks of the site's own files: those that hold secrets are nobody else's."""

from __future__ import annotations

import stat
from pathlib import Path

from pumphouse.findings import Finding
from pumphouse.site import Site


def check_files(site: Site) -> list[Finding]:
    """Files of passwords and keys that other accounts of this machine can read or write (read only, local files)."""
    found = []
    for file in _keepers(site):
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            found.append(
                Finding(
                    "warn",
                    "secrets-readable",
                    f"file {file.name}",
                    f"in {file.parent} holds secrets, and other accounts may use it (mode {mode:04o}).",
                    "make it yours alone (chmod 600); change what it holds if somebody else was on this machine.",
                )
            )
    return found


def _keepers(site: Site) -> list[Path]:
    folders = {site.path.parent, *([site.clouds_yaml.parent] if site.clouds_yaml is not None else [])}
    secure = [folder / name for folder in sorted(folders) for name in ("secure.yaml", "secure.yml")]
    keys = [
        Path(str(o["key_file"])).expanduser() for s in site.hardware.switches.values() if "key_file" in (o := s.options)
    ]
    return [*secure, site.secrets_file, *([site.signing_key] if site.signing_key is not None else []), *keys]
