"""Copies an image as a plan does, with journal and verification; prints what it took as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from pumphouse.clouds import OpenStackCloud
from pumphouse.executor import execute
from pumphouse.journal import Journal
from pumphouse.plan.model import Plan, PlannedStep
from pumphouse.secretstore import SecretStore
from pumphouse.site import load_site
from pumphouse.steps import Context
from tests.benchmarks.copier import both, measured


def image_step(source: OpenStackCloud, image_id: str) -> PlannedStep:
    """The image as a plan would hold it; its copy belongs to the operator."""
    image = source.images.get_image(image_id)
    document = {
        "name": image.name,
        "visibility": "private",
        "owner_id": None,
        "size_bytes": image.size_bytes,
        "checksum": image.checksum,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk_gib": image.min_disk_gib,
        "min_ram_mib": image.min_ram_mib,
        "protected": False,
        "hidden": False,
        "properties": dict(image.properties),
        "tags": sorted(image.tags),
        "member_ids": [],
        "pending_ids": [],
    }
    params = {"source_id": image_id, "image": document}
    return PlannedStep(f"image:{image_id}", "image", "prepare", f"image {image.name}", "destination", params=params)


def carry(
    source: OpenStackCloud, destination: OpenStackCloud, image_id: str, clouds: Path, folder: Path
) -> dict[str, float]:
    """Carry the image as `pumphouse run` does; how long its bytes took of that."""
    site_file = folder / "site.yaml"
    names = {"source": {"cloud": source.name}, "destination": {"cloud": destination.name}}
    site_file.write_text(json.dumps({"schema": 1, "clouds_yaml": str(clouds), **names}))
    site = load_site(site_file)
    journal = Journal.open(site.journal_url)
    plan = Plan("move", source.name, destination.name, "0" * 64, (), (image_step(source, image_id),))
    journal.save_plan(plan.hash, kind="move", selection_digest=plan.selection_digest, document=plan.document)
    run_id = journal.start_run(notebook="bench", template_digest="", parameters={}, operator="bench", record=None)
    secrets = SecretStore(site.secrets_file)
    ctx = Context(source, destination, site, journal, secrets, plan, run_id, report=_tell)
    execute(ctx, plan.steps)
    outcome = journal.step_state(plan.hash, plan.steps[0].key).outcome
    journal.close()
    return {"transfer_s": float(outcome["seconds"])}


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def main() -> None:
    """``carrier.py CLOUDS_YAML SOURCE DESTINATION IMAGE``."""
    clouds, source, destination, image_id = sys.argv[1:]
    old, new = both(Path(clouds), source, destination)
    with tempfile.TemporaryDirectory() as folder:
        measured(lambda: carry(old, new, image_id, Path(clouds), Path(folder)))


if __name__ == "__main__":
    main()
