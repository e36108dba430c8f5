"""A plan is ordered by its steps' needs, hashed over everything in it, and read back as itself or not at all."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pumphouse.errors import PlanError
from pumphouse.journal import Journal
from pumphouse.plan.model import PHASES, Note, Plan, PlannedStep, PlanServer, order
from tests.core.making import keep_plan, make_plan, make_step, plan_server

NAMES = st.text("abcdefgh0123456789-:/", min_size=1, max_size=6)


@st.composite
def dags(draw: st.DrawFn) -> list[PlannedStep]:
    """Steps whose needs point only to earlier ones, in any order."""
    keys = draw(st.lists(NAMES, unique=True, max_size=14))
    steps = []
    for number, key in enumerate(keys):
        needs = draw(st.lists(st.sampled_from(keys[:number]), max_size=4)) if number else []
        steps.append(make_step(key, *needs, phase=draw(st.sampled_from(PHASES))))
    return list(draw(st.permutations(steps)))


@settings(deadline=None)
@given(dags())
def test_every_step_comes_after_all_that_it_needs(steps: list[PlannedStep]) -> None:
    done: set[str] = set()
    for step in order(steps):
        assert set(step.needs) <= done
        done.add(step.key)
    assert done == {step.key for step in steps}


@settings(deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_the_steps_came(steps: list[PlannedStep], random: Any) -> None:
    shuffled = [replace(step, needs=tuple(reversed(step.needs))) for step in steps]
    random.shuffle(shuffled)
    assert order(shuffled) == order(steps)


@settings(deadline=None)
@given(dags(), st.data())
def test_a_cycle_is_an_error_that_names_its_steps(steps: list[PlannedStep], data: st.DataObject) -> None:
    ring = data.draw(st.lists(NAMES.map(lambda name: f"ring {name}"), unique=True, min_size=1, max_size=4))
    looped = [make_step(key, ring[number - 1]) for number, key in enumerate(ring)]
    with pytest.raises(PlanError, match="wait for each other") as caught:
        order([*steps, *looped])
    assert all(key in str(caught.value) for key in ring)


@settings(deadline=None)
@given(dags(), NAMES)
def test_a_need_that_no_step_meets_is_an_error_that_names_both(steps: list[PlannedStep], name: str) -> None:
    missing = f"missing {name}"
    with pytest.raises(PlanError, match="does not hold") as caught:
        order([*steps, make_step("the one", missing)])
    assert missing in str(caught.value)
    assert "the one" in str(caught.value)


def test_two_steps_of_one_key_are_an_error() -> None:
    with pytest.raises(PlanError, match="Two steps boot:1"):
        order([make_step("boot:1"), make_step("boot:1")])


def test_no_steps_are_no_error() -> None:
    assert order([]) == ()


def test_of_steps_that_could_go_together_the_earlier_phase_goes_first_then_the_key() -> None:
    steps = [make_step("a", phase="undo"), make_step("z"), make_step("b", phase="cutover"), make_step("c")]
    assert [step.key for step in order(steps)] == ["c", "z", "b", "a"]


# --- the hash -----------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def full_plan(**overrides: Any) -> Plan:
    return make_plan(
        make_step("project:1", params={"name": "acme", "deep": {"b": [1, 2], "a": None}}, undo="deleted"),
        make_step("stop:1", "project:1", phase="cutover", changes="source", server_id="1", cost="ten minutes"),
        make_step("boot:1", "stop:1", "project:1", phase="cutover", server_id="1"),
        servers=(plan_server("one"), plan_server("two", floating_ips=("172.24.4.9",))),
        notes=(Note("flavor x", "is left out"),),
        copy_bytes=10,
        **overrides,
    )


def backwards(value: Any) -> Any:
    """The same JSON with every object's keys the other way round."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_the_hash_does_not_depend_on_the_order_of_keys(params: dict[str, Any]) -> None:
    one, other = (make_plan(make_step("a", params=p)) for p in (params, backwards(params)))
    assert one.hash == other.hash
    assert Plan.from_document(backwards(json.loads(json.dumps(one.document)))).hash == one.hash


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_a_plan_that_was_written_and_read_is_the_same_plan(params: dict[str, Any]) -> None:
    plan = replace(full_plan(), steps=(make_step("a", params=params),))
    again = Plan.from_document(json.loads(json.dumps(plan.document)))
    assert again.document == plan.document
    assert again.hash == plan.hash


def test_a_plan_survives_the_journal(journal: Journal) -> None:
    plan = full_plan()
    keep_plan(journal, plan)
    (document,) = journal.plan_documents()
    again = Plan.from_document(document)
    assert again == plan
    assert again.hash == plan.hash
    assert pickle.loads(pickle.dumps(plan)).hash == plan.hash


