"""A run in front of a journal, without clouds: what the widgets and overviews of a notebook need of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumphouse.journal import Journal
from pumphouse.plan.model import Plan
from pumphouse.site import Site
from tests.core.making import make_plan, make_site, make_step, plan_server


@dataclass
class DeskRun:
    """Stands for a :class:`pumphouse.session.Run` that a person began; its journal and site are real."""

    journal: Journal
    site: Site
    notebook: str = "03-move-servers"
    operator: str = "olga"
    change: str = "CHG-1"
    by_hand: bool = True
    ended: bool = False
    unreached: tuple[Any, ...] = ()
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = self.begin(self.notebook)

    def begin(self, notebook: str, operator: str = "") -> str:
        """Another run in the same journal."""
        return self.journal.start_run(
            notebook=notebook, template_digest="", parameters={}, operator=operator or self.operator, record=None
        )

    def set_out(self, run_id: str, plan: Plan, *phases: str) -> None:
        """Journal which steps a run sets out to do."""
        steps = plan.phase(*phases) if phases else plan.steps
        self.journal.write(run_id, plan.hash, "@scope", "scope", {"steps": sorted(step.key for step in steps)})

    def tell(self, run_id: str, plan: Plan, *events: tuple[str, str], **data: Any) -> None:
        """Journal events of steps: (key, event)."""
        for key, event in events:
            self.journal.write(run_id, plan.hash, key, event, data)

    def keep(self, plan: Plan, state: str) -> Plan:
        """Put a plan into the journal."""
        self.journal.save_plan(
            plan.hash, kind=plan.kind, selection_digest=plan.selection_digest, document=plan.document
        )
        self.journal.set_plan_state(plan.hash, state)
        return plan


def desk_run(folder: Path, **overrides: Any) -> DeskRun:
    """A run with a journal of its own in a folder."""
    return DeskRun(Journal.open(f"sqlite:///{folder / 'journal.db'}"), make_site(folder), **overrides)


def move_of(*names: str, image_bytes: int = 0, **overrides: Any) -> Plan:
    """A move of some servers: one image, then stop, boot and settle for each."""
    servers = [plan_server(name) for name in names]
    steps = [make_step("image:one", params={"image": {"size_bytes": image_bytes}}, undo="deleted")]
    for server in servers:
        need = "image:one"
        for kind, title in (("stop", "stop {}"), ("boot", "boot {}"), ("settle", "{} serves")):
            key = f"{kind}:{server.id}"
            steps.append(
                make_step(
                    key,
                    need,
                    phase="cutover",
                    title=title.format(server.name),
                    changes="source" if kind == "stop" else "destination",
                    server_id=server.id,
                    undo="undone",
                )
            )
            need = key
    return make_plan(*steps, servers=tuple(servers), **overrides)
