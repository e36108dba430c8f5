"""Choosing what the server that proves a new host is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PlanError, StepError
from pumphouse.plan.hardware import Canary
from pumphouse.steps.hardware.canary import find_parts


def said_of(canary: Mapping[str, Any]) -> dict[str, str]:
    """What the operator said of it: ``image``, ``flavor`` and ``network``, empty where nothing.

    :raises PlanError: when something else is said.
    """
    unknown = set(canary) - {"image", "flavor", "network"}
    if unknown:
        raise PlanError(
            f"A canary has no {', '.join(sorted(unknown))}.", remedy="name its image, flavor and network, or none."
        )
    return {key: str(canary.get(key, "")) for key in ("image", "flavor", "network")}


def choose_canary(destination: Cloud, said: Mapping[str, str]) -> Canary:
    """What it is made of, found before anything is done to a node (read only)."""
    try:
        image, flavor, network = find_parts(destination, said)
    except StepError as error:
        return Canary(problem=error.message, remedy=error.remedy or "")
    told = f"image {image.name}, flavor {flavor.name}, network {network.name}"
    return Canary(image.id, flavor.id, network.id, told)
