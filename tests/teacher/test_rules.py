"""Lines of policy: the check that belongs to a line decides what its words say."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

import pytest
from helpers.tasks import tasks_of_all_domains

from synthagent.episodes.world import Event, ToolEvent, UserEvent, World
from synthagent.judging.checks import decide
from synthagent.teacher.plan import RULES
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.worlds import Called, WorldSpec

ACT = ToolEvent("renew", {"loan_id": "B1"}, True, {})


def look(of: str = "B1", **row: Any) -> Event:
    return ToolEvent("read", {"loan_id": of}, True, row)


def said(confirm: str) -> Event:
    return UserEvent("?", confirm, {"confirm": confirm})


def a_rule(kind: RuleKind, shown_by: str | None = "read") -> Rule:
    return Rule("live", kind, "renew", shown_by, "loan_id", "free", "held", 50)


def keeps(rule: Rule, *events: Event) -> bool:
    world = World(WorldSpec(tables={}, effects={}), {})
    world.events.extend(events)
    return decide(rule.check, world).holds


@pytest.mark.parametrize(
    ("kind", "word", "good", "bad"),
    [
        ("check", "free", look(status="free"), look(status="held")),
        ("check", "free", look(status="free"), look(status="lent")),
        ("status", "held", look(status="lent"), look(status="held")),
        ("limit", "50", look(price=50), look(price=60)),
        ("confirm", "confirm", said("yes"), said("no")),
    ],
)
def test_a_line_is_kept_only_after_what_its_words_ask_for(kind: RuleKind, word: str, good: Event, bad: Event) -> None:
    rule = a_rule(kind)
    assert "renew" in rule.text
    assert word in rule.text
    assert keeps(rule)
    assert keeps(rule, good, ACT)
    assert not keeps(rule, bad, ACT)
    assert not keeps(rule, ACT, good)
    assert not keeps(rule, ACT)


@pytest.mark.parametrize("kind", ["check", "status", "limit"])
def test_a_look_at_another_row_is_no_licence(kind: RuleKind) -> None:
    row = {"status": "free", "price": 10}
    assert keeps(a_rule(kind), look(**row), ACT)
    assert not keeps(a_rule(kind), look("B2", **row), ACT)
    assert not keeps(a_rule(kind), said("yes"), ACT)


def test_where_there_is_no_tool_to_look_with_consent_is_what_is_checked() -> None:
    assert keeps(a_rule("confirm", None), said("yes"), ACT)
    assert not keeps(a_rule("confirm", None), look(status="free"), ACT)


def test_the_kinds_of_lines_read_differently() -> None:
    kinds = get_args(RuleKind)
    assert len({a_rule(kind).text for kind in kinds}) == len(kinds)


def test_nothing_licenses_a_tool_that_is_never_to_be_called() -> None:
    assert keeps(a_rule("never"))
    assert not keeps(a_rule("never"), look(status="free", price=10), said("yes"), ACT)


def kind_of(text: str) -> str:
    """Which kind a constraint is, by its words."""
    return next(
        kind
        for words, kind in (
            ("did confirm", "confirm"),
            ("you saw", "check"),
            ("price", "limit"),
            ("status is", "status"),
            ("Never", "never"),
        )
        if words in text
    )


def test_four_kinds_of_constraint_decide_whether_to_act() -> None:
    kinds = Counter(
        kind_of(line.text) for task in tasks_of_all_domains() for line in task.constraints if line.id == "live"
    )
    assert set(kinds) == set(RULES)
    assert min(kinds.values()) >= 20


def test_a_constraint_and_its_check_are_about_the_same_tool_and_value() -> None:
    for task in tasks_of_all_domains():
        for line in task.constraints:
            rule = task.world.rules[line.id]
            assert rule.tool in line.text
            assert (rule.told is not None) == (kind_of(line.text) == "confirm")
            if rule.seen is not None:
                assert isinstance(rule.seen, Called)
                assert all(str(condition.value) in line.text for condition in rule.seen.result)


def test_every_task_has_a_rival_act_that_no_one_may_call() -> None:
    for task in tasks_of_all_domains():
        (line,) = (line for line in task.constraints if kind_of(line.text) == "never")
        rival = task.world.rules[line.id].tool
        assert rival in task.distractors
        assert any(effect.op == "update" for effect in task.world.effects[rival])
