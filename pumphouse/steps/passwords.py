"""A user's own password at the destination: out of force while its servers boot as it, in force before and after.

Nobody knows the password behind a hash, so nobody can boot as its owner. A user whose hash is carried therefore has the
one-time secret until its servers of a plan serve. A later plan that boots more of its servers sets the user's hash
aside (in the hand-over file), puts the secret in force again and gives the hash back at the end. Plans that run at the
same time share the secret: the last of them gives the hash back.
"""

from __future__ import annotations

from pumphouse.databases import KeystoneDatabase, PasswordHash, scheme_name
from pumphouse.databases.hashes import differs, matches
from pumphouse.errors import PlanStale, StepError, VerificationFailed
from pumphouse.plan.model import PlannedStep
from pumphouse.secretstore import Entry
from pumphouse.steps.base import Context, Outcome, Step, expect

_CHANGED = "its owner, or an administrator, has given it another password meanwhile"


class LendSecret(Step):
    """The one-time secret in force, the user's own hash set aside if it has one already."""

    kind = "secret"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """In force, and noted as needed by this plan."""
        name = step.params["name"]
        secret = ctx.secrets.get(name)
        if secret is None or ctx.plan.hash not in ctx.secrets.borrowers(name):
            return None
        user_id = ctx.mapped("user", step.params["user_id"])
        return {"id": user_id} if _in_force(ctx, user_id, secret) else None

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Note that this plan needs it; then set the present hash aside and the secret as the password, if need be."""
        user_id = ctx.mapped("user", step.params["user_id"])
        with ctx.secrets.entry(step.params["name"]) as entry:
            entry.change(borrowers=[*entry.borrowers, ctx.plan.hash])
            if _in_force(ctx, user_id, entry.password):
                return {"id": user_id, "was": "in force"}
            present = _present(ctx, step, user_id)
            entry.change(set_aside=present.value)
            ctx.destination.identity.set_user_password(user_id, entry.password)
            entry.change(in_force=True)
        return {"id": user_id, "was": f"set aside: {present}"}

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Log in with it."""
        user_id = ctx.mapped("user", step.params["user_id"])
        secret = ctx.secrets.get(step.params["name"])
        in_force = secret is not None and ctx.destination.accepts_password(user_id, secret)
        if not in_force and not ctx.secrets.borrowers(step.params["name"]):
            return {"id": user_id, "given back": True}  # verified again after the plan's end
        expect(f"user {step.params['name']} at {ctx.destination.name}", {"one-time secret in force": (True, in_force)})
        return {"id": user_id}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Give a hash that was set aside back, unless another plan needs the secret or the step after it did that."""
        if ctx.secrets.get(step.params["name"]) is None:
            return {"kept": True}
        with ctx.secrets.entry(step.params["name"]) as entry:
            if ctx.plan.hash not in entry.borrowers:
                return {"kept": True}
            if entry.set_aside is None or _others(ctx, entry):
                entry.change(borrowers=_others(ctx, entry))
                return {"kept": "the one-time secret"}
            return _put(ctx, step, entry, PasswordHash(entry.set_aside), "set aside")


class PutPassword(Step):
    """The user's own hash in place: the one set aside, or else the source's."""

    kind = "password"

    def look(self, ctx: Context, step: PlannedStep) -> Outcome | None:
        """Never in place by itself: whether the secret is still needed is decided under the file's lock."""
        return None

    def before(self, ctx: Context, step: PlannedStep) -> Outcome:
        """What would be put in place: undoing has to know it after a crash."""
        with ctx.secrets.entry(step.params["name"]) as entry:
            wanted, origin = self._wanted(ctx, step, entry)
            if wanted is not None:
                return {"digest": wanted.digest, "origin": origin}
        return self._begun(ctx, step)

    def act(self, ctx: Context, step: PlannedStep) -> Outcome:
        """Write it, if no other plan needs the secret and nobody has changed the password meanwhile."""
        with ctx.secrets.entry(step.params["name"]) as entry:
            others = _others(ctx, entry)
            if others:
                entry.change(borrowers=others)
                return {"left_to": [plan_hash[:12] for plan_hash in others]}
            wanted, origin = self._wanted(ctx, step, entry)
            if wanted is None:
                begun = self._begun(ctx, step)
                entry.change(borrowers=[])
                if begun and _present(ctx, step, ctx.mapped("user", step.params["user_id"])).digest == begun["digest"]:
                    return begun
                return {"kept": "the one-time secret", "why": "no hash was set aside"}
            return _put(ctx, step, entry, wanted, origin)

    def verify(self, ctx: Context, step: PlannedStep, outcome: Outcome) -> Outcome:
        """Read the row again: its digest is that of what was to be put there."""
        if "digest" not in outcome or ctx.secrets.borrowers(step.params["name"]):
            return {key: value for key, value in outcome.items() if key != "requests"}
        found = _present(ctx, step, ctx.mapped("user", step.params["user_id"]))
        expect(
            f"password of user {step.params['name']} at {ctx.destination.name}",
            {"digest of its hash": (outcome["digest"], found.digest)},
        )
        return {"digest": found.digest, "scheme": scheme_name(found.ident), "origin": outcome["origin"]}

    def undo(self, ctx: Context, step: PlannedStep, outcome: Outcome, *, ours: bool) -> Outcome:
        """Put the one-time secret in force again; a password of the user's own making stays."""
        if "kept" in outcome or "left_to" in outcome or outcome.get("origin") != "source":
            return {"kept": True}
        user_id = ctx.mapped("user", step.params["user_id"])
        with ctx.secrets.entry(step.params["name"]) as entry:
            present = _present(ctx, step, user_id)
            if present.digest != outcome["digest"]:
                return {"kept": present.digest, "why": _CHANGED}
            ctx.destination.identity.set_user_password(user_id, entry.password)
            entry.change(in_force=True)
            if not ctx.destination.accepts_password(user_id, entry.password):
                raise VerificationFailed(
                    f"User {step.params['name']} ({user_id}) of {ctx.destination.name} cannot log in with its one-time "
                    f"secret again.",
                    remedy="look whether it was disabled; then run the roll back again.",
                )
        return {"in force": "the one-time secret"}

    @staticmethod
    def _begun(ctx: Context, step: PlannedStep) -> dict[str, str]:
        """What an earlier run, cut off before it could journal its outcome, set out to put in place."""
        intent = ctx.journal.step_state(ctx.plan.hash, step.key).intent_data
        return {name: str(intent[name]) for name in ("digest", "origin") if name in intent}

    @staticmethod
    def _wanted(ctx: Context, step: PlannedStep, entry: Entry) -> tuple[PasswordHash | None, str]:
        if entry.set_aside is not None:
            return PasswordHash(entry.set_aside), "set aside"
        if step.params["ident"] is None:
            return None, ""
        database = ctx.databases.source_keystone
        found = database.hash_of(step.params["user_id"]) if database is not None else None
        if found is None or found.ident != step.params["ident"]:
            now = scheme_name(found.ident) if found is not None else "no hash"
            raise PlanStale(
                f"User {step.params['name']} ({step.params['user_id']}) of {ctx.source.name} has {now}, not a "
                f"{scheme_name(step.params['ident'])} one as planned: {ctx.destination.name} was not tried with "
                f"that.",
                remedy="its one-time secret stays in force: hand that over, or plan its servers' next move anew.",
            )
        return found, "source"