OTHER_VALUES: dict[str, Any] = {
    "str": "another",
    "int": 77,
    "str | None": "another",
    "tuple[str, ...]": ("another",),
    "Mapping[str, Any]": {"another": 1},
}


@pytest.mark.parametrize("name", [item.name for item in fields(PlannedStep)])
def test_the_hash_changes_with_any_field_of_a_step(name: str) -> None:
    plan = full_plan()
    kind = next(str(item.type) for item in fields(PlannedStep) if item.name == name)
    changed = replace(plan.steps[1], **{name: OTHER_VALUES[kind]})
    assert replace(plan, steps=(plan.steps[0], changed, plan.steps[2])).hash != plan.hash


@pytest.mark.parametrize("name", [item.name for item in fields(PlanServer)])
def test_the_hash_changes_with_any_field_of_a_server(name: str) -> None:
    plan = full_plan()
    kind = next(str(item.type) for item in fields(PlanServer) if item.name == name)
    changed = replace(plan.servers[0], **{name: OTHER_VALUES[kind]})
    assert replace(plan, servers=(changed, plan.servers[1])).hash != plan.hash


@pytest.mark.parametrize("name", [item.name for item in fields(Plan)])
def test_the_hash_changes_with_any_field_of_the_plan(name: str) -> None:
    plan = full_plan()
    values: dict[str, Any] = {"servers": (), "steps": plan.steps[:2], "notes": ()}
    kind = next(str(item.type) for item in fields(Plan) if item.name == name)
    changed: dict[str, Any] = {name: values.get(name, OTHER_VALUES.get(kind))}
    assert replace(plan, **changed).hash != plan.hash


def test_the_hash_is_64_hex_digits_of_the_canonical_json() -> None:
    plan = make_plan(source="källa")
    assert len(plan.hash) == 64
    assert int(plan.hash, 16)
    assert plan.hash == Plan.from_document(plan.document).hash


# --- damaged documents --------------------------------------------------------------------------------


@settings(deadline=None)
@given(JSON | st.dictionaries(st.sampled_from([item.name for item in fields(Plan)]), JSON))
def test_what_is_no_plan_is_refused(document: Any) -> None:
    if isinstance(document, dict):
        document["schema"] = 1
    with pytest.raises(PlanError):
        Plan.from_document(document)


@pytest.mark.parametrize("schema", [0, 2, "1", None])
def test_another_schema_is_refused(schema: Any) -> None:
    with pytest.raises(PlanError, match="schema 1"):
        Plan.from_document({**full_plan().document, "schema": schema})


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, item in inside for path in [(*here, key), *places(item, (*here, key))]]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_damaged_document_is_refused_or_is_exactly_what_it_says(data: st.DataObject) -> None:
    document = copy.deepcopy(full_plan().document)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)))
        parent = document
        for key in path[:-1]:
            parent = parent[key]
        match data.draw(st.sampled_from(["drop", "replace", "add"])):
            case "drop":
                del parent[path[-1]]
            case "replace":
                parent[path[-1]] = data.draw(JSON)
            case _ if isinstance(parent, dict):
                parent["unheard-of"] = 1
    try:
        plan = Plan.from_document(document)
    except PlanError:
        return
    assert plan.document == document
    assert all(step.phase in PHASES for step in plan.steps)


def test_a_truncated_list_of_needs_or_a_text_in_its_place_is_refused() -> None:
    for damage in ("project:1", 7, None, {"project:1": 1}):
        document = copy.deepcopy(full_plan().document)
        document["steps"][1]["needs"] = damage
        with pytest.raises(PlanError, match="make the plan again"):
            Plan.from_document(document)


def test_a_phase_that_does_not_exist_is_refused() -> None:
    document = copy.deepcopy(full_plan().document)
    document["steps"][1]["phase"] = "tomorrow"
    with pytest.raises(PlanError):
        Plan.from_document(document)


# --- looking things up --------------------------------------------------------------------------------


def test_steps_and_servers_are_found_by_key_and_id() -> None:
    plan = full_plan()
    assert plan.step("stop:1").changes == "source"
    assert plan.server(plan.servers[1].id).name == "two"
    assert [step.key for step in plan.phase("cutover")] == ["stop:1", "boot:1"]
    assert plan.phase("prepare", "cutover") == plan.steps
    for look in (plan.step, plan.server):
        with pytest.raises(PlanError, match=f"{plan.hash[:12]}: no .* nobody"):
            look("nobody")
