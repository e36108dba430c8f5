"""Whether the destination is the one that the journal's ids belong to: site.yaml or clouds.yaml may name another now.

A plan that goes on at another cloud would find nothing of what it made, make it once more, and start sources whose
copies live on where nobody looks.
"""

from __future__ import annotations

from pumphouse.clouds.api import Cloud
from pumphouse.errors import NotFound, PlanError
from pumphouse.journal import Journal
from pumphouse.journal.store import SCOPE_KEY
from pumphouse.session.notes import without_user
from pumphouse.session.story import BIND


def require_same_destination(journal: Journal, destination: Cloud, run_id: str) -> None:
    """A destination at another address than the last run changed is the same if it has a project that was mapped.

    Read only; the cloud is asked nothing while its address stays what it was.

    :raises PlanError: when it has none of them.
    """
    now = without_user(destination.facts.auth_url)
    then = _last_changed(journal, run_id)
    projects = [there for (kind, _), there in journal.mappings().items() if kind == "project"]
    if then in ("", now) or not projects or any(_has(destination, project_id) for project_id in projects):
        return
    raise PlanError(
        f"Cloud '{destination.name}' at {now} is not the destination of this journal: earlier runs worked on {then}, "
        f"and none of the {len(projects)} project(s) that they moved is here. Nothing was changed.",
        remedy="name the cloud that the servers are moved to in site.yaml (destination.cloud) and clouds.yaml; a move "
        "to another cloud wants a site.yaml with a journal and a work folder of its own, after this one was finished "
        "or rolled back.",
    )


def _last_changed(journal: Journal, run_id: str) -> str:
    """Address of the destination that the last run before this one set out to change; empty: there was none."""
    begun = [event.run_id for event in journal.events(step_key=SCOPE_KEY) if event.run_id != run_id]
    for earlier in reversed(dict.fromkeys(begun)):
        for event in reversed(journal.events(run_id=earlier, step_key=BIND)):
            for cloud in event.data.get("clouds", ()):
                if cloud.get("side") == "destination":
                    return str(cloud.get("auth_url", ""))
    return ""


def _has(destination: Cloud, project_id: str) -> bool:
    try:
        destination.identity.get_project(project_id)
    except NotFound:
        return False
    return True
