"""Where passwords that ``site.yaml`` refers to are kept: an environment variable, or ``secure.yaml``.

``secure.yaml`` is openstacksdk's own file beside ``clouds.yaml``; what belongs to no cloud has a section of its own
there (``databases``, ``nodes``), which openstacksdk ignores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pumphouse.errors import SiteError

if TYPE_CHECKING:
    from pumphouse.site import Site


@dataclass(frozen=True)
class PasswordRef:
    """Where one password is: ``section.entry.password`` of secure.yaml, or an environment variable; or neither.

    ``key`` names the place in ``site.yaml`` that refers to it.
    """

    key: str
    section: str
    entry: str | None = None
    variable: str | None = None


def read_password(site: Site, ref: PasswordRef) -> str | None:
    """The password that is referred to; None where the reference names no place (read only, local files).

    :raises SiteError: when it is not there, or secure.yaml cannot be read.
    """
    if ref.variable is not None:
        password = os.environ.get(ref.variable)
        where = f"environment variable {ref.variable}"
    elif ref.entry is not None:
        password = _entry((site.clouds_yaml or site.path).parent, ref.section, ref.entry)
        where = f"secure.yaml: {ref.section}.{ref.entry}.password"
    else:
        return None
    if not password:
        raise SiteError(
            f"The password of {ref.key} is not in {where}.",
            remedy="put it there, or correct that entry of site.yaml.",
        )
    return password


def _entry(folder: Path, section: str, name: str) -> str | None:
    for file in (folder / "secure.yaml", folder / "secure.yml"):
        try:
            found: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, yaml.YAMLError) as error:
            # not shown as the cause: a YAML error quotes the file
            raise SiteError(
                f"{file} cannot be read: {type(error).__name__}.", remedy=f"mend it: passwords of {section} are in it."
            ) from None
        try:
            return str(found[section][name]["password"])
        except (KeyError, TypeError):
            continue
    return None
