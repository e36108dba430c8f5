"""The ledger's rules for Keystone: projects, users, roles and who has which."""

from __future__ import annotations

from pumphouse.ledger.cases import Case
from pumphouse.ledger.rules import (
    NOT_SHOWN,
    Rule,
    Treatment,
    Verdict,
    follows,
    same,
    shown,
    stays,
    turned,
)

LINKS = "addresses of the source's own API; the destination writes its own"
EXTRA = "attributes that somebody added by hand, also where Keystone shows them among its own: no service reads them"
MARKED = "Keystone gives ids itself; the source's is kept beside it as pumphouse_source_id"
DOMAIN = "everything is made in the destination's domain `default`; the source has no other that holds its people"


def _project_id(case: Case) -> Verdict:
    return Verdict(Treatment.MAPPED, case.key, case.world.became("project", case.key))


def _adopted(case: Case) -> bool:
    """Whether the plan takes a project or user of the destination that pumphouse did not make."""
    return case.params.get("adopts") is not None


def _as_it_is(case: Case, attribute: str, source: str | None) -> Verdict | None:
    """What is there already stays as it is, where that differs; None: nothing is there, or it is the same."""
    found = case.world.counterpart(case.kind, case.key, adopts=case.params.get("adopts"))
    if found is None or (shown(getattr(found, attribute)) or "") == (source or ""):
        return None
    whose = "was there before pumphouse" if _adopted(case) else "was made by an earlier plan"
    return Verdict(
        Treatment.DROPPED, source, reason=f"the destination's {case.kind} {whose} and stays as it is: another value"
    )


def _unless_there(attribute: str, reason: str) -> Rule:
    def decide(case: Case) -> Verdict:
        source = shown(case.params[attribute] if case.record is None else case.told(attribute))
        return _as_it_is(case, attribute, source) or Verdict(Treatment.COPIED, source, source)

    return same(attribute, reason, decide=decide)


def _named(case: Case) -> Verdict:
    source, there = case.told("name") or case.params["name"], case.params["name"]
    if source == there:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, reason="its name is taken there, or written in another case")


def _default_project(case: Case) -> Verdict:
    default, carried = case.told("default_project_id"), case.params["default_project_id"]
    there = None if carried is None else case.world.became("project", carried)
    other = _as_it_is(case, "default_project_id", there)
    if other is not None:
        return Verdict(Treatment.DROPPED, default, reason=other.reason)
    if carried is None:
        why = "there is none" if default is None else "that project is not moved: the user chooses one when logging in"
        return Verdict(Treatment.DROPPED, default, reason=why)
    return Verdict(Treatment.MAPPED, default, there)


def _password(case: Case) -> Verdict:
    if _adopted(case):
        why = "the destination's own user of that name keeps the password that it has there"
        return Verdict(Treatment.DROPPED, NOT_SHOWN, reason=why)
    step = case.world.params(f"password:{case.key}")
    if step is not None and step["ident"]:
        why = "the hash is carried from database to database, once the user's servers serve"
        return Verdict(Treatment.COPIED, NOT_SHOWN, NOT_SHOWN, why)
    if case.world.counterpart("user", case.key) is not None:
        why = "made by an earlier plan: it keeps the password that it has by now"
        return Verdict(Treatment.DERIVED, NOT_SHOWN, NOT_SHOWN, why)
    why = "no API tells it: the user gets a one-time password, in the hand-over file"
    return Verdict(Treatment.DERIVED, NOT_SHOWN, NOT_SHOWN, why)


def _user_id(case: Case) -> Verdict:
    return Verdict(Treatment.MAPPED, case.key, case.world.became("user", case.key))


def _role_id(case: Case) -> Verdict:
    return Verdict(Treatment.MAPPED, case.key, case.world.became("role", case.key))


def _role_name(case: Case) -> Verdict:
    source, there = case.told("name") or case.params["name"], case.params["name"]
    if source == there:
        return Verdict(Treatment.COPIED, source, there)
    return Verdict(Treatment.MAPPED, source, there, reason=f"is called {there} at the destination")


def _granted(kind: str) -> Rule:
    def decide(case: Case) -> Verdict:
        source_id = case.params[f"{kind}_id"]
        return Verdict(Treatment.MAPPED, source_id, case.world.became(kind, source_id))

    name = {"role": "role.id", "user": "user.id", "project": "scope.project.id"}[kind]
    return turned(name, f"the destination's {kind}", decide=decide)


PROJECT = (
    turned("id", MARKED, decide=_project_id),
    same("name", "as at the source", decide=_named),
    _unless_there("description", "as at the source"),
    _unless_there("enabled", "a disabled project stays disabled"),
    follows("domain_id", DOMAIN),
    follows("parent_id", "projects of 2014 have no tree: the domain is the parent"),
    follows("is_domain", "a project that holds servers is none"),
    stays("extra", EXTRA),
    stays("extra.**", EXTRA),
    stays("tags", "projects of the releases moved from have none"),
    stays("tags[]", "projects of the releases moved from have none"),
    stays("options.**", "projects of the releases moved from have none"),
    stays("options", "projects of the releases moved from have none"),
    follows("links.**", LINKS),
    follows("pumphouse_source_id", "our own marker"),
)

USER = (
    turned("id", MARKED, decide=_user_id),
    same("name", "as at the source", decide=_named),
    follows("username", "the name once more, as Icehouse writes it"),
    _unless_there("email", "as at the source"),
    _unless_there("enabled", "a disabled user stays disabled"),
    turned("tenantId", "the default project", to="default_project_id", decide=_default_project),
    turned("default_project_id", "the default project", decide=_default_project),
    _unless_there("description", "as at the source"),
    follows("domain_id", DOMAIN),
    stays("extra", EXTRA),
    stays("extra.**", EXTRA),
    stays("password_expires_at", "the one-time password is to be changed anyhow"),
    stays("federated[]", "who logs in elsewhere has no password to carry"),
    stays("options.**", "users of the releases moved from have none"),
    stays("options", "users of the releases moved from have none"),
    stays("tags", "users of the releases moved from have none"),
    stays("tags[]", "users of the releases moved from have none"),
    follows("links.**", LINKS),
    follows("db:user.password", "its hash", decide=_password),
    follows("pumphouse_source_id", "our own marker"),
)

ROLE = (
    turned("id", "the destination's role of that name, or a new one", decide=_role_id),
    same("name", "as at the source", decide=_role_name),
    stays("description", "what a role allows is said by the destination's policies, not by its description"),
    stays("enabled", "only `_member_` has it, and nothing reads it"),
    stays("domain_id", "roles of 2014 belong to no domain"),
    stays("options.**", "roles of the releases moved from have none"),
    stays("options", "roles of the releases moved from have none"),
    follows("links.**", LINKS),
)

ASSIGNMENT = (
    _granted("role"),
    _granted("user"),
    _granted("project"),
    follows("role.name", "the role's name, once more"),
    follows("user.**", "the user's name and domain, once more"),
    follows("scope.project.**", "the project's name and domain, once more"),
    stays("scope.domain.**", "a role in a whole domain is the administrators' own affair"),
    stays("scope.system.**", "a role in the system is the administrators' own affair"),
    stays("scope.OS-INHERIT:inherited_to", "roles inherited from a domain are the administrators' own affair"),
    stays("group.**", "groups are not carried: their members' own roles are"),
    follows("links.**", LINKS),
)

RULES: dict[str, tuple[Rule, ...]] = {
    "project": PROJECT,
    "user": USER,
    "role": ROLE,
    "role_assignment": ASSIGNMENT,
}
