"""Keypairs at the destination."""

from __future__ import annotations

from pumphouse.clouds.api import Compute
from pumphouse.errors import CloudAuthError, StepError
from pumphouse.plan.model import PlannedStep
from pumphouse.steps.base import Context, Outcome, Step, expect


class EnsureKeypair(Step):
    """A keypair's public half: its owner's, or the operator's where the owner cannot boot.

    A current Nova takes it from the administrator, so that nobody's password matters; an older one from its owner only.
    """

    kind = "keypair"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Adopt a keypair of that name and key."""
        nova, whose = self._nova(ctx, step)
        for found in nova.list_keypairs(user_id=whose):
            if found.name == step.params["name"]:
                if _key(found.public_key) != _key(step.params["public_key"]):
                    raise StepError(
                        f"Keypair {found.name} exists at {ctx.destination.name} with another key.",
                        remedy="delete or rename it there, then run again.",
                    )
                return {"name": found.name, "fingerprint": found.fingerprint}
        return None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Import the public key."""
        nova, whose = self._nova(ctx, step)
        made = nova.create_keypair(step.params["name"], step.params["public_key"], user_id=whose)
        return {"name": made.name, "fingerprint": made.fingerprint}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """The key is listed with the same content."""
        found = self.look(ctx, step)
        expect(f"keypair {step.params['name']} at {ctx.destination.name}", {"existence": (True, found is not None)})
        return found or {}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Delete a keypair that we imported."""
        if not ours:
            return {"kept": True}
        try:
            nova, whose = self._nova(ctx, step)
            nova.delete_keypair(step.params["name"], user_id=whose)
        except CloudAuthError:
            # only its owner can delete it, and the owner has a password of its own by now
            return {"kept": step.params["name"], "why": "its owner changed the one-time password"}
        return {"deleted": step.params["name"]}

    @staticmethod
    def _nova(ctx: Context, step: PlannedStep) -> tuple[Compute, str | None]:
        if step.params["as"] == "owner" and ctx.destination.compute.handles_others_keypairs():
            return ctx.destination.compute, ctx.mapped("user", step.params["user_id"])
        return ctx.acting(step.params).compute, None


def _key(public_key: str) -> list[str]:
    """Type and data of an OpenSSH public key; the comment may differ."""
    return public_key.split()[:2]
