"""A project's compute quota, as the suite has to know it."""

from __future__ import annotations

from typing import Any

from pumphouse.plan.model import PlannedStep
from tests.raw import ask
from tests.steps.bench import Bench, Write, unique
from tests.steps.case import Case, Made

LIMITS = {"instances": 7, "cores": 9, "ram": 4096}


class QuotaCase(Case):
    kind = "quota"
    spoils_all = True
    writes = (Write("PUT", "/os-quota-sets/"),)
    undo_writes = (Write("DELETE", "/os-quota-sets/"),)

    def make(self, bench: Bench) -> Made:
        name, source_id = unique("project"), unique()
        body = {"project": {"name": name, "domain_id": "default"}}
        project = ask(bench.new.identity, "/projects", "POST", json=body)["project"]["id"]
        step = PlannedStep(
            key=f"quota:{source_id}",
            kind="quota",
            phase="prepare",
            title=f"quota of {name}",
            changes="destination",
            params={"source_id": source_id, "name": name, "limits": LIMITS},
            undo="set back to what it was",
        )
        return Made(step, mappings=[("project", source_id, project)])

    def project(self, bench: Bench, step: PlannedStep) -> str:
        """The project's id at the destination."""
        (found,) = ask(bench.new.identity, f"/projects?name={step.params['name']}")["projects"]
        return str(found["id"])

    def seen(self, bench: Bench, step: PlannedStep) -> Any:
        quota = ask(bench.new.compute, f"/os-quota-sets/{self.project(bench, step)}")["quota_set"]
        return {name: quota[name] for name in (*LIMITS, "key_pairs")}

    def want(self, bench: Bench, step: PlannedStep) -> Any:
        return {**LIMITS, "key_pairs": 100}

    def there(self, bench: Bench, step: PlannedStep) -> None:
        self.set(bench, step, **LIMITS)

    def spoil(self, bench: Bench, step: PlannedStep) -> None:
        ask(bench.new.compute, f"/os-quota-sets/{self.project(bench, step)}", "DELETE")

    def set(self, bench: Bench, step: PlannedStep, **limits: int) -> None:
        """Set limits by hand."""
        body = {"quota_set": limits}
        ask(bench.new.compute, f"/os-quota-sets/{self.project(bench, step)}", "PUT", json=body)

    def names(self, bench: Bench, step: PlannedStep) -> tuple[str, ...]:
        return (step.params["name"], self.project(bench, step))
