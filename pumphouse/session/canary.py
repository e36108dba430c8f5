"""Choosing what the server that proves a new host is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pumphouse.clouds.api import Cloud
from pumphouse.errors import PlanError, StepError
from pumphouse.plan.hardware import Canary
from pumphouse.steps.hardware.canary import find_parts, taken_at


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


def choose_canary(destination: Cloud, said: Mapping[str, str], *, source: Cloud | None = None) -> Canary:
    """What it is made of, found before anything is done to a node (read only).

    :param source: whose servers' addresses it must not have; None: it has no servers any more.
    """
    try:
        image, flavor, network = find_parts(destination, said, taken=taken_at(source) if source is not None else ())
    except StepError as error:
        return Canary(problem=error.message, remedy=error.remedy or "")
    told = f"image {image.name}, flavor {flavor.name}, network {network.name}"
    return Canary(image.id, flavor.id, network.id, told)
