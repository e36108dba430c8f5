#!/usr/bin/env python3
"""Record how a real, current OpenStack cloud answers, for comparison with the lab's simulated one.

Needs an administrator's entry in clouds.yaml (OS_CLOUD, OS_CLIENT_CONFIG_FILE or the usual search path) of a cloud
that may be played with: objects named ``labcmp-…`` are made and removed again. The result goes to
``tests/lab/destination/data/current.json``.

    OS_CLIENT_CONFIG_FILE=…/clouds.yaml python tools/record_current_shapes.py --cloud NAME
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import openstack

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab.destination.scenario import hold  # noqa: E402 - found through the line above
from tests.lab.destination.talk import Conversation  # noqa: E402

TARGET = ROOT / "tests" / "lab" / "destination" / "data" / "current.json"


def main() -> None:
    """Hold the conversation with the cloud and write its shapes down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cloud", default=os.environ.get("OS_CLOUD"), help="entry of clouds.yaml")
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    auth = openstack.config.get_cloud_region(cloud=arguments.cloud).get_auth_args()
    conversation = Conversation(auth["auth_url"].rstrip("/"), auth["username"], auth["password"], auth["project_name"])
    exchanges = hold(conversation)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: exchange.as_dict() for name, exchange in sorted(exchanges.items())}
    lines = [f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}" for name, value in kept.items()]
    arguments.out.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{len(kept)} answers written to {arguments.out}\n")


if __name__ == "__main__":
    main()