def _in_force(ctx: Context, user_id: str, secret: str) -> bool:
    """Whether the secret is the user's password.

    A login is tried only where the hash does not tell: failed ones may lock the user out, and one that was refused for
    another reason would set the secret's own hash aside, as if it were the user's.
    """
    database = ctx.databases.destination_keystone
    found = database.hash_of(user_id) if database is not None else None
    if found is not None and differs(found, secret):
        return False
    return (found is not None and matches(found, secret)) or ctx.destination.accepts_password(user_id, secret)


def _put(ctx: Context, step: PlannedStep, entry: Entry, wanted: PasswordHash, origin: str) -> Outcome:
    user_id = ctx.mapped("user", step.params["user_id"])
    present = _present(ctx, step, user_id)
    if present.digest != wanted.digest:
        secret_in_force = matches(present, entry.password) or ctx.destination.accepts_password(user_id, entry.password)
        if not secret_in_force:
            entry.change(borrowers=[], in_force=False)
            return {"kept": present.digest, "why": _CHANGED}
        _database(ctx, step).replace_hash(user_id, wanted, instead_of=present.digest)
    entry.change(borrowers=[], in_force=False)
    return {"digest": wanted.digest, "origin": origin}


def _others(ctx: Context, entry: Entry) -> list[str]:
    """Other plans that need the secret; one that was rolled back does not any more."""
    others = [plan_hash for plan_hash in entry.borrowers if plan_hash != ctx.plan.hash]
    return [plan_hash for plan_hash in others if ctx.journal.plan_state(plan_hash) not in ("undone", None)]


def _database(ctx: Context, step: PlannedStep) -> KeystoneDatabase:
    found = ctx.databases.destination_keystone
    if found is None:
        raise StepError(
            f"{step.title}: site.yaml does not name {ctx.destination.name}'s Keystone database any more.",
            remedy="put destination.databases.keystone back into site.yaml; then run again.",
        )
    return found


def _present(ctx: Context, step: PlannedStep, user_id: str) -> PasswordHash:
    database = _database(ctx, step)
    found = database.hash_of(user_id)
    if found is None:
        raise StepError(
            f"User {step.params['name']} ({user_id}) of {ctx.destination.name} has no password in database {database}.",
            remedy="check that destination.databases.keystone in site.yaml is that cloud's.",
        )
    return found
