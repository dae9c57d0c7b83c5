"""Tasks of the embedded teacher: what every one has, and that they differ."""

from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache

from helpers.projects import ROOT, default_params
from helpers.tasks import a_task, accepted_tasks

from synthagent.judging.proofs import prove
from synthagent.records import Called, Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.domains import blend, load_vocabulary
from synthagent.teacher.plan import RULES
from synthagent.teacher.wording import role_of

DOMAINS = ROOT / "synthagent" / "teacher" / "domains"
VOCABULARY = load_vocabulary()


@lru_cache
def tasks_of_all_domains() -> tuple[Task, ...]:
    blends = tuple(blend(VOCABULARY, random.Random(n)) for n in range(8))
    every = (*VOCABULARY.train, *VOCABULARY.unseen, *blends)
    return tuple(a_task(domain, level, seed) for domain in every for level in (1, 2, 3) for seed in range(7))


def test_every_proof_holds_in_every_domain_at_every_level() -> None:
    failed = {
        task.id: proved.detail for task in tasks_of_all_domains() if not all((proved := prove(task)).holds.values())
    }
    assert failed == {}


def test_a_task_has_three_to_five_tools_that_matter_and_one_or_two_that_do_not() -> None:
    for task in tasks_of_all_domains():
        names = {tool.name for tool in task.tools}
        assert len(names) == len(task.tools)
        assert set(task.distractors) < names
        assert 1 <= len(task.distractors) <= 2
        assert 3 <= len(names) - len(task.distractors) <= 5


def test_the_reference_uses_the_tools_that_matter_and_no_distractor() -> None:
    for task in tasks_of_all_domains():
        used = {step.tool for step in task.reference if step.kind == "call"}
        assert used == {tool.name for tool in task.tools} - set(task.distractors)


def test_a_task_has_three_to_seven_milestones() -> None:
    for task in tasks_of_all_domains():
        assert 3 <= len(prove(task).extracted.workflow) <= 7, task.id


def test_a_task_has_something_that_only_the_user_knows() -> None:
    for task in tasks_of_all_domains():
        slots = [fact.slot for fact in task.facts]
        assert 1 <= len(slots) == len(set(slots))
        assert {step.slot for step in task.reference if step.kind == "ask"} <= set(slots)


def test_every_tool_says_what_it_takes_and_gives_and_the_world_can_run_it() -> None:
    for task in tasks_of_all_domains():
        for tool in task.tools:
            assert tool.description
            assert tool.parameters["additionalProperties"] is False
            assert tuple(tool.parameters["required"]) == tool.arguments
            assert tool.outputs
        assert set(task.world.effects) == {tool.name for tool in task.tools}
        assert set(task.world.rules) == {line.id for line in task.constraints}


def kind_of(text: str) -> str:
    """Which of the four kinds a constraint is, by its words."""
    return next(
        kind
        for words, kind in (
            ("did confirm", "confirm"),
            ("you saw", "check"),
            ("price", "limit"),
            ("status is", "status"),
        )
        if words in text
    )


def test_four_kinds_of_constraint_occur() -> None:
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


def test_levels_differ_in_length() -> None:
    steps = {level: [len(t.reference) for t in tasks_of_all_domains() if t.difficulty == level] for level in (1, 2, 3)}
    mean = {level: sum(lengths) / len(lengths) for level, lengths in steps.items()}
    assert mean[1] < mean[2] < mean[3]


def test_all_outcomes_occur() -> None:
    outcomes = Counter(
        next(word for word in ("Refuse", "Leave", "Report") if word in task.workflow[-1]) for task in accepted_tasks()
    )
    assert set(outcomes) == {"Refuse", "Leave", "Report"}


def test_the_same_seed_gives_the_same_task_and_another_seed_another() -> None:
    domain = VOCABULARY.train[0]
    assert a_task(domain, 2, 5) == a_task(domain, 2, 5)
    assert a_task(domain, 2, 5).model_dump_json() != a_task(domain, 2, 6).model_dump_json()


def test_a_proposal_depends_on_its_number_and_seed_only() -> None:
    personas, params = tuple(built_in()), default_params().tasks
    alone = propose(41, personas, VOCABULARY, params, seed=3)
    for number in range(41):
        propose(number, personas, VOCABULARY, params, seed=3)
    assert propose(41, personas, load_vocabulary(), params, seed=3) == alone
    assert propose(41, personas, VOCABULARY, params, seed=4).instruction != alone.instruction


def test_the_persona_shows_in_the_instruction() -> None:
    personas = {persona.id: persona for persona in built_in()}
    for task in accepted_tasks():
        role = role_of(personas[task.persona_id].text)
        assert role
        assert f", as I am {role}." in task.instruction
