"""Tasks of the embedded teacher: what every one has, and that they differ."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

from helpers.projects import default_params
from helpers.tasks import a_task, accepted_tasks, outcome_of, tasks_of_all_domains

from synthagent.judging.proofs import prove
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.compose import compose
from synthagent.teacher.domains import STATUSES, load_vocabulary
from synthagent.teacher.twins import FactChange, RowChange, RowGone, pair

VOCABULARY = load_vocabulary()


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


def test_levels_differ_in_length() -> None:
    steps = {level: [len(t.reference) for t in tasks_of_all_domains() if t.difficulty == level] for level in (1, 2, 3)}
    mean = {level: sum(lengths) / len(lengths) for level, lengths in steps.items()}
    assert mean[1] < mean[2] < mean[3]


def test_all_outcomes_occur() -> None:
    outcomes = Counter(map(outcome_of, accepted_tasks()))
    assert set(outcomes) == {"done", "refused", "kept"}
    assert outcomes["done"] == len(accepted_tasks()) / 2  # in one of each two twins


def test_in_what_is_composed_the_act_is_permitted_and_after_the_change_it_is_not() -> None:
    kinds = Counter[type]()
    for domain in (*VOCABULARY.train, *VOCABULARY.unseen):
        for level, seed in product((1, 2, 3), range(8)):
            rng = random.Random(f"{domain.name}-{level}-{seed}")
            change = compose(domain, "a baker", level, VOCABULARY.names, rng).change
            task, twin = pair(a_task(domain, level, seed), change, "twin")
            assert outcome_of(task) == "done"
            assert outcome_of(twin) == ("kept" if isinstance(change, FactChange) else "refused")
            kinds[type(change)] += 1
    assert set(kinds) == {RowChange, RowGone, FactChange}


def test_a_status_may_be_the_one_to_act_on_or_not_so_that_its_word_tells_nothing() -> None:
    domain = VOCABULARY.train[0]
    rules = [rule for n in range(200) for rule in a_task(domain, 1, n).world.rules.values()]
    good = {shown.value for rule in rules if rule.seen for shown in rule.seen.result if shown.op == "eq"}
    assert good == set(STATUSES)


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
    assert propose(41, personas, VOCABULARY, params, seed=4)[0].instruction != alone[0].instruction
